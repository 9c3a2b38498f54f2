//===- Input.h - Loads an artefact, or compiles it first --------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_RUN_INPUT_H
#define VASHISTA_TOOLS_VASHISTA_RUN_INPUT_H

#include "Error.h"

#include "vashista_runtime.h"

#include <memory>
#include <string>

namespace vashista::run {

struct ModuleDeleter {
  void operator()(vashista_module *module) const {
    vashista_module_free(module);
  }
};
using Module = std::unique_ptr<vashista_module, ModuleDeleter>;

/// Loads an artefact or, from a file that is none and is named as MLIR, the one
/// that vashista-compile makes of it. Fails without a message where the
/// compiler has already said what is wrong.
Error loadInput(const std::string &path, Module &module);

} // namespace vashista::run

#endif // VASHISTA_TOOLS_VASHISTA_RUN_INPUT_H
