//===- VashistaToVector.cpp - convert-vashista-to-vector -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"

#include "KernelBuilder.h"
#include "Kernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "llvm/ADT/TypeSwitch.h"

namespace vashista {
#define GEN_PASS_DEF_CONVERTVASHISTATOVECTORPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

template <typename OpTy,
          LogicalResult (*lower)(OpTy, PatternRewriter &, const KernelTarget &)>
struct KernelPattern : OpRewritePattern<OpTy> {
  KernelPattern(MLIRContext *context, KernelTarget target)
      : OpRewritePattern<OpTy>(context), target(target) {}
  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    return lower(op, rewriter, target);
  }
  KernelTarget target;
};

/// Says why an op on buffers has no kernel.
void emitObstacle(Operation *op) {
  StringRef obstacle = llvm::TypeSwitch<Operation *, StringRef>(op)
                           .Case<AttendOp, AppendOp, SummarizeOp>(
                               [](auto kernel) { return getObstacle(kernel); });
  op->emitOpError("has no CPU kernel for ") << obstacle;
}

struct ConvertPass
    : public vashista::impl::ConvertVashistaToVectorPassBase<ConvertPass> {
  using Base::Base;

  void runOnOperation() override {
    KernelTarget target{lanes, registers, dotsBF16};
    if (failed(verify(target, getOperation()->getLoc())))
      return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    patterns.add<KernelPattern<AttendOp, lowerAttend>,
                 KernelPattern<AppendOp, lowerAppend>,
                 KernelPattern<SummarizeOp, lowerSummarize>>(&getContext(),
                                                             target);
    walkAndApplyPatterns(getOperation(), std::move(patterns));

    // What has no kernel yet is an error, never something easier.
    WalkResult result =
        getOperation()->walk([](DestinationStyleOpInterface op) {
          if (!isa<VashistaDialect>(op->getDialect()))
            return WalkResult::advance();
          if (!op.hasPureBufferSemantics())
            op->emitOpError("expected buffers, got tensors; bufferize first");
          else
            emitObstacle(op);
          return WalkResult::interrupt();
        });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
