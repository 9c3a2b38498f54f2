//===- Reference.h - Attention in float64 -----------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_REFERENCE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_REFERENCE_H

#include "Problem.h"

namespace vashista::bench {

/// Attention over every visible token, in double, of the inputs as stored.
struct Reference {
  std::vector<double> o;   // [R, H, Dv]
  std::vector<double> lse; // [R, H]
  /// Of attention over the tokens of lists alone: the share of the mass that it
  /// misses, and the norm of the error of its output. [R, H], if lists are
  /// given.
  std::vector<double> missed, error;
};
/// `lists`: names of lists of tokens.
Reference computeReference(const Options &options, Problem &problem,
                           const std::vector<std::string> &lists,
                           unsigned numThreads);

/// How far a step is from the reference.
struct Accuracy {
  /// Largest and root-mean-square difference of an output element, and the
  /// root-mean-square of the reference's.
  double maxError = 0, rmsError = 0, rmsOutput = 0;
  /// Mean and largest mass, over rows and heads, that was not attended: 1 -
  /// exp(lse - reference lse), at least 0.
  double meanMissed = 0, maxMissed = 0;
};
Accuracy compare(const Reference &reference, const Tensor &o,
                 const Tensor &lse);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_REFERENCE_H
