//===- AttendMerge.cpp - States of warps and splits, joined ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// Splits
//===----------------------------------------------------------------------===//

/// A block has a row and head. Its warps take splits by turns, a few at a time:
/// what they load must not wait for each other.
void AttendLauncher::launchMerge() {
  constexpr int64_t kAtOnce = 4;
  KernelShape shape;
  shape.name = "merge";
  shape.gridX = b.dim(op.getQuery(), 0);
  shape.gridY = b.dim(op.getQuery(), 1);
  shape.gridZ = b.index(1);
  warps = kMergeWarps;
  shape.threads = warps * kWarp;
  shape.isShort = true;
  SmallVector<Value> written(op.getOuts());
  if (condition)
    written.push_back(condition->flags);
  llvm::append_range(written,
                     ValueRange{host.partials, host.exponents, host.numSplits});
  auto shared = [&](int64_t size) {
    return b.sharedType({warps, size}, b.getF32Type());
  };
  b.launch(shape, getRead(), written, {shared(valueDim), shared(1)},
           [&](ArrayRef<Value> values, ArrayRef<Value> buffers) {
             its = bind(values, true);
             row = b.blockId(gpu::Dimension::x);
             Value head = b.blockId(gpu::Dimension::y), zero = b.index(0);
             Value thread = b.threadId();
             warp = b.divU(thread, b.index(kWarp));
             lane = b.remU(thread, b.index(kWarp));
             kvHead = b.divU(head, b.index(group));
             findSlots();
             Value count =
                 arith::CeilDivUIOp::create(b, numSlots, getSlotsOfSplit());
             attendIf(/*isLast=*/true, head, b.index(1), [&] {
               Value some = b.compare(CmpIPredicate::sgt, count, zero);
               b.ifThen(some, [&] {
                 mergeSplits(head, count, kAtOnce, buffers[0], buffers[1]);
               });
               if (startsEmpty)
                 b.ifThen(b.compare(CmpIPredicate::sle, count, zero),
                          [&] { storeEmpty(head, b.index(1)); });
             });
           });
}

void AttendLauncher::mergeSplits(Value head, Value count, int64_t atOnce,
                                 Value sharedOutputs, Value sharedSums) {
  Value zero = b.index(0), thread = b.threadId();
  auto loadExponent = [&](Value at, int64_t which) {
    return b.load(its.exponents, {row, head, at, b.index(which)});
  };
  Merged merged;
  merged.maximum =
      b.forLoop(lane, count, kWarp, ValueRange{b.negInf()},
                [&](Value at, ValueRange carried) -> SmallVector<Value> {
                  return {b.maxNumber(carried[0], loadExponent(at, 0))};
                })
          .front();
  for (int64_t mask = 1; mask < kWarp; mask *= 2)
    merged.maximum =
        b.maxNumber(merged.maximum, b.shuffleXor(merged.maximum, mask));
  merged.shift = getShift(merged.maximum);

  // A lane has two of each 64 channels. The sum is the same in all lanes.
  auto pair = b.vectorType(2);
  SmallVector<Value> sums(valueDim / 64, b.splat(0.0f, 2));
  sums.push_back(b.f32(0.0f));
  Value channel = b.mulI(lane, b.index(2));
  sums = b.forLoop(
      b.mulI(warp, b.index(atOnce)), count, warps * atOnce, sums,
      [&](Value first, ValueRange carried) -> SmallVector<Value> {
        SmallVector<Value> next(carried);
        for (int64_t i = 0; i < atOnce; ++i) {
          Value at = b.addI(first, b.index(i));
          Value isSplit = b.compare(CmpIPredicate::slt, at, count);
          at = b.minI(at, b.subI(count, b.index(1)));
          Value weight = b.exp2(b.subF(loadExponent(at, 0), merged.shift));
          weight = b.select(isSplit, weight, b.f32(0.0f));
          for (int64_t part = 0; part < valueDim / 64; ++part) {
            Value found = vector::LoadOp::create(
                b, pair, its.partials,
                ValueRange{row, head, at, b.addI(channel, b.index(64 * part))},
                /*nontemporal=*/false, llvm::MaybeAlign(8));
            next[part] = b.fma(b.broadcast(weight, 2), found, next[part]);
          }
          Value sum = b.mulF(weight, loadExponent(at, 1));
          next.back() = b.addF(next.back(), sum);
        }
        return next;
      });
  for (int64_t part = 0; part < valueDim / 64; ++part)
    vector::StoreOp::create(
        b, sums[part], sharedOutputs,
        ValueRange{warp, b.addI(channel, b.index(64 * part))},
        /*nontemporal=*/false, llvm::MaybeAlign(8));
  b.store(sums.back(), sharedSums, {warp, zero});
  Value before = loadBefore(head);
  b.barrier();

  auto addWarps = [&](function_ref<Value(Value)> load) {
    Value sum = load(zero);
    for (int64_t i = 1; i < warps; ++i)
      sum = b.addF(sum, load(b.index(i)));
    return sum;
  };
  merged.sum = addWarps([&](Value at) {
    return b.load(sharedSums, {at, zero});
  });
  b.forLoop(thread, b.index(valueDim), warps * kWarp, [&](Value channel) {
    Value output = addWarps([&](Value at) {
      return b.load(sharedOutputs, {at, channel});
    });
    joinOutput(merged, output, before, head, channel);
  });
  Value isFirst = b.compare(CmpIPredicate::eq, thread, zero);
  b.ifThen(isFirst, [&] {
    b.store(joinLse(merged, before), its.lse, {row, head});
  });
}

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

AttendLauncher::Merged AttendLauncher::mergeExponents(Value head) {
  auto load = [&](int64_t warp, int64_t which) {
    return b.load(sharedExponents, {b.index(warp), head, b.index(which)});
  };
  Merged merged;
  merged.maximum = load(0, 0);
  for (int64_t i = 1; i < warps; ++i)
    merged.maximum = b.maxNumber(merged.maximum, load(i, 0));
  merged.shift = getShift(merged.maximum);
  merged.sum = b.f32(0.0f);
  for (int64_t i = 0; i < warps; ++i) {
    merged.weights.push_back(b.exp2(b.subF(load(i, 0), merged.shift)));
    merged.sum = b.addF(merged.sum, b.mulF(merged.weights[i], load(i, 1)));
  }
  return merged;
}

/// An empty state has no influence, whatever its output holds. NaN is not
/// empty.
Value AttendLauncher::joinLse(const Merged &merged, Value before) {
  Value now = getOwnLse(merged), isEmpty = isEqual(merged.sum, 0.0f);
  if (startsEmpty)
    return b.select(isEmpty, b.negInf(), now);
  Value most = b.maxF(before, now);
  Value total = b.addF(b.exp(b.subF(before, most)), b.exp(b.subF(now, most)));
  Value lse =
      b.select(isEqual(before, -INFINITY), now, b.addF(most, b.log(total)));
  return b.select(isEmpty, before, lse);
}

void AttendLauncher::joinOutput(const Merged &merged, Value output,
                                Value before, Value head, Value channel) {
  Value at[] = {row, head, channel}, isEmpty = isEqual(merged.sum, 0.0f);
  Value mean = b.divF(output, merged.sum);
  if (startsEmpty) {
    b.store(b.select(isEmpty, b.f32(0.0f), mean), its.o, at);
    return;
  }
  Value now = getOwnLse(merged), most = b.maxF(before, now);
  Value weightBefore = b.exp(b.subF(before, most));
  Value weightNow = b.exp(b.subF(now, most));
  Value old = b.load(its.o, at);
  Value sum = b.addF(b.mulF(old, weightBefore), b.mulF(mean, weightNow));
  Value joined = b.select(isEqual(before, -INFINITY), mean,
                          b.divF(sum, b.addF(weightBefore, weightNow)));
  b.store(b.select(isEmpty, old, joined), its.o, at);
}

void AttendLauncher::storeEmpty(Value head, Value count) {
  Value dim = b.index(valueDim), thread = b.threadId();
  b.forLoop(thread, b.mulI(count, dim), warps * kWarp, [&](Value number) {
    Value at[] = {row, b.addI(head, b.divU(number, dim)), b.remU(number, dim)};
    b.store(b.f32(0.0f), its.o, at);
  });
  b.ifThen(b.compare(CmpIPredicate::ult, thread, count), [&] {
    b.store(b.negInf(), its.lse, {row, b.addI(head, thread)});
  });
}
