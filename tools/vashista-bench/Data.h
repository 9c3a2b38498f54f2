//===- Data.h - Generated queries, keys and values --------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_DATA_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_DATA_H

#include "Problem.h"

namespace vashista::bench {

/// Another number for each number, as good as random.
uint64_t mix(uint64_t x);

/// With needles: the share of the tokens that a KV head needs, about.
double getNeed(const Options &options, int64_t kvHead);

/// Fills q, k and v. A number depends on the seed and its position alone.
void generateData(const Options &options, Problem &problem);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_DATA_H
