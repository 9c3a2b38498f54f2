//===- Decompose.cpp - vashista-decompose -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/Transforms/Passes.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/IR/PatternMatch.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTADECOMPOSEPASS
#include "vashista/Dialect/Vashista/Transforms/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

struct DecomposePass
    : public vashista::impl::VashistaDecomposePassBase<DecomposePass> {
  using Base::Base;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    // Every op that a round creates is of a lower level: this ends.
    while (true) {
      SmallVector<linalg::AggregatedOpInterface> ops = collect();
      for (linalg::AggregatedOpInterface op : ops) {
        rewriter.setInsertionPoint(op);
        FailureOr<SmallVector<Value>> values = op.decomposeOperation(rewriter);
        if (failed(values))
          return signalPassFailure();
        rewriter.replaceOp(op, *values);
        ++numDecomposed;
      }
      if (ops.empty() || depth == DecomposeDepth::one)
        return;
    }
  }

private:
  /// The ops of this dialect that stand for several others.
  SmallVector<linalg::AggregatedOpInterface> collect() {
    SmallVector<linalg::AggregatedOpInterface> ops;
    getOperation()->walk([&](linalg::AggregatedOpInterface op) {
      if (isa<VashistaDialect>(op->getDialect()))
        ops.push_back(op);
    });
    return ops;
  }
};

} // namespace
