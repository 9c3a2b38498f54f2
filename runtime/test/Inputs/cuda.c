//===- cuda.c - A CUDA driver that only writes down what it is asked ------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Memory of its two devices is the host's. A kernel named add_<n> adds n to
// each i32 of its first parameter, as many as its second one says, at once.
//
//===----------------------------------------------------------------------===//

#include "cuda.h"

#include <stdlib.h>
#include <string.h>

struct fake_cuda fake_cuda;

static int fails(const char *function) {
  return fake_cuda.failing && strcmp(fake_cuda.failing, function) == 0
             ? fake_cuda.error
             : 0;
}

int cuInit(unsigned flags) { return 0; }
int cuGetErrorName(int error, const char **name) {
  *name = error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
  return 0;
}
int cuGetErrorString(int error, const char **text) {
  *text = "as the test wants";
  return 0;
}
int cuDeviceGetCount(int *count) { return *count = 2, 0; }
int cuDeviceGet(int *device, int number) { return *device = number, 0; }
int cuDeviceGetName(char *name, int size, int device) {
  strncpy(name, "Test GPU", (size_t)size);
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? fake_cuda.major : fake_cuda.minor;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  ++fake_cuda.contexts;
  *context = &fake_cuda.devices[device];
  return fails("cuDevicePrimaryCtxRetain");
}
int cuDevicePrimaryCtxRelease_v2(int device) { return --fake_cuda.contexts, 0; }
int cuCtxPushCurrent_v2(void *context) { return ++fake_cuda.pushed, 0; }
int cuCtxPopCurrent_v2(void **context) { return --fake_cuda.pushed, 0; }
int cuModuleLoadData(void **module, const void *image) {
  ++fake_cuda.modules;
  fake_cuda.image = image;
  *module = &fake_cuda;
  return fails("cuModuleLoadData");
}
int cuModuleUnload(void *module) { return --fake_cuda.modules, 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = (void *)name;
  return strncmp(name, "add_", 4) == 0 ? 0 : 500;
}

struct config {
  unsigned grid[3], block[3], shared;
  void *stream;
};

int cuLaunchKernelEx(const void *given, void *function, void **parameters,
                     void **extra) {
  const struct config *config = given;
  int error = fails("cuLaunchKernelEx");
  if (error)
    return error;
  ++fake_cuda.launches;
  fake_cuda.kernel = function;
  fake_cuda.grid = config->grid[0];
  fake_cuda.block = config->block[0];
  fake_cuda.stream = config->stream;
  int *numbers = *(int **)parameters[0];
  for (long i = 0; i < *(long *)parameters[1]; ++i)
    numbers[i] += atoi((const char *)function + 4);
  return 0;
}

static int allocate(void **memory, size_t bytes, const char *function) {
  int error = fails(function);
  if (error)
    return error;
  ++fake_cuda.allocations;
  return (*memory = aligned_alloc(256, (bytes + 255) / 256 * 256)) ? 0 : 2;
}
static int release(void *memory) {
  --fake_cuda.allocations;
  free(memory);
  return 0;
}
int cuMemAlloc_v2(void **memory, size_t bytes) {
  return allocate(memory, bytes, "cuMemAlloc_v2");
}
int cuMemFree_v2(void *memory) { return release(memory); }
int cuMemAllocAsync(void **memory, size_t bytes, void *stream) {
  ++fake_cuda.ofStream;
  return allocate(memory, bytes, "cuMemAllocAsync");
}
int cuMemFreeAsync(void *memory, void *stream) { return release(memory); }
int cuMemcpyAsync(void *to, const void *from, size_t bytes, void *stream) {
  memcpy(to, from, bytes);
  return fails("cuMemcpyAsync");
}
int cuMemsetD8Async(void *memory, unsigned char byte, size_t bytes,
                    void *stream) {
  memset(memory, byte, bytes);
  return 0;
}
int cuStreamSynchronize(void *stream) {
  ++fake_cuda.waits;
  return fails("cuStreamSynchronize");
}
