//===- MomentToGPU.cpp - vashista.moment on a GPU -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row, a KV head and some of its query heads: one of its own
// kernel, or of the scan whose scores a pick has beside moments, so that they
// are there when the scan has ended. A warp has a few rows of the matrix, a
// lane four columns: their loads are on their way while other warps rotate
// directions. Each head then has the products of both.
//
// All of it is in f32. A rotated direction w is off by less than 2^-20 of its
// norm (SketchLanes.h), and a sum of w_i M_ij w_j, in any order, by 2^-24 of
// sum |w_i M_ij w_j| for each rounding that a product goes through. That sum is
// at most norm(w)^2 trace(M), and so is what the direction lacks, twice: it is
// added.
//
// Bytes: the matrix of each row and KV head, once for each 16 query heads,
// or 8 of a scan.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "Kernels.h"
#include "MomentBlock.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// F32 of directions that a block has, at most.
static constexpr int64_t kMostChannels = 8192;

static int64_t getSize(Value tensor, int64_t dim) {
  return cast<RankedTensorType>(tensor.getType()).getDimSize(dim);
}

MomentBlock::MomentBlock(MomentOp op, WarpBuilder &b, int64_t warps,
                         int64_t mostHeads)
    : op(op), b(b), format(op.getSketch(), getSize(op.getDirection(), 2)),
      dim(format.paddedDim), parts(llvm::divideCeil(dim, kFour * kWarp)),
      warps(warps), lanes(dim, kFour),
      group(getSize(op.getDirection(), 1) / getSize(op.getMoments(), 1)),
      heads(std::min({group, mostHeads, kMostChannels / dim})) {}

SmallVector<Value> MomentBlock::getRead() {
  SmallVector<Value> read;
  for (Value value : {Value(op.getDirection()), Value(op.getMoments()),
                      Value(op.getSeqLens()), Value(op.getRowToSeq())})
    if (value)
      read.push_back(b.readOnly(value));
  return read;
}

SmallVector<MemRefType> MomentBlock::getShared() {
  return {b.sharedType({heads, dim}, b.getF32Type()),
          b.sharedType({heads}, b.getF32Type()),
          b.sharedType({heads + 1, warps}, b.getF32Type())};
}

Value MomentBlock::getHead(Value number) {
  return b.addI(b.mulI(kvHead, b.index(group)), b.addI(firstHead, number));
}

void MomentBlock::emit(ArrayRef<Value> values, ArrayRef<Value> shared,
                       Value row, Value kvHead, Value number) {
  Given given(values);
  for (Value *place : {&direction, &moments, &lengths})
    *place = given.take();
  rowToSeq = given.take(op.getRowToSeq() != nullptr);
  result = given.take();
  directions = shared[0];
  squares = shared[1];
  partial = shared[2];
  this->row = row;
  this->kvHead = kvHead;
  // The last heads once more do no harm.
  firstHead = b.minI(b.mulI(number, b.index(heads)), b.index(group - heads));
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  Value zero = b.index(0);
  Value sees = b.compare(CmpIPredicate::sgt, b.loadIndex(lengths, row), zero);
  Value isThere = b.boolean(true);
  // Negative ones are large.
  if (rowToSeq)
    isThere = b.compare(CmpIPredicate::ult, sequence, b.dim(moments, 0));
  Value isKnown = b.andI(sees, isThere);
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  b.ifThen(b.compare(CmpIPredicate::eq, isKnown, b.boolean(false)), [&] {
    b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(heads)), [&] {
      b.store(b.select(sees, inf, b.f32(0.0f)), result, {row, getHead(thread)});
    });
  });
  b.ifThen(isKnown, [&] { emitMoments(); });
}

void MomentBlock::rotateDirections() {
  int64_t atOnce = lanes.getTokens(warps);
  for (int64_t first = 0; first < heads; first += atOnce) {
    Value number = b.addI(lanes.getToken(b), b.index(first));
    Value isHead = b.compare(CmpIPredicate::ult, number, b.index(heads));
    // Warps that have no head go on.
    Value warpFirst =
        b.addI(b.mulI(warp, b.index(kWarp / lanes.lanes)), b.index(first));
    b.ifThen(b.compare(CmpIPredicate::ult, warpFirst, b.index(heads)), [&] {
      Value own = b.minI(number, b.index(heads - 1));
      Value head = getHead(own);
      SmallVector<LaneChannels> channels;
      for (int64_t part = 0; part < lanes.parts; ++part)
        channels.push_back(loadChannels(
            b, format, lanes, lanes.getVector(b, part),
            [&](Value channel, int64_t number) {
              return b.loadFloats(direction, {row, head, channel}, number);
            }));
      if (format.rotated)
        rotate(b, format, lanes, channels);
      Value sum = b.f32(0.0f);
      for (const LaneChannels &vector : channels)
        for (Value x : vector)
          sum = math::FmaOp::create(b, x, x, sum);
      sum = b.combine(
          sum, [&](Value x, Value y) { return b.addF(x, y); }, 1, lanes.lanes);
      for (int64_t part = 0; part < lanes.parts; ++part) {
        Value vector = lanes.getVector(b, part);
        b.ifThen(b.andI(isHead, lanes.has(b, vector)), [&] {
          Value four = vector::FromElementsOp::create(b, b.vectorType(kFour),
                                                      channels[part]);
          vector::StoreOp::create(
              b, four, directions,
              ValueRange{own, b.mulI(vector, b.index(kFour))},
              /*nontemporal=*/false, llvm::MaybeAlign(16));
        });
      }
      // All lanes of a head have the same, and write it.
      b.ifThen(isHead, [&] { b.store(sum, squares, own); });
    });
  }
}

SmallVector<Value> MomentBlock::loadRows(Value first) {
  SmallVector<Value> rows;
  Value near = b.minI(first, b.index(dim - getNumRows()));
  for (int64_t i = 0; i < getNumRows(); ++i)
    for (int64_t part = 0; part < parts; ++part)
      rows.push_back(vector::LoadOp::create(
          b, b.vectorType(kFour), moments,
          ValueRange{sequence, kvHead, b.addI(near, b.index(i)),
                     getNearColumn(part)},
          /*nontemporal=*/false, llvm::MaybeAlign(16)));
  return rows;
}

SmallVector<Value> MomentBlock::addRows(Value first, ArrayRef<Value> rows,
                                        ValueRange sums) {
  SmallVector<Value> next(sums);
  const int64_t number = getNumRows();
  Value none = b.splat(0.0f, kFour), zero = b.f32(0.0f);
  Value isRow = b.compare(CmpIPredicate::ult, first, b.index(dim));
  Value near = b.minI(first, b.index(dim - number));
  auto extract = [&](Value four, int64_t i) -> Value {
    return vector::ExtractOp::create(b, four, ArrayRef<int64_t>{i});
  };
  auto load = [&](Value head, Value at) -> Value {
    return vector::LoadOp::create(b, b.vectorType(kFour), directions,
                                  ValueRange{head, at}, /*nontemporal=*/false,
                                  llvm::MaybeAlign(16));
  };
  for (int64_t i = 0; i < number; ++i)
    for (int64_t part = 0; part < parts; ++part) {
      Value diagonal = b.addI(near, b.index(i / kFour * kFour));
      Value is = b.andI(
          isRow, b.compare(CmpIPredicate::eq, getColumn(part), diagonal));
      Value x = extract(rows[i * parts + part], i % kFour);
      next[0] = b.addF(next[0], b.select(is, x, zero));
    }
  for (int64_t head = 0; head < heads; ++head) {
    Value which = b.index(head);
    SmallVector<Value> columns, factors;
    for (int64_t part = 0; part < parts; ++part) {
      Value own = load(which, getNearColumn(part));
      columns.push_back(isWhole() ? own : b.select(hasColumn(part), own, none));
    }
    for (int64_t i = 0; i < number; i += kFour) {
      Value own = load(which, b.addI(near, b.index(i)));
      own = b.select(isRow, own, none);
      for (int64_t j = 0; j < kFour; ++j)
        factors.push_back(extract(own, j));
    }
    for (int64_t i = 0; i < number; ++i) {
      Value product;
      for (int64_t part = 0; part < parts; ++part)
        for (int64_t j = 0; j < kFour; ++j) {
          Value x = extract(rows[i * parts + part], j);
          Value y = extract(columns[part], j);
          product = product ? math::FmaOp::create(b, x, y, product).getResult()
                            : b.mulF(x, y);
        }
      Value &sum = next[1 + head];
      sum = math::FmaOp::create(b, product, factors[i], sum);
    }
  }
  return next;
}

void MomentBlock::emitMoments() {
  const int64_t passes = getPasses(), number = getNumRows();
  SmallVector<Value> sums(1 + heads, b.f32(0.0f)), rows;
  Value first = b.mulI(warp, b.index(number));
  if (passes == 1)
    rows = loadRows(first);
  rotateDirections();
  b.barrier();
  if (passes == 1)
    sums = addRows(first, rows, sums);
  else
    sums = b.forLoop(first, b.index(dim), warps * number, sums,
                     [&](Value first, ValueRange carried) {
                       return addRows(first, loadRows(first), carried);
                     });
  for (auto [i, sum] : llvm::enumerate(sums)) {
    sum = b.combine(sum, [&](Value x, Value y) { return b.addF(x, y); });
    // All lanes have the same, and write it.
    b.store(sum, partial, {b.index(i), warp});
  }
  b.barrier();
  b.forLoop(warp, b.index(heads), warps,
            [&](Value number) { storeMoment(number); });
}

void MomentBlock::storeMoment(Value number) {
  auto add = [&](Value x, Value y) { return b.addF(x, y); };
  Value own = b.remU(lane, b.index(warps));
  auto join = [&](Value which) {
    Value sum = b.load(partial, {which, own});
    return widen(b, b.combine(sum, add, 1, warps));
  };
  Value trace = join(b.index(0)), form = join(b.addI(number, b.index(1)));
  Value square = widen(b, b.load(squares, number));
  Value zero = f64(b, 0.0), one = f64(b, 1.0);
  // Of squares that are summed up in f32, a little more.
  double share = getRoundings() * 0x1p-24 * (1 + 0x1p-7);
  Value room = b.mulF(b.mulF(square, trace), f64(b, share));
  // Numbers below 2^-126 have less than this.
  room = math::FmaOp::create(b, b.addF(square, one), f64(b, 0x1p-130), room);
  double factor = op.getScale().convertToFloat();
  factor /= op.getEpsilon().convertToFloat();
  Value moment = b.addF(b.maxF(form, zero), b.maxF(room, zero));
  moment = roundUp(b, b.mulF(moment, f64(b, factor * factor)));
  Value isKnown = b.compare(CmpFPredicate::ORD, moment, moment);
  moment =
      b.select(isKnown, moment, b.f32(std::numeric_limits<float>::infinity()));
  b.ifThen(b.compare(CmpIPredicate::eq, lane, b.index(0)), [&] {
    b.store(moment, result, {row, getHead(number)});
  });
}

const char *vashista::findObstacle(MomentOp op) {
  if (op->getParentOfType<LoopLikeOpInterface>())
    return "expected no loop around";
  auto type = cast<RankedTensorType>(op.getDirection().getType());
  if (type.isDynamicDim(1) || type.isDynamicDim(2) ||
      ShapedType::isDynamic(getSize(op.getMoments(), 1)))
    return "expected static head sizes";
  SketchFormat format(op.getSketch(), type.getDimSize(2));
  if (format.paddedDim > kMostChannels / 8)
    return "expected channels that have room in registers";
  return nullptr;
}

LogicalResult vashista::launchMoment(MomentOp op, PatternRewriter &rewriter) {
  constexpr int64_t kWarps = 16, kMostHeads = 16;
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  MomentBlock block(op, b, kWarps, kMostHeads);
  SmallVector<Value> read = block.getRead(),
                     results = allocateResults(op, b, op->getNumResults());
  KernelShape shape;
  shape.name = "moment";
  shape.gridX = b.dim(read[0], 0);
  shape.gridY = b.dim(read[1], 1);
  shape.gridZ = b.index(block.getNumBlocks());
  shape.threads = kWarps * kWarp;
  shape.residentBlocks = 1;
  shape.isShort = true;
  b.launch(shape, read, results, block.getShared(),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             block.emit(values, shared, b.blockId(gpu::Dimension::x),
                        b.blockId(gpu::Dimension::y),
                        b.blockId(gpu::Dimension::z));
           });
  rewriter.replaceOp(op, toTensors(b, results, op->getResultTypes()));
  return success();
}
