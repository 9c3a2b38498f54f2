//===- Roofs.h - What the machine can do at most -------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_ROOFS_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_ROOFS_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace vashista::bench {

/// Runs `work(0)` to `work(n - 1)` at once, each on a thread of its own.
void runThreads(unsigned n, const std::function<void(unsigned)> &work);

struct Span {
  const char *data;
  size_t bytes;
};

/// Seconds to read memory once: the best of streams that threads walk from
/// shared or from separate starts. Whole cache lines only.
double measureRead(const std::vector<Span> &spans, unsigned numThreads);

/// f32 multiply-adds per second of all threads, in registers.
double measureMultiplyAdds(unsigned numThreads);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_ROOFS_H
