//===- PickPages.cpp - The best of pages, by blocks of them, on a GPU -----===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A scan has left what each block of pages comes to and the highest scores of
// each (PageFindings). Heads are compared by the sums; the need-th best block's
// highest score is one that as many pages reach, and only blocks whose highest
// does are read. Where too many reach it, as of equal scores, and where pages
// are few, PickFew.cpp does it.
//
// Bytes: 12 G of each block, and 4 G kBlock of some of them, about need.
//
//===----------------------------------------------------------------------===//

#include "BestScores.h"
#include "PagesOfPick.h"
#include "PickKernels.h"
#include "SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Fewer pages are as fast without.
static constexpr int64_t kFewest = 1024;
/// Blocks that lanes have in flight, of so many heads.
static constexpr int64_t kInFlight = 4, kMostHeads = 16;

bool vashista::picksByBlocks(PickOp op) {
  auto scores = cast<RankedTensorType>(op.getScores().getType());
  int64_t numPages = scores.getDimSize(2);
  std::optional<ScheduleAttr> schedule = op.getSchedule();
  if (!schedule || findObstacle(op) || op.getUnit() != SlotUnit::pages ||
      op.getPages() || op.getBounds() != op.getScores() ||
      ShapedType::isDynamic(numPages) || numPages < 2 * kFewest)
    return false;
  // With a word of bits for each thread.
  int64_t threads = schedule->getWarps() * kWarp;
  return PickLauncher::getOwnOfFew(op, schedule->getWarps(),
                                   schedule->getCluster()) > 0 &&
         scores.getDimSize(1) <=
             kMostHeads * static_cast<int64_t>(op.getKvHeads()) &&
         static_cast<int64_t>(op.getBudget()) <= threads / 2;
}

SmallVector<MemRefType> PickLauncher::getPageBuffers() {
  int64_t numPages =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  return {b.sharedType(llvm::divideCeil(numPages, PageFindings::kBlock),
                       b.getI32Type()),
          b.sharedType(2 * threads, b.getI32Type()),
          b.sharedType({2, threads}, b.getI32Type())};
}

void PickLauncher::pickPages() {
  Value isLong = b.compare(CmpIPredicate::uge, used, b.index(kFewest));
  Value isDone =
      b.ifThen(isLong, ValueRange{b.boolean(false)},
               [&]() -> SmallVector<Value> { return {pickByBlocks()}; })
          .front();
  b.ifThen(notI(isDone), [&] {
    b.barrier();
    pickFew();
  });
}

Value PickLauncher::pickByBlocks() {
  constexpr int64_t kBlock = PageFindings::kBlock;
  PagesOfPick of(op, b, length, numSlots);
  BestScores best(b, warps, /*own=*/kWarp, counters, perWarp, bins);
  // Blocks of this thread. In place of one that is not there stands one that
  // is.
  Value numBlocks = b.divU(b.addI(used, b.index(kBlock - 1)), b.index(kBlock));
  int64_t own = llvm::divideCeil(pageSums.getType().getShape()[2], threads);
  // So many threads are a group (BestScores), of blocks that lie apart: a short
  // sequence has some in each.
  int64_t usual = static_cast<int64_t>(op.getBudget()) - of.getNumAlways();
  int64_t members = best.getMembers(usual);
  Value first = b.addI(
      b.mulI(b.remU(thread, b.index(members)), b.index(threads / members)),
      b.divU(thread, b.index(members)));
  SmallVector<Value> ofThread, isThere;
  for (int64_t i = 0; i < own; ++i) {
    Value number = b.addI(first, b.index(i * threads));
    isThere.push_back(b.compare(CmpIPredicate::slt, number, numBlocks));
    ofThread.push_back(b.minI(number, b.subI(numBlocks, b.index(1))));
  }
  for (int64_t which = 0; which < 2; ++which)
    b.store(b.i32(0), marks, {b.index(which), thread});
  SmallVector<SmallVector<Value>> highest(group);
  SmallVector<SoftmaxSum> sums;
  for (int64_t head = 0; head < group; ++head) {
    SmallVector<SoftmaxSum> parts;
    for (auto [number, is] : llvm::zip_equal(ofThread, isThere)) {
      SmallVector<Value> at = {row, b.addI(firstHead, b.index(head)), number};
      highest[head].push_back(b.load(pageTops, at));
      at.push_back(b.index(0));
      SmallVector<Value> sum = b.loadFloats(pageSums, at, 2);
      parts.push_back({b.select(is, sum[0], b.negInf()),
                       b.select(is, sum[1], b.f32(0.0f))});
    }
    sums.push_back(own == 1 ? parts[0] : joinSums(b, parts));
  }
  if (group > 1)
    vashista::findRefs(b, warps, group, perWarp, refs,
                       [&](int64_t head) { return sums[head]; });
  SmallVector<Value> ofHeads;
  for (int64_t head = 0; head < group; ++head)
    ofHeads.push_back(group > 1 ? b.load(refs, b.index(head)) : b.f32(0.0f));
  auto compareHeads = [&](ArrayRef<Value> scores) {
    Value best;
    for (auto [score, ref] : llvm::zip_equal(scores, ofHeads)) {
      Value found = group > 1 ? b.subF(score, ref) : score;
      best = best ? b.maxNumber(best, found) : found;
    }
    return best;
  };
  Value nan = b.f32(std::numeric_limits<float>::quiet_NaN());
  SmallVector<Value> tops;
  Value top;
  for (int64_t i = 0; i < own; ++i) {
    SmallVector<Value> scores;
    for (ArrayRef<Value> ofHead : highest)
      scores.push_back(ofHead[i]);
    tops.push_back(b.select(isThere[i], compareHeads(scores), nan));
    top = top ? b.maxNumber(top, tops[i]) : tops[i];
  }

  // Where a lane's place is, of those of a warp that have one.
  Value below = b.subI(laneBit, b.i32(1));
  auto countBits = [&](Value bits) -> Value {
    return math::CtPopOp::create(b, bits);
  };
  auto takePlaces = [&](Value number, int64_t counter) {
    Value start = b.ifThen(isFirstLane(), ValueRange{b.i32(0)},
                           [&]() -> SmallVector<Value> {
                             return {memref::AtomicRMWOp::create(
                                 b, arith::AtomicRMWKind::addi, number,
                                 counters, b.index(counter))};
                           })
                      .front();
    return b.shuffle(start, b.i32(0));
  };
  auto gather = [&](Value least, int64_t room) {
    // Blocks that have such a page, in any order.
    for (int64_t i = 0; i < own; ++i) {
      Value is = b.compare(CmpFPredicate::OGE, tops[i], least);
      Value bits = b.ballot(is);
      Value start = takePlaces(countBits(bits), 0);
      b.ifThen(is, [&] {
        Value at = b.addI(start, countBits(b.andI(bits, below)));
        b.store(b.toI32(ofThread[i]), chosenBlocks, b.toIndex(at));
      });
    }
    b.barrier();
    Value number = b.toIndex(b.load(counters, b.index(0)));
    // And their pages: of a warp's lanes half have a block.
    constexpr int64_t kOfWarp = kWarp / kBlock;
    Value half = b.divU(lane, b.index(kBlock)),
          within = b.remU(lane, b.index(kBlock));
    Value first = b.addI(b.mulI(warp, b.index(kOfWarp)), half);
    b.forLoop(b.index(0), number, kInFlight * kOfWarp * warps, [&](Value from) {
      SmallVector<Value> pagesOf, inside;
      SmallVector<SmallVector<Value>> loaded;
      for (int64_t i = 0; i < kInFlight; ++i) {
        Value at = b.addI(b.addI(from, first), b.index(i * kOfWarp * warps));
        inside.push_back(b.compare(CmpIPredicate::slt, at, number));
        at = b.minI(at, b.subI(number, b.index(1)));
        Value page = b.addI(
            b.mulI(b.loadIndex(chosenBlocks, at), b.index(kBlock)), within);
        // The last block may have fewer.
        inside[i] = b.andI(inside[i], of.isFree(page));
        page = b.minI(page, b.subI(numSlots, b.index(1)));
        pagesOf.push_back(page);
        loaded.emplace_back();
        for (int64_t head = 0; head < group; ++head)
          loaded.back().push_back(
              b.load(scores, {row, b.addI(firstHead, b.index(head)), page}));
      }
      SmallVector<Value> found, bits;
      Value sum = b.i32(0);
      for (int64_t i = 0; i < kInFlight; ++i) {
        for (Value &score : loaded[i])
          score = of.weigh(b.maxNumber(score, b.negInf()), pagesOf[i]);
        found.push_back(compareHeads(loaded[i]));
        Value reaches = b.compare(CmpFPredicate::OGE, found.back(), least);
        inside[i] = b.andI(inside[i], reaches);
        bits.push_back(b.ballot(inside[i]));
        sum = b.addI(sum, countBits(bits[i]));
      }
      Value start = takePlaces(sum, BestScores::kNumberAt);
      for (int64_t i = 0; i < kInFlight; ++i) {
        Value at = b.addI(start, countBits(b.andI(bits[i], below)));
        Value hasRoom = b.compare(CmpIPredicate::slt, at, b.i32(room));
        b.ifThen(b.andI(inside[i], hasRoom), [&] {
          Value score = arith::BitcastOp::create(b, b.getI32Type(), found[i]);
          b.store(score, bins, b.toIndex(at));
          b.store(b.toI32(pagesOf[i]), chosenPages, b.toIndex(at));
        });
        start = b.addI(start, countBits(bits[i]));
      }
    });
  };
  Value numFree = b.toI32(b.subI(of.window, of.afterSinks));
  Value budget = b.i32(static_cast<int64_t>(op.getBudget()));
  Value need = b.subI(budget, b.subI(b.toI32(of.used), numFree));
  Value areFew =
      best.findByTops(top, numFree, need, op.getBudget(), usual, gather);
  b.ifThen(areFew, [&] {
    // In the order of pages: a bit for each, of a word for each thread.
    Value number = b.loadIndex(counters, b.index(BestScores::kNumberAt));
    b.forLoop(thread, number, threads, [&](Value at) {
      Value score =
          arith::BitcastOp::create(b, b.getF32Type(), b.load(bins, at));
      Value page = b.loadIndex(chosenPages, at);
      Value bit = arith::ShLIOp::create(b, b.i32(1),
                                        b.toI32(b.remU(page, b.index(kWarp))));
      Value isMarks[] = {best.isBetter(score), best.isEqual(score)};
      for (auto [which, is] : llvm::enumerate(isMarks))
        b.ifThen(is, [&, which = which] {
          memref::AtomicRMWOp::create(
              b, arith::AtomicRMWKind::ori, bit, marks,
              ValueRange{b.index(which), b.divU(page, b.index(kWarp))});
        });
    });
    b.barrier();
    // Those of a thread's pages before one.
    Value firstPage = b.mulI(thread, b.index(kWarp));
    auto getBefore = [&](Value page) -> Value {
      Value number = b.subI(b.toI32(page), b.toI32(firstPage));
      number = b.maxI(b.minI(number, b.i32(kWarp)), b.i32(0));
      Value bits = b.subI(arith::ShLIOp::create(b, b.i32(1), number), b.i32(1));
      Value isAll = b.compare(CmpIPredicate::eq, number, b.i32(kWarp));
      return b.select(isAll, b.i32(-1), bits);
    };
    Value recent =
        arith::XOrIOp::create(b, getBefore(of.used), getBefore(of.window));
    Value always = b.orI(getBefore(of.afterSinks), recent);
    Value better = b.orI(b.load(marks, {b.index(0), thread}), always);
    writeFew(best.forEachBit(better, b.load(marks, {b.index(1), thread}),
                             [&](Value i, Value at) {
                               Value page = b.addI(b.toI32(firstPage), i);
                               b.store(page, ids, {row, kvHead, b.toIndex(at)});
                             }));
  });
  return areFew;
}

void PickLauncher::writeFew(Value number) {
  pad(b.toIndex(number));
  b.ifThen(isFirstThread(), [&] { b.store(number, counts, {row, kvHead}); });
}
