//===- VashistaDialect.cpp - The vashista dialect -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace vashista;

#include "vashista/Dialect/Vashista/IR/VashistaDialect.cpp.inc"

void VashistaDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "vashista/Dialect/Vashista/IR/VashistaOps.cpp.inc"
      >();
}
