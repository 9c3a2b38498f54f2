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
// an integer. PickDepths.cpp finds how deep heads take slots.
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

SmallVector<Value> PickLauncher::getSteps(Value top, const Levels &levels,
                                          float less) {
  SmallVector<Value> found;
  for (Value tileTop : levels.tops) {
    // Not known: far above. NaN, of nothing and nothing: the same.
    Value steps = math::FmaOp::create(b, b.subF(top, tileTop),
                                      b.f32(ScanFindings::kPerNat),
                                      b.f32(-0x1p-6f - less));
    steps = b.maxNumber(steps, b.f32(-0x1p20f));
    found.push_back(b.minNumber(steps, b.f32(0x1p16f)));
  }
  return found;
}

SmallVector<Value> PickLauncher::getBelow(Value top, const Levels &levels) {
  // Towards zero: the highest lies not above itself.
  return llvm::map_to_vector(getSteps(top, levels), [&](Value steps) -> Value {
    return arith::FPToSIOp::create(b, b.getI32Type(), steps);
  });
}

SmallVector<Value> PickLauncher::loadAllLevels(ArrayRef<Slot> slots) {
  SmallVector<Value> loaded;
  for (int64_t head = 0; head < group; ++head)
    llvm::append_range(loaded, loadLevels(b.index(head), slots).pack());
  if (hasMoment())
    llvm::append_range(loaded, loadSpreads(slots));
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
  for (Value spread : getSpreads(loaded))
    all.spreads.push_back(getSureSpread(spread));
  return all;
}

/// f32 numbers from 2^23 on are integers, which their last bits are.
static constexpr float kInteger = 0x1p23f;

PickLauncher::AllLevels
PickLauncher::takeFloatLevels(ValueRange loaded, size_t slots,
                              ArrayRef<Value> headTops) {
  AllLevels all;
  for (int64_t head = 0; head < group; ++head) {
    all.levels.push_back(Levels::unpack(loaded, slots));
    SmallVector<Value> &below = all.below.emplace_back();
    // Rounded down by a half less, and to an integer by a sum.
    for (Value steps : getSteps(headTops[head], all.levels.back(), 0.5f))
      below.push_back(b.subF(steps, b.f32(kInteger)));
  }
  for (Value spread : getSpreads(loaded))
    all.spreads.push_back(getSureSpread(spread));
  return all;
}

Value PickLauncher::getFloatDepth(const AllLevels &all, int64_t head,
                                  int64_t slot) {
  // The level in the last bits of kInteger.
  const Levels &levels = all.levels[head];
  Value ones = b.i32(0x4b00), bits;
  if (levels.packed.size() == 1)
    bits = b.permuteBytes(levels.packed[0], ones, 0x5410);
  else
    bits = b.permuteBytes(levels.packed[slot / 2], ones,
                          slot % 2 ? 0x5432 : 0x5410);
  Value level = arith::BitcastOp::create(b, b.getF32Type(), bits);
  return b.addF(level, all.below[head][slot / kTogether]);
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

PickLauncher::Marked PickLauncher::markDeep(Value isNearlyOver) {
  if (!hasFewHeads())
    return markDeepOfMany();
  Value no = b.boolean(false), none = b.f32(0.0f);
  SmallVector<Value> headTops = loadOfHeads(tops), headEnds = loadOfHeads(ends);
  for (Value &end : headEnds)
    end = toFloatDepth(end);
  SmallVector<Unread> unread;
  SmallVector<Value> starts;
  for (int64_t head = 0; hasMoment() && head < group; ++head) {
    unread.push_back(getUnread(b.index(head)));
    starts.push_back(
        b.mulF(getStart(b.index(head)), b.f32(ScanFindings::kPerNat)));
  }
  if (isNearlyOver) {
    mostMargin = getMostMargin();
    b.ifThen(isNearlyOver, [&] { clearBins(int64_t(1) << getFirstWidth()); });
  }
  // How many are marked, whether any is left, and the masses of what is.
  const int64_t numSums = getNumSums();
  SmallVector<Value> sums = {b.i32(0), b.i32(0)};
  sums.append(group * numSums, none);
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group * numSums, Join::sum);
  sums = forEachSlot(
      sums,
      [&](ArrayRef<Slot> slots) {
        // What is loaded ahead takes registers that sums of moments need.
        return hasMoment() ? SmallVector<Value>() : loadAllLevels(slots);
      },
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> here;
        if (hasMoment()) {
          here = loadAllLevels(slots);
          loaded = here;
        }
        SmallVector<Value> next(now), needed(slots.size()), left(slots.size());
        AllLevels all = takeFloatLevels(loaded, slots.size(), headTops);
        for (auto [i, slot] : llvm::enumerate(slots)) {
          SmallVector<Value> depths;
          Value is = no;
          for (int64_t head = 0; head < group; ++head) {
            depths.push_back(getFloatDepth(all, head, i));
            is = b.orI(is, b.compare(CmpFPredicate::OLT, depths[head],
                                     headEnds[head]));
          }
          // Sinks and window are picked, needed or not.
          is = needed[i] = andOpen(slot, orAlways(slot, is));
          Value isLeft = left[i] = andOpen(slot, notI(is));
          MutableArrayRef<Value> own = MutableArrayRef(next).drop_front(2);
          Value logOfTop = hasMoment() ? getLogOfTop(isLeft) : Value();
          for (auto [head, depth] : llvm::enumerate(depths)) {
            MutableArrayRef<Value> of = own.slice(head * numSums, numSums);
            if (hasMoment())
              addByMoment(unread[head], b.subF(depth, starts[head]),
                          all.spreads[i], logOfTop, of);
            else
              of[0] =
                  b.addF(of[0], b.select(isLeft, getMassOfDepth(depth), none));
          }
        }
        Value number = math::CtPopOp::create(b, getOwnBits(needed));
        next[0] = b.addI(next[0], number);
        next[1] = b.orI(next[1], getOwnBits(left));
        storeMarked(needed, slots);
        if (isNearlyOver)
          b.ifThen(isNearlyOver, [&] { countMargins(slots, loaded, needed); });
        return next;
      });
  // Whether any is left, as bits of a tail are.
  Value isLeft = b.compare(CmpIPredicate::ne, sums[1], b.i32(0));
  sums[1] = b.select(isLeft, b.i32(1), b.i32(0));
  (void)joinMarked(sums, joins);
  return getMarkedDeep();
}

void PickLauncher::countMargins(ArrayRef<Slot> slots, ValueRange loaded,
                                ArrayRef<Value> needed) {
  Value uncounted = b.addI(b.toI32(lane), b.i32(numBins));
  Value shift = b.i32(32 - getFirstWidth());
  for (auto [rank, is] : llvm::zip_equal(getRanks(slots, loaded), needed)) {
    Value bin = arith::ShRUIOp::create(b, rank, shift);
    addToBin(b.toIndex(b.select(is, bin, uncounted)), b.i32(1));
  }
}

PickLauncher::Marked PickLauncher::getMarkedDeep() {
  SmallVector<Type> types(2, b.getI32Type());
  const int64_t numSums = getNumSums();
  types.append(group * numSums, b.getF32Type());
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group * numSums, Join::sum);
  Marked marked = getMarked(types, joins);
  SmallVector<Value> left;
  ValueRange sums = ValueRange(marked.left).drop_front();
  for (int64_t head = 0; head < group; ++head) {
    llvm::append_range(left, sums.slice(head * numSums, numSums));
    left.push_back(marked.left.front());
  }
  marked.left = left;
  return marked;
}

/// What ends were found from are estimates, which another pass costs less than
/// what follows the last round.
PickLauncher::Marked PickLauncher::markUntilProved() {
  if (!sumsWhileMarking())
    return markDeep();
  // Deeper by half a nat, two, and eight; in the end by all.
  constexpr int64_t kPasses = 5, kDeeper = ScanFindings::kPerNat / 2;
  Value all = b.i32(1 << 30);
  b.forLoop(
      b.index(0), b.index(kPasses), 1, ValueRange{b.boolean(true)},
      [&](Value pass, ValueRange now) {
        return b.ifThen(now[0], now, [&]() -> SmallVector<Value> {
          Marked marked = markDeep();
          SmallVector<Value> shorts, before;
          Value goesOn = b.boolean(false);
          for (int64_t i = 0; i < group; ++i) {
            Value head = b.index(i);
            auto [sums, bits] = getLeft(marked, i);
            Value tail = getTail(head, sums, bits);
            shorts.push_back(notI(meets(tail, {row, b.addI(firstHead, head)})));
            goesOn = b.orI(goesOn, shorts.back());
            before.push_back(b.load(ends, head));
          }
          // Where nothing is left, or there is no room, deeper is the same.
          Value isLeft =
              b.compare(CmpIPredicate::ne, getLeft(marked, 0).second, b.i32(0));
          Value hasRoom = b.compare(CmpIPredicate::sle, marked.number,
                                    b.i32(op.getBudget()));
          goesOn = b.andI(goesOn, b.andI(isLeft, hasRoom));
          // Thresholds are those that what is left was summed up by.
          goesOn = b.andI(goesOn, b.compare(CmpIPredicate::slt, pass,
                                            b.index(kPasses - 1)));
          Value isLast =
              b.compare(CmpIPredicate::sge, pass, b.index(kPasses - 2));
          Value deeper = arith::ShLIOp::create(
              b, b.i32(kDeeper), b.toI32(b.mulI(pass, b.index(2))));
          waitCluster();
          for (auto [i, isShort, end] : llvm::enumerate(shorts, before)) {
            Value next = b.minI(b.addI(b.minI(end, all), deeper), all);
            next = b.select(isLast, all, next);
            Value isDeeper = b.andI(goesOn, isShort);
            Value head = b.index(static_cast<int64_t>(i));
            storeOnce(b.select(isDeeper, next, end), ends, head);
            if (hasMoment())
              b.ifThen(b.andI(isFirstThread(), isDeeper), [&] {
                Value nats = arith::SIToFPOp::create(b, b.getF32Type(), deeper);
                nats = b.mulF(nats, b.f32(-1.0f / ScanFindings::kPerNat));
                Value theta = b.mulF(getFact(head, Fact::theta), b.exp(nats));
                setFact(head, Fact::theta,
                        b.maxNumber(theta, b.f32(0x1p-100f)));
              });
          }
          b.barrier();
          return {goesOn};
        });
      });
  return getMarkedDeep();
}

/// Heads after each other; tails come later.
PickLauncher::Marked PickLauncher::markDeepOfMany() {
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
  return joinMarked(count, Join::sum);
}
