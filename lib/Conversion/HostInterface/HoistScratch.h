//===- HoistScratch.h - Where tasks keep their scratch ----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_HOSTINTERFACE_HOISTSCRATCH_H
#define VASHISTA_LIB_CONVERSION_HOSTINTERFACE_HOISTSCRATCH_H

#include "mlir/IR/BuiltinOps.h"

namespace vashista {

/// Allocates scratch of constant size once, at the start of its task (the
/// outermost parallel loop) or, where a task of one iteration was folded away,
/// of its function. A scope that is left in the middle could not become control
/// flow.
void hoistScratch(mlir::ModuleOp module);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_HOSTINTERFACE_HOISTSCRATCH_H
