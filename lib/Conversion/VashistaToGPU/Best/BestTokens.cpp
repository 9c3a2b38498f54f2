//===- BestTokens.cpp - What attends to the best of few tokens ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BestTokens.h"
#include "BestScores.h"
#include "Warp/SoftmaxSums.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace vashista;

bool vashista::isEmptyState(ValueRange outs) {
  constexpr float values[] = {0.0f, -INFINITY};
  for (auto [out, expected] : llvm::zip_equal(outs, values)) {
    auto fill = out.getDefiningOp<linalg::FillOp>();
    APFloat value(0.0f);
    if (!fill || !matchPattern(fill.getInputs()[0], m_ConstantFloat(&value)) ||
        !value.isExactlyValue(expected))
      return false;
  }
  return true;
}

int64_t BestTokens::getNumFew(int64_t warps) const {
  int64_t words = BestScores::getNumFew(warps, BestScores::getUsual(pick));
  if (route)
    words = std::max(
        words, BestScores::getNumFew(warps, BestScores::getUsual(route->pick)));
  return words;
}

int64_t BestTokens::getRestBytes(int64_t warps, int64_t blocks) const {
  static_assert(kColumns >= BestScores::kColumns && kColumns >= kRefColumns);
  constexpr int64_t kBetween = 128; // words: buffers are aligned
  int64_t bytes = 4 * ((group + 3) * budget + 3 * group + kColumns * warps +
                       getNumFew(warps) + BestScores::kCounters + kBetween +
                       (route ? route->budget : 0));
  if (route && route->picksByBlocks(warps, blocks))
    bytes += BlockPick::getSharedBytes(route->pick, warps);
  if (blocks > 1)
    bytes += 4 * llvm::alignTo(group * valueDim, blocks) + 8 * group * blocks;
  return bytes;
}

BestTokens::Memory BestTokens::getMemory(int64_t warps, int64_t blocks,
                                         int64_t most) const {
  auto get = [&](bool keepsScores, bool keepsPageScores) {
    Memory memory = {keepsScores, keepsPageScores, 0, 0, 0};
    int64_t ofTokens = keepsScores ? group * numSlots : 0;
    // Another block may be at its tokens while this one is at its pages.
    memory.routeAt = blocks > 1 ? ofTokens : 0;
    int64_t ofPages =
        route ? route->getNumWords(warps, blocks, keepsPageScores) : 0;
    memory.numScores = std::max(
        {ofTokens, memory.routeAt + ofPages, warps * group * valueDim});
    memory.bytes = 4 * memory.numScores + getRestBytes(warps, blocks);
    return memory;
  };
  // Tokens' scores of a block alone lie where sums of values will.
  SmallVector<Memory> memories;
  if (route)
    memories.push_back(get(true, true));
  memories.push_back(get(true, false));
  if (blocks > 1)
    memories.push_back(get(false, false));
  for (const Memory &memory : memories)
    if (memory.bytes <= most)
      return memory;
  return memories.back();
}

std::optional<BestTokens> vashista::findBestTokens(AttendOp op,
                                                   const char *&obstacle) {
  auto refuse = [&](const char *why) {
    obstacle = why;
    return std::nullopt;
  };
  if (!op.hasPureTensorSemantics() || op.getBegin() || !op.getTokens() ||
      op.getSolver().getKind() != SolverKind::softmax ||
      !isEmptyState(op.getOuts()))
    return refuse("expected softmax attention over tokens, from nothing");
  auto pick = op.getTokens().getDefiningOp<PickOp>();
  if (!pick || op.getTokens() != pick.getIds() ||
      op.getTokenCount() != pick.getCount() || !pick.getIds().hasOneUse() ||
      !pick.getCount().hasOneUse() || !pick.getTail().use_empty() ||
      pick.getMode() != PickMode::top || pick.getUnit() != SlotUnit::tokens ||
      !pick.getPages() || pick.getTaken() ||
      pick.getSeqLens() != op.getSeqLens())
    return refuse("expected a list that is the best of listed pages");
  auto score = pick.getScores().getDefiningOp<ScoreOp>();
  if (!score || !score.getBounds().use_empty() ||
      pick.getBounds() != pick.getScores() ||
      !llvm::all_of(score.getScores().getUsers(),
                    [&](Operation *user) { return user == pick; }))
    return refuse("expected scores that only the pick reads");
  if (pick.getSchedule() || score.getSchedule())
    return refuse("expected no schedules of the pick and the score");
  auto keys = dyn_cast<KeysAttr>(score.getFrom());
  if (!keys || keys.getLayout() != op.getLayout() ||
      score.getDirection() != op.getQuery() ||
      score.getParts()[0] != op.getKCache() ||
      score.getPageTable() != op.getPageTable() ||
      score.getSeqLens() != op.getSeqLens() ||
      score.getRowToSeq() != op.getRowToSeq() ||
      score.getPages() != pick.getPages() ||
      score.getPageCount() != pick.getPageCount() ||
      score.getScale() != op.getScale() ||
      score.getSoftCap() != op.getSoftCap() ||
      score.getEpsilon().convertToFloat() !=
          static_cast<float>(op.getSolver().getEpsilon().convertToDouble()))
    return refuse("expected scores that are the logits");
  if (const char *obstacle = VectorScan::getObstacle(score))
    return refuse(obstacle);
  auto valueDim =
      cast<RankedTensorType>(op.getVCache().getType()).getDimSize(3);
  auto slots = cast<RankedTensorType>(pick.getScores().getType()).getDimSize(2);
  constexpr int64_t kMostSlots = 4096;
  if (ShapedType::isDynamic(valueDim) || valueDim % 8 ||
      ShapedType::isDynamic(slots) || slots == 0 || slots > kMostSlots ||
      pick.getBudget() == 0 || static_cast<int64_t>(pick.getBudget()) > slots)
    return refuse("expected few tokens");
  auto heads = cast<RankedTensorType>(op.getQuery().getType()).getDimSize(1);
  int64_t kvHeads = pick.getKvHeads();
  auto pages = pick.getPages().getDefiningOp<PickOp>();
  std::optional<PageRoute> route;
  if (pages && pages.getIds() == pick.getPages() &&
      pages.getCount() == pick.getPageCount() &&
      pages.getSeqLens() == pick.getSeqLens() &&
      static_cast<int64_t>(pages.getKvHeads()) == kvHeads)
    route = findPageRoute(pages, {pick, score});
  return BestTokens{
      op,      pick,     score, heads / kvHeads,
      kvHeads, valueDim, slots, static_cast<int64_t>(pick.getBudget()),
      route};
}
