//===- SketchColumns.cpp - Directions as a scan's warps have them ---------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A warp has all directions of its heads in its products' columns. They come
// from memory, where a kernel has left them, or from the block's, where its
// warps have.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

Value SketchScan::getHeadOfBlock(Value number) {
  Value ofKvHead = b.index(getHeadsOfBlock());
  Value head = b.minI(b.remU(number, ofKvHead), b.subI(numHeads, b.index(1)));
  if (kvHeadsOfBlock == 1)
    return b.addI(firstHead, head);
  Value kvHead =
      b.subI(b.divU(number, ofKvHead), b.subI(slots->kvHead, firstKvHead));
  return b.addI(b.addI(firstHead, b.mulI(kvHead, b.index(group))), head);
}

void SketchScan::loadDirections() {
  if (roundsDirections)
    directions.loadOfBlock(
        direction, slots->row, kvHeadsOfBlock * getHeadsOfBlock(), numWarps,
        [&](Value number) { return getHeadOfBlock(number); });
}

void SketchScan::roundDirections() {
  if (!roundsDirections)
    return;
  directions.roundOfBlock(multiples, factors);
  b.barrier();
  if (!directionNorms)
    return;
  Value number = b.threadId();
  Value isWanted =
      b.andI(b.compare(CmpIPredicate::eq, getNumber(), b.index(0)),
             b.compare(CmpIPredicate::ult, number,
                       b.index(kvHeadsOfBlock * getHeadsOfBlock())));
  b.ifThen(isWanted, [&] {
    b.store(b.load(factors, {number, b.index(0)}), directionNorms,
            {slots->row, getHeadOfBlock(number), b.index(0)});
  });
}

SmallVector<Value> SketchScan::getPlaceOfHead(Value number) {
  if (!roundsDirections)
    return {slots->row, b.addI(firstHead, number)};
  if (kvHeadsOfBlock == 1)
    return {number};
  Value kvHead = b.subI(slots->kvHead, firstKvHead);
  return {b.addI(b.mulI(kvHead, b.index(getHeadsOfBlock())), number)};
}

SmallVector<SketchScan::Column> SketchScan::loadColumns() {
  SmallVector<Column> all;
  for (int64_t i = 0; i < columns; ++i)
    all.push_back(loadColumn(i));
  return all;
}

float SketchScan::getLogitOfDot() {
  return op.getScale().convertToFloat() / op.getEpsilon().convertToFloat();
}

SketchScan::Column SketchScan::loadColumn(int64_t number) {
  auto getHead = [&](Value offset) {
    Value head = b.addI(offset, b.index(kColumns * number));
    return b.minI(head, b.subI(numHeads, b.index(1)));
  };
  Column column;
  Value mine = b.remU(within, b.index(heads));
  column.head = b.addI(mine, b.index(kColumns * number));
  Value own = getHead(mine);
  SmallVector<Value> place = getPlaceOfHead(own);
  for (int64_t i = 0; i < rounded.getNumFactors(); ++i) {
    SmallVector<Value> at(place);
    at.push_back(b.index(i));
    column.factors.push_back(b.load(factors, at));
  }
  // Without a cap, logits are sums of as many products as dots: f32 numbers are
  // rounded as often. What a bound has above a score covers what it is itself
  // rounded by.
  float toLogit = op.getSoftCap() ? 1.0f : getLogitOfDot();
  for (Value &factor : MutableArrayRef<Value>(column.factors)
                           .take_front(2 * rounded.getNumNorms()))
    factor = b.mulF(factor, b.f32(toLogit * (1 + 0x1p-18f)));
  Value &half = column.factors[rounded.getHalfStep()];
  half = b.mulF(half, b.f32(toLogit));
  // Column g of a product: byte g % 2 of head g / 2.
  Value two = b.index(2);
  Value other = getHead(b.remU(b.divU(quad, two), b.index(heads)));
  Value byte = b.remU(quad, two);
  for (int64_t channel = 0; channel < format.paddedDim; channel += kChannels) {
    Value at = b.addI(b.mulI(within, b.index(kOwn)), b.index(channel));
    SmallVector<Value> from = getPlaceOfHead(other);
    from.append({byte, at});
    auto [low, high] = b.load8Bytes(multiples, from);
    column.low.push_back(low);
    column.high.push_back(high);
  }
  return column;
}
