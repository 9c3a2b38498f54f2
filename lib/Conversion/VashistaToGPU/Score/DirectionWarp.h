//===- DirectionWarp.h - Rounding a direction by a warp ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_DIRECTIONWARP_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_DIRECTIONWARP_H

#include "../VashistaToVector/SketchDirection.h"
#include "Warp/SketchLanes.h"

namespace vashista {

/// What SketchDirection makes, in bytes, by lanes that share a direction: in a
/// kernel of its own, or in each block that needs some of them.
class DirectionWarp {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  DirectionWarp(WarpBuilder &b, const SketchFormat &format,
                SketchDirection &rounded);

  /// Whether a lane's channels stay in registers.
  bool hasRoom() const { return hasRoom(format); }
  static bool hasRoom(const SketchFormat &format);
  /// Of a buffer [R, H, D].
  void launch(Value direction);
  /// Of some heads of a row, by all warps of a block, what they have of them,
  /// f32: `getHead` yields which head one of them is.
  void loadOfBlock(Value direction, Value row, int64_t heads, int64_t warps,
                   llvm::function_ref<Value(Value number)> getHead);
  /// Then buffers of the block [heads, 2, Dp] i8 and [heads, factors] f32,
  /// which are there after a barrier.
  void roundOfBlock(Value multiples, Value factors);
  llvm::SmallVector<mlir::MemRefType> getTypesOfBlock(int64_t heads) const;

private:
  /// A lane's share of some heads, one or none of each: where that is to be,
  /// and whether it is one.
  struct Own {
    llvm::SmallVector<Value> place;
    Value isHead;
    llvm::SmallVector<LaneChannels> channels; // f32, of each part
  };
  Own load(Value direction, Value row, Value head, ValueRange place,
           Value isHead);
  void round(const Own &own, Value multiples, Value factors);
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
  llvm::SmallVector<Own> ofBlock;
  llvm::SmallVector<Value> place;
  Value isHead, factors;
  llvm::SmallVector<Value> vectors; // of this lane
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_DIRECTIONWARP_H
