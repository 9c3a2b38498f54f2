//===- PickBlocks.cpp - What threads and blocks of a pick share -----------===//
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

static Value toBits(WarpBuilder &b, Value value) {
  if (value.getType().isInteger(32))
    return value;
  return arith::BitcastOp::create(b, b.getI32Type(), value);
}

static Value fromBits(WarpBuilder &b, Value bits, Type type) {
  if (type.isInteger(32))
    return bits;
  return arith::BitcastOp::create(b, type, bits);
}

void PickLauncher::storeOnce(Value value, Value to, ValueRange at) {
  b.ifThen(isFirstThread(), [&] { b.store(value, to, at); });
}

Value PickLauncher::join(Join how, Value x, Value y) {
  switch (how) {
  case Join::sum:
    return addAny(x, y);
  case Join::most:
    return b.maxNumber(x, y);
  case Join::least:
    return b.minI(x, y);
  case Join::either:
    return b.orI(x, y);
  }
  llvm_unreachable("all are listed");
}

Value PickLauncher::reduce(Value value, Join how) {
  Type type = value.getType();
  value = b.combine(value, [&](Value x, Value y) { return join(how, x, y); });
  Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
  b.ifThen(isFirst, [&] {
    b.store(toBits(b, value), perWarp, {warp, b.index(0)});
  });
  b.barrier();
  Value joined;
  for (int64_t i = 0; i < warps; ++i) {
    Value other = fromBits(b, b.load(perWarp, {b.index(i), b.index(0)}), type);
    joined = joined ? join(how, joined, other) : other;
  }
  b.barrier();
  return joined;
}

Value PickLauncher::addUpLanes(Value sum) {
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value other = b.shuffleUp(sum, distance);
    Value isThere = b.compare(CmpIPredicate::uge, lane, b.index(distance));
    sum = b.select(isThere, addAny(sum, other), sum);
  }
  return sum;
}

std::pair<Value, Value> PickLauncher::scan(Value value) {
  Type type = value.getType();
  Value zero = type.isF32() ? b.f32(0.0f) : b.i32(0);
  auto isFrom = [&](int64_t distance) {
    return b.compare(CmpIPredicate::uge, lane, b.index(distance));
  };
  Value sum = addUpLanes(value);
  Value before = b.select(isFrom(1), b.shuffleUp(sum, 1), zero);
  b.ifThen(isFrom(kWarp - 1), [&] {
    b.store(toBits(b, sum), perWarp, {warp, b.index(0)});
  });
  b.barrier();
  Value earlier = zero, total = zero;
  for (int64_t i = 0; i < warps; ++i) {
    Value other = fromBits(b, b.load(perWarp, {b.index(i), b.index(0)}), type);
    Value isEarlier = b.compare(CmpIPredicate::ult, b.index(i), warp);
    earlier = b.select(isEarlier, addAny(earlier, other), earlier);
    total = addAny(total, other);
  }
  b.barrier();
  return {addAny(earlier, before), total};
}

SmallVector<Value> PickLauncher::getTold(Value ofBlock, Value number) {
  if (clusterBlocks == 1)
    return {number};
  return {row, kvHead, ofBlock, number};
}

void PickLauncher::leave(ArrayRef<Value> values, Joins joins, int64_t first) {
  SmallVector<Value> joined;
  for (auto [value, how] : llvm::zip_equal(values, joins))
    joined.push_back(b.combine(
        value, [&, how = how](Value x, Value y) { return join(how, x, y); }));
  Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
  b.ifThen(isFirst, [&] {
    for (auto [i, value] : llvm::enumerate(joined))
      b.store(toBits(b, value), perWarp, {warp, b.index(i)});
  });
  b.barrier();
  // A thread for each, in the order of warps.
  SmallVector<Type> types(ValueRange(values).getTypes());
  forEachPart(values.size(), [&](int64_t from, int64_t size) {
    Value isOwn = b.compare(CmpIPredicate::eq, warp, b.index(from / kWarp));
    isOwn = b.andI(isOwn, b.compare(CmpIPredicate::ult, lane, b.index(size)));
    b.ifThen(isOwn, [&] {
      Value own = b.addI(lane, b.index(from));
      SmallVector<Value> each;
      for (int64_t other = 0; other < warps; ++other)
        each.push_back(b.load(perWarp, {b.index(other), own}));
      Value all = joinOwn(each, ArrayRef(types).slice(from, size),
                          joins.slice(from, size));
      b.store(all, told, getTold(block, b.addI(own, b.index(first))));
    });
  });
}

/// A part for each warp's lanes.
void PickLauncher::forEachPart(
    int64_t number, function_ref<void(int64_t from, int64_t size)> body) {
  for (int64_t from = 0; from < number; from += kWarp)
    body(from, std::min(number - from, kWarp));
}

/// Of a lane's value, bits from each warp or block, as i32: lanes differ in the
/// types and joins of theirs, not in what they do. A branch for each would be
/// code that is read once, and waited for.
Value PickLauncher::joinOwn(ArrayRef<Value> each, TypeRange types,
                            Joins joins) {
  llvm::MapVector<std::pair<Join, Type>, uint32_t> lanesOf;
  for (auto [lane, how, type] : llvm::enumerate(joins, types))
    lanesOf[{how, type}] |= uint32_t(1) << lane;
  Value own;
  for (auto [kind, lanes] : lanesOf) {
    Value all;
    for (Value bits : each) {
      Value one = fromBits(b, bits, kind.second);
      all = all ? join(kind.first, all, one) : one;
    }
    all = toBits(b, all);
    Value isOwn = b.compare(CmpIPredicate::ne,
                            b.andI(laneBit, b.i32(static_cast<int32_t>(lanes))),
                            b.i32(0));
    own = own ? b.select(isOwn, all, own) : all;
  }
  return own;
}

SmallVector<Value> PickLauncher::collectEach(int64_t number, Type type) {
  SmallVector<Value> values;
  for (int64_t i = 0; i < clusterBlocks; ++i) {
    SmallVector<Value> at = getTold(b.index(i), b.index(number));
    values.push_back(fromBits(b, b.load(told, at), type));
  }
  return values;
}

Value PickLauncher::addUpBefore(ArrayRef<Value> each) {
  Value sum = b.i32(0);
  for (auto [i, one] : llvm::enumerate(each)) {
    Value isBefore =
        b.compare(CmpIPredicate::ult, b.index(static_cast<int64_t>(i)), block);
    sum = b.addI(sum, b.select(isBefore, one, b.i32(0)));
  }
  return sum;
}

SmallVector<Value> PickLauncher::collect(TypeRange types, Joins joins,
                                         int64_t first) {
  SmallVector<Value> all;
  forEachPart(types.size(), [&](int64_t from, int64_t size) {
    // What lanes behind the last one have is of no value.
    Value own = b.minI(lane, b.index(size - 1));
    Value number = b.addI(own, b.index(first + from));
    SmallVector<Value> each;
    for (int64_t i = 0; i < clusterBlocks; ++i)
      each.push_back(b.load(told, getTold(b.index(i), number)));
    Value joined =
        joinOwn(each, types.slice(from, size), joins.slice(from, size));
    for (int64_t i = 0; i < size; ++i)
      all.push_back(fromBits(b, b.shuffle(joined, b.i32(i)), types[from + i]));
  });
  return all;
}

SmallVector<Value> PickLauncher::reduceAll(ArrayRef<Value> values,
                                           Joins joins) {
  assert(values.size() <= static_cast<size_t>(numTold) &&
         "there is room for as many");
  leave(values, joins);
  waitCluster();
  SmallVector<Value> all = collect(ValueRange(values).getTypes(), joins);
  waitCluster();
  return all;
}

PickLauncher::Marked PickLauncher::joinMarked(ArrayRef<Value> sums,
                                              Joins joins) {
  assert(sums.size() <= static_cast<size_t>(numTold) &&
         "there is room for as many");
  leave(sums, joins, getToldOfMarks());
  waitCluster();
  return getMarked(ValueRange(sums).getTypes(), joins);
}

PickLauncher::Marked PickLauncher::getMarked(TypeRange types, Joins joins) {
  SmallVector<Value> all = collect(types, joins, getToldOfMarks());
  Marked marked;
  marked.number = all.front();
  marked.left.append(all.begin() + 1, all.end());
  return marked;
}

void PickLauncher::clearBins(int64_t size) {
  b.forLoop(thread, b.index(size), threads,
            [&](Value at) { b.store(b.i32(0), bins, at); });
  b.barrier();
}

/// Fewer threads wait for memory, of other blocks above all.
void PickLauncher::forEachFour(int64_t size, function_ref<void(Value)> body) {
  assert(size % 4 == 0 && "in whole vectors");
  b.forLoop(b.mulI(thread, b.index(4)), b.index(size), 4 * threads, body);
}

Value PickLauncher::loadFour(Value from, ValueRange at) {
  return vector::LoadOp::create(b, VectorType::get({4}, b.getI32Type()), from,
                                at, /*nontemporal=*/false,
                                llvm::MaybeAlign(16));
}

void PickLauncher::storeFour(Value four, Value to, ValueRange at) {
  vector::StoreOp::create(b, four, to, at, /*nontemporal=*/false,
                          llvm::MaybeAlign(16));
}

void PickLauncher::addToBin(Value at, Value amount) {
  memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi, amount, bins, at);
}

SmallVector<Value> PickLauncher::addUpBins(int64_t size, ArrayRef<Value> values,
                                           Joins joins) {
  leave(values, joins); // waits for the bins of the block
  if (clusterBlocks > 1)
    forEachFour(size, [&](Value at) {
      storeFour(loadFour(bins, at), between, {row, kvHead, block, at});
    });
  waitCluster();
  SmallVector<Value> all = collect(ValueRange(values).getTypes(), joins);
  if (clusterBlocks > 1)
    forEachFour(size, [&](Value at) {
      Value sum;
      for (int64_t i = 0; i < clusterBlocks; ++i) {
        Value other = loadFour(between, {row, kvHead, b.index(i), at});
        sum = sum ? b.addI(sum, other) : other;
      }
      storeFour(sum, bins, at);
    });
  waitCluster();
  return all;
}
