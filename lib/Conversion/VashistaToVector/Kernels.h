//===- Kernels.h - CPU kernels, one per destination op -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KERNELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KERNELS_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace mlir {
class PatternRewriter;
} // namespace mlir

namespace vashista {

struct KernelTarget;

llvm::LogicalResult lowerAttend(AttendOp op, mlir::PatternRewriter &rewriter,
                                const KernelTarget &target);
llvm::LogicalResult lowerAppend(AppendOp op, mlir::PatternRewriter &rewriter,
                                const KernelTarget &target);
llvm::LogicalResult lowerSummarize(SummarizeOp op,
                                   mlir::PatternRewriter &rewriter,
                                   const KernelTarget &target);

/// What an op on buffers has that no kernel handles, or an empty string.
llvm::StringRef getObstacle(AttendOp op);
llvm::StringRef getObstacle(AppendOp op);
llvm::StringRef getObstacle(SummarizeOp op);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KERNELS_H
