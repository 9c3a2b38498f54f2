//===- Sha256.h - SHA-256 ---------------------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_SHA256_H
#define VASHISTA_RUNTIME_LIB_SHA256_H

#include <cstddef>
#include <cstdint>

namespace vashista::runtime {

/// FIPS 180-4.
void sha256(const uint8_t *bytes, size_t size, uint8_t digest[32]);

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_SHA256_H
