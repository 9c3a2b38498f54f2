//===- CpuCode.h - Machine code of a module ---------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_TARGET_CPUCODE_H
#define VASHISTA_LIB_TARGET_CPUCODE_H

#include "vashista/Target/Compile.h"

#include "llvm/ADT/SmallString.h"

namespace vashista {

/// Reads what follows "cpu:"; nothing stands for this machine.
llvm::Expected<CpuTarget> parseCpuTarget(llvm::StringRef name);

/// Any x86-64, for code that computes sizes and launches kernels.
CpuTarget getLaunchingTarget();

/// Optimised LLVM IR, assembly or an object, from a module in the LLVM dialect.
llvm::Expected<llvm::SmallString<0>>
generateCode(mlir::ModuleOp module, const CpuTarget &target, OutputKind output);

/// A shared object that needs nothing but the C library's memory functions.
/// Fails where the object calls anything else.
llvm::Expected<std::string> linkSharedObject(llvm::StringRef object);

} // namespace vashista

#endif // VASHISTA_LIB_TARGET_CPUCODE_H
