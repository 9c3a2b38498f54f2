//===- Canonicalization.cpp - Canonicalisation of vashista ops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Every rewrite here keeps results bit-equal: what covers everything is dense,
// what is empty disappears, what has a closed form takes it.
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace vashista;

namespace {

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

/// Whether every element is the constant -inf: a splat or a fill.
static bool isNegativeInfinity(Value value) {
  auto isNegInf = [](const APFloat &f) {
    return f.isInfinity() && f.isNegative();
  };
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    value = fill.value();
  else if (auto splat = value.getDefiningOp<tensor::SplatOp>())
    value = splat.getInput();
  FloatAttr scalar;
  if (matchPattern(value, m_Constant(&scalar)))
    return isNegInf(scalar.getValue());
  SplatElementsAttr splat;
  return matchPattern(value, m_Constant(&splat)) &&
         isa<FloatType>(splat.getElementType()) &&
         isNegInf(splat.getSplatValue<APFloat>());
}

static bool hasNoElements(Value value) {
  return value &&
         llvm::is_contained(cast<ShapedType>(value.getType()).getShape(), 0);
}

//===----------------------------------------------------------------------===//
// Lists that cover the sequence
//===----------------------------------------------------------------------===//

/// Whether a pick of the `budget` best of `slots` slots is all of them.
static bool isCovering(int64_t budget, int64_t slots) {
  return !ShapedType::isDynamic(slots) && budget >= slots;
}

static int64_t getStaticDim(Value value, unsigned dim) {
  return cast<ShapedType>(value.getType()).getDimSize(dim);
}

static int64_t multiplyStatic(int64_t lhs, int64_t rhs) {
  int64_t product;
  return ShapedType::isDynamic(lhs) || ShapedType::isDynamic(rhs) ||
                 llvm::MulOverflow(lhs, rhs, product)
             ? ShapedType::kDynamic
             : product;
}

/// The page size of a select's source: a dimension of its first tensor.
static int64_t getPageSize(SelectOp op) {
  SourcePart part = op.getFrom().getParts().front();
  auto position = llvm::find(part.dims, Dim::pageSize) - part.dims.begin();
  return getStaticDim(op.getParts().front(), position);
}

/// Whether `list` names every page that is visible under `seqLens`.
static bool coversPages(Value list, Value seqLens) {
  if (auto route = list.getDefiningOp<RouteOp>())
    return list == route.getIds() && route.getMode() == PickMode::top &&
           !route.getTaken() && route.getSeqLens() == seqLens &&
           isCovering(route.getBudget(), getStaticDim(route.getPageTable(), 1));
  if (auto pick = list.getDefiningOp<PickOp>())
    return list == pick.getIds() && pick.getMode() == PickMode::top &&
           pick.getUnit() == SlotUnit::pages && !pick.getTaken() &&
           pick.getSeqLens() == seqLens &&
           isCovering(pick.getBudget(), getStaticDim(pick.getScores(), 2));
  return false;
}

/// Whether `list` names every token that is visible under `seqLens`.
static bool coversTokens(Value list, Value seqLens) {
  if (auto select = list.getDefiningOp<SelectOp>())
    return list == select.getIds() && select.getMode() == PickMode::top &&
           !select.getTaken() && !select.getPages() &&
           select.getSeqLens() == seqLens &&
           isCovering(select.getBudget(),
                      multiplyStatic(getStaticDim(select.getPageTable(), 1),
                                     getPageSize(select)));
  if (auto pick = list.getDefiningOp<PickOp>())
    return list == pick.getIds() && pick.getMode() == PickMode::top &&
           pick.getUnit() == SlotUnit::tokens && !pick.getTaken() &&
           !pick.getPages() && pick.getSeqLens() == seqLens &&
           isCovering(pick.getBudget(), getStaticDim(pick.getScores(), 2));
  return false;
}

/// attend over a list of everything -> attend over everything
struct AttendToAllIsDense : OpRewritePattern<AttendOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttendOp op,
                                PatternRewriter &rewriter) const override {
    bool pages = op.getPages() && coversPages(op.getPages(), op.getSeqLens());
    bool tokens =
        op.getTokens() && coversTokens(op.getTokens(), op.getSeqLens());
    if (!pages && !tokens)
      return rewriter.notifyMatchFailure(op, "the list may not cover all");
    rewriter.modifyOpInPlace(op, [&] {
      op.getPagesMutable().clear();
      op.getPageCountMutable().clear();
      op.getTokensMutable().clear();
      op.getTokenCountMutable().clear();
    });
    return success();
  }
};

/// attend over all tokens of listed pages -> attend over the pages
struct AttendToWholePages : OpRewritePattern<AttendOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttendOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getTokens() || op.getBegin())
      return rewriter.notifyMatchFailure(op, "needs an unsplit token list");
    auto select = op.getTokens().getDefiningOp<SelectOp>();
    if (!select || select.getMode() != PickMode::top || select.getTaken() ||
        !select.getPages() || select.getSeqLens() != op.getSeqLens() ||
        !isCovering(select.getBudget(),
                    multiplyStatic(getStaticDim(select.getPages(), 2),
                                   getPageSize(select))))
      return rewriter.notifyMatchFailure(op, "the list may not cover pages");
    rewriter.modifyOpInPlace(op, [&] {
      op.getTokensMutable().clear();
      op.getTokenCountMutable().clear();
      op.getPagesMutable().assign(select.getPages());
      if (select.getPageCount())
        op.getPageCountMutable().assign(select.getPageCount());
    });
    return success();
  }
};

/// select within all pages -> select everywhere
struct SelectWithinAll : OpRewritePattern<SelectOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SelectOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getPages() || !coversPages(op.getPages(), op.getSeqLens()))
      return rewriter.notifyMatchFailure(op, "the pages may not cover all");
    rewriter.modifyOpInPlace(op, [&] {
      op.getPagesMutable().clear();
      op.getPageCountMutable().clear();
    });
    return success();
  }
};

/// A policy whose budgets cover the longest sequence reads everything anyway.
/// Only `top`: in `proving` a budget is a cap.
struct CoveringPolicyIsDense : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    PolicyAttr policy = op.getPolicy();
    int64_t pages = getStaticDim(op.getPageTable(), 1);
    if (policy.isDense() || policy.getPick() != PickMode::top ||
        ShapedType::isDynamic(pages))
      return rewriter.notifyMatchFailure(op, "budgets may not cover all");
    SmallVector<Dim, 4> dims = getCacheDims(op.getLayout(), Dim::keyDim);
    auto position = llvm::find(dims, Dim::pageSize) - dims.begin();
    int64_t pageSize = getStaticDim(op.getKCache(), position);

    bool routesAll = policy.getPages() == 0 || policy.getPages() >= pages;
    int64_t scored =
        multiplyStatic(routesAll ? pages : policy.getPages(), pageSize);
    bool selectsAll = policy.getCandidates() == 0 ||
                      isCovering(policy.getCandidates(), scored);
    int64_t newPages = routesAll ? 0 : policy.getPages();
    int64_t newCandidates = selectsAll ? 0 : policy.getCandidates();
    bool dense = newPages == 0 && newCandidates == 0;
    // Of a projection a certificate tells how well it is solved, too.
    if (dense && policy.isCertified() && op.getSolver().isProjection())
      return rewriter.notifyMatchFailure(op, "its certificate is not of 0");
    if (newPages == policy.getPages() &&
        newCandidates == policy.getCandidates())
      return rewriter.notifyMatchFailure(op, "budgets do not cover all");
    // A later round would spend the dropped budget on something else.
    if (policy.getRounds() > 1 && !dense)
      return rewriter.notifyMatchFailure(op, "budgets grow");

    PolicyAttr newPolicy =
        dense ? PolicyAttr::getDense(op.getContext())
              : PolicyAttr::get(op.getContext(), newPages, newCandidates,
                                policy.getSinks(), policy.getWindow(),
                                policy.getPick(), policy.getTarget(),
                                policy.getTolerance(), policy.getRounds(),
                                policy.getFallback());
    rewriter.modifyOpInPlace(op, [&] {
      op.setPolicyAttr(newPolicy);
      if (newPages == 0) {
        op.getSummaryPartsMutable().clear();
        op.removeSummaryAttr();
      }
      if (newCandidates == 0) {
        op.getSketchPartsMutable().clear();
        op.removeSketchAttr();
      }
      if (dense)
        op.getNormsMutable().clear();
    });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// What is empty
//===----------------------------------------------------------------------===//

/// An empty `taken` list takes nothing, a tail of -inf adds nothing.
template <typename OpTy> struct DropEmptyChain : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    bool taken = hasNoElements(op.getTaken());
    bool outside = op.getOutside() && isNegativeInfinity(op.getOutside());
    if (!taken && !outside)
      return rewriter.notifyMatchFailure(op, "nothing known to be empty");
    rewriter.modifyOpInPlace(op, [&] {
      if (taken)
        op.getTakenMutable().clear();
      if (outside)
        op.getOutsideMutable().clear();
    });
    return success();
  }
};

/// Of the best slots by rank, bounds say nothing but the tail.
struct DropUnusedTail : OpRewritePattern<PickOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(PickOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getMode() != PickMode::top || !op.getTail().use_empty())
      return rewriter.notifyMatchFailure(op, "somebody reads its tail");
    if (!op.getOutside() && op.getBounds() == op.getScores())
      return rewriter.notifyMatchFailure(op, "nothing is read for its tail");
    rewriter.modifyOpInPlace(op, [&] {
      op.getOutsideMutable().clear();
      op.getBoundsMutable().assign(op.getScores());
    });
    return success();
  }
};

/// attend over nothing -> its destinations
struct AttendToNothing : OpRewritePattern<AttendOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttendOp op,
                                PatternRewriter &rewriter) const override {
    // A projection overwrites two of its destinations.
    if (!op.hasPureTensorSemantics() || op.getSolver().isProjection())
      return rewriter.notifyMatchFailure(op, "its destinations are not kept");
    bool emptyRange = false;
    if (op.getBegin()) {
      auto begin = getConstantIntValue(op.getBegin());
      auto end = getConstantIntValue(op.getEnd());
      emptyRange = begin && end && *begin >= *end;
    }
    if (!emptyRange && !hasNoElements(op.getPages()) &&
        !hasNoElements(op.getTokens()))
      return rewriter.notifyMatchFailure(op, "attends to something");
    rewriter.replaceOp(op, op.getOuts());
    return success();
  }
};

/// Empty states disappear from a merge; what is left, if it is one state, is
/// the result.
struct MergeWithoutEmptyStates : OpRewritePattern<MergeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MergeOp op,
                                PatternRewriter &rewriter) const override {
    SmallVector<Value> outputs, lses;
    for (auto [o, lse] : llvm::zip(op.getOutputs(), op.getLses())) {
      if (isNegativeInfinity(lse))
        continue;
      outputs.push_back(o);
      lses.push_back(lse);
    }
    // The merge of empty states is an empty state: keep one.
    if (outputs.empty()) {
      outputs.push_back(op.getOutputs().front());
      lses.push_back(op.getLses().front());
    }
    bool isOneState = outputs.size() == 1 &&
                      outputs.front().getType() == op.getO().getType() &&
                      lses.front().getType() == op.getLse().getType();
    if (isOneState) {
      rewriter.replaceOp(op, {outputs.front(), lses.front()});
      return success();
    }
    if (outputs.size() == op.getOutputs().size())
      return rewriter.notifyMatchFailure(op, "no state is known to be empty");
    rewriter.replaceOpWithNewOp<MergeOp>(op, op.getResultTypes(), outputs,
                                         lses);
    return success();
  }
};

/// Tails of -inf disappear from a merge; what is left, if it is one tail, is
/// the result. A NaN, which a merge makes +inf, stays one: it bounds nothing
/// either.
struct MergeWithoutEmptyTails : OpRewritePattern<MergeTailsOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MergeTailsOp op,
                                PatternRewriter &rewriter) const override {
    SmallVector<Value> tails = llvm::filter_to_vector(
        op.getTails(), [](Value tail) { return !isNegativeInfinity(tail); });
    if (tails.empty())
      tails.push_back(op.getTails().front());
    if (tails.size() == 1 && tails.front().getType() == op.getType()) {
      rewriter.replaceOp(op, tails.front());
      return success();
    }
    if (tails.size() == op.getTails().size())
      return rewriter.notifyMatchFailure(op, "no tail is known to be empty");
    rewriter.replaceOpWithNewOp<MergeTailsOp>(op, op.getType(), tails);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// What was checked before
//===----------------------------------------------------------------------===//

Value getGiven(CheckTableOp op) { return op.getSeqLens(); }
Value getMade(CheckTableOp op) { return op.getLens(); }
Value getGiven(CheckPositionsOp op) { return op.getPositions(); }
Value getMade(CheckPositionsOp op) { return op.getAt(); }
Value getGiven(CheckListOp op) { return op.getListCount(); }
Value getMade(CheckListOp op) { return op.getCount(); }

/// Whether both look at the same things.
template <typename OpTy> bool areAlike(OpTy op, OpTy other) {
  return op.getPageTable() == other.getPageTable() &&
         op.getRowToSeq() == other.getRows() &&
         op.getNumPages() == other.getNumPages() &&
         op.getPageSize() == other.getPageSize();
}
bool areAlike(CheckListOp op, CheckListOp other) {
  return op.getList() == other.getList() &&
         op.getSeqLens() == other.getSeqLens() &&
         op.getUnit() == other.getUnit() &&
         op.getPageSize() == other.getPageSize();
}

/// Whether what a check made of a row is well for another one. The page table
/// row 0, of a row at fault, is out of range in a table without rows.
template <typename OpTy> bool makesWellRows(OpTy op) {
  return !op.getRowToSeq() ||
         cast<ShapedType>(op.getPageTable().getType()).getDimSize(0) > 0;
}
/// A negative length stays at fault, whatever the list.
bool makesWellRows(CheckListOp op) {
  return op.getSeqLens().getDefiningOp<CheckTableOp>() != nullptr;
}

/// check of what a check made -> that, without faults
template <typename OpTy> struct CheckOnce : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    Value given = getGiven(op);
    auto first = given ? given.getDefiningOp<OpTy>() : OpTy();
    if (!first || given != getMade(first) || !areAlike(op, first))
      return rewriter.notifyMatchFailure(op, "was not checked before");
    if (op->getResultTypes() != first->getResultTypes())
      return rewriter.notifyMatchFailure(op, "its types say something else");
    if (!makesWellRows(first) && !op.getFaults().use_empty())
      return rewriter.notifyMatchFailure(op, "may find something");
    SmallVector<Value> results(first->getResults());
    Location loc = op.getLoc();
    Value zero =
        arith::ConstantOp::create(rewriter, loc, rewriter.getI32IntegerAttr(0));
    Value none = tensor::EmptyOp::create(
        rewriter, loc, tensor::getMixedSizes(rewriter, loc, first.getFaults()),
        rewriter.getI32Type());
    results.back() = linalg::FillOp::create(rewriter, loc, zero, none).result();
    rewriter.replaceOp(op, results);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Closed forms
//===----------------------------------------------------------------------===//

/// Exponentiated gradient on the linear objective converges to softmax, which
/// is its closed form at the same temperature.
template <typename OpTy>
struct LinearGradientIsSoftmax : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    SolverAttr solver = op.getSolver();
    if (solver.getKind() != SolverKind::eg || solver.isProjection())
      return rewriter.notifyMatchFailure(op, "needs its solver");
    SolverAttr softmax = SolverAttr::getSoftmax(op.getContext());
    rewriter.modifyOpInPlace(op, [&] {
      op.setSolverAttr(SolverAttr::get(
          op.getContext(), SolverKind::softmax, Objective::linear,
          solver.getEpsilon(), softmax.getIterations(), softmax.getTolerance(),
          softmax.getStep()));
    });
    return success();
  }
};

} // namespace

void CheckTableOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<CheckOnce<CheckTableOp>>(context);
}

void CheckPositionsOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                   MLIRContext *context) {
  patterns.add<CheckOnce<CheckPositionsOp>>(context);
}

void CheckListOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<CheckOnce<CheckListOp>>(context);
}

void PickOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                         MLIRContext *context) {
  patterns.add<DropEmptyChain<PickOp>, DropUnusedTail>(context);
}

void RouteOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *context) {
  patterns.add<DropEmptyChain<RouteOp>>(context);
}

void SelectOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<DropEmptyChain<SelectOp>, SelectWithinAll>(context);
}

void AttendOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<AttendToAllIsDense, AttendToNothing, AttendToWholePages,
               LinearGradientIsSoftmax<AttendOp>>(context);
}

void MergeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *context) {
  patterns.add<MergeWithoutEmptyStates>(context);
}

void MergeTailsOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<MergeWithoutEmptyTails>(context);
}

void CertifyOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<LinearGradientIsSoftmax<CertifyOp>>(context);
}

void FallbackOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                             MLIRContext *context) {
  patterns.add<LinearGradientIsSoftmax<FallbackOp>>(context);
}

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<CoveringPolicyIsDense, LinearGradientIsSoftmax<AttentionOp>>(
      context);
}
