//===- CheckToLinalg.cpp - vashista.check_* as loops ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row, which looks at its numbers in order. Memory is followed no
// further than what has been found to be well.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/Faults.h"
#include "Patterns.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Yields the op's results: buffers that a task for each row writes.
static SmallVector<Value>
forEachRow(Operation *op, KernelBuilder &b, Value perRow,
           function_ref<void(Value row, ArrayRef<Value> results)> body) {
  SmallVector<Value> results = allocateResults(op, b, op->getNumResults());
  auto forall = scf::ForallOp::create(
      b, getAsOpFoldResult(ValueRange{b.dim(perRow, 0)}), ValueRange(),
      /*mapping=*/std::nullopt);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(forall.getTerminator());
    body(forall.getInductionVar(0), results);
  }
  return toTensors(b, results, op->getResultTypes());
}

/// The first fault, of what was before or of the numbers 0 to `end - 1`.
static Fault findFirst(KernelBuilder &b, const Fault &before, Value end,
                       function_ref<Fault(Value, const Fault &)> find) {
  FaultFinder faults(b);
  return Fault::from(
      b.forLoop(b.index(0), end, 1, before.values(),
                [&](Value i, ValueRange carried) -> SmallVector<Value> {
                  Fault fault = Fault::from(carried);
                  return faults.first(fault, find(i, fault)).values();
                }));
}

static SmallVector<Value> lower(CheckTableOp op, KernelBuilder &b) {
  Value lens = b.readOnly(op.getSeqLens());
  TableFaults faults(b, b.readOnly(op.getPageTable()),
                     b.readOnly(op.getRowToSeq()), op.getNumPages(),
                     op.getPageSize());
  return forEachRow(op, b, lens, [&](Value row, ArrayRef<Value> results) {
    Value sequence = faults.getSequence(row), length = b.loadIndex(lens, row);
    Fault fault = faults.ofLength(sequence, length);
    fault = findFirst(b, fault, faults.countPages(fault, length),
                      [&](Value page, const Fault &) {
                        return faults.ofPage(sequence, page);
                      });
    faults.store(fault, row, lens, /*instead=*/0, results);
  });
}

static SmallVector<Value> lower(CheckPositionsOp op, KernelBuilder &b) {
  Value positions = b.readOnly(op.getPositions());
  TableFaults faults(b, b.readOnly(op.getPageTable()),
                     b.readOnly(op.getRowToSeq()), op.getNumPages(),
                     op.getPageSize());
  return forEachRow(op, b, positions, [&](Value row, ArrayRef<Value> results) {
    Fault fault = faults.ofPosition(row, b.loadIndex(positions, row));
    faults.store(fault, row, positions, /*instead=*/-1, results);
  });
}

static SmallVector<Value> lower(CheckListOp op, KernelBuilder &b) {
  Value list = b.readOnly(op.getList()), lens = b.readOnly(op.getSeqLens());
  ListFaults faults(b, op, list, b.readOnly(op.getListCount()));
  return forEachRow(op, b, lens, [&](Value row, ArrayRef<Value> results) {
    // Of what is at fault already nothing more is looked at.
    auto unlessFound = [&](const Fault &fault, Value number) {
      return b.select(faults.isFound(fault), b.index(0), number);
    };
    Value length = b.loadIndex(lens, row), heads = b.dim(list, 1);
    Value visible = faults.countVisible(length);
    Fault fault = faults.ofLength(length);
    fault = findFirst(
        b, fault, unlessFound(fault, heads),
        [&](Value head, const Fault &before) {
          Value count = faults.getCount(row, head);
          Fault own = faults.first(before, faults.ofCount(head, count));
          return findFirst(b, own, unlessFound(own, count),
                           [&](Value number, const Fault &) {
                             return faults.ofEntry(row, head, number, visible);
                           });
        });
    Value isFound = faults.isFound(fault);
    b.forLoop(b.index(0), heads, 1, [&](Value head) {
      faults.storeCount(isFound, row, head, results[0]);
    });
    faults.store(fault, results[1], row);
  });
}

namespace {

template <typename OpTy> struct CheckPattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    KernelBuilder b(op.getLoc(), rewriter, KernelTarget{1, 16});
    rewriter.replaceOp(op, lower(op, b));
    return success();
  }
};

} // namespace

void vashista::populateCheckPatterns(RewritePatternSet &patterns) {
  patterns.add<CheckPattern<CheckTableOp>, CheckPattern<CheckPositionsOp>,
               CheckPattern<CheckListOp>>(patterns.getContext());
}
