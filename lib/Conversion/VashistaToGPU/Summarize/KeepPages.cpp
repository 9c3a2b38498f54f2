//===- KeepPages.cpp - What a block keeps of a page -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KeepPages.h"

#include "../VashistaToVector/UpperBounds.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Static memory that a block's sums may take: 48 KiB without the rest.
static constexpr int64_t kSharedBytes = 36 << 10;
/// Warps of a block, at most.
static constexpr int64_t kMostWarps = 8;

static TokenLanes getLanes(Value cache) {
  return TokenLanes(getHeadDim(cache), getVectorSize(cache));
}

KeepPages::KeepPages(WarpBuilder &b, int64_t warps, Value keys, Value values,
                     Value norms, SummaryAttr summary, ValueRange parts,
                     SketchAttr sketch, ValueRange sketchParts, Layout layout)
    : b(b), warps(warps), summary(summary), layout(layout),
      keyLanes(getLanes(keys)), parts(parts), sketchParts(sketchParts),
      keys(keys), values(values), norms(norms) {
  if (norms)
    valueLanes.emplace(getLanes(values));
  if (sketch)
    this->sketch.emplace(b, sketch, sketchParts, getHeadDim(keys), warps);
}

const char *KeepPages::getObstacle(ValueRange buffers, Value keys,
                                   Value values) {
  for (Value buffer : buffers) {
    SmallVector<int64_t> strides;
    int64_t offset;
    if (failed(cast<MemRefType>(buffer.getType())
                   .getStridesAndOffset(strides, offset)) ||
        strides.back() != 1)
      return "expected rows of consecutive elements";
  }
  if (2 * kMostWarps * getHeadDim(keys) * 4 > kSharedBytes)
    return "expected sums that have room in a block's static memory";
  for (Value cache : {keys, values})
    if (cache && getElementTypeOrSelf(cache).getIntOrFloatBitWidth() < 16)
      return "expected caches of bf16, f16 or f32";
  return nullptr;
}

//===----------------------------------------------------------------------===//
// The kernel's surroundings
//===----------------------------------------------------------------------===//

int64_t KeepPages::getResidentBlocks() const {
  // Registers of a multiprocessor, 64 of them for a thread, or what a sketch
  // needs for each 16 channels.
  int64_t needed = sketch ? 128 * sketch->lanes.parts : 64;
  return std::max<int64_t>(1, (1 << 16) / (getThreads() * needed));
}

SmallVector<Value> KeepPages::getWritten() const {
  SmallVector<Value> written(parts);
  if (norms)
    written.push_back(norms);
  llvm::append_range(written, sketchParts);
  return written;
}

int64_t KeepPages::getNumSums() const {
  if (is(SummaryKind::mean_std))
    return 2;
  return 2 * is(SummaryKind::box) + hasMean();
}

SmallVector<MemRefType> KeepPages::getShared() {
  SmallVector<MemRefType> shared = {b.sharedType({warps}, b.getI32Type()),
                                    b.sharedType({warps, 3}, b.getF64Type())};
  if (int64_t number = getNumSums())
    shared.push_back(
        b.sharedType({number, warps, keyLanes.dim}, b.getF32Type()));
  if (sketch)
    shared.push_back(sketch->getShared());
  return shared;
}

void KeepPages::begin(Value keys, Value values, Given &written,
                      ArrayRef<Value> shared) {
  this->keys = keys;
  this->values = values;
  for (Value &part : parts)
    part = written.take();
  norms = written.take(norms != nullptr);
  for (Value &part : sketchParts)
    part = written.take();
  Given buffers(shared);
  least = buffers.take();
  largest = buffers.take();
  sums = buffers.take(getNumSums() > 0);
  if (sketch)
    sketch->begin(sketchParts, buffers.take());
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
}

Value KeepPages::getLeast(Value value) {
  // All lanes have the same, and write it.
  b.store(b.getLeastOfWarp(value), least, warp);
  b.barrier();
  Value found = b.load(least, b.index(0));
  for (int64_t i = 1; i < warps; ++i)
    found = b.minI(found, b.load(least, b.index(i)));
  b.barrier();
  return found;
}

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

SmallVector<Value> KeepPages::overTokens(
    const TokenLanes &lanes, Value cache, ValueRange init,
    function_ref<SmallVector<Value>(ArrayRef<Value>, Value, ValueRange)> body) {
  Value last = b.subI(count, b.index(1));
  return b.forLoop(
      b.index(0), count, lanes.getTokens(warps), init,
      [&](Value first, ValueRange carried) {
        Value token = b.addI(first, lanes.getToken(b));
        Value isToken = b.compare(CmpIPredicate::ult, token, count);
        token = b.minI(token, last);
        SmallVector<Value> channels;
        for (int64_t part = 0; part < lanes.parts; ++part) {
          Value channel = lanes.getChannel(b, lanes.getVector(b, part));
          llvm::append_range(channels,
                             b.loadFloats(cache,
                                          indices(page, kvHead, token, channel),
                                          lanes.width));
        }
        return body(channels, isToken, carried);
      });
}

Value KeepPages::getSquares(const TokenLanes &lanes, ArrayRef<Value> channels) {
  Value squares = f64(b, 0.0);
  for (int64_t part = 0; part < lanes.parts; ++part) {
    Value sum = squares;
    for (Value x : channels.slice(part * lanes.width, lanes.width)) {
      if (!x.getType().isF64())
        x = widen(b, x);
      sum = math::FmaOp::create(b, x, x, sum);
    }
    squares = b.select(lanes.has(b, lanes.getVector(b, part)), sum, squares);
  }
  return b.combine(
      squares, [&](Value x, Value y) { return b.addF(x, y); }, 1, lanes.lanes);
}

void KeepPages::readKeys() {
  bool isBox = is(SummaryKind::box);
  int64_t size = keyLanes.parts * keyLanes.width;
  float inf = std::numeric_limits<float>::infinity();
  auto fill = [&](bool isThere, float value) {
    return SmallVector<Value>(isThere ? size : 0, b.f32(value));
  };
  SmallVector<Value> init = fill(isBox, inf);
  llvm::append_range(init, fill(isBox, -inf));
  llvm::append_range(init, fill(hasMean(), 0.0f));
  if (norms)
    init.push_back(f64(b, 0.0));
  SmallVector<Value> found = overTokens(
      keyLanes, keys, init,
      [&](ArrayRef<Value> channels, Value isToken, ValueRange carried) {
        // The last token once more does no harm, but to a sum.
        SmallVector<Value> next(carried);
        MutableArrayRef<Value> left(next);
        auto update = [&](function_ref<Value(Value, Value)> join) {
          for (auto [x, all] : llvm::zip(channels, left))
            all = join(all, x);
          left = left.drop_front(size);
        };
        if (isBox) {
          update([&](Value all, Value x) { return b.minF(all, x); });
          update([&](Value all, Value x) { return b.maxF(all, x); });
        }
        if (hasMean())
          update([&](Value all, Value x) {
            return b.select(isToken, b.addF(all, x), all);
          });
        if (norms)
          left[0] = b.maxF(left[0], getSquares(keyLanes, channels));
        return next;
      });
  ArrayRef<Value> left(found);
  auto share = [&](int64_t number, function_ref<Value(Value, Value)> join) {
    shareSums(left.take_front(size), number, join);
    left = left.drop_front(size);
  };
  if (isBox) {
    share(0, [&](Value x, Value y) { return b.minF(x, y); });
    share(1, [&](Value x, Value y) { return b.maxF(x, y); });
  }
  if (hasMean())
    share(2 * isBox, [&](Value x, Value y) { return b.addF(x, y); });
  if (norms)
    shareLargest(left[0], kKey);
}

void KeepPages::readValues() {
  Value found = overTokens(*valueLanes, values, f64(b, 0.0),
                           [&](ArrayRef<Value> channels, Value,
                               ValueRange carried) -> SmallVector<Value> {
                             return {b.maxF(carried[0],
                                            getSquares(*valueLanes, channels))};
                           })
                    .front();
  shareLargest(found, kValue);
}

void KeepPages::readAgain() {
  SmallVector<Value> centre, init;
  for (int64_t part = 0; part < keyLanes.parts; ++part) {
    Value channel = keyLanes.getChannel(b, keyLanes.getVector(b, part));
    // From the centre as stored, not as computed.
    if (is(SummaryKind::ball))
      llvm::append_range(centre, b.loadFloats(parts[0], {page, kvHead, channel},
                                              keyLanes.width));
    else
      for (int64_t i = 0; i < keyLanes.width; ++i)
        centre.push_back(b.load(
            sums, {b.index(0), b.index(0), b.addI(channel, b.index(i))}));
  }
  if (is(SummaryKind::ball)) {
    Value squares =
        overTokens(
            keyLanes, keys, f64(b, 0.0),
            [&](ArrayRef<Value> channels, Value,
                ValueRange carried) -> SmallVector<Value> {
              SmallVector<Value> differences;
              for (auto [x, middle] : llvm::zip_equal(channels, centre))
                differences.push_back(b.subF(widen(b, x), widen(b, middle)));
              return {b.maxF(carried[0], getSquares(keyLanes, differences))};
            })
            .front();
    shareLargest(squares, kRadius);
    return;
  }
  // Squares of differences lose nothing to cancellation.
  init.assign(centre.size(), b.f32(0.0f));
  SmallVector<Value> squares = overTokens(
      keyLanes, keys, init,
      [&](ArrayRef<Value> channels, Value isToken, ValueRange carried) {
        SmallVector<Value> next(carried);
        for (auto [x, mean, sum] : llvm::zip_equal(channels, centre, next)) {
          Value difference = b.subF(x, mean);
          Value more = math::FmaOp::create(b, difference, difference, sum);
          sum = b.select(isToken, more, sum);
        }
        return next;
      });
  shareSums(squares, 1, [&](Value x, Value y) { return b.addF(x, y); });
}

void KeepPages::sketchTokens(Value first, Value last) {
  Value lane = b.remU(thread, b.index(kWarp));
  Value token = b.addI(first, b.divU(lane, b.index(sketch->lanes.lanes)));
  Value isToken = b.compare(CmpIPredicate::ule, token, last);
  token = b.minI(token, last);
  sketch->emit(page, kvHead, token, isToken,
               [&](Value channel, int64_t number) {
                 return b.loadFloats(
                     keys, indices(page, kvHead, token, channel), number);
               });
}

void KeepPages::sketchToken(
    Value page, Value kvHead, Value token,
    function_ref<SmallVector<Value>(Value, int64_t)> load) {
  // The lanes of one token write it; others do the same for nothing.
  Value lane = b.remU(thread, b.index(kWarp));
  Value isFirst =
      b.compare(CmpIPredicate::ult, lane, b.index(sketch->lanes.lanes));
  sketch->emit(page, kvHead, token, isFirst, load);
}

void KeepPages::sketchPage() {
  const TokenLanes &lanes = sketch->lanes;
  Value last = b.subI(count, b.index(1));
  // The same for all lanes of a warp, which work together.
  Value first = b.mulI(warp, b.index(kWarp / lanes.lanes));
  b.forLoop(first, count, lanes.getTokens(warps),
            [&](Value start) { sketchTokens(start, last); });
}

//===----------------------------------------------------------------------===//
// What the block has found
//===----------------------------------------------------------------------===//

void KeepPages::shareSums(ArrayRef<Value> found, int64_t number,
                          function_ref<Value(Value, Value)> join) {
  // Of a warp's tokens, to the lanes of the first.
  SmallVector<Value> all;
  for (Value value : found)
    all.push_back(b.combine(value, join, keyLanes.lanes, kWarp));
  Value lane = b.remU(thread, b.index(kWarp));
  Value isFirst = b.compare(CmpIPredicate::ult, lane, b.index(keyLanes.lanes));
  int64_t width = keyLanes.width;
  for (int64_t part = 0; part < keyLanes.parts; ++part) {
    Value vector = keyLanes.getVector(b, part);
    b.ifThen(b.andI(isFirst, keyLanes.has(b, vector)), [&] {
      Value values = vector::FromElementsOp::create(
          b, b.vectorType(width), ArrayRef(all).slice(part * width, width));
      Value at[] = {b.index(number), warp, b.mulI(vector, b.index(width))};
      vector::StoreOp::create(
          b, values, sums, at, /*nontemporal=*/false,
          llvm::MaybeAlign(4 * std::min<int64_t>(4, width)));
    });
  }
}

void KeepPages::shareLargest(Value squares, Largest number) {
  // All lanes come to the same, and write it. NaN stays.
  squares = b.combine(squares, [&](Value x, Value y) { return b.maxF(x, y); });
  b.store(squares, largest, {warp, b.index(number)});
}

Value KeepPages::joinSums(int64_t number, Value channel,
                          function_ref<Value(Value, Value)> join) {
  Value all = b.load(sums, {b.index(number), b.index(0), channel});
  for (int64_t i = 1; i < warps; ++i)
    all = join(all, b.load(sums, {b.index(number), b.index(i), channel}));
  return all;
}

void KeepPages::storeLargest(Largest number, Value to, ValueRange at) {
  // By different warps.
  Value isOwn = b.compare(CmpIPredicate::eq, thread, b.index(number * kWarp));
  b.ifThen(isOwn, [&] {
    Value all = b.load(largest, {b.index(0), b.index(number)});
    for (int64_t i = 1; i < warps; ++i)
      all = b.maxF(all, b.load(largest, {b.index(i), b.index(number)}));
    b.store(roundUp(b, b.sqrt(all)), to, at);
  });
}

void KeepPages::storePart(Value part, Value value, Value channel) {
  Type element = getElementTypeOrSelf(part);
  if (!element.isF32())
    value = arith::TruncFOp::create(b, element, value);
  b.store(value, part, {page, kvHead, channel});
}

void KeepPages::overChannels(function_ref<void(Value)> body) {
  b.forLoop(thread, b.index(keyLanes.dim), getThreads(), body);
}

Value KeepPages::getCount() {
  return arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(count));
}

void KeepPages::storeSummary() {
  bool isBox = is(SummaryKind::box);
  if (getNumSums() > 0)
    overChannels([&](Value channel) {
      if (isBox) {
        auto lower = [&](Value x, Value y) { return b.minF(x, y); };
        auto higher = [&](Value x, Value y) { return b.maxF(x, y); };
        storePart(parts[0], joinSums(0, channel, lower), channel);
        storePart(parts[1], joinSums(1, channel, higher), channel);
      }
      if (!hasMean())
        return;
      auto add = [&](Value x, Value y) { return b.addF(x, y); };
      Value mean = b.divF(joinSums(2 * isBox, channel, add), getCount());
      if (summary && !isBox)
        storePart(parts[0], mean, channel);
      if (isCentred())
        storePart(sketch->getCentre(), mean, channel);
      // Nobody else reads this channel's sums.
      if (is(SummaryKind::mean_std))
        b.store(mean, sums, {b.index(0), b.index(0), channel});
    });
  if (norms)
    for (Largest number : {kKey, kValue})
      storeLargest(number, norms, {page, kvHead, b.index(number)});
}

void KeepPages::storeDeviations() {
  if (is(SummaryKind::ball))
    return storeLargest(kRadius, parts[1], {page, kvHead});
  overChannels([&](Value channel) {
    Value squares =
        joinSums(1, channel, [&](Value x, Value y) { return b.addF(x, y); });
    storePart(parts[1], b.sqrt(b.divF(squares, getCount())), channel);
  });
}

void KeepPages::emit(Value page, Value kvHead, Value count, bool sketchesAll) {
  this->page = page;
  this->kvHead = kvHead;
  this->count = count;
  bool readsAgain = is(SummaryKind::mean_std) || is(SummaryKind::ball);
  if (getNumSums() > 0 || norms) {
    readKeys();
    if (norms)
      readValues();
    b.barrier();
    storeSummary();
  }
  if (readsAgain || isCentred())
    b.barrier();
  if (readsAgain)
    readAgain();
  // The sketch of a key changes with what is subtracted from it.
  if (isCentred() || (sketch && sketchesAll))
    sketchPage();
  if (readsAgain) {
    b.barrier();
    storeDeviations();
  }
}
