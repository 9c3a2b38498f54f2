//===- Input.h - Loads an artefact, or compiles it first --------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_INPUT_H
#define VASHISTA_TOOLS_COMMON_INPUT_H

#include "Error.h"

#include "vashista_runtime.h"

#include <memory>
#include <optional>
#include <string>

namespace vashista::tool {

struct ModuleDeleter {
  void operator()(vashista_module *module) const {
    vashista_module_free(module);
  }
};
using Module = std::unique_ptr<vashista_module, ModuleDeleter>;

/// Loads an artefact or, from a file that is none and is named as MLIR, the one
/// that vashista-compile makes of it. Fails without a message where the
/// compiler has already said what is wrong.
/// It runs on the device, the CPU or a CUDA one; without one it is only
/// described, and nothing of it runs.
Error loadInput(const std::string &path, std::optional<DLDevice> device,
                Module &module);

/// Compiles a module that is given as text for a target, and loads it on a
/// device; messages call it `shown`. With `quiet` it fails without a word where
/// the compiler refuses it.
Error compileText(const std::string &text, const std::string &shown,
                  const std::string &target, DLDevice device, Module &module,
                  bool quiet = false);

/// The module that is compiled for a target of what is given as text, with the
/// schedule of each op (--emit=schedule).
Error scheduleText(const std::string &text, const std::string &shown,
                   const std::string &target, std::string &scheduled);

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_INPUT_H
