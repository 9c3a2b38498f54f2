//===- CudaDriver.h - What is measured through CUDA's driver ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_CUDADRIVER_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_CUDADRIVER_H

#include "Error.h"

#include <cstddef>
#include <cstdint>

namespace vashista::bench::cuda {

using tool::Error;

// The driver's own types and numbers, by its documented binary interface: a
// machine that builds this need not have its header.
using Context = struct ContextStorage *;
using Module = struct ModuleStorage *;
using Function = struct FunctionStorage *;
using Stream = struct StreamStorage *;
using Event = struct EventStorage *;
using Graph = struct GraphStorage *;
using GraphExec = struct GraphExecStorage *;
using Pointer = uint64_t;

struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  Stream stream;
  void *attributes;
  unsigned numAttributes;
};

enum DeviceAttribute {
  kMultiprocessors = 16,
  kCacheBytes = 38,
  kComputeMajor = 75
};
/// Only calls of the thread that captures must fit a capture.
enum CaptureMode { kThreadLocal = 1 };

/// The functions that are used beside the runtime's; each returns 0 for
/// success.
struct Driver {
  int (*init)(unsigned flags);
  int (*getErrorName)(int error, const char **name);
  int (*getErrorString)(int error, const char **text);
  int (*deviceGetCount)(int *count);
  int (*deviceGet)(int *device, int number);
  int (*deviceGetName)(char *name, int size, int device);
  int (*deviceGetAttribute)(int *value, int attribute, int device);
  int (*primaryContextRetain)(Context *context, int device);
  int (*primaryContextRelease)(int device);
  int (*contextSetCurrent)(Context context);
  int (*moduleLoadData)(Module *module, const void *image);
  int (*moduleUnload)(Module module);
  int (*moduleGetFunction)(Function *function, Module module, const char *name);
  int (*launchKernel)(const LaunchConfig *config, Function function,
                      void **parameters, void **extra);
  int (*memorySetAsync)(Pointer memory, unsigned char byte, size_t bytes,
                        Stream stream);
  int (*streamCreate)(Stream *stream, unsigned flags);
  int (*streamDestroy)(Stream stream);
  int (*streamSynchronize)(Stream stream);
  int (*streamBeginCapture)(Stream stream, int mode);
  int (*streamEndCapture)(Stream stream, Graph *graph);
  int (*graphInstantiate)(GraphExec *exec, Graph graph,
                          unsigned long long flags);
  int (*graphLaunch)(GraphExec exec, Stream stream);
  int (*graphExecDestroy)(GraphExec exec);
  int (*graphDestroy)(Graph graph);
  int (*eventCreate)(Event *event, unsigned flags);
  int (*eventRecord)(Event event, Stream stream);
  int (*eventElapsedTime)(float *milliseconds, Event start, Event end);
  int (*eventDestroy)(Event event);
};

/// The driver of this machine, initialised.
Error findDriver(const Driver *&driver);

/// "expected <what>, got CUDA_ERROR_...: ..." for an error; 0 is a success.
Error check(int error, const char *what);

} // namespace vashista::bench::cuda

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_CUDADRIVER_H
