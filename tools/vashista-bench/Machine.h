//===- Machine.h - What runs entries, and its roofs -------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_MACHINE_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_MACHINE_H

#include "Call.h"

#include <memory>

namespace vashista::bench {

/// A CPU or a GPU.
class Machine {
public:
  virtual ~Machine() = default;

  virtual DLDevice getDevice() const = 0;
  bool isDevice() const { return getDevice().device_type != kDLCPU; }
  /// What vashista-compile is asked for, where nothing is compiled yet.
  virtual std::string getTarget() const = 0;
  virtual std::string getName() const = 0;
  /// What else is of interest: "2 threads".
  virtual std::string getDetails() const = 0;

  /// An entry on this machine, which outlives it.
  virtual std::unique_ptr<Call> makeCall() = 0;

  /// Bytes a second that all of it reads, of memory that then is in its caches
  /// in place of anything else.
  virtual Error measureRead(Problem &problem, double &rate) = 0;
  /// Multiply-adds a second, in registers.
  virtual Error measureMultiplyAdds(double &rate) = 0;
};

/// The machine that the options name.
Error makeMachine(const Options &options, std::unique_ptr<Machine> &machine);

/// Threads of the host.
unsigned getThreads(const Options &options);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_MACHINE_H
