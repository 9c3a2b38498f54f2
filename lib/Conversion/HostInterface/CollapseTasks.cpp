//===- CollapseTasks.cpp - vashista-collapse-tasks ------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTACOLLAPSETASKSPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

/// The loop that is all that the outer one does, beside computing indices and
/// views; null where there is none.
static scf::ForallOp getOnlyLoop(scf::ForallOp outer) {
  scf::ForallOp inner;
  for (Operation &op : outer.getBody()->without_terminator()) {
    if (auto loop = dyn_cast<scf::ForallOp>(op)) {
      if (inner)
        return nullptr;
      inner = loop;
    } else if (!isMemoryEffectFree(&op)) {
      return nullptr;
    }
  }
  if (!inner || !inner.isNormalized() || !outer.isNormalized() ||
      inner.getNumResults() != 0 || outer.getNumResults() != 0)
    return nullptr;
  // The number of tasks has to be known when the outer loop starts.
  for (OpFoldResult bound : inner.getMixedUpperBound())
    if (auto value = dyn_cast<Value>(bound))
      if (outer->isAncestor(value.getParentBlock()->getParentOp()))
        return nullptr;
  return inner;
}

static scf::ForallOp collapse(scf::ForallOp outer, scf::ForallOp inner,
                              RewriterBase &rewriter) {
  SmallVector<OpFoldResult> bounds = outer.getMixedUpperBound();
  llvm::append_range(bounds, inner.getMixedUpperBound());
  rewriter.setInsertionPoint(outer);
  auto loop = scf::ForallOp::create(rewriter, outer.getLoc(), bounds,
                                    ValueRange(), std::nullopt);
  rewriter.setInsertionPointToStart(loop.getBody());
  IRMapping mapping;
  ArrayRef<BlockArgument> inductions = loop.getBody()->getArguments();
  mapping.map(outer.getInductionVars(), inductions.take_front(outer.getRank()));
  mapping.map(inner.getInductionVars(), inductions.drop_front(outer.getRank()));
  for (Operation &op : outer.getBody()->without_terminator())
    if (&op != inner)
      rewriter.clone(op, mapping);
  for (Operation &op : inner.getBody()->without_terminator())
    rewriter.clone(op, mapping);
  rewriter.eraseOp(outer);
  return loop;
}

namespace {

struct CollapseTasksPass
    : public vashista::impl::VashistaCollapseTasksPassBase<CollapseTasksPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<scf::ForallOp> loops;
    getOperation()->walk<WalkOrder::PreOrder>([&](scf::ForallOp loop) {
      loops.push_back(loop);
      return WalkResult::skip();
    });
    IRRewriter rewriter(&getContext());
    for (scf::ForallOp outer : loops)
      while (scf::ForallOp inner = getOnlyLoop(outer))
        outer = collapse(outer, inner, rewriter);
  }
};

} // namespace
