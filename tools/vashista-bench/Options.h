//===- Options.h - The command line of vashista-bench -----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_OPTIONS_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_OPTIONS_H

#include "Sketch.h"

#include "vashista_runtime.h"

namespace vashista::bench {

struct Options {
  // The problem, in the names of the dialect's documentation.
  int64_t batch = 1;
  int64_t heads = 32;
  int64_t kvHeads = 8;
  int64_t headDim = 128;
  int64_t valueDim = 0; // 0: as headDim
  int64_t pageSize = 16;
  int64_t context = 131072;
  std::string dtype = "bf16";
  /// Prefix of PREFIX.q.npy, PREFIX.k.npy and PREFIX.v.npy; empty: generated.
  std::string trace;
  std::string data; // gauss or needle; empty: by the target, until completed
  double need = 0;  // 0: not given, until completed
  std::string table = "shuffled";
  int64_t seed = 1;

  // The policy; -1 where it is not given, until completed.
  int64_t pages = -1;
  int64_t candidates = -1;
  int64_t sinks = 4;
  int64_t window = 64;
  std::string summary = "mean_std";
  Sketch sketch;
  std::string target; // tau or output_error; empty: nothing is certified
  double tolerance = 0;
  int64_t rounds = -1;
  /// Tokens per KV head of the step without a certificate; 0: as many as the
  /// certified one attends.
  int64_t uncertified = 0;
  /// What the step under this policy is called.
  std::string step = "sparse";

  // The measurement.
  std::string artefact; // empty: it is compiled
  DLDevice device = {kDLCPU, 0};
  int64_t repeat = 9;
  int64_t threads = 0; // 0: the CPUs that the process may use
  bool isChecked = false;
  bool verify = false;
  bool crossover = false;
  bool json = false;
  bool printGraph = false;
  bool brief = false;
  bool tune = false;
  std::string tuned; // the file of what was tuned
  bool help = false;
  bool version = false;

  bool isCertified() const { return !target.empty(); }
  bool routes() const { return pages > 0; }
  bool selects() const { return candidates > 0; }
  /// A proof sizes the list; else it is as long as it may be.
  bool isProving() const { return target == "tau"; }
  int64_t getGroup() const { return heads / kvHeads; }
};

extern const char helpText[];

Error parseOptions(int argc, char **argv, Options &options);

/// Sets what was not given, once sizes are known, and verifies that options go
/// together.
Error completeOptions(Options &options);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_OPTIONS_H
