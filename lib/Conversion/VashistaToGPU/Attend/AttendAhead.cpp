//===- AttendAhead.cpp - Keys and values before they are needed -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// While a warp multiplies a tile, keys and values of the next ones are copied
// to the block's memory: that takes no registers, and no compiler moves a copy
// to where it is waited for. Where they are is looked up before, by a lane for
// each token, one load a turn, so that none waits for another:
//
//   turn n, of s stages    list     tile n + s + 1
//                          table    tile n + s
//                          copy     tile n + s - 1
//                          product  tile n
//
// A stage has the 16 rows of a tile's keys, then of its values, in chunks of 16
// bytes. The eight lanes that load at once have two keys and four chunks of
// each, or four tokens and two chunks of their values, which should not lie in
// the same banks. Where a row is a multiple of eight chunks, chunk x of key k
// lies where x ^ (k & 1) 4 would, and of value k where x ^ (k & 6) would; where
// it is an odd multiple of four, keys do not as they are. A lane finds its
// first place, and from there all others by numbers that are known: those take
// no registers.
//
// What a warp has found lies where its tiles did.
//
//===----------------------------------------------------------------------===//

#include "AttendKernels.h"
#include "Schedules.h"

#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Channels that are copied at once, 16 bytes.
static constexpr int64_t kChunk = 8;

/// Elements of a tile's keys and values.
static int64_t getTileSize(int64_t keyDim, int64_t valueDim) {
  return kTokens * (keyDim + valueDim);
}

bool vashista::hasRoomAhead(const ScheduleTarget &target, int64_t warps,
                            int64_t stages, int64_t blocks, int64_t keyDim,
                            int64_t valueDim) {
  constexpr int64_t kBytesOfExponents =
      2 * kMostProducts * kHeads * sizeof(float);
  int64_t bytes =
      warps * (2 * stages * getTileSize(keyDim, valueDim) + kBytesOfExponents);
  return stages > 1 && blocks * (bytes + kReservedBytes) <=
                           target.sharedBytes + kReservedBytes;
}

//===----------------------------------------------------------------------===//
// The block's memory
//===----------------------------------------------------------------------===//

MemRefType AttendLauncher::getAheadType() {
  int64_t size = warps * schedule.getStages() * getTileSize(keyDim, valueDim);
  return b.sharedType({2 * size}, b.getI8Type());
}

void AttendLauncher::bindAhead(Value shared) {
  int64_t bytes = cast<MemRefType>(shared.getType()).getDimSize(0);
  auto view = [&](Type type) -> Value {
    int64_t size = 8 * bytes / type.getIntOrFloatBitWidth();
    return memref::ViewOp::create(b, b.sharedType(size, type), shared,
                                  b.index(0), ValueRange());
  };
  tiles = view(element);
  // Of the memory of its tiles, what each warp finds has the first part.
  const int64_t sizes[] = {warps, numHeads, valueDim},
                strides[] = {bytes / 4 / warps, valueDim, 1};
  MemRefType dense = b.sharedType(sizes, b.getF32Type());
  auto type = MemRefType::get(
      sizes, b.getF32Type(),
      StridedLayoutAttr::get(b.getContext(), /*offset=*/0, strides),
      dense.getMemorySpace());
  sharedOutputs = memref::ReinterpretCastOp::create(
      b, type, view(b.getF32Type()), /*offset=*/0, sizes, strides);
}

/// From where on a stage of this warp is, elements.
Value AttendLauncher::getStageAhead(int64_t number) {
  int64_t size = getTileSize(keyDim, valueDim);
  return b.addI(b.mulI(warp, b.index(schedule.getStages() * size)),
                b.index(number * size));
}

/// Whether rows would lie in the same banks.
static bool isSwizzled(int64_t dim) { return dim / kChunk % 8 == 0; }

/// Where a lane's chunk lies, of its token, in a stage.
Value AttendLauncher::getFirstAhead(bool isKey, Value stage, Value token,
                                    Value chunk) {
  int64_t dim = isKey ? keyDim : valueDim;
  if (isSwizzled(dim)) {
    Value bits = isKey ? b.mulI(b.andI(token, b.index(1)), b.index(4))
                       : b.andI(token, b.index(6));
    chunk = arith::XOrIOp::create(b, chunk, bits);
  }
  Value place =
      b.addI(b.mulI(token, b.index(dim)), b.mulI(chunk, b.index(kChunk)));
  if (!isKey)
    place = b.addI(place, b.index(kTokens * keyDim));
  return b.addI(stage, place);
}

/// The place so many tokens and chunks further, which have no bits in common
/// with the first ones.
Value AttendLauncher::getPlaceAhead(bool isKey, Value first, int64_t tokens,
                                    int64_t chunks) {
  int64_t dim = isKey ? keyDim : valueDim;
  if (isSwizzled(dim)) {
    int64_t bits = (isKey ? (tokens & 1) * 4 : tokens & 6) ^ (chunks & 7);
    chunks &= ~int64_t(7);
    first = b.createOrFold<arith::XOrIOp>(first, b.index(bits * kChunk));
  }
  return b.addI(first, b.index(tokens * dim + chunks * kChunk));
}

AttendLauncher::Tile AttendLauncher::loadAhead(Value stage) {
  Value firstKey = getFirstAhead(/*isKey=*/true, stage, quad, within),
        firstValue = getFirstAhead(/*isKey=*/false, stage,
                                   b.mulI(within, b.index(2)), quad);
  auto load = [&](bool isKey, int64_t tokens, const RowPart &part) {
    Value first = isKey ? firstKey : firstValue;
    Value place = getPlaceAhead(isKey, first, tokens, part.channel / kChunk);
    // Of a row that is not swizzled: less of it than there are chunks.
    if (part.own < kChunk)
      place = b.subI(place,
                     b.mulI(isKey ? within : quad, b.index(kChunk - part.own)));
    return b.loadWords(tiles, place, part.own);
  };
  return loadTile(
      [&](unsigned key, const RowPart &part) {
        return load(/*isKey=*/true, 8 * key, part);
      },
      [&](unsigned value, const RowPart &part) {
        constexpr int64_t kOfLane[] = {0, 1, 8, 9};
        return load(/*isKey=*/false, kOfLane[value], part);
      });
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

/// The slot that this lane looks up: of a tile in one page, the first.
static Value getSlotOfLane(WarpBuilder &b, Value first, Value lane,
                           bool isPaged) {
  return isPaged ? first : b.addI(first, b.remU(lane, b.index(kTokens)));
}

Value AttendLauncher::loadEntryAhead(Value first) {
  return loadEntry(getSlotOfLane(b, first, lane, isPaged()));
}

/// Of a tile in one page as of findTile; otherwise a token's page and slot, and
/// whether it is visible. In place of one that is not stands one that is.
SmallVector<Value> AttendLauncher::findAhead(Value first, Value entry) {
  if (isPaged())
    return findTileOfPage(first, entry);
  Value size = b.index(pageSize);
  Value slot = getSlotOfLane(b, first, lane, isPaged());
  auto [position, visible] = findPosition(slot, entry);
  position = b.select(visible, position, b.index(0));
  return {b.load(its.table, {sequence, b.divU(position, size)}),
          b.toI32(b.remU(position, size)), visible};
}

/// A bit for each token of a tile, i32.
Value AttendLauncher::getVisibleAhead(ValueRange places) {
  if (!isPaged())
    return b.ballot(places[2]);
  Value one = b.i32(1), count = b.minI(places[2], b.i32(kTokens));
  return b.subI(arith::ShLIOp::create(b, one, count), one);
}

std::pair<Value, Value> AttendLauncher::getRowAhead(ValueRange places,
                                                    Value token) {
  if (isPaged())
    return getRowOfPage(places, token);
  auto ofToken = [&](Value place) -> Value {
    return arith::IndexCastOp::create(b, b.getIndexType(),
                                      b.shuffle(place, b.toI32(token)));
  };
  return {ofToken(places[0]), ofToken(places[1])};
}

//===----------------------------------------------------------------------===//
// Turns
//===----------------------------------------------------------------------===//

/// By as many lanes for a row as it has chunks, if these are a power of two.
void AttendLauncher::copyAhead(ValueRange places, Value stage) {
  auto copy = [&](bool isKey) {
    int64_t chunks = (isKey ? keyDim : valueDim) / kChunk,
            lanes = std::min(chunks & -chunks, kWarp);
    Value token = b.divU(lane, b.index(lanes)),
          chunk = b.remU(lane, b.index(lanes)),
          first = getFirstAhead(isKey, stage, token, chunk);
    for (int64_t further = 0; further < kTokens; further += kWarp / lanes) {
      std::pair<Value, Value> row =
          getRowAhead(places, b.addI(token, b.index(further)));
      for (int64_t i = 0; i < chunks; i += lanes) {
        Value channel = b.mulI(b.addI(chunk, b.index(i)), b.index(kChunk));
        nvgpu::DeviceAsyncCopyOp::create(
            b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), tiles,
            getPlaceAhead(isKey, first, further, i),
            isKey ? its.keys : its.values, getIndices(row, channel),
            b.getIndexAttr(kChunk), /*srcElements=*/Value(),
            /*bypassL1=*/b.getUnitAttr());
      }
    }
  };
  copy(/*isKey=*/true);
  copy(/*isKey=*/false);
}

/// Copies a tile, as a group; what is behind the last one is one of no copies.
Value AttendLauncher::copyIfThere(Value tile, ValueRange places, Value stage) {
  b.ifThen(b.compare(CmpIPredicate::slt, tile, last),
           [&] { copyAhead(places, stage); });
  return nvgpu::DeviceAsyncCreateGroupOp::create(
      b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), ValueRange());
}

/// What the first turn is given.
AttendLauncher::Ahead AttendLauncher::beginAhead(Value start) {
  const int64_t stages = schedule.getStages();
  SmallVector<Value> entries;
  SmallVector<SmallVector<Value>> places;
  for (int64_t i = 0; i <= stages; ++i)
    entries.push_back(loadEntryAhead(getLater(start, i)));
  for (int64_t i = 0; i < stages; ++i)
    places.push_back(findAhead(getLater(start, i), entries[i]));
  Ahead ahead{{}, places.back(), getStageAhead(0), entries.back()};
  for (int64_t i = 0; i < stages - 1; ++i) {
    ahead.visible.push_back(getVisibleAhead(places[i]));
    copyIfThere(getLater(start, i), places[i], getStageAhead(i));
  }
  return ahead;
}

/// Waits for the tile of a turn, and has others on the way; what the next turn
/// is given.
AttendLauncher::Ahead AttendLauncher::waitAhead(Value tile, const Ahead &now) {
  const int64_t stages = schedule.getStages();
  Ahead next;
  llvm::append_range(next.visible, llvm::drop_begin(now.visible));
  next.visible.push_back(getVisibleAhead(now.places));
  next.places = findAhead(getLater(tile, stages), now.entry);
  next.entry = loadEntryAhead(getLater(tile, stages + 1));
  // A stage of the one before and the one after; they are in a circle.
  auto move = [&](int64_t from, int64_t to, int64_t by) {
    Value isEnd = b.compare(CmpIPredicate::eq, now.stage, getStageAhead(from));
    int64_t size = by * getTileSize(keyDim, valueDim);
    return b.select(isEnd, getStageAhead(to), b.addI(now.stage, b.index(size)));
  };
  next.stage = move(stages - 1, 0, 1);
  // What comes takes the place of what was multiplied.
  b.warpBarrier();
  Value group = copyIfThere(getLater(tile, stages - 1), now.places,
                            move(0, stages - 1, -1));
  nvgpu::DeviceAsyncWaitOp::create(b, group, b.getI32IntegerAttr(stages - 1));
  b.warpBarrier();
  return next;
}

AttendLauncher::States AttendLauncher::attendAhead(const Query &query) {
  Value start = b.addI(first, b.mulI(warp, b.index(kTokens)));
  auto walk = [&]() -> SmallVector<Value> {
    const Ahead begin = beginAhead(start);
    SmallVector<Value> carried = begin.pack();
    const size_t numAhead = carried.size();
    llvm::append_range(carried, getEmptyStates().pack());
    carried = b.forLoop(
        start, last, warps * kTokens, carried,
        [&](Value tile, ValueRange carried) -> SmallVector<Value> {
          Ahead now = begin.unpack(carried.take_front(numAhead));
          SmallVector<Value> next = waitAhead(tile, now).pack();
          auto isVisible = [&](unsigned key) -> Value {
            Value token = b.toI32(getTokens()[key]);
            Value bits = arith::ShRUIOp::create(b, now.visible[0], token);
            return arith::TruncIOp::create(b, b.getI1Type(), bits);
          };
          States states = unpack(carried.drop_front(numAhead));
          states = attendTile(states, loadAhead(now.stage), query, isVisible);
          llvm::append_range(next, states.pack());
          return next;
        });
    return SmallVector<Value>(llvm::drop_begin(carried, numAhead));
  };
  Value any = b.compare(CmpIPredicate::slt, start, last);
  SmallVector<Value> found = b.ifThen(any, getEmptyStates().pack(), walk);
  // What was found takes the place of what was multiplied.
  b.warpBarrier();
  return unpack(found);
}
