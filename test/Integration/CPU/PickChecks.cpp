//===- PickChecks.cpp - Whether a list is what its scores ask for ---------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <set>

using namespace vashista::test;

namespace {

/// One list of a pick, and what can be said of it.
class PickChecker {
public:
  PickChecker(const PickInputs &inputs, const Picked &reference, int64_t lanes,
              int64_t row, int64_t kvHead)
      : inputs(inputs), reference(reference), row(row), kvHead(kvHead),
        group(inputs.scores->shape[1] / inputs.numKvHeads),
        open(getOpenSlots(inputs, row, kvHead)) {
    // The sums over slots that rank and prove, in f32.
    sumError = kUnit * (inputs.scores->shape[2] / double(lanes) + lanes + 32);
  }

  void check(const Array<int32_t> &ids, int64_t count, const float *tails,
             Findings &findings, Reporter &reporter);

private:
  float getScore(int64_t g, const OpenSlot &slot) const {
    return (*inputs.scores)(row, kvHead * group + g, slot.slot);
  }
  double getBound(int64_t g, const OpenSlot &slot) const {
    return (*inputs.bounds)(row, kvHead * group + g, slot.slot);
  }
  void checkOrder(Reporter &reporter);
  void checkTies(Reporter &reporter);
  /// Whether what is picked meets the tolerance.
  bool proves() const;
  bool isNeeded(const OpenSlot &slot) const {
    return reference.isNeeded(row, kvHead, slot.slot);
  }
  void checkProof(int64_t count, Reporter &reporter);
  double getTail(int64_t g) const;

  double getRank(const OpenSlot &slot) const {
    return reference.rank(row, kvHead, slot.slot);
  }
  /// How far a rank in f32 may be off.
  double getRankError(const OpenSlot &slot) const {
    double sizes = 0;
    for (int64_t g = 0; g < group; ++g) {
      double score = getScore(g, slot);
      if (std::isfinite(score))
        sizes = std::max(sizes, std::fabs(score));
    }
    return sumError + 8 * kUnit * (sizes + largest + 16);
  }

  const PickInputs &inputs;
  const Picked &reference;
  int64_t row, kvHead, group;
  std::vector<OpenSlot> open;
  std::vector<bool> picked; // of `open`
  double sumError, largest = 0;
};

} // namespace

void PickChecker::check(const Array<int32_t> &ids, int64_t count,
                        const float *tails, Findings &findings,
                        Reporter &reporter) {
  int64_t available = std::min<int64_t>(inputs.budget, open.size());
  if (count < 0 || count > available ||
      (!inputs.tolerance && count != available)) {
    reporter.report(row, kvHead, "count", count, available, 0);
    return;
  }
  // Ascending and open; then padding.
  picked.assign(open.size(), false);
  int64_t before = -1;
  for (int64_t i = 0; i < inputs.budget; ++i) {
    int64_t id = ids(row, kvHead, i);
    if (i >= count) {
      if (id != -1)
        reporter.report(row, kvHead, "padding", id, -1, 0);
      continue;
    }
    auto slot = std::find_if(open.begin(), open.end(),
                             [&](const OpenSlot &s) { return s.id == id; });
    if (id <= before || slot == open.end()) {
      reporter.report(row, kvHead, "a picked id, after the one before", id,
                      before, 0);
      return;
    }
    picked[slot - open.begin()] = true;
    before = id;
  }
  for (size_t i = 0; i < open.size(); ++i)
    if (open[i].always && !picked[i])
      reporter.report(row, kvHead, "a sink or recent token left out", 0,
                      open[i].id, 0);

  for (const OpenSlot &slot : open)
    for (int64_t g = 0; g < group; ++g)
      if (double score = getScore(g, slot); std::isfinite(score))
        largest = std::max(largest, std::fabs(score));
  // A proof's needs differ where sums agree to rounding.
  if (!inputs.tolerance || !reference.isClose(row, kvHead)) {
    checkOrder(reporter);
    checkTies(reporter);
  }
  if (inputs.tolerance)
    checkProof(count, reporter);
  bool isSame = reference.count(row, kvHead) == count;
  for (int64_t i = 0; isSame && i < count; ++i)
    isSame = ids(row, kvHead, i) == reference.ids(row, kvHead, i);
  ++findings.counts["lists"];
  // The others differ where ranks agree to rounding.
  findings.counts["lists equal"] += isSame;

  for (int64_t g = 0; g < group; ++g) {
    double tail = getTail(g), got = tails[g];
    if (std::isinf(tail)) {
      if (got != tail)
        reporter.report(row, kvHead * group + g, "tail", got, tail, 0);
      continue;
    }
    // Raised by 2 (L / lanes + lanes + 16) u and 4 u |tail|, by definition.
    double slack = 4 * sumError + 8 * kUnit * std::fabs(tail);
    if (!(got >= tail) || !findings.include("tail", got - tail, slack))
      reporter.report(row, kvHead * group + g, "tail", got, tail, slack);
  }
}

void PickChecker::checkOrder(Reporter &reporter) {
  // No slot that is left out ranks above one that is picked.
  const OpenSlot *worst = nullptr, *best = nullptr;
  for (size_t i = 0; i < open.size(); ++i) {
    const OpenSlot *&extreme = picked[i] ? worst : best;
    if (open[i].always || (!picked[i] && !isNeeded(open[i])))
      continue;
    if (!extreme || (picked[i] ? getRank(open[i]) < getRank(*extreme)
                               : getRank(open[i]) > getRank(*extreme)))
      extreme = &open[i];
  }
  if (!worst || !best)
    return;
  double allowed = getRankError(*worst) + getRankError(*best);
  if (!(getRank(*worst) + allowed >= getRank(*best)))
    reporter.report(row, kvHead, "the rank of a pick", getRank(*worst),
                    getRank(*best), allowed);
}

void PickChecker::checkTies(Reporter &reporter) {
  // Of slots that no head can tell apart, the lowest.
  std::set<std::vector<uint32_t>> leftOut;
  for (size_t i = 0; i < open.size(); ++i) {
    if (open[i].always || !isNeeded(open[i]))
      continue;
    std::vector<uint32_t> key = {static_cast<uint32_t>(open[i].numTokens)};
    for (int64_t g = 0; g < group; ++g) {
      float score = getScore(g, open[i]);
      key.emplace_back();
      std::memcpy(&key.back(), &score, sizeof(score));
    }
    if (!picked[i])
      leftOut.insert(key);
    else if (leftOut.count(key))
      reporter.report(row, kvHead, "a tie to a higher slot", open[i].slot, 0,
                      0);
  }
}

bool PickChecker::proves() const {
  double ratio = *inputs.tolerance / (1.0 - *inputs.tolerance);
  for (int64_t g = 0; g < group; ++g) {
    int64_t head = kvHead * group + g;
    std::vector<double> mass, rest;
    if (inputs.attended)
      mass.push_back((*inputs.attended)(row, head));
    if (inputs.outside)
      rest.push_back((*inputs.outside)(row, head));
    for (size_t i = 0; i < open.size(); ++i) {
      bool isIn = picked[i];
      if (std::isnan(getScore(g, open[i])))
        return false;
      double value = isIn ? getScore(g, open[i]) : getBound(g, open[i]);
      (isIn ? mass : rest).push_back(value + std::log(open[i].numTokens));
    }
    double shift = -kInfinity;
    for (const auto *values : {&mass, &rest})
      for (double value : *values)
        shift = std::max(shift, value);
    if (shift == kInfinity)
      return false;
    if (shift == -kInfinity)
      continue;
    double masses = 0, rests = 0;
    for (double value : mass)
      masses += std::exp(value - shift);
    for (double value : rest)
      rests += std::exp(value - shift);
    // The tolerance that was aimed at is less, by more than f32 sums err.
    if (!(rests <= ratio * masses))
      return false;
  }
  return true;
}

void PickChecker::checkProof(int64_t count, Reporter &reporter) {
  int64_t available = std::min<int64_t>(inputs.budget, open.size());
  if (count < available && !proves())
    reporter.report(row, kvHead, "a count that does not prove", count,
                    reference.count(row, kvHead), 0);
  if (reference.isClose(row, kvHead))
    return;
  if (count != reference.count(row, kvHead))
    reporter.report(row, kvHead, "the count of a proof", count,
                    reference.count(row, kvHead), 0);
  for (size_t i = 0; i < open.size(); ++i)
    if (picked[i] && !isNeeded(open[i]))
      reporter.report(row, kvHead, "a pick that no head needs", open[i].slot, 0,
                      0);
}

double PickChecker::getTail(int64_t g) const {
  int64_t head = kvHead * group + g;
  std::vector<double> left;
  if (inputs.outside)
    left.push_back((*inputs.outside)(row, head));
  for (size_t i = 0; i < open.size(); ++i) {
    if (std::isnan(getScore(g, open[i])))
      return kInfinity;
    if (!picked[i])
      left.push_back(getBound(g, open[i]) + std::log(open[i].numTokens));
  }
  double most = -kInfinity, sum = 0;
  for (double value : left) {
    if (std::isnan(value))
      return kInfinity;
    most = std::max(most, value);
  }
  if (std::isinf(most))
    return most;
  for (double value : left)
    sum += std::exp(value - most);
  return most + std::log(sum);
}

void vashista::test::checkPick(const PickInputs &inputs, int64_t lanes,
                               const Outputs &outputs, Findings &findings) {
  // Sums over slots, in f32, of terms that round most where logits are large.
  double largest = 0;
  for (const Array<float> *numbers : {inputs.scores, inputs.bounds})
    for (float number : numbers->data)
      if (std::isfinite(number))
        largest = std::max<double>(largest, std::fabs(number));
  double slack =
      kUnit * (4 * (inputs.scores->shape[2] / double(lanes) + lanes + 32) +
               16 * (2 * largest + 16));
  Picked reference = pick(inputs, slack);
  ASSERT_EQ(outputs[0].getShape(), reference.ids.shape);
  Array<int32_t> ids = outputs[0].toInts(), count = outputs[1].toInts();
  Array<float> tail = outputs[2].toFloats();
  Reporter reporter;
  int64_t group = inputs.scores->shape[1] / inputs.numKvHeads;
  for (int64_t r = 0; r < inputs.scores->shape[0]; ++r)
    for (int64_t h = 0; h < inputs.numKvHeads; ++h)
      PickChecker(inputs, reference, lanes, r, h)
          .check(ids, count(r, h), &tail(r, h * group), findings, reporter);
}
