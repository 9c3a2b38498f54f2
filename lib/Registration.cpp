//===- Registration.cpp - Everything that vashista adds to MLIR -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Registration.h"

#include "vashista/Conversion/Passes.h"
#include "vashista/Dialect/Vashista/IR/Vashista.h"
#include "vashista/Dialect/Vashista/Transforms/BufferizableOpInterfaceImpl.h"
#include "vashista/Dialect/Vashista/Transforms/Passes.h"
#include "vashista/Pipelines/Pipelines.h"

#include "mlir/IR/DialectRegistry.h"

void vashista::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<VashistaDialect>();
  registerBufferizableOpInterfaceExternalModels(registry);
}

void vashista::registerAllPasses() {
  registerVashistaPasses();
  registerVashistaConversionPasses();
  registerPipelines();
}
