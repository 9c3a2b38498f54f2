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
#include "SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

RoutePages::RoutePages(const PageRoute &route, WarpBuilder &b, int64_t warps)
    : pick(route.pick), scan(route.score, b, chooseRows(route.score)), b(b),
      of(route), warps(warps), own(route.getOwn(warps)) {}

void RoutePages::begin(Given &given, Value row, Value kvHead) {
  scan.begin(given, row, kvHead);
  pages.emplace(pick, b, scan.slots->getLength(), b.index(of.numPages));
}

Value RoutePages::hasPages() {
  return b.compare(CmpIPredicate::sgt, pages->used, b.index(0));
}

Slots::OwnList RoutePages::route(const Shared &shared) {
  this->shared = shared;
  scorePages();
  if (of.group > 1)
    findRefs();
  Value count = pickBest();
  b.barrier();
  return {shared.list, b.toIndex(count)};
}

void RoutePages::scorePages() {
  int64_t last = of.group - scan.heads;
  for (int64_t head = 0; head < of.group; head += scan.heads)
    scan.scan(b.index(std::min(head, last)), b.index(0), b.index(of.numPages),
              warps, [&](Value head, Value page, Value logit, Value isVisible) {
                Value score = pages->weigh(scan.toScore(logit), page);
                score = b.select(isVisible, score, b.negInf());
                b.store(score, shared.scores, getAt(head, page));
              });
  b.barrier();
}

/// As PickRanks.cpp; a warp for each head.
void RoutePages::findRefs() {
  Value thread = b.threadId();
  Value isFirst =
      b.compare(CmpIPredicate::eq, b.remU(thread, b.index(kWarp)), b.index(0));
  b.forLoop(b.divU(thread, b.index(kWarp)), b.index(of.group), warps,
            [&](Value head) {
              auto load = [&](Value page) { // NaN is -inf
                Value score = b.load(shared.scores, getAt(head, page));
                return b.maxNumber(score, b.negInf());
              };
              SoftmaxSum sum = sumByWarp(b, b.index(0), pages->used, load);
              b.ifThen(isFirst,
                       [&] { b.store(toRef(b, sum), shared.refs, head); });
            });
  b.barrier();
}

Value RoutePages::pickBest() {
  bool hasAlways = pick.getSinks() > 0 || pick.getWindow() > 0;
  BestScores best(b, warps, own, shared.counters, shared.perWarp, shared.few);
  Candidates all(b, hasAlways);
  SmallVector<Value> values(own, b.negInf());
  for (int64_t head = 0; head < of.group; ++head) {
    Value ref = of.group > 1 ? b.load(shared.refs, b.index(head)) : Value();
    for (int64_t i = 0; i < own; i += PageRoute::kTogether) {
      Value scores = vector::LoadOp::create(
          b, b.vectorType(PageRoute::kTogether), shared.scores,
          getAt(b.index(head), best.getSlot(i)), /*nontemporal=*/false,
          llvm::MaybeAlign(16));
      for (int64_t j = 0; j < PageRoute::kTogether; ++j) {
        Value score =
            vector::ExtractOp::create(b, scores, ArrayRef<int64_t>{j});
        if (ref)
          score = b.subF(score, ref);
        values[i + j] = b.maxNumber(values[i + j], score); // NaN is -inf
      }
    }
  }
  for (auto [i, value] : llvm::enumerate(values)) {
    Value page = best.getSlot(static_cast<int64_t>(i));
    Value bits = arith::BitcastOp::create(b, b.getI32Type(), value);
    if (hasAlways) {
      bits = b.select(pages->isFree(page), bits, b.i32(Candidates::kAlways));
    }
    Value isThere = b.compare(CmpIPredicate::slt, page, pages->used);
    all.add(b.select(isThere, bits, b.i32(Candidates::kNothing)));
  }
  best.find(all, of.budget, of.budget - pages->getNumAlways());
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
