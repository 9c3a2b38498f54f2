//===- Patterns.h - Lowerings of value ops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_PATTERNS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_PATTERNS_H

#include "mlir/IR/Builders.h"

namespace mlir {
class RewritePatternSet;
} // namespace mlir

namespace vashista {

struct KernelTarget;

void populateScorePatterns(mlir::RewritePatternSet &patterns,
                           const KernelTarget &target);
void populateMomentPatterns(mlir::RewritePatternSet &patterns,
                            const KernelTarget &target);
void populatePickPatterns(mlir::RewritePatternSet &patterns,
                          const KernelTarget &target);
void populateMergePatterns(mlir::RewritePatternSet &patterns);
void populateCertifyPatterns(mlir::RewritePatternSet &patterns);
void populateCheckPatterns(mlir::RewritePatternSet &patterns);
void populateFallbackPatterns(mlir::RewritePatternSet &patterns);

/// Result types may know less, or more, than what a lowering makes.
llvm::SmallVector<mlir::Value> castToTypes(mlir::OpBuilder &b,
                                           mlir::Location loc,
                                           mlir::ValueRange values,
                                           mlir::TypeRange types);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOLINALG_PATTERNS_H
