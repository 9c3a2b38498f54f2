//===- ProjectionChecks.cpp - What holds of a solved projection -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A solver may stop anywhere, but must tell how far it is from the solution:
// its results are held to what its gap says, with the solution in f64. Let u =
// 2^-24, a = scale norm(w) max norm(k) / epsilon for a direction w.
//
//  * A logit is a sum of D products in f32 times a constant: off by at most e =
//    2 (D + 8) u a + 2^-20, of which `certify` takes no less for granted.
//  * Weights are exps of logits, at a direction no longer than the query and
//  the
//    keys together: relative errors of 2 e. With n tokens, sums in f32 err by
//    (8 + sqrt(n)) u more, as in Checks.cpp.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "ProjectionReference.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace vashista::test;

static double getNorm(const float *vector, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += static_cast<double>(vector[i]) * vector[i];
  return std::sqrt(sum);
}

namespace {

/// A row and query head of a case.
class HeadCheck {
public:
  HeadCheck(const Config &config, const AttendInputs &inputs,
            const Outputs &result, Findings &findings, Reporter &reporter);
  void run(int64_t row, int64_t head);

private:
  void checkEmpty();
  void checkLse();
  void checkGap();
  /// The output against the solution, or where keys are values, against what
  /// the direction says.
  void checkOutput();
  void checkSolution();
  /// Weights that rounding alone may move.
  double getWeightError();
  void check(const char *what, double error, double bound) {
    if (!findings.include(what, error, bound))
      reporter.report(row, head, what, error, 0, bound);
  }

  const Config &config;
  const AttendInputs &inputs;
  Findings &findings;
  Reporter &reporter;
  Array<float> o, lse, direction, gap;

  int64_t row = 0, head = 0;
  Projection problem;
  std::vector<const float *> values;
  std::vector<double> residual; // the direction
  double keyNorm = 0, valueNorm = 0, queryNorm = 0, residualNorm = 0;
};

} // namespace

HeadCheck::HeadCheck(const Config &config, const AttendInputs &inputs,
                     const Outputs &result, Findings &findings,
                     Reporter &reporter)
    : config(config), inputs(inputs), findings(findings), reporter(reporter),
      o(result[0].toFloats()), lse(result[1].toFloats()),
      direction(result[2].toFloats()), gap(result[3].toFloats()) {}

void HeadCheck::checkEmpty() {
  const float *query = &(*inputs.query)(row, head, 0);
  check("lse of nothing", lse(row, head) == -kInf ? 0 : 1, 0);
  check("gap of nothing", std::fabs(gap(row, head)), 0);
  for (int64_t d = 0; d < config.valueDim; ++d)
    check("o of nothing", std::fabs(o(row, head, d)), 0);
  check("direction of nothing",
        std::memcmp(query, &direction(row, head, 0),
                    config.keyDim * sizeof(float))
            ? 1
            : 0,
        0);
}

void HeadCheck::checkLse() {
  double factor = config.logit.scale / config.logit.epsilon;
  double e = 2 * (config.keyDim + 8) * kUnit * factor * residualNorm * keyNorm +
             0x1p-20;
  double expected = problem.getLse(residual);
  check("projection lse", std::fabs(lse(row, head) - expected), e);
}

void HeadCheck::checkGap() {
  double got = gap(row, head);
  // Nothing is NaN or infinite here.
  check("projection gap", std::isfinite(got) && got >= 0 ? 0 : 1, 0);
  findings.counts["projections"] += 1;
  findings.counts["projections at tolerance"] +=
      got <= config.projection->tolerance;
  if (problem.hasEntropy())
    return;
  // Of y = q - r, exactly; the stored r rounds by u.
  double product = 0;
  for (int64_t d = 0; d < config.keyDim; ++d)
    product += residual[d] * (problem.query[d] - residual[d]);
  double truth = problem.getLse(residual) - config.logit.scale * product;
  double r = residualNorm, rounding = config.logit.scale * kUnit;
  check("true gap of gap", truth, got + 2 * rounding * r * r);
  double most = 1.01 * std::max(truth, 0.0) +
                rounding * (config.keyDim + 10) * r * (r + keyNorm) +
                600 * rounding * kUnit * r * r + 0x1p-120;
  check("projection gap of its bound", got, most);
}

double HeadCheck::getWeightError() {
  double u = (8 + std::sqrt(problem.keys.size())) * kUnit;
  if (!problem.hasEntropy())
    return u;
  double factor = config.logit.scale / config.logit.epsilon;
  double e = 2 * (config.keyDim + 8) * kUnit * factor *
                 (queryNorm + 2 * keyNorm) * keyNorm +
             0x1p-20;
  return 2 * e + u;
}

void HeadCheck::checkOutput() {
  if (inputs.values.array->data != inputs.keys.array->data ||
      config.keyDim != config.valueDim)
    return;
  double weightError = getWeightError(), square = 0;
  // Weights that are noise say nothing.
  if (weightError > 0.1)
    return;
  for (int64_t d = 0; d < config.keyDim; ++d)
    square += std::pow(o(row, head, d) - (problem.query[d] - residual[d]), 2);
  check("projection o", std::sqrt(square),
        2 * weightError * keyNorm + 2 * kUnit * residualNorm + 0x1p-120);
}

void HeadCheck::checkSolution() {
  // Newton's steps are of D^2 T products, and need f64 to have some digits.
  double work =
      static_cast<double>(problem.keys.size()) * config.keyDim * config.keyDim;
  double stiffness = config.logit.scale * keyNorm * keyNorm /
                     (problem.hasEntropy() ? problem.epsilon : 1);
  if (head % config.group != 0 || work > 1e7 || stiffness > 1e6)
    return;
  Solution solution = solve(problem, residual);
  double own = std::sqrt(std::max(solution.gap, 0.0));
  double allowed = std::sqrt(gap(row, head)) + own;
  double square = 0;
  for (int64_t d = 0; d < config.keyDim; ++d)
    square += std::pow(residual[d] - solution.residual[d], 2);
  ++findings.counts["projections solved"];
  check("distance of the root of a gap", std::sqrt(config.logit.scale * square),
        allowed + std::sqrt(config.logit.scale) * kUnit * queryNorm + 0x1p-100);
  if (!problem.hasEntropy())
    return;
  // TV <= sqrt(G / (2 epsilon)).
  square = 0;
  for (int64_t d = 0; d < config.valueDim; ++d) {
    double expected = 0;
    for (size_t j = 0; j < values.size(); ++j)
      expected += solution.weights[j] * values[j][d];
    square += std::pow(o(row, head, d) - expected, 2);
  }
  double distance = std::min(allowed / std::sqrt(2 * problem.epsilon), 1.0);
  check("o of the root of a gap", std::sqrt(square),
        (2 * distance + getWeightError()) * valueNorm + 0x1p-120);
}

void HeadCheck::run(int64_t r, int64_t h) {
  row = r;
  head = h;
  int64_t kvHead = head / config.group;
  problem = Projection();
  problem.query = &(*inputs.query)(row, head, 0);
  problem.dim = config.keyDim;
  problem.scale = config.logit.scale;
  problem.epsilon =
      config.projection->hasEntropy() ? config.logit.epsilon : 0.0;
  values.clear();
  keyNorm = valueNorm = 0;
  forEachToken(inputs, row, kvHead, [&](int64_t position) {
    int64_t page = inputs.paging.getPhysicalPage(row, position);
    int64_t slot = position % config.pageSize;
    const float *key = inputs.keys.get(page, kvHead, slot);
    const float *value = inputs.values.get(page, kvHead, slot);
    problem.keys.push_back(key);
    values.push_back(value);
    keyNorm = std::max(keyNorm, getNorm(key, config.keyDim));
    valueNorm = std::max(valueNorm, getNorm(value, config.valueDim));
  });
  if (problem.keys.empty())
    return checkEmpty();
  const float *found = &direction(row, head, 0);
  residual.assign(found, found + config.keyDim);
  residualNorm = getNorm(found, config.keyDim);
  queryNorm = getNorm(problem.query, config.keyDim);
  checkLse();
  checkGap();
  checkOutput();
  checkSolution();
}

void vashista::test::checkProjection(const Config &config,
                                     const AttendInputs &inputs,
                                     const Outputs &result, Findings &findings,
                                     const Where &where) {
  Reporter reporter;
  HeadCheck check(config, inputs, result, findings, reporter);
  for (int64_t r = 0; r < inputs.query->shape[0]; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h)
      if (!where || where(r, h / config.group))
        check.run(r, h);
}

void vashista::test::checkCertifyProjection(const CertifyInputs &inputs,
                                            bool hasEntropy,
                                            const Outputs &outputs,
                                            Findings &findings) {
  CertifiedProjection expected = certifyProjection(inputs, hasEntropy);
  Array<float> tau = outputs[0].toFloats(), error = outputs[1].toFloats(),
               fullGap = outputs[2].toFloats();
  Reporter reporter;
  for (int64_t r = 0; r < tau.shape[0]; ++r)
    for (int64_t h = 0; h < tau.shape[1]; ++h) {
      // Never below, but for the rounding of the reference itself. Logs and
      // exponentials are bounded by quotients: log(1 + t) to 1.1 %, 1 - exp(-v)
      // to 16 % below the v of 2 at which tau is 1, the root of either less.
      auto check = [&](const char *what, double got, double truth,
                       double relative, double unit = 1) {
        if (got == truth)
          return;
        double bound = relative * truth + unit * 0x1p-100;
        if (!(got >= truth * (1 - 1e-13)) ||
            !findings.include(what, got - truth, bound))
          reporter.report(r, h, what, got, truth, bound);
      };
      check("projection tau", tau(r, h), expected.tau(r, h), 0.17);
      check("projection error", error(r, h), expected.error(r, h), 0.17,
            expected.tau(r, h) > 0 && std::isfinite(expected.error(r, h))
                ? expected.error(r, h) / expected.tau(r, h)
                : 1);
      check("full gap", fullGap(r, h), expected.fullGap(r, h), 0.012);
      if (!(tau(r, h) <= 1))
        reporter.report(r, h, "tau", tau(r, h), 1, 0);
    }
}
