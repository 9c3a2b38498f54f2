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

#include "mlir/IR/PatternMatch.h"

namespace vashista {

/// Replaces an op on buffers by the launches of its kernels. Fails, without an
/// error, where there are none for it.
llvm::LogicalResult launchAttend(AttendOp op, mlir::PatternRewriter &rewriter);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H
