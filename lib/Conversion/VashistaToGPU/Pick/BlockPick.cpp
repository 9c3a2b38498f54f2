//===- BlockPick.cpp - The best of pages, by blocks of them ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockPick.h"
#include "Warp/SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Fewer pages are as fast without.
static constexpr int64_t kFewest = 1024;
/// Blocks that lanes have in flight, of so many heads.
static constexpr int64_t kInFlight = 4, kMostHeads = 16;

static ArrayRef<int64_t> getShape(PickOp op) {
  return cast<RankedTensorType>(op.getScores().getType()).getShape();
}

static int64_t getGroup(PickOp op) {
  return getShape(op)[1] / static_cast<int64_t>(op.getKvHeads());
}

/// A thread has 32 pages.
static int64_t getMostPages(int64_t warps) { return warps * kWarp * kWarp; }

bool BlockPick::isPossible(PickOp op, int64_t warps) {
  int64_t numPages = getShape(op)[2];
  bool areMany = ShapedType::isDynamic(numPages) ||
                 (numPages >= 2 * kFewest && numPages <= getMostPages(warps));
  return op.getMode() == PickMode::top && op.getUnit() == SlotUnit::pages &&
         !op.getPages() && op.getBounds() == op.getScores() && areMany &&
         getGroup(op) <= kMostHeads &&
         static_cast<int64_t>(op.getBudget()) <= warps * kWarp / 2;
}

/// Of pages of a table whose width is not known, as many as can be.
static int64_t getNumPages(PickOp op, int64_t warps) {
  int64_t numPages = getShape(op)[2];
  return ShapedType::isDynamic(numPages) ? getMostPages(warps) : numPages;
}

static int64_t getNumBlocks(PickOp op, int64_t warps) {
  return llvm::divideCeil(getNumPages(op, warps), PageFindings::kBlock);
}

static int64_t getNumWords(PickOp op, int64_t warps) {
  return llvm::divideCeil(getNumPages(op, warps), kWarp);
}

/// Of pages that reach the last one.
static int64_t getRoom(PickOp op, int64_t warps) {
  int64_t usual = BestScores::getUsual(op);
  return BestScores::getRoom(warps, BestScores::getMembers(warps, usual));
}

SmallVector<MemRefType> BlockPick::getBuffers(PickOp op, WarpBuilder &b,
                                              int64_t warps) {
  Type i32 = b.getI32Type();
  return {b.sharedType(getNumBlocks(op, warps), i32),
          b.sharedType(getRoom(op, warps), i32),
          b.sharedType({2, getNumWords(op, warps)}, i32)};
}

int64_t BlockPick::getSharedBytes(PickOp op, int64_t warps) {
  if (!isPossible(op, warps))
    return 0;
  return 4 * (getNumBlocks(op, warps) + getRoom(op, warps) +
              2 * getNumWords(op, warps));
}

BlockPick::BlockPick(PickOp op, WarpBuilder &b, const PagesOfPick &of,
                     int64_t warps, const Memory &memory)
    : op(op), b(b), of(of), words(getNumWords(op, warps)), group(getGroup(op)),
      warps(warps), threads(warps * kWarp), memory(memory),
      thread(b.threadId()), warp(b.divU(thread, b.index(kWarp))),
      lane(b.remU(thread, b.index(kWarp))),
      best(b, warps, /*own=*/kWarp, memory.counters, memory.perWarp,
           memory.few),
      usual(BestScores::getUsual(op)) {
  Value bit = arith::ShLIOp::create(b, b.i32(1), b.toI32(lane));
  below = b.subI(bit, b.i32(1));
}

std::pair<Value, Value>
BlockPick::run(function_ref<void(Value page, Value at)> write) {
  Value isLong = b.compare(CmpIPredicate::uge, of.used, b.index(kFewest));
  if (ShapedType::isDynamic(getShape(op)[2]))
    isLong = b.andI(isLong, b.compare(CmpIPredicate::ule, of.used,
                                      b.index(getMostPages(warps))));
  Value nothing[] = {b.boolean(false), b.i32(0)};
  SmallVector<Value> found =
      b.ifThen(isLong, nothing, [&]() -> SmallVector<Value> {
        b.forLoop(thread, b.index(words), threads, [&](Value word) {
          for (int64_t which = 0; which < 2; ++which)
            b.store(b.i32(0), memory.marks, {b.index(which), word});
        });
        loadBlocks();
        Value numFree = b.toI32(b.subI(of.window, of.afterSinks));
        int64_t budget = op.getBudget();
        Value need = b.subI(b.i32(budget), b.subI(b.toI32(of.used), numFree));
        Value areFew = best.findByTops(top, numFree, need, budget, usual,
                                       [&](Value least, int64_t room) {
                                         gatherBlocks(least);
                                         b.barrier();
                                         gatherPages(least, room);
                                       });
        // In the order of pages: a thread has 32.
        Value count =
            b.ifThen(areFew, b.i32(0), [&]() -> SmallVector<Value> {
               markPages();
               b.barrier();
               Value isThere =
                   b.compare(CmpIPredicate::slt, thread, b.index(words));
               Value word = b.minI(thread, b.index(words - 1));
               auto load = [&](int64_t which) {
                 Value bits = b.load(memory.marks, {b.index(which), word});
                 return b.select(isThere, bits, b.i32(0));
               };
               Value better = b.orI(load(0), getAlways()), equal = load(1);
               return {best.forEachBit(better, equal, [&](Value i, Value at) {
                 write(best.getSlot(i), b.toIndex(at));
               })};
             }).front();
        return {areFew, count};
      });
  return {found[0], found[1]};
}

void BlockPick::loadRefs(ArrayRef<Value> isThere) {
  auto loadAll = [&] {
    for (int64_t head = 0; head < group; ++head)
      refs.push_back(b.load(memory.refs, b.index(head)));
  };
  if (memory.parts > 0) {
    joinParts(b, warps, group, memory.parts, memory.loadSum,
              [&](Value head, const SoftmaxSum &all) {
                b.store(toRef(b, all), memory.refs, head);
              });
    b.barrier();
    return loadAll();
  }
  SmallVector<SmallVector<SoftmaxSum>> all(group);
  for (int64_t head = 0; head < group; ++head)
    for (auto [block, is] : llvm::zip_equal(blocks, isThere)) {
      SoftmaxSum found = memory.loadSum(b.index(head), block);
      all[head].push_back({b.select(is, found.top, b.negInf()),
                           b.select(is, found.sum, b.f32(0.0f))});
    }
  findRefs(b, warps, group, memory.perWarp, memory.refs, [&](int64_t head) {
    return all[head].size() == 1 ? all[head][0] : joinSums(b, all[head]);
  });
  for (int64_t head = 0; head < group; ++head)
    refs.push_back(b.load(memory.refs, b.index(head)));
}

void BlockPick::loadBlocks() {
  // So many threads are a group (BestScores), of blocks that lie apart: a short
  // sequence has some in each.
  int64_t members = BestScores::getMembers(warps, usual);
  Value first = b.addI(
      b.mulI(b.remU(thread, b.index(members)), b.index(threads / members)),
      b.divU(thread, b.index(members)));
  // In place of one that is not there stands one that is.
  Value number = b.divU(b.addI(of.used, b.index(kBlock - 1)), b.index(kBlock));
  int64_t own = llvm::divideCeil(getNumBlocks(op, warps), threads);
  SmallVector<Value> isThere;
  for (int64_t i = 0; i < own; ++i) {
    Value block = b.addI(first, b.index(i * threads));
    isThere.push_back(b.compare(CmpIPredicate::slt, block, number));
    blocks.push_back(b.minI(block, b.subI(number, b.index(1))));
  }
  SmallVector<SmallVector<Value>> ofBlocks(own);
  for (int64_t head = 0; head < group; ++head)
    for (int64_t i = 0; i < own; ++i)
      ofBlocks[i].push_back(memory.loadTop(head, blocks[i]));
  if (group > 1)
    loadRefs(isThere);
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
  Value start = b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)),
                         ValueRange{b.i32(0)},
                         [&]() -> SmallVector<Value> {
                           return {memref::AtomicRMWOp::create(
                               b, arith::AtomicRMWKind::addi, number,
                               memory.counters, b.index(counter))};
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
      b.store(b.toI32(block), memory.blocks, b.toIndex(getPlace(start, bits)));
    });
  }
}

/// Of their pages those that reach it: of a warp's lanes half have a block.
void BlockPick::gatherPages(Value least, int64_t room) {
  constexpr int64_t kOfWarp = kWarp / kBlock;
  Value number = b.toIndex(b.load(memory.counters, b.index(0)));
  Value within = b.remU(lane, b.index(kBlock));
  Value first =
      b.addI(b.mulI(warp, b.index(kOfWarp)), b.divU(lane, b.index(kBlock)));
  int64_t atOnce = kOfWarp * warps;
  b.forLoop(b.index(0), number, kInFlight * atOnce, [&](Value from) {
    SmallVector<Value> pages, isIn, found, bits;
    SmallVector<SmallVector<Value>> loaded(kInFlight);
    for (int64_t i = 0; i < kInFlight; ++i) {
      Value at = b.addI(b.addI(from, first), b.index(i * atOnce));
      Value isThere = b.compare(CmpIPredicate::slt, at, number);
      at = b.minI(at, b.subI(number, b.index(1)));
      Value page = b.addI(
          b.mulI(b.loadIndex(memory.blocks, at), b.index(kBlock)), within);
      // The last block may have fewer.
      isIn.push_back(b.andI(isThere, of.isFree(page)));
      pages.push_back(b.minI(page, b.subI(of.used, b.index(1))));
      for (int64_t head = 0; head < group; ++head)
        loaded[i].push_back(memory.loadScore(head, pages[i]));
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
        b.store(score, memory.few, b.toIndex(at));
        b.store(b.toI32(pages[i]), memory.pages, b.toIndex(at));
      });
      start = b.addI(start, countBits(bits[i]));
    }
  });
}

void BlockPick::markPages() {
  Value number = b.loadIndex(memory.counters, b.index(BestScores::kNumberAt));
  b.forLoop(thread, number, threads, [&](Value at) {
    Value score =
        arith::BitcastOp::create(b, b.getF32Type(), b.load(memory.few, at));
    Value page = b.loadIndex(memory.pages, at);
    Value bit = arith::ShLIOp::create(b, b.i32(1),
                                      b.toI32(b.remU(page, b.index(kWarp))));
    Value isMarks[] = {best.isBetter(score), best.isEqual(score)};
    for (auto [which, is] : llvm::enumerate(isMarks))
      b.ifThen(is, [&, which = which] {
        memref::AtomicRMWOp::create(
            b, arith::AtomicRMWKind::ori, bit, memory.marks,
            ValueRange{b.index(which), b.divU(page, b.index(kWarp))});
      });
  });
}

Value BlockPick::getAlways() {
  Value recent = arith::XOrIOp::create(b, best.getBitsBefore(of.used),
                                       best.getBitsBefore(of.window));
  return b.orI(best.getBitsBefore(of.afterSinks), recent);
}
