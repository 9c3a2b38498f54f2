//===- VectorScan.h - Scores of page summaries and keys ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Where something is proved by them the sums are those of VectorScorer.cpp, in
// f32 and one fma each, so that the slack of its bounds is right here, too:
// what tensor cores sum is not said to be rounded in any way. They score what
// several heads only rank: of 16 rows eight lines of four lanes have two each,
// as they are stored, and what this comes to of eight heads.
//
// Otherwise a few lanes have a row of the source, each 8 channels of every so
// many, and what is made of the heads' directions in the same channels, in
// registers. A warp takes several rows for each of its groups of lanes at once,
// all of whose loads are in flight together; a butterfly adds the lanes' sums
// up and leaves each lane with a row. Pages of the next rows are looked up, one
// by a lane, while these are read.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_VECTORSCAN_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_VECTORSCAN_H

#include "Kernels.h"
#include "Pick/PagesOfPick.h"
#include "Warp/Slots.h"
#include "Warp/SoftmaxSums.h"
#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

class VectorScan {
public:
  using Value = mlir::Value;
  using Numbers = llvm::SmallVector<Value>; // f32, of a lane

  /// `rows`: that a lane loads together, a power of two and at most as many as
  /// lanes share one (chooseRows).
  VectorScan(ScoreOp op, WarpBuilder &b, int64_t rows);
  /// What of the op it cannot do, if anything.
  static const char *getObstacle(ScoreOp op);

  /// What a kernel is to be given, on the host: buffers.
  llvm::SmallVector<Value> getRead(bool hasOwnList = false);
  /// `given` begins with the same, within the kernel. `ownList`: as of Slots.
  void begin(Given &given, Value row, Value kvHead,
             std::optional<Slots::OwnList> ownList = std::nullopt);

  static constexpr int64_t kBlock = PageFindings::kBlock;

  /// `first`: a multiple of kWarp, or 0.
  /// store(head, slot, logit, isVisible) by a lane, for each slot from `first`
  /// to `end` of `heads` heads of the group from `firstHead` on; all warps of a
  /// block call it. Logits of what is not visible are anything.
  using Store = llvm::function_ref<void(Value head, Value slot, Value logit,
                                        Value isVisible)>;
  void scan(Value firstHead, Value first, Value end, int64_t warps,
            Store store) {
    scan(firstHead, first, end, warps, store, /*blocks=*/nullptr);
  }
  /// The same of summaries by tensor cores, which leaves findings, too: of a
  /// head and a block of pages the highest score and what all weigh.
  void scanPages(Value firstHead, Value first, Value end, int64_t warps,
                 Store store, PagesOfPick &pages,
                 llvm::function_ref<void(Value head, Value block, Value highest,
                                         const SoftmaxSum &sum)>
                     leave);
  /// The same, where `leaveSum` is called, by a lane of each warp, for what all
  /// pages of the warp weigh.
  void scanPages(
      Value firstHead, Value first, Value end, int64_t warps, Store store,
      PagesOfPick &pages,
      llvm::function_ref<void(Value head, Value block, Value highest)> leaveTop,
      llvm::function_ref<void(Value head, const SoftmaxSum &sum)> leaveSum);
  /// Whether rows are multiplied by tensor cores, if a tile has whole blocks.
  static bool canMultiply(ScoreOp op);
  bool multiplies() const { return byProducts; }
  /// A logit as a score: one that has overflowed to -inf bounds nothing.
  Value toScore(Value logit);

  const int64_t dim, group, numKvHeads;
  int64_t heads; // that are scored at once
  std::optional<Slots> slots;

private:
  /// What a row is multiplied with, of a head.
  struct Vectors {
    Numbers direction; // or, of a box, what is positive of it
    Numbers negative;  // of a box, what is not
    Numbers sizes;     // for deviations, and for the slack of bounds
    Value norm;        // of a ball: the direction's, rounded up
  };
  /// Where the rows of a warp are. Of rows in one page the first, and how many
  /// are visible; of others those of a slot in each lane.
  struct Places {
    Value page, slot, visible; // i32
    llvm::SmallVector<Value> pack() const { return {page, slot, visible}; }
  };

  /// What a scan by tensor cores may find of kBlock slots.
  struct Blocks {
    /// A slot's score as it counts in a sum, and as it is compared.
    llvm::function_ref<std::pair<Value, Value>(Value slot, Value logit,
                                               Value isVisible)>
        weigh;
    /// By a lane, for each head and block with a visible slot: the highest to
    /// compare, NaN where all are; and the sum, unless these are added up.
    llvm::function_ref<void(Value head, Value block, Value highest,
                            const SoftmaxSum &sum)>
        store;
    bool addsUp;
    /// What a lane has of the two heads that it has slots of.
    std::array<SoftmaxSum, 2> sums;
  };

  void scan(Value firstHead, Value first, Value end, int64_t warps, Store store,
            Blocks *blocks);
  /// What a page counts in a sum, and what is compared: nothing of one that is
  /// not free. NaN is -inf.
  std::pair<Value, Value> weighPage(PagesOfPick &pages, Value page, Value logit,
                                    Value isVisible);
  Places findPlaces(Value first);
  /// Page and slot of a row of a tile.
  std::pair<Value, Value> getRow(const Places &places, Value row);
  Value isRowVisible(const Places &places, Value row);
  Vectors makeVectors(Value head);
  /// Of a tile of whole blocks of 16 rows, by tensor cores.
  void scanBlocks(Value firstHead, const Places &here, Value tileStart,
                  Value end, llvm::ArrayRef<Value> columns, Store store,
                  Blocks *blocks);
  /// Of a lane's head of that number; lanes of which `stores` holds leave what
  /// they have together.
  void findInBlock(int64_t number, Value stores, Value head, Value first,
                   llvm::ArrayRef<Value> slots, llvm::ArrayRef<Value> logits,
                   llvm::ArrayRef<Value> areVisible, Blocks &blocks);
  /// The heads as columns of products: 4 pairs of each 32 channels.
  llvm::SmallVector<Value> makeColumns(Value firstHead);
  /// Where a row begins, or has a channel.
  llvm::SmallVector<Value> getPlace(Value page, Value slot,
                                    Value channel = nullptr);
  /// A row of a part: what this lane has of its channels.
  Numbers load(Value from, Value page, Value slot);
  Value multiply(const Vectors &vectors, llvm::ArrayRef<Numbers> row);
  /// Adds up the sums of the lanes that share rows; yields that of `ownRow`.
  Value addUp(llvm::SmallVector<Value> sums);
  Value toLogit(Value sum, const Vectors &vectors, Value radius);
  bool is(SummaryKind kind) const { return summary == kind; }
  bool isBound() const { return is(SummaryKind::box) || is(SummaryKind::ball); }

  ScoreOp op;
  WarpBuilder &b;
  std::optional<SummaryKind> summary; // null for keys
  int64_t lanes;                      // that share a row
  int64_t rows;                       // of a lane at once
  int64_t tile;                       // rows of a warp
  unsigned numRows;                   // parts that have channels
  bool byProducts;                    // of tensor cores

  // Of the kernel.
  Value direction;
  llvm::SmallVector<Value> parts;
  Value lane, member, within; // within: of the lanes of a row
  Value ownRow;               // which of its rows a lane finishes
};

/// Lanes that share a row of `dim` channels.
int64_t getLanesOfRow(int64_t dim);
/// What lane `within` of those has of the channels of a row, as f32.
llvm::SmallVector<mlir::Value> loadChannels(WarpBuilder &b, mlir::Value from,
                                            llvm::ArrayRef<mlir::Value> row,
                                            mlir::Value within);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_VECTORSCAN_H
