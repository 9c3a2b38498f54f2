//===- Checks.h - Checked mode ----------------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_CHECKS_H
#define VASHISTA_RUNTIME_LIB_CHECKS_H

#include "Descriptor.h"
#include "Manifest.h"

namespace vashista::runtime {

/// Verifies what one record asks for, and reports the first violation.
vashista_status runCheck(const vso_check &check, const Operand *arguments);

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_CHECKS_H
