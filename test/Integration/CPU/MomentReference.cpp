//===- MomentReference.cpp - Second moments by their definition -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MomentReference.h"

#include <cmath>

using namespace vashista::test;

bool vashista::test::isBounded(const Sketch &sketch, int64_t page,
                               int64_t kvHead, int64_t slot) {
  for (int64_t n = 0; n < sketch.format.getNumNorms(sketch.dim); ++n)
    if (!std::isfinite((*sketch.norms)(page, kvHead, slot, n)))
      return false;
  return true;
}

void Moments::add(const Sketch &sketch, const Cache &keys, int64_t page,
                  int64_t kvHead, int64_t slot) {
  if (!isBounded(sketch, page, kvHead, slot))
    return;
  const float *centre =
      sketch.centre ? &(*sketch.centre)(page, kvHead, 0) : nullptr;
  std::vector<double> left = toSketchSpace(
      sketch.format, keys.get(page, kvHead, slot), sketch.dim, centre);
  std::vector<double> decoded = sketch.decode(page, kvHead, slot);
  double decodedSquare = 0, centreSquare = 0;
  for (int64_t i = 0; i < channels; ++i) {
    left[i] -= decoded[i];
    decodedSquare += decoded[i] * decoded[i];
  }
  for (int64_t d = 0; centre && d < sketch.dim; ++d)
    centreSquare += static_cast<double>(centre[d]) * centre[d];
  for (int64_t i = 0; i < channels; ++i)
    for (int64_t j = 0; j < channels; ++j)
      sum(i, j) += 33.0 / 32 * left[i] * left[j];
  double n = static_cast<double>(channels);
  double off =
      (std::sqrt(n) * 0x1p-16 + (n + 24) * 0x1p-22) * std::sqrt(decodedSquare) +
      (sketch.dim + 8) * 0x1p-22 * std::sqrt(centreSquare);
  room += 33 * off * off;
}

double Moments::getTrace() const {
  double trace = 0;
  for (int64_t i = 0; i < channels; ++i)
    trace += get(i, i);
  return trace;
}

bool Moments::isBoundedBy(const float *matrix) const {
  // The difference has a Cholesky decomposition.
  double trace = getTrace();
  for (int64_t i = 0; i < channels; ++i)
    trace += matrix[i * channels + i];
  std::vector<double> lower(channels * channels, 0);
  for (int64_t j = 0; j < channels; ++j)
    for (int64_t i = j; i < channels; ++i) {
      double rest = matrix[i * channels + j] - get(i, j);
      if (i == j)
        rest += 0x1p-30 * trace;
      for (int64_t k = 0; k < j; ++k)
        rest -= lower[i * channels + k] * lower[j * channels + k];
      if (i == j && !(rest >= 0))
        return false;
      double pivot = lower[j * channels + j];
      lower[i * channels + j] = i == j      ? std::sqrt(rest)
                                : pivot > 0 ? rest / pivot
                                            : 0;
    }
  return true;
}
