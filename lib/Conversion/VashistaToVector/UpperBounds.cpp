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
