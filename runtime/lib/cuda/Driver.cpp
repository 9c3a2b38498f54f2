//===- Driver.cpp - The CUDA driver, found when it is needed --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"
#include "../Error.h"

#include <cinttypes>
#include <cstdio>
#include <dlfcn.h>
#include <pthread.h>

using namespace vashista::runtime;
using namespace vashista::runtime::cuda;

static Driver driver;
static bool isUsable = false;
/// Why it is not, for every thread that asks.
static char obstacle[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find() {
  // It stays, as its threads do.
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(obstacle, sizeof(obstacle), "none: %s", dlerror());
    return;
  }
  const struct {
    const char *name;
    void *place;
  } functions[] = {
      {"cuInit", &driver.init},
      {"cuDriverGetVersion", &driver.getVersion},
      {"cuGetErrorName", &driver.getErrorName},
      {"cuGetErrorString", &driver.getErrorString},
      {"cuDeviceGetCount", &driver.deviceGetCount},
      {"cuDeviceGet", &driver.deviceGet},
      {"cuDeviceGetName", &driver.deviceGetName},
      {"cuDeviceGetAttribute", &driver.deviceGetAttribute},
      {"cuDevicePrimaryCtxRetain", &driver.primaryContextRetain},
      {"cuDevicePrimaryCtxRelease_v2", &driver.primaryContextRelease},
      {"cuCtxPushCurrent_v2", &driver.contextPush},
      {"cuCtxPopCurrent_v2", &driver.contextPop},
      {"cuModuleLoadData", &driver.moduleLoadData},
      {"cuModuleUnload", &driver.moduleUnload},
      {"cuModuleGetFunction", &driver.moduleGetFunction},
      {"cuFuncGetAttribute", &driver.functionGetAttribute},
      {"cuFuncSetAttribute", &driver.functionSetAttribute},
      {"cuLaunchKernelEx", &driver.launchKernel},
      {"cuMemAlloc_v2", &driver.memoryAllocate},
      {"cuMemFree_v2", &driver.memoryFree},
      {"cuMemAllocAsync", &driver.memoryAllocateAsync},
      {"cuMemFreeAsync", &driver.memoryFreeAsync},
      {"cuMemcpyAsync", &driver.memoryCopyAsync},
      {"cuMemsetD8Async", &driver.memorySetAsync},
      {"cuStreamSynchronize", &driver.streamSynchronize}};
  for (const auto &[name, place] : functions) {
    void *function = dlsym(library, name);
    if (!function) {
      snprintf(obstacle, sizeof(obstacle), "one without %s", name);
      return;
    }
    *static_cast<void **>(place) = function;
  }
  if (int error = driver.init(0)) {
    const char *name = "an unknown error";
    driver.getErrorName(error, &name);
    snprintf(obstacle, sizeof(obstacle), "one that does not start: %s", name);
    return;
  }
  isUsable = true;
}

const Driver *vashista::runtime::cuda::getDriver() {
  pthread_once(&once, find);
  if (isUsable)
    return &driver;
  fail(VASHISTA_UNSUPPORTED,
       "expected a CUDA driver, libcuda.so.1, of 11.8 or later, got %s",
       obstacle);
  return nullptr;
}

vashista_status vashista::runtime::cuda::check(int error, const char *what) {
  if (error == 0)
    return VASHISTA_OK;
  const char *name = "an unknown error", *text = "";
  driver.getErrorName(error, &name);
  driver.getErrorString(error, &text);
  return fail(error == kOutOfMemory ? VASHISTA_OUT_OF_MEMORY
                                    : VASHISTA_DEVICE_ERROR,
              "expected %s, got %s (%d): %s", what, name, error, text);
}

ContextScope::ContextScope(Context context)
    : status(check(driver.contextPush(context), "to use a device's context")) {}

ContextScope::~ContextScope() {
  Context popped;
  if (!status)
    driver.contextPop(&popped);
}

vashista_status vashista::runtime::cuda::retainContext(int32_t device,
                                                       Context &context) {
  if (!getDriver())
    return VASHISTA_UNSUPPORTED;
  int count = 0, handle = 0;
  if (vashista_status status =
          check(driver.deviceGetCount(&count), "to count CUDA devices"))
    return status;
  if (device < 0 || device >= count)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected one of %d CUDA devices, got number %" PRId32, count,
                device);
  if (vashista_status status =
          check(driver.deviceGet(&handle, device), "to open a CUDA device"))
    return status;
  return check(driver.primaryContextRetain(&context, handle),
               "the context of a CUDA device");
}

void vashista::runtime::cuda::releaseContext(int32_t device) {
  int handle = 0;
  if (driver.deviceGet(&handle, device) == 0)
    driver.primaryContextRelease(handle);
}
