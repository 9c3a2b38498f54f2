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
#include <cmath>
#include <cstring>
#include <functional>

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

/// The largest difference of two f32 tensors, as a share of their largest
/// number; infinite for a NaN.
/// By how much more than `allowed(i)` two tensors differ, as a share of their
/// largest number.
static double getExcess(const Tensor &a, const Tensor &b,
                        const std::function<double(int64_t)> &allowed) {
  double excess = 0, size = 1e-30;
  for (int64_t i = 0; i < a.count(); ++i) {
    double off = std::abs(a.at(i) - b.at(i));
    if (std::isnan(off))
      return INFINITY;
    excess = std::max(excess, off - allowed(i));
    size = std::max({size, std::abs(a.at(i)), std::abs(b.at(i))});
  }
  return excess / size;
}

/// A stage may pick what the step does not, where that has fewer bytes for each
/// bound. Then either is off by no more than its certificate says.
static Error compareOnDevice(const Options &o, Problem &problem) {
  // What weights lose that are rounded to 8 bits.
  constexpr double limit = 0x1p-6;
  auto compare = [&](const char *name, const char *certified,
                     const std::function<double(double)> &reach) -> Error {
    std::string last = o.isCertified() ? std::string(name) + "_final" : name;
    const Tensor &whole = problem[o.step + "." + name];
    const Tensor &stages = problem[o.step + "/" + last];
    auto allowed = [&](int64_t i) {
      if (!o.isCertified())
        return 0.0;
      const Tensor &mine = problem[o.step + "." + certified];
      const Tensor &theirs = problem[o.step + "/" + certified];
      int64_t at = i / (whole.count() / mine.count()); // a row's head
      return reach(mine.at(at)) + reach(theirs.at(at));
    };
    double excess = getExcess(whole, stages, allowed);
    if (excess <= limit)
      return Error::success();
    return tool::fail("expected the stages of '%s' to give its '%s' within "
                      "%.3g of its largest number%s, got %.3g",
                      o.step.c_str(), name, limit,
                      o.isCertified() ? " beyond what is certified" : "",
                      excess);
  };
  if (Error error = compare("o", "error", [](double x) { return x; }))
    return error;
  return compare("lse", "tau", [](double tau) { return -std::log1p(-tau); });
}

Error bench::compareStages(const Options &o, Problem &problem) {
  if (problem.device.device_type != kDLCPU)
    return compareOnDevice(o, problem);
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
