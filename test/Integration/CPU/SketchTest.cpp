//===- SketchTest.cpp - Directions that a sketch is worst for -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PickCase.h"

#include "gtest/gtest.h"

#include <cmath>
#include <functional>

using namespace vashista::test;

/// Makes each query lose most by being rounded to 16 bits: half a step in each
/// channel, on the side that a token's code is on.
static void aim(const Config &config, const Kept &kept, const Outputs &parts,
                Batch &batch, Random &random) {
  KeptSketch numbers(config, kept, parts);
  for (int64_t r = 0; r < batch.getNumRows(); ++r)
    for (int64_t h = 0; h < config.getNumHeads() && batch.lens(r) > 0; ++h) {
      int64_t position = random.integer(0, batch.lens(r) - 1);
      int64_t page = batch.getPaging(config).getPhysicalPage(r, position);
      std::vector<double> decoded = numbers.get().decode(
          page, h / config.group, position % config.pageSize);
      float *query = &batch.query(r, h, 0);
      for (int64_t d = 0; d < config.keyDim; ++d)
        query[d] =
            random.integer(-100, 100) + (decoded[d] > 0 ? 0.49f : -0.49f);
      query[0] = 32767; // Of which a step is 1.
    }
}

/// Scores tokens by a sketch and checks the bounds. `change` is done to the
/// keys; queries are aimed at what is kept, if at all.
static void checkBounds(const SketchFormat &format, bool aims,
                        std::function<void(Batch &)> change) {
  Random random({7, static_cast<uint64_t>(format.bits)});
  Findings findings;
  Config config;
  config.keyDim = 128;
  config.group = 4;
  config.kvHeads = 2;
  config.logit.scale = 0x1p-10f;
  Kept kept;
  kept.sketch = format;
  Entry summarize = makeSummarizeEntry(config, kept);
  Entry score("score", Entry::Form::tensors);
  score.op << "score "
           << score.use("q", config.type,
                        {-1, config.getNumHeads(), config.keyDim})
           << " from #vashista.sketch" << kept.useSketch(score, config)
           << useTable(score, config)
           << config.getLogitText(/*withEpsilon=*/true);
  for (int i = 0; i < 2; ++i)
    score.yields(ElementType::f32, {-1, config.getNumHeads(), -1});
  auto module = compileEntries({&summarize, &score}, config.options);
  ASSERT_TRUE(module);

  Batch batch = makeBatch(config, random);
  change(batch);
  Operands operands;
  setBatch(operands, config, batch);
  Outputs parts = summarizeAndCheck(summarize, *module, config, kept, batch,
                                    operands, random, findings);
  if (aims)
    aim(config, kept, parts, batch, random);
  setBatch(operands, config, batch);
  kept.set(operands, parts);
  Outputs scored;
  for (int i = 0; i < 2; ++i)
    scored.emplace_back(ElementType::f32,
                        Shape{batch.getNumRows(), config.getNumHeads(),
                              batch.table.shape[1] * config.pageSize});
  ASSERT_TRUE(score.call(*module, operands, scored));
  ScoreInputs inputs;
  inputs.direction = &batch.query;
  inputs.keys = {&batch.keys, config.nhd};
  inputs.paging = batch.getPaging(config);
  inputs.logit = config.logit;
  checkSketchScores(config, inputs, KeptSketch(config, kept, parts).get(),
                    scored, findings);
}

TEST(SketchTest, RoundedDirections) {
  for (bool normPerToken : {false, true})
    for (int64_t bits : {2, 4, 8}) {
      SCOPED_TRACE(testing::Message()
                   << bits << " bits"
                   << (normPerToken ? ", norm = token" : ""));
      SketchFormat format;
      format.bits = bits;
      format.group = 32;
      format.normPerToken = normPerToken;
      checkBounds(format, /*aims=*/true, [](Batch &) {});
    }
}

// A key that is not finite is bounded by +inf, and spoils no other.
TEST(SketchTest, InfiniteKeys) {
  for (bool normPerToken : {false, true}) {
    SketchFormat format;
    format.bits = 4;
    format.group = 32;
    format.normPerToken = normPerToken;
    checkBounds(format, /*aims=*/false, [](Batch &batch) {
      for (size_t i = 5; i < batch.keys.data.size(); i += 128 * 7)
        batch.keys.data[i] = i % 2 ? kInf : -kInf;
    });
  }
}

// Of keys that are far from 0 and close to each other, most is their centre.
TEST(SketchTest, FarCentres) {
  SketchFormat format;
  format.bits = 8;
  format.group = 32;
  format.centred = true;
  for (float side : {1.0f, -1.0f}) {
    SCOPED_TRACE(side);
    checkBounds(format, /*aims=*/false, [&](Batch &batch) {
      for (float &x : batch.keys.data)
        x = side * 1000 + 0x1p-10f * x;
      for (float &x : batch.query.data)
        x = std::fabs(x);
    });
  }
}
