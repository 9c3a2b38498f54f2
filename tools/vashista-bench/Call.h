//===- Call.h - An entry with its arguments ---------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_CALL_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_CALL_H

#include "Graph.h"
#include "Problem.h"

namespace vashista::bench {

double now();

/// An entry with its arguments and with memory for its results.
class Call {
public:
  virtual ~Call() = default;

  /// Makes room for results, by what the artefact says of their sizes. Those of
  /// a stage are `STEP/NAME`, known by their own names to later stages of the
  /// step; those of a step are `STEP.NAME`.
  Error bind(const vashista_module *module, const Entry &entry,
             const std::string &step, Problem &problem);
  /// Until it is done, and how long that took.
  virtual Error run(bool checked, double &seconds) = 0;

protected:
  Error call(const vashista_call_options &options);
  Error measureWorkspace(size_t &bytes);

private:
  const vashista_module *module = nullptr;
  uint32_t entry = 0;
  std::vector<DLTensor *> arguments, results;
};

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_CALL_H
