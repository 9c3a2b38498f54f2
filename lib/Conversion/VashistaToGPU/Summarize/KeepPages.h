//===- KeepPages.h - What a block keeps of a page ---------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a page and KV head: what `PageKept` says of one, with sums over
// tokens in another order, which are of f32, and over channels, which are
// bounds in any (UpperBounds.h).
//
//  * Once over the keys: sums, or minima and maxima, of each channel, and the
//    largest norm. Lanes have 16 bytes of a token each, so that all threads
//    have different ones in flight. Once over the values: the largest norm.
//  * What the block has found is joined in shared memory: means.
//  * Where they are needed for more, once more over the keys, which are in the
//    nearest cache by now: squares of differences from the mean as computed, or
//    the largest distance from the centre as stored.
//  * Warps sketch tokens by turns, several at a time (KeySketchWarp.h).
//
// Bytes: keys once, and values once for their norms; what is kept is written.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEEPPAGES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEEPPAGES_H

#include "../VashistaToVector/PageKept.h"
#include "KeySketchWarp.h"

namespace vashista {

class KeepPages {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  /// Of a `summarize` or an `append` on buffers, for blocks of some warps.
  template <typename OpTy>
  KeepPages(OpTy op, WarpBuilder &b, int64_t warps)
      : KeepPages(b, warps, op.getKCache(), op.getVCache(), op.getNorms(),
                  op.getSummaryAttr(), op.getSummaryParts(), op.getSketchAttr(),
                  op.getSketchParts(), op.getLayout()) {}

  /// Why there are no kernels for an op; null if there are.
  template <typename OpTy> static const char *getObstacle(OpTy op) {
    if (!op.hasPureBufferSemantics() ||
        op->template getParentOfType<mlir::LoopLikeOpInterface>())
      return "expected buffers, and no loop around";
    if (!PageKept::getObstacle(op).empty())
      return "expected what a kernel can keep";
    return getObstacle(op->getOperands(), op.getKCache(), op.getVCache());
  }

  /// Of which kernels may have blocks on a multiprocessor.
  int64_t getResidentBlocks() const;
  /// What is kept, which kernels write, and buffers of a block.
  llvm::SmallVector<Value> getWritten() const;
  llvm::SmallVector<mlir::MemRefType> getShared();

  /// In a kernel, that is given the caches and the same. `values` may be null.
  void begin(Value keys, Value values, Given &written,
             llvm::ArrayRef<Value> shared);
  /// Recomputes what is kept of a physical page and KV head, from its tokens 0
  /// to count - 1; count is at least 1. All threads of a block do so together.
  /// The sketch of a token by itself is left out unless `sketchesAll`.
  void emit(Value page, Value kvHead, Value count, bool sketchesAll);
  /// If the op sketches tokens by themselves: that of one of them, of which
  /// `load` yields f32 channels, by a warp. All of its lanes do so together.
  bool canSketchToken() const { return sketch && !sketch->isShared(); }
  void sketchToken(Value page, Value kvHead, Value token,
                   llvm::function_ref<llvm::SmallVector<Value>(Value channel,
                                                               int64_t number)>
                       load);

  /// The least of a block's i32, which each thread has.
  Value getLeast(Value value);

  int64_t getThreads() const { return warps * kWarp; }
  int64_t getPageSize() const { return vashista::getPageSize(keys, layout); }
  /// Indices of an element of a cache.
  llvm::SmallVector<Value> indices(Value page, Value kvHead, Value token,
                                   Value channel) const {
    return getCacheIndices(layout, page, kvHead, token, channel);
  }

private:
  KeepPages(WarpBuilder &b, int64_t warps, Value keys, Value values,
            Value norms, SummaryAttr summary, ValueRange parts,
            SketchAttr sketch, ValueRange sketchParts, Layout layout);
  static const char *getObstacle(ValueRange buffers, Value keys, Value values);

  /// Places of what is joined: norms of keys and values, and a radius.
  enum Largest { kKey, kValue, kRadius };
  /// f32 sums, or minima or maxima, of the channels of a lane's vectors.
  using Sums = llvm::SmallVector<Value>;

  bool is(SummaryKind kind) const {
    return summary && summary.getKind() == kind;
  }
  bool isCentred() const { return sketch && sketch->isShared(); }
  bool hasMean() const {
    return isCentred() || (summary && !is(SummaryKind::box));
  }
  /// f32 of each channel that the block joins, twice as many for a box or a
  /// mean_std.
  int64_t getNumSums() const;

  /// Loops over the page's tokens, as many at a time as the block has lanes
  /// for. `body` gets the channels of a lane's vectors, f32; those of the last
  /// token and vector in place of what is not there.
  llvm::SmallVector<Value> overTokens(
      const TokenLanes &lanes, Value cache, ValueRange init,
      llvm::function_ref<llvm::SmallVector<Value>(
          llvm::ArrayRef<Value> channels, Value isToken, ValueRange carried)>
          body);
  void readKeys();
  void readValues();
  void readAgain();
  /// The square of a token's norm, f64, in all of its lanes; of f32 or f64.
  Value getSquares(const TokenLanes &lanes, llvm::ArrayRef<Value> channels);
  /// Puts what a thread has found where the block joins it.
  void shareSums(llvm::ArrayRef<Value> sums, int64_t number,
                 llvm::function_ref<Value(Value, Value)> join);
  void shareLargest(Value squares, Largest number);
  /// What the warps have shared of a channel.
  Value joinSums(int64_t number, Value channel,
                 llvm::function_ref<Value(Value, Value)> join);
  void storeLargest(Largest number, Value to, ValueRange at);
  /// Rounds an f32 to nearest.
  void storePart(Value part, Value value, Value channel);
  void storeSummary();
  void storeDeviations();
  void overChannels(llvm::function_ref<void(Value channel)> body);
  /// The number of tokens as f32.
  Value getCount();
  void sketchPage();
  /// Those of a warp at once, from one on, up to the last.
  void sketchTokens(Value first, Value last);

  WarpBuilder &b;
  const int64_t warps;
  SummaryAttr summary;
  Layout layout;
  TokenLanes keyLanes;
  std::optional<TokenLanes> valueLanes; // with norms
  llvm::SmallVector<Value> parts, sketchParts;
  std::optional<KeySketchWarp> sketch;

  // On the host, and in the kernel.
  Value keys, values, norms;
  // Of the kernel: f32 [numSums, warps, D], f64 [warps, 3], i32 [warps].
  Value sums, largest, least;
  Value thread, warp;
  // Of the page.
  Value page, kvHead, count;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEEPPAGES_H
