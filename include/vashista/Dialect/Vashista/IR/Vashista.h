//===- Vashista.h - The vashista dialect: attributes and ops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_VASHISTA_H
#define VASHISTA_DIALECT_VASHISTA_IR_VASHISTA_H

#include "vashista/Dialect/Vashista/IR/NamedDims.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"

#include "vashista/Dialect/Vashista/IR/VashistaDialect.h.inc"
#include "vashista/Dialect/Vashista/IR/VashistaEnums.h.inc"
#include "vashista/Dialect/Vashista/IR/VashistaInterfaces.h.inc"

namespace vashista::detail {
mlir::FailureOr<llvm::APFloat> parseF64(mlir::AsmParser &parser);
} // namespace vashista::detail

#define GET_ATTRDEF_CLASSES
#include "vashista/Dialect/Vashista/IR/VashistaAttrs.h.inc"

namespace vashista {

// Declarations that ODS generates for upstream interfaces leave these names
// unqualified.
using mlir::FailureOr;
using mlir::Location;
using mlir::MergeResult;
using mlir::OpBuilder;
using mlir::ReductionTilingStrategy;
using mlir::SmallVector;
using mlir::TilingResult;
using mlir::Value;
using mlir::ValueRange;

/// Logical pages that a window of `tokens` tokens can touch.
int64_t getNumWindowPages(int64_t tokens, int64_t pageSize);

/// The dimensions of a KV cache page in a layout; `head` is Dim::keyDim for K
/// and Dim::valueDim for V.
llvm::SmallVector<Dim, 4> getCacheDims(Layout layout, Dim head);

} // namespace vashista

#define GET_OP_CLASSES
#include "vashista/Dialect/Vashista/IR/VashistaOps.h.inc"

#endif // VASHISTA_DIALECT_VASHISTA_IR_VASHISTA_H
