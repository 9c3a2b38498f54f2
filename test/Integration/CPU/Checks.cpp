//===- Checks.cpp - How far results may be from the reference -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A kernel may be off by twice what the naive f32 program is off on the same
// inputs, plus a floor for where that happens to be exact. Let u = 2^-24, n the
// number of tokens, x the largest logit in magnitude and a = scale |q| max |k|
// / epsilon >= x.
//
//  * A logit is a sum of D products in f32 times a constant. Roundings are
//    taken as a random walk (Higham and Mary, SIAM J. Sci. Comput. 41, 2019):
//    sqrt of the sum of the squares of the partial sums, times u / 2. Partial
//    sums of mixed signs grow like sqrt(i) a / D, which gives less than u a /
//    2; the part of them that leads to x grows like i x / D, which gives less
//    than sqrt(D) u x / 4. Twice the first is for the largest of many.
//  * The constants, the cap and the subtraction of the maximum round numbers
//    below 2 x: 8 u x is enough. Together e = u (a + (sqrt(D) / 4 + 8) x).
//  * A weight is exp of that, from a polynomial that is good to a few ulp, and
//    is summed over n tokens, another random walk; where the maximum grows,
//    sums are rescaled by a factor that errs like a weight. The relative error
//    of a sum is w = e + (8 + sqrt(n)) u.
//  * The output is a quotient of two such sums: off by 2 w max |v|.
//  * Merging into an incoming state weighs by exp of differences of lse, each
//    rounded to u |lse|: l = (|lse| + |lse before|) u more.
//  * lse is a logit plus the log of a sum: off by w + l.
//
// Products that underflow lose up to 2^-149 each, which the floor 2^-120 holds.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <set>

using namespace vashista::test;

static constexpr double kUnit = 0x1p-24;
static constexpr double kTiny = 0x1p-120;
/// What rounds among subnormal numbers, where no slack is relative.
static constexpr double kSubnormal = 0x1p-140;
static constexpr double kInfinity = std::numeric_limits<double>::infinity();

//===----------------------------------------------------------------------===//
// Findings
//===----------------------------------------------------------------------===//

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

namespace {

/// Reports the first of a kind of failure only.
class Reporter {
public:
  void report(int64_t row, int64_t head, const std::string &what, double got,
              double expected, double bound) {
    if (!reported)
      ADD_FAILURE() << "row " << row << " head " << head << ": " << what
                    << " is " << got << ", expected " << expected << " to "
                    << bound;
    reported = true;
  }

private:
  bool reported = false;
};

} // namespace

static double getNorm(const float *vector, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += static_cast<double>(vector[i]) * vector[i];
  return std::sqrt(sum);
}

static double getDot(const float *a, const float *b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

/// e of a logit: `norms` is |q| max |k|, `product` the largest |<q, k>|.
static double getLogitError(const Config &config, double norms,
                            double product) {
  double factor = config.logit.scale / config.logit.epsilon;
  return kUnit * factor *
             (norms + (std::sqrt(config.keyDim) / 4 + 8) * product) +
         kTiny;
}

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

static State<double> widen(const Array<float> &o, const Array<float> &lse) {
  State<double> state = {Array<double>(o.shape), Array<double>(lse.shape)};
  state.o.data.assign(o.data.begin(), o.data.end());
  state.lse.data.assign(lse.data.begin(), lse.data.end());
  return state;
}

void vashista::test::checkState(const Config &config,
                                const AttendInputs &inputs,
                                const Array<float> &oBefore,
                                const Array<float> &lseBefore,
                                const Outputs &result, Findings &findings,
                                const Where &where) {
  State<double> reference = widen(oBefore, lseBefore);
  attend(inputs, reference);
  State<float> naive = {oBefore, lseBefore};
  attend(inputs, naive);
  Array<float> o = result[0].toFloats(), lse = result[1].toFloats();
  int64_t keyDim = config.keyDim, valueDim = config.valueDim;

  Reporter reporter;
  for (int64_t r = 0; r < inputs.query->shape[0]; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      int64_t kvHead = h / config.group, numTokens = 0;
      if (where && !where(r, kvHead))
        continue;
      double keyNorm = 0, product = 0, most = 0;
      const float *query = &(*inputs.query)(r, h, 0);
      forEachToken(inputs, r, kvHead, [&](int64_t position) {
        int64_t page = inputs.paging.getPhysicalPage(r, position);
        int64_t slot = position % config.pageSize;
        ++numTokens;
        const float *key = inputs.keys.get(page, kvHead, slot);
        product = std::max(product, std::fabs(getDot(query, key, keyDim)));
        keyNorm = std::max(keyNorm, getNorm(key, keyDim));
        const float *value = inputs.values.get(page, kvHead, slot);
        for (int64_t d = 0; d < valueDim; ++d)
          most = std::max<double>(most, std::fabs(value[d]));
      });
      double before = lseBefore(r, h), after = reference.lse(r, h);
      if (numTokens == 0) {
        // Nothing is merged: the state must be as it was.
        if (std::memcmp(&lse(r, h), &lseBefore(r, h), sizeof(float)))
          reporter.report(r, h, "lse of nothing", lse(r, h), before, 0);
        if (std::memcmp(&o(r, h, 0), &oBefore(r, h, 0),
                        valueDim * sizeof(float)))
          reporter.report(r, h, "o of nothing", o(r, h, 0), oBefore(r, h, 0),
                          0);
        continue;
      }
      double e =
          getLogitError(config, getNorm(query, keyDim) * keyNorm, product);
      double w = e + (8 + std::sqrt(numTokens)) * kUnit;
      double lses = std::fabs(after);
      if (std::isfinite(before)) {
        lses += std::fabs(before);
        for (int64_t d = 0; d < valueDim; ++d)
          most = std::max<double>(most, std::fabs(oBefore(r, h, d)));
      }

      double bound = 2 * std::fabs(naive.lse(r, h) - after) + w + lses * kUnit;
      if (!findings.include("lse", std::fabs(lse(r, h) - after), bound))
        reporter.report(r, h, "lse", lse(r, h), after, bound);
      double naiveError = 0;
      for (int64_t d = 0; d < valueDim; ++d)
        naiveError = std::max(
            naiveError, std::fabs(naive.o(r, h, d) - reference.o(r, h, d)));
      bound = 2 * naiveError + (2 * w + lses * kUnit) * most + kTiny;
      for (int64_t d = 0; d < valueDim; ++d)
        if (!findings.include("o", std::fabs(o(r, h, d) - reference.o(r, h, d)),
                              bound))
          reporter.report(r, h, "o", o(r, h, d), reference.o(r, h, d), bound);
    }
}

void vashista::test::checkMerge(const std::vector<State<float>> &states,
                                const Outputs &outputs, Findings &findings) {
  std::vector<State<double>> wide;
  for (const State<float> &state : states)
    wide.push_back(widen(state.o, state.lse));
  State<double> reference = merge(wide);
  State<float> naive = merge(states);
  Array<float> o = outputs[0].toFloats(), lse = outputs[1].toFloats();
  Reporter reporter;
  for (int64_t r = 0; r < lse.shape[0]; ++r)
    for (int64_t h = 0; h < lse.shape[1]; ++h) {
      int64_t dim = o.shape[2], numStates = 0;
      const State<float> *only = nullptr;
      double most = 0;
      for (const State<float> &state : states) {
        if (state.lse(r, h) == -kInf)
          continue;
        ++numStates;
        only = &state;
        for (int64_t d = 0; d < dim; ++d)
          most = std::max<double>(most, std::fabs(state.o(r, h, d)));
      }
      double expected = reference.lse(r, h);
      if (numStates < 2) {
        // One state is itself, no state is empty, exactly.
        if (!(lse(r, h) == (only ? only->lse(r, h) : -kInf)))
          reporter.report(r, h, "lse of one state", lse(r, h), expected, 0);
        for (int64_t d = 0; d < dim; ++d)
          if (!(o(r, h, d) == (only ? only->o(r, h, d) : 0.0f)))
            reporter.report(r, h, "o of one state", o(r, h, d),
                            reference.o(r, h, d), 0);
        continue;
      }
      // Differences of lse round to u times themselves, where a weight is not
      // negligible below 2^7 u; weights and their sum as in an attend.
      double w = (8 + std::sqrt(numStates)) * kUnit + 8 * kUnit;
      double bound = 2 * std::fabs(naive.lse(r, h) - expected) + w +
                     2 * kUnit * std::fabs(expected);
      if (!findings.include("merge lse", std::fabs(lse(r, h) - expected),
                            bound))
        reporter.report(r, h, "lse", lse(r, h), expected, bound);
      double naiveError = 0;
      for (int64_t d = 0; d < dim; ++d)
        naiveError = std::max(
            naiveError, std::fabs(naive.o(r, h, d) - reference.o(r, h, d)));
      bound = 2 * naiveError + 2 * w * most + kTiny;
      for (int64_t d = 0; d < dim; ++d)
        if (!findings.include(
                "merge o", std::fabs(o(r, h, d) - reference.o(r, h, d)), bound))
          reporter.report(r, h, "o", o(r, h, d), reference.o(r, h, d), bound);
    }
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// The true logit of a token.
static double getTrueLogit(const ScoreInputs &inputs, int64_t row, int64_t head,
                           int64_t kvHead, int64_t position) {
  const Paging &paging = inputs.paging;
  const float *key = inputs.keys.get(paging.getPhysicalPage(row, position),
                                     kvHead, position % paging.pageSize);
  const Logit &logit = inputs.logit;
  double scaled = logit.scale * getDot(&(*inputs.direction)(row, head, 0), key,
                                       inputs.keys.getDim());
  if (logit.softCap)
    scaled = *logit.softCap * std::tanh(scaled / *logit.softCap);
  return scaled / logit.epsilon;
}

void vashista::test::checkScores(const Config &config,
                                 const ScoreInputs &inputs,
                                 const Outputs &outputs, Findings &findings) {
  auto [expected, expectedBounds] = score<double>(inputs);
  auto naive = score<float>(inputs).first;
  Array<float> scores = outputs[0].toFloats(), bounds = outputs[1].toFloats();
  ASSERT_EQ(scores.shape, expected.shape);
  ASSERT_EQ(bounds.shape, expected.shape);
  int64_t dim = config.keyDim;
  double factor = config.logit.scale / config.logit.epsilon;
  bool isBound = inputs.source == Source::box || inputs.source == Source::ball;
  bool hasBounds = isBound || inputs.source == Source::keys;
  if (hasBounds)
    EXPECT_TRUE(areBitEqual(outputs[0], outputs[1])) << "bounds are scores";

  Reporter reporter;
  for (int64_t r = 0; r < scores.shape[0]; ++r)
    for (int64_t h = 0; h < scores.shape[1]; ++h)
      for (int64_t slot = 0; slot < scores.shape[2]; ++slot) {
        double reference = expected(r, h, slot);
        float got = scores(r, h, slot);
        if (!hasBounds &&
            bounds(r, h, slot) != (reference == -kInfinity ? -kInf : kInf))
          reporter.report(r, h, "bound", bounds(r, h, slot), kInf, 0);
        if (reference == -kInfinity) {
          if (got != -kInf)
            reporter.report(r, h, "invisible score", got, -kInf, 0);
          continue;
        }
        int64_t kvHead = h / config.group;
        const float *w = &(*inputs.direction)(r, h, 0);
        // sum |w_i| |x_i| for what is multiplied with the direction, its
        // largest partial sum and the norms of both.
        double sizes = 0, norms = 0, product = 0;
        if (inputs.source == Source::keys) {
          int64_t position = slot;
          if (inputs.pages)
            position = (*inputs.pages)(r, kvHead, slot / config.pageSize) *
                           config.pageSize +
                       slot % config.pageSize;
          const float *key =
              inputs.keys.get(inputs.paging.getPhysicalPage(r, position),
                              kvHead, position % config.pageSize);
          norms = getNorm(w, dim) * getNorm(key, dim);
          product = std::fabs(getDot(w, key, dim));
        } else {
          int64_t page =
              inputs.paging.getPhysicalPage(r, slot * config.pageSize);
          const float *first = &(*inputs.first)(page, kvHead, 0);
          const float *second = nullptr;
          double radius = 0;
          if (inputs.source == Source::ball)
            radius = getNorm(w, dim) * (*inputs.second)(page, kvHead);
          else if (inputs.source != Source::mean)
            second = &(*inputs.second)(page, kvHead, 0);
          for (int64_t d = 0; d < dim; ++d) {
            double a = std::fabs(w[d] * static_cast<double>(first[d]));
            double b =
                second ? std::fabs(w[d] * static_cast<double>(second[d])) : 0;
            sizes += inputs.source == Source::meanStd ? a + b : std::max(a, b);
          }
          norms = getNorm(w, dim) * (getNorm(first, dim) +
                                     (second ? getNorm(second, dim) : 0)) +
                  radius;
          sizes += radius;
          product = sizes;
        }
        double e = 2 * getLogitError(config, norms, product);
        double bound = 2 * std::fabs(naive(r, h, slot) - reference) + e;
        if (isBound) {
          // Raised by twice (D + 8) u of those sizes, by definition.
          bound += 2.5 * (dim + 8) * kUnit * factor * sizes;
          if (!(got >= reference - kSubnormal))
            reporter.report(r, h, "a bound below exact arithmetic", got,
                            reference, 0);
        }
        if (!findings.include(isBound ? "bound" : "score",
                              std::fabs(got - reference), bound))
          reporter.report(r, h, "score", got, reference, bound);
        if (!isBound)
          continue;
        int64_t first = slot * config.pageSize;
        int64_t last = std::min<int64_t>(first + config.pageSize,
                                         (*inputs.paging.seqLens)(r));
        for (int64_t position = first; position < last; ++position) {
          double logit = getTrueLogit(inputs, r, h, kvHead, position);
          if (!(got >= logit - kSubnormal))
            reporter.report(r, h, "a bound below a token's logit", got, logit,
                            0);
        }
      }
}

//===----------------------------------------------------------------------===//
// Picks
//===----------------------------------------------------------------------===//

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
  /// Whether what is picked, but for `without`, meets the tolerance when the
  /// rest is taken `factor` times and `allowance` more.
  bool proves(double factor, double allowance,
              const OpenSlot *without = nullptr) const;
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
  checkOrder(reporter);
  checkTies(reporter);
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
    if (open[i].always)
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
    if (open[i].always)
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

bool PickChecker::proves(double factor, double allowance,
                         const OpenSlot *without) const {
  double ratio = *inputs.tolerance / (1.0 - *inputs.tolerance);
  for (int64_t g = 0; g < group; ++g) {
    int64_t head = kvHead * group + g;
    std::vector<double> mass, rest;
    if (inputs.attended)
      mass.push_back((*inputs.attended)(row, head));
    if (inputs.outside)
      rest.push_back((*inputs.outside)(row, head));
    for (size_t i = 0; i < open.size(); ++i) {
      bool isIn = picked[i] && &open[i] != without;
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
    if (!(rests * factor - allowance * masses <= ratio * masses))
      return false;
  }
  return true;
}

void PickChecker::checkProof(int64_t count, Reporter &reporter) {
  // Sums and their terms in f32, where a large logit rounds most.
  double slack = 4 * sumError + 16 * kUnit * (2 * largest + 16);
  int64_t available = std::min<int64_t>(inputs.budget, open.size());
  if (count < available && !proves(1 - slack, slack))
    reporter.report(row, kvHead, "a count that does not prove", count,
                    reference.count(row, kvHead), 0);
  // Without the lowest pick it must not have been proved.
  const OpenSlot *lowest = nullptr;
  for (size_t i = 0; i < open.size(); ++i)
    if (picked[i] && !open[i].always &&
        (!lowest || getRank(open[i]) <= getRank(*lowest)))
      lowest = &open[i];
  if (lowest && proves(1 + slack, -slack, lowest))
    reporter.report(row, kvHead, "a count with a pick too many", count,
                    reference.count(row, kvHead), 0);
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
  Picked reference = pick(inputs);
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

//===----------------------------------------------------------------------===//
// Certificates
//===----------------------------------------------------------------------===//

void vashista::test::checkCertify(const CertifyInputs &inputs,
                                  const Outputs &outputs, Findings &findings) {
  auto [expectedTau, expectedError] = certify(inputs);
  Array<float> tau = outputs[0].toFloats(), error = outputs[1].toFloats();
  Reporter reporter;
  for (int64_t r = 0; r < tau.shape[0]; ++r)
    for (int64_t h = 0; h < tau.shape[1]; ++h) {
      double x = (*inputs.tail)(r, h) - double((*inputs.lse)(r, h));
      // exp of x in f32, rounded up by a few units, and never above 1.
      double relative =
          0x1p-17 + 0x1p-20 * (std::isfinite(x) ? std::fabs(x) : 0);
      auto check = [&](const char *what, double got, double expected,
                       double most) {
        double bound = relative * expected + most * 0x1p-118;
        if (!(got == expected) &&
            (!(got >= expected) ||
             !findings.include(what, got - expected, bound)))
          reporter.report(r, h, what, got, expected, bound);
      };
      check("tau", tau(r, h), expectedTau(r, h), 1);
      check("error", error(r, h), expectedError(r, h),
            1 + (expectedTau(r, h) > 0 && std::isfinite(expectedError(r, h))
                     ? expectedError(r, h) / expectedTau(r, h)
                     : 0));
      if (!(tau(r, h) <= 1))
        reporter.report(r, h, "tau", tau(r, h), 1, 0);
    }
}

//===----------------------------------------------------------------------===//
// What is kept beside a cache
//===----------------------------------------------------------------------===//

std::string Kept::getSummaryText() const {
  switch (*summary) {
  case Source::mean:
    return "<mean>";
  case Source::meanStd:
    return "<mean_std>";
  case Source::box:
    return "<box>";
  case Source::ball:
    return "<ball>";
  case Source::keys:
    break;
  }
  return "";
}

Shape Kept::getSecondShape(const Config &config, int64_t pages) const {
  Shape shape = {pages, config.kvHeads};
  if (summary != Source::ball)
    shape.push_back(config.keyDim);
  return shape;
}

Outputs Kept::make(const Config &config, int64_t pages) const {
  Outputs outputs;
  auto add = [&](ElementType element, Shape shape) {
    outputs.emplace_back(element, std::move(shape));
    // Numbers of any type, none of them 0.
    std::memset(outputs.back().data(), 0x42, outputs.back().size());
  };
  if (summary)
    add(type, {pages, config.kvHeads, config.keyDim});
  if (hasSecond())
    add(getSecondType(), getSecondShape(config, pages));
  if (hasNorms)
    add(ElementType::f32, {pages, config.kvHeads, 2});
  return outputs;
}

std::string Kept::write(Entry &entry, const Config &config) const {
  std::string text;
  if (summary) {
    text += " summary " + getSummaryText() + "(" +
            entry.writes("first", type, {-1, config.kvHeads, config.keyDim});
    if (hasSecond())
      text += ", " + entry.writes("second", getSecondType(),
                                  getSecondShape(config, -1));
    text += ")";
  }
  if (hasNorms)
    text += " norms(" +
            entry.writes("norms", ElementType::f32, {-1, config.kvHeads, 2}) +
            ")";
  return text;
}

std::string Kept::useSummary(Entry &entry, const Config &config) const {
  std::string text =
      getSummaryText() + "(" +
      entry.use("first", type, {-1, config.kvHeads, config.keyDim});
  if (hasSecond())
    text +=
        ", " + entry.use("second", getSecondType(), getSecondShape(config, -1));
  return text + ")";
}

std::string Kept::useNorms(Entry &entry, const Config &config) const {
  return " norms(" +
         entry.use("norms", ElementType::f32, {-1, config.kvHeads, 2}) + ")";
}

void Kept::setSummary(Operands &operands, const Outputs &kept) const {
  operands.set("first", kept[0].copy());
  if (hasSecond())
    operands.set("second", kept[1].copy());
}

void Kept::setNorms(Operands &operands, const Outputs &kept) const {
  operands.set("norms", getNorms(kept).copy());
}

Kept vashista::test::makeKept(const Config &config, Random &random,
                              bool hasSummary, bool hasNorms) {
  Kept kept;
  kept.hasNorms = hasNorms;
  if (!hasSummary)
    return kept;
  kept.summary =
      random.pick({Source::mean, Source::meanStd, Source::box, Source::ball});
  // A box holds keys exactly.
  kept.type = *kept.summary == Source::box || random.chance(0.5)
                  ? config.type
                  : random.pick({ElementType::f32, ElementType::f16,
                                 ElementType::bf16});
  if (*kept.summary == Source::box && random.chance(0.3))
    kept.type = ElementType::f32;
  return kept;
}

/// Half a unit in the last place of a number of a storage type.
static double getRounding(ElementType type, double value) {
  double relative = type == ElementType::f32    ? 0x1p-24
                    : type == ElementType::bf16 ? 0x1p-8
                                                : 0x1p-11;
  double least = type == ElementType::f16 ? 0x1p-25 : 0x1p-133;
  return relative * std::fabs(value) + least;
}

void vashista::test::checkKept(const Config &config, const Kept &kept,
                               const Cache &keys,
                               const Array<PageSummary> &expected,
                               const Outputs &before, const Outputs &after,
                               Findings &findings) {
  int64_t dim = config.keyDim;
  Reporter reporter;
  auto isUnchanged = [&](size_t part, int64_t page, int64_t kvHead) {
    size_t size =
        before[part].size() / (before[part].getShape()[0] * config.kvHeads);
    size_t offset = (page * config.kvHeads + kvHead) * size;
    return std::memcmp(static_cast<char *>(before[part].data()) + offset,
                       static_cast<char *>(after[part].data()) + offset,
                       size) == 0;
  };
  std::vector<Array<float>> parts;
  for (const Buffer &part : after)
    parts.push_back(part.toFloats());
  for (int64_t page = 0; page < expected.shape[0]; ++page)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      const PageSummary &summary = expected(page, h);
      if (summary.numTokens == 0) {
        for (size_t part = 0; part < after.size(); ++part)
          if (!isUnchanged(part, page, h))
            reporter.report(page, h, "a page that no row sees, changed: part",
                            part, 0, 0);
        continue;
      }
      double n = summary.numTokens;
      // A bound is not below, and hardly above; of subnormal numbers, whole
      // ones.
      auto checkBound = [&](const char *what, double got, double least) {
        double bound = 0x1p-20 * least + 0x1p-126;
        if (!(got >= least) || !findings.include(what, got - least, bound))
          reporter.report(page, h, what, got, least, bound);
      };
      for (int64_t d = 0; kept.summary && d < dim; ++d) {
        double most =
            std::max(std::fabs(summary.lo[d]), std::fabs(summary.hi[d]));
        // n sums and a division; the mean's error enters the deviation.
        double rounding = (n + 4) * kUnit * most;
        auto check = [&](const char *what, size_t part, double reference,
                         double error) {
          double got = parts[part](page, h, d);
          double bound =
              error + getRounding(kept.type, std::fabs(reference) + error);
          if (!findings.include(what, std::fabs(got - reference), bound))
            reporter.report(page, h, what, got, reference, bound);
        };
        if (kept.summary == Source::box) {
          if (parts[0](page, h, d) != summary.lo[d] ||
              parts[1](page, h, d) != summary.hi[d])
            reporter.report(page, h, "the box, at its low side",
                            parts[0](page, h, d), summary.lo[d], 0);
          continue;
        }
        check("mean", 0, summary.mean[d], rounding);
        // Squares of small differences underflow.
        if (kept.summary == Source::meanStd)
          check("std", 1, summary.std[d], 2 * rounding + 0x1p-70);
      }
      if (kept.summary == Source::ball) {
        // About the centre as it is stored.
        double radius = 0;
        for (int64_t slot = 0; slot < summary.numTokens; ++slot) {
          const float *key = keys.get(page, h, slot);
          double square = 0;
          for (int64_t d = 0; d < dim; ++d) {
            double offset = key[d] - double(parts[0](page, h, d));
            square += offset * offset;
          }
          radius = std::max(radius, std::sqrt(square));
        }
        checkBound("radius", parts[1](page, h), radius);
      }
      if (kept.hasNorms) {
        checkBound("norm", parts.back()(page, h, 0), summary.keyNorm);
        checkBound("norm", parts.back()(page, h, 1), summary.valueNorm);
      }
    }
}
