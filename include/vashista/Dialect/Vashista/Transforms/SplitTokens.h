//===- SplitTokens.h - What vashista-split-tokens splits --------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_TRANSFORMS_SPLITTOKENS_H
#define VASHISTA_DIALECT_VASHISTA_TRANSFORMS_SPLITTOKENS_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// Whether an op walks whole sequences, which may be long, and makes states.
bool canBeSplit(AttendOp op);

} // namespace vashista

#endif // VASHISTA_DIALECT_VASHISTA_TRANSFORMS_SPLITTOKENS_H
