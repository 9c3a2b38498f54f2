//===- RoutePages.cpp - The best pages, by those who read them ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RoutePages.h"
#include "BestScores.h"
#include "Schedules.h"
#include "Warp/SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

bool PageRoute::picksByBlocks(int64_t warps, int64_t blocks) const {
  // Scores of a thread, of which the best are found as fast without.
  constexpr int64_t kFew = 16;
  return VectorScan::canMultiply(score) && BlockPick::isPossible(pick, warps) &&
         (blocks > 1 || group * getOwn(warps) > kFew);
}

RoutePages::RoutePages(const PageRoute &route, WarpBuilder &b, int64_t warps,
                       int64_t blocks, bool keepsScores)
    : pick(route.pick), scan(route.score, b, chooseRows(route.score)), b(b),
      of(route), warps(warps), blocks(blocks), own(route.getOwn(warps)),
      keepsScores(keepsScores),
      leavesBlocks(scan.multiplies() && route.picksByBlocks(warps, blocks)) {}

SmallVector<Value> RoutePages::allocate(Value rows) {
  if (keepsScores)
    return {};
  auto type = MemRefType::get(
      {ShapedType::kDynamic, of.group * of.kvHeads, of.numPages},
      b.getF32Type());
  return {memref::AllocOp::create(b, type, rows, b.getI64IntegerAttr(64))};
}

SmallVector<MemRefType> RoutePages::getBuffers() {
  if (!leavesBlocks)
    return {};
  return BlockPick::getBuffers(pick, b, warps);
}

void RoutePages::begin(Given &read, Given &written, Value row, Value kvHead,
                       Value block) {
  this->block = block;
  firstHead = b.mulI(kvHead, b.index(of.group));
  scan.begin(read, row, kvHead);
  scores = written.take(!keepsScores);
  pages.emplace(pick, b, scan.slots->getLength(), b.index(of.numPages));
}

Value RoutePages::hasPages() {
  return b.compare(CmpIPredicate::sgt, pages->used, b.index(0));
}

Slots::OwnList RoutePages::route(const Shared &shared) {
  this->shared = shared;
  scorePages();
  b.clusterBarrier(blocks);
  Value count = leavesBlocks ? pickByBlocks() : pickBest();
  b.barrier();
  return {shared.list, b.toIndex(count)};
}

void RoutePages::scorePages() {
  // Whole tiles of all that are used; what follows is the last block's.
  Value first = b.index(0), end = b.index(of.numPages);
  if (blocks > 1) {
    int64_t all = blocks * kWarp;
    ofBlock =
        b.mulI(b.divU(b.addI(pages->used, b.index(all - 1)), b.index(all)),
               b.index(kWarp));
    first = b.mulI(block, ofBlock);
    Value isLast = b.compare(CmpIPredicate::eq, block, b.index(blocks - 1));
    Value endOfOwn = b.minI(b.addI(first, ofBlock), end);
    end = keepsScores ? endOfOwn : b.select(isLast, end, endOfOwn);
  }
  auto store = [&](Value head, Value page, Value logit, Value isVisible) {
    Value score = b.select(isVisible, scan.toScore(logit), b.negInf());
    if (keepsScores)
      b.store(score, shared.scores, getAt(head, b.subI(page, first)));
    else
      b.store(score, scores, getPlace(head, page));
  };
  // Each block picks by what all have found.
  auto leaveTop = [&](Value head, Value ofPages, Value highest) {
    b.storeInAll(highest, shared.scores, getTopAt(head, ofPages), blocks);
  };
  auto leaveSum = [&](Value head, const SoftmaxSum &all) {
    Value warp = b.divU(b.threadId(), b.index(kWarp));
    Value at = getSumAt(head, b.addI(b.mulI(block, b.index(warps)), warp));
    Value numbers[] = {all.top, all.sum};
    for (auto [i, number] : llvm::enumerate(numbers))
      b.storeInAll(number, shared.scores, b.addI(at, b.index(i)), blocks);
  };
  int64_t last = of.group - scan.heads;
  for (int64_t head = 0; head < of.group; head += scan.heads) {
    Value firstHead = b.index(std::min(head, last));
    if (leavesBlocks)
      scan.scanPages(firstHead, first, end, warps, store, *pages, leaveTop,
                     leaveSum);
    else
      scan.scan(firstHead, first, end, warps, store);
  }
}

std::pair<Value, Value> RoutePages::findKeeper(Value page) {
  if (blocks == 1)
    return {shared.scores, page};
  Value keeper = b.index(0), first = b.index(0);
  for (int64_t i = 1; i < blocks; ++i) {
    Value next = b.mulI(ofBlock, b.index(i));
    Value is = b.compare(CmpIPredicate::uge, page, next);
    keeper = b.select(is, b.index(i), keeper);
    first = b.select(is, next, first);
  }
  return {b.ofBlock(shared.scores, keeper), b.subI(page, first)};
}

SmallVector<Value> RoutePages::loadScores(int64_t head, Value first) {
  constexpr int64_t kTogether = PageRoute::kTogether;
  // In place of what is not there stands what is.
  int64_t size = keepsScores || of.numPages % kTogether == 0 ? kTogether : 1;
  SmallVector<Value> found;
  for (int64_t i = 0; i < own; i += size) {
    Value page = b.addI(first, b.index(i));
    SmallVector<Value> at;
    Value from = scores;
    if (keepsScores) {
      // Blocks have whole tiles.
      if (blocks > 1)
        page = b.minI(page,
                      b.subI(b.mulI(ofBlock, b.index(blocks)), b.index(size)));
      auto [keeper, its] = findKeeper(page);
      from = keeper;
      at = {getAt(b.index(head), its)};
    } else {
      at = getPlace(b.index(head), b.minI(page, b.index(of.numPages - size)));
    }
    Value vector = vector::LoadOp::create(b, b.vectorType(size), from, at,
                                          /*nontemporal=*/false,
                                          llvm::MaybeAlign(4 * size));
    for (int64_t j = 0; j < size; ++j)
      found.push_back(
          vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{j}));
  }
  for (int64_t i = 0; i < own; ++i)
    found[i] = pages->weigh(found[i], b.addI(first, b.index(i)));
  return found;
}

Value RoutePages::pickByBlocks() {
  ArrayRef<Value> own = shared.own;
  auto loadSum = [&](Value head, Value part) -> SoftmaxSum {
    Value at = getSumAt(head, part);
    return {b.load(shared.scores, at),
            b.load(shared.scores, b.addI(at, b.index(1)))};
  };
  auto loadTop = [&](int64_t head, Value ofPages) {
    return b.load(shared.scores, getTopAt(b.index(head), ofPages));
  };
  auto loadScore = [&](int64_t head, Value page) {
    if (!keepsScores)
      return b.load(scores, getPlace(b.index(head), page));
    auto [keeper, its] = findKeeper(page);
    return b.load(keeper, getAt(b.index(head), its));
  };
  BlockPick::Memory memory = {loadScore,  blocks * warps,  loadSum,
                              loadTop,    shared.counters, shared.perWarp,
                              shared.few, shared.refs,     own[0],
                              own[1],     own[2]};
  BlockPick byBlocks(pick, b, *pages, warps, memory);
  auto [isDone, number] = byBlocks.run(
      [&](Value page, Value at) { b.store(b.toI32(page), shared.list, at); });
  Value isLeft = arith::XOrIOp::create(b, isDone, b.boolean(true));
  return b
      .ifThen(isLeft, number,
              [&]() -> SmallVector<Value> {
                b.barrier();
                return {pickBest()};
              })
      .front();
}

Value RoutePages::pickBest() {
  constexpr int64_t kMostKept = 64; // in registers
  bool hasAlways = pick.getSinks() > 0 || pick.getWindow() > 0;
  BestScores best(b, warps, own, shared.counters, shared.perWarp, shared.few);
  Value first = best.getSlot(int64_t(0));
  SmallVector<SmallVector<Value>> kept;
  for (int64_t head = 0; of.group * own <= kMostKept && head < of.group; ++head)
    kept.push_back(loadScores(head, first));
  auto load = [&](int64_t head) {
    return kept.empty() ? loadScores(head, first) : kept[head];
  };
  SmallVector<Value> ofPages, areThere;
  for (int64_t i = 0; i < own; ++i) {
    ofPages.push_back(best.getSlot(i));
    areThere.push_back(b.compare(CmpIPredicate::slt, ofPages[i], pages->used));
  }
  if (of.group > 1)
    vashista::findRefs(
        b, warps, of.group, shared.perWarp, shared.refs, [&](int64_t head) {
          SmallVector<Value> found = load(head);
          for (auto [score, is] : llvm::zip_equal(found, areThere))
            score = b.select(is, score, b.negInf());
          return sumScores(b, found);
        });
  SmallVector<Value> values(own, b.negInf());
  for (int64_t head = 0; head < of.group; ++head) {
    Value ref = of.group > 1 ? b.load(shared.refs, b.index(head)) : Value();
    for (auto [value, score] : llvm::zip_equal(values, load(head))) {
      Value found = ref ? b.subF(score, ref) : score;
      value = b.maxNumber(value, found); // NaN is -inf
    }
  }
  Candidates all(b, hasAlways);
  for (auto [value, page, isThere] :
       llvm::zip_equal(values, ofPages, areThere)) {
    Value bits = arith::BitcastOp::create(b, b.getI32Type(), value);
    if (hasAlways)
      bits = b.select(pages->isFree(page), bits, b.i32(Candidates::kAlways));
    all.add(b.select(isThere, bits, b.i32(Candidates::kNothing)));
  }
  best.find(all, of.budget, BestScores::getUsual(pick));
  return best.forEachPick(all, [&](Value i, Value at) {
    b.store(b.toI32(best.getSlot(i)), shared.list, b.toIndex(at));
  });
}

std::optional<PageRoute> vashista::findPageRoute(PickOp pick,
                                                 ArrayRef<Operation *> users) {
  auto areReadBy = [](ValueRange values, ArrayRef<Operation *> users) {
    return llvm::all_of(values, [&](Value value) {
      return llvm::all_of(value.getUsers(), [&](Operation *user) {
        return llvm::is_contained(users, user);
      });
    });
  };
  if (!pick || pick.getMode() != PickMode::top ||
      pick.getUnit() != SlotUnit::pages || pick.getPages() || pick.getTaken() ||
      pick.getSchedule() || !pick.getTail().use_empty() ||
      !areReadBy({pick.getIds(), pick.getCount()}, users))
    return std::nullopt;
  auto score = pick.getScores().getDefiningOp<ScoreOp>();
  if (!score || !isa<SummaryAttr>(score.getFrom()) || score.getSchedule() ||
      VectorScan::getObstacle(score) || pick.getBounds() != pick.getScores() ||
      score.getSeqLens() != pick.getSeqLens() ||
      !areReadBy(score->getResults(), {pick}))
    return std::nullopt;
  auto scores = cast<RankedTensorType>(pick.getScores().getType());
  int64_t numPages = scores.getDimSize(2), budget = pick.getBudget();
  // Of counts that share a word.
  constexpr int64_t kMostPages = 1 << 15;
  if (ShapedType::isDynamic(numPages) || numPages == 0 ||
      numPages > kMostPages || budget == 0)
    return std::nullopt;
  int64_t kvHeads = pick.getKvHeads();
  return PageRoute{pick,    score,    scores.getDimSize(1) / kvHeads,
                   kvHeads, numPages, budget};
}
