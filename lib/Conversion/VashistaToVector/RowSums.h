//===- RowSums.h - Weighted sums of gathered rows -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSUMS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSUMS_H

#include "RowVectors.h"
#include "TileWalk.h"

namespace vashista {

/// sums[h] = rescale[h] sums[h] + sum over rows t of weights[h][t] row_t, for
/// the heads of a group and the gathered rows of a tile, added up in order. A
/// block of heads x channels stays in registers. The rows of the next tile are
/// asked for meanwhile.
struct RowSums {
  using Value = mlir::Value;

  RowSums(KernelBuilder &b, TileWalk &walk, RowVectors &vectors, int64_t group)
      : b(b), walk(walk), vectors(vectors), group(group) {}

  /// Vectors of a row at a time that leave registers for the rest: beside each
  /// there are the sums of a block of heads, and one register holds a weight.
  static int64_t getMostVectors(const KernelBuilder &b, int64_t group);

  KernelBuilder &b;
  TileWalk &walk;
  RowVectors &vectors;
  int64_t group;
  Value rows;    // the cache
  Value weights; // [G, kTile] f32 scratch
  Value rescale; // [G] f32 scratch; null: sums begin at 0
  Value sums;    // [G, dim] f32 scratch, in the order of `vectors`

  /// Adds the rows of the current tile.
  void emit();

private:
  void emitBlock(int64_t firstHead, Value channel, int64_t stepBlock);
  void askAhead(Value token, Value channel, int64_t size);
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSUMS_H
