//===- HoistScratch.cpp - Where tasks keep their scratch ------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HoistScratch.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace vashista;

void vashista::hoistScratch(ModuleOp module) {
  module.walk([](memref::AllocaOp alloca) {
    auto parent = alloca->getParentOfType<FunctionOpInterface>();
    if (!parent || alloca->getNumOperands() != 0)
      return;
    Block *start = &parent.getFunctionBody().front();
    for (Operation *op = alloca; op != parent; op = op->getParentOp())
      if (auto forall = dyn_cast<scf::ForallOp>(op))
        start = forall.getBody();
    alloca->moveBefore(start, start->begin());
  });
  module.walk([](memref::AllocaScopeOp scope) {
    Block &body = scope.getBodyRegion().front();
    Operation *end = body.getTerminator();
    scope->replaceAllUsesWith(end->getOperands());
    end->erase();
    scope->getBlock()->getOperations().splice(scope->getIterator(),
                                              body.getOperations());
    scope->erase();
  });
}
