//===- ExactMath.cpp - vashista-exact-math --------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAEXACTMATHPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

/// An intrinsic, which LLVM has for scalars and vectors, in place of an op. Not
/// the op of the LLVM dialect of the same name: convert-gpu-to-nvvm refuses
/// those in favour of its library.
template <typename OpTy> struct UseIntrinsic : OpRewritePattern<OpTy> {
  UseIntrinsic(MLIRContext *context, StringRef name, bool hasF64 = true)
      : OpRewritePattern<OpTy>(context), name(name), hasF64(hasF64) {}

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    Type type = op->getResult(0).getType(), element = type;
    std::string overload;
    if (auto vector = dyn_cast<VectorType>(type)) {
      if (vector.getRank() != 1 || vector.isScalable())
        return rewriter.notifyMatchFailure(op, "expected a vector of rank 1");
      overload = "v" + std::to_string(vector.getDimSize(0));
      element = vector.getElementType();
    }
    if (!element.isF32() && !(hasF64 && element.isF64()))
      return rewriter.notifyMatchFailure(op, "expected f32 or f64");
    overload += element.isF32() ? "f32" : "f64";
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
        op, type, rewriter.getStringAttr("llvm." + name + "." + overload),
        op->getOperands());
    return success();
  }

  std::string name;
  bool hasF64;
};

struct DropPrefetch : OpRewritePattern<memref::PrefetchOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(memref::PrefetchOp op,
                                PatternRewriter &rewriter) const override {
    rewriter.eraseOp(op);
    return success();
  }
};

struct ExactMathPass
    : public vashista::impl::VashistaExactMathPassBase<ExactMathPass> {
  using Base::Base;

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    patterns.add<UseIntrinsic<math::SqrtOp>>(context, "sqrt");
    patterns.add<UseIntrinsic<math::RoundEvenOp>>(context, "roundeven");
    patterns.add<UseIntrinsic<math::FloorOp>>(context, "floor");
    patterns.add<UseIntrinsic<math::CeilOp>>(context, "ceil");
    patterns.add<UseIntrinsic<math::AbsFOp>>(context, "fabs");
    patterns.add<UseIntrinsic<math::CopySignOp>>(context, "copysign");
    patterns.add<UseIntrinsic<math::FmaOp>>(context, "fma");
    // One instruction each; upstream expands them to comparisons.
    patterns.add<UseIntrinsic<arith::MaxNumFOp>>(context, "maxnum");
    patterns.add<UseIntrinsic<arith::MinNumFOp>>(context, "minnum");
    patterns.add<UseIntrinsic<arith::MaximumFOp>>(context, "maximum",
                                                  /*hasF64=*/false);
    patterns.add<UseIntrinsic<arith::MinimumFOp>>(context, "minimum",
                                                  /*hasF64=*/false);
    patterns.add<DropPrefetch>(context);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
