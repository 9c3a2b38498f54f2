//===- PickSlots.cpp - Slots and their bits, on a GPU ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

void PickLauncher::openSlots() {
  // What is visible without a list is known by the length: a thread for each
  // word.
  if (!pages) {
    b.forLoop(b.addI(firstWord, thread), lastWord, threads, [&](Value word) {
      Value first = b.mulI(word, b.index(kWarp));
      Value number = b.toI32(b.minI(b.subI(used, first), b.index(kWarp)));
      // The lowest so many, of which there is one at least.
      Value bits =
          arith::ShRUIOp::create(b, b.i32(-1), b.subI(b.i32(kWarp), number));
      b.store(closePicked(bits, word), open, {row, kvHead, word});
    });
    return;
  }
  b.forLoop(b.addI(firstWord, warp), lastWord, warps, [&](Value word) {
    Value slot = b.addI(b.mulI(word, b.index(kWarp)), lane);
    Value inside = b.compare(CmpIPredicate::slt, slot, numSlots);
    slot = b.minI(slot, b.subI(numSlots, b.index(1)));
    Value bits = b.ballot(b.andI(inside, isVisible(slot)));
    bits = closePicked(bits, word);
    Value isFirst = b.compare(CmpIPredicate::eq, lane, b.index(0));
    b.ifThen(isFirst, [&] { b.store(bits, open, {row, kvHead, word}); });
  });
}

/// What the pick before has picked is neither picked again nor in the tail.
Value PickLauncher::closePicked(Value bits, Value word) {
  if (!pickedBefore)
    return bits;
  Value gone = b.load(pickedBefore, {row, kvHead, word, b.index(0)});
  return b.andI(bits, arith::XOrIOp::create(b, gone, b.i32(-1)));
}

/// The same of a list.
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
  auto excludeEntry = [&](Value entry) {
    Value id = arith::IndexCastOp::create(b, b.getIndexType(), entry);
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
  };
  // Several at once: none waits for another's memory.
  int64_t entries = cast<MemRefType>(taken.getType()).getDimSize(2);
  int64_t size = !ShapedType::isDynamic(entries) && entries % kTogether == 0
                     ? kTogether
                     : 1;
  auto type = VectorType::get({size}, b.getI32Type());
  b.forLoop(b.mulI(thread, b.index(size)), b.dim(taken, 2), size * threads,
            [&](Value first) {
              Value vector = vector::LoadOp::create(
                  b, type, taken, ValueRange{row, kvHead, first},
                  /*nontemporal=*/false, llvm::MaybeAlign(4 * size));
              for (int64_t i = 0; i < size; ++i)
                excludeEntry(
                    vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{i}));
            });
}

std::pair<Value, Value> PickLauncher::getChunks() {
  // What is loaded together must not lie across the ends of rows.
  Value size = b.index(kWarp);
  Value first = firstWord, last = b.minI(lastWord, b.divU(used, size));
  if (hasAlways()) {
    auto [afterSinks, window] = getFree();
    first = b.minI(
        b.maxI(first, b.divU(b.addI(afterSinks, b.index(kWarp - 1)), size)),
        lastWord);
    last = b.minI(last, b.divU(window, size));
  }
  if (!hasLevels()) { // whose rows are padded
    Value rest = b.remU(numSlots, b.index(getTogether()));
    Value isAligned = b.compare(CmpIPredicate::eq, rest, b.index(0));
    last = b.select(isAligned, last, first);
  }
  if (hasAlways() && pages)
    last = first;
  if (hasLevels()) { // whole tiles
    Value tiles =
        b.createOrFold<arith::CeilDivUIOp>(first, b.index(kWordsOfTile));
    first = b.minI(b.mulI(tiles, b.index(kWordsOfTile)), lastWord);
  }
  Value words = b.maxI(b.subI(last, first), b.index(0));
  return {first, b.divU(words, b.index(kAtOnce))};
}

SmallVector<Value> PickLauncher::forEachSlot(
    ValueRange carried,
    function_ref<SmallVector<Value>(ArrayRef<Slot>, ValueRange)> body,
    bool ofMarked) {
  return forEachSlot(
      carried, [](ArrayRef<Slot>) { return SmallVector<Value>(); },
      [&](ArrayRef<Slot> slots, ValueRange, ValueRange now) {
        return body(slots, now);
      },
      ofMarked);
}

SmallVector<Value> PickLauncher::forEachSlot(
    ValueRange carried, function_ref<SmallVector<Value>(ArrayRef<Slot>)> load,
    function_ref<SmallVector<Value>(ArrayRef<Slot>, ValueRange, ValueRange)>
        body,
    bool ofMarked, Value sampleShift) {
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

  Value first, chunks;
  std::tie(first, chunks) = getChunks();
  Value visits = chunks;
  if (sampleShift) {
    Value every = b.toIndex(arith::ShLIOp::create(b, b.i32(1), sampleShift));
    visits = b.createOrFold<arith::CeilDivUIOp>(chunks, every);
  }
  auto getSlots = [&](Value visit) {
    Value chunk = visit;
    if (sampleShift)
      chunk = b.toIndex(arith::ShLIOp::create(b, b.toI32(visit), sampleShift));
    Value word = b.addI(first, b.mulI(chunk, atOnce));
    const int64_t together = getTogether();
    Value base = b.addI(b.mulI(word, size), b.mulI(lane, b.index(together)));
    SmallVector<Slot> slots(kAtOnce);
    for (int64_t i = 0; i < kAtOnce; ++i)
      slots[i].number =
          b.addI(base, b.index(i / together * together * kWarp + i % together));
    return slots;
  };
  // What the next chunk needs is loaded while this one is looked at.
  Value any = b.compare(CmpIPredicate::slt, warp, visits);
  auto walk = [&] {
    SmallVector<Value> state = load(getSlots(warp));
    unsigned numLoaded = state.size();
    llvm::append_range(state, carried);
    state =
        b.forLoop(warp, visits, warps, state, [&](Value visit, ValueRange now) {
          Value next =
              b.minI(b.addI(visit, b.index(warps)), b.subI(visits, b.index(1)));
          SmallVector<Value> loaded = load(getSlots(next));
          SmallVector<Slot> slots = getSlots(visit);
          open(slots);
          llvm::append_range(loaded, body(slots, now.take_front(numLoaded),
                                          now.drop_front(numLoaded)));
          return loaded;
        });
    return SmallVector<Value>(llvm::drop_begin(state, numLoaded));
  };
  SmallVector<Value> found = b.ifThen(any, carried, walk);
  // The words before these, and after them.
  Value before = b.subI(first, firstWord);
  Value done = b.mulI(chunks, atOnce);
  Value others = b.subI(b.subI(lastWord, firstWord), done);
  return b.forLoop(warp, others, warps, found, [&](Value i, ValueRange now) {
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
    return body(slot, load(slot), now);
  });
}

SmallVector<Value> PickLauncher::loadBits(Value buffer, ValueRange which,
                                          ArrayRef<Slot> slots) {
  auto load = [&](Value slot) {
    SmallVector<Value> at = {row, kvHead, b.divU(slot, b.index(kWarp))};
    llvm::append_range(at, which);
    return b.load(buffer, at);
  };
  if (!areTogether(slots)) {
    Value own = b.andI(load(slots[0].number), laneBit);
    return {b.compare(CmpIPredicate::ne, own, b.i32(0))};
  }
  SmallVector<Value> bits;
  const int64_t together = getTogether();
  Value first =
      b.mulI(b.remU(lane, b.index(kWarp / together)), b.index(together));
  for (int64_t i = 0; i < kAtOnce; i += together) {
    Value word =
        arith::ShRUIOp::create(b, load(slots[i].number), b.toI32(first));
    for (int64_t bit = 0; bit < together; ++bit)
      bits.push_back(isOwn(word, bit));
  }
  return bits;
}

Value PickLauncher::getOwnBits(ArrayRef<Value> bits) {
  Value all;
  for (auto [i, bit] : llvm::enumerate(bits)) {
    Value own = b.select(bit, b.i32(int64_t(1) << i), b.i32(0));
    all = all ? b.orI(all, own) : own;
  }
  return all;
}

Value PickLauncher::isOwn(Value bits, int64_t slot) {
  return b.compare(CmpIPredicate::ne, b.andI(bits, b.i32(int64_t(1) << slot)),
                   b.i32(0));
}

void PickLauncher::forEachWord(Value own, Value slot, int64_t together,
                               function_ref<void(Value, Value)> body) {
  // Each lane's bits, joined by the lanes that share a word.
  Value within = b.remU(lane, b.index(kWarp / together));
  Value first = b.toI32(b.mulI(within, b.index(together)));
  Value word = arith::ShLIOp::create(b, own, first);
  for (int64_t mask = 1; mask < kWarp / together; mask *= 2)
    word = b.orI(word, b.shuffleXor(word, mask));
  b.ifThen(b.compare(CmpIPredicate::eq, within, b.index(0)),
           [&] { body(word, slot); });
}

void PickLauncher::forEachWord(ArrayRef<Value> bits, ArrayRef<Slot> slots,
                               function_ref<void(Value, Value)> body) {
  if (!areTogether(slots)) {
    Value word = b.ballot(bits[0]);
    b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)),
             [&] { body(word, slots[0].number); });
    return;
  }
  const int64_t together = getTogether();
  for (int64_t i = 0; i < kAtOnce; i += together)
    forEachWord(getOwnBits(bits.slice(i, together)), slots[i].number, together,
                body);
}

void PickLauncher::storeBits(ArrayRef<Value> bits, Value buffer,
                             ValueRange which, ArrayRef<Slot> slots) {
  forEachWord(bits, slots, [&](Value word, Value slot) {
    SmallVector<Value> at = {row, kvHead, b.divU(slot, b.index(kWarp))};
    llvm::append_range(at, which);
    b.store(word, buffer, at);
  });
}

int64_t PickLauncher::getOwnWordsAtMost() {
  int64_t slots =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  if (ShapedType::isDynamic(slots) || !hasLevels() || op.getAttended())
    return kBins * kBins; // more than there is room for
  // Rows of levels are padded.
  slots = llvm::alignTo(slots, ScanFindings::kTile);
  return llvm::divideCeil(slots / kWarp, clusterBlocks);
}

void PickLauncher::storeMarked(Value word, Value slot) {
  if (keepsMarks)
    b.store(word, ownMarks, b.subI(b.divU(slot, b.index(kWarp)), firstWord));
  Value both = vector::FromElementsOp::create(
      b, VectorType::get({2}, b.getI32Type()), ValueRange{word, b.i32(0)});
  vector::StoreOp::create(
      b, both, picked,
      ValueRange{row, kvHead, b.divU(slot, b.index(kWarp)), b.index(0)},
      /*nontemporal=*/false, llvm::MaybeAlign(8));
}

SmallVector<Value> PickLauncher::weighted(Value from, Value head,
                                          ArrayRef<Slot> slots) {
  SmallVector<Value> values;
  Value queryHead = b.addI(firstHead, head);
  if (hasLevels()) {
    values = getBoundsOfLevels(head, slots);
  } else if (areTogether(slots)) {
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
  for (auto [value, slot] : llvm::zip_equal(values, slots)) {
    value = addWeight(value, slot.number);
    if (slot.isOpen)
      value = b.select(slot.isOpen, value, b.negInf());
  }
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
