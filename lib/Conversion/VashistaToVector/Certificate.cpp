//===- Certificate.cpp - What a certificate says of a head -------*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//===----------------------------------------------------------------------===//

#include "Certificate.h"

#include "UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

Value Certificate::isBelow(Value value, double limit) {
  return b.compare(CmpFPredicate::OLT, value, f64(b, limit));
}

SmallVector<Value> Certificate::certify(const Head &head) {
  rounding = getRounding(head);
  return op.getGap() ? certifyProjection(head) : certifySoftmax(head);
}

Value Certificate::getRounding(const Head &head) {
  // Generous for the rounding of f64 itself.
  int64_t keyDim =
      cast<RankedTensorType>(op.getDirection().getType()).getDimSize(2);
  double perDot = getScale() / getTemperature() * (1.0 + std::ldexp(1.0, -30));
  Value dots = b.mulF(
      b.mulF(f64(b, std::ldexp(2.0 * (keyDim + 8), -24)), head.direction),
      head.keyNorm);
  // Channels of less than 2^-126 that count for nothing, and sums of less.
  double root = std::sqrt(static_cast<double>(keyDim));
  Value norms = b.addF(b.addF(head.direction, head.keyNorm), f64(b, root));
  Value lost = b.mulF(f64(b, std::ldexp(root, -124)), norms);
  Value products = b.mulF(f64(b, perDot), b.addF(dots, lost));
  Value sums = b.addF(b.mulF(head.tokens, f64(b, std::ldexp(1.0, -26))),
                      f64(b, std::ldexp(1.0, -20)));
  return b.addF(products, sums);
}

Value Certificate::getExcess(const Head &head) {
  return b.addF(b.subF(head.tail, head.lse), b.mulF(f64(b, 2.0), rounding));
}

Value Certificate::getShare(Value x) {
  // For an f32 x that is not below the given one. The last factor covers a few
  // units in the last place of exp, and the last term an exp that overflows,
  // beyond which the true share is less.
  x = b.addF(x, b.mulF(b.absF(x), f64(b, std::ldexp(1.0, -22))));
  x = arith::TruncFOp::create(b, b.getF32Type(), x);
  Value power = b.exp(b.subF(b.f32(0.0f), x));
  Value share = b.divF(b.f32(1.0f), b.addF(b.f32(1.0f), power));
  share = b.addF(b.mulF(share, b.f32(1.0f + std::ldexp(1.0f, -19))),
                 b.f32(std::ldexp(1.0f, -120)));
  return b.minF(share, b.f32(1.0f));
}

Value Certificate::getLogOfSum(Value x) {
  // max(x, 0) + log(1 + t) with t = exp(-|x|), which is rounded upwards as a
  // share is, and log(1 + t) <= t (6 + t) / (6 + 4 t).
  Value size = b.mulF(b.absF(x), f64(b, -1.0 + std::ldexp(1.0, -22)));
  Value power = b.exp(arith::TruncFOp::create(b, b.getF32Type(), size));
  Value t = b.addF(b.mulF(widen(b, power), f64(b, 1.0 + std::ldexp(1.0, -19))),
                   f64(b, std::ldexp(1.0, -120)));
  Value ratio = b.divF(b.addF(f64(b, 6.0), t),
                       b.addF(f64(b, 6.0), b.mulF(f64(b, 4.0), t)));
  return b.addF(b.maxF(x, f64(b, 0.0)), b.mulF(t, ratio));
}

SmallVector<Value> Certificate::certifySoftmax(const Head &head) {
  double inf = std::numeric_limits<double>::infinity();
  Value tau = getShare(getExcess(head));
  Value inexact =
      b.addF(b.mulF(f64(b, 7.0), rounding), f64(b, 1.0 + std::ldexp(1.0, -8)));
  Value reach = b.addF(b.mulF(head.valueNorm, inexact), head.output);
  Value error = roundUp(b, b.mulF(widen(b, tau), reach));

  // Finite f32 numbers have a finite sum in f64; NaN compares false.
  Value state = b.addF(b.absF(head.lse), head.output);
  Value all =
      b.addF(b.addF(state, b.absF(head.tail)),
             b.addF(b.addF(head.direction, head.keyNorm), head.valueNorm));
  Value tooRough = b.compare(CmpFPredicate::UGT, rounding, f64(b, 0.1));
  Value known = isBelow(b.select(tooRough, f64(b, inf), all), inf);
  tau = b.select(known, tau, b.f32(1.0f));
  error = b.select(known, error, b.f32(inf));

  // Nothing is left out, of a state that may itself be empty but not broken.
  // Logits that overflow leave an empty one, too, and are rough.
  Value isWhole = b.compare(CmpFPredicate::OEQ, head.tail, f64(b, -inf));
  isWhole = b.andI(isWhole, isBelow(b.addF(head.lse, head.output), inf));
  Value isEmpty = b.compare(CmpFPredicate::OEQ, head.lse, f64(b, -inf));
  isWhole = b.select(b.andI(isEmpty, tooRough), b.boolean(false), isWhole);
  return {b.select(isWhole, b.f32(0.0f), tau),
          b.select(isWhole, b.f32(0.0f), error)};
}

SmallVector<Value> Certificate::certifyProjection(const Head &given) {
  double inf = std::numeric_limits<double>::infinity();
  auto times = [&](double factor, Value value) {
    return b.mulF(f64(b, factor), value);
  };
  auto isNone = [&](Value logarithm) {
    return b.compare(CmpFPredicate::OEQ, logarithm, f64(b, -inf));
  };
  bool hasEntropy = !op.getSolver().getEpsilon().isZero();
  Value nothing = f64(b, 0.0);

  // Where nothing is left out its terms vanish, and an empty set has a gap
  // of 0: neither -inf then says that anything is amiss.
  Value isWhole = isNone(given.tail);
  Value isEmpty = b.andI(isWhole, isNone(given.lse));
  Value logs = b.addF(b.select(isEmpty, nothing, b.absF(given.lse)),
                      b.select(isWhole, nothing, b.absF(given.tail)));
  Value norms = b.addF(b.addF(given.direction, given.output),
                       b.addF(given.keyNorm, given.valueNorm));
  Value isFinite = isBelow(b.addF(b.addF(logs, norms), given.gap), inf);
  // Nor is a gap negative.
  isFinite =
      b.andI(isFinite, b.compare(CmpFPredicate::OGE, given.gap, nothing));

  // What is left out widens the gap by as much as its mass shifts the
  // log-sum-exp, with the room for the rounding of the direction that the
  // solver's own gap has.
  Value x = getExcess(given);
  Value missed = hasEntropy ? getLogOfSum(x) : b.maxF(x, nothing);
  missed = times(getTemperature() * (1.0 + std::ldexp(1.0, -8)), missed);
  missed = b.select(isWhole, nothing, missed);
  Value full = b.addF(given.gap, missed);
  Value fullGap = b.select(isFinite, roundUp(b, full), b.f32(inf));
  Value isRough = b.compare(CmpFPredicate::UGT, rounding, f64(b, 0.1));
  if (!hasEntropy) {
    // Weights are not unique, but for those of nothing.
    Value isKnown = b.andI(isEmpty, isFinite);
    isKnown = b.select(isRough, b.boolean(false), isKnown);
    return {b.select(isKnown, b.f32(0.0f), b.f32(1.0f)),
            b.select(isKnown, b.f32(0.0f), b.f32(inf)), fullGap};
  }

  double epsilon = getTemperature();
  Value diameter = times(2.0 * std::sqrt(getScale()), given.keyNorm);
  Value root = b.sqrt(given.gap);
  Value share = widen(
      b, getShare(b.addF(x, times(1.0 / epsilon, b.mulF(diameter, root)))));
  // 1 - exp(-v) <= 2 v / (2 + v).
  Value v = times(1.0 / epsilon, full);
  Value ratio = b.divF(times(2.0, v), b.addF(f64(b, 2.0), v));
  share = b.select(isWhole, nothing, b.minF(share, ratio));
  Value spread =
      b.addF(f64(b, 1.0), times(0.25 / std::sqrt(epsilon), diameter));
  double perGap = std::sqrt(0.5 / epsilon);
  Value tau = b.minF(times(perGap, b.sqrt(full)),
                     b.addF(times(perGap, root), b.mulF(share, spread)));
  tau = b.minF(roundUp(b, tau), b.f32(1.0f));
  Value error = roundUp(b, b.mulF(times(2.0, widen(b, tau)), given.valueNorm));

  Value isKnown = b.select(isRough, b.boolean(false), isFinite);
  return {b.select(isKnown, tau, b.f32(1.0f)),
          b.select(isKnown, error, b.f32(inf)), fullGap};
}
