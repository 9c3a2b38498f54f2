//===- HostWork.h - What of a function is in no parallel loop ---*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_DEVICEINTERFACE_HOSTWORK_H
#define VASHISTA_LIB_CONVERSION_DEVICEINTERFACE_HOSTWORK_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace vashista {

/// Whether it reads, writes or makes memory, which the host has none of.
bool touchesMemory(mlir::Operation *op);

/// What touches memory in no parallel loop, as the body of one of a single
/// iteration does once that is folded, becomes the body of one again.
void wrapHostWork(mlir::func::FuncOp function);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_DEVICEINTERFACE_HOSTWORK_H
