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

#include "BestScores.h"
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

void PickLauncher::countRanks(Value prefix, int64_t shift, int64_t bits) {
  int64_t size = int64_t(1) << bits;
  clearBins(size);
  Value one = b.i32(1);
  // What is not counted has bins of its lane's own, behind all others.
  Value uncounted = b.addI(b.toI32(lane), b.i32(numBins));
  forEachSlot(
      {}, [&](ArrayRef<Slot> slots) { return loadForRanks(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded,
          ValueRange) -> SmallVector<Value> {
        SmallVector<Value> ranks = getRanks(slots, loaded);
        for (auto [rank, slot] : llvm::zip_equal(ranks, slots)) {
          Value isHere = andOpen(slot, b.boolean(true));
          if (prefix) {
            Value above = arith::ShRUIOp::create(b, rank, b.i32(shift + bits));
            isHere =
                b.andI(isHere, b.compare(CmpIPredicate::eq, above, prefix));
          }
          Value part = arith::ShRUIOp::create(b, rank, b.i32(shift));
          part = b.andI(part, b.i32(size - 1));
          addToBin(b.toIndex(b.select(isHere, part, uncounted)), one);
        }
        return {};
      },
      /*ofMarked=*/true);
  addUpBins(size);
}

/// Narrows down what the need-th best begins with, part after part, until all
/// that begins so is needed.
SmallVector<Value> PickLauncher::markBest(Value need) {
  findRefs();
  if (hasLevels())
    mostMargin = getMostMargin();
  Value prefixAt = b.index(0), needAt = b.index(1),
        shiftAt = b.index(2), isAllAt = b.index(3);
  // Parts of a rank, from the highest bits down. Of levels, the first is as
  // large as there are bins for, and mostly all of it.
  SmallVector<int64_t> widths = {11, 11, 10};
  if (hasLevels()) {
    int64_t first = llvm::Log2_64(numBins), all = 21 - kLeftOut;
    widths = {first, all - first};
  }
  auto narrow = [&](int64_t shift, int64_t width) {
    bool isFirst = shift + width == 32;
    Value prefix = isFirst ? Value() : b.load(found, prefixAt);
    Value left = isFirst ? need : b.load(found, needAt);
    countRanks(prefix, shift, width);
    // The value at which as many are reached; a thread has a few values, or
    // one.
    int64_t size = int64_t(1) << width;
    int64_t own = llvm::divideCeil(size, threads);
    SmallVector<Value> values, numbers;
    Value sum = b.i32(0);
    for (int64_t i = 0; i < own; ++i) {
      Value at = b.addI(b.mulI(thread, b.index(own)), b.index(i));
      Value isThere = b.compare(CmpIPredicate::ult, at, b.index(size));
      at = b.minI(at, b.index(size - 1));
      Value value = b.subI(b.index(size - 1), at);
      Value number = b.select(isThere, b.load(bins, value), b.i32(0));
      values.push_back(value);
      numbers.push_back(number);
      sum = b.addI(sum, number);
    }
    Value before = scan(sum).first;
    for (auto [value, number] : llvm::zip_equal(values, numbers)) {
      Value after = b.addI(before, number);
      Value isHere = b.andI(b.compare(CmpIPredicate::slt, before, left),
                            b.compare(CmpIPredicate::sge, after, left));
      b.ifThen(isHere, [&, value = value, number = number] {
        Value here = b.toI32(value), rest = b.subI(left, before);
        if (prefix)
          here = b.orI(arith::ShLIOp::create(b, prefix, b.i32(width)), here);
        b.store(here, found, prefixAt);
        b.store(rest, found, needAt);
        // All of them: no more parts.
        Value isAll = b.compare(CmpIPredicate::eq, rest, number);
        b.store(b.i32(shift), found, shiftAt);
        b.store(b.select(isAll, b.i32(1), b.i32(0)), found, isAllAt);
      });
      before = after;
    }
    b.barrier();
  };
  auto isAll = [&] {
    return b.compare(CmpIPredicate::ne, b.load(found, isAllAt), b.i32(0));
  };
  int64_t shift = 32;
  for (int64_t width : widths) {
    shift -= width;
    if (shift + width == 32) {
      narrow(shift, width);
      continue;
    }
    Value isMore = notI(isAll());
    if (hasLevels()) {
      // Nothing follows where the most has no more bits.
      int64_t known = kLeftOut + 32 - (shift + width);
      Value isLong = b.compare(CmpIPredicate::uge, mostMargin,
                               b.i32(int64_t(1) << known));
      isMore = b.andI(isMore, isLong);
    }
    b.ifThen(isMore, [&] { narrow(shift, width); });
  }
  return hasLevels() && sumsWhileMarking() ? markBestOfLevels()
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
  SmallVector<Value> headTops = loadOfHeads(tops);
  Value none = b.f32(0.0f);
  Value isAll =
      b.compare(CmpIPredicate::ne, b.load(found, b.index(3)), b.i32(0));
  SmallVector<Value> sums;
  SmallVector<Join> joins;
  for (int64_t head = 0; head < group; ++head) {
    sums.append({none, b.i32(0)});
    joins.append({Join::sum, Join::either});
  }
  sums = forEachSlot(
      sums, [&](ArrayRef<Slot> slots) { return loadForRanks(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> next(now), better, equal;
        SmallVector<Value> marked = loadBits(picked, b.index(0), slots);
        SmallVector<Value> ranks = getRanks(slots, loaded);
        AllLevels all = takeAllLevels(loaded, slots.size(), headTops);
        for (auto [i, slot] : llvm::enumerate(slots)) {
          addBest(ranks[i], andOpen(slot, marked[i]), better, equal);
          Value isKept = b.orI(better[i], b.andI(equal[i], isAll));
          Value isLeft = andOpen(slot, notI(isKept));
          for (int64_t head = 0; head < group; ++head) {
            Value depth = getDepth(all, head, i);
            Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
            Value &sum = next[2 * head], &bits = next[2 * head + 1];
            sum = b.addF(sum, b.select(b.andI(isLeft, isKnown),
                                       getMassOfDepth(depth), none));
            Value kind = b.select(isKnown, b.i32(1), b.i32(3));
            bits = b.orI(bits, b.select(isLeft, kind, b.i32(0)));
          }
        }
        storeBits(better, picked, b.index(0), slots);
        storeBits(equal, picked, b.index(1), slots);
        return next;
      });
  sums = reduceAll(sums, joins);
  SmallVector<Value> marked = {b.load(found, b.index(1))};
  llvm::append_range(marked, sums);
  return marked;
}
