//===- PickProof.cpp - What the proofs of a group need, on a GPU ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// As ProvingPick.cpp. A bin sums, in integers, what its slots' bounds come to
// in units of exp(-depth) below the head's highest bound, where its depth is
// that of the bin's upper end; and what their scores come to, in units that are
// less by what the best score lacks of that bound.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Masses in bins, each at most 1, are multiples of the number of slots divided
/// by it: the sums of all fit.
static constexpr float kFixedPoint = 0x1p31f;

void PickLauncher::findTops() {
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    // The highest finite bound, whether a score is NaN, and the best score of a
    // finite bound, with what it adds to that.
    Value none = b.negInf(), nothing = b.f32(0.0f);
    SmallVector<Value> own =
        forEachSlot({none, b.i32(0), none, nothing}, [&](ArrayRef<Slot> slots,
                                                         ValueRange now) {
          SmallVector<Value> next(now);
          SmallVector<Value> all = weighted(bounds, head, slots);
          SmallVector<Value> estimates = weighted(scores, head, slots);
          for (auto [bound, score] : llvm::zip_equal(all, estimates)) {
            Value isFinite =
                b.compare(CmpFPredicate::OLT, bound, b.f32(kInfinity));
            next[0] = b.maxNumber(next[0], b.select(isFinite, bound, none));
            next[1] =
                b.orI(next[1], b.select(isNaN(score), b.i32(1), b.i32(0)));
            Value isBest = b.compare(CmpFPredicate::OGT, score, next[2]);
            isBest = b.andI(isBest, isFinite);
            next[2] = b.select(isBest, score, next[2]);
            next[3] = b.select(isBest, b.subF(score, bound), next[3]);
          }
          return next;
        });
    SmallVector<Value> largest = reduceAll(
        ArrayRef(own).take_front(3), {Join::most, Join::either, Join::most});
    Value isNear = b.compare(CmpFPredicate::OGE, own[2],
                             b.subF(largest[2], b.f32(ScanFindings::kNear)));
    Value added = b.select(isNear, own[3], none);
    added = reduceAll(added, Join::most).front();
    storeOnce(largest[0], tops, head);
    storeOnce(largest[1], nans, head);
    b.ifThen(isFirstThread(), [&] {
      // A number, also of nothing.
      auto clamp = [&](Value lack) {
        return b.minNumber(b.maxNumber(lack, nothing), b.f32(1e3f));
      };
      setFact(head, Fact::lack, clamp(b.subF(nothing, added)));
      Value most = clamp(b.subF(largest[0], largest[2]));
      setWidth(head, most);
      setStart(head, most);
      setMomentFacts(head, largest[0]);
    });
  });
  b.barrier();
}

void PickLauncher::loadTops() {
  auto larger = [&](Value x, Value y) { return b.maxNumber(x, y); };
  auto add = [&](Value x, Value y) { return b.addF(x, y); };
  int64_t size = hasLevels() ? 4 : 1;
  auto load = [&](Value head, Value at) {
    Value vector = vector::LoadOp::create(
        b, b.vectorType(size), scanTops,
        ValueRange{row, b.addI(firstHead, head), at, b.index(0)},
        /*nontemporal=*/false, llvm::MaybeAlign(4 * size));
    SmallVector<Value> found;
    for (int64_t i = 0; i < size; ++i)
      found.push_back(
          vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{i}));
    return found;
  };
  Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
  Value blocks = b.dim(scanTops, 2), none = b.f32(0.0f);
  b.forLoop(warp, b.index(group), warps, [&](Value head) {
    // NaN stays among the highest scores.
    auto join = [&](ValueRange x, ValueRange y) {
      return SmallVector<Value>{larger(x[0], y[0]),
                                arith::MaximumFOp::create(b, x[1], y[1])};
    };
    SmallVector<Value> largest = b.forLoop(
        lane, blocks, kWarp, {b.negInf(), b.negInf()},
        [&](Value at, ValueRange now) {
          SmallVector<Value> found = load(head, at);
          return join(now, {found.front(), hasLevels() ? found[1] : found[0]});
        });
    for (int64_t mask = 1; mask < kWarp; mask *= 2)
      largest = join(largest, {b.shuffleXor(largest[0], mask),
                               b.shuffleXor(largest[1], mask)});
    Value top = largest[0];
    b.ifThen(isFirst, [&] {
      b.store(top, tops, head);
      b.store(b.select(isNaN(largest[1]), b.i32(1), b.i32(0)), nans, head);
    });
    if (!hasLevels()) {
      b.ifThen(isFirst, [&] {
        setStart(head, b.f32(0.0f));
        setMomentFacts(head, top);
      });
      return;
    }
    // Weighted by what the best score of each block stands for: a key far above
    // others may have the highest bound, and no score.
    Value unknown = b.f32(kInfinity);
    SmallVector<Value> found = b.forLoop(
        lane, blocks, kWarp, {none, none, unknown},
        [&](Value at, ValueRange now) {
          SmallVector<Value> found = load(head, at), next;
          // None of a block without a score, or where it has no finite bound.
          Value weight = estimate(b.subF(found[1], largest[1]));
          weight = b.maxNumber(weight, none);
          Value isKnown = b.compare(CmpFPredicate::OLT, found[2], unknown);
          for (auto [sum, value] : llvm::zip_equal(
                   now.take_front(2), ArrayRef(found).take_back(2))) {
            Value more = math::FmaOp::create(b, weight, value, sum);
            next.push_back(b.select(isKnown, more, sum));
          }
          Value isNear = b.compare(CmpFPredicate::OGE, weight,
                                   b.f32(std::exp(-ScanFindings::kNear)));
          Value lack = b.select(b.andI(isKnown, isNear), found[2], unknown);
          next.push_back(b.minNumber(now[2], lack));
          return next;
        });
    for (Value &sum : MutableArrayRef(found).take_front(2))
      sum = b.combine(sum, add);
    Value lack = b.combine(found[2],
                           [&](Value x, Value y) { return b.minNumber(x, y); });
    Value isNone = b.compare(CmpFPredicate::OEQ, lack, unknown);
    lack = b.select(isNone, none, lack);
    b.ifThen(isFirst, [&] {
      Value most = b.maxNumber(lack, b.subF(top, largest[1]));
      setStart(head, b.subF(top, largest[1]));
      // One that follows has the bins of the pick before, whose list has the
      // best; otherwise less than that may be attended, and nothing more open.
      if (attended && !isFollowing()) {
        Value known = b.load(attended, {row, b.addI(firstHead, head)});
        most = b.maxNumber(most, b.subF(top, known));
      }
      setWidth(head, most);
      setFact(head, Fact::reach, most);
      setFact(head, Fact::lack, lack);
      Value slope = b.divF(found[0], b.maxNumber(found[1], b.f32(0x1p-100f)));
      setFact(head, Fact::slope, slope);
      setMomentFacts(head, top);
    });
  });
  b.barrier();
}

/// What is attended has a mass of at least what the best score stands for. Bins
/// must reach so deep that all slots together do not matter below.
void PickLauncher::setWidth(Value head, Value lack) {
  if (!isProving)
    return;
  // For scores that lack more than most: wide bins cost little beside levels.
  const float room = hasLevels() ? 8 : 3;
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value width = b.f32(1.0f), ratio = getRatio();
  for (int64_t next = 2; next <= kMostWidth; next *= 2) {
    float reach = kBins / getBinsPerNat() * (next / 2);
    Value below = estimate(b.addF(lack, b.f32(room - reach)));
    Value isTooMuch =
        b.compare(CmpFPredicate::UGT, b.mulF(below, number), ratio);
    width = b.select(isTooMuch, b.f32(next), width);
  }
  setFact(head, Fact::width, width);
}

Value PickLauncher::getRatio() {
  // A little less than was asked for leaves room for the rounding that a
  // certificate adds, some of it for each token.
  float tolerance = op.getTolerance()->convertToFloat() * (1.0f - 0x1p-8f);
  float ratio = tolerance / (1.0f - tolerance);
  Value tokens = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(length));
  Value room = b.mulF(tokens, b.f32(-0x1p-25f * ratio));
  return b.maxF(b.addF(room, b.f32(ratio)), b.f32(0.0f));
}

/// Of a mass in bins.
Value PickLauncher::getUnit() {
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  return b.divF(b.f32(kFixedPoint), b.maxF(number, b.f32(1.0f)));
}

std::pair<Value, Value> PickLauncher::fillBins(Value head, Value shift) {
  clearBins(2 * kBins);
  Value unit = getUnit(), zero = b.index(0), none = b.f32(0.0f);
  Value top = b.load(tops, head), lack = getFact(head, Fact::lack);
  Value last = b.f32(kBins - 1), perNat = getBinsPerNat(head);
  Value depthOfBin = b.divF(b.f32(-1.0f), perNat);
  Value unsorted = b.addI(b.toI32(lane), b.i32(kRankBins));
  // What heads before have taken: what is marked, and what the last one takes,
  // which is marked here.
  Value previous = b.maxI(b.subI(head, b.index(1)), zero);
  Value isSecond = b.compare(CmpIPredicate::sgt, head, zero);
  Value isThird = b.compare(CmpIPredicate::sgt, previous, zero);
  Value previousTop, previousEnd;
  if (group > 1) {
    previousTop = b.load(tops, previous);
    previousEnd = b.load(ends, previous);
  }
  SmallVector<Value> sums =
      forEachSlot({none, none}, [&](ArrayRef<Slot> slots, ValueRange now) {
        SmallVector<Value> next(now), others, marked;
        SmallVector<Value> all = weighted(bounds, head, slots);
        SmallVector<Value> estimates = weighted(scores, head, slots);
        if (group > 1) {
          others = weighted(bounds, previous, slots);
          SmallVector<Value> nothing(slots.size(), b.boolean(false));
          marked = b.ifThen(isThird, nothing,
                            [&] { return loadBits(picked, zero, slots); });
          for (auto [i, slot] : llvm::enumerate(slots)) {
            Value is = isTaken(previousTop, previousEnd, others[i]);
            marked[i] = b.orI(marked[i], b.andI(isSecond, is));
            marked[i] = andOpen(slot, marked[i]);
          }
          storeBits(marked, picked, zero, slots);
        }
        for (auto [i, slot] : llvm::enumerate(slots)) {
          // What is not known is taken in any case.
          Value bound = all[i], score = estimates[i];
          Value taken = orAlways(slot, isUnknown(bound));
          if (group > 1)
            taken = b.orI(taken, marked[i]);
          // The largest number where there is none: -inf - -inf.
          Value place = b.minNumber(getPlace(top, bound, perNat), last);
          place = b.maxNumber(place, none);
          Value isBelow = b.compare(CmpFPredicate::OGE, place, last);
          Value bin = arith::FPToSIOp::create(b, b.getI32Type(), place);
          // In units of the bin, or of the highest.
          Value within =
              b.subF(place, arith::SIToFPOp::create(b, b.getF32Type(), bin));
          Value rest = estimate(b.select(isBelow, b.subF(bound, shift),
                                         b.mulF(within, depthOfBin)));
          Value share = b.addF(b.subF(score, bound), lack);
          share = b.minF(share, b.f32(std::log(kMostShare)));
          Value mass = estimate(b.select(taken, b.subF(score, shift), share));
          mass = b.maxNumber(mass, none); // NaN is no mass
          next[0] = b.addF(next[0], b.select(andOpen(slot, taken), mass, none));
          // What is below is taken only with all others: its mass never counts.
          Value isLeft = andOpen(slot, notI(taken));
          next[1] =
              b.addF(next[1], b.select(b.andI(isLeft, isBelow), rest, none));
          // No branch: what is not sorted has a bin of its lane's own.
          Value isSorted = b.andI(isLeft, notI(isBelow));
          auto sort = [&](Value value, int64_t first) {
            value = b.select(isSorted, value, none);
            Value number = math::FmaOp::create(b, value, unit, b.f32(0.5f));
            Value amount = arith::FPToUIOp::create(b, b.getI32Type(), number);
            Value at = b.addI(bin, b.i32(first));
            addToBin(b.toIndex(b.select(isSorted, at, unsorted)), amount);
          };
          sort(b.mulF(b.mulF(rest, mass), b.f32(1.0f / kMostShare)), 0);
          sort(rest, kBins);
        }
        return next;
      });
  sums = addUpBins(2 * kBins, sums, {Join::sum, Join::sum});
  return {sums[0], sums[1]};
}

void PickLauncher::findEnd(Value head) {
  const int64_t own = kBins / threads; // bins of a thread
  Value shift = getShift(head), perNat = getBinsPerNat(head);
  auto [mass, rest] = fillBins(head, shift);
  Value at[] = {row, b.addI(firstHead, head)};
  if (attended)
    mass = b.addF(mass, getMass(b.load(attended, at), shift));
  if (outside)
    rest = b.addF(rest, getMass(b.load(outside, at), shift));

  Value lack = getFact(head, Fact::lack);
  auto load = [&](Value bin, int64_t first) {
    Value fixed = b.load(bins, b.addI(bin, b.index(first)));
    Value number = arith::UIToFPOp::create(b, b.getF32Type(), fixed);
    Value depth = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(bin));
    depth = b.divF(depth, perNat);
    if (first == 0) { // of scores
      depth = b.addF(depth, lack);
      number = b.mulF(number, b.f32(kMostShare));
    }
    Value unit = b.exp(b.subF(b.f32(kHeadroom), depth));
    return b.mulF(b.divF(number, getUnit()), unit);
  };
  // Masses before each bin; rests from the last bin on.
  Value low = b.mulI(thread, b.index(own));
  Value high = b.subI(b.index(kBins - 1), low);
  SmallVector<Value> masses, rests;
  Value allMasses = b.f32(0.0f), allRests = b.f32(0.0f);
  for (int64_t i = 0; i < own; ++i) {
    masses.push_back(load(b.addI(low, b.index(i)), 0));
    rests.push_back(load(b.subI(high, b.index(i)), kBins));
    allMasses = b.addF(allMasses, masses.back());
    allRests = b.addF(allRests, rests.back());
  }
  mass = b.addF(mass, scan(allMasses).first);
  rest = b.addF(rest, scan(allRests).first);
  for (int64_t i = 0; i < own; ++i) {
    b.store(mass, massBefore, b.addI(low, b.index(i)));
    mass = b.addF(mass, masses[i]);
    rest = b.addF(rest, rests[i]);
    b.store(rest, restFrom, b.subI(high, b.index(i)));
  }
  b.barrier();

  // The first bin that a proof can do without.
  Value ratio = getRatio(), end = b.i32(kBins);
  for (int64_t i = own; i-- > 0;) {
    Value bin = b.addI(low, b.index(i));
    Value proves = b.compare(CmpFPredicate::OLE, b.load(restFrom, bin),
                             b.mulF(ratio, b.load(massBefore, bin)));
    end = b.select(proves, b.toI32(bin), end);
  }
  end = reduce(end, Join::least);
  // A head with a score that is NaN proves nothing, whatever is left.
  Value isNone = b.compare(CmpIPredicate::ne, b.load(nans, head), b.i32(0));
  end = b.select(isNone, b.i32(kBins), end);
  // All bins: however far below.
  Value isAll = b.compare(CmpIPredicate::eq, end, b.i32(kBins));
  Value number = arith::SIToFPOp::create(b, b.getF32Type(), end);
  Value depth = b.divF(number, perNat);
  storeOnce(b.select(isAll, b.f32(kInfinity), depth), ends, head);
  b.barrier();
}

PickLauncher::Marked PickLauncher::markNeeded() {
  Value zero = b.index(0);
  SmallVector<Value> carried = {b.i32(0)}, shifts;
  if (sumsWhileMarking())
    for (int64_t head = 0; head < group; ++head) {
      carried.append({b.f32(0.0f), b.i32(0)});
      shifts.push_back(getShift(b.index(head)));
    }
  carried = forEachSlot(carried, [&](ArrayRef<Slot> slots, ValueRange now) {
    SmallVector<Value> next(now);
    SmallVector<Value> needed(slots.size(), b.boolean(!isProving));
    SmallVector<SmallVector<Value>> all;
    auto mark = [&](Value head, ArrayRef<Value> found, ValueRange before) {
      SmallVector<Value> taken(before);
      Value top = b.load(tops, head), end = b.load(ends, head);
      for (auto [is, bound] : llvm::zip_equal(taken, found))
        is = b.orI(is, isTaken(top, end, bound));
      return taken;
    };
    if (sumsWhileMarking()) {
      for (int64_t head = 0; head < group; ++head)
        all.push_back(weighted(bounds, b.index(head), slots));
      for (int64_t head = 0; head < group; ++head)
        needed = mark(b.index(head), all[head], needed);
    } else if (isProving) {
      needed = b.forLoop(
          zero, b.index(group), 1, needed, [&](Value head, ValueRange before) {
            return mark(head, weighted(bounds, head, slots), before);
          });
    }
    for (auto [i, slot] : llvm::enumerate(slots)) {
      // Sinks and window are picked, needed or not.
      Value is = needed[i] = andOpen(slot, orAlways(slot, needed[i]));
      next[0] = b.addI(next[0], b.select(is, b.i32(1), b.i32(0)));
      if (sumsWhileMarking()) {
        Value isLeft = andOpen(slot, notI(is));
        for (int64_t head = 0; head < group; ++head)
          addLeft(all[head][i], isLeft, shifts[head], next[1 + 2 * head],
                  next[2 + 2 * head]);
      }
    }
    storeBits(needed, picked, zero, slots);
    SmallVector<Value> none(slots.size(), b.boolean(false));
    storeBits(none, picked, b.index(1), slots);
    return next;
  });
  SmallVector<Join> joins = {Join::sum};
  while (joins.size() < carried.size())
    joins.append({Join::sum, Join::either});
  return joinMarked(carried, joins);
}
