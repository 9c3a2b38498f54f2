//===- AttendToVector.cpp - vashista.attend as a CPU kernel -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head. A task walks its slots in tiles: it gathers the
// addresses of the tile's visible tokens, scores them against the group's
// queries, updates the running maximum and sum of each query head, and adds the
// weighted values. Invisible slots never become addresses, so nothing of them
// is ever loaded.
//
// Bytes: each visible token's K and V once per group (2 * D * bytes per KV
// head). Multiply-adds: 2 * G * D per token. The inner loops keep a block of
// tokens x heads (scores) or heads x channels (values) in registers.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "RowScores.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

/// The sizes of one attend, all of which the kernel needs to know statically.
struct AttendSizes {
  int64_t group, keyDim, valueDim, pageSize;
};

class AttendKernel {
public:
  AttendKernel(AttendOp op, KernelBuilder &b, AttendSizes sizes)
      : op(op), b(b), sizes(sizes),
        headBlock(getLargestDivisor(sizes.group, 4)),
        walk(b, getLists(op), sizes.pageSize, SlotUnit::tokens, op.getLayout()),
        // The butterfly of partial sums halves them.
        keys(b, sizes.keyDim, std::min(b.lanes, sizes.keyDim & -sizes.keyDim),
             getElementTypeOrSelf(op.getKCache())),
        values(b, sizes.valueDim, getLargestDivisor(sizes.valueDim, b.lanes),
               getElementTypeOrSelf(op.getVCache()), getMostValues()) {}

  void emit();

private:
  /// Products of keys and queries in bf16 are summed in pairs.
  bool hasDots() {
    return b.target.dotsBF16 && keys.hasPairs() &&
           getElementTypeOrSelf(op.getQuery()).isBF16();
  }
  static TileWalk::Lists getLists(AttendOp op) {
    return {op.getPageTable(), op.getSeqLens(),   op.getRowToSeq(),
            op.getPages(),     op.getPageCount(), op.getTokens(),
            op.getTokenCount()};
  }
  /// Vectors of values of a block of heads: beside each there are the sums of
  /// the heads, and one register holds a weight.
  int64_t getMostValues() {
    return std::max<int64_t>((b.target.registers - 2) / (headBlock + 1), 1);
  }
  void emitTask();
  void scoreTile();
  void updateMaxima();
  void addValues();
  void prefetchBlock(Value token, Value channel, int64_t size, int64_t line);
  void mergeIntoOuts();

  AttendOp op;
  KernelBuilder &b;
  AttendSizes sizes;
  int64_t headBlock;
  TileWalk walk;
  RowVectors keys, values;

  // Of the current task.
  Value firstHead;
  Value weights;         // [G, kTile] f32: scores, then weights
  Value tileMaxima;      // [G] f32
  Value maxima, rescale; // [G] f32
  Value partialSums;     // [G, lanes] f32
  Value output;          // [G, Dv] f32, in the order of `values`
  Value queries;         // [G, D] f32, in the order of `keys`
};

} // namespace

void AttendKernel::emit() {
  Value rows = b.dim(op.getQuery(), 0);
  Value kvHeads = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  auto forall = scf::ForallOp::create(b, ArrayRef<OpFoldResult>{rows, kvHeads},
                                      ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  // Scratch lives as long as the task.
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  walk.begin(forall.getInductionVar(0), forall.getInductionVar(1));
  emitTask();
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

void AttendKernel::emitTask() {
  Type f32 = b.getF32Type();
  firstHead = b.mulI(walk.kvHead, b.index(sizes.group));
  weights = b.scratch({sizes.group, kTile}, f32);
  tileMaxima = b.scratch({sizes.group}, f32);
  maxima = b.scratch({sizes.group}, f32);
  rescale = b.scratch({sizes.group}, f32);
  partialSums = b.scratch({sizes.group, b.lanes}, f32);
  output = b.scratch({sizes.group, sizes.valueDim}, f32);
  queries = b.scratch({sizes.group, sizes.keyDim},
                      hasDots() ? Type(b.getBF16Type()) : f32);

  Value zero = b.index(0), group = b.index(sizes.group);
  b.storeVector(b.splat(-std::numeric_limits<float>::infinity(), sizes.group),
                maxima, zero);
  b.forLoop(zero, group, 1, [&](Value head) {
    b.storeVector(b.splat(0.0f, b.lanes), partialSums, {head, zero});
    b.forLoop(zero, b.index(sizes.valueDim), values.lanes, [&](Value channel) {
      b.storeVector(b.splat(0.0f, values.lanes), output, {head, channel});
    });
    b.forLoop(zero, b.index(sizes.keyDim), keys.getStep(), [&](Value channel) {
      SmallVector<Value> at = {walk.row, b.addI(firstHead, head), channel};
      if (hasDots()) {
        int64_t size = 2 * keys.lanes;
        for (auto [i, pairs] :
             llvm::enumerate(keys.loadPairs(op.getQuery(), at)))
          b.storeVector(pairs, queries,
                        {head, b.addI(channel, b.index(i * size))});
        return;
      }
      keys.store(keys.permute(keys.loadConsecutive(op.getQuery(), at)), queries,
                 {head, channel});
    });
  });

  Value begin = zero, end = walk.numSlots;
  if (op.getBegin()) {
    begin = b.maxI(op.getBegin(), zero);
    end = b.minI(op.getEnd(), end);
  }
  walk.sources = {op.getKCache(), op.getVCache()};
  walk.forEachTile(begin, end, [&](Value, Value) {
    Value any = b.compare(CmpIPredicate::sgt, walk.count, zero);
    b.ifThen(any, [&] {
      scoreTile();
      updateMaxima();
      addValues();
    });
  });
  mergeIntoOuts();
}

/// weights[h][t] = cap(scale <q_h, k_t>) / epsilon
void AttendKernel::scoreTile() {
  RowScores scores(b, walk, keys.getRows(), sizes.group);
  scores.terms.push_back({queries,
                          [&](ValueRange indices) {
                            return hasDots()
                                       ? keys.loadPairs(op.getKCache(), indices)
                                       : keys.load(op.getKCache(), indices);
                          },
                          hasDots()});
  scores.prefetched = {op.getKCache()};
  scores.finish = [&](Value dots) {
    return b.toLogits(dots, op.getScale(), op.getSoftCap(),
                      op.getSolver().getEpsilon());
  };
  scores.scores = weights;
  scores.maxima = tileMaxima;
  scores.emit();
}

/// For each head: the new maximum m, the weights exp(x - m), their sums, and
/// the factor exp(m_old - m) of what came before. A NaN among the scores is no
/// maximum: its weight is NaN, and with that sum and output.
void AttendKernel::updateMaxima() {
  Value zero = b.index(0);
  Value old = b.loadVector(maxima, zero, sizes.group);
  Value newMax = b.maxNum(b.loadVector(tileMaxima, zero, sizes.group), old);
  // exp(-inf - -inf) must be 0: shift by 0 where nothing is finite yet.
  Value isEmpty = b.compare(CmpFPredicate::OEQ, newMax,
                            b.broadcast(b.negInf(), sizes.group));
  Value shift = b.select(isEmpty, b.splat(0.0f, sizes.group), newMax);
  b.storeVector(newMax, maxima, zero);
  b.storeVector(shift, tileMaxima, zero);
  b.storeVector(b.exp(b.subF(old, shift)), rescale, zero);

  auto maskType = VectorType::get({b.lanes}, b.getI1Type());
  b.forLoop(zero, b.index(sizes.group), 1, [&](Value head) {
    Value shifts = b.broadcast(b.load(tileMaxima, head));
    Value factors = b.broadcast(b.load(rescale, head));
    Value before = b.loadVector(partialSums, {head, zero});
    Value after =
        b.forLoop(zero, walk.count, b.lanes,
                  ValueRange{b.mulF(before, factors)},
                  [&](Value first, ValueRange carried) -> SmallVector<Value> {
                    Value scores = b.loadVector(weights, {head, first});
                    Value powers = b.exp(b.subF(scores, shifts));
                    // Slots past the last token hold what an earlier tile
                    // left: select.
                    Value isToken = vector::CreateMaskOp::create(
                        b, maskType, ValueRange{b.subI(walk.count, first)});
                    powers = b.select(isToken, powers, b.splat(0.0f, b.lanes));
                    b.storeVector(powers, weights, {head, first});
                    return {b.addF(carried[0], powers)};
                  })
            .front();
    b.storeVector(after, partialSums, {head, zero});
  });
}

/// output[h] = rescale[h] * output[h] + sum_t weights[h][t] v_t
void AttendKernel::addValues() {
  int64_t parts = values.getNumParts(), lanes = values.lanes;
  int64_t numSteps = sizes.valueDim / values.getStep();
  int64_t stepBlock = getLargestDivisor(
      numSteps, std::max<int64_t>(getMostValues() / parts, 1));
  int64_t blockVectors = stepBlock * parts;
  int64_t elementBytes =
      getElementTypeOrSelf(op.getVCache()).getIntOrFloatBitWidth() / 8;
  Value zero = b.index(0);
  for (int64_t head = 0; head < sizes.group; head += headBlock) {
    b.forLoop(zero, b.index(sizes.valueDim), blockVectors * lanes,
              [&](Value channel) {
                auto forEach = [&](auto body) {
                  for (int64_t h = 0; h < headBlock; ++h)
                    for (int64_t c = 0; c < blockVectors; ++c)
                      body(b.index(head + h),
                           b.addI(channel, b.index(c * lanes)));
                };
                SmallVector<Value> sumsOfValues;
                forEach([&](Value h, Value c) {
                  Value factor = b.broadcast(b.load(rescale, h), lanes);
                  sumsOfValues.push_back(
                      b.mulF(b.loadVector(output, {h, c}, lanes), factor));
                });
                sumsOfValues = b.forLoop(
                    zero, walk.count, 1, sumsOfValues,
                    [&](Value token, ValueRange carried) {
                      SmallVector<Value> indices = walk.getRow(token, channel);
                      SmallVector<Value> vectors, next;
                      for (int64_t step = 0; step < stepBlock; ++step) {
                        indices.back() =
                            b.addI(channel, b.index(step * values.getStep()));
                        vectors.append(values.load(op.getVCache(), indices));
                      }
                      if (head == 0)
                        prefetchBlock(token, channel, blockVectors * lanes,
                                      kLineBytes / elementBytes);
                      for (int64_t h = 0; h < headBlock; ++h) {
                        Value weight = b.broadcast(
                            b.load(weights, {b.index(head + h), token}), lanes);
                        for (int64_t c = 0; c < blockVectors; ++c)
                          next.push_back(b.fma(weight, vectors[c],
                                               carried[h * blockVectors + c]));
                      }
                      return next;
                    });
                unsigned i = 0;
                forEach([&](Value h, Value c) {
                  b.storeVector(sumsOfValues[i++], output, {h, c});
                });
              });
  }
}

/// Asks for `size` channels of the next tile's values, a line at a time, in the
/// order in which they lie in memory, and again for those that are added soon.
void AttendKernel::prefetchBlock(Value token, Value channel, int64_t size,
                                 int64_t line) {
  // Blocks of channels are walked tile by tile.
  int64_t perRow = sizes.valueDim / size;
  Value block = b.divU(channel, b.index(size));
  Value number = b.addI(b.mulI(block, b.index(kTile)), token);
  Value same = b.addI(b.mulI(token, b.index(perRow)), block);
  for (SmallVector<Value> at : {walk.getAhead(number, perRow, size),
                                walk.getSoon(same, perRow, size)}) {
    Value start = at.back();
    for (int64_t i = 0; i < size; i += line) {
      at.back() = b.addI(start, b.index(i));
      b.prefetch(op.getVCache(), at);
    }
  }
}

/// Joins the task's state with the one in the destinations. An empty state has
/// no influence, whatever its output holds.
void AttendKernel::mergeIntoOuts() {
  Value outs = op.getOuts()[0], lses = op.getOuts()[1];
  Value zero = b.index(0);
  b.forLoop(zero, b.index(sizes.group), 1, [&](Value head) {
    Value queryHead = b.addI(firstHead, head);
    Value sum = b.reduceAdd(b.loadVector(partialSums, {head, zero}));
    // NaN is not empty.
    Value any = b.compare(CmpFPredicate::UNE, sum, b.f32(0.0f));
    b.ifThen(any, [&] {
      Value before = b.load(lses, {walk.row, queryHead});
      Value now = b.addF(b.load(maxima, head), b.log(sum));
      Value wasEmpty = b.compare(CmpFPredicate::OEQ, before, b.negInf());
      Value most = b.maxF(before, now);
      Value weightBefore = b.exp(b.subF(before, most));
      Value weightNow = b.exp(b.subF(now, most));
      Value total = b.addF(weightBefore, weightNow);
      Value lse = b.select(wasEmpty, now, b.addF(most, b.log(total)));
      Value factorNow = b.select(wasEmpty, b.divF(b.f32(1.0f), sum),
                                 b.divF(weightNow, b.mulF(total, sum)));
      Value factorBefore = b.divF(weightBefore, total);
      int64_t lanes = values.lanes;
      Value emptyMask = vector::BroadcastOp::create(
          b, VectorType::get({lanes}, b.getI1Type()), wasEmpty);
      b.forLoop(
          zero, b.index(sizes.valueDim), values.getStep(), [&](Value channel) {
            SmallVector<Value> at = {walk.row, queryHead, channel};
            SmallVector<Value> added =
                values.restore(values.loadConsecutive(output, {head, channel}));
            SmallVector<Value> old = values.loadConsecutive(outs, at);
            for (auto [sum, kept] : llvm::zip_equal(added, old)) {
              kept = b.mulF(kept, b.broadcast(factorBefore, lanes));
              kept = b.select(emptyMask, b.splat(0.0f, lanes), kept);
              sum = b.addF(kept, b.mulF(sum, b.broadcast(factorNow, lanes)));
            }
            values.store(added, outs, at);
          });
      b.store(lse, lses, {walk.row, queryHead});
    });
  });
}

LogicalResult vashista::lowerAttend(AttendOp op, PatternRewriter &rewriter,
                                    const KernelTarget &target) {
  if (!op.hasPureBufferSemantics())
    return rewriter.notifyMatchFailure(op, "expected buffers");
  if (op.getSolver().getKind() != SolverKind::softmax)
    return rewriter.notifyMatchFailure(op, "expected the softmax solver");
  auto getDim = [](Value memref, unsigned position) {
    return cast<MemRefType>(memref.getType()).getDimSize(position);
  };
  bool hnd = op.getLayout() == Layout::hnd;
  AttendSizes sizes = {op.getGroupSize(), getDim(op.getKCache(), 3),
                       getDim(op.getVCache(), 3),
                       getDim(op.getKCache(), hnd ? 2 : 1)};
  if (ShapedType::isDynamic(sizes.group) ||
      ShapedType::isDynamic(sizes.keyDim) ||
      ShapedType::isDynamic(sizes.valueDim))
    return rewriter.notifyMatchFailure(op, "expected static head sizes");
  KernelBuilder b(op.getLoc(), rewriter, target);
  AttendKernel(op, b, sizes).emit();
  rewriter.eraseOp(op);
  return success();
}
