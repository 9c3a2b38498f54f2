//===- PickPairs.cpp - Levels of slots, two at a time ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Two slots of a lane are looked at by one instruction, and no mass is an
// exponential:
//
//  * A level is below a head's end if adding 2^15 less that end, in levels,
//    leaves its half's highest bit clear; heads are joined by `and`.
//  * A bf16 number of bits x is 2^(x / 128 - 127), or up to 6 % more: between
//    powers of two, it is a chord of the exponential. So the bits of a mass are
//    a constant less a depth, whose steps are 1/128 of a bit.
//  * A product with a column of ones for each head adds up what its lanes have.
//
// So tails are high by 4 %, mostly, which is as if all bounds were 0.04 nats
// higher.
//
//===----------------------------------------------------------------------===//

#include "PickPairs.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// f32 numbers from 2^23 on are integers, which their last bits are: those in
/// both halves.
static Value twice(WarpBuilder &b, Value number) {
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), number);
  return b.permuteBytes(bits, bits, 0x1010);
}

LevelPairs::LevelPairs(WarpBuilder &b, const Levels &from, Value below)
    : steps(from.getSteps(b)), below(below) {
  for (size_t i = 0; i < levels.size(); ++i) {
    size_t word = i / 2;
    levels[i] = word < from.packed.size()
                    ? b.permuteBytes(from.packed[word], b.i32(0),
                                     i % 2 ? 0x4342 : 0x4140)
                    : b.i32(0);
  }
}

void LevelPairs::andBeyond(WarpBuilder &b, const Levels &from, Value end,
                           Words &beyond) const {
  constexpr float most = 256;
  // Less what a head takes of levels, rounded up: of multiples of 1/128.
  Value ofStep = from.scale(b, -1.0f / ScanFindings::kOfLevel,
                            /*isInverse=*/true);
  Value taken =
      math::FmaOp::create(b, b.subF(end, below), ofStep, b.f32(0x1p-8f - 0.5f));
  taken = b.minNumber(b.maxNumber(taken, b.f32(-most)), b.f32(0.0f));
  Value less = twice(b, b.addF(taken, b.f32(0x1p23f + 0x1p15f)));
  for (auto [all, level] : llvm::zip_equal(beyond, levels)) {
    Value sum = b.addI(level, less);
    all = all ? b.andI(all, sum) : sum;
  }
}

void vashista::addMasses(WarpBuilder &b, Value lane, ArrayRef<LevelPairs> heads,
                         const LevelPairs::Words &masks, double headroom,
                         MutableArrayRef<Value> sums) {
  // Of the highest bound, rounded up: with what f32 sums lose in it.
  const double exact = (headroom * M_LOG2E + 127) * ScanFindings::kPerBit;
  const auto highest = static_cast<int64_t>(std::ceil(exact + 0x1p-4));
  const auto bits = static_cast<float>(highest);
  Value quad = b.divU(lane, b.index(4));
  std::array<Value, 4> all = {sums[0], sums[1], sums[2], sums[3]};
  for (auto [head, own] : llvm::enumerate(heads)) {
    Value below = b.minNumber(own.below, b.f32(bits));
    Value tops = twice(b, b.subF(b.f32(0x1p23f + bits), below));
    LevelPairs::Words masses;
    for (int64_t i = 0; i < LevelPairs::kNumber; ++i) {
      // What is too deep for a number is lost, as all that is below 2^-126.
      Value steps = b.mulI(own.levels[i], own.steps);
      steps = b.minOfHalves(steps, tops);
      masses[i] = b.andI(b.subI(tops, steps), masks[i]);
    }
    Value isColumn =
        b.compare(CmpIPredicate::eq, quad, b.index(static_cast<int64_t>(head)));
    Value ones = b.select(isColumn, b.i32(0x3f803f80), b.i32(0));
    all = b.multiply(masses, {ones, ones}, all, b.getBF16Type());
  }
  llvm::copy(all, sums.begin());
}

SmallVector<Value> vashista::getSumsOfHeads(WarpBuilder &b, Value lane,
                                            ValueRange sums, int64_t heads) {
  SmallVector<Value> found;
  Value within = b.remU(lane, b.index(4));
  for (int64_t head = 0; head < heads; ++head) {
    Value own = b.addF(sums[head % 2], sums[2 + head % 2]);
    Value isHere = b.compare(CmpIPredicate::eq, within, b.index(head / 2));
    found.push_back(b.select(isHere, own, b.f32(0.0f)));
  }
  return found;
}
