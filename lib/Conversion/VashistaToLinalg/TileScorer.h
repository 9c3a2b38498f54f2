//===- TileScorer.h - Scores of the rows of a tile -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What differs between the sources of `vashista.score`: what is made of a
// direction, what is read of a row, and how the two become a score and a bound.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_TILESCORER_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_TILESCORER_H

#include "../VashistaToVector/RowScores.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include <memory>

namespace vashista {

class TileScorer {
public:
  using Value = mlir::Value;

  /// What an op's bounds are, where somebody reads them: its scores, +inf, or
  /// numbers of their own.
  enum class Bounds { same, infinite, own };

  TileScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk, int64_t group,
             int64_t dim);
  virtual ~TileScorer() = default;

  virtual Bounds getBounds() const = 0;

  /// Emitted once, before the tasks.
  virtual void prepare() {}
  /// Begins a task: allocates its scratch, for the vectors of `heads` heads.
  virtual void begin(int64_t heads) = 0;
  /// Makes of a head's direction what rows are multiplied with; it is the
  /// number-th in the task's scratch.
  virtual void makeVectors(Value number, Value queryHead) = 0;
  /// Scores the tile of the walk for the group whose vectors begin at `first`:
  /// logits [G, kTile] and, unless null, own bounds [G, kTile].
  virtual void scoreTile(Value first, Value scores, Value bounds) = 0;

  /// What is read of each row.
  virtual mlir::ArrayRef<Value> getRead() const = 0;
  /// The bytes of it.
  int64_t getRowBytes() const;

  /// Buffers of the tensors of the source.
  llvm::SmallVector<Value> parts;

protected:
  /// From sums of products to logits.
  Value toLogits(Value sums);
  /// From bounds of sums to bounds of logits.
  Value toBounds(Value sums);

  mutable ScoreOp op; // Accessors of ops are not const.
  KernelBuilder &b;
  TileWalk &walk;
  int64_t group, dim;
  Value direction;
};

/// Scores of a page summary or of the keys themselves.
std::unique_ptr<TileScorer> createVectorScorer(ScoreOp op, KernelBuilder &b,
                                               TileWalk &walk, int64_t group,
                                               int64_t dim);

/// Scores of a key sketch.
std::unique_ptr<TileScorer> createSketchScorer(ScoreOp op, KernelBuilder &b,
                                               TileWalk &walk, int64_t group,
                                               int64_t dim);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_TILESCORER_H
