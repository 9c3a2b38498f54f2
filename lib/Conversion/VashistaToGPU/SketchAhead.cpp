//===- SketchAhead.cpp - Codes of a sketch before they are needed ---------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// While a warp looks at a step, the codes of the next one are copied to the
// block's memory, which takes no registers, and what goes with its tokens is
// loaded; the pages of the step after that come from the table.
//
// A tile's codes are rows of 16-byte chunks. Those of a product's lanes, which
// have every other token, should not lie in the same banks: where rows have a
// power of two of chunks, chunk x of token k lies where chunk x ^ (k & 6)
// would; where they have an odd number, as of 5 bits, they do not as they are.
// Rows that are no multiples of 16 bytes follow each other, some in the same
// banks, and a chunk may have the end of one and the beginning of the next.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Steps of a warp that lie there, and bytes that are copied at once.
static constexpr int64_t kStages = 2, kChunk = 16;
/// What blocks of a multiprocessor may have of its memory, each.
static constexpr int64_t kMostBytes = 40 << 10;

static int64_t getRowBytes(ScoreOp op) {
  return cast<RankedTensorType>(op.getParts()[0].getType()).getDimSize(3);
}

bool SketchScan::canScanAhead() const {
  // A block's first step is waited for.
  constexpr int64_t kMany = 4;
  int64_t bytes = getRowBytes(op);
  return Slots::hasWholeTiles(op, kTokens) && bytes >= 2 * kChunk &&
         kStages * getApart() * bytes <= kMostBytes &&
         block >= kMany * getApart();
}

MemRefType SketchScan::getAheadType() {
  return b.sharedType(
      {numWarps * kStages * kTiles, kTokens * getRowBytes(op) / kChunk, kChunk},
      b.getI8Type());
}

/// Where a tile of this warp lies.
Value SketchScan::getPlaceAhead(Value stage, Value tile) {
  Value all = b.addI(b.mulI(warp, b.index(kStages)), stage);
  return b.addI(b.mulI(all, b.index(kTiles)), tile);
}

/// Where a tile's chunk lies.
Value SketchScan::swizzle(Value chunk) {
  int64_t perToken = getRowBytes(op) / kChunk;
  if (getRowBytes(op) % kChunk || !llvm::isPowerOf2_64(perToken))
    return chunk;
  Value token = b.divU(chunk, b.index(perToken));
  return arith::XOrIOp::create(b, chunk, b.andI(token, b.index(6)));
}

/// Where a token's byte lies, of a tile: chunk, and byte within.
std::pair<Value, Value> SketchScan::findAhead(Value token, Value byte) {
  const int64_t row = getRowBytes(op);
  if (row % kChunk) {
    byte = b.addI(b.mulI(token, b.index(row)), byte);
    return {b.divU(byte, b.index(kChunk)), b.remU(byte, b.index(kChunk))};
  }
  Value chunk = b.addI(b.mulI(token, b.index(row / kChunk)),
                       b.divU(byte, b.index(kChunk)));
  return {swizzle(chunk), b.remU(byte, b.index(kChunk))};
}

void SketchScan::copyAhead(Value start, Value page, Value stage) {
  // Tokens of a tile follow each other in their page.
  Value tokens = memref::CollapseShapeOp::create(
      b, codes, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
  const int64_t row = getRowBytes(op), chunks = kTokens * row / kChunk;
  for (int64_t i = 0; i < kTiles * chunks; i += kWarp) {
    // Lanes have chunks of one tile, or of two.
    Value tile = b.index(i / chunks);
    Value chunk = b.addI(lane, b.index(i % chunks));
    if (i % chunks + kWarp > chunks) {
      Value isNext = b.compare(CmpIPredicate::uge, chunk, b.index(chunks));
      tile = b.select(isNext, b.index(i / chunks + 1), tile);
      chunk = b.select(isNext, b.subI(chunk, b.index(chunks)), chunk);
    }
    Value first = b.addI(start, b.mulI(tile, b.index(kTokens)));
    Slots::Place place =
        *slots->findWholeTile(first, kTokens, b.shuffle(page, b.toI32(tile)))
             .place;
    Value byte = b.addI(b.mulI(place.slot, b.index(row)),
                        b.mulI(chunk, b.index(kChunk)));
    Value from[] = {place.page, slots->kvHead, byte};
    Value to[] = {getPlaceAhead(stage, tile), swizzle(chunk), b.index(0)};
    auto copy = [&] {
      nvgpu::DeviceAsyncCopyOp::create(
          b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), ahead, to,
          tokens, from, b.getIndexAttr(kChunk), /*srcElements=*/Value(),
          /*bypassL1=*/b.getUnitAttr());
    };
    const int64_t left = kTiles * chunks - i;
    if (left >= kWarp)
      copy();
    else
      b.ifThen(b.compare(CmpIPredicate::ult, lane, b.index(left)), copy);
  }
}

SmallVector<Value> SketchScan::scanAhead(Value from, Value to,
                                         ArrayRef<Column> all,
                                         ValueRange found) {
  Value any = b.compare(CmpIPredicate::slt, from, to),
        apart = b.index(getApart());
  /// The step after one; the same one, if it is the last.
  auto getNext = [&](Value start) {
    Value next = b.addI(start, apart);
    return b.select(b.compare(CmpIPredicate::slt, next, to), next, start);
  };
  // Of the tile of which this lane has tokens; lanes 0 to 3 have all of them.
  auto loadPage = [&](Value start) {
    return slots->loadPageOf(b.addI(start, b.mulI(within, b.index(kTokens))));
  };
  // Scales of its tokens, then norms. Bytes of slots that follow each other are
  // carried as a word of four of them: less would be taken apart, and waited
  // for, as soon as it is loaded.
  const int64_t numNorms = hasBounds ? getNumNorms() : 0;
  const bool inWords = hasLevels &&
                       cast<MemRefType>(norms.getType()).getRank() == 3 &&
                       getElementTypeOrSelf(norms).isInteger(8);
  auto loadOwn = [&](Value start, Value page) {
    Value first = b.addI(start, b.mulI(within, b.index(kTokens)));
    Slots::Tile tile = slots->findWholeTile(first, kTokens, page);
    SmallVector<Value> own;
    auto load = [&](Value part, Value offset, int64_t number) {
      Slots::Place place = slots->find(tile, offset).first;
      Value at[] = {place.page, slots->kvHead, place.slot};
      llvm::append_range(own, loadStored(part, at, number));
    };
    for (int64_t half : {0, 1})
      load(scales, getOffset(half), format.numGroups);
    if (inWords)
      load(norms, b.mulI(b.divU(quad, b.index(2)), b.index(4)), 4);
    else if (hasBounds)
      for (int64_t half : {0, 1})
        load(norms, getOffset(half), numNorms);
    return own;
  };
  auto takeOwn = [&](Value start, SmallVector<Value> own) {
    if (inWords) {
      Value bits = b.mulI(b.remU(quad, b.index(2)), b.index(16));
      own.back() = arith::ShRUIOp::create(b, own.back(), b.toI32(bits));
    }
    ValueRange stored = own;
    std::array<SmallVector<Value>, 2> ofScales;
    for (SmallVector<Value> &numbers : ofScales)
      numbers = takeStored(scales, stored, format.numGroups);
    SmallVector<Value> ofNorms;
    while (!stored.empty())
      llvm::append_range(ofNorms,
                         takeStored(norms, stored, inWords ? 4 : numNorms));
    SmallVector<Token> tokens;
    for (int64_t half : {0, 1}) {
      Value slot = b.addI(start, b.mulI(within, b.index(kTokens)));
      tokens.push_back(getToken(
          b.addI(slot, getOffset(half)), b.boolean(true), ofScales[half],
          ArrayRef<Value>(ofNorms).slice(half * numNorms, numNorms)));
    }
    return tokens;
  };
  auto createGroup = [&] {
    return nvgpu::DeviceAsyncCreateGroupOp::create(
        b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), ValueRange());
  };

  auto walk = [&]() -> SmallVector<Value> {
    Value page = loadPage(from);
    copyAhead(from, page, b.index(0));
    createGroup();
    SmallVector<Value> state = loadOwn(from, page);
    size_t numStored = state.size();
    state.push_back(loadPage(getNext(from)));
    state.push_back(b.index(0)); // the stage of this step
    size_t numAhead = state.size();
    llvm::append_range(state, found);
    state = b.forLoop(
        from, to, getApart(), state,
        [&](Value start, ValueRange now) -> SmallVector<Value> {
          ValueRange stored = now.take_front(numStored);
          Value page = now[numStored], stage = now[numStored + 1],
                other = b.subI(b.index(kStages - 1), stage);
          // Before anything else is loaded, for which it would wait too.
          SmallVector<Token> loaded = takeOwn(start, stored);
          // What comes takes the place of what was looked at.
          b.warpBarrier();
          shareTokens(loaded);
          Value next = getNext(start);
          Value isNext = b.compare(CmpIPredicate::ne, next, start);
          b.ifThen(isNext, [&] { copyAhead(next, page, other); });
          auto group = createGroup();
          SmallVector<Value> after = loadOwn(next, page);
          after.push_back(loadPage(getNext(next)));
          after.push_back(other);
          nvgpu::DeviceAsyncWaitOp::create(b, group, b.getI32IntegerAttr(1));
          b.warpBarrier();
          auto getCodes = [&](int64_t tile) {
            Codes codes;
            for (int64_t half : {0, 1})
              codes[half] = loadCodes([&](Value byte, int64_t number) {
                auto [chunk, within] = findAhead(getOffset(half), byte);
                return b.loadWords(
                    ahead, {getPlaceAhead(stage, b.index(tile)), chunk, within},
                    4 * number);
              });
            return codes;
          };
          llvm::append_range(after,
                             scanStep(start, /*areWhole=*/true, getCodes,
                                      loaded, all, now.drop_front(numAhead)));
          return after;
        });
    return SmallVector<Value>(llvm::drop_begin(state, numAhead));
  };
  return b.ifThen(any, found, walk);
}
