//===- KernelArguments.cpp - What kernels are given -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelArguments.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace vashista;

namespace {

/// What the type of a buffer tells of its layout.
struct Layout {
  explicit Layout(MemRefType type) {
    auto known = type.getStridesAndOffset(strides, offset);
    assert(succeeded(known) && "only strided buffers are arguments");
    (void)known;
    sizes.assign(type.getShape().begin(), type.getShape().end());
  }
  int64_t offset;
  SmallVector<int64_t> sizes, strides;
};

} // namespace

bool vashista::isKernelArgument(Type type) {
  auto buffer = dyn_cast<MemRefType>(type);
  return type.isIntOrIndexOrFloat() || (buffer && buffer.isStrided());
}

void vashista::flattenArgument(ImplicitLocOpBuilder &b, Value value,
                               SmallVectorImpl<Value> &operands) {
  auto type = dyn_cast<MemRefType>(value.getType());
  if (!type) {
    operands.push_back(value);
    return;
  }
  Layout layout(type);
  auto about = memref::ExtractStridedMetadataOp::create(b, value);
  operands.push_back(about.getBaseBuffer());
  if (ShapedType::isDynamic(layout.offset))
    operands.push_back(about.getOffset());
  for (auto [known, size] : llvm::zip_equal(layout.sizes, about.getSizes()))
    if (ShapedType::isDynamic(known))
      operands.push_back(size);
  for (auto [known, stride] :
       llvm::zip_equal(layout.strides, about.getStrides()))
    if (ShapedType::isDynamic(known))
      operands.push_back(stride);
}

Value vashista::restoreArgument(ImplicitLocOpBuilder &b, Type type,
                                ArrayRef<BlockArgument> &arguments) {
  auto take = [&]() -> Value {
    Value argument = arguments.front();
    arguments = arguments.drop_front();
    return argument;
  };
  Value first = take();
  auto buffer = dyn_cast<MemRefType>(type);
  if (!buffer)
    return first;
  Layout layout(buffer);
  auto get = [&](int64_t known) -> OpFoldResult {
    if (ShapedType::isDynamic(known))
      return take();
    return b.getIndexAttr(known);
  };
  OpFoldResult offset = get(layout.offset);
  SmallVector<OpFoldResult> sizes = llvm::map_to_vector(layout.sizes, get);
  SmallVector<OpFoldResult> strides = llvm::map_to_vector(layout.strides, get);
  auto strided = MemRefType::get(
      buffer.getShape(), buffer.getElementType(),
      StridedLayoutAttr::get(b.getContext(), layout.offset, layout.strides),
      buffer.getMemorySpace());
  Value whole = memref::ReinterpretCastOp::create(b, strided, first, offset,
                                                  sizes, strides);
  if (strided == buffer)
    return whole;
  return memref::CastOp::create(b, buffer, whole);
}

gpu::GPUModuleOp vashista::getKernelModule(ModuleOp module) {
  constexpr StringLiteral name = "kernels";
  if (auto kernels = module.lookupSymbol<gpu::GPUModuleOp>(name))
    return kernels;
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  b.getUnitAttr());
  return gpu::GPUModuleOp::create(b, module.getLoc(), name);
}

gpu::GPUFuncOp vashista::createKernel(ImplicitLocOpBuilder &b, ModuleOp module,
                                      StringRef name, TypeRange arguments,
                                      int64_t threads) {
  gpu::GPUModuleOp kernels = getKernelModule(module);
  unsigned number = 0;
  std::string unique;
  do {
    unique = (name + "_" + Twine(number++)).str();
  } while (kernels.lookupSymbol(unique));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(kernels.getBody());
  auto kernel =
      gpu::GPUFuncOp::create(b, unique, b.getFunctionType(arguments, {}));
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  kernel.setKnownBlockSizeAttr(
      b.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
  return kernel;
}
