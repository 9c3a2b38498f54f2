//===- ChunkPick.h - What a cluster picks of its own slots ------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Blocks of a cluster have scanned a chunk of a sequence, some of its slots
// each, and keep levels of bounds in their memory (SketchScan::Kept). Here they
// pick what the chunk needs to prove the tolerance by itself:
//
//   what is left, by bounds <= tolerance / (1 - tolerance) of what is picked,
//
// by scores, less what these may be off. Sums of both sides over chunks are
// those of the sequence, so it is proved where all of its chunks are: no block
// waits for another chunk, and nothing of a slot is written to memory.
//
// Bins of 1/8 bit from the highest bound down, or of a power of two times that,
// count slots and add up masses of scores; blocks read each other's. A warp
// finds for a head where what it needs ends, each block then marks what any
// head needs and lists it, consecutive slots of a lane together. All sums are
// integers or in a fixed order: the same slots give the same bits.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CHUNKS_CHUNKPICK_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CHUNKS_CHUNKPICK_H

#include "Score/SketchScan.h"
#include "Warp/WarpBuilder.h"

namespace vashista {

class ChunkPick {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  /// Of a proving pick; `slots` and `warps` of a block, `blocks` of a cluster,
  /// `channels` of a residual.
  ChunkPick(PickOp op, WarpBuilder &b, int64_t heads, int64_t slots,
            int64_t warps, int64_t blocks, int64_t channels)
      : op(op), b(b), heads(heads), slots(slots), warps(warps), blocks(blocks),
        channels(channels) {}

  /// Slots of a cluster, whose shares an i32 has room for.
  static constexpr int64_t kMostSlots = (1 << 16) - 1;

  /// Buffers of a block: bins, which nobody needs once the slots are listed;
  /// the list; and all else.
  mlir::MemRefType getBinsType() {
    return b.sharedType({heads, 2, kColumns}, b.getI32Type());
  }
  mlir::MemRefType getListType() { return b.sharedType(slots, b.getI16Type()); }
  llvm::SmallVector<mlir::MemRefType> getTypes() {
    return {b.sharedType({heads, kFacts}, b.getF32Type()),
            b.sharedType({heads, 2}, b.getI32Type()),
            b.sharedType({heads, 2}, b.getF32Type()),
            b.sharedType(heads, b.getF32Type()),
            b.sharedType(warps, b.getI32Type()),
            b.sharedType(blocks, b.getI32Type())};
  }

  /// A block's visible slots, from `first` on to `end`, of a sequence of
  /// `length` tokens.
  struct Own {
    Value first, end, length;
  };
  /// Lists the block's picks, numbers from its first slot on, and yields how
  /// many they are, index. storeTail(head, tail) by a lane: the log of what the
  /// chunk leaves, of which one block of a cluster has all and others nothing.
  /// After a barrier, bins may be overwritten.
  Value emit(const SketchScan::Kept &kept, Value bins, Value list,
             llvm::ArrayRef<Value> others, const Own &own, Value blockOfCluster,
             llvm::function_ref<void(Value head, Value tail)> storeTail);

private:
  static constexpr int64_t kBins = 256, kOfLane = kBins / kWarp;
  /// Beside bins, a place for nothing of each lane.
  static constexpr int64_t kColumns = kBins + kWarp;
  /// What is known of a head's chunk: the highest bound; the exponents of a
  /// share of a depth of 0, and of a spread; by how much a mass is off, mostly.
  enum Fact : int64_t { kTop, kScore, kOfSpread, kRisk, kShift, kFacts = 8 };
  /// Consecutive slots of a lane, and of a warp at once.
  static constexpr int64_t kTogether = 16, kAtOnce = kTogether * kWarp;
  /// Units of a share, as a power of two.
  static constexpr int64_t kUnit = 16;

  Value getFact(Value head, Fact fact) {
    return b.load(facts, {head, b.index(fact)});
  }
  void clearBins();
  void findFacts();
  /// What a lane has of a head's levels.
  struct Levels {
    std::array<Value, 4> words;
    Value below, exponent; // steps, i32; of levels
  };
  Levels loadLevels(Value head, Value slot);
  void fillBins();
  void fillBins(Value head, Value slot);
  void addUpBins();
  void findEnds();
  /// Where a head's picks end: its last bin, what is left behind that, and how
  /// many slots are not.
  struct End {
    Value last, left, taken;
    End orIf(WarpBuilder &b, Value condition, const End &other) const;
    /// Of lanes one of which has it.
    End ofWarp(WarpBuilder &b, Value last) const;
  };
  Value toDepth(Value last, Value shift);
  Value toTail(Value left, Value top, Value score);
  void findRoom();
  void forEachOwnHead(Value first, int64_t apart,
                      llvm::function_ref<void(Value head)> body);
  /// Bits of those of a lane's slots that are picked.
  Value mark(Value slot);
  /// Those of slots before one, of the lane's.
  Value getBitsBefore(Value slot, Value end);
  llvm::SmallVector<Value> markAll();
  llvm::SmallVector<Value> markWithinBudget();
  Value countMarks(llvm::ArrayRef<Value> marks);
  Value listMarks(llvm::ArrayRef<Value> marks);
  Value addUpLanes(Value sum);
  /// Turns of a warp in which lanes look at all of its slots, consecutive ones
  /// each; and the first of those of a lane.
  int64_t getNumTurns() const {
    return llvm::divideCeil(slots, kAtOnce * warps);
  }
  Value getSlot(int64_t turn) {
    Value first = b.addI(b.mulI(warp, b.index(getNumTurns())), b.index(turn));
    return b.addI(b.mulI(first, b.index(kAtOnce)),
                  b.mulI(lane, b.index(kTogether)));
  }

  PickOp op;
  WarpBuilder &b;
  const int64_t heads, slots, warps, blocks, channels;

  // Of the kernel.
  SketchScan::Kept kept;
  Value bins, list, facts, perWarp;
  // Of each head two: what it needs, and what there is room for; and how many
  // slots it needs.
  Value ends, tails, needs, told;
  Value room, roomBeside, which;
  Own own;
  Value numSlots; // that are visible, of the block
  Value thread, warp, lane, block;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CHUNKS_CHUNKPICK_H
