//===- Temporaries.h - Memory for the temporaries of calls -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_TEMPORARIES_H
#define VASHISTA_RUNTIME_LIB_TEMPORARIES_H

#include <cstdint>

namespace vashista::runtime {

/// Memory whose alignment is a power of two; null when there is none. A large
/// block comes from an earlier call where one is kept: pages that the system
/// maps anew are cleared first, which takes longer than many a decode step.
void *allocateTemporary(uint64_t size, uint64_t align);
void freeTemporary(void *pointer);

/// Gives back what is kept and not in use.
void releaseTemporaries();

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_TEMPORARIES_H
