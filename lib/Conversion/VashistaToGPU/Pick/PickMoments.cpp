//===- PickMoments.cpp - What a pick leaves, by a moment, on a GPU --------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Of a head, with scores s, bounds s + B, m = exp(s), and the moment L,
//
//   sum m + sqrt(L sum m^2) + L t + sum max(0, m (exp(B) - 1 - B) - t B^2)
//
// bounds the mass of what is left, for any threshold t (docs/theory.md, section
// 3): three sums. Any score that is higher serves as well. Levels stand for
// bounds alone; their scores are bounds less what a spread is sure to add.
//
// The best threshold has as many slots above it as can be as bad as their
// bounds, whose B^2 add up to L. Where slots were counted by depth it is known
// before they are summed up; else several are tried at once.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Masses have units in which there is room for their squares, too: the best
/// score stands for 2^this, and the highest bound for as much more as it is
/// above that, up to so many nats.
static constexpr float kLog2OfTop = 20, kMostReach = 55;
/// What is taken off masses of bounds is lowered by so much, for all rounding.
static constexpr float kLowered = 1 - 0x1p-12f;

SmallVector<Value> PickLauncher::getSureSpreads(ValueRange loaded) {
  // Stored to nearest, and what was larger as an infinity, in place of which
  // the number before stands. What is rounded off is taken off: of 0 it becomes
  // -2^-24, of a score that is higher, which serves as well. A sign is none.
  SmallVector<Value> finite(loaded);
  for (Value &spread : finite)
    if (!spread.getType().isF16()) // but two of them
      spread =
          b.minOfHalves(b.andI(spread, b.i32(0x7fff7fff)), b.i32(0x7bff7bff));
  SmallVector<Value> sure = getSpreads(finite);
  for (Value &spread : sure) {
    if (sure.size() == loaded.size())
      spread = b.minNumber(b.absF(spread), b.f32(65504.0f));
    spread =
        math::FmaOp::create(b, spread, b.f32(1 - 0x1p-10f), b.f32(-0x1p-24f));
  }
  return sure;
}

void PickLauncher::setMomentFacts(Value head, Value top) {
  if (!hasMoment())
    return;
  Value at[] = {row, b.addI(firstHead, head)};
  if (hasLevels()) {
    Value norm = b.load(norms, {row, at[1], b.index(0)});
    // Less by what bounds and scores are rounded by.
    Value perSpread = b.mulF(norm, b.f32(findings.reach * (1 - 0x1p-12f)));
    setFact(head, Fact::perSpread, b.minNumber(perSpread, b.f32(0x1p60f)));
  }
  // And a score may be too low by what its bound is rounded by.
  Value given = b.load(moment, at);
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value off =
      math::FmaOp::create(b, b.absF(top), b.f32(0x1p-21f), b.f32(0x1p-14f));
  Value root = math::FmaOp::create(b, b.sqrt(number), off, b.sqrt(given));
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  Value isKnown = b.compare(CmpFPredicate::OLT, given, inf);
  setFact(head, Fact::moment, b.select(isKnown, b.mulF(root, root), inf));
  setFact(head, Fact::theta, b.f32(1.0f));
}

void PickLauncher::setStart(Value head, Value nats) {
  if (!hasMoment())
    return;
  nats = b.maxNumber(b.minNumber(nats, b.f32(kMostReach)), b.f32(0.0f));
  setFact(head, Fact::start, nats);
}

/// In that of exp(shift).
Value PickLauncher::getUnitOfMasses(Value head) {
  constexpr float nats = kHeadroom - kLog2OfTop / kLog2E;
  return b.exp(b.subF(b.f32(nats), getStart(head)));
}

void PickLauncher::setTheta(Value head, Value theta) {
  theta = b.divF(theta, getUnitOfMasses(head));
  setFact(head, Fact::theta, b.maxNumber(theta, b.f32(0x1p-100f)));
}

PickLauncher::Unread PickLauncher::getUnread(Value head) {
  Value perSpread = getFact(head, Fact::perSpread);
  Value square = b.mulF(perSpread, perSpread);
  square = b.mulF(getFact(head, Fact::theta), square);
  return {b.mulF(perSpread, b.f32(-kLog2E)),
          b.mulF(perSpread, b.f32(-kLowered)), b.subF(b.f32(0.0f), square),
          b.mulF(getStart(head), b.f32(ScanFindings::kPerNat))};
}

void PickLauncher::addByMoment(const Unread &of, Value depth, Value spread,
                               Value isLeft, MutableArrayRef<Value> sums) {
  Value ofTop = b.select(isLeft, b.f32(kLog2OfTop), b.f32(-0x1p24f));
  Value log = math::FmaOp::create(b, b.subF(depth, of.start),
                                  b.f32(-1.0f / ScanFindings::kPerBit), ofTop);
  addByMoment(of, log, spread, sums);
}

void PickLauncher::addByMoment(ArrayRef<Unread> heads, const AllLevels &all,
                               Value left, size_t slots,
                               MutableArrayRef<Value> sums) {
  // Levels come with 2^15 more of them, which a tile's log makes up for: that
  // is off by at most 2^-12 of a bit for levels of an eighth, and so many times
  // that for larger ones; a 256th of a level, which is twice as much, covers
  // that and what the other operations round. Bounds and scores are higher
  // alike.
  constexpr float kMore = 0x1.000002p15f,
                  kOfLevel = 1.0f / ScanFindings::kLevelsOfBit;
  const int64_t numSums = getNumSums();
  SmallVector<Value> ofTile, perLevel;
  for (auto [head, levels, below] :
       llvm::zip_equal(heads, all.levels, all.below)) {
    perLevel.push_back(levels.scale(b, -kOfLevel));
    Value log = math::FmaOp::create(b, b.subF(below, head.start),
                                    b.f32(-1.0f / ScanFindings::kPerBit),
                                    b.f32(kLog2OfTop));
    ofTile.push_back(
        math::FmaOp::create(b, perLevel.back(), b.f32(-kMore), log));
  }
  for (size_t i = 0; i < slots; ++i) {
    const auto slot = static_cast<int64_t>(i);
    Value isLeft = isOwn(left, slot);
    for (auto [j, head] : llvm::enumerate(heads)) {
      Value level = getFloatLevel(all.levels[j], slot, isLeft);
      Value log = math::FmaOp::create(b, level, perLevel[j], ofTile[j]);
      addByMoment(head, log, all.spreads[i], sums.slice(j * numSums, numSums));
    }
  }
}

void PickLauncher::addByMoment(const Unread &of, Value log, Value spread,
                               MutableArrayRef<Value> sums) {
  auto fma = [&](Value x, Value y, Value z) -> Value {
    return math::FmaOp::create(b, x, y, z);
  };
  Value ofBound = b.exp2(log),
        mass = b.exp2(fma(of.log2PerSpread, spread, log));
  sums[0] = b.addF(sums[0], mass);
  sums[1] = fma(mass, mass, sums[1]);
  Value lacking = fma(mass, fma(of.linear, spread, b.f32(-kLowered)), ofBound);
  lacking = fma(of.square, b.mulF(spread, spread), lacking);
  sums[2] = b.addF(sums[2], b.maxNumber(lacking, b.f32(0.0f)));
}

/// Thresholds that are tried where none is known, in units of what the highest
/// bound that is left stands for: what exceeds it is B^-2 of a bound, about.
static constexpr float kTried[] = {0.25f, 0.1f, 0.04f, 0.016f, 0.005f, 0.001f};

int64_t PickLauncher::getNumSums() {
  if (!hasMoment())
    return 1;
  return hasLevels() ? 3 : 2 + std::size(kTried);
}

Value PickLauncher::getHighestLeft(Value head) {
  Value depth = b.f32(0.0f);
  if (isProving && !hasLevels()) {
    Value end = b.load(ends, head);
    depth = b.select(isInf(end), depth, end);
  }
  depth = b.subF(depth, getStart(head));
  return b.exp2(
      math::FmaOp::create(b, depth, b.f32(-kLog2E), b.f32(kLog2OfTop)));
}

void PickLauncher::addByScore(Value highest, Value bound, Value score,
                              Value isLeft, Value top,
                              MutableArrayRef<Value> sums) {
  Value none = b.f32(0.0f);
  // What is further below adds nothing, and must not meet infinities.
  constexpr float mostNats = 60;
  score = b.maxNumber(score, b.subF(bound, b.f32(mostNats)));
  Value lack = b.maxNumber(b.subF(bound, score), none);
  auto getMass = [&](Value log) {
    log = b.addF(b.subF(log, top), b.f32(kLog2OfTop / kLog2E));
    return b.select(isLeft, estimate(log), none);
  };
  Value mass = getMass(score), ofBound = getMass(bound);
  sums[0] = b.addF(sums[0], mass);
  sums[1] = math::FmaOp::create(b, mass, mass, sums[1]);
  Value linear =
      math::FmaOp::create(b, lack, b.f32(-kLowered), b.f32(-kLowered));
  Value lacking = math::FmaOp::create(b, mass, linear, ofBound);
  Value square = b.mulF(lack, lack);
  for (auto [sum, tried] : llvm::zip_equal(sums.drop_front(2), kTried)) {
    Value theta = b.mulF(highest, b.f32(-tried));
    Value more = math::FmaOp::create(b, theta, square, lacking);
    sum = b.addF(sum, b.maxNumber(more, none));
  }
}

Value PickLauncher::getMassByMoment(Value head, ValueRange sums) {
  Value moment = getFact(head, Fact::moment);
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value lost = b.mulF(number, b.f32(0x1p-126f));
  Value root = b.sqrt(b.mulF(moment, b.addF(sums[1], lost)));
  Value mass = b.addF(b.addF(sums[0], lost), root);
  Value most;
  if (hasLevels()) {
    Value theta = getFact(head, Fact::theta);
    most = math::FmaOp::create(b, moment, theta, sums[2]);
  } else {
    Value highest = getHighestLeft(head);
    for (auto [sum, tried] : llvm::zip_equal(sums.drop_front(2), kTried)) {
      Value theta = b.mulF(highest, b.f32(tried));
      Value one = math::FmaOp::create(b, moment, theta, sum);
      most = most ? b.minF(most, one) : one;
    }
  }
  // In the unit of other masses.
  return b.mulF(b.addF(mass, most), getUnitOfMasses(head));
}

/// An estimate, and faster for it.
Value PickLauncher::divide(Value x, Value y) {
  return arith::DivFOp::create(b, x, y, arith::FastMathFlags::afn);
}

PickLauncher::Lacking PickLauncher::getLacking(const Counted &of) {
  Value one = b.f32(1.0f), least = b.f32(0x1p-100f);
  Value ratio = divide(of.ofBounds, b.maxNumber(of.ofScores, least));
  // Of nothing it is 1.
  Value lack = b.log(b.minNumber(b.maxNumber(ratio, one), b.f32(0x1p100f)));
  Value cost = b.mulF(of.number, b.mulF(lack, lack));
  Value gain = b.subF(of.ofBounds, b.mulF(of.ofScores, b.addF(lack, one)));
  return {cost, divide(one, b.maxNumber(cost, least)),
          b.maxNumber(gain, b.f32(0.0f))};
}

/// By chunks of a nat or a few, the most first: in a chunk the first half adds
/// more than the second one.
std::pair<Value, Value>
PickLauncher::getMostLacking(Value head, const Lacking &first,
                             function_ref<Lacking(int64_t)> getNext) {
  constexpr int64_t kChunks = 8;
  // The rest is for what averages of chunks miss.
  constexpr float kSteep = 0.25f, kMissed = 1.05f;
  auto fma = [&](Value x, Value y, Value z) -> Value {
    return math::FmaOp::create(b, x, y, z);
  };
  Value none = b.f32(0.0f), left = getFact(head, Fact::moment), most = none;
  Value theta = none;
  for (int64_t i = 0; i < kChunks; ++i) {
    Lacking here = i == 0 ? first : getNext(i);
    Value taken = b.minNumber(left, here.cost);
    Value share = b.mulF(taken, here.perCost);
    Value more = fma(share, b.f32(-kSteep), b.f32(1 + kSteep));
    most = fma(b.mulF(here.gain, share), more, most);
    Value last = fma(share, b.f32(-2 * kSteep), b.f32(1 + kSteep));
    last = b.mulF(b.mulF(here.gain, here.perCost), last);
    theta = b.select(b.compare(CmpFPredicate::OGT, taken, none), last, theta);
    left = b.subF(left, taken);
  }
  return {b.mulF(most, b.f32(kMissed)), theta};
}
