//===- HostTable.cpp - What generated code asks of its host ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostTable.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace vashista;

static constexpr StringLiteral kHost = "vashista_host";
static constexpr StringLiteral kBind = "vashista_bind";

void vashista::declareHostTable(ModuleOp module) {
  if (module.lookupSymbol(kHost))
    return;
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  b.setInsertionPointToStart(module.getBody());
  auto host = LLVM::GlobalOp::create(b, pointer, /*isConstant=*/false,
                                     LLVM::Linkage::Internal, kHost,
                                     /*value=*/Attribute());
  {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&host.getInitializerRegion());
    LLVM::ReturnOp::create(b, LLVM::ZeroOp::create(b, pointer).getResult());
  }
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {pointer});
  auto bind = LLVM::LLVMFuncOp::create(b, kBind, type);
  Block *body = bind.addEntryBlock(b);
  b.setInsertionPointToStart(body);
  Value address = LLVM::AddressOfOp::create(b, host);
  LLVM::StoreOp::create(b, body->getArgument(0), address);
  LLVM::ReturnOp::create(b, ValueRange());
}

Value vashista::loadHostFunction(ImplicitLocOpBuilder &b, HostField field) {
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  Type table = LLVM::LLVMStructType::getLiteral(
      b.getContext(), {b.getI32Type(), pointer, pointer, pointer, pointer});
  Value host = LLVM::LoadOp::create(
      b, pointer, LLVM::AddressOfOp::create(b, pointer, kHost));
  Value address = LLVM::GEPOp::create(
      b, pointer, table, host,
      ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(field)});
  return LLVM::LoadOp::create(b, pointer, address);
}
