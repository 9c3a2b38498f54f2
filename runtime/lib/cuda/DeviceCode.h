//===- DeviceCode.h - Kernels loaded on one device --------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_CUDA_DEVICECODE_H
#define VASHISTA_RUNTIME_LIB_CUDA_DEVICECODE_H

#include "../Manifest.h"
#include "Driver.h"

namespace vashista::runtime::cuda {

/// How well a device can run an image: 0 not at all, then through its driver's
/// compiler, then code of its family, then code of its own.
enum class Fit { none, compiled, family, exact };

/// Of an image for `architecture`, "sm_90a" or, of PTX, "compute_90".
Fit getFit(uint32_t imageKind, const char *architecture, int major, int minor);

/// One call of an entry, on the thread that makes it.
struct DeviceCall {
  const class DeviceCode *code = nullptr;
  Stream stream = nullptr;
  /// Of the caller; null for memory of the stream.
  void *workspace = nullptr;
  uint64_t workspaceBytes = 0;
  /// Only finds out how large a workspace is needed.
  bool isMeasured = false;
  uint64_t neededBytes = 0;
  vashista_status status = VASHISTA_OK;

  void *allocate(uint64_t size, uint64_t align);
  void free(void *memory);
  void launch(uint32_t kernel, const int64_t grid[3], const int64_t block[3],
              int32_t sharedBytes, void **parameters);
};

class DeviceCode {
public:
  DeviceCode() = default;
  ~DeviceCode();
  DeviceCode(const DeviceCode &) = delete;
  DeviceCode &operator=(const DeviceCode &) = delete;

  /// Opens a device.
  vashista_status open(int32_t device);
  /// The payload that fits it best, an error that says what there is if none.
  vashista_status choose(const Manifest &manifest,
                         const vso_payload *&chosen) const;
  /// Loads an image and finds its kernels: names that each end with NUL, the
  /// last of which is empty. Of each, whether it waits at its entry; null if
  /// none does.
  vashista_status load(const void *image, const char *names,
                       uint64_t namesBytes, const char *waits,
                       uint64_t waitsBytes);

  bool isOpen() const { return context; }
  int32_t getDevice() const { return device; }
  Context getContext() const { return context; }

private:
  friend struct DeviceCall;

  int32_t device = -1;
  int major = 0, minor = 0, sharedBytes = 0;
  Context context = nullptr;
  Module module = nullptr;
  struct Kernel;
  /// Lets launches give a kernel all that blocks of this device may have.
  vashista_status giveSharedMemory(Kernel &kernel) const;
  struct Kernel {
    const char *name; // of the image's payload
    Function function;
    bool startsEarly;        // while the one before it in the stream ends
    int32_t mostSharedBytes; // of a block, that a launch may give it
  } *kernels = nullptr;
  uint32_t numKernels = 0;
};

} // namespace vashista::runtime::cuda

#endif // VASHISTA_RUNTIME_LIB_CUDA_DEVICECODE_H
