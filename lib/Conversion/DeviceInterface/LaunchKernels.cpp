//===- LaunchKernels.cpp - vashista-launch-kernels ------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../HostInterface/HostTable.h"
#include "KernelArguments.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/MapVector.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTALAUNCHKERNELSPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

class Launcher {
public:
  explicit Launcher(ModuleOp module)
      : module(module), b(module.getLoc(), module.getContext()),
        pointer(LLVM::LLVMPointerType::get(module.getContext())) {}

  LogicalResult lower(gpu::LaunchFuncOp launch);
  void exportKernels();

private:
  Value i64(Value index) {
    return arith::IndexCastOp::create(b, b.getI64Type(), index);
  }
  Value i32(int64_t value) {
    return arith::ConstantOp::create(
        b, b.getI32IntegerAttr(static_cast<int32_t>(value)));
  }
  void exportBytes(StringRef name, StringRef bytes);
  /// Memory of the function, allocated once.
  Value allocate(Type type, FunctionOpInterface function);
  FailureOr<Value> toParameter(Value operand, gpu::LaunchFuncOp launch);

  ModuleOp module;
  ImplicitLocOpBuilder b;
  Type pointer;
  struct Kernel {
    int64_t number;
    /// Each time that it is launched.
    bool waits;
  };
  llvm::MapVector<StringAttr, Kernel> kernels;
};

} // namespace

Value Launcher::allocate(Type type, FunctionOpInterface function) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&function.getFunctionBody().front());
  Value one = arith::ConstantOp::create(b, b.getI64IntegerAttr(1));
  return LLVM::AllocaOp::create(b, pointer, type, one);
}

/// What the driver copies: pointers and index as 64 bits.
FailureOr<Value> Launcher::toParameter(Value operand,
                                       gpu::LaunchFuncOp launch) {
  Type type = operand.getType();
  if (auto buffer = dyn_cast<MemRefType>(type); buffer && !buffer.getRank())
    return i64(memref::ExtractAlignedPointerAsIndexOp::create(b, operand));
  if (type.isIndex())
    return i64(operand);
  if (type.isInteger(1)) // A byte.
    return Value(arith::ExtUIOp::create(b, b.getI8Type(), operand));
  if (type.isIntOrFloat())
    return operand;
  return launch.emitOpError("expected pointers, index, integers or floats to "
                            "give to a kernel, got ")
         << type;
}

LogicalResult Launcher::lower(gpu::LaunchFuncOp launch) {
  if (launch.getAsyncToken() || !launch.getAsyncDependencies().empty() ||
      launch.hasClusterSize())
    return launch.emitOpError("expected no clusters and no dependencies");
  b.setLoc(launch.getLoc());
  b.setInsertionPoint(launch);
  auto function = launch->getParentOfType<FunctionOpInterface>();
  SmallVector<Value> parameters;
  for (Value operand : launch.getKernelOperands()) {
    FailureOr<Value> parameter = toParameter(operand, launch);
    if (failed(parameter))
      return failure();
    parameters.push_back(*parameter);
  }
  Value addresses =
      allocate(LLVM::LLVMArrayType::get(pointer, parameters.size()), function);
  for (auto [i, parameter] : llvm::enumerate(parameters)) {
    Value place = allocate(parameter.getType(), function);
    LLVM::StoreOp::create(b, parameter, place);
    Value slot =
        LLVM::GEPOp::create(b, pointer, pointer, addresses,
                            ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
    LLVM::StoreOp::create(b, place, slot);
  }

  auto [it, isNew] = kernels.insert(
      {launch.getKernelName(), {static_cast<int64_t>(kernels.size()), true}});
  it->second.waits &= launch->hasAttr(kWaits);
  Type i32Type = b.getI32Type(), i64Type = b.getI64Type();
  Value shared = launch.getDynamicSharedMemorySize();
  SmallVector<Value> operands = {loadHostFunction(b, HostField::launch),
                                 i32(it->second.number),
                                 i64(launch.getGridSizeX()),
                                 i64(launch.getGridSizeY()),
                                 i64(launch.getGridSizeZ()),
                                 i64(launch.getBlockSizeX()),
                                 i64(launch.getBlockSizeY()),
                                 i64(launch.getBlockSizeZ()),
                                 shared ? shared : i32(0),
                                 addresses};
  auto type =
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                  {i32Type, i64Type, i64Type, i64Type, i64Type,
                                   i64Type, i64Type, i32Type, pointer});
  LLVM::CallOp::create(b, type, operands);
  launch.erase();
  return success();
}

void Launcher::exportBytes(StringRef name, StringRef bytes) {
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), bytes.size());
  LLVM::GlobalOp::create(b, type, /*isConstant=*/true, LLVM::Linkage::External,
                         name, b.getStringAttr(bytes));
}

void Launcher::exportKernels() {
  std::string names, waits;
  for (const auto &[name, kernel] : kernels) {
    (names += name.getValue()) += '\0';
    waits += kernel.waits ? '\1' : '\0';
  }
  names += '\0';
  b.setLoc(module.getLoc());
  b.setInsertionPointToEnd(module.getBody());
  exportBytes("vashista_kernels", names);
  exportBytes("vashista_waits", waits);
}

namespace {

struct LaunchKernelsPass
    : public vashista::impl::VashistaLaunchKernelsPassBase<LaunchKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    declareHostTable(module);
    Launcher launcher(module);
    SmallVector<gpu::LaunchFuncOp> launches;
    module.walk([&](gpu::LaunchFuncOp launch) { launches.push_back(launch); });
    for (gpu::LaunchFuncOp launch : launches)
      if (failed(launcher.lower(launch)))
        return signalPassFailure();
    launcher.exportKernels();
    for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
      if (isa<gpu::GPUModuleOp, gpu::BinaryOp>(op))
        op.erase();
    module->removeAttr(gpu::GPUDialect::getContainerModuleAttrName());
  }
};

} // namespace
