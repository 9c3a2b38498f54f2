//===- OverlapLaunches.cpp - vashista-overlap-launches --------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelArguments.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAOVERLAPLAUNCHESPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

/// Before the kernel reads or writes anything.
static void waitAtEntry(gpu::GPUFuncOp kernel) {
  auto b = ImplicitLocOpBuilder::atBlockBegin(kernel.getLoc(),
                                              &kernel.getBody().front());
  // Where most blocks work to the end, those of the next kernel may come to lie
  // where there is room first, and not evenly: it starts when these end.
  if (kernel->hasAttr(kIsShort))
    NVVM::GriddepcontrolOp::create(b,
                                   NVVM::GridDepActionKind::launch_dependents);
  NVVM::GriddepcontrolOp::create(b, NVVM::GridDepActionKind::wait);
}

namespace {

struct OverlapLaunchesPass
    : public vashista::impl::VashistaOverlapLaunchesPassBase<
          OverlapLaunchesPass> {
  using Base::Base;

  void runOnOperation() override {
    for (auto kernels : getOperation().getOps<gpu::GPUModuleOp>())
      for (auto kernel : kernels.getOps<gpu::GPUFuncOp>())
        if (kernel.isKernel())
          waitAtEntry(kernel);
    SymbolTableCollection symbols;
    getOperation().walk([&](gpu::LaunchFuncOp launch) {
      if (symbols.lookupNearestSymbolFrom<gpu::GPUFuncOp>(
              launch, launch.getKernelAttr()))
        launch->setAttr(kWaits, UnitAttr::get(&getContext()));
    });
  }
};

} // namespace
