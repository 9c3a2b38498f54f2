//===- AttendKernel.cpp - vashista.attend as a CPU kernel -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendKernel.h"
#include "Kernels.h"
#include "RowSums.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

static int64_t getDim(Value memref, unsigned position) {
  return cast<MemRefType>(memref.getType()).getDimSize(position);
}

static TileWalk::Lists getLists(AttendOp op) {
  return {op.getPageTable(), op.getSeqLens(), op.getRowToSeq(),  op.getPages(),
          op.getPageCount(), op.getTokens(),  op.getTokenCount()};
}

AttendKernel::AttendKernel(AttendOp op, KernelBuilder &b)
    : op(op), b(b), group(op.getGroupSize()), keyDim(getDim(op.getKCache(), 3)),
      valueDim(getDim(op.getVCache(), 3)),
      walk(b, getLists(op),
           getDim(op.getKCache(), op.getLayout() == Layout::hnd ? 2 : 1),
           SlotUnit::tokens, op.getLayout()),
      // The butterfly of partial sums halves them.
      keys(b, keyDim, std::min(b.lanes, keyDim & -keyDim),
           getElementTypeOrSelf(op.getKCache())),
      values(b, valueDim, getLargestDivisor(valueDim, b.lanes),
             getElementTypeOrSelf(op.getVCache()),
             RowSums::getMostVectors(b, group)) {}

void AttendKernel::emit() {
  Value rows = b.dim(op.getQuery(), 0);
  Value kvHeads = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  auto forall = scf::ForallOp::create(b, ArrayRef<OpFoldResult>{rows, kvHeads},
                                      ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  // Scratch lives as long as the task.
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  walk.begin(forall.getInductionVar(0), forall.getInductionVar(1));
  firstHead = b.mulI(walk.kvHead, b.index(group));
  emitTask();
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

StringRef vashista::getObstacle(AttendOp op) {
  SolverAttr solver = op.getSolver();
  if (ShapedType::isDynamic(op.getGroupSize()) ||
      ShapedType::isDynamic(getDim(op.getKCache(), 3)) ||
      ShapedType::isDynamic(getDim(op.getVCache(), 3)))
    return "dynamic head sizes";
  if (solver.getKind() == SolverKind::eg && !solver.isProjection())
    return "eg on the linear objective, which canonicalizes to softmax";
  if (solver.getKind() == SolverKind::frank_wolfe &&
      solver.getIterations() >= kMostVertices / op.getGroupSize())
    return "more than 16384 Frank-Wolfe vertices in a group of query heads";
  return "";
}

LogicalResult vashista::lowerAttend(AttendOp op, PatternRewriter &rewriter,
                                    const KernelTarget &target) {
  if (!op.hasPureBufferSemantics())
    return rewriter.notifyMatchFailure(op, "expected buffers");
  StringRef obstacle = getObstacle(op);
  if (!obstacle.empty())
    return rewriter.notifyMatchFailure(op, obstacle);
  KernelBuilder b(op.getLoc(), rewriter, target);
  switch (op.getSolver().getKind()) {
  case SolverKind::softmax:
    makeSoftmaxKernel(op, b)->emit();
    break;
  case SolverKind::eg:
    makeGradientKernel(op, b)->emit();
    break;
  case SolverKind::frank_wolfe:
    makeFrankWolfeKernel(op, b)->emit();
    break;
  }
  rewriter.eraseOp(op);
  return success();
}
