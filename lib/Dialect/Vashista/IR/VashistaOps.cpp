//===- VashistaOps.cpp - Verifiers and effects of vashista ops ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OpShapes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace vashista;
using namespace vashista::shapes;

//===----------------------------------------------------------------------===//
// Checks that verifiers share
//===----------------------------------------------------------------------===//

/// Starts the message for constraint `number` of the op.
static InFlightDiagnostic violates(Operation *op, int number) {
  return op->emitOpError() << "[" << op->getName().stripDialect() << "_c"
                           << number << "] ";
}

/// Constraint 1 of every op.
static LogicalResult verifyDims(Operation *op, const NamedDims &dims) {
  if (const auto &conflict = dims.getConflict())
    return violates(op, 1) << *conflict;
  constexpr int64_t kMostDim = 1 << 16;
  for (Dim dim : {Dim::keyDim, Dim::valueDim}) {
    int64_t size = dims.size(dim);
    if (!ShapedType::isDynamic(size) && (size < 1 || size > kMostDim))
      return violates(op, 1) << "expected the " << describe(dim)
                             << " to be 1 to " << kMostDim << ", got " << size;
  }
  return success();
}

static LogicalResult verifyHeads(Operation *op, int number,
                                 const NamedDims &dims) {
  int64_t heads = dims.size(Dim::heads), kvHeads = dims.size(Dim::kvHeads);
  if (kvHeads == 0 || heads == 0)
    return violates(op, number) << "expected at least 1 query head and 1 KV "
                                   "head, got 0";
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads))
    return success();
  if (heads % kvHeads != 0)
    return violates(op, number)
           << "expected the number of query heads to be a multiple of the "
           << kvHeads << " KV heads, got " << heads;
  return success();
}

static LogicalResult verifyPageSize(Operation *op, int number,
                                    const NamedDims &dims) {
  int64_t pageSize = dims.size(Dim::pageSize);
  if (ShapedType::isDynamic(pageSize))
    return violates(op, number)
           << "expected a static page size (S), got a dynamic one";
  if (pageSize < 1 || pageSize > std::numeric_limits<int32_t>::max())
    return violates(op, number)
           << "expected a page size (S) of 1 to 2^31 - 1, got " << pageSize;
  return success();
}

/// An attribute that counts tokens or pages: positions are i32.
static LogicalResult verifyCount(Operation *op, int number, StringRef name,
                                 int64_t value, int64_t least) {
  if (value < least || value > std::numeric_limits<int32_t>::max())
    return violates(op, number) << "expected " << name << " to be " << least
                                << " to 2^31 - 1, got " << value;
  return success();
}

/// Optional operands that make sense only beside another.
static LogicalResult verifyPair(Operation *op, int number, StringRef name,
                                Value value, StringRef otherName, Value other) {
  if (value && !other)
    return violates(op, number) << "expected `" << otherName << "` beside `"
                                << name << "`, got none";
  return success();
}

static LogicalResult verifyParts(Operation *op, int number, KeySource source,
                                 ValueRange values) {
  if (!source) {
    if (!values.empty())
      return violates(op, number) << "expected no tensors without an attribute "
                                     "that lists them, got "
                                  << values.size();
    return success();
  }
  SmallVector<SourcePart> parts = source.getParts();
  if (parts.size() != values.size()) {
    InFlightDiagnostic diag = violates(op, number);
    diag << "expected " << parts.size()
         << (parts.size() == 1 ? " tensor (" : " tensors (");
    llvm::interleaveComma(parts, diag,
                          [&](const SourcePart &part) { diag << part.name; });
    return diag << ") for " << source << ", got " << values.size();
  }
  for (auto [part, value] : llvm::zip(parts, values)) {
    auto type = cast<ShapedType>(value.getType());
    if (!type.hasRank() ||
        type.getRank() != static_cast<int64_t>(part.dims.size()))
      return violates(op, number)
             << "expected `" << part.name << "` of " << source
             << " to have rank " << part.dims.size() << ", got " << type;
    if (!isElement(part.element, type.getElementType()))
      return violates(op, number)
             << "expected `" << part.name << "` of " << source
             << " to have the element type " << describe(part.element)
             << ", got " << type.getElementType();
  }
  return success();
}

static LogicalResult verifyFactor(Operation *op, int number, StringRef name,
                                  const APFloat &value) {
  if (value.isNormal() && !value.isNegative())
    return success();
  return violates(op, number)
         << "expected " << name << " to be a positive normal f32, got "
         << value.convertToFloat();
}

/// Logits are `cap tanh(scale x / cap) / epsilon`: each of the numbers and of
/// the quotients is a factor in f32.
static LogicalResult verifyLogits(Operation *op, int number,
                                  const APFloat &scale,
                                  std::optional<APFloat> softCap,
                                  std::optional<APFloat> epsilon = {}) {
  if (failed(verifyFactor(op, number, "scale", scale)) ||
      (softCap && failed(verifyFactor(op, number, "soft_cap", *softCap))) ||
      (epsilon && failed(verifyFactor(op, number, "epsilon", *epsilon))))
    return failure();
  // A solver without an entropy has no temperature.
  if (!epsilon)
    if (auto solver = op->getAttrOfType<SolverAttr>("solver");
        solver && !solver.getEpsilon().isZero())
      epsilon = solver.getEpsilon();
  auto verifyQuotient = [&](StringRef name, const APFloat &dividend,
                            const APFloat &divisor) {
    double quotient = dividend.convertToDouble() / divisor.convertToDouble();
    return verifyFactor(op, number, name,
                        APFloat(static_cast<float>(quotient)));
  };
  if (softCap && failed(verifyQuotient("scale / soft_cap", scale, *softCap)))
    return failure();
  if (!epsilon)
    return success();
  if (softCap)
    return verifyQuotient("soft_cap / epsilon", *softCap, *epsilon);
  return verifyQuotient("scale / epsilon", scale, *epsilon);
}

/// A cap is not linear in the key: the projection has none.
template <typename OpTy>
static LogicalResult verifyLogitsAndSolver(OpTy op, int number) {
  if (op.getSolver().isProjection() && op.getSoftCap())
    return violates(op, number)
           << "expected no soft_cap for the projection objective, got "
           << op.getSoftCap()->convertToFloat();
  return verifyLogits(op, number, op.getScale(), op.getSoftCap());
}

/// Bufferization rewrites an op whole: halves do not mix.
static LogicalResult verifyOneForm(Operation *op, int number) {
  auto has = [&](auto predicate) {
    return llvm::any_of(op->getOperandTypes(), predicate);
  };
  if (has(llvm::IsaPred<TensorType>) && has(llvm::IsaPred<BaseMemRefType>))
    return violates(op, number)
           << "expected all shaped operands to be tensors or all to be "
              "memrefs, got both";
  return success();
}

/// Sinks, window and budget, in slots of `slotTokens` tokens.
static LogicalResult verifyBudget(Operation *op, int number, int64_t budget,
                                  int64_t sinks, int64_t window,
                                  int64_t slotTokens, StringRef unit) {
  if (failed(verifyCount(op, number, "the budget", budget, 0)))
    return failure();
  int64_t always = llvm::divideCeil(sinks, slotTokens) +
                   getNumWindowPages(window, slotTokens);
  if (budget < always)
    return violates(op, number)
           << "expected a budget of at least " << always << " " << unit
           << " to hold the sinks and the window, got " << budget;
  return success();
}

template <typename OpTy> static LogicalResult verifyMode(OpTy op, int number) {
  std::optional<APFloat> tolerance = op.getTolerance();
  if (op.getMode() == PickMode::top) {
    if (tolerance)
      return violates(op, number) << "expected no tolerance for the mode top, "
                                     "got "
                                  << tolerance->convertToFloat();
    if (op.getAttended())
      return violates(op, number)
             << "expected no `attended` for the mode top, got one";
    return success();
  }
  if (!tolerance)
    return violates(op, number)
           << "expected a tolerance for the mode proving, got none";
  float value = tolerance->convertToFloat();
  if (!(value > 0 && value < 1))
    return violates(op, number) << "expected the tolerance to be between 0 and "
                                   "1, got "
                                << value;
  return success();
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

NamedDims vashista::getNamedDims(Operation *op) {
  return TypeSwitch<Operation *, NamedDims>(op)
      .Case([](SummarizeOp op) { return getDims<SummarizeShape>(op); })
      .Case([](AppendOp op) { return getDims<AppendShape>(op); })
      .Case([](CheckTableOp op) { return getDims<CheckTableShape>(op); })
      .Case(
          [](CheckPositionsOp op) { return getDims<CheckPositionsShape>(op); })
      .Case([](CheckListOp op) { return getDims<CheckListShape>(op); })
      .Case([](ScoreOp op) { return getDims<ScoreShape>(op); })
      .Case([](MomentOp op) { return getDims<MomentShape>(op); })
      .Case([](PickOp op) { return getDims<PickShape>(op); })
      .Case([](RouteOp op) { return getDims<RouteShape>(op); })
      .Case([](SelectOp op) { return getDims<SelectShape>(op); })
      .Case([](AttendOp op) { return getDims<AttendShape>(op); })
      .Case([](MergeOp op) { return getDims<MergeShape>(op); })
      .Case([](MergeTailsOp op) { return getDims<MergeTailsShape>(op); })
      .Case([](CertifyOp op) { return getDims<CertifyShape>(op); })
      .Case([](FallbackOp op) { return getDims<FallbackShape>(op); })
      .Case([](AttentionOp op) { return getDims<AttentionShape>(op); })
      .Default([](Operation *) { return NamedDims(); });
}

/// What `summarize` and `append` share.
template <typename Shape, typename OpTy>
static LogicalResult verifyKept(OpTy op) {
  if (failed(verifyParts(op, 4, op.getSummaryAttr(), op.getSummaryParts())) ||
      failed(verifyParts(op, 4, op.getSketchAttr(), op.getSketchParts())))
    return failure();
  NamedDims dims = getDims<Shape>(op);
  if (failed(verifyDims(op, dims)) || failed(verifyPageSize(op, 2, dims)))
    return failure();
  return verifyOneForm(op, 3);
}

static LogicalResult verifyMoments(Operation *op, int number, Value moments,
                                   bool hasSketch,
                                   std::optional<APFloat> softCap = {}) {
  if (!moments)
    return success();
  if (!hasSketch)
    return violates(op, number) << "expected a sketch for `moments`, got none";
  if (softCap)
    return violates(op, number) << "expected no soft_cap with `moments`, got "
                                << softCap->convertToFloat();
  return success();
}

LogicalResult SummarizeOp::verify() {
  if (failed(verifyKept<SummarizeShape>(*this)))
    return failure();
  if (getDpsInits().empty())
    return violates(*this, 5) << "expected a summary, norms or a sketch to "
                                 "build, got none";
  if (!getNorms() != !getVCache())
    return violates(*this, 6)
           << (getNorms() ? "expected `values` for `norms`, got none"
                          : "expected `norms` for `values`, got none");
  return verifyMoments(*this, 7, getMoments(), getSketchAttr() != nullptr);
}

LogicalResult AppendOp::verify() {
  if (failed(verifyKept<AppendShape>(*this)))
    return failure();
  std::tuple<StringRef, Value, Value> written[] = {
      {"key", getKey(), getKCache()}, {"value", getValue(), getVCache()}};
  for (auto [name, token, cache] : written) {
    Type expected = getElementTypeOrSelf(cache);
    if (getElementTypeOrSelf(token) != expected)
      return violates(*this, 5)
             << "expected `" << name << "` to have the element type "
             << expected << " of its cache, got "
             << getElementTypeOrSelf(token);
  }
  return verifyMoments(*this, 6, getMoments(), getSketchAttr() != nullptr);
}

/// What checks share.
template <typename Shape, typename OpTy>
static LogicalResult verifyCheck(OpTy op) {
  if (failed(verifyDims(op, getDims<Shape>(op))))
    return failure();
  return verifyCount(op, 2, "page_size", op.getPageSize(), 1);
}

LogicalResult CheckTableOp::verify() {
  return verifyCheck<CheckTableShape>(*this);
}
LogicalResult CheckPositionsOp::verify() {
  return verifyCheck<CheckPositionsShape>(*this);
}
LogicalResult CheckListOp::verify() {
  return verifyCheck<CheckListShape>(*this);
}

LogicalResult ScoreOp::verify() {
  if (failed(verifyParts(*this, 3, getFrom(), getParts())) ||
      failed(verifyPair(*this, 8, "page_count", getPageCount(), "pages",
                        getPages())))
    return failure();
  NamedDims dims = getDims<ScoreShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)))
    return failure();
  if (getFrom().scoresPages() != getPageSize().has_value())
    return violates(*this, 9)
           << "expected " << (getPageSize() ? "no" : "a") << " page_size for "
           << getFrom() << ", got " << (getPageSize() ? "one" : "none");
  if (getFrom().scoresPages()) {
    if (failed(verifyCount(*this, 9, "page_size", *getPageSize(), 1)))
      return failure();
    if (getPages())
      return violates(*this, 5)
             << "expected a source of tokens for `within`, got " << getFrom();
  } else if (failed(verifyPageSize(*this, 4, dims))) {
    return failure();
  }
  return verifyLogits(*this, 6, getScale(), getSoftCap(), getEpsilon());
}

LogicalResult MomentOp::verify() {
  NamedDims dims = getDims<MomentShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)))
    return failure();
  return verifyLogits(*this, 3, getScale(), std::nullopt, getEpsilon());
}

LogicalResult PickOp::verify() {
  NamedDims dims = getDims<PickShape>(*this);
  if (failed(verifyPair(*this, 8, "page_count", getPageCount(), "pages",
                        getPages())) ||
      failed(verifyCount(*this, 2, "kv_heads", getKvHeads(), 1)) ||
      failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyCount(*this, 4, "page_size", getPageSize(), 1)) ||
      failed(verifyCount(*this, 4, "sinks", getSinks(), 0)) ||
      failed(verifyCount(*this, 4, "window", getWindow(), 0)))
    return failure();
  bool pages = getUnit() == SlotUnit::pages;
  if (failed(verifyBudget(*this, 3, getBudget(), getSinks(), getWindow(),
                          pages ? getPageSize() : 1,
                          stringifySlotUnit(getUnit()))) ||
      failed(verifyMode(*this, 5)))
    return failure();
  if (getMoment() && pages)
    return violates(*this, 9)
           << "expected scores of tokens for `moment`, got pages";
  if (!getPages())
    return success();
  if (pages)
    return violates(*this, 6)
           << "expected scores of tokens for `within`, got pages";
  int64_t listed = dims.size(Dim::listPages), slots = dims.size(Dim::slots);
  int64_t pageSize = getPageSize(), expected;
  if (!ShapedType::isDynamic(listed) && !ShapedType::isDynamic(slots) &&
      (llvm::MulOverflow(listed, pageSize, expected) || expected != slots))
    return violates(*this, 6)
           << "expected P * page_size slots for " << listed
           << " listed pages of " << getPageSize() << " tokens, got " << slots;
  return success();
}

LogicalResult RouteOp::verify() {
  if (failed(verifyParts(*this, 3, getFrom(), getParts())))
    return failure();
  NamedDims dims = getDims<RouteShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyCount(*this, 4, "page_size", getPageSize(), 1)) ||
      failed(verifyCount(*this, 4, "sinks", getSinks(), 0)) ||
      failed(verifyCount(*this, 4, "window", getWindow(), 0)) ||
      failed(verifyBudget(*this, 5, getBudget(), getSinks(), getWindow(),
                          getPageSize(), "pages")) ||
      failed(verifyMode(*this, 6)))
    return failure();
  return verifyLogits(*this, 7, getScale(), getSoftCap(), getEpsilon());
}

LogicalResult SelectOp::verify() {
  if (getFrom().scoresPages())
    return violates(*this, 4)
           << "expected a source of tokens (keys or a sketch), got "
           << getFrom();
  if (failed(verifyParts(*this, 3, getFrom(), getParts())) ||
      failed(verifyPair(*this, 10, "page_count", getPageCount(), "pages",
                        getPages())))
    return failure();
  NamedDims dims = getDims<SelectShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyPageSize(*this, 5, dims)) ||
      failed(verifyCount(*this, 5, "sinks", getSinks(), 0)) ||
      failed(verifyCount(*this, 5, "window", getWindow(), 0)) ||
      failed(verifyBudget(*this, 6, getBudget(), getSinks(), getWindow(),
                          /*slotTokens=*/1, "tokens")) ||
      failed(verifyMode(*this, 7)) ||
      failed(verifyMoments(*this, 11, getMoments(), isa<SketchAttr>(getFrom()),
                           getSoftCap())))
    return failure();
  return verifyLogits(*this, 8, getScale(), getSoftCap(), getEpsilon());
}

LogicalResult AttendOp::verify() {
  if (failed(verifyOneForm(*this, 4)) ||
      failed(verifyPair(*this, 9, "page_count", getPageCount(), "pages",
                        getPages())) ||
      failed(verifyPair(*this, 9, "token_count", getTokenCount(), "tokens",
                        getTokens())) ||
      failed(verifyPair(*this, 9, "begin", getBegin(), "end", getEnd())) ||
      failed(verifyPair(*this, 9, "end", getEnd(), "begin", getBegin())))
    return failure();
  if (getPages() && getTokens())
    return violates(*this, 5)
           << "expected at most one of `pages` and `tokens`, got both";
  bool projection = getSolver().isProjection();
  size_t expected = projection ? 4 : 2;
  if (getOuts().size() != expected)
    return violates(*this, 6)
           << "expected " << expected << " outs ("
           << (projection ? "o, lse, direction, gap" : "o, lse") << "), got "
           << getOuts().size();
  for (auto [out, name, shape] :
       llvm::zip(getOuts(), AttendShape::kNames, AttendShape::kDims)) {
    auto type = cast<ShapedType>(out.getType());
    if (!type.hasRank() ||
        type.getRank() != static_cast<int64_t>(shape.size()) ||
        !type.getElementType().isF32())
      return violates(*this, 6)
             << "expected the out `" << name << "` to have rank "
             << shape.size() << " and element type f32, got " << type;
  }
  NamedDims dims = getDims<AttendShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyPageSize(*this, 3, dims)))
    return failure();
  if (projection && getBegin())
    return violates(*this, 7)
           << "expected no `range` for the projection objective, got one";
  return verifyLogitsAndSolver(*this, 8);
}

LogicalResult MergeOp::verify() {
  if (getOutputs().empty())
    return violates(*this, 2) << "expected at least one state, got none";
  if (getOutputs().size() != getLses().size())
    return violates(*this, 2)
           << "expected an lse for each of " << getOutputs().size()
           << " outputs, got " << getLses().size();
  for (auto [o, lse] : llvm::zip(getOutputs(), getLses())) {
    auto outputType = cast<RankedTensorType>(o.getType());
    auto lseType = cast<RankedTensorType>(lse.getType());
    if (lseType.getRank() + 1 != outputType.getRank())
      return violates(*this, 3)
             << "expected the lse of " << outputType << " to have rank "
             << outputType.getRank() - 1 << ", got " << lseType;
    // The stack is shared within a state only.
    if (outputType.getRank() == 4 &&
        failed(verifyCompatibleDims(
            {outputType.getDimSize(0), lseType.getDimSize(0)})))
      return violates(*this, 1)
             << "expected dimension 0 of `lses` (the stack) to be "
             << outputType.getDimSize(0) << " as in `outputs`, got "
             << lseType.getDimSize(0);
  }
  return verifyDims(*this, getDims<MergeShape>(*this));
}

LogicalResult MergeTailsOp::verify() {
  if (getTails().empty())
    return violates(*this, 2) << "expected at least one tail, got none";
  return verifyDims(*this, getDims<MergeTailsShape>(*this));
}

LogicalResult CertifyOp::verify() {
  NamedDims dims = getDims<CertifyShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyCount(*this, 3, "page_size", getPageSize(), 1)))
    return failure();
  bool projection = getSolver().isProjection();
  if (projection && !getGap())
    return violates(*this, 4)
           << "expected `gap` for the projection objective, got none";
  if (!projection && getGap())
    return violates(*this, 4)
           << "expected no `gap` for the linear objective, got one";
  return verifyLogitsAndSolver(*this, 5);
}

LogicalResult FallbackOp::verify() {
  NamedDims dims = getDims<FallbackShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyPageSize(*this, 3, dims)))
    return failure();
  APFloat limit = getLimit();
  if (!limit.isFinite() || (limit.isNegative() && !limit.isZero()))
    return violates(*this, 4) << "expected a finite limit of at least 0, got "
                              << limit.convertToFloat();
  return verifyLogitsAndSolver(*this, 5);
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyParts(*this, 4, getSummaryAttr(), getSummaryParts())) ||
      failed(verifyParts(*this, 4, getSketchAttr(), getSketchParts())))
    return failure();
  NamedDims dims = getDims<AttentionShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyPageSize(*this, 3, dims)))
    return failure();
  // A sketch may have one where the caches have not.
  NamedDims caches;
  bindCaches(*this, caches);
  if (failed(verifyPageSize(*this, 3, caches)))
    return failure();
  PolicyAttr policy = getPolicy();
  bool routes = policy.getPages() > 0, selects = policy.getCandidates() > 0;
  if (routes != static_cast<bool>(getSummaryAttr()))
    return violates(*this, 5)
           << "expected " << (routes ? "a" : "no")
           << " summary for a policy with pages = " << policy.getPages()
           << ", got " << (routes ? "none" : "one");
  if (!selects && getSketchAttr())
    return violates(*this, 6)
           << "expected no sketch for a policy with candidates = 0, got one";
  bool certifies = policy.isCertified() && !policy.isDense();
  if (certifies != static_cast<bool>(getNorms()))
    return violates(*this, 7)
           << (certifies
                   ? "expected `norms` for a policy with a tolerance, got "
                     "none"
                   : "expected no `norms` for a policy that leaves nothing "
                     "to certify (no tolerance, or neither pages nor "
                     "candidates), got some");
  if (routes && failed(verifyBudget(*this, 8, policy.getPages(),
                                    policy.getSinks(), policy.getWindow(),
                                    dims.size(Dim::pageSize), "pages")))
    return failure();
  if (failed(verifyLogitsAndSolver(*this, 9)))
    return failure();
  if (getSolver().isProjection() && policy.getPick() != PickMode::top)
    return violates(*this, 10)
           << "expected pick = top for the projection objective, got "
           << stringifyPickMode(policy.getPick());
  if (!getSolver().isProjection() && policy.getTarget() == Target::gap)
    return violates(*this, 12)
           << "expected the projection objective for the target gap, got "
           << stringifyObjective(getSolver().getObjective());
  if (getMoments() && !certifies)
    return violates(*this, 13)
           << "expected a policy with a tolerance for `moments`, got none";
  return verifyMoments(*this, 13, getMoments(), getSketchAttr() != nullptr,
                       getSoftCap());
}

//===----------------------------------------------------------------------===//
// Destinations and effects
//===----------------------------------------------------------------------===//

/// The destinations are the operands from `first` on.
static MutableOperandRange getInitsFrom(Operation *op, unsigned first) {
  return MutableOperandRange(op, first, op->getNumOperands() - first);
}

MutableOperandRange SummarizeOp::getDpsInitsMutable() {
  // By segment: an empty range has no first operand to ask.
  return getInitsFrom(*this, getODSOperandIndexAndLength(5).first);
}

MutableOperandRange AppendOp::getDpsInitsMutable() {
  return getInitsFrom(*this, getKCacheMutable().getOperandNumber());
}

int64_t AttendOp::getGroupSize() {
  NamedDims dims = getDims<AttendShape>(*this);
  int64_t heads = dims.size(Dim::heads), kvHeads = dims.size(Dim::kvHeads);
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads))
    return ShapedType::kDynamic;
  return heads / kvHeads;
}

/// On memrefs a destination op reads its inputs and updates its destinations,
/// those of a projection without reading them; on tensors it has no effect.
static void
getDestinationEffects(DestinationStyleOpInterface op,
                      SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    auto attend = dyn_cast<AttendOp>(op.getOperation());
    if (!attend || !attend.isOverwritten(operand))
      effects.emplace_back(MemoryEffects::Read::get(), &operand,
                           SideEffects::DefaultResource::get());
    if (op.isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand,
                           SideEffects::DefaultResource::get());
  }
}

static LogicalResult reifyDestinations(DestinationStyleOpInterface op,
                                       OpBuilder &b,
                                       ReifiedRankedShapedTypeDims &shapes) {
  for (OpResult result : op->getResults())
    shapes.push_back(tensor::getMixedSizes(b, op->getLoc(),
                                           op.getTiedOpOperand(result)->get()));
  return success();
}

#define VASHISTA_DESTINATION_OP(OP)                                            \
  void OP::getEffects(                                                         \
      SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {               \
    getDestinationEffects(*this, effects);                                     \
  }                                                                            \
  LogicalResult OP::reifyResultShapes(OpBuilder &b,                            \
                                      ReifiedRankedShapedTypeDims &shapes) {   \
    return reifyDestinations(*this, b, shapes);                                \
  }
VASHISTA_DESTINATION_OP(SummarizeOp)
VASHISTA_DESTINATION_OP(AppendOp)
VASHISTA_DESTINATION_OP(AttendOp)
#undef VASHISTA_DESTINATION_OP

#define GET_OP_CLASSES
#include "vashista/Dialect/Vashista/IR/VashistaOps.cpp.inc"
