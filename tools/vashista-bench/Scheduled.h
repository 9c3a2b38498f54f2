//===- Scheduled.h - A module whose schedules can be changed ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_SCHEDULED_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_SCHEDULED_H

#include <string>
#include <utility>
#include <vector>

namespace vashista::bench {

/// `schedule <warps = 4, ...>` of an op.
struct OpSchedule {
  /// "attend", the second of a function "attend 2".
  std::string op;
  std::vector<std::pair<std::string, std::string>> parameters;

  /// Null where it is not there.
  std::string *find(const std::string &parameter);
};

/// A function as text, and its schedules.
struct ScheduledFunction {
  std::string name;
  /// What is before each schedule, and after the last.
  std::vector<std::string> between;
  std::vector<OpSchedule> schedules;

  std::string getText() const;
};

/// A module as `vashista-compile --emit=schedule` prints it: there is no MLIR
/// here that could read it.
struct ScheduledModule {
  std::vector<ScheduledFunction> functions;

  explicit ScheduledModule(const std::string &text);
  ScheduledFunction *find(const std::string &function);
  std::string getText() const;
  /// The module with this function only.
  std::string getText(const ScheduledFunction &function) const;
};

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_SCHEDULED_H
