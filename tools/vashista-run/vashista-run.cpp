//===- vashista-run.cpp - Runs artefacts on NumPy files -------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Needs the runtime alone, no compiler.
//
//===----------------------------------------------------------------------===//

#include "Execute.h"
#include "Input.h"
#include "List.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <unistd.h>

using namespace vashista::run;
using namespace vashista::tool;

/// Of tensors it is said which one is too large; this is for all the rest.
static void endWithoutMemory() {
  static const char message[] = "vashista-run: error: out of memory\n";
  // Whether it can be written or not, this is the end.
  if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
    _exit(1);
  _exit(1);
}

static Error runTool(int argc, char **argv) {
  Options options;
  if (Error error = parseOptions(argc, argv, options))
    return error;
  std::string report;
  if (options.help) {
    report = helpText;
  } else if (options.version) {
    report = text("vashista %s\n", vashista_runtime_version());
  } else {
    // A cap alone would not raise the number of workers.
    if (options.threads)
      setenv("VASHISTA_NUM_THREADS", std::to_string(options.threads).c_str(),
             /*overwrite=*/1);
    Module module;
    std::optional<DLDevice> device;
    if (!options.list)
      device = options.device;
    if (Error error = loadInput(options.input, device, module))
      return error;
    uint32_t entry = 0;
    bool listsAll = options.list && !options.hasEntry;
    if (!listsAll)
      if (Error error = findEntry(
              module.get(), options.hasEntry ? &options.entry : nullptr, entry))
        return error;
    const uint32_t *only = listsAll ? nullptr : &entry;
    if (options.list)
      report = options.json ? listJson(module.get(), only)
                            : listText(module.get(), only);
    else if (Error error = execute(module.get(), entry, options, report))
      return error;
  }
  if (fwrite(report.data(), 1, report.size(), stdout) != report.size() ||
      fflush(stdout) != 0)
    return fail("cannot write to standard output: %s", strerror(errno));
  return Error::success();
}

int main(int argc, char **argv) {
  std::set_new_handler(endWithoutMemory);
  // A file over the limit is then an error of a write.
  signal(SIGXFSZ, SIG_IGN);
  Error error = runTool(argc, argv);
  if (!error)
    return 0;
  if (!error.message().empty())
    fprintf(stderr, "vashista-run: error: %s\n", error.message().c_str());
  return 1;
}
