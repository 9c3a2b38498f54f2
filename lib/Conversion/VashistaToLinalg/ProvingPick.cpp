//===- ProvingPick.cpp - What the proofs of a group need -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The heads of a group follow each other: each takes its slots in order of
// their bounds, from the highest down, until what is left over meets the
// tolerance, given what the heads before it have taken. Later heads only add.
// How far down a head goes is found in a histogram of its bounds, 32 bins a
// nat, or fewer where these would end above the best score: a bin is taken
// whole. Sums there are estimates; what was left out is bounded afterwards, by
// the tail.
//
// Of a long context a sample says first how far about that is. Slots a nat
// below it are added up in vectors; only those above, few where a proof is
// worth its while, are sorted into bins, lane by lane. Where the proof needs
// more after all, all slots are sorted.
//
// Cost: O(G L) vectors; O(G^2 L / 2) vectors more, which are loads and
// comparisons of bounds; an addition for each slot that is sorted.
//
//===----------------------------------------------------------------------===//

#include "PickKernel.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Bins in a nat, at most and at least; the last bin holds all below.
static constexpr float kBinsPerNat = 32, kFewPerNat = 4;

/// One vector in so many is looked at first, of as many slots or more.
static constexpr int64_t kSampling = 16, kSampledSlots = 1 << 12;

/// A bound that is not known must be picked.
static Value knownOrInf(KernelBuilder &b, Value bounds) {
  int64_t size = cast<VectorType>(bounds.getType()).getDimSize(0);
  Value nan = b.compare(CmpFPredicate::UNO, bounds, bounds);
  float inf = std::numeric_limits<float>::infinity();
  return b.select(nan, b.splat(inf, size), bounds);
}

Value PickKernel::getBins(Value head, Value known) {
  Value below = b.subF(b.broadcast(b.load(tops, head)), known);
  Value bin = b.mulF(below, b.broadcast(b.load(binsPerNat, head)));
  // Without a weight there is no bin: -inf - -inf.
  Value last = b.splat(kBins - 1, b.lanes);
  return b.select(b.compare(CmpFPredicate::UGT, bin, last), last, bin);
}

Value PickKernel::isTaken(Value head, Value first) {
  Value known = knownOrInf(b, weighted(bounds, head, first));
  return b.compare(CmpFPredicate::OLT, getBins(head, known),
                   b.broadcast(b.load(bins, head)));
}

Value PickKernel::getRatio() {
  // A little less than was asked for leaves room for the rounding that a
  // certificate adds, some of it for each token.
  float tolerance = op.getTolerance()->convertToFloat() * (1.0f - 0x1p-8f);
  float ratio = tolerance / (1.0f - tolerance);
  Value tokens = arith::UIToFPOp::create(
      b, b.getF32Type(),
      arith::IndexCastOp::create(b, b.getI32Type(),
                                 b.maxI(length, b.index(0))));
  Value room = b.mulF(tokens, b.f32(-0x1p-25f * ratio));
  return b.maxF(b.addF(room, b.f32(ratio)), b.f32(0.0f));
}

Value PickKernel::isProved() {
  Value most = b.log(getRatio());
  Value yes = arith::ConstantOp::create(b, b.getBoolAttr(true));
  return b
      .forLoop(b.index(0), b.index(group), 1, ValueRange{yes},
               [&](Value head, ValueRange carried) -> SmallVector<Value> {
                 Value at[] = {row, b.addI(firstHead, head)};
                 Value allowed = b.addF(b.load(attended, at), most);
                 Value meets =
                     b.compare(CmpFPredicate::OLE, b.load(tails, at), allowed);
                 return {b.andI(carried[0], meets)};
               })
      .front();
}

void PickKernel::findTops() {
  float inf = std::numeric_limits<float>::infinity();
  Value zero = b.index(0);
  tops = b.scratch({group}, b.getF32Type());
  binsPerNat = b.scratch({group}, b.getF32Type());
  Value infs = b.splat(inf, b.lanes), none = b.broadcast(b.negInf());
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value no = arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    SmallVector<Value> found =
        b.forLoop(zero, padded, b.lanes, ValueRange{none, no, none},
                  [&](Value first, ValueRange carried) -> SmallVector<Value> {
                    Value bound = weighted(bounds, head, first);
                    Value finite = b.compare(CmpFPredicate::OLT, bound, infs);
                    bound = b.select(finite, bound, none);
                    Value score = weighted(scores, head, first);
                    Value nan = b.compare(CmpFPredicate::UNO, score, score);
                    return {b.maxNum(bound, carried[0]),
                            arith::OrIOp::create(b, carried[1], nan),
                            b.maxNum(score, carried[2])};
                  });
    Value top = b.reduceMaxNum(found[0]), best = b.reduceMaxNum(found[2]);
    b.store(top, tops, head);
    b.store(getBinsPerNat(b.subF(top, best)), binsPerNat, head);
    b.store(vector::ReductionOp::create(b, vector::CombiningKind::OR, found[1]),
            isNan, head);
  });
}

/// What is attended has a mass of at least what the best score stands for. Bins
/// must reach so deep that all slots together do not matter below.
Value PickKernel::getBinsPerNat(Value lack) {
  constexpr float room = 3.0f;
  Value number = arith::UIToFPOp::create(
      b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI32Type(), padded));
  Value reach = b.addF(lack, b.log(b.divF(number, getRatio())));
  reach = b.addF(reach, b.f32(room));
  // Of nothing, NaN: as many as there can be.
  Value perNat = b.divF(b.f32(kBins - 1), b.maxNum(reach, b.f32(1.0f)));
  return b.minF(b.maxF(perNat, b.f32(kFewPerNat)), b.f32(kBinsPerNat));
}

void PickKernel::dropUnneeded() {
  Type f32 = b.getF32Type();
  Value zero = b.index(0), heads = b.index(group);
  if (!tops)
    findTops();
  bins = b.scratch({group}, f32);
  sums = b.scratch({2 * kBins}, f32);
  takenMass = b.scratch({1}, f32);
  massBefore = b.scratch({kBins / b.lanes}, f32);
  binMass = b.scratch({b.lanes}, f32);
  binRest = b.scratch({b.lanes}, f32);
  if (moment)
    for (Value *place : {&binCost, &binGain, &binSquare})
      *place = b.scratch({kBins}, f32);
  laneBins = b.scratch({b.lanes}, b.getI32Type());
  lanePairs = b.scratch({2 * b.lanes}, f32);
  b.forLoop(zero, heads, 1,
            [&](Value head) { b.store(countBins(head), bins, head); });
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value no = arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
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
    needed = arith::OrIOp::create(
        b, needed, b.compare(CmpIPredicate::eq, rank, splatInt(-1)));
    b.storeVector(b.select(needed, rank, splatInt(0)), ranks, first);
  });
}

void PickKernel::fillBins(Value head, Value shift, Value every, Value end) {
  Value zero = b.index(0), zeros = b.splat(0.0f, b.lanes);
  b.forLoop(zero, b.index(2 * kBins), b.lanes,
            [&](Value at) { b.storeVector(zeros, sums, at); });
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value no = arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
  Value yes = arith::ConstantOp::create(b, DenseElementsAttr::get(bits, true));
  Value shifts = b.broadcast(shift), ends = b.broadcast(end);
  // The middle one of every so many vectors: sinks would stand for too much.
  Value stride = b.mulI(every, b.index(b.lanes));
  Value middle = b.mulI(b.divU(every, b.index(2)), b.index(b.lanes));
  Value number = b.divU(
      b.addI(b.subI(padded, middle), b.subI(stride, b.index(1))), stride);
  SmallVector<Value> start(moment ? 3 : 2, zeros);
  SmallVector<Value> found = b.forLoop(
      zero, number, 1, start,
      [&](Value i, ValueRange carried) -> SmallVector<Value> {
        Value first = b.addI(middle, b.mulI(i, stride));
        Value rank = vector::LoadOp::create(b, ints(), ranks, first);
        Value isTakenBefore =
            b.forLoop(
                 zero, head, 1, ValueRange{no},
                 [&](Value other, ValueRange carried) -> SmallVector<Value> {
                   return {arith::OrIOp::create(b, carried[0],
                                                isTaken(other, first))};
                 })
                .front();
        isTakenBefore = arith::OrIOp::create(
            b, isTakenBefore, b.compare(CmpIPredicate::eq, rank, splatInt(-1)));
        Value bound = knownOrInf(b, weighted(bounds, head, first));
        // What is not known is taken in any case.
        float inf = std::numeric_limits<float>::infinity();
        isTakenBefore = arith::OrIOp::create(
            b, isTakenBefore,
            b.compare(CmpFPredicate::OEQ, bound, b.splat(inf, b.lanes)));
        Value isOpen = arith::XOrIOp::create(b, isTakenBefore, yes);
        Value rest = b.exp(b.subF(bound, shifts));
        Value bin = b.maxNum(getBins(head, bound), zeros);
        Value isSorted =
            b.andI(isOpen, b.compare(CmpFPredicate::OLT, bin, ends));
        Value isBelow =
            b.andI(isOpen, b.compare(CmpFPredicate::OGE, bin, ends));
        Value below = b.addF(carried[1], b.select(isBelow, rest, zeros));
        // What is below is taken only with all others: its mass never counts,
        // but for what a moment says.
        Value massBelow;
        if (moment) {
          Value mass = b.exp(b.subF(weighted(scores, head, first), shifts));
          massBelow = b.addF(carried[2], b.select(isBelow, mass, zeros));
        }
        Value any = vector::ReductionOp::create(
            b, vector::CombiningKind::OR,
            arith::OrIOp::create(b, isTakenBefore, isSorted));
        auto taken = scf::IfOp::create(
            b, any,
            [&](OpBuilder &nested, Location) {
              OpBuilder::InsertionGuard guard(b);
              b.setInsertionPoint(nested.getInsertionBlock(),
                                  nested.getInsertionPoint());
              Value mass = b.exp(b.subF(weighted(scores, head, first), shifts));
              addToBins(isSorted, bin, mass, rest);
              scf::YieldOp::create(
                  b, b.addF(carried[0], b.select(isTakenBefore, mass, zeros)));
            },
            [&](OpBuilder &nested, Location loc) {
              scf::YieldOp::create(nested, loc, carried[0]);
            });
        SmallVector<Value> next = {taken.getResult(0), below};
        if (moment)
          next.push_back(massBelow);
        return next;
      });
  if (moment) {
    Value last = b.index(2 * kBins - 2);
    b.store(b.addF(b.load(sums, last), b.reduceAdd(found[2])), sums, last);
  }
  b.store(b.reduceAdd(found[0]), takenMass, zero);
  Value last = b.index(2 * kBins - 1);
  b.store(b.addF(b.load(sums, last), b.reduceAdd(found[1])), sums, last);
}

void PickKernel::addToBins(Value isSorted, Value bin, Value mass, Value rest) {
  b.storeVector(arith::FPToSIOp::create(b, ints(), bin), laneBins, b.index(0));
  b.storeVector(vector::InterleaveOp::create(b, mass, rest), lanePairs,
                b.index(0));
  auto wide = b.getIntegerType(b.lanes);
  Value set = vector::ExtractOp::create(
      b, vector::BitCastOp::create(b, VectorType::get({1}, wide), isSorted),
      ArrayRef<int64_t>{0});
  Value none = arith::ConstantOp::create(b, b.getIntegerAttr(wide, 0));
  Value one = arith::ConstantOp::create(b, b.getIntegerAttr(wide, 1));
  // Lane by lane, of those that are set.
  scf::WhileOp::create(
      b, TypeRange(wide), ValueRange(set),
      [&](OpBuilder &nested, Location loc, ValueRange left) {
        Value more = arith::CmpIOp::create(nested, loc, CmpIPredicate::ne,
                                           left[0], none);
        scf::ConditionOp::create(nested, loc, more, left);
      },
      [&](OpBuilder &nested, Location loc, ValueRange left) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        Value lane = arith::IndexCastUIOp::create(
            b, b.getIndexType(),
            math::CountTrailingZerosOp::create(b, left[0]));
        Value at = b.mulI(b.loadIndex(laneBins, lane), b.index(2));
        Value pair = b.loadVector(lanePairs, b.mulI(lane, b.index(2)), 2);
        b.storeVector(b.addF(b.loadVector(sums, at, 2), pair), sums, at);
        Value lower = arith::SubIOp::create(b, left[0], one);
        scf::YieldOp::create(b, ValueRange(b.andI(left[0], lower)));
      });
}

Value PickKernel::countBins(Value head) {
  Value at[] = {row, b.addI(firstHead, head)};
  // exp(-inf - -inf) must be 0.
  Value top = b.load(tops, head);
  Value hasTop = b.compare(CmpFPredicate::OGT, top, b.negInf());
  Value shift = b.select(hasTop, top, b.f32(0.0f));
  if (attended)
    shift = b.maxF(shift, b.load(attended, at));

  // A sample says about where the proof ends; only slots from there up are
  // sorted, and all of them where it was wrong.
  enum Pass : int64_t { sample, upper, all };
  Value last = b.f32(kBins - 1), none = b.f32(kBins);
  Value perNat = b.load(binsPerNat, head);
  Value no = b.boolean(false);
  Value isLong = b.compare(CmpIPredicate::sge, padded, b.index(kSampledSlots));
  Value firstPass = b.select(isLong, b.index(sample), b.index(all));
  Value number =
      b.forLoop(
           firstPass, b.index(all + 1), 1, ValueRange{none, last, no},
           [&](Value pass, ValueRange carried) -> SmallVector<Value> {
             Value isSample =
                 b.compare(CmpIPredicate::eq, pass, b.index(sample));
             Value every = b.select(isSample, b.index(kSampling), b.index(1));
             Value end = carried[1];
             auto found = scf::IfOp::create(
                 b, carried[2],
                 [&](OpBuilder &nested, Location loc) {
                   scf::YieldOp::create(nested, loc, carried[0]);
                 },
                 [&](OpBuilder &nested, Location) {
                   OpBuilder::InsertionGuard guard(b);
                   b.setInsertionPoint(nested.getInsertionBlock(),
                                       nested.getInsertionPoint());
                   fillBins(head, shift, every, end);
                   scf::YieldOp::create(
                       b, moment ? findEndByMoment(head, shift, every)
                                 : findEnd(head, shift, every));
                 });
             Value number = found.getResult(0);
             // What is left is told by more of the first, with a moment.
             Value sorted = b.minF(
                 b.addF(number, moment ? b.mulF(perNat, b.f32(3.0f)) : perNat),
                 last);
             Value isFound = b.compare(CmpFPredicate::OLE, number, end);
             // Nothing more is found by sorting all once more.
             isFound = arith::OrIOp::create(
                 b, isFound, b.compare(CmpFPredicate::OEQ, end, last));
             isFound = b.select(isSample, no, isFound);
             return {number, b.select(isSample, sorted, last), isFound};
           })
          .front();
  // A head with a score that is NaN proves nothing, whatever is left.
  return b.select(b.load(isNan, head), none, number);
}

Value PickKernel::findEnd(Value head, Value shift, Value every) {
  Value zero = b.index(0);
  Value width = b.index(b.lanes), numBlocks = b.index(kBins / b.lanes);
  Value at[] = {row, b.addI(firstHead, head)};
  // A slot of a sample stands for others.
  Value weight = arith::UIToFPOp::create(
      b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI32Type(), every));
  Value weights = b.broadcast(weight);
  Value mass = b.mulF(weight, b.load(takenMass, zero));
  if (attended)
    mass = b.addF(mass, b.exp(b.subF(b.load(attended, at), shift)));
  Value rest = b.f32(0.0f);
  if (outside)
    rest = b.exp(b.subF(b.load(outside, at), shift));
  Value ratio = getRatio();
  auto proves = [&](Value rest, Value mass) {
    return b.compare(CmpFPredicate::OLE, rest, b.mulF(ratio, mass));
  };
  /// Sums of a block of bins: masses, rests.
  auto loadBlock = [&](Value block) -> std::pair<Value, Value> {
    Value pairs =
        b.loadVector(sums, b.mulI(block, b.index(2 * b.lanes)), 2 * b.lanes);
    auto halves = vector::DeinterleaveOp::create(b, pairs);
    return {b.mulF(weights, halves.getRes1()),
            b.mulF(weights, halves.getRes2())};
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
                  Value proved = proves(left, b.load(massBefore, block));
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
                  Value proved = proves(b.load(binRest, bin), carried[0]);
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
