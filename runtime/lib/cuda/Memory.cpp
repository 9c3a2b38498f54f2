//===- Memory.cpp - Memory of devices, for programs without a framework ---===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Error.h"
#include "Driver.h"

#include <cinttypes>

using namespace vashista::runtime;
using namespace vashista::runtime::cuda;

namespace {

/// A device's context, as long as it is used.
class Device {
public:
  explicit Device(DLDevice device) : device(device) {
    if (device.device_type != kDLCUDA)
      status = fail(VASHISTA_INVALID_ARGUMENT,
                    "expected a CUDA device (type %d), got type %d", kDLCUDA,
                    static_cast<int>(device.device_type));
    else
      status = retainContext(device.device_id, context);
  }
  ~Device() {
    for (; context && references > 0; --references)
      releaseContext(device.device_id);
  }
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  /// body(driver), in the context.
  template <typename Body> vashista_status use(const char *what, Body body) {
    if (status)
      return status;
    ContextScope scope(context);
    return scope.status ? scope.status : check(body(*getDriver()), what);
  }

  /// Of the context, beside other users: memory goes with the last.
  int references = 1;

private:
  DLDevice device;
  Context context = nullptr;
  vashista_status status = VASHISTA_OK;
};

} // namespace

extern "C" vashista_status
vashista_memory_allocate(DLDevice device, size_t bytes, void **memory) {
  if (!memory)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected a place for the memory, got null");
  *memory = nullptr;
  Pointer found = 0;
  Device its(device);
  if (vashista_status status =
          its.use("memory of the device", [&](const Driver &driver) {
            return driver.memoryAllocate(&found, bytes ? bytes : 1);
          }))
    return status;
  *memory = reinterpret_cast<void *>(found);
  its.references = 0;
  return VASHISTA_OK;
}

extern "C" vashista_status vashista_memory_free(DLDevice device, void *memory) {
  if (!memory)
    return VASHISTA_OK;
  Device its(device);
  vashista_status status = its.use(
      "memory that was allocated on the device", [&](const Driver &driver) {
        return driver.memoryFree(reinterpret_cast<Pointer>(memory));
      });
  if (!status)
    its.references = 2;
  return status;
}

extern "C" vashista_status vashista_memory_copy(DLDevice device, void *to,
                                                const void *from, size_t bytes,
                                                void *stream) {
  if (bytes == 0)
    return VASHISTA_OK;
  return Device(device).use(
      "memory of the host or the device to copy", [&](const Driver &driver) {
        auto its = static_cast<Stream>(stream);
        int error =
            driver.memoryCopyAsync(reinterpret_cast<Pointer>(to),
                                   reinterpret_cast<Pointer>(from), bytes, its);
        return error ? error : driver.streamSynchronize(its);
      });
}

extern "C" vashista_status vashista_synchronize(DLDevice device, void *stream) {
  return Device(device).use(
      "a device whose work ends well", [&](const Driver &driver) {
        return driver.streamSynchronize(static_cast<Stream>(stream));
      });
}
