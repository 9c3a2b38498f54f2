//===- VashistaOps.cpp - Shapes, verifiers and effects of vashista ops -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

#include <limits>

using namespace mlir;
using namespace vashista;

//===----------------------------------------------------------------------===//
// Dimensions of shared operands
//===----------------------------------------------------------------------===//

/// The rows of the page table: sequences where rows name theirs, else rows.
template <typename T> static Dim getTableRows(T op) {
  return op.getRowToSeq() ? Dim::seqs : Dim::rows;
}

template <typename T> static void bindTable(T op, NamedDims &dims) {
  dims.bind("page_table", op.getPageTable(), {getTableRows(op), Dim::seqPages});
  dims.bind("row_to_seq", op.getRowToSeq(), {Dim::rows});
}

template <typename T> static void bindTableAndLengths(T op, NamedDims &dims) {
  dims.bind("seq_lens", op.getSeqLens(), {Dim::rows});
  bindTable(op, dims);
}

template <typename T> static void bindCaches(T op, NamedDims &dims) {
  dims.bind("k_cache", op.getKCache(),
            getCacheDims(op.getLayout(), Dim::keyDim));
  dims.bind("v_cache", op.getVCache(),
            getCacheDims(op.getLayout(), Dim::valueDim));
}

template <typename T> static void bindWithin(T op, NamedDims &dims) {
  dims.bind("pages", op.getPages(), {Dim::rows, Dim::kvHeads, Dim::listPages});
  dims.bind("page_count", op.getPageCount(), {Dim::rows, Dim::kvHeads});
}

template <typename T> static void bindChain(T op, NamedDims &dims) {
  dims.bind("taken", op.getTaken(), {Dim::rows, Dim::kvHeads, Dim::taken});
  dims.bind("outside", op.getOutside(), {Dim::rows, Dim::heads});
  dims.bind("attended", op.getAttended(), {Dim::rows, Dim::heads});
}

/// Binds the tensors of a key source. What a sketch's attribute implies for its
/// codes and groups is fixed first, so that a tensor that differs is at fault.
static void bindSource(KeySource source, ValueRange parts, NamedDims &dims) {
  int64_t keyDim = dims.size(Dim::keyDim);
  auto sketch = dyn_cast_or_null<SketchAttr>(source);
  if (sketch && !ShapedType::isDynamic(keyDim)) {
    dims.fix("sketch", Dim::codeBytes, sketch.getCodeBytes(keyDim));
    dims.fix("sketch", Dim::groups, sketch.getNumGroups(keyDim));
  }
  if (!source)
    return;
  for (auto [part, value] : llvm::zip(source.getParts(), parts))
    dims.bind(part.name, value, part.dims);
}

/// Binds everything that is kept beside a cache.
template <typename T> static void bindKept(T op, NamedDims &dims) {
  bindSource(op.getSummaryAttr(), op.getSummaryParts(), dims);
  dims.fix("key and value", Dim::normKinds, 2);
  dims.bind("norms", op.getNorms(),
            {Dim::physPages, Dim::kvHeads, Dim::normKinds});
  bindSource(op.getSketchAttr(), op.getSketchParts(), dims);
}

//===----------------------------------------------------------------------===//
// Shapes of each op: what its operands declare, what its results are
//===----------------------------------------------------------------------===//

namespace {

struct ScoreShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    bindSource(op.getFrom(), op.getParts(), dims);
    bindTableAndLengths(op, dims);
    bindWithin(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    Extent slots = op.getFrom() && op.getFrom().scoresPages()
                       ? Extent(Dim::seqPages)
                   : op.getPages() ? Extent(Dim::listPages, Dim::pageSize)
                                   : Extent(Dim::seqPages, Dim::pageSize);
    ResultSpec scores = {{Dim::rows, Dim::heads, slots}, b.getF32Type()};
    return {scores, scores};
  }
};

/// The list, its count and the tail: the results of every picking op.
static SmallVector<ResultSpec> getPickResults(Extent budget, Builder b) {
  return {{{Dim::rows, Dim::kvHeads, budget}, b.getI32Type()},
          {{Dim::rows, Dim::kvHeads}, b.getI32Type()},
          {{Dim::rows, Dim::heads}, b.getF32Type()}};
}

struct PickShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.fix("kv_heads", Dim::kvHeads, op.getKvHeads());
    dims.bind("scores", op.getScores(), {Dim::rows, Dim::heads, Dim::slots});
    dims.bind("bounds", op.getBounds(), {Dim::rows, Dim::heads, Dim::slots});
    dims.bind("seq_lens", op.getSeqLens(), {Dim::rows});
    bindWithin(op, dims);
    bindChain(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getPickResults(static_cast<int64_t>(op.getBudget()), b);
  }
};

struct RouteShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    bindSource(op.getFrom(), op.getParts(), dims);
    bindTableAndLengths(op, dims);
    bindChain(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getPickResults(static_cast<int64_t>(op.getBudget()), b);
  }
};

struct SelectShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    RouteShape::bind(op, dims);
    bindWithin(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getPickResults(static_cast<int64_t>(op.getBudget()), b);
  }
};

struct MergeShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    auto bindState = [&](StringRef name, Value value, ArrayRef<Dim> state) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      // The stack dimension is the operand's own: only the state is shared.
      if (type && type.getRank() == static_cast<int64_t>(state.size()) + 1)
        type = RankedTensorType::get(type.getShape().drop_front(),
                                     type.getElementType());
      if (type)
        dims.bind(name, type, state);
    };
    for (Value o : op.getOutputs())
      bindState("outputs", o, {Dim::rows, Dim::heads, Dim::valueDim});
    for (Value lse : op.getLses())
      bindState("lses", lse, {Dim::rows, Dim::heads});
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::heads, Dim::valueDim}, b.getF32Type()},
            {{Dim::rows, Dim::heads}, b.getF32Type()}};
  }
};

struct CertifyShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    dims.bind("o", op.getO(), {Dim::rows, Dim::heads, Dim::valueDim});
    dims.bind("lse", op.getLse(), {Dim::rows, Dim::heads});
    dims.bind("tail", op.getTail(), {Dim::rows, Dim::heads});
    dims.bind("gap", op.getGap(), {Dim::rows, Dim::heads});
    dims.fix("key and value", Dim::normKinds, 2);
    dims.bind("norms", op.getNorms(),
              {Dim::physPages, Dim::kvHeads, Dim::normKinds});
    bindTableAndLengths(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    ResultSpec perHead = {{Dim::rows, Dim::heads}, b.getF32Type()};
    return {perHead, perHead};
  }
};

struct FallbackShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("query", op.getQuery(), {Dim::rows, Dim::heads, Dim::keyDim});
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    dims.bind("o", op.getO(), {Dim::rows, Dim::heads, Dim::valueDim});
    dims.bind("lse", op.getLse(), {Dim::rows, Dim::heads});
    dims.bind("measure", op.getMeasure(), {Dim::rows, Dim::heads});
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::heads, Dim::valueDim}, b.getF32Type()},
            {{Dim::rows, Dim::heads}, b.getF32Type()},
            {{Dim::rows, Dim::kvHeads}, b.getI1Type()}};
  }
};

struct AttentionShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("query", op.getQuery(), {Dim::rows, Dim::heads, Dim::keyDim});
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    bindKept(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    ResultSpec perHead = {{Dim::rows, Dim::heads}, b.getF32Type()};
    return {{{Dim::rows, Dim::heads, Dim::valueDim}, b.getF32Type()},
            perHead,
            perHead,
            perHead,
            {{Dim::rows, Dim::kvHeads}, b.getI32Type()},
            {{Dim::rows, Dim::kvHeads}, b.getI1Type()}};
  }
};

/// Destination ops take their result types from their destinations.
struct SummarizeShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    bindKept(op, dims);
  }
};

struct AppendShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("key", op.getKey(), {Dim::rows, Dim::kvHeads, Dim::keyDim});
    dims.bind("value", op.getValue(), {Dim::rows, Dim::kvHeads, Dim::valueDim});
    dims.bind("positions", op.getPositions(), {Dim::rows});
    bindTable(op, dims);
    bindCaches(op, dims);
    bindKept(op, dims);
  }
};

struct AttendShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("query", op.getQuery(), {Dim::rows, Dim::heads, Dim::keyDim});
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    bindWithin(op, dims);
    dims.bind("tokens", op.getTokens(),
              {Dim::rows, Dim::kvHeads, Dim::listTokens});
    dims.bind("token_count", op.getTokenCount(), {Dim::rows, Dim::kvHeads});
    for (auto [out, name, shape] : llvm::zip(op.getOuts(), kNames, kDims))
      dims.bind(name, out, shape);
  }
  static inline const StringRef kNames[] = {"o", "lse", "direction", "gap"};
  static inline const SmallVector<Dim, 3> kDims[] = {
      {Dim::rows, Dim::heads, Dim::valueDim},
      {Dim::rows, Dim::heads},
      {Dim::rows, Dim::heads, Dim::keyDim},
      {Dim::rows, Dim::heads}};
};

} // namespace

template <typename Shape, typename T> static NamedDims getDims(T op) {
  NamedDims dims;
  Shape::bind(op, dims);
  return dims;
}

template <typename Shape, typename Adaptor>
static LogicalResult inferTypes(MLIRContext *context, Adaptor adaptor,
                                SmallVectorImpl<Type> &types) {
  NamedDims dims = getDims<Shape>(adaptor);
  for (const ResultSpec &spec : Shape::results(adaptor, Builder(context)))
    types.push_back(dims.getType(spec));
  return success();
}

template <typename Shape, typename OpTy>
static LogicalResult reifyShapes(OpTy op, OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &shapes) {
  NamedDims dims = getDims<Shape>(op);
  for (const ResultSpec &spec : Shape::results(op, b))
    shapes.push_back(llvm::map_to_vector(spec.shape, [&](const Extent &extent) {
      return dims.reify(b, op.getLoc(), extent);
    }));
  return success();
}

/// Types may differ in how much of a shape they know, not in what they say.
static bool areCompatible(TypeRange lhs, TypeRange rhs) {
  return succeeded(verifyCompatibleShapes(lhs, rhs)) &&
         llvm::equal(lhs, rhs, [](Type l, Type r) {
           return getElementTypeOrSelf(l) == getElementTypeOrSelf(r);
         });
}

/// The shape interfaces of an op with ordinary results.
#define VASHISTA_SHAPED_OP(OP)                                                 \
  LogicalResult OP##Op::inferReturnTypes(                                      \
      MLIRContext *context, std::optional<Location>, Adaptor adaptor,          \
      SmallVectorImpl<Type> &types) {                                          \
    return inferTypes<OP##Shape>(context, adaptor, types);                     \
  }                                                                            \
  bool OP##Op::isCompatibleReturnTypes(TypeRange lhs, TypeRange rhs) {         \
    return areCompatible(lhs, rhs);                                            \
  }                                                                            \
  LogicalResult OP##Op::reifyResultShapes(                                     \
      OpBuilder &b, ReifiedRankedShapedTypeDims &shapes) {                     \
    return reifyShapes<OP##Shape>(*this, b, shapes);                           \
  }
VASHISTA_SHAPED_OP(Score)
VASHISTA_SHAPED_OP(Pick)
VASHISTA_SHAPED_OP(Route)
VASHISTA_SHAPED_OP(Select)
VASHISTA_SHAPED_OP(Certify)
VASHISTA_SHAPED_OP(Fallback)
VASHISTA_SHAPED_OP(Attention)
#undef VASHISTA_SHAPED_OP

// Merge differs: a stack hides the dimensions that its state shares with the
// others, so they are reified from a state's trailing dimensions.
LogicalResult MergeOp::inferReturnTypes(MLIRContext *context,
                                        std::optional<Location>,
                                        Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  return inferTypes<MergeShape>(context, adaptor, types);
}

bool MergeOp::isCompatibleReturnTypes(TypeRange lhs, TypeRange rhs) {
  return areCompatible(lhs, rhs);
}

LogicalResult MergeOp::reifyResultShapes(OpBuilder &b,
                                         ReifiedRankedShapedTypeDims &shapes) {
  NamedDims dims = getDims<MergeShape>(*this);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getOutputs().front());
  SmallVector<OpFoldResult> state(ArrayRef<OpFoldResult>(sizes).take_back(3));
  // Another operand may know statically what the first does not.
  const Dim stateDims[] = {Dim::rows, Dim::heads, Dim::valueDim};
  for (auto [size, dim] : llvm::zip(state, stateDims))
    if (int64_t known = dims.size(dim); !ShapedType::isDynamic(known))
      size = b.getIndexAttr(known);
  shapes.push_back(state);
  state.pop_back();
  shapes.push_back(state);
  return success();
}

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
  return success();
}

static LogicalResult verifyHeads(Operation *op, int number,
                                 const NamedDims &dims) {
  int64_t heads = dims.size(Dim::heads), kvHeads = dims.size(Dim::kvHeads);
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads))
    return success();
  if (kvHeads < 1 || heads % kvHeads != 0)
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
  if (pageSize < 1)
    return violates(op, number)
           << "expected a page size (S) of at least 1, got " << pageSize;
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
    diag << "expected " << parts.size() << " tensors (";
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

static bool isUsableFactor(const APFloat &value) {
  return value.isNormal() && !value.isNegative();
}

static LogicalResult verifyLogits(Operation *op, int number,
                                  const APFloat &scale,
                                  std::optional<APFloat> softCap,
                                  std::optional<APFloat> epsilon = {}) {
  std::pair<StringRef, std::optional<APFloat>> factors[] = {
      {"scale", scale}, {"soft_cap", softCap}, {"epsilon", epsilon}};
  for (auto &[name, value] : factors)
    if (value && !isUsableFactor(*value))
      return violates(op, number)
             << "expected " << name << " to be a positive normal f32, got "
             << value->convertToFloat();
  return success();
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
                                  int64_t slotTokens) {
  if (failed(verifyCount(op, number, "the budget", budget, 0)))
    return failure();
  int64_t always = llvm::divideCeil(sinks, slotTokens) +
                   getNumWindowPages(window, slotTokens);
  if (budget < always)
    return violates(op, number)
           << "expected a budget of at least " << always
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
  return success();
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
  return success();
}

LogicalResult ScoreOp::verify() {
  if (failed(verifyParts(*this, 3, getFrom(), getParts())))
    return failure();
  NamedDims dims = getDims<ScoreShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)))
    return failure();
  if (getFrom().scoresPages()) {
    if (getPages())
      return violates(*this, 5)
             << "expected a source of tokens for `within`, got " << getFrom();
  } else if (failed(verifyPageSize(*this, 4, dims))) {
    return failure();
  }
  return verifyLogits(*this, 6, getScale(), getSoftCap(), getEpsilon());
}

LogicalResult PickOp::verify() {
  NamedDims dims = getDims<PickShape>(*this);
  if (failed(verifyCount(*this, 2, "kv_heads", getKvHeads(), 1)) ||
      failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyCount(*this, 4, "page_size", getPageSize(), 1)) ||
      failed(verifyCount(*this, 4, "sinks", getSinks(), 0)) ||
      failed(verifyCount(*this, 4, "window", getWindow(), 0)))
    return failure();
  bool pages = getUnit() == SlotUnit::pages;
  if (failed(verifyBudget(*this, 3, getBudget(), getSinks(), getWindow(),
                          pages ? getPageSize() : 1)) ||
      failed(verifyMode(*this, 5)))
    return failure();
  if (!getPages())
    return success();
  if (pages)
    return violates(*this, 6)
           << "expected scores of tokens for `within`, got pages";
  int64_t listed = dims.size(Dim::listPages), slots = dims.size(Dim::slots);
  if (!ShapedType::isDynamic(listed) && !ShapedType::isDynamic(slots) &&
      listed * static_cast<int64_t>(getPageSize()) != slots)
    return violates(*this, 6)
           << "expected " << listed * static_cast<int64_t>(getPageSize())
           << " slots for " << listed << " listed pages of " << getPageSize()
           << " tokens, got " << slots;
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
                          getPageSize())) ||
      failed(verifyMode(*this, 6)))
    return failure();
  return verifyLogits(*this, 7, getScale(), getSoftCap(), getEpsilon());
}

LogicalResult SelectOp::verify() {
  if (getFrom().scoresPages())
    return violates(*this, 4)
           << "expected a source of tokens (keys or a sketch), got "
           << getFrom();
  if (failed(verifyParts(*this, 3, getFrom(), getParts())))
    return failure();
  NamedDims dims = getDims<SelectShape>(*this);
  if (failed(verifyDims(*this, dims)) || failed(verifyHeads(*this, 2, dims)) ||
      failed(verifyPageSize(*this, 5, dims)) ||
      failed(verifyCount(*this, 5, "sinks", getSinks(), 0)) ||
      failed(verifyCount(*this, 5, "window", getWindow(), 0)) ||
      failed(verifyBudget(*this, 6, getBudget(), getSinks(), getWindow(),
                          /*slotTokens=*/1)) ||
      failed(verifyMode(*this, 7)))
    return failure();
  return verifyLogits(*this, 8, getScale(), getSoftCap(), getEpsilon());
}

LogicalResult AttendOp::verify() {
  if (failed(verifyOneForm(*this, 4)))
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
  if (!limit.isFinite() || limit.isNegative())
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
  PolicyAttr policy = getPolicy();
  bool routes = policy.getPages() > 0, selects = policy.getCandidates() > 0;
  if (routes != static_cast<bool>(getSummaryAttr()))
    return violates(*this, 5)
           << "expected " << (routes ? "a" : "no")
           << " summary for a policy of " << policy.getPages() << " pages, got "
           << (routes ? "none" : "one");
  if (!selects && getSketchAttr())
    return violates(*this, 6)
           << "expected no sketch for a policy of 0 candidates, got one";
  bool certifies = policy.isCertified() && !policy.isDense();
  if (certifies != static_cast<bool>(getNorms()))
    return violates(*this, 7)
           << (certifies
                   ? "expected `norms` for a policy with a tolerance, got "
                     "none"
                   : "expected no `norms` for a policy that certifies "
                     "nothing, got some");
  if (routes &&
      failed(verifyBudget(*this, 8, policy.getPages(), policy.getSinks(),
                          policy.getWindow(), dims.size(Dim::pageSize))))
    return failure();
  if (failed(verifyLogitsAndSolver(*this, 9)))
    return failure();
  if (getSolver().isProjection() &&
      (policy.getRounds() != 1 || policy.getPick() != PickMode::top))
    return violates(*this, 10)
           << "expected rounds = 1 and pick = top for the projection "
              "objective, "
              "got rounds = "
           << policy.getRounds()
           << " and pick = " << stringifyPickMode(policy.getPick());
  return success();
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

/// On memrefs a destination op reads its inputs and updates its destinations;
/// on tensors it has no effect.
static void
getDestinationEffects(DestinationStyleOpInterface op,
                      SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
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

//===----------------------------------------------------------------------===//
// Names of results, for readable IR
//===----------------------------------------------------------------------===//

static void nameResults(Operation *op, OpAsmSetValueNameFn setName,
                        ArrayRef<StringRef> names) {
  for (auto [result, name] : llvm::zip(op->getResults(), names))
    setName(result, name);
}

/// The names of what is kept beside a cache, after `names`.
template <typename OpTy>
static void nameKept(OpTy op, OpAsmSetValueNameFn setName,
                     SmallVector<StringRef> names) {
  auto append = [&](KeySource source) {
    if (source)
      for (const SourcePart &part : source.getParts())
        names.push_back(part.name);
  };
  append(op.getSummaryAttr());
  if (op.getNorms())
    names.push_back("norms");
  append(op.getSketchAttr());
  nameResults(op, setName, names);
}

void SummarizeOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameKept(*this, setName, {});
}
void AppendOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameKept(*this, setName, {"k_cache", "v_cache"});
}
void ScoreOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  if (getFrom() && getFrom().scoresPages())
    nameResults(*this, setName, {"page_scores", "page_bounds"});
  else
    nameResults(*this, setName, {"token_scores", "token_bounds"});
}

static void namePick(Operation *op, OpAsmSetValueNameFn setName, bool pages) {
  if (pages)
    nameResults(op, setName, {"pages", "page_count", "page_tail"});
  else
    nameResults(op, setName, {"tokens", "token_count", "tail"});
}
void PickOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  namePick(*this, setName, getUnit() == SlotUnit::pages);
}
void RouteOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  namePick(*this, setName, /*pages=*/true);
}
void SelectOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  namePick(*this, setName, /*pages=*/false);
}
void AttendOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, AttendShape::kNames);
}
void MergeOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"o", "lse"});
}
void CertifyOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"tau", "error"});
}
void FallbackOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"o", "lse", "flag"});
}
void AttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"o", "lse", "tau", "error", "rounds", "flag"});
}

#define GET_OP_CLASSES
#include "vashista/Dialect/Vashista/IR/VashistaOps.cpp.inc"
