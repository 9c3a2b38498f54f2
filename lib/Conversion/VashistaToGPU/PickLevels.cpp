//===- PickLevels.cpp - What proofs need, by levels of bounds -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// As PickProof.cpp, of levels (ScanFindings): a bound is at most the top of its
// tile less its level, and so at most the highest of its head less its depth,
// an integer.
//
// Slots of each depth are counted, of a few heads in one pass, and what scores
// lack of their bounds is added up beside: a bin is 1/32 nat deep, and its
// slots lie in the middle of it, for an estimate of what is left and of what is
// attended. So it is found how deep a head must take slots if nobody else did.
// Of several heads, all that are taken by some are candidates, and how far one
// lies within what any head takes is its margin. Of each margin masses are
// added up, again of all heads in one pass; then all slots are dropped whose
// margin no head needs.
//
// Tails are sums over depths themselves: a bound that is not above what is left
// out of it. The f32 difference of two tops is off by 2^-23 of at most 2^16
// steps, which 1/64 of a step covers; tops further apart count as 2^16 steps.
// A depth of at most 2^17 steps is a f32 number, whose product with a step in
// powers of two is off by 2^-23 of at most 370: below 2^-14, the room of the
// terms that count (those of 2^16 steps, 128 nats, are lost in any sum).
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Steps of a bin, and bins of a nat.
static constexpr int64_t kStepsOfBin = 16;
static constexpr float kOfNat =
    static_cast<float>(ScanFindings::kPerNat) / kStepsOfBin;
/// Of what scores promise: what is attended has a little less than that as
/// often as more, and another round takes longer than a few more tokens.
static constexpr float kPromised = 15.0f / 16.0f;
/// The mass of a score is counted in units of what is expected, up to so much.
static constexpr float kMostShare = 8;

PickLauncher::Levels PickLauncher::loadLevels(Value head,
                                              ArrayRef<Slot> slots) {
  Levels found;
  Value queryHead = b.addI(firstHead, head);
  auto loadTop = [&](Value slot) {
    Value tile = b.divU(slot, b.index(ScanFindings::kTile));
    found.tops.push_back(b.load(tileTops, {row, queryHead, tile}));
  };
  if (!areTogether(slots)) {
    Value slot = b.minI(slots[0].number, b.subI(numSlots, b.index(1)));
    Value level = b.load(levels, {row, queryHead, slot});
    found.packed = {arith::ExtUIOp::create(b, b.getI32Type(), level)};
    loadTop(slot);
    return found;
  }
  for (int64_t i = 0; i < kAtOnce; i += kTogether) {
    static_assert(kTogether == 4, "as many are 8 bytes");
    auto [low, high] = b.load8Bytes(levels, {row, queryHead, slots[i].number});
    found.packed.append({low, high});
    loadTop(slots[i].number);
  }
  return found;
}

SmallVector<Value> PickLauncher::loadSpreads(ArrayRef<Slot> slots) {
  SmallVector<Value> found;
  auto extend = [&](Value spread) {
    found.push_back(arith::ExtFOp::create(b, b.getF32Type(), spread));
  };
  if (!areTogether(slots)) {
    Value slot = b.minI(slots[0].number, b.subI(numSlots, b.index(1)));
    extend(b.load(spreads, {row, kvHead, slot}));
    return found;
  }
  auto type = VectorType::get({kTogether}, b.getF16Type());
  for (int64_t i = 0; i < kAtOnce; i += kTogether) {
    Value vector = vector::LoadOp::create(
        b, type, spreads, ValueRange{row, kvHead, slots[i].number},
        /*nontemporal=*/false, llvm::MaybeAlign(2 * kTogether));
    for (int64_t j = 0; j < kTogether; ++j)
      extend(vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{j}));
  }
  return found;
}

Value PickLauncher::getLevel(const Levels &levels, int64_t slot) {
  if (levels.packed.size() == 1)
    return levels.packed[0];
  Value pair = levels.packed[slot / 2];
  return slot % 2 ? b.createOrFold<arith::ShRUIOp>(pair, b.i32(16))
                  : b.andI(pair, b.i32(0xffff));
}

SmallVector<Value> PickLauncher::getBoundsOfLevels(Value head,
                                                   ArrayRef<Slot> slots) {
  Levels found = loadLevels(head, slots);
  SmallVector<Value> result;
  for (unsigned i = 0; i < slots.size(); ++i) {
    Value level =
        arith::UIToFPOp::create(b, b.getF32Type(), getLevel(found, i));
    result.push_back(math::FmaOp::create(b, level,
                                         b.f32(-1.0f / ScanFindings::kPerNat),
                                         found.tops[i / kTogether]));
  }
  return result;
}

SmallVector<Value> PickLauncher::getBelow(Value top, const Levels &levels) {
  SmallVector<Value> below;
  for (Value tileTop : levels.tops) {
    // Not known: far above. NaN, of nothing and nothing: the same.
    Value steps = math::FmaOp::create(
        b, b.subF(top, tileTop), b.f32(ScanFindings::kPerNat), b.f32(-0x1p-6f));
    steps = b.maxNumber(steps, b.f32(-0x1p20f));
    steps = arith::MinNumFOp::create(b, steps, b.f32(0x1p16f));
    // Towards zero: the highest lies not above itself.
    below.push_back(arith::FPToSIOp::create(b, b.getI32Type(), steps));
  }
  return below;
}

/// The value of this warp.
Value PickLauncher::selectOfWarp(ArrayRef<Value> values) {
  Value own = values.front();
  for (auto [i, value] : llvm::enumerate(values))
    if (i > 0)
      own =
          b.select(b.compare(CmpIPredicate::eq, warp, b.index(i)), value, own);
  return own;
}

void PickLauncher::findDepthEnds() {
  int64_t heads = getHeadsAtOnce();
  b.forLoop(b.index(0), b.index(group), heads, [&](Value first) {
    SmallVector<Value> taken = countDepths(first);
    // A warp for each.
    Value head = b.addI(first, warp);
    Value isThere = b.andI(b.compare(CmpIPredicate::ult, warp, b.index(heads)),
                           b.compare(CmpIPredicate::ult, head, b.index(group)));
    Value own = selectOfWarp(taken);
    b.ifThen(isThere, [&] { findDepthEnd(head, warp, own); });
    b.barrier();
  });
}

SmallVector<Value> PickLauncher::countDepths(Value first) {
  int64_t heads = getHeadsAtOnce();
  Value none = b.f32(0.0f), last = b.i32(kBins - 1);
  Value unit = b.mulF(getUnit(), b.f32(1.0f / kMostShare));
  // What is not counted has a bin of its lane's own, behind all others.
  Value uncounted = b.addI(b.toI32(lane), b.i32(numBins));
  clearBins(2 * heads * kBins);
  SmallVector<Value> numbers, headTops, slopes, lacks;
  for (int64_t i = 0; i < heads; ++i) {
    // A head that is not there counts as the last one does, for nothing.
    numbers.push_back(b.minI(b.addI(first, b.index(i)), b.index(group - 1)));
    headTops.push_back(b.load(tops, numbers[i]));
    lacks.push_back(b.mulF(getFact(numbers[i], Fact::lack), b.f32(kLog2E)));
    slopes.push_back(b.mulF(getFact(numbers[i], Fact::slope), b.f32(-kLog2E)));
  }
  SmallVector<Value> sums =
      forEachSlot(SmallVector<Value>(heads, none), [&](ArrayRef<Slot> slots,
                                                       ValueRange now) {
        SmallVector<Value> next(now);
        SmallVector<Levels> all;
        SmallVector<Value> spreads = loadSpreads(slots);
        for (int64_t i = 0; i < heads; ++i)
          all.push_back(loadLevels(numbers[i], slots));
        for (int64_t i = 0; i < heads; ++i) {
          SmallVector<Value> below = getBelow(headTops[i], all[i]);
          for (auto [j, slot] : llvm::enumerate(slots)) {
            Value depth = getDepth(all[i], below, j);
            // As unsigned numbers: what is not known is in the last bin, whose
            // mass hardly counts.
            Value bin = arith::ShRSIOp::create(b, depth, b.i32(4));
            bin = arith::MinUIOp::create(b, bin, last);
            bin = b.addI(bin, b.i32(2 * i * kBins));
            if (slot.isAlways) {
              Value isTaken = andOpen(slot, slot.isAlways);
              Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
              Value mass =
                  getMassOfScore(getMassOfDepth(depth), numbers[i], spreads[j]);
              mass = b.select(b.andI(isTaken, isKnown), mass, none);
              next[i] = b.addF(next[i], mass);
            }
            Value share =
                b.exp2(math::FmaOp::create(b, slopes[i], spreads[j], lacks[i]));
            share = arith::MinNumFOp::create(b, share, b.f32(kMostShare));
            Value number = math::FmaOp::create(b, share, unit, b.f32(0.5f));
            number = arith::FPToUIOp::create(b, b.getI32Type(), number);
            auto count = [&, &slot = slot](Value bin, Value amount) {
              if (slot.isAlways)
                bin = b.select(slot.isAlways, uncounted, bin);
              if (slot.isOpen)
                bin = b.select(slot.isOpen, bin, uncounted);
              addToBin(b.toIndex(bin), amount);
            };
            count(bin, b.i32(1));
            count(b.addI(bin, b.i32(kBins)), number);
          }
        }
        return next;
      });
  return addUpBins(2 * heads * kBins, sums,
                   SmallVector<Join>(heads, Join::sum));
}

/// From the last bin up, 32 at a time: what is left from each on, and whether
/// that is too much.
void PickLauncher::findDepthEnd(Value head, Value at, Value taken) {
  constexpr int64_t rounds = kBins / kWarp;
  Value zero = b.index(0), none = b.f32(0.0f), ratio = getRatio();
  Value reversed = b.subI(b.index(kWarp - 1), lane);
  Value within = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(reversed));
  Value middle = b.mulF(b.addF(within, b.f32(0.5f)), b.f32(-1.0f / kOfNat));
  Value firstBin = b.mulI(at, b.index(2 * kBins));
  Value share = estimate(b.subF(none, getFact(head, Fact::lack)));
  share = b.divF(b.mulF(share, b.f32(kMostShare)), getUnit());
  // Of bounds, and of scores.
  auto getMasses = [&](Value round) {
    Value bin = b.addI(b.mulI(round, b.index(kWarp)), reversed);
    bin = b.addI(firstBin, bin);
    auto load = [&](Value at) {
      return arith::UIToFPOp::create(b, b.getF32Type(), b.load(bins, at));
    };
    Value nats = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(round));
    Value mass =
        estimate(math::FmaOp::create(b, nats, b.f32(-kWarp / kOfNat), middle));
    Value lacking = b.mulF(load(b.addI(bin, b.index(kBins))), share);
    return SmallVector<Value>{b.mulF(load(bin), mass), b.mulF(lacking, mass)};
  };
  SmallVector<Value> totals = b.forLoop(
      zero, b.index(rounds), 1, {none, none}, [&](Value round, ValueRange now) {
        SmallVector<Value> next = getMasses(round);
        for (auto [sum, before] : llvm::zip_equal(next, now))
          sum = b.addF(before, sum);
        return next;
      });
  for (Value &total : totals)
    total = b.combine(total, [&](Value x, Value y) { return b.addF(x, y); });
  Value mass = taken, rest = getRest(head);
  if (attended)
    mass =
        b.addF(mass, getMass(b.load(attended, {row, b.addI(firstHead, head)}),
                             getShift(head)));

  SmallVector<Value> found = b.forLoop(
      zero, b.index(rounds), 1, {none, none, b.i32(0)},
      [&](Value i, ValueRange now) -> SmallVector<Value> {
        Value round = b.subI(b.index(rounds - 1), i);
        SmallVector<Value> below = getMasses(round), next;
        for (auto [sum, before] : llvm::zip(below, now)) {
          sum = b.addF(addUpLanes(sum), before);
          next.push_back(b.shuffle(sum, b.i32(kWarp - 1)));
        }
        Value attendable = b.maxNumber(b.subF(totals[1], below[1]), none);
        attendable = math::FmaOp::create(b, attendable, b.f32(kPromised), mass);
        // Also what is NaN is needed.
        Value isNeeded = b.compare(CmpFPredicate::UGT, b.addF(below[0], rest),
                                   b.mulF(ratio, attendable));
        Value number = math::CtPopOp::create(b, b.ballot(isNeeded));
        next.push_back(b.addI(now[2], number));
        return next;
      });
  // All bins, or a score that is NaN, which proves nothing: however deep.
  Value isAll =
      b.orI(b.compare(CmpIPredicate::eq, found[2], b.i32(kBins)),
            b.compare(CmpIPredicate::ne, b.load(nans, head), b.i32(0)));
  Value end = b.select(isAll, b.i32(std::numeric_limits<int32_t>::max()),
                       b.mulI(found[2], b.i32(kStepsOfBin)));
  // All masses together, in its units, fit.
  Value most = math::FmaOp::create(b, totals[0], b.f32(1.0f + 2.0f / kOfNat),
                                   b.f32(1.0f));
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
    b.store(end, ends, head);
    setFact(head, Fact::fixed, mass);
    setFact(head, Fact::unit, b.divF(b.f32(0x1p30f), most));
  });
}

/// Of the lanes before this one, and with it.
Value PickLauncher::addUpLanes(Value sum) {
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value other = b.shuffleUp(sum, distance);
    Value isThere = b.compare(CmpIPredicate::uge, lane, b.index(distance));
    sum = b.addF(sum, b.select(isThere, other, b.f32(0.0f)));
  }
  return sum;
}

/// What is left in any case, in units of the highest bound.
Value PickLauncher::getRest(Value head) {
  if (!outside)
    return b.f32(0.0f);
  return getMass(b.load(outside, {row, b.addI(firstHead, head)}),
                 getShift(head));
}

Value PickLauncher::getMargin(ArrayRef<Value> depths, ArrayRef<Value> ends) {
  Value margin;
  for (auto [depth, end] : llvm::zip_equal(depths, ends)) {
    Value own = b.subI(end, depth);
    margin = margin ? b.maxI(margin, own) : own;
  }
  return margin;
}

/// Of all that a head takes, so much that a margin fits in 21 bits.
Value PickLauncher::loadEnd(Value head) {
  return b.minI(b.load(ends, head), b.i32(1 << 20));
}

/// Of what is taken, more than is 0: how far it lies within what a head takes.
SmallVector<Value> PickLauncher::getMarginRanks(ArrayRef<Slot> slots) {
  SmallVector<Value> none(slots.size(), b.i32(0));
  SmallVector<Value> ranks = b.forLoop(
      b.index(0), b.index(group), 1, none, [&](Value head, ValueRange carried) {
        SmallVector<Value> next(carried);
        Levels found = loadLevels(head, slots);
        SmallVector<Value> below = getBelow(b.load(tops, head), found);
        Value end = loadEnd(head);
        for (auto [i, margin] : llvm::enumerate(next))
          margin = b.maxI(margin, b.subI(end, getDepth(found, below, i)));
        return next;
      });
  for (Value &rank : ranks)
    rank = arith::ShLIOp::create(b, rank, b.i32(10));
  return ranks;
}

void PickLauncher::forEachDeep(
    ArrayRef<Slot> slots, ArrayRef<Value> headTops,
    function_ref<void(int64_t slot, ArrayRef<Value> depths)> body) {
  SmallVector<Levels> all;
  SmallVector<SmallVector<Value>> below;
  for (int64_t head = 0; head < group; ++head)
    all.push_back(loadLevels(b.index(head), slots));
  for (int64_t head = 0; head < group; ++head)
    below.push_back(getBelow(headTops[head], all[head]));
  for (unsigned i = 0; i < slots.size(); ++i) {
    SmallVector<Value> depths;
    for (auto [found, tiles] : llvm::zip_equal(all, below))
      depths.push_back(getDepth(found, tiles, i));
    body(i, depths);
  }
}

SmallVector<Value> PickLauncher::markDeep() {
  if (group > kMostTogether)
    return markDeepOfMany();
  Value zero = b.index(0), no = b.boolean(false), none = b.f32(0.0f);
  SmallVector<Value> headTops, headEnds;
  for (int64_t head = 0; head < group; ++head) {
    headTops.push_back(b.load(tops, b.index(head)));
    headEnds.push_back(loadEnd(b.index(head)));
  }
  if (group > 1)
    clearBins(2 * group * kMargins);
  // How many are marked, whether any is left, and the mass of what is.
  SmallVector<Value> carried = {b.i32(0), b.i32(0)};
  carried.append(group, none);
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group, Join::sum);
  auto leave = [&](Value isLeft, ArrayRef<Value> depths,
                   MutableArrayRef<Value> sums) {
    sums[1] = b.orI(sums[1], b.select(isLeft, b.i32(1), b.i32(0)));
    for (auto [sum, depth] : llvm::zip_equal(sums.drop_front(2), depths))
      sum = b.addF(sum, b.select(isLeft, getMassOfDepth(depth), none));
  };
  carried = forEachSlot(carried, [&](ArrayRef<Slot> slots, ValueRange now) {
    SmallVector<Value> next(now), needed(slots.size());
    SmallVector<Value> spreads(slots.size());
    if (group > 1)
      spreads = loadSpreads(slots);
    forEachDeep(slots, headTops, [&](int64_t i, ArrayRef<Value> depths) {
      const Slot &slot = slots[i];
      Value margin = getMargin(depths, headEnds);
      Value is = b.compare(CmpIPredicate::sgt, margin, b.i32(0));
      Value canBeDropped = andOpen(slot, is);
      // Sinks and window are picked, needed or not.
      is = needed[i] = andOpen(slot, orAlways(slot, is));
      next[0] = b.addI(next[0], b.select(is, b.i32(1), b.i32(0)));
      leave(andOpen(slot, notI(is)), depths, next);
      if (group == 1)
        return;

      if (slot.isAlways)
        canBeDropped = b.andI(canBeDropped, notI(slot.isAlways));
      b.ifThen(canBeDropped, [&] { addToMargin(margin, depths, spreads[i]); });
    });
    storeBits(needed, picked, zero, slots);
    storeBits(SmallVector<Value>(slots.size(), no), picked, b.index(1), slots);
    return next;
  });
  auto getTails = [&](ArrayRef<Value> sums) {
    SmallVector<Value> marked = {sums[0]};
    for (Value sum : sums.drop_front(2))
      marked.append({sum, sums[1]});
    return marked;
  };

  if (group == 1)
    return getTails(reduceAll(carried, joins));

  carried = addUpBins(2 * group * kMargins, carried, joins);
  Value least = findMargin(ArrayRef<Value>(carried).drop_front(2));
  Value drops = b.minI(least, b.i32(1));
  // Once, if anything is dropped.
  carried = b.forLoop(
      zero, b.toIndex(drops), 1, carried, [&](Value, ValueRange before) {
        SmallVector<Value> sums(before.size(), none);
        sums[0] = sums[1] = b.i32(0);
        sums = forEachSlot(
            sums,
            [&](ArrayRef<Slot> slots, ValueRange now) {
              SmallVector<Value> next(now), kept(slots.size());
              forEachDeep(
                  slots, headTops, [&](int64_t i, ArrayRef<Value> depths) {
                    Value margin = getMargin(depths, headEnds);
                    Value isLeft = b.compare(CmpIPredicate::sle, margin, least);
                    if (slots[i].isAlways)
                      isLeft = b.andI(isLeft, notI(slots[i].isAlways));
                    kept[i] = andOpen(slots[i], notI(isLeft));
                    isLeft = andOpen(slots[i], isLeft);
                    next[0] =
                        b.subI(next[0], b.select(isLeft, b.i32(1), b.i32(0)));
                    leave(isLeft, depths, next);
                  });
              storeBits(kept, picked, zero, slots);
              return next;
            },
            /*ofMarked=*/true);
        sums = reduceAll(sums, joins);
        for (auto [sum, other, how] : llvm::zip_equal(sums, before, joins))
          sum = join(how, other, sum);
        return sums;
      });
  return getTails(carried);
}

/// Heads after each other; nobody drops anything, and tails come later.
SmallVector<Value> PickLauncher::markDeepOfMany() {
  Value zero = b.index(0), no = b.boolean(false);
  Value count =
      forEachSlot(
          b.i32(0),
          [&](ArrayRef<Slot> slots, ValueRange now) -> SmallVector<Value> {
            SmallVector<Value> needed(slots.size(), no);
            needed = b.forLoop(
                zero, b.index(group), 1, needed,
                [&](Value head, ValueRange before) {
                  SmallVector<Value> taken(before);
                  Levels found = loadLevels(head, slots);
                  SmallVector<Value> below =
                      getBelow(b.load(tops, head), found);
                  Value end = b.load(ends, head);
                  for (auto [i, is] : llvm::enumerate(taken))
                    is = b.orI(is, b.compare(CmpIPredicate::slt,
                                             getDepth(found, below, i), end));
                  return taken;
                });
            Value number = now[0];
            for (auto [is, slot] : llvm::zip_equal(needed, slots)) {
              is = andOpen(slot, orAlways(slot, is));
              number = b.addI(number, b.select(is, b.i32(1), b.i32(0)));
            }
            storeBits(needed, picked, zero, slots);
            storeBits(SmallVector<Value>(slots.size(), no), picked, b.index(1),
                      slots);
            return {number};
          })
          .front();
  return reduceAll(count, Join::sum);
}

void PickLauncher::addToMargin(Value margin, ArrayRef<Value> depths,
                               Value spread) {
  Value bin = arith::ShRSIOp::create(b, b.subI(margin, b.i32(1)), b.i32(4));
  bin = b.minI(bin, b.i32(kMargins - 1));
  for (auto [i, depth] : llvm::enumerate(depths)) {
    Value head = b.index(i), unit = getFact(head, Fact::unit);
    Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
    Value rest = b.select(isKnown, getMassOfDepth(depth), b.f32(0.0f));
    Value masses[] = {rest, getMassOfScore(rest, head, spread)};
    for (auto [which, mass] : llvm::enumerate(masses)) {
      Value number = math::FmaOp::create(b, mass, unit, b.f32(0.5f));
      int64_t first = (2 * i + which) * kMargins;
      addToBin(b.toIndex(b.addI(bin, b.i32(first))),
               arith::FPToUIOp::create(b, b.getI32Type(), number));
    }
  }
}

/// The largest margin that no head needs, in steps; `left`: masses of what is
/// not marked.
Value PickLauncher::findMargin(ArrayRef<Value> left) {
  Value zero = b.index(0), none = b.f32(0.0f), base = selectOfWarp(left);
  constexpr int64_t rounds = kMargins / kWarp;
  Value isThere = b.compare(CmpIPredicate::ult, warp, b.index(group));
  b.ifThen(isThere, [&] {
    Value inverse = b.divF(b.f32(1.0f), getFact(warp, Fact::unit));
    Value rest = b.addF(base, getRest(warp)), ratio = getRatio();
    auto getMasses = [&](int64_t which) {
      SmallVector<Value> masses;
      Value first = b.mulI(warp, b.index(2 * kMargins));
      for (int64_t round = 0; round < rounds; ++round) {
        Value at = b.addI(lane, b.index(which * kMargins + round * kWarp));
        Value number = b.load(bins, b.addI(first, at));
        masses.push_back(b.mulF(
            arith::UIToFPOp::create(b, b.getF32Type(), number), inverse));
      }
      return masses;
    };
    // What comes before each lane's margin, in this round and those before.
    auto addUp = [&](Value mass, Value &before) -> Value {
      Value sum = addUpLanes(mass);
      sum = b.addF(sum, before);
      before = b.shuffle(sum, b.i32(kWarp - 1));
      return b.maxNumber(b.subF(sum, mass), none);
    };
    SmallVector<Value> rests = getMasses(0), masses = getMasses(1);
    Value kept = none;
    for (Value &mass : masses) {
      mass = b.mulF(mass, b.f32(kPromised));
      kept = b.addF(kept, mass);
    }
    kept = b.combine(kept, [&](Value x, Value y) { return b.addF(x, y); });
    kept = b.addF(kept, getFact(warp, Fact::fixed));
    Value restBefore = none, massBefore = none, number = b.i32(0);
    for (auto [own, mass] : llvm::zip_equal(rests, masses)) {
      Value left = b.addF(rest, addUp(own, restBefore));
      Value attended = b.subF(kept, addUp(mass, massBefore));
      Value isMet =
          b.compare(CmpFPredicate::OLE, left, b.mulF(ratio, attended));
      number = b.addI(number, math::CtPopOp::create(b, b.ballot(isMet)));
    }
    // The first is that nothing is dropped.
    number = b.maxI(b.subI(number, b.i32(1)), b.i32(0));
    b.ifThen(b.compare(CmpIPredicate::eq, lane, zero), [&] {
      b.store(b.mulI(number, b.i32(kStepsOfBin)), margins, warp);
    });
  });
  b.barrier();
  Value least = b.load(margins, zero);
  for (int64_t head = 1; head < group; ++head)
    least = b.minI(least, b.load(margins, b.index(head)));
  return least;
}
