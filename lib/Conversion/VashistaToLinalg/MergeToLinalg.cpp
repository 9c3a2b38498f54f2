//===- MergeToLinalg.cpp - Merges of states and of tails as linalg ops ----===//
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
// Tails likewise, with what f32 arithmetic may lose added. With u = 2^-24, n
// tails and p_k off by u |tail_k - m| p_k <= u / e for the difference and by a
// few u p_k for exp, the sum, which is at least 1, is low by less than (1.4 n +
// 4) u of itself, its log, at most n, by a few units more, and the addition of
// m and that of the slack by u of their results. Twice that, and more, is
// added, unless there is nothing to add up.
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

/// Builds ops over states and stacks of them.
class MergeBuilder {
protected:
  MergeBuilder(Location loc, OpBuilder &builder)
      : b(loc, builder), f32(b.getF32Type()) {}

  using Body = function_ref<SmallVector<Value>(ValueRange)>;
  /// A generic over (row, head, state of the stack, channel), in this order:
  /// operands are accessed by those of the loops that they have.
  SmallVector<Value> generic(ValueRange inputs, ValueRange outs, Body body);

  /// The largest of numbers per head, NaN where any is; -inf for none.
  Value getLargest(ValueRange numbers, ArrayRef<OpFoldResult> sizes);
  Value fill(ArrayRef<OpFoldResult> sizes, FloatAttr value) {
    Value empty = tensor::EmptyOp::create(b, sizes, value.getType());
    Value scalar = arith::ConstantOp::create(b, value);
    return linalg::FillOp::create(b, scalar, empty).getResult(0);
  }
  Value fill(ArrayRef<OpFoldResult> sizes, float value) {
    return fill(sizes, b.getF32FloatAttr(value));
  }
  Value constant(float value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
  }
  Value isEmpty(Value lse) {
    return compare(arith::CmpFPredicate::OEQ, lse, -inf);
  }
  Value compare(arith::CmpFPredicate predicate, Value a, float c) {
    return arith::CmpFOp::create(b, predicate, a, constant(c));
  }
  Value select(Value condition, Value a, Value c) {
    return arith::SelectOp::create(b, condition, a, c);
  }
  Value add(Value a, Value c) { return arith::AddFOp::create(b, a, c); }
  Value narrow(Value wide) { return arith::TruncFOp::create(b, f32, wide); }
  /// exp(a - c)
  Value expOfDifference(Value a, Value c) {
    return math::ExpOp::create(b, arith::SubFOp::create(b, a, c));
  }

  static constexpr float inf = std::numeric_limits<float>::infinity();
  ImplicitLocOpBuilder b;
  Type f32;
};

class MergeLowering : MergeBuilder {
public:
  MergeLowering(MergeOp op, OpBuilder &builder)
      : MergeBuilder(op.getLoc(), builder), op(op) {}
  SmallVector<Value> run();

private:
  MergeOp op;
};

class MergeTailsLowering : MergeBuilder {
public:
  MergeTailsLowering(MergeTailsOp op, OpBuilder &builder)
      : MergeBuilder(op.getLoc(), builder), op(op) {}
  SmallVector<Value> run();

private:
  MergeTailsOp op;
};

} // namespace

SmallVector<Value> MergeBuilder::generic(ValueRange inputs, ValueRange outs,
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

Value MergeBuilder::getLargest(ValueRange numbers,
                               ArrayRef<OpFoldResult> sizes) {
  Value largest = fill(sizes, -inf);
  for (Value number : numbers)
    largest =
        generic(number, largest, [&](ValueRange args) -> SmallVector<Value> {
          return {arith::MaximumFOp::create(b, args[0], args[1])};
        }).front();
  return largest;
}

SmallVector<Value> MergeLowering::run() {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(op.reifyResultShapes(b, shapes)))
    return {};
  Value largest = getLargest(op.getLses(), shapes[1]);
  // In f64: a certificate takes it for granted that log-sum-exps of many states
  // are as good as those of few.
  Value sum = fill(shapes[1], b.getF64FloatAttr(0.0));
  SmallVector<Value> powers;
  for (Value lse : op.getLses()) {
    Value power = tensor::EmptyOp::create(
        b, tensor::getMixedSizes(b, b.getLoc(), lse), f32);
    SmallVector<Value> results =
        generic({lse, largest}, {sum, power},
                [&](ValueRange args) -> SmallVector<Value> {
                  Value exp = expOfDifference(args[0], args[1]);
                  exp = select(isEmpty(args[0]), constant(0.0f), exp);
                  Value wide = arith::ExtFOp::create(b, b.getF64Type(), exp);
                  return {add(args[2], wide), exp};
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
                       return {add(args[3], part)};
                     })
                 .front();

  // No state at all: o = 0, lse = -inf.
  Value empty = tensor::EmptyOp::create(b, shapes[0], f32);
  Value o = generic({merged, largest, sum}, empty,
                    [&](ValueRange args) -> SmallVector<Value> {
                      Value mean =
                          arith::DivFOp::create(b, args[0], narrow(args[2]));
                      return {select(isEmpty(args[1]), constant(0.0f), mean)};
                    })
                .front();
  empty = tensor::EmptyOp::create(b, shapes[1], f32);
  Value lse =
      generic({largest, sum}, empty,
              [&](ValueRange args) -> SmallVector<Value> {
                Value log = math::LogOp::create(b, narrow(args[1]));
                return {select(isEmpty(args[0]), args[0], add(args[0], log))};
              })
          .front();
  return castToTypes(b, b.getLoc(), {o, lse}, op->getResultTypes());
}

SmallVector<Value> MergeTailsLowering::run() {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(op.reifyResultShapes(b, shapes)))
    return {};
  Value largest = getLargest(op.getTails(), shapes[0]);
  Value sum = fill(shapes[0], 0.0f), number = fill(shapes[0], 0.0f);
  for (Value tail : op.getTails()) {
    SmallVector<Value> results =
        generic({tail, largest}, {sum, number},
                [&](ValueRange args) -> SmallVector<Value> {
                  Value empty = isEmpty(args[0]), none = constant(0.0f);
                  Value exp =
                      select(empty, none, expOfDifference(args[0], args[1]));
                  Value one = select(empty, none, constant(1.0f));
                  return {add(args[2], exp), add(args[3], one)};
                });
    sum = results[0];
    number = results[1];
  }

  Value empty = tensor::EmptyOp::create(b, shapes[0], f32);
  Value tail =
      generic({largest, sum, number}, empty,
              [&](ValueRange args) -> SmallVector<Value> {
                Value all = add(args[0], math::LogOp::create(b, args[1]));
                Value terms = add(args[2], constant(16.0f));
                Value slack =
                    arith::MulFOp::create(b, terms, constant(0x1p-22f));
                Value size = math::AbsFOp::create(b, all);
                Value relative =
                    arith::MulFOp::create(b, size, constant(0x1p-22f));
                all = add(all, add(slack, relative));
                using arith::CmpFPredicate;
                Value several = compare(CmpFPredicate::OGT, args[2], 1.0f);
                all = select(several, all, args[0]);
                // False for NaN.
                Value known = compare(CmpFPredicate::OLT, args[0], inf);
                return {select(known, all, constant(inf))};
              })
          .front();
  return castToTypes(b, b.getLoc(), tail, op->getResultTypes());
}

namespace {

template <typename OpTy, typename Lowering>
struct MergePattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, Lowering(op, rewriter).run());
    return success();
  }
};

} // namespace

void vashista::populateMergePatterns(RewritePatternSet &patterns) {
  patterns.add<MergePattern<MergeOp, MergeLowering>,
               MergePattern<MergeTailsOp, MergeTailsLowering>>(
      patterns.getContext());
}
