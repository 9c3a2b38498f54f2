//===- PickProof.cpp - What the proofs of a group need, on a GPU ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// As ProvingPick.cpp. A bin sums, in integers, what its slots' bounds and
// scores come to in units of exp(-number / kBinsPerNat) below the head's
// highest bound.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Masses in bins are multiples of its inverse.
static constexpr float kFixedPoint = 0x1p32f;

void PickLauncher::findTops() {
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    SmallVector<Value> largest = forEachSlot(
        {b.negInf(), b.i32(0)}, [&](ArrayRef<Slot> slots, ValueRange now) {
          SmallVector<Value> next(now);
          SmallVector<Value> all = weighted(bounds, head, slots);
          SmallVector<Value> estimates = weighted(scores, head, slots);
          for (auto [bound, score] : llvm::zip_equal(all, estimates)) {
            Value isFinite =
                b.compare(CmpFPredicate::OLT, bound, b.f32(kInfinity));
            next[0] =
                b.maxNumber(next[0], b.select(isFinite, bound, b.negInf()));
            next[1] =
                b.orI(next[1], b.select(isNaN(score), b.i32(1), b.i32(0)));
          }
          return next;
        });
    auto larger = [&](Value x, Value y) { return b.maxNumber(x, y); };
    auto either = [&](Value x, Value y) { return b.orI(x, y); };
    Value top = reduceCluster(reduce(largest[0], larger), larger);
    Value nan = reduceCluster(reduce(largest[1], either), either);
    storeOnce(top, tops, head);
    storeOnce(nan, nans, head);
  });
  b.barrier();
}

Value PickLauncher::getRatio() {
  // A little less than was asked for leaves room for the rounding that a
  // certificate adds, some of it for each token.
  float tolerance = op.getTolerance()->convertToFloat() * (1.0f - 0x1p-8f);
  float ratio = tolerance / (1.0f - tolerance);
  Value tokens = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(length));
  Value room = b.mulF(tokens, b.f32(-0x1p-25f * ratio));
  return b.maxF(b.addF(room, b.f32(ratio)), b.f32(0.0f));
}

Value PickLauncher::getBin(Value head, Value bound) {
  Value below = b.subF(b.load(tops, head), bound);
  Value bin = b.mulF(below, b.f32(kBinsPerNat)), last = b.f32(kBins - 1);
  // NaN is -inf - -inf.
  return b.select(b.compare(CmpFPredicate::UGT, bin, last), last, bin);
}

Value PickLauncher::isTaken(Value head, Value bound) {
  return b.compare(CmpFPredicate::OLT, getBin(head, knownOrInf(bound)),
                   b.load(ends, head));
}

std::pair<Value, Value> PickLauncher::fillBins(Value head, Value shift) {
  clearBins(2 * kBins);
  SmallVector<Value> sums = forEachSlot(
      {b.f32(0.0f), b.f32(0.0f)}, [&](ArrayRef<Slot> slots, ValueRange now) {
        SmallVector<Value> next(now);
        SmallVector<Value> all = weighted(bounds, head, slots);
        SmallVector<Value> estimates = weighted(scores, head, slots);
        SmallVector<Value> none(slots.size(), b.boolean(false));
        SmallVector<Value> before = b.forLoop(
            b.index(0), head, 1, none, [&](Value other, ValueRange carried) {
              SmallVector<Value> taken(carried);
              for (auto [is, bound] :
                   llvm::zip_equal(taken, weighted(bounds, other, slots)))
                is = b.orI(is, isTaken(other, bound));
              return taken;
            });
        for (auto [i, slot] : llvm::enumerate(slots)) {
          // What is not known is taken in any case.
          Value bound = knownOrInf(all[i]), score = estimates[i];
          Value isTakenBefore = b.orI(before[i], isInf(bound));
          if (hasAlways())
            isTakenBefore = b.orI(isTakenBefore, isAlways(slot.number));
          Value place = b.maxNumber(getBin(head, bound), b.f32(0.0f));
          Value bin = arith::FPToSIOp::create(b, b.getI32Type(), place);
          Value isLast = b.compare(CmpIPredicate::sge, bin, b.i32(kBins - 1));
          // In units of the bin, or of the highest.
          Value within =
              b.subF(place, arith::SIToFPOp::create(b, b.getF32Type(), bin));
          Value rest =
              b.exp(b.select(isLast, b.subF(bound, shift),
                             b.mulF(within, b.f32(-1.0f / kBinsPerNat))));
          Value lack = b.minF(b.subF(score, bound), b.f32(0.0f));
          Value mass =
              b.exp(b.select(isTakenBefore, b.subF(score, shift), lack));
          mass = b.select(isNaN(score), b.f32(0.0f), mass);
          Value counts = b.andI(slot.isOpen, isTakenBefore);
          next[0] = b.addF(next[0], b.select(counts, mass, b.f32(0.0f)));
          // What is below is taken only with all others: its mass never counts.
          Value isLeft = b.andI(slot.isOpen, notI(isTakenBefore));
          next[1] = b.addF(next[1],
                           b.select(b.andI(isLeft, isLast), rest, b.f32(0.0f)));
          b.ifThen(b.andI(isLeft, notI(isLast)), [&] {
            auto toFixed = [&](Value value) -> Value {
              return arith::FPToUIOp::create(b, b.getI64Type(),
                                             b.mulF(value, b.f32(kFixedPoint)));
            };
            Value at = b.toIndex(bin);
            addToBin(at, toFixed(b.mulF(rest, mass)));
            addToBin(b.addI(at, b.index(kBins)), toFixed(rest));
          });
        }
        return next;
      });
  addUpBins(2 * kBins);
  auto add = [&](Value x, Value y) { return b.addF(x, y); };
  return {reduceCluster(reduce(sums[0], add), add),
          reduceCluster(reduce(sums[1], add), add)};
}

void PickLauncher::findEnd(Value head) {
  static_assert(kBins == 2 * kThreads, "a thread has two bins");
  Value shift = getShift(head);
  auto [mass, rest] = fillBins(head, shift);
  Value at[] = {row, b.addI(firstHead, head)};
  if (attended)
    mass = b.addF(mass, getMass(b.load(attended, at), shift));
  if (outside)
    rest = b.addF(rest, getMass(b.load(outside, at), shift));

  auto load = [&](Value bin, int64_t first) {
    Value fixed = b.load(bins, b.addI(bin, b.index(first)));
    Value number = arith::UIToFPOp::create(b, b.getF32Type(), fixed);
    Value below = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(bin));
    Value unit = b.exp(b.mulF(below, b.f32(-1.0f / kBinsPerNat)));
    return b.mulF(number, b.mulF(unit, b.f32(1.0f / kFixedPoint)));
  };
  // Masses before each bin; rests from the last bin on.
  Value low = b.mulI(thread, b.index(2)), high = b.addI(low, b.index(1));
  Value first = load(low, 0), second = load(high, 0);
  Value before = b.addF(mass, scan(b.addF(first, second)).first);
  b.store(before, massBefore, low);
  b.store(b.addF(before, first), massBefore, high);
  Value last = b.subI(b.index(kBins - 1), low);
  Value other = b.subI(last, b.index(1));
  first = load(last, kBins);
  second = load(other, kBins);
  Value from = b.addF(rest, scan(b.addF(first, second)).first);
  b.store(b.addF(from, first), restFrom, last);
  b.store(b.addF(b.addF(from, first), second), restFrom, other);
  b.barrier();

  // The first bin that a proof can do without.
  Value ratio = getRatio(), end = b.i32(kBins);
  for (Value bin : {high, low}) {
    Value proves = b.compare(CmpFPredicate::OLE, b.load(restFrom, bin),
                             b.mulF(ratio, b.load(massBefore, bin)));
    end = b.select(proves, b.toI32(bin), end);
  }
  end = reduce(end, [&](Value x, Value y) { return b.minI(x, y); });
  storeOnce(arith::SIToFPOp::create(b, b.getF32Type(), end), ends, head);
  b.barrier();
}

Value PickLauncher::markNeeded() {
  Value zero = b.index(0);
  return forEachSlot(
             b.i32(0),
             [&](ArrayRef<Slot> slots, ValueRange now) -> SmallVector<Value> {
               SmallVector<Value> needed(slots.size(), b.boolean(!isProving));
               if (isProving)
                 needed =
                     b.forLoop(zero, b.index(group), 1, needed,
                               [&](Value head, ValueRange carried) {
                                 SmallVector<Value> taken(carried);
                                 for (auto [is, bound] : llvm::zip_equal(
                                          taken, weighted(bounds, head, slots)))
                                   is = b.orI(is, isTaken(head, bound));
                                 return taken;
                               });
               Value count = now[0];
               for (auto [slot, is] : llvm::zip_equal(slots, needed)) {
                 // Sinks and window are picked, needed or not.
                 if (hasAlways())
                   is = b.orI(is, isAlways(slot.number));
                 Value bits = b.ballot(b.andI(is, slot.isOpen));
                 Value isOne = b.andI(slot.isThere,
                                      b.compare(CmpIPredicate::eq, lane, zero));
                 b.ifThen(isOne, [&, &slot = slot] {
                   Value at[] = {row, kvHead, slot.word, zero};
                   b.store(bits, picked, at);
                   at[3] = b.index(1);
                   b.store(b.i32(0), picked, at);
                 });
                 Value number = math::CtPopOp::create(b, bits);
                 count = b.addI(count, b.select(isOne, number, b.i32(0)));
               }
               return {count};
             })
      .front();
}
