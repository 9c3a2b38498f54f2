//===- SketchDirection.h - A direction as sketches are scored ---*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// With w' the direction, rotated where the sketch is, and q the multiples of a
// step that it is rounded to, and
//
//   <q, decoded_g> = step D_g / 2 (2 sum_i code_i q_i - largest code sum_i
//   q_i)    D_g: the group's scale
//
// products of codes and multiples are summed as integers, exactly. What that
// leaves out is norm(w'_g - q_g) norm(decoded_g), and the norm of a decoded
// group is at most getMostPerScale() D_g; and the rounding of a few f32
// numbers, each by 2^-24 of norm(w'_g) norm(decoded_g) or less. For that n = Dp
// + 8 such roundings are taken twice, which also covers a sum in f32 of n
// products in any order. Norms of w' and of w' - q are those of the exact ones,
// rounded up: sums of squares in f64 are off by Dp 2^-53 of themselves in any
// order, far less than what `roundUp` covers.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHDIRECTION_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHDIRECTION_H

#include "SketchFormat.h"

namespace vashista {

/// Makes, in tasks of a row and head each, what the codes of a sketch are
/// multiplied with.
class SketchDirection {
public:
  using Value = mlir::Value;

  /// How multiples lie in memory.
  enum class Packing {
    /// One in the low half of an i32: [R, H, Dp] i32.
    single,
    /// Two whose channels are two bytes apart: [R, H, Dp / 2] i32.
    pairs,
    /// h and l of 256 h + l, both signed: [R, H, 2, Dp] i8.
    bytes
  };

  SketchDirection(const SketchFormat &format, KernelBuilder &b, Packing packing)
      : format(format), b(b), packing(packing) {}

  /// Of a buffer [R, H, D].
  void emit(Value direction);

  // The parts of it, for those that have their own way of going over channels.
  /// Makes room for what is made.
  void allocate(Value direction);
  /// Half the step, f32, by the largest channel: NaN if one is.
  Value computeHalf(Value largest);
  Value computeStep(Value half);
  /// By how much channels become multiples; 0 without a step.
  Value computeInverse(Value step);
  /// Channels, one or a vector of f64, as multiples, i32.
  Value computeMultiples(Value channels, Value inverse);
  /// What a group's sums are corrected by, for the sum of its multiples.
  Value computeCorrection(Value sum);
  /// What a bound has for a unit of a scale, for the norms of w' and of w' - q.
  Value computeReach(Value norm, Value left);

  /// Of a head: how many i32 or, in each of two parts, bytes there are.
  int64_t getNumMultiples() const {
    return format.paddedDim / (packing == Packing::pairs ? 2 : 1);
  }

  // Of each head: what a bound has for a unit of a residual norm and of a scale
  // (each per norm), what a group's sums are corrected by, and half the step.
  int64_t getNumFactors() const {
    return 2 * getNumNorms() + format.numGroups + 1;
  }
  int64_t getScaleReach() const { return getNumNorms(); }
  int64_t getCorrection() const { return 2 * getNumNorms(); }
  int64_t getHalfStep() const { return getNumFactors() - 1; }
  /// Norms of a direction: of its groups, or one.
  int64_t getNumNorms() const {
    return format.normPerToken ? 1 : format.numGroups;
  }

  /// What is made: [R, H, getNumFactors()] f32 beside the multiples.
  Value multiples, factors;

private:
  void rotate(Value direction);
  void round(Value exact);
  void store(Value rounded);
  /// The largest multiple; of bytes, both are signed.
  int64_t getLargest() const {
    return packing == Packing::bytes ? 127 * 256 + 127 : 32767;
  }

  const SketchFormat &format;
  KernelBuilder &b;
  const Packing packing;
  Value row, head; // of the current task
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHDIRECTION_H
