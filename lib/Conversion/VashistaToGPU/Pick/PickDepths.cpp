//===- PickDepths.cpp - How deep proofs take slots, by levels -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Slots of each depth are counted, of a few heads in one pass, and what scores
// lack of their bounds is added up beside: the slots of a bin lie in the middle
// of it, for an estimate of what is left and of what is attended. So it is
// found how deep a head must take slots if nobody else did; what any head takes
// is taken. That several heads together need 3 to 6 % less is not worth the
// passes that find it. A pick that follows takes these numbers from the one
// before: it knows the mass that is attended, and what is left from a depth on
// is at most what was counted. Tiles that lie so deep that all slots together
// would not matter there are not counted, but all are added as if they were.
//
// Of many slots a sample is counted, and the highest of each tile, whose score
// the scan has left: what is attended is mostly the mass of such, and what is
// left that of many, of which an eighth is as good. Tails are of all slots, and
// a pick that follows goes deeper until its own says that it is enough.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Groups of some slots are sampled, and of many.
static constexpr int64_t kSomeSlots = 32768, kManySlots = 65536;
/// Where scores lack more of their bounds, they are steep: few slots decide
/// what is left, and a spread that is off a little is off by nats.
static constexpr float kMostReach = 8.0f;

Value PickLauncher::selectOne(ArrayRef<Value> values, Value number) {
  Value own = values.front();
  for (auto [i, value] : llvm::enumerate(values))
    if (i > 0)
      own = b.select(b.compare(CmpIPredicate::eq, number,
                               b.index(static_cast<int64_t>(i))),
                     value, own);
  return own;
}

void PickLauncher::findDepthEnds() {
  const int64_t heads = headsAtOnce;
  b.forLoop(b.index(0), b.index(group), heads, [&](Value first) {
    SmallVector<Value> taken(heads, b.f32(0.0f));
    if (isFollowing()) {
      loadDepths(first);
    } else {
      taken = countDepths(first);
      if (clusterBlocks > 1)
        return findEndsOfOwners(first, taken);
      taken = addUpBins(2 * heads * kBins, taken,
                        SmallVector<Join>(heads, Join::sum));
    }
    // A warp for each.
    Value head = b.addI(first, warp);
    Value isThere = b.andI(b.compare(CmpIPredicate::ult, warp, b.index(heads)),
                           b.compare(CmpIPredicate::ult, head, b.index(group)));
    Value own = selectOne(taken, warp);
    b.ifThen(isThere, [&] { findDepthEnd(head, warp, own); });
    if (depths && !isFollowing())
      forEachFour(heads * 2 * kBins,
                  [&](Value at) { keepDepths(first, at, loadFour(bins, at)); });
    b.barrier();
  });
}

/// Each of them a few heads: all bins of all blocks are much to read for each.
void PickLauncher::findEndsOfOwners(Value first, ArrayRef<Value> taken) {
  constexpr int64_t size = 2 * kBins; // of a head
  const int64_t heads = headsAtOnce;
  SmallVector<Join> joins(heads, Join::sum);
  leave(taken, joins); // waits for the bins of the block
  forEachFour(heads * size, [&](Value at) {
    storeFour(loadFour(bins, at), between, {row, kvHead, block, at});
  });
  waitCluster();
  SmallVector<Value> all = collect(ValueRange(taken).getTypes(), joins);
  auto getEnd = [&](Value ofBlock, Value at, int64_t which) {
    return getTold(ofBlock,
                   b.addI(at, b.index(getToldOfEnds() + which * heads)));
  };
  auto isThere = [&](Value at) {
    Value head = b.addI(first, at);
    return b.andI(b.compare(CmpIPredicate::ult, at, b.index(heads)),
                  b.compare(CmpIPredicate::ult, head, b.index(group)));
  };
  for (int64_t i = 0; i < heads; i += clusterBlocks) {
    Value at = b.addI(block, b.index(i)), from = b.mulI(at, b.index(size));
    b.ifThen(isThere(at), [&] {
      forEachFour(size, [&](Value within) {
        Value bin = b.addI(from, within), sum;
        for (int64_t other = 0; other < clusterBlocks; ++other) {
          Value its = loadFour(between, {row, kvHead, b.index(other), bin});
          sum = sum ? b.addI(sum, its) : its;
        }
        storeFour(sum, bins, bin);
        keepDepths(first, bin, sum);
      });
    });
  }
  b.barrier();
  Value at = b.addI(block, b.mulI(warp, b.index(clusterBlocks)));
  b.ifThen(isThere(at), [&] {
    Value head = b.addI(first, at);
    findDepthEnd(head, at, selectOne(all, at));
    b.ifThen(isFirstLane(), [&] {
      Value need = arith::BitcastOp::create(b, b.getI32Type(),
                                            getFact(head, Fact::need));
      b.store(b.load(ends, head), told, getEnd(block, at, 0));
      b.store(need, told, getEnd(block, at, 1));
      if (hasMoment())
        b.store(arith::BitcastOp::create(b, b.getI32Type(),
                                         getFact(head, Fact::theta)),
                told, getEnd(block, at, 2));
    });
  });
  waitCluster();
  b.ifThen(isThere(thread), [&] {
    Value head = b.addI(first, thread);
    Value owner = b.remU(thread, b.index(clusterBlocks));
    Value need = b.load(told, getEnd(owner, thread, 1));
    b.store(b.load(told, getEnd(owner, thread, 0)), ends, head);
    setFact(head, Fact::need,
            arith::BitcastOp::create(b, b.getF32Type(), need));
    if (hasMoment())
      setFact(head, Fact::theta,
              arith::BitcastOp::create(b, b.getF32Type(),
                                       b.load(told, getEnd(owner, thread, 2))));
  });
  b.barrier();
}

void PickLauncher::withKept(Value first, Value at,
                            function_ref<void(ArrayRef<Value> there)> body) {
  Value size = b.index(2 * kBins), head = b.addI(first, b.divU(at, size));
  b.ifThen(b.compare(CmpIPredicate::ult, head, b.index(group)), [&] {
    body({row, b.addI(firstHead, head), b.remU(at, size)});
  });
}

void PickLauncher::keepDepths(Value first, Value at, Value four) {
  if (depths)
    withKept(first, at,
             [&](ArrayRef<Value> there) { storeFour(four, depths, there); });
}

void PickLauncher::loadDepths(Value first) {
  forEachFour(headsAtOnce * 2 * kBins, [&](Value at) {
    withKept(first, at, [&](ArrayRef<Value> there) {
      storeFour(loadFour(depths, there), bins, at);
    });
  });
  b.barrier();
}

/// No share has more than its bits have room for.
Value PickLauncher::getShareUnit() {
  return b.minNumber(getUnit(), b.f32(0x1p22f));
}

/// Of a tile not all of which is open the highest may not be. One that follows
/// has what was counted before, when all was open.
bool PickLauncher::countsTileTops() {
  return !pages && (!op.getTaken() || isFollowing());
}

Value PickLauncher::getSampleShift() {
  auto known = cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  bool areFew = !ShapedType::isDynamic(known) && known < kSomeSlots;
  if (areFew || !countsTileTops())
    return nullptr;
  Value isSampled =
      b.forLoop(b.index(0), b.index(group), 1,
                b.compare(CmpIPredicate::uge, used, b.index(kSomeSlots)),
                [&](Value head, ValueRange carried) -> SmallVector<Value> {
                  Value isClose =
                      b.compare(CmpFPredicate::OLE, getFact(head, Fact::reach),
                                b.f32(kMostReach));
                  return {b.andI(carried[0], isClose)};
                })
          .front();
  Value areMany = b.compare(CmpIPredicate::uge, used, b.index(kManySlots));
  Value shift = b.select(areMany, b.i32(kShiftOfMany), b.i32(kShift));
  return b.select(isSampled, shift, b.i32(0));
}

Value PickLauncher::getDeepest(Value head) {
  // Of what may be left beside the best score alone, whose key may have much
  // less of a logit.
  constexpr float kNegligible = 0x1p-12f;
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value most = b.divF(b.mulF(number, b.f32(1 / kNegligible)), getRatio());
  return b.addF(b.log(most), getFact(head, Fact::reach));
}

PickLauncher::CountedHead PickLauncher::getCounted(Value first, Value at) {
  CountedHead head;
  // A head that is not there counts as the last one does, for nothing.
  head.number = b.minI(b.addI(first, at), b.index(group - 1));
  // What is not counted has bins of its lane's own, behind all others.
  head.firstBin = b.mulI(at, b.index(2 * kBins));
  Value behind = b.subI(b.index(numBins), head.firstBin);
  head.uncounted = b.addI(b.toI32(lane), b.toI32(behind));
  head.top = b.load(tops, head.number);
  // Of a depth, to its bin: the exponent of its width.
  Value width = arith::FPToSIOp::create(
      b, b.getI32Type(),
      b.mulF(getFact(head.number, Fact::width), b.f32(kStepsOfBin)));
  head.shift = math::CountTrailingZerosOp::create(b, width);
  head.lack = b.mulF(getFact(head.number, Fact::lack), b.f32(kLog2E));
  head.slope = b.mulF(getFact(head.number, Fact::slope), b.f32(-kLog2E));
  // At most deeper than all tiles.
  Value deepest = b.mulF(getDeepest(head.number), b.f32(ScanFindings::kPerNat));
  head.deepest = arith::FPToSIOp::create(b, b.getI32Type(),
                                         b.minNumber(deepest, b.f32(0x1p20f)));
  return head;
}

PickLauncher::Weight PickLauncher::getWeight(Value sampleShift) {
  Weight weight = {b.i32(1), b.mulF(getShareUnit(), b.f32(1.0f / kMostShare))};
  if (sampleShift) {
    weight.number = arith::ShLIOp::create(b, weight.number, sampleShift);
    Value number = arith::UIToFPOp::create(b, b.getF32Type(), weight.number);
    weight.ofShare = b.mulF(weight.ofShare, number);
  }
  return weight;
}

void PickLauncher::countDepth(const CountedHead &head, Value isLeftOut,
                              Value depth, Value share, const Weight &weight) {
  // As unsigned numbers: what is not known is as deep as can be. So deep a mass
  // hardly counts, and of trained attention most slots are so deep: in one bin
  // all lanes would wait for each other.
  Value bin = arith::ShRSIOp::create(b, depth, head.shift);
  Value isOut = b.compare(CmpIPredicate::uge, bin, b.i32(kBins - 1));
  if (isLeftOut)
    isOut = b.orI(isOut, isLeftOut);
  Value at = b.toIndex(b.select(isOut, head.uncounted, bin));
  at = b.addI(at, head.firstBin);
  share = b.minNumber(b.exp2(share), b.f32(kMostShare));
  // No conversion: f32 numbers from 2^23 on are integers, as their bits are.
  Value number = math::FmaOp::create(b, share, weight.ofShare, b.f32(0x1p23f));
  number = b.addI(arith::BitcastOp::create(b, b.getI32Type(), number),
                  b.i32(-kBitsOfInteger));
  addToBin(at, weight.number);
  addToBin(b.addI(at, b.index(kBins)), number);
}

Value PickLauncher::getMassOfScore(Value massOfBound, Value head,
                                   Value spread) {
  Value lack = b.mulF(getFact(head, Fact::slope), spread), none = b.f32(0.0f);
  // A spread that is not known has none.
  Value mass = b.mulF(massOfBound, estimate(b.subF(none, lack)));
  return b.maxNumber(mass, none);
}

SmallVector<Value> PickLauncher::countDepths(Value first) {
  const int64_t heads = headsAtOnce, atOnce = getCountedAtOnce();
  Value sampleShift = getSampleShift();
  clearBins(2 * heads * kBins);
  if (heads == atOnce)
    return countDepthsOf(first, b.index(0), sampleShift);
  return b.forLoop(
      b.index(0), b.index(heads), atOnce,
      SmallVector<Value>(heads, b.f32(0.0f)), [&](Value at, ValueRange all) {
        SmallVector<Value> few = countDepthsOf(first, at, sampleShift), next;
        for (auto [i, taken] : llvm::enumerate(all)) {
          Value own = b.index(static_cast<int64_t>(i) / atOnce * atOnce);
          next.push_back(b.select(b.compare(CmpIPredicate::eq, at, own),
                                  few[i % atOnce], taken));
        }
        return next;
      });
}

Value PickLauncher::countSlots(const CountedHead &head, const Levels &levels,
                               Value below, ArrayRef<Slot> slots,
                               ArrayRef<Value> spreads, const Weight &weight) {
  // Levels are half a level too high, on average.
  Value half = levels.scale(b, 0.5f / ScanFindings::kLevelsOfBit);
  Value lack = b.subF(head.lack, half);
  Value none = b.f32(0.0f), taken = none;
  for (auto [i, slot] : llvm::enumerate(slots)) {
    Value depth = getDepth(levels, below, i), isOut;
    if (areTogether(slots) && countsTileTops())
      isOut = isLevel(levels, i, 0);
    if (slot.isAlways)
      isOut = slot.isAlways;
    if (slot.isOpen)
      isOut = isOut ? b.orI(isOut, notI(slot.isOpen)) : notI(slot.isOpen);
    Value share = math::FmaOp::create(b, head.slope, spreads[i], lack);
    countDepth(head, isOut, depth, share, weight);
    if (!slot.isAlways)
      continue;
    Value isTaken = andOpen(slot, slot.isAlways);
    // It may be lower than any level is.
    Value isLowest = isLevel(levels, i, ScanFindings::kLowest);
    Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
    isKnown = b.andI(isKnown, notI(isLowest));
    Value mass = getMassOfScore(getMassOfDepth(depth), head.number, spreads[i]);
    mass = b.select(b.andI(isTaken, isKnown), mass, none);
    taken = b.addF(taken, mass);
  }
  return taken;
}

SmallVector<Value> PickLauncher::countDepthsOf(Value first, Value at,
                                               Value sampleShift) {
  const int64_t heads = getCountedAtOnce();
  Value none = b.f32(0.0f);
  SmallVector<CountedHead> counted;
  for (int64_t i = 0; i < heads; ++i)
    counted.push_back(getCounted(first, b.addI(at, b.index(i))));
  const Weight once = getWeight(), weight = getWeight(sampleShift);
  auto load = [&](ArrayRef<Slot> slots) {
    SmallVector<Value> loaded;
    for (const CountedHead &head : counted)
      llvm::append_range(loaded, loadLevels(head.number, slots).pack());
    llvm::append_range(loaded, loadSpreads(slots));
    return loaded;
  };
  // Where a thread has a tile at most, its top comes while slots are counted.
  const bool areFew = countsTileTops() && getOwnWordsAtMost() <= threads;
  Value hasTile;
  SmallVector<Value> ofTile(2 * heads, none);
  if (areFew) {
    hasTile = b.compare(CmpIPredicate::ult, thread, getTiles().second);
    ofTile =
        b.ifThen(hasTile, ofTile, [&] { return loadTileTop(counted, thread); });
  }
  SmallVector<Value> sums = forEachSlot(
      SmallVector<Value>(heads, none), load,
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> next(now);
        SmallVector<Levels> all;
        for (int64_t i = 0; i < heads; ++i)
          all.push_back(Levels::unpack(loaded, slots.size()));
        SmallVector<Value> spreads = getSpreads(loaded);
        for (int64_t i = 0; i < heads; ++i) {
          const CountedHead &head = counted[i];
          Value below = getBelow(head.top, all[i].top);
          auto count = [&](const Weight &weight) {
            return countSlots(head, all[i], below, slots, spreads, weight);
          };
          if (!areTogether(slots)) {
            next[i] = b.addF(next[i], count(once));
            continue;
          }
          // Most tiles of a sharp head of trained attention do not matter; none
          // of these slots is picked in any case.
          Value matters =
              b.ballot(b.compare(CmpIPredicate::sle, below, head.deepest));
          b.ifThen(b.compare(CmpIPredicate::ne, matters, b.i32(0)),
                   [&] { count(weight); });
        }
        return next;
      },
      /*ofMarked=*/false, sampleShift);
  if (areFew)
    b.ifThen(hasTile, [&] { countTileTop(counted, thread, ofTile); });
  else if (countsTileTops())
    countTileTops(counted);
  return sums;
}

/// Tiles of this block's chunks: the first, and how many.
std::pair<Value, Value> PickLauncher::getTiles() {
  auto [firstWord, chunks] = getChunks();
  return {b.divU(firstWord, b.index(kWordsOfTile)),
          b.mulI(chunks, b.index(kAtOnce / kWordsOfTile))};
}

/// What the scan has left of a tile, or of the last one if there are fewer: its
/// top, and what the score of that lacks, of each head.
SmallVector<Value> PickLauncher::loadTileTop(ArrayRef<CountedHead> heads,
                                             Value number) {
  auto [firstTile, tiles] = getTiles();
  Value own = b.minI(number, b.subI(tiles, b.index(1)));
  Value tile = b.addI(firstTile, own);
  SmallVector<Value> loaded;
  for (const CountedHead &head : heads)
    for (Value of : {tileTops, tileLacks})
      loaded.push_back(b.load(of, {row, b.addI(firstHead, head.number), tile}));
  return loaded;
}

void PickLauncher::countTileTop(ArrayRef<CountedHead> heads, Value number,
                                ValueRange loaded) {
  Value isOut = b.compare(CmpIPredicate::uge, number, getTiles().second);
  const Weight once = getWeight();
  for (auto [i, head] : llvm::enumerate(heads)) {
    Value top = loaded[2 * i], lack = loaded[2 * i + 1];
    Value share = math::FmaOp::create(b, lack, b.f32(-kLog2E), head.lack);
    countDepth(head, isOut, getBelow(head.top, top), share, once);
  }
}

/// A thread for each tile. Loads of two tiles wait together.
void PickLauncher::countTileTops(ArrayRef<CountedHead> heads) {
  constexpr int64_t kTilesAtOnce = 2;
  b.forLoop(thread, getTiles().second, kTilesAtOnce * threads,
            [&](Value number) {
              SmallVector<Value> numbers;
              SmallVector<SmallVector<Value>> loaded;
              for (int64_t i = 0; i < kTilesAtOnce; ++i) {
                numbers.push_back(b.addI(number, b.index(i * threads)));
                loaded.push_back(loadTileTop(heads, numbers.back()));
              }
              for (auto [own, its] : llvm::zip_equal(numbers, loaded))
                countTileTop(heads, own, its);
            });
}
