//===- NamedDimsTest.cpp - Agreement, inference and reification -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace vashista;

namespace {

constexpr int64_t kDynamic = ShapedType::kDynamic;

class NamedDimsTest : public testing::Test {
protected:
  NamedDimsTest() : b(&context) {
    context.loadDialect<arith::ArithDialect, func::FuncDialect,
                        tensor::TensorDialect>();
  }
  Type tensor(ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, b.getF32Type());
  }

  MLIRContext context;
  Builder b;
};

TEST_F(NamedDimsTest, UnknownUntilStaticallyDeclared) {
  NamedDims dims;
  EXPECT_EQ(dims.size(Dim::rows), kDynamic);
  dims.bind("q", tensor({kDynamic, 32}), {Dim::rows, Dim::heads});
  EXPECT_EQ(dims.size(Dim::rows), kDynamic);
  EXPECT_EQ(dims.size(Dim::heads), 32);
  dims.bind("lens", tensor({8}), {Dim::rows});
  EXPECT_EQ(dims.size(Dim::rows), 8);
  EXPECT_FALSE(dims.getConflict());
}

TEST_F(NamedDimsTest, DynamicAgreesWithEverything) {
  NamedDims dims;
  dims.bind("a", tensor({8, kDynamic}), {Dim::rows, Dim::heads});
  dims.bind("b", tensor({kDynamic, 32}), {Dim::rows, Dim::heads});
  EXPECT_FALSE(dims.getConflict());
}

TEST_F(NamedDimsTest, FirstConflictNamesBothSides) {
  NamedDims dims;
  dims.bind("query", tensor({8, 32}), {Dim::rows, Dim::heads});
  dims.bind("lse", tensor({8, 16}), {Dim::rows, Dim::heads});
  dims.bind("tail", tensor({4, 32}), {Dim::rows, Dim::heads});
  ASSERT_TRUE(dims.getConflict());
  EXPECT_EQ(*dims.getConflict(),
            "expected dimension 1 of `lse` (query heads (H)) to be 32 as in "
            "`query`, got 16");
  EXPECT_EQ(dims.size(Dim::heads), 32);
}

TEST_F(NamedDimsTest, AttributesFixSizes) {
  NamedDims dims;
  dims.fix("sketch", Dim::codeBytes, 64);
  dims.bind("codes", tensor({32}), {Dim::codeBytes});
  ASSERT_TRUE(dims.getConflict());
  EXPECT_EQ(*dims.getConflict(),
            "expected dimension 0 of `codes` (code bytes per key) to be 64 as "
            "in `sketch`, got 32");

  NamedDims late;
  late.bind("scores", tensor({8}), {Dim::kvHeads});
  late.fix("kv_heads", Dim::kvHeads, 4);
  ASSERT_TRUE(late.getConflict());
  EXPECT_EQ(*late.getConflict(), "expected `kv_heads` to be 8, the KV heads "
                                 "(Hkv) of `scores`, got 4");
}

TEST_F(NamedDimsTest, WrongRankDeclaresNothing) {
  NamedDims dims;
  dims.bind("q", tensor({8, 32, 128}), {Dim::rows, Dim::heads});
  dims.bind("u", UnrankedTensorType::get(b.getF32Type()), {Dim::rows});
  dims.bind("i", b.getI32Type(), {Dim::rows});
  dims.bind("absent", Value(), {Dim::rows});
  EXPECT_EQ(dims.size(Dim::rows), kDynamic);
  EXPECT_FALSE(dims.getConflict());
}

TEST_F(NamedDimsTest, LeadingDimensionsMayBeAnOperandsOwn) {
  NamedDims dims;
  Dim perHead[] = {Dim::rows, Dim::heads};
  dims.bind("stack", tensor({5, 8, 32}), perHead, Value(), /*numOwn=*/1);
  EXPECT_EQ(dims.size(Dim::rows), 8);
  dims.bind("deeper", tensor({5, 8, 32}), perHead, Value(), /*numOwn=*/2);
  EXPECT_FALSE(dims.getConflict());
  dims.bind("other", tensor({7, 8, 16}), perHead, Value(), /*numOwn=*/1);
  ASSERT_TRUE(dims.getConflict());
  EXPECT_EQ(*dims.getConflict(),
            "expected dimension 2 of `other` (query heads (H)) to be 32 as in "
            "`stack`, got 16");
}

TEST_F(NamedDimsTest, ExtentsAreConstantsDimsAndProducts) {
  NamedDims dims;
  dims.bind("table", tensor({4, 256}), {Dim::rows, Dim::seqPages});
  dims.fix("page size", Dim::pageSize, 16);
  EXPECT_EQ(dims.size(Extent(7)), 7);
  EXPECT_EQ(dims.size(Extent(Dim::rows)), 4);
  EXPECT_EQ(dims.size(Extent(Dim::seqPages, Dim::pageSize)), 4096);
  EXPECT_EQ(dims.size(Extent(Dim::seqPages, Dim::heads)), kDynamic);
  EXPECT_EQ(dims.size(Extent(Dim::heads, Dim::seqPages)), kDynamic);
  ResultSpec spec = {{Dim::rows, Extent(Dim::heads), 5}, b.getI32Type()};
  EXPECT_EQ(dims.getType(spec),
            RankedTensorType::get({4, kDynamic, 5}, b.getI32Type()));
}

TEST_F(NamedDimsTest, ReifiesStaticSizesAsAttributesAndOthersAsValues) {
  OpBuilder builder(&context);
  Location loc = builder.getUnknownLoc();
  OwningOpRef<func::FuncOp> func = func::FuncOp::create(
      loc, "f", builder.getFunctionType({tensor({kDynamic, kDynamic})}, {}));
  Block *body = func->addEntryBlock();
  builder.setInsertionPointToStart(body);
  Value table = body->getArgument(0);

  NamedDims dims;
  dims.bind("table", table, {Dim::rows, Dim::seqPages});
  dims.fix("page size", Dim::pageSize, 16);
  OpFoldResult size = dims.reify(builder, loc, Dim::pageSize);
  EXPECT_EQ(cast<IntegerAttr>(cast<Attribute>(size)).getInt(), 16);

  auto product = cast<Value>(
      dims.reify(builder, loc, Extent(Dim::seqPages, Dim::pageSize)));
  auto multiply = product.getDefiningOp<arith::MulIOp>();
  ASSERT_TRUE(multiply);
  auto dim = multiply.getLhs().getDefiningOp<tensor::DimOp>();
  ASSERT_TRUE(dim);
  EXPECT_EQ(dim.getSource(), table);
  EXPECT_EQ(dim.getConstantIndex(), 1);
}

} // namespace
