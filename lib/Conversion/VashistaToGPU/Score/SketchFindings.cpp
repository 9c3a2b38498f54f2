//===- SketchFindings.cpp - What a scan of a sketch leaves beside scores --===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Where only proving picks read them, scores are not written, and of bounds
// their levels (ScanFindings). A level is rounded down: the difference and its
// product. So the bound that it stands for is not below the one that was found,
// also where it is rounded by 2^-24: of its depth, which levels are too small
// by 2^-20 of, and of the top, which is raised by as much. Tokens g and g + 8
// of the product are then slots 2 g and 2 g + 1 of the tile; lanes exchange
// levels of their tiles, so that each writes those of slots that follow each
// other.
//
//===----------------------------------------------------------------------===//

#include "Certify/PageNorms.h"
#include "SketchScan.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

void SketchScan::Best::join(WarpBuilder &b, const Best &other) {
  Value isBetter = b.compare(CmpFPredicate::OGT, other.score, score);
  bound = b.maxNumber(bound, other.bound);
  lack = b.select(isBetter, other.lack, lack);
  spread = b.select(isBetter, other.spread, spread);
  score = arith::MaximumFOp::create(b, score, other.score);
}

void SketchScan::Best::joinLanes(WarpBuilder &b, const Best &other) {
  Value best = arith::MaximumFOp::create(b, score, other.score);
  Value near = b.subF(best, b.f32(ScanFindings::kNear));
  Value none = b.f32(std::numeric_limits<float>::infinity());
  auto getLack = [&](const Best &one) -> Value {
    Value isNear = b.compare(CmpFPredicate::OGE, one.score, near);
    return b.select(isNear, one.lack, none);
  };
  Value own = getLack(*this), others = getLack(other);
  lack = b.minNumber(own, others);
  auto getSpread = [&](const Best &one, Value itsLack) -> Value {
    Value isLeast = b.compare(CmpFPredicate::OEQ, itsLack, lack);
    return b.select(isLeast, one.spread, b.negInf());
  };
  spread = b.maxNumber(getSpread(*this, own), getSpread(other, others));
  bound = b.maxNumber(bound, other.bound);
  score = best;
}

void SketchScan::storeOfTile(Value value, Value to, const Column &column,
                             Value start, Value isWanted) {
  b.ifThen(isWanted, [&] {
    b.store(value, to, getPlace(column.head, start, ScanFindings::kTile));
  });
}

Value SketchScan::findTop(Value own, Value lack, Value start,
                          const Column &column) {
  Value isHead = b.compare(CmpIPredicate::ult, column.head, numHeads);
  Value top = own;
  if (areOfOneHead() || isKept) {
    for (int64_t mask : getHeadMasks())
      top = b.maxNumber(top, b.shuffleXor(top, mask));
    if (isKept)
      return top;
    // The first lane of those that have it.
    Value all = b.ballot(b.compare(CmpFPredicate::OEQ, own, top));
    Value lowest = b.andI(all, b.subI(b.i32(0), all));
    Value bit = arith::ShLIOp::create(b, b.i32(1), b.toI32(lane));
    Value isFirst = b.compare(CmpIPredicate::eq, lowest, bit);
    storeOfTile(lack, tileLacks, column, start, b.andI(isHead, isFirst));
    return top;
  }
  for (int64_t mask : getHeadMasks()) {
    Value other = b.shuffleXor(top, mask), its = b.shuffleXor(lack, mask);
    Value isHigher = b.compare(CmpFPredicate::OGT, other, top);
    lack = b.select(isHigher, its, lack);
    top = b.maxNumber(top, other);
  }
  storeOfTile(lack, tileLacks, column, start, b.andI(isHead, isFirstOfHead()));
  return top;
}

/// Of some of a tile's bounds, how far they lie apart: the exponent of levels.
Value SketchScan::findExponent(Value top, ArrayRef<Value> some, bool areWhole) {
  Value lowest = b.f32(std::numeric_limits<float>::infinity());
  for (Value bound : some) {
    // What is not visible has none.
    Value isNone = b.compare(CmpFPredicate::OEQ, bound, b.negInf());
    if (!areWhole)
      bound = b.select(isNone, lowest, bound);
    lowest = b.minNumber(lowest, bound);
  }
  if (!areOfOneHead())
    for (int64_t mask : getHeadMasks())
      lowest = b.minNumber(lowest, b.shuffleXor(lowest, mask));
  // Of most tiles what lies a little deeper than levels do does not matter, but
  // it does where they begin with a key far above all others, of no mass.
  constexpr double reach = M_LN2 * ScanFindings::kLowest / // nats of levels
                           ScanFindings::kLevelsOfBit;
  constexpr std::array<double, 3> most = {ScanFindings::kMostApart, 2 * reach,
                                          4 * reach};
  Value apart = b.subF(top, lowest), exponent = b.i32(0);
  for (int64_t i = 1; i <= 3; ++i) {
    Value isMore = b.compare(CmpFPredicate::OGT, apart,
                             b.f32(static_cast<float>(most[i - 1])));
    if (areOfOneHead())
      isMore = b.compare(CmpIPredicate::ne, b.ballot(isMore), b.i32(0));
    exponent = b.select(isMore, b.i32(i), exponent);
  }
  return exponent;
}

Value SketchScan::storeLevels(Value start, ArrayRef<Value> bounds, Value top,
                              Value lack, const Column &column, bool areWhole) {
  top = findTop(top, lack, start, column);
  Value exponent = findExponent(top, bounds.take_front(2), areWhole);
  // Raised by more than the bits of the exponent take away, subnormal numbers,
  // too: no bound is above.
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  Value isFinite = b.compare(CmpFPredicate::OLT, b.absF(top), inf);
  Value raised = math::FmaOp::create(b, b.absF(top), b.f32(0x1p-20f),
                                     b.addF(top, b.f32(0x1p-100f)));
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), raised);
  bits = b.orI(b.andI(bits, b.i32(-4)), exponent);
  raised = arith::BitcastOp::create(b, b.getF32Type(), bits);
  top = b.select(isFinite, raised, top);
  // Less by what those who read them round.
  constexpr float ofNat =
      ScanFindings::kPerNat / ScanFindings::kOfLevel * (1 - 0x1p-20f);
  Value levelsOfNat = b.scaleByPower(ofNat, exponent, /*isInverse=*/true);

  Value isHead = b.compare(CmpIPredicate::ult, column.head, numHeads);
  SmallVector<Value> pairs;
  for (unsigned i = 0; i < bounds.size(); i += 2) {
    SmallVector<Value> both;
    for (Value bound : bounds.slice(i, 2)) {
      // From 2^23 on, f32 numbers are integers, whose lowest byte is that of
      // their bits. NaN, as of two infinities, is the lowest level: nothing of
      // the tile is known, and levels of it mean nothing.
      constexpr float base = 0x1p23f;
      Value steps = b.fmaDown(b.subDown(top, bound), levelsOfNat, b.f32(base));
      steps = b.minNumber(steps, b.f32(base + ScanFindings::kLowest));
      both.push_back(arith::BitcastOp::create(b, b.getI32Type(), steps));
    }
    pairs.push_back(b.permuteBytes(both[0], both[1], 0x0040));
  }
  auto [words, first] = bringTogether(pairs);
  SmallVector<Value> bytes = b.takeApart(words, b.getI8Type());
  bytes.truncate(bounds.size());
  Value slot = b.addI(start, first);
  b.ifThen(isHead, [&] {
    auto type =
        VectorType::get({static_cast<int64_t>(bytes.size())}, b.getI8Type());
    vector::StoreOp::create(b, vector::FromElementsOp::create(b, type, bytes),
                            levels, getPlace(column.head, slot),
                            /*nontemporal=*/false,
                            llvm::MaybeAlign(bytes.size()));
  });
  storeOfTile(top, tileTops, column, start, b.andI(isHead, isFirstOfHead()));
  return top;
}

std::pair<SmallVector<Value>, Value>
SketchScan::bringTogether(SmallVector<Value> pairs) {
  // Lanes of every other quad exchange what they have of half of their tiles,
  // the first one for the others' first half.
  const auto tiles = static_cast<int64_t>(pairs.size());
  Value tile = b.index(0);
  auto exchange = [&](Value first, Value second, int64_t quads) {
    Value isSecond =
        b.compare(CmpIPredicate::ne, b.andI(quad, b.index(quads)), b.index(0));
    Value own = b.select(isSecond, second, first);
    Value other =
        b.shuffleXor(b.select(isSecond, first, second), kColumns * quads);
    tile = b.addI(b.mulI(tile, b.index(2)),
                  b.select(isSecond, b.index(1), b.index(0)));
    return std::pair<Value, Value>(b.select(isSecond, other, own),
                                   b.select(isSecond, own, other));
  };
  constexpr int64_t low = 0x5410, high = 0x7632; // halves of two words
  SmallVector<Value> words = pairs;
  if (tiles == 2) {
    auto [first, second] = exchange(pairs[0], pairs[1], 1);
    words = {b.permuteBytes(first, second, low)};
  } else if (tiles == 4) {
    auto [first, second] = exchange(b.permuteBytes(pairs[0], pairs[1], low),
                                    b.permuteBytes(pairs[2], pairs[3], low), 1);
    auto [before, after] = exchange(b.permuteBytes(first, second, low),
                                    b.permuteBytes(first, second, high), 2);
    words = {before, after};
  }
  tile = b.addI(part, b.mulI(tile, b.index(kTiles / tiles)));
  Value within = b.mulI(b.divU(quad, b.index(tiles)), b.index(2 * tiles));
  return {words, b.addI(b.mulI(tile, b.index(kTokens)), within)};
}

void SketchScan::storeSpreads(ArrayRef<Token> loaded) {
  SmallVector<Value> both;
  for (const Token &token : loaded)
    both.push_back(
        arith::TruncFOp::create(b, b.getF16Type(), token.getSpread(b)));
  auto store = [&] {
    Value pair = vector::FromElementsOp::create(
        b, VectorType::get({2}, b.getF16Type()), both);
    Value slot = loaded.front().slot;
    SmallVector<Value> at = {slots->row, slots->kvHead, slot};
    if (isKept)
      at = {b.subI(slot, firstSlot)};
    vector::StoreOp::create(b, pair, spreads, at, /*nontemporal=*/false,
                            llvm::MaybeAlign(4));
  };
  if (isFirst)
    b.ifThen(isFirst, store);
  else
    store();
}

void SketchScan::addFindings(const Token &token, Value score, Value bound,
                             MutableArrayRef<Value> found) {
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  Value isFinite = b.compare(CmpFPredicate::OLT, bound, inf);
  found[0] = b.maxNumber(found[0], b.select(isFinite, bound, b.negInf()));
  Value isNaN =
      b.andI(b.compare(CmpFPredicate::UNO, score, score), token.isVisible);
  found[1] = b.select(isNaN, b.f32(1.0f), found[1]);
}

void SketchScan::findPageNorms(Value first, Value last) {
  constexpr int64_t kMost = 8; // pairs of norms of a thread at once, about
  const int64_t size =
      cast<RankedTensorType>(op.getParts()[0].getType()).getDimSize(2);
  const int64_t threads = numWarps * kWarp;
  const int64_t atOnce =
      std::clamp<int64_t>(llvm::divideCeil(block, size * threads), 2,
                          std::max<int64_t>(kMost / kvHeadsOfBlock, 2));
  // Where nothing is visible there is no page either, also in the middle of
  // one.
  Value any = b.compare(CmpIPredicate::ult, first, last),
        end = b.createOrFold<arith::CeilDivUIOp>(last, b.index(size));
  end = b.select(any, end, b.index(0));
  Value own = b.addI(b.divU(first, b.index(size)), b.threadId());
  SmallVector<Value> norms = findLargestNorms(
      b, pageNorms, firstKvHead, kvHeadsOfBlock, own, end, threads, atOnce,
      [&](Value at) -> Value {
        Value page = slots->loadPageOf(b.mulI(at, b.index(size)));
        return arith::IndexCastOp::create(b, b.getIndexType(), page);
      });
  for (auto [i, norm] : llvm::enumerate(norms)) {
    norm = b.combine(norm,
                     [&](Value x, Value y) { return getLargerNorm(b, x, y); });
    b.store(norm, normsOfWarps, {warp, b.index(i)});
  }
}

void SketchScan::storePageNorms(Value largest) {
  Value isWanted = b.compare(CmpIPredicate::ult, lane, b.index(2));
  isWanted = b.andI(isWanted, isFirstTurn());
  b.ifThen(andFirst(isWanted), [&] {
    Value which = lane;
    if (kvHeadsOfBlock > 1)
      which = b.addI(which, b.mulI(warp, b.index(2)));
    Value norm = b.load(normsOfWarps, {b.index(0), which});
    for (int64_t i = 1; i < numWarps; ++i)
      norm = getLargerNorm(b, norm, b.load(normsOfWarps, {b.index(i), which}));
    b.store(norm, largest, {slots->row, slots->kvHead, getNumber(), lane});
  });
}

SmallVector<int64_t> SketchScan::getHeadMasks() const {
  SmallVector<int64_t> masks = {4, 8, 16};
  for (int64_t mask = heads; mask < kColumns; mask *= 2)
    masks.push_back(mask);
  return masks;
}

void SketchScan::storeTops(ArrayRef<Value> found, Value shared) {
  int64_t numFound = getNumFound();
  auto join = [&](SmallVector<Value> &all, ArrayRef<Value> others) {
    if (hasLevels) {
      Best best(all);
      best.joinLanes(b, Best(others));
      all = best.pack();
      return;
    }
    for (auto [one, other] : llvm::zip_equal(all, others))
      one = b.maxNumber(one, other);
  };
  for (int64_t i = 0; i < columns; ++i) {
    SmallVector<Value> all(found.slice(numFound * i, numFound));
    for (int64_t mask : getHeadMasks()) {
      SmallVector<Value> others;
      for (Value one : all)
        others.push_back(b.shuffleXor(one, mask));
      join(all, others);
    }
    Value at = b.addI(within, b.index(kColumns * i));
    for (auto [which, one] : llvm::enumerate(all))
      b.store(one, shared, {warp, at, b.index(which)});
  }
  b.barrier();
  // A lane for each head of a warp, with those of the others of its KV head.
  Value isHead = b.compare(CmpIPredicate::ult, lane, numHeads);
  b.ifThen(b.andI(isHead, isFirstTurn()), [&] {
    auto load = [&](int64_t turn) {
      Value other = b.index(turn * kvHeadsOfBlock);
      if (kvHeadsOfBlock > 1)
        other = b.addI(other, warp);
      SmallVector<Value> all;
      for (int64_t which = 0; which < numFound; ++which)
        all.push_back(b.load(shared, {other, lane, b.index(which)}));
      return all;
    };
    SmallVector<Value> all = load(0);
    for (int64_t i = 1; i < getNumTurns(); ++i)
      join(all, load(i));
    if (!hasLevels) {
      Value isNaN = b.compare(CmpFPredicate::OGT, all[1], b.f32(0.0f));
      Value nan = b.f32(std::numeric_limits<float>::quiet_NaN());
      all = {b.select(isNaN, nan, all[0])};
    }
    for (auto [which, value] : llvm::enumerate(all)) {
      SmallVector<Value> at = {lane};
      if (!isKept)
        at = {slots->row, b.addI(firstHead, lane), getNumber()};
      at.push_back(b.index(which));
      b.store(value, tops, at);
    }
  });
}
