//===- kernels.c - A payload with small kernels ---------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista_artefact.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

static const vashista_host *host;

void vashista_bind(const vashista_host *given) {
  host = given->abi_version == VSO_HOST_ABI ? given : NULL;
}

const int32_t not_a_function = 7;

typedef struct {
  void *allocated;
  void *aligned;
  int64_t offset;
  int64_t extents[];
} memref;

static float *f32(void *descriptor) { return ((memref *)descriptor)->aligned; }
static int32_t *i32(void *descriptor) {
  return ((memref *)descriptor)->aligned;
}
static int64_t *i64(void *descriptor) {
  return ((memref *)descriptor)->aligned;
}
static int64_t extent(void *descriptor, int i) {
  return ((memref *)descriptor)->extents[i];
}

// (x: ?xf32) -> ?xf32: halves.
static void halve_one(void *ctx, int64_t i) {
  void **descriptors = ctx;
  f32(descriptors[1])[i] = f32(descriptors[0])[i] * 0.5F;
}
void halve(void **descriptors) {
  host->parallel_for(extent(descriptors[0], 0), halve_one, descriptors);
}

// (x: ?x?xf32, any strides) -> ?x?xf32: its transpose.
void transpose(void **descriptors) {
  int64_t rows = extent(descriptors[0], 0), columns = extent(descriptors[0], 1);
  int64_t down = extent(descriptors[0], 2), right = extent(descriptors[0], 3);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      f32(descriptors[1])[j * rows + i] =
          f32(descriptors[0])[i * down + j * right];
}

// (x: ?xi32, any strides), written in place: adds 1.
static void increment_one(void *ctx, int64_t i) {
  i32(ctx)[i * extent(ctx, 1)] += 1;
}
void increment(void **descriptors) {
  host->parallel_for(extent(descriptors[0], 0), increment_one, descriptors[0]);
}

// () -> 64xi64: the thread that each index ran on, after some work.
static void identify_one(void *ctx, int64_t i) {
  for (volatile int spin = 0; spin < 200000; ++spin)
    ;
  i64(ctx)[i] = (int64_t)pthread_self();
}
void identify(void **descriptors) {
  host->parallel_for(64, identify_one, descriptors[0]);
}

// () -> 4xi64: the thread of each index, all of which run at once; 0 where the
// others do not come within some seconds.
typedef struct {
  int64_t *threads;
  atomic_int arrived;
} meeting;
static void meet_one(void *ctx, int64_t i) {
  meeting *state = ctx;
  atomic_fetch_add(&state->arrived, 1);
  time_t start = time(NULL);
  while (atomic_load(&state->arrived) < 4 && time(NULL) - start < 30)
    sched_yield();
  state->threads[i] =
      atomic_load(&state->arrived) == 4 ? (int64_t)pthread_self() : 0;
}
void meet(void **descriptors) {
  meeting state = {i64(descriptors[0]), 0};
  host->parallel_for(4, meet_one, &state);
}

// () -> i64: how many indices ran at once.
typedef struct {
  atomic_int running, most;
} crowd_state;
static void crowd_one(void *ctx, int64_t i) {
  (void)i;
  crowd_state *state = ctx;
  int now = atomic_fetch_add(&state->running, 1) + 1;
  for (int most = atomic_load(&state->most); most < now;)
    if (atomic_compare_exchange_weak(&state->most, &most, now))
      break;
  nanosleep(&(struct timespec){0, 2000000}, NULL);
  atomic_fetch_sub(&state->running, 1);
}
void crowd(void **descriptors) {
  crowd_state state = {0, 0};
  host->parallel_for(40, crowd_one, &state);
  *i64(descriptors[0]) = atomic_load(&state.most);
}

// () -> 8x8xi64: the thread of each pair of indices, by nested loops; 0 where
// an inner loop is not in order.
typedef struct {
  int64_t *row;
  int64_t next;
} nest;
static void inner(void *ctx, int64_t i) {
  nest *state = ctx;
  state->row[i] = i == state->next++ ? (int64_t)pthread_self() : 0;
}
static void outer(void *ctx, int64_t i) {
  nest state = {i64(ctx) + 8 * i, 0};
  host->parallel_for(8, inner, &state);
}
void nested(void **descriptors) {
  host->parallel_for(8, outer, descriptors[0]);
}

// (size: i64) -> i64: 1 if a temporary of that size is aligned and usable.
void temporary(void **descriptors) {
  int64_t size = *i64(descriptors[0]);
  int64_t good = 1;
  for (uint64_t align = 1; align <= 4096; align *= 2) {
    char *memory = host->alloc((uint64_t)size, align);
    if (!memory)
      return;
    if ((size_t)memory % align != 0)
      good = 0;
    if (size > 0)
      memory[0] = memory[size - 1] = 1;
    host->free(memory);
  }
  *i64(descriptors[1]) = good;
}

// (size: i64): as much on every thread.
static void temporary_one(void *ctx, int64_t i) {
  (void)i;
  host->free(host->alloc((uint64_t)*i64(ctx), 64));
}
void temporaries(void **descriptors) {
  host->parallel_for(32, temporary_one, descriptors[0]);
}

// (table: BxM, lens: R, rows: R, cache: NxS, ...) -> R: sums of the visible
// slots. The table may have any strides; the result is descriptor 7.
static void gather_one(void *ctx, int64_t row) {
  void **descriptors = ctx;
  int64_t down = extent(descriptors[0], 2), right = extent(descriptors[0], 3);
  int64_t page_size = extent(descriptors[3], 1);
  float sum = 0;
  for (int64_t t = 0; t < i32(descriptors[1])[row]; ++t) {
    int64_t sequence = i32(descriptors[2])[row];
    int64_t page = i32(descriptors[0])[sequence * down + t / page_size * right];
    sum += f32(descriptors[3])[page * page_size + t % page_size];
  }
  f32(descriptors[7])[row] = sum;
}
void gather(void **descriptors) {
  host->parallel_for(extent(descriptors[1], 0), gather_one, descriptors);
}
