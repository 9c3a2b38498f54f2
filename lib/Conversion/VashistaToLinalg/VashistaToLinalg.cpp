//===- VashistaToLinalg.cpp - convert-vashista-to-linalg -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"

#include "../VashistaToVector/KernelBuilder.h"
#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace vashista {
#define GEN_PASS_DEF_CONVERTVASHISTATOLINALGPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

SmallVector<Value> vashista::castToTypes(OpBuilder &b, Location loc,
                                         ValueRange values, TypeRange types) {
  SmallVector<Value> result;
  for (auto [value, type] : llvm::zip_equal(values, types))
    result.push_back(value.getType() == type
                         ? value
                         : tensor::CastOp::create(b, loc, type, value));
  return result;
}

/// Bounds serve tails. Where nobody asks for the tail of a fixed count of
/// picks, its bounds need not be read, nor made, nor the tail outside of it.
static void dropUnreadBounds(Operation *root) {
  SmallVector<PickOp> picks;
  root->walk([&](PickOp op) {
    if (op.getMode() == PickMode::top)
      picks.push_back(op);
  });
  // The last first: its tail is what asks for that of the one before.
  for (PickOp op : llvm::reverse(picks)) {
    if (!op.getTail().use_empty() ||
        op.getBounds().getType() != op.getScores().getType())
      continue;
    op.getBoundsMutable().assign(op.getScores());
    op.getOutsideMutable().clear();
    op.getMomentMutable().clear();
  }
}

namespace {

struct ConvertPass
    : public vashista::impl::ConvertVashistaToLinalgPassBase<ConvertPass> {
  using Base::Base;

  void runOnOperation() override {
    KernelTarget target{lanes, registers, dotsBF16};
    if (failed(verify(target, getOperation()->getLoc())))
      return signalPassFailure();
    dropUnreadBounds(getOperation());
    RewritePatternSet patterns(&getContext());
    populateScorePatterns(patterns, target);
    populateMomentPatterns(patterns, target);
    populatePickPatterns(patterns, target);
    populateMergePatterns(patterns);
    populateCertifyPatterns(patterns);
    populateCheckPatterns(patterns);
    populateFallbackPatterns(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));

    // What has no lowering yet is an error, never an approximation.
    WalkResult result = getOperation()->walk([](Operation *op) {
      if (!isa_and_present<VashistaDialect>(op->getDialect()) ||
          isa<DestinationStyleOpInterface>(op))
        return WalkResult::advance();
      if (isa<linalg::AggregatedOpInterface>(op))
        op->emitOpError("expected smaller ops; run vashista-decompose first");
      else
        op->emitOpError("has no CPU lowering for this solver, source or these "
                        "sizes: expected no eg on the linear objective, which "
                        "canonicalizes to softmax, and static head sizes");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
