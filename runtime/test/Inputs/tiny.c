//===- tiny.c - The smallest payload --------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista_artefact.h"

void vashista_bind(const vashista_host *host) { (void)host; }

// () -> i32
void answer(void **descriptors) {
  int32_t **result = descriptors[0];
  *result[1] = ANSWER;
}

void nothing(void **descriptors) { (void)descriptors; }
