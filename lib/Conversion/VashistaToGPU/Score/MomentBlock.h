//===- MomentBlock.h - Directional moments by a block -----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_MOMENTBLOCK_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_MOMENTBLOCK_H

#include "Warp/SketchLanes.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// What a `moment` is of a row, a KV head and some of its query heads, by a
/// block: of a kernel of its own, or of one whose other blocks do something
/// else.
class MomentBlock {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  /// Of `warps`, a power of two, and `mostHeads` at most.
  MomentBlock(MomentOp op, WarpBuilder &b, int64_t warps, int64_t mostHeads);

  // On the host.
  /// Buffers that it reads.
  llvm::SmallVector<Value> getRead();
  /// Blocks for each row and KV head.
  int64_t getNumBlocks() const { return llvm::divideCeil(group, heads); }
  llvm::SmallVector<mlir::MemRefType> getShared();
  /// Times that warps load some rows of the matrix, and wait for them.
  int64_t getPasses() const {
    return llvm::divideCeil(dim, warps * getNumRows());
  }

  /// Emits it, of what it reads and writes, buffers of the block, and the
  /// `number`th block of a row and KV head.
  void emit(llvm::ArrayRef<Value> values, llvm::ArrayRef<Value> shared,
            Value row, Value kvHead, Value number);

private:
  void emitMoments();
  void rotateDirections();
  /// A thread's rows of a pass, as vectors of four columns.
  llvm::SmallVector<Value> loadRows(Value first);
  /// Their share of the trace, then of each head.
  llvm::SmallVector<Value> addRows(Value first, llvm::ArrayRef<Value> rows,
                                   ValueRange sums);
  void storeMoment(Value number);
  Value getHead(Value number);

  /// Columns of a lane's vector.
  static constexpr int64_t kFour = 4;
  Value getColumn(int64_t part) {
    return b.mulI(b.addI(lane, b.index(part * kWarp)), b.index(kFour));
  }
  /// Whether a lane has columns of a part.
  Value hasColumn(int64_t part) {
    return b.compare(mlir::arith::CmpIPredicate::ult, getColumn(part),
                     b.index(dim));
  }
  bool isWhole() const { return dim % (kFour * kWarp) == 0; }
  Value getNearColumn(int64_t part) {
    return isWhole() ? getColumn(part)
                     : b.minI(getColumn(part), b.index(dim - kFour));
  }
  /// Rows of a warp in a pass: they begin with a multiple of 4.
  int64_t getNumRows() const { return parts == 1 ? 8 : 4; }
  /// Roundings that a product of the sum goes through, and what a direction is
  /// off by, twice.
  double getRoundings() const {
    return kFour * parts + getNumRows() * getPasses() + 16 + 32;
  }

  MomentOp op;
  WarpBuilder &b;
  const SketchFormat format;
  const int64_t dim, parts, warps; // vectors of a lane, warps of the block
  const TokenLanes lanes;          // of a direction
  const int64_t group;             // query heads of a KV head
  const int64_t heads;             // of a block
  // Of the kernel.
  Value direction, moments, lengths, rowToSeq, result;
  Value directions, squares, partial; // shared
  Value row, kvHead, sequence, firstHead, thread, warp, lane;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_MOMENTBLOCK_H
