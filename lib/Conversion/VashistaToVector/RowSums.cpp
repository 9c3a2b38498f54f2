//===- RowSums.cpp - Weighted sums of gathered rows -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowSums.h"

using namespace mlir;
using namespace vashista;

static int64_t getHeadBlock(int64_t group) {
  return getLargestDivisor(group, 4);
}

int64_t RowSums::getMostVectors(const KernelBuilder &b, int64_t group) {
  return std::max<int64_t>((b.target.registers - 2) / (getHeadBlock(group) + 1),
                           1);
}

void RowSums::emit() {
  int64_t parts = vectors.getNumParts();
  int64_t stepBlock =
      getLargestDivisor(vectors.dim / vectors.getStep(),
                        std::max<int64_t>(getMostVectors(b, group) / parts, 1));
  for (int64_t head = 0; head < group; head += getHeadBlock(group))
    b.forLoop(b.index(0), b.index(vectors.dim), stepBlock * vectors.getStep(),
              [&](Value channel) { emitBlock(head, channel, stepBlock); });
}

void RowSums::emitBlock(int64_t firstHead, Value channel, int64_t stepBlock) {
  int64_t lanes = vectors.lanes, headBlock = getHeadBlock(group);
  int64_t blockVectors = stepBlock * vectors.getNumParts();
  Value zero = b.index(0);
  auto forEach = [&](auto body) {
    for (int64_t h = 0; h < headBlock; ++h)
      for (int64_t c = 0; c < blockVectors; ++c)
        body(b.index(firstHead + h), b.addI(channel, b.index(c * lanes)));
  };
  SmallVector<Value> totals;
  forEach([&](Value h, Value c) {
    if (!rescale) {
      totals.push_back(b.splat(0.0f, lanes));
      return;
    }
    Value factor = b.broadcast(b.load(rescale, h), lanes);
    totals.push_back(b.mulF(b.loadVector(sums, {h, c}, lanes), factor));
  });
  totals = b.forLoop(
      zero, walk.count, 1, totals, [&](Value token, ValueRange carried) {
        SmallVector<Value> indices = walk.getRow(token, channel);
        SmallVector<Value> row, next;
        for (int64_t step = 0; step < stepBlock; ++step) {
          indices.back() = b.addI(channel, b.index(step * vectors.getStep()));
          row.append(vectors.load(rows, indices));
        }
        if (firstHead == 0)
          askAhead(token, channel, blockVectors * lanes);
        for (int64_t h = 0; h < headBlock; ++h) {
          Value weight = b.broadcast(
              b.load(weights, {b.index(firstHead + h), token}), lanes);
          for (int64_t c = 0; c < blockVectors; ++c)
            next.push_back(
                b.fma(weight, row[c], carried[h * blockVectors + c]));
        }
        return next;
      });
  unsigned i = 0;
  forEach([&](Value h, Value c) { b.storeVector(totals[i++], sums, {h, c}); });
}

/// Asks for `size` channels of the next tile's rows, a line at a time, in the
/// order in which they lie in memory, and again for those that are added soon.
void RowSums::askAhead(Value token, Value channel, int64_t size) {
  int64_t line =
      kLineBytes / (getElementTypeOrSelf(rows).getIntOrFloatBitWidth() / 8);
  // Blocks of channels are walked tile by tile.
  int64_t perRow = vectors.dim / size;
  Value block = b.divU(channel, b.index(size));
  Value number = b.addI(b.mulI(block, b.index(kTile)), token);
  Value same = b.addI(b.mulI(token, b.index(perRow)), block);
  for (SmallVector<Value> at : {walk.getAhead(number, perRow, size),
                                walk.getSoon(same, perRow, size)}) {
    Value start = at.back();
    for (int64_t i = 0; i < size; i += line) {
      at.back() = b.addI(start, b.index(i));
      b.prefetch(rows, at);
    }
  }
}
