//===- Features.h - What this CPU can run -----------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_CPU_FEATURES_H
#define VASHISTA_RUNTIME_LIB_CPU_FEATURES_H

#include <cstddef>

namespace vashista::runtime {

/// Whether this CPU and its operating system have all features of a list like
/// "avx2,fma". Otherwise `missing` is the first that they lack, or that is not
/// known here, and its length.
bool hasCpuFeatures(const char *list, const char *&missing,
                    size_t &missingLength);

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_CPU_FEATURES_H
