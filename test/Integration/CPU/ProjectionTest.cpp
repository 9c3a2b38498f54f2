//===- ProjectionTest.cpp - Certified projections against the truth -------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Values are unit vectors (ProjectionCase.h): an output is its weights. What is
// certified is then compared with the solution over all keys in f64:
// distances of weights, of outputs and of points, and gaps. The environment
// chooses how much:
//   VASHISTA_PROJECTIONS=N  at least N rows (160)
//   VASHISTA_SEED=S         the seed (1)
//
//===----------------------------------------------------------------------===//

#include "ProjectionCase.h"
#include "ProjectionReference.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstdio>

using namespace vashista::test;

//===----------------------------------------------------------------------===//
// What is true
//===----------------------------------------------------------------------===//

namespace {

/// What certificates say of a quantity beside what is true of it.
struct Slack {
  std::vector<double> ratios; // certified / true, where neither is trivial
  int64_t certified = 0, all = 0;

  void add(double certifiedValue, double truth, double trivial) {
    ++all;
    if (!(certifiedValue < trivial))
      return;
    ++certified;
    if (truth > 1e-9)
      ratios.push_back(certifiedValue / truth);
  }
  double getShare() const { return all ? double(certified) / all : 0; }
  void print(const char *name) {
    std::sort(ratios.begin(), ratios.end());
    auto quantile = [&](double q) {
      return ratios.empty()
                 ? 0.0
                 : ratios[static_cast<size_t>(q * (ratios.size() - 1))];
    };
    std::printf(
        "  %-9s certified %5.1f %% of %lld, slack min %.3g, 10 %% %.3g, "
        "median %.3g, 90 %% %.3g, 99 %% %.3g\n",
        name, 100 * getShare(), static_cast<long long>(all), quantile(0),
        quantile(0.1), quantile(0.5), quantile(0.9), quantile(0.99));
  }
};

struct Tally {
  int64_t rows = 0, violations = 0, accepted = 0, falseAccepts = 0, groups = 0,
          fellBack = 0;
  std::map<int64_t, int64_t> rounds;
  Slack tau, error, gap, fullGap;
};

/// A row and head with its solution over all keys.
class Truth {
public:
  Truth(const Setting &setting, const Batch &batch, int64_t row, int64_t head)
      : config(setting.config) {
    problem.query = &batch.query(row, head, 0);
    problem.dim = config.keyDim;
    problem.scale = config.logit.scale;
    problem.epsilon =
        config.projection->hasEntropy() ? config.logit.epsilon : 0;
    Cache keys = {&batch.keys, config.nhd};
    Paging paging = batch.getPaging(config);
    for (int64_t t = 0; t < batch.lens(row); ++t)
      problem.keys.push_back(
          keys.get(paging.getPhysicalPage(row, t), 0, t % config.pageSize));
  }

  /// The weights of an output, which add up to 1 but for rounding.
  std::vector<double> getWeights(const float *o) const {
    std::vector<double> weights(o, o + problem.keys.size());
    double sum = 0;
    for (double weight : weights)
      sum += weight;
    EXPECT_NEAR(sum, 1, 1e-5);
    for (double &weight : weights)
      weight /= sum;
    return weights;
  }
  std::vector<double> getDirection(const float *direction) const {
    return std::vector<double>(direction, direction + problem.dim);
  }
  const Solution &solve(const std::vector<double> &start) {
    if (solution.weights.empty())
      solution = vashista::test::solve(problem, start);
    return solution;
  }
  /// Half the sum of differences to the solution's weights, and their norm.
  std::pair<double, double>
  getDistances(const std::vector<double> &weights) const {
    double sum = 0, square = 0;
    for (size_t j = 0; j < weights.size(); ++j) {
      double difference = weights[j] - solution.weights[j];
      sum += std::fabs(difference);
      square += difference * difference;
    }
    return {sum / 2, std::sqrt(square)};
  }
  /// The same among the attended keys only.
  Projection getAttended(const std::vector<char> &isAttended) const {
    Projection attended = problem;
    attended.keys.clear();
    for (size_t t = 0; t < problem.keys.size(); ++t)
      if (isAttended[t])
        attended.keys.push_back(problem.keys[t]);
    return attended;
  }
  const Config &config;
  Projection problem;
  Solution solution;
};

class Judge {
public:
  Judge(const Setting &setting, Tally &tally, const std::string &what)
      : setting(setting), tally(tally), what(what) {}

  /// `certified` bounds `truth`, but for the rounding of the output that tells
  /// the truth.
  void bound(const char *name, double certified, double truth,
             double rounding) {
    if (certified >= truth - rounding)
      return;
    if (tally.violations++ < 5)
      ADD_FAILURE() << what << ": " << name << " is " << certified
                    << ", in truth " << truth;
  }
  void judgeOps(const Batch &batch, const Results &results);
  void judgeStep(const Batch &batch, const Results &step, const Results &dense);

private:
  const Setting &setting;
  Tally &tally;
  std::string what;
};

} // namespace

/// Of what is 0 but for rounding.
static double getRoot(double value) { return std::sqrt(std::max(value, 0.0)); }

/// f32 weights of an output are off by a few units, relative to themselves.
static constexpr double kRounding = 0x1p-20;

void Judge::judgeOps(const Batch &batch, const Results &results) {
  const Config &config = setting.config;
  double scale = config.logit.scale;
  bool hasEntropy = config.projection->hasEntropy();
  for (int64_t r = 0; r < batch.getNumRows(); ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      ++tally.rows;
      Truth truth(setting, batch, r, h);
      std::vector<double> weights = truth.getWeights(&results.weights(r, h, 0));
      std::vector<double> direction =
          truth.getDirection(&results.direction(r, h, 0));
      double size = 0;
      for (int64_t d = 0; d < config.keyDim; ++d)
        size += scale * std::pow(truth.problem.query[d], 2);
      // With an entropy every attended key has a weight.
      std::vector<char> isAttended(weights.size());
      std::vector<double> held;
      for (size_t t = 0; t < weights.size(); ++t)
        if ((isAttended[t] = weights[t] > 0))
          held.push_back(weights[t]);
      double gap = results.gap(r, h), fullGap = results.fullGap(r, h);
      double ownGap = truth.getAttended(isAttended).getGap(held, direction);
      double allGap = truth.problem.getGap(weights, direction);
      // Of o, which is rounded anew, the gap moves by that relative rounding of
      // its terms.
      double rounding = kRounding * kRounding * (1 + size) + 1e-12;
      bound("gap", gap, ownGap, kRounding * ownGap + rounding);
      bound("full_gap", fullGap, allGap, kRounding * allGap + rounding);
      tally.gap.add(gap, ownGap, kInf);
      tally.fullGap.add(fullGap, allGap, std::max(1.0, size));

      const Solution &solution = truth.solve(direction);
      double square = 0;
      for (int64_t d = 0; d < config.keyDim; ++d)
        square += std::pow(direction[d] - solution.residual[d], 2);
      bound("the root of full_gap", std::sqrt(fullGap),
            std::sqrt(scale * square), getRoot(solution.gap) + 1e-9);
      auto [distance, norm] = truth.getDistances(weights);
      if (!hasEntropy) {
        EXPECT_EQ(results.tau(r, h), 1.0f) << what;
        EXPECT_EQ(results.error(r, h), kInf) << what;
        continue;
      }
      double own = getRoot(solution.gap / (2 * config.logit.epsilon));
      bound("tau", results.tau(r, h), distance, own + kRounding);
      bound("error", results.error(r, h), norm, 2 * own + kRounding);
      tally.tau.add(results.tau(r, h), distance, 0.5);
      tally.error.add(results.error(r, h), norm, 1.0);
    }
}

void Judge::judgeStep(const Batch &batch, const Results &step,
                      const Results &dense) {
  const Config &config = setting.config;
  for (int64_t r = 0; r < batch.getNumRows(); ++r) {
    ++tally.groups;
    ++tally.rounds[step.rounds(r, 0)];
    bool flag = step.flags(r, 0) != 0;
    tally.fellBack += flag;
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      const float *found = &step.weights(r, h, 0);
      if (flag) {
        // Solved over all keys, as any other set, bit by bit.
        EXPECT_TRUE(
            std::equal(found, found + config.valueDim, &dense.weights(r, h, 0)))
            << what;
        EXPECT_EQ(step.lse(r, h), dense.lse(r, h)) << what;
        continue;
      }
      Truth truth(setting, batch, r, h);
      std::vector<double> weights = truth.getWeights(found);
      std::vector<double> point = truth.problem.getPoint(weights), residual;
      for (int64_t d = 0; d < config.keyDim; ++d)
        residual.push_back(truth.problem.query[d] - point[d]);
      const Solution &solution = truth.solve(residual);
      auto [distance, norm] = truth.getDistances(weights);
      double square = 0;
      for (int64_t d = 0; d < config.keyDim; ++d)
        square += std::pow(residual[d] - solution.residual[d], 2);
      square *= config.logit.scale;
      if (config.projection->hasEntropy()) {
        double own = getRoot(solution.gap / (2 * config.logit.epsilon));
        bound("tau of a step", step.tau(r, h), distance, own + kRounding);
        bound("error of a step", step.error(r, h), norm, 2 * own + kRounding);
      }
      ++tally.accepted;
      double measure = setting.boundsGap ? square : distance;
      bool isFalse = measure > setting.tolerance * (1 + 1e-4) + kRounding;
      tally.falseAccepts += isFalse;
      EXPECT_FALSE(isFalse) << what << ": accepted " << measure;
    }
  }
}

//===----------------------------------------------------------------------===//
// Tests
//===----------------------------------------------------------------------===//

static int64_t getEnvironment(const char *name, int64_t otherwise) {
  const char *value = std::getenv(name);
  return value ? std::atoll(value) : otherwise;
}

/// Rows whose values are unit vectors of this size have no more tokens.
static constexpr int64_t kMostTokens = 1024;

static Setting makeSetting(int64_t number, Random &random) {
  using Kind = ProjectionSolver::Kind;
  Setting setting;
  Config &config = setting.config;
  config.type = random.pick({ElementType::f32, ElementType::f32,
                             ElementType::bf16, ElementType::f16});
  config.keyDim = random.pick<int64_t>({5, 16, 32, 64});
  // Most rows are short: so may their values be.
  config.valueDim = number % 3 == 0 ? kMostTokens : 256;
  config.group = random.pick<int64_t>({1, 2, 3});
  config.pageSize = random.pick<int64_t>({4, 16});
  config.nhd = random.chance(0.5);
  config.logit.scale = 1.0f / std::sqrt(static_cast<float>(config.keyDim));
  config.options.lanes = random.pick<int64_t>({8, 16});
  config.options.registers = config.options.lanes == 16 ? 32 : 16;
  ProjectionSolver solver;
  solver.kind = number % 2
                    ? random.pick({Kind::pairwise, Kind::away, Kind::plain})
                    : Kind::eg;
  solver.iterations = random.pick<int64_t>({8, 60, 200});
  config.logit.epsilon =
      solver.hasEntropy() ? random.pick({0.25, 1.0, 1.0, 4.0}) : 1.0;
  solver.tolerance = 1e-4 * config.logit.epsilon;
  config.projection = solver;

  setting.pages = random.pick<int64_t>({0, 2, 8});
  if (setting.pages == 0 || random.chance(0.4))
    setting.candidates = random.pick<int64_t>({16, 64});
  // Code of many kernels takes long to compile.
  setting.rounds = number % 7 == 6 ? 4 : random.pick<int64_t>({1, 2});
  config.options.optLevel = 0;
  setting.boundsGap = !solver.hasEntropy() || random.chance(0.3);
  setting.tolerance = random.pick({0.3, 0.1, 0.05});
  setting.kept = makeKept(config, random, false, /*hasNorms=*/true,
                          setting.candidates > 0 && random.chance(0.5));
  if (setting.pages > 0)
    setting.kept.summary = random.pick({Source::box, Source::ball});
  setting.kept.type = ElementType::f32;
  return setting;
}

TEST(ProjectionTest, CertificatesHold) {
  int64_t wanted = getEnvironment("VASHISTA_PROJECTIONS", 160);
  uint64_t seed = getEnvironment("VASHISTA_SEED", 1);
  Tally tallies[2];
  // Modules take longer to compile than batches to check.
  int64_t numBatches = wanted > 1000 ? 24 : 4;
  constexpr int64_t kRows = 5;
  for (int64_t number = 0;
       tallies[0].rows + tallies[1].rows < wanted || number < 6; ++number) {
    Random random({seed, static_cast<uint64_t>(number), 23});
    Runner runner(makeSetting(number, random), {});
    ASSERT_TRUE(runner.compile());
    const Config &config = runner.setting.config;
    Tally &tally = tallies[!config.projection->hasEntropy()];
    for (int64_t i = 0; i < numBatches; ++i) {
      std::vector<Sequence> sequences;
      for (int64_t row = 0; row < kRows; ++row) {
        // As many short rows as long ones.
        double most = std::log(double(config.valueDim));
        int64_t length = std::lround(
            std::exp(most * random.integer(0, 1 << 20) / double(1 << 20)));
        Regime regime = kRegimes[(kRows * i + row) % std::size(kRegimes)];
        sequences.push_back(makeSequence(config, regime, length, random));
      }
      Batch batch = makeBatch(config, sequences, random);
      std::ostringstream what;
      what << "VASHISTA_SEED=" << seed << " setting " << number << " batch "
           << i << ": " << config.describe() << " "
           << runner.setting.getPolicyText();
      Judge judge(runner.setting, tally, what.str());
      judge.judgeOps(batch, runner.runOps(batch));
      judge.judgeStep(batch, runner.runStep(batch), runner.runDense(batch));
      ASSERT_LT(tally.violations, 5);
    }
  }
  for (Tally &tally : tallies) {
    std::printf("%s: %lld rows, %lld false\n",
                &tally == tallies ? "entropic" : "Frank-Wolfe",
                static_cast<long long>(tally.rows),
                static_cast<long long>(tally.violations));
    tally.gap.print("gap");
    tally.fullGap.print("full_gap");
    if (&tally == tallies) {
      tally.tau.print("tau");
      tally.error.print("error");
    }
    std::printf("  steps: %lld groups, %lld fell back, %lld rows accepted, "
                "%lld falsely; rounds",
                static_cast<long long>(tally.groups),
                static_cast<long long>(tally.fellBack),
                static_cast<long long>(tally.accepted),
                static_cast<long long>(tally.falseAccepts));
    for (auto [rounds, count] : tally.rounds)
      std::printf(" %lld: %lld", static_cast<long long>(rounds),
                  static_cast<long long>(count));
    std::printf("\n");
    // A certifier that always says nothing would be right, too.
    EXPECT_EQ(tally.violations, 0);
    EXPECT_EQ(tally.falseAccepts, 0);
    EXPECT_EQ(tally.gap.getShare(), 1.0);
    EXPECT_GT(tally.fullGap.getShare(), 0.3);
    EXPECT_GT(tally.accepted, tally.rows / 10);
  }
  EXPECT_GT(tallies[0].tau.getShare(), 0.3);
}

//===----------------------------------------------------------------------===//
// Single cases
//===----------------------------------------------------------------------===//

/// Pages of two of `pages`, f32, one head.
static Setting makeSimple(ProjectionSolver::Kind kind, double epsilon) {
  Setting setting;
  Config &config = setting.config;
  config.keyDim = 16;
  config.valueDim = 256;
  config.logit.scale = 0.25f;
  config.logit.epsilon = epsilon;
  config.projection = ProjectionSolver{kind, 100, 1e-4 * epsilon};
  setting.pages = 2;
  setting.boundsGap = kind != ProjectionSolver::Kind::eg;
  setting.kept.summary = Source::box;
  setting.kept.hasNorms = true;
  config.options.optLevel = 0;
  return setting;
}

static constexpr ProjectionSolver::Kind kKinds[] = {
    ProjectionSolver::Kind::eg, ProjectionSolver::Kind::plain,
    ProjectionSolver::Kind::away, ProjectionSolver::Kind::pairwise};

TEST(ProjectionTest, OneKey) {
  for (ProjectionSolver::Kind kind : kKinds) {
    Runner runner(makeSimple(kind, 1.0), {true, false, false});
    ASSERT_TRUE(runner.compile());
    const Config &config = runner.setting.config;
    Random random({31});
    Batch batch = makeBatch(
        config, {makeSequence(config, Regime::gauss, 1, random)}, random);
    Results results = runner.runOps(batch);
    // All weight, and nothing left to gain but for rounding.
    EXPECT_EQ(results.weights(0, 0, 0), 1.0f);
    EXPECT_LT(results.gap(0, 0), 1e-5f);
    EXPECT_LT(results.fullGap(0, 0), 1e-5f);
    Cache keys = {&batch.keys, false};
    const float *key = keys.get(batch.table(0, 0), 0, 0);
    for (int64_t d = 0; d < config.keyDim; ++d)
      EXPECT_NEAR(results.direction(0, 0, d), batch.query(0, 0, d) - key[d],
                  1e-6);
  }
}

/// On two points, -1 and 1 along one axis, a query at x has the weights
/// (1 -+ y) / 2 where y = x - epsilon atanh(y) / scale.
TEST(ProjectionTest, TwoPoints) {
  double y = 0.3, epsilon = 0.5;
  Setting setting = makeSimple(ProjectionSolver::Kind::eg, epsilon);
  double x = y + epsilon * std::atanh(y) / setting.config.logit.scale;
  for (ProjectionSolver::Kind kind : kKinds) {
    bool hasEntropy = kind == ProjectionSolver::Kind::eg;
    setting = makeSimple(kind, hasEntropy ? epsilon : 1.0);
    setting.config.projection->tolerance = 1e-7;
    Runner runner(setting, {true, false, false});
    ASSERT_TRUE(runner.compile());
    Sequence sequence = {Array<float>({2, 16}, 0.0f),
                         Array<float>({1, 16}, 0.0f)};
    sequence.keys(0, 3) = -1;
    sequence.keys(1, 3) = 1;
    sequence.queries(0, 3) = hasEntropy ? x : y;
    Random random({32});
    Results results =
        runner.runOps(makeBatch(runner.setting.config, {sequence}, random));
    EXPECT_NEAR(results.weights(0, 0, 0), (1 - y) / 2, 1e-3);
    EXPECT_NEAR(results.weights(0, 0, 1), (1 + y) / 2, 1e-3);
    EXPECT_LE(results.gap(0, 0), 1e-7f);
  }
}

/// Gaps are at least those of the weights and directions beside them.
static void checkGaps(const Setting &setting, const Batch &batch,
                      const Results &results) {
  for (int64_t r = 0; r < batch.getNumRows(); ++r)
    for (int64_t h = 0; h < setting.config.getNumHeads(); ++h) {
      Truth truth(setting, batch, r, h);
      double gap =
          truth.problem.getGap(truth.getWeights(&results.weights(r, h, 0)),
                               truth.getDirection(&results.direction(r, h, 0)));
      EXPECT_GE(results.gap(r, h), gap * (1 - 1e-5))
          << setting.config.getSolverText();
    }
}

TEST(ProjectionTest, SolversConverge) {
  // Of each solver, the share of rows at the tolerance after some iterations.
  struct Expectation {
    ProjectionSolver::Kind kind;
    double epsilon;
    int64_t iterations;
    double share;
  };
  for (auto [kind, epsilon, iterations, share] :
       {Expectation{ProjectionSolver::Kind::eg, 1.0, 24, 0.95},
        Expectation{ProjectionSolver::Kind::eg, 4.0, 6, 0.9},
        Expectation{ProjectionSolver::Kind::plain, 1.0, 100, 0.3},
        Expectation{ProjectionSolver::Kind::away, 1.0, 60, 0.9},
        Expectation{ProjectionSolver::Kind::pairwise, 1.0, 40, 0.95}}) {
    Setting setting = makeSimple(kind, epsilon);
    setting.config.group = 4;
    setting.config.projection->iterations = iterations;
    setting.config.projection->tolerance =
        kind == ProjectionSolver::Kind::eg ? 1e-4 : 1e-3;
    Runner runner(setting, {false, false, true});
    ASSERT_TRUE(runner.compile());
    Random random({33});
    std::vector<Sequence> sequences;
    for (int i = 0; i < 20; ++i)
      sequences.push_back(makeSequence(
          setting.config, i % 2 ? Regime::longQuery : Regime::cluster,
          random.integer(50, 250), random));
    Batch batch = makeBatch(setting.config, sequences, random);
    Results results = runner.runDense(batch);
    checkGaps(setting, batch, results);
    int64_t met = 0;
    for (float gap : results.gap.data)
      met += gap <= setting.config.projection->tolerance;
    EXPECT_GE(met, share * results.gap.data.size())
        << setting.config.getSolverText();
  }
}

/// Far from the solution, at a low temperature, a key may have no weight that a
/// number holds and yet be the best along the residual.
TEST(ProjectionTest, KeysWithoutWeight) {
  Setting setting = makeSimple(ProjectionSolver::Kind::eg, 0x1.ba8p-14);
  setting.config.logit.scale = 1;
  setting.config.projection->iterations = 36;
  Runner runner(setting, {false, false, true});
  ASSERT_TRUE(runner.compile());
  const float keys[4][3] = {{-0.22373f, -1.12989f, -4.48085f},
                            {-8.11089f, 35.86195f, -45.72918f},
                            {66.74323f, -39.72222f, -157.9626f},
                            {-0.45536f, -0.42485f, -0.45764f}};
  const float query[3] = {4.21571f, -27.76407f, 4.61331f};
  Sequence sequence = {Array<float>({4, 16}, 0.0f),
                       Array<float>({1, 16}, 0.0f)};
  for (int64_t d = 0; d < 3; ++d) {
    sequence.queries(0, d) = query[d];
    for (int64_t t = 0; t < 4; ++t)
      sequence.keys(t, d) = keys[t][d];
  }
  Random random({38});
  Batch batch = makeBatch(setting.config, {sequence}, random);
  Results results = runner.runDense(batch);
  EXPECT_LT(results.gap(0, 0), kInf);
  checkGaps(setting, batch, results);
}

/// A query inside the hull has no residual, and no page is out of the question:
/// column generation must still end, and may only accept what is close.
TEST(ProjectionTest, ColumnsOfAQueryInTheHull) {
  for (ProjectionSolver::Kind kind :
       {ProjectionSolver::Kind::eg, ProjectionSolver::Kind::pairwise}) {
    Setting setting = makeSimple(kind, 1.0);
    setting.config.pageSize = 4;
    // Code of many kernels takes long to compile.
    setting.rounds = kind == ProjectionSolver::Kind::eg ? 3 : 8;
    Runner runner(setting, {false, true, true});
    ASSERT_TRUE(runner.compile());
    Random random({34});
    std::vector<Sequence> sequences;
    for (int64_t length : {1, 17, 100, 256})
      sequences.push_back(
          makeSequence(setting.config, Regime::inside, length, random));
    Batch batch = makeBatch(setting.config, sequences, random);
    Tally tally;
    Judge judge(setting, tally, setting.config.getSolverText());
    Results step = runner.runStep(batch);
    judge.judgeStep(batch, step, runner.runDense(batch));
    EXPECT_EQ(tally.violations + tally.falseAccepts, 0);
    // Nothing to add to one page, and much to 64 pages.
    EXPECT_EQ(step.rounds(0, 0), 1);
    EXPECT_GT(step.rounds(3, 0), 2);
  }
}

TEST(ProjectionTest, BrokenKeysCertifyNothing) {
  for (ProjectionSolver::Kind kind :
       {ProjectionSolver::Kind::eg, ProjectionSolver::Kind::pairwise}) {
    Setting setting = makeSimple(kind, 1.0);
    Runner runner(setting, {});
    ASSERT_TRUE(runner.compile());
    for (float broken : {kNan, kInf, -kInf})
      for (bool everywhere : {false, true}) {
        Random random({35});
        Batch batch = makeBatch(
            setting.config,
            {makeSequence(setting.config, Regime::gauss, 128, random)}, random);
        // In a page that is read or, most likely, in one that is not.
        for (int64_t page = 0; page < 8; ++page)
          if (everywhere || page == 5)
            batch.keys(batch.table(0, page), 0, 3, 7) = broken;
        Results results = runner.runOps(batch);
        EXPECT_EQ(results.tau(0, 0), 1.0f);
        EXPECT_EQ(results.error(0, 0), kInf);
        EXPECT_EQ(results.fullGap(0, 0), kInf);
        if (everywhere) {
          EXPECT_EQ(results.gap(0, 0), kInf);
          EXPECT_FALSE(std::isfinite(results.lse(0, 0)));
        }
        EXPECT_EQ(runner.runStep(batch).flags(0, 0), 1);
        EXPECT_EQ(runner.runDense(batch).gap(0, 0), kInf);
      }
  }
}

TEST(ProjectionTest, EmptySets) {
  for (ProjectionSolver::Kind kind :
       {ProjectionSolver::Kind::eg, ProjectionSolver::Kind::away}) {
    Setting setting = makeSimple(kind, 1.0);
    Runner runner(setting, {});
    ASSERT_TRUE(runner.compile());
    Random random({36});
    Sequence none = {Array<float>({0, 16}), Array<float>({1, 16}, 2.0f)};
    Batch batch = makeBatch(
        setting.config,
        {none, makeSequence(setting.config, Regime::gauss, 40, random)},
        random);
    Results results = runner.runOps(batch);
    EXPECT_EQ(results.lse(0, 0), -kInf);
    for (float *value : {&results.gap(0, 0), &results.tau(0, 0),
                         &results.error(0, 0), &results.fullGap(0, 0)})
      EXPECT_EQ(*value, 0.0f);
    for (int64_t d = 0; d < 16; ++d) {
      EXPECT_EQ(results.direction(0, 0, d), 2.0f);
      EXPECT_EQ(results.weights(0, 0, d), 0.0f);
    }
    EXPECT_EQ(runner.runStep(batch).flags(0, 0), 0);
    EXPECT_GT(results.lse(1, 0), -kInf);
  }
}

/// A temperature so low that logits have no exponents: weights are still
/// weights, and the gap is that of the objective without an entropy, but for
/// epsilon log T. One so high that nothing else matters: all weigh alike.
TEST(ProjectionTest, ExtremeTemperatures) {
  for (double epsilon : {1e-30, 1e30}) {
    Setting setting = makeSimple(ProjectionSolver::Kind::eg, epsilon);
    Runner runner(setting, {false, false, true});
    ASSERT_TRUE(runner.compile());
    Random random({37});
    Batch batch = makeBatch(
        setting.config,
        {makeSequence(setting.config, Regime::gauss, 100, random),
         makeSequence(setting.config, Regime::longQuery, 250, random)},
        random);
    Results results = runner.runDense(batch);
    for (int64_t r = 0; r < 2; ++r) {
      Truth truth(setting, batch, r, 0);
      std::vector<double> weights = truth.getWeights(&results.weights(r, 0, 0));
      if (epsilon > 1) {
        for (double weight : weights)
          EXPECT_NEAR(weight, 1.0 / weights.size(), 1e-6);
        continue;
      }
      truth.problem.epsilon = 0;
      std::vector<double> direction =
          truth.getDirection(&results.direction(r, 0, 0));
      double gap = truth.problem.getGap(weights, direction);
      EXPECT_GE(results.gap(r, 0), gap * (1 - 1e-6));
      EXPECT_LT(results.gap(r, 0), kInf);
    }
  }
}
