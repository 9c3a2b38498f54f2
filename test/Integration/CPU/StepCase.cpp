//===- StepCase.cpp - Decode steps under a policy -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What a step attends is what its routes and selects list, run here one by one
// as ops of their own. Its state is then checked against the reference over
// those lists, or over everything where a group fell back; its certificate
// against the mass and the output that the lists truly miss.
//
//===----------------------------------------------------------------------===//

#include "AttendCase.h"
#include "PickCase.h"
#include "Sweep.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace vashista::test;

namespace {

struct PolicyConfig {
  int64_t pages = 0, candidates = 0, sinks = 0, window = 0, rounds = 1;
  bool isProving = false, boundsOutput = false, hasFallback = false;
  double tolerance = 0;

  bool isDense() const { return pages == 0 && candidates == 0; }
  bool isCertified() const { return tolerance > 0 && !isDense(); }
  /// As the ops have it, rounded down to an f32.
  float getLimit() const {
    float limit = tolerance;
    return limit > tolerance ? std::nextafter(limit, 0.0f) : limit;
  }
  std::string getText() const;
};

/// What the rounds of a step list.
struct Lists {
  Array<int32_t> pages, tokens; // of all rounds
  Array<int32_t> rounds;        // [R, Hkv]
};

class StepCase : public SweepCase {
public:
  explicit StepCase(Random &random);
  std::string describe() const override {
    return "step " + config.describe() +
           (kept.summary
                ? " " + kept.getSummaryText() + " " + getName(kept.type)
                : std::string()) +
           (kept.sketch
                ? " sketch " + kept.getSketchText() + " " +
                      getName(kept.scaleType) + " " + getName(kept.residualType)
                : std::string()) +
           " " + policy.getText();
  }
  bool compile() override;
  void check(Random &random, Findings &findings) override;

private:
  bool routes() const { return policy.pages > 0; }
  bool selects() const { return policy.candidates > 0; }
  /// The route or select of the first round, or of a later one.
  PickConfig getPickConfig(bool ofPages, bool isFirst) const;
  Entry makeStepEntry() const;
  Lists listAll(const Batch &batch, Operands &operands);
  Outputs makeOutputs(int64_t rows) const;
  void setStep(Operands &operands, const Batch &batch,
               const Outputs &summary) const;
  AttendInputs getInputs(const Batch &batch) const;
  void checkCertificates(const Batch &batch, const Lists &lists,
                         const Outputs &outputs, Findings &findings);

  Config config;
  Kept kept;
  PolicyConfig policy;
  AttendConfig attendConfig;
  // Entries by name; lists of the first round and of later ones.
  std::map<std::string, Entry> entries;
  std::unique_ptr<CompiledModule> module;
};

} // namespace

std::string PolicyConfig::getText() const {
  std::ostringstream os;
  os << "policy <pages = " << pages << ", candidates = " << candidates
     << ", sinks = " << sinks << ", window = " << window;
  if (isProving)
    os << ", pick = proving";
  if (boundsOutput)
    os << ", target = output_error";
  if (tolerance > 0) {
    os.precision(17);
    os << ", tolerance = " << std::scientific << tolerance;
  }
  if (rounds > 1)
    os << ", rounds = " << rounds;
  if (hasFallback)
    os << ", fallback = dense";
  os << ">";
  return os.str();
}

static PolicyConfig makePolicy(const Config &config, Random &random) {
  PolicyConfig policy;
  if (random.chance(0.08))
    return policy;
  bool routes = random.chance(0.75), selects = !routes || random.chance(0.5);
  if (random.chance(0.5))
    policy.sinks = random.pick<int64_t>({1, 4});
  if (random.chance(0.5))
    policy.window = random.pick<int64_t>({1, 8, 33});
  if (routes) {
    policy.pages = config.getNumPages(policy.sinks);
    if (policy.window > 0)
      policy.pages +=
          (policy.window + config.pageSize - 2) / config.pageSize + 1;
    policy.pages += random.pick<int64_t>({1, 2, 8, 64});
  }
  if (selects)
    policy.candidates =
        policy.sinks + policy.window + random.pick<int64_t>({1, 16, 64, 500});
  if (random.chance(0.65)) {
    policy.tolerance = random.pick({0.5, 0.125, 0.1, 1e-3});
    policy.boundsOutput = random.chance(0.2);
    policy.isProving = !policy.boundsOutput && random.chance(0.4);
    policy.hasFallback = random.chance(0.6);
    if (!policy.boundsOutput && random.chance(0.25))
      policy.rounds = random.integer(2, 3);
  }
  return policy;
}

StepCase::StepCase(Random &random) : config(makeConfig(random)) {
  policy = makePolicy(config, random);
  // Code of many kernels takes long to optimise.
  config.options.optLevel = random.pick({0, 0, 0, 2});
  kept = makeKept(config, random, routes(), policy.isCertified(),
                  selects() && random.chance(0.6));
  static_cast<Config &>(attendConfig) = config;
  attendConfig.listed = selects()  ? ListKind::tokens
                        : routes() ? ListKind::pages
                                   : ListKind::none;
  attendConfig.hasCount = !policy.isDense();
  entries.emplace("step", makeStepEntry());
  if (kept.summary || kept.hasNorms || kept.sketch)
    entries.emplace("summarize", makeSummarizeEntry(config, kept));
  for (bool isFirst : {true, false}) {
    if (!isFirst && policy.rounds == 1)
      continue;
    std::string suffix = isFirst ? "_first" : "_next";
    if (routes())
      entries.emplace("route" + suffix,
                      makeListEntry("route" + suffix, config,
                                    getPickConfig(/*ofPages=*/true, isFirst),
                                    &kept, /*within=*/false,
                                    /*hasCount=*/false));
    if (selects())
      entries.emplace("select" + suffix,
                      makeListEntry("select" + suffix, config,
                                    getPickConfig(/*ofPages=*/false, isFirst),
                                    &kept, routes(), isFirst));
  }
  if (policy.rounds > 1)
    entries.emplace("attend", attendConfig.makeEntry("attend"));
}

PickConfig StepCase::getPickConfig(bool ofPages, bool isFirst) const {
  PickConfig pick;
  pick.ofPages = ofPages;
  pick.budget = ofPages ? policy.pages : policy.candidates;
  bool isLastStage = !ofPages || !selects();
  if (!isFirst || (isLastStage && policy.isProving))
    pick.tolerance = policy.getLimit();
  if (isFirst) {
    pick.sinks = policy.sinks;
    pick.window = policy.window;
  }
  pick.hasTaken = pick.hasAttended = !isFirst;
  pick.hasOutside = !ofPages && routes();
  return pick;
}

Entry StepCase::makeStepEntry() const {
  Entry entry("step", Entry::Form::tensors);
  entry.op << "attention "
           << entry.use("q", config.type,
                        {-1, config.getNumHeads(), config.keyDim})
           << useCache(entry, config) << useTable(entry, config);
  if (kept.summary)
    entry.op << " summary " << kept.useSummary(entry, config);
  if (kept.sketch)
    entry.op << " sketch " << kept.useSketch(entry, config);
  if (kept.hasNorms)
    entry.op << kept.useNorms(entry, config);
  entry.op << " " << policy.getText()
           << config.getLogitText(/*withEpsilon=*/false)
           << config.getSolverText() << config.getLayoutText();
  Shape perHead = {-1, config.getNumHeads()}, perGroup = {-1, config.kvHeads};
  entry.yields(ElementType::f32, {-1, config.getNumHeads(), config.valueDim});
  for (int i = 0; i < 3; ++i)
    entry.yields(ElementType::f32, perHead);
  entry.yields(ElementType::i32, perGroup);
  entry.yields(ElementType::i1, perGroup);
  return entry;
}

bool StepCase::compile() {
  std::vector<const Entry *> all;
  for (auto &[name, entry] : entries)
    all.push_back(&entry);
  module = compileEntries(all, config.options);
  return module != nullptr;
}

Outputs StepCase::makeOutputs(int64_t rows) const {
  Shape perHead = {rows, config.getNumHeads()};
  Outputs outputs;
  outputs.emplace_back(ElementType::f32,
                       Shape{rows, config.getNumHeads(), config.valueDim});
  for (int i = 0; i < 3; ++i)
    outputs.emplace_back(ElementType::f32, perHead);
  outputs.emplace_back(ElementType::i32, Shape{rows, config.kvHeads});
  outputs.emplace_back(ElementType::i1, Shape{rows, config.kvHeads});
  return outputs;
}

void StepCase::setStep(Operands &operands, const Batch &batch,
                       const Outputs &summary) const {
  setBatch(operands, config, batch);
  if (!summary.empty())
    kept.set(operands, summary);
}

/// [R, Hkv, P] and [R, Hkv, Q] to [R, Hkv, P + Q].
static Array<int32_t> concat(const Array<int32_t> &a, const Array<int32_t> &b) {
  if (a.data.empty())
    return b;
  int64_t rows = b.shape[0], heads = b.shape[1];
  Array<int32_t> result({rows, heads, a.shape[2] + b.shape[2]});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      auto *to = &result.data[(r * heads + h) * result.shape[2]];
      to = std::copy_n(&a.data[(r * heads + h) * a.shape[2]], a.shape[2], to);
      std::copy_n(&b.data[(r * heads + h) * b.shape[2]], b.shape[2], to);
    }
  return result;
}

Lists StepCase::listAll(const Batch &batch, Operands &operands) {
  int64_t rows = batch.getNumRows();
  Lists lists;
  lists.rounds =
      Array<int32_t>({rows, config.kvHeads}, policy.isDense() ? 0 : 1);
  Array<float> o({rows, config.getNumHeads(), config.valueDim}, 0.0f),
      lse({rows, config.getNumHeads()}, -kInf);
  for (int64_t round = 0; round < policy.rounds && !policy.isDense(); ++round) {
    std::string suffix = round == 0 ? "_first" : "_next";
    operands.set("attended", ElementType::f32, lse);
    auto call = [&](const char *name, bool ofPages) {
      Outputs outputs = getPickConfig(ofPages, round == 0).make(config, rows);
      EXPECT_TRUE(entries.at(name + suffix).call(*module, operands, outputs));
      return outputs;
    };
    Array<int32_t> ids, count;
    if (routes()) {
      operands.set("taken", lists.pages);
      Outputs routed = call("route", /*ofPages=*/true);
      ids = routed[0].toInts();
      count = routed[1].toInts();
      lists.pages = concat(lists.pages, ids);
      // The first round reads what it counts, later ones all so far.
      operands.set("pages", lists.pages);
      operands.set("page_count", count);
      operands.set("outside", routed[2].copy());
    }
    if (selects()) {
      operands.set("taken", lists.tokens);
      Outputs selected = call("select", /*ofPages=*/false);
      ids = selected[0].toInts();
      count = selected[1].toInts();
      lists.tokens = concat(lists.tokens, ids);
    }
    for (size_t i = 0; round > 0 && i < count.data.size(); ++i)
      lists.rounds.data[i] += count.data[i] > 0;
    if (round + 1 == policy.rounds)
      break;
    // The state so far, by which the next round proves.
    AttendData data;
    static_cast<Batch &>(data) = batch;
    data.list = {ids, count};
    data.o = o;
    data.lse = lse;
    Outputs state =
        runAttend(entries.at("attend"), *module, attendConfig, data);
    o = state[0].toFloats();
    lse = state[1].toFloats();
  }
  return lists;
}

AttendInputs StepCase::getInputs(const Batch &batch) const {
  AttendInputs inputs;
  inputs.query = &batch.query;
  inputs.keys = {&batch.keys, config.nhd};
  inputs.values = {&batch.values, config.nhd};
  inputs.paging = batch.getPaging(config);
  inputs.logit = config.logit;
  return inputs;
}

/// The share of the mass that a list misses, for a head.
static double getMissedShare(const Config &config, const AttendInputs &all,
                             const AttendInputs &listed, int64_t row,
                             int64_t head) {
  int64_t kvHead = head / config.group;
  std::vector<char> isListed((*all.paging.seqLens)(row), 0);
  forEachToken(listed, row, kvHead,
               [&](int64_t position) { isListed[position] = 1; });
  std::vector<double> logits;
  double most = -kInf;
  forEachToken(all, row, kvHead, [&](int64_t position) {
    const float *key = all.keys.get(all.paging.getPhysicalPage(row, position),
                                    kvHead, position % config.pageSize);
    double product = 0;
    for (int64_t d = 0; d < config.keyDim; ++d)
      product += static_cast<double>((*all.query)(row, head, d)) * key[d];
    product *= config.logit.scale;
    if (config.logit.softCap)
      product =
          *config.logit.softCap * std::tanh(product / *config.logit.softCap);
    logits.push_back(product / config.logit.epsilon);
    most = std::max(most, logits.back());
  });
  double missed = 0, total = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    double mass = std::exp(logits[i] - most);
    total += mass;
    missed += isListed[i] ? 0 : mass;
  }
  return total > 0 ? missed / total : 0;
}

void StepCase::checkCertificates(const Batch &batch, const Lists &lists,
                                 const Outputs &outputs, Findings &findings) {
  int64_t rows = batch.getNumRows();
  Array<float> tau = outputs[2].toFloats(), error = outputs[3].toFloats();
  Array<int32_t> flags = outputs[5].toInts();
  AttendInputs all = getInputs(batch), listed = all;
  (selects() ? listed.tokens : listed.pages) =
      selects() ? &lists.tokens : &lists.pages;
  auto dense =
      State<double>::empty(rows, config.getNumHeads(), config.valueDim);
  State<double> sparse = dense;
  if (policy.isCertified()) {
    attend(all, dense);
    attend(listed, sparse);
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t kvHead = 0; kvHead < config.kvHeads; ++kvHead) {
      bool misses = false;
      int64_t first = kvHead * config.group;
      for (int64_t h = first; h < first + config.group; ++h) {
        if (!policy.isCertified()) {
          EXPECT_EQ(tau(r, h), policy.isDense() ? 0.0f : 1.0f);
          EXPECT_EQ(error(r, h), policy.isDense() ? 0.0f : kInf);
          continue;
        }
        double missed = getMissedShare(config, all, listed, r, h);
        double square = 0, size = 0;
        for (int64_t d = 0; d < config.valueDim; ++d) {
          square += std::pow(dense.o(r, h, d) - sparse.o(r, h, d), 2);
          size += std::fabs(dense.o(r, h, d));
        }
        float measure = policy.boundsOutput ? error(r, h) : tau(r, h);
        bool accepts = measure <= policy.getLimit();
        misses |= !accepts;
        ++findings.counts["heads"];
        findings.counts["heads proved"] += accepts;
        if (!findings.include("true share of tau", missed, tau(r, h)))
          ADD_FAILURE() << "row " << r << " head " << h << ": tau is "
                        << tau(r, h) << ", the share missed " << missed;
        // The norm of o is that of the kernel's own o, and the reference rounds
        // too.
        double allowed = error(r, h) * (1 + 1e-5) + 0x1p-44 * size + 1e-30;
        if (!findings.include("true error of error", std::sqrt(square),
                              allowed))
          ADD_FAILURE() << "row " << r << " head " << h << ": error is "
                        << error(r, h) << ", in truth " << std::sqrt(square);
        double truth = policy.boundsOutput ? std::sqrt(square) : missed;
        findings.counts["false accepts"] +=
            accepts && truth > policy.tolerance * (1 + 1e-5);
      }
      EXPECT_EQ(flags(r, kvHead), policy.hasFallback && misses)
          << "row " << r << " group " << kvHead;
    }
}

void StepCase::check(Random &random, Findings &findings) {
  Batch batch = makeBatch(config, random);
  int64_t rows = batch.getNumRows();
  Operands operands;
  setBatch(operands, config, batch);
  Outputs summary;
  if (entries.count("summarize"))
    summary = summarizeAndCheck(entries.at("summarize"), *module, config, kept,
                                batch, operands, random, findings);
  setStep(operands, batch, summary);
  const Entry &step = entries.at("step");
  Outputs outputs = step.callEveryWay(
      *module, operands, [&] { return makeOutputs(rows); }, random);

  Lists lists = listAll(batch, operands);
  EXPECT_EQ(outputs[4].toInts().data, lists.rounds.data) << "rounds";
  checkCertificates(batch, lists, outputs, findings);
  Array<int32_t> flags = outputs[5].toInts();
  AttendInputs all = getInputs(batch), listed = all;
  if (selects())
    listed.tokens = &lists.tokens;
  else if (routes())
    listed.pages = &lists.pages;
  State<float> empty =
      State<float>::empty(rows, config.getNumHeads(), config.valueDim);
  checkState(config, listed, empty.o, empty.lse, outputs, findings,
             [&](int64_t r, int64_t kvHead) { return !flags(r, kvHead); });
  checkState(config, all, empty.o, empty.lse, outputs, findings,
             [&](int64_t r, int64_t kvHead) { return flags(r, kvHead) != 0; });
  for (int32_t flag : flags.data)
    findings.counts["groups dense"] += flag;
  findings.counts["groups"] += flags.data.size();

  // Nothing that is invisible has a say, nor has the rest of the batch.
  Array<char> visible = getVisible(config, batch);
  Outputs hiddenSummary;
  for (const Buffer &part : summary) {
    hiddenSummary.push_back(part.copy());
    int64_t numPages = batch.keys.shape[0];
    size_t size = part.size() / numPages;
    for (int64_t page = 0; page < numPages; ++page)
      if (!visible(page, 0, 0)) // NaN in every type.
        std::memset(static_cast<char *>(hiddenSummary.back().data()) +
                        page * size,
                    0xff, size);
  }
  Operands hidden, alone;
  setStep(hidden, poison(config, batch, visible, random), hiddenSummary);
  Outputs again = makeOutputs(rows);
  EXPECT_TRUE(step.call(*module, hidden, again));
  expectBitEqual(again, outputs, "invisible slots have influence");
  int64_t row = random.integer(0, rows - 1);
  setStep(alone, takeRow(config, batch, row), summary);
  again = makeOutputs(1);
  EXPECT_TRUE(step.call(*module, alone, again));
  expectBitEqual(again, takeRow(outputs, row), "a row alone");
}

std::unique_ptr<SweepCase> vashista::test::makeStepCase(Random &random) {
  return std::make_unique<StepCase>(random);
}
