//===- SketchDirection.cpp - A direction as sketches are scored -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchDirection.h"

#include "UpperBounds.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

void SketchDirection::allocate(Value direction) {
  Value rows = b.dim(direction, 0), heads = b.dim(direction, 1);
  auto make = [&](ArrayRef<int64_t> sizes, Type element) -> Value {
    SmallVector<int64_t> shape = {ShapedType::kDynamic, ShapedType::kDynamic};
    shape.append(sizes.begin(), sizes.end());
    return memref::AllocOp::create(b, MemRefType::get(shape, element),
                                   ValueRange{rows, heads},
                                   b.getI64IntegerAttr(64));
  };
  if (packing == Packing::bytes)
    multiples = make({2, format.paddedDim}, b.getI8Type());
  else
    multiples = make({getNumMultiples()}, b.getI32Type());
  factors = make({getNumFactors()}, b.getF32Type());
}

void SketchDirection::emit(Value direction) {
  allocate(direction);
  Value rows = b.dim(direction, 0), heads = b.dim(direction, 1);
  auto forall = scf::ForallOp::create(b, getAsOpFoldResult({rows, heads}),
                                      ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  row = forall.getInductionVar(0);
  head = forall.getInductionVar(1);
  rotate(direction);
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

void SketchDirection::rotate(Value direction) {
  Value exact = b.scratch({format.paddedDim}, b.getF64Type());
  loadDirection(b, format, direction, row, head, exact);
  round(exact);
}

// Halves of the step are what products have in common.
Value SketchDirection::computeHalf(Value largest) {
  return roundUp(b, b.mulF(largest, f64(b, 0.5 / getLargest())));
}

Value SketchDirection::computeStep(Value half) {
  return b.mulF(widen(b, half), f64(b, 2.0));
}

Value SketchDirection::computeInverse(Value step) {
  Value some = b.compare(CmpFPredicate::OGT, step, f64(b, 0.0));
  return b.select(some, b.divF(f64(b, 1.0), step), f64(b, 0.0));
}

Value SketchDirection::computeMultiples(Value channels, Value inverse) {
  Type type = channels.getType(), ints = b.getI32Type();
  if (auto vector = dyn_cast<VectorType>(type)) {
    inverse = vector::BroadcastOp::create(b, vector, inverse);
    ints = vector.clone(ints);
  }
  Value q = math::RoundEvenOp::create(b, b.mulF(channels, inverse));
  // NaN and infinities have no multiple: what bounds reach is unknown then.
  Value known = b.compare(CmpFPredicate::ORD, q, q);
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return arith::FPToSIOp::create(b, ints, b.select(known, q, none));
}

Value SketchDirection::computeCorrection(Value sum) {
  Value correction = arith::SIToFPOp::create(b, b.getF32Type(), sum);
  return b.mulF(correction,
                b.f32(-static_cast<float>(format.getLargestCode())));
}

Value SketchDirection::computeReach(Value norm, Value left) {
  double roundings = 2 * (format.paddedDim + 8) * 0x1p-24 * (1 + 0x1p-20);
  // The difference itself is off by a few 2^-53 of w'.
  Value perScale = b.addF(b.mulF(norm, f64(b, roundings)), left);
  return b.mulF(perScale, f64(b, format.getMostPerScale()));
}

void SketchDirection::round(Value exact) {
  constexpr int64_t kWidth = 8;
  auto wide = VectorType::get({kWidth}, b.getF64Type());
  auto shorts = VectorType::get({kWidth}, b.getI32Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  auto load = [&](Value channel) -> Value {
    return vector::LoadOp::create(b, wide, exact, channel);
  };
  Value zero = b.index(0), all = b.index(format.paddedDim);
  Value largest =
      b.forLoop(zero, all, kWidth, none,
                [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                  return {b.maxF(carried[0], b.absF(load(channel)))};
                })
          .front();
  largest =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXIMUMF, largest);
  Value half = computeHalf(largest), step = computeStep(half);
  Value inverse = computeInverse(step);
  Value rounded = b.scratch({format.paddedDim}, b.getI32Type());
  auto storeFactor = [&](Value value, int64_t factor) {
    b.store(value, factors, {row, head, b.index(factor)});
  };
  storeFactor(half, getHalfStep());

  for (int64_t number = 0; number < format.numGroups; ++number) {
    Value first = b.index(number * format.group);
    Value last = b.index((number + 1) * format.group);
    Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(shorts));
    Value sums =
        b.forLoop(first, last, kWidth, ValueRange{zeros},
                  [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                    Value ints = computeMultiples(load(channel), inverse);
                    b.storeVector(ints, rounded, channel);
                    return {b.addI(carried[0], ints)};
                  })
            .front();
    Value sum =
        vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums);
    storeFactor(computeCorrection(sum), getCorrection() + number);
  }

  int64_t channels = format.paddedDim / getNumNorms();
  for (int64_t number = 0; number < getNumNorms(); ++number) {
    Value first = b.index(number * channels);
    Value last = b.index((number + 1) * channels);
    SmallVector<Value> squares =
        b.forLoop(first, last, kWidth, ValueRange{none, none},
                  [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                    Value w = load(channel);
                    Value q =
                        vector::LoadOp::create(b, shorts, rounded, channel);
                    q = b.mulF(arith::SIToFPOp::create(b, wide, q),
                               vector::BroadcastOp::create(b, wide, step));
                    Value left = b.subF(w, q);
                    return {b.addF(carried[0], b.mulF(w, w)),
                            b.addF(carried[1], b.mulF(left, left))};
                  });
    Value norm = b.sqrt(b.reduceAdd(squares[0]));
    Value left = b.sqrt(b.reduceAdd(squares[1]));
    storeFactor(roundUp(b, norm), number);
    storeFactor(roundUp(b, computeReach(norm, left)), getScaleReach() + number);
  }

  store(rounded);
}

void SketchDirection::store(Value rounded) {
  auto i32 = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  };
  b.forLoop(b.index(0), b.index(getNumMultiples()), 1, [&](Value number) {
    if (packing == Packing::bytes) {
      // The high byte of what is rounded to a multiple of 256.
      Value q = b.load(rounded, number);
      Value high = arith::ShRSIOp::create(b, b.addI(q, i32(128)), i32(8));
      Value low = b.subI(q, arith::ShLIOp::create(b, high, i32(8)));
      auto storeByte = [&](Value byte, int64_t part) {
        b.store(arith::TruncIOp::create(b, b.getI8Type(), byte), multiples,
                {row, head, b.index(part), number});
      };
      storeByte(high, 0);
      storeByte(low, 1);
      return;
    }
    auto narrow = [&](Value channel) {
      return b.andI(b.load(rounded, channel), i32(0xffff));
    };
    Value multiple;
    if (packing == Packing::single) {
      multiple = narrow(number);
    } else {
      Value two = b.index(2);
      Value channel =
          b.addI(b.mulI(b.divU(number, two), b.index(4)), b.remU(number, two));
      Value high = b.load(rounded, b.addI(channel, two));
      multiple =
          b.orI(narrow(channel), arith::ShLIOp::create(b, high, i32(16)));
    }
    b.store(multiple, multiples, {row, head, number});
  });
}
