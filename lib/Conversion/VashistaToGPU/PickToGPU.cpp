//===- PickToGPU.cpp - vashista.pick on a GPU -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "PickKernels.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();

PickLauncher::PickLauncher(PickOp op, int64_t clusterBlocks, WarpBuilder &b)
    : op(op), b(b), clusterBlocks(clusterBlocks),
      group(cast<RankedTensorType>(op.getScores().getType()).getDimSize(1) /
            op.getKvHeads()),
      unit(op.getUnit() == SlotUnit::pages ? op.getPageSize() : 1),
      isProving(op.getMode() == PickMode::proving),
      hasTail(!op.getTail().use_empty() || op.getAttended()) {}

//===----------------------------------------------------------------------===//
// The launch
//===----------------------------------------------------------------------===//

SmallVector<Value> PickLauncher::launch() {
  SmallVector<Value> read, written;
  for (Value value :
       {Value(op.getScores()), Value(op.getBounds()), Value(op.getSeqLens()),
        Value(op.getPages()), Value(op.getPageCount()), Value(op.getTaken()),
        Value(op.getOutside()), Value(op.getAttended())})
    if (value)
      read.push_back(b.readOnly(value));
  ReifiedRankedShapedTypeDims shapes;
  (void)op.reifyResultShapes(b, shapes);
  for (auto [sizes, type] : llvm::zip(shapes, op->getResultTypes())) {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> shape;
    dispatchIndexOpFoldResults(sizes, dynamic, shape);
    written.push_back(memref::AllocOp::create(
        b, MemRefType::get(shape, getElementTypeOrSelf(type)), dynamic,
        b.getI64IntegerAttr(64)));
  }
  SmallVector<Value> results = written;
  Value rows = b.dim(read[0], 0);
  Value words =
      b.createOrFold<arith::CeilDivUIOp>(b.dim(read[0], 2), b.index(kWarp));
  int64_t kvHeads = op.getKvHeads();
  constexpr int64_t dynamic = ShapedType::kDynamic;
  auto allocate = [&](ArrayRef<int64_t> shape, Type element) {
    SmallVector<Value> sizes = {rows};
    if (ShapedType::isDynamic(shape[2]))
      sizes.push_back(words);
    written.push_back(memref::AllocOp::create(
        b, MemRefType::get(shape, element), sizes, b.getI64IntegerAttr(64)));
  };
  allocate({dynamic, kvHeads, dynamic}, b.getI32Type());
  allocate({dynamic, kvHeads, dynamic, 2}, b.getI32Type());
  if (clusterBlocks > 1) {
    allocate({dynamic, kvHeads, clusterBlocks}, b.getI32Type());
    allocate({dynamic, kvHeads, clusterBlocks, kRankBins}, b.getI64Type());
  }

  KernelShape shape;
  shape.name = "pick";
  shape.gridX = rows;
  shape.gridY = b.index(kvHeads);
  shape.gridZ = b.index(clusterBlocks);
  shape.clusterBlocks = clusterBlocks;
  shape.threads = kThreads;
  shape.residentBlocks = 2;
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  b.launch(shape, read, written,
           {b.sharedType(kRankBins, b.getI64Type()), b.sharedType(kBins, f32),
            b.sharedType(kBins, f32), b.sharedType(kWarps, i32),
            b.sharedType(group, f32), b.sharedType(group, f32),
            b.sharedType(group, f32), b.sharedType(group, i32),
            b.sharedType(2, i32)},
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             emit(values, shared);
           });
  SmallVector<Value> tensors;
  for (auto [buffer, type] : llvm::zip_equal(results, op->getResultTypes()))
    tensors.push_back(bufferization::ToTensorOp::create(
        b, type, buffer, /*restrict=*/true, /*writable=*/true));
  return tensors;
}

void PickLauncher::emit(ArrayRef<Value> values, ArrayRef<Value> shared) {
  auto take = [&](bool isThere) -> Value {
    if (!isThere)
      return nullptr;
    Value value = values.front();
    values = values.drop_front();
    return value;
  };
  scores = take(true);
  bounds = take(true);
  lengths = take(true);
  pages = take(op.getPages() != nullptr);
  pageCount = take(op.getPageCount() != nullptr);
  taken = take(op.getTaken() != nullptr);
  outside = take(op.getOutside() != nullptr);
  attended = take(op.getAttended() != nullptr);
  for (Value *place : {&ids, &counts, &tails, &open, &picked})
    *place = take(true);
  told = take(clusterBlocks > 1);
  between = take(clusterBlocks > 1);
  bins = shared[0];
  massBefore = shared[1];
  restFrom = shared[2];
  perWarp = shared[3];
  tops = shared[4];
  ends = shared[5];
  refs = shared[6];
  nans = shared[7];
  found = shared[8];

  Value zero = b.index(0);
  row = b.blockId(gpu::Dimension::x);
  kvHead = b.blockId(gpu::Dimension::y);
  block = b.blockId(gpu::Dimension::z);
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  laneBit = arith::ShLIOp::create(b, b.i32(1), b.toI32(lane));
  firstHead = b.mulI(kvHead, b.index(group));
  length = b.maxI(b.loadIndex(lengths, row), zero);
  numSlots = b.dim(scores, 2);

  // Without a list nothing that is visible follows what is not.
  Value used = numSlots;
  if (!pages)
    used =
        b.minI(used, b.divU(b.addI(length, b.index(unit - 1)), b.index(unit)));
  Value words = b.divU(b.addI(used, b.index(kWarp - 1)), b.index(kWarp));
  Value perBlock =
      b.divU(b.addI(words, b.index(clusterBlocks - 1)), b.index(clusterBlocks));
  firstWord = b.minI(b.mulI(block, perBlock), words);
  lastWord = b.minI(b.addI(firstWord, perBlock), words);

  openSlots();
  if (taken)
    excludeTaken();
  b.barrier();
  if (isProving || hasTail)
    findTops();
  if (!isProving || !attended || hasAlways())
    return pickAndWrite();
  // Most groups of a later round are proved already.
  Value proved = sumTails();
  b.ifThen(proved, [&] { writeNothing(); });
  b.ifThen(notI(proved), [&] { pickAndWrite(); });
}

void PickLauncher::pickAndWrite() {
  if (isProving)
    b.forLoop(b.index(0), b.index(group), 1,
              [&](Value head) { findEnd(head); });
  auto sum = [&](Value x, Value y) { return b.addI(x, y); };
  Value available = reduceCluster(reduce(markNeeded(), sum), sum);
  Value budget = b.i32(op.getBudget());
  storeOnce(b.i32(0), found, b.index(0));
  b.barrier();
  b.ifThen(b.compare(CmpIPredicate::sgt, available, budget), [&] {
    Value numTies = markBest(budget);
    storeOnce(numTies, found, b.index(0));
  });
  b.barrier();
  writePicks(b.load(found, b.index(0)));
  if (hasTail)
    sumTails();
}

void PickLauncher::writeNothing() {
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&] { b.store(b.i32(0), counts, {row, kvHead}); });
  pad(b.index(0));
}

void PickLauncher::pad(Value first) {
  Value own = b.addI(b.mulI(block, b.index(kThreads)), thread);
  b.forLoop(b.addI(first, own), b.index(op.getBudget()),
            kThreads * clusterBlocks, [&](Value at) {
              b.store(b.i32(-1), ids, {row, kvHead, at});
            });
}

/// In the order of slots, a thread for each word.
void PickLauncher::writePicks(Value numTies) {
  Value zero = b.i32(0), one = b.i32(1);
  auto countBits = [&](Value word) -> Value {
    return math::CtPopOp::create(b, word);
  };
  auto load = [&](Value word, int64_t which) {
    return b.load(picked, {row, kvHead, word, b.index(which)});
  };
  auto clamp = [&](Value count, Value most) {
    return b.maxI(b.minI(count, most), zero);
  };
  // Where this block's picks and ties begin.
  SmallVector<Value> counted = b.forLoop(
      b.addI(firstWord, thread), lastWord, kThreads, ValueRange{zero, zero},
      [&](Value word, ValueRange carried) -> SmallVector<Value> {
        return {b.addI(carried[0], countBits(load(word, 0))),
                b.addI(carried[1], countBits(load(word, 1)))};
      });
  auto sum = [&](Value x, Value y) { return b.addI(x, y); };
  Value better = reduce(counted[0], sum), ties = reduce(counted[1], sum);
  Value tiesBefore = scanCluster(ties).first;
  Value kept = clamp(b.subI(numTies, tiesBefore), ties);
  auto [first, total] = scanCluster(b.addI(better, kept));

  b.forLoop(
      firstWord, lastWord, kThreads, ValueRange{first, tiesBefore},
      [&](Value start, ValueRange carried) -> SmallVector<Value> {
        Value word = b.addI(start, thread);
        Value isThere = b.compare(CmpIPredicate::slt, word, lastWord);
        Value last = b.subI(lastWord, b.index(1));
        word = b.minI(word, last);
        Value sure = b.select(isThere, load(word, 0), zero);
        Value maybe = b.select(isThere, load(word, 1), zero);
        Value number = countBits(maybe);
        auto [before, tiesHere] = scan(number);
        Value left = b.subI(numTies, b.addI(carried[1], before));
        // The lowest bits, one after the other.
        SmallVector<Value> chosen =
            b.forLoop(b.index(0), b.toIndex(clamp(left, number)), 1,
                      ValueRange{maybe, sure},
                      [&](Value, ValueRange now) -> SmallVector<Value> {
                        Value rest = b.andI(now[0], b.subI(now[0], one));
                        Value lowest = arith::XOrIOp::create(b, now[0], rest);
                        return {rest, b.orI(now[1], lowest)};
                      });
        Value all = chosen[1];
        auto [offset, picksHere] = scan(countBits(all));
        Value to = b.toIndex(b.addI(carried[0], offset));
        b.forLoop(b.index(0), b.toIndex(countBits(all)), 1, ValueRange{all},
                  [&](Value i, ValueRange now) -> SmallVector<Value> {
                    Value bit = math::CountTrailingZerosOp::create(b, now[0]);
                    Value slot =
                        b.addI(b.mulI(word, b.index(kWarp)), b.toIndex(bit));
                    Value id = op.getUnit() == SlotUnit::pages
                                   ? slot
                                   : getPosition(slot);
                    b.store(b.toI32(id), ids, {row, kvHead, b.addI(to, i)});
                    return {b.andI(now[0], b.subI(now[0], one))};
                  });
        b.ifThen(isThere, [&] {
          Value at[] = {row, kvHead, word};
          Value others = arith::XOrIOp::create(b, all, b.i32(-1));
          b.store(b.andI(b.load(open, at), others), open, at);
        });
        return {b.addI(carried[0], picksHere), b.addI(carried[1], tiesHere)};
      });
  pad(b.toIndex(total));
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&, total = total] {
    b.store(total, counts, {row, kvHead});
  });
  b.barrier();
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

void PickLauncher::openSlots() {
  b.forLoop(b.addI(firstWord, warp), lastWord, kWarps, [&](Value word) {
    Value slot = b.addI(b.mulI(word, b.index(kWarp)), lane);
    Value inside = b.compare(CmpIPredicate::slt, slot, numSlots);
    slot = b.minI(slot, b.subI(numSlots, b.index(1)));
    Value bits = b.ballot(b.andI(inside, isVisible(slot)));
    Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
    b.ifThen(isFirst, [&] { b.store(bits, open, {row, kvHead, word}); });
  });
}

/// A taken slot is neither picked nor in the tail.
void PickLauncher::excludeTaken() {
  Value zero = b.index(0);
  b.barrier();
  auto exclude = [&](Value slot) {
    Value word = b.divU(slot, b.index(kWarp));
    Value isHere = b.andI(b.compare(CmpIPredicate::sge, word, firstWord),
                          b.compare(CmpIPredicate::slt, word, lastWord));
    b.ifThen(isHere, [&] {
      Value bit = arith::ShLIOp::create(b, b.i32(1),
                                        b.toI32(b.remU(slot, b.index(kWarp))));
      Value others = arith::XOrIOp::create(b, bit, b.i32(-1));
      memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::andi, others, open,
                                  ValueRange{row, kvHead, word});
    });
  };
  b.forLoop(thread, b.dim(taken, 2), kThreads, [&](Value entry) {
    Value id = b.loadIndex(taken, {row, kvHead, entry});
    b.ifThen(b.compare(CmpIPredicate::sge, id, zero), [&] {
      if (!pages) {
        Value inside = b.compare(CmpIPredicate::slt, id, numSlots);
        b.ifThen(inside, [&] { exclude(id); });
        return;
      }
      // A position within listed pages: its slot is where its page is listed.
      Value size = b.index(op.getPageSize());
      Value page = b.divU(id, size), within = b.remU(id, size);
      b.forLoop(zero, b.dim(pages, 2), 1, [&](Value at) {
        Value same = b.compare(CmpIPredicate::eq,
                               b.loadIndex(pages, {row, kvHead, at}), page);
        b.ifThen(same, [&] { exclude(b.addI(b.mulI(at, size), within)); });
      });
    });
  });
}

SmallVector<Value> PickLauncher::forEachSlot(
    ValueRange carried,
    function_ref<SmallVector<Value>(ArrayRef<Slot>, ValueRange)> body,
    Value words) {
  Value start = b.addI(firstWord, b.mulI(warp, b.index(kAtOnce)));
  return b.forLoop(
      start, lastWord, kWarps * kAtOnce, carried,
      [&](Value first, ValueRange now) {
        SmallVector<Slot> slots;
        for (int64_t i = 0; i < kAtOnce; ++i) {
          Slot slot;
          slot.word = b.addI(first, b.index(i));
          slot.isThere = b.compare(CmpIPredicate::slt, slot.word, lastWord);
          slot.word = b.minI(slot.word, b.subI(lastWord, b.index(1)));
          slot.number = b.addI(b.mulI(slot.word, b.index(kWarp)), lane);
          slot.number = b.minI(slot.number, b.subI(numSlots, b.index(1)));
          SmallVector<Value> at = {row, kvHead, slot.word};
          if (words)
            at.push_back(b.index(0));
          Value bit = b.andI(b.load(words ? words : open, at), laneBit);
          slot.isOpen =
              b.andI(slot.isThere, b.compare(CmpIPredicate::ne, bit, b.i32(0)));
          slots.push_back(slot);
        }
        return body(slots, now);
      });
}

SmallVector<Value> PickLauncher::weighted(Value from, Value head,
                                          ArrayRef<Slot> slots) {
  SmallVector<Value> values;
  for (const Slot &slot : slots)
    values.push_back(b.load(from, {row, b.addI(firstHead, head), slot.number}));
  // Select, not add: what is not open may hold anything.
  for (auto [value, slot] : llvm::zip_equal(values, slots))
    value = b.select(slot.isOpen, addWeight(value, slot.number), b.negInf());
  return values;
}

/// The log of a slot's visible tokens is added.
Value PickLauncher::addWeight(Value value, Value slot) {
  if (unit == 1)
    return value;
  Value size = b.index(unit);
  Value isFull = b.compare(CmpIPredicate::slt, slot, b.divU(length, size));
  Value rest =
      arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(b.remU(length, size)));
  float full = static_cast<float>(std::log(static_cast<double>(unit)));
  return b.addF(value, b.select(isFull, b.f32(full), b.log(rest)));
}

Value PickLauncher::getPosition(Value slot) {
  if (!pages)
    return b.mulI(slot, b.index(unit));
  Value size = b.index(op.getPageSize());
  Value page = b.loadIndex(pages, {row, kvHead, b.divU(slot, size)});
  return b.addI(b.mulI(page, size), b.remU(slot, size));
}

Value PickLauncher::isVisible(Value slot) {
  Value position = getPosition(slot);
  Value inside = b.compare(CmpIPredicate::slt, position, length);
  if (!pages)
    return inside;
  Value entry = b.divU(slot, b.index(op.getPageSize()));
  Value page = b.loadIndex(pages, {row, kvHead, entry});
  inside = b.andI(inside, b.compare(CmpIPredicate::sge, page, b.index(0)));
  if (!pageCount)
    return inside;
  Value count = b.loadIndex(pageCount, {row, kvHead});
  return b.andI(inside, b.compare(CmpIPredicate::slt, entry, count));
}

Value PickLauncher::isAlways(Value slot) {
  Value recent = b.maxI(b.subI(length, b.index(op.getWindow())), b.index(0));
  Value first = b.index(llvm::divideCeil(op.getSinks(), unit));
  Value last = b.divU(recent, b.index(unit));
  if (pages) {
    slot = getPosition(slot);
    first = b.index(op.getSinks());
    last = recent;
  }
  Value isSink = b.compare(CmpIPredicate::slt, slot, first);
  Value isRecent = b.boolean(false);
  if (op.getWindow() > 0)
    isRecent = b.compare(CmpIPredicate::sge, slot, last);
  return b.orI(isSink, isRecent);
}

Value PickLauncher::knownOrInf(Value bound) {
  return b.select(isNaN(bound), b.f32(kInfinity), bound);
}

//===----------------------------------------------------------------------===//
// What is left
//===----------------------------------------------------------------------===//

/// tails[h] = log( exp(outside) + sum of what is left ); +inf where a score or
/// bound is NaN.
Value PickLauncher::sumTails() {
  Value zero = b.index(0), none = b.i32(0);
  // Sums of n positive f32 numbers, of each thread and then of threads, are low
  // by less than (n / 4 + 4) 2^-24 of themselves; exp and log by a few units;
  // exponents by 88 2^-25 where a term is one, and the result rounds once more.
  // Twice that is added. Terms below 2^-126 may be lost: as many are added.
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value slack = b.mulF(b.addF(b.mulF(number, b.f32(0.25f)), b.f32(20.0f)),
                       b.f32(0x1p-23f));
  slack = b.addF(slack, b.f32(0x1p-17f));
  Value lost = b.mulF(number, b.f32(0x1p-126f));
  return b
      .forLoop(
          zero, b.index(group), 1, ValueRange{b.boolean(true)},
          [&](Value head, ValueRange carried) -> SmallVector<Value> {
            Value shift = getShift(head);
            // Bits: whether anything is left, and whether that is unknown.
            SmallVector<Value> sums = forEachSlot(
                {b.f32(0.0f), none}, [&](ArrayRef<Slot> slots, ValueRange now) {
                  SmallVector<Value> next(now);
                  for (Value bound : weighted(bounds, head, slots)) {
                    Value known = knownOrInf(bound);
                    Value isUnknown = isInf(known);
                    Value isLeft =
                        b.compare(CmpFPredicate::OGT, known, b.negInf());
                    Value mass = b.exp(
                        b.subF(b.select(isUnknown, b.negInf(), known), shift));
                    next[0] = b.addF(next[0], mass);
                    next[1] = b.orI(next[1],
                                    b.select(isUnknown, b.i32(3),
                                             b.select(isLeft, b.i32(1), none)));
                  }
                  return next;
                });
            auto add = [&](Value x, Value y) { return b.addF(x, y); };
            auto either = [&](Value x, Value y) { return b.orI(x, y); };
            Value sum = reduceCluster(reduce(sums[0], add), add);
            Value bits = reduceCluster(reduce(sums[1], either), either);
            Value tail = b.addF(shift, b.log(b.addF(sum, lost)));
            Value isNothing = b.compare(CmpIPredicate::eq, bits, none);
            tail = b.select(isNothing, b.negInf(), tail);
            Value isUnknown =
                b.orI(b.compare(CmpIPredicate::eq, bits, b.i32(3)),
                      b.compare(CmpIPredicate::ne, b.load(nans, head), none));
            Value at[] = {row, b.addI(firstHead, head)};
            if (outside) {
              Value other = b.load(outside, at);
              Value most = b.maxF(tail, other);
              Value both =
                  b.addF(b.exp(b.subF(tail, most)), b.exp(b.subF(other, most)));
              Value joined = b.addF(most, b.log(both));
              Value infinite = isInf(b.absF(most));
              tail = b.select(infinite, most, joined);
              isUnknown = b.orI(isUnknown, isNaN(other));
            }
            // Infinite tails are exact, and must not meet arithmetic.
            Value relative = b.mulF(b.absF(tail), b.f32(0x1p-22f));
            Value raised = b.addF(tail, b.addF(slack, relative));
            tail = b.select(isInf(b.absF(tail)), tail, raised);
            tail = b.select(isUnknown, b.f32(kInfinity), tail);
            Value isFirst = b.andI(isFirstThread(),
                                   b.compare(CmpIPredicate::eq, block, zero));
            b.ifThen(isFirst, [&] { b.store(tail, tails, at); });
            if (!attended)
              return {carried[0]};
            Value allowed = b.addF(b.load(attended, at), b.log(getRatio()));
            Value meets = b.compare(CmpFPredicate::OLE, tail, allowed);
            return {b.andI(carried[0], meets)};
          })
      .front();
}

//===----------------------------------------------------------------------===//
// Threads and blocks
//===----------------------------------------------------------------------===//

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

Value PickLauncher::reduce(Value value, Join join) {
  Type type = value.getType();
  value = b.combine(value, join);
  Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
  b.ifThen(isFirst, [&] { b.store(toBits(b, value), perWarp, warp); });
  b.barrier();
  Value joined;
  for (int64_t i = 0; i < kWarps; ++i) {
    Value other = fromBits(b, b.load(perWarp, b.index(i)), type);
    joined = joined ? join(joined, other) : other;
  }
  b.barrier();
  return joined;
}

std::pair<Value, Value> PickLauncher::scan(Value value) {
  Type type = value.getType();
  Value zero = type.isF32() ? b.f32(0.0f) : b.i32(0);
  auto isFrom = [&](int64_t distance) {
    return b.compare(CmpIPredicate::uge, lane, b.index(distance));
  };
  Value sum = value;
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value other = b.shuffleUp(sum, distance);
    sum = b.select(isFrom(distance), addAny(sum, other), sum);
  }
  Value before = b.select(isFrom(1), b.shuffleUp(sum, 1), zero);
  b.ifThen(isFrom(kWarp - 1), [&] { b.store(toBits(b, sum), perWarp, warp); });
  b.barrier();
  Value earlier = zero, total = zero;
  for (int64_t i = 0; i < kWarps; ++i) {
    Value other = fromBits(b, b.load(perWarp, b.index(i)), type);
    Value isEarlier = b.compare(CmpIPredicate::ult, b.index(i), warp);
    earlier = b.select(isEarlier, addAny(earlier, other), earlier);
    total = addAny(total, other);
  }
  b.barrier();
  return {addAny(earlier, before), total};
}

SmallVector<Value> PickLauncher::tell(Value value) {
  if (clusterBlocks == 1)
    return {value};
  storeOnce(toBits(b, value), told, {row, kvHead, block});
  b.clusterBarrier();
  SmallVector<Value> values;
  for (int64_t i = 0; i < clusterBlocks; ++i)
    values.push_back(
        fromBits(b, b.load(told, {row, kvHead, b.index(i)}), value.getType()));
  b.clusterBarrier();
  return values;
}

Value PickLauncher::reduceCluster(Value value, Join join) {
  SmallVector<Value> values = tell(value);
  Value joined = values.front();
  for (Value other : ArrayRef<Value>(values).drop_front())
    joined = join(joined, other);
  return joined;
}

std::pair<Value, Value> PickLauncher::scanCluster(Value value) {
  Value before = b.i32(0), total = b.i32(0);
  for (auto [i, other] : llvm::enumerate(tell(value))) {
    Value isBefore = b.compare(CmpIPredicate::ult, b.index(i), block);
    before = b.select(isBefore, b.addI(before, other), before);
    total = b.addI(total, other);
  }
  return {before, total};
}

void PickLauncher::clearBins(int64_t size) {
  Value none = arith::ConstantOp::create(b, b.getI64IntegerAttr(0));
  b.forLoop(thread, b.index(size), kThreads,
            [&](Value at) { b.store(none, bins, at); });
  b.barrier();
}

void PickLauncher::addToBin(Value at, Value amount) {
  memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi, amount, bins, at);
}

void PickLauncher::addUpBins(int64_t size) {
  b.barrier();
  if (clusterBlocks == 1)
    return;
  b.forLoop(thread, b.index(size), kThreads, [&](Value at) {
    b.store(b.load(bins, at), between, {row, kvHead, block, at});
  });
  b.clusterBarrier();
  b.forLoop(thread, b.index(size), kThreads, [&](Value at) {
    Value sum;
    for (int64_t i = 0; i < clusterBlocks; ++i) {
      Value other = b.load(between, {row, kvHead, b.index(i), at});
      sum = sum ? b.addI(sum, other) : other;
    }
    b.store(sum, bins, at);
  });
  b.clusterBarrier();
}

LogicalResult vashista::launchPick(PickOp op, int64_t clusterBlocks,
                                   PatternRewriter &rewriter) {
  auto refuse = [&](const char *why) {
    return rewriter.notifyMatchFailure(op, why);
  };
  if (op->getParentOfType<LoopLikeOpInterface>())
    return refuse("expected no loop around");
  auto scores = cast<RankedTensorType>(op.getScores().getType());
  if (scores.isDynamicDim(1))
    return refuse("expected static heads");
  // Enough blocks to have a few for each multiprocessor, of which there are a
  // hundred and more.
  constexpr int64_t kManyBlocks = 1024;
  int64_t blocks = 1;
  int64_t groups = ShapedType::isDynamic(scores.getDimSize(0))
                       ? op.getKvHeads()
                       : scores.getDimSize(0) * op.getKvHeads();
  if (op.getUnit() == SlotUnit::tokens)
    while (blocks < clusterBlocks && blocks * groups < kManyBlocks)
      blocks *= 2;
  WarpBuilder b(op.getLoc(), rewriter);
  rewriter.replaceOp(op, PickLauncher(op, blocks, b).launch());
  return success();
}
