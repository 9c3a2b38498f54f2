//===- PickRanks.cpp - The best of more than there is room for ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A rank is an unsigned number whose order is that of max_h (score_h + weight -
// ref_h), the largest for sinks and window. The rank of the last pick is found
// by the bits of parts of it, the highest first: of each value of a part the
// candidates are counted.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// The log-sum-exp of each head over what can be picked: 0 where infinite.
void PickLauncher::findRefs() {
  auto getScores = [&](Value head, ArrayRef<Slot> slots) {
    SmallVector<Value> values = weighted(scores, head, slots);
    for (Value &value : values)
      value = b.select(isNaN(value), b.negInf(), value);
    return values;
  };
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    auto larger = [&](Value x, Value y) { return b.maxNumber(x, y); };
    Value most = forEachSlot(b.negInf(),
                             [&](ArrayRef<Slot> slots,
                                 ValueRange now) -> SmallVector<Value> {
                               Value most = now[0];
                               for (Value score : getScores(head, slots))
                                 most = larger(most, score);
                               return {most};
                             })
                     .front();
    most = reduceAll(most, Join::most).front();
    Value infinite = isInf(b.absF(most));
    Value shift = b.select(infinite, b.f32(0.0f), most);
    Value sum = forEachSlot(b.f32(0.0f),
                            [&](ArrayRef<Slot> slots,
                                ValueRange now) -> SmallVector<Value> {
                              Value sum = now[0];
                              for (Value score : getScores(head, slots))
                                sum = b.addF(sum, b.exp(b.subF(score, shift)));
                              return {sum};
                            })
                    .front();
    sum = reduceAll(sum, Join::sum).front();
    Value ref = b.addF(shift, b.log(sum));
    storeOnce(b.select(infinite, b.f32(0.0f), ref), refs, head);
  });
  b.barrier();
}

SmallVector<Value> PickLauncher::getRanks(ArrayRef<Slot> slots) {
  SmallVector<Value> best(slots.size(), b.negInf());
  best = b.forLoop(b.index(0), b.index(group), 1, best,
                   [&](Value head, ValueRange carried) {
                     SmallVector<Value> next(carried);
                     Value ref = b.load(refs, head);
                     for (auto [value, score] :
                          llvm::zip_equal(next, weighted(scores, head, slots)))
                       // NaN is -inf.
                       value = b.maxNumber(value, b.subF(score, ref));
                     return next;
                   });
  for (auto [rank, slot] : llvm::zip_equal(best, slots)) {
    // The bits of a float in two's complement order, then as unsigned.
    Value bits = arith::BitcastOp::create(b, b.getI32Type(), rank);
    Value sign = arith::ShRSIOp::create(b, bits, b.i32(31));
    Value flip = b.orI(sign, b.i32(std::numeric_limits<int32_t>::min()));
    rank = arith::XOrIOp::create(b, bits, flip);
    if (slot.isAlways)
      rank = b.select(slot.isAlways, b.i32(-1), rank);
  }
  return best;
}

void PickLauncher::countRanks(Value prefix, int64_t shift, int64_t bits) {
  int64_t size = int64_t(1) << bits;
  clearBins(size);
  Value one = b.i32(1);
  forEachSlot(
      {},
      [&](ArrayRef<Slot> slots, ValueRange) -> SmallVector<Value> {
        SmallVector<Value> ranks = getRanks(slots);
        for (auto [rank, slot] : llvm::zip_equal(ranks, slots)) {
          Value isHere = andOpen(slot, b.boolean(true));
          if (prefix) {
            Value above = arith::ShRUIOp::create(b, rank, b.i32(shift + bits));
            isHere =
                b.andI(isHere, b.compare(CmpIPredicate::eq, above, prefix));
          }
          Value part = arith::ShRUIOp::create(b, rank, b.i32(shift));
          part = b.andI(part, b.i32(size - 1));
          b.ifThen(isHere,
                   [&, part = part] { addToBin(b.toIndex(part), one); });
        }
        return {};
      },
      /*ofMarked=*/true);
  addUpBins(size);
}

Value PickLauncher::markBest(Value need) {
  findRefs();
  // Parts of a rank, from the highest bits down.
  constexpr int64_t widths[] = {11, 11, 10};
  int64_t shift = 32;
  Value prefix;
  for (int64_t width : widths) {
    shift -= width;
    countRanks(prefix, shift, width);
    // The value at which as many are reached; a thread has a few values.
    int64_t size = int64_t(1) << width, own = size / kThreads;
    SmallVector<Value> values, numbers;
    Value sum = b.i32(0);
    for (int64_t i = 0; i < own; ++i) {
      Value value = b.subI(b.index(size - 1 - i), b.mulI(thread, b.index(own)));
      Value number = b.load(bins, value);
      values.push_back(value);
      numbers.push_back(number);
      sum = b.addI(sum, number);
    }
    Value before = scan(sum).first;
    for (auto [value, number] : llvm::zip_equal(values, numbers)) {
      Value after = b.addI(before, number);
      Value isHere = b.andI(b.compare(CmpIPredicate::slt, before, need),
                            b.compare(CmpIPredicate::sge, after, need));
      b.ifThen(isHere, [&, value = value] {
        b.store(b.toI32(value), found, b.index(0));
        b.store(before, found, b.index(1));
      });
      before = after;
    }
    b.barrier();
    Value here = b.load(found, b.index(0));
    need = b.subI(need, b.load(found, b.index(1)));
    prefix = prefix
                 ? b.orI(arith::ShLIOp::create(b, prefix, b.i32(width)), here)
                 : here;
    b.barrier();
  }

  Value zero = b.index(0);
  forEachSlot(
      {},
      [&](ArrayRef<Slot> slots, ValueRange) -> SmallVector<Value> {
        SmallVector<Value> ranks = getRanks(slots);
        SmallVector<Value> better, equal;
        for (auto [rank, slot] : llvm::zip_equal(ranks, slots)) {
          auto mark = [&, rank = rank, &slot = slot](CmpIPredicate predicate) {
            return andOpen(slot, b.compare(predicate, rank, prefix));
          };
          better.push_back(mark(CmpIPredicate::ugt));
          equal.push_back(mark(CmpIPredicate::eq));
        }
        storeBits(better, picked, zero, slots);
        storeBits(equal, picked, b.index(1), slots);
        return {};
      },
      /*ofMarked=*/true);
  return need;
}
