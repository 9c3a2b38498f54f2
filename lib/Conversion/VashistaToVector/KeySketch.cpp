//===- KeySketch.cpp - Writing the sketch of keys -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
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
  SketchQuantiser::Scale scale = quantiser.getNone();
  Value left = reduce(vector::CombiningKind::ADD, addSquares);
  for (double share : SketchQuantiser::kShares) {
    SketchQuantiser::Scale tried = quantiser.getScale(largest, share);
    Value squares = reduce(vector::CombiningKind::ADD, [&](Value x, Value sum) {
      return addSquares(quantiser.getResidual(x, tried), sum);
    });
    // Of an infinite or unknown scale it is NaN, which is not less.
    Value better = b.compare(CmpFPredicate::OLT, squares, left);
    scale = quantiser.select(better, tried, scale);
    left = b.select(better, squares, left);
  }
  b.forLoop(first, last, kWidth, [&](Value channel) {
    Value code = quantiser.getCode(loadKey(channel), scale);
    auto bytes = VectorType::get({kWidth}, b.getI8Type());
    b.storeVector(arith::TruncIOp::create(b, bytes, code), codes, channel);
  });
  b.store(scale.stored, parts[1], {page, kvHead, token, number});
  return {b.mulF(scale.value, scale.value), left};
}

void KeySketch::storeNorm(Value norm, Value number) {
  SmallVector<Value> at = {page, kvHead, token};
  if (!format.normPerToken)
    at.push_back(number);
  b.store(norm, parts[2], at);
}

/// A key that is not finite is bounded by +inf.
void KeySketch::emitUnknown() {
  auto bytes = VectorType::get({kWidth}, b.getI8Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(bytes));
  b.forLoop(b.index(0), b.index(format.paddedDim), kWidth,
            [&](Value channel) { b.storeVector(none, codes, channel); });
  Value norm = quantiser.getInfiniteNorm();
  Value scale = quantiser.getNone().stored;
  b.forLoop(b.index(0), b.index(format.numGroups), 1, [&](Value number) {
    b.store(scale, parts[1], {page, kvHead, token, number});
    if (!format.normPerToken)
      storeNorm(norm, number);
  });
  if (format.normPerToken)
    storeNorm(norm, Value());
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

Value KeySketch::loadCentred(function_ref<Value(Value, int64_t)> loadKey) {
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
  return b.reduceAdd(squares);
}

void KeySketch::emit(Value page, Value kvHead, Value token,
                     function_ref<Value(Value, int64_t)> loadKey) {
  this->page = page;
  this->kvHead = kvHead;
  this->token = token;
  Value square = loadCentred(loadKey);
  // Squares of f32 numbers are finite in f64.
  Value known = b.compare(CmpFPredicate::OLT, square,
                          f64(b, std::numeric_limits<double>::infinity()));
  b.ifThen(known, [&] {
    if (format.rotated)
      rotate(b, format, key);
    Value rounding = quantiser.getRounding(square);
    auto store = [&](Value scaleSquare, Value left, Value number) {
      storeNorm(quantiser.getNorm(left, rounding, scaleSquare), number);
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

//===----------------------------------------------------------------------===//
// What a sketch lacks
//===----------------------------------------------------------------------===//

void KeySketch::unpack() {
  int64_t lanes = format.getLanes(b.lanes);
  auto type = VectorType::get({lanes}, b.getI8Type());
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, static_cast<int8_t>(value)));
  };
  for (const SketchFormat::Plane &plane : format.planes)
    b.forLoop(b.index(0), b.index(plane.bytes), lanes, [&](Value byte) {
      Value from[] = {page, kvHead, token, b.addI(byte, b.index(plane.first))};
      Value packed = vector::LoadOp::create(b, type, parts[0], from);
      for (int64_t part = 0; part < 8 / plane.bits; ++part) {
        Value at = b.addI(byte, b.index(part * plane.bytes));
        Value code =
            arith::ShRUIOp::create(b, packed, constant(part * plane.bits));
        code = b.andI(code, constant((1 << plane.bits) - 1));
        code = arith::ShLIOp::create(b, code, constant(plane.shift));
        if (plane.first > 0)
          code = arith::OrIOp::create(
              b, code, vector::LoadOp::create(b, type, codes, at));
        b.storeVector(code, codes, at);
      }
    });
}

Value KeySketch::getCentreSquare() {
  int64_t lanes = getLargestDivisor(format.keyDim, kWidth);
  auto type = VectorType::get({lanes}, b.getF64Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value squares =
      b.forLoop(b.index(0), b.index(format.keyDim), lanes, ValueRange{none},
                [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                  Value at[] = {page, kvHead, channel};
                  Value c = widen(b, b.loadVector(getCentre(), at, lanes));
                  return {b.addF(carried[0], b.mulF(c, c))};
                })
          .front();
  return b.reduceAdd(squares);
}

Value KeySketch::isBounded() {
  SmallVector<Value> at = {page, kvHead, token};
  auto isFinite = [&]() -> Value {
    Value infinite = quantiser.isInfinite(b.load(parts[2], at));
    return b.select(infinite, b.boolean(false), b.boolean(true));
  };
  if (format.normPerToken)
    return isFinite();
  at.push_back(Value());
  return b
      .forLoop(b.index(0), b.index(format.numGroups), 1, b.boolean(true),
               [&](Value number, ValueRange carried) -> SmallVector<Value> {
                 at.back() = number;
                 return {b.andI(carried[0], isFinite())};
               })
      .front();
}

std::pair<Value, Value> KeySketch::emitLeft(Value residuals, Value row) {
  auto wide = VectorType::get({kWidth}, b.getF64Type());
  Value middle = splat(b, format.getMiddle());
  auto decode = [&](Value channel, Value scale) -> Value {
    Value code =
        vector::LoadOp::create(b, wide.clone(b.getI8Type()), codes, channel);
    code = arith::ExtUIOp::create(b, wide.clone(b.getI32Type()), code);
    Value cell = b.subF(arith::SIToFPOp::create(b, wide, code), middle);
    return b.mulF(cell, scale);
  };
  Value none = splat(b, 0.0);
  SmallVector<Value> sums = b.forLoop(
      b.index(0), b.index(format.numGroups), 1, {none, none},
      [&](Value number, ValueRange carried) {
        Value stored = b.load(parts[1], {page, kvHead, token, number});
        Value scale = b.broadcastTo(quantiser.getScaleValue(stored), wide);
        Value first = b.mulI(number, b.index(format.group));
        Value last = b.addI(first, b.index(format.group));
        return b.forLoop(
            first, last, kWidth, carried,
            [&](Value channel, ValueRange sums) -> SmallVector<Value> {
              Value decoded = decode(channel, scale);
              Value left = b.subF(loadKey(channel), decoded);
              b.storeVector(left, residuals, {row, channel});
              return {b.addF(sums[0], b.mulF(decoded, decoded)),
                      b.addF(sums[1], b.mulF(left, left))};
            });
      });
  return {b.reduceAdd(sums[0]), b.reduceAdd(sums[1])};
}

std::pair<Value, Value>
KeySketch::emitResidual(Value page, Value kvHead, Value token,
                        function_ref<Value(Value, int64_t)> loadKey,
                        Value residuals, Value row) {
  this->page = page;
  this->kvHead = kvHead;
  this->token = token;
  Value none = f64(b, 0.0);
  SmallVector<Value> squares = b.ifThen(
      isBounded(), ValueRange{none, none}, [&]() -> SmallVector<Value> {
        loadCentred(loadKey);
        if (format.rotated)
          rotate(b, format, key);
        unpack();
        auto [decoded, left] = emitLeft(residuals, row);
        Value centre = format.centred ? getCentreSquare() : Value();
        return {left, quantiser.getRoom(decoded, left, centre)};
      });
  return {squares[0], squares[1]};
}
