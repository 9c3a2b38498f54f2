//===- KeySketchWarp.cpp - Writing the sketch of keys by warps ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KeySketchWarp.h"

#include "../VashistaToVector/UpperBounds.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Channels of a lane's vector.
static constexpr int64_t kWidth = 16;

KeySketchWarp::KeySketchWarp(WarpBuilder &b, SketchAttr sketch,
                             ValueRange parts, int64_t keyDim, int64_t warps)
    : lanes(SketchFormat(sketch, keyDim).paddedDim, kWidth), b(b),
      format(sketch, keyDim),
      quantiser(b, format, getElementTypeOrSelf(parts[1]),
                getElementTypeOrSelf(parts[2])),
      warps(warps), groupLanes(format.group / kWidth), parts(parts) {}

MemRefType KeySketchWarp::getShared() {
  // Lanes without a vector write, too.
  return b.sharedType(
      {lanes.getTokens(warps), lanes.lanes * lanes.parts * kWidth},
      b.getI8Type());
}

void KeySketchWarp::begin(ArrayRef<Value> parts, Value shared) {
  this->parts.assign(parts.begin(), parts.end());
  this->shared = shared;
}

Value KeySketchWarp::getSquares(ArrayRef<Value> channels) {
  Value sum = f64(b, 0.0);
  for (Value x : channels)
    sum = math::FmaOp::create(b, x, x, sum);
  return sum;
}

KeySketchWarp::Group KeySketchWarp::quantise(ArrayRef<Value> channels) {
  auto sum = [&](Value x, Value y) { return b.addF(x, y); };
  auto larger = [&](Value x, Value y) { return b.maxNum(x, y); };
  Value largest = f64(b, 0.0);
  for (Value x : channels)
    largest = larger(b.absF(x), largest);
  largest = b.combine(largest, larger, 1, groupLanes);
  // With a scale of 0 the group itself is what is left.
  Group group = {quantiser.getNone(),
                 b.combine(getSquares(channels), sum, 1, groupLanes)};
  for (double share : SketchQuantiser::kShares) {
    SketchQuantiser::Scale tried = quantiser.getScale(largest, share);
    LaneChannels residuals;
    for (Value x : channels)
      residuals.push_back(quantiser.getResidual(x, tried));
    Value squares = b.combine(getSquares(residuals), sum, 1, groupLanes);
    // Of an infinite or unknown scale it is NaN, which is not less.
    Value better = b.compare(CmpFPredicate::OLT, squares, group.squares);
    group.scale = quantiser.select(better, tried, group.scale);
    group.squares = b.select(better, squares, group.squares);
  }
  return group;
}

void KeySketchWarp::storeGroups(ArrayRef<Group> groups, Value isKnown,
                                Value rounding) {
  auto getNorm = [&](Value squares, Value scaleSquares) {
    Value norm = quantiser.getNorm(squares, rounding, scaleSquares);
    return b.select(isKnown, norm, quantiser.getInfiniteNorm());
  };
  Value squares = f64(b, 0.0), scaleSquares = squares;
  for (size_t part = 0; part < groups.size(); ++part) {
    const Group &group = groups[part];
    Value square = b.mulF(group.scale.value, group.scale.value);
    squares = b.addF(squares, group.squares);
    scaleSquares = b.addF(scaleSquares, square);
    Value isFirst =
        b.compare(CmpIPredicate::eq, b.remU(vectors[part], b.index(groupLanes)),
                  b.index(0));
    isFirst = b.andI(isFirst, lanes.has(b, vectors[part]));
    b.ifThen(b.andI(isFirst, isToken), [&] {
      Value at[] = {page, kvHead, token,
                    b.divU(vectors[part], b.index(groupLanes))};
      b.store(b.select(isKnown, group.scale.stored, quantiser.getNone().stored),
              parts[1], at);
      if (!format.normPerToken)
        b.store(getNorm(group.squares, square), parts[2], at);
    });
  }
  if (!format.normPerToken)
    return;
  // A group's lanes have the same numbers: only others are added.
  auto sum = [&](Value x, Value y) { return b.addF(x, y); };
  squares = b.combine(squares, sum, groupLanes, lanes.lanes);
  scaleSquares = b.combine(scaleSquares, sum, groupLanes, lanes.lanes);
  Value isFirst = b.compare(CmpIPredicate::eq, lanes.getLane(b), b.index(0));
  b.ifThen(b.andI(isFirst, isToken), [&] {
    b.store(getNorm(squares, scaleSquares), parts[2], {page, kvHead, token});
  });
}

void KeySketchWarp::pack(ArrayRef<Value> words) {
  Value own = lanes.getToken(b);
  auto bytes = VectorType::get({kWidth}, b.getI8Type());
  for (auto [part, vector] : llvm::enumerate(vectors))
    vector::StoreOp::create(b, vector::BitCastOp::create(b, bytes, words[part]),
                            shared,
                            ValueRange{own, b.mulI(vector, b.index(kWidth))},
                            /*nontemporal=*/false, llvm::MaybeAlign(kWidth));
  b.warpBarrier();
  // As many bytes at a time as lie together in every plane.
  int64_t size = format.getLanes(4);
  Type type = b.getIntegerType(8 * size);
  auto vector = VectorType::get({size}, b.getI8Type());
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, b.getIntegerAttr(type, APInt(8 * size, value, false, true)));
  };
  b.ifThen(isToken, [&] {
    for (const SketchFormat::Plane &plane : format.planes)
      b.forLoop(b.mulI(lanes.getLane(b), b.index(size)), b.index(plane.bytes),
                lanes.lanes * size, [&](Value byte) {
                  Value packed = constant(0);
                  for (int64_t part = 0; part < 8 / plane.bits; ++part) {
                    Value at = b.addI(byte, b.index(part * plane.bytes));
                    Value loaded = vector::LoadOp::create(
                        b, vector, shared, ValueRange{own, at},
                        /*nontemporal=*/false, llvm::MaybeAlign(size));
                    Value code = vector::ExtractOp::create(
                        b,
                        vector::BitCastOp::create(b, VectorType::get({1}, type),
                                                  loaded),
                        ArrayRef<int64_t>{0});
                    code =
                        arith::ShRUIOp::create(b, code, constant(plane.shift));
                    int64_t ones = (int64_t(1) << plane.bits) - 1;
                    code = b.andI(code, constant(ones * 0x01010101));
                    code = arith::ShLIOp::create(b, code,
                                                 constant(part * plane.bits));
                    packed = b.orI(packed, code);
                  }
                  Value one = vector::BroadcastOp::create(
                      b, VectorType::get({1}, type), packed);
                  vector::StoreOp::create(
                      b, vector::BitCastOp::create(b, vector, one), parts[0],
                      ValueRange{page, kvHead, token,
                                 b.addI(byte, b.index(plane.first))},
                      /*nontemporal=*/false, llvm::MaybeAlign(size));
                });
  });
  // Before the next codes are written there.
  b.warpBarrier();
}

void KeySketchWarp::emit(
    Value page, Value kvHead, Value token, Value isToken,
    function_ref<SmallVector<Value>(Value, int64_t)> load) {
  this->page = page;
  this->kvHead = kvHead;
  this->token = token;
  this->isToken = isToken;
  vectors.clear();
  SmallVector<LaneChannels> key;
  Value square = f64(b, 0.0);
  auto loadWide = [&](Value channel, int64_t number) {
    LaneChannels channels = load(channel, number), centre;
    if (format.centred)
      centre = b.loadFloats(getCentre(), {page, kvHead, channel}, number);
    for (auto [i, x] : llvm::enumerate(channels)) {
      x = widen(b, x);
      if (format.centred)
        x = b.subF(x, widen(b, centre[i]));
    }
    return channels;
  };
  for (int64_t part = 0; part < lanes.parts; ++part) {
    vectors.push_back(lanes.getVector(b, part));
    key.push_back(loadChannels(b, format, lanes, vectors.back(), loadWide));
    square = b.addF(square, getSquares(key.back()));
  }
  square = b.combine(
      square, [&](Value x, Value y) { return b.addF(x, y); }, 1, lanes.lanes);
  // Squares of f32 numbers are finite in f64. Of other keys all that follows is
  // made, of NaN, and nothing kept.
  Value isKnown = b.compare(CmpFPredicate::OLT, square,
                            f64(b, std::numeric_limits<double>::infinity()));
  if (format.rotated)
    rotate(b, format, lanes, key);
  SmallVector<Group> groups;
  SmallVector<Value> words;
  for (const LaneChannels &channels : key) {
    groups.push_back(quantise(channels));
    SmallVector<Value> own;
    for (int64_t i = 0; i < kWidth; ++i) {
      Value code = quantiser.getCode(channels[i], groups.back().scale);
      code = arith::ShLIOp::create(b, code, b.i32(i % 4 * 8));
      if (i % 4)
        own.back() = b.orI(own.back(), code);
      else
        own.push_back(code);
    }
    for (Value &word : own)
      word = b.select(isKnown, word, b.i32(0));
    words.push_back(vector::FromElementsOp::create(
        b, VectorType::get({kWidth / 4}, b.getI32Type()), own));
  }
  storeGroups(groups, isKnown, quantiser.getRounding(square));
  pack(words);
}
