//===- AggregatedOpInterfaceImpl.cpp - Decomposition of vashista ops -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One level at a time: `attention` into route, select, attend, certify and
// fallback; `route` and `select` into score and pick.
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace vashista;

/// Result types may know less, or more, than what the decomposition infers.
static SmallVector<Value> castToTypes(OpBuilder &b, Location loc,
                                      ValueRange values, TypeRange types) {
  SmallVector<Value> result;
  for (auto [value, type] : llvm::zip_equal(values, types))
    result.push_back(value.getType() == type
                         ? value
                         : tensor::CastOp::create(b, loc, type, value));
  return result;
}

/// A tensor of the given sizes that holds a constant.
static Value createFilled(OpBuilder &b, Location loc,
                          ArrayRef<OpFoldResult> sizes, TypedAttr element) {
  Value init = tensor::EmptyOp::create(b, loc, sizes, element.getType());
  Value constant = arith::ConstantOp::create(b, loc, element);
  return linalg::FillOp::create(b, loc, constant, init).getResult(0);
}

//===----------------------------------------------------------------------===//
// route, select -> score, pick
//===----------------------------------------------------------------------===//

/// The list of a pick has one row per KV head: their number must be known.
static FailureOr<int64_t> getStaticKvHeads(Operation *op, Value list) {
  int64_t kvHeads = cast<RankedTensorType>(list.getType()).getDimSize(1);
  if (ShapedType::isDynamic(kvHeads)) {
    op->emitOpError("expected a static number of KV heads (Hkv) to decompose, "
                    "got a dynamic one");
    return failure();
  }
  return kvHeads;
}

/// `within` is (pages, page_count) for a select, empty for a route.
template <typename OpTy>
static FailureOr<SmallVector<Value>>
decomposeToScoreAndPick(OpTy op, OpBuilder &b, KeySource source, SlotUnit unit,
                        int64_t pageSize, Value pages, Value pageCount,
                        Value moments) {
  FailureOr<int64_t> kvHeads = getStaticKvHeads(op, op.getIds());
  if (failed(kvHeads))
    return failure();
  Location loc = op.getLoc();
  auto score = ScoreOp::create(
      b, loc, op.getDirection(), op.getParts(), op.getPageTable(),
      op.getSeqLens(), op.getRowToSeq(), pages, pageCount, source,
      source.scoresPages() ? b.getI64IntegerAttr(pageSize) : IntegerAttr(),
      op.getScaleAttr(), op.getSoftCapAttr(), op.getEpsilonAttr(),
      op.getScheduleAttr());
  Value moment;
  if (moments)
    moment = MomentOp::create(
        b, loc, op.getDirection(), moments, op.getSeqLens(), op.getRowToSeq(),
        cast<SketchAttr>(source), op.getScaleAttr(), op.getEpsilonAttr());
  auto pick = PickOp::create(
      b, loc, score.getScores(), score.getBounds(), op.getSeqLens(), pages,
      pageCount, op.getTaken(), op.getOutside(), op.getAttended(), moment,
      op.getModeAttr(), op.getBudgetAttr(),
      SlotUnitAttr::get(b.getContext(), unit), b.getI64IntegerAttr(*kvHeads),
      b.getI64IntegerAttr(pageSize), op.getSinksAttr(), op.getWindowAttr(),
      op.getToleranceAttr(), /*schedule=*/ScheduleAttr());
  return castToTypes(b, loc, pick->getResults(), op->getResultTypes());
}

FailureOr<SmallVector<Value>> RouteOp::decomposeOperation(OpBuilder &b) {
  return decomposeToScoreAndPick(*this, b, getFrom(), SlotUnit::pages,
                                 getPageSize(), Value(), Value(), Value());
}

FailureOr<SmallVector<Value>> SelectOp::decomposeOperation(OpBuilder &b) {
  SourcePart part = getFrom().getParts().front();
  auto position = llvm::find(part.dims, Dim::pageSize) - part.dims.begin();
  int64_t pageSize =
      cast<ShapedType>(getParts().front().getType()).getDimSize(position);
  return decomposeToScoreAndPick(*this, b, getFrom(), SlotUnit::tokens,
                                 pageSize, getPages(), getPageCount(),
                                 getMoments());
}

//===----------------------------------------------------------------------===//
// attention -> route, select, attend, certify, fallback
//===----------------------------------------------------------------------===//

namespace {

/// A list of pages or tokens, and how many entries of it to read (null: all).
struct List {
  Value ids, count;
  explicit operator bool() const { return static_cast<bool>(ids); }
};

/// What a round of picking yields.
struct Picked {
  List pages, tokens;
  Value tail;
};

class AttentionDecomposition {
public:
  AttentionDecomposition(AttentionOp op, OpBuilder &b)
      : op(op), b(b), loc(op.getLoc()), policy(op.getPolicy()) {}

  FailureOr<SmallVector<Value>> run();

private:
  Picked pick(Value direction, bool firstRound);
  void attend();
  Value measureTailAtDirection();
  void rememberPicks(const Picked &picked);
  /// Of all rounds so far; of the first, with its count.
  List getListSoFar(List latest, Value soFar);
  Value countRounds(ValueRange counts);

  /// Rounded down: never more than was asked for.
  FloatAttr getTolerance() {
    APFloat tolerance = policy.getTolerance();
    bool losesInfo;
    tolerance.convert(APFloat::IEEEsingle(), APFloat::rmTowardZero, &losesInfo);
    return FloatAttr::get(b.getF32Type(), tolerance);
  }
  /// What later rounds may leave out, as a share of the mass: for softmax that
  /// is the tolerance. The total variation distance of a projection is at most
  /// sqrt(G / (2 epsilon)), which a share of tolerance^2 widens by half, as it
  /// does a gap.
  FloatAttr getShareLeftOut() {
    if (!op.getSolver().isProjection())
      return getTolerance();
    double tolerance = policy.getTolerance().convertToDouble();
    double widening = policy.getTarget() == Target::gap
                          ? tolerance / (2 * getTemperature())
                          : tolerance * tolerance;
    // Without an entropy the largest logits are compared, not their masses.
    double share =
        hasEntropy() ? -std::expm1(-widening) : 1 / (1 + std::exp(-widening));
    return b.getF32FloatAttr(
        std::clamp(static_cast<float>(share), 0x1p-126f, 1 - 0x1p-24f));
  }
  bool hasEntropy() { return !op.getSolver().getEpsilon().isZero(); }
  /// Scores have the temperature of the state. Without an entropy the state's
  /// lse is a maximum, undivided: a low temperature then makes tails close to
  /// maxima, and a gap is measured by those.
  double getTemperature() {
    if (hasEntropy())
      return op.getSolver().getEpsilon().convertToDouble();
    if (policy.getTarget() != Target::gap)
      return 1;
    return std::clamp(policy.getTolerance().convertToDouble() / 64, 0x1p-64,
                      1.0);
  }
  FloatAttr getEpsilon() { return b.getF32FloatAttr(getTemperature()); }
  /// Between undivided logits and those that are divided by the temperature.
  Value multiply(Value perHead, double factor) {
    if (hasEntropy() || factor == 1)
      return perHead;
    return arith::MulFOp::create(b, loc, perHead,
                                 fill(1, b.getF32FloatAttr(factor)));
  }
  Value fill(unsigned resultLike, TypedAttr element) {
    return createFilled(b, loc, shapes[resultLike], element);
  }
  int64_t getPageSize();
  /// What tokens are scored against: the sketch, else the exact keys.
  std::pair<KeySource, ValueRange> getTokenSource() {
    if (op.getSketchAttr())
      return {op.getSketchAttr(), op.getSketchParts()};
    return {
        KeysAttr::get(b.getContext(), op.getLayout()),
        op->getOperands().slice(op.getKCacheMutable().getOperandNumber(), 1)};
  }

  AttentionOp op;
  OpBuilder &b;
  Location loc;
  PolicyAttr policy;
  ReifiedRankedShapedTypeDims shapes; // of the op's results

  // The state so far, and for a projection what its solver found.
  Value o, lse, direction, gap;
  Picked last;      // of the latest round
  Value pagesSoFar; // lists of all rounds
  Value tokensSoFar;
};

} // namespace

int64_t AttentionDecomposition::getPageSize() {
  SmallVector<Dim, 4> dims = getCacheDims(op.getLayout(), Dim::keyDim);
  auto position = llvm::find(dims, Dim::pageSize) - dims.begin();
  return cast<ShapedType>(op.getKCache().getType()).getDimSize(position);
}

/// Lists of earlier rounds stay lists when joined: negative entries are
/// skipped.
static Value concatLists(OpBuilder &b, Location loc, Value lhs, Value rhs) {
  if (!lhs)
    return rhs;
  constexpr int64_t dim = 2;
  RankedTensorType type =
      tensor::ConcatOp::inferResultType(dim, {lhs.getType(), rhs.getType()});
  // Of no rows: nothing can be inserted there.
  if (type.hasStaticShape() && type.getNumElements() == 0)
    return tensor::EmptyOp::create(b, loc, type, ValueRange());
  return tensor::ConcatOp::create(b, loc, type, dim, ValueRange{lhs, rhs});
}

/// Routes and selects for a direction. The first round spends the budgets as
/// the policy says and holds sinks and window; later rounds pick from what is
/// left, and only where the state so far does not prove the tolerance.
Picked AttentionDecomposition::pick(Value w, bool firstRound) {
  bool routes = policy.getPages() > 0, selects = policy.getCandidates() > 0;
  auto getMode = [&](bool lastStage) {
    bool proving =
        !firstRound || (lastStage && policy.getPick() == PickMode::proving);
    return proving ? PickMode::proving : PickMode::top;
  };
  int64_t sinks = firstRound ? policy.getSinks() : 0;
  int64_t window = firstRound ? policy.getWindow() : 0;
  Value attended = firstRound ? Value() : multiply(lse, 1 / getTemperature());

  Picked picked;
  if (routes) {
    PickMode mode = getMode(/*lastStage=*/!selects);
    auto route = RouteOp::create(
        b, loc, w, op.getSummaryParts(), op.getPageTable(), op.getSeqLens(),
        op.getRowToSeq(), pagesSoFar, /*outside=*/Value(), attended,
        op.getSummaryAttr(), PickModeAttr::get(b.getContext(), mode),
        b.getI64IntegerAttr(policy.getPages()),
        b.getI64IntegerAttr(getPageSize()), b.getI64IntegerAttr(sinks),
        b.getI64IntegerAttr(window),
        mode == PickMode::proving ? getShareLeftOut() : FloatAttr(),
        op.getScaleAttr(), op.getSoftCapAttr(), getEpsilon(),
        op.getScheduleAttr());
    picked.pages = {route.getIds(), route.getCount()};
    picked.tail = route.getTail();
  }
  if (selects) {
    // Tokens that earlier rounds left in their pages may be picked now.
    List within = picked.pages;
    if (within && pagesSoFar)
      within = {concatLists(b, loc, pagesSoFar, within.ids), Value()};
    auto [source, parts] = getTokenSource();
    PickMode mode = getMode(/*lastStage=*/true);
    auto select = SelectOp::create(
        b, loc, w, parts, op.getPageTable(), op.getSeqLens(), op.getRowToSeq(),
        within.ids, within.count, tokensSoFar, /*outside=*/picked.tail,
        attended, op.getMoments(), source,
        PickModeAttr::get(b.getContext(), mode),
        b.getI64IntegerAttr(policy.getCandidates()), b.getI64IntegerAttr(sinks),
        b.getI64IntegerAttr(window),
        mode == PickMode::proving ? getShareLeftOut() : FloatAttr(),
        op.getScaleAttr(), op.getSoftCapAttr(), getEpsilon(),
        op.getScheduleAttr());
    picked.tokens = {select.getIds(), select.getCount()};
    picked.tail = select.getTail();
  }
  return picked;
}

/// Merges attention over the latest picks into the state. A projection is
/// solved anew, over all picks so far.
void AttentionDecomposition::attend() {
  bool projection = op.getSolver().isProjection();
  SmallVector<Value> outs = {o, lse};
  if (projection) {
    // Overwritten by the solver: the direction and the gap.
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(b, loc, op.getQuery());
    outs.push_back(tensor::EmptyOp::create(b, loc, sizes, b.getF32Type()));
    outs.push_back(tensor::EmptyOp::create(b, loc, shapes[1], b.getF32Type()));
  }
  // Tokens, where there are any, were selected from the pages.
  List tokens = last.tokens, pages = tokens ? List() : last.pages;
  if (projection) {
    tokens = getListSoFar(tokens, tokensSoFar);
    pages = getListSoFar(pages, pagesSoFar);
  }
  auto attend = AttendOp::create(
      b, loc, TypeRange(ValueRange(outs)), op.getQuery(), op.getKCache(),
      op.getVCache(), op.getPageTable(), op.getSeqLens(), op.getRowToSeq(),
      pages.ids, pages.count, tokens.ids, tokens.count,
      /*begin=*/Value(), /*end=*/Value(), outs, op.getScaleAttr(),
      op.getSoftCapAttr(), op.getSolverAttr(), op.getLayoutAttr(),
      op.getScheduleAttr());
  o = attend.getResult(0);
  lse = attend.getResult(1);
  if (projection) {
    direction = attend.getResult(2);
    gap = attend.getResult(3);
  }
}

List AttentionDecomposition::getListSoFar(List latest, Value soFar) {
  if (!latest || latest.ids == soFar)
    return latest;
  return {soFar, Value()};
}

void AttentionDecomposition::rememberPicks(const Picked &picked) {
  if (picked.pages)
    pagesSoFar = concatLists(b, loc, pagesSoFar, picked.pages.ids);
  if (picked.tokens)
    tokensSoFar = concatLists(b, loc, tokensSoFar, picked.tokens.ids);
}

/// A projection picks by the query but is certified at its residual: what was
/// left out is scored again for that direction, and nothing is picked.
Value AttentionDecomposition::measureTailAtDirection() {
  auto top = PickModeAttr::get(b.getContext(), PickMode::top);
  IntegerAttr zero = b.getI64IntegerAttr(0);
  List within = getListSoFar(last.pages, pagesSoFar);
  Value tail;
  if (pagesSoFar)
    tail =
        RouteOp::create(b, loc, direction, op.getSummaryParts(),
                        op.getPageTable(), op.getSeqLens(), op.getRowToSeq(),
                        pagesSoFar, /*outside=*/Value(),
                        /*attended=*/Value(), op.getSummaryAttr(), top,
                        /*budget=*/zero, b.getI64IntegerAttr(getPageSize()),
                        /*sinks=*/zero, /*window=*/zero,
                        /*tolerance=*/FloatAttr(), op.getScaleAttr(),
                        op.getSoftCapAttr(), getEpsilon(), op.getScheduleAttr())
            .getTail();
  if (tokensSoFar) {
    auto [source, parts] = getTokenSource();
    tail = SelectOp::create(b, loc, direction, parts, op.getPageTable(),
                            op.getSeqLens(), op.getRowToSeq(), within.ids,
                            within.count, tokensSoFar, /*outside=*/tail,
                            /*attended=*/Value(), op.getMoments(), source, top,
                            /*budget=*/zero,
                            /*sinks=*/zero, /*window=*/zero,
                            /*tolerance=*/FloatAttr(), op.getScaleAttr(),
                            op.getSoftCapAttr(), getEpsilon(),
                            op.getScheduleAttr())
               .getTail();
  }
  return multiply(tail, getTemperature());
}

/// The first round, and those of later ones that have picked something. One op
/// of all: elementwise ones would be a launch each on a GPU.
Value AttentionDecomposition::countRounds(ValueRange counts) {
  if (counts.empty())
    return fill(4, b.getI32IntegerAttr(1));
  Value any = tensor::EmptyOp::create(b, loc, shapes[4], b.getI32Type());
  auto count = [&](OpBuilder &b, Location loc, ValueRange elements) {
    auto i32 = [&](int32_t value) -> Value {
      return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value));
    };
    Value rounds = i32(1), none = i32(0);
    for (Value picked : elements.take_front(counts.size())) {
      Value some = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt,
                                         picked, none);
      some = arith::ExtUIOp::create(b, loc, b.getI32Type(), some);
      rounds = arith::AddIOp::create(b, loc, rounds, some);
    }
    linalg::YieldOp::create(b, loc, rounds);
  };
  return linalg::MapOp::create(b, loc, counts, any, count)->getResult(0);
}

FailureOr<SmallVector<Value>> AttentionDecomposition::run() {
  if (!policy.isDense() && failed(getStaticKvHeads(op, op.getRounds())))
    return failure();
  if (failed(op.reifyResultShapes(b, shapes)))
    return failure();
  float inf = std::numeric_limits<float>::infinity();
  o = fill(0, b.getF32FloatAttr(0.0f));
  lse = fill(1, b.getF32FloatAttr(-inf));

  Value tau, error, fullGap, rounds, flag;
  if (policy.isDense()) {
    attend();
    tau = fill(2, b.getF32FloatAttr(0.0f));
    error = fill(3, b.getF32FloatAttr(0.0f));
    rounds = fill(4, b.getI32IntegerAttr(0));
    flag = fill(5, b.getBoolAttr(false));
    return castToTypes(b, loc, {o, lse, tau, error, rounds, flag},
                       op->getResultTypes());
  }

  SmallVector<Value> counts; // of later rounds
  for (int64_t round = 0; round < policy.getRounds(); ++round) {
    last = pick(round > 0 && direction ? direction : op.getQuery(),
                /*firstRound=*/round == 0);
    rememberPicks(last);
    attend();
    if (round > 0)
      counts.push_back(last.tokens ? last.tokens.count : last.pages.count);
  }

  if (policy.isCertified()) {
    bool projection = op.getSolver().isProjection();
    Value tail = projection ? measureTailAtDirection() : last.tail;
    auto certify = CertifyOp::create(
        b, loc, projection ? direction : op.getQuery(), o, lse, tail, gap,
        op.getNorms(), op.getPageTable(), op.getSeqLens(), op.getRowToSeq(),
        b.getI64IntegerAttr(getPageSize()), op.getScaleAttr(),
        op.getSoftCapAttr(), op.getSolverAttr());
    tau = certify.getTau();
    error = certify.getError();
    fullGap = certify.getFullGap();
  } else {
    tau = fill(2, b.getF32FloatAttr(1.0f));
    error = fill(3, b.getF32FloatAttr(inf));
  }

  if (policy.getFallback() == FallbackKind::dense) {
    Value measures[] = {tau, error, fullGap}; // by target
    auto fallback = FallbackOp::create(
        b, loc, op.getQuery(), op.getKCache(), op.getVCache(),
        op.getPageTable(), op.getSeqLens(), op.getRowToSeq(), o, lse,
        measures[static_cast<unsigned>(policy.getTarget())], getTolerance(),
        op.getScaleAttr(), op.getSoftCapAttr(), op.getSolverAttr(),
        op.getLayoutAttr(), op.getScheduleAttr());
    o = fallback.getOut();
    lse = fallback.getOutLse();
    flag = fallback.getFlag();
  } else {
    flag = fill(5, b.getBoolAttr(false));
  }
  // Last: on a GPU nothing waits for it.
  rounds = countRounds(counts);
  return castToTypes(b, loc, {o, lse, tau, error, rounds, flag},
                     op->getResultTypes());
}

FailureOr<SmallVector<Value>> AttentionOp::decomposeOperation(OpBuilder &b) {
  return AttentionDecomposition(*this, b).run();
}
