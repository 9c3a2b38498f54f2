//===- EntryInterface.h - What the manifest says of a function --*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_TARGET_ENTRYINTERFACE_H
#define VASHISTA_LIB_TARGET_ENTRYINTERFACE_H

#include "vashista/Target/ArtefactWriter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace vashista {

/// The name under which an entry's code is exported.
std::string getEntrySymbol(mlir::func::FuncOp function);

/// From a function on tensors: names, types and sizes of its arguments and
/// results, which sizes agree, what checked mode can verify, and the numbers
/// that are baked in. Sizes follow from the named dimensions of the vashista
/// ops and from reification. Fails, with an error at the function, where a
/// caller could not know the size of a result.
mlir::FailureOr<ArtefactEntry> describeEntry(mlir::func::FuncOp function);

/// On a function on tensors: lets bufferization write to an argument only where
/// the function returns what a destination of that argument became. Anything
/// else would be a surprise to callers.
void protectArguments(mlir::func::FuncOp function);

/// On the same function on buffers: turns results into arguments after the
/// others, marks the arguments that are written, and drops the results that are
/// arguments updated in place.
void returnThroughArguments(mlir::func::FuncOp function, ArtefactEntry &entry);

} // namespace vashista

#endif // VASHISTA_LIB_TARGET_ENTRYINTERFACE_H
