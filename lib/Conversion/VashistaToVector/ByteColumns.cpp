//===- ByteColumns.cpp - Bytes of a tile's rows, token by token -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ByteColumns.h"

#include "UpperBounds.h"

using namespace mlir;
using namespace vashista;

ByteColumns::ByteColumns(KernelBuilder &b, TileWalk &walk, Value rows)
    : b(b), walk(walk), rows(rows) {
  auto type = cast<MemRefType>(rows.getType());
  element = type.getElementType();
  elementBytes = element.getIntOrFloatBitWidth() / 8;
  int64_t bytes = elementBytes;
  if (type.getRank() == 4)
    bytes *= type.getDimSize(3);
  unit = bytes % 4 == 0 ? 4 : elementBytes;
  numUnits = bytes / unit;
}

void ByteColumns::begin() {
  columns = b.scratch({numUnits, kTile}, b.getI32Type());
}

void ByteColumns::load() {
  b.forLoop(b.index(0), walk.count, b.lanes, [&](Value at) {
    if (numUnits > 1)
      askAhead(at);
    // Blocks of powers of two, the largest first.
    for (int64_t first = 0; first < numUnits;) {
      int64_t count = llvm::bit_floor<uint64_t>(
          std::min<int64_t>(numUnits - first, b.lanes));
      loadBlock(at, first, count);
      first += count;
    }
  });
}

/// Asks for the rows of the next tile, in the order in which they lie.
void ByteColumns::askAhead(Value at) {
  for (int64_t i = 0; i < b.lanes; ++i) {
    SmallVector<Value> ahead =
        walk.getAhead(b.addI(at, b.index(i)), /*perRow=*/1, /*step=*/0);
    for (int64_t byte = 0; byte < numUnits * unit; byte += kLineBytes) {
      ahead.back() = b.index(byte / elementBytes);
      b.prefetch(rows, ahead);
    }
  }
}

Value ByteColumns::loadUnits(Value at, int64_t first, int64_t count) {
  SmallVector<Value> indices =
      walk.getRow(at, b.index(first * unit / elementBytes));
  if (cast<MemRefType>(rows.getType()).getRank() == 3)
    indices.pop_back();
  auto type = VectorType::get({count * unit / elementBytes}, element);
  Value loaded;
  if (type.getDimSize(0) == 1)
    loaded = b.broadcastTo(b.load(rows, indices), type);
  else
    loaded = vector::LoadOp::create(b, type, rows, indices);
  if (unit == 4)
    return vector::BitCastOp::create(b, ints(count), loaded);
  auto bits = type.clone(b.getIntegerType(elementBytes * 8));
  if (type != bits)
    loaded = arith::BitcastOp::create(b, bits, loaded);
  return arith::ExtUIOp::create(b, ints(count), loaded);
}

/// Transposes `count` units of as many rows at a time.
void ByteColumns::loadBlock(Value at, int64_t first, int64_t count) {
  Value last = b.subI(walk.count, b.index(1));
  for (int64_t start = 0; start < b.lanes; start += count) {
    SmallVector<Value> block;
    for (int64_t i = 0; i < count; ++i) {
      Value row = b.minI(b.addI(at, b.index(start + i)), last);
      block.push_back(loadUnits(row, first, count));
    }
    // Level by level, blocks beside the diagonal change places.
    for (int64_t distance = 1; distance < count; distance *= 2) {
      SmallVector<int64_t> low, high;
      for (int64_t i = 0; i < count; ++i) {
        low.push_back(i & distance ? count + i - distance : i);
        high.push_back(i & distance ? count + i : i + distance);
      }
      for (int64_t i = 0; i < count; ++i) {
        if (i & distance)
          continue;
        Value x = block[i], y = block[i + distance];
        block[i] = b.shuffle(x, y, low);
        block[i + distance] = b.shuffle(x, y, high);
      }
    }
    for (auto [i, column] : llvm::enumerate(block))
      b.storeVector(column, columns,
                    {b.index(first + i), b.addI(at, b.index(start))});
  }
}

Value ByteColumns::get(Value number, Value token) {
  SmallVector<Value> at = {number, token};
  return vector::LoadOp::create(b, ints(b.lanes), columns, at);
}

Value ByteColumns::getByte(int64_t position, Value token) {
  Value units = get(b.index(position / unit), token);
  auto constant = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(ints(b.lanes), value));
  };
  if (int32_t shift = position % unit * 8)
    units = arith::ShRUIOp::create(b, units, constant(shift));
  return unit == 1 ? units : b.andI(units, constant(0xff));
}

Value ByteColumns::getFloat(int64_t position, Value token) {
  if (elementBytes == 1) {
    Value bytes = arith::TruncIOp::create(
        b, VectorType::get({b.lanes}, b.getI8Type()), getByte(position, token));
    return widenF8(b, arith::BitcastOp::create(
                          b, VectorType::get({b.lanes}, element), bytes));
  }
  Value units = get(b.index(position * 2 / unit), token);
  if (position * 2 % unit)
    units = arith::ShRUIOp::create(
        b, units,
        arith::ConstantOp::create(
            b, DenseElementsAttr::get(ints(b.lanes), int32_t(16))));
  Value halves = arith::TruncIOp::create(
      b, VectorType::get({b.lanes}, b.getI16Type()), units);
  Value numbers =
      arith::BitcastOp::create(b, VectorType::get({b.lanes}, element), halves);
  return arith::ExtFOp::create(b, b.vectorType(), numbers);
}
