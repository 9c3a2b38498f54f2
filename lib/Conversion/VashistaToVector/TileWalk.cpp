//===- TileWalk.cpp - The rows that a task reads, in tiles -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TileWalk.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

void TileWalk::begin(Value row, Value kvHead) {
  this->row = row;
  this->kvHead = kvHead;
  Type indexType = b.getIndexType();
  physical = b.scratch({2, kTile}, indexType);
  inPage = b.scratch({2, kTile}, indexType);
  slots = b.scratch({2, kTile}, indexType);
  length = b.maxI(b.loadIndex(lists.lengths, row), b.index(0));
  sequence = lists.rowToSeq ? b.loadIndex(lists.rowToSeq, row) : row;

  Value size = b.index(pageSize);
  if (Value list = lists.tokens ? lists.tokens : lists.pages) {
    Value count = lists.tokens ? lists.tokenCount : lists.pageCount;
    numSlots = b.dim(list, 2);
    if (count)
      numSlots = b.minI(numSlots, b.loadIndex(count, {row, kvHead}));
    if (lists.pages)
      numSlots = b.mulI(numSlots, size);
  } else if (unit == SlotUnit::pages) {
    numSlots = b.divU(b.addI(length, b.index(pageSize - 1)), size);
  } else {
    numSlots = length;
  }
}

void TileWalk::forEachTile(Value first, Value last,
                           function_ref<void(Value, Value)> body) {
  Value zero = b.index(0), one = b.index(1);
  auto getEnd = [&](Value start) {
    return b.minI(b.addI(start, b.index(tile)), last);
  };
  Value firstCount = gather(zero, first, getEnd(first));
  b.forLoop(first, last, tile, ValueRange{firstCount, zero},
            [&](Value start, ValueRange carried) -> SmallVector<Value> {
              count = carried[0];
              half = carried[1];
              Value otherHalf = b.subI(one, half);
              Value end = getEnd(start);
              Value found = gather(otherHalf, end, getEnd(end));
              Value follows = b.compare(CmpIPredicate::sgt, found, zero);
              nextHalf = b.select(follows, otherHalf, half);
              nextCount = b.select(follows, found, count);
              touchPages(otherHalf, found);
              body(start, end);
              return {found, otherHalf};
            });
}

void TileWalk::forEachTileAndHead(Value first, Value last, int64_t numKvHeads,
                                  function_ref<void(Value, Value)> body) {
  assert(!hasGaps() && "lists are per KV head");
  headsPerTile = numKvHeads;
  kvHead = b.index(0);
  forEachTile(first, last, [&](Value start, Value end) {
    b.forLoop(b.index(0), b.index(numKvHeads), 1, [&](Value head) {
      kvHead = head;
      body(start, end);
    });
    kvHead = b.index(0);
  });
}

/// The position in the sequence of a slot of a list, and whether it is visible.
std::pair<Value, Value> TileWalk::getPosition(Value slot) {
  Value position, listed;
  if (lists.tokens) {
    position = b.loadIndex(lists.tokens, {row, kvHead, slot});
    listed = b.compare(CmpIPredicate::sge, position, b.index(0));
  } else {
    Value size = b.index(pageSize);
    Value page = b.loadIndex(lists.pages, {row, kvHead, b.divU(slot, size)});
    listed = b.compare(CmpIPredicate::sge, page, b.index(0));
    position = b.addI(b.mulI(page, size), b.remU(slot, size));
  }
  Value inside = b.compare(CmpIPredicate::slt, position, length);
  return {position, b.andI(listed, inside)};
}

/// Writes the addresses of the visible rows of slots [first, last) to a half of
/// the scratch; yields their number.
Value TileWalk::gather(Value half, Value first, Value last) {
  Value zero = b.index(0), one = b.index(1), size = b.index(pageSize);
  auto keep = [&](Value at, Value slot, Value page, Value within) {
    b.store(b.loadIndex(lists.table, {sequence, page}), physical, {half, at});
    b.store(within, inPage, {half, at});
    b.store(slot, slots, {half, at});
  };
  if (!hasGaps()) {
    b.forLoop(first, last, 1, [&](Value slot) {
      Value at = b.subI(slot, first);
      if (unit == SlotUnit::pages)
        keep(at, slot, slot, zero);
      else
        keep(at, slot, b.divU(slot, size), b.remU(slot, size));
    });
    return b.maxI(b.subI(last, first), zero);
  }
  return b
      .forLoop(first, last, 1, ValueRange{zero},
               [&](Value slot, ValueRange carried) -> SmallVector<Value> {
                 Value found = carried[0];
                 auto [position, visible] = getPosition(slot);
                 Value where = position;
                 b.ifThen(visible, [&] {
                   keep(found, slot, b.divU(where, size), b.remU(where, size));
                 });
                 return {b.select(visible, b.addI(found, one), found)};
               })
      .front();
}

/// Asks for one line of each 4 KB of the rows' memory.
void TileWalk::touchPages(Value half, Value count) {
  int64_t step = 1;
  // Rows follow each other within a page of a cache laid out head first.
  if (layout == Layout::hnd && !lists.tokens) {
    step = pageSize;
    for (Value source : sources) {
      auto type = cast<MemRefType>(source.getType());
      int64_t bytes = type.getShape().back() *
                      type.getElementType().getIntOrFloatBitWidth() / 8;
      step = std::clamp<int64_t>(4096 / bytes, 1, step);
    }
  }
  b.forLoop(b.index(0), count, step, [&](Value at) {
    for (Value source : sources)
      b.prefetch(source, getIndices(half, at, kvHead, b.index(0)));
  });
}

SmallVector<Value> TileWalk::getIndices(Value half, Value at, Value kvHead,
                                        Value channel) {
  Value page = b.load(physical, {half, at});
  if (!layout)
    return {page, kvHead, channel};
  Value within = b.load(inPage, {half, at});
  if (*layout == Layout::hnd)
    return {page, kvHead, within, channel};
  return {page, within, kvHead, channel};
}

SmallVector<Value> TileWalk::getAhead(Value number, int64_t perRow,
                                      int64_t step) {
  Value steps = b.index(perRow), head = kvHead;
  // Of a tile that is read for all heads, each asks for its share of rows.
  if (headsPerTile > 1)
    number = b.addI(number, b.mulI(kvHead, b.index(tile * perRow)));
  Value channel = b.mulI(b.remU(number, steps), b.index(step));
  Value row = b.divU(number, steps);
  if (headsPerTile > 1) {
    head = b.remU(row, b.index(headsPerTile));
    row = b.divU(row, b.index(headsPerTile));
  }
  Value last = b.subI(nextCount, b.index(1));
  return getIndices(nextHalf, b.minI(row, last), head, channel);
}

SmallVector<Value> TileWalk::getSoon(Value number, int64_t perRow,
                                     int64_t step) {
  Value steps = b.index(perRow);
  Value channel = b.mulI(b.remU(number, steps), b.index(step));
  Value row = b.addI(b.divU(number, steps), b.index(kSoon));
  Value last = b.subI(count, b.index(1));
  return getIndices(half, b.minI(row, last), kvHead, channel);
}
