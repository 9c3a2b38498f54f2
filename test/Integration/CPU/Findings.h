//===- Findings.h - What a sweep finds -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_FINDINGS_H
#define VASHISTA_TEST_INTEGRATION_CPU_FINDINGS_H

#include <cstdint>
#include <map>
#include <string>

namespace vashista::test {

/// What a sweep found: the worst error of each quantity relative to its bound,
/// and how often something happened.
struct Findings {
  std::map<std::string, double> worst;
  std::map<std::string, int64_t> counts;
  /// Notes an error; false when it is above its bound, or NaN.
  bool include(const std::string &quantity, double error, double bound);
  void include(const Findings &other);
  std::string toString() const;
};

/// Reports the first of the failures of a check only.
class Reporter {
public:
  void report(int64_t row, int64_t head, const std::string &what, double got,
              double expected, double bound);

private:
  bool reported = false;
};

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_FINDINGS_H
