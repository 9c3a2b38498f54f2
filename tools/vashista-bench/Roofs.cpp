//===- Roofs.cpp - What the machine can do at most -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Roofs.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

using namespace vashista::bench;

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void vashista::bench::runThreads(unsigned n,
                                 const std::function<void(unsigned)> &work) {
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < n; ++i)
    threads.emplace_back([&work, i] { work(i); });
  work(0);
  for (std::thread &thread : threads)
    thread.join();
}

/// One line of the cache.
typedef uint64_t Line __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));

// The widest instructions of the machine, as the measured code has them.
#if defined(__x86_64__)
#define WIDEST                                                                 \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST
#endif

/// Sums lines; several sums, so that additions do not wait for each other. The
/// streams lie apart: hardware prefetches each by itself.
WIDEST static uint64_t readLines(const char *data, size_t numLines) {
  constexpr size_t numStreams = 4;
  const size_t part = numLines / numStreams;
  const Line *lines = reinterpret_cast<const Line *>(data);
  Line sums[2 * numStreams] = {};
  for (size_t i = 0; i + 2 <= part; i += 2)
    for (size_t s = 0; s < numStreams; ++s) {
      const Line *at = lines + s * part + i;
      __builtin_prefetch(at + 64, 0, 2);
      __builtin_prefetch(at + 65, 0, 2);
      sums[2 * s] += at[0];
      sums[2 * s + 1] += at[1];
    }
  uint64_t total = 0;
  for (const Line &sum : sums)
    for (unsigned i = 0; i < 8; ++i)
      total += sum[i];
  return total;
}

/// One stream, left to the hardware.
WIDEST static uint64_t readStream(const char *data, size_t numLines) {
  const Line *lines = reinterpret_cast<const Line *>(data);
  Line sums[8] = {};
  for (size_t i = 0; i + 8 <= numLines; i += 8)
    for (size_t j = 0; j < 8; ++j)
      sums[j] += lines[i + j];
  uint64_t total = 0;
  for (const Line &sum : sums)
    for (unsigned i = 0; i < 8; ++i)
      total += sum[i];
  return total;
}

static volatile uint64_t sink;

double vashista::bench::measureRead(const std::vector<Span> &spans,
                                    unsigned numThreads) {
  double best = 0;
  for (auto *read : {readLines, readStream}) {
    double start = now();
    runThreads(numThreads, [&](unsigned thread) {
      uint64_t total = 0;
      for (const Span &span : spans) {
        size_t lines = span.bytes / sizeof(Line);
        size_t begin = lines * thread / numThreads;
        size_t end = lines * (thread + 1) / numThreads;
        total += read(span.data + begin * sizeof(Line), end - begin);
      }
      sink = total;
    });
    double seconds = now() - start;
    best = best == 0 ? seconds : std::min(best, seconds);
  }
  return best;
}

WIDEST static float multiplyAdd(int64_t count) {
  constexpr unsigned numSums = 12;
  Floats sums[numSums], factor = {}, addend = {};
  for (unsigned i = 0; i < 16; ++i) {
    factor[i] = 0.999f;
    addend[i] = 0.001f;
  }
  for (Floats &sum : sums)
    sum = addend;
  for (int64_t i = 0; i < count; ++i)
    for (Floats &sum : sums)
      sum = sum * factor + addend;
  float total = 0;
  for (const Floats &sum : sums)
    for (unsigned i = 0; i < 16; ++i)
      total += sum[i];
  return total;
}

double vashista::bench::measureMultiplyAdds(unsigned numThreads) {
  constexpr int64_t count = 1 << 19;
  double start = now();
  runThreads(numThreads, [&](unsigned) {
    uint64_t bits = 0;
    float total = multiplyAdd(count);
    memcpy(&bits, &total, sizeof(total));
    sink = bits;
  });
  return count * 12.0 * 16.0 * numThreads / (now() - start);
}
