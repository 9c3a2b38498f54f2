//===- ChunkSchedules.cpp - How a proof in one kernel is laid out ---------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendChunks.h"
#include "ChunkPick.h"
#include "Kernels.h"
#include "ScheduleDraft.h"
#include "Schedules.h"

using namespace mlir;
using namespace vashista;

static int64_t getDim(Value value, int64_t dim) {
  return cast<ShapedType>(value.getType()).getDimSize(dim);
}

static int64_t getGroups(ProvenChunks chunks) {
  return countGroups(getDim(chunks.attend.getQuery(), 0), chunks.kvHeads);
}

static int64_t getSlots(ProvenChunks chunks) {
  return getDim(chunks.score.getScores(), 2);
}

/// Whether clusters of so many blocks all run at once, of sizes that are known.
static bool areAtOnce(ProvenChunks chunks, const ScheduleDraft &draft,
                      int64_t cluster, const ScheduleTarget &target) {
  int64_t each = llvm::divideCeil(getSlots(chunks), draft.split * cluster);
  return getGroups(chunks) * each <=
         draft.blocks * getMostClusters(target, cluster);
}

static ScheduleDraft makeDraft(ProvenChunks chunks, ScheduleAttr written,
                               const ScheduleTarget &target) {
  ScheduleDraft draft(written);
  draft.fuse = true;
  MLIRContext *context = chunks.attend.getContext();
  const int64_t slots = getSlots(chunks);
  draft.choose(draft.warps, 4);
  draft.expectOnly("vector", draft.vector, 8);
  draft.expectNoSplits();
  draft.choose(draft.stages, 2);
  draft.choose(draft.blocks, 3);
  constexpr int64_t kMost = 4096, kUnknown = 1024, kEach = 2;
  // A step of each warp, which codes are copied ahead for.
  const int64_t least = draft.warps * ScanFindings::kTile,
                fewest = std::max<int64_t>(256, least);
  const bool isFree = draft.split == 0;
  draft.choose(draft.split, kUnknown);
  // Two blocks for each multiprocessor, of as many slots: what a block waits
  // for is more than what it reads.
  if (isFree && !ShapedType::isDynamic(slots))
    draft.split = std::clamp<int64_t>(
        llvm::alignTo(llvm::divideCeil(getGroups(chunks) * slots,
                                       kEach * getPower(target)),
                      ScanFindings::kTile),
        fewest, std::max(fewest, kMost));
  draft.expectMultiple("split", draft.split, ScanFindings::kTile);
  draft.expectAtLeast("split", draft.split, least);
  auto hasRoom = [&] {
    ScheduleDraft its = draft;
    its.choose(its.cluster, 1);
    return hasRoomForChunks(chunks, its.get(context), target);
  };
  while (isFree && draft.split > fewest && !hasRoom())
    draft.split = std::max<int64_t>(
        llvm::alignTo(draft.split / 2, ScanFindings::kTile), fewest);
  // As large a chunk as there can be: what proves it is the less of it. All of
  // them at once, if they can.
  int64_t cluster = 1;
  while (2 * cluster <= target.clusterBlocks &&
         (ShapedType::isDynamic(slots) || cluster * draft.split < slots))
    cluster *= 2;
  auto fits = [&](int64_t blocks) {
    return areAtOnce(chunks, draft, blocks, target);
  };
  if (!ShapedType::isDynamic(slots))
    for (int64_t blocks = cluster; blocks >= 1 && !fits(cluster); blocks /= 2)
      if (fits(blocks))
        cluster = blocks;
  draft.choose(draft.cluster, cluster);
  draft.expectAtMost("cluster", draft.cluster, target.clusterBlocks);
  draft.expectAtMost("cluster * split", draft.cluster * draft.split,
                     ChunkPick::kMostSlots);
  draft.expect(hasRoomForChunks(chunks, draft.get(context), target),
               "warps, stages and a split that " +
                   Twine(getSharedBytes(target, draft.blocks) >> 10) +
                   " KiB have room for",
               draft.split);
  return draft;
}

/// Where blocks wait for a place, those that run are in step: all scan, then
/// all pick; and the last few have the device to themselves. Small chunks need
/// too many tokens, and a share of a small budget may not do for one.
static bool isFaster(ProvenChunks chunks, const ScheduleDraft &draft,
                     const ScheduleTarget &target) {
  const int64_t slots = getSlots(chunks);
  if (ShapedType::isDynamic(getDim(chunks.attend.getQuery(), 0)) ||
      ShapedType::isDynamic(slots) || target.clusterBlocks == 1 ||
      !areAtOnce(chunks, draft, draft.cluster, target))
    return false;
  return draft.cluster * draft.split >= slots ||
         2 * static_cast<int64_t>(chunks.pick.getBudget()) >= slots;
}

FailureOr<std::optional<ProvenChunks>>
vashista::assignChunks(AttendOp op, const ScheduleTarget &target) {
  ScheduleAttr written = op.getScheduleAttr();
  if (written && !written.getFuse())
    return std::optional<ProvenChunks>();
  const char *obstacle = nullptr;
  std::optional<ProvenChunks> chunks = findProvenChunks(op, obstacle);
  if (!chunks && written)
    return refuseFuse(op, obstacle);
  if (!chunks)
    return std::optional<ProvenChunks>();
  ScheduleDraft draft = makeDraft(*chunks, written, target);
  if (!written && !(draft.isPossible() && isFaster(*chunks, draft, target)))
    return std::optional<ProvenChunks>();
  if (failed(draft.assign(op)))
    return failure();
  return chunks;
}
