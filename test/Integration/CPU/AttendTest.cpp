//===- AttendTest.cpp - vashista.attend on a CPU, single cases ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendCase.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstdio>
#include <cstring>

using namespace vashista::test;

namespace {

/// Lists of everything, in the order of the sequence.
AttendData addCoveringList(const AttendConfig &config, const AttendData &data) {
  AttendData result = data;
  int64_t rows = data.getNumRows();
  bool pages = config.listed == ListKind::pages;
  int64_t size = data.table.shape[1] * (pages ? 1 : config.pageSize);
  result.list = {Array<int32_t>({rows, config.kvHeads, size}, -1),
                 Array<int32_t>({rows, config.kvHeads})};
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      int64_t length = data.lens(r);
      int64_t count = pages ? config.getNumPages(length) : length;
      result.list.count(r, h) = count;
      std::iota(&result.list.ids(r, h, 0), &result.list.ids(r, h, 0) + count,
                0);
    }
  return result;
}

TEST(AttendTest, ListsOfEverythingAreDense) {
  for (ElementType type : {ElementType::f32, ElementType::bf16})
    for (int64_t pageSize : {5, 16, 128}) {
      Random random({7, static_cast<uint64_t>(pageSize)});
      AttendConfig dense;
      dense.type = type;
      dense.keyDim = 80;
      dense.valueDim = 64;
      dense.group = 3;
      dense.kvHeads = 2;
      dense.pageSize = pageSize;
      dense.nhd = pageSize == 16;
      dense.logit.scale = 0.125f;
      AttendConfig pages = dense, tokens = dense, ranged = dense;
      pages.listed = ListKind::pages;
      pages.hasCount = true;
      tokens.listed = ListKind::tokens;
      ranged.hasRange = true;
      Entry attend = dense.makeEntry("attend"),
            attendPages = pages.makeEntry("pages"),
            attendTokens = tokens.makeEntry("tokens"),
            attendRange = ranged.makeEntry("ranged");
      auto module = compileEntries(
          {&attend, &attendPages, &attendTokens, &attendRange}, dense.options);
      ASSERT_TRUE(module);
      for (int i = 0; i < 5; ++i) {
        AttendData data = makeAttendData(dense, random);
        Outputs expected = runAttend(attend, *module, dense, data);
        expectBitEqual(runAttend(attendPages, *module, pages,
                                 addCoveringList(pages, data)),
                       expected, "pages");
        expectBitEqual(runAttend(attendTokens, *module, tokens,
                                 addCoveringList(tokens, data)),
                       expected, "tokens");
        data.range = {0, std::numeric_limits<int64_t>::max()};
        expectBitEqual(runAttend(attendRange, *module, ranged, data), expected,
                       "ranged");
      }
    }
}

TEST(AttendTest, RangesMergeToTheWhole) {
  Random random({8});
  AttendConfig config;
  config.group = 2;
  config.hasRange = true;
  config.logit.scale = 0.125f;
  Entry entry = config.makeEntry("attend");
  auto module = compileEntries({&entry}, config.options);
  ASSERT_TRUE(module);
  for (int i = 0; i < 10; ++i) {
    AttendData data = makeAttendData(config, random);
    AttendData part = data;
    int64_t first = 0, length = 0;
    for (int32_t rowLength : data.lens.data)
      length = std::max<int64_t>(length, rowLength);
    // The last range reaches past the end.
    Outputs outputs = data.makeOutputs(config);
    while (first <= length) {
      part.range = {first, first + random.integer(1, length + 1)};
      outputs = runAttend(entry, *module, config, part);
      part.o = outputs[0].toFloats();
      part.lse = outputs[1].toFloats();
      first = part.range.second;
    }
    data.range = {0, length};
    Findings findings;
    checkState(config, data.getInputs(config), data.o, data.lse, outputs,
               findings);
  }
}

TEST(AttendTest, HeadSizesThatVectorsDoNotDivide) {
  Random random({9});
  for (int64_t keyDim : {1, 3, 8, 12, 20, 36, 40, 72, 100, 112, 144})
    for (int64_t lanes : {4, 16}) {
      AttendConfig config;
      config.type = lanes == 4 ? ElementType::f16 : ElementType::f32;
      config.keyDim = keyDim;
      config.valueDim = keyDim == 8 ? 7 : keyDim;
      config.group = keyDim % 5 + 1;
      config.pageSize = 3;
      config.logit.scale = 1.0f / std::sqrt(static_cast<float>(keyDim));
      config.options.lanes = lanes;
      Entry entry = config.makeEntry("attend");
      auto module = compileEntries({&entry}, config.options);
      ASSERT_TRUE(module);
      SCOPED_TRACE(config.describe());
      Findings findings;
      checkAttend(entry, *module, config, makeAttendData(config, random),
                  random, findings);
    }
}

TEST(AttendTest, NothingToAttend) {
  AttendConfig config;
  config.hasRows = true;
  Entry entry = config.makeEntry("attend");
  auto module = compileEntries({&entry}, config.options);
  ASSERT_TRUE(module);
  // No rows.
  AttendData data;
  data.query = Array<float>({0, 1, 64});
  data.keys = data.values = Array<float>({1, 1, 16, 64});
  data.o = Array<float>({0, 1, 64});
  data.lse = Array<float>({0, 1});
  data.table = Array<int32_t>({1, 1});
  data.lens = data.rows = Array<int32_t>({0});
  runAttend(entry, *module, config, data);
  // A row of an empty sequence: o = 0, lse = -inf. Its table is not read.
  data.query = Array<float>({1, 1, 64});
  data.keys = data.values = Array<float>({0, 1, 16, 64});
  data.o = Array<float>({1, 1, 64}, 0.0f);
  data.lse = Array<float>({1, 1}, -kInf);
  data.table = Array<int32_t>({1, 0});
  data.lens = data.rows = Array<int32_t>({1}, 0);
  Outputs result = runAttend(entry, *module, config, data);
  EXPECT_EQ(result[1].toFloats()(0, 0), -kInf);
  for (float value : result[0].toFloats().data)
    EXPECT_EQ(value, 0.0f);
}

TEST(AttendTest, VisibleNanReachesOnlyItsGroup) {
  Random random({10});
  AttendConfig config;
  config.group = 2;
  config.kvHeads = 2;
  config.logit.scale = 0.125f;
  Entry entry = config.makeEntry("attend");
  auto module = compileEntries({&entry}, config.options);
  ASSERT_TRUE(module);
  AttendData data = makeAttendData(config, random);
  data.lens.data.assign(data.lens.data.size(), 0);
  data.lens(0) = 40;
  data.table = Array<int32_t>({static_cast<int64_t>(data.lens.data.size()), 3});
  std::iota(data.table.data.begin(), data.table.data.begin() + 3, 0);
  data.keys = data.values = Array<float>({3, 2, 16, 64});
  fill(data.keys, config.type, random, 1.0f);
  fill(data.values, config.type, random, 1.0f);
  data.keys(2, 1, 7, 5) = kNan;
  Outputs result = runAttend(entry, *module, config, data);
  Array<float> o = result[0].toFloats(), lse = result[1].toFloats();
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
  AttendConfig config;
  config.type = ElementType::bf16;
  config.keyDim = config.valueDim = kDim;
  config.group = kHeads;
  config.hasRows = true;
  config.logit.scale = 0.0883883461f;
  // In two splits.
  config.onTensors = true;
  Entry entry = config.makeEntry("attend");
  auto module = compileEntries({&entry}, config.options);
  ASSERT_TRUE(module);
  for (std::string trace : {"sharp", "diffuse"}) {
    SCOPED_TRACE(trace);
    Array<float> keys = readTrace(trace + ".k.npy", {kTokens, kDim});
    Array<float> values = readTrace(trace + ".v.npy", {kTokens, kDim});
    AttendData data;
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
    Findings findings;
    checkState(config, data.getInputs(config), data.o, data.lse,
               runAttend(entry, *module, config, data), findings);
    std::printf("%s: %s\n", trace.c_str(), findings.toString().c_str());
  }
}

} // namespace
