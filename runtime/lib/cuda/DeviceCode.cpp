//===- DeviceCode.cpp - Kernels loaded on one device ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceCode.h"
#include "../Error.h"

#include <cinttypes>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace vashista::runtime;
using namespace vashista::runtime::cuda;

//===----------------------------------------------------------------------===//
// Architectures
//===----------------------------------------------------------------------===//

Fit vashista::runtime::cuda::getFit(uint32_t imageKind,
                                    const char *architecture, int major,
                                    int minor) {
  bool isCompiled = imageKind == VSO_IMAGE_PTX;
  const char *prefix = isCompiled ? "compute_" : "sm_";
  size_t length = strlen(prefix);
  if (strncmp(architecture, prefix, length) != 0)
    return Fit::none;
  char *end = nullptr;
  long number = strtol(architecture + length, &end, 10);
  if (end == architecture + length || number < 10 || number > 9999)
    return Fit::none;
  int itsMajor = static_cast<int>(number / 10),
      itsMinor = static_cast<int>(number % 10);
  bool isSame = itsMajor == major && itsMinor == minor;
  bool isOlder = itsMajor < major || (itsMajor == major && itsMinor <= minor);
  bool runs = false;
  if (strcmp(end, "a") == 0) // Features of one architecture.
    runs = isSame;
  else if (strcmp(end, "f") == 0 || (*end == '\0' && !isCompiled))
    runs = itsMajor == major && isOlder; // Of a family.
  else if (*end == '\0')
    runs = isOlder;
  if (!runs)
    return Fit::none;
  return isCompiled ? Fit::compiled : isSame ? Fit::exact : Fit::family;
}

vashista_status DeviceCode::open(int32_t number) {
  if (vashista_status status = retainContext(number, context))
    return status;
  device = number;
  const Driver &driver = *getDriver();
  int handle = 0;
  if (vashista_status status =
          check(driver.deviceGet(&handle, device), "to open a CUDA device"))
    return status;
  if (vashista_status status =
          check(driver.deviceGetAttribute(&major, kComputeMajor, handle),
                "a device's compute capability"))
    return status;
  if (vashista_status status =
          check(driver.deviceGetAttribute(&minor, kComputeMinor, handle),
                "a device's compute capability"))
    return status;
  return check(
      driver.deviceGetAttribute(&sharedBytes, kSharedBytesAtMost, handle),
      "the memory of a device's blocks");
}

vashista_status DeviceCode::choose(const Manifest &manifest,
                                   const vso_payload *&chosen) const {
  Fit best = Fit::none;
  char held[256] = "";
  for (const vso_payload &payload : manifest.payloads) {
    if (payload.kind != VSO_PAYLOAD_CUDA)
      continue;
    const char *architecture = manifest.string(payload.architecture);
    Fit fit = getFit(payload.image_kind, architecture, major, minor);
    if (fit > best) {
      best = fit;
      chosen = &payload;
    }
    size_t length = strlen(held);
    snprintf(held + length, sizeof(held) - length, "%s%s", length ? ", " : "",
             architecture);
  }
  if (best != Fit::none)
    return VASHISTA_OK;
  char name[128] = "a GPU";
  int handle = 0;
  if (getDriver()->deviceGet(&handle, device) == 0)
    getDriver()->deviceGetName(name, sizeof(name), handle);
  return fail(
      VASHISTA_UNSUPPORTED,
      "expected a GPU for which the artefact has code (%s), got '%s' of "
      "compute capability %d.%d",
      *held ? held : "none", name, major, minor);
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

DeviceCode::~DeviceCode() {
  if (!context)
    return;
  if (module) {
    ContextScope scope(context);
    if (!scope.status)
      getDriver()->moduleUnload(module);
  }
  ::free(kernels);
  releaseContext(device);
}

/// One byte for each kernel: a byte that is wrong would be a race.
static vashista_status checkWaits(const char *waits, uint64_t bytes,
                                  uint32_t count) {
  if (!waits)
    return VASHISTA_OK;
  if (bytes != count)
    return fail(VASHISTA_LOAD_FAILED,
                "expected of each of %" PRIu32 " kernels whether it waits, got "
                "it of %" PRIu64,
                count, bytes);
  for (uint32_t i = 0; i < count; ++i)
    if (waits[i] != 0 && waits[i] != 1)
      return fail(VASHISTA_LOAD_FAILED,
                  "expected 0 or 1 for whether the kernel number %" PRIu32
                  " waits, got %d",
                  i, waits[i]);
  return VASHISTA_OK;
}

vashista_status DeviceCode::giveSharedMemory(Kernel &kernel) const {
  const Driver &driver = *getDriver();
  char what[256];
  snprintf(what, sizeof(what), "memory of a block for the kernel '%.160s'",
           kernel.name);
  int declared = 0;
  if (vashista_status status =
          check(driver.functionGetAttribute(&declared, kDeclaredSharedBytes,
                                            kernel.function),
                what))
    return status;
  kernel.mostSharedBytes = declared < sharedBytes ? sharedBytes - declared : 0;
  return check(driver.functionSetAttribute(kernel.function,
                                           kGivenSharedBytesAtMost,
                                           kernel.mostSharedBytes),
               what);
}

vashista_status DeviceCode::load(const void *image, const char *names,
                                 uint64_t namesBytes, const char *waits,
                                 uint64_t waitsBytes) {
  uint32_t count = 0;
  const char *end = names + namesBytes;
  for (const char *name = names; name < end && *name;
       name += strnlen(name, static_cast<size_t>(end - name)) + 1)
    ++count;
  if (vashista_status status = checkWaits(waits, waitsBytes, count))
    return status;

  ContextScope scope(context);
  if (scope.status)
    return scope.status;
  const Driver &driver = *getDriver();
  int version = 0;
  if (vashista_status status =
          check(driver.getVersion(&version), "the version of the CUDA driver"))
    return status;
  if (vashista_status status = check(driver.moduleLoadData(&module, image),
                                     "a device that loads the kernels"))
    return status;

  kernels = static_cast<Kernel *>(calloc(count ? count : 1, sizeof(Kernel)));
  if (!kernels)
    return fail(VASHISTA_OUT_OF_MEMORY,
                "expected memory for %" PRIu32 " kernels, got none", count);
  for (const char *name = names; numKernels < count; name += strlen(name) + 1) {
    Kernel &kernel = kernels[numKernels];
    kernel.name = name;
    kernel.startsEarly =
        waits && waits[numKernels] && version >= kEarlyStartsInGraphs;
    ++numKernels;
    char what[256];
    snprintf(what, sizeof(what), "the kernel '%.160s' in the artefact's image",
             name);
    if (vashista_status status = check(
            driver.moduleGetFunction(&kernel.function, module, name), what))
      return status;
    if (vashista_status status = giveSharedMemory(kernel))
      return status;
  }
  return VASHISTA_OK;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

void *DeviceCall::allocate(uint64_t size, uint64_t align) {
  if (isMeasured) {
    neededBytes = size + align;
    return nullptr;
  }
  if (status)
    return nullptr;
  if (workspace) {
    auto start = reinterpret_cast<uint64_t>(workspace);
    uint64_t skipped = (align - start % align) % align;
    if (workspaceBytes < skipped || workspaceBytes - skipped < size) {
      status = fail(VASHISTA_INVALID_ARGUMENT,
                    "expected a workspace of %" PRIu64 " bytes, got %" PRIu64,
                    size + align, workspaceBytes);
      return nullptr;
    }
    return static_cast<char *>(workspace) + skipped;
  }
  Pointer memory = 0;
  // Of an alignment of 256.
  status = check(getDriver()->memoryAllocateAsync(&memory, size, stream),
                 "memory of the device for temporaries");
  return reinterpret_cast<void *>(memory);
}

void DeviceCall::free(void *memory) {
  if (workspace || isMeasured || !memory)
    return;
  int error =
      getDriver()->memoryFreeAsync(reinterpret_cast<Pointer>(memory), stream);
  if (!status)
    status = check(error, "to give back memory of the device");
}

void DeviceCall::launch(uint32_t number, const int64_t grid[3],
                        const int64_t block[3], int32_t sharedBytes,
                        void **parameters) {
  if (status || isMeasured)
    return;
  if (number >= code->numKernels) {
    status = fail(VASHISTA_MALFORMED,
                  "expected one of %" PRIu32 " kernels, got number %" PRIu32,
                  code->numKernels, number);
    return;
  }
  const DeviceCode::Kernel &kernel = code->kernels[number];
  for (int i = 0; i < 3; ++i)
    if (grid[i] == 0)
      return;
  constexpr int64_t most[] = {INT32_MAX, 65535, 65535};
  for (int i = 0; i < 3; ++i)
    if (grid[i] < 0 || grid[i] > most[i]) {
      status = fail(VASHISTA_INVALID_ARGUMENT,
                    "kernel '%s': expected at most %" PRId64
                    " blocks in dimension %d, got %" PRId64,
                    kernel.name, most[i], i, grid[i]);
      return;
    }
  if (sharedBytes < 0 || sharedBytes > kernel.mostSharedBytes) {
    status = fail(VASHISTA_UNSUPPORTED,
                  "kernel '%s': expected a device whose blocks have at least "
                  "%" PRId32 " bytes of memory beside what the kernel "
                  "declares, got %" PRId32,
                  kernel.name, sharedBytes, kernel.mostSharedBytes);
    return;
  }
  auto u = [](int64_t size) { return static_cast<unsigned>(size); };
  LaunchConfig config = {
      u(grid[0]),  u(grid[1]),     u(grid[2]), u(block[0]), u(block[1]),
      u(block[2]), u(sharedBytes), stream,     nullptr,     0};
  LaunchAttribute early = {kProgrammaticStreamSerialization, {1}};
  if (kernel.startsEarly) {
    config.attributes = &early;
    config.numAttributes = 1;
  }
  int error =
      getDriver()->launchKernel(&config, kernel.function, parameters, nullptr);
  if (!error)
    return;
  char what[256];
  snprintf(what, sizeof(what), "to launch the kernel '%.160s'", kernel.name);
  status = check(error, what);
}
