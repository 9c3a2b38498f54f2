//===- device.c - A payload that launches kernels -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista_artefact.h"

#include <stddef.h>

static const vashista_host *host;

void vashista_bind(const vashista_host *given) { host = given; }

const char vashista_kernels[] = KERNELS "\0";
#ifdef WAITS
const char vashista_waits[] = {WAITS};
#endif

typedef struct {
  void *allocated;
  void *aligned;
  int64_t offset;
  int64_t extents[];
} memref;

// (x: ?xi32, table: ?x?xi32, lens: ?xi32), x written in place: adds 1, and 10
// for each row of the table, by way of a workspace of 1000 bytes and, of a
// block, of 100 KiB.
void add(void **descriptors) {
  memref *x = descriptors[0], *table = descriptors[1];
  void *workspace = host->alloc(1000, 64);
  if (!workspace)
    return;
  void *address = x->aligned;
  int64_t size = x->extents[0];
  void *parameters[] = {&address, &size};
  host->launch(0, (size + 127) / 128, 1, 1, 128, 1, 1, 0, parameters);
  for (int64_t i = 0; i < table->extents[0]; ++i)
    host->launch(1, (size + 127) / 128, 1, 1, 128, 1, 1, 100 << 10, parameters);
  host->free(workspace);
}
