//===- KernelCode.h - PTX of kernels ----------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_TARGET_KERNELCODE_H
#define VASHISTA_LIB_TARGET_KERNELCODE_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace vashista {

/// PTX of a module of the NVVM dialect by its first target, without the NUL
/// that ends it. Takes the module to pieces: kernels become code on all threads
/// of the context, and how many there are changes no byte. Errors are
/// diagnostics.
mlir::FailureOr<std::string> generatePTX(mlir::gpu::GPUModuleOp module);

} // namespace vashista

#endif // VASHISTA_LIB_TARGET_KERNELCODE_H
