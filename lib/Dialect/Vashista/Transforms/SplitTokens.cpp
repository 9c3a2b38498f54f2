//===- SplitTokens.cpp - vashista-split-tokens ----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/Transforms/SplitTokens.h"
#include "vashista/Dialect/Vashista/Transforms/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/IR/PatternMatch.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTASPLITTOKENSPASS
#include "vashista/Dialect/Vashista/Transforms/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

bool vashista::canBeSplit(AttendOp op) {
  return op.hasPureTensorSemantics() && !op.getSolver().isProjection() &&
         !op.getPages() && !op.getTokens() && !op.getBegin();
}

/// Tokens per split of an op, 0 where it is not split.
static int64_t getSplit(AttendOp op, int64_t byDefault) {
  if (!canBeSplit(op))
    return 0;
  int64_t split = byDefault;
  if (ScheduleAttr schedule = op.getScheduleAttr();
      schedule && schedule.getSplit())
    split = schedule.getSplit();
  NamedDims dims = getNamedDims(op);
  int64_t pages = dims.size(Dim::seqPages), size = dims.size(Dim::pageSize);
  bool isShort = !ShapedType::isDynamic(pages) &&
                 !ShapedType::isDynamic(size) && pages * size <= split;
  bool isEmpty = dims.size(Dim::rows) == 0;
  return isShort || isEmpty ? 0 : split;
}

static LogicalResult splitTokens(AttendOp op, int64_t split,
                                 RewriterBase &rewriter) {
  rewriter.setInsertionPoint(op);
  // As many iterations as splits: from 0, in steps of 1, which become tasks.
  OpFoldResult slots = op.getIterationDomain(rewriter)[2].size;
  AffineExpr size = rewriter.getAffineSymbolExpr(0);
  OpFoldResult count = affine::makeComposedFoldedAffineApply(
      rewriter, op.getLoc(), size.ceilDiv(split), {slots});
  OpFoldResult whole = rewriter.getIndexAttr(0);
  scf::SCFTilingOptions options;
  options.setNumThreads({whole, whole, count})
      .setTileSizes({whole, whole, rewriter.getIndexAttr(split)})
      .setLoopType(scf::SCFTilingOptions::LoopType::ForallOp)
      .setReductionTilingStrategy(
          ReductionTilingStrategy::PartialReductionOuterParallel)
      .setReductionDims({2});
  FailureOr<scf::SCFTilingResult> tiled = scf::tileUsingSCF(
      rewriter, cast<TilingInterface>(op.getOperation()), options);
  if (failed(tiled))
    return failure();
  // Where the op would have left its state, for bufferization to merge in place.
  rewriter.setInsertionPointAfterValue(tiled->replacements.back());
  SmallVector<Value> states;
  for (auto [state, out] : llvm::zip(tiled->replacements, op.getOuts()))
    states.push_back(bufferization::MaterializeInDestinationOp::create(
                         rewriter, op.getLoc(), out.getType(), state, out)
                         .getResult());
  rewriter.replaceOp(op, states);
  return success();
}

namespace {

struct SplitTokensPass
    : public vashista::impl::VashistaSplitTokensPassBase<SplitTokensPass> {
  using Base::Base;

  void runOnOperation() override {
    if (split < 0) {
      emitError(getOperation()->getLoc())
          << "expected a split of at least 0 tokens, got " << split.getValue();
      return signalPassFailure();
    }
    SmallVector<AttendOp> ops;
    getOperation()->walk([&](AttendOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (AttendOp op : ops)
      if (int64_t tokens = getSplit(op, split);
          tokens > 0 && failed(splitTokens(op, tokens, rewriter)))
        return signalPassFailure();
  }
};

} // namespace
