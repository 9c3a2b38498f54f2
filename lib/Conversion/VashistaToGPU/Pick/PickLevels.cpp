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
// out of it. The f32 difference of two tops is off by 2^-23 of at most 2^15
// steps, which 1/64 of a step covers; tops further apart count as 2^15 steps.
// A depth of at most 2^16 steps is a f32 number, and its bits, a 128th, are
// one: less a constant they are off by 2^-24 of at most 512, below 2^-14, the
// room of the terms that count (those of 2^15 steps, 177 nats, are lost in any
// sum).
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Steps that tops are apart, at most.
static constexpr float kMostBelow = 0x1p15f;

Levels PickLauncher::loadLevels(Value head, ArrayRef<Slot> slots) {
  Levels found;
  Value queryHead = b.addI(firstHead, head), slot = slots[0].number;
  if (areTogether(slots)) {
    found.packed = loadTogether(queryHead, slot);
  } else {
    slot = b.minI(slot, b.subI(numSlots, b.index(1)));
    Value level = b.load(levels, {row, queryHead, slot});
    found.packed = {arith::ExtUIOp::create(b, b.getI32Type(), level)};
  }
  Value tile = b.divU(slot, b.index(ScanFindings::kTile));
  found.top = b.load(tileTops, {row, queryHead, tile});
  return found;
}

SmallVector<Value> PickLauncher::loadTogether(Value queryHead, Value slot) {
  return b.loadWords(levels, {row, queryHead, slot}, kAtOnce);
}

Levels Levels::unpack(ValueRange &all, size_t slots) {
  size_t words = llvm::divideCeil(slots, kOfWord);
  Levels levels;
  llvm::append_range(levels.packed, all.take_front(words));
  levels.top = all[words];
  all = all.drop_front(words + 1);
  return levels;
}

SmallVector<Value> PickLauncher::loadSpreads(ArrayRef<Slot> slots) {
  if (!areTogether(slots)) {
    Value slot = b.minI(slots[0].number, b.subI(numSlots, b.index(1)));
    return {b.load(spreads, {row, kvHead, slot})};
  }
  return b.loadWords(spreads, {row, kvHead, slots[0].number}, kAtOnce);
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
  return b.permuteBytes(levels.packed[slot / Levels::kOfWord], b.i32(0),
                        0x4440 | slot % Levels::kOfWord);
}

Value PickLauncher::isLevel(const Levels &levels, int64_t slot, int64_t level) {
  return b.compare(CmpIPredicate::eq, getLevel(levels, slot), b.i32(level));
}

Value PickLauncher::getDepth(const Levels &levels, Value below, int64_t slot) {
  Value level = getLevel(levels, slot);
  return b.addI(b.mulI(level, levels.getSteps(b)), below);
}

SmallVector<Value> PickLauncher::getBoundsOfLevels(Value head,
                                                   ArrayRef<Slot> slots) {
  Levels found = loadLevels(head, slots);
  SmallVector<Value> result;
  constexpr float nats = ScanFindings::kOfLevel / ScanFindings::kPerNat;
  Value ofLevel = found.scale(b, -nats);
  for (unsigned i = 0; i < slots.size(); ++i) {
    Value level =
        arith::UIToFPOp::create(b, b.getF32Type(), getLevel(found, i));
    // The slack of levels is more than what this is rounded by.
    result.push_back(math::FmaOp::create(b, level, ofLevel, found.top));
  }
  return result;
}

Value vashista::getStepsBelow(WarpBuilder &b, Value top, Value topOfTile,
                              float less) {
  // Not known: far above. NaN, of nothing and nothing: the same.
  Value steps =
      math::FmaOp::create(b, b.subF(top, topOfTile),
                          b.f32(ScanFindings::kPerNat), b.f32(-0x1p-6f - less));
  steps = b.maxNumber(steps, b.f32(-0x1p20f));
  return b.minNumber(steps, b.f32(kMostBelow));
}

Value PickLauncher::getBelow(Value top, Value topOfTile) {
  // Towards zero: the highest lies not above itself.
  return arith::FPToSIOp::create(b, b.getI32Type(),
                                 getStepsBelow(b, top, topOfTile));
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
    all.below.push_back(getBelow(headTops[head], all.levels[head].top));
  all.spreads = getSureSpreads(loaded);
  return all;
}

Value PickLauncher::getFloatBelow(Value top, Value topOfTile) {
  // Rounded down by a half less, and to an integer by a sum.
  constexpr float large = 0x1.8p23f;
  Value steps = getStepsBelow(b, top, topOfTile, 0.5f);
  return b.subF(b.addF(steps, b.f32(large)), b.f32(large));
}

PickLauncher::AllLevels
PickLauncher::takeFloatLevels(ValueRange loaded, size_t slots,
                              ArrayRef<Value> headTops) {
  AllLevels all;
  for (int64_t head = 0; head < group; ++head) {
    all.levels.push_back(Levels::unpack(loaded, slots));
    all.below.push_back(getFloatBelow(headTops[head], all.levels.back().top));
  }
  all.spreads = getSureSpreads(loaded);
  return all;
}

Value PickLauncher::getFloatLevel(const Levels &levels, int64_t slot,
                                  Value isThere) {
  // No conversion: 2^15, 0x47000000, has room for a level in its second byte;
  // 0x60000000 is 2^65. Of bytes 0 to 3, levels, and 4 to 7, what both have.
  constexpr int64_t kBits = 0x47600000, kNone = 0x6444;
  Value bytes = b.i32(0x7404 | slot % Levels::kOfWord << 4);
  if (isThere)
    bytes = b.select(isThere, bytes, b.i32(kNone));
  Value level = b.permuteBytes(levels.packed[slot / Levels::kOfWord],
                               b.i32(kBits), bytes);
  return arith::BitcastOp::create(b, b.getF32Type(), level);
}

Value PickLauncher::getFloatDepth(const AllLevels &all, int64_t head,
                                  int64_t slot) {
  const Levels &levels = all.levels[head];
  Value level = b.subF(getFloatLevel(levels, slot), b.f32(0x1p15f));
  return math::FmaOp::create(b, level, levels.scale(b, ScanFindings::kOfLevel),
                             all.below[head]);
}

Value PickLauncher::getMassOfDepth(Value depth) {
  Value number = depth.getType().isF32() ? depth : toFloatDepth(depth);
  Value factor = b.f32(-1.0f / ScanFindings::kPerBit);
  return b.exp2(
      math::FmaOp::create(b, number, factor, b.f32(kLog2E * kHeadroom)));
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

/// How far what is taken lies within what a head takes, in steps of 1/64 bit,
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
                          Value below = getBelow(b.load(tops, head), found.top);
                          raise(head, next, [&](int64_t slot) {
                            return getDepth(found, below, slot);
                          });
                          return next;
                        });
  }
  Value shift = math::CountLeadingZerosOp::create(b, mostMargin);
  Value kept = b.i32(-(int64_t(1) << kLeftOut));
  for (Value &margin : margins) {
    margin = b.andI(b.minI(margin, mostMargin), kept);
    margin = arith::ShLIOp::create(b, margin, shift);
  }
  return margins;
}
