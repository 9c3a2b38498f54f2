//===- SummarizeToVector.cpp - vashista.summarize as a CPU kernel -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per KV head, which walks the rows in order: rows and sequences may
// share physical pages. A page is summarised over the most tokens that any row
// sees of it, so its result does not depend on the order:
//
//   * of the rows of a sequence, the longest works (of equals the first);
//   * pages that a row sees part of come first, and only where no other row
//     sees more of that page as its last one;
//   * pages that a row sees all of come second and overwrite.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "PageKept.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

class SummarizeKernel {
public:
  SummarizeKernel(SummarizeOp op, KernelBuilder &b)
      : op(op), b(b), kept(op, b), pageSize(b.index(kept.getPageSize())) {}

  void emit();

private:
  /// What a row sees: `full` pages, and `rest` tokens of one more where that is
  /// not 0: then and if `wanted`, `partial` is its physical page, else `none`.
  struct Row {
    Value row, sequence, length, full, rest, partial;
  };
  Row getRow(Value row, Value wanted, int64_t none);
  /// Whether a row summarises its pages, or another does.
  Value isFirst(const Row &mine, Value wanted);
  /// Whether another row comes before this one: it has more, or is earlier.
  Value precedes(const Row &other, const Row &mine, Value theirs, Value ours);

  SummarizeOp op;
  KernelBuilder &b;
  PageKept kept;
  Value pageSize;
};

} // namespace

SummarizeKernel::Row SummarizeKernel::getRow(Value row, Value wanted,
                                             int64_t none) {
  Row r;
  r.row = row;
  r.sequence = op.getRowToSeq() ? b.loadIndex(op.getRowToSeq(), row) : row;
  r.length = b.maxI(b.loadIndex(op.getSeqLens(), row), b.index(0));
  r.full = b.divU(r.length, pageSize);
  r.rest = b.remU(r.length, pageSize);
  // Entries past the length are never read.
  Value any = b.compare(CmpIPredicate::sgt, r.rest, b.index(0));
  auto entry = scf::IfOp::create(
      b, b.andI(any, wanted),
      [&](OpBuilder &nested, Location) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        scf::YieldOp::create(
            b, b.loadIndex(op.getPageTable(), {r.sequence, r.full}));
      },
      [&](OpBuilder &nested, Location loc) {
        scf::YieldOp::create(
            nested, loc,
            arith::ConstantIndexOp::create(nested, loc, none).getResult());
      });
  r.partial = entry.getResult(0);
  return r;
}

Value SummarizeKernel::precedes(const Row &other, const Row &mine, Value theirs,
                                Value ours) {
  Value more = b.compare(CmpIPredicate::sgt, theirs, ours);
  Value same = b.compare(CmpIPredicate::eq, theirs, ours);
  Value earlier = b.compare(CmpIPredicate::slt, other.row, mine.row);
  return arith::OrIOp::create(b, more, b.andI(same, earlier));
}

Value SummarizeKernel::isFirst(const Row &mine, Value wanted) {
  Value yes = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  Value no = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
  return b
      .forLoop(b.index(0), b.dim(op.getSeqLens(), 0), 1, yes,
               [&](Value row, ValueRange carried) -> SmallVector<Value> {
                 // Differs from `mine` where there is no partial page.
                 Row other = getRow(row, wanted, /*none=*/-2);
                 Value samePage =
                     b.compare(CmpIPredicate::eq, other.partial, mine.partial);
                 Value outdone = b.andI(
                     samePage, precedes(other, mine, other.rest, mine.rest));
                 if (op.getRowToSeq()) {
                   Value sameSequence = b.compare(
                       CmpIPredicate::eq, other.sequence, mine.sequence);
                   Value longer =
                       b.andI(sameSequence,
                              precedes(other, mine, other.length, mine.length));
                   outdone = arith::OrIOp::create(b, outdone, longer);
                 }
                 return {b.select(outdone, no, carried[0])};
               })
      .front();
}

void SummarizeKernel::emit() {
  Value zero = b.index(0), one = b.index(1);
  Value rows = b.dim(op.getSeqLens(), 0);
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
    b.forLoop(zero, rows, 1, [&](Value row) {
      Row mine = getRow(row, isPartial, /*none=*/-1);
      b.ifThen(isFirst(mine, isPartial), [&] {
        // The last page where it is partial; all others.
        Value first = b.select(isPartial, mine.full, zero);
        Value hasRest = b.minI(mine.rest, one);
        Value last = b.addI(mine.full, b.select(isPartial, hasRest, zero));
        Value count = b.select(isPartial, mine.rest, pageSize);
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
