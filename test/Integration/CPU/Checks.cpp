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

using namespace vashista::test;

static constexpr double kTiny = 0x1p-120;

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

void vashista::test::checkMergeTails(const std::vector<float> &tails, float got,
                                     Findings &findings) {
  double expected = mergeTails(tails), numTails = 0;
  for (float tail : tails)
    numTails += tail != -kInf;
  // One tail is itself, and what is infinite is exact.
  bool isExact = numTails < 2 || !std::isfinite(expected);
  // What the sum, its log and their sum may round, and as much again; the
  // reference rounds, too.
  double own = 0x1p-50 * (numTails + std::fabs(expected));
  double bound =
      isExact ? 0 : 2 * own + 8 * kUnit * (numTails + 16 + std::fabs(expected));
  double above = got == expected ? 0 : got - (expected - own);
  if (!(above >= 0) || !findings.include("merge tails", above, bound))
    ADD_FAILURE() << "the merge of " << tails.size() << " tails is " << got
                  << ", expected " << expected << " to " << bound << " more";
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
