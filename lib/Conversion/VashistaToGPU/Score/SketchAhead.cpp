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
// Of smaller pages, or of no whole number of tiles, the tokens that follow each
// other in memory are a run: lanes load the pages of a step's runs, and tell
// each other.
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

bool SketchScan::canScanAhead() const {
  int64_t bytes = format.codeBytes;
  return run && run * bytes % kChunk == 0 && bytes >= 2 * kChunk &&
         kStages * numWarps * kStep * bytes <= kMostBytes &&
         block >= getApart();
}

MemRefType SketchScan::getAheadType() {
  return b.sharedType({numWarps * kStages * kTiles,
                       kTokens * format.codeBytes / kChunk, kChunk},
                      b.getI8Type());
}

/// Where a tile of this warp lies.
Value SketchScan::getPlaceAhead(Value stage, Value tile) {
  Value all = b.addI(b.mulI(warp, b.index(kStages)), stage);
  return b.addI(b.mulI(all, b.index(kTiles)), tile);
}

/// Where a tile's chunk lies.
Value SketchScan::swizzle(Value chunk) {
  int64_t perToken = format.codeBytes / kChunk;
  if (format.codeBytes % kChunk || !llvm::isPowerOf2_64(perToken))
    return chunk;
  Value token = b.divU(chunk, b.index(perToken));
  return arith::XOrIOp::create(b, chunk, b.andI(token, b.index(6)));
}

/// Where a token's byte lies, of a tile: chunk, and byte within.
std::pair<Value, Value> SketchScan::findAhead(Value token, Value byte) {
  const int64_t row = format.codeBytes;
  if (row % kChunk) {
    byte = b.addI(b.mulI(token, b.index(row)), byte);
    return {b.divU(byte, b.index(kChunk)), b.remU(byte, b.index(kChunk))};
  }
  Value chunk = b.addI(b.mulI(token, b.index(row / kChunk)),
                       b.divU(byte, b.index(kChunk)));
  return {swizzle(chunk), b.remU(byte, b.index(kChunk))};
}

SmallVector<Value> SketchScan::loadPages(Value start,
                                         function_ref<Value(Value)> load) {
  const int64_t runs = kStep / run;
  SmallVector<Value> pages;
  for (int64_t first = 0; first < runs; first += kWarp) {
    Value number = b.remU(lane, b.index(std::min(runs, kWarp)));
    number = b.addI(number, b.index(first));
    pages.push_back(load(b.addI(start, b.mulI(number, b.index(run)))));
  }
  return pages;
}

Value SketchScan::getPageOf(ValueRange pages, Value number) {
  number = b.toI32(number);
  Value page = b.shuffle(pages[0], number); // of lane `number` % kWarp
  for (auto [i, others] : llvm::enumerate(pages.drop_front())) {
    Value isHere = b.compare(CmpIPredicate::uge, number,
                             b.i32(static_cast<int64_t>(i + 1) * kWarp));
    page = b.select(isHere, b.shuffle(others, number), page);
  }
  return page;
}

Slots::Place SketchScan::findOfStep(Value start, ValueRange pages,
                                    Value offset) {
  if (run == kTokens) { // this lane's own page
    Value first = b.addI(start, b.mulI(within, b.index(kTokens)));
    return slots->find(slots->findWholeTile(first, kTokens, pages[0]), offset)
        .first;
  }
  Value token = b.addI(b.mulI(within, b.index(kTokens)), offset);
  Value number = b.divU(token, b.index(run));
  Value first = b.addI(start, b.mulI(number, b.index(run)));
  Slots::Tile tile = slots->findWholeTile(first, run, getPageOf(pages, number));
  return slots->find(tile, b.remU(token, b.index(run))).first;
}

void SketchScan::copyAhead(Value start, ValueRange pages, Value stage) {
  // Tokens of a run follow each other in their page.
  Value tokens = memref::CollapseShapeOp::create(
      b, codes, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
  const int64_t row = format.codeBytes, chunks = kTokens * row / kChunk;
  const int64_t perRun = run * row / kChunk;
  // Half a warp has a tile, whose chunks then lie where a lane's first one
  // does, and so many further.
  constexpr int64_t kHalf = kWarp / 2;
  Value half = b.divU(lane, b.index(kHalf)), own = b.remU(lane, b.index(kHalf));
  for (int64_t firstTile = 0; firstTile < kTiles; firstTile += 2) {
    Value tile = b.addI(half, b.index(firstTile));
    for (int64_t i = 0; i < chunks; i += kHalf) {
      Value chunk = b.addI(own, b.index(i)), number = tile, ofRun = chunk;
      if (run != kTokens) {
        number = b.addI(b.mulI(tile, b.index(kTokens / run)),
                        b.divU(chunk, b.index(perRun)));
        ofRun = b.remU(chunk, b.index(perRun));
      }
      Value first = b.addI(start, b.mulI(number, b.index(run)));
      Slots::Place place =
          *slots->findWholeTile(first, run, getPageOf(pages, number)).place;
      Value byte = b.addI(b.mulI(place.slot, b.index(row)),
                          b.mulI(ofRun, b.index(kChunk)));
      Value from[] = {place.page, slots->kvHead, byte};
      Value to[] = {getPlaceAhead(stage, tile), swizzle(chunk), b.index(0)};
      auto copy = [&] {
        nvgpu::DeviceAsyncCopyOp::create(
            b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), ahead, to,
            tokens, from, b.getIndexAttr(kChunk), /*srcElements=*/Value(),
            /*bypassL1=*/b.getUnitAttr());
      };
      if (i + kHalf <= chunks)
        copy();
      else
        b.ifThen(b.compare(CmpIPredicate::ult, chunk, b.index(chunks)), copy);
    }
  }
}

SmallVector<Value> SketchScan::scanAhead(Value from, Value to,
                                         ValueRange found) {
  Value any = b.compare(CmpIPredicate::slt, from, to),
        apart = b.index(getApart());
  /// The step after one; the same one, if it is the last.
  auto getNext = [&](Value start) {
    Value next = b.addI(start, apart);
    return b.select(b.compare(CmpIPredicate::slt, next, to), next, start);
  };
  // Scales of its tokens, then norms. Bytes of slots that follow each other are
  // carried as a word of four of them: less would be taken apart, and waited
  // for, as soon as it is loaded.
  const int64_t numNorms = hasBounds ? getNumNorms() : 0;
  const bool inWords = hasLevels && run % 4 == 0 &&
                       cast<MemRefType>(norms.getType()).getRank() == 3 &&
                       getElementTypeOrSelf(norms).isInteger(8);
  auto loadOwn = [&](Value start, ValueRange pages) {
    SmallVector<Value> own;
    auto load = [&](Value part, Value offset, int64_t number) {
      Slots::Place place = findOfStep(start, pages, offset);
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

  // What a block begins with is a chain of loads, which others hide in part:
  // pages do not wait for what is visible, nor directions for any of it.
  const bool loadsAnyway = slots->hasSequence();
  auto loadAnyway = [&](Value start) {
    return loadPages(start,
                     [&](Value first) { return slots->loadPageAnyway(first); });
  };
  SmallVector<Value> firstPages, nextPages;
  if (loadsAnyway) {
    firstPages = loadAnyway(from);
    nextPages = loadAnyway(b.addI(from, apart));
  }
  loadDirections();
  SmallVector<Column> all;
  if (!roundsDirections)
    all = loadColumns();
  // LLVM would move what is loaded to where it is used.
  b.warpBarrier();
  size_t numStored, numPages;
  SmallVector<Value> state = b.ifThenOrZeros(any, [&] {
    Value next = getNext(from);
    if (loadsAnyway) {
      Value isNext = b.compare(CmpIPredicate::ne, next, from);
      for (auto [page, first] : llvm::zip_equal(nextPages, firstPages))
        page = b.select(isNext, page, first);
    } else {
      firstPages = loadPages(from);
      nextPages = loadPages(next);
    }
    copyAhead(from, firstPages, b.index(0));
    createGroup();
    SmallVector<Value> state = loadOwn(from, firstPages);
    numStored = state.size();
    numPages = nextPages.size();
    llvm::append_range(state, nextPages);
    return state;
  });
  // So would the assembler, of what is used in that branch alone.
  if (loadsAnyway)
    for (auto [page, first] : llvm::zip_equal(
             MutableArrayRef(state).take_back(numPages), firstPages))
      page = b.select(any, page, first);
  if (roundsDirections) {
    roundDirections();
    all = loadColumns();
  }
  state.push_back(b.index(0)); // the stage of this step
  const size_t numAhead = state.size();
  llvm::append_range(state, found);
  state = b.forLoop(
      from, to, getApart(), state,
      [&](Value start, ValueRange now) -> SmallVector<Value> {
        ValueRange stored = now.take_front(numStored);
        ValueRange pages = now.slice(numStored, numPages);
        Value stage = now[numStored + numPages],
              other = b.subI(b.index(kStages - 1), stage);
        // Before anything else is loaded, for which it would wait too.
        SmallVector<Token> loaded = takeOwn(start, stored);
        // What comes takes the place of what was looked at.
        b.warpBarrier();
        shareTokens(loaded);
        Value next = getNext(start);
        Value isNext = b.compare(CmpIPredicate::ne, next, start);
        b.ifThen(isNext, [&] { copyAhead(next, pages, other); });
        auto group = createGroup();
        SmallVector<Value> after = loadOwn(next, pages);
        llvm::append_range(after, loadPages(getNext(next)));
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
                           scanStep(start, /*areWhole=*/true, getCodes, loaded,
                                    all, now.drop_front(numAhead)));
        return after;
      });
  return SmallVector<Value>(llvm::drop_begin(state, numAhead));
}
