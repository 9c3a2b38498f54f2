//===- Report.h - Prints what was measured ------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_REPORT_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_REPORT_H

#include "Measure.h"

namespace vashista::bench {

/// A table for people. `crossover` may be empty.
std::string writeTable(const Options &options, const Results &results,
                       const std::vector<CrossoverPoint> &crossover);
/// One JSON object, in seconds, bytes and bytes per second.
std::string writeJson(const Options &options, const Results &results,
                      const std::vector<CrossoverPoint> &crossover);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_REPORT_H
