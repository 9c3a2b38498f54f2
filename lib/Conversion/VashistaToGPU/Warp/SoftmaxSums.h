//===- SoftmaxSums.h - Sums of what scores weigh ----------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SOFTMAXSUMS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SOFTMAXSUMS_H

#include "WarpBuilder.h"

namespace vashista {

/// What some scores come to: the highest, which is no NaN, and the sum of what
/// they weigh against it. f32.
struct SoftmaxSum {
  mlir::Value top, sum;
};

/// What is subtracted from scores before they are weighed: exp must not meet
/// -inf - -inf.
mlir::Value toShift(WarpBuilder &b, mlir::Value top);
/// e^(score - shift), within 2^-22 of it and more by what the difference is
/// rounded.
mlir::Value toWeight(WarpBuilder &b, mlir::Value score, mlir::Value shift);
/// By the lanes of a warp, of load(at) for each `at` from `begin` to `end`;
/// visit(at, weight) of each, if anything is to be done with it.
SoftmaxSum
sumByWarp(WarpBuilder &b, mlir::Value begin, mlir::Value end,
          llvm::function_ref<mlir::Value(mlir::Value at)> load,
          llvm::function_ref<void(mlir::Value at, mlir::Value weight)> visit =
              nullptr);
/// Of scores of a thread; NaN weighs nothing.
SoftmaxSum sumScores(WarpBuilder &b, llvm::ArrayRef<mlir::Value> scores);
/// The same of sums of parts.
SoftmaxSum joinSums(WarpBuilder &b, llvm::ArrayRef<SoftmaxSum> parts);
/// The log-sum-exp that heads are compared by: 0 where it is infinite.
mlir::Value toRef(WarpBuilder &b, const SoftmaxSum &all);
/// Of `group` heads, what the lanes of each warp have: getOwn(head) yields what
/// this one has; by a lane of each, store(head, sum), head an index.
void joinWarps(
    WarpBuilder &b, int64_t group,
    llvm::function_ref<SoftmaxSum(int64_t head)> getOwn,
    llvm::function_ref<void(mlir::Value head, const SoftmaxSum &sum)> store);
/// The same of so many parts, by a warp for each head.
void joinParts(
    WarpBuilder &b, int64_t warps, int64_t group, int64_t parts,
    llvm::function_ref<SoftmaxSum(mlir::Value head, mlir::Value part)> load,
    llvm::function_ref<void(mlir::Value head, const SoftmaxSum &sum)> store);
/// Heads' refs of what all threads of a block have, to `refs`, [group] f32.
/// `perWarp`: [warps, kRefColumns or more] i32 of the block. Ends with a
/// barrier.
inline constexpr int64_t kRefColumns = 8;
void findRefs(WarpBuilder &b, int64_t warps, int64_t group, mlir::Value perWarp,
              mlir::Value refs,
              llvm::function_ref<SoftmaxSum(int64_t head)> getOwn);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SOFTMAXSUMS_H
