//===- Graph.h - The modules that are measured ------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_GRAPH_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_GRAPH_H

#include "Options.h"

#include <vector>

namespace vashista::bench {

/// An entry of the module: a step, or a stage of the sparse one. Values are
/// called by name; a stage's results are arguments of later ones.
struct Stage {
  std::string entry, title;
  std::vector<std::string> arguments, results;
};

/// The parts of a page summary, in the dialect's order.
std::vector<std::string> getSummaryParts(const Options &options);

/// Entries of the module: `summarize`, which prepares, `dense`, `sparse`, then
/// the stages that the sparse step is made of.
std::vector<Stage> getStages(const Options &options);

/// The module, as a user would write it. `sharesRows`: rows name their
/// sequence, as those of a trace do.
std::string getGraph(const Options &options, bool sharesRows);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_GRAPH_H
