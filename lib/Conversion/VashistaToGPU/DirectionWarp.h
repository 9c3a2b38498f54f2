//===- DirectionWarp.h - Rounding a direction by a warp ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_DIRECTIONWARP_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_DIRECTIONWARP_H

#include "../VashistaToVector/SketchDirection.h"
#include "SketchLanes.h"

namespace vashista {

/// What SketchDirection makes, in bytes, by a kernel whose lanes share a
/// direction.
class DirectionWarp {
public:
  using Value = mlir::Value;

  DirectionWarp(WarpBuilder &b, const SketchFormat &format,
                SketchDirection &rounded);

  /// Whether a lane's channels stay in registers.
  bool hasRoom() const;
  /// Of a buffer [R, H, D].
  void launch(Value direction);

private:
  void emit(Value direction, Value multiples, Value factors);
  /// Of a number of each part, f64 or i32: in all of their lanes, the sums over
  /// the parts that lie in the same `channels`.
  llvm::SmallVector<Value> sumEach(llvm::ArrayRef<Value> numbers,
                                   int64_t channels);
  /// Writes a number for each `channels` that follow each other.
  void storeEach(llvm::ArrayRef<Value> numbers, int64_t channels,
                 int64_t first);
  void storeBytes(llvm::ArrayRef<Value> multiples, Value vector, Value to);

  WarpBuilder &b;
  const SketchFormat &format;
  SketchDirection &rounded;
  const TokenLanes lanes;
  // Of the kernel.
  Value row, head, isHead, factors;
  llvm::SmallVector<Value> vectors; // of this lane
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_DIRECTIONWARP_H
