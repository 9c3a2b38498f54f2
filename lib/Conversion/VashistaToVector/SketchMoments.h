//===- SketchMoments.h - Second moments of what a sketch lacks --*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// With r what a key lacks and b the room for the rounding of its score, as a
// share of the norm of a direction, and t = kMomentShare,
//
//   (|<w, r>| + b norm(w))^2 <= (1 + t) <w, r>^2 + (1 + 1 / t) b^2 norm(w)^2,
//
// so that M = (1 + t) sum r r' + (1 + 1 / t) sum b^2 I is a second moment as
// `summarize` has it. Rounding it changes M by a symmetric matrix E, and what
// is added to the diagonal outweighs E:
//
//   * of a sequence, M is summed in f64 and rounded once. Of n < 2^31 tokens an
//     element is off by n 2^-53 + 2^-24 of sqrt(M_ii M_jj) and a bit more: E
//     has a norm of less than 2^-21 of M's trace. Of subnormal numbers a
//     rounding loses up to 2^-150: Dp 2^-149 outweighs Dp of them;
//   * a token that is appended rounds M to f32 again. So that as many of them
//     as there may be do not add up to more than M, what each loses is
//     measured: a diagonal grows by the sum of what its row lost (Gershgorin).
//
// Diagonals are rounded up, which covers their own rounding.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHMOMENTS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHMOMENTS_H

#include "SketchFormat.h"

namespace vashista {

class SketchMoments {
public:
  using Value = mlir::Value;

  /// Of a buffer [B, Hkv, Dp, Dp] f32.
  SketchMoments(KernelBuilder &b, const SketchFormat &format, Value moments)
      : b(b), format(format), moments(moments) {}

  /// Allocates the scratch of a task that appends: `residuals` has one row.
  void beginAppend();
  /// Adds the token whose residual is in `residuals`, the square of its room
  /// being `room`; `isFirst` token of its sequence: nothing was there before.
  void append(Value sequence, Value kvHead, Value room, Value isFirst);

  /// Rows of a matrix that are summed at a time: their sums stay in a cache.
  static constexpr int64_t kRows = 128;
  int64_t getNumBlocks() const {
    return (format.paddedDim + kRows - 1) / kRows;
  }
  /// Tokens whose residuals are summed at a time.
  static constexpr int64_t kTokens = 16;
  /// Allocates the scratch of a task that sums the `block`-th rows of matrices,
  /// and begins with sums of 0.
  void beginSums(Value block);
  /// Residuals that nothing else is written to are 0.
  void clearResiduals();
  /// Adds kTokens residuals.
  void addResiduals();
  /// Stores what has been summed, and its mirror image. `trace` and `room` are
  /// sums of squares of residuals and of room.
  void finishSums(Value sequence, Value kvHead, Value trace, Value room);

  /// [1 or kTokens, Dp] f64
  Value residuals;

private:
  /// What the room adds to a diagonal.
  Value computeDiagonal(Value room);

  KernelBuilder &b;
  const SketchFormat format;
  Value moments;
  int64_t numTokens = 1;
  // Of the current block: sums [kRows, Dp] f64, of rows [first, last).
  Value sums, first, last;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHMOMENTS_H
