//===- PickCounts.cpp - How many slots lie how deep -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Of a few heads in one pass: each slot is counted at its depth, and what its
// score stands for is added up beside, in bins of the block's memory. A lane
// has eight slots of a tile at a time, or one.
//
// Of many slots a sample is counted, and the highest of each tile, whose score
// the scan has left: what is attended is mostly the mass of such, and what is
// left that of many, of which an eighth is as good. Tiles that lie so deep that
// all slots together would not matter there are not counted.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Counts the slots of `getCountedAtOnce` heads.
class vashista::DepthCounts {
public:
  /// Those from `first + at` on, whose bins are from number `at` on;
  /// `sampleShift`: getSampleShift().
  DepthCounts(PickLauncher &pick, Value first, Value at, Value sampleShift);
  /// Yields what this thread has of each head that is picked in any case, of
  /// which a score is a bound less what it lacks.
  SmallVector<Value> count();

private:
  using Fact = PickLauncher::Fact;
  using Slot = PickLauncher::Slot;
  static constexpr float kLog2E = PickLauncher::kLog2E;

  /// How depths are counted: a bin is a depth shifted, and a mass of a score
  /// 2^(lack + slope * spread) times what is expected.
  struct Head {
    Value firstBin, number, top, shift, lack, slope;
    Value deepest;   // as getDeepest, in steps
    Value uncounted; // the bin of what is not
  };
  Head getHead(Value number, Value at);
  /// How often a slot is counted, i32, and what a share is multiplied by.
  struct Weight {
    Value number, ofShare;
  };
  Weight getWeight(Value sampleShift = nullptr);
  /// Counts a slot, unless `isLeftOut`, i1 or null; `share`: in bits.
  void countSlot(const Head &head, Value isLeftOut, Value depth, Value share,
                 const Weight &weight);
  /// The same of slots, `below` of their tile; yields the mass of what is
  /// picked in any case.
  Value countSlots(const Head &head, const Levels &levels, Value below,
                   ArrayRef<Slot> slots, ArrayRef<Value> spreads,
                   const Weight &weight);
  /// What a score stands for: what its bound does, less what it lacks.
  Value getMassOfScore(Value massOfBound, Value head, Value spread);
  /// Levels of all heads, then spreads.
  SmallVector<Value> load(ArrayRef<Slot> slots);
  /// Of all heads, slots for which that was loaded; adds to `taken` as `count`
  /// yields it.
  SmallVector<Value> countLoaded(ArrayRef<Slot> slots, ValueRange loaded,
                                 ValueRange taken);

  // The highest of each tile of the chunks.
  std::pair<Value, Value> getTiles();
  SmallVector<Value> loadTileTop(Value number);
  void countTileTop(Value number, ValueRange loaded);
  void countTileTops();

  PickLauncher &pick;
  WarpBuilder &b;
  const Value sampleShift;
  SmallVector<Head> heads;
  Weight once, ofSample;
};

DepthCounts::DepthCounts(PickLauncher &pick, Value first, Value at,
                         Value sampleShift)
    : pick(pick), b(pick.b), sampleShift(sampleShift) {
  for (int64_t i = 0; i < pick.getCountedAtOnce(); ++i) {
    Value own = b.addI(at, b.index(i));
    heads.push_back(getHead(b.addI(first, own), own));
  }
  once = getWeight();
  ofSample = getWeight(sampleShift);
}

DepthCounts::Head DepthCounts::getHead(Value number, Value at) {
  constexpr int64_t kBins = PickLauncher::kBins;
  Head head;
  // A head that is not there counts as the last one does, for nothing.
  head.number = b.minI(number, b.index(pick.group - 1));
  // What is not counted has bins of its lane's own, behind all others.
  head.firstBin = b.mulI(at, b.index(2 * kBins));
  Value behind = b.subI(b.index(pick.numBins), head.firstBin);
  head.uncounted = b.addI(b.toI32(pick.lane), b.toI32(behind));
  head.top = b.load(pick.tops, head.number);
  // Of a depth, to its bin: the exponent of its width.
  Value width =
      arith::FPToSIOp::create(b, b.getI32Type(),
                              b.mulF(pick.getFact(head.number, Fact::width),
                                     b.f32(PickLauncher::kStepsOfBin)));
  head.shift = math::CountTrailingZerosOp::create(b, width);
  head.lack = b.mulF(pick.getFact(head.number, Fact::lack), b.f32(kLog2E));
  head.slope = b.mulF(pick.getFact(head.number, Fact::slope), b.f32(-kLog2E));
  // At most deeper than all tiles.
  Value deepest =
      b.mulF(pick.getDeepest(head.number), b.f32(ScanFindings::kPerNat));
  head.deepest = arith::FPToSIOp::create(b, b.getI32Type(),
                                         b.minNumber(deepest, b.f32(0x1p20f)));
  return head;
}

DepthCounts::Weight DepthCounts::getWeight(Value sampleShift) {
  Weight weight = {b.i32(1), b.mulF(pick.getShareUnit(),
                                    b.f32(1.0f / PickLauncher::kMostShare))};
  if (sampleShift) {
    weight.number = arith::ShLIOp::create(b, weight.number, sampleShift);
    Value number = arith::UIToFPOp::create(b, b.getF32Type(), weight.number);
    weight.ofShare = b.mulF(weight.ofShare, number);
  }
  return weight;
}

SmallVector<Value> DepthCounts::count() {
  // Where a thread has a tile at most, its top comes while slots are counted.
  const bool countsTops = pick.countsTileTops(),
             areFew = countsTops && pick.getOwnWordsAtMost() <= pick.threads;
  Value hasTile, none = b.f32(0.0f);
  SmallVector<Value> ofTile(2 * heads.size(), none);
  if (areFew) {
    hasTile = b.compare(CmpIPredicate::ult, pick.thread, getTiles().second);
    ofTile =
        b.ifThen(hasTile, ofTile, [&] { return loadTileTop(pick.thread); });
  }
  SmallVector<Value> taken = pick.forEachSlot(
      SmallVector<Value>(heads.size(), none),
      [&](ArrayRef<Slot> slots) { return load(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        return countLoaded(slots, loaded, now);
      },
      /*ofMarked=*/false, sampleShift);
  if (areFew)
    b.ifThen(hasTile, [&] { countTileTop(pick.thread, ofTile); });
  else if (countsTops)
    countTileTops();
  return taken;
}

SmallVector<Value> DepthCounts::load(ArrayRef<Slot> slots) {
  SmallVector<Value> loaded;
  for (const Head &head : heads)
    llvm::append_range(loaded, pick.loadLevels(head.number, slots).pack());
  llvm::append_range(loaded, pick.loadSpreads(slots));
  return loaded;
}

SmallVector<Value> DepthCounts::countLoaded(ArrayRef<Slot> slots,
                                            ValueRange loaded,
                                            ValueRange taken) {
  SmallVector<Value> next(taken);
  SmallVector<Levels> all;
  for (size_t i = 0; i < heads.size(); ++i)
    all.push_back(Levels::unpack(loaded, slots.size()));
  SmallVector<Value> spreads = pick.getSpreads(loaded);
  for (size_t i = 0; i < heads.size(); ++i) {
    const Head &head = heads[i];
    Value below = pick.getBelow(head.top, all[i].top);
    auto count = [&](const Weight &weight) {
      return countSlots(head, all[i], below, slots, spreads, weight);
    };
    if (!PickLauncher::areTogether(slots)) {
      next[i] = b.addF(next[i], count(once));
      continue;
    }
    // Most tiles of a sharp head of trained attention do not matter; none of
    // these slots is picked in any case.
    Value matters =
        b.ballot(b.compare(CmpIPredicate::sle, below, head.deepest));
    b.ifThen(b.compare(CmpIPredicate::ne, matters, b.i32(0)),
             [&] { count(ofSample); });
  }
  return next;
}

Value DepthCounts::countSlots(const Head &head, const Levels &levels,
                              Value below, ArrayRef<Slot> slots,
                              ArrayRef<Value> spreads, const Weight &weight) {
  // Levels are half a level too high, on average.
  Value half = levels.scale(b, 0.5f / ScanFindings::kLevelsOfBit);
  Value lack = b.subF(head.lack, half);
  Value none = b.f32(0.0f), taken = none;
  for (auto [i, slot] : llvm::enumerate(slots)) {
    Value depth = pick.getDepth(levels, below, i), isOut;
    if (PickLauncher::areTogether(slots) && pick.countsTileTops())
      isOut = pick.isLevel(levels, i, 0);
    if (slot.isAlways)
      isOut = slot.isAlways;
    if (slot.isOpen)
      isOut =
          isOut ? b.orI(isOut, pick.notI(slot.isOpen)) : pick.notI(slot.isOpen);
    Value share = math::FmaOp::create(b, head.slope, spreads[i], lack);
    countSlot(head, isOut, depth, share, weight);
    if (!slot.isAlways)
      continue;
    Value isTaken = pick.andOpen(slot, slot.isAlways);
    // It may be lower than any level is.
    Value isLowest = pick.isLevel(levels, i, ScanFindings::kLowest);
    Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
    isKnown = b.andI(isKnown, pick.notI(isLowest));
    Value mass =
        getMassOfScore(pick.getMassOfDepth(depth), head.number, spreads[i]);
    mass = b.select(b.andI(isTaken, isKnown), mass, none);
    taken = b.addF(taken, mass);
  }
  return taken;
}

void DepthCounts::countSlot(const Head &head, Value isLeftOut, Value depth,
                            Value share, const Weight &weight) {
  constexpr int64_t kBins = PickLauncher::kBins;
  // As unsigned numbers: what is not known is as deep as can be. So deep a mass
  // hardly counts, and of trained attention most slots are so deep: in one bin
  // all lanes would wait for each other.
  Value bin = arith::ShRSIOp::create(b, depth, head.shift);
  Value isOut = b.compare(CmpIPredicate::uge, bin, b.i32(kBins - 1));
  if (isLeftOut)
    isOut = b.orI(isOut, isLeftOut);
  Value at = b.toIndex(b.select(isOut, head.uncounted, bin));
  at = b.addI(at, head.firstBin);
  share = b.minNumber(b.exp2(share), b.f32(PickLauncher::kMostShare));
  // No conversion: f32 numbers from 2^23 on are integers, as their bits are.
  Value number = math::FmaOp::create(b, share, weight.ofShare, b.f32(0x1p23f));
  number = b.addI(arith::BitcastOp::create(b, b.getI32Type(), number),
                  b.i32(-PickLauncher::kBitsOfInteger));
  pick.addToBin(at, weight.number);
  pick.addToBin(b.addI(at, b.index(kBins)), number);
}

Value DepthCounts::getMassOfScore(Value massOfBound, Value head, Value spread) {
  Value lack = b.mulF(pick.getFact(head, Fact::slope), spread),
        none = b.f32(0.0f);
  // A spread that is not known has none.
  Value mass = b.mulF(massOfBound, pick.estimate(b.subF(none, lack)));
  return b.maxNumber(mass, none);
}

//===----------------------------------------------------------------------===//
// The highest of each tile
//===----------------------------------------------------------------------===//

/// Tiles of this block's chunks: the first, and how many.
std::pair<Value, Value> DepthCounts::getTiles() {
  auto [firstWord, chunks] = pick.getChunks();
  constexpr int64_t kWords = PickLauncher::kWordsOfTile;
  return {b.divU(firstWord, b.index(kWords)),
          b.mulI(chunks, b.index(PickLauncher::kAtOnce / kWords))};
}

/// What the scan has left of a tile, or of the last one if there are fewer: its
/// top, and what the score of that lacks, of each head.
SmallVector<Value> DepthCounts::loadTileTop(Value number) {
  auto [firstTile, tiles] = getTiles();
  Value own = b.minI(number, b.subI(tiles, b.index(1)));
  Value tile = b.addI(firstTile, own);
  SmallVector<Value> loaded;
  for (const Head &head : heads)
    for (Value of : {pick.tileTops, pick.tileLacks})
      loaded.push_back(
          b.load(of, {pick.row, b.addI(pick.firstHead, head.number), tile}));
  return loaded;
}

void DepthCounts::countTileTop(Value number, ValueRange loaded) {
  Value isOut = b.compare(CmpIPredicate::uge, number, getTiles().second);
  for (auto [i, head] : llvm::enumerate(heads)) {
    Value top = loaded[2 * i], lack = loaded[2 * i + 1];
    Value share = math::FmaOp::create(b, lack, b.f32(-kLog2E), head.lack);
    countSlot(head, isOut, pick.getBelow(head.top, top), share, once);
  }
}

/// A thread for each tile. Loads of two tiles wait together.
void DepthCounts::countTileTops() {
  constexpr int64_t kTilesAtOnce = 2;
  b.forLoop(pick.thread, getTiles().second, kTilesAtOnce * pick.threads,
            [&](Value number) {
              SmallVector<Value> numbers;
              SmallVector<SmallVector<Value>> loaded;
              for (int64_t i = 0; i < kTilesAtOnce; ++i) {
                numbers.push_back(b.addI(number, b.index(i * pick.threads)));
                loaded.push_back(loadTileTop(numbers.back()));
              }
              for (auto [own, its] : llvm::zip_equal(numbers, loaded))
                countTileTop(own, its);
            });
}

SmallVector<Value> PickLauncher::countDepths(Value first) {
  const int64_t heads = headsAtOnce, atOnce = getCountedAtOnce();
  Value sampleShift = getSampleShift();
  clearBins(2 * heads * kBins);
  auto count = [&](Value at) {
    return DepthCounts(*this, first, at, sampleShift).count();
  };
  if (heads == atOnce)
    return count(b.index(0));
  return b.forLoop(
      b.index(0), b.index(heads), atOnce,
      SmallVector<Value>(heads, b.f32(0.0f)), [&](Value at, ValueRange all) {
        SmallVector<Value> few = count(at), next;
        for (auto [i, taken] : llvm::enumerate(all)) {
          Value own = b.index(static_cast<int64_t>(i) / atOnce * atOnce);
          next.push_back(b.select(b.compare(CmpIPredicate::eq, at, own),
                                  few[i % atOnce], taken));
        }
        return next;
      });
}
