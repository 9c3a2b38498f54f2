//===- PickTails.cpp - What a pick leaves, on a GPU -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();

Value PickLauncher::isUnknown(Value bound) {
  return b.compare(CmpFPredicate::UGE, bound, b.f32(kInfinity));
}

Value PickLauncher::isInf(Value x) {
  return b.compare(CmpFPredicate::OEQ, x, b.f32(kInfinity));
}

// tails[h] = log( exp(outside) + sum of what is left ); +inf where a score or
// bound is NaN.

Value PickLauncher::getShift(Value head) {
  Value top = b.load(tops, head);
  Value isThere = b.compare(CmpFPredicate::OGT, top, b.negInf());
  return b.select(isThere, b.subF(top, b.f32(kHeadroom)), b.f32(0.0f));
}

void PickLauncher::addLeft(Value bound, Value isLeft, Value shift, Value &sum,
                           Value &bits) {
  Value isFinite = notI(isUnknown(bound));
  Value mass = estimate(b.subF(bound, shift));
  Value counts = b.andI(isLeft, isFinite);
  sum = b.addF(sum, b.select(counts, mass, b.f32(0.0f)));
  Value kind = b.select(isFinite, b.i32(1), b.i32(3));
  bits = b.orI(bits, b.select(isLeft, kind, b.i32(0)));
}

void PickLauncher::addLeft(int64_t head, Value depth, Value spread,
                           Value isLeft, MutableArrayRef<Value> left) {
  Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
  Value counts = b.andI(isLeft, isKnown);
  MutableArrayRef<Value> own = left.slice(head * getNumSums(), getNumSums());
  if (hasMoment())
    addByMoment(getUnread(b.index(head)), toFloatDepth(depth), spread, counts,
                own);
  else
    own[0] =
        b.addF(own[0], b.select(counts, getMassOfDepth(depth), b.f32(0.0f)));
  Value bits = b.select(isKnown, b.i32(1), b.i32(1 + (int64_t(2) << head)));
  left.back() = b.orI(left.back(), b.select(isLeft, bits, b.i32(0)));
}

std::pair<ValueRange, Value> PickLauncher::getLeft(const Marked &marked,
                                                   int64_t head) {
  const int64_t size = getNumSums() + 1;
  ValueRange own = ValueRange(marked.left).slice(head * size, size);
  return {own.drop_back(), own.back()};
}

SmallVector<Value> PickLauncher::getNothingLeft() {
  SmallVector<Value> left(group * getNumSums(), b.f32(0.0f));
  left.push_back(b.i32(0));
  return left;
}

void PickLauncher::writeTails(ValueRange left) {
  const int64_t numSums = getNumSums();
  SmallVector<Join> joins(group * numSums, Join::sum);
  joins.push_back(Join::either);
  SmallVector<Value> all = reduceAll(SmallVector<Value>(left), joins), bits;
  Value isAny = b.andI(all.back(), b.i32(1));
  for (int64_t head = 0; head < group; ++head) {
    Value isUnknown = b.andI(all.back(), b.i32(int64_t(2) << head));
    isUnknown = b.compare(CmpIPredicate::ne, isUnknown, b.i32(0));
    bits.push_back(b.select(isUnknown, b.i32(3), isAny));
  }
  writeTails(ValueRange(all).drop_back(), bits);
}

void PickLauncher::writeTails(ValueRange sums, ArrayRef<Value> bits) {
  assert(group <= kWarp && "a lane for each head");
  Value isOwn = b.andI(b.compare(CmpIPredicate::eq, block, b.index(0)),
                       b.compare(CmpIPredicate::ult, thread, b.index(group)));
  const int64_t numSums = getNumSums();
  b.ifThen(isOwn, [&] {
    SmallVector<Value> own;
    for (int64_t i = 0; i < numSums; ++i) {
      SmallVector<Value> ofHeads;
      for (int64_t head = 0; head < group; ++head)
        ofHeads.push_back(sums[head * numSums + i]);
      own.push_back(selectOne(ofHeads, thread));
    }
    Value tail = getTail(thread, own, selectOne(bits, thread));
    b.store(tail, tails, {row, b.addI(firstHead, thread)});
  });
}

void PickLauncher::addLeftOf(Value head, ArrayRef<Slot> slots,
                             ArrayRef<Value> left,
                             MutableArrayRef<Value> sums) {
  Value shift = getShift(head);
  MutableArrayRef<Value> own = sums.drop_back();
  Value &bits = sums.back();
  SmallVector<Value> all = weighted(bounds, head, slots);
  if (!hasMoment()) {
    for (auto [bound, isLeft] : llvm::zip_equal(all, left))
      addLeft(bound, isLeft, shift, own[0], bits);
    return;
  }
  SmallVector<Value> counts;
  for (auto [bound, isLeft] : llvm::zip_equal(all, left)) {
    Value isFinite = notI(isUnknown(bound));
    counts.push_back(b.andI(isLeft, isFinite));
    Value kind = b.select(isFinite, b.i32(1), b.i32(3));
    bits = b.orI(bits, b.select(isLeft, kind, b.i32(0)));
  }
  if (hasLevels()) {
    Levels found = loadLevels(head, slots);
    Value below = getBelow(b.load(tops, head), found.top);
    SmallVector<Value> spreads = getSureSpreads(loadSpreads(slots));
    Unread unread = getUnread(head);
    for (auto [i, isLeft] : llvm::enumerate(counts))
      addByMoment(unread, toFloatDepth(getDepth(found, below, i)), spreads[i],
                  isLeft, own);
    return;
  }
  Value highest = getHighestLeft(head);
  Value top = b.subF(b.addF(shift, b.f32(kHeadroom)), getStart(head));
  SmallVector<Value> estimates = weighted(scores, head, slots);
  for (auto [bound, score, isLeft] : llvm::zip_equal(all, estimates, counts))
    addByScore(highest, bound, score, isLeft, top, own);
}

Value PickLauncher::sumTails(bool ofAll) {
  return b
      .forLoop(
          b.index(0), b.index(group), 1, ValueRange{b.boolean(true)},
          [&](Value head, ValueRange carried) -> SmallVector<Value> {
            SmallVector<Value> sums(getNumSums(), b.f32(0.0f));
            sums.push_back(b.i32(0));
            sums = forEachSlot(sums, [&](ArrayRef<Slot> slots, ValueRange now) {
              SmallVector<Value> next(now);
              SmallVector<Value> left(slots.size(), b.boolean(true));
              if (!ofAll)
                for (auto [bit, isGone] :
                     llvm::zip_equal(left, loadBits(picked, b.index(0), slots)))
                  bit = notI(isGone);
              for (auto [bit, slot] : llvm::zip_equal(left, slots))
                bit = andOpen(slot, bit);
              addLeftOf(head, slots, left, next);
              return next;
            });
            SmallVector<Join> joins(getNumSums(), Join::sum);
            joins.push_back(Join::either);
            sums = reduceAll(sums, joins);
            Value proves =
                writeTail(head, ValueRange(sums).drop_back(), sums.back());
            return {b.andI(carried[0], proves)};
          })
      .front();
}

void PickLauncher::storeTail(Value tail, ValueRange at) {
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&] { b.store(tail, tails, at); });
}

Value PickLauncher::meets(Value tail, ValueRange at) {
  Value allowed = b.addF(b.load(attended, at), b.log(getRatio()));
  return b.compare(CmpFPredicate::OLE, tail, allowed);
}

Value PickLauncher::getTail(Value head, ValueRange sums, Value bits) {
  // Sums of n positive f32 numbers, of each thread and then of threads, are low
  // by less than (n / 4 + 4) 2^-24 of themselves; a term by 2^-21, and as its
  // distance from the unit, of at most 88, is rounded, multiplied by a constant
  // that is, and rounded again, by 2.4 * 2^-18; log, of at most 60 here, by two
  // units of 2^-18, and the result rounds once more. Twice that is added. Terms
  // below 2^-126 may be lost: as many are added.
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value slack = b.mulF(b.addF(b.mulF(number, b.f32(0.25f)), b.f32(32.0f)),
                       b.f32(0x1p-23f));
  slack = b.addF(slack, b.f32(hasMoment() ? 0x1p-13f : 0x1p-14f));
  Value lost = b.mulF(number, b.f32(0x1p-126f));
  Value sum = hasMoment() ? getMassByMoment(head, sums) : sums.front();
  Value tail = b.addF(getShift(head), b.log(b.addF(sum, lost)));
  Value isNothing = b.compare(CmpIPredicate::eq, bits, b.i32(0));
  tail = b.select(isNothing, b.negInf(), tail);
  Value isUnknown =
      b.orI(b.compare(CmpIPredicate::eq, bits, b.i32(3)),
            b.compare(CmpIPredicate::ne, b.load(nans, head), b.i32(0)));
  if (outside) {
    Value other = b.load(outside, {row, b.addI(firstHead, head)});
    Value most = b.maxF(tail, other);
    Value both = b.addF(b.exp(b.subF(tail, most)), b.exp(b.subF(other, most)));
    Value joined = b.addF(most, b.log(both));
    tail = b.select(isInf(b.absF(most)), most, joined);
    isUnknown = b.orI(isUnknown, isNaN(other));
  }
  // Infinite tails are exact, and must not meet arithmetic.
  Value relative = b.mulF(b.absF(tail), b.f32(0x1p-22f));
  Value raised = b.addF(tail, b.addF(slack, relative));
  tail = b.select(isInf(b.absF(tail)), tail, raised);
  isUnknown = b.orI(isUnknown, isNaN(tail));
  tail = b.select(isUnknown, b.f32(kInfinity), tail);
  // Less is left than before, whatever another threshold makes of it.
  if (hasMoment() && before)
    tail = b.minNumber(tail, b.load(before, {row, b.addI(firstHead, head)}));
  return tail;
}

Value PickLauncher::writeTail(Value head, ValueRange sums, Value bits) {
  Value at[] = {row, b.addI(firstHead, head)};
  Value tail = getTail(head, sums, bits);
  storeTail(tail, at);
  return attended ? meets(tail, at) : b.boolean(true);
}
