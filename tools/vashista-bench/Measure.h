//===- Measure.h - Times steps and stages -------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_MEASURE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_MEASURE_H

#include "Certificate.h"
#include "Graph.h"
#include "Machine.h"
#include "Work.h"

namespace vashista::bench {

struct Timing {
  double median = 0, best = 0; // seconds
};

struct EntryResult {
  Entry entry;
  std::string step; // that it is, or is a stage of
  Work work;
  Timing timing;
  std::optional<Timing> checked;
  std::optional<Accuracy> accuracy;
};

struct Results {
  unsigned numThreads = 0;
  /// What ran it, and on a GPU which of an artefact's kernels.
  std::string processor, details, device, architecture;
  /// Roofs of this run: bytes and multiply-adds per second, medians.
  double readBandwidth = 0, multiplyAddRate = 0;
  /// What prepares, dense, then each step and its stages; with a target, the
  /// step without a certificate last.
  std::vector<EntryResult> entries;
  std::optional<Certificate> certificate;
  /// Tokens that the step without a certificate attends per KV head.
  int64_t uncertifiedTokens = 0;

  /// Null if it was not measured.
  const EntryResult *find(const std::string &entry) const;
};

/// Compiles the steps, unless they are, runs them in turns with the roofs, and
/// compares.
Error measure(const Options &options, Machine &machine, Problem &problem,
              Results &results);

/// A context and what a step took at it.
struct CrossoverPoint {
  int64_t context;
  Results results;
};

/// Measures at contexts that double from 1024 on, the longest first; what was
/// measured at the whole context is given. Points are in ascending order.
Error measureCrossover(const Options &given, Machine &machine,
                       const Results &whole, Problem &problem,
                       std::vector<CrossoverPoint> &points);

/// The context from which on a step is faster than the dense one: between two
/// that were measured on a straight line of the logarithms. The first of the
/// points if it is always, 0 if it is not at the last.
double findCrossover(const std::vector<CrossoverPoint> &points,
                     const std::string &step);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_MEASURE_H
