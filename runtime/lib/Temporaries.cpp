//===- Temporaries.cpp - Memory for the temporaries of calls --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Temporaries.h"

#include <atomic>
#include <cstdlib>
#include <sys/mman.h>

using namespace vashista::runtime;

namespace {

/// Lies right before the memory that it describes.
struct Block {
  void *start; // as it was allocated
  uint64_t capacity;
};

} // namespace

/// Blocks of this size and more are kept; the C library maps them anew.
static constexpr uint64_t kLarge = uint64_t(1) << 20;
static constexpr uint64_t kHugePage = uint64_t(1) << 21;
static constexpr uint64_t kLine = 64;

/// One for each call that runs at a time, up to a few.
static std::atomic<Block *> kept[8];

static Block *getBlock(void *pointer) {
  return static_cast<Block *>(pointer) - 1;
}

static void *getMemory(Block *block) { return block + 1; }

static void *allocateBlock(uint64_t size, uint64_t align) {
  bool isLarge = size >= kLarge;
  // Room to grow: the next step sees one token more.
  uint64_t capacity = isLarge ? size + size / 8 : size;
  uint64_t before = align < kLine ? kLine : align;
  if (capacity < size || capacity > UINT64_MAX - before)
    return nullptr;
  void *start = nullptr;
  uint64_t total = before + capacity;
  if (posix_memalign(&start, isLarge && before < kHugePage ? kHugePage : before,
                     total))
    return nullptr;
  if (isLarge) // A hint: without huge pages it is only slower.
    (void)madvise(start, total, MADV_HUGEPAGE);
  void *memory = static_cast<char *>(start) + before;
  *getBlock(memory) = {start, capacity};
  return memory;
}

void *vashista::runtime::allocateTemporary(uint64_t size, uint64_t align) {
  if (size >= kLarge)
    for (std::atomic<Block *> &slot : kept) {
      Block *block = slot.exchange(nullptr, std::memory_order_acquire);
      if (!block)
        continue;
      bool isAligned =
          reinterpret_cast<uintptr_t>(getMemory(block)) % align == 0;
      // Nor does a call hold much more than it needs.
      if (isAligned && block->capacity >= size && block->capacity / 4 <= size)
        return getMemory(block);
      // One that is outgrown goes; one of quite another size is another
      // entry's, which is called again.
      bool isOutgrown = block->capacity < size && block->capacity >= size / 2;
      Block *none = nullptr;
      if (isOutgrown ||
          !slot.compare_exchange_strong(none, block, std::memory_order_release,
                                        std::memory_order_relaxed))
        free(block->start);
    }
  return allocateBlock(size, align);
}

void vashista::runtime::freeTemporary(void *pointer) {
  if (!pointer)
    return;
  Block *block = getBlock(pointer);
  if (block->capacity >= kLarge)
    for (std::atomic<Block *> &slot : kept) {
      Block *none = nullptr;
      if (slot.compare_exchange_strong(none, block, std::memory_order_release,
                                       std::memory_order_relaxed))
        return;
    }
  free(block->start);
}

void vashista::runtime::releaseTemporaries() {
  for (std::atomic<Block *> &slot : kept)
    if (Block *block = slot.exchange(nullptr, std::memory_order_acquire))
      free(block->start);
}
