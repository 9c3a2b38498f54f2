//===- SketchQuantiser.cpp - How a sketch rounds a key --------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchQuantiser.h"

#include "UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

Value SketchQuantiser::like(Value channel, double number) {
  if (auto type = dyn_cast<VectorType>(channel.getType()))
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, number));
  return f64(b, number);
}

Value SketchQuantiser::like(Value channel, Value number) {
  if (auto type = dyn_cast<VectorType>(channel.getType()))
    return vector::BroadcastOp::create(b, type, number);
  return number;
}

//===----------------------------------------------------------------------===//
// Scales
//===----------------------------------------------------------------------===//

Value SketchQuantiser::widenScale(Value stored) {
  if (scaleType.isF16())
    return arith::ExtFOp::create(b, b.getF32Type(), stored);
  return widenF8(b, stored);
}

Value SketchQuantiser::getScaleValue(Value stored) {
  return widen(b, widenScale(stored));
}

SketchQuantiser::Scale SketchQuantiser::getScale(Value largest, double share) {
  double cells = static_cast<double>(int64_t(1) << (format.bits - 1));
  Value near = roundUp(b, b.mulF(largest, f64(b, share / cells)));
  Scale scale;
  scale.stored =
      scaleType.isF16() ? roundUpToF16(b, near) : roundUpToF8(b, near);
  Value number = widenScale(scale.stored);
  Value some = b.compare(CmpFPredicate::OGT, number, b.f32(0.0f));
  scale.inverse =
      widen(b, b.select(some, b.divF(b.f32(1.0f), number), b.f32(0.0f)));
  scale.value = widen(b, number);
  return scale;
}

SketchQuantiser::Scale SketchQuantiser::getNone() {
  Value zero = f64(b, 0.0);
  return {arith::ConstantOp::create(b, b.getFloatAttr(scaleType, 0.0)), zero,
          zero};
}

SketchQuantiser::Scale SketchQuantiser::select(Value condition, const Scale &x,
                                               const Scale &y) {
  return {b.select(condition, x.stored, y.stored),
          b.select(condition, x.value, y.value),
          b.select(condition, x.inverse, y.inverse)};
}

//===----------------------------------------------------------------------===//
// Channels
//===----------------------------------------------------------------------===//

Value SketchQuantiser::getShifted(Value channel, const Scale &scale) {
  Value half = b.mulF(scale.value, f64(b, 0.5));
  return b.addF(b.absF(channel), like(channel, half));
}

Value SketchQuantiser::getCell(Value channel, const Scale &scale) {
  // 2^52 and more is rounded to integers.
  Value shift = like(channel, 0x1p52);
  Value cell = math::FmaOp::create(b, getShifted(channel, scale),
                                   like(channel, scale.inverse), shift);
  cell = b.subF(cell, shift);
  double most = static_cast<double>(int64_t(1) << (format.bits - 1));
  Value last = like(channel, most);
  return b.select(b.compare(CmpFPredicate::OLT, cell, last), cell, last);
}

Value SketchQuantiser::getResidual(Value channel, const Scale &scale) {
  Value shifted = getShifted(channel, scale);
  Value negative = arith::NegFOp::create(b, getCell(channel, scale));
  return math::FmaOp::create(b, negative, like(channel, scale.value), shifted);
}

Value SketchQuantiser::getCode(Value channel, const Scale &scale) {
  // From 0 on: half of the codes are for channels below 0.
  double half = static_cast<double>(int64_t(1) << (format.bits - 1));
  Value cell = getCell(channel, scale);
  Value isNegative = b.compare(CmpFPredicate::OLT, channel, like(channel, 0.0));
  Value code = b.select(isNegative, b.subF(like(channel, half), cell),
                        b.addF(like(channel, half - 1), cell));
  Type type = b.getI32Type();
  if (auto vector = dyn_cast<VectorType>(channel.getType()))
    type = vector.clone(type);
  return arith::FPToSIOp::create(b, type, code);
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

Value SketchQuantiser::getRounding(Value squares) {
  return b.mulF(b.sqrt(squares), f64(b, std::ldexp(1.0, -45)));
}

Value SketchQuantiser::getNorm(Value squares, Value rounding,
                               Value scaleSquares) {
  Value most =
      b.mulF(b.sqrt(scaleSquares), f64(b, format.getResidualPerScale()));
  return roundNorm(b.addF(b.sqrt(squares), rounding), most);
}

Value SketchQuantiser::getInfiniteNorm() {
  if (normType.isInteger())
    return arith::ConstantOp::create(b, b.getI8IntegerAttr(static_cast<int8_t>(
                                            SketchFormat::kInfiniteNorm)));
  Value inf = f64(b, std::numeric_limits<double>::infinity());
  return roundNorm(inf, inf);
}

Value SketchQuantiser::isInfinite(Value stored) {
  if (normType.isInteger())
    return b.compare(arith::CmpIPredicate::eq, stored, getInfiniteNorm());
  Value norm = normType.isF16()
                   ? arith::ExtFOp::create(b, b.getF32Type(), stored)
                   : widenF8(b, stored);
  return b.compare(CmpFPredicate::UEQ, norm,
                   b.f32(std::numeric_limits<float>::infinity()));
}

Value SketchQuantiser::getRoom(Value decoded, Value left, Value centre) {
  double rounding = format.getScoreRounding() + SketchFormat::kKeyRounding;
  Value room = b.addF(b.mulF(b.sqrt(decoded), f64(b, rounding)),
                      b.mulF(b.sqrt(left), f64(b, SketchFormat::kKeyRounding)));
  if (centre)
    room = b.addF(room,
                  b.mulF(b.sqrt(centre), f64(b, format.getCentreRounding())));
  return b.mulF(room, room);
}

/// `most` is what rounding to the nearest cell can leave.
Value SketchQuantiser::roundNorm(Value norm, Value most) {
  if (normType.isF16())
    return roundUpToF16(b, roundUp(b, norm));
  if (!normType.isInteger())
    return roundUpToF8(b, roundUp(b, norm));
  // A share of 0 is NaN, which needs no step where nothing is left either.
  Value share = b.divF(norm, most);
  Value steps = math::CeilOp::create(
      b, b.mulF(share,
                f64(b, SketchFormat::kNormSteps * (1 + std::ldexp(1.0, -40)))));
  Value none = b.compare(CmpFPredicate::OLE, norm, f64(b, 0.0));
  steps = b.select(none, f64(b, 0.0), steps);
  Value fits =
      b.compare(CmpFPredicate::OLE, steps, f64(b, SketchFormat::kNormSteps));
  steps = b.select(fits, steps, f64(b, SketchFormat::kInfiniteNorm));
  Value byte = arith::FPToSIOp::create(b, b.getI32Type(), steps);
  return arith::TruncIOp::create(b, b.getI8Type(), byte);
}
