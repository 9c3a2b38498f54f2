//===- OpsTest.cpp - Ops on tensors on a CPU against the reference --------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Jit.h"
#include "Random.h"
#include "Reference.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace vashista::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// An op between its operands and its results.
struct Operand {
  const char *name;
  Buffer &buffer;
};

/// Compiles and runs `op`, which names its operands, on tensors whose first
/// dimension is dynamic, and copies its results to `results`.
void runOp(const std::string &op, std::vector<Operand> operands,
           std::vector<Buffer *> results) {
  auto shaped = [](const Buffer &buffer) {
    std::string text = "<?";
    for (size_t i = 1; i < buffer.getShape().size(); ++i)
      text += "x" + std::to_string(buffer.getShape()[i]);
    return text + "x" + getName(buffer.getType()) + ">";
  };
  std::string parameters, types, resultTypes, copies;
  std::vector<Argument> arguments;
  for (Operand &operand : operands) {
    std::string type = "tensor" + shaped(operand.buffer);
    parameters += std::string("%") + operand.name + ": " + type + ", ";
    types += (types.empty() ? "" : ", ") + type;
    arguments.push_back(operand.buffer);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    std::string shape = shaped(*results[i]), number = std::to_string(i);
    parameters += (i ? ", %out" : "%out") + number + ": memref" + shape;
    resultTypes += (i ? ", tensor" : "tensor") + shape;
    copies += "  bufferization.materialize_in_destination %r#" + number +
              " in restrict writable %out" + number + " : (tensor" + shape +
              ", memref" + shape + ") -> ()\n";
    arguments.push_back(*results[i]);
  }
  std::string text = "func.func @entry(" + parameters +
                     ") attributes {llvm.emit_c_interface} {\n  %r:" +
                     std::to_string(results.size()) + " = vashista." + op +
                     " : (" + types + ") -> (" + resultTypes + ")\n" + copies +
                     "  return\n}\n";
  std::string error;
  auto module = CompiledModule::compile(text, CompileOptions(), error);
  ASSERT_TRUE(module) << error << text;
  EXPECT_TRUE(module->invoke("entry", arguments));
}

/// Every number within the tolerance, and at least `below` of it below.
template <typename T>
void expectClose(const Array<float> &got, const Array<T> &expected,
                 double below, double above, const char *what) {
  ASSERT_EQ(got.data.size(), expected.data.size());
  for (size_t i = 0; i < got.data.size(); ++i) {
    double value = got.data[i], reference = expected.data[i];
    if (value == reference || (std::isnan(value) && std::isnan(reference)))
      continue;
    ASSERT_TRUE(value >= reference - below && value <= reference + above)
        << what << " " << i << " is " << value << ", expected " << reference;
  }
}

Array<float> makeRandom(Shape shape, Random &random, float scale = 1.0f) {
  Array<float> result(std::move(shape));
  for (float &value : result.data)
    value = scale * random.normal();
  return result;
}

/// Two sequences on random pages, and a row of no tokens.
struct Paged {
  static constexpr int64_t kRows = 3, kKvHeads = 2, kHeads = 6, kDim = 36,
                           kValueDim = 48, kPageSize = 8, kTablePages = 6,
                           kPages = 12;
  explicit Paged(uint64_t seed) : random({seed}) {
    std::vector<int32_t> physical(kPages);
    std::iota(physical.begin(), physical.end(), 0);
    random.shuffle(physical);
    for (int64_t i = 0; i < 9; ++i)
      table.data[i < 5 ? i : 2 * kTablePages + i - 5] = physical[i];
    // What is not named for a visible token must not be read.
    for (int64_t i : {5, 16, 17})
      table.data[i] = -1;
    for (int64_t i = 0; i < kTablePages; ++i)
      table(1, i) = std::numeric_limits<int32_t>::max();
  }
  Random random;
  Array<int32_t> table = Array<int32_t>({kRows, kTablePages});
  Array<int32_t> lens = [] {
    Array<int32_t> result({kRows});
    result.data = {37, 0, 32};
    return result;
  }();
  Paging paging = {&table, &lens, nullptr, kPageSize};
  Array<float> query = makeRandom({kRows, kHeads, kDim}, random);
  Array<float> keys = makeRandom({kPages, kKvHeads, kPageSize, kDim}, random);
  Array<float> values =
      makeRandom({kPages, kKvHeads, kPageSize, kValueDim}, random);
};

TEST(MergeTest, AgreesWithReference) {
  Random random({1});
  constexpr int64_t kRows = 3, kHeads = 4, kDim = 20, kStack = 5;
  std::vector<State<double>> states;
  Array<float> o = makeRandom({kRows, kHeads, kDim}, random);
  Array<float> lse = makeRandom({kRows, kHeads}, random, 20);
  Array<float> stackO = makeRandom({kStack, kRows, kHeads, kDim}, random);
  Array<float> stackLse = makeRandom({kStack, kRows, kHeads}, random, 20);
  auto addEmpty = [&](float *o, float &lse) {
    lse = -kInf;
    std::fill_n(o, kDim, 0.0f);
  };
  // Some empty ones, one row and head only empty ones.
  addEmpty(&o(0, 1, 0), lse(0, 1));
  addEmpty(&stackO(2, 1, 1, 0), stackLse(2, 1, 1));
  addEmpty(&o(2, 3, 0), lse(2, 3));
  for (int64_t k = 0; k < kStack; ++k)
    addEmpty(&stackO(k, 2, 3, 0), stackLse(k, 2, 3));
  for (int64_t k = -1; k < kStack; ++k) {
    State<double> state = State<double>::empty(kRows, kHeads, kDim);
    const float *from = k < 0 ? o.data.data() : &stackO(k, 0, 0, 0);
    std::copy_n(from, state.o.data.size(), state.o.data.begin());
    from = k < 0 ? lse.data.data() : &stackLse(k, 0, 0);
    std::copy_n(from, state.lse.data.size(), state.lse.data.begin());
    states.push_back(state);
  }
  Buffer a(ElementType::f32, o), b(ElementType::f32, stackO),
      c(ElementType::f32, lse), d(ElementType::f32, stackLse);
  Buffer outO(ElementType::f32, o.shape), outLse(ElementType::f32, lse.shape);
  runOp("merge outputs(%a, %b) lses(%c, %d)",
        {{"a", a}, {"b", b}, {"c", c}, {"d", d}}, {&outO, &outLse});
  State<double> expected = merge(states);
  // |x| < 100 rounds by 100 u; a weight by that, relative, and by a few ulp.
  expectClose(outLse.toFloats(), expected.lse, 2e-5, 2e-5, "lse");
  expectClose(outO.toFloats(), expected.o, 1e-4, 1e-4, "o");
}

TEST(ScoreTest, AgreesWithReference) {
  struct Case {
    Source source;
    const char *from;
  };
  for (Case test : {Case{Source::keys, "#vashista.keys<hnd>(%k)"},
                    Case{Source::mean, "#vashista.summary<mean>(%k)"},
                    Case{Source::meanStd, "#vashista.summary<mean_std>(%k, "
                                          "%l)"},
                    Case{Source::box, "#vashista.summary<box>(%k, %l)"},
                    Case{Source::ball, "#vashista.summary<ball>(%k, %l)"}}) {
    SCOPED_TRACE(test.from);
    Paged paged(2);
    // Some scores at the cap.
    for (float &value : paged.query.data)
      value *= 4;
    bool ofTokens = test.source == Source::keys;
    Array<float> first =
        makeRandom({Paged::kPages, Paged::kKvHeads, Paged::kDim}, paged.random);
    Array<float> second = first;
    if (test.source == Source::ball)
      second = Array<float>({Paged::kPages, Paged::kKvHeads});
    for (float &value : second.data)
      value += std::fabs(paged.random.normal());
    ScoreInputs inputs;
    inputs.direction = &paged.query;
    inputs.source = test.source;
    inputs.keys = {&paged.keys, false};
    inputs.first = &first;
    inputs.second = &second;
    inputs.paging = paged.paging;
    inputs.logit = {0.25f, 4.0f, 0.5};
    auto [scores, bounds] = score<double>(inputs);

    Buffer q(ElementType::f32, paged.query);
    Buffer k(ElementType::f32, ofTokens ? paged.keys : first);
    Buffer l(ElementType::f32, second), table(paged.table), lens(paged.lens);
    Buffer outScores(ElementType::f32, scores.shape),
        outBounds(ElementType::f32, scores.shape);
    std::vector<Operand> operands = {{"q", q}, {"k", k}};
    if (std::string(test.from).find("%l") != std::string::npos)
      operands.push_back({"l", l});
    operands.push_back({"table", table});
    operands.push_back({"lens", lens});
    runOp(std::string("score %q from ") + test.from +
              " table(%table) lens(%lens)" + (ofTokens ? "" : " page_size 8") +
              " scale 2.5e-01 soft_cap 4.0 epsilon 5.0e-01",
          operands, {&outScores, &outBounds});
    expectClose(outScores.toFloats(), scores, 1e-5, 1e-3, "score");
    // Bounds hold for exact arithmetic; those of keys are rounded like scores.
    expectClose(outBounds.toFloats(), bounds, ofTokens ? 1e-5 : 0, 1e-3,
                "bound");
    if (ofTokens)
      EXPECT_TRUE(areBitEqual(outScores, outBounds));
  }
}

void checkPick(bool withNanBound) {
  for (bool ofPages : {false, true})
    for (bool proving : {false, true})
      for (bool withNan : {false, true}) {
        SCOPED_TRACE(testing::Message() << (ofPages ? "pages" : "tokens")
                                        << (proving ? " proving" : " top")
                                        << (withNan ? " nan" : ""));
        Random random({3, ofPages, proving});
        constexpr int64_t kRows = 5, kKvHeads = 2, kHeads = 6, kPageSize = 4;
        int64_t slots = ofPages ? 20 : 80;
        Array<int32_t> lens({kRows});
        lens.data = {0, 1, 37, 64, 80};
        Array<float> scores = makeRandom({kRows, kHeads, slots}, random, 2);
        Array<float> bounds = scores;
        for (float &bound : bounds.data)
          bound += std::fabs(random.normal());
        for (int64_t r = 0; r < kRows; ++r)
          for (int64_t h = 0; h < kHeads; ++h)
            for (int64_t slot = 0; slot < slots; ++slot)
              if (slot * (ofPages ? kPageSize : 1) >= lens(r))
                scores(r, h, slot) = bounds(r, h, slot) = -kInf;
        if (withNan) {
          scores(2, 1, 3) = kNan;
          if (withNanBound)
            bounds(4, 5, 11) = kNan;
        }
        Array<float> outside = makeRandom({kRows, kHeads}, random);
        if (proving)
          std::fill(outside.data.begin(), outside.data.end(), -kInf);
        PickInputs inputs;
        inputs.scores = &scores;
        inputs.bounds = &bounds;
        inputs.seqLens = &lens;
        inputs.outside = &outside;
        inputs.ofPages = ofPages;
        inputs.budget = ofPages ? 11 : 30;
        inputs.numKvHeads = kKvHeads;
        inputs.pageSize = kPageSize;
        inputs.sinks = 2;
        // A partial page is in no window of nothing.
        inputs.window = withNan ? 0 : 5;
        if (proving)
          inputs.tolerance = 0.5f;
        Picked expected = pick(inputs);

        Buffer s(ElementType::f32, scores), b(ElementType::f32, bounds),
            n(lens), o(ElementType::f32, outside);
        Buffer ids(ElementType::i32, expected.ids.shape),
            count(ElementType::i32, expected.count.shape),
            tail(ElementType::f32, expected.tail.shape);
        runOp(std::string("pick ") + (proving ? "proving " : "top ") +
                  std::to_string(inputs.budget) +
                  (ofPages ? " pages" : " tokens") +
                  " of(%s, %b) lens(%n) outside(%o) kv_heads 2 page_size 4 "
                  "sinks 2 window " +
                  std::to_string(inputs.window) +
                  (proving ? " tolerance 5.0e-01" : ""),
              {{"s", s}, {"b", b}, {"n", n}, {"o", o}}, {&ids, &count, &tail});
        EXPECT_EQ(count.toInts().data, expected.count.data);
        EXPECT_EQ(ids.toInts().data, expected.ids.data);
        expectClose(tail.toFloats(), expected.tail, 1e-6, 1e-4, "tail");
      }
}

TEST(PickTest, AgreesWithReference) { checkPick(/*withNanBound=*/false); }

// The bound of a slot that is picked has no say in the tail.
TEST(PickTest, NanBounds) { checkPick(/*withNanBound=*/true); }

TEST(CertifyTest, AgreesWithReference) {
  Paged paged(4);
  Shape perHead = {Paged::kRows, Paged::kHeads};
  Array<float> o =
      makeRandom({Paged::kRows, Paged::kHeads, Paged::kValueDim}, paged.random);
  Array<float> lse = makeRandom(perHead, paged.random, 3);
  Array<float> tail = makeRandom(perHead, paged.random, 3);
  // Norms of pages that no row sees must not be read.
  Array<float> norms({Paged::kPages, Paged::kKvHeads, 2}, kNan);
  for (int64_t r = 0; r < Paged::kRows; ++r)
    for (int64_t position = 0; position < paged.lens(r); ++position)
      for (int64_t h = 0; h < Paged::kKvHeads; ++h)
        for (int64_t i = 0; i < 2; ++i)
          norms(paged.paging.getPhysicalPage(r, position), h, i) =
              5 + std::fabs(paged.random.normal());
  // Nothing left out, nothing attended, neither, and what is not finite.
  tail(0, 0) = -kInf;
  lse(0, 1) = -kInf;
  tail(1, 0) = lse(1, 0) = -kInf;
  tail(0, 2) = kInf;
  lse(0, 3) = kNan;
  o(2, 0, 7) = kNan;
  o(2, 1, 7) = kInf;
  tail(2, 2) = kNan;
  CertifyInputs inputs;
  inputs.direction = &paged.query;
  inputs.o = &o;
  inputs.lse = &lse;
  inputs.tail = &tail;
  inputs.norms = &norms;
  inputs.paging = paged.paging;
  inputs.logit.scale = 0.125f;
  auto [tau, error] = certify(inputs);

  Buffer q(ElementType::f32, paged.query), a(ElementType::f32, o),
      b(ElementType::f32, lse), c(ElementType::f32, tail),
      d(ElementType::f32, norms), table(paged.table), lens(paged.lens);
  Buffer outTau(ElementType::f32, perHead), outError(ElementType::f32, perHead);
  runOp("certify %q state(%a, %b) tail(%c) norms(%d) table(%table) lens(%lens) "
        "page_size 8 scale 1.25e-01",
        {{"q", q},
         {"a", a},
         {"b", b},
         {"c", c},
         {"d", d},
         {"table", table},
         {"lens", lens}},
        {&outTau, &outError});
  expectClose(outTau.toFloats(), tau, 1e-6, 1e-4, "tau");
  expectClose(outError.toFloats(), error, 1e-5, 1e-2, "error");
}

TEST(FallbackTest, AgreesWithReference) {
  Paged paged(5);
  Array<float> o =
      makeRandom({Paged::kRows, Paged::kHeads, Paged::kValueDim}, paged.random);
  Array<float> lse = makeRandom({Paged::kRows, Paged::kHeads}, paged.random);
  Array<float> measure({Paged::kRows, Paged::kHeads}, 0.25f);
  measure(0, 4) = kNan;
  measure(1, 0) = 0.3f;
  measure(2, 2) = kInf;
  State<double> state = {Array<double>(o.shape), Array<double>(lse.shape)};
  state.o.data.assign(o.data.begin(), o.data.end());
  state.lse.data.assign(lse.data.begin(), lse.data.end());
  AttendInputs inputs;
  inputs.query = &paged.query;
  inputs.keys = {&paged.keys, false};
  inputs.values = {&paged.values, false};
  inputs.paging = paged.paging;
  inputs.logit.scale = 0.125f;
  Array<int32_t> flag = fallback(inputs, measure, 0.25f, state);

  Buffer q(ElementType::f32, paged.query), k(ElementType::f32, paged.keys),
      v(ElementType::f32, paged.values), table(paged.table), lens(paged.lens),
      a(ElementType::f32, o), b(ElementType::f32, lse),
      c(ElementType::f32, measure);
  Buffer outO(ElementType::f32, o.shape), outLse(ElementType::f32, lse.shape),
      outFlag(ElementType::i1, flag.shape);
  runOp("fallback %q keys(%k) values(%v) table(%table) lens(%lens) "
        "state(%a, %b) unless(%c) at_most 2.5e-01 scale 1.25e-01",
        {{"q", q},
         {"k", k},
         {"v", v},
         {"table", table},
         {"lens", lens},
         {"a", a},
         {"b", b},
         {"c", c}},
        {&outO, &outLse, &outFlag});
  EXPECT_EQ(outFlag.toInts().data, flag.data);
  expectClose(outO.toFloats(), state.o, 1e-5, 1e-5, "o");
  expectClose(outLse.toFloats(), state.lse, 1e-5, 1e-5, "lse");
  Array<float> got = outO.toFloats();
  for (int64_t h : {0, 1, 2})
    for (int64_t d = 0; d < Paged::kValueDim; ++d)
      EXPECT_EQ(got(0, h, d), o(0, h, d)) << "passed through unchanged";
}

} // namespace
