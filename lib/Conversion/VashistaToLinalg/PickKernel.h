//===- PickKernel.h - Picking slots by their scores -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_PICKKERNEL_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_PICKKERNEL_H

#include "../VashistaToVector/KernelBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// The tasks of a `vashista.pick`. PickToLinalg.cpp weighs, ranks, picks and
/// sums up what is left; ProvingPick.cpp finds what the proofs of a group need.
class PickKernel {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  PickKernel(PickOp op, KernelBuilder &b, int64_t group)
      : op(op), b(b), group(group),
        unit(op.getUnit() == SlotUnit::pages ? op.getPageSize() : 1) {}

  /// Emits the tasks; yields the tensors of ids, counts and tails.
  llvm::SmallVector<Value> emit();

private:
  void emitTask();
  void pickAndSum();
  void weighSlots();
  void excludeTaken();
  /// ranks[slot] = 1 where there is a weight, else 0; -1 for sinks and window.
  void openSlots();
  void raiseAlways();
  /// Replaces every rank of 1 by one in the order of the slot's best head.
  void rankSlots();
  Value findThreshold(Value need);
  Value writePicks(Value threshold, Value need);
  void writeTails();
  void writeNothing();

  /// Of `proving`. Whether what is left, by the tails as written, is little
  /// enough for what is attended already.
  Value isProved();
  /// Ranks 0 what no head needs.
  void dropUnneeded();
  /// The highest finite bound of each head, and whether a score is NaN.
  void findTops();
  /// Of a head whose best score lacks so much of its highest bound.
  Value getBinsPerNat(Value lack);
  /// What may be left for each unit of mass that is picked.
  Value getRatio();
  /// How many bins of its bounds a head takes, given what heads before it do.
  Value countBins(Value head);
  /// Sums exp(score + weight - shift) and exp(bound + weight - shift) of a head
  /// over bins of its bounds, and the former over what is taken already. Of one
  /// in `every` vectors of slots; bins from `end` on are added up in the last.
  void fillBins(Value head, Value shift, Value every, Value end);
  /// Adds lanes to their bins.
  void addToBins(Value isSorted, Value bin, Value mass, Value rest);
  /// The first bin that a proof can do without, as f32; all, if there is none.
  Value findEnd(Value head, Value shift, Value every);
  /// The bins of a vector of bounds of a head, as f32: below 0 for unknown
  /// ones, which are always taken.
  Value getBins(Value head, Value known);
  /// Whether a head takes each slot of a vector.
  Value isTaken(Value head, Value first);

  /// body(first slot, position of its token) for each listed page.
  void forEachPage(llvm::function_ref<void(Value, Value)> body);
  /// How many slots have a rank that compares so.
  Value countRanks(mlir::arith::CmpIPredicate predicate, Value rank);
  /// Position of the first token of a slot.
  Value getPosition(Value slot);
  /// A head's scores or bounds + weights of a vector of slots; -inf where there
  /// is no weight.
  Value weighted(Value from, Value head, Value first);
  /// As `logSumExp` of bounds, with what a moment says of scores.
  std::pair<Value, Value> logSumByMoment(Value head);
  /// As `findEnd`, likewise.
  Value findEndByMoment(Value head, Value shift, Value every);
  llvm::SmallVector<Value> dropLast(Value given, Value cost, Value gain,
                                    Value end);
  /// log sum exp over a head's slots, and whether any was NaN.
  std::pair<Value, Value> logSumExp(Value from, Value head);

  Value i32(int64_t value) {
    return mlir::arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  }
  Value splatInt(int64_t value) {
    return mlir::arith::ConstantOp::create(
        b, mlir::DenseElementsAttr::get(ints(), static_cast<int32_t>(value)));
  }
  mlir::VectorType ints() {
    return mlir::VectorType::get({b.lanes}, b.getI32Type());
  }

  PickOp op;
  KernelBuilder &b;
  int64_t group, unit;

  Value scores, bounds, lengths, pages, pageCount, taken, outside, attended;
  Value moment;
  Value ids, counts, tails;
  // Of the current task.
  Value row, kvHead, firstHead, length, numSlots, padded;
  // [L, rounded up to vectors] f32, i32. Ranks: 0 for what is not picked, -1
  // for what always is, 1 for what may be, or unsigned numbers in that order.
  Value weights, ranks;
  Value isNan; // [G] i1: whether a score of the head is
  // Of `proving`. The highest finite bound of each head, how many bins it has
  // in a nat, and how many it takes [G] f32; for one head, masses and rests of
  // bins [2 * kBins], the mass before each block of bins and, within a block,
  // of each bin; f32.
  Value tops, binsPerNat, bins, sums, takenMass, massBefore, binMass, binRest;
  // With a moment, of each bin [kBins] f32: how much of it takes being as bad as
  // bounds, what that adds, and squares of masses.
  Value binCost, binGain, binSquare;
  static constexpr int64_t kBins = 1024; // of a head's bounds, the highest first
  // Of a vector of slots: bins [lanes] i32; masses and rests [2 * lanes] f32.
  Value laneBins, lanePairs;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_PICKKERNEL_H
