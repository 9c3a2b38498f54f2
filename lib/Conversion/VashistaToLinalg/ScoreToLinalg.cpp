//===- ScoreToLinalg.cpp - vashista.score as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row, block of slots and, where lists are, KV head. A task walks
// its slots in tiles, has a `TileScorer` score the visible rows against the
// group's queries, and writes one score and one bound per slot, -inf where a
// slot is invisible. KV heads vary fastest: what threads read at a time lies
// together.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "TileScorer.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
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
  /// How tokens lie in a page; summaries have none.
  static std::optional<Layout> getLayout(ScoreOp op) {
    if (op.getFrom().scoresPages())
      return std::nullopt;
    if (auto keys = dyn_cast<KeysAttr>(op.getFrom()))
      return keys.getLayout();
    return Layout::hnd;
  }
  static int64_t getPageSize(ScoreOp op);

  void emitTask(Value block);
  int64_t getTile();
  /// Once, or for each KV head of a task that has them all.
  void forEachKvHead(function_ref<void()> body);
  void writeTile(Value first, Value last);
  void writeInvisible(Value first, Value last);
  /// body(number, query head) for each head of the current group.
  void forEachHead(function_ref<void(Value, Value)> body);
  /// Where the current group begins among the vectors made of the direction.
  Value getFirstQuery();

  ScoreOp op;
  KernelBuilder &b;
  int64_t group, numHeads;
  TileWalk walk;
  std::unique_ptr<TileScorer> scorer;
  /// `same` also where nobody reads the bounds.
  TileScorer::Bounds kind;

  // Buffers of the results.
  Value scores, bounds, numKvHeads;
  // Of the current task: [G, kTile] f32.
  Value tile, boundsTile;
};

} // namespace

int64_t ScoreKernel::getPageSize(ScoreOp op) {
  if (op.getFrom().scoresPages())
    return *op.getPageSize();
  SourcePart keys = op.getFrom().getParts().front();
  auto at = llvm::find(keys.dims, Dim::pageSize) - keys.dims.begin();
  return cast<RankedTensorType>(op.getParts().front().getType()).getDimSize(at);
}

ScoreKernel::ScoreKernel(ScoreOp op, KernelBuilder &b, int64_t group,
                         int64_t dim)
    : op(op), b(b), group(group),
      numHeads(
          cast<RankedTensorType>(op.getDirection().getType()).getDimSize(1)),
      walk(b, getLists(op, b), getPageSize(op),
           op.getFrom().scoresPages() ? SlotUnit::pages : SlotUnit::tokens,
           getLayout(op)),
      scorer(isa<SketchAttr>(op.getFrom())
                 ? createSketchScorer(op, b, walk, group, dim)
                 : createVectorScorer(op, b, walk, group, dim)),
      kind(op.getBounds().use_empty() ? TileScorer::Bounds::same
                                      : scorer->getBounds()) {}

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
  bool hasBounds = kind != TileScorer::Bounds::same;
  scores = allocate(0);
  bounds = hasBounds ? allocate(1) : scores;
  scorer->prepare();

  SourcePart part = op.getFrom().getParts().front();
  auto heads = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
  Value rows = b.dim(scores, 0);
  numKvHeads = b.dim(scorer->parts.front(), heads);
  Value blocks =
      b.divU(b.addI(b.dim(scores, 2), b.index(kBlock - 1)), b.index(kBlock));
  SmallVector<Value> extents = {rows, blocks};
  if (walk.hasGaps())
    extents.push_back(numKvHeads);
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
  if (!hasBounds)
    return {first, first};
  return {first, toTensor(bounds, op.getBounds().getType())};
}

void ScoreKernel::emitTask(Value block) {
  Value zero = b.index(0), size = b.index(kBlock);
  Value first = b.mulI(block, size);
  Value last = b.minI(b.addI(first, size), b.dim(scores, 2));
  Value lastSlot = b.maxI(b.minI(last, walk.numSlots), first);
  Value any = b.compare(CmpIPredicate::sgt, lastSlot, first);
  tile = b.scratch({group, kTile}, b.getF32Type());
  if (kind == TileScorer::Bounds::own)
    boundsTile = b.scratch({group, kTile}, b.getF32Type());
  // Vectors of all heads, or of the task's group.
  scorer->begin(walk.hasGaps() ? group : numHeads);
  b.ifThen(any, [&] {
    forEachKvHead([&] {
      forEachHead([&](Value head, Value queryHead) {
        scorer->makeVectors(b.addI(getFirstQuery(), head), queryHead);
      });
    });
    walk.sources.assign(scorer->getRead().begin(), scorer->getRead().end());
    if (!walk.hasGaps())
      walk.tile = getTile();
    auto body = [&](Value first, Value last) {
      Value found = b.compare(CmpIPredicate::sgt, walk.count, zero);
      b.ifThen(found,
               [&] { scorer->scoreTile(getFirstQuery(), tile, boundsTile); });
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
  int64_t bytes = numHeads / group * scorer->getRowBytes(), size = kTile;
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

void ScoreKernel::forEachHead(function_ref<void(Value, Value)> body) {
  Value firstHead = b.mulI(walk.kvHead, b.index(group));
  b.forLoop(b.index(0), b.index(group), 1,
            [&](Value head) { body(head, b.addI(firstHead, head)); });
}

Value ScoreKernel::getFirstQuery() {
  return walk.hasGaps() ? b.index(0) : b.mulI(walk.kvHead, b.index(group));
}

/// Writes the tile's scores and bounds to slots [first, last).
void ScoreKernel::writeTile(Value first, Value last) {
  Value zero = b.index(0);
  float inf = std::numeric_limits<float>::infinity();
  bool hasBounds = kind != TileScorer::Bounds::same;
  // What is visible and yet -inf has overflowed, which bounds nothing; nor does
  // NaN, which scores of keys may be: they rank last.
  auto toBound = [&](Value value) -> Value {
    auto vector = dyn_cast<VectorType>(value.getType());
    auto like = [&](Value scalar) {
      return vector ? b.broadcast(scalar, vector.getDimSize(0)) : scalar;
    };
    auto equal = kind == TileScorer::Bounds::same ? CmpFPredicate::OEQ
                                                  : CmpFPredicate::UEQ;
    Value none = b.compare(equal, value, like(b.negInf()));
    return b.select(none, like(b.f32(inf)), value);
  };
  // An estimate stays what it is, whoever reads bounds.
  auto toScore = [&](Value value) {
    return scorer->getBounds() == TileScorer::Bounds::same ? toBound(value)
                                                           : value;
  };
  auto copyOne = [&](Value head, Value at, ValueRange to) {
    b.store(toScore(b.load(tile, {head, at})), scores, to);
    if (hasBounds)
      b.store(boundsTile ? toBound(b.load(boundsTile, {head, at})) : b.f32(inf),
              bounds, to);
  };
  auto copyAll = [&] {
    // Whole vectors, then what remains.
    Value number = b.subI(last, first), lanes = b.index(b.lanes);
    Value whole = b.mulI(b.divU(number, lanes), lanes);
    forEachHead([&](Value head, Value queryHead) {
      b.forLoop(zero, whole, b.lanes, [&](Value at) {
        Value to[] = {walk.row, queryHead, b.addI(first, at)};
        b.storeVector(toScore(b.loadVector(tile, {head, at})), scores, to);
        if (hasBounds)
          b.storeVector(boundsTile
                            ? toBound(b.loadVector(boundsTile, {head, at}))
                            : b.splat(inf, b.lanes),
                        bounds, to);
      });
      b.forLoop(whole, number, 1, [&](Value at) {
        copyOne(head, at, {walk.row, queryHead, b.addI(first, at)});
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
        copyOne(head, at, {walk.row, queryHead, walk.getSlot(at)});
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
      if (kind != TileScorer::Bounds::same)
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
