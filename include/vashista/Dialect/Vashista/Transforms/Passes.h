//===- Passes.h - Passes on the vashista dialect -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_TRANSFORMS_PASSES_H
#define VASHISTA_DIALECT_VASHISTA_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace vashista {

/// How far vashista-decompose goes.
enum class DecomposeDepth { one, all };

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "vashista/Dialect/Vashista/Transforms/Passes.h.inc"

} // namespace vashista

#endif // VASHISTA_DIALECT_VASHISTA_TRANSFORMS_PASSES_H
