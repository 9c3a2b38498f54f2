//===- SketchFormat.cpp - How a key sketch lies in memory -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchFormat.h"

#include "RowVectors.h"
#include "UpperBounds.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace vashista;

SketchFormat::SketchFormat(SketchAttr sketch, int64_t keyDim)
    : keyDim(keyDim), bits(sketch.getBits()), group(sketch.getGroup()),
      paddedDim(sketch.getNumGroups(keyDim) * sketch.getGroup()),
      numGroups(sketch.getNumGroups(keyDim)),
      codeBytes(sketch.getCodeBytes(keyDim)),
      rotated(sketch.getRotation() == SketchRotation::hadamard),
      centred(sketch.getCentre() == SketchCentre::page),
      normPerToken(sketch.getNorm() == SketchNorm::token) {
  int64_t left = bits, first = 0;
  for (int64_t width : {8, 4, 2, 1}) {
    if (left < width)
      continue;
    left -= width;
    int64_t bytes = paddedDim * width / 8;
    planes.push_back({width, left, first, bytes});
    first += bytes;
  }
}

double SketchFormat::getMostPerScale() const {
  return getMiddle() * std::sqrt(static_cast<double>(group));
}

double SketchFormat::getResidualPerScale() const {
  return std::sqrt(static_cast<double>(group)) / 2;
}

double SketchFormat::getScoreRounding() const {
  double channels = static_cast<double>(paddedDim);
  return std::sqrt(channels) * 0x1p-16 + (channels + 24) * 0x1p-22;
}

double SketchFormat::getCentreRounding() const {
  return static_cast<double>(keyDim + 8) * 0x1p-22;
}

SmallVector<int64_t> SketchFormat::getRotationBlocks() const {
  SmallVector<int64_t> blocks;
  for (int64_t left = paddedDim; left > 0; left -= blocks.back())
    blocks.push_back(static_cast<int64_t>(llvm::bit_floor<uint64_t>(left)));
  return blocks;
}

int64_t SketchFormat::getLanes(int64_t lanes) const {
  for (const Plane &plane : planes)
    lanes = std::min(lanes, plane.bytes & -plane.bytes);
  return lanes;
}

int64_t SketchFormat::getSegment() const {
  int64_t channels = group;
  for (const Plane &plane : planes)
    channels = std::gcd(channels, plane.bytes);
  return channels;
}

/// One level of the fast Hadamard transform within vectors: each element and
/// its partner, `distance` away, become their sum and their difference.
static Value addAndSubtract(KernelBuilder &b, Value vector, int64_t distance) {
  auto type = cast<VectorType>(vector.getType());
  SmallVector<int64_t> partners;
  SmallVector<double> signs;
  for (int64_t i = 0; i < type.getDimSize(0); ++i) {
    partners.push_back(i ^ distance);
    signs.push_back(i & distance ? -1.0 : 1.0);
  }
  Value sign = arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, ArrayRef<double>(signs)));
  return b.addF(b.shuffle(vector, vector, partners), b.mulF(vector, sign));
}

void vashista::rotate(KernelBuilder &b, const SketchFormat &format,
                      Value vector) {
  // Padded dims are multiples of 16: so are blocks.
  constexpr int64_t kWidth = 8;
  auto type = VectorType::get({kWidth}, b.getF64Type());
  auto load = [&](Value at) -> Value {
    return vector::LoadOp::create(b, type, vector, at);
  };
  int64_t first = 0;
  for (int64_t block : format.getRotationBlocks()) {
    Value begin = b.index(first), end = b.index(first + block);
    Value factor = arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, 1.0 / std::sqrt(double(block))));
    b.forLoop(begin, end, kWidth, [&](Value at) {
      Value values = b.mulF(load(at), factor);
      for (int64_t distance = 1; distance < kWidth; distance *= 2)
        values = addAndSubtract(b, values, distance);
      b.storeVector(values, vector, at);
    });
    for (int64_t distance = kWidth; distance < block; distance *= 2)
      b.forLoop(begin, end, 2 * distance, [&](Value start) {
        b.forLoop(b.index(0), b.index(distance), kWidth, [&](Value i) {
          Value low = b.addI(start, i), high = b.addI(low, b.index(distance));
          Value x = load(low), y = load(high);
          b.storeVector(b.addF(x, y), vector, low);
          b.storeVector(b.subF(x, y), vector, high);
        });
      });
    first += block;
  }
}

void vashista::loadDirection(KernelBuilder &b, const SketchFormat &format,
                             Value direction, Value row, Value head, Value to) {
  int64_t dim = format.keyDim, width = getLargestDivisor(dim, 8);
  b.forLoop(b.index(0), b.index(dim), width, [&](Value channel) {
    Value w = b.loadVector(direction, {row, head, channel}, width);
    b.storeVector(widen(b, w), to, channel);
  });
  b.forLoop(b.index(dim), b.index(format.paddedDim), 1,
            [&](Value channel) { b.store(f64(b, 0.0), to, channel); });
  if (format.rotated)
    rotate(b, format, to);
}
