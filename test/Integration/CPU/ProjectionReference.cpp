//===- ProjectionReference.cpp - Projections solved in f64 ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ProjectionReference.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace vashista::test;

using Vector = std::vector<double>;

static double dot(const Vector &a, const Vector &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

static double dot(const Vector &a, const float *b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

static double logSumExp(const Vector &logits) {
  double most = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (double logit : logits)
    sum += std::exp(logit - most);
  return most + std::log(sum);
}

/// Solves a symmetric positive definite system, given row by row, in place, by
/// Cholesky's method. False where it is not definite in f64.
static bool solveDefinite(std::vector<Vector> matrix, Vector &x) {
  size_t size = x.size();
  for (size_t j = 0; j < size; ++j) {
    for (size_t i = j; i < size; ++i) {
      double sum = matrix[i][j];
      for (size_t k = 0; k < j; ++k)
        sum -= matrix[i][k] * matrix[j][k];
      if (i == j && !(sum > 0))
        return false;
      matrix[i][j] = i == j ? std::sqrt(sum) : sum / matrix[j][j];
    }
  }
  for (size_t i = 0; i < size; ++i) {
    for (size_t k = 0; k < i; ++k)
      x[i] -= matrix[i][k] * x[k];
    x[i] /= matrix[i][i];
  }
  for (size_t i = size; i-- > 0;) {
    for (size_t k = i + 1; k < size; ++k)
      x[i] -= matrix[k][i] * x[k];
    x[i] /= matrix[i][i];
  }
  return true;
}

//===----------------------------------------------------------------------===//
// The objective
//===----------------------------------------------------------------------===//

Vector Projection::getLogits(const Vector &direction) const {
  Vector logits;
  double factor = hasEntropy() ? scale / epsilon : scale;
  for (const float *key : keys)
    logits.push_back(factor * dot(direction, key));
  return logits;
}

double Projection::getLse(const Vector &direction) const {
  Vector logits = getLogits(direction);
  return hasEntropy() ? logSumExp(logits)
                      : *std::max_element(logits.begin(), logits.end());
}

Vector Projection::getPoint(const Vector &weights) const {
  Vector point(dim, 0);
  for (size_t j = 0; j < keys.size(); ++j)
    for (int64_t d = 0; weights[j] != 0 && d < dim; ++d)
      point[d] += weights[j] * keys[j][d];
  return point;
}

double Projection::getGap(const Vector &weights,
                          const Vector &direction) const {
  // Where primal less dual values would cancel, what is left of both:
  //   epsilon sum_j a_j (log a_j - x_j + lse) + scale norm(q - y - r)^2 / 2,
  // and with no entropy sum_j a_j (max x - x_j).
  Vector logits = getLogits(direction), point = getPoint(weights);
  double lse = getLse(direction), sum = 0, lack = 0;
  for (size_t j = 0; j < keys.size(); ++j)
    if (weights[j] > 0)
      sum += weights[j] *
             (lse - logits[j] + (hasEntropy() ? std::log(weights[j]) : 0));
  for (int64_t d = 0; d < dim; ++d)
    lack += std::pow(query[d] - point[d] - direction[d], 2);
  return (hasEntropy() ? epsilon : 1) * sum + scale * lack / 2;
}

//===----------------------------------------------------------------------===//
// With an entropy: Newton's method on the dual
//===----------------------------------------------------------------------===//

/// The dual value of a residual, over the scale.
static double getDual(const Projection &problem, const Vector &r) {
  double value = -dot(r, r) / 2 + dot(r, problem.query);
  return value - problem.epsilon / problem.scale * problem.getLse(r);
}

static Vector getSoftmax(const Projection &problem, const Vector &r) {
  Vector weights = problem.getLogits(r);
  double lse = logSumExp(weights);
  for (double &weight : weights)
    weight = std::exp(weight - lse);
  return weights;
}

static Solution solveEntropic(const Projection &problem, Vector r) {
  int64_t dim = problem.dim;
  double factor = problem.scale / problem.epsilon;
  for (int iteration = 0; iteration < 200; ++iteration) {
    Vector a = getSoftmax(problem, r), y = problem.getPoint(a);
    // What is left of the gradient, and the curvature 1 + factor Cov_a(k).
    Vector step(dim);
    double left = 0, size = 0;
    for (int64_t d = 0; d < dim; ++d) {
      step[d] = problem.query[d] - r[d] - y[d];
      left += step[d] * step[d];
      size += std::pow(problem.query[d], 2) + y[d] * y[d];
    }
    if (left <= 1e-28 * size)
      break;
    std::vector<Vector> curvature(dim, Vector(dim, 0));
    for (size_t j = 0; j < a.size(); ++j) {
      // In no place of a matrix does so little add up to anything.
      if (a[j] < 1e-25)
        continue;
      Vector offset(dim);
      for (int64_t d = 0; d < dim; ++d)
        offset[d] = problem.keys[j][d] - y[d];
      for (int64_t d = 0; d < dim; ++d)
        for (int64_t e = 0; e <= d; ++e)
          curvature[d][e] += factor * a[j] * offset[d] * offset[e];
    }
    for (int64_t d = 0; d < dim; ++d)
      curvature[d][d] += 1;
    Vector gradient = step;
    if (!solveDefinite(std::move(curvature), step))
      break;
    double slope = dot(gradient, step), value = getDual(problem, r);
    Vector next(dim);
    double length = 1;
    for (; length > 1e-10; length /= 2) {
      for (int64_t d = 0; d < dim; ++d)
        next[d] = r[d] + length * step[d];
      if (getDual(problem, next) >=
          value + 1e-4 * length * slope - 1e-13 * std::fabs(value))
        break;
    }
    r = next;
  }
  Vector a = getSoftmax(problem, r), y = problem.getPoint(a);
  Solution solution;
  for (int64_t d = 0; d < dim; ++d)
    solution.residual.push_back(problem.query[d] - y[d]);
  solution.weights = std::move(a);
  solution.gap = problem.getGap(solution.weights, solution.residual);
  return solution;
}

//===----------------------------------------------------------------------===//
// Without one: Wolfe's method for the nearest point
//===----------------------------------------------------------------------===//

/// The affine combination of some keys that is nearest to the query.
static bool findAffine(const Projection &problem,
                       const std::vector<size_t> &active, Vector &weights) {
  size_t size = active.size();
  // p_i = k_i - q; (1 1' + P P') v = 1 up to a factor, which the largest square
  // of a norm brings to the size of P P'.
  std::vector<Vector> offsets, matrix(size, Vector(size));
  for (size_t i : active) {
    Vector offset(problem.dim);
    for (int64_t d = 0; d < problem.dim; ++d)
      offset[d] = static_cast<double>(problem.keys[i][d]) - problem.query[d];
    offsets.push_back(offset);
  }
  double most = 0;
  for (const Vector &offset : offsets)
    most = std::max(most, dot(offset, offset));
  for (size_t i = 0; i < size; ++i)
    for (size_t j = 0; j <= i; ++j)
      matrix[i][j] =
          most + dot(offsets[i], offsets[j]) + (i == j ? 1e-15 * most : 0);
  weights.assign(size, most);
  if (!solveDefinite(std::move(matrix), weights))
    return false;
  double sum = 0;
  for (double weight : weights)
    sum += weight;
  for (double &weight : weights)
    weight /= sum;
  return true;
}

static Solution solveNearest(const Projection &problem) {
  size_t numKeys = problem.keys.size();
  std::vector<size_t> active = {0};
  Vector held = {1}, residual(problem.dim);
  Solution solution;
  solution.gap = std::numeric_limits<double>::infinity();
  for (int64_t round = 0; round < 200 + 20 * problem.dim; ++round) {
    Vector weights(numKeys, 0);
    for (size_t i = 0; i < active.size(); ++i)
      weights[active[i]] += held[i];
    Vector point = problem.getPoint(weights);
    double size = 0;
    for (int64_t d = 0; d < problem.dim; ++d) {
      residual[d] = problem.query[d] - point[d];
      size += std::pow(problem.query[d], 2) + point[d] * point[d];
    }
    double gap = problem.getGap(weights, residual);
    if (gap < solution.gap)
      solution = {weights, residual, gap};
    if (gap <= 1e-14 * problem.scale * size)
      break;
    Vector logits = problem.getLogits(residual);
    size_t best =
        std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (std::find(active.begin(), active.end(), best) != active.end())
      break;
    active.push_back(best);
    held.push_back(0);
    // Towards the affine combination until a weight vanishes, until none does.
    while (true) {
      Vector affine;
      if (!findAffine(problem, active, affine))
        return solution;
      double length = 1;
      for (size_t i = 0; i < affine.size(); ++i)
        if (affine[i] <= 0)
          length = std::min(length, held[i] / (held[i] - affine[i]));
      std::vector<size_t> kept;
      Vector keptWeights;
      for (size_t i = 0; i < affine.size(); ++i) {
        double weight = held[i] + length * (affine[i] - held[i]);
        if (weight <= 1e-14)
          continue;
        kept.push_back(active[i]);
        keptWeights.push_back(weight);
      }
      bool isInside = length == 1;
      active = kept;
      held = keptWeights;
      if (isInside)
        break;
    }
    double sum = 0;
    for (double weight : held)
      sum += weight;
    for (double &weight : held)
      weight /= sum;
  }
  return solution;
}

Solution vashista::test::solve(const Projection &problem,
                               const Vector &residual) {
  return problem.hasEntropy() ? solveEntropic(problem, residual)
                              : solveNearest(problem);
}
