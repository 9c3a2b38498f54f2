//===- Reference.cpp - Attention in float64 -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reference.h"
#include "Roofs.h"

#include <algorithm>
#include <atomic>
#include <cmath>

using namespace vashista;
using namespace vashista::bench;

namespace {

/// Attention over some tokens, relative to a common largest logit.
struct Sum {
  double mass = 0;
  std::vector<double> o;

  explicit Sum(int64_t size) : o(size) {}
  void add(double weight, const Tensor &v, int64_t value) {
    mass += weight;
    for (size_t d = 0; d < o.size(); ++d)
      o[d] += weight * v.at(value + d);
  }
};

} // namespace

static void attendRow(const Options &o, Problem &problem,
                      const std::vector<std::string> &lists, int64_t row,
                      int64_t head, Reference &result) {
  const Tensor &q = problem["q"], &k = problem["k"], &v = problem["v"];
  int64_t length = problem["lens"].ints()[row];
  int64_t sequence = problem.sharesRows ? problem["rows"].ints()[row] : row;
  int64_t kvHead = head / o.getGroup();
  int64_t perSequence = problem["table"].shape()[1];
  // As the compiled code has it.
  double scale =
      static_cast<float>(1 / std::sqrt(static_cast<double>(o.headDim)));
  std::vector<double> query(o.headDim), logits(length);
  for (int64_t d = 0; d < o.headDim; ++d)
    query[d] = q.at((row * o.heads + head) * o.headDim + d);
  auto getToken = [&](int64_t t) {
    int64_t page =
        problem["table"].ints()[sequence * perSequence + t / o.pageSize];
    return (page * o.kvHeads + kvHead) * o.pageSize + t % o.pageSize;
  };
  double most = -INFINITY;
  for (int64_t t = 0; t < length; ++t) {
    int64_t key = getToken(t) * o.headDim;
    double dot = 0;
    for (int64_t d = 0; d < o.headDim; ++d)
      dot += query[d] * k.at(key + d);
    logits[t] = scale * dot;
    most = std::max(most, logits[t]);
  }
  std::vector<bool> isListed(length, lists.empty());
  for (const std::string &name : lists) {
    int64_t size = problem[name].shape()[2];
    const int32_t *ids =
        problem[name].ints() + (row * o.kvHeads + kvHead) * size;
    for (int64_t i = 0; i < size; ++i)
      if (ids[i] >= 0)
        isListed[ids[i]] = true;
  }
  Sum listed(o.valueDim), rest(o.valueDim);
  for (int64_t t = 0; t < length; ++t)
    (isListed[t] ? listed : rest)
        .add(std::exp(logits[t] - most), v, getToken(t) * o.valueDim);

  int64_t at = row * o.heads + head;
  double mass = listed.mass + rest.mass, squares = 0;
  for (int64_t d = 0; d < o.valueDim; ++d) {
    result.o[at * o.valueDim + d] = (listed.o[d] + rest.o[d]) / mass;
    double apart = rest.o[d] / rest.mass - listed.o[d] / listed.mass;
    squares += apart * apart;
  }
  result.lse[at] = most + std::log(mass);
  // Shares and errors of what is left out, not differences of nearly equal
  // numbers.
  if (lists.empty())
    return;
  result.missed[at] = rest.mass / mass;
  result.error[at] =
      rest.mass == 0 ? 0 : result.missed[at] * std::sqrt(squares);
}

Reference bench::computeReference(const Options &options, Problem &problem,
                                  const std::vector<std::string> &lists,
                                  unsigned numThreads) {
  Reference result;
  int64_t count = problem.rows * options.heads;
  result.o.resize(count * options.valueDim);
  result.lse.resize(count);
  if (!lists.empty()) {
    result.missed.resize(count);
    result.error.resize(count);
  }
  std::atomic<int64_t> next{0};
  runThreads(numThreads, [&](unsigned) {
    for (int64_t i; (i = next++) < count;)
      attendRow(options, problem, lists, i / options.heads, i % options.heads,
                result);
  });
  return result;
}

Accuracy bench::compare(const Reference &reference, const Tensor &o,
                        const Tensor &lse) {
  Accuracy result;
  double squares = 0, outputs = 0;
  for (size_t i = 0; i < reference.o.size(); ++i) {
    double difference = o.at(i) - reference.o[i];
    // A NaN is infinitely wrong.
    double error = std::isnan(difference) ? INFINITY : std::fabs(difference);
    result.maxError = std::max(result.maxError, error);
    squares += error * error;
    outputs += reference.o[i] * reference.o[i];
  }
  result.rmsError = std::sqrt(squares / reference.o.size());
  result.rmsOutput = std::sqrt(outputs / reference.o.size());
  for (size_t i = 0; i < reference.lse.size(); ++i) {
    double missed = 1 - std::exp(lse.at(i) - reference.lse[i]);
    missed = std::isnan(missed) ? 1 : std::max(missed, 0.0);
    result.maxMissed = std::max(result.maxMissed, missed);
    result.meanMissed += missed / reference.lse.size();
  }
  return result;
}
