//===- RowVectors.h - Rows of a cache as vectors of f32 -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWVECTORS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWVECTORS_H

#include "KernelBuilder.h"

namespace vashista {

/// The largest divisor of `value` that is at most `limit`.
int64_t getLargestDivisor(int64_t value, int64_t limit);

/// Channels of a row, and how many of them are loaded as a step of vectors.
struct RowShape {
  int64_t dim, lanes, step;
};

/// How the channels of a row become vectors of f32. A step is what is loaded at
/// a time: a cache line of the row where that divides it, several vectors where
/// a vector is less than a line.
///
/// Two bf16 in an i32 become f32 by a shift and a mask. Where a step of bf16
/// has an even number of vectors they are therefore paired: one holds the even
/// channels of 2 * lanes, the next one the odd ones. What such vectors are
/// multiplied with is permuted once, beforehand, and what they are added up to
/// is restored once, afterwards.
class RowVectors {
public:
  using Value = mlir::Value;

  /// Rows of `dim` channels of the given types, in vectors of `lanes`, which
  /// divides `dim`; at most `maxParts` of them at a time.
  RowVectors(KernelBuilder &b, int64_t dim, int64_t lanes,
             llvm::ArrayRef<mlir::Type> elements, int64_t maxParts = 64);

  const int64_t dim, lanes;
  /// Vectors of a step.
  int64_t getNumParts() const { return parts; }
  /// Channels of a step.
  int64_t getStep() const { return parts * lanes; }

  RowShape getRows() const { return {dim, lanes, getStep()}; }

  /// The vectors of the step at the given indices, the last of which is the
  /// channel.
  llvm::SmallVector<Value> load(Value memref, mlir::ValueRange indices);
  /// Whether a step is made of vectors of bf16, and those vectors as they are,
  /// half as many, for `KernelBuilder::dotPairs`.
  bool hasPairs() const { return paired; }
  llvm::SmallVector<Value> loadPairs(Value memref, mlir::ValueRange indices);
  /// From vectors of consecutive channels to the order of `load`, and back.
  llvm::SmallVector<Value> permute(llvm::ArrayRef<Value> vectors);
  llvm::SmallVector<Value> restore(llvm::ArrayRef<Value> vectors);

  /// The step at the given indices as vectors of consecutive channels.
  llvm::SmallVector<Value> loadConsecutive(Value memref,
                                           mlir::ValueRange indices);
  /// Stores the vectors of a step one after the other, at consecutive channels.
  void store(llvm::ArrayRef<Value> vectors, Value memref,
             mlir::ValueRange indices);

private:
  llvm::SmallVector<Value> shufflePairs(llvm::ArrayRef<Value> vectors,
                                        bool restoring);

  KernelBuilder &b;
  int64_t parts = 1;
  bool paired = false;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWVECTORS_H
