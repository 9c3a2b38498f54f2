//===- CertifyToLinalg.cpp - vashista.certify as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head: the largest norms over the row's pages, then
// for each query head of the group (docs/theory.md, section 4)
//
//   e     = 2 (D + 2) 2^-24 scale norm(w) umax / epsilon + 2^-20
//   tau   = sigmoid(tail - lse + 2 e)
//   error = tau (vmax + norm(o))
//
// Everything but the sigmoid is in f64 and rounded upwards. Where e > 0.1, or
// anything is not finite, nothing is known: tau = 1, error = +inf.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

namespace {

class CertifyLowering {
public:
  CertifyLowering(CertifyOp op, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder, KernelTarget{1, 16}) {}

  SmallVector<Value> run();

private:
  /// The largest key and value norm over the row's pages.
  std::pair<Value, Value> getLargestNorms();
  /// Norm of a head's vector, in f64.
  Value getNorm(Value vectors, Value head);
  /// tau and error of a query head.
  std::pair<Value, Value> certify(Value head, Value keyNorm, Value valueNorm);

  Value extract(Value tensor, ValueRange indices) {
    return tensor::ExtractOp::create(b, tensor, indices);
  }
  Value extractIndex(Value tensor, ValueRange indices) {
    return arith::IndexCastOp::create(b, b.getIndexType(),
                                      extract(tensor, indices));
  }
  Value dim(Value tensor, int64_t position) {
    return b.createOrFold<tensor::DimOp>(tensor, position);
  }
  Value isBelow(Value value, double limit) {
    return b.compare(CmpFPredicate::OLT, value, f64(b, limit));
  }

  CertifyOp op;
  KernelBuilder b;
  Value row, kvHead;
};

} // namespace

std::pair<Value, Value> CertifyLowering::getLargestNorms() {
  Value zero = b.index(0), one = b.index(1);
  int64_t pageSize = op.getPageSize();
  Value length = b.maxI(extractIndex(op.getSeqLens(), row), zero);
  Value sequence = op.getRowToSeq() ? extractIndex(op.getRowToSeq(), row) : row;
  Value pages =
      b.divU(b.addI(length, b.index(pageSize - 1)), b.index(pageSize));
  SmallVector<Value> largest =
      b.forLoop(zero, pages, 1, {b.f32(0.0f), b.f32(0.0f)},
                [&](Value logical, ValueRange carried) -> SmallVector<Value> {
                  Value page =
                      extractIndex(op.getPageTable(), {sequence, logical});
                  Value key = extract(op.getNorms(), {page, kvHead, zero});
                  Value value = extract(op.getNorms(), {page, kvHead, one});
                  return {b.maxF(carried[0], key), b.maxF(carried[1], value)};
                });
  return {widen(b, largest[0]), widen(b, largest[1])};
}

Value CertifyLowering::getNorm(Value vectors, Value head) {
  Value squares =
      b.forLoop(b.index(0), dim(vectors, 2), 1, f64(b, 0.0),
                [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                  Value x = widen(b, extract(vectors, {row, head, channel}));
                  return {b.addF(carried[0], b.mulF(x, x))};
                })
          .front();
  return b.sqrt(squares);
}

std::pair<Value, Value> CertifyLowering::certify(Value head, Value keyNorm,
                                                 Value valueNorm) {
  double inf = std::numeric_limits<double>::infinity();
  Value lse = widen(b, extract(op.getLse(), {row, head}));
  Value tail = widen(b, extract(op.getTail(), {row, head}));
  Value direction = getNorm(op.getDirection(), head);
  Value output = getNorm(op.getO(), head);

  // Generous for the rounding of f64 itself.
  int64_t keyDim =
      cast<RankedTensorType>(op.getDirection().getType()).getDimSize(2);
  double perNorm = std::ldexp(2.0 * (keyDim + 2), -24) *
                   op.getScale().convertToDouble() /
                   op.getSolver().getEpsilon().convertToDouble() *
                   (1.0 + std::ldexp(1.0, -30));
  Value rounding = b.mulF(b.mulF(f64(b, perNorm), direction), keyNorm);
  rounding = b.addF(rounding, f64(b, std::ldexp(1.0, -20)));

  // tau = 1 / (1 + exp(-x)), for an f32 x that is not below the true one. The
  // last factor covers a few units in the last place of exp, and the last term
  // an exp that overflows, beyond which the true tau is less.
  Value x = b.addF(b.subF(tail, lse), b.mulF(f64(b, 2.0), rounding));
  x = b.addF(x, b.mulF(b.absF(x), f64(b, std::ldexp(1.0, -22))));
  x = arith::TruncFOp::create(b, b.getF32Type(), x);
  Value power = b.exp(b.subF(b.f32(0.0f), x));
  Value tau = b.divF(b.f32(1.0f), b.addF(b.f32(1.0f), power));
  tau = b.addF(b.mulF(tau, b.f32(1.0f + std::ldexp(1.0f, -19))),
               b.f32(std::ldexp(1.0f, -120)));
  tau = b.minF(tau, b.f32(1.0f));
  Value error = roundUp(b, b.mulF(widen(b, tau), b.addF(valueNorm, output)));

  // Finite f32 numbers have a finite sum in f64; NaN compares false.
  Value state = b.addF(b.absF(lse), output);
  Value all = b.addF(b.addF(state, b.absF(tail)),
                     b.addF(b.addF(direction, keyNorm), valueNorm));
  Value tooRough = b.compare(CmpFPredicate::UGT, rounding, f64(b, 0.1));
  Value known = b.select(tooRough, f64(b, inf), all);
  known = isBelow(known, inf);
  tau = b.select(known, tau, b.f32(1.0f));
  error = b.select(known, error, b.f32(inf));

  // Nothing is left out, of a state that may itself be empty but not broken.
  Value isWhole = b.compare(CmpFPredicate::OEQ, tail, f64(b, -inf));
  isWhole = b.andI(isWhole, isBelow(b.addF(lse, output), inf));
  return {b.select(isWhole, b.f32(0.0f), tau),
          b.select(isWhole, b.f32(0.0f), error)};
}

SmallVector<Value> CertifyLowering::run() {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(op.reifyResultShapes(b, shapes)))
    return {};
  Value rows = dim(op.getDirection(), 0), kvHeads = dim(op.getNorms(), 1);
  Value group = b.divU(dim(op.getDirection(), 1), kvHeads);
  SmallVector<Value> results;
  for (ArrayRef<OpFoldResult> shape : {shapes[0], shapes[1]})
    results.push_back(tensor::EmptyOp::create(b, shape, b.getF32Type()));

  auto forall =
      scf::ForallOp::create(b, getAsOpFoldResult({rows, kvHeads}), results,
                            /*mapping=*/std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(forall.getBody());
  row = forall.getInductionVar(0);
  kvHead = forall.getInductionVar(1);
  auto [keyNorm, valueNorm] = getLargestNorms();
  Value firstHead = b.mulI(kvHead, group);
  OpFoldResult one = b.getIndexAttr(1);
  SmallVector<OpFoldResult> offsets = {row, firstHead};
  SmallVector<OpFoldResult> sizes = {one, getAsOpFoldResult(group)};
  SmallVector<OpFoldResult> strides = {one, one};
  SmallVector<Value> tiles;
  for (Value out : forall.getRegionIterArgs())
    tiles.push_back(
        tensor::ExtractSliceOp::create(b, out, offsets, sizes, strides));
  tiles =
      b.forLoop(b.index(0), group, 1, tiles,
                [&, keyNorm = keyNorm, valueNorm = valueNorm](
                    Value head, ValueRange carried) -> SmallVector<Value> {
                  auto [tau, error] =
                      certify(b.addI(firstHead, head), keyNorm, valueNorm);
                  Value at[] = {b.index(0), head};
                  return {tensor::InsertOp::create(b, tau, carried[0], at),
                          tensor::InsertOp::create(b, error, carried[1], at)};
                });
  b.setInsertionPointToStart(forall.getTerminator().getBody());
  for (auto [tile, out] : llvm::zip_equal(tiles, forall.getRegionIterArgs()))
    tensor::ParallelInsertSliceOp::create(b, tile, out, offsets, sizes,
                                          strides);
  b.setInsertionPointAfter(forall);
  return castToTypes(b, b.getLoc(), forall.getResults(), op->getResultTypes());
}

namespace {

struct CertifyPattern : OpRewritePattern<CertifyOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(CertifyOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getSolver().getKind() != SolverKind::softmax)
      return rewriter.notifyMatchFailure(op, "expected the softmax solver");
    auto type = cast<RankedTensorType>(op.getDirection().getType());
    if (type.isDynamicDim(2))
      return rewriter.notifyMatchFailure(op, "expected a static head size");
    rewriter.replaceOp(op, CertifyLowering(op, rewriter).run());
    return success();
  }
};

} // namespace

void vashista::populateCertifyPatterns(RewritePatternSet &patterns) {
  patterns.add<CertifyPattern>(patterns.getContext());
}
