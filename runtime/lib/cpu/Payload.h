//===- Payload.h - A mapped ELF payload -------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_CPU_PAYLOAD_H
#define VASHISTA_RUNTIME_LIB_CPU_PAYLOAD_H

#include "vashista_artefact.h"
#include "vashista_runtime.h"

namespace vashista::runtime {

/// A shared object that runs from bytes in memory.
class Payload {
public:
  Payload() = default;
  ~Payload();
  Payload(const Payload &) = delete;
  Payload &operator=(const Payload &) = delete;

  /// Maps the bytes, which may go afterwards.
  vashista_status map(const uint8_t *bytes, uint64_t size);

  /// A function that the payload itself exports: not one of its libraries'.
  vashista_status find(const char *symbol, void *&function) const;

  /// Whether the payload itself exports a symbol.
  bool exports(const char *symbol) const;

  /// The bytes of an object that the payload itself exports.
  vashista_status findObject(const char *symbol, const char *&bytes,
                             uint64_t &size) const;

private:
  void *handle = nullptr;
};

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_CPU_PAYLOAD_H
