//===- MomentReference.h - Second moments by their definition ---*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_MOMENTREFERENCE_H
#define VASHISTA_TEST_INTEGRATION_CPU_MOMENTREFERENCE_H

#include "SketchReference.h"

namespace vashista::test {

/// The least second moment of tokens, in float64, of the kind that kernels
/// make: `sum (33 / 32) r r' + 33 b^2`, b being what a score may be off.
class Moments {
public:
  explicit Moments(int64_t channels)
      : sum({channels, channels}, 0.0), channels(channels) {}

  /// Adds a token, unless a residual norm of it is infinite.
  void add(const Sketch &sketch, const Cache &keys, int64_t page,
           int64_t kvHead, int64_t slot);
  double getTrace() const;
  double get(int64_t i, int64_t j) const {
    return sum(i, j) + (i == j ? room : 0.0);
  }
  /// Whether a symmetric matrix is at least this one, but for 2^-30 of the
  /// traces.
  bool isBoundedBy(const float *matrix) const;

private:
  Array<double> sum;
  int64_t channels;
  double room = 0;
};

/// Whether no residual norm of a token is infinite.
bool isBounded(const Sketch &sketch, int64_t page, int64_t kvHead,
               int64_t slot);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_MOMENTREFERENCE_H
