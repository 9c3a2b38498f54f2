//===- AttendCase.cpp - Configurations and data of an attend --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendCase.h"
#include "Sweep.h"

#include "gtest/gtest.h"

using namespace vashista::test;

std::string AttendConfig::describe() const {
  std::string text = "attend " + Config::describe();
  if (listed != ListKind::none)
    text += listed == ListKind::pages ? " pages" : " tokens";
  return text + (hasCount ? " count" : "") + (hasRange ? " range" : "") +
         (onTensors ? " tensors" : "");
}

Entry AttendConfig::makeEntry(const std::string &name) const {
  Entry entry(name, onTensors ? Entry::Form::tensors : Entry::Form::buffers);
  entry.op << "attend " << entry.use("q", type, {-1, getNumHeads(), keyDim})
           << useCache(entry, *this) << useTable(entry, *this);
  if (listed != ListKind::none) {
    entry.op << (listed == ListKind::pages ? " pages(" : " tokens(")
             << entry.use("list", ElementType::i32, {-1, kvHeads, -1});
    if (hasCount)
      entry.op << ", " << entry.use("count", ElementType::i32, {-1, kvHeads});
    entry.op << ")";
  }
  if (hasRange) {
    entry.op << " range(" << entry.useIndex("begin") << ", "
             << entry.useIndex("end") << ")";
  }
  Shape oShape = {-1, getNumHeads(), valueDim}, lseShape = {-1, getNumHeads()};
  auto declare = [&](const char *out, Shape shape) {
    return onTensors ? entry.use(out, ElementType::f32, std::move(shape))
                     : entry.writes(out, ElementType::f32, std::move(shape));
  };
  entry.op << " outs(" << declare("o", oShape) << ", "
           << declare("lse", lseShape);
  Shape directionShape = {-1, getNumHeads(), keyDim};
  if (projection)
    entry.op << ", " << declare("direction", directionShape) << ", "
             << declare("gap", lseShape);
  entry.op << ")" << getLogitText(/*withEpsilon=*/false) << getSolverText()
           << getLayoutText();
  if (onTensors) {
    entry.yields(ElementType::f32, oShape);
    entry.yields(ElementType::f32, lseShape);
    if (projection) {
      entry.yields(ElementType::f32, directionShape);
      entry.yields(ElementType::f32, lseShape);
    }
  }
  return entry;
}

AttendConfig vashista::test::makeAttendConfig(Random &random) {
  AttendConfig config;
  static_cast<Config &>(config) = makeConfig(random);
  config.listed =
      random.pick({ListKind::none, ListKind::pages, ListKind::tokens});
  config.hasCount = config.listed != ListKind::none && random.chance(0.7);
  config.hasRange = random.chance(0.25);
  config.onTensors = random.chance(0.5);
  if (random.chance(0.4)) {
    makeProjection(config, random);
    config.hasRange = false;
    // Then the output can be known: the keys are the values.
    if (random.chance(0.6))
      config.valueDim = config.keyDim;
  }
  return config;
}

AttendInputs AttendData::getInputs(const AttendConfig &config) const {
  AttendInputs inputs;
  inputs.query = &query;
  inputs.keys = {&keys, config.nhd};
  inputs.values = {&values, config.nhd};
  inputs.paging = getPaging(config);
  inputs.pages = config.listed == ListKind::pages ? &list.ids : nullptr;
  inputs.tokens = config.listed == ListKind::tokens ? &list.ids : nullptr;
  inputs.count = config.hasCount ? &list.count : nullptr;
  if (config.hasRange)
    inputs.range = range;
  inputs.logit = config.logit;
  return inputs;
}

void AttendData::setOperands(Operands &operands,
                             const AttendConfig &config) const {
  setBatch(operands, config, *this);
  operands.set("list", list.ids);
  operands.set("count", list.count);
  operands.set("begin", range.first);
  operands.set("end", range.second);
  if (config.onTensors) {
    operands.setConsumed("o", o);
    operands.setConsumed("lse", lse);
    if (config.projection) {
      operands.setConsumed("direction", direction);
      operands.setConsumed("gap", gap);
    }
  }
}

Outputs AttendData::makeOutputs(const AttendConfig &config) const {
  Outputs outputs;
  outputs.emplace_back(ElementType::f32, o);
  outputs.emplace_back(ElementType::f32, lse);
  if (config.projection) {
    outputs.emplace_back(ElementType::f32, direction);
    outputs.emplace_back(ElementType::f32, gap);
  }
  return outputs;
}

AttendData vashista::test::makeAttendData(const AttendConfig &config,
                                          Random &random) {
  AttendData data;
  static_cast<Batch &>(data) = makeBatch(config, random);
  int64_t rows = data.getNumRows(), heads = config.getNumHeads();
  int64_t mostTokens = 1;
  for (int32_t length : data.lens.data)
    mostTokens = std::max<int64_t>(mostTokens, length);
  int64_t slots = mostTokens;
  if (config.listed != ListKind::none) {
    bool pages = config.listed == ListKind::pages;
    data.list =
        makeList(config, rows, pages ? config.getNumPages(slots) : slots,
                 config.hasCount, random);
    slots = data.list.ids.shape[2] * (pages ? config.pageSize : 1);
  }
  if (config.hasRange) {
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
  if (config.projection) {
    data.direction = Array<float>({rows, heads, config.keyDim}, kNan);
    data.gap = Array<float>({rows, heads}, 0.0f);
    if (config.valueDim == config.keyDim)
      data.values = data.keys;
  }
  return data;
}

/// The same with other contents wherever the op must not look.
static AttendData poisonAttend(const AttendConfig &config,
                               const AttendData &data, Random &random) {
  AttendData result = data;
  AttendInputs inputs = data.getInputs(config);
  Array<char> visible({data.keys.shape[0], config.kvHeads, config.pageSize}, 0);
  for (int64_t r = 0; r < data.getNumRows(); ++r)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      bool any = false;
      forEachToken(inputs, r, h, [&](int64_t position) {
        any = true;
        visible(inputs.paging.getPhysicalPage(r, position), h,
                position % config.pageSize) = 1;
      });
      // An empty state that something is merged into has no influence, and none
      // that a projection overwrites.
      for (int64_t g = h * config.group; g < (h + 1) * config.group; ++g)
        if (config.projection || (any && data.lse(r, g) == -kInf))
          std::fill_n(&result.o(r, g, 0), config.valueDim, kNan);
    }
  if (config.projection)
    for (float &lse : result.lse.data)
      lse = kNan;
  static_cast<Batch &>(result) = poison(config, data, visible, random);
  if (config.hasCount)
    poisonList(result.list, random);
  return result;
}

static AttendData takeAttendRow(const AttendConfig &config,
                                const AttendData &data, int64_t row) {
  AttendData result = data;
  static_cast<Batch &>(result) = takeRow(config, data, row);
  result.o = takeRow(data.o, row);
  result.lse = takeRow(data.lse, row);
  result.direction = takeRow(data.direction, row);
  result.gap = takeRow(data.gap, row);
  result.list = {takeRow(data.list.ids, row), takeRow(data.list.count, row)};
  return result;
}

Outputs vashista::test::runAttend(const Entry &entry, CompiledModule &module,
                                  const AttendConfig &config,
                                  const AttendData &data) {
  Operands operands;
  data.setOperands(operands, config);
  Outputs outputs = data.makeOutputs(config);
  EXPECT_TRUE(entry.call(module, operands, outputs))
      << "no such entry, or it wrote before a buffer";
  return outputs;
}

void vashista::test::checkAttend(const Entry &entry, CompiledModule &module,
                                 const AttendConfig &config,
                                 const AttendData &data, Random &random,
                                 Findings &findings) {
  Operands operands;
  data.setOperands(operands, config);
  Outputs result = entry.callEveryWay(
      module, operands, [&] { return data.makeOutputs(config); }, random);
  if (config.projection)
    checkProjection(config, data.getInputs(config), result, findings);
  else
    checkState(config, data.getInputs(config), data.o, data.lse, result,
               findings);
  expectBitEqual(
      runAttend(entry, module, config, poisonAttend(config, data, random)),
      result, "invisible slots have influence");
  int64_t row = random.integer(0, data.getNumRows() - 1);
  expectBitEqual(
      runAttend(entry, module, config, takeAttendRow(config, data, row)),
      takeRow(result, row), "a row alone");
}

namespace {

class AttendCase : public SweepCase {
public:
  explicit AttendCase(Random &random)
      : config(makeAttendConfig(random)), entry(config.makeEntry("attend")) {}
  std::string describe() const override { return config.describe(); }
  bool compile() override {
    module = compileEntries({&entry}, config.options);
    return module != nullptr;
  }
  void check(Random &random, Findings &findings) override {
    AttendData data = makeAttendData(config, random);
    checkAttend(entry, *module, config, data, random, findings);
  }

private:
  AttendConfig config;
  Entry entry;
  std::unique_ptr<CompiledModule> module;
};

} // namespace

std::unique_ptr<SweepCase> vashista::test::makeAttendCase(Random &random) {
  return std::make_unique<AttendCase>(random);
}
