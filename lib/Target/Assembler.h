//===- Assembler.h - ptxas of a CUDA toolkit ---------------------*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_TARGET_ASSEMBLER_H
#define VASHISTA_LIB_TARGET_ASSEMBLER_H

#include "mlir/IR/BuiltinOps.h"

namespace vashista {

/// Its path, as upstream looks for it. Where there is none, that is an error at
/// the module, with what helps.
mlir::FailureOr<std::string> findAssembler(mlir::ModuleOp module);

/// The cubin of PTX for a chip such as sm_90a. Errors, with what the assembler
/// says, are at the module.
mlir::FailureOr<std::string> assemble(mlir::ModuleOp module,
                                      llvm::StringRef text,
                                      llvm::StringRef chip,
                                      llvm::StringRef assembler);

} // namespace vashista

#endif // VASHISTA_LIB_TARGET_ASSEMBLER_H
