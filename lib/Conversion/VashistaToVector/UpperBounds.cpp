//===- UpperBounds.cpp - Numbers that are never too small -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

static Value extend(KernelBuilder &b, Value value, Type element) {
  if (getElementTypeOrSelf(value) == element)
    return value;
  Type type = element;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = vector.clone(element);
  return arith::ExtFOp::create(b, type, value);
}

Value vashista::widen(KernelBuilder &b, Value value) {
  // Not at once: only bf16 to f32 is expanded to a shift.
  return extend(b, extend(b, value, b.getF32Type()), b.getF64Type());
}

Value vashista::roundUp(KernelBuilder &b, Value value) {
  // Rounding to nearest loses at most 2^-24 of a normal number and 2^-150 of
  // any other: (1 + 2^-22)(1 - 2^-25)(1 - 2^-24) > 1.
  Value any = b.compare(arith::CmpFPredicate::OGT, value, f64(b, 0.0));
  Value least = b.select(any, f64(b, std::ldexp(1.0, -149)), f64(b, 0.0));
  Value grown = b.mulF(value, f64(b, 1.0 + std::ldexp(1.0, -22)));
  return arith::TruncFOp::create(b, b.getF32Type(), b.addF(grown, least));
}

Value vashista::roundUpToF16(KernelBuilder &b, Value value) {
  Type ints = b.getI16Type();
  Value nearest = arith::TruncFOp::create(b, b.getF16Type(), value);
  Value back = arith::ExtFOp::create(b, b.getF32Type(), nearest);
  Value below = b.compare(arith::CmpFPredicate::OLT, back, value);
  // The next number has the next bits, up to infinity.
  Value bits = arith::BitcastOp::create(b, ints, nearest);
  Value one = arith::ConstantOp::create(b, b.getI16IntegerAttr(1));
  Value next = arith::AddIOp::create(b, bits, one);
  return arith::BitcastOp::create(b, b.getF16Type(),
                                  b.select(below, next, bits));
}

// The exponent and fraction of an f8E4M3FN, shifted to where a wider type has
// its own, are its value times a power of two, subnormal numbers included.

Value vashista::roundUpToF8(KernelBuilder &b, Value value) {
  // As f64, where nothing that is not nearly 0 loses a bit.
  Value wide = widen(b, value);
  Value some = b.compare(arith::CmpFPredicate::UNE, wide, f64(b, 0.0));
  wide = b.select(some, b.maxF(wide, f64(b, std::ldexp(1.0, -40))), wide);
  wide = b.mulF(wide, f64(b, std::ldexp(1.0, 7 - 1023)));
  auto i64 = [&](int64_t number) -> Value {
    return arith::ConstantOp::create(b, b.getI64IntegerAttr(number));
  };
  Value bits = arith::BitcastOp::create(b, b.getI64Type(), wide);
  bits = b.addI(bits, i64((int64_t(1) << 49) - 1));
  bits = arith::ShRUIOp::create(b, bits, i64(49));
  bits = arith::MinUIOp::create(b, bits, i64(0x7f));
  bits = arith::TruncIOp::create(b, b.getI8Type(), bits);
  return arith::BitcastOp::create(b, b.getType<Float8E4M3FNType>(), bits);
}

Value vashista::widenF8(KernelBuilder &b, Value value) {
  auto type = dyn_cast<VectorType>(value.getType());
  auto like = [&](Type element) -> Type {
    return type ? Type(type.clone(element)) : element;
  };
  auto constant = [&](TypedAttr element) -> Value {
    if (!type)
      return arith::ConstantOp::create(b, element);
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type.clone(element.getType()), element));
  };
  Value bytes = arith::BitcastOp::create(b, like(b.getI8Type()), value);
  Value bits = arith::ExtUIOp::create(b, like(b.getI32Type()), bytes);
  Value unknown = b.compare(arith::CmpIPredicate::eq, bits,
                            constant(b.getI32IntegerAttr(0x7f)));
  bits = arith::ShLIOp::create(b, bits, constant(b.getI32IntegerAttr(20)));
  Value number = arith::BitcastOp::create(b, like(b.getF32Type()), bits);
  number =
      b.mulF(number, constant(b.getF32FloatAttr(std::ldexp(1.0f, 127 - 7))));
  float inf = std::numeric_limits<float>::infinity();
  return b.select(unknown, constant(b.getF32FloatAttr(inf)), number);
}
