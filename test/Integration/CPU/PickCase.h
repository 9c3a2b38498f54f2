//===- PickCase.h - Entries that summarise, route and select -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_PICKCASE_H
#define VASHISTA_TEST_INTEGRATION_CPU_PICKCASE_H

#include "Checks.h"

namespace vashista::test {

/// What is static in a pick, route or select.
struct PickConfig {
  bool ofPages = false;
  int64_t budget = 0, sinks = 0, window = 0;
  std::optional<float> tolerance; // of `proving`; none for `top`
  bool hasTaken = false, hasOutside = false, hasAttended = false;
  /// By `direction`, f32, rather than by the query.
  bool atResidual = false;

  /// `top 64`
  std::string getModeText() const;
  /// ` sinks 4 window 64 tolerance 0.1`
  std::string getAlwaysText() const;
  std::string useChain(Entry &entry, const Config &config) const;
  /// Declares ids, count and tail.
  void yield(Entry &entry, const Config &config) const;
  Outputs make(const Config &config, int64_t rows) const;
};

PickConfig makePickConfig(const Config &config, bool ofPages, Random &random);

/// ` within(%pages, %page_count)`
std::string useWithin(Entry &entry, const Config &config, bool hasCount);

Entry makeSummarizeEntry(const Config &config, const Kept &kept);
/// What is kept of a batch, checked; `operands` are the batch's.
Outputs summarizeAndCheck(const Entry &entry, CompiledModule &module,
                          const Config &config, const Kept &kept,
                          const Batch &batch, Operands &operands,
                          Random &random, Findings &findings);

/// A route of pages by a summary, or a select of tokens by exact keys.
Entry makeListEntry(const std::string &name, const Config &config,
                    const PickConfig &pick, const Kept *kept, bool within,
                    bool hasCount);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_PICKCASE_H
