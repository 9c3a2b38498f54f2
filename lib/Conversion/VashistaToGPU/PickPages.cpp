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

namespace vashista {

/// The pick of a block's row and KV head, by what a scan has left.
class BlockPick {
public:
  BlockPick(PickLauncher &pick)
      : pick(pick), b(pick.b), group(pick.group), threads(pick.threads),
        of(pick.op, b, pick.length, pick.numSlots),
        best(b, pick.warps, /*own=*/kWarp, pick.counters, pick.perWarp,
             pick.bins),
        usual(static_cast<int64_t>(pick.op.getBudget()) - of.getNumAlways()),
        below(b.subI(pick.laneBit, b.i32(1))) {}

  /// Yields whether it could be done so; then the list is written.
  Value run();

private:
  static constexpr int64_t kBlock = PageFindings::kBlock;

  void loadBlocks();
  /// The best of the heads' scores of the same, each against its head's ref.
  Value compareHeads(ArrayRef<Value> scores);
  /// Places for so many, of all warps', counted by one of the counters.
  Value takePlaces(Value number, int64_t counter);
  /// Where this lane's is, of lanes that have one, by a bit of each.
  Value getPlace(Value start, Value bits) {
    return b.addI(start, countBits(b.andI(bits, below)));
  }
  Value countBits(Value bits) { return math::CtPopOp::create(b, bits); }
  void gatherBlocks(Value least);
  void gatherPages(Value least, int64_t room);
  /// Bits of the gathered pages that are better than the last one that is
  /// picked, and that are as good.
  void markPages();
  /// Bits of the thread's pages that are picked in any case.
  Value getAlways();
  void writeList();

  PickLauncher &pick;
  WarpBuilder &b;
  const int64_t group, threads;
  PagesOfPick of;
  BestScores best;
  const int64_t usual; // pages that are picked by their scores, mostly
  Value below;         // bits of the lanes before this one

  SmallVector<Value> refs;
  // Blocks of this thread, their highest scores, NaN of none, and the highest.
  SmallVector<Value> blocks, tops;
  Value top;
};

} // namespace vashista

Value BlockPick::run() {
  for (int64_t which = 0; which < 2; ++which)
    b.store(b.i32(0), pick.marks, {b.index(which), pick.thread});
  loadBlocks();
  Value numFree = b.toI32(b.subI(of.window, of.afterSinks));
  Value budget = b.i32(static_cast<int64_t>(pick.op.getBudget()));
  Value need = b.subI(budget, b.subI(b.toI32(of.used), numFree));
  Value areFew = best.findByTops(top, numFree, need, pick.op.getBudget(), usual,
                                 [&](Value least, int64_t room) {
                                   gatherBlocks(least);
                                   b.barrier();
                                   gatherPages(least, room);
                                 });
  b.ifThen(areFew, [&] {
    markPages();
    b.barrier();
    writeList();
  });
  return areFew;
}

void BlockPick::loadBlocks() {
  // So many threads are a group (BestScores), of blocks that lie apart: a short
  // sequence has some in each.
  int64_t members = best.getMembers(usual);
  Value first = b.addI(
      b.mulI(b.remU(pick.thread, b.index(members)), b.index(threads / members)),
      b.divU(pick.thread, b.index(members)));
  // In place of one that is not there stands one that is.
  Value number = b.divU(b.addI(of.used, b.index(kBlock - 1)), b.index(kBlock));
  int64_t own =
      llvm::divideCeil(pick.pageSums.getType().getShape()[2], threads);
  SmallVector<Value> isThere;
  for (int64_t i = 0; i < own; ++i) {
    Value block = b.addI(first, b.index(i * threads));
    isThere.push_back(b.compare(CmpIPredicate::slt, block, number));
    blocks.push_back(b.minI(block, b.subI(number, b.index(1))));
  }
  SmallVector<SmallVector<Value>> ofBlocks(own);
  SmallVector<SoftmaxSum> sums;
  for (int64_t head = 0; head < group; ++head) {
    SmallVector<SoftmaxSum> parts;
    for (int64_t i = 0; i < own; ++i) {
      SmallVector<Value> at = {pick.row, b.addI(pick.firstHead, b.index(head)),
                               blocks[i]};
      ofBlocks[i].push_back(b.load(pick.pageTops, at));
      at.push_back(b.index(0));
      SmallVector<Value> sum = b.loadFloats(pick.pageSums, at, 2);
      parts.push_back({b.select(isThere[i], sum[0], b.negInf()),
                       b.select(isThere[i], sum[1], b.f32(0.0f))});
    }
    sums.push_back(own == 1 ? parts[0] : joinSums(b, parts));
  }
  if (group > 1)
    findRefs(b, pick.warps, group, pick.perWarp, pick.refs,
             [&](int64_t head) { return sums[head]; });
  for (int64_t head = 0; group > 1 && head < group; ++head)
    refs.push_back(b.load(pick.refs, b.index(head)));
  Value none = b.f32(std::numeric_limits<float>::quiet_NaN());
  for (int64_t i = 0; i < own; ++i) {
    tops.push_back(b.select(isThere[i], compareHeads(ofBlocks[i]), none));
    top = top ? b.maxNumber(top, tops[i]) : tops[i];
  }
}

Value BlockPick::compareHeads(ArrayRef<Value> scores) {
  if (group == 1)
    return scores.front();
  Value highest;
  for (auto [score, ref] : llvm::zip_equal(scores, refs)) {
    Value found = b.subF(score, ref);
    highest = highest ? b.maxNumber(highest, found) : found;
  }
  return highest;
}

Value BlockPick::takePlaces(Value number, int64_t counter) {
  Value start = b.ifThen(pick.isFirstLane(), ValueRange{b.i32(0)},
                         [&]() -> SmallVector<Value> {
                           return {memref::AtomicRMWOp::create(
                               b, arith::AtomicRMWKind::addi, number,
                               pick.counters, b.index(counter))};
                         })
                    .front();
  return b.shuffle(start, b.i32(0));
}

/// Those that have such a page, in any order.
void BlockPick::gatherBlocks(Value least) {
  for (auto [block, top] : llvm::zip_equal(blocks, tops)) {
    Value is = b.compare(CmpFPredicate::OGE, top, least);
    Value bits = b.ballot(is);
    Value start = takePlaces(countBits(bits), 0);
    b.ifThen(is, [&, block = block] {
      b.store(b.toI32(block), pick.chosenBlocks,
              b.toIndex(getPlace(start, bits)));
    });
  }
}

/// Of their pages those that reach it: of a warp's lanes half have a block.
void BlockPick::gatherPages(Value least, int64_t room) {
  constexpr int64_t kOfWarp = kWarp / kBlock;
  Value number = b.toIndex(b.load(pick.counters, b.index(0)));
  Value within = b.remU(pick.lane, b.index(kBlock));
  Value first = b.addI(b.mulI(pick.warp, b.index(kOfWarp)),
                       b.divU(pick.lane, b.index(kBlock)));
  int64_t atOnce = kOfWarp * pick.warps;
  b.forLoop(b.index(0), number, kInFlight * atOnce, [&](Value from) {
    SmallVector<Value> pages, isIn, found, bits;
    SmallVector<SmallVector<Value>> loaded(kInFlight);
    for (int64_t i = 0; i < kInFlight; ++i) {
      Value at = b.addI(b.addI(from, first), b.index(i * atOnce));
      Value isThere = b.compare(CmpIPredicate::slt, at, number);
      at = b.minI(at, b.subI(number, b.index(1)));
      Value page = b.addI(
          b.mulI(b.loadIndex(pick.chosenBlocks, at), b.index(kBlock)), within);
      // The last block may have fewer.
      isIn.push_back(b.andI(isThere, of.isFree(page)));
      pages.push_back(b.minI(page, b.subI(pick.numSlots, b.index(1))));
      for (int64_t head = 0; head < group; ++head) {
        Value queryHead = b.addI(pick.firstHead, b.index(head));
        loaded[i].push_back(
            b.load(pick.scores, {pick.row, queryHead, pages[i]}));
      }
    }
    Value sum = b.i32(0);
    for (int64_t i = 0; i < kInFlight; ++i) {
      for (Value &score : loaded[i]) // NaN is -inf
        score = of.weigh(b.maxNumber(score, b.negInf()), pages[i]);
      found.push_back(compareHeads(loaded[i]));
      isIn[i] =
          b.andI(isIn[i], b.compare(CmpFPredicate::OGE, found.back(), least));
      bits.push_back(b.ballot(isIn[i]));
      sum = b.addI(sum, countBits(bits[i]));
    }
    Value start = takePlaces(sum, BestScores::kNumberAt);
    for (int64_t i = 0; i < kInFlight; ++i) {
      Value at = getPlace(start, bits[i]);
      Value hasRoom = b.compare(CmpIPredicate::slt, at, b.i32(room));
      b.ifThen(b.andI(isIn[i], hasRoom), [&] {
        Value score = arith::BitcastOp::create(b, b.getI32Type(), found[i]);
        b.store(score, pick.bins, b.toIndex(at));
        b.store(b.toI32(pages[i]), pick.chosenPages, b.toIndex(at));
      });
      start = b.addI(start, countBits(bits[i]));
    }
  });
}

void BlockPick::markPages() {
  Value number = b.loadIndex(pick.counters, b.index(BestScores::kNumberAt));
  b.forLoop(pick.thread, number, threads, [&](Value at) {
    Value score =
        arith::BitcastOp::create(b, b.getF32Type(), b.load(pick.bins, at));
    Value page = b.loadIndex(pick.chosenPages, at);
    Value bit = arith::ShLIOp::create(b, b.i32(1),
                                      b.toI32(b.remU(page, b.index(kWarp))));
    Value isMarks[] = {best.isBetter(score), best.isEqual(score)};
    for (auto [which, is] : llvm::enumerate(isMarks))
      b.ifThen(is, [&, which = which] {
        memref::AtomicRMWOp::create(
            b, arith::AtomicRMWKind::ori, bit, pick.marks,
            ValueRange{b.index(which), b.divU(page, b.index(kWarp))});
      });
  });
}

Value BlockPick::getAlways() {
  Value recent = arith::XOrIOp::create(b, best.getBitsBefore(of.used),
                                       best.getBitsBefore(of.window));
  return b.orI(best.getBitsBefore(of.afterSinks), recent);
}

/// In the order of pages: a thread has 32.
void BlockPick::writeList() {
  Value better =
            b.orI(b.load(pick.marks, {b.index(0), pick.thread}), getAlways()),
        equal = b.load(pick.marks, {b.index(1), pick.thread});
  pick.writeFew(best.forEachBit(better, equal, [&](Value i, Value at) {
    b.store(b.toI32(best.getSlot(i)), pick.ids,
            {pick.row, pick.kvHead, b.toIndex(at)});
  }));
}

void PickLauncher::pickPages() {
  Value isLong = b.compare(CmpIPredicate::uge, used, b.index(kFewest));
  Value isDone =
      b.ifThen(isLong, ValueRange{b.boolean(false)},
               [&]() -> SmallVector<Value> { return {BlockPick(*this).run()}; })
          .front();
  b.ifThen(notI(isDone), [&] {
    b.barrier();
    pickFew();
  });
}

void PickLauncher::writeFew(Value number) {
  pad(b.toIndex(number));
  b.ifThen(isFirstThread(), [&] { b.store(number, counts, {row, kvHead}); });
}
