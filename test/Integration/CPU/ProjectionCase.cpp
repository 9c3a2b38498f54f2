//===- ProjectionCase.cpp - Decode steps that project ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ProjectionCase.h"

#include <cmath>
#include <map>
#include <numeric>

using namespace vashista::test;

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

Sequence vashista::test::makeSequence(const Config &config, Regime regime,
                                      int64_t length, Random &random) {
  int64_t dim = config.keyDim, heads = config.getNumHeads();
  Sequence result = {Array<float>({length, dim}), Array<float>({heads, dim})};
  for (float &x : result.keys.data)
    x = random.normal();
  for (float &x : result.queries.data)
    x = random.normal();
  auto scaleKeys = [&](float factor) {
    for (float &x : result.keys.data)
      x *= factor;
  };
  auto copyKey = [&](int64_t from, int64_t to) {
    std::copy_n(&result.keys(from, 0), dim, &result.keys(to, 0));
  };
  switch (regime) {
  case Regime::gauss:
    break;
  case Regime::longQuery:
    for (float &x : result.queries.data)
      x *= 8;
    break;
  case Regime::needle:
  case Regime::needleOfLength: {
    // A few keys of a logit that stands out, for a query of its own each.
    scaleKeys(0.05f);
    double logit =
        regime == Regime::needle ? 20 : std::log(double(length)) + 10;
    for (int64_t i = 0; i < 4; ++i) {
      int64_t token = random.integer(0, length - 1);
      const float *query = &result.queries(random.integer(0, heads - 1), 0);
      double square = 0;
      for (int64_t d = 0; d < dim; ++d)
        square += static_cast<double>(query[d]) * query[d];
      double size = logit / config.logit.scale / std::max(square, 1.0);
      for (int64_t d = 0; d < dim; ++d)
        result.keys(token, d) += static_cast<float>(size) * query[d];
    }
    break;
  }
  case Regime::cluster:
    // A page is a tight cluster; queries lie beyond one of them.
    for (int64_t t = 0; t < length; ++t)
      for (int64_t d = 0; d < dim; ++d) {
        int64_t first = t / config.pageSize * config.pageSize;
        result.keys(t, d) =
            t == first ? result.keys(t, d)
                       : result.keys(first, d) + 0.05f * result.keys(t, d);
      }
    for (int64_t h = 0; h < heads; ++h) {
      int64_t token = random.integer(0, length - 1);
      for (int64_t d = 0; d < dim; ++d)
        result.queries(h, d) =
            2 * result.keys(token, d) + 0.1f * result.queries(h, d);
    }
    break;
  case Regime::drift:
    // Slow drift, and a first token unlike the rest.
    for (int64_t t = 1; t < length; ++t)
      for (int64_t d = 0; d < dim; ++d)
        result.keys(t, d) =
            0.99f * result.keys(t - 1, d) + 0.141f * result.keys(t, d);
    for (int64_t d = 0; d < dim; ++d)
      result.keys(0, d) *= 3;
    break;
  case Regime::lowRank: {
    Array<float> basis({4, dim});
    for (float &x : basis.data)
      x = random.normal();
    float page[4] = {};
    for (int64_t t = 0; t < length; ++t) {
      if (t % config.pageSize == 0)
        for (float &x : page)
          x = random.normal();
      for (int64_t d = 0; d < dim; ++d) {
        float sum = 0.05f * result.keys(t, d);
        for (int64_t i = 0; i < 4; ++i)
          sum += page[i] * basis(i, d);
        result.keys(t, d) = sum;
      }
    }
    break;
  }
  case Regime::equal:
    for (int64_t t = 1; t < length; ++t)
      copyKey(0, t);
    break;
  case Regime::duplicates:
    for (int64_t t = length / 8 + 1; t < length; ++t)
      copyKey(random.integer(0, length / 8), t);
    break;
  case Regime::inside:
    // Queries are means of keys: no gap tells the support from the rest.
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t d = 0; d < dim; ++d) {
        float sum = 0;
        for (int64_t t = 0; t < length; ++t)
          sum += result.keys(t, d);
        result.queries(h, d) = sum / length;
      }
    break;
  }
  return result;
}

Batch vashista::test::makeBatch(const Config &config,
                                const std::vector<Sequence> &sequences,
                                Random &random) {
  int64_t rows = sequences.size(), most = 1, total = 0;
  for (const Sequence &sequence : sequences) {
    int64_t pages = config.getNumPages(sequence.keys.shape[0]);
    most = std::max(most, pages);
    total += pages;
  }
  std::vector<int32_t> physical(total + 1);
  std::iota(physical.begin(), physical.end(), 0);
  random.shuffle(physical);
  Batch batch;
  batch.lens = batch.rows = Array<int32_t>({rows});
  batch.table = Array<int32_t>({rows, most}, -1);
  batch.query = Array<float>({rows, config.getNumHeads(), config.keyDim});
  batch.keys =
      Array<float>(config.getCacheShape(total + 1, config.keyDim), kNan);
  batch.values =
      Array<float>(config.getCacheShape(total + 1, config.valueDim), kNan);
  size_t used = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const Sequence &sequence = sequences[r];
    int64_t length = sequence.keys.shape[0];
    batch.lens(r) = length;
    batch.rows(r) = r;
    for (size_t i = 0; i < sequence.queries.data.size(); ++i)
      batch.query.data[r * sequence.queries.data.size() + i] =
          roundTo(config.type, sequence.queries.data[i]);
    for (int64_t page = 0; page < config.getNumPages(length); ++page)
      batch.table(r, page) = physical[used++];
    for (int64_t t = 0; t < length; ++t) {
      int64_t page = batch.table(r, t / config.pageSize);
      int64_t slot = t % config.pageSize;
      Cache keys = {&batch.keys, config.nhd},
            values = {&batch.values, config.nhd};
      float *key = &batch.keys.data[keys.getOffset(page, 0, slot)];
      float *value = &batch.values.data[values.getOffset(page, 0, slot)];
      for (int64_t d = 0; d < config.keyDim; ++d)
        key[d] = roundTo(config.type, sequence.keys(t, d));
      std::fill_n(value, config.valueDim, 0.0f);
      value[t] = 1;
    }
  }
  return batch;
}

//===----------------------------------------------------------------------===//
// What is run
//===----------------------------------------------------------------------===//

Runner::Runner(const Setting &given, Parts parts)
    : setting(given), config(given.config) {
  bool routes = setting.pages > 0, selects = setting.candidates > 0;
  restConfig = config;
  restConfig.logit.epsilon = setting.getTemperature();
  static_cast<Config &>(listed) = static_cast<Config &>(dense) = config;
  listed.listed = selects ? ListKind::tokens : ListKind::pages;
  listed.hasCount = true;
  if (parts.dense)
    entries.emplace("dense", dense.makeEntry("dense"));
  if (parts.step)
    entries.emplace("step", makeStepEntry());
  if (parts.ops || parts.step)
    entries.emplace("summarize", makeSummarizeEntry(config, setting.kept));
  if (!parts.ops)
    return;
  entries.emplace("attend", listed.makeEntry("attend"));
  entries.emplace("certify", makeCertifyEntry());
  for (bool isRest : {false, true}) {
    std::string suffix = isRest ? "_rest" : "";
    if (routes)
      entries.emplace("route" + suffix,
                      makeListEntry("route" + suffix, restConfig,
                                    getPick(/*ofPages=*/true, isRest),
                                    &setting.kept, false, false));
    if (selects)
      entries.emplace("select" + suffix,
                      makeListEntry("select" + suffix, restConfig,
                                    getPick(/*ofPages=*/false, isRest),
                                    &setting.kept, routes, true));
  }
}

PickConfig Runner::getPick(bool ofPages, bool isRest) const {
  PickConfig pick;
  pick.ofPages = ofPages;
  pick.budget = isRest ? 0 : ofPages ? setting.pages : setting.candidates;
  pick.hasTaken = pick.atResidual = isRest;
  pick.hasOutside = !ofPages && setting.pages > 0;
  return pick;
}

Entry Runner::makeCertifyEntry() const {
  Entry entry("certify", Entry::Form::tensors);
  Shape perHead = {-1, config.getNumHeads()};
  auto use = [&](const char *name) {
    return entry.use(name, ElementType::f32, perHead);
  };
  entry.op << "certify "
           << entry.use("direction", ElementType::f32,
                        {-1, config.getNumHeads(), config.keyDim})
           << " state("
           << entry.use("o", ElementType::f32,
                        {-1, config.getNumHeads(), config.valueDim})
           << ", " << use("lse") << ")";
  entry.op << " tail(" << use("tail") << ")";
  entry.op << " gap(" << use("gap") << ")";
  entry.op << setting.kept.useNorms(entry, config) << useTable(entry, config)
           << " page_size " << config.pageSize
           << config.getLogitText(/*withEpsilon=*/false)
           << config.getSolverText();
  for (int i = 0; i < 3; ++i)
    entry.yields(ElementType::f32, perHead);
  return entry;
}

Entry Runner::makeStepEntry() const {
  Entry entry("step", Entry::Form::tensors);
  entry.op << "attention "
           << entry.use("q", config.type,
                        {-1, config.getNumHeads(), config.keyDim})
           << useCache(entry, config) << useTable(entry, config);
  if (setting.kept.summary)
    entry.op << " summary " << setting.kept.useSummary(entry, config);
  if (setting.kept.sketch)
    entry.op << " sketch " << setting.kept.useSketch(entry, config);
  entry.op << setting.kept.useNorms(entry, config) << " "
           << setting.getPolicyText()
           << config.getLogitText(/*withEpsilon=*/false)
           << config.getSolverText() << config.getLayoutText();
  entry.yields(ElementType::f32, {-1, config.getNumHeads(), config.valueDim});
  for (int i = 0; i < 3; ++i)
    entry.yields(ElementType::f32, {-1, config.getNumHeads()});
  entry.yields(ElementType::i32, {-1, config.kvHeads});
  entry.yields(ElementType::i1, {-1, config.kvHeads});
  return entry;
}

std::vector<const Entry *> Runner::all() const {
  std::vector<const Entry *> result;
  for (auto &[name, entry] : entries)
    result.push_back(&entry);
  return result;
}

void Runner::setBatch(const Batch &batch) {
  operands = Operands();
  vashista::test::setBatch(operands, config, batch);
  setting.kept.set(operands,
                   call(entries.at("summarize"),
                        setting.kept.make(config, batch.keys.shape[0])));
}

static Results getResults(const Outputs &attended) {
  Results results;
  results.weights = attended[0].toFloats();
  results.lse = attended[1].toFloats();
  results.direction = attended[2].toFloats();
  results.gap = attended[3].toFloats();
  return results;
}

/// The operands of an attend, with destinations that are not read.
static AttendData makeData(const Config &config, const Batch &batch) {
  int64_t rows = batch.getNumRows(), heads = config.getNumHeads();
  AttendData data;
  static_cast<Batch &>(data) = batch;
  data.o = Array<float>({rows, heads, config.valueDim}, kNan);
  data.lse = data.gap = Array<float>({rows, heads}, kNan);
  data.direction = Array<float>({rows, heads, config.keyDim}, kNan);
  return data;
}

Results Runner::runDense(const Batch &batch) {
  return getResults(
      runAttend(entries.at("dense"), *module, dense, makeData(config, batch)));
}

Results Runner::runOps(const Batch &batch) {
  setBatch(batch);
  int64_t rows = batch.getNumRows();
  auto pick = [&](const char *name, bool ofPages, bool isRest) {
    return call(entries.at(std::string(name) + (isRest ? "_rest" : "")),
                getPick(ofPages, isRest).make(config, rows));
  };
  AttendData data = makeData(config, batch);
  Array<int32_t> pages, tokens;
  if (setting.pages > 0) {
    Outputs routed = pick("route", true, false);
    pages = routed[0].toInts();
    data.list = {pages, routed[1].toInts()};
    operands.set("pages", pages);
    operands.set("page_count", data.list.count);
    operands.set("outside", routed[2].copy());
  }
  if (setting.candidates > 0) {
    Outputs selected = pick("select", false, false);
    tokens = selected[0].toInts();
    data.list = {tokens, selected[1].toInts()};
  }
  Outputs attended = runAttend(entries.at("attend"), *module, listed, data);
  Results results = getResults(attended);
  operands.set("direction", ElementType::f32, results.direction);
  operands.set("o", ElementType::f32, results.weights);
  operands.set("lse", ElementType::f32, results.lse);
  operands.set("gap", ElementType::f32, results.gap);
  Array<float> tail;
  if (setting.pages > 0) {
    operands.set("taken", pages);
    Outputs rest = pick("route", true, true);
    operands.set("outside", rest[2].copy());
    tail = rest[2].toFloats();
  }
  if (setting.candidates > 0) {
    operands.set("taken", tokens);
    tail = pick("select", false, true)[2].toFloats();
  }
  if (!config.projection->hasEntropy())
    for (float &value : tail.data)
      value *= static_cast<float>(setting.getTemperature());
  operands.set("tail", ElementType::f32, tail);
  Outputs certified;
  for (int i = 0; i < 3; ++i)
    certified.emplace_back(ElementType::f32, results.lse.shape);
  certified = call(entries.at("certify"), std::move(certified));
  results.tau = certified[0].toFloats();
  results.error = certified[1].toFloats();
  results.fullGap = certified[2].toFloats();
  return results;
}

Results Runner::runStep(const Batch &batch) {
  setBatch(batch);
  int64_t rows = batch.getNumRows(), heads = config.getNumHeads();
  Outputs outputs;
  outputs.emplace_back(ElementType::f32, Shape{rows, heads, config.valueDim});
  for (int i = 0; i < 3; ++i)
    outputs.emplace_back(ElementType::f32, Shape{rows, heads});
  outputs.emplace_back(ElementType::i32, Shape{rows, config.kvHeads});
  outputs.emplace_back(ElementType::i1, Shape{rows, config.kvHeads});
  outputs = call(entries.at("step"), std::move(outputs));
  Results results;
  results.weights = outputs[0].toFloats();
  results.lse = outputs[1].toFloats();
  results.tau = outputs[2].toFloats();
  results.error = outputs[3].toFloats();
  results.rounds = outputs[4].toInts();
  results.flags = outputs[5].toInts();
  return results;
}
