//===- InferTypesTest.cpp - Shape inference and shape checks of every op -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace vashista;

namespace {

// Sizes that all differ, so that no two dimensions can be mistaken for one
// another: R=3 B=5 H=8 Hkv=2 D=64 Dv=48 S=16 N=40 M=24 P=6 C=10.
//
// One op a line, with all its optional operands.
struct OpCase {
  const char *name;
  const char *text;
  // The sizes, as operand.dimension, that nothing else has to agree with.
  const char *freeSizes;
};

const OpCase kCases[] = {
    {"summarize", R"(
      func.func @f(%k: tensor<40x2x16x64xbf16>, %v: tensor<40x2x16x48xbf16>,
          %table: tensor<5x24xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>,
          %lo: tensor<40x2x64xbf16>, %hi: tensor<40x2x64xbf16>,
          %norms: tensor<40x2x2xf32>, %codes: tensor<40x2x16x32xi8>,
          %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xf16>,
          %moments: tensor<5x2x64x64xf32>) {
        %0:7 = vashista.summarize keys(%k) values(%v) table(%table) lens(%lens)
          rows(%rows) summary <box>(%lo, %hi) norms(%norms)
          sketch <bits = 4, group = 32>(%codes, %scales, %res)
          moments(%moments)
          : (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>, tensor<5x24xi32>,
             tensor<3xi32>, tensor<3xi32>, tensor<40x2x64xbf16>,
             tensor<40x2x64xbf16>, tensor<40x2x2xf32>, tensor<40x2x16x32xi8>,
             tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
             tensor<5x2x64x64xf32>)
          -> (tensor<40x2x64xbf16>, tensor<40x2x64xbf16>, tensor<40x2x2xf32>,
              tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
              tensor<40x2x16x2xf16>, tensor<5x2x64x64xf32>)
        return
      })",
     /*free: Dv of values, M of the table*/ "1.3 2.1"},
    {"append", R"(
      func.func @f(%key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>,
          %at: tensor<3xi32>, %table: tensor<5x24xi32>, %rows: tensor<3xi32>,
          %k: tensor<40x2x16x64xbf16>, %v: tensor<40x2x16x48xbf16>,
          %mean: tensor<40x2x64xbf16>, %radius: tensor<40x2xf32>,
          %norms: tensor<40x2x2xf32>, %codes: tensor<40x2x16x32xi8>,
          %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xf16>,
          %moments: tensor<5x2x64x64xf32>) {
        %0:9 = vashista.append key(%key) value(%value) at(%at) table(%table)
          rows(%rows) into(%k, %v) summary <ball>(%mean, %radius) norms(%norms)
          sketch <bits = 4, group = 32>(%codes, %scales, %res)
          moments(%moments)
          : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
             tensor<5x24xi32>, tensor<3xi32>, tensor<40x2x16x64xbf16>,
             tensor<40x2x16x48xbf16>, tensor<40x2x64xbf16>, tensor<40x2xf32>,
             tensor<40x2x2xf32>, tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
             tensor<40x2x16x2xf16>, tensor<5x2x64x64xf32>)
          -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
              tensor<40x2x64xbf16>, tensor<40x2xf32>, tensor<40x2x2xf32>,
              tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
              tensor<40x2x16x2xf16>, tensor<5x2x64x64xf32>)
        return
      })",
     /*free: M of the table*/ "3.1"},
    {"check_table", R"(
      func.func @f(%table: tensor<5x24xi32>, %lens: tensor<3xi32>,
          %rows: tensor<3xi32>, %n: index) {
        %0:3 = vashista.check_table %table lens(%lens) rows(%rows)
          num_pages %n page_size 16
          : (tensor<5x24xi32>, tensor<3xi32>, tensor<3xi32>, index)
          -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
        return
      })",
     /*free: B and M of the table*/ "0.0 0.1"},
    {"check_table_no_rows", R"(
      func.func @f(%table: tensor<3x24xi32>, %lens: tensor<3xi32>, %n: index) {
        %0:2 = vashista.check_table %table lens(%lens) num_pages %n
          page_size 16 : (tensor<3x24xi32>, tensor<3xi32>, index)
          -> (tensor<3xi32>, tensor<3x4xi32>)
        return
      })",
     /*free: M of the table*/ "0.1"},
    {"check_positions", R"(
      func.func @f(%at: tensor<3xi32>, %table: tensor<5x24xi32>,
          %rows: tensor<3xi32>, %n: index) {
        %0:3 = vashista.check_positions %at table(%table) rows(%rows)
          num_pages %n page_size 16
          : (tensor<3xi32>, tensor<5x24xi32>, tensor<3xi32>, index)
          -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
        return
      })",
     /*free: B and M of the table*/ "1.0 1.1"},
    {"check_list", R"(
      func.func @f(%tokens: tensor<3x2x10xi32>, %n: tensor<3x2xi32>,
          %lens: tensor<3xi32>) {
        %0:2 = vashista.check_list tokens of(%tokens, %n) lens(%lens)
          page_size 16 : (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3xi32>)
          -> (tensor<3x2xi32>, tensor<3x4xi32>)
        return
      })",
     /*free: C of the list*/ "0.2"},
    {"score", R"(
      func.func @f(%w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
          %table: tensor<5x24xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>,
          %pages: tensor<3x2x6xi32>, %n: tensor<3x2xi32>) {
        %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
          lens(%lens) rows(%rows) within(%pages, %n) scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<5x24xi32>,
             tensor<3xi32>, tensor<3xi32>, tensor<3x2x6xi32>, tensor<3x2xi32>)
          -> (tensor<3x8x96xf32>, tensor<3x8x96xf32>)
        return
      })",
     /*free: N of the keys, B and M of the table*/ "1.0 2.0 2.1"},
    {"score_pages", R"(
      func.func @f(%w: tensor<3x8x64xbf16>, %m: tensor<40x2x64xbf16>,
          %s: tensor<40x2x64xbf16>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>) {
        %0:2 = vashista.score %w from #vashista.summary<mean_std>(%m, %s)
          table(%table) lens(%lens) rows(%rows) page_size 16 scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<40x2x64xbf16>,
             tensor<5x24xi32>, tensor<3xi32>, tensor<3xi32>)
          -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
        return
      })",
     /*free: B of the table*/ "3.0"},
    {"score_nhd", R"(
      func.func @f(%w: tensor<3x8x64xbf16>, %k: tensor<40x16x2x64xbf16>,
          %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
        %0:2 = vashista.score %w from #vashista.keys<nhd>(%k) table(%table)
          lens(%lens) scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x16x2x64xbf16>, tensor<3x24xi32>,
             tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
        return
      })",
     /*free: N and Hkv of the keys*/ "1.0 1.2"},
    {"moment", R"(
      func.func @f(%w: tensor<3x8x64xbf16>, %moments: tensor<5x2x64x64xf32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>) {
        %0 = vashista.moment %w of(%moments) sketch <bits = 4, group = 32>
          lens(%lens) rows(%rows) scale 0.125
          : (tensor<3x8x64xbf16>, tensor<5x2x64x64xf32>, tensor<3xi32>,
             tensor<3xi32>) -> tensor<3x8xf32>
        return
      })",
     /*free: B and Hkv of the moments*/ "1.0 1.1"},
    {"pick", R"(
      func.func @f(%s: tensor<3x8x96xf32>, %b: tensor<3x8x96xf32>,
          %lens: tensor<3xi32>, %pages: tensor<3x2x6xi32>, %n: tensor<3x2xi32>,
          %taken: tensor<3x2x7xi32>, %out: tensor<3x8xf32>,
          %lse: tensor<3x8xf32>, %moment: tensor<3x8xf32>) {
        %0:3 = vashista.pick proving 10 tokens of(%s, %b) lens(%lens)
          within(%pages, %n) taken(%taken) outside(%out) attended(%lse)
          moment(%moment) kv_heads 2 page_size 16 tolerance 0.1
          : (tensor<3x8x96xf32>, tensor<3x8x96xf32>, tensor<3xi32>,
             tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x2x7xi32>,
             tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>)
          -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
        return
      })",
     /*free: the capacity of taken*/ "5.2"},
    {"route", R"(
      func.func @f(%w: tensor<3x8x64xbf16>, %m: tensor<40x2x64xbf16>,
          %s: tensor<40x2x64xbf16>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>, %taken: tensor<3x2x7xi32>,
          %out: tensor<3x8xf32>, %lse: tensor<3x8xf32>) {
        %0:3 = vashista.route %w from <mean_std>(%m, %s) table(%table)
          lens(%lens) rows(%rows) taken(%taken) outside(%out) attended(%lse)
          proving 6 page_size 16 tolerance 0.1 scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<40x2x64xbf16>,
             tensor<5x24xi32>, tensor<3xi32>, tensor<3xi32>, tensor<3x2x7xi32>,
             tensor<3x8xf32>, tensor<3x8xf32>)
          -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
        return
      })",
     /*free: B and M of the table, the capacity of taken*/ "3.0 3.1 6.2"},
    {"select", R"(
      func.func @f(%w: tensor<3x8x64xbf16>, %codes: tensor<40x2x16x32xi8>,
          %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xf8E4M3FN>,
          %c: tensor<40x2x64xbf16>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>, %pages: tensor<3x2x6xi32>,
          %n: tensor<3x2xi32>, %taken: tensor<3x2x7xi32>, %out: tensor<3x8xf32>,
          %lse: tensor<3x8xf32>, %moments: tensor<5x2x64x64xf32>) {
        %0:3 = vashista.select %w from
          #vashista.sketch<bits = 4, group = 32, centre = page>(%codes, %scales, %res, %c)
          table(%table) lens(%lens) rows(%rows) within(%pages, %n)
          taken(%taken) outside(%out) attended(%lse) moments(%moments)
          proving 10 tolerance 0.1 scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
             tensor<40x2x16x2xf8E4M3FN>, tensor<40x2x64xbf16>, tensor<5x24xi32>,
             tensor<3xi32>, tensor<3xi32>, tensor<3x2x6xi32>, tensor<3x2xi32>,
             tensor<3x2x7xi32>, tensor<3x8xf32>, tensor<3x8xf32>,
             tensor<5x2x64x64xf32>)
          -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
        return
      })",
     /*free: M of the table, P, the capacity of taken*/
     "5.1 8.2 10.2"},
    {"attend", R"(
      func.func @f(%q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
          %v: tensor<40x2x16x48xbf16>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>,
          %tokens: tensor<3x2x10xi32>, %n: tensor<3x2xi32>,
          %o0: tensor<3x8x48xf32>, %lse0: tensor<3x8xf32>,
          %r0: tensor<3x8x64xf32>, %gap0: tensor<3x8xf32>) {
        %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
          rows(%rows) tokens(%tokens, %n) outs(%o0, %lse0, %r0, %gap0)
          scale 0.125
          solver <eg, objective = projection, iterations = 4>
          : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>,
             tensor<40x2x16x48xbf16>, tensor<5x24xi32>, tensor<3xi32>,
             tensor<3xi32>, tensor<3x2x10xi32>, tensor<3x2xi32>,
             tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xf32>,
             tensor<3x8xf32>)
          -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xf32>,
              tensor<3x8xf32>)
        return
      })",
     /*free: B and M of the table, C*/ "3.0 3.1 6.2"},
    {"attend_pages", R"(
      func.func @f(%q: tensor<3x8x64xbf16>, %k: tensor<40x16x2x64xbf16>,
          %v: tensor<40x16x2x48xbf16>, %table: tensor<3x24xi32>,
          %lens: tensor<3xi32>, %pages: tensor<3x2x6xi32>, %n: tensor<3x2xi32>,
          %o0: tensor<3x8x48xf32>, %lse0: tensor<3x8xf32>) {
        %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
          pages(%pages, %n) outs(%o0, %lse0) scale 0.125 layout nhd
          : (tensor<3x8x64xbf16>, tensor<40x16x2x64xbf16>,
             tensor<40x16x2x48xbf16>, tensor<3x24xi32>, tensor<3xi32>,
             tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8x48xf32>,
             tensor<3x8xf32>) -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
        return
      })",
     /*free: M of the table, P*/ "3.1 5.2"},
    {"merge", R"(
      func.func @f(%o1: tensor<3x8x48xf32>, %lse1: tensor<3x8xf32>,
          %o2: tensor<9x3x8x48xf32>, %lse2: tensor<9x3x8xf32>) {
        %0:2 = vashista.merge outputs(%o1, %o2) lses(%lse1, %lse2)
          : (tensor<3x8x48xf32>, tensor<9x3x8x48xf32>, tensor<3x8xf32>,
             tensor<9x3x8xf32>) -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
        return
      })",
     /*free: none*/ ""},
    {"merge_tails", R"(
      func.func @f(%tail: tensor<3x8xf32>, %tails: tensor<9x3x8xf32>) {
        %0 = vashista.merge_tails %tail, %tails
          : (tensor<3x8xf32>, tensor<9x3x8xf32>) -> tensor<3x8xf32>
        return
      })",
     /*free: the stack*/ "1.0"},
    {"certify", R"(
      func.func @f(%w: tensor<3x8x64xf32>, %o: tensor<3x8x48xf32>,
          %lse: tensor<3x8xf32>, %tail: tensor<3x8xf32>, %gap: tensor<3x8xf32>,
          %norms: tensor<40x2x2xf32>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>) {
        %0:3 = vashista.certify %w state(%o, %lse) tail(%tail) gap(%gap)
          norms(%norms) table(%table) lens(%lens) rows(%rows) page_size 16
          scale 0.125 solver <eg, objective = projection, iterations = 4>
          : (tensor<3x8x64xf32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
             tensor<3x8xf32>, tensor<3x8xf32>, tensor<40x2x2xf32>,
             tensor<5x24xi32>, tensor<3xi32>, tensor<3xi32>)
          -> (tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>)
        return
      })",
     /*free: D, Dv, N and Hkv of the norms, B and M of the table*/
     "0.2 1.2 5.0 5.1 6.0 6.1"},
    {"fallback", R"(
      func.func @f(%q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
          %v: tensor<40x2x16x48xbf16>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>, %o: tensor<3x8x48xf32>,
          %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
        %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table)
          lens(%lens) rows(%rows) state(%o, %lse) unless(%tau) at_most 0.1
          scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>,
             tensor<40x2x16x48xbf16>, tensor<5x24xi32>, tensor<3xi32>,
             tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
             tensor<3x8xf32>)
          -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
        return
      })",
     /*free: B and M of the table*/ "3.0 3.1"},
    {"attention", R"(
      func.func @f(%q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
          %v: tensor<40x2x16x48xbf16>, %table: tensor<5x24xi32>,
          %lens: tensor<3xi32>, %rows: tensor<3xi32>, %m: tensor<40x2x64xbf16>,
          %s: tensor<40x2x64xbf16>, %codes: tensor<40x2x16x32xi8>,
          %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xf16>,
          %norms: tensor<40x2x2xf32>, %moments: tensor<5x2x64x64xf32>) {
        %0:6 = vashista.attention %q keys(%k) values(%v) table(%table)
          lens(%lens) rows(%rows) summary <mean_std>(%m, %s)
          sketch <bits = 4, group = 32>(%codes, %scales, %res) norms(%norms)
          moments(%moments)
          policy <pages = 6, candidates = 10, tolerance = 0.1> scale 0.125
          : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>,
             tensor<40x2x16x48xbf16>, tensor<5x24xi32>, tensor<3xi32>,
             tensor<3xi32>, tensor<40x2x64xbf16>, tensor<40x2x64xbf16>,
             tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
             tensor<40x2x16x2xf16>, tensor<40x2x2xf32>, tensor<5x2x64x64xf32>)
          -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
              tensor<3x8xf32>, tensor<3x2xi32>, tensor<3x2xi1>)
        return
      })",
     /*free: M of the table*/ "3.1"},
};

class EveryOpTest : public testing::TestWithParam<OpCase> {
protected:
  EveryOpTest() {
    context.loadDialect<func::FuncDialect, tensor::TensorDialect,
                        VashistaDialect>();
  }

  /// The op of the case, in a fresh module.
  Operation *parse() {
    module = parseSourceString<ModuleOp>(GetParam().text, &context);
    if (!module)
      return nullptr;
    Operation *found = nullptr;
    module->walk([&](Operation *op) {
      if (isa<VashistaDialect>(op->getDialect()))
        found = op;
    });
    return found;
  }

  bool verifies() {
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) {});
    return succeeded(verify(*module));
  }

  /// Gives an operand another type, and with it what is tied to it.
  static void setOperandType(Operation *op, unsigned operand, Type type) {
    auto argument = cast<BlockArgument>(op->getOperand(operand));
    argument.setType(type);
    auto func = cast<func::FuncOp>(op->getParentOp());
    func.setFunctionType(FunctionType::get(
        func.getContext(), func.getBody().front().getArgumentTypes(), {}));
    if (auto destination = dyn_cast<DestinationStyleOpInterface>(op))
      if (destination.isDpsInit(&op->getOpOperand(operand)))
        destination.getTiedOpResult(&op->getOpOperand(operand)).setType(type);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_P(EveryOpTest, InfersItsResultTypes) {
  Operation *op = parse();
  ASSERT_TRUE(op);
  auto inferable = dyn_cast<InferTypeOpInterface>(op);
  if (!inferable) {
    // A destination op's results are its destinations.
    auto destination = cast<DestinationStyleOpInterface>(op);
    EXPECT_EQ(TypeRange(op->getResults()),
              TypeRange(ValueRange(destination.getDpsInits())));
    return;
  }
  SmallVector<Type> types;
  ASSERT_TRUE(succeeded(inferable.inferReturnTypes(
      &context, op->getLoc(), op->getOperands(), op->getAttrDictionary(),
      op->getPropertiesStorage(), op->getRegions(), types)));
  EXPECT_EQ(TypeRange(types), TypeRange(op->getResultTypes()));
}

TEST_P(EveryOpTest, InfersWithoutCheckingWhatItIsGiven) {
  // Inference runs on IR that no verifier has seen: it must not crash.
  Operation *op = parse();
  ASSERT_TRUE(op);
  auto inferable = dyn_cast<InferTypeOpInterface>(op);
  if (!inferable)
    return;
  for (unsigned i = 0, e = op->getNumOperands(); i < e; ++i) {
    auto type = dyn_cast<RankedTensorType>(op->getOperand(i).getType());
    if (!type) // a number, which has no sizes
      continue;
    Type scalar = RankedTensorType::get({}, type.getElementType());
    setOperandType(op, i, scalar);
    SmallVector<Type> types;
    EXPECT_TRUE(succeeded(inferable.inferReturnTypes(
        &context, op->getLoc(), op->getOperands(), op->getAttrDictionary(),
        op->getPropertiesStorage(), op->getRegions(), types)));
    setOperandType(op, i, type);
  }
}

// Each size of each operand, changed alone, breaks the op, but for those that
// nothing else has to agree with.
TEST_P(EveryOpTest, EverySizeIsChecked) {
  Operation *op = parse();
  ASSERT_TRUE(op);
  ASSERT_TRUE(verifies());
  std::string freeSizes;
  for (unsigned i = 0, e = op->getNumOperands(); i < e; ++i) {
    auto type = dyn_cast<RankedTensorType>(op->getOperand(i).getType());
    for (int64_t d = 0; type && d < type.getRank(); ++d) {
      SmallVector<int64_t> shape(type.getShape());
      // Query heads stay a multiple of KV heads, and the other way round: what
      // is tested is agreement.
      shape[d] *= shape[d] == 2 ? 2 : 3;
      setOperandType(op, i, type.clone(shape));
      if (verifies())
        freeSizes += (freeSizes.empty() ? "" : " ") + std::to_string(i) + "." +
                     std::to_string(d);
      setOperandType(op, i, type);
    }
  }
  EXPECT_EQ(freeSizes, GetParam().freeSizes);
}

// A dynamic size agrees with every size, and is then reified from another
// operand or from its own.
TEST_P(EveryOpTest, DynamicSizesVerifyAndReify) {
  Operation *op = parse();
  ASSERT_TRUE(op);
  auto reify = cast<ReifyRankedShapedTypeOpInterface>(op);
  for (unsigned i = 0, e = op->getNumOperands(); i < e; ++i) {
    auto type = dyn_cast<RankedTensorType>(op->getOperand(i).getType());
    for (int64_t d = 0; type && d < type.getRank(); ++d) {
      SmallVector<int64_t> shape(type.getShape());
      shape[d] = ShapedType::kDynamic;
      setOperandType(op, i, type.clone(shape));
      // A dynamic page size is refused; nothing else is.
      EXPECT_TRUE(verifies() || type.getDimSize(d) == 16)
          << "operand " << i << " dimension " << d;
      OpBuilder b(op);
      ReifiedRankedShapedTypeDims shapes;
      EXPECT_TRUE(succeeded(reify.reifyResultShapes(b, shapes)));
      ASSERT_EQ(shapes.size(), op->getNumResults());
      for (auto [sizes, result] : llvm::zip(shapes, op->getResults()))
        EXPECT_EQ(static_cast<int64_t>(sizes.size()),
                  cast<RankedTensorType>(result.getType()).getRank());
      setOperandType(op, i, type);
    }
  }
}

/// Names the case in a failure.
void PrintTo(const OpCase &opCase, std::ostream *os) { *os << opCase.name; }

INSTANTIATE_TEST_SUITE_P(AllOps, EveryOpTest, testing::ValuesIn(kCases),
                         [](const auto &info) {
                           return std::string(info.param.name);
                         });

} // namespace
