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

#include "RowVectors.h"
#include "TileWalk.h"

#include <functional>

namespace vashista {

/// scores[h][t] = finish( sum over terms of <queries_h, row_t> ), for the heads
/// of a group and the gathered rows of a tile. A block of rows x heads stays in
/// registers; each row is read once per block of heads. The rows of the next
/// tile are asked for meanwhile.
struct RowScores {
  using Value = mlir::Value;

  /// Loads the vectors of a step of a row that starts at the given indices, the
  /// last of which is the channel.
  using Load = std::function<llvm::SmallVector<Value>(mlir::ValueRange)>;

  /// Vectors in scratch, one per head, in the order of what `load` yields.
  struct Term {
    Value queries;
    Load load;
    /// Both are pairs of bf16, in their own order.
    bool dots = false;
  };

  RowScores(KernelBuilder &b, TileWalk &walk, RowShape rows, int64_t group)
      : b(b), walk(walk), rows(rows), group(group) {}

  KernelBuilder &b;
  TileWalk &walk;
  const RowShape rows;
  int64_t group;
  llvm::SmallVector<Term> terms;
  /// Where the group begins among the queries; null for 0.
  Value firstQuery;
  /// What the rows of the next tile are asked for of.
  llvm::SmallVector<Value> prefetched;
  /// From sums to scores, on a vector of any size.
  std::function<Value(Value sums)> finish;
  Value scores; // [G, kTile] f32 scratch
  Value maxima; // [G] f32 scratch: the largest that is not NaN; or null

  /// Scores the rows of the current tile.
  void emit();

  /// How often a product is rounded on its way into a sum, itself included.
  static int64_t getDepth(const RowShape &rows) {
    return rows.dim / rows.lanes + llvm::Log2_64_Ceil(rows.lanes);
  }

private:
  void emitBlock(Value row, llvm::MutableArrayRef<Value> largest);
  void askAhead(Value row, Value channel);
  int64_t getHeadBlock();
  /// How many sums become one vector.
  int64_t getSumsAtOnce();
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ROWSCORES_H
