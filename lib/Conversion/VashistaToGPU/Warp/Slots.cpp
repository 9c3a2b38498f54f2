//===- Slots.cpp - Where the tokens of a scan are -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Slots.h"

#include <numeric>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

static int64_t getPageSize(ScoreOp op) {
  if (op.getFrom().scoresPages())
    return *op.getPageSize();
  SourcePart keys = op.getFrom().getParts().front();
  auto at = llvm::find(keys.dims, Dim::pageSize) - keys.dims.begin();
  return cast<RankedTensorType>(op.getParts().front().getType()).getDimSize(at);
}

SmallVector<Value> Slots::getRead(ScoreOp op, WarpBuilder &b, bool hasOwnList) {
  SmallVector<Value> values = {op.getPageTable(), op.getSeqLens(),
                               op.getRowToSeq()};
  if (!hasOwnList)
    values.append({op.getPages(), op.getPageCount()});
  SmallVector<Value> read;
  for (Value value : values)
    if (value)
      read.push_back(b.readOnly(value));
  return read;
}

Slots::Slots(ScoreOp op, WarpBuilder &b, Given &given,
             std::optional<OwnList> ownList)
    : op(op), b(b), pageSize(getPageSize(op)),
      inPages(op.getFrom().scoresPages()), ownList(ownList) {
  table = given.take(op.getPageTable() != nullptr);
  lengths = given.take(op.getSeqLens() != nullptr);
  rowToSeq = given.take(op.getRowToSeq() != nullptr);
  list = given.take(!ownList && op.getPages());
  count = given.take(!ownList && op.getPageCount());
}

void Slots::begin(Value row, Value kvHead) {
  this->row = row;
  this->kvHead = kvHead;
  Value zero = b.index(0), size = b.index(pageSize);
  length = b.maxI(b.loadIndex(lengths, row), zero);
  sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  if (isListed()) {
    numSlots = ownList ? ownList->count : b.dim(list, 2);
    if (count)
      numSlots = b.minI(numSlots, b.loadIndex(count, {row, kvHead}));
    numSlots = b.mulI(numSlots, size);
    // Of an empty sequence nothing is visible.
    Value any = b.compare(CmpIPredicate::sgt, length, zero);
    numSlots = b.select(any, numSlots, zero);
  } else if (inPages) {
    numSlots = b.divU(b.addI(length, b.index(pageSize - 1)), size);
  } else {
    numSlots = length;
  }
}

Value Slots::loadPage(Value entry) {
  return ownList ? b.loadIndex(ownList->pages, entry)
                 : b.loadIndex(list, {row, kvHead, entry});
}

// What counts slots fits in 32 bits, which are half the instructions of an
// index; what a list says need not.
Slots::Tile Slots::findTile(Value first, int64_t size) {
  Tile tile{first, std::nullopt, Value()};
  if (!hasTiles(size))
    return tile;
  Value zero = b.i32(0), pageTokens = b.i32(pageSize);
  Value number = b.toI32(first), rest = b.subI(b.toI32(numSlots), number);
  Value isThere = b.compare(CmpIPredicate::sgt, rest, zero);
  Value slot = b.select(isThere, number, zero), position = slot;
  if (isListed()) {
    Value page = loadPage(b.toIndex(b.divU(slot, pageTokens)));
    Value wide = b.addI(b.mulI(page, b.index(pageSize)),
                        b.toIndex(b.remU(slot, pageTokens)));
    isThere =
        b.andI(isThere, b.andI(b.compare(CmpIPredicate::sge, page, b.index(0)),
                               b.compare(CmpIPredicate::slt, wide, length)));
    position = b.select(isThere, b.toI32(wide), zero);
  }
  Value page =
      b.loadIndex(table, {sequence, b.toIndex(b.divU(position, pageTokens))});
  tile.place = Place{page, b.toIndex(b.remU(position, pageTokens))};
  Value count = b.minI(rest, b.subI(b.toI32(length), position));
  tile.count = b.select(isThere, count, zero);
  return tile;
}

int64_t Slots::getRun(ScoreOp op, int64_t size) {
  if (op.getFrom().scoresPages() || op.getPages())
    return 0;
  return std::gcd(getPageSize(op), size);
}

Value Slots::loadPageOf(Value first) {
  Value entry = b.divU(b.toI32(first), b.i32(pageSize));
  return b.load(table, {sequence, b.toIndex(entry)});
}

Value Slots::loadPageAnyway(Value first) {
  Value entry = b.toIndex(b.divU(b.toI32(first), b.i32(pageSize)));
  Value last = b.subI(b.dim(table, 1), b.index(1));
  return b.load(table, {sequence, b.minI(entry, last)});
}

Slots::Tile Slots::findWholeTile(Value first, int64_t size, Value page) {
  Value slot = b.index(0);
  if (pageSize != size)
    slot = b.toIndex(b.remU(b.toI32(first), b.i32(pageSize)));
  page = arith::IndexCastOp::create(b, b.getIndexType(), page);
  return {first, Place{page, slot}, Value()};
}

std::pair<Slots::Place, Value> Slots::find(const Tile &tile, Value offset) {
  if (!tile.place)
    return find(b.addI(tile.first, offset));
  Place place = *tile.place;
  if (!tile.count) {
    place.slot = b.addI(place.slot, offset);
    return {place, b.boolean(true)};
  }
  Value number = b.toI32(offset), one = b.i32(1);
  Value last = b.subI(b.maxI(tile.count, one), one);
  place.slot = b.addI(place.slot, b.toIndex(b.minI(number, last)));
  return {place, b.compare(CmpIPredicate::slt, number, tile.count)};
}

Value Slots::getPosition(Value slot) {
  Value size = b.index(pageSize);
  if (inPages)
    return b.mulI(slot, size);
  if (!isListed())
    return slot;
  Value page = loadPage(b.divU(slot, size));
  return b.addI(b.mulI(page, size), b.remU(slot, size));
}

std::pair<Slots::Place, Value> Slots::find(Value slot) {
  Value zero = b.index(0), size = b.index(pageSize);
  Value isVisible = b.compare(CmpIPredicate::slt, slot, numSlots);
  slot = b.minI(slot, b.subI(numSlots, b.index(1)));
  if (inPages)
    return {{b.loadIndex(table, {sequence, slot}), zero}, isVisible};
  Value position = slot;
  if (isListed()) {
    position = getPosition(slot);
    Value listed = b.compare(CmpIPredicate::sge, position, zero);
    listed = b.andI(listed, b.compare(CmpIPredicate::slt, position, length));
    position = b.select(listed, position, zero);
    isVisible = b.andI(isVisible, listed);
  }
  Value page = b.loadIndex(table, {sequence, b.divU(position, size)});
  return {{page, b.remU(position, size)}, isVisible};
}
