//===- MergeToLinalg.cpp - vashista.merge as linalg ops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// With m the largest lse and p_k = exp(lse_k - m):
//
//   lse = m + log sum_k p_k,    o = sum_k p_k o_k / sum_k p_k
//
// States are added in the order of the operands, and within a stack from the
// first to the last. The largest state has p = 1 exactly, so that one state
// among empty ones comes out as it went in. Empty states are selected away,
// never multiplied: whatever their output holds has no influence.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using utils::IteratorType;

namespace {

class MergeLowering {
public:
  MergeLowering(MergeOp op, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder), f32(b.getF32Type()) {}

  SmallVector<Value> run();

private:
  using Body = function_ref<SmallVector<Value>(ValueRange)>;
  /// A generic over (row, head, state of the stack, channel), in this order:
  /// operands are accessed by those of the loops that they have.
  SmallVector<Value> generic(ValueRange inputs, ValueRange outs, Body body);

  Value fill(ArrayRef<OpFoldResult> sizes, float value) {
    Value empty = tensor::EmptyOp::create(b, sizes, f32);
    return linalg::FillOp::create(b, constant(value), empty).getResult(0);
  }
  Value constant(float value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
  }
  Value isEmpty(Value lse) {
    return arith::CmpFOp::create(
        b, arith::CmpFPredicate::OEQ, lse,
        constant(-std::numeric_limits<float>::infinity()));
  }
  Value select(Value condition, Value a, Value c) {
    return arith::SelectOp::create(b, condition, a, c);
  }

  MergeOp op;
  ImplicitLocOpBuilder b;
  Type f32;
};

} // namespace

SmallVector<Value> MergeLowering::generic(ValueRange inputs, ValueRange outs,
                                          Body body) {
  auto getRank = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getRank();
  };
  // Outputs have channels where any operand of rank 3 is a destination; a
  // stack is an input with one dimension more than its destination.
  bool channels = getRank(outs.front()) == 3;
  int64_t stateRank = channels ? 3 : 2;
  bool stack = !inputs.empty() && getRank(inputs.front()) == stateRank + 1;
  AffineExpr row, head, state, channel;
  bindDims(b.getContext(), row, head, state, channel);
  if (!stack)
    channel = b.getAffineDimExpr(2);

  SmallVector<IteratorType> loops(2, IteratorType::parallel);
  if (stack)
    loops.push_back(IteratorType::reduction);
  if (channels)
    loops.push_back(IteratorType::parallel);

  // Every operand is a prefix of [state] row head [channel].
  auto getAccess = [&](Value operand, bool hasChannels) {
    SmallVector<AffineExpr> exprs;
    if (stack && getRank(operand) == (hasChannels ? 4 : 3))
      exprs.push_back(state);
    exprs.append({row, head});
    if (hasChannels)
      exprs.push_back(channel);
    return AffineMap::get(loops.size(), 0, exprs, b.getContext());
  };
  SmallVector<AffineMap> maps;
  for (auto [i, operand] : llvm::enumerate(inputs))
    maps.push_back(getAccess(operand, channels && i == 0));
  for (Value operand : outs)
    maps.push_back(getAccess(operand, channels));
  auto op = linalg::GenericOp::create(
      b, TypeRange(outs), inputs, outs, maps, loops,
      [&](OpBuilder &nested, Location, ValueRange args) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        linalg::YieldOp::create(b, body(args));
      });
  return llvm::to_vector_of<Value>(op.getResults());
}

SmallVector<Value> MergeLowering::run() {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(op.reifyResultShapes(b, shapes)))
    return {};
  float inf = std::numeric_limits<float>::infinity();
  Value largest = fill(shapes[1], -inf);
  for (Value lse : op.getLses())
    largest = generic(lse, largest, [&](ValueRange args) -> SmallVector<Value> {
                return {arith::MaximumFOp::create(b, args[0], args[1])};
              }).front();

  Value sum = fill(shapes[1], 0.0f);
  SmallVector<Value> powers;
  for (Value lse : op.getLses()) {
    Value power = tensor::EmptyOp::create(
        b, tensor::getMixedSizes(b, b.getLoc(), lse), f32);
    SmallVector<Value> results =
        generic({lse, largest}, {sum, power},
                [&](ValueRange args) -> SmallVector<Value> {
                  Value exp = math::ExpOp::create(
                      b, arith::SubFOp::create(b, args[0], args[1]));
                  exp = select(isEmpty(args[0]), constant(0.0f), exp);
                  return {arith::AddFOp::create(b, args[2], exp), exp};
                });
    sum = results[0];
    powers.push_back(results[1]);
  }

  Value merged = fill(shapes[0], 0.0f);
  for (auto [o, lse, power] :
       llvm::zip_equal(op.getOutputs(), op.getLses(), powers))
    merged = generic({o, lse, power}, merged,
                     [&](ValueRange args) -> SmallVector<Value> {
                       Value part = arith::MulFOp::create(b, args[2], args[0]);
                       part = select(isEmpty(args[1]), constant(0.0f), part);
                       return {arith::AddFOp::create(b, args[3], part)};
                     })
                 .front();

  // No state at all: o = 0, lse = -inf.
  Value empty = tensor::EmptyOp::create(b, shapes[0], f32);
  Value o = generic({merged, largest, sum}, empty,
                    [&](ValueRange args) -> SmallVector<Value> {
                      Value mean = arith::DivFOp::create(b, args[0], args[2]);
                      return {select(isEmpty(args[1]), constant(0.0f), mean)};
                    })
                .front();
  empty = tensor::EmptyOp::create(b, shapes[1], f32);
  Value lse = generic({largest, sum}, empty,
                      [&](ValueRange args) -> SmallVector<Value> {
                        Value log = math::LogOp::create(b, args[1]);
                        Value all = arith::AddFOp::create(b, args[0], log);
                        return {select(isEmpty(args[0]), args[0], all)};
                      })
                  .front();
  return castToTypes(b, b.getLoc(), {o, lse}, op->getResultTypes());
}

namespace {

struct MergePattern : OpRewritePattern<MergeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MergeOp op,
                                PatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, MergeLowering(op, rewriter).run());
    return success();
  }
};

} // namespace

void vashista::populateMergePatterns(RewritePatternSet &patterns) {
  patterns.add<MergePattern>(patterns.getContext());
}
