//===- SketchCodes.cpp - Codes of a sketch, from planes of bits -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace vashista;

/// Where a plane has the bits of channels from one on, of those of a byte.
static int64_t getFirstBit(const SketchFormat::Plane &plane, int64_t channel) {
  return channel / plane.bytes * plane.bits;
}

/// Whether the channels that a product takes of a plane are whole parts of it,
/// or lie in one, and a lane's own are 8 bytes.
static bool hasWholeParts(const SketchFormat &format,
                          const SketchFormat::Plane &plane) {
  for (int64_t bytes : {plane.bytes, plane.first, format.codeBytes})
    if (bytes % SketchScan::kOwn)
      return false;
  return plane.bytes % SketchScan::kChannels == 0 ||
         SketchScan::kChannels % plane.bytes == 0;
}

int64_t SketchScan::chooseBlocks(const SketchFormat &format, int64_t group) {
  constexpr int64_t kFewChannels = 128;
  bool areWhole =
      llvm::all_of(format.planes, [&](const SketchFormat::Plane &plane) {
        return hasWholeParts(format, plane);
      });
  if (format.paddedDim > kFewChannels ||
      (format.planes.size() > 1 && !areWhole))
    return 2;
  return group <= kColumns ? 4 : 3;
}

SmallVector<Value> SketchScan::loadParts(const SketchFormat::Plane &plane,
                                         int64_t channel, LoadWords loadWords) {
  // Where parts are multiples of a lane's own channels, all lie in one.
  const int64_t number = plane.bytes % kOwn ? 1 : 2;
  Value size = b.index(plane.bytes);
  SmallVector<Value> words;
  for (int64_t first = 0; first < 2; first += number) {
    Value at =
        b.addI(b.mulI(within, b.index(kOwn)), b.index(channel + 4 * first));
    Value byte = b.addI(b.remU(at, size), b.index(plane.first));
    Value bits = b.toI32(b.mulI(b.divU(at, size), b.index(plane.bits)));
    for (int64_t i = 0; i < number; ++i) {
      Value word = loadWords(b.addI(byte, b.index(4 * i)), 1).front();
      words.push_back(arith::ShRUIOp::create(b, word, bits));
    }
  }
  return words;
}

SmallVector<Value> SketchScan::loadWhole(const SketchFormat::Plane &plane,
                                         int64_t start, LoadWords loadWords) {
  Value own = b.mulI(within, b.index(kOwn));
  if (plane.bytes % kChannels == 0)
    return loadWords(b.addI(own, b.index(start)), 2);
  // A plane of fewer bytes has several parts for the channels of a lane.
  Value size = b.index(plane.bytes);
  SmallVector<Value> words =
      loadWords(b.addI(b.remU(own, size), b.index(start)), 2);
  Value bits = b.toI32(b.mulI(b.divU(own, size), b.index(plane.bits)));
  for (Value &word : words)
    word = arith::ShRUIOp::create(b, word, bits);
  return words;
}

SmallVector<Value> SketchScan::loadCodes(LoadWords loadWords) {
  // Parts of a plane that lie in the same bytes are loaded once.
  llvm::MapVector<int64_t, SmallVector<Value>> loaded;
  SmallVector<Value> result;
  for (int64_t channel = 0; channel < format.paddedDim; channel += kChannels) {
    int64_t below = getBitsBelow(channel / format.group);
    std::array<Value, 2> codes;
    for (const SketchFormat::Plane &plane : format.planes) {
      int64_t to = below + plane.shift, left = to;
      SmallVector<Value> words;
      if (hasWholeParts(format, plane)) {
        bool isWide = plane.bytes % kChannels == 0;
        int64_t start = plane.first + (isWide ? channel % plane.bytes : 0);
        SmallVector<Value> &whole = loaded[start];
        if (whole.empty())
          whole = loadWhole(plane, start, loadWords);
        words = whole;
        left -= getFirstBit(plane, channel);
      } else {
        words = loadParts(plane, channel, loadWords);
      }
      int64_t ones = ((int64_t(1) << plane.bits) - 1) << to;
      for (auto [code, word] : llvm::zip_equal(codes, words)) {
        if (left > 0)
          word = arith::ShLIOp::create(b, word, b.i32(left));
        if (left < 0)
          word = arith::ShRUIOp::create(b, word, b.i32(-left));
        word = b.andI(word, b.i32(ones * 0x01010101));
        code = code ? b.orI(code, word) : word;
      }
    }
    result.append(codes.begin(), codes.end());
  }
  return result;
}

int64_t SketchScan::getBitsBelow(int64_t group) const {
  int64_t below = 0;
  for (int64_t i = 0; i < format.group; i += kChannels)
    for (const SketchFormat::Plane &plane : format.planes)
      if (hasWholeParts(format, plane))
        below = std::max(below, getFirstBit(plane, group * format.group + i) -
                                    plane.shift);
  return std::min(below, 8 - format.bits);
}
