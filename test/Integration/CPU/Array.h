//===- Array.h - Dense arrays of test data -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_ARRAY_H
#define VASHISTA_TEST_INTEGRATION_CPU_ARRAY_H

#include <cassert>
#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

namespace vashista::test {

using Shape = std::vector<int64_t>;

inline int64_t getNumElements(const Shape &shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1),
                         std::multiplies<int64_t>());
}

/// A dense array in row-major order.
template <typename T> struct Array {
  Array() = default;
  explicit Array(Shape shape, T value = T())
      : shape(std::move(shape)), data(getNumElements(this->shape), value) {}

  template <typename... Indices> size_t offset(Indices... indices) const {
    assert(sizeof...(indices) == shape.size() && "wrong rank");
    size_t result = 0, dim = 0;
    for (int64_t index : {static_cast<int64_t>(indices)...}) {
      assert(index >= 0 && index < shape[dim] && "out of bounds");
      result = result * shape[dim++] + index;
    }
    return result;
  }
  template <typename... Indices> T &operator()(Indices... indices) {
    return data[offset(indices...)];
  }
  template <typename... Indices> const T &operator()(Indices... indices) const {
    return data[offset(indices...)];
  }

  Shape shape = {0};
  std::vector<T> data;
};

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_ARRAY_H
