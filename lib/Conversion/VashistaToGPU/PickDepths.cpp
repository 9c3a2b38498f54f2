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
// is at most what was counted.
//
// Of many slots a sample is counted, and the highest of each tile, which its
// top tells: what is attended is mostly the mass of such, and what is left that
// of many, of which a quarter is as good. Tails are of all slots, and a pick
// that follows goes deeper until its own says that it is enough.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Groups of so many slots are sampled: one chunk in 2^kSampleShift is counted,
/// as so many, but for the highest of each tile. It is near if it is no further
/// from the highest of all.
static constexpr int64_t kManySlots = 65536, kSampleShift = 2;
static constexpr float kNearNats = 5.0f;
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
  int64_t heads = getHeadsAtOnce();
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
  int64_t heads = getHeadsAtOnce();
  SmallVector<Join> joins(heads, Join::sum);
  leave(taken, joins); // waits for the bins of the block
  forEachFour(heads * size, [&](Value at) {
    storeFour(loadFour(bins, at), between, {row, kvHead, block, at});
  });
  waitCluster();
  SmallVector<Value> all = collect(ValueRange(taken).getTypes(), joins);
  auto getEnd = [&](Value ofBlock, Value at, int64_t which) {
    return getTold(ofBlock,
                   b.addI(at, b.index(kToldOfEnds + which * kHeadsAtOnce)));
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
  forEachFour(getHeadsAtOnce() * 2 * kBins, [&](Value at) {
    withKept(first, at, [&](ArrayRef<Value> there) {
      storeFour(loadFour(depths, there), bins, at);
    });
  });
  b.barrier();
}

/// f32 numbers from 2^23 on are 2^23 and an integer, which their last bits are:
/// to round to it takes no conversion. What is above these bits is added up
/// with them, once for each that is counted: kBitsOfInteger.
static constexpr float kInteger = 0x1p23f;

/// No share has more than its bits have room for.
Value PickLauncher::getShareUnit() {
  return b.minNumber(getUnit(), b.f32(0x1p22f));
}

Value PickLauncher::getSampleShift() {
  auto known = cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  bool areFew = !ShapedType::isDynamic(known) && known < kManySlots;
  // Of a tile not all of which is open the highest may not be. One that follows
  // has what was counted before, when all was open.
  if (areFew || pages || (op.getTaken() && !isFollowing()))
    return nullptr;
  Value isSampled =
      b.forLoop(b.index(0), b.index(group), 1,
                b.compare(CmpIPredicate::uge, used, b.index(kManySlots)),
                [&](Value head, ValueRange carried) -> SmallVector<Value> {
                  Value isClose =
                      b.compare(CmpFPredicate::OLE, getFact(head, Fact::reach),
                                b.f32(kMostReach));
                  return {b.andI(carried[0], isClose)};
                })
          .front();
  return b.select(isSampled, b.i32(kSampleShift), b.i32(0));
}

PickLauncher::CountedHead PickLauncher::getCounted(Value first, int64_t at) {
  CountedHead head;
  // A head that is not there counts as the last one does, for nothing.
  head.number = b.minI(b.addI(first, b.index(at)), b.index(group - 1));
  head.firstBin = b.i32(2 * at * kBins);
  head.top = b.load(tops, head.number);
  // Of a depth, to its bin: the exponent of its width.
  Value width = arith::FPToSIOp::create(
      b, b.getI32Type(),
      b.mulF(getFact(head.number, Fact::width), b.f32(kStepsOfBin)));
  head.shift = math::CountTrailingZerosOp::create(b, width);
  head.lack = b.mulF(getFact(head.number, Fact::lack), b.f32(kLog2E));
  head.slope = b.mulF(getFact(head.number, Fact::slope), b.f32(-kLog2E));
  return head;
}

void PickLauncher::countDepth(const CountedHead &head, const Slot &slot,
                              Value depth,
                              const std::optional<CountedLevel> &level,
                              Value spread, Value times) {
  // What is not counted has bins of its lane's own, behind all others.
  Value uncounted = b.addI(b.toI32(lane), b.i32(numBins));
  // As unsigned numbers: what is not known is as deep as can be. So deep a mass
  // hardly counts, and of trained attention most slots are so deep: in one bin
  // all lanes would wait for each other.
  Value bin = arith::ShRSIOp::create(b, depth, head.shift);
  Value isDeep = b.compare(CmpIPredicate::uge, bin, b.i32(kBins - 1));
  bin = b.addI(bin, head.firstBin);
  bin = b.select(isDeep, uncounted, bin);
  if (slot.isAlways)
    bin = b.select(slot.isAlways, uncounted, bin);
  if (slot.isOpen)
    bin = b.select(slot.isOpen, bin, uncounted);
  Value lack = head.lack;
  if (level)
    lack = b.select(level->isTop, lack, b.subF(lack, level->half));
  Value share = b.exp2(math::FmaOp::create(b, head.slope, spread, lack));
  share = b.minNumber(share, b.f32(kMostShare));
  if (level)
    share = b.select(level->isLowest, b.f32(0.0f), share);
  Value unit = b.mulF(getShareUnit(), b.f32(1.0f / kMostShare));
  Value amount = b.i32(1);
  Value number = arith::BitcastOp::create(
      b, b.getI32Type(), math::FmaOp::create(b, share, unit, b.f32(kInteger)));
  if (times) {
    amount = arith::ShLIOp::create(b, amount, times);
    number = arith::ShLIOp::create(b, number, times);
  }
  addToBin(b.toIndex(bin), amount);
  addToBin(b.toIndex(b.addI(bin, b.i32(kBins))), number);
}

SmallVector<Value> PickLauncher::countDepths(Value first) {
  int64_t heads = getHeadsAtOnce();
  Value none = b.f32(0.0f), sampleShift = getSampleShift();
  clearBins(2 * heads * kBins);
  SmallVector<CountedHead> counted;
  for (int64_t i = 0; i < heads; ++i)
    counted.push_back(getCounted(first, i));
  auto load = [&](ArrayRef<Slot> slots) {
    SmallVector<Value> loaded;
    for (const CountedHead &head : counted)
      llvm::append_range(loaded, loadLevels(head.number, slots).pack());
    llvm::append_range(loaded, loadSpreads(slots));
    return loaded;
  };
  SmallVector<Value> sums = forEachSlot(
      SmallVector<Value>(heads, none), load,
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> next(now);
        SmallVector<Levels> all;
        for (int64_t i = 0; i < heads; ++i)
          all.push_back(Levels::unpack(loaded, slots.size()));
        SmallVector<Value> spreads = getSpreads(loaded);
        for (auto [i, head] : llvm::enumerate(counted)) {
          Value below = getBelow(head.top, all[i].top);
          Value half = all[i].scale(b, 0.5f / ScanFindings::kLevelsOfBit);
          for (auto [j, slot] : llvm::enumerate(slots)) {
            Value depth = getDepth(all[i], below, j), times;
            CountedLevel level = {isLevel(all[i], j, 0),
                                  isLevel(all[i], j, ScanFindings::kLowest),
                                  half};
            if (sampleShift && areTogether(slots))
              times = b.select(level.isTop, b.i32(0), sampleShift);
            countDepth(head, slot, depth, level, spreads[j], times);
            if (!slot.isAlways)
              continue;
            Value isTaken = andOpen(slot, slot.isAlways);
            Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
            isKnown = b.andI(isKnown, notI(level.isLowest));
            Value mass =
                getMassOfScore(getMassOfDepth(depth), head.number, spreads[j]);
            mass = b.select(b.andI(isTaken, isKnown), mass, none);
            next[i] = b.addF(next[i], mass);
          }
        }
        return next;
      },
      /*ofMarked=*/false, sampleShift);
  if (sampleShift) {
    Value isSampled = b.compare(CmpIPredicate::ne, sampleShift, b.i32(0));
    b.ifThen(isSampled, [&] { countTileTops(counted, sampleShift); });
  }
  return sums;
}

/// A thread for each tile: of most, any spread stands for that of the highest.
/// Those that are near are few and decide, and their threads look for theirs.
void PickLauncher::countTileTops(ArrayRef<CountedHead> heads,
                                 Value sampleShift) {
  constexpr auto nearSteps =
      static_cast<int64_t>(kNearNats * ScanFindings::kPerNat);
  const auto numHeads = static_cast<int64_t>(heads.size());
  Value firstWord, chunks, one = b.i32(1);
  std::tie(firstWord, chunks) = getChunks();
  Value firstTile = b.divU(firstWord, b.index(kWordsOfTile));
  Value ofChunk = b.index(kAtOnce / kWordsOfTile);
  Value ofSample = b.subI(arith::ShLIOp::create(b, one, sampleShift), one);
  Value counter = b.index(threads);
  // visit(head, its number, tile, depth, whether it is near) of each that the
  // sample has passed over.
  auto forEachTop =
      [&](function_ref<void(const CountedHead &, int64_t, Value, Value, Value)>
              visit) {
        b.forLoop(thread, b.mulI(chunks, ofChunk), threads, [&](Value number) {
          Value chunk = b.toI32(b.divU(number, ofChunk));
          Value isPassed =
              b.compare(CmpIPredicate::ne, b.andI(chunk, ofSample), b.i32(0));
          Value tile = b.addI(firstTile, number);
          b.ifThen(isPassed, [&] {
            SmallVector<Value> depths;
            for (const CountedHead &head : heads) {
              Value top =
                  b.load(tileTops, {row, b.addI(firstHead, head.number), tile});
              depths.push_back(getBelow(head.top, top));
            }
            for (auto [i, depth] : llvm::enumerate(depths)) {
              Value isNear =
                  b.compare(CmpIPredicate::slt, depth, b.i32(nearSteps));
              visit(heads[i], static_cast<int64_t>(i), tile, depth, isNear);
            }
          });
        });
      };
  auto countAsAny = [&](const CountedHead &head, Value tile, Value depth,
                        Value isCounted) {
    Slot slot;
    slot.number = b.mulI(tile, b.index(ScanFindings::kTile));
    slot.isOpen = isCounted;
    Value spread = getSpreads(loadSpreads(slot)).front();
    countDepth(head, slot, depth, std::nullopt, spread, Value());
  };
  storeOnce(b.i32(0), nearTops, counter);
  b.barrier();
  forEachTop([&](const CountedHead &head, int64_t number, Value tile,
                 Value depth, Value isNear) {
    countAsAny(head, tile, depth, notI(isNear));
    b.ifThen(isNear, [&] {
      Value at = memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi, one,
                                             nearTops, counter);
      Value hasRoom = b.compare(CmpIPredicate::ult, at, b.i32(threads));
      Value entry =
          b.addI(b.mulI(b.toI32(tile), b.i32(numHeads)), b.i32(number));
      b.ifThen(hasRoom, [&] { b.store(entry, nearTops, b.toIndex(at)); });
    });
  });
  b.barrier();
  Value total = b.loadIndex(nearTops, counter);
  Value areFew = b.compare(CmpIPredicate::ule, total, b.index(threads));
  b.ifThen(notI(areFew), [&] {
    forEachTop([&](const CountedHead &head, int64_t, Value tile, Value depth,
                   Value isNear) { countAsAny(head, tile, depth, isNear); });
  });
  Value hasOne = b.andI(areFew, b.compare(CmpIPredicate::ult, thread, total));
  b.ifThen(hasOne, [&] {
    Value entry = b.load(nearTops, thread);
    Value which = b.remU(entry, b.i32(numHeads));
    CountedHead head = heads.front();
    for (auto [i, other] : llvm::enumerate(heads.drop_front())) {
      Value is = b.compare(CmpIPredicate::eq, which,
                           b.i32(static_cast<int64_t>(i) + 1));
      for (auto field :
           {&CountedHead::number, &CountedHead::firstBin, &CountedHead::top,
            &CountedHead::shift, &CountedHead::lack, &CountedHead::slope})
        head.*field = b.select(is, other.*field, head.*field);
    }
    countNearTop(head, b.toIndex(b.divU(entry, b.i32(numHeads))));
  });
}

/// By the thread alone: the highest has no level.
void PickLauncher::countNearTop(const CountedHead &head, Value tile) {
  Value first = b.mulI(tile, b.index(ScanFindings::kTile));
  Value queryHead = b.addI(firstHead, head.number);
  Levels all;
  all.top = b.load(tileTops, {row, queryHead, tile});
  for (int64_t i = 0; i < ScanFindings::kTile; i += kAtOnce)
    llvm::append_range(all.packed,
                       loadTogether(queryHead, b.addI(first, b.index(i))));
  Value highest = b.i32(0);
  for (int64_t i = 0; i < ScanFindings::kTile; ++i)
    highest = b.select(isLevel(all, i, 0), b.i32(i), highest);
  Slot slot;
  slot.number = b.addI(first, b.toIndex(highest));
  Value depth = getBelow(head.top, all.top);
  Value spread = getSpreads(loadSpreads(slot)).front();
  countDepth(head, slot, depth, std::nullopt, spread, Value());
}
