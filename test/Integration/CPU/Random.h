//===- Random.h - Random numbers that a seed repeats everywhere -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_RANDOM_H
#define VASHISTA_TEST_INTEGRATION_CPU_RANDOM_H

#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <utility>
#include <vector>

namespace vashista::test {

/// The standard's engines are the same in every library, its distributions are
/// not.
class Random {
public:
  explicit Random(std::initializer_list<uint64_t> seeds) {
    // splitmix64 of each seed in turn.
    uint64_t state = 0;
    for (uint64_t seed : seeds) {
      state = (state ^ seed) + 0x9e3779b97f4a7c15;
      state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
      state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
      state ^= state >> 31;
    }
    engine.seed(state);
  }

  uint64_t bits() { return engine(); }
  /// An integer from first to last, both included.
  int64_t integer(int64_t first, int64_t last) {
    assert(first <= last && "empty range");
    return first + static_cast<int64_t>(bits() % (last - first + 1));
  }
  bool chance(double probability) {
    return static_cast<double>(bits() >> 11) * 0x1p-53 < probability;
  }
  /// About a standard normal number: a sum of four uniform ones.
  float normal() {
    uint64_t parts = bits();
    int32_t sum = -131070;
    for (int i = 0; i < 4; ++i)
      sum += static_cast<int32_t>((parts >> (16 * i)) & 0xffff);
    return static_cast<float>(sum) * (1.7320508f / 65536.0f);
  }
  template <typename T> T pick(std::initializer_list<T> values) {
    return values.begin()[integer(0, values.size() - 1)];
  }
  template <typename T> void shuffle(std::vector<T> &values) {
    for (size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[integer(0, i - 1)]);
  }

private:
  std::mt19937_64 engine;
};

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_RANDOM_H
