//===- Tune.h - Searches schedules ------------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_TUNE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_TUNE_H

#include "Machine.h"

namespace vashista::bench {

/// Searches schedules of the dense step and of the options' step by measuring
/// them, says on standard output what it finds, and writes the module with the
/// best ones to the file that the options name.
Error tune(const Options &options, Machine &machine, Problem &problem);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_TUNE_H
