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

/// The pick whose list is taken, if its tail is what is left of this one.
static PickOp findPickBefore(PickOp op) {
  auto before = op.getTaken() ? op.getTaken().getDefiningOp<PickOp>() : nullptr;
  bool isSame = before && op.getTaken() == before.getIds() &&
                !before.getTaken() && op.getScores() == before.getScores() &&
                op.getBounds() == before.getBounds() &&
                op.getSeqLens() == before.getSeqLens() &&
                op.getPages() == before.getPages() &&
                op.getPageCount() == before.getPageCount() &&
                op.getOutside() == before.getOutside() &&
                op.getUnit() == before.getUnit() &&
                op.getPageSize() == before.getPageSize();
  return isSame ? before : nullptr;
}

PickLauncher::PickLauncher(PickOp op, int64_t clusterBlocks, Value hostTops,
                           WarpBuilder &b)
    : op(op), b(b), clusterBlocks(clusterBlocks),
      group(cast<RankedTensorType>(op.getScores().getType()).getDimSize(1) /
            op.getKvHeads()),
      unit(op.getUnit() == SlotUnit::pages ? op.getPageSize() : 1),
      isProving(op.getMode() == PickMode::proving),
      hasTail(!op.getTail().use_empty() || op.getAttended()),
      hostTops(hostTops) {
  if (isProving && op.getAttended() && !hasAlways())
    if (PickOp before = findPickBefore(op))
      hostBefore = before.getTail();
}

//===----------------------------------------------------------------------===//
// The launch
//===----------------------------------------------------------------------===//

SmallVector<Value> PickLauncher::launch() {
  SmallVector<Value> read;
  for (Value value :
       {Value(op.getScores()), Value(op.getBounds()), Value(op.getSeqLens()),
        Value(op.getPages()), Value(op.getPageCount()), Value(op.getTaken()),
        Value(op.getOutside()), Value(op.getAttended())})
    if (value)
      read.push_back(b.readOnly(value));
  if (hostBefore)
    read.push_back(b.readOnly(hostBefore));
  if (hostTops)
    read.push_back(hostTops);
  SmallVector<Value> results = allocateResults(op, b, op->getNumResults());
  SmallVector<Value> written = results;
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
  if (hasWords())
    allocate({dynamic, kvHeads, dynamic}, b.getI32Type());
  allocate({dynamic, kvHeads, dynamic, 2}, b.getI32Type());
  if (clusterBlocks > 1) {
    allocate({dynamic, kvHeads, clusterBlocks, kTold}, b.getI32Type());
    allocate({dynamic, kvHeads, clusterBlocks, kRankBins}, b.getI32Type());
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
           {b.sharedType(kRankBins + kWarp, i32), b.sharedType(kBins, f32),
            b.sharedType(kBins, f32), b.sharedType({kWarps, kTold}, i32),
            b.sharedType(group, f32), b.sharedType(group, f32),
            b.sharedType(group, f32), b.sharedType(group, i32),
            b.sharedType(2, i32), b.sharedType(kTold, i32)},
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             emit(values, shared);
           });
  return toTensors(b, results, op->getResultTypes());
}

void PickLauncher::emit(ArrayRef<Value> values, ArrayRef<Value> shared) {
  Given given(values);
  scores = given.take();
  bounds = given.take();
  lengths = given.take();
  pages = given.take(op.getPages() != nullptr);
  pageCount = given.take(op.getPageCount() != nullptr);
  taken = given.take(op.getTaken() != nullptr);
  outside = given.take(op.getOutside() != nullptr);
  attended = given.take(op.getAttended() != nullptr);
  before = given.take(hostBefore != nullptr);
  scanTops = given.take(hostTops != nullptr);
  for (Value *place : {&ids, &counts, &tails})
    *place = given.take();
  open = given.take(hasWords());
  picked = given.take();
  told = given.take(clusterBlocks > 1);
  between = given.take(clusterBlocks > 1);
  bins = shared[0];
  massBefore = shared[1];
  restFrom = shared[2];
  perWarp = shared[3];
  tops = shared[4];
  ends = shared[5];
  refs = shared[6];
  nans = shared[7];
  found = shared[8];
  if (clusterBlocks == 1)
    told = shared[9];

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
  used = numSlots;
  if (!pages)
    used =
        b.minI(used, b.divU(b.addI(length, b.index(unit - 1)), b.index(unit)));
  Value words = b.divU(b.addI(used, b.index(kWarp - 1)), b.index(kWarp));
  Value perBlock =
      b.divU(b.addI(words, b.index(clusterBlocks - 1)), b.index(clusterBlocks));
  firstWord = b.minI(b.mulI(block, perBlock), words);
  lastWord = b.minI(b.addI(firstWord, perBlock), words);

  if (!before)
    return pick();
  // Most groups of a later round are proved already.
  Value proved = isProvedBefore();
  b.ifThen(proved, [&] { writeNothing(); });
  b.ifThen(notI(proved), [&] { pick(); });
}

Value PickLauncher::isProvedBefore() {
  return b
      .forLoop(b.index(0), b.index(group), 1, ValueRange{b.boolean(true)},
               [&](Value head, ValueRange carried) -> SmallVector<Value> {
                 Value at[] = {row, b.addI(firstHead, head)};
                 Value tail = b.load(before, at);
                 storeTail(tail, at);
                 return {b.andI(carried[0], meets(tail, at))};
               })
      .front();
}

void PickLauncher::pick() {
  if (hasWords()) {
    openSlots();
    if (taken)
      excludeTaken();
    b.barrier();
  }
  if (isProving || hasTail) {
    if (scanTops)
      loadTops();
    else
      findTops();
  }
  if (!isProving || !attended || hasAlways() || before)
    return pickAndWrite();
  Value proved = sumTails(/*ofAll=*/true);
  b.ifThen(proved, [&] { writeNothing(); });
  b.ifThen(notI(proved), [&] { pickAndWrite(); });
}

void PickLauncher::pickAndWrite() {
  if (isProving)
    b.forLoop(b.index(0), b.index(group), 1,
              [&](Value head) { findEnd(head); });
  SmallVector<Value> marked = markNeeded();
  SmallVector<Join> joins = {Join::sum};
  while (joins.size() < marked.size())
    joins.append({Join::sum, Join::either});
  marked = reduceAll(marked, joins);
  Value available = marked[0];
  Value isOver =
      b.compare(CmpIPredicate::sgt, available, b.i32(op.getBudget()));
  storeOnce(b.i32(0), found, b.index(0));
  b.barrier();
  b.ifThen(isOver, [&] {
    Value numTies = markBest(b.i32(op.getBudget()));
    storeOnce(numTies, found, b.index(0));
  });
  b.barrier();
  writePicks(b.load(found, b.index(0)));
  if (!hasTail)
    return;
  if (!sumsWhileMarking()) {
    sumTails(/*ofAll=*/false);
    return;
  }
  b.ifThen(isOver, [&] { sumTails(/*ofAll=*/false); });
  b.ifThen(notI(isOver), [&] {
    for (int64_t head = 0; head < group; ++head)
      writeTail(b.index(head), marked[1 + 2 * head], marked[2 + 2 * head]);
  });
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
  leave(counted, {Join::sum, Join::sum});
  waitCluster();
  SmallVector<Value> allBetter = collectEach(0, b.getI32Type());
  SmallVector<Value> allTies = collectEach(1, b.getI32Type());
  waitCluster();
  Value first = zero, total = zero, tiesBefore = zero, ties = zero;
  for (auto [i, better, tie] : llvm::enumerate(allBetter, allTies)) {
    Value isBefore = b.compare(CmpIPredicate::ult, b.index(i), block);
    Value kept = clamp(b.subI(numTies, ties), tie);
    total = b.addI(total, b.addI(better, kept));
    ties = b.addI(ties, tie);
    first = b.select(isBefore, total, first);
    tiesBefore = b.select(isBefore, ties, tiesBefore);
  }

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
          b.store(all, picked, {row, kvHead, word, b.index(0)});
        });
        return {b.addI(carried[0], picksHere), b.addI(carried[1], tiesHere)};
      });
  pad(b.toIndex(total));
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&] { b.store(total, counts, {row, kvHead}); });
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
    bool ofMarked) {
  Value size = b.index(kWarp), atOnce = b.index(kAtOnce);
  auto open = [&](MutableArrayRef<Slot> slots) {
    SmallVector<Value> bits;
    if (ofMarked)
      bits = loadBits(picked, b.index(0), slots);
    else if (hasWords())
      bits = loadBits(this->open, {}, slots);
    for (auto [slot, bit] : llvm::zip(slots, bits))
      slot.isOpen = andOpen(slot, bit);
  };

  // Words all of whose slots are there, and neither sinks nor of the window;
  // what is loaded together must not lie across the ends of rows.
  Value first = firstWord, last = b.minI(lastWord, b.divU(used, size));
  if (hasAlways()) {
    auto [afterSinks, window] = getFree();
    first = b.minI(
        b.maxI(first, b.divU(b.addI(afterSinks, b.index(kWarp - 1)), size)),
        lastWord);
    last = b.minI(last, b.divU(window, size));
  }
  Value isAligned = b.compare(CmpIPredicate::eq,
                              b.remU(numSlots, b.index(kTogether)), b.index(0));
  last = b.select(isAligned, last, first);
  if (hasAlways() && pages)
    last = first;
  Value chunks = b.divU(b.maxI(b.subI(last, first), b.index(0)), atOnce);
  SmallVector<Value> found = b.forLoop(
      warp, chunks, kWarps, carried, [&](Value chunk, ValueRange now) {
        Value word = b.addI(first, b.mulI(chunk, atOnce));
        Value base =
            b.addI(b.mulI(word, size), b.mulI(lane, b.index(kTogether)));
        SmallVector<Slot> slots(kAtOnce);
        for (auto [i, slot] : llvm::enumerate(slots))
          slot.number = b.addI(
              base, b.index(i / kTogether * kTogether * kWarp + i % kTogether));
        open(slots);
        return body(slots, now);
      });
  // The words before these, and after them.
  Value before = b.subI(first, firstWord);
  Value done = b.mulI(chunks, atOnce);
  Value others = b.subI(b.subI(lastWord, firstWord), done);
  return b.forLoop(warp, others, kWarps, found, [&](Value i, ValueRange now) {
    Value isBefore = b.compare(CmpIPredicate::slt, i, before);
    Value word = b.addI(firstWord, i);
    word = b.select(isBefore, word, b.addI(word, done));
    Slot slot;
    slot.number = b.addI(b.mulI(word, size), lane);
    slot.isThere = b.compare(CmpIPredicate::slt, slot.number, used);
    slot.isOpen = slot.isThere;
    if (hasAlways())
      slot.isAlways =
          isAlways(b.minI(slot.number, b.subI(numSlots, b.index(1))));
    open(slot);
    return body(slot, now);
  });
}

SmallVector<Value> PickLauncher::loadBits(Value buffer, ValueRange which,
                                          ArrayRef<Slot> slots) {
  auto load = [&](Value slot) {
    SmallVector<Value> at = {row, kvHead, b.divU(slot, b.index(kWarp))};
    llvm::append_range(at, which);
    return b.load(buffer, at);
  };
  if (!areTogether(slots))
    return {isSet(load(slots[0].number))};
  SmallVector<Value> bits;
  Value first =
      b.mulI(b.remU(lane, b.index(kWarp / kTogether)), b.index(kTogether));
  for (int64_t i = 0; i < kAtOnce; i += kTogether) {
    Value word =
        arith::ShRUIOp::create(b, load(slots[i].number), b.toI32(first));
    for (int64_t bit = 0; bit < kTogether; ++bit)
      bits.push_back(b.compare(
          CmpIPredicate::ne, b.andI(word, b.i32(int64_t(1) << bit)), b.i32(0)));
  }
  return bits;
}

void PickLauncher::storeBits(ArrayRef<Value> bits, Value buffer,
                             ValueRange which, ArrayRef<Slot> slots) {
  auto store = [&](Value word, Value slot) {
    SmallVector<Value> at = {row, kvHead, b.divU(slot, b.index(kWarp))};
    llvm::append_range(at, which);
    b.store(word, buffer, at);
  };
  if (!areTogether(slots)) {
    Value word = b.ballot(bits[0]);
    b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)),
             [&] { store(word, slots[0].number); });
    return;
  }
  // Each lane's bits, joined by the lanes that share a word.
  Value within = b.remU(lane, b.index(kWarp / kTogether));
  Value first = b.toI32(b.mulI(within, b.index(kTogether)));
  for (int64_t i = 0; i < kAtOnce; i += kTogether) {
    Value word = b.i32(0);
    for (int64_t bit = 0; bit < kTogether; ++bit)
      word = b.orI(word,
                   b.select(bits[i + bit], b.i32(int64_t(1) << bit), b.i32(0)));
    word = arith::ShLIOp::create(b, word, first);
    for (int64_t mask = 1; mask < kWarp / kTogether; mask *= 2)
      word = b.orI(word, b.shuffleXor(word, mask));
    b.ifThen(b.compare(CmpIPredicate::eq, within, b.index(0)),
             [&] { store(word, slots[i].number); });
  }
}

SmallVector<Value> PickLauncher::weighted(Value from, Value head,
                                          ArrayRef<Slot> slots) {
  SmallVector<Value> values;
  Value queryHead = b.addI(firstHead, head);
  if (areTogether(slots)) {
    for (int64_t i = 0; i < kAtOnce; i += kTogether) {
      Value vector = vector::LoadOp::create(
          b, b.vectorType(kTogether), from,
          ValueRange{row, queryHead, slots[i].number},
          /*nontemporal=*/false, llvm::MaybeAlign(4 * kTogether));
      for (int64_t j = 0; j < kTogether; ++j)
        values.push_back(
            vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{j}));
    }
  } else {
    Value last = b.subI(numSlots, b.index(1));
    values.push_back(
        b.load(from, {row, queryHead, b.minI(slots[0].number, last)}));
  }
  // Select, not add: what is not open may hold anything.
  for (auto [value, slot] : llvm::zip_equal(values, slots))
    value = ifOpen(slot, addWeight(value, slot.number), b.negInf());
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

std::pair<Value, Value> PickLauncher::getFree() {
  Value recent = b.maxI(b.subI(length, b.index(op.getWindow())), b.index(0));
  if (op.getWindow() == 0)
    recent = b.mulI(numSlots, b.index(unit));
  if (pages) // in positions
    return {b.index(op.getSinks()), recent};
  return {b.index(llvm::divideCeil(op.getSinks(), unit)),
          b.divU(recent, b.index(unit))};
}

Value PickLauncher::isAlways(Value slot) {
  auto [first, last] = getFree();
  if (pages)
    slot = getPosition(slot);
  Value isSink = b.compare(CmpIPredicate::slt, slot, first);
  if (op.getWindow() == 0)
    return isSink;
  return b.orI(isSink, b.compare(CmpIPredicate::sge, slot, last));
}

//===----------------------------------------------------------------------===//
// What is left
//===----------------------------------------------------------------------===//

// tails[h] = log( exp(outside) + sum of what is left ); +inf where a score or
// bound is NaN.

void PickLauncher::addLeft(Value bound, Value isLeft, Value shift, Value &sum,
                           Value &bits) {
  Value isFinite = notI(isUnknown(bound));
  Value mass = estimate(b.subF(bound, shift));
  Value counts = b.andI(isLeft, isFinite);
  sum = b.addF(sum, b.select(counts, mass, b.f32(0.0f)));
  Value kind = b.select(isFinite, b.i32(1), b.i32(3));
  bits = b.orI(bits, b.select(isLeft, kind, b.i32(0)));
}

Value PickLauncher::sumTails(bool ofAll) {
  return b
      .forLoop(b.index(0), b.index(group), 1, ValueRange{b.boolean(true)},
               [&](Value head, ValueRange carried) -> SmallVector<Value> {
                 Value shift = getShift(head);
                 SmallVector<Value> sums = forEachSlot(
                     {b.f32(0.0f), b.i32(0)},
                     [&](ArrayRef<Slot> slots, ValueRange now) {
                       SmallVector<Value> next(now), all;
                       all = weighted(bounds, head, slots);
                       SmallVector<Value> gone(slots.size(), b.boolean(false));
                       if (!ofAll)
                         gone = loadBits(picked, b.index(0), slots);
                       for (auto [bound, slot, isGone] :
                            llvm::zip_equal(all, slots, gone)) {
                         Value isLeft = andOpen(slot, notI(isGone));
                         addLeft(bound, isLeft, shift, next[0], next[1]);
                       }
                       return next;
                     });
                 sums = reduceAll(sums, {Join::sum, Join::either});
                 return {b.andI(carried[0], writeTail(head, sums[0], sums[1]))};
               })
      .front();
}

void PickLauncher::storeTail(Value tail, ValueRange at) {
  Value isFirst =
      b.andI(isFirstThread(), b.compare(CmpIPredicate::eq, block, b.index(0)));
  b.ifThen(isFirst, [&] { b.store(tail, tails, at); });
}

Value PickLauncher::meets(Value tail, ValueRange at) {
  Value allowed = b.addF(b.load(attended, at), b.log(getRatio()));
  return b.compare(CmpFPredicate::OLE, tail, allowed);
}

Value PickLauncher::writeTail(Value head, Value sum, Value bits) {
  // Sums of n positive f32 numbers, of each thread and then of threads, are low
  // by less than (n / 4 + 4) 2^-24 of themselves; a term by 2^-21, and as its
  // exponent of at most 128 is rounded twice, by 128 2^-24; log by a few units,
  // and the result rounds once more. Twice that is added. Terms below 2^-126
  // may be lost: as many are added.
  Value number = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(numSlots));
  Value slack = b.mulF(b.addF(b.mulF(number, b.f32(0.25f)), b.f32(32.0f)),
                       b.f32(0x1p-23f));
  slack = b.addF(slack, b.f32(0x1p-15f));
  Value lost = b.mulF(number, b.f32(0x1p-126f));
  Value tail = b.addF(getShift(head), b.log(b.addF(sum, lost)));
  Value isNothing = b.compare(CmpIPredicate::eq, bits, b.i32(0));
  tail = b.select(isNothing, b.negInf(), tail);
  Value isUnknown =
      b.orI(b.compare(CmpIPredicate::eq, bits, b.i32(3)),
            b.compare(CmpIPredicate::ne, b.load(nans, head), b.i32(0)));
  Value at[] = {row, b.addI(firstHead, head)};
  if (outside) {
    Value other = b.load(outside, at);
    Value most = b.maxF(tail, other);
    Value both = b.addF(b.exp(b.subF(tail, most)), b.exp(b.subF(other, most)));
    Value joined = b.addF(most, b.log(both));
    tail = b.select(isInf(b.absF(most)), most, joined);
    isUnknown = b.orI(isUnknown, isNaN(other));
  }
  // Infinite tails are exact, and must not meet arithmetic.
  Value relative = b.mulF(b.absF(tail), b.f32(0x1p-22f));
  Value raised = b.addF(tail, b.addF(slack, relative));
  tail = b.select(isInf(b.absF(tail)), tail, raised);
  tail = b.select(isUnknown, b.f32(kInfinity), tail);
  storeTail(tail, at);
  return attended ? meets(tail, at) : b.boolean(true);
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
  for (int64_t i = 0; i < kWarps; ++i) {
    Value other = fromBits(b, b.load(perWarp, {b.index(i), b.index(0)}), type);
    joined = joined ? join(how, joined, other) : other;
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
  b.ifThen(isFrom(kWarp - 1), [&] {
    b.store(toBits(b, sum), perWarp, {warp, b.index(0)});
  });
  b.barrier();
  Value earlier = zero, total = zero;
  for (int64_t i = 0; i < kWarps; ++i) {
    Value other = fromBits(b, b.load(perWarp, {b.index(i), b.index(0)}), type);
    Value isEarlier = b.compare(CmpIPredicate::ult, b.index(i), warp);
    earlier = b.select(isEarlier, addAny(earlier, other), earlier);
    total = addAny(total, other);
  }
  b.barrier();
  return {addAny(earlier, before), total};
}

void PickLauncher::leave(ArrayRef<Value> values, Joins joins) {
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
  // A warp for each, in the order of warps.
  for (auto [i, value, how] : llvm::enumerate(values, joins)) {
    Value isOwn = b.compare(CmpIPredicate::eq, thread,
                            b.index(static_cast<int64_t>(i) % kWarps * kWarp));
    b.ifThen(isOwn, [&, i = i, value = value, how = how] {
      Value all;
      for (int64_t other = 0; other < kWarps; ++other) {
        Value one = fromBits(b, b.load(perWarp, {b.index(other), b.index(i)}),
                             value.getType());
        all = all ? join(how, all, one) : one;
      }
      SmallVector<Value> at = {b.index(i)};
      if (clusterBlocks > 1)
        at = {row, kvHead, block, at[0]};
      b.store(toBits(b, all), told, at);
    });
  }
}

SmallVector<Value> PickLauncher::collectEach(int64_t number, Type type) {
  if (clusterBlocks == 1)
    return {fromBits(b, b.load(told, b.index(number)), type)};
  SmallVector<Value> values;
  for (int64_t i = 0; i < clusterBlocks; ++i)
    values.push_back(fromBits(
        b, b.load(told, {row, kvHead, b.index(i), b.index(number)}), type));
  return values;
}

SmallVector<Value> PickLauncher::collect(ArrayRef<Value> values, Joins joins) {
  SmallVector<Value> all;
  for (auto [i, value, how] : llvm::enumerate(values, joins)) {
    SmallVector<Value> each = collectEach(i, value.getType());
    Value joined = each.front();
    for (Value other : ArrayRef<Value>(each).drop_front())
      joined = join(how, joined, other);
    all.push_back(joined);
  }
  return all;
}

SmallVector<Value> PickLauncher::reduceAll(ArrayRef<Value> values,
                                           Joins joins) {
  assert(values.size() <= kTold && "there is room for as many");
  leave(values, joins);
  waitCluster();
  SmallVector<Value> all = collect(values, joins);
  waitCluster();
  return all;
}

void PickLauncher::clearBins(int64_t size) {
  b.forLoop(thread, b.index(size), kThreads,
            [&](Value at) { b.store(b.i32(0), bins, at); });
  b.barrier();
}

void PickLauncher::addToBin(Value at, Value amount) {
  memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi, amount, bins, at);
}

SmallVector<Value> PickLauncher::addUpBins(int64_t size, ArrayRef<Value> values,
                                           Joins joins) {
  leave(values, joins); // waits for the bins of the block
  if (clusterBlocks > 1)
    b.forLoop(thread, b.index(size), kThreads, [&](Value at) {
      b.store(b.load(bins, at), between, {row, kvHead, block, at});
    });
  waitCluster();
  SmallVector<Value> all = collect(values, joins);
  if (clusterBlocks > 1)
    b.forLoop(thread, b.index(size), kThreads, [&](Value at) {
      Value sum;
      for (int64_t i = 0; i < clusterBlocks; ++i) {
        Value other = b.load(between, {row, kvHead, b.index(i), at});
        sum = sum ? b.addI(sum, other) : other;
      }
      b.store(sum, bins, at);
    });
  waitCluster();
  return all;
}

LogicalResult vashista::launchPick(PickOp op, int64_t clusterBlocks,
                                   const ScanTops &tops,
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
  constexpr int64_t kManyBlocks = 256;
  int64_t blocks = 1;
  int64_t groups = ShapedType::isDynamic(scores.getDimSize(0))
                       ? op.getKvHeads()
                       : scores.getDimSize(0) * op.getKvHeads();
  // Of a later round most groups have nothing to do, and others should not wait
  // for one block.
  if (op.getAttended())
    groups = 1;
  if (op.getUnit() == SlotUnit::tokens)
    while (blocks < clusterBlocks && blocks * groups < kManyBlocks)
      blocks *= 2;
  WarpBuilder b(op.getLoc(), rewriter);
  Value hostTops;
  // A scan's are of tokens, without weights, and of the whole list.
  if (op.getUnit() == SlotUnit::tokens)
    hostTops = tops.lookup(op.getBounds());
  rewriter.replaceOp(op, PickLauncher(op, blocks, hostTops, b).launch());
  return success();
}
