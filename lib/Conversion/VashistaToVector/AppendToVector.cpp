//===- AppendToVector.cpp - vashista.append as a CPU kernel -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per KV head, which applies the rows in order: rows may write to one
// page. What is kept of a page is recomputed from its tokens up to the new one.
// That is right for a first token, for the next and for one that is written
// again, and reads at most one page per row.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "PageKept.h"
#include "RowScores.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

StringRef vashista::getObstacle(AppendOp op) {
  return PageKept::getObstacle(op);
}

LogicalResult vashista::lowerAppend(AppendOp op, PatternRewriter &rewriter,
                                    const KernelTarget &target) {
  if (!op.hasPureBufferSemantics() || !getObstacle(op).empty())
    return rewriter.notifyMatchFailure(op, "has no kernel");
  KernelBuilder b(op.getLoc(), rewriter, target);
  PageKept kept(op, b);
  Value zero = b.index(0), one = b.index(1);
  Value pageSize = b.index(kept.getPageSize());
  Value rows = b.dim(op.getKey(), 0), kvHeads = b.dim(op.getKey(), 1);
  auto forall = scf::ForallOp::create(b, ArrayRef<OpFoldResult>{kvHeads},
                                      ValueRange(), std::nullopt);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(forall.getTerminator());
    Value kvHead = forall.getInductionVar(0);
    // Scratch lives as long as the task.
    auto scope = memref::AllocaScopeOp::create(b, TypeRange());
    b.createBlock(&scope.getBodyRegion());
    kept.begin();
    kept.beginAppend();
    b.forLoop(zero, rows, 1, [&](Value row) {
      Value position = b.loadIndex(op.getPositions(), row);
      Value written = b.compare(CmpIPredicate::sge, position, zero);
      b.ifThen(written, [&] {
        Value sequence =
            op.getRowToSeq() ? b.loadIndex(op.getRowToSeq(), row) : row;
        Value page = b.loadIndex(op.getPageTable(),
                                 {sequence, b.divU(position, pageSize)});
        Value token = b.remU(position, pageSize);
        auto copy = [&](Value from, Value cache) {
          // As it is: a conversion would quieten NaN.
          int64_t dim = getHeadDim(cache);
          auto type = VectorType::get({getLargestDivisor(dim, b.lanes)},
                                      getElementTypeOrSelf(cache));
          b.forLoop(zero, b.index(dim), type.getDimSize(0), [&](Value channel) {
            Value vector = vector::LoadOp::create(
                b, type, from, ValueRange{row, kvHead, channel});
            b.storeVector(vector, cache,
                          kept.indices(page, kvHead, token, channel));
          });
        };
        copy(op.getKey(), op.getKCache());
        copy(op.getValue(), op.getVCache());
        kept.emit(page, kvHead, b.addI(token, one), /*firstNew=*/token);
        kept.appendToMoments(sequence, position);
      });
    });
    memref::AllocaScopeReturnOp::create(b, ValueRange());
  }
  rewriter.eraseOp(op);
  return success();
}
