//===- PickCase.cpp - Summarize, score, pick, route and select ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A module summarises its keys, scores pages or tokens, picks by those scores,
// and routes or selects in one op. Each step is checked given what the one
// before it produced: lists by the kernel's own scores. Picks are also checked
// on scores that no keys have.
//
//===----------------------------------------------------------------------===//

#include "PickCase.h"
#include "Sweep.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace vashista::test;

//===----------------------------------------------------------------------===//
// Configurations
//===----------------------------------------------------------------------===//

PickConfig vashista::test::makePickConfig(const Config &config, bool ofPages,
                                          Random &random) {
  PickConfig pick;
  pick.ofPages = ofPages;
  if (random.chance(0.5))
    pick.sinks = random.pick<int64_t>({1, 4, config.pageSize + 1});
  if (random.chance(0.5))
    pick.window = random.pick<int64_t>({1, 8, 2 * config.pageSize});
  int64_t always = pick.sinks + pick.window;
  if (ofPages) {
    always = config.getNumPages(pick.sinks);
    if (pick.window > 0)
      always += (pick.window + config.pageSize - 2) / config.pageSize + 1;
  }
  pick.budget = always + random.pick<int64_t>({0, 1, 3, 10, 100});
  if (random.chance(0.4))
    pick.tolerance = random.pick({0.9f, 0.5f, 0.1f, 0.001f});
  pick.hasAttended = pick.tolerance && random.chance(0.4);
  pick.hasOutside = random.chance(0.3);
  pick.hasTaken = random.chance(0.3);
  return pick;
}

std::string PickConfig::getModeText() const {
  return (tolerance ? "proving " : "top ") + std::to_string(budget);
}

std::string PickConfig::getAlwaysText() const {
  std::ostringstream os;
  os.precision(9);
  os << std::scientific;
  if (sinks)
    os << " sinks " << sinks;
  if (window)
    os << " window " << window;
  if (tolerance)
    os << " tolerance " << *tolerance;
  return os.str();
}

std::string PickConfig::useChain(Entry &entry, const Config &config) const {
  std::string text;
  if (hasTaken)
    text += " taken(" +
            entry.use("taken", ElementType::i32, {-1, config.kvHeads, -1}) +
            ")";
  Shape perHead = {-1, config.getNumHeads()};
  if (hasOutside)
    text += " outside(" + entry.use("outside", ElementType::f32, perHead) + ")";
  if (hasAttended)
    text +=
        " attended(" + entry.use("attended", ElementType::f32, perHead) + ")";
  return text;
}

void PickConfig::yield(Entry &entry, const Config &config) const {
  entry.yields(ElementType::i32, {-1, config.kvHeads, budget});
  entry.yields(ElementType::i32, {-1, config.kvHeads});
  entry.yields(ElementType::f32, {-1, config.getNumHeads()});
}

Outputs PickConfig::make(const Config &config, int64_t rows) const {
  Outputs outputs;
  outputs.emplace_back(ElementType::i32, Shape{rows, config.kvHeads, budget});
  outputs.emplace_back(ElementType::i32, Shape{rows, config.kvHeads});
  outputs.emplace_back(ElementType::f32, Shape{rows, config.getNumHeads()});
  return outputs;
}

std::string vashista::test::useWithin(Entry &entry, const Config &config,
                                      bool hasCount) {
  std::string text = " within(" + entry.use("pages", ElementType::i32,
                                            {-1, config.kvHeads, -1});
  if (hasCount)
    text +=
        ", " + entry.use("page_count", ElementType::i32, {-1, config.kvHeads});
  return text + ")";
}

Entry vashista::test::makeSummarizeEntry(const Config &config,
                                         const Kept &kept) {
  Entry entry("summarize", Entry::Form::buffers);
  entry.op << "summarize keys("
           << entry.use("k", config.type,
                        config.getCacheShape(-1, config.keyDim))
           << ")";
  if (kept.hasNorms)
    entry.op << " values("
             << entry.use("v", config.type,
                          config.getCacheShape(-1, config.valueDim))
             << ")";
  entry.op << useTable(entry, config) << kept.write(entry, config)
           << config.getLayoutText();
  return entry;
}

Outputs vashista::test::summarizeAndCheck(const Entry &entry,
                                          CompiledModule &module,
                                          const Config &config,
                                          const Kept &kept, const Batch &batch,
                                          Operands &operands, Random &random,
                                          Findings &findings) {
  auto makeOutputs = [&] { return kept.make(config, batch.keys.shape[0]); };
  Outputs result = entry.callEveryWay(module, operands, makeOutputs, random);
  Cache keys = {&batch.keys, config.nhd}, values = {&batch.values, config.nhd};
  checkKept(config, kept, keys,
            summarize(keys, values, batch.getPaging(config)), makeOutputs(),
            result, findings);
  return result;
}

/// `#vashista.keys<hnd>(%k)`, or a sketch, where one is kept.
static std::string useTokenSource(Entry &entry, const Config &config,
                                  const Kept *kept) {
  if (kept && kept->sketch)
    return "#vashista.sketch" + kept->useSketch(entry, config);
  return std::string("#vashista.keys<") + (config.nhd ? "nhd" : "hnd") + ">(" +
         entry.use("k", config.type, config.getCacheShape(-1, config.keyDim)) +
         ")";
}

Entry vashista::test::makeListEntry(const std::string &name,
                                    const Config &config,
                                    const PickConfig &pick, const Kept *kept,
                                    bool within, bool hasCount) {
  Entry entry(name, Entry::Form::tensors);
  std::string query =
      entry.use(pick.atResidual ? "direction" : "q",
                pick.atResidual ? ElementType::f32 : config.type,
                {-1, config.getNumHeads(), config.keyDim});
  if (pick.ofPages)
    entry.op << "route " << query << " from "
             << kept->useSummary(entry, config);
  else
    entry.op << "select " << query << " from "
             << useTokenSource(entry, config, kept);
  entry.op << useTable(entry, config);
  if (within)
    entry.op << useWithin(entry, config, hasCount);
  entry.op << pick.useChain(entry, config) << " " << pick.getModeText();
  if (pick.ofPages)
    entry.op << " page_size " << config.pageSize;
  entry.op << pick.getAlwaysText() << config.getLogitText(/*withEpsilon=*/true);
  pick.yield(entry, config);
  return entry;
}

//===----------------------------------------------------------------------===//
// The case
//===----------------------------------------------------------------------===//

namespace {

/// Operands of a pick that are data.
struct PickData {
  List within;
  Array<int32_t> taken;
  Array<float> outside, attended;
};

class PickCase : public SweepCase {
public:
  explicit PickCase(Random &random);
  std::string describe() const override;
  bool compile() override;
  void check(Random &random, Findings &findings) override;

private:
  Entry makeScoreEntry() const;
  Entry makePickEntry() const;
  PickData makePickData(const Batch &batch, int64_t ids, Random &random) const;
  void setPickData(Operands &operands, const PickData &data) const;
  PickInputs getPickInputs(const Array<float> &scores,
                           const Array<float> &bounds, const Batch &batch,
                           const PickData &data) const;
  /// Scores and bounds as no keys have them: ties, NaN, large numbers.
  std::pair<Array<float>, Array<float>> makeScores(const Shape &shape,
                                                   Random &random) const;
  Outputs makeScoreOutputs(int64_t rows, int64_t slots) const {
    Outputs outputs;
    for (int i = 0; i < 2; ++i)
      outputs.emplace_back(ElementType::f32,
                           Shape{rows, config.getNumHeads(), slots});
    return outputs;
  }

  Config config;
  Kept kept;
  PickConfig pick;
  bool within = false, hasPageCount = false;
  std::vector<Entry> entries; // summarize, score, pick, list
  std::unique_ptr<CompiledModule> module;
};

} // namespace

PickCase::PickCase(Random &random) : config(makeConfig(random)) {
  bool ofPages = random.chance(0.6);
  config.options.optLevel = random.pick({0, 2});
  bool bySketch = !ofPages && random.chance(0.6);
  kept = makeKept(config, random, ofPages, random.chance(0.5) || !ofPages,
                  bySketch);
  pick = makePickConfig(config, ofPages, random);
  within = !ofPages && random.chance(0.6);
  hasPageCount = within && random.chance(0.5);
  entries.push_back(makeSummarizeEntry(config, kept));
  entries.push_back(makeScoreEntry());
  entries.push_back(makePickEntry());
  entries.push_back(
      makeListEntry("list", config, pick, &kept, within, hasPageCount));
}

std::string PickCase::describe() const {
  return "pick " + config.describe() +
         (pick.ofPages
              ? " pages " + kept.getSummaryText() + " " + getName(kept.type)
          : kept.sketch
              ? " tokens " + kept.getSketchText() + " " +
                    getName(kept.scaleType) + " " + getName(kept.residualType)
              : std::string(" tokens")) +
         (within ? " within" : "") + (hasPageCount ? " count" : "") +
         (pick.hasTaken ? " taken" : "") + (pick.hasOutside ? " outside" : "") +
         (pick.hasAttended ? " attended " : " ") + pick.getModeText() +
         pick.getAlwaysText();
}

bool PickCase::compile() {
  std::vector<const Entry *> all;
  for (const Entry &entry : entries)
    all.push_back(&entry);
  module = compileEntries(all, config.options);
  return module != nullptr;
}

Entry PickCase::makeScoreEntry() const {
  Entry entry("score", Entry::Form::tensors);
  entry.op << "score "
           << entry.use("q", config.type,
                        {-1, config.getNumHeads(), config.keyDim})
           << " from ";
  if (pick.ofPages)
    entry.op << "#vashista.summary" << kept.useSummary(entry, config);
  else
    entry.op << useTokenSource(entry, config, &kept);
  entry.op << useTable(entry, config);
  if (within)
    entry.op << useWithin(entry, config, hasPageCount);
  if (pick.ofPages)
    entry.op << " page_size " << config.pageSize;
  entry.op << config.getLogitText(/*withEpsilon=*/true);
  for (int i = 0; i < 2; ++i)
    entry.yields(ElementType::f32, {-1, config.getNumHeads(), -1});
  return entry;
}

Entry PickCase::makePickEntry() const {
  Entry entry("pick", Entry::Form::tensors);
  Shape shape = {-1, config.getNumHeads(), -1};
  entry.op << "pick " << pick.getModeText()
           << (pick.ofPages ? " pages" : " tokens") << " of("
           << entry.use("scores", ElementType::f32, shape) << ", "
           << entry.use("bounds", ElementType::f32, shape) << ") lens("
           << entry.use("lens", ElementType::i32, {-1}) << ")";
  if (within)
    entry.op << useWithin(entry, config, hasPageCount);
  entry.op << pick.useChain(entry, config) << " kv_heads " << config.kvHeads
           << " page_size " << config.pageSize << pick.getAlwaysText();
  pick.yield(entry, config);
  return entry;
}

PickData PickCase::makePickData(const Batch &batch, int64_t ids,
                                Random &random) const {
  PickData data;
  int64_t rows = batch.getNumRows();
  if (within)
    data.within =
        makeList(config, rows, batch.table.shape[1], hasPageCount, random);
  // Ids that were picked before, in any order, with padding.
  data.taken = makeList(config, rows, ids, /*hasCount=*/false, random).ids;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.kvHeads; ++h)
      for (int64_t i = data.taken.shape[2] - 1; i > 0; --i)
        std::swap(data.taken(r, h, i), data.taken(r, h, random.integer(0, i)));
  Shape perHead = {rows, config.getNumHeads()};
  data.outside = data.attended = Array<float>(perHead, -kInf);
  for (float &outside : data.outside.data)
    if (random.chance(0.7))
      outside = random.chance(0.05) ? random.pick({kNan, kInf})
                                    : 10 * random.normal();
  for (float &attended : data.attended.data)
    if (random.chance(0.7))
      attended = 10 * random.normal();
  return data;
}

void PickCase::setPickData(Operands &operands, const PickData &data) const {
  operands.set("pages", data.within.ids);
  operands.set("page_count", data.within.count);
  operands.set("taken", data.taken);
  operands.set("outside", ElementType::f32, data.outside);
  operands.set("attended", ElementType::f32, data.attended);
}

PickInputs PickCase::getPickInputs(const Array<float> &scores,
                                   const Array<float> &bounds,
                                   const Batch &batch,
                                   const PickData &data) const {
  PickInputs inputs;
  inputs.scores = &scores;
  inputs.bounds = &bounds;
  inputs.seqLens = &batch.lens;
  inputs.pages = within ? &data.within.ids : nullptr;
  inputs.pageCount = hasPageCount ? &data.within.count : nullptr;
  inputs.taken = pick.hasTaken ? &data.taken : nullptr;
  inputs.outside = pick.hasOutside ? &data.outside : nullptr;
  inputs.attended = pick.hasAttended ? &data.attended : nullptr;
  inputs.ofPages = pick.ofPages;
  inputs.budget = pick.budget;
  inputs.numKvHeads = config.kvHeads;
  inputs.pageSize = config.pageSize;
  inputs.sinks = pick.sinks;
  inputs.window = pick.window;
  inputs.tolerance = pick.tolerance;
  return inputs;
}

std::pair<Array<float>, Array<float>>
PickCase::makeScores(const Shape &shape, Random &random) const {
  Array<float> scores(shape), bounds(shape);
  int kind = random.integer(0, 4);
  float scale = random.pick({1.0f, 30.0f});
  for (size_t i = 0; i < scores.data.size(); ++i) {
    float &score = scores.data[i];
    score = scale * random.normal();
    if (kind == 0) // Ties.
      score = random.integer(0, 2);
    if (kind == 1 && random.chance(0.02))
      score = random.pick({kNan, -kInf});
    if (kind == 2)
      score *= random.pick({1e-30f, 1.0f, 1e3f});
    float &bound = bounds.data[i];
    bound = score + (kind == 0 ? 1 : 2 * std::fabs(random.normal()));
    if (kind == 3 && random.chance(0.01))
      bound = random.pick({kNan, kInf});
  }
  return {scores, bounds};
}

/// Makes some keys so long that no f8 holds their residual norms.
static void lengthen(const Config &config, Batch &batch, Random &random) {
  for (size_t i = 0; i < batch.keys.data.size(); i += config.keyDim)
    if (random.chance(0.1))
      for (int64_t d = 0; d < config.keyDim; ++d) {
        float &x = batch.keys.data[i + d];
        float longer = roundTo(config.type, 300 * x);
        x = std::isfinite(longer) ? longer : x;
      }
}

void PickCase::check(Random &random, Findings &findings) {
  Batch batch = makeBatch(config, random);
  if (kept.sketch && random.chance(0.3))
    lengthen(config, batch, random);
  int64_t rows = batch.getNumRows();
  const Entry &summarizeEntry = entries[0], &scoreEntry = entries[1],
              &pickEntry = entries[2], &listEntry = entries[3];
  Operands operands;
  setBatch(operands, config, batch);
  Outputs summary = summarizeAndCheck(summarizeEntry, *module, config, kept,
                                      batch, operands, random, findings);
  kept.set(operands, summary);

  int64_t numPages = batch.table.shape[1];
  int64_t ids = pick.ofPages ? numPages : numPages * config.pageSize;
  PickData data = makePickData(batch, ids, random);
  setPickData(operands, data);
  int64_t slots = ids;
  if (within)
    slots = data.within.ids.shape[2] * config.pageSize;

  Outputs scored = scoreEntry.callEveryWay(
      *module, operands, [&] { return makeScoreOutputs(rows, slots); }, random);
  ScoreInputs inputs;
  Array<float> first, second;
  inputs.direction = &batch.query;
  inputs.source = kept.summary.value_or(Source::keys);
  inputs.keys = {&batch.keys, config.nhd};
  inputs.paging = batch.getPaging(config);
  inputs.pages = within ? &data.within.ids : nullptr;
  inputs.pageCount = hasPageCount ? &data.within.count : nullptr;
  inputs.logit = config.logit;
  if (kept.summary) {
    first = summary[0].toFloats();
    second = summary[1 % summary.size()].toFloats();
    inputs.first = &first;
    inputs.second = &second;
  }
  if (kept.sketch)
    checkSketchScores(config, inputs, KeptSketch(config, kept, summary).get(),
                      scored, findings);
  else
    checkScores(config, inputs, scored, findings);

  auto makeOutputs = [&] { return pick.make(config, rows); };
  auto checkPicked = [&](const Array<float> &scores,
                         const Array<float> &bounds) {
    operands.set("scores", ElementType::f32, scores);
    operands.set("bounds", ElementType::f32, bounds);
    Outputs picked =
        pickEntry.callEveryWay(*module, operands, makeOutputs, random);
    checkPick(getPickInputs(scores, bounds, batch, data), config.options.lanes,
              picked, findings);
    return picked;
  };
  auto [scores, bounds] = makeScores(scored[0].getShape(), random);
  checkPicked(scores, bounds);
  Outputs picked = checkPicked(scored[0].toFloats(), scored[1].toFloats());

  // In one op, the same.
  Outputs listed =
      listEntry.callEveryWay(*module, operands, makeOutputs, random);
  expectBitEqual(listed, picked, "route or select");

  // Nothing that is invisible has a say, nor has the rest of the batch.
  Batch poisoned = poison(config, batch, getVisible(config, batch), random);
  Operands hidden;
  setBatch(hidden, config, poisoned);
  Outputs again = kept.make(config, batch.keys.shape[0]);
  EXPECT_TRUE(summarizeEntry.call(*module, hidden, again));
  expectBitEqual(again, summary, "a summary of invisible slots");
  PickData hiddenData = data;
  if (hasPageCount)
    poisonList(hiddenData.within, random);
  setPickData(hidden, hiddenData);
  kept.set(hidden, again);
  Outputs outputs = makeOutputs();
  EXPECT_TRUE(listEntry.call(*module, hidden, outputs));
  expectBitEqual(outputs, picked, "invisible slots have influence");

  int64_t row = random.integer(0, rows - 1);
  Operands alone;
  setBatch(alone, config, takeRow(config, batch, row));
  setPickData(alone,
              {{takeRow(data.within.ids, row), takeRow(data.within.count, row)},
               takeRow(data.taken, row),
               takeRow(data.outside, row),
               takeRow(data.attended, row)});
  kept.set(alone, summary);
  outputs = pick.make(config, 1);
  EXPECT_TRUE(listEntry.call(*module, alone, outputs));
  expectBitEqual(outputs, takeRow(picked, row), "a row alone");
}

std::unique_ptr<SweepCase> vashista::test::makePickCase(Random &random) {
  return std::make_unique<PickCase>(random);
}
