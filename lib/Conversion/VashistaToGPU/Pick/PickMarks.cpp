//===- PickMarks.cpp - Marks of what proofs need, by levels ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What any head needs is marked, and what is left is added up, two slots at a
// time (PickPairs.cpp). Of more heads than a product has columns there are
// several, for which levels are loaded again, and a lane's single slots are
// pairs of which one half counts.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

PickLauncher::MarkedPairs
PickLauncher::closePairs(ArrayRef<Slot> slots,
                         const LevelPairs::Words &beyond) {
  MarkedPairs marked;
  Value left, open = b.i32((1 << slots.size()) - 1);
  for (size_t i = 0; i < beyond.size(); ++i) {
    // The highest bits of both halves, everywhere in them.
    Value mask = b.permuteBytes(beyond[i], beyond[i], 0xbb99);
    for (size_t half : {0, 1}) {
      const int64_t others = half ? 0xffff : -0x10000;
      if (2 * i + half >= slots.size()) {
        mask = b.andI(mask, b.i32(others));
        continue;
      }
      // Sinks and window are picked, needed or not.
      const Slot &slot = slots[2 * i + half];
      Value isLeft = slot.isOpen;
      if (slot.isAlways)
        isLeft = andOpen(slot, notI(slot.isAlways));
      if (isLeft)
        mask = b.andI(mask, b.select(isLeft, b.i32(-1), b.i32(others)));
    }
    marked.left[i] = mask;
    Value bits = b.andI(mask, b.i32(int64_t(0x20001) << 2 * i));
    left = left ? b.orI(left, bits) : bits;
  }
  if (slots.front().isOpen) {
    SmallVector<Value> areOpen;
    for (const Slot &slot : slots)
      areOpen.push_back(slot.isOpen);
    open = getOwnBits(areOpen);
  }
  left = b.orI(left, arith::ShRUIOp::create(b, left, b.i32(16)));
  marked.ownLeft = b.andI(left, b.i32((1 << slots.size()) - 1));
  marked.own = b.andI(open, arith::XOrIOp::create(b, marked.ownLeft, open));
  return marked;
}

PickLauncher::Marked PickLauncher::markDeep(Value isNearlyOver) {
  if (!hasFewHeads())
    return sumsWhileMarking() ? markInProducts() : markByHeads();
  Value none = b.f32(0.0f);
  SmallVector<Value> headTops = loadOfHeads(tops), headEnds = loadOfHeads(ends);
  for (Value &end : headEnds)
    end = toFloatDepth(end);
  SmallVector<Unread> unread;
  for (int64_t head = 0; hasMoment() && head < group; ++head)
    unread.push_back(getUnread(b.index(head)));
  if (isNearlyOver) {
    mostMargin = getMostMargin();
    b.ifThen(isNearlyOver, [&] { clearBins(int64_t(1) << getFirstWidth()); });
  }
  // How many are marked, whether any is left, the masses of what is, and those
  // of pairs.
  const int64_t numSums = getNumSums();
  SmallVector<Value> sums = {b.i32(0), b.i32(0)};
  sums.append(group * numSums, none);
  if (!hasMoment())
    sums.append(4, none);
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group * numSums, Join::sum);
  sums = forEachSlot(
      sums,
      [&](ArrayRef<Slot> slots) {
        // What is loaded ahead takes registers that sums of moments need.
        return hasMoment() ? SmallVector<Value>() : loadAllLevels(slots);
      },
      [&](ArrayRef<Slot> slots, ValueRange loaded, ValueRange now) {
        SmallVector<Value> here;
        if (hasMoment()) {
          here = loadAllLevels(slots);
          loaded = here;
        }
        SmallVector<Value> next(now);
        MutableArrayRef<Value> own = MutableArrayRef(next).drop_front(2);
        Value needed, left;
        std::optional<AllLevels> all;
        if (hasMoment() || !areTogether(slots))
          all = takeFloatLevels(loaded, slots.size(), headTops);
        if (areTogether(slots)) {
          SmallVector<LevelPairs> pairs;
          LevelPairs::Words beyond;
          ValueRange rest = loaded;
          for (int64_t head = 0; head < group; ++head) {
            Levels levels = Levels::unpack(rest, slots.size());
            pairs.emplace_back(b, levels,
                               getFloatBelow(headTops[head], levels.top));
            pairs.back().andBeyond(b, levels, headEnds[head], beyond);
          }
          MarkedPairs marked = closePairs(slots, beyond);
          needed = marked.own;
          left = marked.ownLeft;
          if (!hasMoment())
            addMasses(b, lane, pairs, marked.left, kHeadroom, own.take_back(4));
          forEachWord(needed, slots[0].number, kAtOnce,
                      [&](Value word, Value slot) { storeMarked(word, slot); });
        } else {
          Value is = b.boolean(false);
          for (int64_t head = 0; head < group; ++head)
            is = b.orI(is,
                       b.compare(CmpFPredicate::OLT,
                                 getFloatDepth(*all, head, 0), headEnds[head]));
          // Sinks and window are picked, needed or not.
          is = andOpen(slots[0], orAlways(slots[0], is));
          needed = getOwnBits(is);
          left = getOwnBits(andOpen(slots[0], notI(is)));
          forEachWord(is, slots,
                      [&](Value word, Value slot) { storeMarked(word, slot); });
        }
        if (hasMoment()) {
          addByMoment(unread, *all, left, slots.size(), own);
        } else if (all) {
          for (int64_t head = 0; head < group; ++head) {
            Value mass = getMassOfDepth(getFloatDepth(*all, head, 0));
            own[head] = b.addF(own[head], b.select(isOwn(left, 0), mass, none));
          }
        }
        next[0] = b.addI(next[0], math::CtPopOp::create(b, needed));
        next[1] = b.orI(next[1], left);
        if (isNearlyOver)
          b.ifThen(isNearlyOver, [&] { countMargins(slots, loaded, needed); });
        return next;
      });
  if (!hasMoment()) {
    SmallVector<Value> ofPairs =
        getSumsOfHeads(b, lane, ValueRange(sums).take_back(4), group);
    sums.truncate(sums.size() - 4);
    for (auto [sum, other] :
         llvm::zip_equal(MutableArrayRef(sums).drop_front(2), ofPairs))
      sum = b.addF(sum, other);
  }
  // Whether any is left, as bits of a tail are.
  Value isLeft = b.compare(CmpIPredicate::ne, sums[1], b.i32(0));
  sums[1] = b.select(isLeft, b.i32(1), b.i32(0));
  (void)joinMarked(sums, joins);
  return getMarkedDeep();
}

void PickLauncher::countMargins(ArrayRef<Slot> slots, ValueRange loaded,
                                Value needed) {
  Value uncounted = b.addI(b.toI32(lane), b.i32(numBins));
  Value shift = b.i32(32 - getFirstWidth());
  for (auto [i, rank] : llvm::enumerate(getRanks(slots, loaded))) {
    Value bin = arith::ShRUIOp::create(b, rank, shift);
    Value is = isOwn(needed, static_cast<int64_t>(i));
    addToBin(b.toIndex(b.select(is, bin, uncounted)), b.i32(1));
  }
}

PickLauncher::Marked PickLauncher::getMarkedDeep() {
  SmallVector<Type> types(2, b.getI32Type());
  const int64_t numSums = getNumSums();
  types.append(group * numSums, b.getF32Type());
  SmallVector<Join> joins = {Join::sum, Join::either};
  joins.append(group * numSums, Join::sum);
  Marked marked = getMarked(types, joins);
  SmallVector<Value> left;
  ValueRange sums = ValueRange(marked.left).drop_front();
  for (int64_t head = 0; head < group; ++head) {
    llvm::append_range(left, sums.slice(head * numSums, numSums));
    left.push_back(marked.left.front());
  }
  marked.left = left;
  return marked;
}

/// What ends were found from are estimates, which another pass costs less than
/// what follows the last round.
PickLauncher::Marked PickLauncher::markUntilProved() {
  if (!sumsWhileMarking())
    return markDeep();
  // Deeper by half a nat, two, and eight; in the end by all.
  constexpr int64_t kPasses = 5, kDeeper = ScanFindings::kPerNat / 2;
  Value all = b.i32(1 << 30);
  b.forLoop(
      b.index(0), b.index(kPasses), 1, ValueRange{b.boolean(true)},
      [&](Value pass, ValueRange now) {
        return b.ifThen(now[0], now, [&]() -> SmallVector<Value> {
          Marked marked = markDeep();
          SmallVector<Value> shorts, before;
          Value goesOn = b.boolean(false);
          for (int64_t i = 0; i < group; ++i) {
            Value head = b.index(i);
            auto [sums, bits] = getLeft(marked, i);
            Value tail = getTail(head, sums, bits);
            shorts.push_back(notI(meets(tail, {row, b.addI(firstHead, head)})));
            goesOn = b.orI(goesOn, shorts.back());
            before.push_back(b.load(ends, head));
          }
          // Where nothing is left, or there is no room, deeper is the same.
          Value isLeft =
              b.compare(CmpIPredicate::ne, getLeft(marked, 0).second, b.i32(0));
          Value hasRoom = b.compare(CmpIPredicate::sle, marked.number,
                                    b.i32(op.getBudget()));
          goesOn = b.andI(goesOn, b.andI(isLeft, hasRoom));
          // Thresholds are those that what is left was summed up by.
          goesOn = b.andI(goesOn, b.compare(CmpIPredicate::slt, pass,
                                            b.index(kPasses - 1)));
          Value isLast =
              b.compare(CmpIPredicate::sge, pass, b.index(kPasses - 2));
          Value deeper = arith::ShLIOp::create(
              b, b.i32(kDeeper), b.toI32(b.mulI(pass, b.index(2))));
          waitCluster();
          for (auto [i, isShort, end] : llvm::enumerate(shorts, before)) {
            Value next = b.minI(b.addI(b.minI(end, all), deeper), all);
            next = b.select(isLast, all, next);
            Value isDeeper = b.andI(goesOn, isShort);
            Value head = b.index(static_cast<int64_t>(i));
            storeOnce(b.select(isDeeper, next, end), ends, head);
            if (hasMoment())
              b.ifThen(b.andI(isFirstThread(), isDeeper), [&] {
                Value nats = arith::SIToFPOp::create(b, b.getF32Type(), deeper);
                nats = b.mulF(nats, b.f32(-1.0f / ScanFindings::kPerNat));
                Value theta = b.mulF(getFact(head, Fact::theta), b.exp(nats));
                setFact(head, Fact::theta,
                        b.maxNumber(theta, b.f32(0x1p-100f)));
              });
          }
          b.barrier();
          return {goesOn};
        });
      });
  return getMarkedDeep();
}

/// Products after each other, for which levels are loaded twice, the second
/// time from the first cache: all heads decide what is left.
PickLauncher::Marked PickLauncher::markInProducts() {
  constexpr int64_t heads = kMostTogether;
  const int64_t products = getProducts();
  Value zero = b.index(0), end = b.index(group);
  // Of a head that is not there stands the last one: nobody reads its column.
  auto getOf = [&](Value first, int64_t i, ArrayRef<Slot> slots) {
    Value head = b.minI(b.addI(first, b.index(i)), b.index(group - 1));
    Levels levels = loadLevels(head, slots);
    LevelPairs pairs(b, levels, getFloatBelow(b.load(tops, head), levels.top));
    return std::make_tuple(head, levels, pairs);
  };
  // How many are marked, whether any is left, and the masses of what is.
  SmallVector<Value> sums = {b.i32(0), b.i32(0)};
  sums.append(4 * products, b.f32(0.0f));
  sums = forEachSlot(sums, [&](ArrayRef<Slot> slots, ValueRange now) {
    LevelPairs::Words beyond;
    SmallVector<Value> all(beyond.size(), b.i32(-1));
    all = b.forLoop(zero, end, heads, all, [&](Value first, ValueRange before) {
      llvm::copy(before, beyond.begin());
      for (int64_t i = 0; i < heads; ++i) {
        auto [head, levels, pairs] = getOf(first, i, slots);
        pairs.andBeyond(b, levels, toFloatDepth(b.load(ends, head)), beyond);
      }
      return SmallVector<Value>(beyond.begin(), beyond.end());
    });
    llvm::copy(all, beyond.begin());
    MarkedPairs marked = closePairs(slots, beyond);
    if (areTogether(slots))
      forEachWord(marked.own, slots[0].number, kAtOnce,
                  [&](Value word, Value slot) { storeMarked(word, slot); });
    else
      forEachWord(isOwn(marked.own, 0), slots,
                  [&](Value word, Value slot) { storeMarked(word, slot); });
    SmallVector<Value> next = b.forLoop(
        zero, end, heads, now.drop_front(2),
        [&](Value first, ValueRange before) {
          SmallVector<LevelPairs> ofHeads;
          for (int64_t i = 0; i < heads; ++i)
            ofHeads.push_back(std::get<LevelPairs>(getOf(first, i, slots)));
          auto isHere = [&](int64_t product) {
            return b.compare(CmpIPredicate::eq, first,
                             b.index(product * heads));
          };
          SmallVector<Value> own(before.take_front(4)), after;
          for (int64_t product = 1; product < products; ++product)
            for (int64_t i = 0; i < 4; ++i)
              own[i] =
                  b.select(isHere(product), before[4 * product + i], own[i]);
          addMasses(b, lane, ofHeads, marked.left, kHeadroom, own);
          for (auto [i, sum] : llvm::enumerate(before))
            after.push_back(
                b.select(isHere(static_cast<int64_t>(i) / 4), own[i % 4], sum));
          return after;
        });
    next.insert(next.begin(),
                {b.addI(now[0], math::CtPopOp::create(b, marked.own)),
                 b.orI(now[1], marked.ownLeft)});
    return next;
  });
  Value isLeft = b.compare(CmpIPredicate::ne, sums[1], b.i32(0));
  SmallVector<Value> found = {sums[0], b.select(isLeft, b.i32(1), b.i32(0))};
  for (int64_t product = 0; product < products; ++product)
    llvm::append_range(
        found,
        getSumsOfHeads(b, lane, ValueRange(sums).slice(2 + 4 * product, 4),
                       std::min(heads, group - heads * product)));
  SmallVector<Join> joins(found.size(), Join::sum);
  joins[1] = Join::either;
  (void)joinMarked(found, joins);
  return getMarkedDeep();
}

/// Heads after each other; tails come later.
PickLauncher::Marked PickLauncher::markByHeads() {
  Value zero = b.index(0), no = b.boolean(false);
  Value count =
      forEachSlot(
          b.i32(0),
          [&](ArrayRef<Slot> slots, ValueRange now) -> SmallVector<Value> {
            SmallVector<Value> needed(slots.size(), no);
            needed = b.forLoop(
                zero, b.index(group), 1, needed,
                [&](Value head, ValueRange before) {
                  SmallVector<Value> taken(before);
                  Levels found = loadLevels(head, slots);
                  Value below = getBelow(b.load(tops, head), found.top);
                  Value end = b.load(ends, head);
                  for (auto [i, is] : llvm::enumerate(taken))
                    is = b.orI(is, b.compare(CmpIPredicate::slt,
                                             getDepth(found, below, i), end));
                  return taken;
                });
            for (auto [is, slot] : llvm::zip_equal(needed, slots))
              is = andOpen(slot, orAlways(slot, is));
            forEachWord(needed, slots, [&](Value word, Value slot) {
              storeMarked(word, slot);
            });
            Value number = math::CtPopOp::create(b, getOwnBits(needed));
            return {b.addI(now[0], number)};
          })
          .front();
  return joinMarked(count, Join::sum);
}
