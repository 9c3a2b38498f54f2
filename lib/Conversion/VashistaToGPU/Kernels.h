//===- Kernels.h - The kernels that ops become on a GPU ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Each folder has the kernels of some ops, and Warp what all are built of:
//
//   Score      scores by summaries, exact keys or a sketch; moments
//   Pick       pages and tokens that are best, or that prove
//   Attend     attention to pages, tokens or all; its merge; the fallback
//   Best       routing, scores and attention to the best, in one kernel
//   Chunks     scan, pick and attention by chunks, in one kernel
//   Certify    what a state proves
//   Summarize  summaries, sketches and moments of keys
//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

namespace vashista {

struct ScheduleTarget;

// What of an op that has a schedule no kernel can do, if anything.
const char *findObstacle(AttendOp op);
const char *findObstacle(FallbackOp op);
const char *findObstacle(ScoreOp op);
const char *findObstacle(PickOp op);
const char *findObstacle(CertifyOp op);
const char *findObstacle(MomentOp op);

// Each replaces an op, which has a whole schedule, by the launches of its
// kernels. Fails, without an error, where there are none for it.

/// On buffers.
llvm::LogicalResult launchAttend(AttendOp op, const ScheduleTarget &target,
                                 mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchAppend(AppendOp op, mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchSummarize(SummarizeOp op,
                                    mlir::PatternRewriter &rewriter);

// On tensors.
/// What a scan of a sketch leaves beside its scores and bounds, or in their
/// place, for those who pick: buffers.
struct ScanFindings {
  /// [R, H, blocks, 1 or with levels 4] f32, of each block's slots: the highest
  /// finite bound, or NaN where a score is. With levels, the highest finite
  /// bound, the highest score, or NaN where one is, and what scores lack of
  /// their bounds: the least of some that are near the highest, with its slot's
  /// spread. The highest may be that of a key far above all others, which lacks
  /// more than any.
  mlir::Value tops;
  /// How close scores are so, in nats.
  static constexpr float kNear = 3;
  /// In place of bounds, where nobody reads more of them: [R, H, L] i8, how far
  /// each lies at most below the highest of kTile slots, which tileTops
  /// [R, H, ceil(L / kTile)] f32 has: +inf if one is not known. A level is an
  /// eighth of a bit of a mass, or where that is too little for a tile more by
  /// a power of two, whose exponent is the last two bits of its top; the
  /// largest is that or more. Rows of slots are padded to whole tiles.
  mlir::Value levels, tileTops;
  /// Beside these, [R, H, ceil(L / kTile)] f32: what the score of the highest
  /// bound of a tile lacks of that.
  mlir::Value tileLacks;
  /// Beside levels, [R, Hkv, L] f16: how far a key may be from its sketch. What
  /// a score lacks of its bound is in proportion to it, about.
  mlir::Value spreads;
  /// Beside levels, where one spread bounds all that a key lacks: [R, H, ...]
  /// f32, the first of which is the norm of the direction, rounded up. A bound
  /// is above its score by at least `reach` times that and the spread.
  mlir::Value norms;
  float reach = 0;
  /// Beside levels, channels of a residual: a direction finds about its norm
  /// over their root of it, where a bound has all of its norm.
  int64_t channels = 0;
  static constexpr int64_t kTile = 64;
  static constexpr int64_t kLevelsOfBit = 8, kLowest = 255;
  /// Nats that some bounds of a tile lie apart at most, for levels of an eighth
  /// of a bit: lower ones hardly count.
  static constexpr float kMostApart = 28;
  /// Steps that depths are counted in, of a level, a bit and a nat.
  static constexpr int64_t kOfLevel = 16, kPerBit = kOfLevel * kLevelsOfBit;
  static constexpr float kPerNat = kPerBit * 1.44269504f;
};
/// What a scan of summaries leaves beside scores, for who picks pages: buffers.
struct PageFindings {
  /// [R, H, blocks, 2] f32, of each block of kBlock pages: the highest of the
  /// weighted scores (PagesOfPick.h), and what all weigh against it.
  mlir::Value sums;
  /// [R, H, blocks] f32, of blocks of kBlock pages each that have a visible
  /// one: the highest of those that are free to be picked, NaN where none is.
  mlir::Value tops;
  static constexpr int64_t kBlock = 16;
};
/// What a pick leaves beside its results: buffers, or null.
struct PickFindings {
  /// [R, H, bins] i32: how many slots there are at each depth, and their mass.
  mlir::Value depths;
  /// [R, Hkv, words, 2] i32: bits of 32 slots each, which are picked; the
  /// second is the pick's own.
  mlir::Value picked;
};
/// What those that were launched leave for others.
struct Findings {
  /// Of scans, by their bounds.
  llvm::DenseMap<mlir::Value, ScanFindings> scans;
  /// Of scans, for a pick of pages.
  llvm::DenseMap<mlir::Operation *, PageFindings> pages;
  /// Of picks whose list another one takes up, for that.
  llvm::DenseMap<mlir::Operation *, PickFindings> picks;
  /// Of certifies, by scans that look at the same pages: [R, Hkv, blocks, 2]
  /// f32, the largest key and value norm of each block's pages.
  llvm::DenseMap<mlir::Operation *, mlir::Value> norms;
  /// Picks of whose list nobody reads what follows its count.
  llvm::DenseSet<mlir::Operation *> shortLists;
};

/// With levels, the op is left as it is, for its picks. Directional moments of
/// the same direction are done by some of its blocks.
llvm::LogicalResult launchSketchScan(ScoreOp op, const ScheduleTarget &target,
                                     Findings &findings,
                                     mlir::PatternRewriter &rewriter);
/// Those who want the largest norms of all visible pages, which a scan looks up
/// anyway: of the same pages and KV heads, and behind the op that it is a part
/// of.
llvm::SmallVector<CertifyOp> findCertifies(ScoreOp score, mlir::Operation *op,
                                           const Findings &findings);
llvm::LogicalResult launchVectorScan(ScoreOp op, Findings &findings,
                                     mlir::PatternRewriter &rewriter);
/// Whether a pick of the best pages has use for PageFindings.
bool picksByBlocks(PickOp op);
/// Whether a value is there when an op is, in whose block its own maker is.
bool isBefore(mlir::Value value, mlir::Operation *op);
/// Whether tensors are filled with the empty state, o and lse.
bool isEmptyState(mlir::ValueRange outs);
/// An `attend` to what chunks of a sequence prove, which scans and picks, too:
/// where its schedule says so.
llvm::LogicalResult launchAttendChunks(AttendOp op,
                                       const ScheduleTarget &target,
                                       Findings &findings,
                                       mlir::PatternRewriter &rewriter);
/// The `certify` of what an `attend` from nothing attends to, which the merge
/// of its splits can do: of pages whose largest norms a scan leaves. Null if
/// there is none. `tail`: what the op itself leaves, or null.
CertifyOp findCertifyOfMerge(AttendOp op, mlir::Value tail = nullptr);
/// An `attend` from nothing, with that.
llvm::LogicalResult launchAttendCertified(AttendOp op,
                                          const ScheduleTarget &target,
                                          const Findings &findings,
                                          mlir::PatternRewriter &rewriter);
/// An `attend` to the best tokens of few, which scores and picks them, too:
/// where its schedule says so.
llvm::LogicalResult launchAttendBest(AttendOp op, const ScheduleTarget &target,
                                     mlir::PatternRewriter &rewriter);
/// Whether a sketch's bounds are scores and at least a norm of the direction
/// times one of what a key lacks.
bool boundsByNorm(ScoreOp op);
/// Whether a pick is of the slots that were scored: of the same lengths and
/// list.
bool seesSlotsOf(PickOp op, ScoreOp score);
/// Whether a pick's budget binds nothing, of slots whose number is known.
bool hasRoomForAll(PickOp op);
/// Whether there is a kernel for a pick that needs no more than levels.
bool picksByLevels(PickOp op);
/// Notes of a pick, while all who use it are as they were, whether its list may
/// end with its count.
void noteList(PickOp op, Findings &findings);
/// A pick that takes up another's list needs this one's tail: the last first.
llvm::LogicalResult launchPick(PickOp op, const ScheduleTarget &target,
                               Findings &findings,
                               mlir::PatternRewriter &rewriter);
/// By clusters of up to so many blocks.
llvm::LogicalResult launchCertify(CertifyOp op, int64_t clusterBlocks,
                                  const Findings &findings,
                                  mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchMoment(MomentOp op, mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchCheck(CheckTableOp op,
                                mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchCheck(CheckPositionsOp op,
                                mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchCheck(CheckListOp op,
                                mlir::PatternRewriter &rewriter);
llvm::LogicalResult launchFallback(FallbackOp op, const ScheduleTarget &target,
                                   mlir::PatternRewriter &rewriter);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_KERNELS_H
