//===- PickFew.cpp - The best of few slots, on a GPU ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The threads of a block hold the scores of all slots. Bytes: 2 G L scores, or
// L for one head; no words between.
//
//===----------------------------------------------------------------------===//

#include "Best/BestScores.h"
#include "PickKernels.h"
#include "Warp/SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

bool PickLauncher::isDynamic() {
  return cast<RankedTensorType>(op.getScores().getType()).isDynamicDim(2);
}

void PickLauncher::pickFew() {
  int64_t own = fewOwn;
  BestScores best(b, warps, own, counters, perWarp, bins);
  int64_t known =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  Value last = b.subI(numSlots, b.index(1));
  SmallVector<Value> slots, weights;
  for (int64_t i = 0; i < own; ++i)
    slots.push_back(best.getSlot(i));
  // A bit for each slot.
  auto getBit = [&](int64_t i) {
    return b.i32(static_cast<int64_t>(uint32_t(1) << i));
  };
  auto isIn = [&](Value bits, int64_t i) {
    return b.compare(CmpIPredicate::ne, b.andI(bits, getBit(i)), b.i32(0));
  };
  Value open = b.i32(0), always = open;
  if (pages) {
    for (int64_t i = 0; i < own; ++i) {
      Value inside = b.minI(slots[i], last);
      Value is = b.andI(b.compare(CmpIPredicate::slt, slots[i], used),
                        isVisible(inside));
      open = b.orI(open, b.select(is, getBit(i), b.i32(0)));
      if (hasAlways())
        always = b.orI(always, b.select(isAlways(inside), getBit(i), b.i32(0)));
    }
  } else {
    open = best.getBitsBefore(used);
    if (hasAlways()) {
      auto [afterSinks, window] = getFree();
      Value recent =
          arith::XOrIOp::create(b, best.getBitsBefore(window), b.i32(-1));
      always = b.orI(best.getBitsBefore(afterSinks), recent);
    }
  }
  always = b.andI(always, open);
  Value free = arith::XOrIOp::create(b, open, always);
  // Only the last page may weigh less, and a window takes it.
  bool isWeighed = unit > 1 && (group > 1 || op.getWindow() == 0);
  for (int64_t i = 0; isWeighed && i < own; ++i)
    weights.push_back(addWeight(b.f32(0.0f), slots[i]));
  // Of what is not open, anything.
  auto getScores = [&](Value head) {
    SmallVector<Value> found;
    Value queryHead = b.addI(firstHead, head);
    bool isTogether =
        !isDynamic() && own % kTogether == 0 && known % kTogether == 0;
    int64_t size = isTogether ? kTogether : 1;
    for (int64_t i = 0; i < own; i += size) {
      Value at = b.minI(slots[i], b.subI(numSlots, b.index(size)));
      Value vector = vector::LoadOp::create(
          b, b.vectorType(size), scores, ValueRange{row, queryHead, at},
          /*nontemporal=*/false, llvm::MaybeAlign(4 * size));
      for (int64_t j = 0; j < size; ++j) {
        Value score =
            vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{j});
        found.push_back(isWeighed ? b.addF(score, weights[i + j]) : score);
      }
    }
    return found;
  };
  // Those of few heads stay in registers.
  constexpr int64_t kMostKept = 64;
  int64_t room = kMostKept * PickLauncher::kMostWarps /
                 (warps * std::max<int64_t>(schedule.getBlocks(), 1));
  bool areKept = group > 1 && group * own <= room;
  SmallVector<SmallVector<Value>> kept;
  for (int64_t head = 0; areKept && head < group; ++head)
    kept.push_back(getScores(b.index(head)));
  SmallVector<Value> values;
  if (group == 1) {
    // NaN is -inf.
    for (Value score : getScores(b.index(0)))
      values.push_back(b.maxNumber(score, b.negInf()));
  } else {
    vashista::findRefs(b, warps, group, perWarp, refs, [&](int64_t head) {
      SmallVector<Value> found =
          areKept ? kept[head] : getScores(b.index(head));
      for (auto [i, score] : llvm::enumerate(found))
        score = b.select(isIn(open, i), score, b.negInf());
      return sumScores(b, found);
    });
    auto join = [&](Value head, ArrayRef<Value> scores,
                    MutableArrayRef<Value> values) {
      Value ref = b.load(refs, head);
      for (auto [value, score] : llvm::zip_equal(values, scores))
        value = b.maxNumber(value, b.subF(score, ref));
    };
    values.assign(own, b.negInf());
    for (auto [head, scores] : llvm::enumerate(kept))
      join(b.index(head), scores, values);
    if (!areKept)
      values = b.forLoop(b.index(0), b.index(group), 1, values,
                         [&](Value head, ValueRange carried) {
                           SmallVector<Value> next(carried);
                           join(head, getScores(head), next);
                           return next;
                         });
  }
  // What is not there, or picked in any case, has no score.
  Candidates all(b, hasAlways());
  all.always = always;
  all.number = math::CtPopOp::create(b, free);
  for (auto [i, value] : llvm::enumerate(values))
    all.scores.push_back(b.select(
        isIn(free, i), value, b.f32(std::numeric_limits<float>::quiet_NaN())));
  best.find(all, op.getBudget(), BestScores::getUsual(op));
  Value total = best.forEachPick(all, [&](Value i, Value at) {
    Value slot = best.getSlot(i);
    Value id = op.getUnit() == SlotUnit::pages ? slot : getPosition(slot);
    b.store(b.toI32(id), ids, {row, kvHead, b.toIndex(at)});
  });
  writeFew(total);
}
