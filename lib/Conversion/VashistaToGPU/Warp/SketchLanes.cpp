//===- SketchLanes.cpp - Channels of a sketch in lanes of a warp ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchLanes.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// A number as channels are.
static Value like(WarpBuilder &b, Value channel, double number) {
  return arith::ConstantOp::create(b,
                                   b.getFloatAttr(channel.getType(), number));
}

LaneChannels
vashista::loadChannels(WarpBuilder &b, const SketchFormat &format,
                       const TokenLanes &lanes, Value vector,
                       function_ref<LaneChannels(Value, int64_t)> load) {
  int64_t width = lanes.width, dim = format.keyDim;
  int64_t size = std::min(width, dim & -dim);
  Value channel = b.mulI(vector, b.index(width));
  LaneChannels channels;
  for (int64_t i = 0; i < width; i += size) {
    Value at = b.addI(channel, b.index(i));
    Value isThere = b.compare(CmpIPredicate::ult, at, b.index(dim));
    bool isPadded = dim < lanes.lanes * lanes.parts * width;
    if (isPadded)
      at = b.minI(at, b.index(dim - size));
    for (Value x : load(at, size))
      channels.push_back(isPadded ? b.select(isThere, x, like(b, x, 0.0)) : x);
  }
  return channels;
}

void vashista::rotate(WarpBuilder &b, const SketchFormat &format,
                      const TokenLanes &lanes,
                      MutableArrayRef<LaneChannels> parts) {
  const int64_t width = lanes.width;
  SmallVector<int64_t> blocks = format.getRotationBlocks();
  auto isBefore = [&](int64_t part, int64_t end) {
    return b.compare(CmpIPredicate::ult, lanes.getVector(b, part),
                     b.index(end));
  };
  auto apply = [&](Value &x, Value &y) {
    Value sum = b.addF(x, y), difference = b.subF(x, y);
    x = sum;
    y = difference;
  };
  for (auto [part, channels] : llvm::enumerate(parts)) {
    auto getFactor = [&](int64_t block) {
      return like(b, parts.front().front(), 1.0 / std::sqrt(double(block)));
    };
    Value factor = getFactor(blocks.back());
    int64_t end = lanes.vectors;
    for (int64_t block : llvm::reverse(blocks)) {
      factor = b.select(isBefore(part, end), getFactor(block), factor);
      end -= block / width;
    }
    for (Value &x : channels)
      x = b.mulF(x, factor);
    for (int64_t distance = 1; distance < width; distance *= 2)
      for (int64_t i = 0; i < width; ++i)
        if (!(i & distance))
          apply(channels[i], channels[i + distance]);
  }
  // Blocks get smaller: those that a distance is within come first.
  for (int64_t distance = 1;; distance *= 2) {
    int64_t end = 0;
    for (int64_t block : blocks)
      end += block / width > distance ? block / width : 0;
    if (end == 0)
      return;
    for (int64_t part = 0; part < lanes.parts; ++part) {
      int64_t first = part * lanes.lanes, other = part + distance / lanes.lanes;
      if (distance >= lanes.lanes) {
        if (first < end && !(part & (distance / lanes.lanes)))
          for (int64_t i = 0; i < width; ++i)
            apply(parts[part][i], parts[other][i]);
        continue;
      }
      Value bit = b.andI(lanes.getLane(b), b.index(distance));
      Value isHigh = b.compare(CmpIPredicate::ne, bit, b.index(0));
      Value sign = b.select(isHigh, like(b, parts[part].front(), -1.0),
                            like(b, parts[part].front(), 1.0));
      for (Value &x : parts[part]) {
        Value y = math::FmaOp::create(b, x, sign, b.shuffleXor(x, distance));
        // Vectors of padding are 0 and stay so.
        bool isAll = end == lanes.vectors || first + lanes.lanes <= end;
        x = isAll ? y : b.select(isBefore(part, end), y, x);
      }
    }
  }
}
