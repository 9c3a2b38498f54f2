//===- List.h - Says what an artefact holds ---------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_RUN_LIST_H
#define VASHISTA_TOOLS_VASHISTA_RUN_LIST_H

#include "Error.h"

#include "vashista_runtime.h"

#include <string>
#include <vector>

namespace vashista::run {

using tool::Error;

using ValueInfo = vashista_value_info;

std::vector<ValueInfo> argumentsOf(const vashista_module *module,
                                   uint32_t entry);
std::vector<ValueInfo> resultsOf(const vashista_module *module, uint32_t entry);

/// "'halve', 'decode'"
std::string entryNames(const vashista_module *module);

/// The number of the entry of that name or, without one, of the only entry.
Error findEntry(const vashista_module *module, const std::string *name,
                uint32_t &entry);

/// All entries, or that one.
std::string listText(const vashista_module *module, const uint32_t *only);
std::string listJson(const vashista_module *module, const uint32_t *only);

} // namespace vashista::run

#endif // VASHISTA_TOOLS_VASHISTA_RUN_LIST_H
