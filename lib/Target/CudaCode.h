//===- CudaCode.h - Images of kernels ---------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_TARGET_CUDACODE_H
#define VASHISTA_LIB_TARGET_CUDACODE_H

#include "vashista/Pipelines/Pipelines.h"
#include "vashista/Target/Compile.h"

namespace vashista {

/// Reads what follows "cuda:".
llvm::Expected<CudaTarget> parseCudaTarget(llvm::StringRef architecture);

/// What a pipeline needs to know of a target.
void setOptions(CudaPipelineOptions &options, const CudaTarget &target);

/// Lowers a module from buffers to launches, and takes the image of its kernels
/// (a cubin, or PTX without the NUL that ends it) from it. Errors are
/// diagnostics.
mlir::FailureOr<std::string>
generateImage(mlir::ModuleOp module, const CudaTarget &target, bool asPTX);

} // namespace vashista

#endif // VASHISTA_LIB_TARGET_CUDACODE_H
