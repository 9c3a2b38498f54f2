//===- Workspace.h - The memory of a call's temporaries ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_HOSTINTERFACE_WORKSPACE_H
#define VASHISTA_LIB_CONVERSION_HOSTINTERFACE_WORKSPACE_H

#include "llvm/ADT/StringRef.h"

namespace vashista {

/// Of a view of a workspace, of whose bytes no other view has any; nobody is
/// given the workspace itself.
constexpr llvm::StringLiteral kIsApart = "vashista.is_apart";

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_HOSTINTERFACE_WORKSPACE_H
