//===- Certificate.h - What certificates say, and whether it is so -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_CERTIFICATE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_CERTIFICATE_H

#include "Reference.h"

#include <optional>

namespace vashista::bench {

/// What a certified step did, of rows (a query head of a sequence) and groups
/// (the query heads of a KV head).
struct Certificate {
  int64_t rows = 0, groups = 0;
  /// Rows within the tolerance before any falls back; groups that fell back,
  /// and that picked more than once.
  int64_t certified = 0, fellBack = 0, pickedAgain = 0;
  /// Tokens in the lists of all rounds, per group.
  double meanTokens = 0, mostTokens = 0;
  /// Of the tokens that a group sees.
  double share = 0;
  double meanTau = 0;

  /// Against float64.
  struct Truth {
    /// Certificates that are below the truth, in tau or in the error.
    int64_t falseOnes = 0;
    double meanMissed = 0, mostMissed = 0, mostError = 0;
  };
  std::optional<Truth> truth;
};

/// Names of the lists of all rounds.
std::vector<std::string> getLists(const Options &options);

/// Of what the stages of a certified step left.
Certificate readCertificate(const Options &options, Problem &problem,
                            const Reference *reference);

/// Fails unless the stages of a step made what the step made: the same bits on
/// a CPU, about the same output on a device, where stages that a step does in
/// one kernel may be added up in another order.
Error compareStages(const Options &options, Problem &problem);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_CERTIFICATE_H
