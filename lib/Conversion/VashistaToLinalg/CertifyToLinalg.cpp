//===- CertifyToLinalg.cpp - vashista.certify as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head: the largest norms over the row's pages, then
// the certificate of each query head of the group (Certificate.h).
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/Certificate.h"
#include "../VashistaToVector/UpperBounds.h"
#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

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
  Certificate::Head getHead(Value head, Value keyNorm, Value valueNorm);
  /// The visible tokens of the row.
  Value getLength() {
    return b.maxI(extractIndex(op.getSeqLens(), row), b.index(0));
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

Certificate::Head CertifyLowering::getHead(Value number, Value keyNorm,
                                           Value valueNorm) {
  Value at[] = {row, number};
  Certificate::Head head;
  head.lse = widen(b, extract(op.getLse(), at));
  head.tail = widen(b, extract(op.getTail(), at));
  head.direction = getNorm(op.getDirection(), number);
  head.output = getNorm(op.getO(), number);
  head.keyNorm = keyNorm;
  head.valueNorm = valueNorm;
  head.tokens = arith::UIToFPOp::create(
      b, b.getF64Type(),
      arith::IndexCastOp::create(b, b.getI64Type(), getLength()));
  if (op.getGap())
    head.gap = widen(b, extract(op.getGap(), at));
  return head;
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
  tiles = b.forLoop(b.index(0), group, 1, tiles,
                    [&, keyNorm = keyNorm, valueNorm = valueNorm](
                        Value head, ValueRange carried) -> SmallVector<Value> {
                      SmallVector<Value> made = Certificate(op, b).certify(
                          getHead(b.addI(firstHead, head), keyNorm, valueNorm));
                      for (auto [result, tile] : llvm::zip_equal(made, carried))
                        result = tensor::InsertOp::create(
                            b, result, tile, ValueRange{b.index(0), head});
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
