//===- Measure.h - Times steps and stages -------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_MEASURE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_MEASURE_H

#include "Graph.h"
#include "Problem.h"
#include "Reference.h"

#include <optional>

namespace vashista::bench {

/// What a stage has to read and to multiply, whoever computes it.
struct Work {
  double bytes = 0;
  double multiplyAdds = 0;
};

struct Timing {
  double median = 0, best = 0; // seconds
};

struct StageResult {
  std::string entry, title;
  /// A step of its own, not a stage of the sparse one.
  bool isStep = false;
  Work work;
  Timing timing;
  std::optional<Timing> checked;
  std::optional<Accuracy> accuracy;
};

struct Results {
  unsigned numThreads = 0;
  /// Roofs of this run: bytes and multiply-adds per second, medians.
  double readBandwidth = 0, multiplyAddRate = 0;
  double seconds = 0; // spent on all of this
  std::vector<StageResult> stages;
};

/// Compiles the graph, runs it in turns with the roofs, and compares.
Error measure(const Options &options, Problem &problem, Results &results);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_MEASURE_H
