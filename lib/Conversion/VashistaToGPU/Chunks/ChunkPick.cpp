//===- ChunkPick.cpp - What a cluster picks of its own slots --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ChunkPick.h"
#include "Pick/PickLevels.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr int64_t kStepsOfBin = ScanFindings::kOfLevel; // the narrowest
static constexpr float kLog2E = 1.44269504f;
/// Deviations by which what is attended may be less than scores promise: of a
/// head that needs so many of its slots, or more; and so many more of one that
/// needs next to none, where more tokens cost little and few decide. What a
/// chunk counts on in any case.
static constexpr float kCaution = 2.5f, kMoreCaution = 1.5f, kMany = 1.0f / 32,
                       kLeastPromised = 1.0f / 4;
/// What f32 sums of bins and their exponentials may lose, and levels' tops.
static constexpr float kSlack = 1 + 0x1p-12f;

Value ChunkPick::emit(const SketchScan::Kept &kept, Value bins, Value list,
                      ArrayRef<Value> others, const Own &own, Value block,
                      function_ref<void(Value head, Value tail)> storeTail) {
  this->kept = kept;
  this->bins = bins;
  this->list = list;
  this->own = own;
  this->block = block;
  facts = others[0];
  ends = others[1];
  tails = others[2];
  needs = others[3];
  perWarp = others[4];
  told = others[5];
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  numSlots = b.subI(own.end, own.first);

  if (!hasRoomForAll(op))
    findRoom();
  clearBins();
  b.clusterBarrier(blocks);
  findFacts();
  b.barrier();
  fillBins();
  b.clusterBarrier(blocks);
  if (blocks > 1)
    addUpBins();
  findEnds();
  b.clusterBarrier(blocks);
  which = b.index(0);
  SmallVector<Value> marks = hasRoomForAll(op) ? markAll() : markWithinBudget();
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(heads)), [&] {
    Value tail = b.load(tails, {thread, which});
    // One block of a cluster has that of all: the first, which has slots.
    if (blocks > 1)
      tail = b.select(b.compare(CmpIPredicate::eq, block, b.index(0)), tail,
                      b.negInf());
    storeTail(thread, tail);
  });
  return listMarks(marks);
}

void ChunkPick::clearBins() {
  Value flat = memref::CollapseShapeOp::create(
      b, bins, ArrayRef<ReassociationIndices>{{0, 1, 2}});
  b.forLoop(thread, b.index(heads * kColumns * 2), warps * kWarp,
            [&](Value at) { b.store(b.i32(0), flat, at); });
}

/// A thread for each head.
void ChunkPick::findFacts() {
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(heads)), [&] {
    SmallVector<SketchScan::Best> all;
    for (int64_t i = 0; i < blocks; ++i) {
      Value tops =
          blocks > 1 ? b.ofBlock(kept.tops, b.index(i)) : Value(kept.tops);
      SmallVector<Value> found;
      for (int64_t which = 0; which < 4; ++which)
        found.push_back(b.load(tops, {thread, b.index(which)}));
      all.emplace_back(found);
    }
    SketchScan::Best best = all.front();
    for (const SketchScan::Best &other : ArrayRef(all).drop_front())
      best.joinLanes(b, other);
    auto store = [&](Fact fact, Value value) {
      b.store(value, facts, {thread, b.index(fact)});
    };
    Value zero = b.f32(0.0f);
    Value apart = b.mulF(b.subF(best.bound, best.score), b.f32(kLog2E));
    store(kTop, best.bound);
    // NaN where a score is, of which nothing can be proved.
    store(kScore, b.addF(apart, b.f32(kUnit)));
    Value isSpread = b.compare(CmpFPredicate::OGT, best.spread, zero);
    Value ofSpread = b.divF(b.mulF(best.lack, b.f32(-kLog2E)), best.spread);
    store(kOfSpread, b.select(isSpread, ofSpread, zero));
    auto root = static_cast<float>(1 / std::sqrt(channels));
    store(kRisk, b.minNumber(b.mulF(best.lack, b.f32(root)), b.f32(1.0f)));
    // Bins that reach as far below the best score as all slots of it weigh.
    constexpr float kBeyond = 20, kReach = kBins / 8;
    Value shift = zero;
    for (int64_t i = 1; i <= 3; ++i) {
      auto reach = static_cast<float>(kReach * (1 << (i - 1)));
      Value isMore = b.compare(CmpFPredicate::UGT,
                               b.addF(apart, b.f32(kBeyond)), b.f32(reach));
      shift = b.select(isMore, b.f32(static_cast<float>(i)), shift);
    }
    store(kShift, shift);
  });
}

ChunkPick::Levels ChunkPick::loadLevels(Value head, Value slot) {
  Levels found;
  found.words = b.load16Bytes(kept.levels, {head, slot});
  Value tile = b.divU(slot, b.index(ScanFindings::kTile));
  Value top = b.load(kept.tileTops, {head, tile});
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), top);
  found.exponent = b.andI(bits, b.i32(3));
  found.below = arith::FPToSIOp::create(
      b, b.getI32Type(), getStepsBelow(b, getFact(head, kTop), top));
  return found;
}

/// A thread has some of a head's slots at a time.
void ChunkPick::fillBins() {
  const int64_t each = llvm::divideCeil(slots, kTogether);
  b.forLoop(thread, b.index(each * heads), warps * kWarp, [&](Value number) {
    Value head = b.divU(number, b.index(each));
    Value slot = b.mulI(b.remU(number, b.index(each)), b.index(kTogether));
    b.ifThen(b.compare(CmpIPredicate::slt, slot, numSlots),
             [&] { fillBins(head, slot); });
  });
}

void ChunkPick::fillBins(Value head, Value slot) {
  SmallVector<Value> spreads;
  for (int64_t i = 0; i < kTogether; i += 8) {
    SmallVector<Value> words =
        b.loadWords(kept.spreads, ValueRange{b.addI(slot, b.index(i))}, 8);
    for (Value spread : b.takeApart(words, b.getF16Type()))
      spreads.push_back(arith::ExtFOp::create(b, b.getF32Type(), spread));
  }
  Levels levels = loadLevels(head, slot);
  // What is not visible of the last few slots lies deepest, and counts there.
  Value left = b.subI(b.toI32(numSlots), b.toI32(slot));
  for (auto [i, word] : llvm::enumerate(levels.words)) {
    Value bytes = b.subI(left, b.i32(4 * static_cast<int64_t>(i)));
    Value isAll = b.compare(CmpIPredicate::sge, bytes, b.i32(4));
    bytes = b.maxI(b.minI(bytes, b.i32(3)), b.i32(0));
    Value deepest =
        arith::ShLIOp::create(b, b.i32(-1), b.mulI(bytes, b.i32(8)));
    word = b.select(isAll, word, b.orI(word, deepest));
  }
  Value ofSpread = getFact(head, kOfSpread);
  Value shift =
      arith::FPToSIOp::create(b, b.getI32Type(), getFact(head, kShift));
  Value ofBin = b.addI(shift, b.i32(llvm::Log2_64(kStepsOfBin)));
  Value steps =
      arith::ShLIOp::create(b, b.i32(ScanFindings::kOfLevel), levels.exponent);
  // A level as the second byte of 2^15 is a number, without a conversion; and
  // so is a share, as the last bits of 2^23.
  constexpr int64_t kOfLevels = 0x47000000, kOfShares = 0x4b000000;
  Value ofLevel = b.scaleByPower(
      -1.0f * ScanFindings::kOfLevel / ScanFindings::kPerBit, levels.exponent);
  Value highest = arith::SIToFPOp::create(b, b.getF32Type(), levels.below);
  highest = math::FmaOp::create(
      b, highest, b.f32(-1.0f / ScanFindings::kPerBit), getFact(head, kScore));
  highest = math::FmaOp::create(b, ofLevel, b.f32(-0x1p15f), highest);
  Value lane = b.toI32(this->lane);
  for (int64_t i = 0; i < kTogether; ++i) {
    Value level = b.permuteBytes(levels.words[i / 4], b.i32(0), 0x4440 | i % 4);
    Value depth = b.addI(b.mulI(level, steps), levels.below);
    // What is above the highest known is taken in any case.
    Value bin = arith::ShRUIOp::create(b, depth, ofBin);
    bin = arith::MinUIOp::create(b, bin, b.i32(kBins - 1));
    Value number = arith::BitcastOp::create(
        b, b.getF32Type(),
        b.permuteBytes(levels.words[i / 4], b.i32(kOfLevels),
                       0x7404 | i % 4 << 4));
    Value exponent = math::FmaOp::create(b, number, ofLevel, highest);
    exponent = math::FmaOp::create(b, spreads[i], ofSpread, exponent);
    Value share = b.exp2(b.minNumber(exponent, b.f32(kUnit)));
    share = arith::BitcastOp::create(b, b.getI32Type(),
                                     b.addF(share, b.f32(0x1p23f)));
    share = b.subI(share, b.i32(kOfShares));
    // Most scores are far below the best one: nothing goes nowhere.
    Value isAny = b.compare(CmpIPredicate::ne, share, b.i32(0));
    Value place = b.select(isAny, bin, b.addI(lane, b.i32(kBins)));
    auto add = [&](Value amount, int64_t which, Value place) {
      memref::AtomicRMWOp::create(
          b, arith::AtomicRMWKind::addi, amount, bins,
          ValueRange{head, b.index(which), b.toIndex(place)});
    };
    add(b.i32(1), 0, bin);
    add(share, 1, place);
  }
}

/// Of all blocks of the cluster, those of this block's heads, in their place:
/// no other block reads these. Words that lie together.
void ChunkPick::addUpBins() {
  constexpr int64_t kWords = 4, kOfHead = 2 * kBins / kWords;
  SmallVector<Value> theirs;
  for (int64_t i = 0; i < blocks; ++i)
    theirs.push_back(b.ofBlock(bins, b.index(i)));
  auto type = VectorType::get({kWords}, b.getI32Type());
  forEachOwnHead(b.index(0), 1, [&](Value head) {
    b.forLoop(thread, b.index(kOfHead), warps * kWarp, [&](Value number) {
      Value word = b.mulI(number, b.index(kWords));
      Value at[] = {head, b.divU(word, b.index(kBins)),
                    b.remU(word, b.index(kBins))};
      SmallVector<Value> all;
      for (Value its : theirs)
        all.push_back(vector::LoadOp::create(b, type, its, at,
                                             /*nontemporal=*/false,
                                             llvm::MaybeAlign(16)));
      Value sum = all.front();
      for (Value other : ArrayRef(all).drop_front())
        sum = b.addI(sum, other);
      vector::StoreOp::create(b, sum, bins, at, /*nontemporal=*/false,
                              llvm::MaybeAlign(16));
    });
  });
  b.barrier();
}

/// Heads are shared by the blocks of a cluster: some of a block's, by numbers.
void ChunkPick::forEachOwnHead(Value first, int64_t apart,
                               function_ref<void(Value head)> body) {
  first = b.addI(b.mulI(first, b.index(blocks)), block);
  b.forLoop(first, b.index(heads), apart * blocks, body);
}

Value ChunkPick::addUpLanes(Value sum) {
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value other = b.shuffleUp(sum, distance);
    Value isThere = b.compare(CmpIPredicate::uge, lane, b.index(distance));
    Value both =
        sum.getType().isF32() ? b.addF(sum, other) : b.addI(sum, other);
    sum = b.select(isThere, both, sum);
  }
  return sum;
}

/// A warp for each head, whose lanes have some bins each, the deepest first.
void ChunkPick::findEnds() {
  Value zero = b.f32(0.0f);
  const double tolerance = op.getTolerance()->convertToDouble();
  auto need = static_cast<float>(tolerance / (1 - tolerance) * 255 / 256);
  forEachOwnHead(warp, warps, [&](Value head) {
    Value first = b.mulI(b.subI(b.index(kWarp - 1), lane), b.index(kOfLane));
    Value shift = getFact(head, kShift), top = getFact(head, kTop),
          score = getFact(head, kScore);
    Value ofBin = b.exp2(shift);
    struct Bin {
      Value number, count, left, share, square;
    };
    SmallVector<Bin> all(kOfLane);
    Value count = zero, left = zero, share = zero, square = zero;
    for (int64_t i = kOfLane - 1; i >= 0; --i) {
      Bin &bin = all[i];
      Value at = b.addI(first, b.index(i));
      bin.number = b.toI32(at);
      auto load = [&](int64_t which) -> Value {
        return arith::UIToFPOp::create(
            b, b.getF32Type(), b.load(bins, {head, b.index(which), at}));
      };
      bin.count = load(0);
      bin.share = load(1);
      Value depth = arith::SIToFPOp::create(b, b.getF32Type(), bin.number);
      depth = b.mulF(b.mulF(depth, ofBin), b.f32(-1.0f / 8));
      // Of which there is a number: what is deeper counts as that.
      depth = b.maxNumber(depth, b.f32(-126.0f));
      bin.left = b.mulF(bin.count, b.exp2(depth));
      bin.square = b.divF(b.mulF(bin.share, bin.share),
                          b.maxNumber(bin.count, b.f32(1.0f)));
      count = b.addF(count, bin.count);
      left = b.addF(left, bin.left);
      share = b.addF(share, bin.share);
      square = b.addF(square, bin.square);
    }
    auto getDeeper = [&](Value own) -> std::pair<Value, Value> {
      Value upTo = addUpLanes(own);
      Value before = b.shuffleUp(upTo, 1);
      Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
      return {b.select(isFirst, zero, before),
              b.shuffle(upTo, b.i32(kWarp - 1))};
    };
    auto [deeper, lefts] = getDeeper(left);
    auto [deeperCount, counts] = getDeeper(count);
    auto [deeperShare, shares] = getDeeper(share);
    auto [deeperSquare, squares] = getDeeper(square);
    // In units of shares.
    Value unit = b.exp2(score), risk = getFact(head, kRisk);
    End needed{b.i32(kBins - 1), zero, counts};
    // Where there is no room for any, all is left.
    End fitting{b.i32(-1), lefts, zero};
    Value ofHead;
    if (!hasRoomForAll(op))
      ofHead = b.mulF(roomBeside, b.f32(1.0f / static_cast<float>(heads)));
    Value many =
        b.divF(b.f32(kMoreCaution / kMany), b.maxNumber(counts, b.f32(1.0f)));
    for (int64_t i = kOfLane - 1; i >= 0; --i) {
      Value promised = b.subF(shares, deeperShare);
      Value taken = b.subF(counts, deeperCount);
      Value off = b.sqrt(b.maxNumber(b.subF(squares, deeperSquare), zero));
      Value caution = b.subF(b.f32(kMoreCaution), b.mulF(taken, many));
      caution = b.addF(b.maxNumber(caution, zero), b.f32(kCaution));
      off = b.mulF(b.mulF(off, risk), caution);
      Value sure = b.maxNumber(b.subF(promised, off),
                               b.mulF(promised, b.f32(kLeastPromised)));
      Value isEnough = b.compare(CmpFPredicate::OLE, b.mulF(deeper, unit),
                                 b.mulF(sure, b.f32(need)));
      const End here{all[i].number, deeper, taken};
      needed = needed.orIf(b, isEnough, here);
      if (ofHead) {
        Value isFirst = b.compare(CmpIPredicate::slt, fitting.last, b.i32(0));
        Value fits = b.compare(CmpFPredicate::OLE, taken, ofHead);
        fitting = fitting.orIf(b, b.andI(isFirst, fits), here);
      }
      deeper = b.addF(deeper, all[i].left);
      deeperCount = b.addF(deeperCount, all[i].count);
      deeperShare = b.addF(deeperShare, all[i].share);
      deeperSquare = b.addF(deeperSquare, all[i].square);
    }
    needed = needed.ofWarp(b, b.getLeastOfWarp(needed.last));
    SmallVector<End> both = {needed};
    if (ofHead) {
      fitting = fitting.ofWarp(b, b.getMostOfWarp(fitting.last));
      Value isMore = b.compare(CmpIPredicate::slt, needed.last, fitting.last);
      both.push_back(fitting.orIf(b, isMore, needed));
    }
    // A lane for each block.
    b.ifThen(b.compare(CmpIPredicate::ult, lane, b.index(blocks)), [&] {
      auto tell = [&](Value value, Value shared, ValueRange at) {
        b.store(value, blocks > 1 ? b.ofBlock(shared, lane) : shared, at);
      };
      for (auto [i, found] : llvm::enumerate(both)) {
        Value at[] = {head, b.index(i)};
        tell(toDepth(found.last, shift), ends, at);
        tell(toTail(found.left, top, score), tails, at);
      }
      if (ofHead)
        tell(needed.taken, needs, head);
    });
  });
}

ChunkPick::End ChunkPick::End::orIf(WarpBuilder &b, Value condition,
                                    const End &other) const {
  return {b.select(condition, other.last, last),
          b.select(condition, other.left, left),
          b.select(condition, other.taken, taken)};
}

ChunkPick::End ChunkPick::End::ofWarp(WarpBuilder &b, Value last) const {
  Value isOwn = b.compare(CmpIPredicate::eq, this->last, last);
  Value zero = b.f32(0.0f);
  return {last, b.getTopOfWarp(b.select(isOwn, left, zero)),
          b.getTopOfWarp(b.select(isOwn, taken, zero))};
}

/// From which depth on nothing is taken.
Value ChunkPick::toDepth(Value last, Value shift) {
  Value isAll = b.compare(CmpIPredicate::eq, last, b.i32(kBins - 1));
  Value number = arith::FPToSIOp::create(b, b.getI32Type(), shift);
  Value depth =
      arith::ShLIOp::create(b, b.addI(last, b.i32(1)),
                            b.addI(number, b.i32(llvm::Log2_64(kStepsOfBin))));
  return b.select(isAll, b.i32(1 << 20), depth);
}

/// The log of what is left, of a mass in units of the highest bound.
Value ChunkPick::toTail(Value left, Value top, Value score) {
  Value tail = b.addF(top, b.log(b.mulF(left, b.f32(kSlack))));
  tail = math::FmaOp::create(b, b.absF(top), b.f32(0x1p-20f), tail);
  // All that is not known is taken.
  Value isNone = b.orI(b.compare(CmpFPredicate::OEQ, left, b.f32(0.0f)),
                       b.compare(CmpFPredicate::OEQ, top, b.negInf()));
  tail = b.select(isNone, b.negInf(), tail);
  Value isNaN = b.compare(CmpFPredicate::UNO, score, score);
  return b.select(isNaN, b.f32(std::numeric_limits<float>::infinity()), tail);
}

/// How many tokens of the chunk are its share of the budget; and how many of
/// these there are beside those that are taken in any case. f32
void ChunkPick::findRoom() {
  Value start = b.subI(own.first, b.mulI(block, b.index(slots)));
  auto clampTo = [&](Value number, Value most) {
    return b.minI(b.maxI(number, b.index(0)), most);
  };
  Value visible = clampTo(b.subI(own.length, start), b.index(blocks * slots));
  Value sinks = clampTo(b.subI(b.index(op.getSinks()), start), visible);
  Value before = b.subI(b.subI(own.length, b.index(op.getWindow())), start);
  Value always = b.addI(sinks, b.subI(visible, clampTo(before, visible)));
  auto toFloat = [&](Value number) -> Value {
    return arith::SIToFPOp::create(b, b.getF32Type(), b.toI32(number));
  };
  // A little less, for what it is rounded by.
  auto budget = static_cast<float>(op.getBudget()) * (1 - 0x1p-20f);
  Value share = b.divF(b.mulF(toFloat(visible), b.f32(budget)),
                       toFloat(b.maxI(own.length, b.index(1))));
  Value isAll =
      b.compare(CmpIPredicate::sle, own.length, b.index(op.getBudget()));
  room = b.select(isAll, b.f32(std::numeric_limits<float>::infinity()), share);
  roomBeside = b.maxNumber(b.subF(room, toFloat(always)), b.f32(0.0f));
}

SmallVector<Value> ChunkPick::markAll() {
  SmallVector<Value> marks;
  for (int64_t turn = 0; turn < getNumTurns(); ++turn) {
    Value slot = getSlot(turn);
    Value isThere = b.compare(CmpIPredicate::slt, slot, numSlots);
    marks.push_back(b.ifThen(isThere, ValueRange{b.i32(0)}, [&] {
      return SmallVector<Value>{mark(slot)};
    })[0]);
  }
  return marks;
}

Value ChunkPick::countMarks(ArrayRef<Value> marks) {
  Value number = b.i32(0);
  for (Value bits : marks)
    number = b.addI(number, math::CtPopOp::create(b, bits));
  return number;
}

/// What all heads need or, where there is no room for that, what fits of each.
/// Heads share tokens: where there may not be, the cluster counts them.
SmallVector<Value> ChunkPick::markWithinBudget() {
  Value sum = b.f32(0.0f);
  for (int64_t head = 0; head < heads; ++head)
    sum = b.addF(sum, b.load(needs, b.index(head)));
  SmallVector<Value> marks = markAll(), given(marks);
  given.push_back(which);
  auto isMore = [&](Value number) {
    return b.compare(CmpFPredicate::OGT, number, room);
  };
  SmallVector<Value> found =
      b.ifThen(b.compare(CmpFPredicate::OGT, sum, roomBeside), given, [&] {
        Value all = b.addUpWarp(countMarks(marks));
        b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)),
                 [&] { b.store(all, perWarp, warp); });
        b.barrier();
        Value ofBlock = b.i32(0), ofAll = b.i32(0);
        for (int64_t i = 0; i < warps; ++i)
          ofBlock = b.addI(ofBlock, b.load(perWarp, b.index(i)));
        b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(blocks)), [&] {
          b.store(ofBlock, blocks > 1 ? b.ofBlock(told, thread) : told, block);
        });
        b.clusterBarrier(blocks);
        for (int64_t i = 0; i < blocks; ++i)
          ofAll = b.addI(ofAll, b.load(told, b.index(i)));
        Value isOver =
            isMore(arith::SIToFPOp::create(b, b.getF32Type(), ofAll));
        which = b.select(isOver, b.index(1), b.index(0));
        SmallVector<Value> fitting =
            b.ifThen(isOver, marks, [&] { return markAll(); });
        fitting.push_back(which);
        return fitting;
      });
  which = found.pop_back_val();
  return found;
}

Value ChunkPick::getBitsBefore(Value slot, Value end) {
  Value number = b.subI(b.toI32(end), b.toI32(slot));
  number = b.minI(b.maxI(number, b.i32(0)), b.i32(kTogether));
  Value one = b.i32(1);
  return b.subI(arith::ShLIOp::create(b, one, number), one);
}

Value ChunkPick::mark(Value slot) {
  // Of two levels in halves of a word, bit 8 of each: where a head has more
  // levels than that, 255 more of them less it are 256 or more.
  constexpr int64_t kBits = 0x01000100;
  SmallVector<Value> none(8, b.i32(0));
  SmallVector<Value> found = b.forLoop(
      b.index(0), b.index(heads), 1, none, [&](Value head, ValueRange now) {
        Levels levels = loadLevels(head, slot);
        Value shift = b.addI(levels.exponent,
                             b.i32(llvm::Log2_64(ScanFindings::kOfLevel)));
        Value up = b.subI(arith::ShLIOp::create(b, b.i32(1), shift), b.i32(1));
        Value taken = b.subI(b.load(ends, {head, which}), levels.below);
        taken = arith::ShRSIOp::create(b, b.addI(taken, up), shift);
        taken = b.minI(b.maxI(taken, b.i32(0)), b.i32(256));
        taken = b.addI(taken, b.i32(255));
        taken = b.permuteBytes(taken, taken, 0x1010);
        SmallVector<Value> next;
        for (int64_t i = 0; i < 4; ++i)
          for (int64_t odd : {0, 1}) {
            Value pair = b.permuteBytes(levels.words[i], b.i32(0),
                                        odd ? 0x4341 : 0x4240);
            next.push_back(b.orI(now[next.size()], b.subI(taken, pair)));
          }
        return next;
      });
  Value bits = b.i32(0);
  for (int64_t i = 0; i < 4; ++i) {
    auto toLow = [&](Value pair, int64_t by) -> Value {
      return arith::ShRUIOp::create(b, b.andI(pair, b.i32(kBits)), b.i32(by));
    };
    Value both = b.orI(toLow(found[2 * i], 8), toLow(found[2 * i + 1], 7));
    Value four = b.andI(b.orI(both, arith::ShRUIOp::create(b, both, b.i32(14))),
                        b.i32(15));
    bits = b.orI(bits, arith::ShLIOp::create(b, four, b.i32(4 * i)));
  }
  Value position = b.addI(own.first, slot);
  if (op.getSinks() > 0)
    bits = b.orI(bits, getBitsBefore(position, b.index(op.getSinks())));
  if (op.getWindow() > 0) {
    Value start = b.subI(own.length, b.index(op.getWindow()));
    Value before = getBitsBefore(position, start);
    bits = b.orI(bits, arith::XOrIOp::create(b, before, b.i32(0xffff)));
  }
  return b.andI(bits, getBitsBefore(slot, numSlots));
}

Value ChunkPick::listMarks(ArrayRef<Value> marks) {
  Value number = countMarks(marks);
  Value upTo = addUpLanes(number);
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(kWarp - 1)),
           [&] { b.store(upTo, perWarp, warp); });
  b.barrier();
  Value at = b.subI(upTo, number), total = b.i32(0);
  for (int64_t i = 0; i < warps; ++i) {
    Value its = b.load(perWarp, b.index(i));
    Value isEarlier = b.compare(CmpIPredicate::ult, b.index(i), warp);
    at = b.select(isEarlier, b.addI(at, its), at);
    total = b.addI(total, its);
  }
  for (auto [turn, bits] : llvm::enumerate(marks)) {
    Value count = b.toIndex(math::CtPopOp::create(b, bits));
    Value first = b.toI32(getSlot(static_cast<int64_t>(turn)));
    SmallVector<Value> end = b.forLoop(
        b.index(0), count, 1, ValueRange{bits, at},
        [&](Value, ValueRange now) -> SmallVector<Value> {
          Value lowest = math::CountTrailingZerosOp::create(b, now[0]);
          Value entry =
              arith::TruncIOp::create(b, b.getI16Type(), b.addI(first, lowest));
          b.store(entry, list, b.toIndex(now[1]));
          return {b.andI(now[0], b.subI(now[0], b.i32(1))),
                  b.addI(now[1], b.i32(1))};
        });
    at = end[1];
  }
  return b.toIndex(total);
}
