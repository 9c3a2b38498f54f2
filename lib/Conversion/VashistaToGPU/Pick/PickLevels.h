//===- PickLevels.h - Levels of a lane's slots ------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKLEVELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKLEVELS_H

#include "Kernels.h"
#include "Warp/WarpBuilder.h"

namespace vashista {

/// Of a head and the slots of a lane: words of levels (ScanFindings), or one
/// level, and the top of their tile, which has the exponent of levels.
struct Levels {
  using Value = mlir::Value;

  static constexpr int64_t kOfWord = 4;
  llvm::SmallVector<Value> packed;
  Value top;

  llvm::SmallVector<Value> pack() const {
    llvm::SmallVector<Value> all(packed);
    all.push_back(top);
    return all;
  }
  Value getExponent(WarpBuilder &b) const {
    Value bits = mlir::arith::BitcastOp::create(b, b.getI32Type(), top);
    return b.andI(bits, b.i32(3));
  }
  /// Steps of a level, i32.
  Value getSteps(WarpBuilder &b) const {
    return mlir::arith::ShLIOp::create(b, b.i32(ScanFindings::kOfLevel),
                                       getExponent(b));
  }
  /// So many of the least level as a level has, f32; or the inverse.
  Value scale(WarpBuilder &b, float number, bool isInverse = false) const {
    return b.scaleByPower(number, getExponent(b), isInverse);
  }
  /// Of so many slots, from the first of `all` on, which it drops.
  static Levels unpack(mlir::ValueRange &all, size_t slots);
};

/// How far a tile's top lies below another one, in steps, rounded down, and by
/// `less`: f32. Where the tile's is not known, far above.
mlir::Value getStepsBelow(WarpBuilder &b, mlir::Value top,
                          mlir::Value topOfTile, float less = 0);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKLEVELS_H
