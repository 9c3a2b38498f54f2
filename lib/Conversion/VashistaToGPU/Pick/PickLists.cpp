//===- PickLists.cpp - Lists of what is picked, on a GPU ------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

void PickLauncher::writeNothing() {
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&] { b.store(b.i32(0), counts, {row, kvHead}); });
  pad(b.index(0));
}

void PickLauncher::pad(Value first) {
  if (!padsList)
    return;
  Value own = b.addI(b.mulI(block, b.index(threads)), thread);
  b.forLoop(b.addI(first, own), b.index(op.getBudget()),
            threads * clusterBlocks, [&](Value at) {
              b.store(b.i32(-1), ids, {row, kvHead, at});
            });
}

/// Consecutive ones, so that picks are in the order of slots.
std::pair<Value, Value> PickLauncher::getOwnWords() {
  Value ofWarp = arith::CeilDivUIOp::create(b, b.subI(lastWord, firstWord),
                                            b.index(warps));
  Value begin = b.minI(b.addI(firstWord, b.mulI(warp, ofWarp)), lastWord);
  return {begin, b.minI(b.addI(begin, ofWarp), lastWord)};
}

Value PickLauncher::loadPicked(Value word, int64_t which) {
  return b.load(picked, {row, kvHead, word, b.index(which)});
}

/// Of what is marked, if nothing is over the budget.
Value PickLauncher::loadMarked(Value word) {
  return keepsMarks ? b.load(ownMarks, b.subI(word, firstWord))
                    : loadPicked(word, 0);
}

/// A warp looks at 32 of its words at a time, each lane at one.
void PickLauncher::writePicks(Value numTies) {
  Value zero = b.i32(0), one = b.i32(1), last = b.i32(kWarp - 1);
  auto countBits = [&](Value word) -> Value {
    return math::CtPopOp::create(b, word);
  };
  auto clamp = [&](Value count, Value most) {
    return b.maxI(b.minI(count, most), zero);
  };
  Value begin, end;
  std::tie(begin, end) = getOwnWords();
  SmallVector<Value> counted(numTies ? 2 : 1, zero);
  counted = b.forLoop(b.addI(begin, lane), end, kWarp, counted,
                      [&](Value word, ValueRange carried) {
                        SmallVector<Value> next;
                        for (auto [i, count] : llvm::enumerate(carried)) {
                          Value bits =
                              numTies
                                  ? loadPicked(word, static_cast<int64_t>(i))
                                  : loadMarked(word);
                          next.push_back(b.addI(count, countBits(bits)));
                        }
                        return next;
                      });
  // Where this warp's picks and ties begin: behind those of other blocks, and
  // of the warps before.
  Value all = zero, first = zero, tiesBefore = zero;
  auto loadOfWarp = [&](int64_t warp, int64_t which) {
    return b.load(perWarp, {b.index(warp), b.index(which)});
  };
  if (!numTies) {
    SmallVector<Value> each = collectEach(getToldOfMarks(), b.getI32Type());
    for (Value marked : each)
      all = b.addI(all, marked);
    first = addUpBefore(each);
    Value ofWarp =
        b.combine(counted[0], [&](Value x, Value y) { return b.addI(x, y); });
    b.ifThen(isFirstLane(), [&] {
      b.store(ofWarp, perWarp, {warp, b.index(0)});
    });
    b.barrier();
    for (int64_t i = 0; i < warps; ++i) {
      Value isBefore = b.compare(CmpIPredicate::ult, b.index(i), warp);
      first = b.addI(first, b.select(isBefore, loadOfWarp(i, 0), zero));
    }
  } else {
    leave(counted, {Join::sum, Join::sum});
    waitCluster();
    Value total = zero, ties = zero;
    auto pass = [&](Value better, Value tie, Value isBefore) {
      Value kept = clamp(b.subI(numTies, ties), tie);
      ties = b.addI(ties, tie);
      tiesBefore = b.select(isBefore, ties, tiesBefore);
      total = b.addI(total, b.addI(better, kept));
      first = b.select(isBefore, total, first);
    };
    SmallVector<Value> better = collectEach(0, b.getI32Type()),
                       tie = collectEach(1, b.getI32Type());
    for (int64_t i = 0; i < clusterBlocks; ++i)
      pass(better[i], tie[i], b.compare(CmpIPredicate::ult, b.index(i), block));
    all = total;
    total = first;
    ties = tiesBefore;
    for (int64_t i = 0; i < warps; ++i)
      pass(loadOfWarp(i, 0), loadOfWarp(i, 1),
           b.compare(CmpIPredicate::ult, b.index(i), warp));
    waitCluster();
  }

  SmallVector<Value> state = {first};
  if (numTies)
    state.push_back(tiesBefore);
  b.forLoop(begin, end, kWarp, state, [&](Value start, ValueRange carried) {
    Value word = b.addI(start, lane);
    Value isThere = b.compare(CmpIPredicate::slt, word, end);
    word = b.minI(word, b.subI(end, b.index(1)));
    Value bits = numTies ? loadPicked(word, 0) : loadMarked(word);
    bits = b.select(isThere, bits, zero);
    SmallVector<Value> next;
    if (numTies) {
      Value maybe = b.select(isThere, loadPicked(word, 1), zero);
      Value number = countBits(maybe), upTo = addUpLanes(number);
      Value before = b.addI(carried[1], b.subI(upTo, number));
      // The lowest bits, one after the other.
      Value most = clamp(b.subI(numTies, before), number);
      bits = b.forLoop(b.index(0), b.toIndex(most), 1, ValueRange{maybe, bits},
                       [&](Value, ValueRange now) -> SmallVector<Value> {
                         Value rest = b.andI(now[0], b.subI(now[0], one));
                         Value lowest = arith::XOrIOp::create(b, now[0], rest);
                         return {rest, b.orI(now[1], lowest)};
                       })[1];
      next.push_back(b.addI(carried[1], b.shuffle(upTo, last)));
    }
    Value number = countBits(bits), upTo = addUpLanes(number);
    Value to = b.toIndex(b.addI(carried[0], b.subI(upTo, number)));
    b.forLoop(b.index(0), b.toIndex(number), 1, ValueRange{bits},
              [&](Value i, ValueRange now) -> SmallVector<Value> {
                Value bit = math::CountTrailingZerosOp::create(b, now[0]);
                Value slot =
                    b.addI(b.mulI(word, b.index(kWarp)), b.toIndex(bit));
                Value id =
                    op.getUnit() == SlotUnit::pages ? slot : getPosition(slot);
                b.store(b.toI32(id), ids, {row, kvHead, b.addI(to, i)});
                return {b.andI(now[0], b.subI(now[0], one))};
              });
    if (numTies)
      b.ifThen(isThere, [&] {
        b.store(bits, picked, {row, kvHead, word, b.index(0)});
      });
    next.insert(next.begin(), b.addI(carried[0], b.shuffle(upTo, last)));
    return next;
  });
  pad(b.toIndex(all));
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&] { b.store(all, counts, {row, kvHead}); });
  b.barrier();
}

SmallVector<Value> PickLauncher::addTiesLeft(ValueRange left) {
  auto [begin, end] = getOwnWords();
  return b.forLoop(
      b.addI(begin, lane), end, kWarp, left, [&](Value word, ValueRange now) {
        Value gone = arith::XOrIOp::create(b, loadPicked(word, 0), b.i32(-1));
        SmallVector<Value> state(now);
        state.push_back(b.andI(loadPicked(word, 1), gone));
        Value number = b.toIndex(math::CtPopOp::create(b, state.back()));
        state =
            b.forLoop(b.index(0), number, 1, state, [&](Value, ValueRange now) {
              SmallVector<Value> next(now);
              Value bits = next.back();
              Value bit = math::CountTrailingZerosOp::create(b, bits);
              Slot slot;
              slot.number =
                  b.addI(b.mulI(word, b.index(kWarp)), b.toIndex(bit));
              Value spread;
              if (hasMoment())
                spread = getSureSpreads(loadSpreads(slot)).front();
              for (int64_t head = 0; head < group; ++head) {
                Levels found = loadLevels(b.index(head), slot);
                Value below = getBelow(b.load(tops, b.index(head)), found.top);
                addLeft(head, getDepth(found, below, 0), spread,
                        b.boolean(true),
                        MutableArrayRef<Value>(next).drop_back());
              }
              next.back() = b.andI(bits, b.subI(bits, b.i32(1)));
              return next;
            });
        state.pop_back();
        return state;
      });
}
