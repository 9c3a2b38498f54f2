//===- ProjectionCase.h - Decode steps that project -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Values are unit vectors, one per token, so that an output is its weights.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_PROJECTIONCASE_H
#define VASHISTA_TEST_INTEGRATION_CPU_PROJECTIONCASE_H

#include "AttendCase.h"
#include "PickCase.h"

#include "gtest/gtest.h"

#include <sstream>

namespace vashista::test {

/// What keys and queries are like.
enum class Regime {
  needle,
  needleOfLength,
  cluster,
  drift,
  lowRank,
  gauss,
  longQuery,
  equal,
  duplicates,
  inside
};
inline constexpr Regime kRegimes[] = {
    Regime::needle,    Regime::needleOfLength, Regime::cluster,
    Regime::drift,     Regime::lowRank,        Regime::gauss,
    Regime::longQuery, Regime::equal,          Regime::duplicates,
    Regime::inside};

/// Keys of one sequence [T, D], and queries of its heads [G, D].
struct Sequence {
  Array<float> keys, queries;
};

Sequence makeSequence(const Config &config, Regime regime, int64_t length,
                      Random &random);

/// A batch of one row per sequence on shuffled pages, one KV head. The value of
/// token t is the unit vector t.
Batch makeBatch(const Config &config, const std::vector<Sequence> &sequences,
                Random &random);

/// A policy with the ops that it decomposes to, and all else that is static.
struct Setting {
  Config config;
  Kept kept;
  int64_t pages = 0, candidates = 0, rounds = 1;
  double tolerance = 0.1;
  bool boundsGap = false;

  std::string getPolicyText() const {
    std::ostringstream os;
    os.precision(17);
    os << "policy <pages = " << pages << ", candidates = " << candidates
       << (boundsGap ? ", target = gap" : "") << std::scientific
       << ", tolerance = " << tolerance << ", rounds = " << rounds
       << ", fallback = dense>";
    return os.str();
  }
  /// At which tails are taken; without an entropy a low one is close to maxima.
  double getTemperature() const {
    return config.projection->hasEntropy() ? config.logit.epsilon : 0x1p-6;
  }
};

/// Results of a batch, by name.
struct Results {
  Array<float> weights, lse, direction, gap, tau, error, fullGap;
  Array<int32_t> rounds, flags;
};

/// A setting, compiled.
class Runner {
public:
  /// What is to be compiled, each of which takes a while.
  struct Parts {
    bool ops = true, step = true, dense = true;
  };
  Runner(const Setting &setting, Parts parts);
  bool compile() {
    return (module = compileEntries(all(), config.options)) != nullptr;
  }
  /// Route, select, attend, and what was left out, one by one.
  Results runOps(const Batch &batch);
  /// The same as one op under the policy.
  Results runStep(const Batch &batch);
  Results runDense(const Batch &batch);
  const Setting setting;

private:
  std::vector<const Entry *> all() const;
  PickConfig getPick(bool ofPages, bool isRest) const;
  Entry makeCertifyEntry() const;
  Entry makeStepEntry() const;
  Outputs call(const Entry &entry, Outputs outputs) {
    EXPECT_TRUE(entry.call(*module, operands, outputs));
    return outputs;
  }
  void setBatch(const Batch &batch);

  Config config, restConfig;
  AttendConfig listed, dense;
  std::map<std::string, Entry> entries;
  std::unique_ptr<CompiledModule> module;
  Operands operands;
};

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_PROJECTIONCASE_H
