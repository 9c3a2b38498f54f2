//===- BestScores.h - The best of few slots, by a block ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BESTSCORES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BESTSCORES_H

#include "WarpBuilder.h"

namespace vashista {

/// A score as an unsigned number of the same order, above 0; NaN as -inf.
mlir::Value toRank(WarpBuilder &b, mlir::Value score);

/// Picks the best of slots whose scores the threads of a block hold in
/// registers, consecutive ones each. The score that decides is found two bits
/// of its rank at a time, with a barrier for each: its time does not depend on
/// how scores are spread, as that of bins does. Where a thread has many, those
/// of most threads' highest scores come first: what lies below the need-th of
/// them is out, which leaves few for the rest of the search. Of equal scores
/// the first are picked.
class BestScores {
public:
  using Value = mlir::Value;

  /// `own`: slots of a thread. `counters`: [kCounters] i32 of the block.
  /// `perWarp`: [warps, 1 or more] i32. `few`: [threads or more] i32.
  BestScores(WarpBuilder &b, int64_t warps, int64_t own, Value counters,
             Value perWarp, Value few);
  /// Bits of a digit, and digits of a rank.
  static constexpr int64_t kBits = 2, kDigits = 32 / kBits;
  static constexpr int64_t kSearch = kDigits * ((1 << kBits) - 1);
  /// Of two searches, of few, and the highest rank.
  static constexpr int64_t kCounters = 2 * kSearch + 2;

  /// A slot of this thread, index.
  Value getSlot(int64_t number) { return b.addI(firstSlot, b.index(number)); }
  Value getSlot(Value number) { return b.addI(firstSlot, b.toIndex(number)); }
  /// The sum of all threads' i32.
  Value addUp(Value value);
  /// Finds the best `need` of the `available` scores that are not NaN, or all,
  /// if these are fewer (both i32). `most`: picks that there is room for, which
  /// is no less than `need`.
  void find(llvm::ArrayRef<Value> scores, Value available, Value need,
            int64_t most);
  /// body(number, at), both i32, for each of the thread's slots that is picked
  /// or whose bit of `always` (i32) is set, in the order of slots; yields how
  /// many there are, i32. What is always picked has no score.
  Value forEachPick(llvm::ArrayRef<Value> scores, Value always,
                    llvm::function_ref<void(Value number, Value at)> body);

private:
  /// What is known of the rank of the last of the best.
  struct Found {
    Value prefix;  // what it begins with, i32
    Value above;   // how many are above all that begins so, i32
    Value isExact; // whether all that begins so is needed
  };
  /// The score of a rank, or of the lowest one above.
  Value toScore(Value rank);
  /// How many scores are at least those of each rank, with counters of its own.
  llvm::SmallVector<Value> count(llvm::ArrayRef<Value> scores,
                                 llvm::ArrayRef<Value> ranks, Value counter);
  /// Narrows down the need-th best by digits [last, first).
  Found search(llvm::ArrayRef<Value> scores, Value need, Found known,
               Value first, int64_t last, int64_t counter);
  Found searchFew(llvm::ArrayRef<Value> scores, Value need, Found unknown);

  WarpBuilder &b;
  const int64_t warps;
  Value counters, perWarp, few;
  Value warp, lane, firstSlot;
  // What is above is picked, and so many of what is equal.
  Value limit, ties;
  Value room;    // for picks, i32
  Value highest; // of the thread's scores
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BESTSCORES_H
