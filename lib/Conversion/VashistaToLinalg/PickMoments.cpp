//===- PickMoments.cpp - What a pick leaves, by a moment -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Of a head, with scores s, bounds s + B, m = exp(s), and the moment L,
//
//   sum m + sqrt(L sum m^2) + L t + sum max(0, m (exp(B) - 1 - B) - t B^2)
//
// bounds the mass of what is left, for any threshold t (docs/theory.md, section
// 3). Of what is left several thresholds are tried, in the same pass. Where a
// proof ends is found in bins of bounds: what the first slots may add up to,
// until their B^2 add up to L, by two bins that move together.
//
//===----------------------------------------------------------------------===//

#include "PickKernel.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Thresholds that are tried, in units of what the highest bound that is left
/// stands for: what exceeds one is B^-2 of a bound, about.
static constexpr float kTried[] = {0.25f,  0.12f,  0.06f,   0.03f,
                                   0.012f, 0.004f, 0.0008f, 0.00005f};
/// A score further below its bound than this may be taken for one that is not.
static constexpr float kMostLack = 60;
/// What masses of bounds are raised by, for their rounding and that of what is
/// taken off them; and what sums round.
static constexpr float kRaised = 1 + 0x1p-15f, kRounded = 0x1p-15f;

std::pair<Value, Value> PickKernel::logSumByMoment(Value head) {
  Value zero = b.index(0), minusInf = b.broadcast(b.negInf());
  auto bits = VectorType::get({b.lanes}, b.getI1Type());
  Value noNan =
      arith::ConstantOp::create(b, DenseElementsAttr::get(bits, false));
  SmallVector<Value> found =
      b.forLoop(zero, padded, b.lanes, ValueRange{minusInf, noNan},
                [&](Value first, ValueRange carried) -> SmallVector<Value> {
                  Value bound = weighted(bounds, head, first);
                  Value nan = b.compare(CmpFPredicate::UNO, bound, bound);
                  return {b.maxNum(bound, carried[0]),
                          arith::OrIOp::create(b, carried[1], nan)};
                });
  Value most = b.reduceMaxNum(found[0]);
  Value any =
      vector::ReductionOp::create(b, vector::CombiningKind::OR, found[1]);
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  Value infinite = b.compare(CmpFPredicate::OEQ, b.absF(most), inf);
  Value shift = b.broadcast(b.select(infinite, b.f32(0.0f), most));
  Value end = b.select(infinite, zero, padded);

  constexpr size_t numTried = std::size(kTried);
  Value zeros = b.splat(0.0f, b.lanes), one = b.splat(1.0f, b.lanes);
  SmallVector<Value> sums(2 + numTried, zeros);
  sums =
      b.forLoop(zero, end, b.lanes, sums, [&](Value first, ValueRange carried) {
        SmallVector<Value> next(carried);
        Value bound = weighted(bounds, head, first);
        Value score = weighted(scores, head, first);
        score = b.maxNum(score, b.subF(bound, b.splat(kMostLack, b.lanes)));
        // NaN of -inf - -inf is no lack, of no mass.
        Value lack = b.maxNum(b.subF(bound, score), zeros);
        Value mass = b.exp(b.subF(score, shift));
        Value ofBound = b.exp(b.subF(bound, shift));
        next[0] = b.addF(next[0], mass);
        next[1] = b.fma(mass, mass, next[1]);
        ofBound = b.mulF(ofBound, b.splat(kRaised, b.lanes));
        Value lacking = b.subF(ofBound, b.mulF(mass, b.addF(lack, one)));
        Value square = b.mulF(lack, lack);
        for (auto [sum, tried] :
             llvm::zip_equal(MutableArrayRef(next).drop_front(2), kTried)) {
          Value more = b.fma(square, b.splat(-tried, b.lanes), lacking);
          sum = b.addF(sum, b.maxNum(more, zeros));
        }
        return next;
      });
  Value given = b.load(moment, {row, b.addI(firstHead, head)});
  // What is too small for a number is less than this, of each.
  Value number = arith::UIToFPOp::create(
      b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI32Type(), padded));
  Value lost = b.mulF(number, b.f32(0x1p-126f));
  Value least;
  for (auto [sum, tried] :
       llvm::zip_equal(ArrayRef(sums).drop_front(2), kTried)) {
    Value all = b.addF(b.mulF(given, b.f32(tried)), b.reduceAdd(sum));
    least = least ? b.minF(least, all) : all;
  }
  Value root = b.sqrt(b.mulF(given, b.addF(b.reduceAdd(sums[1]), lost)));
  Value sum = b.addF(b.addF(b.reduceAdd(sums[0]), lost), b.addF(root, least));
  // A moment that is not a number, or infinite, bounds nothing.
  Value isKnown = b.andI(b.compare(CmpFPredicate::OLT, given, inf),
                         b.compare(CmpFPredicate::OGE, given, b.f32(0.0f)));
  sum = b.select(isKnown, sum, inf);
  Value tail = b.addF(b.addF(most, b.log(sum)), b.f32(kRounded));
  return {b.select(infinite, most, tail), any};
}

Value PickKernel::findEndByMoment(Value head, Value shift, Value every) {
  Value zero = b.index(0), one = b.index(1), none = b.f32(0.0f);
  Value at[] = {row, b.addI(firstHead, head)};
  Value weight = arith::UIToFPOp::create(
      b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI32Type(), every));
  Value given = b.load(moment, at), ratio = getRatio();
  Value attendedMass = b.mulF(weight, b.load(takenMass, zero));
  if (attended)
    attendedMass =
        b.addF(attendedMass, b.exp(b.subF(b.load(attended, at), shift)));
  Value outsideMass = none;
  if (outside)
    outsideMass = b.exp(b.subF(b.load(outside, at), shift));

  // Of each bin what it costs to be as bad as bounds, what that adds, and the
  // square of its scores' masses.
  Value top = b.load(tops, head), perNat = b.load(binsPerNat, head);
  Value allMasses =
      b.forLoop(zero, b.index(kBins), 1, ValueRange{none},
                [&](Value bin, ValueRange carried) -> SmallVector<Value> {
                  Value pair = b.mulI(bin, b.index(2));
                  Value mass = b.mulF(weight, b.load(sums, pair));
                  Value rest = b.mulF(weight, b.load(sums, b.addI(pair, one)));
                  Value depth = arith::UIToFPOp::create(
                      b, b.getF32Type(),
                      arith::IndexCastOp::create(b, b.getI32Type(), bin));
                  depth = b.divF(b.addF(depth, b.f32(0.5f)), perNat);
                  Value ofOne = b.exp(b.subF(b.subF(top, depth), shift));
                  Value tiny = b.f32(0x1p-100f);
                  Value number = b.divF(rest, b.maxNum(ofOne, tiny));
                  Value lack = b.log(b.maxNum(
                      b.divF(rest, b.maxNum(mass, tiny)), b.f32(1.0f)));
                  lack = b.minF(lack, b.f32(kMostLack));
                  Value cost = b.mulF(number, b.mulF(lack, lack));
                  Value gain =
                      b.subF(rest, b.mulF(mass, b.addF(lack, b.f32(1.0f))));
                  // The last has all below, of any depth.
                  Value isLast =
                      b.compare(CmpIPredicate::eq, bin, b.index(kBins - 1));
                  cost = b.select(isLast, none, cost);
                  gain = b.select(isLast, none, gain);
                  b.store(cost, binCost, bin);
                  b.store(b.maxNum(gain, none), binGain, bin);
                  Value square =
                      b.divF(b.mulF(mass, mass), b.maxNum(number, b.f32(1.0f)));
                  b.store(square, binSquare, bin);
                  return {b.addF(carried[0], mass)};
                })
          .front();

  // What is below counts only where bins are too few to be as bad as can be.
  Value below = b.mulF(weight, b.load(sums, b.index(2 * kBins - 1)));
  // From the last bin up: what would be left, and behind the bins that are as
  // bad as can be the first that is not.
  SmallVector<Value> start = {none, none,           none,
                              none, b.index(kBins), b.index(kBins)};
  return arith::UIToFPOp::create(
      b, b.getF32Type(),
      arith::IndexCastOp::create(
          b, b.getI32Type(),
          b.forLoop(
               zero, b.index(kBins), 1, start,
               [&](Value i, ValueRange now) -> SmallVector<Value> {
                 Value bin = b.subI(b.index(kBins - 1), i);
                 Value mass =
                     b.mulF(weight, b.load(sums, b.mulI(bin, b.index(2))));
                 Value left = b.addF(now[0], mass);
                 Value square = b.addF(now[1], b.load(binSquare, bin));
                 Value cost = b.addF(now[2], b.load(binCost, bin));
                 Value gain = b.addF(now[3], b.load(binGain, bin));
                 auto last = dropLast(given, cost, gain, now[4]);
                 // Of the last bin a part.
                 Value before = b.subI(last[2], one);
                 Value over = b.maxNum(b.subF(last[0], given), none);
                 Value itsCost =
                     b.maxNum(b.load(binCost, before), b.f32(0x1p-100f));
                 Value part = b.divF(over, itsCost);
                 Value most =
                     b.subF(last[1], b.mulF(part, b.load(binGain, before)));
                 Value isShort = b.compare(CmpFPredicate::OLT, last[0], given);
                 most = b.addF(most, b.select(isShort, below, none));
                 Value root = b.sqrt(b.mulF(given, square));
                 // Thresholds that are tried are not the best, nor are
                 // bins the slots in them.
                 constexpr float kMissed = 1.1f;
                 Value told = b.mulF(b.addF(root, most), b.f32(kMissed));
                 Value all = b.addF(b.addF(left, told), outsideMass);
                 Value masses = b.addF(attendedMass, b.subF(allMasses, left));
                 Value proves =
                     b.compare(CmpFPredicate::OLE, all, b.mulF(ratio, masses));
                 return {left,    square,  last[0],
                         last[1], last[2], b.select(proves, bin, now[5])};
               })
              .back()));
}

/// Drops bins from the end for as long as those before cost as much as is
/// given.
SmallVector<Value> PickKernel::dropLast(Value given, Value cost, Value gain,
                                        Value end) {
  Value one = b.index(1);
  auto loop = scf::WhileOp::create(
      b, TypeRange{cost.getType(), gain.getType(), end.getType()},
      ValueRange{cost, gain, end},
      [&](OpBuilder &nested, Location, ValueRange now) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        Value without = b.subF(now[0], b.load(binCost, b.subI(now[2], one)));
        Value isMore = b.compare(CmpFPredicate::OGE, without, given);
        isMore = b.andI(isMore, b.compare(CmpIPredicate::sgt, now[2], one));
        scf::ConditionOp::create(b, isMore, now);
      },
      [&](OpBuilder &nested, Location, ValueRange now) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        Value last = b.subI(now[2], one);
        scf::YieldOp::create(
            b, ValueRange{b.subF(now[0], b.load(binCost, last)),
                          b.subF(now[1], b.load(binGain, last)), last});
      });
  return SmallVector<Value>(loop.getResults());
}
