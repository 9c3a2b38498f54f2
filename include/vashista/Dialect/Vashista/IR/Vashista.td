//===- Vashista.td - Everything of the vashista dialect -*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_VASHISTA_TD
#define VASHISTA_DIALECT_VASHISTA_IR_VASHISTA_TD

include "vashista/Dialect/Vashista/IR/VashistaDialect.td"
include "vashista/Dialect/Vashista/IR/Enums.td"
include "vashista/Dialect/Vashista/IR/Interfaces.td"
include "vashista/Dialect/Vashista/IR/Attrs.td"
include "vashista/Dialect/Vashista/IR/Ops.td"

#endif // VASHISTA_DIALECT_VASHISTA_IR_VASHISTA_TD
