//===- AppendCase.cpp - Tokens appended to a cache ------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sweep.h"

#include "gtest/gtest.h"

using namespace vashista::test;

namespace {

class AppendCase : public SweepCase {
public:
  explicit AppendCase(Random &random);
  std::string describe() const override;
  bool compile() override {
    module = compileEntries({&entry}, config.options);
    return module != nullptr;
  }
  void check(Random &random, Findings &findings) override;

private:
  Config config;
  Kept kept;
  Entry entry;
  std::unique_ptr<CompiledModule> module;
};

} // namespace

AppendCase::AppendCase(Random &random)
    : config(makeConfig(random)), entry("append", Entry::Form::buffers) {
  kept = makeKept(config, random, random.chance(0.8), random.chance(0.5),
                  random.chance(0.5));
  Shape keyShape = config.getCacheShape(-1, config.keyDim),
        valueShape = config.getCacheShape(-1, config.valueDim);
  entry.op << "append key("
           << entry.use("key", config.type, {-1, config.kvHeads, config.keyDim})
           << ") value("
           << entry.use("value", config.type,
                        {-1, config.kvHeads, config.valueDim})
           << ") at(" << entry.use("positions", ElementType::i32, {-1})
           << ") table(" << entry.use("table", ElementType::i32, {-1, -1})
           << ")";
  if (config.hasRows)
    entry.op << " rows(" << entry.use("rows", ElementType::i32, {-1}) << ")";
  entry.op << " into(" << entry.writes("k", config.type, keyShape) << ", "
           << entry.writes("v", config.type, valueShape) << ")"
           << kept.write(entry, config) << config.getLayoutText();
}

std::string AppendCase::describe() const {
  return "append " + config.describe() +
         (kept.summary ? " " + kept.getSummaryText() + " " + getName(kept.type)
                       : std::string()) +
         (kept.hasNorms ? " norms" : "") +
         (kept.sketch
              ? " sketch " + kept.getSketchText() + " " +
                    getName(kept.scaleType) + " " + getName(kept.residualType)
              : std::string());
}

void AppendCase::check(Random &random, Findings &findings) {
  Batch batch = makeBatch(config, random);
  int64_t rows = batch.getNumRows(), numPages = batch.keys.shape[0];
  AppendInputs inputs;
  inputs.paging = batch.getPaging(config);
  inputs.paging.seqLens = nullptr;
  inputs.nhd = config.nhd;
  Outputs state;
  state.emplace_back(config.type, batch.keys);
  state.emplace_back(config.type, batch.values);
  for (Buffer &part : kept.make(config, numPages))
    state.push_back(std::move(part));

  // Without a centre, only what is written is sketched.
  Array<char> written({numPages, config.pageSize}, 0);
  auto isSketched = [&](int64_t page, int64_t slot) {
    return kept.sketch->centred || written(page, slot);
  };
  // A few steps: next tokens, first tokens of a page, and some again.
  for (int step = 0; step < 3; ++step) {
    Array<float> key({rows, config.kvHeads, config.keyDim}),
        value({rows, config.kvHeads, config.valueDim});
    fill(key, config.type, random, random.pick({0.1f, 1.0f, 10.0f}));
    fill(value, config.type, random, random.pick({0.1f, 1.0f, 10.0f}));
    Array<int32_t> positions({rows}, -1);
    for (int64_t r = 0; r < rows; ++r) {
      // The row's own pages hold as much.
      int64_t room = config.getNumPages(batch.lens(r)) * config.pageSize;
      if (room > 0 && !random.chance(0.1))
        positions(r) = random.chance(0.3)
                           ? random.integer(0, room / config.pageSize - 1) *
                                 config.pageSize
                           : random.integer(0, room - 1);
    }
    Operands operands;
    operands.set("key", config.type, key);
    operands.set("value", config.type, value);
    operands.set("positions", positions);
    setTable(operands, batch);
    auto makeOutputs = [&] {
      Outputs outputs;
      for (const Buffer &part : state)
        outputs.push_back(part.copy());
      return outputs;
    };
    Outputs after = entry.callEveryWay(*module, operands, makeOutputs, random);

    inputs.key = &key;
    inputs.value = &value;
    inputs.positions = &positions;
    Array<PageSummary> expected =
        vashista::test::append(inputs, batch.keys, batch.values);
    for (int64_t r = 0; r < rows; ++r)
      if (positions(r) >= 0)
        written(inputs.paging.getPhysicalPage(r, positions(r)),
                positions(r) % config.pageSize) = 1;
    EXPECT_TRUE(areBitEqual(after[0], Buffer(config.type, batch.keys)))
        << "the K cache";
    EXPECT_TRUE(areBitEqual(after[1], Buffer(config.type, batch.values)))
        << "the V cache";
    auto takeKept = [](const Outputs &all) {
      Outputs parts;
      for (size_t i = 2; i < all.size(); ++i)
        parts.push_back(all[i].copy());
      return parts;
    };
    checkKept(config, kept, {&batch.keys, config.nhd}, expected,
              takeKept(state), takeKept(after), findings, isSketched);
    state = std::move(after);
  }
}

std::unique_ptr<SweepCase> vashista::test::makeAppendCase(Random &random) {
  return std::make_unique<AppendCase>(random);
}
