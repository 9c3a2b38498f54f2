//===- Buffer.cpp - Memory of tensors -------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Buffer.h"

#include <cstring>
#include <sys/mman.h>

using namespace vashista::tool;

bool Buffer::allocate(size_t size) {
  constexpr size_t cacheLine = 64, hugePage = size_t(2) << 20;
  bool isBig = size >= hugePage;
  void *pointer = nullptr;
  if (posix_memalign(&pointer, isBig ? hugePage : cacheLine, size ? size : 1))
    return false;
  memory.reset(static_cast<char *>(pointer));
  bytes = size;
  // Before the pages are touched. A wish: where it is not granted, pages are
  // small.
  if (isBig)
    madvise(pointer, size, MADV_HUGEPAGE);
  memset(pointer, 0, size);
  return true;
}
