//===- PickToLinalg.cpp - vashista.pick as loops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One task per row and KV head. Every slot gets a weight, log of its visible
// tokens, or -inf where it is invisible or taken. Slots are ranked by an
// integer whose order is that of max_h (score_h + weight - ref_h); sinks and
// window rank above all, what cannot be picked is 0. The rank of the last pick
// is found bit by bit, by counting vectors of ranks; picks are then written in
// the order of their slots, ties to the lowest. A pick's weight becomes -inf,
// so that the tail is a log-sum-exp over what has a weight left.
//
// `proving` picks all that it needs (ProvingPick.cpp), and ranks only where
// that is more than the budget.
//
// Cost: O(G L) vector work for ranks and tails, 32 L counts in vectors where
// there is more to pick from than the budget.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "PickKernel.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/PatternMatch.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

SmallVector<Value> PickKernel::emit() {
  ReifiedRankedShapedTypeDims shapes;
  (void)op.reifyResultShapes(b, shapes);
  scores = b.readOnly(op.getScores());
  bounds = b.readOnly(op.getBounds());
  lengths = b.readOnly(op.getSeqLens());
  pages = b.readOnly(op.getPages());
  pageCount = b.readOnly(op.getPageCount());
  taken = b.readOnly(op.getTaken());
  outside = b.readOnly(op.getOutside());
  attended = b.readOnly(op.getAttended());
  moment = b.readOnly(op.getMoment());
  SmallVector<Value> results;
  for (auto [sizes, type] : llvm::zip(shapes, op->getResultTypes())) {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> shape;
    dispatchIndexOpFoldResults(sizes, dynamic, shape);
    results.push_back(memref::AllocOp::create(
        b, MemRefType::get(shape, getElementTypeOrSelf(type)), dynamic,
        b.getI64IntegerAttr(64)));
  }
  ids = results[0];
  counts = results[1];
  tails = results[2];

  auto forall = scf::ForallOp::create(
      b,
      ArrayRef<OpFoldResult>{b.dim(scores, 0), b.getIndexAttr(op.getKvHeads())},
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
  SmallVector<Value> tensors;
  for (auto [buffer, type] : llvm::zip(results, op->getResultTypes()))
    tensors.push_back(bufferization::ToTensorOp::create(
        b, type, buffer, /*restrict=*/true, /*writable=*/true));
  return tensors;
}

void PickKernel::emitTask() {
  firstHead = b.mulI(kvHead, b.index(group));
  length = b.loadIndex(lengths, row);
  numSlots = b.dim(scores, 2);
  padded =
      b.mulI(b.divU(b.addI(numSlots, b.index(b.lanes - 1)), b.index(b.lanes)),
             b.index(b.lanes));
  weights = memref::AllocOp::create(
      b, MemRefType::get({ShapedType::kDynamic}, b.getF32Type()), padded,
      b.getI64IntegerAttr(64));
  ranks = memref::AllocOp::create(
      b, MemRefType::get({ShapedType::kDynamic}, b.getI32Type()), padded,
      b.getI64IntegerAttr(64));
  isNan = b.scratch({group}, b.getI1Type());

  weighSlots();
  if (taken)
    excludeTaken();
  bool mayBeProved = op.getMode() == PickMode::proving && attended &&
                     op.getSinks() == 0 && op.getWindow() == 0;
  if (!mayBeProved)
    return pickAndSum();
  // Most groups of a later round are proved already.
  findTops();
  writeTails();
  Value proved = isProved();
  b.ifThen(proved, [&] { writeNothing(); });
  Value yes = arith::ConstantOp::create(b, b.getBoolAttr(true));
  b.ifThen(arith::XOrIOp::create(b, proved, yes), [&] { pickAndSum(); });
}

void PickKernel::writeNothing() {
  b.store(i32(0), counts, {row, kvHead});
  b.forLoop(b.index(0), b.index(op.getBudget()), 1, [&](Value at) {
    b.store(i32(-1), ids, {row, kvHead, at});
  });
}

void PickKernel::pickAndSum() {
  openSlots();
  raiseAlways();
  if (op.getMode() == PickMode::proving)
    dropUnneeded();
  else
    rankSlots();
  // As many as there are to pick from, and at most the budget.
  Value budget = b.index(op.getBudget()), one = i32(1);
  Value available = countRanks(CmpIPredicate::ugt, i32(0));
  Value need = b.minI(available, budget);
  auto threshold = scf::IfOp::create(
      b, b.compare(CmpIPredicate::sgt, available, budget),
      [&](OpBuilder &nested, Location) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        if (op.getMode() == PickMode::proving)
          rankSlots();
        scf::YieldOp::create(b, findThreshold(need));
      },
      [&](OpBuilder &nested, Location loc) {
        scf::YieldOp::create(nested, loc, one);
      });
  Value picked = writePicks(threshold.getResult(0), need);
  b.store(arith::IndexCastOp::create(b, b.getI32Type(), picked), counts,
          {row, kvHead});
  b.forLoop(picked, budget, 1, [&](Value at) {
    b.store(i32(-1), ids, {row, kvHead, at});
  });
  if (!op.getTail().use_empty())
    writeTails();
}

Value PickKernel::getPosition(Value slot) {
  if (!pages)
    return b.mulI(slot, b.index(unit));
  Value size = b.index(op.getPageSize());
  Value page = b.loadIndex(pages, {row, kvHead, b.divU(slot, size)});
  return b.addI(b.mulI(page, size), b.remU(slot, size));
}

/// weights[slot] = log of its visible tokens; -inf for none, and past the end.
void PickKernel::weighSlots() {
  Value zero = b.index(0), minusInf = b.broadcast(b.negInf());
  float full = static_cast<float>(std::log(double(unit)));
  Value tokens = b.maxI(length, zero);
  // Without a list, slots that are full come first.
  Value numFull = zero;
  if (!pages)
    numFull = b.minI(b.divU(tokens, b.index(unit)), numSlots);
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  b.forLoop(zero, padded, b.lanes, [&](Value first) {
    Value isFull = vector::CreateMaskOp::create(
        b, bits, ValueRange{b.subI(numFull, first)});
    b.storeVector(b.select(isFull, b.splat(full, b.lanes), minusInf), weights,
                  first);
  });
  if (pages)
    return forEachPage([&](Value first, Value start) {
      Value visible = b.minI(b.subI(length, start), b.index(op.getPageSize()));
      b.forLoop(zero, visible, 1, [&](Value token) {
        b.store(b.f32(full), weights, b.addI(first, token));
      });
    });
  if (unit == 1)
    return;
  Value rest = b.remU(tokens, b.index(unit));
  Value isPartial = b.andI(b.compare(CmpIPredicate::sgt, rest, zero),
                           b.compare(CmpIPredicate::slt, numFull, numSlots));
  b.ifThen(isPartial, [&] {
    Value number = arith::UIToFPOp::create(
        b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI32Type(), rest));
    b.store(b.log(number), weights, numFull);
  });
}

void PickKernel::forEachPage(function_ref<void(Value, Value)> body) {
  Value zero = b.index(0), size = b.index(op.getPageSize());
  // Entries of the list that may be read.
  Value number = b.dim(pages, 2);
  if (pageCount)
    number = b.minI(number, b.loadIndex(pageCount, {row, kvHead}));
  b.forLoop(zero, number, 1, [&](Value entry) {
    Value page = b.loadIndex(pages, {row, kvHead, entry});
    b.ifThen(b.compare(CmpIPredicate::sge, page, zero),
             [&] { body(b.mulI(entry, size), b.mulI(page, size)); });
  });
}

/// A taken slot is neither picked nor in the tail.
void PickKernel::excludeTaken() {
  Value zero = b.index(0), none = b.negInf();
  b.forLoop(zero, b.dim(taken, 2), 1, [&](Value entry) {
    Value id = b.loadIndex(taken, {row, kvHead, entry});
    Value known = b.compare(CmpIPredicate::sge, id, zero);
    b.ifThen(known, [&] {
      if (!pages) {
        Value inside = b.compare(CmpIPredicate::slt, id, numSlots);
        b.ifThen(inside, [&] { b.store(none, weights, id); });
        return;
      }
      // A position within listed pages: its slot is where its page is listed.
      Value size = b.index(op.getPageSize());
      Value page = b.divU(id, size), within = b.remU(id, size);
      b.forLoop(zero, b.dim(pages, 2), 1, [&](Value at) {
        Value same = b.compare(CmpIPredicate::eq,
                               b.loadIndex(pages, {row, kvHead, at}), page);
        b.ifThen(same, [&] {
          b.store(none, weights, b.addI(b.mulI(at, size), within));
        });
      });
    });
  });
}

Value PickKernel::weighted(Value from, Value head, Value first) {
  Value mask =
      vector::CreateMaskOp::create(b, VectorType::get({b.lanes}, b.getI1Type()),
                                   ValueRange{b.subI(numSlots, first)});
  Value minusInf = b.broadcast(b.negInf());
  Value values = vector::MaskedLoadOp::create(
      b, b.vectorType(), from, ValueRange{row, b.addI(firstHead, head), first},
      mask, minusInf);
  Value weight = b.loadVector(weights, first);
  // Select, not add: what has no weight may hold anything.
  Value none = b.compare(CmpFPredicate::OEQ, weight, minusInf);
  return b.select(none, minusInf, b.addF(values, weight));
}

std::pair<Value, Value> PickKernel::logSumExp(Value from, Value head) {
  Value zero = b.index(0), minusInf = b.broadcast(b.negInf());
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value noNan =
      arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
  auto withoutNan = [&](Value values) -> std::pair<Value, Value> {
    Value nan = b.compare(CmpFPredicate::UNO, values, values);
    return {b.select(nan, minusInf, values), nan};
  };
  SmallVector<Value> found =
      b.forLoop(zero, padded, b.lanes, ValueRange{minusInf, noNan},
                [&](Value first, ValueRange carried) -> SmallVector<Value> {
                  auto [values, nan] = withoutNan(weighted(from, head, first));
                  return {b.maxF(carried[0], values),
                          arith::OrIOp::create(b, carried[1], nan)};
                });
  Value most = b.reduceMax(found[0]);
  Value any =
      vector::ReductionOp::create(b, vector::CombiningKind::OR, found[1]);
  // Infinite maxima are their own log-sum-exp, and must not meet exp.
  Value size = b.absF(most);
  Value infinite = b.compare(CmpFPredicate::OEQ, size,
                             b.f32(std::numeric_limits<float>::infinity()));
  Value shift = b.broadcast(b.select(infinite, b.f32(0.0f), most));
  Value end = b.select(infinite, zero, padded);
  Value partial =
      b.forLoop(zero, end, b.lanes, ValueRange{b.splat(0.0f, b.lanes)},
                [&](Value first, ValueRange carried) -> SmallVector<Value> {
                  Value values = withoutNan(weighted(from, head, first)).first;
                  return {b.addF(carried[0], b.exp(b.subF(values, shift)))};
                })
          .front();
  Value sum = b.addF(most, b.log(b.reduceAdd(partial)));
  return {b.select(infinite, most, sum), any};
}

void PickKernel::openSlots() {
  Value minusInf = b.broadcast(b.negInf());
  b.forLoop(b.index(0), padded, b.lanes, [&](Value first) {
    Value none =
        b.compare(CmpFPredicate::OEQ, b.loadVector(weights, first), minusInf);
    b.storeVector(b.select(none, splatInt(0), splatInt(1)), ranks, first);
  });
}

void PickKernel::rankSlots() {
  Value zero = b.index(0), minusInf = b.broadcast(b.negInf());
  Value refs = b.scratch({group}, b.getF32Type());
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    auto [ref, nan] = logSumExp(scores, head);
    // A head without any mass has no say, nor one that all hangs on.
    Value size = b.absF(ref);
    Value infinite = b.compare(CmpFPredicate::OEQ, size,
                               b.f32(std::numeric_limits<float>::infinity()));
    b.store(b.select(infinite, b.f32(0.0f), ref), refs, head);
    b.store(nan, isNan, head);
  });
  b.forLoop(zero, padded, b.lanes, [&](Value first) {
    Value best =
        b.forLoop(zero, b.index(group), 1, ValueRange{minusInf},
                  [&](Value head, ValueRange carried) -> SmallVector<Value> {
                    Value values = b.subF(weighted(scores, head, first),
                                          b.broadcast(b.load(refs, head)));
                    Value nan = b.compare(CmpFPredicate::UNO, values, values);
                    values = b.select(nan, minusInf, values);
                    return {b.maxF(carried[0], values)};
                  })
            .front();
    // The bits of a float in two's complement order, then as unsigned.
    Value bits = vector::BitCastOp::create(b, ints(), best);
    Value sign = arith::ShRSIOp::create(b, bits, splatInt(31));
    Value flip = arith::OrIOp::create(b, sign, splatInt(int64_t(INT32_MIN)));
    Value rank = arith::XOrIOp::create(b, bits, flip);
    Value before = vector::LoadOp::create(b, ints(), ranks, first);
    Value open = b.compare(CmpIPredicate::eq, before, splatInt(1));
    b.storeVector(b.select(open, rank, before), ranks, first);
  });
}

void PickKernel::raiseAlways() {
  if (op.getSinks() == 0 && op.getWindow() == 0)
    return;
  Value zero = b.index(0);
  Value sinks = b.index(op.getSinks());
  Value recent = b.subI(length, b.index(op.getWindow()));
  auto raise = [&](Value first, Value last) {
    b.forLoop(first, last, 1, [&](Value slot) {
      Value rank = b.load(ranks, slot);
      Value none = b.compare(CmpIPredicate::eq, rank, i32(0));
      b.store(b.select(none, rank, i32(-1)), ranks, slot);
    });
  };
  if (!pages) {
    // A slot is a sink if it begins before `sinks`, and recent if its visible
    // tokens end after `recent`.
    Value lastSink = b.index(llvm::divideCeil(op.getSinks(), unit));
    raise(zero, b.minI(lastSink, numSlots));
    if (op.getWindow() > 0)
      raise(b.divU(b.maxI(recent, zero), b.index(unit)), numSlots);
    return;
  }
  Value size = b.index(op.getPageSize());
  forEachPage([&](Value first, Value start) {
    Value numSinks = b.minI(b.maxI(b.subI(sinks, start), zero), size);
    raise(first, b.addI(first, numSinks));
    Value firstRecent = b.minI(b.maxI(b.subI(recent, start), zero), size);
    raise(b.addI(first, firstRecent), b.addI(first, size));
  });
}

Value PickKernel::countRanks(CmpIPredicate predicate, Value rank) {
  Value zero = b.index(0);
  Value ones = arith::ConstantOp::create(b, b.getOneAttr(ints()));
  Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(ints()));
  Value wanted = vector::BroadcastOp::create(b, ints(), rank);
  Value sums =
      b.forLoop(zero, padded, b.lanes, ValueRange{zeros},
                [&](Value first, ValueRange carried) -> SmallVector<Value> {
                  Value here = vector::LoadOp::create(b, ints(), ranks, first);
                  Value meets = b.compare(predicate, here, wanted);
                  return {b.addI(carried[0], b.select(meets, ones, zeros))};
                })
          .front();
  Value sum = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums);
  return arith::IndexCastUIOp::create(b, b.getIndexType(), sum);
}

/// The rank of the need-th best slot: the highest that as many slots reach, bit
/// by bit from the top.
Value PickKernel::findThreshold(Value need) {
  return b
      .forLoop(b.index(0), b.index(32), 1, ValueRange{i32(0)},
               [&](Value i, ValueRange carried) -> SmallVector<Value> {
                 Value shift = arith::IndexCastOp::create(b, b.getI32Type(), i);
                 Value bit = arith::ShRUIOp::create(
                     b, i32(std::numeric_limits<int32_t>::min()), shift);
                 Value higher = arith::OrIOp::create(b, carried[0], bit);
                 Value enough =
                     b.compare(CmpIPredicate::uge,
                               countRanks(CmpIPredicate::uge, higher), need);
                 return {b.select(enough, higher, carried[0])};
               })
      .front();
}

/// Writes the picks in the order of their slots; yields their number.
Value PickKernel::writePicks(Value threshold, Value need) {
  Value zero = b.index(0), one = b.index(1), none = b.negInf();
  // Better than the threshold come all, at it the lowest slots.
  Value better = countRanks(CmpIPredicate::ugt, threshold);
  Value written = b.scratch({2}, b.getIndexType()); // picks, ties left
  b.store(zero, written, zero);
  b.store(b.subI(need, better), written, one);
  auto pick = [&](Value slot) {
    Value rank = b.load(ranks, slot);
    Value number = b.load(written, zero), ties = b.load(written, one);
    Value above = b.compare(CmpIPredicate::ugt, rank, threshold);
    Value at = b.andI(b.compare(CmpIPredicate::eq, rank, threshold),
                      b.compare(CmpIPredicate::sgt, ties, zero));
    b.ifThen(arith::OrIOp::create(b, above, at), [&] {
      Value id = op.getUnit() == SlotUnit::pages ? slot : getPosition(slot);
      b.store(arith::IndexCastOp::create(b, b.getI32Type(), id), ids,
              {row, kvHead, number});
      b.store(none, weights, slot);
      b.store(b.addI(number, one), written, zero);
      b.store(b.select(at, b.subI(ties, one), ties), written, one);
    });
  };
  // Most vectors of slots have nothing to pick. With nothing needed at all the
  // threshold says nothing.
  Value end =
      b.select(b.compare(CmpIPredicate::sgt, need, zero), numSlots, zero);
  Value thresholds = vector::BroadcastOp::create(b, ints(), threshold);
  b.forLoop(zero, end, b.lanes, [&](Value first) {
    Value here = vector::LoadOp::create(b, ints(), ranks, first);
    Value some = b.compare(CmpIPredicate::uge, here, thresholds);
    Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, some);
    b.ifThen(any, [&] {
      Value last = b.minI(b.addI(first, b.index(b.lanes)), numSlots);
      b.forLoop(first, last, 1, pick);
    });
  });
  return b.load(written, zero);
}

/// tails[h] = log( exp(outside) + sum of what is left ); +inf where a score or
/// bound is NaN.
void PickKernel::writeTails() {
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  // A tail bounds: a sum of n positive f32 numbers in vectors is low by at most
  // (n / lanes + lanes) 2^-24 of itself, exp and log by a few units, and the
  // result rounds once more. Twice that is added.
  Value terms = arith::UIToFPOp::create(
      b, b.getF32Type(),
      arith::IndexCastOp::create(b, b.getI32Type(),
                                 b.divU(numSlots, b.index(b.lanes))));
  Value slack = b.mulF(b.addF(terms, b.f32(b.lanes + 16)), b.f32(0x1p-23f));
  auto raise = [&](Value tail) {
    Value relative = b.mulF(b.absF(tail), b.f32(0x1p-22f));
    return b.addF(tail, b.addF(slack, relative));
  };
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    SmallVector<Value> at = {row, b.addI(firstHead, head)};
    auto [tail, nan] = moment ? logSumByMoment(head) : logSumExp(bounds, head);
    Value unknown = arith::OrIOp::create(b, nan, b.load(isNan, head));
    if (outside) {
      Value other = b.load(outside, at);
      Value most = b.maxF(tail, other);
      Value sum = b.addF(b.exp(b.subF(tail, most)), b.exp(b.subF(other, most)));
      Value infinite = b.compare(CmpFPredicate::OEQ, b.absF(most), inf);
      tail = b.select(infinite, most, b.addF(most, b.log(sum)));
      unknown = arith::OrIOp::create(
          b, unknown, b.compare(CmpFPredicate::UNO, other, other));
    }
    // Infinite tails are exact, and must not meet arithmetic.
    Value infinite = b.compare(CmpFPredicate::OEQ, b.absF(tail), inf);
    tail = b.select(infinite, tail, raise(tail));
    b.store(b.select(unknown, inf, tail), tails, at);
  });
}

namespace {

struct PickPattern : OpRewritePattern<PickOp> {
  PickPattern(MLIRContext *context, const KernelTarget &target)
      : OpRewritePattern(context), target(target) {}
  LogicalResult matchAndRewrite(PickOp op,
                                PatternRewriter &rewriter) const override {
    int64_t heads =
        cast<RankedTensorType>(op.getScores().getType()).getDimSize(1);
    if (ShapedType::isDynamic(heads))
      return rewriter.notifyMatchFailure(op, "expected static heads");
    KernelBuilder b(op.getLoc(), rewriter, target);
    int64_t kvHeads = op.getKvHeads();
    rewriter.replaceOp(op, PickKernel(op, b, heads / kvHeads).emit());
    return success();
  }
  KernelTarget target;
};

} // namespace

void vashista::populatePickPatterns(RewritePatternSet &patterns,
                                    const KernelTarget &target) {
  patterns.add<PickPattern>(patterns.getContext(), target);
}
