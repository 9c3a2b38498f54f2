//===- RoutePages.h - The best pages, by those who read them ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block scores the summaries of all pages of a row and KV head, and finds the
// best: scores and the list stay in its memory. While it looks for these, other
// blocks read. Of few groups a cluster has one, and each of its blocks some of
// the pages, whose scores it keeps; then each finds the best of all, of many
// pages by what the scan has stored in the memory of all blocks (BlockPick.h),
// so that it loads few scores of others.
//
// Bytes: the summaries and, where blocks have no room for them, a score of each
// page and head.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_ROUTEPAGES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_ROUTEPAGES_H

#include "Pick/BlockPick.h"
#include "Score/VectorScan.h"

namespace vashista {

/// A `pick` of the best pages, and the `score` of their summaries that it takes
/// them by.
struct PageRoute {
  PickOp pick;
  ScoreOp score;
  int64_t group, kvHeads, numPages, budget;

  /// Consecutive pages of a thread, whole vectors of scores.
  int64_t getOwn(int64_t warps) const {
    return llvm::alignTo(llvm::divideCeil(numPages, warps * kWarp), kTogether);
  }
  /// Of scores that a block keeps, how far these lie from the next thread's, so
  /// that threads that load together have banks of their own.
  int64_t getStride(int64_t warps) const {
    int64_t own = getOwn(warps);
    return own / kTogether % 2 == 0 ? own + kTogether : own;
  }
  /// Those of a block of a cluster, or of a block alone.
  int64_t getNumScores(int64_t warps, int64_t blocks) const {
    int64_t chunks = warps * kWarp;
    if (blocks > 1)
      chunks = llvm::divideCeil(getMostPages(blocks), getOwn(warps));
    return group * chunks * getStride(warps);
  }
  /// Whole tiles of pages, as many for each block.
  int64_t getMostPages(int64_t blocks) const {
    return llvm::alignTo(llvm::divideCeil(numPages, blocks), kWarp);
  }
  /// Whether pages may be picked by blocks of them.
  bool picksByBlocks(int64_t warps, int64_t blocks) const;
  /// What warps of a cluster leave then: the highest score of each block of
  /// pages, and what all of a warp weigh.
  int64_t getNumTops() const {
    return group * llvm::divideCeil(numPages, PageFindings::kBlock);
  }
  int64_t getNumSums(int64_t warps, int64_t blocks) const {
    return 2 * group * blocks * warps;
  }
  /// All that a block has of scores, if it keeps them, and of these.
  int64_t getNumWords(int64_t warps, int64_t blocks, bool keepsScores) const {
    int64_t words = keepsScores ? getNumScores(warps, blocks) : 0;
    if (picksByBlocks(warps, blocks))
      words += getNumTops() + getNumSums(warps, blocks);
    return words;
  }
  static constexpr int64_t kTogether = 4;
};

/// The route of the pages of a pick, where only `users` read them and it can be
/// a part of their kernel.
std::optional<PageRoute> findPageRoute(PickOp pick,
                                       llvm::ArrayRef<mlir::Operation *> users);

class RoutePages {
public:
  using Value = mlir::Value;

  /// `blocks`: of a cluster. `keepsScores`: whether each does, of its pages.
  RoutePages(const PageRoute &route, WarpBuilder &b, int64_t warps,
             int64_t blocks, bool keepsScores);

  /// What a kernel is to be given, on the host: buffers.
  llvm::SmallVector<Value> getRead() { return scan.getRead(); }
  /// Buffers for what blocks have no room for, of so many rows.
  llvm::SmallVector<Value> allocate(Value rows);
  /// And of the block, where that is.
  llvm::SmallVector<mlir::MemRefType> getBuffers();
  /// `read` and `written` begin with the same, within the kernel.
  void begin(Given &read, Given &written, Value row, Value kvHead, Value block);

  /// Whether there is a page at all.
  Value hasPages();
  /// Memory of the block.
  struct Shared {
    Value scores;                 // f32, and from where on they are free
    int64_t freeAt;               // for what all blocks store
    Value refs;                   // [group] f32
    Value list;                   // [budget] i32
    Value counters, perWarp, few; // of BestScores
    llvm::ArrayRef<Value> own;    // what getBuffers says
  };
  /// The list. Ends with a barrier.
  Slots::OwnList route(const Shared &shared);

private:
  void scorePages();
  /// Of a head, where the highest of a block of pages is, and what a warp of
  /// the cluster found.
  Value getTopAt(Value head, Value block) {
    int64_t blocks = llvm::divideCeil(of.numPages, PageFindings::kBlock);
    return b.addI(b.addI(b.mulI(head, b.index(blocks)), block),
                  b.index(getFindingsAt()));
  }
  Value getSumAt(Value head, Value part) {
    Value number = b.addI(b.mulI(head, b.index(blocks * warps)), part);
    return b.addI(b.mulI(number, b.index(2)),
                  b.index(getFindingsAt() + of.getNumTops()));
  }
  int64_t getFindingsAt() {
    return shared.freeAt + (keepsScores ? of.getNumScores(warps, blocks) : 0);
  }
  /// A head's scores of this thread's pages, weighed, of which some may be
  /// anything.
  llvm::SmallVector<Value> loadScores(int64_t head, Value first);
  /// These yield how many, i32.
  Value pickByBlocks();
  Value pickBest();
  /// Of a page that a block of the cluster has, the memory of that, and its
  /// number there.
  std::pair<Value, Value> findKeeper(Value page);
  /// Where a block keeps the score of a head and of a page of its own.
  Value getAt(Value head, Value page) {
    int64_t stride = of.getStride(warps);
    Value chunk = b.divU(page, b.index(own)), rest = b.remU(page, b.index(own));
    Value first = b.mulI(
        head, b.index(of.getNumScores(warps, blocks) / (of.group * stride)));
    Value at = b.addI(b.mulI(b.addI(first, chunk), b.index(stride)), rest);
    return b.addI(at, b.index(shared.freeAt));
  }

  /// And where it is in global memory.
  llvm::SmallVector<Value> getPlace(Value head, Value page) {
    return {scan.slots->row, b.addI(firstHead, head), page};
  }

  PickOp pick;
  VectorScan scan;
  WarpBuilder &b;
  const PageRoute of;
  const int64_t warps, blocks, own;
  const bool keepsScores, leavesBlocks;

  std::optional<PagesOfPick> pages;
  Shared shared;
  Value block, firstHead;
  Value ofBlock; // pages of each block of a cluster
  // Of scores that no block keeps: [R, H, pages] f32.
  Value scores;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_BEST_ROUTEPAGES_H
