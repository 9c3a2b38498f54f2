//===- Options.h - The command line of vashista-bench -----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_OPTIONS_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_OPTIONS_H

#include "Error.h"

#include "vashista_runtime.h"

#include <string>

namespace vashista::bench {

using tool::Error;

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
  /// Prefix of PREFIX.q.npy, PREFIX.k.npy and PREFIX.v.npy; empty: random.
  std::string trace;
  std::string table = "shuffled";
  int64_t seed = 1;

  // The policy.
  int64_t pages = 64;
  int64_t candidates = 128;
  int64_t sinks = 4;
  int64_t window = 64;
  std::string summary = "mean_std";

  // The measurement.
  int64_t repeat = 9;
  int64_t threads = 0; // 0: the CPUs that the process may use
  bool isChecked = false;
  bool verify = false;
  bool json = false;
  bool printGraph = false;
  bool brief = false;
  bool help = false;
  bool version = false;
};

extern const char helpText[];

Error parseOptions(int argc, char **argv, Options &options);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_OPTIONS_H
