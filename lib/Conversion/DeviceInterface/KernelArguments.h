//===- KernelArguments.h - What kernels are given ---------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A buffer goes to a kernel as a pointer, a memref of rank 0 that has the bare
// pointer convention whatever its sizes are, and those of its offset, sizes and
// strides that its type does not tell.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_DEVICEINTERFACE_KERNELARGUMENTS_H
#define VASHISTA_LIB_CONVERSION_DEVICEINTERFACE_KERNELARGUMENTS_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace vashista {

/// Whether a kernel can be given a value of a type: numbers, strided buffers.
bool isKernelArgument(mlir::Type type);

/// On the host: appends what a kernel is given of a value.
void flattenArgument(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                     llvm::SmallVectorImpl<mlir::Value> &operands);

/// In the kernel: the value again, taken from the front of the arguments.
mlir::Value restoreArgument(mlir::ImplicitLocOpBuilder &b, mlir::Type type,
                            llvm::ArrayRef<mlir::BlockArgument> &arguments);

/// Of a launch whose kernel waits at its entry for those before it.
constexpr llvm::StringLiteral kWaits = "vashista.waits";
/// Of a kernel whose blocks mostly end soon: the next one may start beside it.
constexpr llvm::StringLiteral kIsShort = "vashista.is_short";

/// The module's kernels, made where there are none yet.
mlir::gpu::GPUModuleOp getKernelModule(mlir::ModuleOp module);

/// An empty kernel, of a name that is new among the kernels.
mlir::gpu::GPUFuncOp createKernel(mlir::ImplicitLocOpBuilder &b,
                                  mlir::ModuleOp module, llvm::StringRef name,
                                  mlir::TypeRange arguments, int64_t threads);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_DEVICEINTERFACE_KERNELARGUMENTS_H
