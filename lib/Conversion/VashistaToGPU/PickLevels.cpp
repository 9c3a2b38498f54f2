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

PickLauncher::Marked PickLauncher::markDeep(Value isNearlyOver) {
  if (!hasFewHeads())
    return markDeepOfMany();
  Value no = b.boolean(false), none = b.f32(0.0f);
  SmallVector<Value> headTops = loadOfHeads(tops), headEnds = loadOfHeads(ends);
  if (isNearlyOver) {
    mostMargin = getMostMargin();
    b.ifThen(isNearlyOver, [&] { clearBins(int64_t(1) << getFirstWidth()); });
  }
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
  types.append(group, b.getF32Type());
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group, Join::sum);
  Marked marked = getMarked(types, joins);
  SmallVector<Value> left;
  for (Value sum : ArrayRef<Value>(marked.left).drop_front())
    left.append({sum, marked.left.front()});
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
            Value tail =
                getTail(head, marked.left[2 * i], marked.left[2 * i + 1]);
            shorts.push_back(notI(meets(tail, {row, b.addI(firstHead, head)})));
            goesOn = b.orI(goesOn, shorts.back());
            before.push_back(b.load(ends, head));
          }
          // Where nothing is left, or there is no room, deeper is the same.
          Value isLeft = b.compare(CmpIPredicate::ne, marked.left[1], b.i32(0));
          Value hasRoom = b.compare(CmpIPredicate::sle, marked.number,
                                    b.i32(op.getBudget()));
          goesOn = b.andI(goesOn, b.andI(isLeft, hasRoom));
          Value isLast =
              b.compare(CmpIPredicate::sge, pass, b.index(kPasses - 2));
          Value deeper = arith::ShLIOp::create(
              b, b.i32(kDeeper), b.toI32(b.mulI(pass, b.index(2))));
          waitCluster();
          for (auto [i, isShort, end] : llvm::enumerate(shorts, before)) {
            Value next = b.minI(b.addI(b.minI(end, all), deeper), all);
            next = b.select(isLast, all, next);
            next = b.select(b.andI(goesOn, isShort), next, end);
            storeOnce(next, ends, b.index(static_cast<int64_t>(i)));
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
