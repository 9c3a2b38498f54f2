//===- Error.h - Statuses with a message ------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_ERROR_H
#define VASHISTA_RUNTIME_LIB_ERROR_H

#include "vashista_runtime.h"

namespace vashista::runtime {

/// Keeps the message for vashista_last_error() and returns the status.
__attribute__((format(printf, 2, 3), cold)) vashista_status
fail(vashista_status status, const char *format, ...);

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_ERROR_H
