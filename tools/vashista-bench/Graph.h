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

/// An entry of a module: what prepares a step, a step, or a stage of a step.
/// Values are called by name; what a stage results in is there for those after
/// it, and an argument of the same name is written in place.
struct Entry {
  enum Kind { preparation, step, stage };
  Kind kind;
  std::string name, title;
  std::vector<std::string> results;
  std::string text; // the function
  /// Of a stage: the round that it belongs to.
  int64_t round = 1;
  /// The function's name: the entry's, but for a stage of a step without a
  /// certificate, which may be in one module with that of another.
  std::string function = "";
};

/// The parts of a page summary and of a key sketch, in the dialect's order.
std::vector<std::string> getSummaryParts(const Options &options);
std::vector<std::string> getSketchParts(const Options &options);

/// `summarize`, where something is kept beside the cache, and `dense`.
std::vector<Entry> getCommonEntries(const Options &options, bool sharesRows);
/// The step under the options' policy, then the stages that it is made of.
/// `sharesRows`: rows name their sequence, as those of a trace do.
std::vector<Entry> getStepEntries(const Options &options, bool sharesRows);

/// `<pages = 64, ...>`, of the options' step.
std::string getPolicy(const Options &options);

/// The module, as a user would write it.
std::string getModule(const std::vector<Entry> &entries);

/// The step without a certificate: as many tokens per KV head as are given, the
/// best by the sketch's scores.
Options getUncertified(const Options &options, int64_t candidates);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_GRAPH_H
