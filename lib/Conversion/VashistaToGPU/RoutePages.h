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
// the pages; then each block finds the best of all, which it knows by their
// scores in global memory, of blocks of pages by what the scan leaves of them
// (BlockPick.h).
//
// Bytes: the summaries. Where scores are not kept by a block, these, and what
// is left of blocks of them.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_ROUTEPAGES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_ROUTEPAGES_H

#include "BlockPick.h"
#include "VectorScan.h"

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
  int64_t getNumScores(int64_t warps) const {
    return group * warps * kWarp * getStride(warps);
  }
  /// What warps of a cluster leave, where pages are picked by blocks of them:
  /// the highest score of each block of pages, and what all of a warp weigh.
  int64_t getNumFindings(int64_t warps, int64_t blocks) const {
    return getNumTops(warps) + getNumSums(warps, blocks);
  }
  int64_t getNumTops(int64_t warps) const;
  int64_t getNumSums(int64_t warps, int64_t blocks) const;
  static constexpr int64_t kTogether = 4;
};

/// The route of the pages of a pick, where only `users` read them and it can be
/// a part of their kernel.
std::optional<PageRoute> findPageRoute(PickOp pick,
                                       llvm::ArrayRef<mlir::Operation *> users);

class RoutePages {
public:
  using Value = mlir::Value;

  /// `blocks`: of a cluster. `keepsScores`: whether a block does, of one.
  RoutePages(const PageRoute &route, WarpBuilder &b, int64_t warps,
             int64_t blocks, bool keepsScores);

  /// What a kernel is to be given, on the host: buffers.
  llvm::SmallVector<Value> getRead() { return scan.getRead(); }
  /// Buffers for what blocks leave for themselves and each other, of so many
  /// rows.
  llvm::SmallVector<Value> allocate(Value rows);
  /// And of the block, where that is.
  llvm::SmallVector<mlir::MemRefType> getBuffers();
  /// `read` and `written` begin with the same, within the kernel.
  void begin(Given &read, Given &written, Value row, Value kvHead, Value block);

  /// Whether there is a page at all.
  Value hasPages();
  /// Memory of the block.
  struct Shared {
    Value scores;                 // f32: [getNumScores or more] where kept
    Value refs;                   // [group] f32
    Value list;                   // [budget] i32
    Value counters, perWarp, few; // of BestScores
    int64_t freeAt; // in `scores`, of findings, in which all blocks store
    llvm::ArrayRef<Value> own; // what getBuffers says
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
                  b.index(shared.freeAt));
  }
  Value getSumAt(Value head, Value part) {
    Value number = b.addI(b.mulI(head, b.index(blocks * warps)), part);
    return b.addI(b.mulI(number, b.index(2)),
                  b.index(shared.freeAt + of.getNumTops(warps)));
  }
  /// A head's scores of this thread's pages, weighed, of which some may be
  /// anything.
  llvm::SmallVector<Value> loadScores(int64_t head, Value first);
  /// These yield how many, i32.
  Value pickByBlocks();
  Value pickBest();
  /// Where a block keeps the score of a head and of a page.
  Value getAt(Value head, Value page) {
    Value thread = b.divU(page, b.index(own)),
          rest = b.remU(page, b.index(own));
    Value threads = b.addI(b.mulI(head, b.index(warps * kWarp)), thread);
    return b.addI(b.mulI(threads, b.index(of.getStride(warps))), rest);
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
  // Of scores that no block keeps: [R, H, pages] f32.
  Value scores;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_ROUTEPAGES_H
