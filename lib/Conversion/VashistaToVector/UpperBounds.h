//===- UpperBounds.h - Numbers that are never too small -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Norms and what follows from them are bounds: they are computed in f64, where
// squares of f32 numbers are exact and neither overflow nor vanish, and rounded
// upwards once, at the end.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_UPPERBOUNDS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_UPPERBOUNDS_H

#include "KernelBuilder.h"

namespace vashista {

inline mlir::Value f64(KernelBuilder &b, double value) {
  return mlir::arith::ConstantOp::create(b, b.getF64FloatAttr(value));
}

/// A float, or a vector of them, as f64.
mlir::Value widen(KernelBuilder &b, mlir::Value value);

/// An f32 that is at least a non-negative f64 number, or what that number was
/// before relative errors of up to 2^-25. NaN stays NaN.
mlir::Value roundUp(KernelBuilder &b, mlir::Value value);

/// An f16 that is at least a non-negative f32 number: +inf where none is.
mlir::Value roundUpToF16(KernelBuilder &b, mlir::Value value);

/// An f8E4M3FN that is at least a non-negative f32 number: NaN where none is.
mlir::Value roundUpToF8(KernelBuilder &b, mlir::Value value);

/// Non-negative f8E4M3FN, one or a vector, as f32; NaN, which is all that it
/// has above 448, as +inf.
mlir::Value widenF8(KernelBuilder &b, mlir::Value value);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_UPPERBOUNDS_H
