//===- ThreadPool.h - What the host offers to kernels -----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_THREADPOOL_H
#define VASHISTA_RUNTIME_LIB_THREADPOOL_H

#include "vashista_artefact.h"

#include <atomic>

namespace vashista::runtime {

namespace cuda {
struct DeviceCall;
} // namespace cuda

/// One vashista_call, on all threads that work for it.
struct CallState {
  /// Threads to use at most; 0: no cap.
  uint32_t maxThreads = 0;
  /// A kernel asked for memory in vain.
  std::atomic<bool> outOfMemory{false};
  /// Where it runs on a device.
  cuda::DeviceCall *device = nullptr;
};

/// Makes a call the one that this thread works for, in the default
/// floating-point environment: a kernel must not compute anything else on the
/// caller's thread than on a worker.
class CallScope {
public:
  explicit CallScope(CallState &call);
  ~CallScope();
  CallScope(const CallScope &) = delete;
  CallScope &operator=(const CallScope &) = delete;

private:
  CallState *outer;
  unsigned floatingPoint;
};

/// Each module holds the process's one pool. Its threads start with the first
/// work for them and end when the last module lets go.
void acquirePool();
void releasePool();

/// For payloads to bind to; lives as long as the process.
extern const vashista_host host;

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_THREADPOOL_H
