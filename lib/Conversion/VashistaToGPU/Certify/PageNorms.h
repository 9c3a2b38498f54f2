//===- PageNorms.h - The largest norms of pages -----------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CERTIFY_PAGENORMS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CERTIFY_PAGENORMS_H

#include "Warp/WarpBuilder.h"

namespace vashista {

/// The larger of two norms; NaN stays.
mlir::Value getLargerNorm(WarpBuilder &b, mlir::Value x, mlir::Value y);

/// Of the pages that a thread looks at and each of consecutive KV heads, the
/// largest key and value norm: f32, 0 of no page. `norms`: [N, Hkv, 2] f32. The
/// pages are those of every `apart`th entry of a row's table from `begin` on
/// and before `end`, `atOnce` at a time: what is loaded of them must not wait
/// for each other. loadPage(entry) yields an index.
llvm::SmallVector<mlir::Value>
findLargestNorms(WarpBuilder &b, mlir::Value norms, mlir::Value firstKvHead,
                 int64_t kvHeads, mlir::Value begin, mlir::Value end,
                 int64_t apart, int64_t atOnce,
                 llvm::function_ref<mlir::Value(mlir::Value entry)> loadPage);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CERTIFY_PAGENORMS_H
