//===- Cases.cpp - Random batches over a paged cache ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Cases.h"

#include <cmath>

using namespace vashista::test;

static constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

//===----------------------------------------------------------------------===//
// Configurations
//===----------------------------------------------------------------------===//

std::string Config::describe() const {
  std::ostringstream os;
  os << getName(type) << " D=" << keyDim << " Dv=" << valueDim << " G=" << group
     << " Hkv=" << kvHeads << " S=" << pageSize << (nhd ? " nhd" : " hnd")
     << (hasRows ? " rows" : "");
  if (logit.softCap)
    os << " soft_cap=" << *logit.softCap;
  os << " scale=" << logit.scale << " epsilon=" << logit.epsilon
     << " lanes=" << options.lanes << " split=" << options.split
     << (options.dotsBF16 ? " dots" : "");
  if (projection)
    os << getSolverText();
  return os.str();
}

std::string Config::getLogitText(bool withEpsilon) const {
  std::ostringstream os;
  os.precision(9);
  os << std::scientific << " scale " << logit.scale;
  if (logit.softCap)
    os << " soft_cap " << *logit.softCap;
  if (withEpsilon)
    os << " epsilon " << static_cast<float>(logit.epsilon);
  return os.str();
}

std::string Config::getSolverText() const {
  std::ostringstream os;
  os.precision(17);
  os << std::scientific << " solver <";
  if (!projection) {
    os << "softmax, epsilon = " << logit.epsilon << ">";
    return os.str();
  }
  const char *steps[] = {"", ", step = plain", ", step = away",
                         ", step = pairwise"};
  os << (projection->hasEntropy() ? "eg" : "frank_wolfe")
     << ", objective = projection, epsilon = "
     << (projection->hasEntropy() ? logit.epsilon : 0.0)
     << ", iterations = " << projection->iterations
     << ", tolerance = " << projection->tolerance
     << steps[static_cast<int>(projection->kind)] << ">";
  return os.str();
}

Config vashista::test::makeConfig(Random &random) {
  Config config;
  config.type =
      random.pick({ElementType::f32, ElementType::f16, ElementType::bf16});
  auto pickDim = [&]() -> int64_t {
    return random.chance(0.85)
               ? random.pick<int64_t>({64, 80, 96, 128, 192, 256})
               : random.pick<int64_t>({1, 3, 8, 12, 36, 40, 100, 144});
  };
  config.keyDim = pickDim();
  config.valueDim = random.chance(0.7) ? config.keyDim : pickDim();
  config.group = random.chance(0.5) ? random.pick<int64_t>({1, 4, 8, 16})
                                    : random.integer(1, 16);
  config.kvHeads = random.integer(1, 3);
  config.pageSize = random.pick<int64_t>({1, 5, 16, 64, 128});
  config.nhd = random.chance(0.5);
  config.hasRows = random.chance(0.35);
  config.logit.scale = 1.0f / std::sqrt(static_cast<float>(config.keyDim));
  if (random.chance(0.25))
    config.logit.softCap = random.pick({5.0f, 30.0f, 50.0f});
  // Numbers that an f32 holds: some ops have an f32, others an f64.
  if (random.chance(0.25))
    config.logit.epsilon = random.pick({0.5, 0.6875, 2.0});
  config.options.lanes = random.pick<int64_t>({4, 8, 16, 16});
  config.options.registers = config.options.lanes == 16 ? 32 : 16;
  config.options.dotsBF16 = config.options.lanes == 16 && random.chance(0.5);
  config.options.split = random.pick<int64_t>({0, 7, 64, 4096});
  return config;
}

void vashista::test::makeProjection(Config &config, Random &random) {
  using Kind = ProjectionSolver::Kind;
  ProjectionSolver solver;
  solver.kind = random.pick(
      {Kind::eg, Kind::eg, Kind::eg, Kind::plain, Kind::away, Kind::pairwise});
  solver.iterations = random.pick<int64_t>({1, 2, 8, 32, 100});
  config.logit.softCap.reset();
  config.logit.epsilon = 1.0;
  if (solver.hasEntropy())
    config.logit.epsilon = random.chance(0.1)
                               ? random.pick({0x1p-100, 0x1p-30, 0x1p60})
                               : random.pick({0.0625, 0.5, 0.6875, 1.0, 4.0});
  solver.tolerance = random.pick({0.0, 1e-2, 1e-3, 1e-5}) *
                     std::min(config.logit.epsilon, 1.0);
  config.projection = solver;
}

//===----------------------------------------------------------------------===//
// Batches
//===----------------------------------------------------------------------===//

void vashista::test::fill(Array<float> &array, ElementType type, Random &random,
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

/// Sets a key to `size` times a direction, rounded.
static void setKey(const Config &config, Array<float> &keys, int64_t page,
                   int64_t kvHead, int64_t slot, const float *direction,
                   float size) {
  Cache cache = {&keys, config.nhd};
  float *key = &keys.data[cache.getOffset(page, kvHead, slot)];
  for (int64_t d = 0; d < config.keyDim; ++d)
    key[d] = roundTo(config.type, size * direction[d]);
}

/// Makes the keys of every page and KV head by a body(page, kvHead).
template <typename Body>
static void forEachPage(const Config &config, const Array<float> &keys,
                        Body body) {
  for (int64_t page = 0; page < keys.shape[0]; ++page)
    for (int64_t kvHead = 0; kvHead < config.kvHeads; ++kvHead)
      body(page, kvHead);
}

static void makeKeys(const Config &config, Batch &batch, Flavour flavour,
                     Random &random) {
  std::vector<float> centre(config.keyDim), key(config.keyDim);
  switch (flavour) {
  case Flavour::normal:
    return;
  case Flavour::clustered:
    // Every page around a centre of its own.
    forEachPage(config, batch.keys, [&](int64_t page, int64_t kvHead) {
      for (float &value : centre)
        value = random.normal();
      for (int64_t slot = 0; slot < config.pageSize; ++slot) {
        for (int64_t d = 0; d < config.keyDim; ++d)
          key[d] = centre[d] + 0.05f * random.normal();
        setKey(config, batch.keys, page, kvHead, slot, key.data(), 1.0f);
      }
    });
    return;
  case Flavour::needle:
    // Little everywhere, and one token of each row that its query points at.
    for (float &value : batch.keys.data)
      value = roundTo(config.type, 0.1f * value);
    for (int64_t r = 0; r < batch.getNumRows(); ++r) {
      if (batch.lens(r) == 0)
        continue;
      int64_t position = random.integer(0, batch.lens(r) - 1);
      int64_t page = batch.getPaging(config).getPhysicalPage(r, position);
      int64_t head = random.integer(0, config.getNumHeads() - 1);
      const float *query = &batch.query(r, head, 0);
      double square = 0;
      for (int64_t d = 0; d < config.keyDim; ++d)
        square += static_cast<double>(query[d]) * query[d];
      if (square == 0)
        continue;
      // No larger than f16 can hold.
      double size = random.pick({8.0, 20.0}) / config.logit.scale / square;
      size = std::min(size, 1e4 / std::sqrt(square));
      setKey(config, batch.keys, page, head / config.group,
             position % config.pageSize, query, size);
    }
    return;
  case Flavour::ties: {
    // A few keys, over and over.
    int64_t numKeys = random.integer(1, 3);
    std::vector<float> some(numKeys * config.keyDim);
    for (float &value : some)
      value = random.normal();
    forEachPage(config, batch.keys, [&](int64_t page, int64_t kvHead) {
      for (int64_t slot = 0; slot < config.pageSize; ++slot)
        setKey(config, batch.keys, page, kvHead, slot,
               &some[random.integer(0, numKeys - 1) * config.keyDim], 1.0f);
    });
    return;
  }
  case Flavour::extreme:
    // From the smallest numbers to large ones, channel by channel or all.
    float small = config.type == ElementType::f16 ? 1e-6f : 1e-36f;
    bool perChannel = random.chance(0.5);
    float all = random.pick({small, 100.0f});
    for (size_t i = 0; i < batch.keys.data.size(); ++i) {
      float factor = !perChannel  ? all
                     : i % 3 == 0 ? small
                     : i % 3 == 1 ? 1
                                  : 50;
      batch.keys.data[i] = roundTo(config.type, factor * batch.keys.data[i]);
    }
    return;
  }
}

Batch vashista::test::makeBatch(const Config &config, Random &random) {
  // About half a million elements per cache.
  int64_t budget =
      500000 / (config.kvHeads * std::max<int64_t>(config.keyDim, 64) *
                std::max<int64_t>(1, config.group / 4));
  int64_t sequences = random.integer(1, 4);
  int64_t limit = std::clamp<int64_t>(budget / sequences, 140, 1200);
  int64_t rows = config.hasRows ? random.integer(1, 6) : sequences;

  Batch batch;
  batch.lens = Array<int32_t>({rows});
  batch.rows = Array<int32_t>({rows});
  std::vector<int64_t> numPages(sequences, 0);
  int64_t mostPages = 1, neededPages = 0;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t length = makeLength(config.pageSize, limit, random);
    int64_t sequence = config.hasRows ? random.integer(0, sequences - 1) : r;
    int64_t pages = config.getNumPages(length);
    batch.lens(r) = length;
    batch.rows(r) = sequence;
    numPages[sequence] = std::max(numPages[sequence], pages);
    mostPages = std::max(mostPages, pages);
  }
  for (int64_t pages : numPages)
    neededPages += pages;

  // A random physical page for each, and some that none uses.
  std::vector<int32_t> physical(neededPages + random.integer(1, 3));
  std::iota(physical.begin(), physical.end(), 0);
  random.shuffle(physical);
  batch.table = Array<int32_t>({sequences, mostPages + random.integer(0, 2)});
  size_t used = 0;
  for (int64_t sequence = 0; sequence < sequences; ++sequence)
    for (int64_t page = 0; page < numPages[sequence]; ++page)
      batch.table(sequence, page) = physical[used++];

  int64_t total = physical.size();
  batch.query = Array<float>({rows, config.getNumHeads(), config.keyDim});
  batch.keys = Array<float>(config.getCacheShape(total, config.keyDim));
  batch.values = Array<float>(config.getCacheShape(total, config.valueDim));
  fill(batch.query, config.type, random,
       random.pick({0.1f, 1.0f, 4.0f, 15.0f}));
  fill(batch.keys, config.type, random, 1.0f);
  fill(batch.values, config.type, random, random.pick({0.01f, 1.0f, 100.0f}));
  makeKeys(config, batch,
           random.pick({Flavour::normal, Flavour::normal, Flavour::clustered,
                        Flavour::needle, Flavour::ties, Flavour::extreme}),
           random);
  return batch;
}

Array<char> vashista::test::getVisible(const Config &config,
                                       const Batch &batch) {
  Array<char> visible({batch.keys.shape[0], config.kvHeads, config.pageSize},
                      0);
  Paging paging = batch.getPaging(config);
  for (int64_t r = 0; r < batch.getNumRows(); ++r)
    for (int64_t position = 0; position < batch.lens(r); ++position)
      for (int64_t h = 0; h < config.kvHeads; ++h)
        visible(paging.getPhysicalPage(r, position), h,
                position % config.pageSize) = 1;
  return visible;
}

Batch vashista::test::poison(const Config &config, const Batch &batch,
                             const Array<char> &visible, Random &random) {
  Batch result = batch;
  float large = config.type == ElementType::f16 ? 65504.0f : 1e30f;
  auto poisonSlot = [&](Array<float> &array, int64_t page, int64_t h,
                        int64_t slot) {
    Cache cache = {&array, config.nhd};
    float value = random.pick({kNan, kInf, -kInf, large, -large});
    float *element = &array.data[cache.getOffset(page, h, slot)];
    std::fill_n(element, cache.getDim(), value);
  };
  for (int64_t page = 0; page < batch.keys.shape[0]; ++page)
    for (int64_t h = 0; h < config.kvHeads; ++h)
      for (int64_t slot = 0; slot < config.pageSize; ++slot)
        if (!visible(page, h, slot)) {
          poisonSlot(result.keys, page, h, slot);
          poisonSlot(result.values, page, h, slot);
        }
  Paging paging = batch.getPaging(config);
  std::vector<int64_t> lengths(batch.table.shape[0], 0);
  for (int64_t r = 0; r < batch.getNumRows(); ++r) {
    int64_t &length = lengths[paging.getSequence(r)];
    length = std::max<int64_t>(length, batch.lens(r));
  }
  for (int64_t sequence = 0; sequence < batch.table.shape[0]; ++sequence)
    for (int64_t page = 0; page < batch.table.shape[1]; ++page)
      if (page * config.pageSize >= lengths[sequence])
        result.table(sequence, page) = random.pick({kMaxInt, -1});
  return result;
}

Batch vashista::test::takeRow(const Config &config, const Batch &batch,
                              int64_t row) {
  Batch result = batch;
  result.query = takeRow(batch.query, row);
  result.lens = takeRow(batch.lens, row);
  result.rows = takeRow(batch.rows, row);
  if (!config.hasRows)
    result.table = takeRow(batch.table, row);
  return result;
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

List vashista::test::makeList(const Config &config, int64_t rows, int64_t size,
                              bool hasCount, Random &random) {
  int64_t capacity = random.integer(1, size + 3);
  List list = {Array<int32_t>({rows, config.kvHeads, capacity}, -1),
               Array<int32_t>({rows, config.kvHeads}, 0)};
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      double share = random.pick({0.1, 0.5, 0.9, 1.0});
      int64_t used = 0;
      for (int64_t id = 0; id < size + 2 && used < capacity; ++id) {
        if (random.chance(0.03) && used < capacity)
          list.ids(r, h, used++) = -1;
        if (used < capacity && random.chance(share))
          list.ids(r, h, used++) = id;
      }
      if (used < capacity && random.chance(0.2))
        list.ids(r, h, used++) = kMaxInt;
      list.count(r, h) = random.chance(0.1) ? 0 : used;
      if (hasCount && random.chance(0.2))
        list.count(r, h) = random.integer(0, used);
    }
  return list;
}

void vashista::test::poisonList(List &list, Random &random) {
  for (int64_t r = 0; r < list.count.shape[0]; ++r)
    for (int64_t h = 0; h < list.count.shape[1]; ++h)
      for (int64_t i = list.count(r, h); i < list.ids.shape[2]; ++i)
        list.ids(r, h, i) = random.pick({kMaxInt, -1, 0});
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

std::string vashista::test::useTable(Entry &entry, const Config &config) {
  std::string text = " table(";
  text += entry.use("table", ElementType::i32, {-1, -1}) + ") lens(";
  text += entry.use("lens", ElementType::i32, {-1}) + ")";
  if (config.hasRows)
    text += " rows(" + entry.use("rows", ElementType::i32, {-1}) + ")";
  return text;
}

std::string vashista::test::useCache(Entry &entry, const Config &config) {
  std::string keys =
      entry.use("k", config.type, config.getCacheShape(-1, config.keyDim));
  std::string values =
      entry.use("v", config.type, config.getCacheShape(-1, config.valueDim));
  return " keys(" + keys + ") values(" + values + ")";
}

void vashista::test::setTable(Operands &operands, const Batch &batch) {
  operands.set("table", batch.table);
  operands.set("lens", batch.lens);
  operands.set("rows", batch.rows);
}

void vashista::test::setBatch(Operands &operands, const Config &config,
                              const Batch &batch) {
  operands.set("q", config.type, batch.query);
  operands.set("k", config.type, batch.keys);
  operands.set("v", config.type, batch.values);
  setTable(operands, batch);
}
