//===- Work.h - What has to be read and multiplied ---------------*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_WORK_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_WORK_H

#include "Graph.h"
#include "Problem.h"

namespace vashista::bench {

/// What an entry has to read and to multiply, whoever computes it.
struct Work {
  /// Keys, values and what is kept beside them.
  double bytes = 0;
  /// What an earlier stage made. A step that is one kernel never writes it.
  double passedBytes = 0;
  double multiplyAdds = 0;
};

/// Of `summarize`, `dense` and the stages of a step, after they have run: how
/// much lists and flags ask for depends on the data. Each row counts what it
/// reads, though rows may share a sequence.
Work getWork(const Options &options, Problem &problem, const Entry &entry);

/// Of a step, whose stages do what is given.
Work getStepWork(const Options &options, Problem &problem,
                 const std::vector<Work> &stages);

/// Bytes of a key and a value, over all KV heads.
double getTokenBytes(const Options &options);
/// Bytes of the sketch of a token, its share of a centre included, over all KV
/// heads.
double getSketchBytes(const Options &options);

/// How many tokens the lists of a step hold in a round, for each row and KV
/// head.
const int32_t *getTokenCounts(const Options &options, Problem &problem,
                              int64_t round);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_WORK_H
