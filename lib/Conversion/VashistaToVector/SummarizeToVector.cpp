//===- SummarizeToVector.cpp - vashista.summarize as a CPU kernel -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per KV head, which walks the rows in order, twice: for pages that
// they see part of, and for pages that they see all of (SummaryRows.h). Second
// moments follow when all sketches are there, with tasks of their own: one per
// sequence, of which the longest row works, KV head and block of rows.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "PageKept.h"
#include "SummaryRows.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

class SummarizeKernel {
public:
  SummarizeKernel(SummarizeOp op, KernelBuilder &b)
      : op(op), b(b), kept(op, b), rows(b, op.getPageTable(), op.getSeqLens(),
                                        op.getRowToSeq(), kept.getPageSize()) {}

  void emit();

private:
  void emitPages();
  void emitMoments();
  /// Whether a row summarises its pages, or another does.
  Value isFirst(const SummaryRows::Row &mine, Value wanted);

  SummarizeOp op;
  KernelBuilder &b;
  PageKept kept;
  SummaryRows rows;
};

} // namespace

Value SummarizeKernel::isFirst(const SummaryRows::Row &mine, Value wanted) {
  return b
      .forLoop(b.index(0), b.dim(op.getSeqLens(), 0), 1, b.boolean(true),
               [&](Value row, ValueRange carried) -> SmallVector<Value> {
                 // Differs from `mine` where there is no partial page.
                 Value outdone =
                     rows.isOutdone(mine, rows.get(row, wanted, /*none=*/-2));
                 return {b.select(outdone, b.boolean(false), carried[0])};
               })
      .front();
}

void SummarizeKernel::emit() {
  emitPages();
  if (kept.getNumMomentBlocks() > 0)
    emitMoments();
}

void SummarizeKernel::emitMoments() {
  Value numRows = b.dim(op.getSeqLens(), 0);
  Value kvHeads = b.dim(op.getMoments(), 1);
  Value blocks = b.index(kept.getNumMomentBlocks());
  auto forall =
      scf::ForallOp::create(b, getAsOpFoldResult({numRows, kvHeads, blocks}),
                            ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  // Whichever pages rows share, sequences have moments of their own.
  Value noPages = b.boolean(false);
  SummaryRows::Row mine =
      rows.get(forall.getInductionVar(0), noPages, /*none=*/-1);
  Value any = b.compare(CmpIPredicate::sgt, mine.length, b.index(0));
  b.ifThen(b.andI(any, isFirst(mine, noPages)), [&] {
    kept.emitMoments(op.getPageTable(), mine.sequence,
                     forall.getInductionVar(1), mine.length,
                     forall.getInductionVar(2));
  });
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

void SummarizeKernel::emitPages() {
  Value zero = b.index(0), one = b.index(1);
  Value numRows = b.dim(op.getSeqLens(), 0);
  Value kvHeads = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  auto forall = scf::ForallOp::create(b, ArrayRef<OpFoldResult>{kvHeads},
                                      ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  Value kvHead = forall.getInductionVar(0);
  // Scratch lives as long as the task.
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  kept.begin();
  b.forLoop(zero, b.index(2), 1, [&](Value pass) {
    Value isPartial = b.compare(CmpIPredicate::eq, pass, zero);
    b.forLoop(zero, numRows, 1, [&](Value row) {
      SummaryRows::Row mine = rows.get(row, isPartial, /*none=*/-1);
      b.ifThen(isFirst(mine, isPartial), [&] {
        // The last page where it is partial; all others.
        Value first = b.select(isPartial, mine.full, zero);
        Value hasRest = b.minI(mine.rest, one);
        Value last = b.addI(mine.full, b.select(isPartial, hasRest, zero));
        Value count =
            b.select(isPartial, mine.rest, b.index(kept.getPageSize()));
        b.forLoop(first, last, 1, [&](Value logical) {
          Value page = b.loadIndex(op.getPageTable(), {mine.sequence, logical});
          kept.emit(page, kvHead, count, /*firstNew=*/zero);
        });
      });
    });
  });
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

StringRef vashista::getObstacle(SummarizeOp op) {
  return PageKept::getObstacle(op);
}

LogicalResult vashista::lowerSummarize(SummarizeOp op,
                                       PatternRewriter &rewriter,
                                       const KernelTarget &target) {
  if (!op.hasPureBufferSemantics() || !getObstacle(op).empty())
    return rewriter.notifyMatchFailure(op, "has no kernel");
  KernelBuilder b(op.getLoc(), rewriter, target);
  SummarizeKernel(op, b).emit();
  rewriter.eraseOp(op);
  return success();
}
