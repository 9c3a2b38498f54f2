//===- CudaKernels.h - Kernels that measure a GPU itself --------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_CUDAKERNELS_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_CUDAKERNELS_H

#include <cstdint>

namespace vashista::bench::cuda {

/// PTX, which the driver compiles: read(memory, rounds), multiply(memory,
/// rounds), of blocks of numThreads, and pause(nanoseconds), of one thread.
/// Memory is zeros, and stays so.
extern const char kernels[];

constexpr unsigned numThreads = 256;
/// What a thread reads, and a warp multiplies, in a round.
constexpr uint64_t threadBytes = 4 * 16;
constexpr uint64_t warpMultiplyAdds = 8 * 16 * 8 * 16;

} // namespace vashista::bench::cuda

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_CUDAKERNELS_H
