//===- Module.h - A loaded artefact -----------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_MODULE_H
#define VASHISTA_RUNTIME_LIB_MODULE_H

#include "Manifest.h"
#include "cpu/Payload.h"
#include "cuda/DeviceCode.h"

#include <cstdlib>

namespace vashista::runtime {

/// Owns memory from malloc: nothing here throws.
template <typename T> class Allocation {
public:
  Allocation() = default;
  explicit Allocation(size_t count)
      : data(static_cast<T *>(calloc(count ? count : 1, sizeof(T)))) {}
  ~Allocation() { free(data); }
  Allocation(Allocation &&other) noexcept : data(other.data) {
    other.data = nullptr;
  }
  Allocation &operator=(Allocation &&other) noexcept {
    T *mine = data;
    data = other.data;
    other.data = mine;
    return *this;
  }

  T *get() const { return data; }
  explicit operator bool() const { return data; }
  T &operator[](size_t i) const { return data[i]; }

private:
  T *data = nullptr;
};

} // namespace vashista::runtime

/// Does not change after it is loaded, so that any thread may use it.
struct vashista_module {
  vashista_module();
  ~vashista_module();
  vashista_module(const vashista_module &) = delete;
  vashista_module &operator=(const vashista_module &) = delete;

  /// Takes the bytes of an artefact, verified or not.
  vashista_status load(vashista::runtime::Allocation<uint8_t> bytes,
                       size_t size, const vashista_load_options *options);

  vashista::runtime::Manifest manifest;
  const char *features = nullptr, *architecture = nullptr;
  vashista::runtime::Allocation<vashista_entry_fn *> functions;

  /// Of a CUDA device, where it is open.
  vashista::runtime::cuda::DeviceCode device;

private:
  vashista_status choose(const vashista_load_options *options,
                         const vso_payload *&chosen);

  vashista::runtime::Allocation<uint8_t> bytes;
  vashista::runtime::Payload payload;
};

#endif // VASHISTA_RUNTIME_LIB_MODULE_H
