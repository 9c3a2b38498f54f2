//===- MomentSums.cpp - Second moments of whole sequences -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Two kernels. Of the first a block has a sequence, a KV head, some of its
// chunks of tokens, and tiles of the matrix, of which one has the mirrored one,
// too. Its threads turn keys into residuals (KeyResiduals.h), lanes of 16
// channels each, some tokens at a time into one of two buffers; and add their
// products to tiles in registers, 8 x 8 of a thread. After each chunk these are
// added to the block's part of the sum, so that no chain of roundings is long.
// The second kernel adds up the parts, in order, and what the identity has.
//
// Operations: Dp^2 / 2 and half a tile's row for each of Dp channels, fused,
// f32; a few dozens for each channel beside them. Bytes: keys and their
// sketches once, or once for each 3 tiles of a wide matrix.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "KeyResiduals.h"
#include "Moments.h"

#include <numeric>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

/// Rows and columns of a tile, which two warps have.
constexpr int64_t kTile = 64, kTileWarps = 2;
/// Tiles of a block, at most; and what their buffers may take.
constexpr int64_t kMostTiles = 3, kSharedBytes = 40 << 10;
constexpr int64_t kResidentWarps = 12;
/// Tokens of a chunk, about: n roundings of a chain are at most n 2^-24 of the
/// trace, which Dp channels have together.
constexpr int64_t kChunk = 2048;
/// Blocks, about, that keep a device busy to the end.
constexpr int64_t kBlocks = 1024;
constexpr int64_t kFinishThreads = 256, kFinishRows = 16;

class MomentSums {
public:
  MomentSums(SummarizeOp op, WarpBuilder &b);

  void launch();

private:
  void launchParts();
  void launchFinish();
  void emitParts(Value length, Value shared);
  void emitFinish(Value length, Value shared);
  /// What the diagonal is raised by.
  Value getRaise(Value length, Value used, Value shared);
  /// An element of a part.
  Value loadPart(Value part, Value row, Value column);
  /// How many tokens the longest row of the sequence sees, by all threads;
  /// `shared` is an i32 of each warp.
  Value getLength(int64_t threads, Value shared);
  Value getChunks(Value length) {
    return b.divU(b.addI(length, b.index(chunk - 1)), b.index(chunk));
  }
  /// A tile's row and column of tiles.
  std::pair<Value, Value> getTile(Value number);
  /// Adds the products of a token's residuals to a thread's part of a tile.
  void addProducts(Value buffer, Value token, MutableArrayRef<Value> sums);
  /// Adds a thread's part of a tile to the block's; `isFirst`: writes it.
  void flush(ArrayRef<Value> sums, Value isFirst);

  SummarizeOp op;
  WarpBuilder &b;
  KeyResiduals residuals;
  const int64_t dim, sides, numTiles;
  int64_t tiles = 1; // of a block
  int64_t warps, together, chunk;

  // On the host: [B, Hkv, splits, tiles, kTile, kTile] f32
  // and [B, Hkv, splits] f64.
  Value hostPartials, hostSquares, sequences, kvHeads;
  // Of the kernel.
  Value partials, squares, table, lengths, rowToSeq, moments, buffers;
  Value sequence, kvHead, split, tile, row, column, hasTile, thread;
};

} // namespace

static int64_t getNumTiles(int64_t sides) { return sides * (sides + 1) / 2; }

MomentSums::MomentSums(SummarizeOp op, WarpBuilder &b)
    : op(op), b(b), residuals(op, b), dim(residuals.format.paddedDim),
      sides(llvm::divideCeil(dim, kTile)), numTiles(getNumTiles(sides)) {
  int64_t most = kMostTiles;
  do {
    tiles = llvm::divideCeil(numTiles, llvm::divideCeil(numTiles, most));
    warps = tiles * kTileWarps;
    together = residuals.lanes.getTokens(warps);
  } while (2 * together * sides * kTile * 4 > kSharedBytes && --most > 0);
  chunk = kChunk / together * together;
}

Value MomentSums::getLength(int64_t threads, Value shared) {
  if (!rowToSeq)
    return b.maxI(b.loadIndex(lengths, sequence), b.index(0));
  Value longest =
      b.forLoop(thread, b.dim(lengths, 0), threads, b.i32(0),
                [&](Value other, ValueRange carried) -> SmallVector<Value> {
                  Value is = b.compare(CmpIPredicate::eq,
                                       b.loadIndex(rowToSeq, other), sequence);
                  Value more = b.maxI(carried[0], b.load(lengths, other));
                  return {b.select(is, more, carried[0])};
                })
          .front();
  // All lanes have the same, and write it.
  b.store(b.getMostOfWarp(longest), shared, b.divU(thread, b.index(kWarp)));
  b.barrier();
  longest = b.load(shared, b.index(0));
  for (int64_t i = 1; i < threads / kWarp; ++i)
    longest = b.maxI(longest, b.load(shared, b.index(i)));
  return b.toIndex(longest);
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

std::pair<Value, Value> MomentSums::getTile(Value number) {
  Value side = b.index(0), first = b.index(0);
  for (int64_t i = 1; i < sides; ++i) {
    Value isBelow =
        b.compare(CmpIPredicate::uge, number, b.index(getNumTiles(i)));
    side = b.select(isBelow, b.index(i), side);
    first = b.select(isBelow, b.index(getNumTiles(i)), first);
  }
  return {side, b.subI(number, first)};
}

void MomentSums::addProducts(Value buffer, Value token,
                             MutableArrayRef<Value> sums) {
  // Four channels and, half a tile further, four more: neighbours have those
  // next to them.
  auto load = [&](Value first) {
    SmallVector<Value> own;
    for (int64_t half : {int64_t(0), kTile / 2})
      llvm::append_range(
          own, b.loadFloats(buffers,
                            {buffer, token, b.addI(first, b.index(half))}, 4));
    return own;
  };
  SmallVector<Value> left = load(row), right = load(column);
  for (auto [i, x] : llvm::enumerate(left))
    for (auto [j, y] : llvm::enumerate(right)) {
      Value &sum = sums[8 * i + j];
      sum = math::FmaOp::create(b, x, y, sum);
    }
}

void MomentSums::flush(ArrayRef<Value> sums, Value isFirst) {
  constexpr int64_t kHalf = kTile / 2;
  auto inTile = [&](Value first, int64_t more) {
    return b.remU(b.addI(first, b.index(more)), b.index(kTile));
  };
  auto overHalf = [&](int64_t top, bool adds) {
    SmallVector<SmallVector<Value>> places, fours;
    for (int64_t i = top; i < top + 4; ++i)
      for (int64_t half = 0; half < 2; ++half) {
        places.push_back({sequence, kvHead, split, tile,
                          inTile(row, top / 4 * kHalf + i % 4),
                          inTile(column, half * kHalf)});
        fours.emplace_back(sums.slice(8 * i + 4 * half, 4));
      }
    // All of them on their way at once.
    SmallVector<SmallVector<Value>> found;
    if (adds)
      for (ArrayRef<Value> at : places)
        found.push_back(b.loadFloats(partials, at, 4));
    for (auto [i, at] : llvm::enumerate(places)) {
      if (adds)
        for (auto [sum, more] : llvm::zip_equal(fours[i], found[i]))
          sum = b.addF(more, sum);
      vector::StoreOp::create(
          b, vector::FromElementsOp::create(b, b.vectorType(4), fours[i]),
          partials, at, /*nontemporal=*/false, llvm::MaybeAlign(16));
    }
  };
  auto overTile = [&](bool adds) {
    overHalf(0, adds);
    overHalf(4, adds);
  };
  b.ifThen(b.andI(hasTile, isFirst), [&] { overTile(false); });
  Value isLater = b.compare(CmpIPredicate::eq, isFirst, b.boolean(false));
  b.ifThen(b.andI(hasTile, isLater), [&] { overTile(true); });
}

void MomentSums::launchParts() {
  SmallVector<Value> read = residuals.getRead();
  read.append({op.getPageTable(), op.getSeqLens()});
  if (op.getRowToSeq())
    read.push_back(op.getRowToSeq());
  KernelShape shape;
  shape.name = "sum_moments";
  shape.gridX = sequences;
  shape.gridY = kvHeads;
  int64_t groups = llvm::divideCeil(numTiles, tiles);
  shape.gridZ = b.mulI(b.dim(hostPartials, 2), b.index(groups));
  shape.threads = warps * kWarp;
  // More warps would have too few registers for sums and what is added.
  shape.residentBlocks = kResidentWarps / warps;
  shape.readsWritten = true;
  MemRefType shared[] = {
      b.sharedType({2, together, sides * kTile}, b.getF32Type()),
      b.sharedType({warps}, b.getF64Type()),
      b.sharedType({warps}, b.getI32Type())};
  b.launch(shape, read, {hostPartials, hostSquares}, shared,
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given given(values);
             residuals.begin(given);
             table = given.take();
             lengths = given.take();
             rowToSeq = given.take(op.getRowToSeq() != nullptr);
             partials = given.take();
             squares = given.take();
             buffers = shared[0];
             sequence = b.blockId(gpu::Dimension::x);
             kvHead = b.blockId(gpu::Dimension::y);
             thread = b.threadId();
             Value which = b.blockId(gpu::Dimension::z);
             split = b.divU(which, b.index(groups));
             Value first =
                 b.mulI(b.remU(which, b.index(groups)), b.index(tiles));
             tile = b.addI(first, b.divU(thread, b.index(kTileWarps * kWarp)));
             Value length = getLength(warps * kWarp, shared[2]);
             Value isUsed =
                 b.compare(CmpIPredicate::ult, split, getChunks(length));
             b.ifThen(isUsed, [&] { emitParts(length, shared[1]); });
           });
}

void MomentSums::emitParts(Value length, Value shared) {
  hasTile = b.compare(CmpIPredicate::ult, tile, b.index(numTiles));
  tile = b.minI(tile, b.index(numTiles - 1));
  auto [tileRow, tileColumn] = getTile(tile);
  // 8 x 8 threads of a tile.
  Value own = b.remU(thread, b.index(kTileWarps * kWarp));
  auto getChannel = [&](Value side, Value number) {
    return b.addI(b.mulI(side, b.index(kTile)), b.mulI(number, b.index(4)));
  };
  row = getChannel(tileRow, b.divU(own, b.index(8)));
  column = getChannel(tileColumn, b.remU(own, b.index(8)));
  // Channels that nothing is written to.
  int64_t width = sides * kTile, padding = width - dim;
  if (padding > 0) {
    b.forLoop(thread, b.index(2 * together * padding), warps * kWarp,
              [&](Value number) {
                Value which = b.divU(number, b.index(padding));
                Value channel =
                    b.addI(b.remU(number, b.index(padding)), b.index(dim));
                b.store(b.f32(0.0f), buffers,
                        {b.divU(which, b.index(together)),
                         b.remU(which, b.index(together)), channel});
              });
    // Seen by all after the first barrier of the loop.
  }

  Value splits = b.dim(partials, 2), zero = b.index(0);
  Value chunks = b.subI(getChunks(length), split);
  chunks = b.divU(b.addI(chunks, b.subI(splits, b.index(1))), splits);
  Value slot = residuals.lanes.getToken(b);
  const int64_t unroll = std::gcd<int64_t>(together, 4);
  SmallVector<Value> none(64, b.f32(0.0f));
  Value decoded =
      b.forLoop(
           zero, chunks, 1, f64(b, 0.0),
           [&](Value number, ValueRange carried) -> SmallVector<Value> {
             Value begin = b.addI(split, b.mulI(number, splits));
             begin = b.mulI(begin, b.index(chunk));
             Value end = b.minI(b.addI(begin, b.index(chunk)), length);
             SmallVector<Value> init(none);
             init.push_back(carried[0]);
             init.push_back(zero); // the buffer
             SmallVector<Value> sums = b.forLoop(
                 begin, end, together, init,
                 [&](Value first, ValueRange carried) -> SmallVector<Value> {
                   Value buffer = carried[65];
                   Value token = b.addI(first, slot);
                   Value isToken = b.compare(CmpIPredicate::ult, token, end);
                   token = b.minI(token, b.subI(end, b.index(1)));
                   Value size =
                       b.index(getPageSize(op.getKCache(), op.getLayout()));
                   Value page =
                       b.loadIndex(table, {sequence, b.divU(token, size)});
                   KeyResiduals::Token made = residuals.load(
                       page, kvHead, b.remU(token, size), isToken);
                   residuals.store(made, buffers, {buffer, slot});
                   b.barrier();
                   SmallVector<Value> sums = b.forLoop(
                       zero, b.index(together), unroll, carried.take_front(64),
                       [&](Value token, ValueRange carried) {
                         SmallVector<Value> sums(carried);
                         for (int64_t i = 0; i < unroll; ++i)
                           addProducts(buffer, b.addI(token, b.index(i)), sums);
                         return sums;
                       });
                   sums.push_back(b.addF(carried[64], widen(b, made.decoded)));
                   sums.push_back(b.subI(b.index(1), buffer));
                   return sums;
                 });
             flush(ArrayRef(sums).take_front(64),
                   b.compare(CmpIPredicate::eq, number, zero));
             // Two chunks may begin with the buffer that one ends with.
             b.barrier();
             return {sums[64]};
           })
          .front();
  // Of the first tiles' blocks, which have them all.
  auto add = [&](Value x, Value y) { return b.addF(x, y); };
  b.store(b.combine(decoded, add), shared, b.divU(thread, b.index(kWarp)));
  b.barrier();
  Value isOwn = b.compare(CmpIPredicate::eq, b.addI(thread, tile), zero);
  b.ifThen(isOwn, [&] {
    Value all = b.load(shared, zero);
    for (int64_t i = 1; i < warps; ++i)
      all = b.addF(all, b.load(shared, b.index(i)));
    b.store(all, squares, {sequence, kvHead, split});
  });
}

//===----------------------------------------------------------------------===//
// Their sum
//===----------------------------------------------------------------------===//

void MomentSums::launchFinish() {
  SmallVector<Value> read = {hostPartials, hostSquares, op.getSeqLens()};
  if (op.getRowToSeq())
    read.push_back(op.getRowToSeq());
  KernelShape shape;
  shape.name = "finish_moments";
  shape.gridX = sequences;
  shape.gridY = kvHeads;
  // Sketches have a multiple of 16 channels.
  shape.gridZ = b.index(dim / kFinishRows);
  shape.threads = kFinishThreads;
  // A thread has dim / 16 elements, and where they are.
  shape.residentBlocks = std::clamp<int64_t>(512 / dim, 1, 4);
  constexpr int64_t warps = kFinishThreads / kWarp;
  MemRefType shared[] = {b.sharedType({warps}, b.getF64Type()),
                         b.sharedType({warps}, b.getI32Type())};
  b.launch(shape, read, op.getMoments(), shared,
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given given(values);
             partials = given.take();
             squares = given.take();
             lengths = given.take();
             rowToSeq = given.take(op.getRowToSeq() != nullptr);
             moments = given.take();
             sequence = b.blockId(gpu::Dimension::x);
             kvHead = b.blockId(gpu::Dimension::y);
             thread = b.threadId();
             Value length = getLength(kFinishThreads, shared[1]);
             Value isRead = b.compare(CmpIPredicate::sgt, length, b.index(0));
             b.ifThen(isRead, [&] { emitFinish(length, shared[0]); });
           });
}

Value MomentSums::getRaise(Value length, Value used, Value shared) {
  constexpr int64_t warps = kFinishThreads / kWarp;
  auto add = [&](Value x, Value y) { return b.addF(x, y); };
  Value zero = b.index(0);
  Value trace =
      b.forLoop(
           thread, b.index(dim), kFinishThreads, f64(b, 0.0),
           [&](Value channel, ValueRange carried) -> SmallVector<Value> {
             return b.forLoop(
                 zero, used, 1, carried,
                 [&](Value part, ValueRange carried) -> SmallVector<Value> {
                   Value x = loadPart(part, channel, channel);
                   return {b.addF(carried[0], widen(b, x))};
                 });
           })
          .front();
  b.store(b.combine(trace, add), shared, b.divU(thread, b.index(kWarp)));
  b.barrier();
  trace = b.load(shared, zero);
  for (int64_t i = 1; i < warps; ++i)
    trace = b.addF(trace, b.load(shared, b.index(i)));
  Value decoded =
      b.forLoop(zero, used, 1, f64(b, 0.0),
                [&](Value part, ValueRange carried) -> SmallVector<Value> {
                  return {b.addF(carried[0],
                                 b.load(squares, {sequence, kvHead, part}))};
                })
          .front();
  auto toF64 = [&](Value number) -> Value {
    return arith::UIToFPOp::create(
        b, b.getF64Type(),
        arith::IndexCastOp::create(b, b.getI64Type(), number));
  };
  // A chain: products of a chunk, chunks, parts; a few more for what the sum is
  // then raised by. An entry of the sum is off by as many 2^-24 of the square
  // root of the two that it has on the diagonal: the trace is the norm of that.
  Value chunks = b.addI(getChunks(length), used);
  Value chain = b.addI(b.minI(length, b.index(chunk)), chunks);
  Value off = b.mulF(toF64(b.addI(chain, b.index(8))), f64(b, 0x1p-24));
  // 1 / (1 - 2 x) is less than 1 + 4 x, for x of up to 1/8.
  off = b.mulF(off, math::FmaOp::create(b, off, f64(b, 4.0), f64(b, 1.0)));
  off = b.addF(off, f64(b, KeyResiduals::kPerResidual));
  Value raise =
      math::FmaOp::create(b, off, trace, f64(b, KeyResiduals::kLeast));
  raise = math::FmaOp::create(b, decoded, f64(b, residuals.getPerKey()), raise);
  return roundUp(b, raise);
}

Value MomentSums::loadPart(Value part, Value row, Value column) {
  // Of two tiles that mirror each other, the one below the diagonal is there.
  Value size = b.index(kTile);
  Value isBelow =
      b.compare(CmpIPredicate::uge, b.divU(row, size), b.divU(column, size));
  Value low = b.select(isBelow, row, column);
  Value high = b.select(isBelow, column, row);
  Value side = b.divU(low, size);
  Value number = b.mulI(side, b.addI(side, b.index(1)));
  number = b.addI(b.divU(number, b.index(2)), b.divU(high, size));
  return b.load(partials, {sequence, kvHead, part, number, b.remU(low, size),
                           b.remU(high, size)});
}

void MomentSums::emitFinish(Value length, Value shared) {
  Value used = b.minI(getChunks(length), b.dim(partials, 2));
  Value raise = getRaise(length, used, shared);
  SmallVector<Value> rows, columns;
  Value first = b.mulI(b.blockId(gpu::Dimension::z), b.index(kFinishRows));
  for (int64_t i = 0; i < kFinishRows * dim; i += kFinishThreads) {
    Value number = b.addI(thread, b.index(i));
    rows.push_back(b.addI(first, b.divU(number, b.index(dim))));
    columns.push_back(b.remU(number, b.index(dim)));
  }
  SmallVector<Value> none(rows.size(), b.f32(0.0f));
  SmallVector<Value> sums =
      b.forLoop(b.index(0), used, 1, none, [&](Value part, ValueRange carried) {
        SmallVector<Value> sums(carried);
        for (auto [sum, row, column] : llvm::zip_equal(sums, rows, columns))
          sum = b.addF(sum, loadPart(part, row, column));
        return sums;
      });
  for (auto [sum, row, column] : llvm::zip_equal(sums, rows, columns)) {
    Value isDiagonal = b.compare(CmpIPredicate::eq, row, column);
    Value raised = b.select(isDiagonal, b.addF(sum, raise), sum);
    b.store(raised, moments, {sequence, kvHead, row, column});
  }
}

void MomentSums::launch() {
  sequences = b.dim(op.getPageTable(), 0);
  kvHeads = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  int64_t pageSize = getPageSize(op.getKCache(), op.getLayout());
  Value one = b.index(1);
  auto divideUp = [&](Value x, Value y) {
    return b.createOrFold<arith::CeilDivUIOp>(x, y);
  };
  Value chunks = divideUp(
      b.mulI(b.dim(op.getPageTable(), 1), b.index(pageSize)), b.index(chunk));
  Value all = b.maxI(b.mulI(sequences, kvHeads), one);
  Value splits = b.maxI(b.minI(chunks, divideUp(b.index(kBlocks), all)), one);
  constexpr int64_t dynamic = ShapedType::kDynamic;
  hostPartials = memref::AllocOp::create(
      b,
      MemRefType::get({dynamic, dynamic, dynamic, numTiles, kTile, kTile},
                      b.getF32Type()),
      ValueRange{sequences, kvHeads, splits}, b.getI64IntegerAttr(64));
  hostSquares = memref::AllocOp::create(
      b, MemRefType::get({dynamic, dynamic, dynamic}, b.getF64Type()),
      ValueRange{sequences, kvHeads, splits}, b.getI64IntegerAttr(64));
  launchParts();
  launchFinish();
}

void vashista::launchMomentSums(SummarizeOp op, WarpBuilder &b) {
  if (op.getMoments())
    MomentSums(op, b).launch();
}
