//===- Sweep.h - Families of cases that the sweep draws from -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_SWEEP_H
#define VASHISTA_TEST_INTEGRATION_CPU_SWEEP_H

#include "Checks.h"

#include <cstdlib>
#include <memory>

namespace vashista::test {

/// A number of the environment, which chooses how much is tested.
inline int64_t getEnvironment(const char *name, int64_t otherwise) {
  const char *value = std::getenv(name);
  return value ? std::atoll(value) : otherwise;
}

/// A random module, with all that is static in it.
class SweepCase {
public:
  virtual ~SweepCase() = default;
  virtual std::string describe() const = 0;
  /// False after an error, which it reports.
  virtual bool compile() = 0;
  /// Checks the module on random data.
  virtual void check(Random &random, Findings &findings) = 0;
};

std::unique_ptr<SweepCase> makeAttendCase(Random &random);
/// Summarize, score, pick, and route or select.
std::unique_ptr<SweepCase> makePickCase(Random &random);
std::unique_ptr<SweepCase> makeAppendCase(Random &random);
/// Merges, certify and fallback.
std::unique_ptr<SweepCase> makeStateCase(Random &random);
/// The whole decode step under a policy.
std::unique_ptr<SweepCase> makeStepCase(Random &random);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_SWEEP_H
