//===- kernels.c - A payload for the tests of vashista-run ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista_artefact.h"

#include <string.h>

static const vashista_host *host;

void vashista_bind(const vashista_host *given) { host = given; }

typedef struct {
  void *allocated;
  void *aligned;
  int64_t offset;
  int64_t extents[];
} memref;

static void *data(void *descriptor) { return ((memref *)descriptor)->aligned; }
static int64_t extent(void *descriptor, int i) {
  return ((memref *)descriptor)->extents[i];
}

// (x: ?x?xT) -> ?x?xT: the same, of elements of so many bytes.
static void copy(void **descriptors, int64_t bytes) {
  int64_t count = extent(descriptors[0], 0) * extent(descriptors[0], 1);
  if (count > 0)
    memcpy(data(descriptors[1]), data(descriptors[0]), (size_t)(count * bytes));
}
void copy1(void **descriptors) { copy(descriptors, 1); }
void copy2(void **descriptors) { copy(descriptors, 2); }
void copy4(void **descriptors) { copy(descriptors, 4); }
void copy8(void **descriptors) { copy(descriptors, 8); }

// (sum: ?xbf16 written, x: ?xf32): adds to the upper half of f32.
void accumulate(void **descriptors) {
  uint16_t *sums = data(descriptors[0]);
  const float *x = data(descriptors[1]);
  for (int64_t i = 0; i < extent(descriptors[0], 0); ++i) {
    uint32_t bits = (uint32_t)sums[i] << 16;
    float sum;
    memcpy(&sum, &bits, 4);
    sum += x[i];
    memcpy(&bits, &sum, 4);
    sums[i] = (uint16_t)(bits >> 16);
  }
}

// () -> i64: one more each time.
void count(void **descriptors) {
  static int64_t calls;
  *(int64_t *)data(descriptors[0]) = ++calls;
}

// (sum: i64 written, state: i64): one more each time.
void age(void **descriptors) {
  static int64_t calls;
  *(int64_t *)data(descriptors[0]) += ++calls;
}

// () -> 2xi32: the second is left out.
void forget(void **descriptors) { *(int32_t *)data(descriptors[0]) = 5; }

// () -> i64: whether it and a second, large result are where they should be.
void align(void **descriptors) {
  uint64_t small = (uint64_t)data(descriptors[0]);
  uint64_t large = (uint64_t)data(descriptors[1]);
  *(int64_t *)data(descriptors[0]) =
      small % 64 == 0 && large % (2 << 20) == 0 ? 1 : 0;
}

// () -> i64: the threads that work on a loop at once.
static void nap(void *ctx, int64_t i) {
  (void)i;
  int64_t *state = ctx;
  int64_t now = __atomic_add_fetch(&state[0], 1, __ATOMIC_SEQ_CST);
  for (int64_t most = __atomic_load_n(&state[1], __ATOMIC_SEQ_CST); most < now;)
    if (__atomic_compare_exchange_n(&state[1], &most, now, 0, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
      break;
  for (volatile int spin = 0; spin < 5000000; ++spin)
    ;
  __atomic_sub_fetch(&state[0], 1, __ATOMIC_SEQ_CST);
}
void crowd(void **descriptors) {
  int64_t state[2] = {0, 0};
  host->parallel_for(64, nap, state);
  *(int64_t *)data(descriptors[0]) = state[1];
}

void nothing(void **descriptors) { (void)descriptors; }
