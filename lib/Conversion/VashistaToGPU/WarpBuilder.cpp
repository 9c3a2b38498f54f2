//===- WarpBuilder.cpp - Building kernels of NVIDIA GPUs ------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WarpBuilder.h"
#include "../DeviceInterface/KernelArguments.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace vashista;

void WarpBuilder::launch(
    const KernelShape &shape, ValueRange read, ValueRange written,
    ArrayRef<MemRefType> shared,
    function_ref<void(ArrayRef<Value>, ArrayRef<Value>)> body) {
  SmallVector<Value> values(read), operands;
  llvm::append_range(values, written);
  unsigned numRead = 0;
  for (auto [i, value] : llvm::enumerate(values)) {
    flattenArgument(*this, value, operands);
    if (i + 1 == read.size())
      numRead = operands.size();
  }
  auto module = getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  gpu::GPUFuncOp kernel =
      createKernel(*this, module, shape.name, ValueRange(operands).getTypes(),
                   shape.threads);
  if (shape.residentBlocks)
    kernel->setAttr("nvvm.minctasm", getI32IntegerAttr(shape.residentBlocks));
  for (unsigned i = 0; i < operands.size(); ++i) {
    if (!isa<MemRefType>(operands[i].getType()))
      continue;
    kernel.setArgAttr(i, "llvm.noalias", getUnitAttr());
    kernel.setArgAttr(i, "llvm.align", getI64IntegerAttr(16));
    if (i < numRead)
      kernel.setArgAttr(i, "llvm.readonly", getUnitAttr());
  }
  {
    OpBuilder::InsertionGuard guard(*this);
    SmallVector<Value> buffers, inner;
    for (MemRefType type : shared)
      buffers.push_back(kernel.addWorkgroupAttribution(type, getLoc()));
    for (unsigned i = 0; i < shared.size(); ++i)
      kernel.setWorkgroupAttributionAttr(i, "llvm.align",
                                         getI64IntegerAttr(16));
    setInsertionPointToEnd(&kernel.getBody().front());
    ArrayRef<BlockArgument> arguments = kernel.getArguments();
    for (Value value : values)
      inner.push_back(restoreArgument(*this, value.getType(), arguments));
    body(inner, buffers);
    gpu::ReturnOp::create(*this);
  }
  Value one = index(1);
  gpu::LaunchFuncOp::create(
      *this, kernel, gpu::KernelDim3{shape.gridX, shape.gridY, shape.gridZ},
      gpu::KernelDim3{index(shape.threads), one, one},
      /*dynamicSharedMemorySize=*/Value(), operands);
}

Value WarpBuilder::shuffleXor(Value value, int64_t mask) {
  auto i32 = [&](int64_t number) -> Value {
    return arith::ConstantOp::create(*this, getI32IntegerAttr(number));
  };
  return gpu::ShuffleOp::create(*this, value, i32(mask), i32(kWarp),
                                gpu::ShuffleMode::XOR)
      .getShuffleResult();
}

Value WarpBuilder::exp2(Value x) {
  return LLVM::CallIntrinsicOp::create(
             *this, getF32Type(), getStringAttr("llvm.nvvm.ex2.approx.ftz.f32"),
             ValueRange{x})
      .getResult(0);
}

std::array<Value, 4> WarpBuilder::load16Bytes(Value memref,
                                              ValueRange indices) {
  Type element = getElementTypeOrSelf(memref);
  int64_t size = 128 / element.getIntOrFloatBitWidth();
  Value loaded = vector::LoadOp::create(
      *this, VectorType::get({size}, element), memref, indices,
      /*nontemporal=*/false, llvm::MaybeAlign(16));
  Value ints = vector::BitCastOp::create(
      *this, VectorType::get({4}, getI32Type()), loaded);
  std::array<Value, 4> parts;
  for (int64_t i = 0; i < 4; ++i)
    parts[i] = vector::ExtractOp::create(*this, ints, ArrayRef<int64_t>{i});
  return parts;
}

/// An instruction that MLIR has no op for.
static Value emitAssembly(WarpBuilder &b, StringRef text, StringRef constraints,
                          ValueRange operands, bool isTogether) {
  auto dialect =
      LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT);
  return LLVM::InlineAsmOp::create(
             b, b.getI32Type(), operands, text, constraints,
             // Of all lanes at once: neither moved nor copied.
             /*has_side_effects=*/isTogether, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, dialect, /*operand_attrs=*/ArrayAttr())
      .getResult(0);
}

Value WarpBuilder::packPair(Value low, Value high, Type element) {
  StringRef text = element.isBF16() ? "cvt.rn.bf16x2.f32 $0, $1, $2;"
                                    : "cvt.rn.f16x2.f32 $0, $1, $2;";
  return emitAssembly(*this, text, "=r,f,f", {high, low}, false);
}

Value WarpBuilder::permuteBytes(Value a, Value b, int64_t selector) {
  Value bytes = arith::ConstantOp::create(*this, getI32IntegerAttr(selector));
  return LLVM::CallIntrinsicOp::create(*this, getI32Type(),
                                       getStringAttr("llvm.nvvm.prmt"),
                                       ValueRange{a, b, bytes})
      .getResult(0);
}

Value WarpBuilder::transpose(Value fragment) {
  return emitAssembly(*this, "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;",
                      "=r,r", fragment, true);
}

std::array<Value, 4> WarpBuilder::multiply(const std::array<Value, 4> &a,
                                           const std::array<Value, 2> &b,
                                           const std::array<Value, 4> &c,
                                           Type element) {
  SmallVector<Value> left(a.begin(), a.end()), right(b.begin(), b.end());
  NVVM::MMATypes type = NVVM::MMATypes::bf16;
  if (element.isF16()) {
    type = NVVM::MMATypes::f16;
    auto pair = VectorType::get({2}, element);
    for (SmallVector<Value> *side : {&left, &right})
      for (Value &value : *side)
        value = LLVM::BitcastOp::create(*this, pair, value);
  }
  Type f32 = getF32Type();
  auto result =
      LLVM::LLVMStructType::getLiteral(getContext(), {f32, f32, f32, f32});
  Value product = NVVM::MmaOp::create(
      *this, result, left, right, ValueRange(c), ArrayRef<int64_t>{16, 8, 16},
      /*b1Op=*/std::nullopt, /*intOverflow=*/std::nullopt,
      std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  std::array<Value, 4> sums;
  for (int64_t i = 0; i < 4; ++i)
    sums[i] = LLVM::ExtractValueOp::create(*this, product, i);
  return sums;
}
