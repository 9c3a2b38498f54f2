//===- CudaMachine.h - A GPU that runs entries ------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_CUDAMACHINE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_CUDAMACHINE_H

#include "Machine.h"

namespace vashista::bench::cuda {

/// A CUDA device, by its number. Entries are timed as replays of a graph, by
/// events.
Error makeMachine(int32_t number, std::unique_ptr<Machine> &machine);

} // namespace vashista::bench::cuda

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_CUDAMACHINE_H
