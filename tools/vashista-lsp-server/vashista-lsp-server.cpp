//===- vashista-lsp-server.cpp - The language server for editors ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The language server that gives editors diagnostics, hovers and navigation
// for modules with vashista ops.
//
//===----------------------------------------------------------------------===//

#include "../common/Upstream.h"
#include "vashista/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "llvm/Support/LogicalResult.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  vashista::registerUpstreamDialects(registry);
  vashista::registerAllDialects(registry);
  return llvm::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
