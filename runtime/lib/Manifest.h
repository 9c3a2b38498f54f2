//===- Manifest.h - The verified contents of an artefact --------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_MANIFEST_H
#define VASHISTA_RUNTIME_LIB_MANIFEST_H

#include "vashista_artefact.h"
#include "vashista_runtime.h"

namespace vashista::runtime {

/// Consecutive records.
template <typename Record> struct Span {
  const Record *data = nullptr;
  uint64_t size = 0;

  const Record *begin() const { return data; }
  const Record *end() const { return data + size; }
  const Record &operator[](uint64_t i) const { return data[i]; }
  Span slice(uint64_t first, uint64_t count) const {
    return {data + first, count};
  }
};

/// Views the bytes of an artefact, and owns nothing.
class Manifest {
public:
  /// Checks all that vashista_artefact.h says about the format. Nothing else of
  /// this class may be used unless it succeeds. The bytes are aligned to 8.
  vashista_status verify(const uint8_t *bytes, uint64_t size);

  const vso_header &header() const {
    return *reinterpret_cast<const vso_header *>(bytes);
  }

  const char *string(uint32_t offset) const { return strings.data + offset; }
  Span<vso_value> values(const vso_entry &entry) const {
    return allValues.slice(entry.first_value,
                           uint64_t(entry.num_arguments) + entry.num_results);
  }
  Span<vso_dim> dims(const vso_value &value) const {
    return allDims.slice(value.first_dim, value.rank);
  }
  Span<vso_constant> constants(const vso_entry &entry) const {
    return allConstants.slice(entry.first_constant, entry.num_constants);
  }
  Span<vso_check> checks(const vso_entry &entry) const {
    return allChecks.slice(entry.first_check, entry.num_checks);
  }

  Span<vso_payload> payloads;
  Span<vso_entry> entries;

private:
  friend class Verifier;

  const uint8_t *bytes = nullptr;
  Span<char> strings;
  Span<vso_value> allValues;
  Span<vso_dim> allDims;
  Span<vso_constant> allConstants;
  Span<vso_check> allChecks;
};

/// The size of an element, or 0 for types that an artefact may not have.
unsigned elementBytes(uint8_t code, uint8_t bits);

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_MANIFEST_H
