//===- BestScores.h - The best of few slots, by a block ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_BESTSCORES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_BESTSCORES_H

#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// A score as an unsigned number of the same order, above 0; NaN as -inf.
mlir::Value toRank(WarpBuilder &b, mlir::Value score);

/// What a thread has of slots to pick from: scores, of which some are picked in
/// any case.
struct Candidates {
  /// Bits in place of the score of what is picked in any case, and of what is
  /// not there: both NaN, of which nothing is compared.
  static constexpr int64_t kAlways = 0x7ffffffe, kNothing = 0x7fffffff;

  Candidates(WarpBuilder &b, bool hasAlways)
      : b(b), hasAlways(hasAlways), always(b.i32(0)), number(b.i32(0)) {}
  /// The next slot, by the bits of its score, i32.
  void add(mlir::Value bits);

  WarpBuilder &b;
  const bool hasAlways;
  llvm::SmallVector<mlir::Value> scores; // f32
  mlir::Value always;                    // a bit of each, i32
  mlir::Value number;                    // of those that have a score, i32
};

/// Picks the best of slots whose scores the threads of a block hold in
/// registers, consecutive ones each. What decides is the need-th best score.
/// Each of M groups of slots, M at least twice what is needed, has a highest
/// score; the need-th of these, by comparing all with all, has as many slots
/// above it as are needed, and mostly not many more: these are compared with
/// each other then. Where they are many, as of equal scores, or many are
/// needed, the score is found two bits of its rank at a time, with a barrier
/// for each. Neither depends on how scores are spread, as bins do, whose
/// additions wait for each other. Of equal scores the first are picked.
class BestScores {
public:
  using Value = mlir::Value;

  /// `own`: slots of a thread. `counters`: [kCounters] i32 of the block.
  /// `perWarp`: [warps, kColumns or more] i32. `few`: [getNumFew or more] i32,
  /// of 16 bytes' alignment.
  BestScores(WarpBuilder &b, int64_t warps, int64_t own, Value counters,
             Value perWarp, Value few);
  /// Bits of a digit, and digits of a rank.
  static constexpr int64_t kBits = 2, kDigits = 32 / kBits;
  static constexpr int64_t kSearch = kDigits * ((1 << kBits) - 1);
  /// Of a search, and of few.
  static constexpr int64_t kCounters = kSearch + 1;
  static constexpr int64_t kColumns = 5;

  /// A slot of this thread, index.
  Value getSlot(int64_t number) { return b.addI(firstSlot, b.index(number)); }
  Value getSlot(Value number) { return b.addI(firstSlot, b.toIndex(number)); }
  /// A bit for each of this thread's slots that come before a slot, i32.
  Value getBitsBefore(Value slot);
  /// Finds the best of `all` that a budget leaves room for beside what is
  /// always picked: `usual` slots, mostly.
  void find(const Candidates &all, int64_t budget, int64_t usual);
  /// Threads of a group, by what is usually needed; 0 if that is too many to
  /// compare all with all.
  static int64_t getMembers(int64_t warps, int64_t usual) {
    return llvm::bit_floor<uint64_t>(
        std::min(warps * kWarp / (2 * std::max<int64_t>(usual, 16)), kWarp));
  }
  /// What reaches the need-th of the groups' highest scores has room for twice
  /// as many; and with these beside it.
  static int64_t getRoom(int64_t warps, int64_t members) {
    return 2 * warps * kWarp / members;
  }
  static int64_t getNumFew(int64_t warps, int64_t usual);
  /// Slots that a pick takes by their scores, mostly: the rest of its budget it
  /// takes in any case.
  static int64_t getUsual(PickOp op);
  /// The same of slots that nobody holds: `need` of `available` ones, both i32,
  /// where the thread has the highest score of some as `top`, NaN of none.
  /// gather(least, room), by all threads, puts scores that are `least` or more
  /// at the first places of `few`, up to `room`, and how many they are into
  /// `counters` at kNumberAt, where 0 is. Yields whether they are few enough;
  /// if not, nothing is found. `need` is at most `usual`, mostly.
  using Gather = llvm::function_ref<void(Value least, int64_t room)>;
  Value findByTops(Value top, Value available, Value need, int64_t budget,
                   int64_t usual, Gather gather);
  static constexpr int64_t kNumberAt = kSearch;
  /// Whether a score that was found is picked, and where it is the last one
  /// that is, of which only the first are.
  Value isBetter(Value score) {
    return b.compare(mlir::arith::CmpFPredicate::OGT, score, limit);
  }
  Value isEqual(Value score) {
    return b.compare(mlir::arith::CmpFPredicate::OEQ, score, limit);
  }
  /// body(number, at), both i32, for each of the thread's slots that is picked,
  /// in the order of slots; yields how many there are, i32.
  using Body = llvm::function_ref<void(Value number, Value at)>;
  Value forEachPick(const Candidates &all, Body body);
  /// The same of up to 32 slots of a thread, by a bit of each that is picked
  /// and of each that is equal to the last one, i32.
  Value forEachBit(Value better, Value equal, Body body);
  /// After one of these, body(number): how many slots before one of the
  /// thread's are picked, i32, by whoever has it, index.
  void countBefore(Value slot, llvm::function_ref<void(Value number)> body);

private:
  /// What is known of the rank of the last of the best.
  struct Found {
    Value prefix;  // what it begins with, i32
    Value above;   // how many are above all that begins so, i32
    Value isExact; // whether all that begins so is needed
  };
  /// What a warp leaves of a column, i32, and what the warps have left, each
  /// in a lane.
  void leave(Value value, int64_t column);
  Value takeWarps(int64_t column, int64_t otherwise);
  /// The score of a rank, or of the lowest one above.
  Value toScore(Value rank);
  /// How many scores are at least those of each rank, with counters of its own.
  llvm::SmallVector<Value> count(llvm::ArrayRef<Value> scores,
                                 llvm::ArrayRef<Value> ranks, Value counter);
  /// The need-th best, digit by digit, unless nothing is left to find.
  Found search(llvm::ArrayRef<Value> scores, Value need, Value isExact);
  /// What a value is the need-th of: NaN, if they are fewer.
  struct Nth {
    Value value, above; // f32, and how many are above it, i32
  };
  /// Of `number` values (index) of `few` from `first` on, NaN up to a multiple
  /// of getStride(). So many threads share a value, each of which compares it
  /// with its part of the others.
  Nth findNth(int64_t first, Value number, Value need, int64_t members);
  static int64_t getStride(int64_t members) { return 16 * members; }
  static int64_t getTopsAt(int64_t warps, int64_t members) {
    return llvm::alignTo(getRoom(warps, members), getStride(members));
  }
  void leaveTops(int64_t members);
  /// The need-th score, where those above some score are few enough; yields
  /// whether they are.
  std::pair<Nth, Value> findOfFew(Value available, Value need, int64_t members,
                                  Gather gather);
  /// Of scores in registers.
  void gatherOwn(llvm::ArrayRef<Value> scores, Value least, int64_t room);
  void clearCounters();

  WarpBuilder &b;
  const int64_t warps, own;
  Value counters, perWarp, few;
  Value warp, lane, firstSlot;
  // What is above is picked, and so many of what is equal.
  Value limit, ties;
  Value room;    // for picks, i32
  Value highest; // of the thread's scores
  // Of the picks the thread's, a bit of each, and how many others' come before.
  Value picks, before;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_BESTSCORES_H
