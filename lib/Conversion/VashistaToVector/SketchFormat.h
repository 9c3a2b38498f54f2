//===- SketchFormat.h - How a key sketch lies in memory -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What writes a sketch and what scores it agree on this alone. See
// `#vashista.sketch` for the format in words.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHFORMAT_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHFORMAT_H

#include "KernelBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

struct SketchFormat {
  /// Some bits of the codes of all channels, `bits` (1, 2, 4 or 8) of each.
  /// Byte i holds those of channels i, i + bytes, i + 2 * bytes, ..., low bits
  /// first: a vector of bytes becomes vectors of consecutive channels by shifts
  /// and masks alone.
  struct Plane {
    int64_t bits, shift; // of the code
    int64_t first, bytes;
  };

  SketchFormat(SketchAttr sketch, int64_t keyDim);

  const int64_t keyDim, bits, group;
  /// Channels with padding, and groups of them.
  const int64_t paddedDim, numGroups;
  const int64_t codeBytes; // of a token
  const bool rotated, centred, normPerToken;
  /// From the high bits of a code to the low ones.
  llvm::SmallVector<Plane> planes;

  /// A code stands for `(code - getMiddle()) * scale`.
  double getMiddle() const { return ((int64_t(1) << bits) - 1) / 2.0; }
  int64_t getLargestCode() const { return (int64_t(1) << bits) - 1; }
  /// At most this often the scale is the norm of a decoded group.
  double getMostPerScale() const;
  /// So often the scale is the largest norm that rounding a group to the
  /// nearest cell can leave, of which norms in bytes are shares: n /
  /// kNormSteps.
  double getResidualPerScale() const;
  static constexpr int64_t kNormSteps = 254;
  static constexpr int64_t kInfiniteNorm = 255;

  // Second moments have room for the rounding of scores: of the norms of a
  // direction and of a decoded key, what a score may be off, and the same of a
  // centre, whose products are sums of `keyDim` f32. Half of each is for what
  // becomes of a score on its way to a logit.
  double getScoreRounding() const;
  double getCentreRounding() const;
  /// Of the norms of a residual and of a decoded key, how far the residual that
  /// f64 computes is from the key's.
  static constexpr double kKeyRounding = 0x1p-44;
  /// (a + b)^2 <= (1 + t) a^2 + (1 + 1 / t) b^2 with this t: a is what a key
  /// lacks, b is that room.
  static constexpr double kMomentShare = 0x1p-5;

  /// Sizes of the diagonal blocks of the rotation: powers of two.
  llvm::SmallVector<int64_t> getRotationBlocks() const;
  /// The largest power of two, of at most `lanes`, that divides every plane:
  /// channels of a vector that are packed together.
  int64_t getLanes(int64_t lanes) const;
  /// Channels that follow each other in one group and in one part of the bytes
  /// of every plane.
  int64_t getSegment() const;
};

/// Rotates `vector`, [paddedDim] f64 scratch, in place: an orthonormal matrix
/// that is its own inverse, off by less than 2^-45 of the vector's norm.
void rotate(KernelBuilder &b, const SketchFormat &format, mlir::Value vector);

/// Stores a head's direction, of a buffer [R, H, D], in [paddedDim] f64
/// scratch, padded and rotated where the sketch is.
void loadDirection(KernelBuilder &b, const SketchFormat &format,
                   mlir::Value direction, mlir::Value row, mlir::Value head,
                   mlir::Value to);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHFORMAT_H
