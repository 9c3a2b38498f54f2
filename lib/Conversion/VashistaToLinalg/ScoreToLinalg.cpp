//===- ScoreToLinalg.cpp - vashista.score as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row, block of slots and KV head. A task walks its slots in
// tiles, scores the visible rows (of a summary, or of keys) against the group's
// queries, and writes one score and one bound per slot, -inf where a slot is
// invisible. KV heads vary fastest: what threads read at a time lies together.
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
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

/// Slots of a task: enough that what a task prepares does not count, few enough
/// that one sequence keeps many threads busy.
constexpr int64_t kBlock = 512;
static_assert(kBlock % kTile == 0, "a tile lies within a task");

class ScoreKernel {
public:
  ScoreKernel(ScoreOp op, KernelBuilder &b, int64_t group, int64_t dim);

  /// Emits the tasks; yields the tensors of scores and bounds.
  SmallVector<Value> emit();

private:
  static TileWalk::Lists getLists(ScoreOp op, KernelBuilder &b) {
    TileWalk::Lists lists;
    lists.table = b.readOnly(op.getPageTable());
    lists.lengths = b.readOnly(op.getSeqLens());
    lists.rowToSeq = b.readOnly(op.getRowToSeq());
    lists.pages = b.readOnly(op.getPages());
    lists.pageCount = b.readOnly(op.getPageCount());
    return lists;
  }
  static std::optional<Layout> getLayout(ScoreOp op) {
    if (auto keys = dyn_cast<KeysAttr>(op.getFrom()))
      return keys.getLayout();
    return std::nullopt;
  }
  static int64_t getPageSize(ScoreOp op);
  static SmallVector<Type> getElements(ScoreOp op);

  void emitTask(Value block);
  int64_t getTile();
  /// Once, or for each KV head of a task that has them all.
  void forEachKvHead(function_ref<void()> body);
  void makeQueries();
  void scoreTile();
  Value toLogits(Value sums);
  void addRadii();
  void writeTile(Value first, Value last);
  void writeInvisible(Value first, Value last);
  /// body(number, query head) for each head of the current group.
  void forEachHead(function_ref<void(Value, Value)> body);
  /// Where the current group begins among the vectors made of the direction.
  Value getFirstQuery();

  std::optional<SummaryKind> getSummary() {
    if (auto summary = dyn_cast<SummaryAttr>(op.getFrom()))
      return summary.getKind();
    return std::nullopt;
  }
  /// The parts that have channels.
  ArrayRef<Value> getRead() {
    return ArrayRef<Value>(parts).take_front(getElements(op).size());
  }
  /// Whether bounds are other numbers than scores, which somebody reads.
  bool hasOwnBounds() {
    return !op.getFrom().hasBounds() && !op.getBounds().use_empty();
  }

  ScoreOp op;
  KernelBuilder &b;
  int64_t group, numHeads, dim;
  TileWalk walk;
  RowVectors vectors;
  /// Products of bf16 are summed in pairs. Not for bounds, whose slack is for
  /// arithmetic that keeps subnormal numbers.
  bool dots;
  bool hasDots() {
    auto summary = getSummary();
    bool isBound = summary == SummaryKind::box || summary == SummaryKind::ball;
    return b.target.dotsBF16 && vectors.hasPairs() && !isBound &&
           getElementTypeOrSelf(op.getDirection()).isBF16();
  }

  // Buffers of the operands and results.
  Value direction, scores, bounds, numKvHeads;
  SmallVector<Value> parts;

  // Of the current task.
  Value tile;                   // [G, kTile] f32
  Value queries, second, third; // [heads, D] f32: made of the direction
  Value norms;                  // [heads] f32: of the direction
};

} // namespace

int64_t ScoreKernel::getPageSize(ScoreOp op) {
  if (op.getFrom().scoresPages())
    return *op.getPageSize();
  SourcePart keys = op.getFrom().getParts().front();
  auto at = llvm::find(keys.dims, Dim::pageSize) - keys.dims.begin();
  return cast<RankedTensorType>(op.getParts().front().getType()).getDimSize(at);
}

/// The types of the parts that have channels.
SmallVector<Type> ScoreKernel::getElements(ScoreOp op) {
  SmallVector<Type> elements;
  for (auto [part, tensor] :
       llvm::zip_equal(op.getFrom().getParts(), op.getParts()))
    if (llvm::is_contained(part.dims, Dim::keyDim))
      elements.push_back(getElementTypeOrSelf(tensor));
  return elements;
}

ScoreKernel::ScoreKernel(ScoreOp op, KernelBuilder &b, int64_t group,
                         int64_t dim)
    : op(op), b(b), group(group),
      numHeads(
          cast<RankedTensorType>(op.getDirection().getType()).getDimSize(1)),
      dim(dim),
      walk(b, getLists(op, b), getPageSize(op),
           op.getFrom().scoresPages() ? SlotUnit::pages : SlotUnit::tokens,
           getLayout(op)),
      // The butterfly of partial sums halves them.
      vectors(b, dim, std::min(b.lanes, dim & -dim), getElements(op)),
      dots(hasDots()) {
  direction = b.readOnly(op.getDirection());
  for (Value part : op.getParts())
    parts.push_back(b.readOnly(part));
}

SmallVector<Value> ScoreKernel::emit() {
  ReifiedRankedShapedTypeDims shapes;
  (void)op.reifyResultShapes(b, shapes);
  auto allocate = [&](unsigned result) -> Value {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> shape;
    dispatchIndexOpFoldResults(shapes[result], dynamic, shape);
    return memref::AllocOp::create(b, MemRefType::get(shape, b.getF32Type()),
                                   dynamic, b.getI64IntegerAttr(64));
  };
  scores = allocate(0);
  bounds = hasOwnBounds() ? allocate(1) : scores;

  SourcePart part = op.getFrom().getParts().front();
  auto heads = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
  Value rows = b.dim(direction, 0), kvHeads = b.dim(parts.front(), heads);
  Value blocks =
      b.divU(b.addI(b.dim(scores, 2), b.index(kBlock - 1)), b.index(kBlock));
  numKvHeads = kvHeads;
  SmallVector<Value> extents = {rows, blocks};
  if (walk.hasGaps())
    extents.push_back(kvHeads);
  auto forall = scf::ForallOp::create(b, getAsOpFoldResult(extents),
                                      ValueRange(), std::nullopt);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(forall.getTerminator());
    auto scope = memref::AllocaScopeOp::create(b, TypeRange());
    b.createBlock(&scope.getBodyRegion());
    walk.begin(forall.getInductionVar(0),
               walk.hasGaps() ? forall.getInductionVar(2) : b.index(0));
    emitTask(forall.getInductionVar(1));
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

void ScoreKernel::emitTask(Value block) {
  Type f32 = b.getF32Type();
  Value zero = b.index(0), size = b.index(kBlock);
  Value first = b.mulI(block, size);
  Value last = b.minI(b.addI(first, size), b.dim(scores, 2));
  Value lastSlot = b.maxI(b.minI(last, walk.numSlots), first);
  Value any = b.compare(CmpIPredicate::sgt, lastSlot, first);
  // Of all heads, or of the task's group.
  int64_t heads = walk.hasGaps() ? group : numHeads;
  tile = b.scratch({group, kTile}, f32);
  Type element = dots ? Type(b.getBF16Type()) : f32;
  queries = b.scratch({heads, dim}, element);
  second = b.scratch({heads, dim}, f32);
  third = b.scratch({heads, dim}, element);
  norms = b.scratch({heads}, f32);
  b.ifThen(any, [&] {
    forEachKvHead([&] { makeQueries(); });
    walk.sources.assign(getRead().begin(), getRead().end());
    if (!walk.hasGaps())
      walk.tile = getTile();
    auto body = [&](Value first, Value last) {
      Value found = b.compare(CmpIPredicate::sgt, walk.count, zero);
      b.ifThen(found, [&] {
        scoreTile();
        if (getSummary() == SummaryKind::ball)
          addRadii();
      });
      writeTile(first, last);
    };
    if (walk.hasGaps())
      walk.forEachTile(first, lastSlot, body);
    else
      walk.forEachTileAndHead(first, lastSlot, numHeads / group, body);
  });
  forEachKvHead([&] { writeInvisible(lastSlot, last); });
}

/// As many slots as leave room for the next tile in a cache of its own, of
/// which few CPUs have less than half a megabyte.
int64_t ScoreKernel::getTile() {
  int64_t bytes = 0, size = kTile;
  for (Type element : getElements(op))
    bytes += numHeads / group * dim * element.getIntOrFloatBitWidth() / 8;
  while (size > 8 && size * bytes > 256 * 1024)
    size /= 2;
  return size;
}

void ScoreKernel::forEachKvHead(function_ref<void()> body) {
  if (walk.hasGaps())
    return body();
  b.forLoop(b.index(0), numKvHeads, 1, [&](Value kvHead) {
    walk.kvHead = kvHead;
    body();
  });
}

/// The vectors that rows are multiplied with.
void ScoreKernel::makeQueries() {
  Value zero = b.index(0);
  std::optional<SummaryKind> summary = getSummary();
  Value zeros = b.splat(0.0f, vectors.lanes);
  auto make = [&](ArrayRef<Value> from, Value to, ValueRange at,
                  function_ref<Value(Value)> body) {
    vectors.store(llvm::map_to_vector(from, body), to, at);
  };
  // As they are stored, in pairs of bf16.
  auto copyPairs = [&](ValueRange from, ValueRange to) {
    for (int64_t part = 0; part < vectors.getNumParts(); part += 2) {
      auto at = [&](ValueRange indices) {
        SmallVector<Value> here(indices);
        here.back() = b.addI(here.back(), b.index(part * vectors.lanes));
        return here;
      };
      auto pairs = VectorType::get({2 * vectors.lanes}, b.getBF16Type());
      Value w = vector::LoadOp::create(b, pairs, direction, at(from));
      b.storeVector(w, queries, at(to));
      b.storeVector(b.absF(w), third, at(to));
    }
  };
  forEachHead([&](Value head, Value queryHead) {
    Value squares =
        b.forLoop(
             zero, b.index(dim), vectors.getStep(), ValueRange{zeros},
             [&](Value channel, ValueRange carried) -> SmallVector<Value> {
               SmallVector<Value> w = vectors.permute(vectors.loadConsecutive(
                   direction, {walk.row, queryHead, channel}));
               Value at[] = {b.addI(getFirstQuery(), head), channel};
               bool isBox = summary == SummaryKind::box;
               if (dots) {
                 copyPairs({walk.row, queryHead, channel}, at);
               } else {
                 make(w, queries, at,
                      [&](Value v) { return isBox ? b.maxF(v, zeros) : v; });
                 make(w, third, at, [&](Value v) { return b.absF(v); });
               }
               if (isBox)
                 make(w, second, at, [&](Value v) { return b.minF(v, zeros); });
               Value sum = carried[0];
               for (Value v : w)
                 sum = b.fma(v, v, sum);
               return {sum};
             })
            .front();
    b.store(b.sqrt(b.reduceAdd(squares)), norms, b.addI(getFirstQuery(), head));
  });
}

void ScoreKernel::forEachHead(function_ref<void(Value, Value)> body) {
  Value firstHead = b.mulI(walk.kvHead, b.index(group));
  b.forLoop(b.index(0), b.index(group), 1,
            [&](Value head) { body(head, b.addI(firstHead, head)); });
}

Value ScoreKernel::getFirstQuery() {
  return walk.hasGaps() ? b.index(0) : b.mulI(walk.kvHead, b.index(group));
}

void ScoreKernel::scoreTile() {
  std::optional<SummaryKind> summary = getSummary();
  auto loadPart = [&](unsigned part) {
    return [this, part](ValueRange indices) {
      return dots ? vectors.loadPairs(parts[part], indices)
                  : vectors.load(parts[part], indices);
    };
  };
  RowScores scorer(b, walk, vectors, group);
  scorer.firstQuery = getFirstQuery();
  scorer.prefetched.assign(getRead().begin(), getRead().end());
  if (summary == SummaryKind::box) {
    scorer.terms.push_back({queries, loadPart(1)});
    scorer.terms.push_back({second, loadPart(0)});
  } else {
    scorer.terms.push_back({queries, loadPart(0), dots});
    if (summary == SummaryKind::mean_std)
      scorer.terms.push_back({third, loadPart(1), dots});
  }
  // A bound holds for the exact product of the stored numbers. A sum of D
  // products in f32, in any order, is off by at most (D + 2) 2^-24 times the
  // sum of their sizes; scale, cap and epsilon add a few units more. Twice
  // that.
  Value slack = b.splat(2.0f * (dim + 8) * 0x1p-24f, vectors.lanes);
  auto addSlack = [&](std::function<SmallVector<Value>(ValueRange)> getSizes) {
    scorer.terms.push_back({third, [this, slack, getSizes](ValueRange at) {
                              SmallVector<Value> sizes = getSizes(at);
                              for (Value &size : sizes)
                                size = b.mulF(size, slack);
                              return sizes;
                            }});
  };
  if (summary == SummaryKind::box)
    addSlack([this, loadPart](ValueRange at) {
      SmallVector<Value> sizes = loadPart(0)(at);
      for (auto [size, hi] : llvm::zip_equal(sizes, loadPart(1)(at)))
        size = b.maxF(b.absF(size), b.absF(hi));
      return sizes;
    });
  if (summary == SummaryKind::ball)
    addSlack([this, loadPart](ValueRange at) {
      SmallVector<Value> sizes = loadPart(0)(at);
      for (Value &size : sizes)
        size = b.absF(size);
      return sizes;
    });
  bool isBall = summary == SummaryKind::ball;
  scorer.finish = [&](Value sums) {
    // The ball's radius joins before scale and cap.
    if (isBall)
      return sums;
    return toLogits(sums);
  };
  scorer.scores = tile;
  scorer.emit();
}

/// A cap rounds what the slack has raised, and flattens the slack: bounds are
/// raised again by what tanh may be off.
Value ScoreKernel::toLogits(Value sums) {
  Value logits =
      b.toLogits(sums, op.getScale(), op.getSoftCap(), op.getEpsilon());
  if (!op.getSoftCap() || !getSummary() || !op.getFrom().hasBounds())
    return logits;
  int64_t size = cast<VectorType>(logits.getType()).getDimSize(0);
  Value slack = b.mulF(b.absF(logits), b.splat(0x1p-20f, size));
  return b.addF(logits, slack);
}

/// The ball's radius, and then what is done to a sum.
void ScoreKernel::addRadii() {
  Value zero = b.index(0);
  float grow = 1.0f + 2.0f * (dim + 8) * 0x1p-24f;
  forEachHead([&](Value head, Value) {
    Value norm = b.load(norms, b.addI(getFirstQuery(), head));
    Value reach = b.mulF(norm, b.f32(grow));
    b.forLoop(zero, walk.count, 1, [&](Value at) {
      Value radius = b.load(parts[1], {walk.getPage(at), walk.kvHead});
      Value sum = b.addF(b.load(tile, {head, at}), b.mulF(reach, radius));
      Value logit = toLogits(b.broadcast(sum, 1));
      b.store(vector::ExtractOp::create(b, logit, ArrayRef<int64_t>{0}), tile,
              {head, at});
    });
  });
}

/// Writes the tile's scores to slots [first, last).
void ScoreKernel::writeTile(Value first, Value last) {
  Value zero = b.index(0), inf = b.f32(std::numeric_limits<float>::infinity());
  auto copyAll = [&] {
    // Whole vectors, then what remains.
    Value number = b.subI(last, first), lanes = b.index(b.lanes);
    Value whole = b.mulI(b.divU(number, lanes), lanes);
    Value infs = b.broadcast(inf);
    forEachHead([&](Value head, Value queryHead) {
      b.forLoop(zero, whole, b.lanes, [&](Value at) {
        Value to[] = {walk.row, queryHead, b.addI(first, at)};
        b.storeVector(b.loadVector(tile, {head, at}), scores, to);
        if (hasOwnBounds())
          b.storeVector(infs, bounds, to);
      });
      b.forLoop(whole, number, 1, [&](Value at) {
        Value to[] = {walk.row, queryHead, b.addI(first, at)};
        b.store(b.load(tile, {head, at}), scores, to);
        if (hasOwnBounds())
          b.store(inf, bounds, to);
      });
    });
  };
  if (!walk.hasGaps())
    return copyAll();
  Value gaps = b.compare(CmpIPredicate::ne, walk.count, b.subI(last, first));
  b.ifThen(gaps, [&] {
    writeInvisible(first, last);
    forEachHead([&](Value head, Value queryHead) {
      b.forLoop(zero, walk.count, 1, [&](Value at) {
        Value to[] = {walk.row, queryHead, walk.getSlot(at)};
        b.store(b.load(tile, {head, at}), scores, to);
        if (hasOwnBounds())
          b.store(inf, bounds, to);
      });
    });
  });
  Value all = b.compare(CmpIPredicate::eq, walk.count, b.subI(last, first));
  b.ifThen(all, copyAll);
}

/// -inf to slots [first, last).
void ScoreKernel::writeInvisible(Value first, Value last) {
  forEachHead([&](Value, Value queryHead) {
    b.forLoop(first, last, 1, [&](Value slot) {
      Value to[] = {walk.row, queryHead, slot};
      b.store(b.negInf(), scores, to);
      if (hasOwnBounds())
        b.store(b.negInf(), bounds, to);
    });
  });
}

namespace {

struct ScorePattern : OpRewritePattern<ScoreOp> {
  ScorePattern(MLIRContext *context, const KernelTarget &target)
      : OpRewritePattern(context), target(target) {}
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
    KernelBuilder b(op.getLoc(), rewriter, target);
    rewriter.replaceOp(op, ScoreKernel(op, b, heads / kvHeads, dim).emit());
    return success();
  }
  KernelTarget target;
};

} // namespace

void vashista::populateScorePatterns(RewritePatternSet &patterns,
                                     const KernelTarget &target) {
  patterns.add<ScorePattern>(patterns.getContext(), target);
}
