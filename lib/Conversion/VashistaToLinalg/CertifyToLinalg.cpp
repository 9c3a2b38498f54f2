//===- CertifyToLinalg.cpp - vashista.certify as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head: the largest norms over the row's pages, then
// for each query head of the group (docs/theory.md, sections 4 and 5), with
//
//   e = 2 (D + 8) 2^-24 scale norm(w) umax / epsilon + n 2^-26 + 2^-20
//   x = tail - lse + 2 e
//
// n the row's tokens: sums of exponentials, in vectors of 4 lanes or more, of
// splits of 64 tokens or more, are off by at most n 2^-25. An instruction that
// takes subnormal numbers for 0 adds a little.
//
// softmax: tau = sigmoid(x), error = tau (vmax (1 + 2^-8 + 7 e) + norm(o)),
// where o may be off: its weights are rounded to bf16, or by 2 e, and summed.
//
// Projection with an entropy, D = 2 sqrt(scale) umax and m a bound of the mass
// of the full solution that is not attended:
//
//   full_gap = gap + epsilon log(1 + exp(x))
//   m        = min(sigmoid(x + D sqrt(gap) / epsilon), 1 - exp(-full_gap /
//              epsilon))
//   tau      = min(1, sqrt(full_gap / (2 epsilon)),
//                  sqrt(gap / (2 epsilon)) + m (1 + D / (4 sqrt(epsilon))))
//   error    = 2 tau vmax
//
// Without one, full_gap = gap + max(0, x), of undivided logits.
//
// Everything but an exp is in f64 and rounded upwards. Where e > 0.1, or
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
  /// What is known of a query head, in f64.
  struct Head {
    Value lse, tail, gap;
    Value direction, output, keyNorm, valueNorm; // norms
    Value rounding;                              // e
  };
  Head getHead(Value head, Value keyNorm, Value valueNorm);
  /// The visible tokens of the row.
  Value getLength() {
    return b.maxI(extractIndex(op.getSeqLens(), row), b.index(0));
  }
  /// tau, error and for a projection full_gap of a query head.
  SmallVector<Value> certify(const Head &head);
  SmallVector<Value> certifyProjection(const Head &head);
  /// x = tail - lse + 2 e.
  Value getExcess(const Head &head) {
    return b.addF(b.subF(head.tail, head.lse),
                  b.mulF(f64(b, 2.0), head.rounding));
  }
  /// Not less than 1 / (1 + exp(-x)) of an f64 number, and at most 1, in f32.
  Value getShare(Value x);
  /// Not less than log(1 + exp(x)), in f64.
  Value getLogOfSum(Value x);

  double getScale() { return op.getScale().convertToDouble(); }
  /// Logits are divided by it.
  double getTemperature() {
    double epsilon = op.getSolver().getEpsilon().convertToDouble();
    return epsilon == 0.0 ? 1.0 : epsilon;
  }

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
  Value length = getLength();
  Value sequence = op.getRowToSeq() ? extractIndex(op.getRowToSeq(), row) : row;
  Value pages =
      b.divU(b.addI(length, b.index(pageSize - 1)), b.index(pageSize));
  SmallVector<Value> largest = b.forLoop(
      zero, pages, 1, {b.f32(0.0f), b.f32(0.0f)},
      [&](Value logical, ValueRange carried) -> SmallVector<Value> {
        Value page = extractIndex(op.getPageTable(), {sequence, logical});
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

CertifyLowering::Head CertifyLowering::getHead(Value number, Value keyNorm,
                                               Value valueNorm) {
  Value at[] = {row, number};
  Head head;
  head.lse = widen(b, extract(op.getLse(), at));
  head.tail = widen(b, extract(op.getTail(), at));
  head.direction = getNorm(op.getDirection(), number);
  head.output = getNorm(op.getO(), number);
  head.keyNorm = keyNorm;
  head.valueNorm = valueNorm;

  // Generous for the rounding of f64 itself.
  int64_t keyDim =
      cast<RankedTensorType>(op.getDirection().getType()).getDimSize(2);
  double perDot = getScale() / getTemperature() * (1.0 + std::ldexp(1.0, -30));
  Value dots = b.mulF(
      b.mulF(f64(b, std::ldexp(2.0 * (keyDim + 8), -24)), head.direction),
      head.keyNorm);
  // Channels of less than 2^-126 that count for nothing, and sums of less.
  double root = std::sqrt(static_cast<double>(keyDim));
  Value norms = b.addF(b.addF(head.direction, head.keyNorm), f64(b, root));
  Value lost = b.mulF(f64(b, std::ldexp(root, -124)), norms);
  head.rounding = b.mulF(f64(b, perDot), b.addF(dots, lost));
  Value tokens = arith::UIToFPOp::create(
      b, b.getF64Type(),
      arith::IndexCastOp::create(b, b.getI64Type(), getLength()));
  Value sums = b.addF(b.mulF(tokens, f64(b, std::ldexp(1.0, -26))),
                      f64(b, std::ldexp(1.0, -20)));
  head.rounding = b.addF(head.rounding, sums);

  if (op.getGap())
    head.gap = widen(b, extract(op.getGap(), at));
  return head;
}

Value CertifyLowering::getShare(Value x) {
  // For an f32 x that is not below the given one. The last factor covers a few
  // units in the last place of exp, and the last term an exp that overflows,
  // beyond which the true share is less.
  x = b.addF(x, b.mulF(b.absF(x), f64(b, std::ldexp(1.0, -22))));
  x = arith::TruncFOp::create(b, b.getF32Type(), x);
  Value power = b.exp(b.subF(b.f32(0.0f), x));
  Value share = b.divF(b.f32(1.0f), b.addF(b.f32(1.0f), power));
  share = b.addF(b.mulF(share, b.f32(1.0f + std::ldexp(1.0f, -19))),
                 b.f32(std::ldexp(1.0f, -120)));
  return b.minF(share, b.f32(1.0f));
}

Value CertifyLowering::getLogOfSum(Value x) {
  // max(x, 0) + log(1 + t) with t = exp(-|x|), which is rounded upwards as a
  // share is, and log(1 + t) <= t (6 + t) / (6 + 4 t).
  Value size = b.mulF(b.absF(x), f64(b, -1.0 + std::ldexp(1.0, -22)));
  Value power = b.exp(arith::TruncFOp::create(b, b.getF32Type(), size));
  Value t = b.addF(b.mulF(widen(b, power), f64(b, 1.0 + std::ldexp(1.0, -19))),
                   f64(b, std::ldexp(1.0, -120)));
  Value ratio = b.divF(b.addF(f64(b, 6.0), t),
                       b.addF(f64(b, 6.0), b.mulF(f64(b, 4.0), t)));
  return b.addF(b.maxF(x, f64(b, 0.0)), b.mulF(t, ratio));
}

SmallVector<Value> CertifyLowering::certify(const Head &head) {
  double inf = std::numeric_limits<double>::infinity();
  Value tau = getShare(getExcess(head));
  Value rounding = b.addF(b.mulF(f64(b, 7.0), head.rounding),
                          f64(b, 1.0 + std::ldexp(1.0, -8)));
  Value reach = b.addF(b.mulF(head.valueNorm, rounding), head.output);
  Value error = roundUp(b, b.mulF(widen(b, tau), reach));

  // Finite f32 numbers have a finite sum in f64; NaN compares false.
  Value state = b.addF(b.absF(head.lse), head.output);
  Value all =
      b.addF(b.addF(state, b.absF(head.tail)),
             b.addF(b.addF(head.direction, head.keyNorm), head.valueNorm));
  Value tooRough = b.compare(CmpFPredicate::UGT, head.rounding, f64(b, 0.1));
  Value known = isBelow(b.select(tooRough, f64(b, inf), all), inf);
  tau = b.select(known, tau, b.f32(1.0f));
  error = b.select(known, error, b.f32(inf));

  // Nothing is left out, of a state that may itself be empty but not broken.
  // Logits that overflow leave an empty one, too, and are rough.
  Value isWhole = b.compare(CmpFPredicate::OEQ, head.tail, f64(b, -inf));
  isWhole = b.andI(isWhole, isBelow(b.addF(head.lse, head.output), inf));
  Value isEmpty = b.compare(CmpFPredicate::OEQ, head.lse, f64(b, -inf));
  isWhole = b.select(b.andI(isEmpty, tooRough), b.boolean(false), isWhole);
  return {b.select(isWhole, b.f32(0.0f), tau),
          b.select(isWhole, b.f32(0.0f), error)};
}

SmallVector<Value> CertifyLowering::certifyProjection(const Head &given) {
  double inf = std::numeric_limits<double>::infinity();
  auto times = [&](double factor, Value value) {
    return b.mulF(f64(b, factor), value);
  };
  auto isNone = [&](Value logarithm) {
    return b.compare(CmpFPredicate::OEQ, logarithm, f64(b, -inf));
  };
  bool hasEntropy = !op.getSolver().getEpsilon().isZero();
  Value nothing = f64(b, 0.0);

  // Where nothing is left out its terms vanish, and an empty set has a gap
  // of 0: neither -inf then says that anything is amiss.
  Value isWhole = isNone(given.tail);
  Value isEmpty = b.andI(isWhole, isNone(given.lse));
  Value logs = b.addF(b.select(isEmpty, nothing, b.absF(given.lse)),
                      b.select(isWhole, nothing, b.absF(given.tail)));
  Value norms = b.addF(b.addF(given.direction, given.output),
                       b.addF(given.keyNorm, given.valueNorm));
  Value isFinite = isBelow(b.addF(b.addF(logs, norms), given.gap), inf);
  // Nor is a gap negative.
  isFinite =
      b.andI(isFinite, b.compare(CmpFPredicate::OGE, given.gap, nothing));

  // What is left out widens the gap by as much as its mass shifts the
  // log-sum-exp, with the room for the rounding of the direction that the
  // solver's own gap has.
  Value x = getExcess(given);
  Value missed = hasEntropy ? getLogOfSum(x) : b.maxF(x, nothing);
  missed = times(getTemperature() * (1.0 + std::ldexp(1.0, -8)), missed);
  missed = b.select(isWhole, nothing, missed);
  Value full = b.addF(given.gap, missed);
  Value fullGap = b.select(isFinite, roundUp(b, full), b.f32(inf));
  Value isRough = b.compare(CmpFPredicate::UGT, given.rounding, f64(b, 0.1));
  if (!hasEntropy) {
    // Weights are not unique, but for those of nothing.
    Value isKnown = b.andI(isEmpty, isFinite);
    isKnown = b.select(isRough, b.boolean(false), isKnown);
    return {b.select(isKnown, b.f32(0.0f), b.f32(1.0f)),
            b.select(isKnown, b.f32(0.0f), b.f32(inf)), fullGap};
  }

  double epsilon = getTemperature();
  Value diameter = times(2.0 * std::sqrt(getScale()), given.keyNorm);
  Value root = b.sqrt(given.gap);
  Value share = widen(
      b, getShare(b.addF(x, times(1.0 / epsilon, b.mulF(diameter, root)))));
  // 1 - exp(-v) <= 2 v / (2 + v).
  Value v = times(1.0 / epsilon, full);
  Value ratio = b.divF(times(2.0, v), b.addF(f64(b, 2.0), v));
  share = b.select(isWhole, nothing, b.minF(share, ratio));
  Value spread =
      b.addF(f64(b, 1.0), times(0.25 / std::sqrt(epsilon), diameter));
  double perGap = std::sqrt(0.5 / epsilon);
  Value tau = b.minF(times(perGap, b.sqrt(full)),
                     b.addF(times(perGap, root), b.mulF(share, spread)));
  tau = b.minF(roundUp(b, tau), b.f32(1.0f));
  Value error = roundUp(b, b.mulF(times(2.0, widen(b, tau)), given.valueNorm));

  Value isKnown = b.select(isRough, b.boolean(false), isFinite);
  return {b.select(isKnown, tau, b.f32(1.0f)),
          b.select(isKnown, error, b.f32(inf)), fullGap};
}

SmallVector<Value> CertifyLowering::run() {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(op.reifyResultShapes(b, shapes)))
    return {};
  Value rows = dim(op.getDirection(), 0), kvHeads = dim(op.getNorms(), 1);
  Value group = b.divU(dim(op.getDirection(), 1), kvHeads);
  SmallVector<Value> results;
  for (ArrayRef<OpFoldResult> shape : shapes)
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
  tiles = b.forLoop(
      b.index(0), group, 1, tiles,
      [&, keyNorm = keyNorm, valueNorm = valueNorm](
          Value head, ValueRange carried) -> SmallVector<Value> {
        Head known = getHead(b.addI(firstHead, head), keyNorm, valueNorm);
        SmallVector<Value> made =
            op.getGap() ? certifyProjection(known) : certify(known);
        for (auto [result, tile] : llvm::zip_equal(made, carried))
          result = tensor::InsertOp::create(b, result, tile,
                                            ValueRange{b.index(0), head});
        return made;
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
    if (op.getSolver().getKind() == SolverKind::eg && !op.getGap())
      return rewriter.notifyMatchFailure(op, "expected its closed form");
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
