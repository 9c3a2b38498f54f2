//===- Device.h - Devices and their memory ----------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_DEVICE_H
#define VASHISTA_TOOLS_COMMON_DEVICE_H

#include "Error.h"

#include "vashista_runtime.h"

#include <utility>

namespace vashista::tool {

/// Reads the value of --device: cpu, cuda (its first), cuda:0 and so on.
Error parseDevice(const std::string &value, DLDevice &device);

/// Memory of a CUDA device.
class DeviceMemory {
public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory &&other) noexcept
      : device(other.device), start(std::exchange(other.start, nullptr)) {}
  DeviceMemory &operator=(DeviceMemory &&other) noexcept {
    std::swap(device, other.device);
    std::swap(start, other.start);
    return *this;
  }
  ~DeviceMemory() { vashista_memory_free(device, start); }

  /// False where the runtime has kept why not.
  bool allocate(DLDevice its, size_t size) {
    vashista_memory_free(device, std::exchange(start, nullptr));
    device = its;
    return vashista_memory_allocate(device, size, &start) == VASHISTA_OK;
  }
  void *data() const { return start; }

private:
  DLDevice device = {kDLCPU, 0};
  void *start = nullptr;
};

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_DEVICE_H
