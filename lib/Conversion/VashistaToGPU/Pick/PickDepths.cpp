//===- PickDepths.cpp - How deep proofs take slots, by levels -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// From how many slots lie at each depth, and what their scores stand for
// (PickCounts.cpp), with the slots of a bin in the middle of it, it is
// estimated what is left and what is attended: and so how deep a head must take
// slots if nobody else did; what any head takes is taken. That several heads
// together need 3 to 6 % less is not worth the passes that find it. A pick that
// follows takes these numbers from the one before: it knows the mass that is
// attended, and what is left from a depth on is at most what was counted. What
// was too deep to be counted is added to that as if it were no deeper.
//
// Tails are of all slots, whatever was sampled, and a pick that follows goes
// deeper until its own says that it is enough.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Groups of some slots are sampled, and of many.
static constexpr int64_t kSomeSlots = 32768, kManySlots = 65536;
/// Where scores lack more of their bounds, they are steep: few slots decide
/// what is left, and a spread that is off a little is off by nats.
static constexpr float kMostReach = 8.0f;

Value PickLauncher::selectOne(ArrayRef<Value> values, Value number) {
  Value own = values.front();
  for (auto [i, value] : llvm::enumerate(values))
    if (i > 0)
      own = b.select(b.compare(CmpIPredicate::eq, number,
                               b.index(static_cast<int64_t>(i))),
                     value, own);
  return own;
}

void PickLauncher::findDepthEnds() {
  const int64_t heads = headsAtOnce;
  b.forLoop(b.index(0), b.index(group), heads, [&](Value first) {
    SmallVector<Value> taken(heads, b.f32(0.0f));
    if (isFollowing()) {
      loadDepths(first);
    } else {
      taken = countDepths(first);
      if (clusterBlocks > 1)
        return findEndsOfOwners(first, taken);
      taken = addUpBins(2 * heads * kBins, taken,
                        SmallVector<Join>(heads, Join::sum));
    }
    // A warp for each.
    Value head = b.addI(first, warp);
    Value isThere = b.andI(b.compare(CmpIPredicate::ult, warp, b.index(heads)),
                           b.compare(CmpIPredicate::ult, head, b.index(group)));
    Value own = selectOne(taken, warp);
    b.ifThen(isThere, [&] { findDepthEnd(head, warp, own); });
    if (depths && !isFollowing())
      forEachFour(heads * 2 * kBins,
                  [&](Value at) { keepDepths(first, at, loadFour(bins, at)); });
    b.barrier();
  });
}

/// Each of them a few heads: all bins of all blocks are much to read for each.
void PickLauncher::findEndsOfOwners(Value first, ArrayRef<Value> taken) {
  constexpr int64_t size = 2 * kBins; // of a head
  const int64_t heads = headsAtOnce;
  SmallVector<Join> joins(heads, Join::sum);
  leave(taken, joins); // waits for the bins of the block
  forEachFour(heads * size, [&](Value at) {
    storeFour(loadFour(bins, at), between, {row, kvHead, block, at});
  });
  waitCluster();
  SmallVector<Value> all = collect(ValueRange(taken).getTypes(), joins);
  auto getEnd = [&](Value ofBlock, Value at, int64_t which) {
    return getTold(ofBlock,
                   b.addI(at, b.index(getToldOfEnds() + which * heads)));
  };
  auto isThere = [&](Value at) {
    Value head = b.addI(first, at);
    return b.andI(b.compare(CmpIPredicate::ult, at, b.index(heads)),
                  b.compare(CmpIPredicate::ult, head, b.index(group)));
  };
  for (int64_t i = 0; i < heads; i += clusterBlocks) {
    Value at = b.addI(block, b.index(i)), from = b.mulI(at, b.index(size));
    b.ifThen(isThere(at), [&] {
      forEachFour(size, [&](Value within) {
        Value bin = b.addI(from, within), sum;
        for (int64_t other = 0; other < clusterBlocks; ++other) {
          Value its = loadFour(between, {row, kvHead, b.index(other), bin});
          sum = sum ? b.addI(sum, its) : its;
        }
        storeFour(sum, bins, bin);
        keepDepths(first, bin, sum);
      });
    });
  }
  b.barrier();
  Value at = b.addI(block, b.mulI(warp, b.index(clusterBlocks)));
  b.ifThen(isThere(at), [&] {
    Value head = b.addI(first, at);
    findDepthEnd(head, at, selectOne(all, at));
    b.ifThen(isFirstLane(), [&] {
      Value need = arith::BitcastOp::create(b, b.getI32Type(),
                                            getFact(head, Fact::need));
      b.store(b.load(ends, head), told, getEnd(block, at, 0));
      b.store(need, told, getEnd(block, at, 1));
      if (hasMoment())
        b.store(arith::BitcastOp::create(b, b.getI32Type(),
                                         getFact(head, Fact::theta)),
                told, getEnd(block, at, 2));
    });
  });
  waitCluster();
  b.ifThen(isThere(thread), [&] {
    Value head = b.addI(first, thread);
    Value owner = b.remU(thread, b.index(clusterBlocks));
    Value need = b.load(told, getEnd(owner, thread, 1));
    b.store(b.load(told, getEnd(owner, thread, 0)), ends, head);
    setFact(head, Fact::need,
            arith::BitcastOp::create(b, b.getF32Type(), need));
    if (hasMoment())
      setFact(head, Fact::theta,
              arith::BitcastOp::create(b, b.getF32Type(),
                                       b.load(told, getEnd(owner, thread, 2))));
  });
  b.barrier();
}

void PickLauncher::withKept(Value first, Value at,
                            function_ref<void(ArrayRef<Value> there)> body) {
  Value size = b.index(2 * kBins), head = b.addI(first, b.divU(at, size));
  b.ifThen(b.compare(CmpIPredicate::ult, head, b.index(group)), [&] {
    body({row, b.addI(firstHead, head), b.remU(at, size)});
  });
}

void PickLauncher::keepDepths(Value first, Value at, Value four) {
  if (depths)
    withKept(first, at,
             [&](ArrayRef<Value> there) { storeFour(four, depths, there); });
}

void PickLauncher::loadDepths(Value first) {
  forEachFour(headsAtOnce * 2 * kBins, [&](Value at) {
    withKept(first, at, [&](ArrayRef<Value> there) {
      storeFour(loadFour(depths, there), bins, at);
    });
  });
  b.barrier();
}

/// No share has more than its bits have room for.
Value PickLauncher::getShareUnit() {
  return b.minNumber(getUnit(), b.f32(0x1p22f));
}

/// Of a tile not all of which is open the highest may not be. One that follows
/// has what was counted before, when all was open.
bool PickLauncher::countsTileTops() {
  return !pages && (!op.getTaken() || isFollowing());
}

Value PickLauncher::getSampleShift() {
  auto known = cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  bool areFew = !ShapedType::isDynamic(known) && known < kSomeSlots;
  if (areFew || !countsTileTops())
    return nullptr;
  Value isSampled =
      b.forLoop(b.index(0), b.index(group), 1,
                b.compare(CmpIPredicate::uge, used, b.index(kSomeSlots)),
                [&](Value head, ValueRange carried) -> SmallVector<Value> {
                  Value isClose =
                      b.compare(CmpFPredicate::OLE, getFact(head, Fact::reach),
                                b.f32(kMostReach));
                  return {b.andI(carried[0], isClose)};
                })
          .front();
  Value areMany = b.compare(CmpIPredicate::uge, used, b.index(kManySlots));
  Value shift = b.select(areMany, b.i32(kShiftOfMany), b.i32(kShift));
  return b.select(isSampled, shift, b.i32(0));
}

Value PickLauncher::getDeepest(Value head) {
  // Of what may be left beside the best score alone, whose key may have much
  // less of a logit.
  constexpr float kNegligible = 0x1p-12f;
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value most = b.divF(b.mulF(number, b.f32(1 / kNegligible)), getRatio());
  return b.addF(b.log(most), getFact(head, Fact::reach));
}
