//===- AssignSchedule.cpp - vashista-assign-schedule ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Schedules.h"
#include "vashista/Conversion/Passes.h"
#include "vashista/Dialect/Vashista/Transforms/SplitTokens.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAASSIGNSCHEDULEPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

struct AssignSchedulePass
    : public vashista::impl::VashistaAssignSchedulePassBase<
          AssignSchedulePass> {
  using Base::Base;

  void runOnOperation() override {
    if (cpu)
      return assignSplits();
    ScheduleTarget target;
    target.multiprocessors = multiprocessors;
    target.clusterBlocks = clusters;
    target.sharedBytes = sharedBytes;
    if (failed(target.verify(getOperation())) ||
        failed(assignSchedules(getOperation(), target)))
      signalPassFailure();
  }

  /// What is written stays, other parameters too: they may be for a GPU.
  void assignSplits() {
    constexpr int64_t kSplit = 4096;
    getOperation().walk([&](AttendOp op) {
      ScheduleAttr s = op.getScheduleAttr();
      if (!canBeSplit(op) || (s && s.getSplit()))
        return;
      op.setScheduleAttr(
          s ? ScheduleAttr::get(&getContext(), s.getWarps(), s.getVector(),
                                s.getStages(), kSplit, s.getSplits(),
                                s.getBlocks(), s.getCluster(), s.getFuse())
            : ScheduleAttr::get(&getContext(), 0, 0, 0, kSplit, 0, 0, 0,
                                false));
    });
  }
};

} // namespace
