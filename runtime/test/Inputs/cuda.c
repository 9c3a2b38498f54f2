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
// A program finds it as libcuda.so.1 on LD_LIBRARY_PATH. VASHISTA_FAKE_GPU says
// of which compute capability the devices are, as "9", VASHISTA_FAKE_FAILING a
// function and its error, as "cuMemAlloc_v2 2", and VASHISTA_FAKE_LOG where to
// write at the end what there was and what is left.
//
//===----------------------------------------------------------------------===//

#include "cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fake_cuda fake_cuda;

/// How many kernels were captured.
struct fake_graph {
  int launches;
};

__attribute__((constructor)) static void begin(void) {
  const char *major = getenv("VASHISTA_FAKE_GPU");
  fake_cuda.serves = major != NULL;
  if (major)
    fake_cuda.major = atoi(major);
  static char function[64];
  const char *failing = getenv("VASHISTA_FAKE_FAILING");
  if (failing && sscanf(failing, "%63s %d", function, &fake_cuda.error) == 2)
    fake_cuda.failing = function;
}
__attribute__((destructor)) static void end(void) {
  const char *name = getenv("VASHISTA_FAKE_LOG");
  FILE *log = name ? fopen(name, "w") : NULL;
  if (!log)
    return;
  fprintf(log,
          "captures %d, replays %d, early launches %d\nleft: contexts %d, "
          "pushed %d, modules %d, allocations %d, streams %d, events %d, "
          "graphs %d\n",
          fake_cuda.captures, fake_cuda.replays, fake_cuda.early,
          fake_cuda.contexts, fake_cuda.pushed, fake_cuda.modules,
          fake_cuda.allocations, fake_cuda.streams, fake_cuda.events,
          fake_cuda.graphs);
  fclose(log);
}

static int fails(const char *function) {
  return fake_cuda.failing && strcmp(fake_cuda.failing, function) == 0
             ? fake_cuda.error
             : 0;
}

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) {
  *version = fake_cuda.version ? fake_cuda.version : 12030;
  return 0;
}
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
  enum { multiprocessors = 16, cacheBytes = 38, major = 75, sharedBytes = 97 };
  *value = attribute == multiprocessors ? 4
           : attribute == cacheBytes    ? 1 << 20
           : attribute == major         ? fake_cuda.major
           : attribute == sharedBytes
               ? fake_cuda.sharedBytes ? fake_cuda.sharedBytes : 227 << 10
               : fake_cuda.minor;
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
  return fake_cuda.serves || strncmp(name, "add_", 4) == 0 ? 0 : 500;
}

int cuFuncGetAttribute(int *value, int attribute, void *function) {
  enum { declaredSharedBytes = 1 };
  *value = attribute == declaredSharedBytes ? 1 << 10 : 0;
  return fails("cuFuncGetAttribute");
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
  enum { givenSharedBytes = 8 };
  if (attribute == givenSharedBytes)
    fake_cuda.mostShared = value;
  return fails("cuFuncSetAttribute");
}

struct attribute {
  unsigned id;
  char pad[4];
  union {
    char pad[64];
    int number;
  } value;
};
struct config {
  unsigned grid[3], block[3], shared;
  void *stream;
  const struct attribute *attributes;
  unsigned numAttributes;
};

int cuLaunchKernelEx(const void *given, void *function, void **parameters,
                     void **extra) {
  const struct config *config = given;
  enum { programmaticStreamSerialization = 6 };
  int error = fails("cuLaunchKernelEx");
  if (error)
    return error;
  for (unsigned i = 0; i < config->numAttributes; ++i) {
    if (config->attributes[i].id != programmaticStreamSerialization)
      return 1;
    fake_cuda.early += config->attributes[i].value.number == 1;
  }
  ++fake_cuda.launches;
  fake_cuda.kernel = function;
  fake_cuda.grid = config->grid[0];
  fake_cuda.block = config->block[0];
  fake_cuda.shared = config->shared;
  fake_cuda.stream = config->stream;
  if (fake_cuda.capture)
    ++fake_cuda.capture->launches;
  if (fake_cuda.serves)
    return 0;
  int *numbers = *(int **)parameters[0];
  for (long i = 0; i < *(long *)parameters[1]; ++i)
    numbers[i] += atoi((const char *)function + 4);
  return 0;
}

/// What a capture does not allow.
static int forbidden(void) { return fake_cuda.capture ? 900 : 0; }

static int allocate(void **memory, size_t bytes, const char *function) {
  int error = forbidden() ? forbidden() : fails(function);
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
  return forbidden() ? forbidden() : fails("cuStreamSynchronize");
}

int cuCtxSetCurrent(void *context) { return 0; }
int cuStreamCreate(void **stream, unsigned flags) {
  ++fake_cuda.streams;
  *stream = &fake_cuda.streams;
  return 0;
}
int cuStreamDestroy_v2(void *stream) { return --fake_cuda.streams, 0; }
int cuStreamBeginCapture_v2(void *stream, int mode) {
  ++fake_cuda.captures;
  ++fake_cuda.graphs;
  fake_cuda.capture = calloc(1, sizeof(struct fake_graph));
  return 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
  *graph = fake_cuda.capture;
  fake_cuda.capture = NULL;
  return 0;
}
int cuGraphInstantiateWithFlags(void **exec, void *graph,
                                unsigned long long flags) {
  ++fake_cuda.graphs;
  struct fake_graph *made = malloc(sizeof(*made));
  *made = *(struct fake_graph *)graph;
  *exec = made;
  return fails("cuGraphInstantiateWithFlags");
}
/// A graph of nothing is one that was not captured.
int cuGraphLaunch(void *exec, void *stream) {
  int launches = ((struct fake_graph *)exec)->launches;
  ++fake_cuda.replays;
  fake_cuda.launches += launches;
  return launches ? fails("cuGraphLaunch") : 500;
}
static int releaseGraph(void *graph) {
  --fake_cuda.graphs;
  free(graph);
  return 0;
}
int cuGraphExecDestroy(void *exec) { return releaseGraph(exec); }
int cuGraphDestroy(void *graph) { return releaseGraph(graph); }
int cuEventCreate(void **event, unsigned flags) {
  ++fake_cuda.events;
  return (*event = malloc(sizeof(struct timespec))) ? 0 : 2;
}
int cuEventRecord(void *event, void *stream) {
  return clock_gettime(CLOCK_MONOTONIC, event);
}
int cuEventElapsedTime(float *milliseconds, const void *from, const void *to) {
  const struct timespec *start = from, *end = to;
  *milliseconds = (float)((end->tv_sec - start->tv_sec) * 1e3 +
                          (end->tv_nsec - start->tv_nsec) * 1e-6);
  return 0;
}
int cuEventDestroy_v2(void *event) {
  --fake_cuda.events;
  free(event);
  return 0;
}
