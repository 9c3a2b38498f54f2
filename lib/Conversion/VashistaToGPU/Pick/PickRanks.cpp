//===- PickRanks.cpp - The best of more than there is room for ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A rank is an unsigned number whose order is that of max_h (score_h + weight -
// ref_h) or, of levels, of how far a slot lies within what any head takes, the
// largest for sinks and window. The rank of the last pick is found by the bits
// of parts of it, the highest first: of each value of a part the candidates are
// counted.
//
//===----------------------------------------------------------------------===//

#include "Best/BestScores.h"
#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// The log-sum-exp of each head over what can be picked: 0 where infinite. One
/// head ranks as its scores do.
void PickLauncher::findRefs() {
  if (hasLevels())
    return;
  if (group == 1) {
    storeOnce(b.f32(0.0f), refs, b.index(0));
    b.barrier();
    return;
  }
  auto larger = [&](Value x, Value y) { return b.maxNumber(x, y); };
  auto getShift = [&](Value most) {
    return b.select(isInf(b.absF(most)), b.f32(0.0f), most);
  };
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    // Of each thread first, in units of its own.
    SmallVector<Value> own = forEachSlot(
        {b.negInf(), b.f32(0.0f)}, [&](ArrayRef<Slot> slots, ValueRange now) {
          SmallVector<Value> values = weighted(scores, head, slots);
          Value most = now[0], sum = now[1];
          for (Value &value : values) {
            value = b.select(isNaN(value), b.negInf(), value);
            most = larger(most, value);
          }
          Value shift = getShift(most);
          sum = b.mulF(sum, estimate(b.subF(getShift(now[0]), shift)));
          for (Value value : values)
            sum = b.addF(sum, estimate(b.subF(value, shift)));
          return SmallVector<Value>{most, sum};
        });
    Value most = reduceAll(own[0], Join::most).front(), shift = getShift(most);
    Value sum = b.mulF(own[1], estimate(b.subF(getShift(own[0]), shift)));
    sum = reduceAll(sum, Join::sum).front();
    Value ref = b.addF(shift, b.log(sum));
    storeOnce(b.select(isInf(b.absF(most)), b.f32(0.0f), ref), refs, head);
  });
  b.barrier();
}

SmallVector<Value> PickLauncher::getRanks(ArrayRef<Slot> slots,
                                          ValueRange loaded) {
  SmallVector<Value> best;
  if (hasLevels()) {
    best = getMarginRanks(slots, loaded);
  } else {
    best.assign(slots.size(), b.negInf());
    best = b.forLoop(b.index(0), b.index(group), 1, best,
                     [&](Value head, ValueRange carried) {
                       SmallVector<Value> next(carried);
                       Value ref = b.load(refs, head);
                       for (auto [value, score] : llvm::zip_equal(
                                next, weighted(scores, head, slots)))
                         // NaN is -inf.
                         value = b.maxNumber(value, b.subF(score, ref));
                       return next;
                     });
    for (Value &rank : best)
      rank = toRank(b, rank);
  }
  for (auto [rank, slot] : llvm::zip_equal(best, slots)) {
    if (slot.isAlways)
      rank = b.select(slot.isAlways, b.i32(-1), rank);
  }
  return best;
}

void PickLauncher::countRanks(const RankPart &part, Value prefix) {
  clearBins(part.most);
  Value one = b.i32(1);
  // What is not counted has bins of its lane's own, behind all others.
  Value uncounted = b.addI(b.toI32(lane), b.i32(numBins));
  Value mask = b.subI(arith::ShLIOp::create(b, one, part.width), one);
  forEachSlot(
      {}, [&](ArrayRef<Slot> slots) { return loadForRanks(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded,
          ValueRange) -> SmallVector<Value> {
        SmallVector<Value> ranks = getRanks(slots, loaded);
        for (auto [rank, slot] : llvm::zip_equal(ranks, slots)) {
          Value from = arith::ShRUIOp::create(b, rank, part.shift);
          Value above = arith::ShRUIOp::create(b, from, part.width);
          Value isHere =
              andOpen(slot, b.compare(CmpIPredicate::eq, above, prefix));
          Value bin = b.select(isHere, b.andI(from, mask), uncounted);
          addToBin(b.toIndex(bin), one);
        }
        return {};
      },
      /*ofMarked=*/true);
}

/// Leaves the value of the part at which as many are reached, behind the
/// prefix; a thread looks at a few values.
void PickLauncher::narrowRanks(const RankPart &part, Value isCounted) {
  Value prefixAt = b.index(0), needAt = b.index(1);
  Value prefix = b.load(found, prefixAt), left = b.load(found, needAt);
  if (isCounted)
    b.ifThen(notI(isCounted), [&] { countRanks(part, prefix); });
  else
    countRanks(part, prefix);
  addUpBins(part.most);
  Value own = b.index(part.most / threads), zero = b.index(0);
  // From the highest down.
  Value first = b.subI(b.index(part.most - 1), b.mulI(thread, own));
  Value sum = b.forLoop(zero, own, 1, b.i32(0),
                        [&](Value i, ValueRange carried) -> SmallVector<Value> {
                          Value number = b.load(bins, b.subI(first, i));
                          return {b.addI(carried[0], number)};
                        })
                  .front();
  b.forLoop(zero, own, 1, scan(sum).first,
            [&](Value i, ValueRange carried) -> SmallVector<Value> {
              Value value = b.subI(first, i), number = b.load(bins, value);
              Value before = carried[0], after = b.addI(before, number);
              Value isHere = b.andI(b.compare(CmpIPredicate::slt, before, left),
                                    b.compare(CmpIPredicate::sge, after, left));
              b.ifThen(isHere, [&] {
                Value rest = b.subI(left, before);
                Value above = arith::ShLIOp::create(b, prefix, part.width);
                b.store(b.orI(above, b.toI32(value)), found, prefixAt);
                b.store(rest, found, needAt);
                b.store(part.shift, found, b.index(2));
                // All of them: no more parts.
                Value isAll = b.compare(CmpIPredicate::eq, rest, number);
                b.store(b.select(isAll, b.i32(1), b.i32(0)), found, b.index(3));
              });
              return {after};
            });
  b.barrier();
}

/// Narrows down what the need-th best begins with, part after part, until all
/// that begins so is needed.
SmallVector<Value> PickLauncher::markBest(Value need, Value hasCounted) {
  findRefs();
  // Parts of a rank, from the highest bits down.
  int64_t first = getFirstWidth();
  SmallVector<int64_t> widths = {first, 11, 10};
  if (hasLevels()) {
    mostMargin = getMostMargin();
    widths = {first, 21 - kLeftOut - first};
  }
  storeOnce(b.i32(0), found, b.index(0));
  storeOnce(need, found, b.index(1));
  storeOnce(b.i32(0), found, b.index(3));
  b.barrier();
  // In a loop, as the code of a part is long.
  b.forLoop(b.index(0), b.index(widths.size()), 1, [&](Value number) {
    RankPart part;
    part.most = int64_t(1) << widths.front();
    int64_t below = 32;
    for (auto [i, width] : llvm::enumerate(widths)) {
      below -= width;
      Value is = b.compare(CmpIPredicate::eq, number,
                           b.index(static_cast<int64_t>(i)));
      auto choose = [&](int64_t value, Value otherwise) {
        return otherwise ? b.select(is, b.i32(value), otherwise) : b.i32(value);
      };
      part.width = choose(width, part.width);
      part.shift = choose(below, part.shift);
    }
    Value isMore =
        b.compare(CmpIPredicate::eq, b.load(found, b.index(3)), b.i32(0));
    Value isFirst = b.compare(CmpIPredicate::eq, number, b.index(0));
    if (hasLevels()) {
      // Nothing follows where the most has no more bits.
      int64_t known = kLeftOut + widths.front();
      Value isLong =
          b.compare(CmpIPredicate::uge, mostMargin, b.i32(int64_t(1) << known));
      isMore = b.andI(isMore, b.orI(isFirst, isLong));
    }
    Value isCounted = hasCounted ? b.andI(hasCounted, isFirst) : Value();
    b.ifThen(isMore, [&] { narrowRanks(part, isCounted); });
  });
  return hasLevels() && hasFewHeads() && sumsWhileMarking() ? markBestOfLevels()
                                                            : markBestOfRanks();
}

void PickLauncher::addBest(Value rank, Value isCandidate,
                           SmallVector<Value> &better,
                           SmallVector<Value> &equal) {
  Value above = arith::ShRUIOp::create(b, rank, b.load(found, b.index(2)));
  Value last = b.load(found, b.index(0));
  auto add = [&](CmpIPredicate predicate, SmallVector<Value> &to) {
    to.push_back(b.andI(isCandidate, b.compare(predicate, above, last)));
  };
  add(CmpIPredicate::ugt, better);
  add(CmpIPredicate::eq, equal);
}

SmallVector<Value> PickLauncher::markBestOfRanks() {
  forEachSlot(
      {}, [&](ArrayRef<Slot> slots) { return loadForRanks(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded,
          ValueRange) -> SmallVector<Value> {
        SmallVector<Value> better, equal;
        for (auto [rank, slot] :
             llvm::zip_equal(getRanks(slots, loaded), slots))
          addBest(rank, andOpen(slot, b.boolean(true)), better, equal);
        storeBits(better, picked, b.index(0), slots);
        storeBits(equal, picked, b.index(1), slots);
        return {};
      },
      /*ofMarked=*/true);
  b.barrier();
  return {b.load(found, b.index(1))};
}

SmallVector<Value> PickLauncher::markBestOfLevels() {
  SmallVector<Value> headTops = loadOfHeads(tops), left = getNothingLeft();
  left = forEachSlot(
      left, [&](ArrayRef<Slot> slots) { return loadForRanks(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> next(now), better, equal;
        SmallVector<Value> marked = loadBits(picked, b.index(0), slots);
        SmallVector<Value> ranks = getRanks(slots, loaded);
        AllLevels all = takeAllLevels(loaded, slots.size(), headTops);
        for (auto [i, slot] : llvm::enumerate(slots)) {
          addBest(ranks[i], andOpen(slot, marked[i]), better, equal);
          Value isLeft = andOpen(slot, notI(b.orI(better[i], equal[i])));
          for (int64_t head = 0; head < group; ++head)
            addLeft(head, getDepth(all, head, i),
                    hasMoment() ? all.spreads[i] : Value(), isLeft, next);
        }
        storeBits(better, picked, b.index(0), slots);
        storeBits(equal, picked, b.index(1), slots);
        return next;
      });
  b.barrier();
  SmallVector<Value> marked = {b.load(found, b.index(1))};
  llvm::append_range(marked, left);
  return marked;
}
