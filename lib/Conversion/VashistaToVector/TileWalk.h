//===- TileWalk.h - The rows that a task reads, in tiles -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_TILEWALK_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_TILEWALK_H

#include "KernelBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// Slots that a task handles at a time. Part of what an op computes: a tile is
/// where running maxima are updated.
inline constexpr int64_t kTile = 64;

/// Rows between asking for one a second time and reading it.
inline constexpr int64_t kSoon = 16;

/// Walks the slots of a task (tokens or pages, of its sequence or of a list) in
/// tiles. For each tile it gathers the addresses of the visible rows, one tile
/// ahead, so that the rows of the next tile can be asked for. Invisible slots
/// never become addresses: nothing of them is ever loaded.
class TileWalk {
public:
  using Value = mlir::Value;

  /// Buffers; null where absent.
  struct Lists {
    Value table, lengths, rowToSeq;
    Value pages, pageCount, tokens, tokenCount;
  };

  /// What the walk's rows are read from, to look up the addresses of the next
  /// tile's memory pages all at once: each lookup that misses then costs the
  /// time of all.
  llvm::SmallVector<Value> sources;

  /// Slots of a tile, at most kTile.
  int64_t tile = kTile;

  /// `unit` is what a slot of the sequence is. `layout` tells how tokens lie in
  /// a page; rows that stand for pages have none.
  TileWalk(KernelBuilder &b, const Lists &lists, int64_t pageSize,
           SlotUnit unit, std::optional<Layout> layout)
      : b(b), lists(lists), pageSize(pageSize), unit(unit), layout(layout) {}

  /// Begins a task: allocates scratch, loads what is known of its row.
  void begin(Value row, Value kvHead);

  // Of the task.
  Value row, kvHead;
  Value length;   // at least 0
  Value sequence; // the row's, of the table
  Value numSlots; // of the list, or of the sequence

  /// body(first, last) for each tile of the slots [first, last).
  void forEachTile(Value first, Value last,
                   llvm::function_ref<void(Value, Value)> body);
  /// The same for each of the KV heads 0 to numKvHeads - 1, tile by tile: what
  /// lies together is read together. Lists are per KV head and have no such
  /// walk.
  void forEachTileAndHead(Value first, Value last, int64_t numKvHeads,
                          llvm::function_ref<void(Value, Value)> body);

  // Within a body.
  Value count; // of the tile's visible rows
  /// Indices of a visible row at a channel, in a cache or summary.
  llvm::SmallVector<Value> getRow(Value at, Value channel) {
    return getIndices(half, at, kvHead, channel);
  }
  /// What to ask for while step `number` of this tile is read, for a row of
  /// `perRow` steps of `step` channels: the same step of the next tile, in the
  /// order in which they lie in memory. Of this tile where there is no next.
  llvm::SmallVector<Value> getAhead(Value number, int64_t perRow, int64_t step);
  /// The same of this tile, kSoon rows later. A CPU drops prefetches that find
  /// its queue full: what was asked for in vain is asked for again.
  llvm::SmallVector<Value> getSoon(Value number, int64_t perRow, int64_t step);
  /// The slot of a visible row.
  Value getSlot(Value at) { return b.load(slots, {half, at}); }
  /// Whether slots may be invisible before `numSlots`.
  bool hasGaps() const { return lists.pages || lists.tokens; }
  /// The physical page of a visible row.
  Value getPage(Value at) { return b.load(physical, {half, at}); }

private:
  Value gather(Value half, Value first, Value last);
  void touchPages(Value half, Value count);
  std::pair<Value, Value> getPosition(Value slot);
  llvm::SmallVector<Value> getIndices(Value half, Value at, Value kvHead,
                                      Value channel);

  KernelBuilder &b;
  Lists lists;
  int64_t pageSize;
  SlotUnit unit;
  std::optional<Layout> layout;

  Value physical, inPage, slots; // [2, kTile] index, of this tile and the next
  Value half;                    // which of them is this one
  Value nextHalf, nextCount;
  int64_t headsPerTile = 1;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_TILEWALK_H
