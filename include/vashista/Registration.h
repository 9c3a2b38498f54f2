//===- Registration.h - Everything that vashista adds to MLIR ---*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_REGISTRATION_H
#define VASHISTA_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace vashista {

/// Adds the dialect and the interface models that it implements outside of its
/// own operations.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Adds the passes to the global pass registry.
void registerAllPasses();

} // namespace vashista

#endif // VASHISTA_REGISTRATION_H
