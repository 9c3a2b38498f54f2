//===- Findings.cpp - What a sweep finds ----------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Findings.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <sstream>

using namespace vashista::test;

bool Findings::include(const std::string &quantity, double error,
                       double bound) {
  double ratio = error == 0 ? 0 : error / bound;
  double &most = worst[quantity];
  most = std::max(most, ratio);
  return error <= bound;
}

void Findings::include(const Findings &other) {
  for (auto &[quantity, ratio] : other.worst)
    worst[quantity] = std::max(worst[quantity], ratio);
  for (auto &[event, count] : other.counts)
    counts[event] += count;
}

std::string Findings::toString() const {
  std::ostringstream os;
  os.precision(3);
  os << std::fixed;
  for (auto &[event, count] : counts)
    os << (os.tellp() ? ", " : "") << event << " " << count;
  for (auto &[quantity, ratio] : worst)
    os << (os.tellp() ? ", " : "") << "worst " << quantity << " " << ratio;
  return os.str();
}

void Reporter::report(int64_t row, int64_t head, const std::string &what,
                      double got, double expected, double bound) {
  if (!reported)
    ADD_FAILURE() << "row " << row << " head " << head << ": " << what << " is "
                  << got << ", expected " << expected << " to " << bound;
  reported = true;
}
