//===- Driver.h - The CUDA driver, found when it is needed ------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_CUDA_DRIVER_H
#define VASHISTA_RUNTIME_LIB_CUDA_DRIVER_H

#include "vashista_runtime.h"

namespace vashista::runtime::cuda {

// The driver's own types and numbers, by its documented binary interface: a
// machine that builds the runtime need not have its header.
using Context = struct ContextStorage *;
using Module = struct ModuleStorage *;
using Function = struct FunctionStorage *;
using Stream = struct StreamStorage *;
using Pointer = uint64_t;

struct LaunchAttribute {
  int id;
  alignas(8) int value[16]; // a union of 64 bytes
};
static_assert(sizeof(LaunchAttribute) == 72, "as the driver has it");

struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned numAttributes;
};

/// With the value 1: the kernel may start before those before it have
/// completed, if they let it.
enum { kProgrammaticStreamSerialization = 6 };
/// The first driver whose graphs know it, 12.3: what an older one captures of
/// it is not documented.
enum { kEarlyStartsInGraphs = 12030 };
enum { kOutOfMemory = 2 };
enum DeviceAttribute {
  kComputeMajor = 75,
  kComputeMinor = 76,
  /// What a kernel may have of a block's memory, in all, if it is told so.
  kSharedBytesAtMost = 97
};
enum FunctionAttribute {
  /// What it declares of a block's memory, and what a launch may give it.
  kDeclaredSharedBytes = 1,
  kGivenSharedBytesAtMost = 8
};

/// The functions that the runtime uses; each returns 0 for success.
struct Driver {
  int (*init)(unsigned flags);
  int (*getVersion)(int *version);
  int (*getErrorName)(int error, const char **name);
  int (*getErrorString)(int error, const char **text);
  int (*deviceGetCount)(int *count);
  int (*deviceGet)(int *device, int number);
  int (*deviceGetName)(char *name, int size, int device);
  int (*deviceGetAttribute)(int *value, int attribute, int device);
  int (*primaryContextRetain)(Context *context, int device);
  int (*primaryContextRelease)(int device);
  int (*contextPush)(Context context);
  int (*contextPop)(Context *context);
  int (*moduleLoadData)(Module *module, const void *image);
  int (*moduleUnload)(Module module);
  int (*moduleGetFunction)(Function *function, Module module, const char *name);
  int (*functionGetAttribute)(int *value, int attribute, Function function);
  int (*functionSetAttribute)(Function function, int attribute, int value);
  int (*launchKernel)(const LaunchConfig *config, Function function,
                      void **parameters, void **extra);
  int (*memoryAllocate)(Pointer *memory, size_t bytes);
  int (*memoryFree)(Pointer memory);
  int (*memoryAllocateAsync)(Pointer *memory, size_t bytes, Stream stream);
  int (*memoryFreeAsync)(Pointer memory, Stream stream);
  int (*memoryCopyAsync)(Pointer to, Pointer from, size_t bytes, Stream stream);
  int (*memorySetAsync)(Pointer memory, unsigned char byte, size_t bytes,
                        Stream stream);
  int (*streamSynchronize)(Stream stream);
};

/// The driver of this machine, initialised. Null, with the reason kept, where
/// there is none.
const Driver *getDriver();

/// Keeps "<what>: CUDA_ERROR_...: ..." for an error; 0 is VASHISTA_OK.
vashista_status check(int error, const char *what);

/// Makes a device's context the thread's, as long as it lives.
class ContextScope {
public:
  explicit ContextScope(Context context);
  ~ContextScope();
  ContextScope(const ContextScope &) = delete;
  ContextScope &operator=(const ContextScope &) = delete;

  /// Whether it is.
  vashista_status status;
};

/// The context that all users of a device in this process share.
vashista_status retainContext(int32_t device, Context &context);
void releaseContext(int32_t device);

} // namespace vashista::runtime::cuda

#endif // VASHISTA_RUNTIME_LIB_CUDA_DRIVER_H
