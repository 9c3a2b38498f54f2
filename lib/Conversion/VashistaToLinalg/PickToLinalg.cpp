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
// `proving` first drops the slots that no head needs (rank 0). The heads of a
// group follow each other: each takes its slots in order of their bounds, from
// the highest down, until what is left over meets the tolerance, given what the
// heads before it have taken. Later heads only add. How far down a head goes is
// found in a histogram of its bounds, 32 bins a nat: a bin is taken whole. Sums
// there are estimates; what was left out is bounded afterwards, by the tail.
//
// Cost: O(G L) vector work for ranks and tails, 32 L counts in vectors; for
// `proving` O(G^2 L) vectors more, which are loads and comparisons of bounds,
// and O(G L) additions to histograms.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/KernelBuilder.h"
#include "Patterns.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/PatternMatch.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

/// Bins of a head's bounds, from the highest down; the last holds all below.
constexpr int64_t kBins = 1024;
constexpr float kBinsPerNat = 32;

class PickKernel {
public:
  PickKernel(PickOp op, KernelBuilder &b, int64_t group)
      : op(op), b(b), group(group),
        unit(op.getUnit() == SlotUnit::pages ? op.getPageSize() : 1) {}

  /// Emits the tasks; yields the tensors of ids, counts and tails.
  SmallVector<Value> emit();

private:
  void emitTask();
  void weighSlots();
  void excludeTaken();
  void rankSlots();
  void rankAlways();
  void dropUnneeded();
  /// How many bins of its bounds a head takes, given what heads before it do.
  Value countBins(Value head);
  /// Sums exp(score + weight - shift) and exp(bound + weight - shift) of a head
  /// over bins of its bounds, and the former over what is taken already.
  void fillBins(Value head, Value shift);
  /// The bins of a vector of bounds of a head, as f32: below 0 for unknown
  /// ones, which are always taken.
  Value getBins(Value head, Value known);
  /// Whether a head takes each slot of a vector.
  Value isTaken(Value head, Value first);
  Value findThreshold(Value need);
  Value writePicks(Value threshold, Value need);
  void writeTails();

  /// body(first slot, position of its token) for each listed page.
  void forEachPage(function_ref<void(Value, Value)> body);
  /// How many slots have a rank that compares so.
  Value countRanks(CmpIPredicate predicate, Value rank);
  /// Position of the first token of a slot.
  Value getPosition(Value slot);
  /// body(first slot of a vector, score or bound + weight) over all slots of a
  /// head; -inf where there is no weight.
  Value weighted(Value from, Value head, Value first);
  /// log sum exp over a head's slots, and whether any was NaN.
  std::pair<Value, Value> logSumExp(Value from, Value head);

  Value i32(int64_t value) {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  }
  VectorType ints() { return VectorType::get({b.lanes}, b.getI32Type()); }

  PickOp op;
  KernelBuilder &b;
  int64_t group, unit;

  Value scores, bounds, lengths, pages, pageCount, taken, outside, attended;
  Value ids, counts, tails;
  // Of the current task.
  Value row, kvHead, firstHead, length, numSlots, padded;
  Value weights, ranks; // [L, rounded up to vectors] f32, i32
  Value refs, isNan;    // [G] f32, i1
  // Of `proving`. The highest finite bound of each head and the bins that it
  // takes [G] f32; for one head, masses and rests of bins [2 * kBins], the mass
  // before each block of bins and, within a block, of each bin; f32.
  Value tops, bins, sums, takenMass, massBefore, binMass, binRest;
};

} // namespace

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
  refs = b.scratch({group}, b.getF32Type());
  isNan = b.scratch({group}, b.getI1Type());

  weighSlots();
  if (taken)
    excludeTaken();
  rankSlots();
  rankAlways();

  if (op.getMode() == PickMode::proving)
    dropUnneeded();
  // As many as there are to pick from, and at most the budget.
  Value available = countRanks(CmpIPredicate::ugt, i32(0));
  Value need = b.minI(available, b.index(op.getBudget()));
  Value threshold = findThreshold(need);
  Value picked = writePicks(threshold, need);
  b.store(arith::IndexCastOp::create(b, b.getI32Type(), picked), counts,
          {row, kvHead});
  b.forLoop(picked, b.index(op.getBudget()), 1, [&](Value at) {
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

/// ranks[slot], as unsigned integers in the order of the slot's best head.
void PickKernel::rankSlots() {
  Value zero = b.index(0), minusInf = b.broadcast(b.negInf());
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    auto [ref, nan] = logSumExp(scores, head);
    // A head without any mass has no say, nor one that all hangs on.
    Value size = b.absF(ref);
    Value infinite = b.compare(CmpFPredicate::OEQ, size,
                               b.f32(std::numeric_limits<float>::infinity()));
    b.store(b.select(infinite, b.f32(0.0f), ref), refs, head);
    b.store(nan, isNan, head);
  });
  auto splatInt = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(ints(), static_cast<int32_t>(value)));
  };
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
    Value none =
        b.compare(CmpFPredicate::OEQ, b.loadVector(weights, first), minusInf);
    b.storeVector(b.select(none, splatInt(0), rank), ranks, first);
  });
}

/// Sinks and window rank above everything that can be picked.
void PickKernel::rankAlways() {
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

/// A bound that is not known must be picked.
static Value knownOrInf(KernelBuilder &b, Value bounds) {
  int64_t size = cast<VectorType>(bounds.getType()).getDimSize(0);
  Value nan = b.compare(CmpFPredicate::UNO, bounds, bounds);
  float inf = std::numeric_limits<float>::infinity();
  return b.select(nan, b.splat(inf, size), bounds);
}

Value PickKernel::getBins(Value head, Value known) {
  Value below = b.subF(b.broadcast(b.load(tops, head)), known);
  Value bin = b.mulF(below, b.splat(kBinsPerNat, b.lanes));
  // Without a weight there is no bin: -inf - -inf.
  Value last = b.splat(kBins - 1, b.lanes);
  return b.select(b.compare(CmpFPredicate::UGT, bin, last), last, bin);
}

Value PickKernel::isTaken(Value head, Value first) {
  Value known = knownOrInf(b, weighted(bounds, head, first));
  return b.compare(CmpFPredicate::OLT, getBins(head, known),
                   b.broadcast(b.load(bins, head)));
}

/// Ranks 0 what no head needs.
void PickKernel::dropUnneeded() {
  Type f32 = b.getF32Type();
  Value zero = b.index(0), heads = b.index(group);
  float inf = std::numeric_limits<float>::infinity();
  tops = b.scratch({group}, f32);
  bins = b.scratch({group}, f32);
  sums = b.scratch({2 * kBins}, f32);
  takenMass = b.scratch({1}, f32);
  massBefore = b.scratch({kBins / b.lanes}, f32);
  binMass = b.scratch({b.lanes}, f32);
  binRest = b.scratch({b.lanes}, f32);
  Value infs = b.splat(inf, b.lanes), none = b.broadcast(b.negInf());
  b.forLoop(zero, heads, 1, [&](Value head) {
    Value most =
        b.forLoop(zero, padded, b.lanes, ValueRange{none},
                  [&](Value first, ValueRange carried) -> SmallVector<Value> {
                    Value values = weighted(bounds, head, first);
                    Value finite = b.compare(CmpFPredicate::OLT, values, infs);
                    values = b.select(finite, values, none);
                    return {b.maxNum(values, carried[0])};
                  })
            .front();
    b.store(b.reduceMaxNum(most), tops, head);
    b.store(b.f32(0.0f), bins, head);
  });
  b.forLoop(zero, heads, 1,
            [&](Value head) { b.store(countBins(head), bins, head); });
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value no = arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
  Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(ints()));
  Value always = vector::BroadcastOp::create(b, ints(), i32(-1));
  b.forLoop(zero, padded, b.lanes, [&](Value first) {
    Value rank = vector::LoadOp::create(b, ints(), ranks, first);
    Value needed =
        b.forLoop(zero, heads, 1, ValueRange{no},
                  [&](Value head, ValueRange carried) -> SmallVector<Value> {
                    return {arith::OrIOp::create(b, carried[0],
                                                 isTaken(head, first))};
                  })
            .front();
    // Sinks and window are picked, needed or not.
    needed = arith::OrIOp::create(b, needed,
                                  b.compare(CmpIPredicate::eq, rank, always));
    b.storeVector(b.select(needed, rank, zeros), ranks, first);
  });
}

void PickKernel::fillBins(Value head, Value shift) {
  Value zero = b.index(0), zeros = b.splat(0.0f, b.lanes);
  b.forLoop(zero, b.index(2 * kBins), b.lanes,
            [&](Value at) { b.storeVector(zeros, sums, at); });
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value no = arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
  Value always = vector::BroadcastOp::create(b, ints(), i32(-1));
  Value shifts = b.broadcast(shift);
  Value taken =
      b.forLoop(
           zero, padded, b.lanes, ValueRange{zeros},
           [&](Value first, ValueRange carried) -> SmallVector<Value> {
             Value rank = vector::LoadOp::create(b, ints(), ranks, first);
             Value isTakenBefore =
                 b.forLoop(zero, b.index(group), 1, ValueRange{no},
                           [&](Value other,
                               ValueRange carried) -> SmallVector<Value> {
                             return {arith::OrIOp::create(
                                 b, carried[0], isTaken(other, first))};
                           })
                     .front();
             isTakenBefore = arith::OrIOp::create(
                 b, isTakenBefore, b.compare(CmpIPredicate::eq, rank, always));
             Value bound = knownOrInf(b, weighted(bounds, head, first));
             Value mass = b.exp(b.subF(weighted(scores, head, first), shifts));
             Value rest = b.exp(b.subF(bound, shifts));
             Value bin = b.maxNum(getBins(head, bound), zeros);
             bin = arith::FPToSIOp::create(b, ints(), bin);
             Value pairs = vector::InterleaveOp::create(
                 b, b.select(isTakenBefore, zeros, mass),
                 b.select(isTakenBefore, zeros, rest));
             for (int64_t lane = 0; lane < b.lanes; ++lane) {
               Value number =
                   vector::ExtractOp::create(b, bin, ArrayRef<int64_t>{lane});
               Value at = b.mulI(
                   arith::IndexCastOp::create(b, b.getIndexType(), number),
                   b.index(2));
               Value pair = vector::ExtractStridedSliceOp::create(
                   b, pairs, 2 * lane, 2, 1);
               b.storeVector(b.addF(b.loadVector(sums, at, 2), pair), sums, at);
             }
             return {b.addF(carried[0], b.select(isTakenBefore, mass, zeros))};
           })
          .front();
  b.store(b.reduceAdd(taken), takenMass, zero);
}

Value PickKernel::countBins(Value head) {
  Value zero = b.index(0);
  Value width = b.index(b.lanes), numBlocks = b.index(kBins / b.lanes);
  SmallVector<Value> at = {row, b.addI(firstHead, head)};
  Value shift = b.load(refs, head), already = b.negInf();
  if (attended) {
    already = b.load(attended, at);
    shift = b.maxF(shift, already);
  }
  fillBins(head, shift);
  Value mass = b.addF(b.load(takenMass, zero), b.exp(b.subF(already, shift)));
  Value rest = b.f32(0.0f);
  if (outside)
    rest = b.exp(b.subF(b.load(outside, at), shift));
  // A little less than was asked for leaves room for the rounding that a
  // certificate adds.
  float tolerance = op.getTolerance()->convertToFloat() * (1.0f - 0x1p-8f);
  Value ratio = b.f32(tolerance / (1.0f - tolerance));
  auto isProved = [&](Value rest, Value mass) {
    return b.compare(CmpFPredicate::OLE, rest, b.mulF(ratio, mass));
  };
  /// Sums of a block of bins: masses, rests.
  auto loadBlock = [&](Value block) -> std::pair<Value, Value> {
    Value pairs =
        b.loadVector(sums, b.mulI(block, b.index(2 * b.lanes)), 2 * b.lanes);
    auto halves = vector::DeinterleaveOp::create(b, pairs);
    return {halves.getRes1(), halves.getRes2()};
  };

  // Masses before each block of bins; then, from the last block on, whether
  // what is left from there on is little enough. Rests are only ever added.
  b.forLoop(zero, numBlocks, 1, ValueRange{mass},
            [&](Value block, ValueRange carried) -> SmallVector<Value> {
              b.store(carried[0], massBefore, block);
              Value here = b.reduceAdd(loadBlock(block).first);
              return {b.addF(carried[0], here)};
            });
  SmallVector<Value> found =
      b.forLoop(zero, numBlocks, 1, ValueRange{rest, rest, numBlocks},
                [&](Value i, ValueRange carried) -> SmallVector<Value> {
                  Value block = b.subI(b.subI(numBlocks, b.index(1)), i);
                  Value left =
                      b.addF(carried[0], b.reduceAdd(loadBlock(block).second));
                  Value proved = isProved(left, b.load(massBefore, block));
                  return {left, b.select(proved, left, carried[1]),
                          b.select(proved, block, carried[2])};
                });
  // The same within the block before, bin by bin; none before the first.
  Value end = b.mulI(found[2], width);
  Value isFirst = b.compare(CmpIPredicate::eq, found[2], zero);
  Value block = b.select(isFirst, zero, b.subI(found[2], b.index(1)));
  auto [masses, rests] = loadBlock(block);
  b.storeVector(masses, binMass, zero);
  b.storeVector(rests, binRest, zero);
  b.forLoop(zero, width, 1, ValueRange{found[1]},
            [&](Value i, ValueRange carried) -> SmallVector<Value> {
              Value bin = b.subI(b.subI(width, b.index(1)), i);
              Value left = b.addF(carried[0], b.load(binRest, bin));
              b.store(left, binRest, bin);
              return {left};
            });
  Value number =
      b.forLoop(zero, width, 1, ValueRange{b.load(massBefore, block), end},
                [&](Value bin, ValueRange carried) -> SmallVector<Value> {
                  Value proved = isProved(b.load(binRest, bin), carried[0]);
                  Value here = b.addI(b.mulI(block, width), bin);
                  return {
                      b.addF(carried[0], b.load(binMass, bin)),
                      b.select(proved, b.minI(carried[1], here), carried[1])};
                })
          .back();
  number = b.select(isFirst, zero, number);
  return arith::UIToFPOp::create(
      b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI32Type(), number));
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
    auto [tail, nan] = logSumExp(bounds, head);
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
