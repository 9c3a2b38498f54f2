//===- Slots.h - Where the tokens of a scan are -----------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SLOTS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SLOTS_H

#include "WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// The slots of a `score`, within a kernel: of the whole sequence or of listed
/// pages, tokens or, of a summary, pages.
class Slots {
public:
  using Value = mlir::Value;

  /// A list that the block makes itself, in place of the op's: [P] i32, and how
  /// many pages it holds, index.
  struct OwnList {
    Value pages, count;
  };

  /// What a kernel is to be given, on the host: buffers.
  static llvm::SmallVector<Value> getRead(ScoreOp op, WarpBuilder &b,
                                          bool hasOwnList = false);

  /// `given` begins with the same, within the kernel.
  Slots(ScoreOp op, WarpBuilder &b, Given &given,
        std::optional<OwnList> ownList = std::nullopt);

  /// The slots of a row and KV head.
  void begin(Value row, Value kvHead);

  /// Where a slot is: a page of the pool, and a slot of that.
  struct Place {
    Value page, slot;
  };
  /// Whether a slot is visible, and where; in place of one that is not stands
  /// one that is. There must be one.
  std::pair<Place, Value> find(Value slot);

  /// The position of a slot that is visible.
  Value getPosition(Value slot);

  /// Consecutive slots, from a multiple of their number on: in one page where
  /// pages hold whole tiles.
  struct Tile {
    Value first;
    std::optional<Place> place; // of the first, if they are in one page
    Value count;                // i32: how many are visible; null for all
  };
  Tile findTile(Value first, int64_t size);
  /// The same, where all are known to be visible: in the page, i32, that the
  /// table says.
  Tile findWholeTile(Value first, int64_t size, Value page);
  Value loadPageOf(Value first);
  /// The same of a slot that may not be visible, before lengths are known: any
  /// entry of the table, then. Only where the row has a sequence for certain.
  Value loadPageAnyway(Value first);
  bool hasSequence() const { return !rowToSeq; }
  /// Of a tile's slots, how many at a time are in one page, from a multiple of
  /// their number on; 0 if all may not be known to be visible, as they are
  /// before the last one where there is no list.
  static int64_t getRun(ScoreOp op, int64_t size);
  /// Whether they are in one page.
  bool hasTiles(int64_t size) const { return !inPages && pageSize % size == 0; }
  std::pair<Place, Value> find(const Tile &tile, Value offset);

  /// Visible tokens of the row.
  Value getLength() const { return length; }

  Value row, kvHead; // index
  /// Slots that may be visible come before.
  Value numSlots;

private:
  bool isListed() const { return list || ownList; }
  /// A page of the list, index.
  Value loadPage(Value entry);

  ScoreOp op;
  WarpBuilder &b;
  const int64_t pageSize;
  const bool inPages; // a slot is a page
  Value table, lengths, rowToSeq, list, count;
  std::optional<OwnList> ownList;
  Value sequence, length;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SLOTS_H
