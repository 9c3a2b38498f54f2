//===- KeySketch.cpp - Writing the sketch of keys -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A group of channels is quantised with the scale that leaves the smallest
// residual, of a few: the largest channel fits with the first of them, smaller
// scales clip it. Whatever the scale, the norm of what is left is stored, so
// that every choice is sound.
//
// All of it is in f64, where keys are exact: a residual is that of the key as
// stored in the cache and of the scale and centre as stored in the sketch, off
// by less than 2^-45 of the key's norm, which is added.
//
//===----------------------------------------------------------------------===//

#include "KeySketch.h"

#include "RowVectors.h"
#include "UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

/// f64 channels that are handled at a time; padded dims are multiples of 16.
static constexpr int64_t kWidth = 8;

/// Shares of the scale that clips nothing.
static constexpr double kShares[] = {1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6};

void KeySketch::begin() {
  key = b.scratch({format.paddedDim}, b.getF64Type());
  codes = b.scratch({format.paddedDim}, b.getI8Type());
}

Value KeySketch::loadKey(Value channel) {
  auto type = VectorType::get({kWidth}, b.getF64Type());
  return vector::LoadOp::create(b, type, key, channel);
}

static Value splat(KernelBuilder &b, double value) {
  auto type = VectorType::get({kWidth}, b.getF64Type());
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, value));
}

static Value broadcast64(KernelBuilder &b, Value scalar) {
  auto type = VectorType::get({kWidth}, b.getF64Type());
  return vector::BroadcastOp::create(b, type, scalar);
}

std::pair<Value, Value> KeySketch::quantise(Value key, Value scale) {
  // A scale of 0 has the middle code, which then decodes to 0.
  Value some = b.compare(CmpFPredicate::OGT, scale, f64(b, 0.0));
  Value inverse = b.select(some, b.divF(f64(b, 1.0), scale), f64(b, 0.0));
  Value cell = b.mulF(key, broadcast64(b, inverse));
  double half = static_cast<double>(int64_t(1) << (format.bits - 1));
  Value code = math::FloorOp::create(b, b.addF(cell, splat(b, half)));
  code = b.maxF(code, splat(b, 0.0));
  code = b.minF(code, splat(b, format.getLargestCode()));
  Value decoded =
      b.mulF(b.subF(code, splat(b, format.getMiddle())), broadcast64(b, scale));
  return {b.subF(key, decoded), code};
}

std::pair<Value, Value> KeySketch::roundScale(Value scale) {
  Value near = roundUp(b, scale);
  if (getElementTypeOrSelf(parts[1]).isF16()) {
    near = roundUpToF16(b, near);
    return {near, widen(b, near)};
  }
  near = roundUpToF8(b, near);
  return {near, widen(b, widenF8(b, near))};
}

std::pair<Value, Value> KeySketch::emitGroup(Value number) {
  Value first = b.mulI(number, b.index(format.group));
  Value last = b.addI(first, b.index(format.group));
  auto reduce = [&](vector::CombiningKind kind,
                    function_ref<Value(Value, Value)> body) -> Value {
    Value result =
        b.forLoop(first, last, kWidth, ValueRange{splat(b, 0.0)},
                  [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                    return {body(loadKey(channel), carried[0])};
                  })
            .front();
    return vector::ReductionOp::create(b, kind, result);
  };
  Value largest =
      reduce(vector::CombiningKind::MAXIMUMF,
             [&](Value x, Value most) { return b.maxF(b.absF(x), most); });
  auto addSquares = [&](Value x, Value sum) {
    return b.addF(sum, b.mulF(x, x));
  };
  // With a scale of 0 the group itself is what is left.
  Type type = getElementTypeOrSelf(parts[1]);
  Value scale = arith::ConstantOp::create(b, b.getFloatAttr(type, 0.0));
  Value wide = f64(b, 0.0);
  Value left = reduce(vector::CombiningKind::ADD, addSquares);
  double cells = static_cast<double>(int64_t(1) << (format.bits - 1));
  for (double share : kShares) {
    auto [tried, value] = roundScale(b.mulF(largest, f64(b, share / cells)));
    Value squares = reduce(vector::CombiningKind::ADD,
                           [&, value = value](Value x, Value sum) {
                             return addSquares(quantise(x, value).first, sum);
                           });
    // Of an infinite or unknown scale it is NaN, which is not less.
    Value better = b.compare(CmpFPredicate::OLT, squares, left);
    scale = b.select(better, tried, scale);
    wide = b.select(better, value, wide);
    left = b.select(better, squares, left);
  }
  b.forLoop(first, last, kWidth, [&](Value channel) {
    Value code = quantise(loadKey(channel), wide).second;
    auto ints = VectorType::get({kWidth}, b.getI32Type());
    auto bytes = VectorType::get({kWidth}, b.getI8Type());
    code = arith::FPToSIOp::create(b, ints, code);
    b.storeVector(arith::TruncIOp::create(b, bytes, code), codes, channel);
  });
  b.store(scale, parts[1], {page, kvHead, token, number});
  return {b.mulF(wide, wide), left};
}

void KeySketch::storeNorm(Value norm, Value most, Value number) {
  SmallVector<Value> at = {page, kvHead, token};
  if (!format.normPerToken)
    at.push_back(number);
  Type type = getElementTypeOrSelf(parts[2]);
  if (type.isF16())
    return b.store(roundUpToF16(b, roundUp(b, norm)), parts[2], at);
  if (!type.isInteger())
    return b.store(roundUpToF8(b, roundUp(b, norm)), parts[2], at);
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
  b.store(arith::TruncIOp::create(b, b.getI8Type(), byte), parts[2], at);
}

/// A key that is not finite is bounded by +inf.
void KeySketch::emitUnknown() {
  auto bytes = VectorType::get({kWidth}, b.getI8Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(bytes));
  b.forLoop(b.index(0), b.index(format.paddedDim), kWidth,
            [&](Value channel) { b.storeVector(none, codes, channel); });
  Value inf = f64(b, std::numeric_limits<double>::infinity());
  Type type = getElementTypeOrSelf(parts[1]);
  Value scale = arith::ConstantOp::create(b, b.getFloatAttr(type, 0.0));
  b.forLoop(b.index(0), b.index(format.numGroups), 1, [&](Value number) {
    b.store(scale, parts[1], {page, kvHead, token, number});
    if (!format.normPerToken)
      storeNorm(inf, inf, number);
  });
  if (format.normPerToken)
    storeNorm(inf, inf, Value());
}

void KeySketch::pack() {
  int64_t lanes = format.getLanes(b.lanes);
  auto type = VectorType::get({lanes}, b.getI8Type());
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, static_cast<int8_t>(value)));
  };
  for (const SketchFormat::Plane &plane : format.planes)
    b.forLoop(b.index(0), b.index(plane.bytes), lanes, [&](Value byte) {
      Value packed = constant(0);
      for (int64_t part = 0; part < 8 / plane.bits; ++part) {
        Value at = b.addI(byte, b.index(part * plane.bytes));
        Value code = vector::LoadOp::create(b, type, codes, at);
        code = arith::ShRUIOp::create(b, code, constant(plane.shift));
        code = b.andI(code, constant((1 << plane.bits) - 1));
        code = arith::ShLIOp::create(b, code, constant(part * plane.bits));
        packed = arith::OrIOp::create(b, packed, code);
      }
      Value to[] = {page, kvHead, token, b.addI(byte, b.index(plane.first))};
      b.storeVector(packed, parts[0], to);
    });
}

void KeySketch::emit(Value page, Value kvHead, Value token,
                     function_ref<Value(Value, int64_t)> loadKey) {
  this->page = page;
  this->kvHead = kvHead;
  this->token = token;
  int64_t lanes = getLargestDivisor(format.keyDim, kWidth);
  auto type = VectorType::get({lanes}, b.getF64Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value squares =
      b.forLoop(b.index(0), b.index(format.keyDim), lanes, ValueRange{none},
                [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                  Value x = widen(b, loadKey(channel, lanes));
                  if (format.centred) {
                    Value at[] = {page, kvHead, channel};
                    x = b.subF(x,
                               widen(b, b.loadVector(getCentre(), at, lanes)));
                  }
                  b.storeVector(x, key, channel);
                  return {b.addF(carried[0], b.mulF(x, x))};
                })
          .front();
  b.forLoop(b.index(format.keyDim), b.index(format.paddedDim), 1,
            [&](Value channel) { b.store(f64(b, 0.0), key, channel); });
  Value square = b.reduceAdd(squares);
  // Squares of f32 numbers are finite in f64.
  Value known = b.compare(CmpFPredicate::OLT, square,
                          f64(b, std::numeric_limits<double>::infinity()));
  b.ifThen(known, [&] {
    if (format.rotated)
      rotate(b, format, key);
    Value rounding = b.mulF(b.sqrt(square), f64(b, std::ldexp(1.0, -45)));
    auto store = [&](Value scaleSquare, Value left, Value number) {
      Value most =
          b.mulF(b.sqrt(scaleSquare), f64(b, format.getResidualPerScale()));
      storeNorm(b.addF(b.sqrt(left), rounding), most, number);
    };
    Value none = f64(b, 0.0);
    SmallVector<Value> sums = b.forLoop(
        b.index(0), b.index(format.numGroups), 1, ValueRange{none, none},
        [&](Value number, ValueRange carried) -> SmallVector<Value> {
          auto [scaleSquare, left] = emitGroup(number);
          if (!format.normPerToken)
            store(scaleSquare, left, number);
          return {b.addF(carried[0], scaleSquare), b.addF(carried[1], left)};
        });
    if (format.normPerToken)
      store(sums[0], sums[1], Value());
  });
  Value unknown = b.compare(CmpFPredicate::UGE, square,
                            f64(b, std::numeric_limits<double>::infinity()));
  b.ifThen(unknown, [&] { emitUnknown(); });
  pack();
}
