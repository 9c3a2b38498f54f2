//===- HostTable.h - What generated code asks of its host -------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The table of functions of runtime/include/vashista_artefact.h, seen from
// generated code.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_HOSTINTERFACE_HOSTTABLE_H
#define VASHISTA_LIB_CONVERSION_HOSTINTERFACE_HOSTTABLE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace vashista {

/// A field of the table, by its position.
enum class HostField { abiVersion, parallelFor, alloc, free, launch };

/// Declares the module's pointer to the table and `vashista_bind`, with which
/// the host sets it. Does nothing where they exist.
void declareHostTable(mlir::ModuleOp module);

/// The host's function, loaded at the insertion point.
mlir::Value loadHostFunction(mlir::ImplicitLocOpBuilder &b, HostField field);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_HOSTINTERFACE_HOSTTABLE_H
