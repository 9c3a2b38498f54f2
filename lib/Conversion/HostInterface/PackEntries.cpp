//===- PackEntries.cpp - vashista-pack-entries ----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostTable.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAPACKENTRIESPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

class Packer {
public:
  explicit Packer(ModuleOp module)
      : module(module), b(module.getLoc(), module.getContext()),
        pointer(LLVM::LLVMPointerType::get(module.getContext())),
        none(LLVM::LLVMVoidType::get(module.getContext())) {}

  LogicalResult pack(LLVM::LLVMFuncOp function);
  void defineAllocation();

private:
  ModuleOp module;
  ImplicitLocOpBuilder b;
  Type pointer, none;
};

} // namespace

static constexpr StringLiteral kInterface = "_mlir_ciface_";

LogicalResult Packer::pack(LLVM::LLVMFuncOp function) {
  auto type = function.getFunctionType();
  if (type.getReturnType() != none ||
      !llvm::all_of(type.getParams(), [&](Type t) { return t == pointer; }))
    return function.emitError("expected a function of memrefs without results "
                              "to be packed, got ")
           << type;
  b.setLoc(function.getLoc());
  b.setInsertionPointToEnd(module.getBody());
  StringRef name = function.getName().drop_front(kInterface.size());
  auto entry =
      LLVM::LLVMFuncOp::create(b, ("vashista_entry_" + name).str(),
                               LLVM::LLVMFunctionType::get(none, {pointer}));
  Block *body = entry.addEntryBlock(b);
  b.setInsertionPointToStart(body);
  SmallVector<Value> arguments;
  for (int32_t i = 0, e = type.getNumParams(); i < e; ++i) {
    Value address = LLVM::GEPOp::create(
        b, pointer, pointer, body->getArgument(0), ArrayRef<LLVM::GEPArg>{i});
    arguments.push_back(LLVM::LoadOp::create(b, pointer, address));
  }
  LLVM::CallOp::create(b, function, arguments);
  LLVM::ReturnOp::create(b, ValueRange());
  return success();
}

/// MLIR's generic functions are the host's.
void Packer::defineAllocation() {
  Type i64 = b.getI64Type();
  b.setLoc(module.getLoc());
  auto define = [&](StringRef name, HostField field, Type result,
                    ArrayRef<Type> arguments, ArrayRef<unsigned> order) {
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
    if (!function)
      return;
    function.setLinkage(LLVM::Linkage::Internal);
    Block *body = function.addEntryBlock(b);
    b.setInsertionPointToStart(body);
    SmallVector<Value> operands = {loadHostFunction(b, field)};
    for (unsigned i : order)
      operands.push_back(body->getArgument(i));
    auto call = LLVM::CallOp::create(
        b, LLVM::LLVMFunctionType::get(result, arguments), operands);
    LLVM::ReturnOp::create(b, call->getResults());
  };
  // MLIR's takes the alignment first.
  define("_mlir_memref_to_llvm_aligned_alloc", HostField::alloc, pointer,
         {i64, i64}, {1, 0});
  define("_mlir_memref_to_llvm_free", HostField::free, none, {pointer}, {0});
}

namespace {

struct PackEntriesPass
    : public vashista::impl::VashistaPackEntriesPassBase<PackEntriesPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    declareHostTable(module);
    Packer packer(module);
    for (auto function : llvm::to_vector(module.getOps<LLVM::LLVMFuncOp>())) {
      if (function.isExternal() || function.getName() == "vashista_bind")
        continue;
      function.setLinkage(LLVM::Linkage::Internal);
      if (function.getName().starts_with(kInterface) &&
          failed(packer.pack(function)))
        return signalPassFailure();
    }
    packer.defineAllocation();
  }
};

} // namespace
