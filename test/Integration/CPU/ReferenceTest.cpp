//===- ReferenceTest.cpp - The reference on numbers worked out by hand ----===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reference.h"
#include "Jit.h"

#include "gtest/gtest.h"

#include <cmath>
#include <limits>

using namespace vashista::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <typename T> Array<T> make(Shape shape, std::vector<T> data) {
  Array<T> result(std::move(shape));
  EXPECT_EQ(result.data.size(), data.size());
  result.data = std::move(data);
  return result;
}

TEST(NumbersTest, HalvesRoundToNearestEven) {
  EXPECT_EQ(toF16(1.0f), 0x3c00);
  EXPECT_EQ(toF16(-2.0f), 0xc000);
  EXPECT_EQ(toF16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(toF16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(toF16(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
  EXPECT_EQ(toF16(65504.0f), 0x7bff);
  EXPECT_EQ(toF16(65519.0f), 0x7bff);
  EXPECT_EQ(toF16(65520.0f), 0x7c00);
  EXPECT_EQ(toF16(0x1p-24f), 0x0001);
  EXPECT_EQ(toF16(0x1p-25f), 0x0000);
  EXPECT_EQ(toF16(3 * 0x1p-25f), 0x0002);
  EXPECT_EQ(toF16(0x1p-14f - 0x1p-26f), 0x0400);
  EXPECT_EQ(toF16(-kInf), 0xfc00);
  EXPECT_TRUE(std::isnan(fromF16(toF16(kNan))));
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = fromF16(bits);
    if (!std::isnan(value)) {
      ASSERT_EQ(toF16(value), bits);
    }
  }
}

TEST(NumbersTest, BrainFloatsRoundToNearestEven) {
  EXPECT_EQ(toBF16(1.0f), 0x3f80);
  EXPECT_EQ(toBF16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(toBF16(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_EQ(toBF16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(fromBF16(toBF16(kNan))));
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = fromBF16(bits);
    if (!std::isnan(value)) {
      ASSERT_EQ(toBF16(value), bits);
    }
  }
}

/// One row, one head, pages of two tokens: the tokens 0, 1, 2 are on the
/// physical pages 1, 1, 0 with keys 0, log 2, log 5 and values 1, 10, 100.
struct Small {
  Array<float> query = make<float>({1, 1, 1}, {1});
  Array<float> keys =
      make<float>({2, 1, 2, 1}, {std::log(5.0f), kNan, 0, std::log(2.0f)});
  Array<float> values = make<float>({2, 1, 2, 1}, {100, kNan, 1, 10});
  Array<int32_t> table = make<int32_t>({1, 2}, {1, 0});
  Array<int32_t> lens = make<int32_t>({1}, {3});

  AttendInputs getInputs() {
    AttendInputs inputs;
    inputs.query = &query;
    inputs.keys = {&keys, false};
    inputs.values = {&values, false};
    inputs.paging = {&table, &lens, nullptr, 2};
    return inputs;
  }
  State<double> attend(const AttendInputs &inputs) {
    State<double> state = State<double>::empty(1, 1, 1);
    vashista::test::attend(inputs, state);
    return state;
  }
};

TEST(ReferenceTest, Attend) {
  Small small;
  AttendInputs inputs = small.getInputs();
  State<double> dense = small.attend(inputs);
  EXPECT_NEAR(dense.lse(0, 0), std::log(8.0), 1e-6);
  EXPECT_NEAR(dense.o(0, 0, 0), (1 * 1 + 2 * 10 + 5 * 100) / 8.0, 1e-4);

  Array<int32_t> page = make<int32_t>({1, 1, 2}, {1, -1});
  inputs.pages = &page;
  EXPECT_NEAR(small.attend(inputs).o(0, 0, 0), 100, 1e-9);
  inputs.pages = nullptr;
  Array<int32_t> tokens = make<int32_t>({1, 1, 4}, {0, -1, 2, 3});
  inputs.tokens = &tokens;
  EXPECT_NEAR(small.attend(inputs).lse(0, 0), std::log(6.0), 1e-6);
  Array<int32_t> count = make<int32_t>({1, 1}, {1});
  inputs.count = &count;
  EXPECT_NEAR(small.attend(inputs).lse(0, 0), 0, 1e-9);
  inputs.tokens = nullptr;
  inputs.count = nullptr;

  inputs.range = {1, 2};
  State<double> part = small.attend(inputs);
  EXPECT_NEAR(part.lse(0, 0), std::log(2.0), 1e-6);
  inputs.range = {2, 9};
  vashista::test::attend(inputs, part);
  EXPECT_NEAR(part.lse(0, 0), std::log(7.0), 1e-6);
  EXPECT_NEAR(part.o(0, 0, 0), (2 * 10 + 5 * 100) / 7.0, 1e-4);
  inputs.range.reset();

  inputs.logit.softCap = 0.5f;
  inputs.logit.epsilon = 0.25;
  small.lens(0) = 1;
  small.keys(1, 0, 0, 0) = 3;
  EXPECT_NEAR(small.attend(inputs).lse(0, 0), 2 * std::tanh(6.0), 1e-6);
  small.lens(0) = 0;
  EXPECT_EQ(small.attend(inputs).lse(0, 0), -kInf);
  EXPECT_EQ(small.attend(inputs).o(0, 0, 0), 0);
}

TEST(ReferenceTest, FallbackFlagsNan) {
  Small small;
  State<double> state = State<double>::empty(1, 1, 1);
  AttendInputs inputs = small.getInputs();
  Array<float> measure = make<float>({1, 1}, {0.1f});
  EXPECT_EQ(fallback(inputs, measure, 0.1f, state)(0, 0), 0);
  EXPECT_EQ(state.lse(0, 0), -kInf);
  measure(0, 0) = kNan;
  EXPECT_EQ(fallback(inputs, measure, 0.1f, state)(0, 0), 1);
  EXPECT_NEAR(state.lse(0, 0), std::log(8.0), 1e-6);
}

TEST(ReferenceTest, Score) {
  Array<float> direction = make<float>({1, 1, 2}, {3, -4});
  Array<float> first = make<float>({2, 1, 2}, {0, 0, 1, 2});
  Array<float> second = make<float>({2, 1, 2}, {0, 0, 5, 7});
  Array<float> radius = make<float>({2, 1}, {0, 0.5f});
  Array<int32_t> table = make<int32_t>({1, 2}, {1, 0});
  Array<int32_t> lens = make<int32_t>({1}, {3});
  ScoreInputs inputs;
  inputs.direction = &direction;
  inputs.first = &first;
  inputs.second = &second;
  inputs.paging = {&table, &lens, nullptr, 4};
  auto get = [&](Source source) {
    inputs.source = source;
    return score<double>(inputs);
  };
  auto [scores, bounds] = get(Source::mean);
  EXPECT_EQ(scores(0, 0, 0), -5);
  EXPECT_EQ(bounds(0, 0, 0), kInf);
  EXPECT_EQ(scores(0, 0, 1), -kInf);
  EXPECT_EQ(bounds(0, 0, 1), -kInf);
  EXPECT_EQ(get(Source::meanStd).first(0, 0, 0), -5 + 3 * 5 + 4 * 7);
  EXPECT_EQ(get(Source::box).second(0, 0, 0), 3 * 5 - 4 * 2);
  inputs.second = &radius;
  EXPECT_EQ(get(Source::ball).second(0, 0, 0), -5 + 5 * 0.5);
}

TEST(ReferenceTest, Pick) {
  // One group of two heads, pages of two tokens, the last page half full.
  float l2 = std::log(2.0f), l4 = std::log(4.0f);
  Array<float> scores = make<float>({1, 2, 4}, {0, l2, 0, -kInf, //
                                                l4, 0, 0, -kInf});
  Array<int32_t> lens = make<int32_t>({1}, {5});
  PickInputs inputs;
  inputs.scores = inputs.bounds = &scores;
  inputs.seqLens = &lens;
  inputs.ofPages = true;
  inputs.pageSize = 2;
  inputs.budget = 1;
  Picked picked = pick(inputs);
  // Masses: head 0: 2, 4, 1; head 1: 8, 2, 1.
  EXPECT_EQ(picked.ids(0, 0, 0), 0);
  EXPECT_NEAR(picked.tail(0, 0), std::log(5.0), 1e-6);
  EXPECT_NEAR(picked.tail(0, 1), std::log(3.0), 1e-6);
  EXPECT_NEAR(picked.rank(0, 0, 1), std::log(4.0 / 7), 1e-6);
  EXPECT_EQ(picked.rank(0, 0, 3), -kInf);
  inputs.window = 1;
  EXPECT_EQ(pick(inputs).ids(0, 0, 0), 2);
  inputs.window = 0;
  inputs.budget = 5;
  picked = pick(inputs);
  EXPECT_EQ(picked.count(0, 0), 3);
  EXPECT_EQ(picked.ids.data, (std::vector<int32_t>{0, 1, 2, -1, -1}));
  EXPECT_EQ(picked.tail(0, 0), -kInf);
  // After pages 0 and 1, the left-over shares are 1/7 and 1/11.
  inputs.tolerance = 0.15f;
  EXPECT_EQ(pick(inputs).count(0, 0), 2);
  inputs.tolerance = 0.1f;
  EXPECT_EQ(pick(inputs).count(0, 0), 3);
  inputs.tolerance.reset();
  inputs.budget = 2;
  Array<int32_t> taken = make<int32_t>({1, 1, 2}, {0, -1});
  inputs.taken = &taken;
  EXPECT_EQ(pick(inputs).ids.data, (std::vector<int32_t>{1, 2}));
  scores(0, 1, 1) = kNan;
  inputs.budget = 1;
  picked = pick(inputs);
  EXPECT_EQ(picked.ids(0, 0, 0), 2);
  EXPECT_NEAR(picked.tail(0, 0), std::log(4.0), 1e-6);
  EXPECT_EQ(picked.tail(0, 1), kInf);
}

TEST(ReferenceTest, Certify) {
  Array<float> direction = make<float>({1, 1, 1}, {1});
  Array<float> o = make<float>({1, 1, 1}, {-2});
  Array<float> lse = make<float>({1, 1}, {1}), tail = lse;
  Array<float> norms = make<float>({1, 1, 2}, {1, 3});
  Array<int32_t> table = make<int32_t>({1, 1}, {0});
  Array<int32_t> lens = make<int32_t>({1}, {1});
  CertifyInputs inputs;
  inputs.direction = &direction;
  inputs.o = &o;
  inputs.lse = &lse;
  inputs.tail = &tail;
  inputs.norms = &norms;
  inputs.paging = {&table, &lens, nullptr, 1};
  EXPECT_NEAR(certify(inputs).first(0, 0), 0.5, 1e-5);
  EXPECT_GT(certify(inputs).first(0, 0), 0.5);
  // Of a value norm of 3 and an output norm of 2, which may be off.
  EXPECT_NEAR(certify(inputs).second(0, 0), 0.5 * (3 * (1 + 0x1p-8) + 2), 5e-5);
  tail(0, 0) = -kInf;
  EXPECT_EQ(certify(inputs).second(0, 0), 0);
  lse(0, 0) = kNan;
  EXPECT_EQ(certify(inputs).first(0, 0), 1);
  EXPECT_EQ(certify(inputs).second(0, 0), kInf);
}

TEST(ReferenceTest, SummarizeAndAppend) {
  Small small;
  AttendInputs inputs = small.getInputs();
  small.keys(0, 0, 0, 0) = 7;
  small.keys(1, 0, 0, 0) = 1;
  small.keys(1, 0, 1, 0) = 4;
  auto summaries = summarize(inputs.keys, inputs.values, inputs.paging);
  EXPECT_EQ(summaries(1, 0).mean[0], 2.5);
  EXPECT_EQ(summaries(1, 0).std[0], 1.5);
  EXPECT_EQ(summaries(1, 0).lo[0], 1);
  EXPECT_EQ(summaries(1, 0).radius, 1.5);
  EXPECT_EQ(summaries(1, 0).valueNorm, 10);
  EXPECT_EQ(summaries(0, 0).numTokens, 1);
  EXPECT_EQ(summaries(0, 0).hi[0], 7);

  Array<float> key = make<float>({2, 1, 1}, {9, 8});
  Array<int32_t> positions = make<int32_t>({2}, {3, -1});
  Array<int32_t> rows = make<int32_t>({2}, {0, 0});
  AppendInputs append;
  append.key = append.value = &key;
  append.positions = &positions;
  append.paging = {&small.table, nullptr, &rows, 2};
  summaries = vashista::test::append(append, small.keys, small.values);
  EXPECT_EQ(small.keys(0, 0, 1, 0), 9);
  EXPECT_EQ(summaries(0, 0).mean[0], 8);
  EXPECT_EQ(summaries(0, 0).valueNorm, 100);
  EXPECT_EQ(summaries(1, 0).numTokens, 0);
}

} // namespace
