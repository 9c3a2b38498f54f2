//===- DirectionWarp.cpp - Rounding a direction by a warp -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Nothing of a step can begin before its scan, and the scan not before this: a
// chain of latencies, of a few thousand numbers. So a lane has as few channels
// as are written together, 4, and what is done between lanes are shuffles.
//
// Steps, multiples and corrections have the bits of SketchDirection, whose
// arithmetic this is; squares are summed up in another order, which its
// roundings cover.
//
// By a block for itself it takes no launch, and works beside the first loads of
// the block.
//
// Bytes: the directions once; two and some factors for each of their channels.
//
//===----------------------------------------------------------------------===//

#include "DirectionWarp.h"

#include "../VashistaToVector/UpperBounds.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Channels of a lane's vector: a byte of each is an i32.
static constexpr int64_t kWidth = 4;
static constexpr int64_t kWarps = 4;
/// Vectors of a lane, in registers.
static constexpr int64_t kMaxParts = 8;

DirectionWarp::DirectionWarp(WarpBuilder &b, const SketchFormat &format,
                             SketchDirection &rounded)
    : b(b), format(format), rounded(rounded), lanes(format.paddedDim, kWidth) {}

bool DirectionWarp::hasRoom(const SketchFormat &format) {
  return TokenLanes(format.paddedDim, kWidth).parts <= kMaxParts;
}

void DirectionWarp::launch(Value direction) {
  rounded.allocate(direction);
  KernelShape shape;
  shape.name = "round_direction";
  shape.gridX = b.dim(direction, 0);
  shape.gridY = b.createOrFold<arith::CeilDivUIOp>(
      b.dim(direction, 1), b.index(lanes.getTokens(kWarps)));
  shape.gridZ = b.index(1);
  shape.threads = kWarps * kWarp;
  // Channels of wide directions stay in registers.
  shape.residentBlocks = 2;
  b.launch(shape, direction, {rounded.multiples, rounded.factors}, {},
           [&](ArrayRef<Value> values, ArrayRef<Value>) {
             Value row = b.blockId(gpu::Dimension::x);
             Value head = b.addI(b.mulI(b.blockId(gpu::Dimension::y),
                                        b.index(lanes.getTokens(kWarps))),
                                 lanes.getToken(b));
             Value heads = b.dim(values[0], 1);
             Value isHead = b.compare(CmpIPredicate::ult, head, heads);
             head = b.minI(head, b.subI(heads, b.index(1)));
             round(load(values[0], row, head, {row, head}, isHead), values[1],
                   values[2]);
           });
}

SmallVector<MemRefType> DirectionWarp::getTypesOfBlock(int64_t heads) const {
  return {b.sharedType({heads, 2, format.paddedDim}, b.getI8Type()),
          b.sharedType({heads, rounded.getNumFactors()}, b.getF32Type())};
}

void DirectionWarp::loadOfBlock(Value direction, Value row, int64_t heads,
                                int64_t warps,
                                function_ref<Value(Value number)> getHead) {
  int64_t atOnce = lanes.getTokens(warps);
  for (int64_t first = 0; first < heads; first += atOnce) {
    Value number = b.addI(lanes.getToken(b), b.index(first));
    Value isHead = b.compare(CmpIPredicate::ult, number, b.index(heads));
    number = b.minI(number, b.index(heads - 1));
    ofBlock.push_back(load(direction, row, getHead(number), number, isHead));
  }
}

void DirectionWarp::roundOfBlock(Value multiples, Value factors) {
  for (const Own &own : ofBlock)
    round(own, multiples, factors);
}

SmallVector<Value> DirectionWarp::sumEach(ArrayRef<Value> numbers,
                                          int64_t channels) {
  auto sum = [&](Value x, Value y) -> Value {
    return x.getType().isInteger() ? b.addI(x, y) : b.addF(x, y);
  };
  SmallVector<Value> sums(numbers);
  if (channels == format.paddedDim) {
    Value all = numbers.front();
    for (Value number : numbers.drop_front())
      all = sum(all, number);
    sums.assign(numbers.size(), b.combine(all, sum, 1, lanes.lanes));
    return sums;
  }
  // Groups are of a power of two, of a warp's lanes at most: within a part.
  for (Value &number : sums)
    number = b.combine(number, sum, 1, channels / kWidth);
  return sums;
}

void DirectionWarp::storeEach(ArrayRef<Value> numbers, int64_t channels,
                              int64_t first) {
  Value together = b.index(channels / kWidth);
  for (int64_t part = 0; part < lanes.parts; ++part) {
    Value vector = vectors[part], place = b.remU(vector, together);
    Value isFirst = b.compare(CmpIPredicate::eq, place, b.index(0));
    isFirst = b.andI(isFirst, lanes.has(b, vector));
    b.ifThen(b.andI(isFirst, isHead), [&] {
      Value which = b.addI(b.divU(vector, together), b.index(first));
      SmallVector<Value> at(this->place);
      at.push_back(which);
      b.store(numbers[part], factors, at);
    });
  }
}

void DirectionWarp::storeBytes(ArrayRef<Value> multiples, Value vector,
                               Value to) {
  auto four = VectorType::get({kWidth}, b.getI8Type());
  auto gather = [&](ArrayRef<Value> words, int64_t byte) {
    int64_t two = byte | (4 + byte) << 4;
    return b.permuteBytes(b.permuteBytes(words[0], words[1], two),
                          b.permuteBytes(words[2], words[3], two), 0x5410);
  };
  // The high byte of what is rounded to a multiple of 256; what it leaves is
  // the low byte, signed, of the multiple itself.
  SmallVector<Value> raised;
  for (Value q : multiples)
    raised.push_back(b.addI(q, b.i32(128)));
  Value parts[] = {gather(raised, 1), gather(multiples, 0)};
  b.ifThen(b.andI(isHead, lanes.has(b, vector)), [&] {
    for (auto [part, bytes] : llvm::enumerate(parts)) {
      Value one = vector::BroadcastOp::create(
          b, VectorType::get({1}, b.getI32Type()), bytes);
      SmallVector<Value> at(place);
      at.append({b.index(part), b.mulI(vector, b.index(kWidth))});
      vector::StoreOp::create(b, vector::BitCastOp::create(b, four, one), to,
                              at, /*nontemporal=*/false,
                              llvm::MaybeAlign(kWidth));
    }
  });
}

DirectionWarp::Own DirectionWarp::load(Value direction, Value row, Value head,
                                       ValueRange place, Value isHead) {
  Own own{llvm::to_vector_of<Value>(place), isHead, {}};
  for (int64_t part = 0; part < lanes.parts; ++part)
    own.channels.push_back(loadChannels(
        b, format, lanes, lanes.getVector(b, part),
        [&](Value channel, int64_t number) {
          return b.loadFloats(direction, {row, head, channel}, number);
        }));
  return own;
}

void DirectionWarp::round(const Own &own, Value multiples, Value factors) {
  place = own.place;
  isHead = own.isHead;
  this->factors = factors;
  vectors.clear();
  SmallVector<LaneChannels> exact(own.channels);
  for (int64_t part = 0; part < lanes.parts; ++part) {
    vectors.push_back(lanes.getVector(b, part));
    for (Value &x : exact[part])
      x = widen(b, x);
  }
  if (format.rotated)
    rotate(b, format, lanes, exact);

  Value largest = f64(b, 0.0);
  for (const LaneChannels &channels : exact)
    for (Value x : channels)
      largest = b.maxF(largest, b.absF(x));
  largest = b.combine(
      largest, [&](Value x, Value y) { return b.maxF(x, y); }, 1, lanes.lanes);
  auto getSquares = [&](ArrayRef<LaneChannels> parts) {
    SmallVector<Value> squares;
    for (const LaneChannels &channels : parts) {
      squares.push_back(f64(b, 0.0));
      for (Value x : channels)
        squares.back() = math::FmaOp::create(b, x, x, squares.back());
    }
    return sumEach(squares, format.paddedDim / rounded.getNumNorms());
  };
  SmallVector<Value> squares = getSquares(exact);

  Value half = rounded.computeHalf(largest), step = rounded.computeStep(half);
  Value inverse = rounded.computeInverse(step);
  SmallVector<Value> sums;
  for (auto [channels, vector] : llvm::zip_equal(exact, vectors)) {
    SmallVector<Value> own;
    Value sum = b.i32(0);
    for (Value &x : channels) {
      own.push_back(rounded.computeMultiples(x, inverse));
      sum = b.addI(sum, own.back());
      // Of 15 and 24 bits, a product is exact.
      Value q = arith::SIToFPOp::create(b, b.getF64Type(), own.back());
      x = b.subF(x, b.mulF(q, step));
    }
    sums.push_back(sum);
    storeBytes(own, vector, multiples);
  }
  SmallVector<Value> left = getSquares(exact);

  sums = sumEach(sums, format.group);
  for (Value &sum : sums)
    sum = rounded.computeCorrection(sum);
  storeEach(sums, format.group, rounded.getCorrection());
  SmallVector<Value> norms, reaches;
  for (auto [all, rest] : llvm::zip_equal(squares, left)) {
    Value norm = b.sqrt(all);
    norms.push_back(roundUp(b, norm));
    reaches.push_back(roundUp(b, rounded.computeReach(norm, b.sqrt(rest))));
  }
  int64_t channels = format.paddedDim / rounded.getNumNorms();
  storeEach(norms, channels, 0);
  storeEach(reaches, channels, rounded.getScaleReach());
  storeEach(SmallVector<Value>(lanes.parts, half), format.paddedDim,
            rounded.getHalfStep());
}
