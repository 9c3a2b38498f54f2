//===- AttendTest.cpp - vashista.attend on a CPU against the reference ----===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A sweep over random configurations, and single cases. The environment
// chooses the sweep:
//   VASHISTA_SWEEP=N     about N configurations (300)
//   VASHISTA_SEED=S      the seed (1)
//   VASHISTA_CASE=M.D    module M with data set D only
// A failure, and a crash, names the three of its configuration.
//
//===----------------------------------------------------------------------===//

#include "Jit.h"
#include "Random.h"
#include "Reference.h"

#include "gtest/gtest.h"

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <sstream>
#include <unistd.h>

using namespace vashista::test;

static constexpr float kInf = std::numeric_limits<float>::infinity();

//===----------------------------------------------------------------------===//
// Configurations
//===----------------------------------------------------------------------===//

namespace {

enum class List { none, pages, tokens };

/// All that is static in a compiled attend.
struct Config {
  ElementType type = ElementType::f32;
  int64_t keyDim = 64, valueDim = 64, group = 1, kvHeads = 1, pageSize = 16;
  bool nhd = false;
  List list = List::none;
  bool hasCount = false, hasRange = false, hasRows = false;
  Logit logit;
  CompileOptions options;

  int64_t getNumHeads() const { return group * kvHeads; }
  Shape getCacheShape(int64_t pages, int64_t dim) const {
    return nhd ? Shape{pages, pageSize, kvHeads, dim}
               : Shape{pages, kvHeads, pageSize, dim};
  }
};

/// The operands of one call.
struct Data {
  Array<float> query, keys, values, o, lse;
  Array<int32_t> table, lens, rows, list, count;
  std::pair<int64_t, int64_t> range = {0, 0};
};

/// Those of them that a call only reads, in memory.
struct Operands {
  Operands(const Config &config, const Data &data)
      : query(config.type, data.query), keys(config.type, data.keys),
        values(config.type, data.values), table(data.table), lens(data.lens),
        rows(data.rows), list(data.list), count(data.count), range(data.range) {
  }
  Buffer query, keys, values, table, lens, rows, list, count;
  std::pair<int64_t, int64_t> range;
};

struct Result {
  Buffer o, lse;
};

} // namespace

static std::string describe(const Config &config) {
  std::ostringstream os;
  os << getName(config.type) << " D=" << config.keyDim
     << " Dv=" << config.valueDim << " G=" << config.group
     << " Hkv=" << config.kvHeads << " S=" << config.pageSize
     << (config.nhd ? " nhd" : " hnd");
  if (config.list != List::none)
    os << (config.list == List::pages ? " pages" : " tokens")
       << (config.hasCount ? "+count" : "");
  os << (config.hasRange ? " range" : "") << (config.hasRows ? " rows" : "");
  if (config.logit.softCap)
    os << " soft_cap=" << *config.logit.softCap;
  os << " scale=" << config.logit.scale << " epsilon=" << config.logit.epsilon
     << " lanes=" << config.options.lanes;
  return os.str();
}

/// A function of all operands that the configuration has, in the op's order.
static std::string getFunction(const Config &config, const std::string &name) {
  std::string parameters, types;
  auto add = [&](const std::string &value, const std::string &type,
                 bool isOperand = true) {
    parameters += (parameters.empty() ? "%" : ", %") + value + ": " + type;
    types += (types.empty() ? "" : ", ") + type;
  };
  auto memref = [](const Shape &shape, const char *element) {
    std::string text = "memref<";
    for (int64_t dim : shape)
      text += (dim < 0 ? "?" : std::to_string(dim)) + "x";
    return text + element + ">";
  };
  const char *type = getName(config.type);
  int64_t heads = config.getNumHeads();
  add("q", memref({-1, heads, config.keyDim}, type));
  add("k", memref(config.getCacheShape(-1, config.keyDim), type));
  add("v", memref(config.getCacheShape(-1, config.valueDim), type));
  add("table", memref({-1, -1}, "i32"));
  add("lens", memref({-1}, "i32"));
  std::ostringstream op;
  op << "vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)";
  if (config.hasRows) {
    add("rows", memref({-1}, "i32"));
    op << " rows(%rows)";
  }
  if (config.list != List::none) {
    add("list", memref({-1, config.kvHeads, -1}, "i32"));
    op << (config.list == List::pages ? " pages(%list" : " tokens(%list");
    if (config.hasCount) {
      add("count", memref({-1, config.kvHeads}, "i32"));
      op << ", %count";
    }
    op << ")";
  }
  if (config.hasRange) {
    add("begin", "index");
    add("end", "index");
    op << " range(%begin, %end)";
  }
  add("o", memref({-1, heads, config.valueDim}, "f32"));
  add("lse", memref({-1, heads}, "f32"));
  op << " outs(%o, %lse) " << std::scientific;
  op.precision(9);
  op << "scale " << config.logit.scale;
  if (config.logit.softCap)
    op << " soft_cap " << *config.logit.softCap;
  op.precision(17);
  op << " solver <softmax, epsilon = " << config.logit.epsilon << ">"
     << (config.nhd ? " layout nhd" : "");
  return "func.func @" + name + "(" + parameters +
         ") attributes {llvm.emit_c_interface} {\n  " + op.str() + " : (" +
         types + ") -> ()\n  return\n}\n";
}

static std::unique_ptr<CompiledModule> compile(const Config &config,
                                               const std::string &text) {
  std::string error;
  auto module = CompiledModule::compile(text, config.options, error);
  EXPECT_TRUE(module) << error << text;
  return module;
}

static Result run(CompiledModule &module, const Config &config,
                  Operands &operands, const Array<float> &o,
                  const Array<float> &lse, Tasks tasks = Tasks(),
                  const std::string &entry = "attend") {
  Result result = {Buffer(ElementType::f32, o), Buffer(ElementType::f32, lse)};
  std::vector<Argument> arguments = {operands.query, operands.keys,
                                     operands.values, operands.table,
                                     operands.lens};
  if (config.hasRows)
    arguments.push_back(operands.rows);
  if (config.list != List::none) {
    arguments.push_back(operands.list);
    if (config.hasCount)
      arguments.push_back(operands.count);
  }
  if (config.hasRange) {
    arguments.push_back(operands.range.first);
    arguments.push_back(operands.range.second);
  }
  arguments.push_back(result.o);
  arguments.push_back(result.lse);
  EXPECT_TRUE(module.invoke(entry, arguments, tasks))
      << "no such entry, or it wrote before a buffer";
  return result;
}

static AttendInputs getInputs(const Config &config, const Data &data) {
  AttendInputs inputs;
  inputs.query = &data.query;
  inputs.keys = {&data.keys, config.nhd};
  inputs.values = {&data.values, config.nhd};
  inputs.paging = {&data.table, &data.lens,
                   config.hasRows ? &data.rows : nullptr, config.pageSize};
  inputs.pages = config.list == List::pages ? &data.list : nullptr;
  inputs.tokens = config.list == List::tokens ? &data.list : nullptr;
  inputs.count = config.hasCount ? &data.count : nullptr;
  if (config.hasRange)
    inputs.range = data.range;
  inputs.logit = config.logit;
  return inputs;
}

//===----------------------------------------------------------------------===//
// The bound
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
namespace {

struct Ratios {
  double o = 0, lse = 0;
  void include(const Ratios &other) {
    o = std::max(o, other.o);
    lse = std::max(lse, other.lse);
  }
};

} // namespace

static double getNorm(const float *vector, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += static_cast<double>(vector[i]) * vector[i];
  return std::sqrt(sum);
}

static State<double> widen(const Array<float> &o, const Array<float> &lse) {
  State<double> state = {Array<double>(o.shape), Array<double>(lse.shape)};
  state.o.data.assign(o.data.begin(), o.data.end());
  state.lse.data.assign(lse.data.begin(), lse.data.end());
  return state;
}

/// Errors relative to their bounds; above 1 is a failure, which is reported.
static Ratios checkAgainstReference(const Config &config, const Data &data,
                                    const Result &result) {
  AttendInputs inputs = getInputs(config, data);
  State<double> reference = widen(data.o, data.lse);
  attend(inputs, reference);
  State<float> naive = {data.o, data.lse};
  attend(inputs, naive);
  Array<float> o = result.o.toFloats(), lse = result.lse.toFloats();

  constexpr double u = 0x1p-24;
  Ratios worst;
  bool reported = false;
  auto report = [&](int64_t r, int64_t h, const char *what, double got,
                    double expected, double bound) {
    if (!reported)
      ADD_FAILURE() << "row " << r << " head " << h << ": " << what << " is "
                    << got << ", expected " << expected << " to " << bound;
    reported = true;
  };
  for (int64_t r = 0; r < data.query.shape[0]; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      int64_t kvHead = h / config.group, numTokens = 0;
      double keyNorm = 0, logit = 0, most = 0;
      forEachToken(inputs, r, kvHead, [&](int64_t position) {
        int64_t page = inputs.paging.getPhysicalPage(r, position);
        int64_t slot = position % config.pageSize;
        ++numTokens;
        double product = 0;
        const float *key = inputs.keys.get(page, kvHead, slot);
        for (int64_t d = 0; d < config.keyDim; ++d)
          product += static_cast<double>(data.query(r, h, d)) * key[d];
        logit = std::max(logit, std::fabs(product));
        keyNorm = std::max(keyNorm, getNorm(inputs.keys.get(page, kvHead, slot),
                                            config.keyDim));
        const float *value = inputs.values.get(page, kvHead, slot);
        for (int64_t d = 0; d < config.valueDim; ++d)
          most = std::max<double>(most, std::fabs(value[d]));
      });
      double before = data.lse(r, h), after = reference.lse(r, h);
      if (numTokens == 0) {
        // Nothing is merged: the state must be as it was.
        if (std::memcmp(&lse(r, h), &data.lse(r, h), sizeof(float)))
          report(r, h, "lse of nothing", lse(r, h), before, 0);
        if (std::memcmp(&o(r, h, 0), &data.o(r, h, 0),
                        config.valueDim * sizeof(float)))
          report(r, h, "o of nothing", o(r, h, 0), data.o(r, h, 0), 0);
        continue;
      }
      double factor = config.logit.scale / config.logit.epsilon;
      double a =
          factor * getNorm(&data.query(r, h, 0), config.keyDim) * keyNorm;
      double e = u * (a + (std::sqrt(config.keyDim) / 4 + 8) * factor * logit);
      double w = e + (8 + std::sqrt(numTokens)) * u;
      double lses = std::fabs(after);
      if (std::isfinite(before)) {
        lses += std::fabs(before);
        for (int64_t d = 0; d < config.valueDim; ++d)
          most = std::max<double>(most, std::fabs(data.o(r, h, d)));
      }

      double bound = 2 * std::fabs(naive.lse(r, h) - after) + w + lses * u;
      double error = std::fabs(lse(r, h) - after);
      worst.lse = std::max(worst.lse, error / bound);
      if (!(error <= bound))
        report(r, h, "lse", lse(r, h), after, bound);
      double naiveError = 0;
      for (int64_t d = 0; d < config.valueDim; ++d)
        naiveError = std::max(
            naiveError, std::fabs(naive.o(r, h, d) - reference.o(r, h, d)));
      bound = 2 * naiveError + (2 * w + lses * u) * most;
      for (int64_t d = 0; d < config.valueDim; ++d) {
        error = std::fabs(o(r, h, d) - reference.o(r, h, d));
        worst.o = std::max(worst.o, error / bound);
        if (!(error <= bound))
          report(r, h, "o", o(r, h, d), reference.o(r, h, d), bound);
      }
    }
  return worst;
}

//===----------------------------------------------------------------------===//
// Random data
//===----------------------------------------------------------------------===//

static Config makeConfig(Random &random) {
  Config config;
  config.type =
      random.pick({ElementType::f32, ElementType::f16, ElementType::bf16});
  config.keyDim = random.pick<int64_t>({64, 80, 96, 128, 192, 256});
  config.valueDim = random.chance(0.7)
                        ? config.keyDim
                        : random.pick<int64_t>({64, 80, 96, 128, 192, 256});
  config.group = random.chance(0.5) ? random.pick<int64_t>({1, 4, 8, 16})
                                    : random.integer(1, 16);
  config.kvHeads = random.integer(1, 3);
  config.pageSize = random.pick<int64_t>({1, 5, 16, 64, 128});
  config.nhd = random.chance(0.5);
  config.list = random.pick({List::none, List::pages, List::tokens});
  config.hasCount = config.list != List::none && random.chance(0.7);
  config.hasRange = random.chance(0.25);
  config.hasRows = random.chance(0.35);
  config.logit.scale = 1.0f / std::sqrt(static_cast<float>(config.keyDim));
  if (random.chance(0.25))
    config.logit.softCap = random.pick({5.0f, 30.0f, 50.0f});
  if (random.chance(0.25))
    config.logit.epsilon = random.pick({0.5, 0.7, 2.0});
  config.options.lanes = random.pick<int64_t>({4, 8, 16, 16});
  config.options.registers = config.options.lanes == 16 ? 32 : 16;
  return config;
}

static void fill(Array<float> &array, ElementType type, Random &random,
                 float scale) {
  for (float &value : array.data)
    value = roundTo(type, scale * random.normal());
}

static int64_t makeLength(int64_t pageSize, int64_t limit, Random &random) {
  int64_t length = 0;
  switch (random.integer(0, 9)) {
  case 0:
    break;
  case 1:
    length = 1;
    break;
  case 2:
    length = pageSize - 1;
    break;
  case 3:
    length = pageSize;
    break;
  case 4:
    length = pageSize + 1;
    break;
  case 5:
    length = random.integer(63, 65);
    break;
  default:
    length = random.integer(1, limit);
  }
  return std::min(length, limit);
}

/// A list of logical pages or tokens of [0, size) and, now and then, beyond:
/// ascending, with entries to skip.
static void makeList(const Config &config, Data &data, int64_t size,
                     Random &random) {
  int64_t rows = data.lens.shape[0];
  int64_t capacity = random.integer(1, size + 3);
  data.list = Array<int32_t>({rows, config.kvHeads, capacity}, -1);
  data.count = Array<int32_t>({rows, config.kvHeads}, 0);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      double share = random.pick({0.1, 0.5, 0.9, 1.0});
      int64_t used = 0;
      for (int64_t id = 0; id < size + 2 && used < capacity; ++id) {
        if (random.chance(0.03) && used < capacity)
          data.list(r, h, used++) = -1;
        if (used < capacity && random.chance(share))
          data.list(r, h, used++) = id;
      }
      if (used < capacity && random.chance(0.2))
        data.list(r, h, used++) = std::numeric_limits<int32_t>::max();
      // Without a count, what follows is padding.
      data.count(r, h) = random.chance(0.1) ? 0 : used;
      if (config.hasCount && random.chance(0.2))
        data.count(r, h) = random.integer(0, used);
    }
}

static Data makeData(const Config &config, Random &random) {
  // About half a million elements per cache.
  int64_t budget = 500000 / (config.kvHeads * config.keyDim *
                             std::max<int64_t>(1, config.group / 4));
  int64_t sequences = random.integer(1, 4);
  int64_t limit = std::clamp<int64_t>(budget / sequences, 140, 1200);
  int64_t rows = config.hasRows ? random.integer(1, 6) : sequences;
  int64_t heads = config.getNumHeads();

  Data data;
  data.lens = Array<int32_t>({rows});
  data.rows = Array<int32_t>({rows});
  std::vector<int64_t> numPages(sequences, 0);
  int64_t mostTokens = 1, mostPages = 1, neededPages = 0;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t length = makeLength(config.pageSize, limit, random);
    int64_t sequence = config.hasRows ? random.integer(0, sequences - 1) : r;
    int64_t pages = (length + config.pageSize - 1) / config.pageSize;
    data.lens(r) = length;
    data.rows(r) = sequence;
    numPages[sequence] = std::max(numPages[sequence], pages);
    mostTokens = std::max(mostTokens, length);
    mostPages = std::max(mostPages, pages);
  }
  for (int64_t pages : numPages)
    neededPages += pages;

  // A random physical page for each, and some that none uses.
  std::vector<int32_t> physical(neededPages + random.integer(1, 3));
  std::iota(physical.begin(), physical.end(), 0);
  random.shuffle(physical);
  data.table = Array<int32_t>({sequences, mostPages + random.integer(0, 2)});
  size_t used = 0;
  for (int64_t sequence = 0; sequence < sequences; ++sequence)
    for (int64_t page = 0; page < numPages[sequence]; ++page)
      data.table(sequence, page) = physical[used++];

  int64_t total = physical.size();
  data.query = Array<float>({rows, heads, config.keyDim});
  data.keys = Array<float>(config.getCacheShape(total, config.keyDim));
  data.values = Array<float>(config.getCacheShape(total, config.valueDim));
  fill(data.query, config.type, random, random.pick({0.1f, 1.0f, 4.0f, 15.0f}));
  fill(data.keys, config.type, random, 1.0f);
  fill(data.values, config.type, random, random.pick({0.01f, 1.0f, 100.0f}));
  if (config.list != List::none)
    makeList(config, data, config.list == List::pages ? mostPages : mostTokens,
             random);
  if (config.hasRange) {
    int64_t slots = mostTokens;
    if (config.list != List::none)
      slots = data.list.shape[2] *
              (config.list == List::pages ? config.pageSize : 1);
    data.range = {random.integer(-1, slots + 1), random.integer(-1, slots + 1)};
    if (random.chance(0.7) && data.range.first > data.range.second)
      std::swap(data.range.first, data.range.second);
    if (random.chance(0.2))
      data.range.second = std::numeric_limits<int64_t>::max();
  }

  // Empty states, or some that are not.
  data.o = Array<float>({rows, heads, config.valueDim}, 0.0f);
  data.lse = Array<float>({rows, heads}, -kInf);
  if (random.chance(0.5))
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t h = 0; h < heads; ++h) {
        if (random.chance(0.3))
          continue;
        data.lse(r, h) = random.pick({1.0f, 8.0f, 100.0f}) * random.normal();
        for (int64_t d = 0; d < config.valueDim; ++d)
          data.o(r, h, d) = random.normal();
      }
  return data;
}

/// The same with other contents wherever the op must not look.
static Data poison(const Config &config, const Data &data, Random &random) {
  Data result = data;
  AttendInputs inputs = getInputs(config, data);
  int64_t rows = data.lens.shape[0], sequences = data.table.shape[0];
  Array<char> visible({data.keys.shape[0], config.kvHeads, config.pageSize}, 0);
  std::vector<int64_t> lengths(sequences, 0);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t &length = lengths[inputs.paging.getSequence(r)];
    length = std::max<int64_t>(length, data.lens(r));
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      bool any = false;
      forEachToken(inputs, r, h, [&](int64_t position) {
        any = true;
        visible(inputs.paging.getPhysicalPage(r, position), h,
                position % config.pageSize) = 1;
      });
      // An empty state that something is merged into has no influence.
      for (int64_t g = h * config.group; any && g < (h + 1) * config.group; ++g)
        if (data.lse(r, g) == -kInf)
          std::fill_n(&result.o(r, g, 0), config.valueDim,
                      std::numeric_limits<float>::quiet_NaN());
    }
  }
  float large = config.type == ElementType::f16 ? 65504.0f : 1e30f;
  auto poisonSlot = [&](Array<float> &array, int64_t page, int64_t h,
                        int64_t slot) {
    Cache cache = {&array, config.nhd};
    float value = random.pick(
        {std::numeric_limits<float>::quiet_NaN(), kInf, -kInf, large, -large});
    float *element = &array.data[cache.getOffset(page, h, slot)];
    std::fill_n(element, cache.getDim(), value);
  };
  for (int64_t page = 0; page < data.keys.shape[0]; ++page)
    for (int64_t h = 0; h < config.kvHeads; ++h)
      for (int64_t slot = 0; slot < config.pageSize; ++slot)
        if (!visible(page, h, slot)) {
          poisonSlot(result.keys, page, h, slot);
          poisonSlot(result.values, page, h, slot);
        }
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  for (int64_t sequence = 0; sequence < sequences; ++sequence)
    for (int64_t page = 0; page < data.table.shape[1]; ++page)
      if (page * config.pageSize >= lengths[sequence])
        result.table(sequence, page) = random.pick({kMax, -1});
  if (config.hasCount)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t h = 0; h < config.kvHeads; ++h)
        for (int64_t i = data.count(r, h); i < data.list.shape[2]; ++i)
          result.list(r, h, i) = random.pick({kMax, -1, 0});
  return result;
}

template <typename T>
static Array<T> takeRow(const Array<T> &array, int64_t row) {
  if (array.data.empty())
    return array;
  Shape shape = array.shape;
  shape[0] = 1;
  Array<T> result(shape);
  size_t size = result.data.size();
  std::copy_n(array.data.begin() + row * size, size, result.data.begin());
  return result;
}

static Data takeRow(const Config &config, const Data &data, int64_t row) {
  Data result = data;
  result.query = takeRow(data.query, row);
  result.o = takeRow(data.o, row);
  result.lse = takeRow(data.lse, row);
  result.lens = takeRow(data.lens, row);
  result.rows = takeRow(data.rows, row);
  result.list = takeRow(data.list, row);
  result.count = takeRow(data.count, row);
  if (!config.hasRows)
    result.table = takeRow(data.table, row);
  return result;
}

static void expectBitEqual(const Result &result, const Result &expected,
                           const char *what) {
  EXPECT_TRUE(areBitEqual(result.o, expected.o)) << "o differs: " << what;
  EXPECT_TRUE(areBitEqual(result.lse, expected.lse)) << "lse differs: " << what;
}

/// Everything that one configuration is checked for.
static Ratios checkConfiguration(CompiledModule &module, const Config &config,
                                 const Data &data, Random &random) {
  Operands operands(config, data);
  Result result = run(module, config, operands, data.o, data.lse);
  Ratios ratios = checkAgainstReference(config, data, result);

  Data hidden = poison(config, data, random);
  Operands poisoned(config, hidden);
  expectBitEqual(run(module, config, poisoned, hidden.o, hidden.lse), result,
                 "invisible slots have influence");
  expectBitEqual(run(module, config, operands, data.o, data.lse), result,
                 "a second run");
  Tasks threads;
  threads.numThreads = random.integer(2, 4);
  expectBitEqual(run(module, config, operands, data.o, data.lse, threads),
                 result, "several threads");
  Tasks reversed;
  reversed.reversed = true;
  expectBitEqual(run(module, config, operands, data.o, data.lse, reversed),
                 result, "tasks in reverse order");

  int64_t row = random.integer(0, data.lens.shape[0] - 1);
  Data single = takeRow(config, data, row);
  Operands alone(config, single);
  Result expected = {
      Buffer(ElementType::f32, takeRow(result.o.toFloats(), row)),
      Buffer(ElementType::f32, takeRow(result.lse.toFloats(), row))};
  expectBitEqual(run(module, config, alone, single.o, single.lse), expected,
                 "a row alone");
  return ratios;
}

//===----------------------------------------------------------------------===//
// The sweep
//===----------------------------------------------------------------------===//

static int64_t getEnvironment(const char *name, int64_t otherwise) {
  const char *value = std::getenv(name);
  return value ? std::atoll(value) : otherwise;
}

/// What is running, for the message of a crash.
static char currentCase[512];

static void reportCrash(int signal) {
  // Only what a signal handler may call.
  size_t length = strnlen(currentCase, sizeof(currentCase));
  if (write(STDERR_FILENO, currentCase, length) < 0)
    _exit(1);
  std::signal(signal, SIG_DFL);
  raise(signal);
}

namespace {

constexpr int64_t kShards = 6;
constexpr int64_t kDataPerModule = 5;

class AttendSweep : public testing::TestWithParam<int64_t> {};

TEST_P(AttendSweep, AgreesWithReference) {
  int64_t seed = getEnvironment("VASHISTA_SEED", 1);
  int64_t numModules =
      (getEnvironment("VASHISTA_SWEEP", 300) + kDataPerModule - 1) /
      kDataPerModule;
  int64_t onlyModule = -1, onlyData = -1;
  if (const char *only = std::getenv("VASHISTA_CASE")) {
    std::istringstream(only) >> onlyModule;
    if (const char *dot = std::strchr(only, '.'))
      onlyData = std::atoll(dot + 1);
    numModules = std::max(numModules, onlyModule + 1);
  }
  std::signal(SIGSEGV, reportCrash);
  std::signal(SIGBUS, reportCrash);
  std::signal(SIGABRT, reportCrash);
  std::signal(SIGFPE, reportCrash);

  Ratios worst;
  int64_t numRun = 0;
  for (int64_t m = GetParam(); m < numModules; m += kShards) {
    if (onlyModule >= 0 && m != onlyModule)
      continue;
    Random random({static_cast<uint64_t>(seed), static_cast<uint64_t>(m)});
    Config config = makeConfig(random);
    auto module = compile(config, getFunction(config, "attend"));
    if (!module)
      return;
    for (int64_t d = 0; d < kDataPerModule; ++d) {
      if (onlyData >= 0 && d != onlyData)
        continue;
      std::ostringstream repro;
      repro << "VASHISTA_SEED=" << seed << " VASHISTA_CASE=" << m << "." << d
            << " VashistaCpuTests --gtest_filter='*AttendSweep*/" << GetParam()
            << "'  # " << describe(config) << "\n";
      std::snprintf(currentCase, sizeof(currentCase), "%s",
                    repro.str().c_str());
      SCOPED_TRACE(repro.str());
      Random dataRandom({static_cast<uint64_t>(seed), static_cast<uint64_t>(m),
                         static_cast<uint64_t>(d)});
      Data data = makeData(config, dataRandom);
      Ratios ratios = checkConfiguration(*module, config, data, dataRandom);
      if (ratios.o > worst.o || ratios.lse > worst.lse)
        std::printf("worst so far: o %.3f, lse %.3f of the bound: %s", ratios.o,
                    ratios.lse, currentCase);
      worst.include(ratios);
      ++numRun;
    }
  }
  std::printf("%lld configurations, worst o %.3f, lse %.3f of the bound\n",
              static_cast<long long>(numRun), worst.o, worst.lse);
}

INSTANTIATE_TEST_SUITE_P(Shards, AttendSweep,
                         testing::Range<int64_t>(0, kShards));

//===----------------------------------------------------------------------===//
// Single cases
//===----------------------------------------------------------------------===//

/// Lists of everything, in the order of the sequence.
static Data addCoveringList(const Config &config, const Data &data) {
  Data result = data;
  int64_t rows = data.lens.shape[0];
  int64_t size =
      data.table.shape[1] * (config.list == List::pages ? 1 : config.pageSize);
  result.list = Array<int32_t>({rows, config.kvHeads, size});
  result.count = Array<int32_t>({rows, config.kvHeads});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      int64_t length = data.lens(r);
      int64_t count = config.list == List::tokens
                          ? length
                          : (length + config.pageSize - 1) / config.pageSize;
      result.count(r, h) = count;
      for (int64_t i = 0; i < size; ++i)
        result.list(r, h, i) = i < count ? i : -1;
    }
  return result;
}

TEST(AttendTest, ListsOfEverythingAreDense) {
  for (ElementType type : {ElementType::f32, ElementType::bf16})
    for (int64_t pageSize : {5, 16, 128}) {
      Random random({7, static_cast<uint64_t>(pageSize)});
      Config dense;
      dense.type = type;
      dense.keyDim = 80;
      dense.valueDim = 64;
      dense.group = 3;
      dense.kvHeads = 2;
      dense.pageSize = pageSize;
      dense.nhd = pageSize == 16;
      dense.logit.scale = 0.125f;
      Config pages = dense, tokens = dense, ranged = dense;
      pages.list = List::pages;
      pages.hasCount = true;
      tokens.list = List::tokens;
      ranged.hasRange = true;
      auto module = compile(dense, getFunction(dense, "attend") +
                                       getFunction(pages, "pages") +
                                       getFunction(tokens, "tokens") +
                                       getFunction(ranged, "ranged"));
      ASSERT_TRUE(module);
      for (int i = 0; i < 5; ++i) {
        Data data = makeData(dense, random);
        Operands operands(dense, data);
        Result expected = run(*module, dense, operands, data.o, data.lse);
        auto check = [&](const Config &config, const Data &covering,
                         const char *entry) {
          Operands operands(config, covering);
          expectBitEqual(
              run(*module, config, operands, data.o, data.lse, Tasks(), entry),
              expected, entry);
        };
        check(pages, addCoveringList(pages, data), "pages");
        check(tokens, addCoveringList(tokens, data), "tokens");
        Data whole = data;
        whole.range = {0, std::numeric_limits<int64_t>::max()};
        check(ranged, whole, "ranged");
      }
    }
}

TEST(AttendTest, RangesMergeToTheWhole) {
  Random random({8});
  Config config;
  config.group = 2;
  config.hasRange = true;
  config.logit.scale = 0.125f;
  auto module = compile(config, getFunction(config, "attend"));
  ASSERT_TRUE(module);
  for (int i = 0; i < 10; ++i) {
    Data data = makeData(config, random);
    Operands operands(config, data);
    Array<float> o = data.o, lse = data.lse;
    int64_t first = 0, length = 0;
    for (int32_t rowLength : data.lens.data)
      length = std::max<int64_t>(length, rowLength);
    // The last range reaches past the end.
    while (first <= length) {
      operands.range = {first, first + random.integer(1, length + 1)};
      Result part = run(*module, config, operands, o, lse);
      o = part.o.toFloats();
      lse = part.lse.toFloats();
      first = operands.range.second;
    }
    data.range = {0, length};
    Result whole = {Buffer(ElementType::f32, o), Buffer(ElementType::f32, lse)};
    checkAgainstReference(config, data, whole);
  }
}

TEST(AttendTest, HeadSizesThatVectorsDoNotDivide) {
  Random random({9});
  for (int64_t keyDim : {1, 3, 8, 12, 20, 36, 40, 72, 100, 112, 144})
    for (int64_t lanes : {4, 16}) {
      Config config;
      config.type = lanes == 4 ? ElementType::f16 : ElementType::f32;
      config.keyDim = keyDim;
      config.valueDim = keyDim == 8 ? 7 : keyDim;
      config.group = keyDim % 5 + 1;
      config.pageSize = 3;
      config.logit.scale = 1.0f / std::sqrt(static_cast<float>(keyDim));
      config.options.lanes = lanes;
      auto module = compile(config, getFunction(config, "attend"));
      ASSERT_TRUE(module);
      SCOPED_TRACE(describe(config));
      checkConfiguration(*module, config, makeData(config, random), random);
    }
}

TEST(AttendTest, NothingToAttend) {
  Config config;
  config.hasRows = true;
  auto module = compile(config, getFunction(config, "attend"));
  ASSERT_TRUE(module);
  // No rows.
  Data data;
  data.query = Array<float>({0, 1, 64});
  data.keys = data.values = Array<float>({1, 1, 16, 64});
  data.o = Array<float>({0, 1, 64});
  data.lse = Array<float>({0, 1});
  data.table = Array<int32_t>({1, 1});
  data.lens = data.rows = Array<int32_t>({0});
  Operands none(config, data);
  run(*module, config, none, data.o, data.lse);
  // A row of an empty sequence: o = 0, lse = -inf. Its table is not read.
  data.query = Array<float>({1, 1, 64});
  data.keys = data.values = Array<float>({0, 1, 16, 64});
  data.o = Array<float>({1, 1, 64}, 0.0f);
  data.lse = Array<float>({1, 1}, -kInf);
  data.table = Array<int32_t>({1, 0});
  data.lens = data.rows = Array<int32_t>({1}, 0);
  Operands empty(config, data);
  Result result = run(*module, config, empty, data.o, data.lse);
  EXPECT_EQ(result.lse.toFloats()(0, 0), -kInf);
  for (float value : result.o.toFloats().data)
    EXPECT_EQ(value, 0.0f);
}

TEST(AttendTest, VisibleNanReachesOnlyItsGroup) {
  Random random({10});
  Config config;
  config.group = 2;
  config.kvHeads = 2;
  config.logit.scale = 0.125f;
  auto module = compile(config, getFunction(config, "attend"));
  ASSERT_TRUE(module);
  Data data = makeData(config, random);
  data.lens.data.assign(data.lens.data.size(), 0);
  data.lens(0) = 40;
  data.table = Array<int32_t>({static_cast<int64_t>(data.lens.data.size()), 3});
  std::iota(data.table.data.begin(), data.table.data.begin() + 3, 0);
  data.keys = data.values = Array<float>({3, 2, 16, 64});
  fill(data.keys, config.type, random, 1.0f);
  fill(data.values, config.type, random, 1.0f);
  data.keys(2, 1, 7, 5) = std::numeric_limits<float>::quiet_NaN();
  Operands operands(config, data);
  Result result = run(*module, config, operands, data.o, data.lse);
  Array<float> o = result.o.toFloats(), lse = result.lse.toFloats();
  for (int64_t h = 0; h < 4; ++h) {
    EXPECT_EQ(std::isnan(lse(0, h)), h >= 2) << "head " << h;
    for (int64_t d = 0; d < 64; ++d)
      EXPECT_EQ(std::isnan(o(0, h, d)), h >= 2) << "head " << h;
  }
}

//===----------------------------------------------------------------------===//
// Trained attention
//===----------------------------------------------------------------------===//

/// A .npy file of bfloat16 bits, which numpy calls '<u2'; empty after an error.
static Array<float> readTrace(const std::string &name, const Shape &shape) {
  Array<float> result(shape);
  std::string path = std::string(VASHISTA_TEST_DATA "/codelm/") + name;
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file)
    return Array<float>();
  // Magic, version, and the length of the header in two bytes.
  unsigned char start[10];
  std::vector<uint16_t> bits(result.data.size());
  bool ok = std::fread(start, 1, sizeof(start), file) == sizeof(start) &&
            std::memcmp(start, "\x93NUMPY\x01\x00", 8) == 0 &&
            std::fseek(file, start[8] + 256 * start[9], SEEK_CUR) == 0 &&
            std::fread(bits.data(), 2, bits.size(), file) == bits.size();
  std::fclose(file);
  if (!ok)
    return Array<float>();
  std::transform(bits.begin(), bits.end(), result.data.begin(), fromBF16);
  return result;
}

TEST(AttendTest, TrainedAttention) {
  constexpr int64_t kTokens = 8192, kRows = 16, kHeads = 4, kDim = 128;
  Config config;
  config.type = ElementType::bf16;
  config.keyDim = config.valueDim = kDim;
  config.group = kHeads;
  config.hasRows = true;
  config.logit.scale = 0.0883883461f;
  auto module = compile(config, getFunction(config, "attend"));
  ASSERT_TRUE(module);
  for (std::string trace : {"sharp", "diffuse"}) {
    SCOPED_TRACE(trace);
    Array<float> keys = readTrace(trace + ".k.npy", {kTokens, kDim});
    Array<float> values = readTrace(trace + ".v.npy", {kTokens, kDim});
    Data data;
    data.query = readTrace(trace + ".q.npy", {kRows, kHeads, kDim});
    ASSERT_FALSE(keys.data.empty() || values.data.empty() ||
                 data.query.data.empty())
        << "cannot read the trace";
    int64_t numPages = kTokens / config.pageSize;
    std::vector<int32_t> physical(numPages);
    std::iota(physical.begin(), physical.end(), 0);
    Random random({11});
    random.shuffle(physical);
    data.table = Array<int32_t>({1, numPages});
    data.table.data = physical;
    data.keys = data.values =
        Array<float>(config.getCacheShape(numPages, kDim));
    for (int64_t page = 0; page < numPages; ++page) {
      int64_t size = config.pageSize * kDim;
      std::copy_n(&keys.data[page * size], size,
                  &data.keys.data[physical[page] * size]);
      std::copy_n(&values.data[page * size], size,
                  &data.values.data[physical[page] * size]);
    }
    data.rows = Array<int32_t>({kRows}, 0);
    data.lens = Array<int32_t>({kRows});
    for (int64_t r = 0; r < kRows; ++r)
      data.lens(r) = kTokens - kRows + 1 + r;
    data.o = Array<float>({kRows, kHeads, kDim}, 0.0f);
    data.lse = Array<float>({kRows, kHeads}, -kInf);
    Operands operands(config, data);
    Result result = run(*module, config, operands, data.o, data.lse);
    Ratios ratios = checkAgainstReference(config, data, result);
    std::printf("%s: o %.3f, lse %.3f of the bound\n", trace.c_str(), ratios.o,
                ratios.lse);
  }
}

} // namespace
