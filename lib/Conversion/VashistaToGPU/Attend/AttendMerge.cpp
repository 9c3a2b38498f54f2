//===- AttendMerge.cpp - States of warps and splits, joined ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendKernels.h"
#include "Certify/HeadCertificate.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// Splits
//===----------------------------------------------------------------------===//

/// Splits that a warp takes at a time: what it loads must not wait.
static constexpr int64_t kAtOnce = 8;

/// A block has a row and head, whose splits its warps take by turns.
void AttendLauncher::launchMerge() {
  KernelShape shape;
  shape.name = "merge";
  shape.gridX = b.dim(op.getQuery(), 0);
  shape.gridY = b.dim(op.getQuery(), 1);
  shape.gridZ = b.index(1);
  warps = kMergeWarps;
  shape.threads = warps * kWarp;
  shape.isShort = true;
  auto shared = [&](int64_t size) {
    return b.sharedType({warps, 1, size}, b.getF32Type());
  };
  SmallVector<Value> read = getRead(), written = getWritten();
  const size_t numRead = read.size(), numWritten = written.size();
  if (certified) {
    read.append({certified->direction, certified->largest});
    if (certified->tail)
      read.push_back(certified->tail);
    llvm::append_range(written, certified->results);
    // A warp reads the state that all have written.
    shape.readsWritten = true;
  }
  const size_t numAllRead = read.size();
  b.launch(shape, read, written, {shared(valueDim), shared(2)},
           [&](ArrayRef<Value> values, ArrayRef<Value> buffers) {
             SmallVector<Value> own(values.take_front(numRead));
             llvm::append_range(own, values.slice(numAllRead, numWritten));
             its = bind(own, true);
             sharedOutputs = buffers[0];
             sharedExponents = buffers[1];
             row = b.blockId(gpu::Dimension::x);
             Value head = b.blockId(gpu::Dimension::y), zero = b.index(0);
             Value thread = b.threadId();
             warp = b.divU(thread, b.index(kWarp));
             lane = b.remU(thread, b.index(kWarp));
             kvHead = b.divU(head, b.index(group));
             findSlots();
             Value count =
                 arith::CeilDivUIOp::create(b, numSlots, getSlotsOfSplit());
             b.ifThen(b.compare(CmpIPredicate::sgt, count, zero),
                      [&] { mergeSplits(head, count); });
             if (startsEmpty)
               b.ifThen(b.compare(CmpIPredicate::sle, count, zero),
                        [&] { storeEmpty(head, b.index(1)); });
             if (its.tails) {
               mergeTails(head, count);
               addUpCounts(head, count);
             }
             if (certified) {
               Given given(values.slice(numRead, numAllRead - numRead));
               Certified here = *certified;
               here.direction = given.take();
               here.largest = given.take();
               here.tail =
                   certified->tail ? given.take() : Value(its.picked.tail);
               here.results.assign(values.drop_front(numAllRead + numWritten));
               certifyMerged(here, head);
             }
           });
}

/// Of every so manieth split from one on. All that is loaded of a few of them
/// is in flight together, so their weights are against the largest exponent so
/// far.
AttendLauncher::SplitSums AttendLauncher::addUpSplits(Value head, Value first,
                                                      int64_t apart,
                                                      Value count) {
  const int64_t parts = llvm::divideCeil(valueDim, 64);
  SmallVector<Value> none(parts, b.splat(0.0f, 2));
  none.append({b.negInf(), b.f32(0.0f)});
  auto add = [&](Value start, ValueRange carried) -> SmallVector<Value> {
    struct Split {
      Value exponent, sum;
      SmallVector<Value> outputs;
    };
    SmallVector<Split> splits;
    for (int64_t i = 0; i < kAtOnce; ++i) {
      Value at = b.addI(start, b.index(i * apart));
      Value isSplit = b.compare(CmpIPredicate::slt, at, count);
      at = b.minI(at, b.subI(count, b.index(1)));
      auto load = [&](int64_t which) {
        return b.load(its.exponents, {row, head, at, b.index(which)});
      };
      Split &split = splits.emplace_back();
      split.exponent = b.select(isSplit, load(0), b.negInf());
      split.sum = load(1);
      for (int64_t part = 0; part < parts; ++part) {
        Value channel = getMergedChannel(part);
        if (64 * (part + 1) > valueDim)
          channel = b.minI(channel, b.index(valueDim - 2));
        split.outputs.push_back(
            vector::LoadOp::create(b, b.vectorType(2), its.partials,
                                   ValueRange{row, head, at, channel},
                                   /*nontemporal=*/false, llvm::MaybeAlign(8)));
      }
    }
    SplitSums sums = SplitSums::unpack(carried);
    Value maximum = sums.maximum;
    for (const Split &split : splits)
      maximum = b.maxNumber(maximum, split.exponent);
    Value shift = getShift(maximum);
    auto weigh = [&](Value exponent) {
      return b.exp2(b.subF(exponent, shift));
    };
    Value before = weigh(sums.maximum);
    sums.maximum = maximum;
    sums.sum = b.mulF(before, sums.sum);
    for (Value &output : sums.outputs)
      output = b.mulF(b.broadcast(before, 2), output);
    for (const Split &split : splits) {
      Value weight = weigh(split.exponent);
      sums.sum = b.addF(sums.sum, b.mulF(weight, split.sum));
      for (auto [sum, output] : llvm::zip_equal(sums.outputs, split.outputs))
        sum = b.fma(b.broadcast(weight, 2), output, sum);
    }
    return sums.pack();
  };
  return SplitSums::unpack(b.forLoop(first, count, kAtOnce * apart, none, add));
}

void AttendLauncher::mergeSplits(Value head, Value count) {
  Value zero = b.index(0), thread = b.threadId();
  SplitSums own = addUpSplits(head, warp, warps, count);
  for (auto [part, output] : llvm::enumerate(own.outputs))
    ifMerged(part, [&, part = part, output = output] {
      vector::StoreOp::create(b, output, sharedOutputs,
                              ValueRange{warp, zero, getMergedChannel(part)},
                              /*nontemporal=*/false, llvm::MaybeAlign(8));
    });
  b.store(own.maximum, sharedExponents, {warp, zero, zero});
  b.store(own.sum, sharedExponents, {warp, zero, b.index(1)});
  Value before = loadBefore(head);
  b.barrier();
  Merged merged = mergeExponents(zero);
  b.forLoop(thread, b.index(valueDim), warps * kWarp, [&](Value channel) {
    Value output = mergeOutputs(merged, zero, channel);
    joinOutput(merged, output, before, head, channel);
  });
  Value isFirst = b.compare(CmpIPredicate::eq, thread, zero);
  b.ifThen(isFirst, [&] {
    b.store(joinLse(merged, before), its.lse, {row, head});
  });
}

/// By the first warp, in a fixed order; of none, nothing is left.
void AttendLauncher::mergeTails(Value head, Value count) {
  Value zero = b.f32(0.0f);
  b.ifThen(b.compare(CmpIPredicate::eq, warp, b.index(0)), [&] {
    auto load = [&](Value split) {
      return b.load(its.tails, {row, head, split});
    };
    Value top =
        b.forLoop(lane, count, kWarp, ValueRange{b.negInf()},
                  [&](Value split, ValueRange now) {
                    return SmallVector<Value>{b.maxF(now[0], load(split))};
                  })[0];
    top = b.combine(top, [&](Value x, Value y) { return b.maxF(x, y); });
    Value shift = getShift(top);
    Value sum = b.forLoop(lane, count, kWarp, ValueRange{zero},
                          [&](Value split, ValueRange now) {
                            Value mass = b.exp(b.subF(load(split), shift));
                            return SmallVector<Value>{b.addF(now[0], mass)};
                          })[0];
    sum = b.combine(sum, [&](Value x, Value y) { return b.addF(x, y); });
    // More than what exponentials, sums and the logarithm are rounded by.
    Value tail = b.addF(shift, b.log(b.mulF(sum, b.f32(1 + 0x1p-12f))));
    tail = math::FmaOp::create(b, b.absF(shift), b.f32(0x1p-20f), tail);
    Value isNone = isEqual(top, -INFINITY);
    // NaN, and what is not bounded, stay so: no difference of infinities.
    Value isSum = b.compare(arith::CmpFPredicate::OLT, top, b.f32(INFINITY));
    tail = b.select(isSum, tail, b.f32(INFINITY));
    tail = b.select(isNone, b.negInf(), tail);
    b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
      b.store(tail, its.picked.tail, {row, head});
    });
  });
}

/// By the last warp of those that have the first head of a KV head.
void AttendLauncher::addUpCounts(Value head, Value count) {
  Value isFirst =
      b.compare(CmpIPredicate::eq, b.remU(head, b.index(group)), b.index(0));
  Value isLast = b.compare(CmpIPredicate::eq, warp, b.index(warps - 1));
  b.ifThen(b.andI(isFirst, isLast), [&] {
    Value sum =
        b.forLoop(lane, count, kWarp, ValueRange{b.i32(0)},
                  [&](Value split, ValueRange now) {
                    Value its = b.load(this->its.counts, {row, kvHead, split});
                    return SmallVector<Value>{b.addI(now[0], its)};
                  })[0];
    sum = b.addUpWarp(sum);
    b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
      b.store(sum, its.picked.count, {row, kvHead});
    });
  });
}

/// By the first warp, as soon as all have written.
void AttendLauncher::certifyMerged(const Certified &known, Value head) {
  b.barrier();
  b.ifThen(b.compare(CmpIPredicate::eq, warp, b.index(0)), [&] {
    HeadCertificate certificate(known.op, b);
    HeadCertificate::Loaded loaded = certificate.load(
        {known.direction, its.o, its.lse, known.tail, Value()}, row, head);
    std::array<Value, 2> norms =
        certificate.joinLargest(known.largest, row, kvHead);
    certificate.store(certificate.certify(loaded, length, norms), known.results,
                      row, head);
  });
}

void AttendLauncher::mergeByWarp(Value head, Value count) {
  SplitSums all = addUpSplits(head, b.index(0), /*apart=*/1, count);
  Merged merged{all.maximum, getShift(all.maximum), all.sum, {}};
  Value before = loadBefore(head);
  for (auto [part, both] : llvm::enumerate(all.outputs))
    ifMerged(part, [&, part = part, both = both] {
      for (int64_t i = 0; i < 2; ++i) {
        Value channel = b.addI(getMergedChannel(part), b.index(i));
        joinOutput(merged,
                   vector::ExtractOp::create(b, both, ArrayRef<int64_t>{i}),
                   before, head, channel);
      }
    });
  // All lanes have loaded what was there before.
  b.warpBarrier();
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
    b.store(joinLse(merged, before), its.lse, {row, head});
  });
}

// Each block lets others see what it wrote before it counts, and what is
// counted last sees all of them.
void AttendLauncher::mergeIfLast(Value heads) {
  Value zero = b.index(0), flag[] = {zero, zero, zero};
  auto fence = [&] { NVVM::MembarOp::create(b, NVVM::MemScopeKind::GPU); };
  Value count = arith::CeilDivUIOp::create(b, numSlots, ofSplit);
  b.barrier();
  b.ifThen(b.compare(CmpIPredicate::eq, b.threadId(), zero), [&] {
    fence();
    Value blocks = gpu::GridDimOp::create(b, gpu::Dimension::y);
    Value at = b.addI(b.mulI(row, blocks), b.blockId(gpu::Dimension::y));
    Value before = memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi,
                                               b.i32(1), its.arrivals, at);
    fence();
    Value others = b.subI(b.toI32(count), b.i32(1));
    b.store(b.select(b.compare(CmpIPredicate::eq, before, others), b.f32(1.0f),
                     b.f32(0.0f)),
            sharedExponents, flag);
  });
  b.barrier();
  Value found = b.load(sharedExponents, flag);
  b.ifThen(b.compare(arith::CmpFPredicate::OGT, found, b.f32(0.0f)), [&] {
    b.forLoop(warp, heads, warps,
              [&](Value head) { mergeByWarp(b.addI(firstHead, head), count); });
    if (its.condition)
      storeFlag(b.boolean(true), firstHead);
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

/// Weighed.
Value AttendLauncher::mergeOutputs(const Merged &merged, Value head,
                                   Value channel) {
  Value output = b.f32(0.0f);
  for (int64_t i = 0; i < warps; ++i) {
    Value found = b.load(sharedOutputs, {b.index(i), head, channel});
    output = b.addF(output, b.mulF(merged.weights[i], found));
  }
  return output;
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
