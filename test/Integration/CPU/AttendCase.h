//===- AttendCase.h - Configurations and data of an attend -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_ATTENDCASE_H
#define VASHISTA_TEST_INTEGRATION_CPU_ATTENDCASE_H

#include "Checks.h"

namespace vashista::test {

enum class ListKind { none, pages, tokens };

/// All that is static in a compiled attend.
struct AttendConfig : Config {
  ListKind listed = ListKind::none;
  bool hasCount = false, hasRange = false;
  /// On tensors a long sequence is split over tasks.
  bool onTensors = false;
  std::string describe() const;
  /// `attend` of all operands that the configuration has.
  Entry makeEntry(const std::string &name) const;
};

AttendConfig makeAttendConfig(Random &random);

/// The operands of one call.
struct AttendData : Batch {
  List list;
  std::pair<int64_t, int64_t> range = {0, 0};
  Array<float> o, lse;         // before the call
  Array<float> direction, gap; // of a projection, overwritten

  AttendInputs getInputs(const AttendConfig &config) const;
  void setOperands(Operands &operands, const AttendConfig &config) const;
  /// (o, lse), and those of a projection, as before the call.
  Outputs makeOutputs(const AttendConfig &config) const;
};

AttendData makeAttendData(const AttendConfig &config, Random &random);

Outputs runAttend(const Entry &entry, CompiledModule &module,
                  const AttendConfig &config, const AttendData &data);

/// Everything that one configuration is checked for.
void checkAttend(const Entry &entry, CompiledModule &module,
                 const AttendConfig &config, const AttendData &data,
                 Random &random, Findings &findings);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_ATTENDCASE_H
