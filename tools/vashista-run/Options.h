//===- Options.h - The command line of vashista-run -------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_RUN_OPTIONS_H
#define VASHISTA_TOOLS_VASHISTA_RUN_OPTIONS_H

#include "Error.h"

#include "vashista_runtime.h"
#include <cstdint>

#include <string>
#include <vector>

namespace vashista::run {

using tool::Error;

struct Options {
  std::string input;
  bool hasEntry = false;
  std::string entry;
  std::vector<std::string> arguments;
  bool hasOut = false;
  std::string out;
  /// 0: one run that is not timed.
  uint32_t repeat = 0;
  /// 0: as many as the runtime takes by itself.
  uint32_t threads = 0;
  DLDevice device = {kDLCPU, 0};
  bool checked = true;
  bool json = false;
  bool list = false;
  bool help = false;
  bool version = false;
};

extern const char helpText[];

/// Whatever else is wrong, --help and --version are heard.
Error parseOptions(int argc, char **argv, Options &options);

} // namespace vashista::run

#endif // VASHISTA_TOOLS_VASHISTA_RUN_OPTIONS_H
