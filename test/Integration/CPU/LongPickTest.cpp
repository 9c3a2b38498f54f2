//===- LongPickTest.cpp - Proving picks from long contexts ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Of a long context the kernel looks at a sample first. Whatever that says, and
// however wrong it is, the picks are those of the definition.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace vashista::test;

namespace {

/// Where the mass is, as a kernel sees it that samples every 16th vector.
enum class Mass { anywhere, sampled, unsampled, everywhere, sinks, level };

constexpr int64_t kHeads = 4, kKvHeads = 2, kSlots = 9000, kBudget = 6000;
constexpr int64_t kLengths[] = {9000, 8191, 4097, 4096, 3000};

} // namespace

/// Scores [R, kHeads, kSlots] whose mass is there.
static Array<float> makeScores(Mass mass, int64_t lanes, Random &random) {
  int64_t rows = std::size(kLengths);
  Array<float> scores({rows, kHeads, kSlots});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < kHeads; ++h)
      for (int64_t slot = 0; slot < kSlots; ++slot) {
        float &score = scores(r, h, slot);
        bool isSampled = slot / lanes % 16 == 8;
        score = mass == Mass::everywhere ? 0.01f * random.normal()
                                         : random.normal();
        // Sums of equal weights err to one side, and nothing hides it at 0.
        if (mass == Mass::level)
          score = -8 - 0.01f * (kHeads * r + h);
        if (slot >= kLengths[r])
          score = -kInf;
        else if (mass == Mass::anywhere && random.chance(0.02))
          score += 8;
        else if (mass == Mass::sampled && isSampled)
          score += 9;
        else if (mass == Mass::unsampled && !isSampled && random.chance(0.01))
          score += 12;
        else if (mass == Mass::sinks && slot < 4)
          score += 14;
      }
  return scores;
}

TEST(LongPickTest, AgreesWithReference) {
  Findings findings;
  for (int64_t lanes : {8, 16})
    for (bool hasAttended : {false, true}) {
      Entry entry("pick", Entry::Form::tensors);
      Shape shape = {-1, kHeads, -1}, perHead = {-1, kHeads};
      entry.op << "pick proving " << kBudget << " tokens of("
               << entry.use("scores", ElementType::f32, shape) << ", "
               << entry.use("bounds", ElementType::f32, shape) << ") lens("
               << entry.use("lens", ElementType::i32, {-1}) << ")";
      if (hasAttended)
        entry.op << " attended("
                 << entry.use("attended", ElementType::f32, perHead) << ")";
      entry.op << " kv_heads " << kKvHeads
               << " page_size 16 sinks 4 window 64 tolerance 2.5e-01";
      entry.yields(ElementType::i32, {-1, kKvHeads, kBudget});
      entry.yields(ElementType::i32, {-1, kKvHeads});
      entry.yields(ElementType::f32, perHead);
      CompileOptions options;
      options.lanes = lanes;
      auto module = compileEntries({&entry}, options);
      ASSERT_TRUE(module);
      for (Mass mass : {Mass::anywhere, Mass::sampled, Mass::unsampled,
                        Mass::everywhere, Mass::sinks, Mass::level}) {
        SCOPED_TRACE(testing::Message()
                     << "lanes " << lanes << (hasAttended ? " attended" : "")
                     << " mass " << static_cast<int>(mass));
        Random random({5, static_cast<uint64_t>(mass)});
        Array<float> scores = makeScores(mass, lanes, random), bounds = scores;
        for (float &bound : bounds.data)
          bound += mass == Mass::level ? 0 : std::fabs(random.normal());
        // A row of another kind: what has no number must be picked.
        bounds(1, 2, 777) = kInf;
        bounds(1, 0, 778) = kNan;
        int64_t rows = std::size(kLengths);
        Array<int32_t> lens({rows});
        std::copy(std::begin(kLengths), std::end(kLengths), lens.data.begin());
        Array<float> attended({rows, kHeads});
        for (float &value : attended.data)
          value = 8 + random.normal();

        Operands operands;
        operands.set("scores", ElementType::f32, scores);
        operands.set("bounds", ElementType::f32, bounds);
        operands.set("lens", lens);
        operands.set("attended", ElementType::f32, attended);
        Outputs outputs;
        outputs.emplace_back(ElementType::i32, Shape{rows, kKvHeads, kBudget});
        outputs.emplace_back(ElementType::i32, Shape{rows, kKvHeads});
        outputs.emplace_back(ElementType::f32, Shape{rows, kHeads});
        ASSERT_TRUE(entry.call(*module, operands, outputs));

        PickInputs inputs;
        inputs.scores = &scores;
        inputs.bounds = &bounds;
        inputs.seqLens = &lens;
        inputs.attended = hasAttended ? &attended : nullptr;
        inputs.budget = kBudget;
        inputs.numKvHeads = kKvHeads;
        inputs.pageSize = 16;
        inputs.sinks = 4;
        inputs.window = 64;
        inputs.tolerance = 0.25f;
        checkPick(inputs, lanes, outputs, findings);
        // The first row's proof neither fails nor is trivial.
        int64_t count = outputs[1].toInts()(0, 0);
        if (mass != Mass::everywhere && mass != Mass::level)
          EXPECT_LT(count, kBudget);
        if (mass != Mass::sinks && mass != Mass::level)
          EXPECT_GT(count, 68);
      }
    }
}
