//===- Moments.h - Second moments of a sketch on a GPU ----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_MOMENTS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_MOMENTS_H

#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

// After the kernels that write what an op on buffers keeps of its pages, for an
// op that keeps moments, too.

void launchMomentSums(SummarizeOp op, WarpBuilder &b);
void launchMomentUpdates(AppendOp op, WarpBuilder &b);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_MOMENTS_H
