//===- Data.cpp - Generated queries, keys and values ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// `gauss`: all numbers normal. Logits are then nearly equal, every token
// counts, and nothing can be left out.
//
// `needle`: each query head has a direction of its own, which its query
// follows, and some tokens, at random places, follow the direction of one head
// of their group: these are its needles, and hold most of its mass. The rest is
// normal. With c the size of a query, D the key dimension and logits scaled by
// 1 / sqrt(D), logits of needles have mean c kFollow^2 sqrt(D) and deviation
// c sqrt(1 - kFollow^2), all others mean 0 and deviation c. c is at least so
// large that a sketch of 4 bits overestimates logits by as much as it does
// those of trained models, about 3, and that all others, bounded by the sketch,
// have less mass than a proof may leave out; the number of needles is such that
// as many as asked for are needed. That share rises from one KV head to the
// next, from nearly none to twice the mean: trained heads differ as much.
//
//===----------------------------------------------------------------------===//

#include "Data.h"

#include "Roofs.h"

#include <algorithm>
#include <cmath>
#include <thread>

using namespace vashista;
using namespace vashista::bench;

uint64_t bench::mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Nearly normal: the sum of four numbers of 16 bits. Depends on its position
/// alone.
static float getNormal(uint64_t seed, uint64_t position) {
  uint64_t bits = mix(seed * 0x632be59bd9b4e019 + position);
  int sum = 0;
  for (unsigned i = 0; i < 4; ++i)
    sum += static_cast<int>((bits >> (16 * i)) & 0xffff);
  // Mean 2 * 65535, variance 4 * 65536^2 / 12.
  return (static_cast<float>(sum) - 131070.0f) * (1.0f / 65536 * 1.7320508f);
}

/// body(begin, end) of equal parts of 0 to `count`, at once.
static void forEachPart(int64_t count,
                        const std::function<void(int64_t, int64_t)> &body) {
  unsigned n = std::max(1u, std::thread::hardware_concurrency());
  runThreads(n, [&](unsigned thread) {
    body(count * thread / n, count * (thread + 1) / n);
  });
}

double bench::getNeed(const Options &o, int64_t kvHead) {
  return std::min(1.0, o.need * (2 * kvHead + 1) / o.kvHeads);
}

static void fillNormal(Tensor &tensor, uint64_t seed) {
  forEachPart(tensor.count(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      tensor.set(i, getNormal(seed, i));
  });
}

//===----------------------------------------------------------------------===//
// Needles
//===----------------------------------------------------------------------===//

/// Of a unit vector, how much of a query and of its needles is the direction.
static constexpr double kFollow = 0.9;
/// Of a query, in units of a normal one.
static constexpr double kLeastSize = 3;

static double getUpperTail(double x) { return std::erfc(x / std::sqrt(2)) / 2; }

/// x with `share` of the normal distribution above it.
static double getUpperQuantile(double share) {
  double low = -40, high = 40;
  for (int i = 0; i < 80; ++i) {
    double middle = (low + high) / 2;
    (getUpperTail(middle) > share ? low : high) = middle;
  }
  return low;
}

namespace {

/// How the queries and needles of a KV head are made.
struct Recipe {
  double size = 1;    // c
  double needles = 0; // share of the tokens, for all heads of the group
};

} // namespace

/// What may be left out, of what is attended.
static double getOdds(const Options &o) {
  double tau = o.isCertified() ? o.tolerance : 0.5;
  // An error is a share of the norms of values, which are sqrt(Dv) or more.
  if (o.target == "output_error")
    tau = std::min(0.5, tau / (1.5 * std::sqrt(o.valueDim)));
  return tau / (1 - tau);
}

static Recipe getRecipe(const Options &o, double need) {
  double root = std::sqrt(static_cast<double>(o.headDim));
  double others = 1 - kFollow * kFollow, odds = getOdds(o);
  // By how much bounds exceed logits, for c = 1: the norm that rounding leaves
  // of 32 normal channels, whose largest is about 2.4.
  double slack = o.sketch ? root * 2 * 2.4 / std::sqrt(12.0) /
                                (std::exp2(o.sketch.bits) - 1)
                          : 0;
  Recipe recipe;
  recipe.needles = need;
  // Both depend on each other, weakly.
  for (int i = 0; i < 4; ++i) {
    double share = recipe.needles / o.getGroup();
    double wanted = std::log(1 / share) + std::max(0.0, -std::log(odds)) + 2;
    double slope = kFollow * kFollow * root - slack, bend = (1 - others) / 2;
    double root2 = slope * slope - 4 * bend * wanted;
    double least = slope <= 0   ? 0
                   : root2 <= 0 ? slope / (2 * bend)
                                : (slope - std::sqrt(root2)) / (2 * bend);
    recipe.size = std::max(kLeastSize, least);
    double bound = std::exp(recipe.size * slack);
    double left = odds / (odds + bound);
    // Masses are log-normal: those that hold all but `left`.
    double taken =
        getUpperTail(recipe.size * std::sqrt(others) - getUpperQuantile(left));
    recipe.needles = std::min(1.0, need / taken);
  }
  return recipe;
}

static void plantNeedles(const Options &o, Problem &problem) {
  int64_t dim = o.headDim, group = o.getGroup();
  double with = kFollow, without = std::sqrt(1 - kFollow * kFollow);
  // Unit variance per channel, of each sequence and head.
  std::vector<float> directions(o.batch * o.heads * dim);
  for (int64_t i = 0; i < o.batch * o.heads; ++i) {
    float *direction = &directions[i * dim];
    double square = 0;
    for (int64_t d = 0; d < dim; ++d) {
      direction[d] = getNormal(5 * o.seed + 3, i * dim + d);
      square += direction[d] * direction[d];
    }
    for (int64_t d = 0; d < dim; ++d)
      direction[d] *= std::sqrt(dim / square);
  }
  std::vector<Recipe> recipes;
  for (int64_t kvHead = 0; kvHead < o.kvHeads; ++kvHead)
    recipes.push_back(getRecipe(o, getNeed(o, kvHead)));

  Tensor &q = problem["q"], &k = problem["k"];
  auto follow = [&](Tensor &tensor, int64_t vector, const float *direction,
                    double size) {
    for (int64_t d = 0; d < dim; ++d) {
      int64_t at = vector * dim + d;
      tensor.set(at, size * (with * direction[d] + without * tensor.at(at)));
    }
  };
  for (int64_t i = 0; i < o.batch * o.heads; ++i)
    follow(q, i, &directions[i * dim], recipes[i % o.heads / group].size);
  int64_t perSequence = problem["table"].shape()[1];
  const int32_t *table = problem["table"].ints();
  forEachPart(o.batch * o.context, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t kvHead = 0; kvHead < o.kvHeads; ++kvHead) {
        uint64_t bits =
            mix(mix(o.seed + (2ull << 40)) + i * o.kvHeads + kvHead);
        if ((bits >> 11) * 0x1p-53 >= recipes[kvHead].needles)
          continue;
        int64_t sequence = i / o.context, token = i % o.context;
        int64_t page = table[sequence * perSequence + token / o.pageSize];
        int64_t vector =
            (page * o.kvHeads + kvHead) * o.pageSize + token % o.pageSize;
        int64_t head = kvHead * group + mix(bits) % group;
        follow(k, vector, &directions[(sequence * o.heads + head) * dim], 1);
      }
  });
}

void bench::generateData(const Options &o, Problem &problem) {
  fillNormal(problem["q"], 3 * o.seed);
  fillNormal(problem["k"], 3 * o.seed + 1);
  fillNormal(problem["v"], 3 * o.seed + 2);
  if (o.data == "needle")
    plantNeedles(o, problem);
}
