//===- consumer.c - A program that runs an artefact -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Takes the path of an artefact with the entry 'answer' and exits with 0 if it
// gives 42 and no compiler is in this process.
//
//===----------------------------------------------------------------------===//

#include "vashista_runtime.h"

#include <stdio.h>
#include <string.h>

static int has_compiler(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[4096];
  int found = 0;
  while (maps && fgets(line, sizeof(line), maps))
    found |= strstr(line, "LLVM") || strstr(line, "MLIR");
  if (maps)
    fclose(maps);
  return found;
}

int main(int argc, char **argv) {
  int32_t value = 0;
  DLTensor tensor = {&value, {kDLCPU, 0}, 0, {kDLInt, 32, 1}, NULL, NULL, 0};
  DLTensor *results[] = {&tensor};
  vashista_load_options load = VASHISTA_LOAD_OPTIONS_INIT;
  vashista_call_options call = VASHISTA_CALL_OPTIONS_INIT;
  vashista_module *module;
  uint32_t entry;
  if (argc != 2 || vashista_module_load(argv[1], &load, &module) ||
      vashista_find_entry(module, "answer", &entry) ||
      vashista_call(module, entry, NULL, 0, results, 1, &call)) {
    fprintf(stderr, "%s\n", vashista_last_error());
    return 1;
  }
  if (value != 42 || has_compiler()) {
    fprintf(stderr, "expected 42 and no compiler, got %d\n", value);
    return 1;
  }
  vashista_module_free(module);
  return 0;
}
