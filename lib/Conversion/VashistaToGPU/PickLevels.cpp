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
// of many, of which a quarter is as good. Tails are of all slots.
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

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

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
/// Of what is attended already: bins are not exact, and less so of a sample.
static constexpr float kKnown = 31.0f / 32.0f, kKnownOfSample = 7.0f / 8.0f;
/// Groups of so many slots are sampled: one chunk in 2^kSampleShift is counted,
/// as so many, but for the highest of each tile. It is near if it is no further
/// from the highest of all.
static constexpr int64_t kManySlots = 65536, kSampleShift = 2;
static constexpr float kNearNats = 5.0f;
/// Where scores lack more of their bounds, they are steep: few slots decide
/// what is left, and a spread that is off a little is off by nats.
static constexpr float kMostReach = 8.0f;

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

PickLauncher::Levels PickLauncher::Levels::unpack(ValueRange &all,
                                                  size_t slots) {
  size_t packed = slots == 1 ? 1 : slots / 2,
         tops = slots == 1 ? 1 : slots / kTogether;
  Levels levels;
  llvm::append_range(levels.packed, all.take_front(packed));
  llvm::append_range(levels.tops, all.slice(packed, tops));
  all = all.drop_front(packed + tops);
  return levels;
}

SmallVector<Value> PickLauncher::loadSpreads(ArrayRef<Slot> slots) {
  if (!areTogether(slots)) {
    Value slot = b.minI(slots[0].number, b.subI(numSlots, b.index(1)));
    return {b.load(spreads, {row, kvHead, slot})};
  }
  SmallVector<Value> pairs;
  for (int64_t i = 0; i < kAtOnce; i += kTogether) {
    static_assert(kTogether == 4, "as many are 8 bytes");
    auto [low, high] = b.load8Bytes(spreads, {row, kvHead, slots[i].number});
    pairs.append({low, high});
  }
  return pairs;
}

SmallVector<Value> PickLauncher::getSpreads(ValueRange loaded) {
  SmallVector<Value> found;
  auto extend = [&](Value spread) {
    found.push_back(arith::ExtFOp::create(b, b.getF32Type(), spread));
  };
  for (Value value : loaded) {
    if (value.getType().isF16()) {
      extend(value);
      continue;
    }
    Value pair =
        LLVM::BitcastOp::create(b, VectorType::get({2}, b.getF16Type()), value);
    for (int64_t i = 0; i < 2; ++i)
      extend(vector::ExtractOp::create(b, pair, ArrayRef<int64_t>{i}));
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
    steps = b.minNumber(steps, b.f32(0x1p16f));
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
    SmallVector<Value> taken(heads, b.f32(0.0f));
    if (!isFollowing())
      taken = countDepths(first);
    if (depths)
      moveDepths(first);
    // A warp for each.
    Value head = b.addI(first, warp);
    Value isThere = b.andI(b.compare(CmpIPredicate::ult, warp, b.index(heads)),
                           b.compare(CmpIPredicate::ult, head, b.index(group)));
    Value own = selectOfWarp(taken);
    b.ifThen(isThere, [&] { findDepthEnd(head, warp, own); });
    b.barrier();
  });
}

/// Of a few heads, for the pick that follows or from the one before.
void PickLauncher::moveDepths(Value first) {
  int64_t size = 2 * kBins; // of a head
  Value isWriter = b.compare(CmpIPredicate::eq, block, b.index(0));
  forEachFour(getHeadsAtOnce() * size, [&](Value at) {
    Value head = b.addI(first, b.divU(at, b.index(size)));
    Value isMoved = b.compare(CmpIPredicate::ult, head, b.index(group));
    if (!isFollowing())
      isMoved = b.andI(isMoved, isWriter);
    b.ifThen(isMoved, [&] {
      Value there[] = {row, b.addI(firstHead, head), b.remU(at, b.index(size))};
      if (isFollowing())
        storeFour(loadFour(depths, there), bins, at);
      else
        storeFour(loadFour(bins, at), depths, there);
    });
  });
  b.barrier();
}

/// f32 numbers from 2^23 on are 2^23 and an integer, which their last bits are:
/// to round to it takes no conversion. What is above these bits is added up
/// with them, once for each that is counted.
static constexpr float kInteger = 0x1p23f;
static constexpr int64_t kBitsOfInteger = 0x4b000000;

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
                              Value depth, Value spread, Value times) {
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
  Value share = b.exp2(math::FmaOp::create(b, head.slope, spread, head.lack));
  share = b.minNumber(share, b.f32(kMostShare));
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
          SmallVector<Value> below = getBelow(head.top, all[i]);
          for (auto [j, slot] : llvm::enumerate(slots)) {
            Value depth = getDepth(all[i], below, j), times;
            if (sampleShift && areTogether(slots)) {
              Value isTop =
                  b.compare(CmpIPredicate::eq, getLevel(all[i], j), b.i32(0));
              times = b.select(isTop, b.i32(0), sampleShift);
            }
            countDepth(head, slot, depth, spreads[j], times);
            if (!slot.isAlways)
              continue;
            Value isTaken = andOpen(slot, slot.isAlways);
            Value isKnown = b.compare(CmpIPredicate::sge, depth, b.i32(0));
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
  return addUpBins(2 * heads * kBins, sums,
                   SmallVector<Join>(heads, Join::sum));
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
              Levels level;
              level.tops = {b.load(
                  tileTops, {row, b.addI(firstHead, head.number), tile})};
              depths.push_back(getBelow(head.top, level).front());
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
    countDepth(head, slot, depth, spread, Value());
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
  all.tops = {b.load(tileTops, {row, queryHead, tile})};
  for (int64_t i = 0; i < ScanFindings::kTile; i += kTogether) {
    auto [low, high] =
        b.load8Bytes(levels, {row, queryHead, b.addI(first, b.index(i))});
    all.packed.append({low, high});
  }
  Value highest = b.i32(0);
  for (int64_t i = 0; i < ScanFindings::kTile; ++i) {
    Value is = b.compare(CmpIPredicate::eq, getLevel(all, i), b.i32(0));
    highest = b.select(is, b.i32(i), highest);
  }
  Slot slot;
  slot.number = b.addI(first, b.toIndex(highest));
  Value depth = getBelow(head.top, all).front();
  Value spread = getSpreads(loadSpreads(slot)).front();
  countDepth(head, slot, depth, spread, Value());
}

/// The first bin from which on so little is left that a proof can do without. A
/// lane for each chunk of bins, then for each bin of the chunk that it is in:
/// sums from the last one on, of numbers that differ by tens of nats.
void PickLauncher::findDepthEnd(Value head, Value at, Value taken) {
  static_assert(kBins == kWarp * kWarp, "a chunk for each lane");
  Value none = b.f32(0.0f), ratio = getRatio(), size = b.index(kWarp);
  Value width = getFact(head, Fact::width);
  Value nats = b.mulF(width, b.f32(-1.0f / kOfNat)); // of a bin
  Value firstBin = b.mulI(at, b.index(2 * kBins));
  Value share = estimate(b.subF(none, getFact(head, Fact::lack)));
  share = b.divF(b.mulF(share, b.f32(kMostShare)), getShareUnit());
  // Of bounds, and of scores.
  auto getMasses = [&](Value bin) {
    auto load = [&](int64_t which) {
      Value there = b.addI(bin, b.index(which * kBins));
      return b.load(bins, b.addI(firstBin, there));
    };
    auto toFloat = [&](Value number) -> Value {
      return arith::UIToFPOp::create(b, b.getF32Type(), number);
    };
    Value count = load(0);
    Value shares = b.subI(load(1), b.mulI(count, b.i32(kBitsOfInteger)));
    Value depth = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(bin));
    depth = b.addF(depth, b.f32(0.5f));
    Value mass =
        estimate(math::FmaOp::create(b, depth, nats, b.f32(kHeadroom)));
    return SmallVector<Value>{b.mulF(toFloat(count), mass),
                              b.mulF(b.mulF(toFloat(shares), share), mass)};
  };
  // The last chunk first. No two lanes read from one bank.
  Value chunk = b.subI(b.index(kWarp - 1), lane);
  SmallVector<Value> sums = b.forLoop(
      b.index(0), size, 1, {none, none}, [&](Value i, ValueRange now) {
        Value within = b.remU(b.addI(i, lane), size);
        SmallVector<Value> next =
            getMasses(b.addI(b.mulI(chunk, size), within));
        for (auto [sum, before] : llvm::zip_equal(next, now))
          sum = b.addF(before, sum);
        return next;
      });
  SmallVector<Value> upTo;
  for (Value sum : sums)
    upTo.push_back(addUpLanes(sum));
  Value all = b.shuffle(upTo[1], b.i32(kWarp - 1)), mass = taken;
  if (attended)
    mass =
        b.addF(mass, getMass(b.load(attended, {row, b.addI(firstHead, head)}),
                             getShift(head)));
  Value known = b.f32(kKnown), outsideToo = getRest(head);
  if (Value shift = getSampleShift()) {
    Value isSampled = b.compare(CmpIPredicate::ne, shift, b.i32(0));
    known = b.select(isSampled, b.f32(kKnownOfSample), known);
  }
  // What was too deep to be counted: where so little is attended that it may
  // matter, all are taken.
  Value slots = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value deepest = estimate(
      math::FmaOp::create(b, b.f32(kBins - 1), nats, b.f32(kHeadroom)));
  outsideToo = math::FmaOp::create(b, slots, deepest, outsideToo);
  // How many lanes find that too much is left: those of what is highest.
  auto countNeeded = [&](Value rest, Value scoresLeft) {
    // What was picked before is attended, and among what was counted.
    Value attendable = b.mulF(mass, known);
    if (!isFollowing()) {
      attendable = b.maxNumber(b.subF(all, scoresLeft), none);
      attendable = math::FmaOp::create(b, attendable, b.f32(kPromised), mass);
    }
    // Also what is NaN is needed.
    Value isNeeded = b.compare(CmpFPredicate::UGT, b.addF(rest, outsideToo),
                               b.mulF(ratio, attendable));
    return math::CtPopOp::create(b, b.ballot(isNeeded));
  };
  Value number = countNeeded(upTo[0], upTo[1]);
  Value last = b.maxI(b.subI(number, b.i32(1)), b.i32(0));
  SmallVector<Value> inside =
      getMasses(b.addI(b.mulI(b.toIndex(last), size), chunk));
  for (auto [i, sum] : llvm::enumerate(inside)) {
    Value before = b.select(b.compare(CmpIPredicate::eq, lane, b.index(0)),
                            none, b.shuffleUp(upTo[i], 1));
    before = b.shuffle(before, b.subI(b.i32(kWarp - 1), last));
    sum = b.addF(addUpLanes(sum), before);
  }
  number =
      b.addI(b.mulI(last, b.i32(kWarp)), countNeeded(inside[0], inside[1]));
  // All bins, or a score that is NaN, which proves nothing: however deep.
  Value isAll =
      b.orI(b.compare(CmpIPredicate::eq, number, b.i32(kBins)),
            b.compare(CmpIPredicate::ne, b.load(nans, head), b.i32(0)));
  Value steps = arith::FPToSIOp::create(b, b.getI32Type(),
                                        b.mulF(width, b.f32(kStepsOfBin)));
  Value end = b.select(isAll, b.i32(std::numeric_limits<int32_t>::max()),
                       b.mulI(number, steps));
  if (isFollowing()) {
    Value at[] = {row, b.addI(firstHead, head)};
    end = b.select(meets(b.load(before, at), at), b.i32(0), end);
  }
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)),
           [&] { b.store(end, ends, head); });
}

/// What is left in any case, in units of the highest bound.
Value PickLauncher::getRest(Value head) {
  if (!outside)
    return b.f32(0.0f);
  return getMass(b.load(outside, {row, b.addI(firstHead, head)}),
                 getShift(head));
}

SmallVector<Value> PickLauncher::loadAllLevels(ArrayRef<Slot> slots) {
  SmallVector<Value> loaded;
  for (int64_t head = 0; head < group; ++head)
    llvm::append_range(loaded, loadLevels(b.index(head), slots).pack());
  return loaded;
}

PickLauncher::AllLevels PickLauncher::takeAllLevels(ValueRange loaded,
                                                    size_t slots,
                                                    ArrayRef<Value> headTops) {
  AllLevels all;
  for (int64_t head = 0; head < group; ++head)
    all.levels.push_back(Levels::unpack(loaded, slots));
  for (int64_t head = 0; head < group; ++head)
    all.below.push_back(getBelow(headTops[head], all.levels[head]));
  return all;
}

SmallVector<Value> PickLauncher::loadOfHeads(Value buffer) {
  SmallVector<Value> values;
  for (int64_t head = 0; head < group; ++head)
    values.push_back(b.load(buffer, b.index(head)));
  return values;
}

/// Of all that a head takes, so much that there is room above it.
Value PickLauncher::loadEnd(Value head) {
  return b.minI(b.load(ends, head), b.i32(1 << 20));
}

/// More than any head takes: the margin of what is not known.
Value PickLauncher::getMostMargin() {
  return b
      .forLoop(b.index(0), b.index(group), 1, b.i32(1),
               [&](Value head, ValueRange carried) -> SmallVector<Value> {
                 Value most = b.addI(loadEnd(head), b.i32(1));
                 return {b.maxI(carried[0], most)};
               })
      .front();
}

/// How far what is taken lies within what a head takes, in steps of 1/64 nat,
/// the most of which is the highest bit.
SmallVector<Value> PickLauncher::getMarginRanks(ArrayRef<Slot> slots,
                                                ValueRange loaded) {
  SmallVector<Value> margins(slots.size(), b.i32(0));
  auto raise = [&](Value head, MutableArrayRef<Value> margins,
                   function_ref<Value(int64_t slot)> getDepth) {
    Value end = loadEnd(head);
    for (auto [i, margin] : llvm::enumerate(margins))
      margin = b.maxI(margin, b.subI(end, getDepth(i)));
  };
  if (hasFewHeads()) {
    AllLevels all = takeAllLevels(loaded, slots.size(), loadOfHeads(tops));
    for (int64_t head = 0; head < group; ++head)
      raise(b.index(head), margins,
            [&](int64_t slot) { return getDepth(all, head, slot); });
  } else {
    margins = b.forLoop(b.index(0), b.index(group), 1, margins,
                        [&](Value head, ValueRange carried) {
                          SmallVector<Value> next(carried);
                          Levels found = loadLevels(head, slots);
                          SmallVector<Value> below =
                              getBelow(b.load(tops, head), found);
                          raise(head, next, [&](int64_t slot) {
                            return getDepth(found, below, slot);
                          });
                          return next;
                        });
  }
  static_assert(ScanFindings::kPerNat >> kLeftOut == 64);
  Value shift = math::CountLeadingZerosOp::create(b, mostMargin);
  Value kept = b.i32(-(int64_t(1) << kLeftOut));
  for (Value &margin : margins) {
    margin = b.andI(b.minI(margin, mostMargin), kept);
    margin = arith::ShLIOp::create(b, margin, shift);
  }
  return margins;
}

SmallVector<Value> PickLauncher::markDeep() {
  if (!hasFewHeads())
    return markDeepOfMany();
  Value no = b.boolean(false), none = b.f32(0.0f);
  SmallVector<Value> headTops = loadOfHeads(tops), headEnds = loadOfHeads(ends);
  // How many are marked, whether any is left, and the mass of what is.
  SmallVector<Value> sums = {b.i32(0), b.i32(0)};
  sums.append(group, none);
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group, Join::sum);
  sums = forEachSlot(
      sums, [&](ArrayRef<Slot> slots) { return loadAllLevels(slots); },
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> next(now), needed(slots.size()), left(slots.size());
        AllLevels all = takeAllLevels(loaded, slots.size(), headTops);
        for (auto [i, slot] : llvm::enumerate(slots)) {
          SmallVector<Value> depths;
          Value is = no;
          for (int64_t head = 0; head < group; ++head) {
            depths.push_back(getDepth(all, head, i));
            is = b.orI(is, b.compare(CmpIPredicate::slt, depths[head],
                                     headEnds[head]));
          }
          // Sinks and window are picked, needed or not.
          is = needed[i] = andOpen(slot, orAlways(slot, is));
          Value isLeft = left[i] = andOpen(slot, notI(is));
          for (auto [sum, depth] : llvm::zip_equal(
                   MutableArrayRef<Value>(next).drop_front(2), depths))
            sum = b.addF(sum, b.select(isLeft, getMassOfDepth(depth), none));
        }
        Value number = math::CtPopOp::create(b, getOwnBits(needed));
        next[0] = b.addI(next[0], number);
        next[1] = b.orI(next[1], getOwnBits(left));
        storeMarked(needed, slots);
        return next;
      });
  // Whether any is left, as bits of a tail are.
  Value isLeft = b.compare(CmpIPredicate::ne, sums[1], b.i32(0));
  sums[1] = b.select(isLeft, b.i32(1), b.i32(0));
  sums = reduceAll(sums, joins);
  SmallVector<Value> marked = {sums[0]};
  for (Value sum : ArrayRef<Value>(sums).drop_front(2))
    marked.append({sum, sums[1]});
  return marked;
}

/// What ends were found from are estimates, which another pass costs less than
/// what follows the last round.
SmallVector<Value> PickLauncher::markUntilProved() {
  if (!sumsWhileMarking())
    return markDeep();
  // Deeper by half a nat, two, and eight; in the end by all.
  constexpr int64_t kPasses = 5, kDeeper = ScanFindings::kPerNat / 2;
  Value none = b.f32(0.0f), zero = b.i32(0), all = b.i32(1 << 30);
  SmallVector<Value> state = {b.boolean(true), zero};
  for (int64_t head = 0; head < group; ++head)
    state.append({none, zero});
  state = b.forLoop(
      b.index(0), b.index(kPasses), 1, state, [&](Value pass, ValueRange now) {
        return b.ifThen(now[0], now, [&] {
          SmallVector<Value> marked = markDeep(), shorts, before;
          Value goesOn = b.boolean(false);
          for (int64_t i = 0; i < group; ++i) {
            Value head = b.index(i);
            Value tail = getTail(head, marked[1 + 2 * i], marked[2 + 2 * i]);
            shorts.push_back(notI(meets(tail, {row, b.addI(firstHead, head)})));
            goesOn = b.orI(goesOn, shorts.back());
            before.push_back(b.load(ends, head));
          }
          // Where nothing is left, or there is no room, deeper is the same.
          Value isLeft = b.compare(CmpIPredicate::ne, marked[2], zero);
          Value hasRoom =
              b.compare(CmpIPredicate::sle, marked[0], b.i32(op.getBudget()));
          goesOn = b.andI(goesOn, b.andI(isLeft, hasRoom));
          Value isLast =
              b.compare(CmpIPredicate::sge, pass, b.index(kPasses - 2));
          Value deeper = arith::ShLIOp::create(
              b, b.i32(kDeeper), b.toI32(b.mulI(pass, b.index(2))));
          b.barrier();
          for (auto [i, isShort, end] : llvm::enumerate(shorts, before)) {
            Value next = b.minI(b.addI(b.minI(end, all), deeper), all);
            next = b.select(isLast, all, next);
            next = b.select(b.andI(goesOn, isShort), next, end);
            storeOnce(next, ends, b.index(static_cast<int64_t>(i)));
          }
          b.barrier();
          SmallVector<Value> next = {goesOn};
          llvm::append_range(next, marked);
          return next;
        });
      });
  return SmallVector<Value>(llvm::drop_begin(state));
}

/// Heads after each other; tails come later.
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
            for (auto [is, slot] : llvm::zip_equal(needed, slots))
              is = andOpen(slot, orAlways(slot, is));
            storeMarked(needed, slots);
            Value number = math::CtPopOp::create(b, getOwnBits(needed));
            return {b.addI(now[0], number)};
          })
          .front();
  return reduceAll(count, Join::sum);
}
