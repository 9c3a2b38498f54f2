//===- KeyResiduals.cpp - What a sketch lacks of its keys -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KeyResiduals.h"

#include "../VashistaToVector/UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Channels of a lane's vector: no group has fewer.
static constexpr int64_t kWidth = 16;

KeyResiduals::KeyResiduals(WarpBuilder &b, SketchAttr sketch, Value keys,
                           ValueRange parts, Layout layout)
    : format(sketch, getHeadDim(keys)), lanes(format.paddedDim, kWidth), b(b),
      layout(layout), keys(keys), parts(parts) {}

SmallVector<Value> KeyResiduals::getRead() const {
  SmallVector<Value> read = {keys};
  llvm::append_range(read, parts);
  return read;
}

void KeyResiduals::begin(Given &read) {
  keys = read.take();
  for (Value &part : parts)
    part = read.take();
}

double KeyResiduals::getPerKey() const {
  double t = SketchFormat::kMomentShare, eta = format.getScoreRounding();
  // Sums of squares are of f32.
  return (1 + 1 / t) * (1 + t) * std::pow(eta + 0x1p-20, 2) * (1 + 0x1p-7);
}

LaneChannels KeyResiduals::loadCodes(Value channel, ArrayRef<Value> at) {
  SmallVector<Value> place(at);
  place.push_back(nullptr);
  // Bytes that lie together in every plane.
  int64_t size = std::min(format.getLanes(kWidth), getVectorSize(parts[0]));
  const int64_t each = size >= 4 ? 4 : 1; // codes of a word
  LaneChannels codes;
  for (int64_t i = 0; i < kWidth; i += size) {
    Value first = b.addI(channel, b.index(i));
    SmallVector<Value> words;
    for (const SketchFormat::Plane &plane : format.planes) {
      Value bytes = b.index(plane.bytes), own = b.divU(first, bytes);
      place.back() = b.addI(b.remU(first, bytes), b.index(plane.first));
      Value shift = b.toI32(b.mulI(own, b.index(plane.bits)));
      SmallVector<Value> found;
      if (each > 1) {
        found = b.loadWords(parts[0], place, size);
      } else {
        for (int64_t j = 0; j < size; ++j) {
          found.push_back(arith::ExtUIOp::create(b, b.getI32Type(),
                                                 b.load(parts[0], place)));
          place.back() = b.addI(place.back(), b.index(1));
        }
      }
      int64_t ones = ((int64_t(1) << plane.bits) - 1) * 0x01010101;
      for (auto [j, word] : llvm::enumerate(found)) {
        word = b.andI(arith::ShRUIOp::create(b, word, shift), b.i32(ones));
        word = arith::ShLIOp::create(b, word, b.i32(plane.shift));
        if (j < words.size())
          words[j] = b.orI(words[j], word);
        else
          words.push_back(word);
      }
    }
    // A byte in the middle of 2^15: conversions are a few times slower.
    Value middle = b.f32(static_cast<float>(0x1p15 + format.getMiddle()));
    for (Value word : words)
      for (int64_t j = 0; j < each; ++j) {
        Value bits = b.permuteBytes(word, b.i32(0x47000000), 0x7404 | j << 4);
        bits = arith::BitcastOp::create(b, b.getF32Type(), bits);
        codes.push_back(b.subF(bits, middle));
      }
  }
  return codes;
}

Value KeyResiduals::hasNorm(ArrayRef<Value> at) {
  Value stored = b.load(parts[2], at);
  Type type = stored.getType();
  int64_t infinite = SketchFormat::kInfiniteNorm;
  if (!type.isInteger()) {
    infinite = type.isF16() ? 0x7c00 : 0x7f;
    stored = arith::BitcastOp::create(
        b, b.getIntegerType(type.getIntOrFloatBitWidth()), stored);
  }
  stored = arith::ExtUIOp::create(b, b.getI32Type(), stored);
  return b.compare(CmpIPredicate::ult, stored, b.i32(infinite));
}

KeyResiduals::Token KeyResiduals::load(Value page, Value kvHead, Value token,
                                       Value isToken) {
  Value zero = b.f32(0.0f), ofCentre = zero; // squares of a part, and of all
  Value centreSquares = zero;
  auto loadFloats = [&](Value channel, int64_t number) {
    LaneChannels channels = b.loadFloats(
        keys, getCacheIndices(layout, page, kvHead, token, channel), number);
    if (!format.centred)
      return channels;
    LaneChannels centre =
        b.loadFloats(parts[3], {page, kvHead, channel}, number);
    for (auto [x, middle] : llvm::zip_equal(channels, centre)) {
      x = b.subF(x, middle);
      ofCentre = math::FmaOp::create(b, middle, middle, ofCentre);
    }
    return channels;
  };
  Token made = {{}, b.f32(0.0f), b.f32(0.0f)};
  SmallVector<LaneChannels> decoded;
  for (int64_t part = 0; part < lanes.parts; ++part) {
    Value vector = lanes.getVector(b, part);
    made.channels.push_back(loadChannels(b, format, lanes, vector, loadFloats));
    if (format.centred) {
      ofCentre = b.select(lanes.has(b, vector), ofCentre, zero);
      centreSquares = b.addF(centreSquares, ofCentre);
      ofCentre = zero;
    }
    Value channel = lanes.getChannel(b, vector);
    decoded.push_back(loadCodes(channel, {page, kvHead, token}));
    Value group = b.divU(channel, b.index(format.group));
    SmallVector<Value> at = {page, kvHead, token, group};
    Value scale = b.load(parts[1], at);
    scale = scale.getType().isF16()
                ? arith::ExtFOp::create(b, b.getF32Type(), scale).getResult()
                : widenF8(b, scale);
    for (Value &x : decoded.back())
      x = b.mulF(x, scale);
    if (format.normPerToken) {
      if (part == 0)
        isToken = b.andI(isToken, hasNorm(ArrayRef(at).drop_back()));
      continue;
    }
    isToken = b.andI(isToken, hasNorm(at));
  }
  if (!format.normPerToken) {
    // One group says it of the key.
    Value bit = arith::ExtUIOp::create(b, b.getI32Type(), isToken);
    bit = b.combine(
        bit, [&](Value x, Value y) { return b.andI(x, y); }, 1, lanes.lanes);
    isToken = b.compare(CmpIPredicate::ne, bit, b.i32(0));
  }
  if (format.rotated)
    rotate(b, format, lanes, made.channels);
  Value factor = b.f32(std::sqrt(1 + SketchFormat::kMomentShare));
  for (int64_t part = 0; part < lanes.parts; ++part) {
    Value isThere = b.andI(isToken, lanes.has(b, lanes.getVector(b, part)));
    for (auto [x, y] : llvm::zip_equal(made.channels[part], decoded[part])) {
      // What is not known may be NaN.
      x = b.select(isThere, b.mulF(b.subF(x, y), factor), zero);
      y = b.select(isThere, y, zero);
      made.squares = math::FmaOp::create(b, x, x, made.squares);
      made.decoded = math::FmaOp::create(b, y, y, made.decoded);
    }
  }
  if (format.centred) {
    // A score's share of the centre is rounded, too: (a + b)^2 <= 2 a^2 + 2
    // b^2, of the centre as if it was decoded.
    double each = format.getCentreRounding() / format.getScoreRounding();
    centreSquares = b.select(isToken, centreSquares, zero);
    Value both = math::FmaOp::create(b, centreSquares,
                                     b.f32(each * each * 1.001), made.decoded);
    made.decoded = b.mulF(both, b.f32(2.0f));
  }
  return made;
}

void KeyResiduals::store(const Token &token, Value to, ArrayRef<Value> at) {
  constexpr int64_t kFour = 4;
  SmallVector<Value> place(at);
  place.push_back(nullptr);
  for (int64_t part = 0; part < lanes.parts; ++part) {
    Value vector = lanes.getVector(b, part);
    b.ifThen(lanes.has(b, vector), [&] {
      for (int64_t i = 0; i < kWidth; i += kFour) {
        place.back() = b.addI(b.mulI(vector, b.index(kWidth)), b.index(i));
        Value four = vector::FromElementsOp::create(
            b, b.vectorType(kFour),
            ArrayRef(token.channels[part]).slice(i, kFour));
        vector::StoreOp::create(b, four, to, place, /*nontemporal=*/false,
                                llvm::MaybeAlign(16));
      }
    });
  }
}
