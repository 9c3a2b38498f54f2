//===- SketchReference.h - Key sketches by their definition -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_SKETCHREFERENCE_H
#define VASHISTA_TEST_INTEGRATION_CPU_SKETCHREFERENCE_H

#include "Reference.h"

namespace vashista::test {

/// The parameters of `#vashista.sketch`.
struct SketchFormat {
  int64_t bits = 4, group = 32;
  bool rotated = false, centred = false, normPerToken = false;

  int64_t getPaddedDim(int64_t dim) const {
    return (dim + group - 1) / group * group;
  }
  int64_t getNumGroups(int64_t dim) const { return getPaddedDim(dim) / group; }
  /// Channels that a norm is of.
  int64_t getNormSpan(int64_t dim) const {
    return normPerToken ? getPaddedDim(dim) : group;
  }
  int64_t getNumNorms(int64_t dim) const {
    return normPerToken ? 1 : getNumGroups(dim);
  }
  int64_t getCodeBytes(int64_t dim) const {
    return getPaddedDim(dim) * bits / 8;
  }
};

/// A sketch, as it is stored: codes are bytes, norms +inf where unbounded.
struct Sketch {
  SketchFormat format;
  int64_t dim = 0;
  const Array<int32_t> *codes = nullptr; // [N, Hkv, S, bytes]
  const Array<float> *scales = nullptr;  // [N, Hkv, S, groups]
  /// Of groups or, [N, Hkv, S, 1], of tokens.
  const Array<float> *norms = nullptr;
  const Array<float> *centre = nullptr; // [N, Hkv, D] or none

  /// The padded channels that a token's codes stand for.
  std::vector<double> decode(int64_t page, int64_t kvHead, int64_t slot) const;
};

/// The padded, rotated vector of a direction, or of a key minus `centre`.
std::vector<double> toSketchSpace(const SketchFormat &format,
                                  const float *vector, int64_t dim,
                                  const float *centre = nullptr);

/// What a sketch says of a token for a direction: `<w, decoded>`, the same by
/// size of its terms, and `sum norm(w_g) norms_g`.
struct SketchProducts {
  double product = 0, sizes = 0, reach = 0;
};
SketchProducts getProducts(const Sketch &sketch, const float *direction,
                           int64_t page, int64_t kvHead, int64_t slot);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_SKETCHREFERENCE_H
