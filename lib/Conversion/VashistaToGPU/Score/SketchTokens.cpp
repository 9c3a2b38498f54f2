//===- SketchTokens.cpp - What goes with the tokens of a scan -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A lane loads scales and norms of two tokens of a warp's step. Where lanes of
// several heads finish a token, all of them have these from the block's memory,
// or, where that has no room, from the lane itself.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

#include "../VashistaToVector/UpperBounds.h"
#include "Schedules.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

SketchScan::Token SketchScan::loadToken(const Slots::Tile &tile, Value offset) {
  std::pair<Slots::Place, Value> there = slots->find(tile, offset);
  auto load = [&](Value part, int64_t number) {
    const Slots::Place &place = there.first;
    SmallVector<Value> at = {place.page, slots->kvHead, place.slot},
                       words = loadStored(part, at, number);
    ValueRange stored = words;
    return takeStored(part, stored, number);
  };
  SmallVector<Value> found;
  if (hasBounds)
    found = load(norms, getNumNorms());
  return getToken(b.addI(tile.first, offset), there.second,
                  load(scales, format.numGroups), found);
}

SketchScan::Token SketchScan::getToken(Value slot, Value isVisible,
                                       ArrayRef<Value> scales,
                                       ArrayRef<Value> stored) {
  Token token{slot, isVisible, SmallVector<Value>(scales), {}, {}};
  if (hasBounds)
    std::tie(token.norms, token.sizes) = getNorms(scales, stored);
  return token;
}

MemRefType SketchScan::getSharedType(int64_t numbers) {
  // Tokens of one number in their tiles would lie in the same banks.
  constexpr int64_t kApart = kTokens + 2;
  return b.sharedType({numWarps * kTiles, kApart, numbers}, b.getF32Type());
}

/// Where there is room for it, beside all else.
bool SketchScan::sharesTokens() {
  auto getBytes = [](MemRefType type) {
    return type.getNumElements() * type.getElementTypeBitWidth() / 8;
  };
  constexpr int64_t kOfFound = 4;
  int64_t bytes = numWarps * columns * kColumns * getNumFound() * kOfFound;
  if (canScanAhead())
    bytes += getBytes(getAheadType());
  bytes += getBytes(getSharedType(format.numGroups));
  if (hasBounds)
    bytes += getBytes(getSharedType(2 * getNumNorms()));
  if (pageNorms)
    bytes += getBytes(getNormsType());
  return heads > 1 && bytes <= kSharedBytes;
}

/// Where a warp's tile lies, of what is shared.
Value SketchScan::getPlaceOf(Value tile) {
  return b.addI(b.mulI(warp, b.index(kTiles)), tile);
}

void SketchScan::shareTokens(ArrayRef<Token> loaded) {
  if (!sharesTokens())
    return;
  Value tile = getPlaceOf(within), zero = b.index(0);
  for (auto [half, token] : llvm::enumerate(loaded)) {
    Value at[] = {tile, getOffset(half), zero};
    b.storeFloats(token.scales, ownScales, at);
    SmallVector<Value> both(token.norms);
    llvm::append_range(both, token.sizes);
    if (hasBounds)
      b.storeFloats(both, ownNorms, at);
  }
}

SketchScan::Token SketchScan::getToken(const Token &loaded, Value start,
                                       Value tile, int64_t half,
                                       bool areWhole) {
  if (heads == 1)
    return loaded;
  Token token;
  token.slot =
      b.addI(b.addI(start, b.mulI(tile, b.index(kTokens))), getOffset(half));
  token.isVisible = b.boolean(true);
  Value lane = b.toI32(b.addI(b.mulI(quad, b.index(kColumns)), tile));
  if (!areWhole) {
    Value isVisible = b.select(loaded.isVisible, b.i32(1), b.i32(0));
    token.isVisible =
        b.compare(CmpIPredicate::ne, b.shuffle(isVisible, lane), b.i32(0));
  }
  if (!sharesTokens()) {
    auto take = [&](ArrayRef<Value> from, SmallVector<Value> &to) {
      for (Value value : from)
        to.push_back(b.shuffle(value, lane));
    };
    take(loaded.scales, token.scales);
    take(loaded.norms, token.norms);
    take(loaded.sizes, token.sizes);
    return token;
  }
  Value at[] = {getPlaceOf(tile), getOffset(half), b.index(0)};
  token.scales = b.loadFloats(ownScales, at, format.numGroups);
  if (!hasBounds)
    return token;
  SmallVector<Value> both = b.loadFloats(ownNorms, at, 2 * getNumNorms());
  token.norms.append(both.begin(), both.begin() + getNumNorms());
  token.sizes.append(both.begin() + getNumNorms(), both.end());
  return token;
}

static bool areWords(Value part, int64_t number) {
  int64_t bytes =
      getElementTypeOrSelf(part).getIntOrFloatBitWidth() / 8 * number;
  return llvm::isPowerOf2_64(bytes) && bytes >= 2 && bytes <= 16;
}

SmallVector<Value> SketchScan::loadStored(Value part, ArrayRef<Value> at,
                                          int64_t number) {
  SmallVector<Value> indices(at), stored;
  bool isRow = cast<MemRefType>(part.getType()).getRank() == 4;
  if (isRow)
    indices.push_back(b.index(0));
  if (areWords(part, number))
    return b.loadWords(part, indices, number);
  for (int64_t i = 0; i < number; ++i) {
    if (isRow)
      indices.back() = b.index(i);
    stored.push_back(b.load(part, indices));
  }
  return stored;
}

SmallVector<Value> SketchScan::takeStored(Value part, ValueRange &stored,
                                          int64_t number) {
  Type element = getElementTypeOrSelf(part);
  int64_t size = number;
  if (areWords(part, number))
    size = llvm::divideCeil(number * element.getIntOrFloatBitWidth(), 32);
  SmallVector<Value> numbers(stored.take_front(size));
  stored = stored.drop_front(size);
  return toFloats(areWords(part, number) ? b.takeApart(numbers, element)
                                         : numbers);
}

SmallVector<Value> SketchScan::toFloats(ArrayRef<Value> stored) {
  SmallVector<Value> numbers(stored);
  for (Value &number : numbers) {
    Type element = number.getType();
    if (element.isInteger(8))
      number = arith::ExtUIOp::create(b, b.getI32Type(), number);
    else if (element.getIntOrFloatBitWidth() == 8)
      number = widenF8(b, number);
    else
      number = arith::ExtFOp::create(b, b.getF32Type(), number);
  }
  return numbers;
}

std::pair<SmallVector<Value>, SmallVector<Value>>
SketchScan::getNorms(ArrayRef<Value> scales, ArrayRef<Value> stored) {
  SmallVector<Value> sizes(scales), found(stored);
  if (format.normPerToken) {
    Value squares = b.f32(0.0f);
    for (Value scale : scales)
      squares = math::FmaOp::create(b, scale, scale, squares);
    // Scales are f16 or less: their squares are 0 or normal.
    sizes = {b.approximateRoot(squares)};
  }
  if (!getElementTypeOrSelf(norms).isInteger())
    return {found, sizes};
  float step = format.getResidualPerScale() / SketchFormat::kNormSteps;
  for (auto [norm, size] : llvm::zip_equal(found, sizes)) {
    Value infinite =
        b.compare(CmpIPredicate::eq, norm, b.i32(SketchFormat::kInfiniteNorm));
    Value share =
        b.mulF(arith::SIToFPOp::create(b, b.getF32Type(), norm), b.f32(step));
    norm = b.select(infinite, b.f32(std::numeric_limits<float>::infinity()),
                    b.mulF(share, size));
  }
  return {found, sizes};
}
