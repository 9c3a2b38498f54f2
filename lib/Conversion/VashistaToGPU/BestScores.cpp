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
    : b(b), warps(warps), counters(counters), perWarp(perWarp), few(few) {
  Value thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  firstSlot = b.mulI(thread, b.index(own));
}

Value BestScores::addUp(Value value) {
  value = b.addUpWarp(value);
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
    b.store(value, perWarp, {warp, b.index(0)});
  });
  b.barrier();
  Value sum = b.i32(0);
  for (int64_t i = 0; i < warps; ++i)
    sum = b.addI(sum, b.load(perWarp, {b.index(i), b.index(0)}));
  b.barrier();
  return sum;
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
                                     Found known, Value first, int64_t last,
                                     int64_t counter) {
  Type types[] = {b.getIndexType(), b.getI32Type(), b.getI32Type(),
                  b.getI1Type()};
  Value start[] = {first, known.prefix, known.above, known.isExact};
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
              b.andI(b.compare(CmpIPredicate::ugt, now[0], b.index(last)),
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
          SmallVector<Value> numbers = count(
              scores, limits,
              b.addI(b.mulI(digit, b.index(limits.size())), b.index(counter)));
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

BestScores::Found BestScores::searchFew(ArrayRef<Value> scores, Value need,
                                        Found unknown) {
  // As many as are needed reach the need-th of the threads' highest scores,
  // which need not be known to the last bit.
  constexpr int64_t kHalf = kDigits / 2;
  Value zero = b.i32(0), one = b.i32(1);
  Found rough = search(highest, need, unknown, b.index(kDigits), kHalf, 0);
  Value lowest = rough.prefix, least = toScore(lowest);
  Value threads = b.index(warps * kWarp), numberAt = b.index(2 * kSearch);
  Value isIn = b.compare(CmpFPredicate::OGE, highest, least);
  Value topAt = b.index(2 * kSearch + 1);
  b.ifThen(isIn, [&] {
    memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::maxu,
                                toRank(b, highest), counters, topAt);
    for (Value score : scores) {
      Value isIn = b.compare(CmpFPredicate::OGE, score, least);
      b.ifThen(isIn, [&] {
        Value at = b.toIndex(memref::AtomicRMWOp::create(
            b, arith::AtomicRMWKind::addi, one, counters, numberAt));
        b.ifThen(b.compare(CmpIPredicate::ult, at, threads), [&] {
          b.store(arith::BitcastOp::create(b, b.getI32Type(), score), few, at);
        });
      });
    }
  });
  b.barrier();
  Value number = b.load(counters, numberAt);
  Value isFew = b.compare(CmpIPredicate::sle, number, b.toI32(threads));
  Value isMany = arith::XOrIOp::create(b, isFew, b.boolean(true));
  Value thread = b.threadId();
  Value mine = arith::BitcastOp::create(b, b.getF32Type(), b.load(few, thread));
  Value isThere = b.compare(CmpIPredicate::slt, b.toI32(thread), number);
  mine = b.select(isThere, mine, b.f32(kNaN));
  // What all of the few begin with is known.
  Value differs = arith::XOrIOp::create(b, b.load(counters, topAt), lowest);
  Value bits = b.subI(b.i32(kDigits * kBits),
                      math::CountLeadingZerosOp::create(b, differs));
  Value digits =
      b.divU(b.toIndex(b.addI(bits, b.i32(kBits - 1))), b.index(kBits));
  Value shift = b.toI32(b.mulI(digits, b.index(kBits)));
  Value isWhole = b.compare(CmpIPredicate::eq, digits, b.index(kDigits));
  // No shift by all bits there are.
  Value mask =
      b.select(isWhole, zero, arith::ShLIOp::create(b, b.i32(-1), shift));
  Value prefix =
      b.select(unknown.isExact, unknown.prefix, b.andI(lowest, mask));
  // Of the few or, where many are alike, of all.
  Found ofFew =
      search(mine, need, {prefix, zero, b.orI(unknown.isExact, isMany)}, digits,
             0, kSearch);
  Found ofAll = search(scores, need,
                       {unknown.prefix, zero, b.orI(unknown.isExact, isFew)},
                       b.index(kDigits), 0, kSearch);
  // Where exactly as many are left as are needed, any limit seems to do.
  Value limit = arith::MaxUIOp::create(b, ofFew.prefix, lowest);
  return {b.select(isFew, limit, ofAll.prefix),
          b.select(isFew, ofFew.above, ofAll.above),
          b.select(isFew, ofFew.isExact, ofAll.isExact)};
}

void BestScores::find(ArrayRef<Value> scores, Value available, Value need,
                      int64_t most) {
  Value zero = b.i32(0), one = b.i32(1);
  room = b.i32(most);
  int64_t threads = warps * kWarp;
  b.forLoop(b.threadId(), b.index(kCounters), threads,
            [&](Value at) { b.store(zero, counters, at); });
  b.barrier();
  highest = scores.front();
  for (Value score : scores.drop_front())
    highest = b.maxNumber(highest, score);
  Value isAll = b.compare(CmpIPredicate::sle, available, need);
  Found found = {b.select(isAll, one, zero), zero, isAll};
  constexpr int64_t kMany = 8;
  if (static_cast<int64_t>(scores.size()) < kMany || 2 * most > threads)
    found = search(scores, need, found, b.index(kDigits), 0, kSearch);
  else
    found = searchFew(scores, need, found);
  limit = toScore(found.prefix);
  ties = b.select(found.isExact, b.i32(kAllTies), b.subI(need, found.above));
}

Value BestScores::forEachPick(ArrayRef<Value> scores, Value always,
                              function_ref<void(Value, Value)> body) {
  assert(scores.size() <= kWarp && "a bit for each");
  Value zero = b.i32(0), one = b.i32(1);
  auto clamp = [&](Value number) { return b.minI(number, ties); };
  auto countBits = [&](Value word) -> Value {
    return math::CtPopOp::create(b, word);
  };
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
  Value better = b.orI(marks.getResult(0), always), equal = marks.getResult(1);
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
    b.store(sum, perWarp, {warp, b.index(0)});
  });
  b.barrier();
  Value before = b.subI(sum, own), total = zero;
  for (int64_t i = 0; i < warps; ++i) {
    Value number = b.load(perWarp, {b.index(i), b.index(0)});
    Value isBefore = b.compare(CmpIPredicate::ult, b.index(i), warp);
    total = b.addI(total, number);
    before = b.addI(before, b.select(isBefore, number, zero));
  }
  // Of what is equal the first that there is room for.
  auto clearLowest = [&](Value bits) {
    return b.andI(bits, b.subI(bits, one));
  };
  Value left = b.maxI(b.subI(ties, getEqual(before)), zero);
  Value spare = b.maxI(b.subI(countBits(equal), left), zero);
  Value kept = b.forLoop(b.index(0), b.toIndex(b.subI(countBits(equal), spare)),
                         1, ValueRange{equal},
                         [&](Value, ValueRange now) -> SmallVector<Value> {
                           return {clearLowest(now[0])};
                         })
                   .front();
  Value picks = b.orI(better, arith::XOrIOp::create(b, equal, kept));
  Value at = b.addI(getBetter(before), clamp(getEqual(before)));
  b.forLoop(b.index(0), b.toIndex(countBits(picks)), 1, ValueRange{picks, at},
            [&](Value, ValueRange now) -> SmallVector<Value> {
              Value number = math::CountTrailingZerosOp::create(b, now[0]);
              // Nobody has room for more, whatever was to be picked.
              b.ifThen(b.compare(CmpIPredicate::slt, now[1], room),
                       [&] { body(number, now[1]); });
              return {clearLowest(now[0]), b.addI(now[1], one)};
            });
  return b.minI(b.addI(getBetter(total), clamp(getEqual(total))), room);
}
