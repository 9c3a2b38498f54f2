//===- FaultTest.cpp - System functions that fail -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every allocation and system call of the runtime fails once, in turn: each
// time the call says so or copes, and nothing is leaked. The program is linked
// with
// --wrap for each of these functions.
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace vashista;
using namespace vashista::test;

/// Calls until the one that fails; negative: none does. Of this thread, so that
/// only the runtime's calls count.
static thread_local int untilFailure = -1;

static bool failsNow() { return untilFailure >= 0 && untilFailure-- == 0; }

// NOLINTBEGIN(readability-identifier-naming): the linker's names.
extern "C" {
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size) {
  return failsNow() ? nullptr : __real_malloc(size);
}
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
  return failsNow() ? nullptr : __real_calloc(count, size);
}
int __real_posix_memalign(void **pointer, size_t align, size_t size);
int __wrap_posix_memalign(void **pointer, size_t align, size_t size) {
  return failsNow() ? ENOMEM : __real_posix_memalign(pointer, align, size);
}
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags) {
  if (!failsNow())
    return __real_memfd_create(name, flags);
  errno = ENOMEM;
  return -1;
}
ssize_t __real_write(int file, const void *bytes, size_t size);
ssize_t __wrap_write(int file, const void *bytes, size_t size) {
  if (!failsNow())
    return __real_write(file, bytes, size);
  errno = ENOSPC;
  return -1;
}
ssize_t __real_read(int file, void *bytes, size_t size);
ssize_t __wrap_read(int file, void *bytes, size_t size) {
  if (!failsNow())
    return __real_read(file, bytes, size);
  errno = EIO;
  return -1;
}
int __real_fcntl(int file, int command, ...);
int __wrap_fcntl(int file, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  long argument = va_arg(arguments, long);
  va_end(arguments);
  if (!failsNow())
    return __real_fcntl(file, command, argument);
  errno = EPERM;
  return -1;
}
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument) {
  return failsNow() ? EAGAIN
                    : __real_pthread_create(thread, attributes, body, argument);
}
}
// NOLINTEND(readability-identifier-naming)

namespace {

int countFiles() {
  int count = 0;
  for (int file = 0; file < 1024; ++file)
    count += fcntl(file, F_GETFD) >= 0;
  return count;
}

TEST(Fault, Loading) {
  std::string path =
      testing::TempDir() + "vashista-fault-" + std::to_string(getpid());
  writeFile(path, write(tinyArtefact()));
  load(tinyArtefact());
  int before = countFiles();
  int failures = 0;
  for (;; ++failures) {
    vashista_module *module = nullptr;
    untilFailure = failures;
    vashista_status status =
        vashista_module_load(path.c_str(), nullptr, &module);
    bool wasReached = untilFailure < 0;
    untilFailure = -1;
    if (!wasReached) {
      EXPECT_OK(status);
      vashista_module_free(module);
      break;
    }
    EXPECT_TRUE(status == VASHISTA_OUT_OF_MEMORY ||
                status == VASHISTA_LOAD_FAILED || status == VASHISTA_IO_ERROR)
        << failures << ": " << vashista_status_name(status);
    EXPECT_EQ(module, nullptr);
    EXPECT_EQ(countFiles(), before);
  }
  // The file's bytes, reading them, the module, the memory file, writing it,
  // sealing it, the table of functions.
  EXPECT_EQ(failures, 7);
  unlink(path.c_str());
}

TEST(Fault, StartingThreads) {
  setenv("VASHISTA_NUM_THREADS", "4", 1);
  // The list of threads, and each thread.
  for (int failure = 0; failure < 4; ++failure) {
    Module module = load(kernelsArtefact());
    Tensor<float> x({1000}), y({1000});
    for (float &element : x)
      element = 2;
    untilFailure = failure;
    vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
    DLTensor *arguments[] = {x}, *results[] = {y};
    vashista_status status =
        vashista_call(module.get(), 0, arguments, 1, results, 1, &options);
    EXPECT_LT(untilFailure, 0);
    untilFailure = -1;
    EXPECT_OK(status);
    for (float element : y)
      ASSERT_EQ(element, 1);
  }
  unsetenv("VASHISTA_NUM_THREADS");
}

TEST(Fault, Temporaries) {
  Module module = load(kernelsArtefact());
  Tensor<int64_t> size({}, {100}), good({});
  DLTensor *arguments[] = {size}, *results[] = {good};
  uint32_t entry = find(module, "temporary");
  untilFailure = 3;
  EXPECT_FAILS(
      vashista_call(module.get(), entry, arguments, 1, results, 1, nullptr),
      VASHISTA_OUT_OF_MEMORY,
      "entry 'temporary': expected memory for temporaries, got none");
  untilFailure = -1;
}

TEST(Fault, CallsAllocateNothing) {
  Module module = load(kernelsArtefact());
  Tensor<float> x({4}), y({4});
  DLTensor *arguments[] = {x}, *results[] = {y};
  vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
  options.checked = 1;
  EXPECT_OK(vashista_call(module.get(), 0, arguments, 1, results, 1, &options));
  untilFailure = 0;
  vashista_status status =
      vashista_call(module.get(), 0, arguments, 1, results, 1, &options);
  EXPECT_EQ(untilFailure, 0);
  untilFailure = -1;
  EXPECT_OK(status);
}

TEST(Fault, Verifying) {
  std::string bytes = write(tinyArtefact());
  untilFailure = 0;
  vashista_status status = vashista_artefact_verify(bytes.data(), bytes.size());
  untilFailure = -1;
  EXPECT_EQ(status, VASHISTA_OUT_OF_MEMORY);
  EXPECT_EQ(vashista_last_error(), "expected memory of " +
                                       std::to_string(bytes.size()) +
                                       " bytes, got none");
}

} // namespace
