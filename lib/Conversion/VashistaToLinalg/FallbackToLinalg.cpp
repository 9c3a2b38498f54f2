//===- FallbackToLinalg.cpp - vashista.fallback as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head: where a query head of the group misses the
// limit, its state is replaced by that of a dense attend over one row and one
// KV head, merged into an empty state; else it stays as it is, in place. The
// attend is a tile that convert-vashista-to-vector makes a kernel of. That of a
// projection leaves its direction and gap beside the state, for nobody.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/KernelBuilder.h"
#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

namespace {

class FallbackLowering {
public:
  FallbackLowering(FallbackOp op, PatternRewriter &rewriter)
      : op(op), rewriter(rewriter),
        b(op.getLoc(), rewriter, KernelTarget{1, 16}) {}

  FailureOr<SmallVector<Value>> run();

private:
  /// Whether `measure <= limit` fails for a head of the group, NaN included.
  Value isFlagged();
  /// Dense attention to a tile of `outs`, into a state that is empty first.
  FailureOr<SmallVector<Value>> attendTile(AttendOp attend, ValueRange tiles);

  FallbackOp op;
  PatternRewriter &rewriter;
  KernelBuilder b;
  Value row, kvHead, group;
};

} // namespace

Value FallbackLowering::isFlagged() {
  Value firstHead = b.mulI(kvHead, group);
  Value limit = b.f32(op.getLimit().convertToFloat());
  Value no = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
  return b
      .forLoop(b.index(0), group, 1, no,
               [&](Value head, ValueRange carried) -> SmallVector<Value> {
                 Value at[] = {row, b.addI(firstHead, head)};
                 Value measure =
                     tensor::ExtractOp::create(b, op.getMeasure(), at);
                 Value misses =
                     b.compare(arith::CmpFPredicate::UGT, measure, limit);
                 return {arith::OrIOp::create(b, carried[0], misses)};
               })
      .front();
}

FailureOr<SmallVector<Value>> FallbackLowering::attendTile(AttendOp attend,
                                                           ValueRange tiles) {
  Range slots = attend.getIterationDomain(b).back();
  OpFoldResult one = b.getIndexAttr(1);
  FailureOr<TilingResult> tiled = attend.getTiledImplementation(
      b, {row, kvHead, slots.offset}, {one, one, slots.size});
  if (failed(tiled))
    return failure();
  auto tile = cast<AttendOp>(tiled->tiledOps.front());
  SmallVector<Value> empty(tiles);
  if (op.getSolver().isProjection()) {
    // All is overwritten.
    for (Value out : tile.getOuts().drop_front(2))
      empty.push_back(tensor::EmptyOp::create(
          b, tensor::getMixedSizes(b, b.getLoc(), out), b.getF32Type()));
  } else {
    const float identity[] = {0.0f, -std::numeric_limits<float>::infinity()};
    for (auto [out, value] : llvm::zip_equal(empty, identity))
      out = linalg::FillOp::create(b, b.f32(value), out).getResult(0);
  }
  rewriter.modifyOpInPlace(tile, [&] { tile.getOutsMutable().assign(empty); });
  // The tiles of its former destinations.
  for (Operation *slice : tiled->generatedSlices)
    if (slice->use_empty())
      rewriter.eraseOp(slice);
  tile->moveBefore(b.getInsertionBlock(), b.getInsertionPoint());
  return llvm::to_vector_of<Value>(tile->getResults().take_front(2));
}

FailureOr<SmallVector<Value>> FallbackLowering::run() {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(op.reifyResultShapes(b, shapes)))
    return failure();
  auto dim = [&](Value tensor, int64_t position) -> Value {
    return b.createOrFold<tensor::DimOp>(tensor, position);
  };
  Value rows = dim(op.getQuery(), 0);
  Value kvHeads = dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  group = b.divU(dim(op.getQuery(), 1), kvHeads);
  Value flags = tensor::EmptyOp::create(b, shapes[2], b.getI1Type());
  SmallVector<Value> unread; // direction and gap of a projection
  if (op.getSolver().isProjection()) {
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(b, b.getLoc(), op.getQuery());
    unread.push_back(tensor::EmptyOp::create(b, sizes, b.getF32Type()));
    unread.push_back(tensor::EmptyOp::create(b, shapes[1], b.getF32Type()));
  }
  auto forall = scf::ForallOp::create(b, getAsOpFoldResult({rows, kvHeads}),
                                      ValueRange{op.getO(), op.getLse(), flags},
                                      /*mapping=*/std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(forall.getBody());
  row = forall.getInductionVar(0);
  kvHead = forall.getInductionVar(1);
  auto outs = forall.getRegionIterArgs();

  // All of it, of which only a tile stays.
  SmallVector<Value> attendOuts(outs.begin(), outs.begin() + 2);
  attendOuts.append(unread);
  auto attend = AttendOp::create(
      b, TypeRange(ValueRange(attendOuts)), op.getQuery(), op.getKCache(),
      op.getVCache(), op.getPageTable(), op.getSeqLens(), op.getRowToSeq(),
      /*pages=*/Value(), /*page_count=*/Value(),
      /*tokens=*/Value(), /*token_count=*/Value(), /*begin=*/Value(),
      /*end=*/Value(), attendOuts, op.getScaleAttr(), op.getSoftCapAttr(),
      op.getSolverAttr(), op.getLayoutAttr(), op.getScheduleAttr());
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  struct Tile {
    SmallVector<OpFoldResult> offsets, sizes;
  };
  Tile places[3];
  SmallVector<Value> tiles;
  for (unsigned i = 0; i < 3; ++i) {
    auto &[offsets, sizes] = places[i];
    if (i == 2) {
      offsets = {row, kvHead};
      sizes = {one, one};
    } else if (failed(attend.getResultTilePosition(b, i, {row, kvHead, zero},
                                                   {one, one, zero}, offsets,
                                                   sizes))) {
      return failure();
    }
    SmallVector<OpFoldResult> strides(sizes.size(), one);
    tiles.push_back(
        tensor::ExtractSliceOp::create(b, outs[i], offsets, sizes, strides));
  }

  Value flagged = isFlagged();
  auto choice =
      scf::IfOp::create(b, TypeRange(ValueRange(tiles).take_front(2)), flagged,
                        /*addThenBlock=*/true, /*addElseBlock=*/true);
  b.setInsertionPointToStart(choice.thenBlock());
  FailureOr<SmallVector<Value>> dense =
      attendTile(attend, ValueRange(tiles).take_front(2));
  if (failed(dense))
    return failure();
  scf::YieldOp::create(b, *dense);
  b.setInsertionPointToStart(choice.elseBlock());
  scf::YieldOp::create(b, ValueRange(tiles).take_front(2));
  rewriter.eraseOp(attend);

  b.setInsertionPointAfter(choice);
  Value noIndex = b.index(0);
  SmallVector<Value> made = llvm::to_vector_of<Value>(choice.getResults());
  made.push_back(tensor::InsertOp::create(b, flagged, tiles[2],
                                          ValueRange{noIndex, noIndex}));
  b.setInsertionPointToStart(forall.getTerminator().getBody());
  for (unsigned i = 0; i < 3; ++i) {
    SmallVector<OpFoldResult> strides(places[i].sizes.size(), one);
    tensor::ParallelInsertSliceOp::create(
        b, made[i], outs[i], places[i].offsets, places[i].sizes, strides);
  }
  b.setInsertionPointAfter(forall);
  return castToTypes(b, b.getLoc(), forall.getResults(), op->getResultTypes());
}

namespace {

struct FallbackPattern : OpRewritePattern<FallbackOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(FallbackOp op,
                                PatternRewriter &rewriter) const override {
    SolverAttr solver = op.getSolver();
    if (solver.getKind() == SolverKind::eg && !solver.isProjection())
      return rewriter.notifyMatchFailure(op, "expected its closed form");
    // Only a static group of query heads can be tiled.
    auto isStatic = [](Value tensor, int64_t position) {
      return !cast<RankedTensorType>(tensor.getType()).isDynamicDim(position);
    };
    if (!isStatic(op.getQuery(), 1) ||
        !isStatic(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2))
      return rewriter.notifyMatchFailure(op, "expected static head sizes");
    FailureOr<SmallVector<Value>> results =
        FallbackLowering(op, rewriter).run();
    if (failed(results))
      return failure();
    rewriter.replaceOp(op, *results);
    return success();
  }
};

} // namespace

void vashista::populateFallbackPatterns(RewritePatternSet &patterns) {
  patterns.add<FallbackPattern>(patterns.getContext());
}
