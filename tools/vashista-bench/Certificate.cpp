//===- Certificate.cpp - What certificates say, and whether it is so ------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Certificate.h"

#include "Work.h"

#include <algorithm>
#include <cstring>

using namespace vashista;
using namespace vashista::bench;

std::vector<std::string> bench::getLists(const Options &o) {
  std::vector<std::string> lists = {o.step + "/tokens"};
  for (int64_t round = 2; round <= o.rounds; ++round)
    lists.push_back(o.step + "/tokens_" + std::to_string(round));
  return lists;
}

Certificate bench::readCertificate(const Options &o, Problem &problem,
                                   const Reference *reference) {
  Certificate found;
  found.rows = problem.rows * o.heads;
  found.groups = problem.rows * o.kvHeads;
  for (int64_t i = 0; i < found.groups; ++i) {
    double tokens = getTokenCounts(o, problem, 1)[i];
    bool pickedAgain = false;
    for (int64_t round = 2; round <= o.rounds; ++round) {
      int32_t more = getTokenCounts(o, problem, round)[i];
      tokens += more;
      pickedAgain |= more > 0;
    }
    found.pickedAgain += pickedAgain;
    found.fellBack += problem[o.step + "/flag"].data()[i] != 0;
    found.meanTokens += tokens / found.groups;
    found.mostTokens = std::max(found.mostTokens, tokens);
    found.share +=
        tokens / problem["lens"].ints()[i / o.kvHeads] / found.groups;
  }

  const Tensor &tau = problem[o.step + "/tau"];
  const Tensor &error = problem[o.step + "/error"];
  const Tensor &measure = o.target == "tau" ? tau : error;
  Certificate::Truth truth;
  // What the reference itself rounds.
  constexpr double slop = 1 + 1e-9;
  for (int64_t i = 0; i < found.rows; ++i) {
    found.certified += measure.at(i) <= o.tolerance;
    found.meanTau += tau.at(i) / found.rows;
    if (!reference)
      continue;
    double missed = reference->missed[i], off = reference->error[i];
    // A NaN proves nothing.
    truth.falseOnes +=
        !(missed <= tau.at(i) * slop) || !(off <= error.at(i) * slop);
    truth.meanMissed += missed / found.rows;
    truth.mostMissed = std::max(truth.mostMissed, missed);
    truth.mostError = std::max(truth.mostError, off);
  }
  if (reference)
    found.truth = truth;
  return found;
}

Error bench::compareStages(const Options &o, Problem &problem) {
  std::vector<std::pair<const char *, const char *>> pairs = {
      {"o", o.isCertified() ? "o_final" : "o"},
      {"lse", o.isCertified() ? "lse_final" : "lse"}};
  if (o.isCertified())
    for (const char *name : {"tau", "error", "flag"})
      pairs.push_back({name, name});
  for (auto [name, last] : pairs) {
    const Tensor &whole = problem[o.step + "." + name];
    const Tensor &stages = problem[o.step + "/" + last];
    if (memcmp(whole.data(), stages.data(), whole.bytes()) != 0)
      return tool::fail("expected the stages of '%s' to give its '%s', got "
                        "other bits",
                        o.step.c_str(), name);
  }
  return Error::success();
}
