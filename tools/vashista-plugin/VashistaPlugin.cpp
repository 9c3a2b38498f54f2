//===- VashistaPlugin.cpp - The dialect for a stock mlir-opt --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The dialect and its passes for a stock mlir-opt:
//   mlir-opt --load-dialect-plugin=VashistaPlugin.so
//            --load-pass-plugin=VashistaPlugin.so --pass-pipeline=...
//
//===----------------------------------------------------------------------===//

#include "vashista/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Support/Compiler.h"

extern "C" LLVM_ATTRIBUTE_WEAK mlir::DialectPluginLibraryInfo
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "Vashista", VASHISTA_VERSION,
          [](mlir::DialectRegistry *registry) {
            vashista::registerAllDialects(*registry);
          }};
}

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "Vashista", VASHISTA_VERSION,
          vashista::registerAllPasses};
}
