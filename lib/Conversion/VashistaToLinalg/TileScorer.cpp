//===- TileScorer.cpp - Scores of the rows of a tile -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TileScorer.h"

using namespace mlir;
using namespace vashista;

TileScorer::TileScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk,
                       int64_t group, int64_t dim)
    : op(op), b(b), walk(walk), group(group), dim(dim),
      direction(b.readOnly(op.getDirection())) {
  for (Value part : op.getParts())
    parts.push_back(b.readOnly(part));
}

int64_t TileScorer::getRowBytes() const {
  int64_t bytes = 0;
  for (Value part : getRead()) {
    auto type = cast<MemRefType>(part.getType());
    bytes += type.getShape().back() *
             type.getElementType().getIntOrFloatBitWidth() / 8;
  }
  return bytes;
}

Value TileScorer::toLogits(Value sums) {
  return b.toLogits(sums, op.getScale(), op.getSoftCap(), op.getEpsilon());
}

Value TileScorer::toBounds(Value sums) {
  return b.toLogitBounds(sums, op.getScale(), op.getSoftCap(), op.getEpsilon());
}
