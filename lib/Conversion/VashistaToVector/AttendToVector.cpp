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

#include "KernelBuilder.h"
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
  AttendKernel(AttendOp op, KernelBuilder &b, AttendSizes sizes,
               int64_t registers)
      : op(op), b(b), sizes(sizes), registers(registers),
        // The butterfly of partial sums halves them.
        keyLanes(std::min(b.lanes, sizes.keyDim & -sizes.keyDim)),
        valueLanes(getLargestDivisor(sizes.valueDim, b.lanes)) {}

  void emit();

private:
  void emitTask();
  /// Writes the addresses of the visible tokens of slots [first, last) to a
  /// half of `physical` and `inPage`; yields their number.
  Value gatherAddresses(Value half, Value first, Value last);
  void scoreTile();
  void updateMaxima();
  void addValues();
  void mergeIntoOuts();

  /// The position in the sequence of a slot, and whether it is visible.
  std::pair<Value, Value> getPosition(Value slot);
  /// Indices of element `channel` of the cache row of a gathered token.
  SmallVector<Value> rowIndices(Value half, Value token, Value channel);
  /// The same for the token of the next tile that is prefetched while this one
  /// is used; one of this tile where there is no next.
  SmallVector<Value> nextRowIndices(Value token, Value channel);

  AttendOp op;
  KernelBuilder &b;
  AttendSizes sizes;
  int64_t registers, keyLanes, valueLanes;

  // Of the current task.
  Value row, kvHead, firstHead, length, sequence, numSlots;
  Value physical, inPage;      // [2, kTile] index: address of each token
  Value weights;               // [G, kTile] f32: scores, then weights
  Value maxima, sums, rescale; // [G] f32
  Value output;                // [G, Dv] f32
  Value queries;               // [G, D] f32

  // Of the current tile: its half of the addresses and its tokens, and what to
  // prefetch: the other half, or this one where nothing follows.
  Value half, count, prefetchHalf, prefetchCount;
};

} // namespace

void AttendKernel::emit() {
  Value rows = b.dim(op.getQuery(), 0);
  Value kvHeads = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  auto forall = scf::ForallOp::create(b, ArrayRef<OpFoldResult>{rows, kvHeads},
                                      ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  row = forall.getInductionVar(0);
  kvHead = forall.getInductionVar(1);
  // Scratch lives as long as the task.
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  emitTask();
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

void AttendKernel::emitTask() {
  Type indexType = b.getIndexType(), f32 = b.getF32Type();
  firstHead = b.mulI(kvHead, b.index(sizes.group));
  length = b.loadIndex(op.getSeqLens(), row);
  sequence = op.getRowToSeq() ? b.loadIndex(op.getRowToSeq(), row) : row;
  physical = b.scratch({2, kTile}, indexType);
  inPage = b.scratch({2, kTile}, indexType);
  weights = b.scratch({sizes.group, kTile}, f32);
  maxima = b.scratch({sizes.group}, f32);
  sums = b.scratch({sizes.group}, f32);
  rescale = b.scratch({sizes.group}, f32);
  output = b.scratch({sizes.group, sizes.valueDim}, f32);
  queries = b.scratch({sizes.group, sizes.keyDim}, f32);

  Value zero = b.index(0), group = b.index(sizes.group);
  b.forLoop(zero, group, 1, [&](Value head) {
    b.store(b.negInf(), maxima, head);
    b.store(b.f32(0.0f), sums, head);
    b.forLoop(zero, b.index(sizes.valueDim), valueLanes, [&](Value channel) {
      b.storeVector(b.splat(0.0f, valueLanes), output, {head, channel});
    });
    b.forLoop(zero, b.index(sizes.keyDim), keyLanes, [&](Value channel) {
      Value query = b.loadVector(
          op.getQuery(), {row, b.addI(firstHead, head), channel}, keyLanes);
      b.storeVector(query, queries, {head, channel});
    });
  });

  // Slots of the list, or of the sequence.
  if (op.getTokens() || op.getPages()) {
    Value list = op.getTokens() ? op.getTokens() : op.getPages();
    Value count = op.getTokens() ? op.getTokenCount() : op.getPageCount();
    numSlots = b.dim(list, 2);
    if (count)
      numSlots = b.minI(numSlots, b.loadIndex(count, {row, kvHead}));
    if (op.getPages())
      numSlots = b.mulI(numSlots, b.index(sizes.pageSize));
  } else {
    numSlots = length;
  }
  Value begin = zero, end = numSlots;
  if (op.getBegin()) {
    begin = b.maxI(op.getBegin(), zero);
    end = b.minI(op.getEnd(), numSlots);
  }
  Value tile = b.index(kTile), one = b.index(1);
  auto getLast = [&](Value first) { return b.minI(b.addI(first, tile), end); };
  Value firstCount = gatherAddresses(zero, begin, getLast(begin));
  b.forLoop(begin, end, kTile, ValueRange{firstCount, zero},
            [&](Value slot, ValueRange carried) -> SmallVector<Value> {
              count = carried[0];
              half = carried[1];
              Value otherHalf = b.subI(one, half);
              Value next = b.minI(b.addI(slot, tile), end);
              Value nextCount = gatherAddresses(otherHalf, next, getLast(next));
              Value follows = b.compare(CmpIPredicate::sgt, nextCount, zero);
              prefetchHalf = b.select(follows, otherHalf, half);
              prefetchCount = b.select(follows, nextCount, count);
              Value any = b.compare(CmpIPredicate::sgt, count, zero);
              b.ifThen(any, [&] {
                scoreTile();
                updateMaxima();
                addValues();
              });
              return {nextCount, otherHalf};
            });
  mergeIntoOuts();
}

std::pair<Value, Value> AttendKernel::getPosition(Value slot) {
  Value position = slot;
  Value listed;
  if (op.getTokens()) {
    position = b.loadIndex(op.getTokens(), {row, kvHead, slot});
    listed = b.compare(CmpIPredicate::sge, position, b.index(0));
  } else if (op.getPages()) {
    Value pageSize = b.index(sizes.pageSize);
    Value page =
        b.loadIndex(op.getPages(), {row, kvHead, b.divU(slot, pageSize)});
    listed = b.compare(CmpIPredicate::sge, page, b.index(0));
    position = b.addI(b.mulI(page, pageSize), b.remU(slot, pageSize));
  }
  Value visible = b.compare(CmpIPredicate::slt, position, length);
  return {position, listed ? b.andI(listed, visible) : visible};
}

Value AttendKernel::gatherAddresses(Value half, Value first, Value last) {
  Value pageSize = b.index(sizes.pageSize);
  return b
      .forLoop(first, last, 1, ValueRange{b.index(0)},
               [&](Value slot, ValueRange carried) -> SmallVector<Value> {
                 Value found = carried[0];
                 auto [position, visible] = getPosition(slot);
                 Value at = position;
                 b.ifThen(visible, [&] {
                   Value page = b.loadIndex(op.getPageTable(),
                                            {sequence, b.divU(at, pageSize)});
                   b.store(page, physical, {half, found});
                   b.store(b.remU(at, pageSize), inPage, {half, found});
                 });
                 return {b.select(visible, b.addI(found, b.index(1)), found)};
               })
      .front();
}

SmallVector<Value> AttendKernel::rowIndices(Value half, Value token,
                                            Value channel) {
  Value page = b.load(physical, {half, token});
  Value slot = b.load(inPage, {half, token});
  if (op.getLayout() == Layout::hnd)
    return {page, kvHead, slot, channel};
  return {page, slot, kvHead, channel};
}

SmallVector<Value> AttendKernel::nextRowIndices(Value token, Value channel) {
  Value other = b.minI(token, b.subI(prefetchCount, b.index(1)));
  return rowIndices(prefetchHalf, other, channel);
}

/// weights[h][t] = cap(scale <q_h, k_t>) / epsilon
void AttendKernel::scoreTile() {
  RowScores scores(b, sizes.group, sizes.keyDim, keyLanes);
  scores.terms.push_back({queries, [&](ValueRange indices) {
                            return b.loadVector(op.getKCache(), indices,
                                                keyLanes);
                          }});
  scores.indices = [&](Value token, Value channel) {
    return rowIndices(half, token, channel);
  };
  scores.nextIndices = [&](Value token, Value channel) {
    return nextRowIndices(token, channel);
  };
  scores.prefetch = [&](ValueRange indices) {
    b.prefetch(op.getKCache(), indices);
  };
  scores.finish = [&](Value sums) {
    return b.toLogits(sums, op.getScale(), op.getSoftCap(),
                      op.getSolver().getEpsilon());
  };
  scores.scores = weights;
  scores.emit(count);
}

/// For each head: the new maximum m, the weights exp(x - m), their sum, and the
/// factor exp(m_old - m) of what came before.
void AttendKernel::updateMaxima() {
  Value zero = b.index(0);
  auto maskType = VectorType::get({b.lanes}, b.getI1Type());
  Value minusInf = b.broadcast(b.negInf());
  auto isToken = [&](Value first) -> Value {
    return vector::CreateMaskOp::create(b, maskType,
                                        ValueRange{b.subI(count, first)});
  };
  b.forLoop(zero, b.index(sizes.group), 1, [&](Value head) {
    Value old = b.load(maxima, head);
    // Slots past the last token hold what an earlier tile left: select.
    Value largest =
        b.forLoop(zero, count, b.lanes, ValueRange{minusInf},
                  [&](Value first, ValueRange carried) -> SmallVector<Value> {
                    Value scores = b.loadVector(weights, {head, first});
                    scores = b.select(isToken(first), scores, minusInf);
                    return {b.maxF(carried[0], scores)};
                  })
            .front();
    Value newMax = b.maxF(old, b.reduceMax(largest));
    // exp(-inf - -inf) must be 0: shift by 0 where nothing is finite yet.
    Value isEmpty = b.compare(CmpFPredicate::OEQ, newMax, b.negInf());
    Value shift = b.select(isEmpty, b.f32(0.0f), newMax);
    Value shifts = b.broadcast(shift);
    Value partial =
        b.forLoop(zero, count, b.lanes, ValueRange{b.splat(0.0f, b.lanes)},
                  [&](Value first, ValueRange carried) -> SmallVector<Value> {
                    Value scores = b.loadVector(weights, {head, first});
                    Value powers = b.exp(b.subF(scores, shifts));
                    powers = b.select(isToken(first), powers,
                                      b.splat(0.0f, b.lanes));
                    b.storeVector(powers, weights, {head, first});
                    return {b.addF(carried[0], powers)};
                  })
            .front();
    Value factor = b.exp(b.subF(old, shift));
    Value sum =
        b.addF(b.mulF(b.load(sums, head), factor), b.reduceAdd(partial));
    b.store(newMax, maxima, head);
    b.store(sum, sums, head);
    b.store(factor, rescale, head);
  });
}

/// output[h] = rescale[h] * output[h] + sum_t weights[h][t] v_t
void AttendKernel::addValues() {
  int64_t headBlock = getLargestDivisor(sizes.group, 4);
  int64_t chunks = sizes.valueDim / valueLanes;
  // Accumulators, one value vector per chunk, and one weight.
  int64_t limit = std::max<int64_t>((registers - 2) / (headBlock + 1), 1);
  int64_t chunkBlock = getLargestDivisor(chunks, limit);
  Value zero = b.index(0);
  for (int64_t head = 0; head < sizes.group; head += headBlock) {
    b.forLoop(
        zero, b.index(sizes.valueDim), chunkBlock * valueLanes,
        [&](Value channel) {
          auto forEach = [&](auto body) {
            for (int64_t h = 0; h < headBlock; ++h)
              for (int64_t c = 0; c < chunkBlock; ++c)
                body(b.index(head + h),
                     b.addI(channel, b.index(c * valueLanes)));
          };
          SmallVector<Value> sumsOfValues;
          forEach([&](Value h, Value c) {
            Value factor = b.broadcast(b.load(rescale, h), valueLanes);
            sumsOfValues.push_back(
                b.mulF(b.loadVector(output, {h, c}, valueLanes), factor));
          });
          sumsOfValues = b.forLoop(
              zero, count, 1, sumsOfValues,
              [&](Value token, ValueRange carried) {
                SmallVector<Value> indices = rowIndices(half, token, channel);
                SmallVector<Value> nextIndices = nextRowIndices(token, channel);
                SmallVector<Value> values, next;
                for (int64_t c = 0; c < chunkBlock; ++c) {
                  Value here = b.addI(channel, b.index(c * valueLanes));
                  indices.back() = nextIndices.back() = here;
                  values.push_back(
                      b.loadVector(op.getVCache(), indices, valueLanes));
                  if (head == 0)
                    b.prefetch(op.getVCache(), nextIndices);
                }
                for (int64_t h = 0; h < headBlock; ++h) {
                  Value weight = b.broadcast(
                      b.load(weights, {b.index(head + h), token}), valueLanes);
                  for (int64_t c = 0; c < chunkBlock; ++c)
                    next.push_back(
                        b.fma(weight, values[c], carried[h * chunkBlock + c]));
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

/// Joins the task's state with the one in the destinations. An empty state has
/// no influence, whatever its output holds.
void AttendKernel::mergeIntoOuts() {
  Value outs = op.getOuts()[0], lses = op.getOuts()[1];
  Value zero = b.index(0);
  b.forLoop(zero, b.index(sizes.group), 1, [&](Value head) {
    Value queryHead = b.addI(firstHead, head);
    Value sum = b.load(sums, head);
    // NaN is not empty.
    Value any = b.compare(CmpFPredicate::UNE, sum, b.f32(0.0f));
    b.ifThen(any, [&] {
      Value before = b.load(lses, {row, queryHead});
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
      Value emptyMask = vector::BroadcastOp::create(
          b, VectorType::get({valueLanes}, b.getI1Type()), wasEmpty);
      b.forLoop(zero, b.index(sizes.valueDim), valueLanes, [&](Value channel) {
        SmallVector<Value> indices = {row, queryHead, channel};
        Value old = b.mulF(b.loadVector(outs, indices, valueLanes),
                           b.broadcast(factorBefore, valueLanes));
        old = b.select(emptyMask, b.splat(0.0f, valueLanes), old);
        Value added = b.mulF(b.loadVector(output, {head, channel}, valueLanes),
                             b.broadcast(factorNow, valueLanes));
        b.storeVector(b.addF(old, added), outs, indices);
      });
      b.store(lse, lses, {row, queryHead});
    });
  });
}

LogicalResult vashista::lowerAttend(AttendOp op, PatternRewriter &rewriter,
                                    const CpuTarget &target) {
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
  KernelBuilder b(op.getLoc(), rewriter, target.lanes);
  AttendKernel(op, b, sizes, target.registers).emit();
  rewriter.eraseOp(op);
  return success();
}
