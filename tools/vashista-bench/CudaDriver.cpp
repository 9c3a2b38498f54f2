//===- CudaDriver.cpp - What is measured through CUDA's driver ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDriver.h"

#include <dlfcn.h>

using namespace vashista;
using namespace vashista::bench;
using tool::Error;
using tool::fail;

static cuda::Driver driver;

static Error unusable(const std::string &obstacle) {
  return fail("expected a CUDA driver, libcuda.so.1, of 11.8 or later, got %s",
              obstacle.c_str());
}

Error cuda::findDriver(const Driver *&found) {
  found = &driver;
  if (driver.init)
    return Error::success();
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return unusable(std::string("none: ") + dlerror());
  const struct {
    const char *name;
    void *place;
  } functions[] = {
      {"cuGetErrorName", &driver.getErrorName},
      {"cuGetErrorString", &driver.getErrorString},
      {"cuDeviceGetCount", &driver.deviceGetCount},
      {"cuDeviceGet", &driver.deviceGet},
      {"cuDeviceGetName", &driver.deviceGetName},
      {"cuDeviceGetAttribute", &driver.deviceGetAttribute},
      {"cuDevicePrimaryCtxRetain", &driver.primaryContextRetain},
      {"cuDevicePrimaryCtxRelease_v2", &driver.primaryContextRelease},
      {"cuCtxSetCurrent", &driver.contextSetCurrent},
      {"cuModuleLoadData", &driver.moduleLoadData},
      {"cuModuleUnload", &driver.moduleUnload},
      {"cuModuleGetFunction", &driver.moduleGetFunction},
      {"cuLaunchKernelEx", &driver.launchKernel},
      {"cuMemsetD8Async", &driver.memorySetAsync},
      {"cuStreamCreate", &driver.streamCreate},
      {"cuStreamDestroy_v2", &driver.streamDestroy},
      {"cuStreamSynchronize", &driver.streamSynchronize},
      {"cuStreamBeginCapture_v2", &driver.streamBeginCapture},
      {"cuStreamEndCapture", &driver.streamEndCapture},
      {"cuGraphInstantiateWithFlags", &driver.graphInstantiate},
      {"cuGraphLaunch", &driver.graphLaunch},
      {"cuGraphExecDestroy", &driver.graphExecDestroy},
      {"cuGraphDestroy", &driver.graphDestroy},
      {"cuEventCreate", &driver.eventCreate},
      {"cuEventRecord", &driver.eventRecord},
      {"cuEventElapsedTime", &driver.eventElapsedTime},
      {"cuEventDestroy_v2", &driver.eventDestroy},
      {"cuInit", &driver.init}};
  for (const auto &[name, place] : functions) {
    void *function = dlsym(library, name);
    if (!function)
      return unusable(std::string("one without ") + name);
    *static_cast<void **>(place) = function;
  }
  if (int error = driver.init(0)) {
    const char *name = "an unknown error";
    driver.getErrorName(error, &name);
    return unusable(std::string("one that does not start: ") + name);
  }
  return Error::success();
}

Error cuda::check(int error, const char *what) {
  if (error == 0)
    return Error::success();
  const char *name = "an unknown error", *text = "";
  driver.getErrorName(error, &name);
  driver.getErrorString(error, &text);
  return fail("expected %s, got %s (%d): %s", what, name, error, text);
}
