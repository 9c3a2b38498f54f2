//===- AttendToVector.cpp - Softmax attention as a CPU kernel -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A task walks its slots in tiles: it gathers the addresses of the tile's
// visible tokens, scores them against the group's queries, updates the running
// maximum and sum of each query head, and adds the weighted values.
//
// Bytes: each visible token's K and V once per group (2 * D * bytes per KV
// head). Multiply-adds: 2 * G * D per token. The inner loops keep a block of
// tokens x heads (scores) or heads x channels (values) in registers.
//
//===----------------------------------------------------------------------===//

#include "AttendKernel.h"
#include "RowScores.h"
#include "RowSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

class SoftmaxKernel : public AttendKernel {
public:
  using AttendKernel::AttendKernel;

private:
  void emitTask() override;
  /// Products of keys and queries in bf16 are summed in pairs.
  bool hasDots() {
    return b.target.dotsBF16 && keys.hasPairs() &&
           getElementTypeOrSelf(op.getQuery()).isBF16();
  }
  void scoreTile();
  void updateMaxima();
  void addValues();
  void mergeIntoOuts();

  Value weights;         // [G, kTile] f32: scores, then weights
  Value tileMaxima;      // [G] f32
  Value maxima, rescale; // [G] f32
  Value partialSums;     // [G, lanes] f32
  Value output;          // [G, Dv] f32, in the order of `values`
  Value queries;         // [G, D] f32, in the order of `keys`
};

} // namespace

void SoftmaxKernel::emitTask() {
  Type f32 = b.getF32Type();
  weights = b.scratch({group, kTile}, f32);
  tileMaxima = b.scratch({group}, f32);
  maxima = b.scratch({group}, f32);
  rescale = b.scratch({group}, f32);
  partialSums = b.scratch({group, b.lanes}, f32);
  output = b.scratch({group, valueDim}, f32);
  queries = b.scratch({group, keyDim}, hasDots() ? Type(b.getBF16Type()) : f32);

  Value zero = b.index(0);
  b.storeVector(b.splat(-std::numeric_limits<float>::infinity(), group), maxima,
                zero);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    b.storeVector(b.splat(0.0f, b.lanes), partialSums, {head, zero});
    b.forLoop(zero, b.index(valueDim), values.lanes, [&](Value channel) {
      b.storeVector(b.splat(0.0f, values.lanes), output, {head, channel});
    });
    b.forLoop(zero, b.index(keyDim), keys.getStep(), [&](Value channel) {
      SmallVector<Value> at = {walk.row, getQueryHead(head), channel};
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
void SoftmaxKernel::scoreTile() {
  RowScores scores(b, walk, keys.getRows(), group);
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
void SoftmaxKernel::updateMaxima() {
  Value zero = b.index(0);
  Value old = b.loadVector(maxima, zero, group);
  Value newMax = b.maxNum(b.loadVector(tileMaxima, zero, group), old);
  // exp(-inf - -inf) must be 0: shift by 0 where nothing is finite yet.
  Value isEmpty =
      b.compare(CmpFPredicate::OEQ, newMax, b.broadcast(b.negInf(), group));
  Value shift = b.select(isEmpty, b.splat(0.0f, group), newMax);
  b.storeVector(newMax, maxima, zero);
  b.storeVector(shift, tileMaxima, zero);
  b.storeVector(b.exp(b.subF(old, shift)), rescale, zero);

  auto maskType = VectorType::get({b.lanes}, b.getI1Type());
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
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
void SoftmaxKernel::addValues() {
  RowSums sums(b, walk, values, group);
  sums.rows = op.getVCache();
  sums.weights = weights;
  sums.rescale = rescale;
  sums.sums = output;
  sums.emit();
}

/// Joins the task's state with the one in the destinations. An empty state has
/// no influence, whatever its output holds.
void SoftmaxKernel::mergeIntoOuts() {
  Value outs = op.getOuts()[0], lses = op.getOuts()[1];
  Value zero = b.index(0);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    Value queryHead = getQueryHead(head);
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
      b.forLoop(zero, b.index(valueDim), values.getStep(), [&](Value channel) {
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

std::unique_ptr<AttendKernel> vashista::makeSoftmaxKernel(AttendOp op,
                                                          KernelBuilder &b) {
  return std::make_unique<SoftmaxKernel>(op, b);
}
