//===- Kernels.h - The kernels that ops become on a GPU ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/DenseMap.h"

namespace vashista {

/// Buffers for results of an op on tensors, as many as are needed.
llvm::SmallVector<mlir::Value> allocateResults(mlir::Operation *op,
                                               mlir::ImplicitLocOpBuilder &b,
                                               unsigned number);
/// The tensors that they are.
llvm::SmallVector<mlir::Value> toTensors(mlir::ImplicitLocOpBuilder &b,
                                         mlir::ValueRange buffers,
                                         mlir::TypeRange types);

// Each replaces an op by the launches of its kernels. Fails, without an error,
// where there are none for it.

/// On buffers.
llvm::LogicalResult launchAttend(AttendOp op, mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchAppend(AppendOp op, mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchSummarize(SummarizeOp op,
                                    mlir::PatternRewriter &rewriter);

// On tensors.
/// Of bounds that a scan has made, what it found of them on the way: a buffer
/// [R, H, blocks, 2] f32 of the highest finite bounds, and of 1 where a score
/// is NaN.
using ScanTops = llvm::DenseMap<mlir::Value, mlir::Value>;

llvm::LogicalResult launchSketchScan(ScoreOp op, ScanTops &tops,
                                     mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchVectorScan(ScoreOp op,
                                     mlir::PatternRewriter &rewriter);
/// An `attend` to the best tokens of few, which scores and picks them, too.
llvm::LogicalResult launchAttendBest(AttendOp op, int64_t clusterBlocks,
                                     mlir::PatternRewriter &rewriter);
/// A pick that takes up another's list needs this one's tail: the last first.
llvm::LogicalResult launchPick(PickOp op, int64_t clusterBlocks,
                               const ScanTops &tops,
                               mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchCertify(CertifyOp op,
                                  mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchFallback(FallbackOp op,
                                   mlir::PatternRewriter &rewriter);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H
