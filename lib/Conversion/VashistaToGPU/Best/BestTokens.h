//===- BestTokens.h - What attends to the best of few tokens ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_BESTTOKENS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_BESTTOKENS_H

#include "RoutePages.h"

namespace vashista {

/// An `attend` to the best tokens of listed pages, with the `pick` that takes
/// them and the `score` that it takes them by: ops that can be one kernel.
struct BestTokens {
  AttendOp attend;
  PickOp pick;
  ScoreOp score;
  int64_t group, kvHeads, valueDim, numSlots, budget;
  /// Of the pages, if that is done, too.
  std::optional<PageRoute> route;

  /// Of what warps leave for each other.
  static constexpr int64_t kColumns = 8;
  /// What BestScores has room for in all picks, i32.
  int64_t getNumFew(int64_t warps) const;

  /// What is in a block's memory, where so many have a row and KV head.
  struct Memory {
    /// Of all tokens and of all pages, their scores: else they are in global
    /// memory.
    bool keepsScores, keepsPageScores;
    /// These and, afterwards, sums of values; and where, among them, what is
    /// kept of pages is. f32
    int64_t numScores, routeAt;
    int64_t bytes; // in all
  };
  /// As many scores as `most` bytes have room for; none if they have less.
  Memory getMemory(int64_t warps, int64_t blocks, int64_t most) const;

private:
  /// Of all but scores.
  int64_t getRestBytes(int64_t warps, int64_t blocks) const;
};

/// What an `attend` is such a kernel with, or what it lacks.
std::optional<BestTokens> findBestTokens(AttendOp op, const char *&obstacle);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_BESTTOKENS_H
