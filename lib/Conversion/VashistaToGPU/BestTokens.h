//===- BestTokens.h - What attends to the best of few tokens ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BESTTOKENS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BESTTOKENS_H

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
  /// Whether a block has room for the scores of all pages, of which it picks.
  bool keepsPageScores(int64_t warps, int64_t blocks) const;
  /// Whether each block of a cluster has room for the scores of all tokens.
  bool keepsScores(int64_t warps, int64_t blocks) const;
  /// Static memory of a block, where so many have a row and KV head.
  int64_t getSharedBytes(int64_t warps, int64_t blocks) const;
  /// Scores, and then sums of values.
  int64_t getNumScores(int64_t warps, int64_t blocks) const;

private:
  /// What warps find of pages, beside scores.
  int64_t getNumFindings(int64_t warps, int64_t blocks) const;
  /// The rest of it, and that without what a pick by blocks of pages and a
  /// cluster have.
  int64_t getRestBytes(int64_t warps, int64_t blocks) const;
  int64_t getOtherBytes(int64_t warps) const;
};

/// What an `attend` is such a kernel with, or what it lacks.
std::optional<BestTokens> findBestTokens(AttendOp op, const char *&obstacle);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BESTTOKENS_H
