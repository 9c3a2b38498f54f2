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

/// A cap rounds what the slack has raised, and flattens the slack: bounds are
/// raised again by what tanh may be off. What is unbounded stays so: not even a
/// cap bounds NaN.
Value TileScorer::toBounds(Value sums) {
  Value logits = toLogits(sums);
  if (!op.getSoftCap())
    return logits;
  int64_t size = cast<VectorType>(logits.getType()).getDimSize(0);
  Value slack = b.mulF(b.absF(logits), b.splat(0x1p-20f, size));
  Value inf = b.splat(std::numeric_limits<float>::infinity(), size);
  Value unbounded = b.compare(arith::CmpFPredicate::OEQ, sums, inf);
  return b.select(unbounded, inf, b.addF(logits, slack));
}
