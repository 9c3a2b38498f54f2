//===- BlockPick.h - The best of pages, by blocks of them ------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A scan has left the highest scores of each block of pages, and what all pages
// come to (PageFindings). Heads are compared by the latter; the need-th best
// block's highest score is one that as many pages reach, and only blocks whose
// highest does are read. Where too many reach it, as of equal scores, nothing
// is found.
//
// Bytes: 4 G of each block, 8 G of each sum, and 4 G kBlock of some of the
// blocks, about need.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_BLOCKPICK_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_BLOCKPICK_H

#include "Best/BestScores.h"
#include "Kernels.h"
#include "PagesOfPick.h"
#include "Warp/SoftmaxSums.h"

namespace vashista {

/// The pick of a row and KV head, by the threads of a block.
class BlockPick {
public:
  using Value = mlir::Value;

  /// Whether a pick of so many pages may be done so, by so many warps. Of a
  /// number that is not known, it is found as it is done.
  static bool isPossible(PickOp op, int64_t warps);

  /// Memory of a block that has nothing else to do with it.
  static llvm::SmallVector<mlir::MemRefType>
  getBuffers(PickOp op, WarpBuilder &b, int64_t warps);
  /// What these are; 0 where it is not possible.
  static int64_t getSharedBytes(PickOp op, int64_t warps);

  struct Memory {
    // A page's score by a head of the group, not weighed.
    llvm::function_ref<Value(int64_t head, Value page)> loadScore;
    // What is found of them, PageFindings, by heads of the group: one of so
    // many sums or, of 0, that of a block; and the highest of a block.
    int64_t parts;
    llvm::function_ref<SoftmaxSum(Value head, Value part)> loadSum;
    llvm::function_ref<Value(int64_t head, Value block)> loadTop;
    Value counters, perWarp, few, refs; // of the block: BestScores, findRefs
    // And what `getBuffers` says: blocks and pages that reach a score, i32, and
    // bits of all pages, [2, words] i32.
    Value blocks, pages, marks;
  };
  BlockPick(PickOp op, WarpBuilder &b, const PagesOfPick &of, int64_t warps,
            const Memory &memory);

  /// Yields whether it could be done, and how many there are, i32: then
  /// write(page, at), both index, has been called for each, in the order of
  /// pages.
  std::pair<Value, Value>
  run(llvm::function_ref<void(Value page, Value at)> write);

private:
  static constexpr int64_t kBlock = PageFindings::kBlock;

  /// What heads are compared by: of so many sums by a warp for each head, of
  /// those of blocks by all threads.
  void loadRefs(llvm::ArrayRef<Value> isThere);
  void loadBlocks();
  /// The best of the heads' scores of the same, each against its head's ref.
  Value compareHeads(llvm::ArrayRef<Value> scores);
  /// Places for so many, of all warps', counted by one of the counters.
  Value takePlaces(Value number, int64_t counter);
  /// Where this lane's is, of lanes that have one, by a bit of each.
  Value getPlace(Value start, Value bits) {
    return b.addI(start, countBits(b.andI(bits, below)));
  }
  Value countBits(Value bits) { return mlir::math::CtPopOp::create(b, bits); }
  void gatherBlocks(Value least);
  void gatherPages(Value least, int64_t room);
  /// Bits of the gathered pages that are better than the last one that is
  /// picked, and that are as good.
  void markPages();
  /// Bits of the thread's pages that are picked in any case.
  Value getAlways();

  PickOp op;
  WarpBuilder &b;
  PagesOfPick of;
  const int64_t words, group, warps, threads;
  const Memory memory;
  Value thread, warp, lane;
  BestScores best;
  const int64_t usual;
  Value below; // bits of the lanes before this one

  llvm::SmallVector<Value> refs;
  // Blocks of this thread, their highest scores, NaN of none, and the highest.
  llvm::SmallVector<Value> blocks, tops;
  Value top;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_BLOCKPICK_H
