//===- BestScores.cpp - The best of few slots, by a block -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BestScores.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// More than slots are.
static constexpr int64_t kAllTies = 1 << 15;
static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Value vashista::toRank(WarpBuilder &b, Value score) {
  // The bits of a float in two's complement order, then as unsigned.
  score = b.maxNumber(score, b.negInf());
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), score);
  Value sign = arith::ShRSIOp::create(b, bits, b.i32(31));
  Value flip = b.orI(sign, b.i32(std::numeric_limits<int32_t>::min()));
  return arith::XOrIOp::create(b, bits, flip);
}

void Candidates::add(Value bits) {
  Value score = arith::BitcastOp::create(b, b.getF32Type(), bits);
  Value isFree = b.compare(CmpFPredicate::ORD, score, score);
  number = b.addI(number, b.select(isFree, b.i32(1), b.i32(0)));
  if (hasAlways) {
    Value isAlways = b.compare(CmpIPredicate::eq, bits, b.i32(kAlways));
    Value bit = b.i32(static_cast<int64_t>(uint32_t(1) << scores.size()));
    always = b.orI(always, b.select(isAlways, bit, b.i32(0)));
  }
  scores.push_back(score);
}

int64_t BestScores::getUsual(PickOp op) {
  int64_t unit = op.getUnit() == SlotUnit::pages ? op.getPageSize() : 1;
  return static_cast<int64_t>(op.getBudget()) -
         llvm::divideCeil(op.getSinks(), unit) -
         llvm::divideCeil(op.getWindow(), unit);
}

int64_t BestScores::getNumFew(int64_t warps, int64_t usual) {
  int64_t members = getMembers(warps, usual);
  if (members == 0)
    return 1;
  int64_t groups = llvm::alignTo(warps * kWarp / members, getStride(members));
  return getTopsAt(warps, members) + groups;
}

Value BestScores::toScore(Value rank) {
  constexpr int64_t kLowest = 0x007fffff; // of -inf; below is NaN
  rank = arith::MaxUIOp::create(b, rank, b.i32(kLowest));
  Value isNegative = b.compare(CmpIPredicate::sge, rank, b.i32(0));
  Value flip = b.select(isNegative, b.i32(-1),
                        b.i32(std::numeric_limits<int32_t>::min()));
  return arith::BitcastOp::create(b, b.getF32Type(),
                                  arith::XOrIOp::create(b, rank, flip));
}

BestScores::BestScores(WarpBuilder &b, int64_t warps, int64_t own,
                       Value counters, Value perWarp, Value few)
    : b(b), warps(warps), own(own), counters(counters), perWarp(perWarp),
      few(few) {
  Value thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  firstSlot = b.mulI(thread, b.index(own));
}

Value BestScores::getBitsBefore(Value slot) {
  Value number = b.subI(b.toI32(slot), b.toI32(getSlot(int64_t(0))));
  number = b.maxI(b.minI(number, b.i32(own)), b.i32(0));
  Value bits = b.subI(arith::ShLIOp::create(b, b.i32(1), number), b.i32(1));
  if (own < kWarp)
    return bits;
  Value isAll = b.compare(CmpIPredicate::eq, number, b.i32(kWarp));
  return b.select(isAll, b.i32(-1), bits);
}

// Each step has columns of its own: a barrier less, before the next one writes.
void BestScores::leave(Value value, int64_t column) {
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
    b.store(value, perWarp, {warp, b.index(column)});
  });
}

Value BestScores::takeWarps(int64_t column, int64_t otherwise) {
  Value isThere = b.compare(CmpIPredicate::slt, lane, b.index(warps));
  Value from = b.minI(lane, b.index(warps - 1));
  return b.select(isThere, b.load(perWarp, {from, b.index(column)}),
                  b.i32(otherwise));
}

SmallVector<Value> BestScores::count(ArrayRef<Value> scores,
                                     ArrayRef<Value> ranks, Value counter) {
  for (auto [i, rank] : llvm::enumerate(ranks)) {
    Value sum = b.i32(0), least = toScore(rank);
    for (Value score : scores) {
      Value is = b.compare(CmpFPredicate::OGE, score, least);
      sum = b.addI(sum, b.select(is, b.i32(1), b.i32(0)));
    }
    sum = b.addUpWarp(sum);
    Value isOwn = b.compare(CmpIPredicate::eq, lane, b.index(i));
    b.ifThen(isOwn, [&, i = i] {
      memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi, sum, counters,
                                  b.addI(counter, b.index(i)));
    });
  }
  b.barrier();
  SmallVector<Value> numbers;
  for (int64_t i = 0, end = ranks.size(); i < end; ++i)
    numbers.push_back(b.load(counters, b.addI(counter, b.index(i))));
  return numbers;
}

BestScores::Found BestScores::search(ArrayRef<Value> scores, Value need,
                                     Value isExact) {
  Type types[] = {b.getIndexType(), b.getI32Type(), b.getI32Type(),
                  b.getI1Type()};
  Value start[] = {b.index(kDigits), b.i32(0), b.i32(0), isExact};
  auto within = [&](OpBuilder &inner, function_ref<void()> body) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
    body();
  };
  auto loop = scf::WhileOp::create(
      b, types, start,
      [&](OpBuilder &inner, Location, ValueRange now) {
        within(inner, [&] {
          Value goesOn =
              b.andI(b.compare(CmpIPredicate::ugt, now[0], b.index(0)),
                     arith::XOrIOp::create(b, now[3], b.boolean(true)));
          scf::ConditionOp::create(b, goesOn, now);
        });
      },
      [&](OpBuilder &inner, Location, ValueRange now) {
        within(inner, [&] {
          Value digit = b.subI(now[0], b.index(1));
          Value shift = b.toI32(b.mulI(digit, b.index(kBits)));
          SmallVector<Value> limits;
          for (int64_t value = 1; value < 1 << kBits; ++value)
            limits.push_back(
                b.orI(now[1], arith::ShLIOp::create(b, b.i32(value), shift)));
          SmallVector<Value> numbers =
              count(scores, limits, b.mulI(digit, b.index(limits.size())));
          // The largest value that as many reach; they are fewer for larger
          // ones.
          Value prefix = now[1], above = now[2], isExact = b.boolean(false);
          for (auto [limit, number] : llvm::zip_equal(limits, numbers)) {
            Value reaches = b.compare(CmpIPredicate::sge, number, need);
            prefix = b.select(reaches, limit, prefix);
            isExact = b.select(
                reaches, b.compare(CmpIPredicate::eq, number, need), isExact);
          }
          for (Value number : llvm::reverse(numbers)) {
            Value fails = b.compare(CmpIPredicate::slt, number, need);
            above = b.select(fails, number, above);
          }
          scf::YieldOp::create(b, ValueRange{digit, prefix, above, isExact});
        });
      });
  return {loop.getResult(1), loop.getResult(2), loop.getResult(3)};
}

BestScores::Nth BestScores::findNth(int64_t first, Value number, Value need,
                                    int64_t members) {
  constexpr int64_t kTogether = 4;
  int64_t stride = getStride(members), own = stride / members;
  Value thread = b.threadId(), none = b.i32(-1), zero = b.index(0);
  Value mineAt = b.divU(thread, b.index(members)),
        part = b.mulI(b.remU(thread, b.index(members)), b.index(kTogether));
  auto toFloat = [&](Value bits) -> Value {
    return arith::BitcastOp::create(b, b.getF32Type(), bits);
  };
  // How many of the thread's part of the others are above a value.
  auto countAbove = [&](Value mine) {
    return b
        .forLoop(zero, number, stride, ValueRange{b.i32(0)},
                 [&](Value from, ValueRange sum) -> SmallVector<Value> {
                   SmallVector<Value> bits; // added up in pairs
                   for (int64_t i = 0; i < own; i += kTogether) {
                     Value at = b.addI(from, b.index(first + i * members));
                     Value values = vector::LoadOp::create(
                         b, VectorType::get({kTogether}, b.getI32Type()), few,
                         b.addI(at, part),
                         /*nontemporal=*/false, llvm::MaybeAlign(16));
                     for (int64_t j = 0; j < kTogether; ++j) {
                       Value other = toFloat(vector::ExtractOp::create(
                           b, values, ArrayRef<int64_t>{j}));
                       Value is = b.compare(CmpFPredicate::OGT, other, mine);
                       bits.push_back(b.select(is, b.i32(1), b.i32(0)));
                     }
                   }
                   for (int64_t size = own / 2; size > 0; size /= 2)
                     for (int64_t i = 0; i < size; ++i)
                       bits[i] = b.addI(bits[i], bits[size + i]);
                   return {b.addI(sum[0], bits[0])};
                 })
        .front();
  };
  // Of the thread's values the lowest with fewer than `need` above it.
  SmallVector<Value> lowest = b.forLoop(
      zero, number, warps * kWarp / members, ValueRange{none, b.f32(kNaN)},
      [&](Value from, ValueRange now) -> SmallVector<Value> {
        Value at = b.addI(from, mineAt);
        Value isLower = b.compare(CmpIPredicate::slt, at, number);
        Value last = b.subI(number, b.index(1));
        Value mine =
            toFloat(b.load(few, b.addI(b.minI(at, last), b.index(first))));
        Value above = countAbove(mine);
        for (int64_t mask = 1; mask < members; mask *= 2)
          above = b.addI(above, b.shuffleXor(above, mask));
        for (Value is : {b.compare(CmpIPredicate::slt, above, need),
                         b.compare(CmpIPredicate::sgt, above, now[0]),
                         b.compare(CmpFPredicate::ORD, mine, mine)})
          isLower = b.andI(isLower, is);
        return {b.select(isLower, above, now[0]),
                b.select(isLower, mine, now[1])};
      });
  // And of all lanes', or warps'.
  auto join = [&](Value above, Value value) -> Nth {
    Value most = b.getMostOfWarp(above);
    Value lanes = b.ballot(b.compare(CmpIPredicate::eq, above, most));
    Value from = math::CountTrailingZerosOp::create(b, lanes);
    return {b.shuffle(value, from), most};
  };
  Nth ofWarp = join(lowest[0], lowest[1]);
  leave(ofWarp.above, 1);
  leave(arith::BitcastOp::create(b, b.getI32Type(), ofWarp.value), 2);
  b.barrier();
  return join(takeWarps(1, -1), toFloat(takeWarps(2, Candidates::kNothing)));
}

/// The groups' highest scores, and NaN in all that is compared with them or
/// with what reaches them.
void BestScores::leaveTops(int64_t members) {
  int64_t threads = warps * kWarp, groups = threads / members,
          at = getTopsAt(warps, members);
  Value thread = b.threadId();
  auto toBits = [&](Value score) -> Value {
    return arith::BitcastOp::create(b, b.getI32Type(), score);
  };
  auto clear = [&](int64_t first, int64_t end) {
    b.forLoop(b.addI(thread, b.index(first)), b.index(end), threads,
              [&](Value at) { b.store(toBits(b.f32(kNaN)), few, at); });
  };
  clear(0, at);
  if (groups % getStride(members))
    clear(at + groups, at + llvm::alignTo(groups, getStride(members)));
  Value top = highest;
  for (int64_t mask = 1; mask < members; mask *= 2)
    top = b.maxNumber(top, b.shuffleXor(top, mask));
  Value isFirst = b.compare(CmpIPredicate::eq, b.remU(thread, b.index(members)),
                            b.index(0));
  b.ifThen(isFirst, [&] {
    Value group = b.divU(thread, b.index(members));
    b.store(toBits(top), few, b.addI(group, b.index(at)));
  });
}

/// In any order.
void BestScores::gatherOwn(ArrayRef<Value> scores, Value least, int64_t room) {
  SmallVector<Value> isIn;
  Value here = b.i32(0);
  for (Value score : scores) {
    isIn.push_back(b.compare(CmpFPredicate::OGE, score, least));
    here = b.addI(here, b.select(isIn.back(), b.i32(1), b.i32(0)));
  }
  Value upTo = here;
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value isFrom = b.compare(CmpIPredicate::uge, lane, b.index(distance));
    Value below = b.shuffleUp(upTo, distance);
    upTo = b.addI(upTo, b.select(isFrom, below, b.i32(0)));
  }
  Value isLast = b.compare(CmpIPredicate::eq, lane, b.index(kWarp - 1));
  b.ifThen(isLast, [&] {
    Value start = memref::AtomicRMWOp::create(
        b, arith::AtomicRMWKind::addi, upTo, counters, b.index(kNumberAt));
    b.store(start, perWarp, {warp, b.index(3)});
  });
  b.warpBarrier();
  Value start = b.load(perWarp, {warp, b.index(3)});
  Value at = b.addI(start, b.subI(upTo, here));
  b.ifThen(b.compare(CmpIPredicate::sgt, here, b.i32(0)), [&] {
    for (auto [score, is] : llvm::zip_equal(scores, isIn)) {
      Value hasRoom = b.compare(CmpIPredicate::slt, at, b.i32(room));
      b.ifThen(b.andI(is, hasRoom), [&, score = score] {
        Value bits = arith::BitcastOp::create(b, b.getI32Type(), score);
        b.store(bits, few, b.toIndex(at));
      });
      at = b.addI(at, b.select(is, b.i32(1), b.i32(0)));
    }
  });
}

std::pair<BestScores::Nth, Value> BestScores::findOfFew(Value available,
                                                        Value need,
                                                        int64_t members,
                                                        Gather gather) {
  int64_t groups = warps * kWarp / members, room = getRoom(warps, members);
  Nth ofGroups =
      findNth(getTopsAt(warps, members), b.index(groups), need, members);
  // Where groups are too few, as of a short sequence, so may be all slots.
  Value isNone = b.andI(
      b.compare(CmpIPredicate::slt, ofGroups.above, b.subI(need, b.i32(1))),
      b.compare(CmpIPredicate::sle, available, b.i32(room)));
  Value least = b.select(isNone, b.negInf(), ofGroups.value);
  gather(least, room);
  b.barrier();
  Value number = b.load(counters, b.index(kNumberAt));
  Value areFew = b.andI(b.compare(CmpIPredicate::sge, number, need),
                        b.compare(CmpIPredicate::sle, number, b.i32(room)));
  Value those = b.select(areFew, number, b.i32(0));
  return {findNth(0, b.toIndex(those), need, members), areFew};
}

void BestScores::clearCounters() {
  b.forLoop(b.threadId(), b.index(kCounters), warps * kWarp,
            [&](Value at) { b.store(b.i32(0), counters, at); });
}

void BestScores::find(const Candidates &all, int64_t budget, int64_t usual) {
  ArrayRef<Value> scores = all.scores;
  room = b.i32(budget);
  // Both are less than 2^15, together.
  constexpr int64_t kHigh = 16;
  Value numAlways = math::CtPopOp::create(b, all.always);
  leave(b.addUpWarp(b.orI(all.number,
                          arith::ShLIOp::create(b, numAlways, b.i32(kHigh)))),
        0);
  clearCounters();
  highest = scores.front();
  for (Value score : scores.drop_front())
    highest = b.maxNumber(highest, score);
  int64_t members = getMembers(warps, usual);
  if (members > 0)
    leaveTops(members);
  b.barrier();
  Value both = b.addUpWarp(takeWarps(0, 0));
  Value available = b.andI(both, b.i32(0xffff));
  Value need = b.subI(room, arith::ShRUIOp::create(b, both, b.i32(kHigh)));
  Value isAll = b.compare(CmpIPredicate::sle, available, need);
  if (members == 0) { // too many to compare all with all
    Found found = search(scores, need, isAll);
    limit = toScore(b.select(isAll, b.i32(1), found.prefix));
    ties = b.select(found.isExact, b.i32(kAllTies), b.subI(need, found.above));
    return;
  }
  Value areFew;
  Nth nth;
  std::tie(nth, areFew) =
      findOfFew(available, need, members, [&](Value least, int64_t room) {
        gatherOwn(scores, least, room);
      });
  Found found = search(scores, need, b.orI(isAll, areFew));
  limit = b.select(areFew, nth.value, toScore(found.prefix));
  limit = b.select(isAll, b.negInf(), limit);
  Value above = b.select(areFew, nth.above, found.above);
  Value isExact = b.select(areFew, b.boolean(false), found.isExact);
  isExact = b.orI(isExact, isAll);
  ties = b.select(isExact, b.i32(kAllTies), b.subI(need, above));
}

Value BestScores::findByTops(Value top, Value available, Value need,
                             int64_t budget, int64_t usual, Gather gather) {
  int64_t members = getMembers(warps, usual);
  assert(members > 0 && "few enough to compare all with all");
  room = b.i32(budget);
  highest = top;
  clearCounters();
  leaveTops(members);
  b.barrier();
  auto [nth, areFew] = findOfFew(available, need, members, gather);
  limit = nth.value;
  ties = b.subI(need, nth.above);
  return areFew;
}

Value BestScores::forEachPick(const Candidates &all, Body body) {
  ArrayRef<Value> scores = all.scores;
  assert(scores.size() <= kWarp && "a bit for each");
  Value zero = b.i32(0);
  // A bit of each score that is better, and that is equal; of most threads none
  // is.
  auto emit = [&](OpBuilder &inner, function_ref<SmallVector<Value>()> body) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
    scf::YieldOp::create(b, body());
  };
  Value isAny = b.compare(CmpFPredicate::OGE, highest, limit);
  auto marks = scf::IfOp::create(
      b, isAny,
      [&](OpBuilder &inner, Location) {
        emit(inner, [&]() -> SmallVector<Value> {
          Value better = zero, equal = zero;
          for (auto [i, score] : llvm::enumerate(scores)) {
            Value bit = b.i32(static_cast<int64_t>(uint32_t(1) << i));
            auto mark = [&, score = score](CmpFPredicate predicate) {
              return b.select(b.compare(predicate, score, limit), bit, zero);
            };
            better = b.orI(better, mark(CmpFPredicate::OGT));
            equal = b.orI(equal, mark(CmpFPredicate::OEQ));
          }
          return {better, equal};
        });
      },
      [&](OpBuilder &inner, Location) {
        emit(inner, [&]() -> SmallVector<Value> { return {zero, zero}; });
      });
  return forEachBit(b.orI(marks.getResult(0), all.always), marks.getResult(1),
                    body);
}

Value BestScores::forEachBit(Value better, Value equal, Body body) {
  Value zero = b.i32(0), one = b.i32(1);
  auto clamp = [&](Value number) { return b.minI(number, ties); };
  auto countBits = [&](Value word) -> Value {
    return math::CtPopOp::create(b, word);
  };
  // How many are better and, in the high half, equal: fewer than 2^15 each.
  constexpr int64_t kHigh = 16;
  auto getBetter = [&](Value both) { return b.andI(both, b.i32(0xffff)); };
  auto getEqual = [&](Value both) -> Value {
    return arith::ShRUIOp::create(b, both, b.i32(kHigh));
  };
  Value own = b.orI(countBits(better),
                    arith::ShLIOp::create(b, countBits(equal), b.i32(kHigh)));
  Value sum = own;
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value isFrom = b.compare(CmpIPredicate::uge, lane, b.index(distance));
    sum = b.addI(sum, b.select(isFrom, b.shuffleUp(sum, distance), zero));
  }
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(kWarp - 1)), [&] {
    b.store(sum, perWarp, {warp, b.index(4)});
  });
  b.barrier();
  Value ofWarps = takeWarps(4, 0);
  Value isBefore = b.compare(CmpIPredicate::ult, lane, warp);
  Value total = b.addUpWarp(ofWarps);
  Value bothBefore =
      b.addI(b.addUpWarp(b.select(isBefore, ofWarps, zero)), b.subI(sum, own));
  // Of what is equal the first that there is room for.
  auto clearLowest = [&](Value bits) {
    return b.andI(bits, b.subI(bits, one));
  };
  Value left = b.maxI(b.subI(ties, getEqual(bothBefore)), zero);
  Value spare = b.maxI(b.subI(countBits(equal), left), zero);
  Value kept = b.forLoop(b.index(0), b.toIndex(b.subI(countBits(equal), spare)),
                         1, ValueRange{equal},
                         [&](Value, ValueRange now) -> SmallVector<Value> {
                           return {clearLowest(now[0])};
                         })
                   .front();
  picks = b.orI(better, arith::XOrIOp::create(b, equal, kept));
  before = b.addI(getBetter(bothBefore), clamp(getEqual(bothBefore)));
  b.forLoop(b.index(0), b.toIndex(countBits(picks)), 1,
            ValueRange{picks, before},
            [&](Value, ValueRange now) -> SmallVector<Value> {
              Value number = math::CountTrailingZerosOp::create(b, now[0]);
              // Nobody has room for more, whatever was to be picked.
              b.ifThen(b.compare(CmpIPredicate::slt, now[1], room),
                       [&] { body(number, now[1]); });
              return {clearLowest(now[0]), b.addI(now[1], one)};
            });
  return b.minI(b.addI(getBetter(total), clamp(getEqual(total))), room);
}

void BestScores::countBefore(Value slot, function_ref<void(Value)> body) {
  Value number = b.subI(slot, getSlot(int64_t(0)));
  Value isOwn = b.andI(b.compare(CmpIPredicate::sge, number, b.index(0)),
                       b.compare(CmpIPredicate::slt, number, b.index(own)));
  b.ifThen(isOwn, [&] {
    Value bits = b.andI(picks, getBitsBefore(slot));
    Value ofThread = math::CtPopOp::create(b, bits);
    body(b.minI(b.addI(before, ofThread), room));
  });
}
