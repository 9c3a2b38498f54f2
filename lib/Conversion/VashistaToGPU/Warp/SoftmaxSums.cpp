//===- SoftmaxSums.cpp - Sums of what scores weigh ------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

Value vashista::toShift(WarpBuilder &b, Value top) {
  Value isNothing = b.compare(CmpFPredicate::OEQ, top, b.negInf());
  return b.select(isNothing, b.f32(0.0f), top);
}

Value vashista::toWeight(WarpBuilder &b, Value score, Value shift) {
  constexpr float kLog2E = 1.44269504f;
  return b.exp2(b.mulF(b.subF(score, shift), b.f32(kLog2E)));
}

SoftmaxSum vashista::sumByWarp(WarpBuilder &b, Value begin, Value end,
                               function_ref<Value(Value)> load,
                               function_ref<void(Value, Value)> visit) {
  /// Loads of a lane that do not wait for each other.
  constexpr int64_t kAtOnce = 4;
  Value lane = b.remU(b.threadId(), b.index(kWarp));
  Value first = b.addI(begin, lane), last = b.subI(end, b.index(1));
  auto forEach =
      [&](Value start,
          function_ref<void(Value at, Value isThere, Value score)> body) {
        SmallVector<Value> places, scores;
        for (int64_t i = 0; i < kAtOnce; ++i) {
          places.push_back(b.addI(start, b.index(i * kWarp)));
          scores.push_back(load(b.minI(places[i], last)));
        }
        for (auto [at, score] : llvm::zip_equal(places, scores)) {
          Value isThere = b.compare(arith::CmpIPredicate::slt, at, end);
          body(at, isThere, b.select(isThere, score, b.negInf()));
        }
      };
  Value top = b.forLoop(first, end, kAtOnce * kWarp, b.negInf(),
                        [&](Value start, ValueRange now) -> SmallVector<Value> {
                          Value top = now[0];
                          forEach(start, [&](Value, Value, Value score) {
                            top = b.maxNumber(top, score);
                          });
                          return {top};
                        })
                  .front();
  top = b.combine(top, [&](Value x, Value y) { return b.maxNumber(x, y); });
  Value shift = toShift(b, top);
  Value sum =
      b.forLoop(first, end, kAtOnce * kWarp, b.f32(0.0f),
                [&](Value start, ValueRange now) -> SmallVector<Value> {
                  Value sum = now[0];
                  forEach(start, [&](Value at, Value isThere, Value score) {
                    Value weight = toWeight(b, score, shift);
                    if (visit)
                      b.ifThen(isThere, [&] { visit(at, weight); });
                    sum = b.addF(sum, weight);
                  });
                  return {sum};
                })
          .front();
  sum = b.combine(sum, [&](Value x, Value y) { return b.addF(x, y); });
  return {top, sum};
}

SoftmaxSum vashista::joinSums(WarpBuilder &b, ArrayRef<SoftmaxSum> parts) {
  Value top = parts.front().top, sum = b.f32(0.0f);
  for (const SoftmaxSum &part : parts.drop_front())
    top = b.maxNumber(top, part.top);
  Value shift = toShift(b, top);
  for (const SoftmaxSum &part : parts)
    sum = b.addF(sum, b.mulF(toWeight(b, part.top, shift), part.sum));
  return {top, sum};
}

Value vashista::toRef(WarpBuilder &b, const SoftmaxSum &all) {
  Value isInf = b.compare(CmpFPredicate::OEQ, b.absF(all.top),
                          b.f32(std::numeric_limits<float>::infinity()));
  return b.select(isInf, b.f32(0.0f), b.addF(all.top, b.log(all.sum)));
}

SoftmaxSum vashista::sumScores(WarpBuilder &b, ArrayRef<Value> scores) {
  SoftmaxSum all = {b.negInf(), b.f32(0.0f)};
  SmallVector<Value> numbers;
  for (Value score : scores) {
    numbers.push_back(b.maxNumber(score, b.negInf()));
    all.top = b.maxNumber(all.top, numbers.back());
  }
  Value shift = toShift(b, all.top);
  for (Value number : numbers)
    all.sum = b.addF(all.sum, toWeight(b, number, shift));
  return all;
}

/// The same of warps, whose lanes have a sum each: of several together, as
/// exchanges of one wait for each other.
static void joinLanes(WarpBuilder &b, MutableArrayRef<SoftmaxSum> all) {
  for (auto &[top, sum] : all) {
    Value own = top;
    top = b.getTopOfWarp(top);
    sum = b.mulF(sum, toWeight(b, own, toShift(b, top)));
  }
  for (int64_t mask = 1; mask < kWarp; mask *= 2)
    for (SoftmaxSum &part : all)
      part.sum = b.addF(part.sum, b.shuffleXor(part.sum, mask));
}

void vashista::joinWarps(WarpBuilder &b, int64_t group,
                         function_ref<SoftmaxSum(int64_t)> getOwn,
                         function_ref<void(Value, const SoftmaxSum &)> store) {
  Value lane = b.remU(b.threadId(), b.index(kWarp));
  SmallVector<SoftmaxSum> sums;
  for (int64_t head = 0; head < group; ++head)
    sums.push_back(getOwn(head));
  joinLanes(b, sums);
  b.ifThen(b.compare(arith::CmpIPredicate::eq, lane, b.index(0)), [&] {
    for (auto [head, sum] : llvm::enumerate(sums))
      store(b.index(head), sum);
  });
}

void vashista::joinParts(WarpBuilder &b, int64_t warps, int64_t group,
                         int64_t parts,
                         function_ref<SoftmaxSum(Value, Value)> load,
                         function_ref<void(Value, const SoftmaxSum &)> store) {
  Value warp = b.divU(b.threadId(), b.index(kWarp)),
        lane = b.remU(b.threadId(), b.index(kWarp));
  b.forLoop(warp, b.index(group), warps, [&](Value head) {
    SmallVector<SoftmaxSum> own;
    for (int64_t first = 0; first < parts; first += kWarp) {
      Value part = b.addI(lane, b.index(first));
      Value isThere =
          b.compare(arith::CmpIPredicate::slt, part, b.index(parts));
      auto [top, sum] = load(head, b.minI(part, b.index(parts - 1)));
      own.push_back({b.select(isThere, top, b.negInf()),
                     b.select(isThere, sum, b.f32(0.0f))});
    }
    SoftmaxSum all = own.size() == 1 ? own.front() : joinSums(b, own);
    joinLanes(b, all);
    b.ifThen(b.compare(arith::CmpIPredicate::eq, lane, b.index(0)),
             [&] { store(head, all); });
  });
}

// Each warp's sums, and then a warp for each head.
void vashista::findRefs(WarpBuilder &b, int64_t warps, int64_t group,
                        Value perWarp, Value refs,
                        function_ref<SoftmaxSum(int64_t)> getOwn) {
  constexpr int64_t kHeads = kRefColumns / 2;
  Value warp = b.divU(b.threadId(), b.index(kWarp));
  auto getPlace = [&](Value warp, Value head, int64_t which) {
    Value column = b.addI(b.mulI(head, b.index(2)), b.index(which));
    return SmallVector<Value>{warp, column};
  };
  for (int64_t first = 0; first < group; first += kHeads) {
    int64_t heads = std::min(kHeads, group - first);
    joinWarps(
        b, heads, [&](int64_t head) { return getOwn(first + head); },
        [&](Value head, const SoftmaxSum &own) {
          Value numbers[] = {own.top, own.sum};
          for (auto [i, number] : llvm::enumerate(numbers))
            b.store(arith::BitcastOp::create(b, b.getI32Type(), number),
                    perWarp, getPlace(warp, head, i));
        });
    b.barrier();
    auto load = [&](Value head, Value from) -> SoftmaxSum {
      auto get = [&](int64_t which) -> Value {
        return arith::BitcastOp::create(
            b, b.getF32Type(), b.load(perWarp, getPlace(from, head, which)));
      };
      return {get(0), get(1)};
    };
    joinParts(b, warps, heads, warps, load,
              [&](Value head, const SoftmaxSum &all) {
                b.store(toRef(b, all), refs, b.addI(head, b.index(first)));
              });
    b.barrier();
  }
}
