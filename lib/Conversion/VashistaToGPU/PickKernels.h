//===- PickKernels.h - Picking slots on a GPU -------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A cluster of blocks has a row and KV head, each block a part of its slots,
// 32 to a word: a bit for each slot that can still be picked, and for each that
// is. A warp takes words by turns, a few at a time, whose loads are in flight
// together.
//
// All that blocks add up together are integers, or floats that are added in the
// order of threads and blocks: results are bit-equal from run to run.
//
// PickToGPU.cpp opens slots, writes picks and sums up what is left;
// PickProof.cpp finds what the proofs of a group need; PickRanks.cpp the best
// of more than there is room for. What is picked and why: PickToLinalg.cpp and
// ProvingPick.cpp.
//
// Bytes, for L slots and G heads: `top` reads 5 G L scores where there is more
// to pick from than the budget, and with a tail 2 G L bounds; `proving` 2 G L
// scores, (4 G + G (G - 1) / 2) L bounds.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICKKERNELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICKKERNELS_H

#include "WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// Makes the kernel of a `pick`, and launches it in its place.
class PickLauncher {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  PickLauncher(PickOp op, int64_t clusterBlocks, WarpBuilder &b);

  /// Yields tensors.
  llvm::SmallVector<Value> launch();

private:
  static constexpr int64_t kWarps = 16, kThreads = kWarps * kWarp;
  /// Words of a warp at a time.
  static constexpr int64_t kAtOnce = 4;
  /// Bins of a head's bounds, from the highest down; the last holds all below.
  static constexpr int64_t kBins = 1024;
  static constexpr float kBinsPerNat = 32;
  /// Bins of a part of a rank.
  static constexpr int64_t kRankBins = 2048;

  /// A slot of this lane.
  struct Slot {
    Value word, number;
    Value isThere, isOpen;
  };

  void emit(llvm::ArrayRef<Value> values, llvm::ArrayRef<Value> shared);
  void openSlots();
  void excludeTaken();
  void pickAndWrite();
  /// Writes ids of what is marked, of those that may be picked as well so many.
  void writePicks(Value numTies);
  void writeNothing();
  void pad(Value first);

  // Of proofs.
  void findTops();
  /// What may be left for each unit of mass that is picked.
  Value getRatio();
  /// Of a head: how many bins it takes, given what heads before it do.
  void findEnd(Value head);
  /// Yields the mass of what is taken already, and what the last bin adds up
  /// to.
  std::pair<Value, Value> fillBins(Value head, Value shift);
  Value getBin(Value head, Value bound);
  Value isTaken(Value head, Value bound);
  /// Marks what any head needs; yields how many, in the block.
  Value markNeeded();

  // Of ranks.
  void findRefs();
  llvm::SmallVector<Value> getRanks(llvm::ArrayRef<Slot> slots);
  /// Leaves marked what is better than the need-th best of what is, and as what
  /// may be picked what is equal to it; yields how many of these are.
  Value markBest(Value need);
  /// The number of candidates for each value of `bits` bits of their ranks, of
  /// those that have `prefix` above.
  void countRanks(Value prefix, int64_t shift, int64_t bits);

  // Of what is left.
  /// Yields whether it is little enough for what is attended already.
  Value sumTails();

  // Slots.
  /// Of this lane, in the words of this block: body(slots, carried).
  llvm::SmallVector<Value>
  forEachSlot(ValueRange carried,
              llvm::function_ref<llvm::SmallVector<Value>(llvm::ArrayRef<Slot>,
                                                          ValueRange)>
                  body,
              Value words = nullptr);
  /// A head's scores or bounds + weights; -inf of slots that are not open.
  llvm::SmallVector<Value> weighted(Value from, Value head,
                                    llvm::ArrayRef<Slot> slots);
  Value addWeight(Value value, Value slot);
  Value getPosition(Value slot);
  Value isVisible(Value slot);
  Value isAlways(Value slot);
  /// +inf for NaN.
  Value knownOrInf(Value bound);
  bool hasAlways() { return op.getSinks() > 0 || op.getWindow() > 0; }

  // Of all threads of a block, each of which gets the result.
  using Join = llvm::function_ref<Value(Value, Value)>;
  Value reduce(Value value, Join join);
  /// The sum over threads before, and over all.
  std::pair<Value, Value> scan(Value value);
  // Of all blocks of a cluster.
  Value reduceCluster(Value value, Join join);
  std::pair<Value, Value> scanCluster(Value value);
  void waitCluster() {
    if (clusterBlocks > 1)
      b.clusterBarrier();
    else
      b.barrier();
  }
  llvm::SmallVector<Value> tell(Value value);
  /// Bins, of all blocks together, in place; and a barrier around.
  void addUpBins(int64_t size);
  void clearBins(int64_t size);
  void addToBin(Value at, Value amount);
  Value addAny(Value x, Value y) {
    return x.getType().isF32() ? b.addF(x, y) : b.addI(x, y);
  }
  /// By the first thread of the block, which others wait for.
  void storeOnce(Value value, Value to, ValueRange at);
  Value isFirstThread() {
    return b.compare(mlir::arith::CmpIPredicate::eq, thread, b.index(0));
  }
  /// The mass that a log stands for, in units of exp(shift): finite.
  Value getMass(Value log, Value shift) {
    Value x = b.subF(log, shift);
    return b.exp(b.minF(x, b.f32(80.0f)));
  }
  Value isNaN(Value x) {
    return b.compare(mlir::arith::CmpFPredicate::UNO, x, x);
  }
  Value isInf(Value x) {
    return b.compare(mlir::arith::CmpFPredicate::OEQ, x,
                     b.f32(std::numeric_limits<float>::infinity()));
  }
  Value notI(Value bit) {
    return mlir::arith::XOrIOp::create(b, bit, b.boolean(true));
  }
  /// exp must not meet -inf - -inf.
  Value getShift(Value head) {
    Value top = b.load(tops, head);
    Value isThere = b.compare(mlir::arith::CmpFPredicate::OGT, top, b.negInf());
    return b.select(isThere, top, b.f32(0.0f));
  }

  PickOp op;
  WarpBuilder &b;
  const int64_t clusterBlocks, group, unit;
  const bool isProving, hasTail;

  // Of the kernel. Buffers of operands, results, and between blocks.
  Value scores, bounds, lengths, pages, pageCount, taken, outside, attended;
  Value ids, counts, tails;
  Value open;    // [R, Hkv, words] i32: bits of slots that can be picked
  Value picked;  // [R, Hkv, words, 2] i32: that are, and that may be as well
  Value told;    // [R, Hkv, blocks] i32
  Value between; // [R, Hkv, blocks, kRankBins] i64
  // Of the block: bins of masses and rests, or of ranks, i64; a number of each
  // warp; for each head: the highest finite bound, bins that it takes, ref; and
  // whether a score is NaN.
  Value bins, massBefore, restFrom, perWarp, tops, ends, refs, nans;
  Value found;                                    // [2] i32
  Value row, kvHead, firstHead, length, numSlots; // index
  Value firstWord, lastWord, block, thread, warp, lane;
  Value laneBit; // i32
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICKKERNELS_H
