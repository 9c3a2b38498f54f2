//===- vashista-opt.cpp - Parses, transforms and prints modules -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The driver that parses, transforms and prints modules with vashista ops.
//
//===----------------------------------------------------------------------===//

#include "../common/Upstream.h"
#include "vashista/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/PrettyStackTrace.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  llvm::setBugReportMsg(
      "PLEASE report this crash to the vashista project, with the input, the "
      "command line and the stack trace below.\n");
  llvm::cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "vashista " VASHISTA_VERSION " (MLIR " LLVM_VERSION_STRING ")\n";
  });

  mlir::DialectRegistry registry;
  vashista::registerUpstreamDialects(registry);
  vashista::registerUpstreamPasses();
  vashista::registerAllDialects(registry);
  vashista::registerAllPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "vashista optimizer driver\n", registry));
}
