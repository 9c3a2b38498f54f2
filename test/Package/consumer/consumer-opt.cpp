//===- consumer-opt.cpp - A pass and a driver outside of vashista ---------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"
#include "vashista/Registration.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace {

/// The merge of one state, if it is no stack, is that state.
struct FoldSingleMerge : OpRewritePattern<vashista::MergeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(vashista::MergeOp op,
                                PatternRewriter &rewriter) const override {
    if (op->getOperandTypes() != op->getResultTypes())
      return rewriter.notifyMatchFailure(op, "not a single state");
    rewriter.replaceOp(op, op->getOperands());
    return success();
  }
};

struct FoldSingleMergePass : PassWrapper<FoldSingleMergePass, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FoldSingleMergePass)

  StringRef getArgument() const override { return "fold-single-merge"; }
  StringRef getDescription() const override {
    return "replaces merges of a single state by that state";
  }

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldSingleMerge>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

int main(int argc, char **argv) {
  DialectRegistry registry;
  registry.insert<func::FuncDialect>();
  vashista::registerAllDialects(registry);
  vashista::registerAllPasses();
  PassRegistration<FoldSingleMergePass>();
  return asMainReturnCode(
      MlirOptMain(argc, argv, "consumer of the vashista package\n", registry));
}
