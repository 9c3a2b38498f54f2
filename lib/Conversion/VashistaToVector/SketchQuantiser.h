//===- SketchQuantiser.h - How a sketch rounds a key ------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A group of channels is quantised with the scale that leaves the smallest
// residual, of a few: the largest channel fits with the first of them, smaller
// scales clip it. Whatever the scale, the norm of what is left is stored, so
// that every choice is sound.
//
// All of it is in f64, where keys are exact: a residual is that of the key as
// stored in the cache and of the scale and centre as stored in the sketch, off
// by less than 2^-45 of the key's norm, which is added, and 2^-52 of itself.
// Squares of up to 2^11 channels are summed with an error of less than 2^-41 of
// the sum in any order, by half of which a norm is off: less than the 2^-25 and
// 2^-40 that it is raised by.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHQUANTISER_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHQUANTISER_H

#include "SketchFormat.h"

namespace vashista {

/// What a channel, a group and a norm become, whoever has which of them.
/// Channels are f64, one or a vector.
class SketchQuantiser {
public:
  using Value = mlir::Value;

  SketchQuantiser(KernelBuilder &b, const SketchFormat &format,
                  mlir::Type scaleType, mlir::Type normType)
      : b(b), format(format), scaleType(scaleType), normType(normType) {}

  /// Shares of the scale that clips nothing.
  static constexpr double kShares[] = {1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6};

  /// A scale as it is stored, and what it then is, in f64. `inverse` is off by
  /// 2^-24 of itself: a channel next to the border of two cells may take
  /// either.
  struct Scale {
    Value stored, value, inverse;
  };
  /// For a share of a group whose largest channel is given.
  Scale getScale(Value largest, double share);
  /// 0, which leaves the group as it is.
  Scale getNone();
  Scale select(Value condition, const Scale &x, const Scale &y);
  /// What a scale is that is stored, in f64.
  Value getScaleValue(Value stored);

  /// The cell of a channel on its side of 0, from 1 on: n stands for
  /// (n - 1/2) scale.
  Value getCell(Value channel, const Scale &scale);
  /// What that leaves of it, but for the sign.
  Value getResidual(Value channel, const Scale &scale);
  /// As i32.
  Value getCode(Value channel, const Scale &scale);

  /// A norm, of a group or a token, as it is stored: rounded up. `squares` are
  /// of what is left, `scaleSquares` of its scales; `rounding` is added.
  Value getNorm(Value squares, Value rounding, Value scaleSquares);
  /// What rounding may have lost of a key of a norm.
  Value getRounding(Value squares);
  /// Of a key that is not finite.
  Value getInfiniteNorm();
  /// Whether a norm that is stored bounds nothing.
  Value isInfinite(Value stored);

  /// The square of the room that second moments have for a key's score, for the
  /// squares of what is decoded, of what that lacks of the key, and of the
  /// centre, if there is one.
  Value getRoom(Value decoded, Value left, Value centre);

private:
  /// A number as channels are.
  Value like(Value channel, double number);
  Value like(Value channel, Value number);
  /// |channel| + scale / 2.
  Value getShifted(Value channel, const Scale &scale);
  Value roundNorm(Value norm, Value most);
  Value widenScale(Value stored);

  KernelBuilder &b;
  const SketchFormat format;
  mlir::Type scaleType, normType;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SKETCHQUANTISER_H
