//===- PickPages.cpp - The best of pages, by blocks of them, on a GPU -----===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// By what a scan has left of blocks of them (BlockPick.h) or, where that cannot
// be, as of few pages or of more than threads can have, as other slots are.
//
//===----------------------------------------------------------------------===//

#include "BlockPick.h"
#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

bool vashista::picksByBlocks(PickOp op) {
  std::optional<ScheduleAttr> schedule = op.getSchedule();
  return schedule && !findObstacle(op) &&
         PickLauncher::getOwnOfFew(op, schedule->getWarps(),
                                   schedule->getCluster()) > 0 &&
         BlockPick::isPossible(op, schedule->getWarps());
}

void PickLauncher::pickPages() {
  PagesOfPick of(op, b, length, numSlots);
  auto getPlace = [&](Value head, Value block) -> SmallVector<Value> {
    return {row, b.addI(firstHead, head), block};
  };
  auto loadSum = [&](Value head, Value block) -> SoftmaxSum {
    SmallVector<Value> at = getPlace(head, block);
    at.push_back(b.index(0));
    SmallVector<Value> both = b.loadFloats(pageFindings.sums, at, 2);
    return {both[0], both[1]};
  };
  auto loadTop = [&](int64_t head, Value block) {
    return b.load(pageFindings.tops, getPlace(b.index(head), block));
  };
  auto loadScore = [&](int64_t head, Value page) {
    return b.load(scores, getPlace(b.index(head), page));
  };
  BlockPick::Memory memory = {loadScore,    /*parts=*/0, loadSum, loadTop,
                              counters,     perWarp,     bins,    refs,
                              chosenBlocks, chosenPages, marks};
  BlockPick pick(op, b, of, warps, memory);
  auto [isDone, number] = pick.run([&](Value page, Value at) {
    b.store(b.toI32(page), ids, {row, kvHead, at});
  });
  b.ifThen(isDone, [&, number = number] { writeFew(number); });
  b.ifThen(notI(isDone), [&] {
    b.barrier();
    pickFewOrMany();
  });
}

void PickLauncher::writeFew(Value number) {
  pad(b.toIndex(number));
  b.ifThen(isFirstThread(), [&] { b.store(number, counts, {row, kvHead}); });
}
