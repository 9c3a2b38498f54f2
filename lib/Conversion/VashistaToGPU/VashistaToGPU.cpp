//===- VashistaToGPU.cpp - convert-vashista-to-gpu --------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "Schedules.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace vashista {
#define GEN_PASS_DEF_CONVERTVASHISTATOGPUPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

/// Picks are gone, but for sizes that they were given.
void eraseScore(ScoreOp op, PatternRewriter &rewriter) {
  rewriter.setInsertionPoint(op);
  ReifiedRankedShapedTypeDims sizes;
  (void)cast<ReifyRankedShapedTypeOpInterface>(*op).reifyResultShapes(rewriter,
                                                                      sizes);
  for (Operation *user : llvm::make_early_inc_range(op->getUsers())) {
    auto dim = cast<tensor::DimOp>(user);
    rewriter.replaceOp(
        dim, getValueOrCreateConstantIndexOp(
                 rewriter, op.getLoc(), sizes[0][*dim.getConstantIndex()]));
  }
  rewriter.eraseOp(op);
}

struct ConvertPass
    : public vashista::impl::ConvertVashistaToGPUPassBase<ConvertPass> {
  using Base::Base;

  void runOnOperation() override {
    // Of what has a schedule already nothing changes.
    ScheduleTarget target;
    target.multiprocessors = multiprocessors;
    target.clusterBlocks = clusters;
    target.sharedBytes = sharedBytes;
    if (failed(target.verify(getOperation())) ||
        failed(assignSchedules(getOperation(), target)))
      return signalPassFailure();
    llvm::DenseSet<Operation *> foreign;
    getOperation().walk([&](gpu::GPUFuncOp op) { foreign.insert(op); });
    PatternRewriter rewriter(&getContext());
    Findings findings;
    // Each may take ops with it that are before it or behind it.
    auto forEachAttend = [&](function_ref<void(AttendOp)> launch) {
      SmallVector<AttendOp> attends;
      getOperation().walk([&](AttendOp op) { attends.push_back(op); });
      for (AttendOp op : attends) {
        rewriter.setInsertionPoint(op);
        launch(op);
      }
    };
    forEachAttend(
        [&](AttendOp op) { (void)launchAttendBest(op, target, rewriter); });
    forEachAttend([&](AttendOp op) {
      (void)launchAttendChunks(op, target, findings, rewriter);
    });
    SmallVector<ScoreOp> scores;
    getOperation().walk([&](ScoreOp op) { scores.push_back(op); });
    SmallVector<ScoreOp> picked; // whose levels stand for their results
    for (ScoreOp op : scores) {
      rewriter.setInsertionPoint(op);
      if (!isa<SketchAttr>(op.getFrom())) {
        (void)launchVectorScan(op, findings, rewriter);
        continue;
      }
      Value bounds = op.getBounds();
      (void)launchSketchScan(op, target, findings, rewriter);
      if (findings.scans.lookup(bounds).levels)
        picked.push_back(op);
    }
    SmallVector<PickOp> picks;
    getOperation().walk([&](PickOp op) { picks.push_back(op); });
    for (PickOp op : picks)
      noteList(op, findings);
    for (PickOp op : llvm::reverse(picks)) {
      rewriter.setInsertionPoint(op);
      (void)launchPick(op, target, findings, rewriter);
    }
    for (ScoreOp op : picked)
      eraseScore(op, rewriter);
    forEachAttend([&](AttendOp op) {
      (void)launchAttendCertified(op, target, findings, rewriter);
    });
    // What nobody has done beside their own.
    SmallVector<Operation *> others;
    getOperation().walk([&](Operation *op) {
      if (isa_and_present<VashistaDialect>(op->getDialect()) &&
          !isa<ScoreOp, PickOp>(op))
        others.push_back(op);
    });
    for (Operation *op : others) {
      rewriter.setInsertionPoint(op);
      llvm::TypeSwitch<Operation *>(op)
          .Case([&](AttendOp op) { (void)launchAttend(op, target, rewriter); })
          .Case([&](AppendOp op) { (void)launchAppend(op, rewriter); })
          .Case([&](SummarizeOp op) { (void)launchSummarize(op, rewriter); })
          .Case([&](CertifyOp op) {
            (void)launchCertify(op, clusters, findings, rewriter);
          })
          .Case([&](MomentOp op) { (void)launchMoment(op, rewriter); })
          .Case<CheckTableOp, CheckPositionsOp, CheckListOp>(
              [&](auto op) { (void)launchCheck(op, rewriter); })
          .Case([&](FallbackOp op) {
            (void)launchFallback(op, target, rewriter);
          });
    }
    // Targets without clusters do not let kernels start early either.
    if (clusters == 1)
      getOperation().walk([&](NVVM::GriddepcontrolOp op) {
        if (!foreign.contains(op->getParentOfType<gpu::GPUFuncOp>()))
          op.erase();
      });
  }
};

} // namespace
