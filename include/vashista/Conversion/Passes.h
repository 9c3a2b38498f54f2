//===- Passes.h - Conversions of the vashista dialect -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_CONVERSION_PASSES_H
#define VASHISTA_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace vashista {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "vashista/Conversion/Passes.h.inc"

} // namespace vashista

#endif // VASHISTA_CONVERSION_PASSES_H
