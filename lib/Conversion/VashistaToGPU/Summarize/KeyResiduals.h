//===- KeyResiduals.h - What a sketch lacks of its keys ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Second moments are sums over keys of s s', s a residual as it is computed
// here, and a multiple of the identity. With t = kMomentShare, r the exact
// residual, k the decoded key, k' the exact one and eta = getScoreRounding():
//
//   s = sqrt(1 + t) (r + e),    norm(e) <= 2^-20 norm(k') + 2^-22 norm(r)
//
// as f32 does it: a difference, a rotation, a difference, a factor (decoded
// channels are exact). Hence, for any direction w,
//
//   (|<w, r>| + eta norm(w) norm(k))^2
//       <= <w, s>^2 + (1 + 1/t) (eta norm(k) + norm(e))^2 norm(w)^2
//
// and, as norm(k') <= norm(k) + norm(r), the last factor is at most
//
//   (1 + t) (eta + 2^-20)^2 norm(k)^2 + 2^-33 norm(s)^2
//
// of which getPerKey() and kPerResidual have a little more than (1 + 1/t). What
// f32 does to numbers below 2^-126 is less than kLeast for any number of keys.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEYRESIDUALS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEYRESIDUALS_H

#include "../VashistaToVector/PageKept.h"
#include "Warp/SketchLanes.h"

namespace vashista {

/// Reads keys and their sketches: what moments are sums of. Lanes have 16
/// channels of a key.
class KeyResiduals {
public:
  using Value = mlir::Value;

  /// Of a `summarize` or an `append` on buffers.
  template <typename OpTy>
  KeyResiduals(OpTy op, WarpBuilder &b)
      : KeyResiduals(b, op.getSketchAttr(), op.getKCache(), op.getSketchParts(),
                     op.getLayout()) {}

  const SketchFormat format;
  const TokenLanes lanes;

  /// What kernels read: the K cache first.
  llvm::SmallVector<Value> getRead() const;
  /// In a kernel, that is given the same.
  void begin(Given &read);

  struct Token {
    /// s, f32, of each of a lane's vectors.
    llvm::SmallVector<LaneChannels> channels;
    /// The sum of squares of these, and of the decoded channels, f32.
    Value squares, decoded;
  };
  /// Of a token of a lane; all is 0 of one that is not there or whose residual
  /// norm is not finite. All lanes of a warp do so together.
  Token load(Value page, Value kvHead, Value token, Value isToken);

  /// Writes a lane's vectors to where a token has its channels, from `at` on.
  void store(const Token &token, Value to, llvm::ArrayRef<Value> at);

  /// What the identity has for a square of a decoded key, or of an s.
  double getPerKey() const;
  static constexpr double kPerResidual = 0x1p-27;
  static constexpr double kLeast = 0x1p-100;
  static constexpr float kLeastOfKey = 0x1p-120f;

private:
  KeyResiduals(WarpBuilder &b, SketchAttr sketch, Value keys,
               mlir::ValueRange parts, Layout layout);
  /// Codes of a lane's vector, f32, less the middle.
  LaneChannels loadCodes(Value channel, llvm::ArrayRef<Value> at);
  /// Whether no norm of a lane's vector is infinite.
  Value hasNorm(llvm::ArrayRef<Value> at);

  WarpBuilder &b;
  const Layout layout;
  Value keys;
  llvm::SmallVector<Value> parts;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEYRESIDUALS_H
