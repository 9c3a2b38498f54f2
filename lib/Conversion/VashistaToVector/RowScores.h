//===- RowScores.h - Scores of gathered rows against a group's queries -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSCORES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSCORES_H

#include "KernelBuilder.h"

#include <functional>

namespace vashista {

/// Slots that a task handles at a time. Part of what an op computes: a tile is
/// where running maxima are updated.
inline constexpr int64_t kTile = 64;

/// The largest divisor of `value` that is at most `limit`.
int64_t getLargestDivisor(int64_t value, int64_t limit);

/// scores[h][t] = finish( sum over terms of <queries_h, row_t> ), for the heads
/// of a group and the gathered rows of a tile. A block of rows x heads stays in
/// registers; each row is read once per block of heads.
struct RowScores {
  using Value = mlir::Value;

  /// Vectors [G, D] in scratch, and how to load `lanes` channels of a row that
  /// starts at the given indices, the last of which is the channel.
  struct Term {
    Value queries;
    std::function<Value(mlir::ValueRange)> load;
  };

  RowScores(KernelBuilder &b, int64_t group, int64_t dim, int64_t lanes)
      : b(b), group(group), dim(dim), lanes(lanes) {}

  KernelBuilder &b;
  int64_t group, dim, lanes;
  llvm::SmallVector<Term> terms;
  /// Indices of a gathered row at a channel.
  std::function<llvm::SmallVector<Value>(Value row, Value channel)> indices;
  /// Called once per row and channel, to ask for what is read later; or null.
  std::function<llvm::SmallVector<Value>(Value row, Value channel)> nextIndices;
  std::function<void(mlir::ValueRange)> prefetch;
  /// From sums to scores, on a vector of any size.
  std::function<Value(Value sums)> finish;
  Value scores; // [G, kTile] f32 scratch

  /// Scores rows 0 to count - 1.
  void emit(Value count);
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSCORES_H
