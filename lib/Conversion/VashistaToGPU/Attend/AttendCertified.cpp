//===- AttendCertified.cpp - An attend whose merge certifies --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Where a scan leaves the largest norms of a row's pages, a certificate needs
// next to nothing but the state, and a launch of its own takes longer than all
// that it does. The merge of the splits, which has a block for each head, does
// it.
//
//===----------------------------------------------------------------------===//

#include "AttendKernels.h"
#include "Kernels.h"
#include "Schedules.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace vashista;

CertifyOp vashista::findCertifyOfMerge(AttendOp op, Value tail) {
  if (!op.hasPureTensorSemantics())
    return nullptr;
  for (Operation *user : op->getResult(0).getUsers()) {
    auto certify = dyn_cast<CertifyOp>(user);
    if (certify && certify->getBlock() == op->getBlock() &&
        certify.getO() == op->getResult(0) &&
        certify.getLse() == op->getResult(1) && !certify.getGap() &&
        !findObstacle(certify) && certify.getSeqLens() == op.getSeqLens() &&
        isBefore(certify.getDirection(), op) &&
        (certify.getTail() == tail || isBefore(certify.getTail(), op)))
      return certify;
  }
  return nullptr;
}

/// Whether all of a list, or of a sequence, is one split, which nobody merges.
static bool isWhole(AttendOp op) {
  Value list = op.getTokens() ? op.getTokens() : op.getPages();
  auto keys = cast<ShapedType>(op.getKCache().getType());
  int64_t capacity =
              cast<ShapedType>((list ? list : op.getPageTable()).getType())
                  .getDimSize(list ? 2 : 1),
          pageSize = keys.getDimSize(op.getLayout() == Layout::hnd ? 2 : 1);
  if (ShapedType::isDynamic(capacity))
    return false;
  if (!op.getTokens())
    capacity *= pageSize;
  return capacity <= static_cast<int64_t>(op.getSchedule()->getSplit());
}

LogicalResult vashista::launchAttendCertified(AttendOp op,
                                              const ScheduleTarget &target,
                                              const Findings &findings,
                                              PatternRewriter &rewriter) {
  CertifyOp certify = findCertifyOfMerge(op);
  Value largest = certify ? findings.norms.lookup(certify) : Value();
  if (!largest || !isEmptyState(op.getOuts()) || !op.getSchedule() ||
      findObstacle(op) || isWhole(op) ||
      cast<MemRefType>(largest.getType()).getDimSize(1) !=
          cast<ShapedType>(op.getQuery().getType()).getDimSize(1) /
              op.getGroupSize())
    return rewriter.notifyMatchFailure(
        op, "expected splits from nothing, which a certificate is of");
  WarpBuilder b(op.getLoc(), rewriter);
  SmallVector<Value> outs(op.getOuts()),
      state = allocateResults(op, b, op->getNumResults());
  AttendLauncher::Certified certified;
  certified.op = certify;
  certified.direction = b.readOnly(certify.getDirection());
  certified.tail = b.readOnly(certify.getTail());
  certified.largest = largest;
  certified.results = allocateResults(certify, b, certify->getNumResults());
  auto attend = AttendOp::create(
      b, TypeRange(), b.readOnly(op.getQuery()), b.readOnly(op.getKCache()),
      b.readOnly(op.getVCache()), b.readOnly(op.getPageTable()),
      b.readOnly(op.getSeqLens()), b.readOnly(op.getRowToSeq()),
      b.readOnly(op.getPages()), b.readOnly(op.getPageCount()),
      b.readOnly(op.getTokens()), b.readOnly(op.getTokenCount()),
      /*begin=*/Value(), /*end=*/Value(), state, op.getScaleAttr(),
      op.getSoftCapAttr(), op.getSolverAttr(), op.getLayoutAttr(),
      op.getScheduleAttr());
  AttendLauncher launcher(attend, b, target, /*startsEmpty=*/true);
  launcher.certified = certified;
  launcher.launch();
  rewriter.eraseOp(attend);
  rewriter.replaceOp(
      certify, toTensors(b, certified.results, certify->getResultTypes()));
  rewriter.replaceOp(op, toTensors(b, state, op->getResultTypes()));
  for (Value out : outs)
    if (out.use_empty())
      rewriter.eraseOp(out.getDefiningOp());
  return success();
}
