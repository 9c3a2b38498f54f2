//===- Execute.h - Runs an entry on files -----------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_RUN_EXECUTE_H
#define VASHISTA_TOOLS_VASHISTA_RUN_EXECUTE_H

#include "Options.h"

#include "vashista_runtime.h"

#include <string>

namespace vashista::run {

using tool::Error;

/// Runs an entry as the options say and tells in `report` what came of it.
Error execute(const vashista_module *module, uint32_t entry,
              const Options &options, std::string &report);

} // namespace vashista::run

#endif // VASHISTA_TOOLS_VASHISTA_RUN_EXECUTE_H
