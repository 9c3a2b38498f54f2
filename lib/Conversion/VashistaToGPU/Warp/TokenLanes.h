//===- TokenLanes.h - Channels of a token in lanes --------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_TOKENLANES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_TOKENLANES_H

#include "WarpBuilder.h"

#include "llvm/Support/MathExtras.h"

namespace vashista {

/// Some lanes of a warp have a token together, the next lanes the next one.
/// Vector i of its channels is number i / lanes of lane i % lanes.
struct TokenLanes {
  /// `width` divides `dim`.
  TokenLanes(int64_t dim, int64_t width)
      : dim(dim), width(width), vectors(dim / width),
        lanes(std::min<int64_t>(kWarp, llvm::bit_ceil<uint64_t>(vectors))),
        parts(llvm::divideCeil(vectors, lanes)) {}

  const int64_t dim, width, vectors;
  /// Of a token, a power of two; vectors of a lane.
  const int64_t lanes, parts;

  /// Tokens that some warps have at once.
  int64_t getTokens(int64_t warps) const { return warps * kWarp / lanes; }
  /// Whether lanes have all of their vectors.
  bool isWhole() const { return vectors == lanes * parts; }

  /// Which of a thread's tokens at once is its own.
  mlir::Value getToken(WarpBuilder &b) const {
    return b.divU(b.threadId(), b.index(lanes));
  }
  /// Which of a token's lanes this one is.
  mlir::Value getLane(WarpBuilder &b) const {
    return b.remU(b.threadId(), b.index(lanes));
  }
  /// A lane's vector, and whether it has one.
  mlir::Value getVector(WarpBuilder &b, int64_t part) const {
    return b.addI(getLane(b), b.index(part * lanes));
  }
  mlir::Value has(WarpBuilder &b, mlir::Value vector) const {
    return isWhole() ? b.boolean(true)
                     : b.compare(mlir::arith::CmpIPredicate::ult, vector,
                                 b.index(vectors));
  }
  /// Where a vector begins; in place of one that is not there stands the last.
  mlir::Value getChannel(WarpBuilder &b, mlir::Value vector) const {
    if (!isWhole())
      vector = b.minI(vector, b.index(vectors - 1));
    return b.mulI(vector, b.index(width));
  }
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_TOKENLANES_H
