//===- Interfaces.td - Interfaces of the vashista dialect -*- tablegen -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_INTERFACES_TD
#define VASHISTA_DIALECT_VASHISTA_IR_INTERFACES_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/Interfaces.td"
include "vashista/Dialect/Vashista/IR/VashistaDialect.td"

def Vashista_KeySource : AttrInterface<"KeySource"> {
  let cppNamespace = "::vashista";
  let description = [{
    What a direction is scored against: a page summary, a key sketch or the keys
    themselves. The attribute says which tensors hold it and what their
    dimensions are, so that every op that reads, writes or scores a source
    checks it in one place.
  }];
  let methods = [
    InterfaceMethod<"The tensors that hold the source, in operand order.",
      "::llvm::SmallVector<::vashista::SourcePart>", "getParts">,
    InterfaceMethod<"Whether one score stands for a page (else for a token).",
      "bool", "scoresPages">,
    InterfaceMethod<
      "Whether scores come with an upper bound of every logit they stand for.",
      "bool", "hasBounds">
  ];
}

#endif // VASHISTA_DIALECT_VASHISTA_IR_INTERFACES_TD
