//===- Buffer.h - Memory of tensors -----------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_BUFFER_H
#define VASHISTA_TOOLS_COMMON_BUFFER_H

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace vashista::tool {

/// Zeros, aligned to a cache line and, where they are many, on huge pages.
class Buffer {
public:
  /// False when there is no such memory.
  bool allocate(size_t size);

  char *data() const { return memory.get(); }
  size_t size() const { return bytes; }

private:
  struct Free {
    void operator()(char *pointer) const { free(pointer); }
  };

  std::unique_ptr<char, Free> memory;
  size_t bytes = 0;
};

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_BUFFER_H
