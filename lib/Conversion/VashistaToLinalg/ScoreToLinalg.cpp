//===- ScoreToLinalg.cpp - vashista.score as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head. A task walks its slots in tiles, gathers the
// addresses of the tile's visible rows (of a summary, or of keys), scores them
// against the group's queries, and writes one score and one bound per slot.
// Invisible slots keep the -inf that the results are filled with.
//
// A score is a sum of dot products of vectors made of the direction with
// vectors made of the row:
//
//   mean       <w, mean>
//   mean_std   <w, mean> + <|w|, std>
//   box        <max(w, 0), hi> + <min(w, 0), lo>
//   ball       <w, centre> + norm(w) * radius
//   keys       <w, key>
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/RowScores.h"
#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

class ScoreKernel {
public:
  ScoreKernel(ScoreOp op, KernelBuilder &b, int64_t group, int64_t dim)
      : op(op), b(b), group(group), dim(dim),
        // The butterfly of partial sums halves them.
        channels(std::min(b.lanes, dim & -dim)) {}

  /// Emits the tasks; yields the tensors of scores and bounds.
  SmallVector<Value> emit();

private:
  void emitTask();
  void makeQueries();
  Value gather(Value first, Value last);
  void scoreTile(Value count);
  void writeTile(Value count);
  Value toLogits(Value sums);
  SmallVector<Value> rowIndices(Value row, Value channel);

  bool isPages() { return op.getFrom().scoresPages(); }
  std::optional<SummaryKind> getSummary() {
    if (auto summary = dyn_cast<SummaryAttr>(op.getFrom()))
      return summary.getKind();
    return std::nullopt;
  }
  bool hasOwnBounds() { return !op.getFrom().hasBounds(); }

  ScoreOp op;
  KernelBuilder &b;
  int64_t group, dim, channels;
  int64_t pageSize = 0;

  // Buffers of the operands and results.
  Value direction, table, lengths, rowToSeq, pages, pageCount, scores, bounds;
  SmallVector<Value> parts;

  // Of the current task.
  Value row, kvHead, firstHead, length, sequence;
  Value physical, inPage, slots; // [kTile] index: visible rows of a tile
  Value tile;                    // [G, kTile] f32
  Value queries, second, third;  // [G, D] f32: vectors made of the direction
  Value norms;                   // [G] f32: of the direction
};

} // namespace

SmallVector<Value> ScoreKernel::emit() {
  ReifiedRankedShapedTypeDims shapes;
  (void)op.reifyResultShapes(b, shapes);
  direction = b.readOnly(op.getDirection());
  table = b.readOnly(op.getPageTable());
  lengths = b.readOnly(op.getSeqLens());
  rowToSeq = b.readOnly(op.getRowToSeq());
  pages = b.readOnly(op.getPages());
  pageCount = b.readOnly(op.getPageCount());
  for (Value part : op.getParts())
    parts.push_back(b.readOnly(part));
  if (isPages()) {
    pageSize = *op.getPageSize();
  } else {
    SourcePart keys = op.getFrom().getParts().front();
    auto at = llvm::find(keys.dims, Dim::pageSize) - keys.dims.begin();
    pageSize = cast<MemRefType>(parts.front().getType()).getDimSize(at);
  }

  auto allocate = [&](unsigned result) -> Value {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> shape;
    dispatchIndexOpFoldResults(shapes[result], dynamic, shape);
    Value buffer =
        memref::AllocOp::create(b, MemRefType::get(shape, b.getF32Type()),
                                dynamic, b.getI64IntegerAttr(64));
    linalg::FillOp::create(b, b.negInf(), buffer);
    return buffer;
  };
  scores = allocate(0);
  bounds = hasOwnBounds() ? allocate(1) : scores;

  SourcePart part = op.getFrom().getParts().front();
  auto heads = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
  Value rows = b.dim(direction, 0), kvHeads = b.dim(parts.front(), heads);
  auto forall = scf::ForallOp::create(b, ArrayRef<OpFoldResult>{rows, kvHeads},
                                      ValueRange(), std::nullopt);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(forall.getTerminator());
    row = forall.getInductionVar(0);
    kvHead = forall.getInductionVar(1);
    auto scope = memref::AllocaScopeOp::create(b, TypeRange());
    b.createBlock(&scope.getBodyRegion());
    emitTask();
    memref::AllocaScopeReturnOp::create(b, ValueRange());
  }
  auto toTensor = [&](Value buffer, Type type) -> Value {
    return bufferization::ToTensorOp::create(b, type, buffer,
                                             /*restrict=*/true,
                                             /*writable=*/true);
  };
  Value first = toTensor(scores, op.getScores().getType());
  if (!hasOwnBounds())
    return {first, first};
  return {first, toTensor(bounds, op.getBounds().getType())};
}

void ScoreKernel::emitTask() {
  Type indexType = b.getIndexType(), f32 = b.getF32Type();
  firstHead = b.mulI(kvHead, b.index(group));
  length = b.loadIndex(lengths, row);
  sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  physical = b.scratch({kTile}, indexType);
  inPage = b.scratch({kTile}, indexType);
  slots = b.scratch({kTile}, indexType);
  tile = b.scratch({group, kTile}, f32);
  queries = b.scratch({group, dim}, f32);
  second = b.scratch({group, dim}, f32);
  third = b.scratch({group, dim}, f32);
  norms = b.scratch({group}, f32);
  makeQueries();

  Value zero = b.index(0), size = b.index(pageSize), numSlots;
  if (isPages()) {
    // ceil(length / S) pages are visible.
    numSlots = b.divU(b.addI(length, b.index(pageSize - 1)), size);
  } else if (pages) {
    numSlots = b.dim(pages, 2);
    if (pageCount)
      numSlots = b.minI(numSlots, b.loadIndex(pageCount, {row, kvHead}));
    numSlots = b.mulI(numSlots, size);
  } else {
    numSlots = length;
  }
  b.forLoop(zero, numSlots, kTile, [&](Value first) {
    Value last = b.minI(b.addI(first, b.index(kTile)), numSlots);
    Value count = gather(first, last);
    Value any = b.compare(CmpIPredicate::sgt, count, zero);
    b.ifThen(any, [&] {
      scoreTile(count);
      writeTile(count);
    });
  });
}

/// The vectors that rows are multiplied with.
void ScoreKernel::makeQueries() {
  Value zero = b.index(0);
  std::optional<SummaryKind> summary = getSummary();
  Value zeros = b.splat(0.0f, channels);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    Value squares =
        b.forLoop(zero, b.index(dim), channels, ValueRange{zeros},
                  [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                    Value w = b.loadVector(
                        direction, {row, b.addI(firstHead, head), channel},
                        channels);
                    SmallVector<Value> at = {head, channel};
                    Value made = w;
                    if (summary == SummaryKind::box)
                      made = b.maxF(w, zeros);
                    b.storeVector(made, queries, at);
                    if (summary == SummaryKind::box)
                      b.storeVector(b.minF(w, zeros), second, at);
                    b.storeVector(b.absF(w), third, at);
                    return {b.fma(w, w, carried[0])};
                  })
            .front();
    b.store(b.sqrt(b.reduceAdd(squares)), norms, head);
  });
}

/// Addresses of the visible rows of slots [first, last); yields their number.
Value ScoreKernel::gather(Value first, Value last) {
  Value size = b.index(pageSize), zero = b.index(0), one = b.index(1);
  return b
      .forLoop(
          first, last, 1, ValueRange{zero},
          [&](Value slot, ValueRange carried) -> SmallVector<Value> {
            Value found = carried[0];
            auto keep = [&](Value page, Value within) {
              b.store(b.loadIndex(table, {sequence, page}), physical, found);
              b.store(within, inPage, found);
              b.store(slot, slots, found);
            };
            if (isPages()) {
              keep(slot, zero);
              return {b.addI(found, one)};
            }
            if (!pages) {
              keep(b.divU(slot, size), b.remU(slot, size));
              return {b.addI(found, one)};
            }
            Value page = b.loadIndex(pages, {row, kvHead, b.divU(slot, size)});
            Value within = b.remU(slot, size);
            Value position = b.addI(b.mulI(page, size), within);
            Value visible =
                b.andI(b.compare(CmpIPredicate::sge, page, zero),
                       b.compare(CmpIPredicate::slt, position, length));
            b.ifThen(visible, [&] { keep(page, within); });
            return {b.select(visible, b.addI(found, one), found)};
          })
      .front();
}

SmallVector<Value> ScoreKernel::rowIndices(Value at, Value channel) {
  Value page = b.load(physical, at);
  if (isPages())
    return {page, kvHead, channel};
  Value within = b.load(inPage, at);
  if (cast<KeysAttr>(op.getFrom()).getLayout() == Layout::hnd)
    return {page, kvHead, within, channel};
  return {page, within, kvHead, channel};
}

void ScoreKernel::scoreTile(Value count) {
  std::optional<SummaryKind> summary = getSummary();
  auto loadPart = [&](unsigned part) {
    return [this, part](ValueRange indices) {
      return b.loadVector(parts[part], indices, channels);
    };
  };
  RowScores scorer(b, group, dim, channels);
  scorer.indices = [&](Value at, Value channel) {
    return rowIndices(at, channel);
  };
  if (summary == SummaryKind::box) {
    scorer.terms.push_back({queries, loadPart(1)});
    scorer.terms.push_back({second, loadPart(0)});
  } else {
    scorer.terms.push_back({queries, loadPart(0)});
    if (summary == SummaryKind::mean_std)
      scorer.terms.push_back({third, loadPart(1)});
  }
  // A bound holds for the exact product of the stored numbers. A sum of D
  // products in f32, in any order, is off by at most (D + 2) 2^-24 times the
  // sum of their sizes; scale, cap and epsilon add a few units more. Twice
  // that.
  float slack = 2.0f * (dim + 8) * 0x1p-24f;
  if (summary == SummaryKind::box)
    scorer.terms.push_back({third, [&](ValueRange indices) {
                              Value lo = b.absF(loadPart(0)(indices));
                              Value hi = b.absF(loadPart(1)(indices));
                              return b.mulF(b.maxF(lo, hi),
                                            b.splat(slack, channels));
                            }});
  if (summary == SummaryKind::ball)
    scorer.terms.push_back({third, [&](ValueRange indices) {
                              return b.mulF(b.absF(loadPart(0)(indices)),
                                            b.splat(slack, channels));
                            }});
  bool isBall = summary == SummaryKind::ball;
  scorer.finish = [&](Value sums) {
    // The ball's radius joins before scale and cap, slot by slot (writeTile).
    if (isBall)
      return sums;
    return toLogits(sums);
  };
  scorer.scores = tile;
  scorer.emit(count);
}

/// A cap rounds what the slack has raised, and flattens the slack: bounds are
/// raised again by what tanh may be off.
Value ScoreKernel::toLogits(Value sums) {
  Value logits =
      b.toLogits(sums, op.getScale(), op.getSoftCap(), op.getEpsilon());
  std::optional<SummaryKind> summary = getSummary();
  if (!op.getSoftCap() || !summary || hasOwnBounds())
    return logits;
  int64_t size = cast<VectorType>(logits.getType()).getDimSize(0);
  Value slack = b.mulF(b.absF(logits), b.splat(0x1p-20f, size));
  return b.addF(logits, slack);
}

void ScoreKernel::writeTile(Value count) {
  Value zero = b.index(0);
  bool isBall = getSummary() == SummaryKind::ball;
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  float grow = 1.0f + 2.0f * (dim + 8) * 0x1p-24f;
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    Value queryHead = b.addI(firstHead, head);
    b.forLoop(zero, count, 1, [&](Value at) {
      SmallVector<Value> result = {row, queryHead, b.load(slots, at)};
      Value score = b.load(tile, {head, at});
      if (isBall) {
        Value radius = b.load(parts[1], {b.load(physical, at), kvHead});
        Value reach = b.mulF(b.mulF(b.load(norms, head), radius), b.f32(grow));
        Value sum = b.broadcast(b.addF(score, reach), 1);
        sum = toLogits(sum);
        score = vector::ExtractOp::create(b, sum, ArrayRef<int64_t>{0});
      }
      b.store(score, scores, result);
      if (hasOwnBounds())
        b.store(inf, bounds, result);
    });
  });
}

namespace {

struct ScorePattern : OpRewritePattern<ScoreOp> {
  ScorePattern(MLIRContext *context, int64_t lanes)
      : OpRewritePattern(context), lanes(lanes) {}
  LogicalResult matchAndRewrite(ScoreOp op,
                                PatternRewriter &rewriter) const override {
    if (isa<SketchAttr>(op.getFrom()))
      return rewriter.notifyMatchFailure(op, "sketches are not lowered yet");
    auto getDim = [](Value tensor, unsigned at) {
      return cast<RankedTensorType>(tensor.getType()).getDimSize(at);
    };
    SourcePart part = op.getFrom().getParts().front();
    auto at = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
    int64_t heads = getDim(op.getDirection(), 1);
    int64_t dim = getDim(op.getDirection(), 2);
    int64_t kvHeads = getDim(op.getParts().front(), at);
    if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads) ||
        ShapedType::isDynamic(dim))
      return rewriter.notifyMatchFailure(op, "expected static head sizes");
    KernelBuilder b(op.getLoc(), rewriter, lanes);
    rewriter.replaceOp(op, ScoreKernel(op, b, heads / kvHeads, dim).emit());
    return success();
  }
  int64_t lanes;
};

} // namespace

void vashista::populateScorePatterns(RewritePatternSet &patterns,
                                     int64_t lanes) {
  patterns.add<ScorePattern>(patterns.getContext(), lanes);
}
