//===- MomentToLinalg.cpp - vashista.moment as loops ------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head, whose matrix the heads of the group share:
// w' M w' in f64, raised by 2^-40 norm(w')^2 times the trace of M. Of a second
// moment, sums over up to 2^11 channels are off by less than 2^-41 of that, in
// any order, and the rotation of w, which is off by 2^-45 of w, changes them by
// less than 2^-43.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/SketchFormat.h"
#include "../VashistaToVector/UpperBounds.h"
#include "Patterns.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// f64 channels that are handled at a time; padded dims are multiples of 16.
static constexpr int64_t kWidth = 8;

namespace {

class MomentKernel {
public:
  MomentKernel(MomentOp op, KernelBuilder &b, int64_t group, int64_t dim)
      : op(op), b(b), group(group), format(op.getSketch(), dim),
        direction(b.readOnly(op.getDirection())),
        moments(b.readOnly(op.getMoments())),
        lengths(b.readOnly(op.getSeqLens())),
        rowToSeq(b.readOnly(op.getRowToSeq())) {}

  /// Emits the tasks; yields the tensor of results.
  Value emit();

private:
  /// Of the current row and head, f32.
  Value emitHead(Value head);
  /// w' M w' and norm(w')^2, of w' in `rotated`.
  std::pair<Value, Value> emitForm();
  Value emitTrace();

  MomentOp op;
  KernelBuilder &b;
  const int64_t group;
  SketchFormat format;
  Value direction, moments, lengths, rowToSeq;
  // Of the current task; `rotated` is [Dp] f64.
  Value row, kvHead, sequence, rotated;
};

} // namespace

Value MomentKernel::emitTrace() {
  return b
      .forLoop(b.index(0), b.index(format.paddedDim), 1, f64(b, 0.0),
               [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                 Value at[] = {sequence, kvHead, channel, channel};
                 return {b.addF(carried[0], widen(b, b.load(moments, at)))};
               })
      .front();
}

std::pair<Value, Value> MomentKernel::emitForm() {
  Value zero = b.index(0), all = b.index(format.paddedDim);
  auto wide = VectorType::get({kWidth}, b.getF64Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  SmallVector<Value> sums = b.forLoop(
      zero, all, 1, {f64(b, 0.0), f64(b, 0.0)},
      [&](Value channel, ValueRange carried) -> SmallVector<Value> {
        Value products =
            b.forLoop(zero, all, kWidth, none,
                      [&](Value other, ValueRange sum) -> SmallVector<Value> {
                        Value at[] = {sequence, kvHead, channel, other};
                        Value m = widen(b, b.loadVector(moments, at, kWidth));
                        Value w =
                            vector::LoadOp::create(b, wide, rotated, other);
                        return {b.fma(m, w, sum[0])};
                      })
                .front();
        Value own = b.load(rotated, channel);
        return {b.addF(carried[0], b.mulF(own, b.reduceAdd(products))),
                b.addF(carried[1], b.mulF(own, own))};
      });
  return {sums[0], sums[1]};
}

Value MomentKernel::emitHead(Value head) {
  loadDirection(b, format, direction, row, head, rotated);
  auto [form, square] = emitForm();
  Value room = b.mulF(b.mulF(square, emitTrace()), f64(b, 0x1p-40));
  double factor =
      op.getScale().convertToDouble() / op.getEpsilon().convertToDouble();
  Value moment =
      b.mulF(b.addF(form, room), f64(b, factor * factor * (1 + 0x1p-40)));
  // What no tokens have summed up to may be below 0. NaN and infinities are
  // both unordered, or not less.
  Value infinity = f64(b, std::numeric_limits<double>::infinity());
  Value known = b.compare(CmpFPredicate::OLT, b.absF(moment), infinity);
  moment = b.select(known, b.maxF(moment, f64(b, 0.0)), infinity);
  return roundUp(b, moment);
}

Value MomentKernel::emit() {
  SmallVector<Value> results = allocateResults(op, b, 1);
  Value zero = b.index(0);
  Value sequences = b.dim(moments, 0);
  SmallVector<Value> extents = {b.dim(direction, 0), b.dim(moments, 1)};
  auto forall = scf::ForallOp::create(b, getAsOpFoldResult(extents),
                                      ValueRange(), std::nullopt);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(forall.getTerminator());
    auto scope = memref::AllocaScopeOp::create(b, TypeRange());
    b.createBlock(&scope.getBodyRegion());
    row = forall.getInductionVar(0);
    kvHead = forall.getInductionVar(1);
    sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
    rotated = b.scratch({format.paddedDim}, b.getF64Type());
    Value sees = b.compare(CmpIPredicate::sgt, b.loadIndex(lengths, row), zero);
    Value isThere = b.andI(b.compare(CmpIPredicate::sge, sequence, zero),
                           b.compare(CmpIPredicate::slt, sequence, sequences));
    Value otherwise = b.select(
        sees, b.f32(std::numeric_limits<float>::infinity()), b.f32(0.0f));
    Value first = b.mulI(kvHead, b.index(group));
    b.forLoop(zero, b.index(group), 1, [&](Value number) {
      Value head = b.addI(first, number);
      Value moment =
          b.ifThen(b.andI(sees, isThere), otherwise,
                   [&]() -> SmallVector<Value> { return {emitHead(head)}; })
              .front();
      b.store(moment, results[0], {row, head});
    });
    memref::AllocaScopeReturnOp::create(b, ValueRange());
  }
  return toTensors(b, results, op->getResultTypes()).front();
}

namespace {

struct MomentPattern : OpRewritePattern<MomentOp> {
  MomentPattern(MLIRContext *context, const KernelTarget &target)
      : OpRewritePattern(context), target(target) {}
  LogicalResult matchAndRewrite(MomentOp op,
                                PatternRewriter &rewriter) const override {
    auto getDim = [](Value tensor, unsigned at) {
      return cast<RankedTensorType>(tensor.getType()).getDimSize(at);
    };
    int64_t heads = getDim(op.getDirection(), 1);
    int64_t dim = getDim(op.getDirection(), 2);
    int64_t kvHeads = getDim(op.getMoments(), 1);
    if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads) ||
        ShapedType::isDynamic(dim))
      return rewriter.notifyMatchFailure(op, "expected static head sizes");
    KernelBuilder b(op.getLoc(), rewriter, target);
    rewriter.replaceOp(op, MomentKernel(op, b, heads / kvHeads, dim).emit());
    return success();
  }
  KernelTarget target;
};

} // namespace

void vashista::populateMomentPatterns(RewritePatternSet &patterns,
                                      const KernelTarget &target) {
  patterns.add<MomentPattern>(patterns.getContext(), target);
}
