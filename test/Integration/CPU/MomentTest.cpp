//===- MomentTest.cpp - Second moments bound what scores are off ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Sequences are summarised and appended to, and after each step the matrices
// are compared with float64, and the moments of directions with the squares of
// what the scores that `score` computes are off.
//
//===----------------------------------------------------------------------===//

#include "MomentReference.h"
#include "PickCase.h"
#include "Sweep.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace vashista::test;

namespace {

/// What keys are like.
enum class Kind { normal, equal, zero, tiny, huge, unknown, far, cells };

class MomentRun {
public:
  MomentRun(Random &random, Kind kind, const Config &config, const Kept &kept);
  void run();

  Findings findings;

private:
  static constexpr int64_t kSequences = 4;
  bool compile();
  void makeSequences();
  void fillKeys(Array<float> &keys);
  /// Makes each query lose most by being rounded to 16 bits, as a score has it:
  /// half a step in each channel, on the side that a token's code is on.
  void aim();
  /// Summarises; rows see no more than their sequence has.
  void summarize();
  /// Appends a token per row.
  void append(const std::vector<int64_t> &positions);
  /// `tight`: nothing but the tokens that are there has been counted.
  void check(const std::vector<bool> &tight);
  void checkMatrix(const KeptSketch &sketch, int64_t sequence, int64_t kvHead,
                   bool tight);
  void checkMoments(const KeptSketch &sketch, const std::vector<bool> &tight);
  void checkNoSequence();
  int64_t getRowSequence(int64_t row) const {
    return config.hasRows ? rowToSeq(row) : row;
  }
  Outputs callMoment(const Array<float> &query, const Array<int32_t> &lens,
                     const Array<int32_t> &rows);
  Operands getOperands(const Array<int32_t> &lens);

  Random &random;
  Kind kind;
  Config config;
  Kept kept;
  std::unique_ptr<CompiledModule> module;
  Entry summarizeEntry, appendEntry, momentEntry, scoreEntry;

  Array<int32_t> table, rowToSeq;
  std::vector<int64_t> lengths;
  Array<float> keys, values, query;
  Outputs state; // what is kept
};

} // namespace

MomentRun::MomentRun(Random &random, Kind kind, const Config &config,
                     const Kept &kept)
    : random(random), kind(kind), config(config), kept(kept),
      summarizeEntry(makeSummarizeEntry(config, kept)),
      appendEntry("append", Entry::Form::buffers),
      momentEntry("moment", Entry::Form::tensors),
      scoreEntry("score", Entry::Form::tensors) {
  Entry &append = appendEntry;
  auto useToken = [&](const char *name, int64_t dim) {
    return append.use(name, config.type, {-1, config.kvHeads, dim});
  };
  append.op << "append key(" << useToken("key", config.keyDim);
  append.op << ") value(" << useToken("value", config.valueDim);
  append.op << ") at(" << append.use("positions", ElementType::i32, {-1});
  append.op << ") table(" << append.use("table", ElementType::i32, {-1, -1})
            << ")";
  if (config.hasRows)
    append.op << " rows(" << append.use("rows", ElementType::i32, {-1}) << ")";
  append.op << " into("
            << append.writes("k", config.type,
                             config.getCacheShape(-1, config.keyDim));
  append.op << ", "
            << append.writes("v", config.type,
                             config.getCacheShape(-1, config.valueDim))
            << ")" << kept.write(append, config) << config.getLayoutText();

  Shape vectors = {-1, config.getNumHeads(), config.keyDim};
  momentEntry.op << "moment " << momentEntry.use("q", config.type, vectors);
  momentEntry.op << " of(" << kept.useMoments(momentEntry, config)
                 << ") sketch " << kept.getSketchText();
  momentEntry.op << " lens(" << momentEntry.use("lens", ElementType::i32, {-1})
                 << ")";
  if (config.hasRows)
    momentEntry.op << " rows("
                   << momentEntry.use("rows", ElementType::i32, {-1}) << ")";
  momentEntry.op << config.getLogitText(/*withEpsilon=*/true);
  momentEntry.yields(ElementType::f32, {-1, config.getNumHeads()});

  scoreEntry.op << "score " << scoreEntry.use("q", config.type, vectors);
  scoreEntry.op << " from #vashista.sketch"
                << kept.useSketch(scoreEntry, config);
  scoreEntry.op << useTable(scoreEntry, config)
                << config.getLogitText(/*withEpsilon=*/true);
  for (int i = 0; i < 2; ++i)
    scoreEntry.yields(ElementType::f32, {-1, config.getNumHeads(), -1});
}

bool MomentRun::compile() {
  module =
      compileEntries({&summarizeEntry, &appendEntry, &momentEntry, &scoreEntry},
                     config.options);
  return module != nullptr;
}

void MomentRun::fillKeys(Array<float> &to) {
  fill(to, config.type, random, kind == Kind::zero ? 0.0f : 1.0f);
  int64_t dim = to.shape.back(), number = to.data.size() / dim;
  float large = config.type == ElementType::f16 ? 6e4f : 3e38f;
  for (int64_t i = 0; i < number; ++i) {
    float *key = &to.data[i * dim];
    auto scale = [&](float factor) {
      for (int64_t d = 0; d < dim; ++d)
        key[d] = roundTo(config.type, key[d] * factor);
    };
    if (kind == Kind::equal)
      for (int64_t d = 0; d < dim; ++d)
        key[d] = roundTo(config.type, d % 7 - 2.75f);
    if (kind == Kind::tiny)
      scale(random.pick({1e-4f, 1e-7f, 1e-20f, 1e-41f}));
    if (kind == Kind::huge)
      scale(random.pick({1.0f, 100.0f, large / 64}));
    if (kind == Kind::far)
      for (int64_t d = 0; d < dim; ++d)
        key[d] = roundTo(config.type, 1000 + key[d] / 64);
    // What scales that are powers of two leave nothing of.
    if (kind == Kind::cells) {
      int64_t half = 1 << (kept.sketch->bits - 1);
      bool small = random.chance(0.5);
      for (int64_t d = 0; d < dim; ++d) {
        int64_t cell = small ? 1 : d % 16 ? random.integer(1, half) : half;
        float size = (cell - 0.5f) * (small ? 0x1p-9f : 0x1p-3f);
        key[d] = roundTo(config.type, random.chance(0.3) ? -size : size);
      }
    }
    if (kind == Kind::unknown && random.chance(0.2))
      key[random.integer(0, dim - 1)] = random.pick({kNan, kInf, -kInf, large});
  }
}

/// Each of the sequences has room for all that is appended; the last one begins
/// as the first one does.
void MomentRun::makeSequences() {
  int64_t size = config.pageSize, most = 3 * size + 40;
  int64_t perSequence = config.getNumPages(most);
  lengths = {random.integer(size + 2, most - 6), random.integer(3, most - 6),
             random.integer(0, 1), size};
  std::vector<int32_t> physical(kSequences * perSequence + 2);
  for (size_t i = 0; i < physical.size(); ++i)
    physical[i] = i;
  random.shuffle(physical);
  table = Array<int32_t>({kSequences, perSequence});
  std::copy_n(physical.begin(), table.data.size(), table.data.begin());
  table(3, 0) = table(0, 0);
  rowToSeq = Array<int32_t>({kSequences});
  for (int64_t r = 0; r < kSequences; ++r)
    rowToSeq(r) = r;
  if (config.hasRows) {
    rowToSeq = Array<int32_t>({6});
    rowToSeq.data = {1, 0, 3, 1, 2, 0};
  }
  keys = Array<float>(config.getCacheShape(physical.size(), config.keyDim));
  values = Array<float>(config.getCacheShape(physical.size(), config.valueDim));
  fillKeys(keys);
  query =
      Array<float>({rowToSeq.shape[0], config.getNumHeads(), config.keyDim});
  fill(query, config.type, random, random.pick({0.1f, 1.0f, 10.0f}));
  state = kept.make(config, keys.shape[0], kSequences);
}

Operands MomentRun::getOperands(const Array<int32_t> &lens) {
  Operands operands;
  operands.set("q", config.type, query);
  operands.set("k", config.type, keys);
  operands.set("v", config.type, values);
  operands.set("table", table);
  operands.set("lens", lens);
  operands.set("rows", rowToSeq);
  return operands;
}

void MomentRun::summarize() {
  Array<int32_t> lens({rowToSeq.shape[0]});
  std::vector<bool> seen(kSequences, false);
  for (int64_t r = 0; r < lens.shape[0]; ++r) {
    int64_t sequence = getRowSequence(r), length = lengths[sequence];
    // Later rows of a sequence see less.
    lens(r) = seen[sequence] ? std::max<int64_t>(length - r, 0) : length;
    seen[sequence] = true;
  }
  Operands operands = getOperands(lens);
  auto copy = [&] {
    Outputs outputs;
    for (const Buffer &part : state)
      outputs.push_back(part.copy());
    return outputs;
  };
  Outputs after = summarizeEntry.callEveryWay(*module, operands, copy, random);
  // A table row of which no row sees a token keeps its matrix.
  size_t size = after.back().size() / kSequences;
  for (int64_t sequence = 0; sequence < kSequences; ++sequence)
    if (lengths[sequence] == 0)
      EXPECT_EQ(0,
                std::memcmp(
                    static_cast<char *>(after.back().data()) + sequence * size,
                    static_cast<char *>(state.back().data()) + sequence * size,
                    size));
  state = std::move(after);
}

void MomentRun::append(const std::vector<int64_t> &at) {
  int64_t rows = rowToSeq.shape[0];
  Array<float> key({rows, config.kvHeads, config.keyDim}),
      value({rows, config.kvHeads, config.valueDim});
  fillKeys(key);
  Array<int32_t> positions({rows});
  std::copy(at.begin(), at.end(), positions.data.begin());
  Operands operands = getOperands(Array<int32_t>({rows}, 0));
  operands.set("key", config.type, key);
  operands.set("value", config.type, value);
  operands.set("positions", positions);
  auto copy = [&] {
    Outputs outputs;
    outputs.emplace_back(config.type, keys);
    outputs.emplace_back(config.type, values);
    for (const Buffer &part : state)
      outputs.push_back(part.copy());
    return outputs;
  };
  Outputs after = appendEntry.callEveryWay(*module, operands, copy, random);
  keys = after[0].toFloats();
  state.clear();
  for (size_t i = 2; i < after.size(); ++i)
    state.push_back(after[i].copy());
  for (int64_t r = 0; r < rows; ++r)
    if (positions(r) >= 0)
      lengths[getRowSequence(r)] = positions(r) + 1;
}

void MomentRun::aim() {
  Cache cache = {&keys, config.nhd};
  for (int64_t r = 0; r < query.shape[0]; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      const float *key =
          cache.get(table(getRowSequence(r), 0), h / config.group, 0);
      bool flat = random.chance(0.5);
      for (int64_t d = 0; d < config.keyDim; ++d)
        query(r, h, d) = (flat ? 32000 : random.integer(-100, 100)) +
                         (key[d] > 0 ? 0.49f : -0.49f);
      query(r, h, 0) = 32767; // Of which a step is 1.
    }
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

void MomentRun::checkMatrix(const KeptSketch &numbers, int64_t sequence,
                            int64_t kvHead, bool tight) {
  Sketch sketch = numbers.get();
  int64_t channels = kept.sketch->getPaddedDim(config.keyDim);
  Moments least(channels);
  Cache cache = {&keys, config.nhd};
  for (int64_t position = 0; position < lengths[sequence]; ++position)
    least.add(sketch, cache, table(sequence, position / config.pageSize),
              kvHead, position % config.pageSize);
  Array<float> all = state.back().toFloats();
  const float *matrix = &all(sequence, kvHead, 0, 0);
  double trace = 0;
  for (int64_t i = 0; i < channels; ++i)
    for (int64_t j = 0; j < channels; ++j) {
      float m = matrix[i * channels + j], mirror = matrix[j * channels + i];
      EXPECT_EQ(0, std::memcmp(&m, &mirror, sizeof(m))) << i << ", " << j;
      if (i == j)
        trace += m;
    }
  // Squares of f32 that have overflowed bound everything.
  if (!std::isfinite(trace)) {
    EXPECT_TRUE(!tight || least.getTrace() > 1e37) << least.getTrace();
    return;
  }
  EXPECT_TRUE(least.isBoundedBy(matrix))
      << "sequence " << sequence << " head " << kvHead;
  double none = channels * channels * 0x1p-146;
  if (tight)
    EXPECT_TRUE(findings.include("trace", trace - least.getTrace(),
                                 0x1p-10 * least.getTrace() + none))
        << trace << " of " << least.getTrace();
}

Outputs MomentRun::callMoment(const Array<float> &query,
                              const Array<int32_t> &lens,
                              const Array<int32_t> &rows) {
  Operands operands;
  operands.set("q", config.type, query);
  operands.set("lens", lens);
  operands.set("rows", rows);
  operands.set("moments", state.back().copy());
  auto make = [&] {
    Outputs outputs;
    outputs.emplace_back(ElementType::f32,
                         Shape{lens.shape[0], config.getNumHeads()});
    return outputs;
  };
  return momentEntry.callEveryWay(*module, operands, make, random);
}

void MomentRun::checkMoments(const KeptSketch &numbers,
                             const std::vector<bool> &tight) {
  int64_t rows = rowToSeq.shape[0];
  Array<int32_t> lens({rows});
  for (int64_t r = 0; r < rows; ++r)
    lens(r) = lengths[getRowSequence(r)];
  Operands operands = getOperands(lens);
  kept.set(operands, state);
  Outputs scored;
  for (int i = 0; i < 2; ++i)
    scored.emplace_back(
        ElementType::f32,
        Shape{rows, config.getNumHeads(), table.shape[1] * config.pageSize});
  ASSERT_TRUE(scoreEntry.call(*module, operands, scored));
  Array<float> scores = scored[0].toFloats();
  Array<float> moments = callMoment(query, lens, rowToSeq)[0].toFloats();
  Sketch sketch = numbers.get();
  Cache cache = {&keys, config.nhd};
  double factor = config.logit.scale / config.logit.epsilon;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      double sum = 0;
      for (int64_t position = 0; position < lens(r); ++position) {
        int64_t page = table(getRowSequence(r), position / config.pageSize);
        int64_t slot = position % config.pageSize, kvHead = h / config.group;
        if (!isBounded(sketch, page, kvHead, slot))
          continue;
        double x = 0;
        const float *key = cache.get(page, kvHead, slot);
        for (int64_t d = 0; d < config.keyDim; ++d)
          x += static_cast<double>(query(r, h, d)) * key[d];
        double off = factor * x - scores(r, h, position);
        sum += off * off;
      }
      double got = moments(r, h);
      EXPECT_TRUE(got >= sum)
          << "row " << r << " head " << h << ": " << got << " of " << sum;
      if (lens(r) == 0)
        EXPECT_EQ(got, 0);
      // Where most that scores are off is what the sketch lacks.
      bool usual = kind == Kind::normal && kept.sketch->bits <= 4 &&
                   tight[getRowSequence(r)] && lens(r) > 16;
      if (usual && std::isfinite(got)) {
        findings.include("ratio", got, sum);
        findings.counts["moments"] += 1;
      }
    }
}

/// Sequences that are not there, rows that see nothing, and what is not finite.
void MomentRun::checkNoSequence() {
  Array<int32_t> rows = rowToSeq, lens({rows.shape[0]}, 1);
  Array<float> directions = query;
  lens(0) = 0;
  lens(1) = -5;
  directions(2, 0, 0) = kNan;
  if (config.hasRows) {
    rows(0) = -1;
    rows(3) = -1;
    rows(4) = kSequences;
    rows(5) = std::numeric_limits<int32_t>::max();
  }
  Array<float> moments = callMoment(directions, lens, rows)[0].toFloats();
  for (int64_t h = 0; h < config.getNumHeads(); ++h) {
    EXPECT_EQ(moments(0, h), 0);
    EXPECT_EQ(moments(1, h), 0);
    for (int64_t r = 3; config.hasRows && r < 6; ++r)
      EXPECT_EQ(moments(r, h), kInf);
  }
  EXPECT_EQ(moments(2, 0), kInf);
}

void MomentRun::check(const std::vector<bool> &tight) {
  KeptSketch numbers(config, kept, state);
  for (int64_t sequence = 0; sequence < kSequences; ++sequence)
    for (int64_t h = 0; h < config.kvHeads && lengths[sequence] > 0; ++h)
      checkMatrix(numbers, sequence, h, tight[sequence]);
  checkMoments(numbers, tight);
}

void MomentRun::run() {
  ASSERT_TRUE(compile());
  makeSequences();
  if (kind == Kind::cells)
    aim();
  summarize();
  check({true, true, true, true});
  checkNoSequence();

  int64_t rows = rowToSeq.shape[0];
  // The next tokens, one or two of a sequence; with a centre the others of the
  // page count again.
  bool once = !kept.sketch->centred;
  for (int step = 0; step < 3; ++step) {
    std::vector<int64_t> at(rows), next = lengths;
    for (int64_t r = 0; r < rows; ++r)
      // The last sequence ends where a page does that another one has.
      at[r] = next[getRowSequence(r)]++;
    append(at);
    check({once, once, once, once});
  }
  // Back by some tokens, of which those that stay count twice or more.
  std::vector<int64_t> at(rows, -1);
  at[1] = std::max<int64_t>(lengths[getRowSequence(1)] - 3, 1);
  append(at);
  check({once && getRowSequence(1) != 0, once && getRowSequence(1) != 1, once,
         once});
  // Another sequence in the same pages.
  at.assign(rows, -1);
  int64_t row = config.hasRows ? 0 : 1; // Both of sequence 1.
  at[row] = 0;
  if (config.hasRows)
    at[3] = 1;
  append(at);
  check({false, once || !config.hasRows, once, once});
}

static void run(Random &random, Kind kind, const Config &config,
                const Kept &kept, Findings &findings) {
  MomentRun test(random, kind, config, kept);
  test.run();
  findings.include(test.findings);
}

static Kept makeSketch(int64_t bits, int64_t group, bool rotated, bool centred,
                       bool normPerToken, ElementType norms) {
  Kept kept;
  kept.sketch = SketchFormat();
  kept.sketch->bits = bits;
  kept.sketch->group = group;
  kept.sketch->rotated = rotated;
  kept.sketch->centred = centred;
  kept.sketch->normPerToken = normPerToken;
  kept.residualType = norms;
  kept.hasMoments = true;
  return kept;
}

static Config makeMomentConfig(Random &random) {
  Config config = makeConfig(random);
  config.valueDim = 8;
  config.group = random.pick<int64_t>({1, 2, 4});
  config.kvHeads = random.integer(1, 2);
  config.pageSize = random.pick<int64_t>({5, 16, 32});
  config.logit.softCap.reset();
  return config;
}

/// The usual format on random keys: how much more a moment is.
TEST(MomentTest, IsClose) {
  Random random({21});
  Findings findings;
  for (int64_t dim : {64, 96, 128}) {
    Config config = makeMomentConfig(random);
    config.keyDim = dim;
    config.logit.scale = 1.0f / std::sqrt(static_cast<float>(dim));
    SCOPED_TRACE(config.describe());
    run(random, Kind::normal, config,
        makeSketch(4, 32, true, false, true, ElementType::i8), findings);
  }
  std::printf("moments: %s\n", findings.toString().c_str());
  EXPECT_GT(findings.counts["moments"], 0);
  EXPECT_LE(findings.worst["ratio"], 1.15);
}

/// Where nothing is left of keys, all that scores are off is rounding.
TEST(MomentTest, Rounding) {
  Findings findings;
  for (int64_t bits : {2, 4, 8})
    for (int64_t dim : {16, 128}) {
      Random random({23, static_cast<uint64_t>(bits)});
      Config config = makeMomentConfig(random);
      config.type = ElementType::f32;
      config.keyDim = dim;
      SCOPED_TRACE(testing::Message() << bits << " " << config.describe());
      Kept kept = makeSketch(bits, 16, false, false, true, ElementType::f16);
      kept.scaleType = ElementType::f8;
      run(random, Kind::cells, config, kept, findings);
    }
}

class MomentSweep : public testing::TestWithParam<int> {};

TEST_P(MomentSweep, IsABound) {
  int64_t number = getEnvironment("VASHISTA_MOMENTS", 2);
  auto kind = static_cast<Kind>(GetParam());
  Findings findings;
  for (int64_t i = 0; i < number; ++i) {
    Random random(
        {22, static_cast<uint64_t>(GetParam()), static_cast<uint64_t>(i)});
    Config config = makeMomentConfig(random);
    Kept kept = makeKept(config, random, false, false, true);
    kept.hasMoments = true;
    // Far from 0 is near to a centre.
    if (kind == Kind::far && i % 2)
      kept.sketch->centred = true;
    SCOPED_TRACE(testing::Message()
                 << i << ": " << config.describe() << " "
                 << kept.getSketchText() << " " << getName(kept.scaleType)
                 << " " << getName(kept.residualType));
    run(random, kind, config, kept, findings);
  }
  std::printf("moments: %s\n", findings.toString().c_str());
}

INSTANTIATE_TEST_SUITE_P(Kinds, MomentSweep, testing::Range(0, 7));
