//===- AttrsTest.cpp - Typed attributes and their helpers -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace vashista;

namespace {

class AttrsTest : public testing::Test {
protected:
  AttrsTest() { context.loadDialect<VashistaDialect>(); }

  /// Parses an attribute, keeping what was said about it.
  Attribute parse(StringRef text) {
    message.clear();
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diag) {
      message += diag.str();
      return success();
    });
    return parseAttribute(text, &context);
  }

  MLIRContext context;
  std::string message;
};

TEST_F(AttrsTest, WindowTouchesOnePageMoreThanItFills) {
  EXPECT_EQ(getNumWindowPages(0, 16), 0);
  EXPECT_EQ(getNumWindowPages(1, 16), 1);
  EXPECT_EQ(getNumWindowPages(2, 16), 2);
  EXPECT_EQ(getNumWindowPages(16, 16), 2);
  EXPECT_EQ(getNumWindowPages(17, 16), 2);
  EXPECT_EQ(getNumWindowPages(18, 16), 3);
  EXPECT_EQ(getNumWindowPages(5, 1), 5);
  // The bound is reached, for every window and page size.
  for (int64_t pageSize : {1, 2, 5, 16})
    for (int64_t window = 1; window < 70; ++window) {
      int64_t most = 0;
      for (int64_t first = 0; first < pageSize; ++first)
        most = std::max(most, (first + window - 1) / pageSize + 1);
      EXPECT_EQ(getNumWindowPages(window, pageSize), most);
    }
}

TEST_F(AttrsTest, SketchPadsTheHeadDimensionToWholeGroups) {
  auto sketch =
      cast<SketchAttr>(parse("#vashista.sketch<bits = 4, group = 32>"));
  EXPECT_EQ(sketch.getNumGroups(128), 4);
  EXPECT_EQ(sketch.getCodeBytes(128), 64);
  EXPECT_EQ(sketch.getNumGroups(80), 3);
  EXPECT_EQ(sketch.getCodeBytes(80), 48);
  auto three =
      cast<SketchAttr>(parse("#vashista.sketch<bits = 3, group = 64>"));
  EXPECT_EQ(three.getNumGroups(96), 2);
  EXPECT_EQ(three.getCodeBytes(96), 48);
}

TEST_F(AttrsTest, SourcesListTheirTensors) {
  auto countParts = [&](StringRef text) {
    return cast<KeySource>(parse(text)).getParts().size();
  };
  EXPECT_EQ(countParts("#vashista.summary<mean>"), 1u);
  EXPECT_EQ(countParts("#vashista.summary<mean_std>"), 2u);
  EXPECT_EQ(countParts("#vashista.summary<box>"), 2u);
  EXPECT_EQ(countParts("#vashista.summary<ball>"), 2u);
  EXPECT_EQ(countParts("#vashista.keys<hnd>"), 1u);
  EXPECT_EQ(countParts("#vashista.sketch<bits = 4, group = 32>"), 3u);
  EXPECT_EQ(countParts("#vashista.sketch<bits = 4, group = 32, centre = page>"),
            4u);
}

TEST_F(AttrsTest, OnlyWhatBoundsEveryKeyHasBounds) {
  auto hasBounds = [&](StringRef text) {
    return cast<KeySource>(parse(text)).hasBounds();
  };
  EXPECT_FALSE(hasBounds("#vashista.summary<mean>"));
  EXPECT_FALSE(hasBounds("#vashista.summary<mean_std>"));
  EXPECT_TRUE(hasBounds("#vashista.summary<box>"));
  EXPECT_TRUE(hasBounds("#vashista.summary<ball>"));
  EXPECT_TRUE(hasBounds("#vashista.keys<nhd>"));
  EXPECT_TRUE(hasBounds("#vashista.sketch<bits = 4, group = 32>"));
}

TEST_F(AttrsTest, CacheLayoutsDifferInWhereTheHeadsAre) {
  EXPECT_EQ(getCacheDims(Layout::hnd, Dim::keyDim),
            (SmallVector<Dim, 4>{Dim::physPages, Dim::kvHeads, Dim::pageSize,
                                 Dim::keyDim}));
  EXPECT_EQ(getCacheDims(Layout::nhd, Dim::valueDim),
            (SmallVector<Dim, 4>{Dim::physPages, Dim::pageSize, Dim::kvHeads,
                                 Dim::valueDim}));
}

TEST_F(AttrsTest, DefaultsAreDenseSoftmax) {
  auto policy = cast<PolicyAttr>(parse("#vashista.policy<pages = 0>"));
  EXPECT_EQ(policy, PolicyAttr::getDense(&context));
  EXPECT_TRUE(policy.isDense());
  EXPECT_FALSE(policy.isCertified());
  EXPECT_EQ(parse("#vashista.solver<softmax>"),
            SolverAttr::getSoftmax(&context));
}

TEST_F(AttrsTest, RefusalsSayWhatWasExpectedAndGot) {
  auto expectRefusal = [&](StringRef text, StringRef said) {
    EXPECT_FALSE(parse(text)) << text.str();
    EXPECT_NE(message.find(said.str()), std::string::npos) << message;
  };
  expectRefusal("#vashista.sketch<bits = 7, group = 32>",
                "[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got 7");
  expectRefusal("#vashista.policy<pages = -1>",
                "[policy_c1] expected pages to be 0 to 2^31 - 1, got -1");
  // Positive, but 0 in the f32 arithmetic of a kernel.
  expectRefusal("#vashista.solver<softmax, epsilon = 1.0e-300>",
                "[solver_c3] expected epsilon to be a positive normal f32");
}

} // namespace
