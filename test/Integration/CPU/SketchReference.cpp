//===- SketchReference.cpp - Key sketches by their definition -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchReference.h"

#include <cmath>

using namespace vashista::test;

std::vector<double> Sketch::decode(int64_t page, int64_t kvHead,
                                   int64_t slot) const {
  int64_t padded = format.getPaddedDim(dim);
  std::vector<int64_t> found(padded, 0);
  // Planes of 8, 4, 2 and 1 bits, the high bits of a code first.
  int64_t first = 0, left = format.bits;
  for (int64_t width : {8, 4, 2, 1}) {
    if (left < width)
      continue;
    left -= width;
    int64_t bytes = padded * width / 8;
    for (int64_t channel = 0; channel < padded; ++channel) {
      int64_t byte =
          (*codes)(page, kvHead, slot, first + channel % bytes) & 0xff;
      int64_t some = byte >> (channel / bytes * width) & ((1 << width) - 1);
      found[channel] |= some << left;
    }
    first += bytes;
  }
  std::vector<double> result;
  for (int64_t channel = 0; channel < padded; ++channel)
    result.push_back((found[channel] - ((1 << format.bits) - 1) / 2.0) *
                     (*scales)(page, kvHead, slot, channel / format.group));
  return result;
}

std::vector<double> vashista::test::toSketchSpace(const SketchFormat &format,
                                                  const float *vector,
                                                  int64_t dim,
                                                  const float *centre) {
  int64_t padded = format.getPaddedDim(dim);
  std::vector<double> given(padded, 0);
  for (int64_t d = 0; d < dim; ++d)
    given[d] = static_cast<double>(vector[d]) - (centre ? centre[d] : 0.0f);
  if (!format.rotated)
    return given;
  // Blocks of powers of two, the largest first.
  std::vector<double> result;
  for (int64_t first = 0; first < padded;) {
    int64_t block = 1;
    while (2 * block <= padded - first)
      block *= 2;
    for (int64_t i = 0; i < block; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < block; ++j)
        sum += __builtin_parityll(i & j) ? -given[first + j] : given[first + j];
      result.push_back(sum / std::sqrt(static_cast<double>(block)));
    }
    first += block;
  }
  return result;
}

SketchProducts vashista::test::getProducts(const Sketch &sketch,
                                           const float *direction, int64_t page,
                                           int64_t kvHead, int64_t slot) {
  std::vector<double> w = toSketchSpace(sketch.format, direction, sketch.dim);
  std::vector<double> key = sketch.decode(page, kvHead, slot);
  SketchProducts result;
  std::vector<double> squares(sketch.format.getNumNorms(sketch.dim), 0);
  for (size_t i = 0; i < w.size(); ++i) {
    result.product += w[i] * key[i];
    result.sizes += std::fabs(w[i] * key[i]);
    squares[i / sketch.format.getNormSpan(sketch.dim)] += w[i] * w[i];
  }
  for (size_t g = 0; g < squares.size(); ++g)
    result.reach +=
        std::sqrt(squares[g]) * (*sketch.norms)(page, kvHead, slot, g);
  for (int64_t d = 0; sketch.centre && d < sketch.dim; ++d) {
    double term =
        static_cast<double>(direction[d]) * (*sketch.centre)(page, kvHead, d);
    result.product += term;
    result.sizes += std::fabs(term);
  }
  return result;
}
