//===- ProjectionReference.h - Projections solved in f64 -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The projection objective, min scale norm(q - K'a)^2 / 2 - epsilon H(a), by
// methods that have nothing in common with the kernels': Newton's on the dual,
// and Wolfe's for the nearest point of a hull where epsilon = 0.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_PROJECTIONREFERENCE_H
#define VASHISTA_TEST_INTEGRATION_CPU_PROJECTIONREFERENCE_H

#include <cstdint>
#include <vector>

namespace vashista::test {

struct Projection {
  std::vector<const float *> keys;
  const float *query = nullptr;
  int64_t dim = 0;
  double scale = 1, epsilon = 1;

  bool hasEntropy() const { return epsilon > 0; }
  /// scale <w, k> / epsilon of each key; without an entropy, undivided.
  std::vector<double> getLogits(const std::vector<double> &direction) const;
  /// The log-sum-exp of the logits; without an entropy, the largest.
  double getLse(const std::vector<double> &direction) const;
  /// K'a.
  std::vector<double> getPoint(const std::vector<double> &weights) const;
  /// The primal value of the weights less the dual value of a direction, over
  /// all keys. Exactly as defined: nothing is assumed of either.
  double getGap(const std::vector<double> &weights,
                const std::vector<double> &direction) const;
};

struct Solution {
  std::vector<double> weights, residual;
  /// Of the weights and the residual: how well this is solved.
  double gap = 0;
};

/// Of at least one key, from a first residual.
Solution solve(const Projection &problem, const std::vector<double> &residual);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_PROJECTIONREFERENCE_H
