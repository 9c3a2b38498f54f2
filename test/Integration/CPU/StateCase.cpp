//===- StateCase.cpp - States and tails merged, certified, replaced -------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendCase.h"
#include "Sweep.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace vashista::test;

namespace {

class StateCase : public SweepCase {
public:
  explicit StateCase(Random &random);
  std::string describe() const override;
  bool compile() override {
    std::vector<const Entry *> all = {&merge, &mergeTails, &certify, &fallback};
    if (attend)
      all.push_back(&*attend);
    module = compileEntries(all, config.options);
    return module != nullptr;
  }
  void check(Random &random, Findings &findings) override;

private:
  void declareMerges(Random &random);
  void declareCertify();
  void declareFallback(Random &random);
  Shape perHead(int64_t rows) const { return {rows, config.getNumHeads()}; }
  Shape perValue(int64_t rows) const {
    return {rows, config.getNumHeads(), config.valueDim};
  }
  Outputs makeState(int64_t rows) const {
    Outputs outputs;
    outputs.emplace_back(ElementType::f32, perValue(rows));
    outputs.emplace_back(ElementType::f32, perHead(rows));
    return outputs;
  }
  /// States of rows [R, H], some of them empty.
  State<float> makeRandomState(int64_t rows, Random &random) const;
  void checkMergeEntry(int64_t rows, Random &random, Findings &findings);
  void checkMergeTailsEntry(int64_t rows, Random &random, Findings &findings);
  void checkCertifyEntry(const Batch &batch, Random &random,
                         Findings &findings);
  void checkFallbackEntry(const Batch &batch, Random &random,
                          Findings &findings);
  void checkDense(const Batch &batch, const Array<int32_t> &flags,
                  const Array<float> &o, const Array<float> &lse);

  Config config;
  Entry merge, mergeTails, certify, fallback;
  /// What a projection falls back to.
  AttendConfig attendConfig;
  std::optional<Entry> attend;
  std::vector<bool> isStack; // of the operands of a merge
  float limit = 0;
  std::unique_ptr<CompiledModule> module;
};

} // namespace

StateCase::StateCase(Random &random)
    : config(makeConfig(random)), merge("merge", Entry::Form::tensors),
      mergeTails("merge_tails", Entry::Form::tensors),
      certify("certify", Entry::Form::tensors),
      fallback("fallback", Entry::Form::tensors) {
  if (random.chance(0.4)) {
    makeProjection(config, random);
    static_cast<Config &>(attendConfig) = config;
    attend = attendConfig.makeEntry("attend");
  }
  declareMerges(random);
  declareCertify();
  declareFallback(random);
}

std::string StateCase::describe() const {
  std::string text = "state " + config.describe() + " merge";
  for (bool stack : isStack)
    text += stack ? " stack" : " state";
  return text + " at_most " + std::to_string(limit);
}

void StateCase::declareMerges(Random &random) {
  for (int64_t i = random.integer(1, 4); i > 0; --i)
    isStack.push_back(random.chance(0.4));
  auto useEach = [&](Entry &entry, const char *name, const Shape &single) {
    for (size_t i = 0; i < isStack.size(); ++i) {
      Shape shape = single;
      if (isStack[i])
        shape.insert(shape.begin(), -1);
      entry.op << (i ? ", " : "")
               << entry.use(name + std::to_string(i), ElementType::f32, shape);
    }
  };
  merge.op << "merge outputs(";
  useEach(merge, "o", perValue(-1));
  merge.op << ") lses(";
  useEach(merge, "lse", perHead(-1));
  merge.op << ")";
  merge.yields(ElementType::f32, perValue(-1));
  merge.yields(ElementType::f32, perHead(-1));

  mergeTails.op << "merge_tails ";
  useEach(mergeTails, "tail", perHead(-1));
  mergeTails.yields(ElementType::f32, perHead(-1));
}

void StateCase::declareCertify() {
  Shape query = {-1, config.getNumHeads(), config.keyDim};
  certify.op << "certify " << certify.use("q", config.type, query) << " state("
             << certify.use("o", ElementType::f32, perValue(-1)) << ", "
             << certify.use("lse", ElementType::f32, perHead(-1)) << ") tail("
             << certify.use("tail", ElementType::f32, perHead(-1)) << ")";
  if (config.projection)
    certify.op << " gap(" << certify.use("gap", ElementType::f32, perHead(-1))
               << ")";
  Kept kept;
  certify.op << kept.useNorms(certify, config) << useTable(certify, config)
             << " page_size " << config.pageSize
             << config.getLogitText(/*withEpsilon=*/false)
             << config.getSolverText();
  for (int i = config.projection ? 3 : 2; i > 0; --i)
    certify.yields(ElementType::f32, perHead(-1));
}

void StateCase::declareFallback(Random &random) {
  limit = random.pick({0.0f, 0.1f, 0.5f});
  Shape query = {-1, config.getNumHeads(), config.keyDim};
  fallback.op << "fallback " << fallback.use("q", config.type, query)
              << useCache(fallback, config) << useTable(fallback, config)
              << " state(" << fallback.use("o", ElementType::f32, perValue(-1))
              << ", " << fallback.use("lse", ElementType::f32, perHead(-1))
              << ") unless("
              << fallback.use("measure", ElementType::f32, perHead(-1))
              << ") at_most " << std::scientific << limit
              << config.getLogitText(/*withEpsilon=*/false)
              << config.getSolverText() << config.getLayoutText();
  fallback.yields(ElementType::f32, perValue(-1));
  fallback.yields(ElementType::f32, perHead(-1));
  fallback.yields(ElementType::i1, {-1, config.kvHeads});
}

State<float> StateCase::makeRandomState(int64_t rows, Random &random) const {
  State<float> state =
      State<float>::empty(rows, config.getNumHeads(), config.valueDim);
  float scale = random.pick({1.0f, 20.0f, 1000.0f});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      if (random.chance(0.2))
        continue;
      state.lse(r, h) = scale * random.normal();
      for (int64_t d = 0; d < config.valueDim; ++d)
        state.o(r, h, d) = random.normal();
    }
  return state;
}

void StateCase::checkMergeEntry(int64_t rows, Random &random,
                                Findings &findings) {
  std::vector<State<float>> states;
  Operands operands;
  for (size_t i = 0; i < isStack.size(); ++i) {
    int64_t number = isStack[i] ? random.integer(0, 5) : 1;
    Shape o = perValue(rows), lse = perHead(rows);
    if (isStack[i]) {
      o.insert(o.begin(), number);
      lse.insert(lse.begin(), number);
    }
    Array<float> allO(o), allLse(lse);
    for (int64_t k = 0; k < number; ++k) {
      State<float> state = makeRandomState(rows, random);
      states.push_back(state);
      // Whatever the output of an empty state holds has no influence on a
      // merge of several.
      for (int64_t r = 0; r < rows && isStack.size() > 1; ++r)
        for (int64_t h = 0; h < config.getNumHeads(); ++h)
          if (state.lse(r, h) == -kInf && random.chance(0.5))
            std::fill_n(&state.o(r, h, 0), config.valueDim, kNan);
      std::copy(state.o.data.begin(), state.o.data.end(),
                allO.data.begin() + k * state.o.data.size());
      std::copy(state.lse.data.begin(), state.lse.data.end(),
                allLse.data.begin() + k * state.lse.data.size());
    }
    operands.set("o" + std::to_string(i), ElementType::f32, allO);
    operands.set("lse" + std::to_string(i), ElementType::f32, allLse);
  }
  if (states.empty())
    states.push_back(
        State<float>::empty(rows, config.getNumHeads(), config.valueDim));
  Outputs outputs = merge.callEveryWay(
      *module, operands, [&] { return makeState(rows); }, random);
  checkMerge(states, outputs, findings);
}

void StateCase::checkMergeTailsEntry(int64_t rows, Random &random,
                                     Findings &findings) {
  std::vector<Array<float>> all;
  Operands operands;
  for (size_t i = 0; i < isStack.size(); ++i) {
    Shape shape = perHead(rows);
    int64_t number = isStack[i] ? random.integer(0, 40) : 1;
    if (isStack[i])
      shape.insert(shape.begin(), number);
    // Now and then what is added is too little for f32 to see.
    float scale = random.pick({0.1f, 1.0f, 20.0f, 1000.0f, 1e38f});
    float mean = scale * random.normal();
    Array<float> tails(shape);
    for (float &tail : tails.data) {
      tail = mean + (scale < 1e37f ? scale : 1) * random.normal();
      if (random.chance(0.2))
        tail = -kInf;
      else if (isStack.size() > 1 && random.chance(0.02))
        tail = random.pick({kInf, kNan});
    }
    operands.set("tail" + std::to_string(i), ElementType::f32, tails);
    size_t size = rows * config.getNumHeads();
    for (int64_t k = 0; k < number; ++k) {
      all.emplace_back(perHead(rows));
      std::copy_n(tails.data.begin() + k * size, size, all.back().data.begin());
    }
  }
  Outputs outputs = mergeTails.callEveryWay(
      *module, operands,
      [&] {
        Outputs outputs;
        outputs.emplace_back(ElementType::f32, perHead(rows));
        return outputs;
      },
      random);
  Array<float> got = outputs[0].toFloats();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      std::vector<float> tails;
      for (const Array<float> &tail : all)
        tails.push_back(tail(r, h));
      checkMergeTails(tails, got(r, h), findings);
    }
}

void StateCase::checkCertifyEntry(const Batch &batch, Random &random,
                                  Findings &findings) {
  int64_t rows = batch.getNumRows();
  State<float> state = makeRandomState(rows, random);
  Array<float> tail(perHead(rows), -kInf), gap(perHead(rows), 0.0f);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.getNumHeads(); ++h) {
      float &lse = state.lse(r, h);
      // Some where exp overflows.
      if (!random.chance(0.2))
        tail(r, h) = (std::isfinite(lse) ? lse : 0) +
                     random.pick({20.0f, 100.0f}) * random.normal();
      gap(r, h) = random.pick({0.0, 1e-12, 1e-6, 1e-3, 0.1, 10.0}) *
                  std::min(config.logit.epsilon, 1e4);
      if (!random.chance(0.1))
        continue;
      float broken = random.pick({kNan, kInf});
      switch (random.integer(0, 3)) {
      case 0:
        tail(r, h) = broken;
        break;
      case 3:
        gap(r, h) = random.pick({broken, -1.0f});
        break;
      case 1:
        lse = broken;
        break;
      default:
        state.o(r, h, random.integer(0, config.valueDim - 1)) = broken;
      }
    }
  // Of pages that no row sees, nothing may be read.
  Array<float> norms({batch.keys.shape[0], config.kvHeads, 2}, kNan);
  // Some with which logits are too rough, or unknown.
  float size = random.pick({10.0f, 3000.0f});
  double unknown = random.pick({0.0, 0.02});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t position = 0; position < batch.lens(r);
         position += config.pageSize)
      for (int64_t h = 0; h < config.kvHeads; ++h)
        for (int64_t i = 0; i < 2; ++i) {
          int64_t page = batch.getPaging(config).getPhysicalPage(r, position);
          norms(page, h, i) = size * std::fabs(random.normal());
          if (random.chance(unknown))
            norms(page, h, i) = random.pick({kNan, kInf});
        }
  CertifyInputs inputs;
  inputs.direction = &batch.query;
  inputs.o = &state.o;
  inputs.lse = &state.lse;
  inputs.tail = &tail;
  inputs.norms = &norms;
  inputs.gap = &gap;
  inputs.paging = batch.getPaging(config);
  inputs.logit = config.logit;

  Operands operands;
  setBatch(operands, config, batch);
  operands.set("o", ElementType::f32, state.o);
  operands.set("lse", ElementType::f32, state.lse);
  operands.set("tail", ElementType::f32, tail);
  operands.set("norms", ElementType::f32, norms);
  operands.set("gap", ElementType::f32, gap);
  Outputs outputs = certify.callEveryWay(
      *module, operands,
      [&] {
        Outputs all;
        for (int i = config.projection ? 3 : 2; i > 0; --i)
          all.emplace_back(ElementType::f32, perHead(rows));
        return all;
      },
      random);
  if (config.projection)
    checkCertifyProjection(inputs, config.projection->hasEntropy(), outputs,
                           findings);
  else
    checkCertify(inputs, outputs, findings);
}

/// A flagged group has what the solver makes of all keys, bit by bit.
void StateCase::checkDense(const Batch &batch, const Array<int32_t> &flags,
                           const Array<float> &o, const Array<float> &lse) {
  int64_t rows = batch.getNumRows(), heads = config.getNumHeads();
  AttendData data;
  static_cast<Batch &>(data) = batch;
  data.o = Array<float>({rows, heads, config.valueDim});
  data.direction = Array<float>({rows, heads, config.keyDim});
  data.lse = data.gap = Array<float>({rows, heads});
  Outputs dense = runAttend(*attend, *module, attendConfig, data);
  Array<float> denseO = dense[0].toFloats(), denseLse = dense[1].toFloats();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      if (!flags(r, h / config.group))
        continue;
      EXPECT_EQ(0, std::memcmp(&o(r, h, 0), &denseO(r, h, 0),
                               config.valueDim * sizeof(float)));
      EXPECT_EQ(0, std::memcmp(&lse(r, h), &denseLse(r, h), sizeof(float)))
          << "a projection over all keys";
    }
}

void StateCase::checkFallbackEntry(const Batch &batch, Random &random,
                                   Findings &findings) {
  int64_t rows = batch.getNumRows();
  State<float> state = makeRandomState(rows, random);
  Array<float> measure(perHead(rows), 0.0f);
  for (float &value : measure.data)
    if (random.chance(0.2))
      value = random.pick({kNan, kInf, limit, 0.7f});
  AttendInputs inputs;
  inputs.query = &batch.query;
  inputs.keys = {&batch.keys, config.nhd};
  inputs.values = {&batch.values, config.nhd};
  inputs.paging = batch.getPaging(config);
  inputs.logit = config.logit;

  auto makeOutputs = [&] {
    Outputs outputs = makeState(rows);
    outputs.emplace_back(ElementType::i1, Shape{rows, config.kvHeads});
    return outputs;
  };
  auto setOperands = [&](Operands &operands, const Batch &from) {
    setBatch(operands, config, from);
    operands.setConsumed("o", state.o);
    operands.setConsumed("lse", state.lse);
    operands.set("measure", ElementType::f32, measure);
  };
  Operands operands, hidden;
  setOperands(operands, batch);
  Outputs outputs =
      fallback.callEveryWay(*module, operands, makeOutputs, random);
  Array<int32_t> flags = outputs[2].toInts();
  Array<float> o = outputs[0].toFloats(), lse = outputs[1].toFloats();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t kvHead = 0; kvHead < config.kvHeads; ++kvHead) {
      int64_t first = kvHead * config.group;
      bool misses = false;
      for (int64_t h = first; h < first + config.group; ++h)
        misses |= !(measure(r, h) <= limit);
      EXPECT_EQ(flags(r, kvHead), misses) << "row " << r << " group " << kvHead;
      if (misses)
        continue;
      size_t number = config.group * config.valueDim;
      EXPECT_EQ(0, std::memcmp(&o(r, first, 0), &state.o(r, first, 0),
                               number * sizeof(float)));
      EXPECT_EQ(0, std::memcmp(&lse(r, first), &state.lse(r, first),
                               config.group * sizeof(float)))
          << "a state that passes through";
    }
  if (config.projection) {
    checkDense(batch, flags, o, lse);
  } else {
    State<float> empty =
        State<float>::empty(rows, config.getNumHeads(), config.valueDim);
    checkState(
        config, inputs, empty.o, empty.lse, outputs, findings,
        [&](int64_t r, int64_t kvHead) { return flags(r, kvHead) != 0; });
  }
  setOperands(hidden, poison(config, batch, getVisible(config, batch), random));
  Outputs again = makeOutputs();
  EXPECT_TRUE(fallback.call(*module, hidden, again));
  expectBitEqual(again, outputs, "invisible slots have influence");
}

void StateCase::check(Random &random, Findings &findings) {
  checkMergeEntry(random.integer(1, 3), random, findings);
  checkMergeTailsEntry(random.integer(1, 3), random, findings);
  Batch batch = makeBatch(config, random);
  checkCertifyEntry(batch, random, findings);
  checkFallbackEntry(batch, random, findings);
}

std::unique_ptr<SweepCase> vashista::test::makeStateCase(Random &random) {
  return std::make_unique<StateCase>(random);
}
