//===- TilingInterfaceImpl.cpp - Tiling of vashista.attend -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Iteration space: (rows, KV heads, slots). Rows and KV heads are parallel.
// Slots are a reduction: a tile of them is a `range`, and since `attend` merges
// into its destinations, tiles in sequence accumulate and tiles in parallel are
// joined by `merge`.
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <limits>

using namespace mlir;
using namespace vashista;

namespace {
enum Loop : unsigned { kRows, kKvHeads, kSlots };
} // namespace

//===----------------------------------------------------------------------===//
// Sizes and slices
//===----------------------------------------------------------------------===//

static OpFoldResult apply(OpBuilder &b, Location loc, AffineExpr expr,
                          ArrayRef<OpFoldResult> operands) {
  return affine::makeComposedFoldedAffineApply(b, loc, expr, operands);
}

static OpFoldResult multiply(OpBuilder &b, Location loc, OpFoldResult value,
                             int64_t factor) {
  return apply(b, loc, b.getAffineSymbolExpr(0) * factor, {value});
}

static OpFoldResult add(OpBuilder &b, Location loc, OpFoldResult lhs,
                        OpFoldResult rhs) {
  return apply(b, loc, b.getAffineSymbolExpr(0) + b.getAffineSymbolExpr(1),
               {lhs, rhs});
}

static OpFoldResult subtract(OpBuilder &b, Location loc, OpFoldResult lhs,
                             OpFoldResult rhs) {
  return apply(b, loc, b.getAffineSymbolExpr(0) - b.getAffineSymbolExpr(1),
               {lhs, rhs});
}

/// The quotient, where affine arithmetic shows that nothing remains.
static FailureOr<OpFoldResult> divide(OpBuilder &b, Location loc,
                                      OpFoldResult value, int64_t divisor) {
  if (auto constant = getConstantIntValue(value)) {
    if (*constant % divisor != 0)
      return failure();
    return OpFoldResult(b.getIndexAttr(*constant / divisor));
  }
  AffineMap map = AffineMap::get(/*dimCount=*/0, /*symbolCount=*/1,
                                 b.getAffineSymbolExpr(0));
  SmallVector<Value> operands = {cast<Value>(value)};
  affine::fullyComposeAffineMapAndOperands(&map, &operands);
  if (!map.getResult(0).isMultipleOf(divisor))
    return failure();
  return apply(b, loc, b.getAffineSymbolExpr(0).floorDiv(divisor), {value});
}

static SmallVector<OpFoldResult> getSizes(OpBuilder &b, Location loc,
                                          Value value) {
  return isa<TensorType>(value.getType())
             ? tensor::getMixedSizes(b, loc, value)
             : memref::getMixedSizes(b, loc, value);
}

/// Whether two sizes are the same by construction: equal constants, the same
/// value, or equal ops on the same operands. An iteration domain that is asked
/// for twice is built twice.
static bool isSame(OpFoldResult lhs, OpFoldResult rhs) {
  if (isEqualConstantIntOrValue(lhs, rhs))
    return true;
  auto l = dyn_cast<Value>(lhs), r = dyn_cast<Value>(rhs);
  if (!l || !r || !l.getDefiningOp() || !r.getDefiningOp())
    return false;
  return OperationEquivalence::isEquivalentTo(
      l.getDefiningOp(), r.getDefiningOp(),
      [](Value a, Value b) { return success(isSame(a, b)); },
      /*markEquivalent=*/nullptr, OperationEquivalence::IgnoreLocations);
}

namespace {

/// Where an operand lies along the tiled loops: the position of the dimension
/// that each loop indexes, if any.
struct Access {
  std::optional<unsigned> rows, kvHeads;
  bool queryHeads = false; // the KV head dimension counts query heads
};

/// Tiles operands of one attend.
class Tiler {
public:
  Tiler(AttendOp op, OpBuilder &b, ArrayRef<OpFoldResult> offsets,
        ArrayRef<OpFoldResult> sizes)
      : op(op), b(b), loc(op.getLoc()), offsets(offsets), sizes(sizes) {}

  /// Offsets and sizes of the tile of an operand with the given sizes.
  void getTile(Access access, ArrayRef<OpFoldResult> whole,
               SmallVectorImpl<OpFoldResult> &tileOffsets,
               SmallVectorImpl<OpFoldResult> &tileSizes) {
    tileOffsets.assign(whole.size(), b.getIndexAttr(0));
    tileSizes.assign(whole.begin(), whole.end());
    if (access.rows) {
      tileOffsets[*access.rows] = offsets[kRows];
      tileSizes[*access.rows] = sizes[kRows];
    }
    if (access.kvHeads) {
      int64_t factor = access.queryHeads ? op.getGroupSize() : 1;
      tileOffsets[*access.kvHeads] =
          multiply(b, loc, offsets[kKvHeads], factor);
      tileSizes[*access.kvHeads] = multiply(b, loc, sizes[kKvHeads], factor);
    }
  }

  /// The tile of an operand: itself where the tile is all of it, null for an
  /// absent one.
  Value slice(Value value, Access access) {
    if (!value)
      return value;
    SmallVector<OpFoldResult> whole = getSizes(b, loc, value);
    SmallVector<OpFoldResult> tileOffsets, tileSizes;
    getTile(access, whole, tileOffsets, tileSizes);
    if (llvm::all_of(tileOffsets,
                     [](OpFoldResult offset) {
                       return isConstantIntValue(offset, 0);
                     }) &&
        llvm::equal(tileSizes, whole, isSame))
      return value;
    auto type = dyn_cast<RankedTensorType>(value.getType());
    // Of a dimension without elements MLIR has no slice.
    if (type && llvm::is_contained(type.getShape(), 0))
      return tensor::EmptyOp::create(b, loc, tileSizes, type.getElementType());
    SmallVector<OpFoldResult> strides(tileSizes.size(), b.getIndexAttr(1));
    Operation *made;
    if (type)
      made = tensor::ExtractSliceOp::create(b, loc, value, tileOffsets,
                                            tileSizes, strides);
    else
      made = memref::SubViewOp::create(b, loc, value, tileOffsets, tileSizes,
                                       strides);
    slices.push_back(made);
    return made->getResult(0);
  }

  SmallVector<Operation *> slices;

private:
  AttendOp op;
  OpBuilder &b;
  Location loc;
  ArrayRef<OpFoldResult> offsets, sizes;
};

} // namespace

static constexpr Access kPerQueryHead = {0u, 1u, /*queryHeads=*/true};
static constexpr Access kPerKvHead = {0u, 1u};
static constexpr Access kPerRow = {0u, std::nullopt};

static Access getCacheAccess(AttendOp op) {
  SmallVector<Dim, 4> dims = getCacheDims(op.getLayout(), Dim::keyDim);
  unsigned heads = llvm::find(dims, Dim::kvHeads) - dims.begin();
  return {std::nullopt, heads};
}

/// The number of slots of the op's list, or of the sequence.
static OpFoldResult getNumSlots(AttendOp op, OpBuilder &b) {
  Location loc = op.getLoc();
  if (op.getTokens())
    return getSizes(b, loc, op.getTokens())[2];
  SmallVector<Dim, 4> dims = getCacheDims(op.getLayout(), Dim::keyDim);
  unsigned position = llvm::find(dims, Dim::pageSize) - dims.begin();
  int64_t pageSize =
      cast<ShapedType>(op.getKCache().getType()).getDimSize(position);
  OpFoldResult pages = op.getPages() ? getSizes(b, loc, op.getPages())[2]
                                     : getSizes(b, loc, op.getPageTable())[1];
  return multiply(b, loc, pages, pageSize);
}

//===----------------------------------------------------------------------===//
// TilingInterface
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> AttendOp::getLoopIteratorTypes() {
  return {utils::IteratorType::parallel, utils::IteratorType::parallel,
          utils::IteratorType::reduction};
}

SmallVector<Range> AttendOp::getIterationDomain(OpBuilder &b) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(*this);
  Location loc = getLoc();
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  OpFoldResult rows = getSizes(b, loc, getQuery())[0];
  OpFoldResult kvHeads =
      getSizes(b, loc, getKCache())[*getCacheAccess(*this).kvHeads];
  Range slots = {zero, OpFoldResult(), one};
  if (getBegin()) {
    slots.offset = getAsOpFoldResult(getBegin());
    slots.size = subtract(b, loc, getAsOpFoldResult(getEnd()), slots.offset);
  } else {
    slots.size = getNumSlots(*this, b);
  }
  return {{zero, rows, one}, {zero, kvHeads, one}, slots};
}

/// The attend over a tile, merging into `outs`, which are tiles already.
static FailureOr<AttendOp> createTile(AttendOp op, OpBuilder &b, Tiler &tiler,
                                      ArrayRef<OpFoldResult> offsets,
                                      ArrayRef<OpFoldResult> sizes,
                                      ValueRange outs) {
  Location loc = op.getLoc();
  Value begin = op.getBegin(), end = op.getEnd();
  Range slots = op.getIterationDomain(b)[kSlots];
  if (!isSame(offsets[kSlots], slots.offset) ||
      !isSame(sizes[kSlots], slots.size)) {
    // A projection is solved over its whole set at once.
    if (op.getSolver().isProjection())
      return failure();
    begin = getValueOrCreateConstantIndexOp(b, loc, offsets[kSlots]);
    end = getValueOrCreateConstantIndexOp(
        b, loc, add(b, loc, offsets[kSlots], sizes[kSlots]));
  }
  Access cache = getCacheAccess(op);
  bool tensors = op.hasPureTensorSemantics();
  // Rows that name their sequence need the whole table.
  Value table = op.getRowToSeq() ? Value(op.getPageTable())
                                 : tiler.slice(op.getPageTable(), kPerRow);
  return AttendOp::create(
      b, loc, tensors ? TypeRange(outs) : TypeRange(),
      tiler.slice(op.getQuery(), kPerQueryHead),
      tiler.slice(op.getKCache(), cache), tiler.slice(op.getVCache(), cache),
      table, tiler.slice(op.getSeqLens(), kPerRow),
      tiler.slice(op.getRowToSeq(), kPerRow),
      tiler.slice(op.getPages(), kPerKvHead),
      tiler.slice(op.getPageCount(), kPerKvHead),
      tiler.slice(op.getTokens(), kPerKvHead),
      tiler.slice(op.getTokenCount(), kPerKvHead), begin, end, outs,
      op.getScaleAttr(), op.getSoftCapAttr(), op.getSolverAttr(),
      op.getLayoutAttr(), op.getScheduleAttr());
}

FailureOr<TilingResult>
AttendOp::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                                 ArrayRef<OpFoldResult> sizes) {
  // Query heads are tiled by groups.
  if (ShapedType::isDynamic(getGroupSize()))
    return failure();
  Tiler tiler(*this, b, offsets, sizes);
  SmallVector<Value> outs = llvm::map_to_vector(
      getOuts(), [&](Value out) { return tiler.slice(out, kPerQueryHead); });
  FailureOr<AttendOp> tile = createTile(*this, b, tiler, offsets, sizes, outs);
  if (failed(tile))
    return failure();
  return TilingResult{
      {*tile}, llvm::to_vector_of<Value>((*tile)->getResults()), tiler.slices};
}

LogicalResult AttendOp::getResultTilePosition(
    OpBuilder &b, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  if (ShapedType::isDynamic(getGroupSize()))
    return failure();
  Tiler(*this, b, offsets, sizes)
      .getTile(kPerQueryHead, getSizes(b, getLoc(), getOuts()[resultNumber]),
               resultOffsets, resultSizes);
  return success();
}

LogicalResult AttendOp::getIterationDomainTileFromResultTile(
    OpBuilder &b, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVectorImpl<OpFoldResult> &domainOffsets,
    SmallVectorImpl<OpFoldResult> &domainSizes) {
  int64_t group = getGroupSize();
  if (ShapedType::isDynamic(group))
    return failure();
  SmallVector<OpFoldResult> whole =
      getSizes(b, getLoc(), getOuts()[resultNumber]);
  // A state is made whole: only rows and whole groups of heads can be asked
  // for.
  for (unsigned i = 2, e = offsets.size(); i < e; ++i)
    if (!isConstantIntValue(offsets[i], 0) || !isSame(sizes[i], whole[i]))
      return failure();
  FailureOr<OpFoldResult> kvOffset = divide(b, getLoc(), offsets[1], group);
  FailureOr<OpFoldResult> kvSize = divide(b, getLoc(), sizes[1], group);
  if (failed(kvOffset) || failed(kvSize))
    return failure();
  Range slots = getIterationDomain(b)[kSlots];
  domainOffsets.assign({offsets[0], *kvOffset, slots.offset});
  domainSizes.assign({sizes[0], *kvSize, slots.size});
  return success();
}

FailureOr<TilingResult>
AttendOp::generateResultTileValue(OpBuilder &b, unsigned resultNumber,
                                  ArrayRef<OpFoldResult> offsets,
                                  ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> domainOffsets, domainSizes;
  if (failed(getIterationDomainTileFromResultTile(
          b, resultNumber, offsets, sizes, domainOffsets, domainSizes)))
    return failure();
  FailureOr<TilingResult> tiled =
      getTiledImplementation(b, domainOffsets, domainSizes);
  if (failed(tiled))
    return failure();
  return TilingResult{tiled->tiledOps,
                      {tiled->tiledValues[resultNumber]},
                      tiled->generatedSlices};
}

//===----------------------------------------------------------------------===//
// PartialReductionOpInterface: one state per split, stacked, then merged
//===----------------------------------------------------------------------===//

/// The sizes of o (0) or lse (1), from the inputs: while a reduction is split,
/// upstream gives the op the stack of all states as its destinations.
static SmallVector<OpFoldResult> getStateSizes(AttendOp op, OpBuilder &b,
                                               unsigned number) {
  Location loc = op.getLoc();
  SmallVector<OpFoldResult> sizes = getSizes(b, loc, op.getQuery());
  sizes.pop_back();
  if (number == 0)
    sizes.push_back(getSizes(b, loc, op.getVCache()).back());
  return sizes;
}

/// Splits are independent states: only the parallel form has a meaning.
static bool isSplit(ReductionTilingStrategy strategy,
                    const SetVector<unsigned> &reductionDims) {
  return strategy == ReductionTilingStrategy::PartialReductionOuterParallel &&
         reductionDims.size() == 1 && reductionDims.front() == kSlots;
}

FailureOr<SmallVector<Value>>
AttendOp::generateInitialTensorForPartialReduction(
    OpBuilder &b, Location loc, ArrayRef<OpFoldResult> tileSizes,
    const SetVector<unsigned> &reductionDims) {
  if (getSolver().isProjection() || reductionDims.size() != 1 ||
      reductionDims.front() != kSlots)
    return failure();
  const float identities[] = {0.0f, -std::numeric_limits<float>::infinity()};
  SmallVector<Value> inits;
  for (auto [number, identity] : llvm::enumerate(identities)) {
    SmallVector<OpFoldResult> sizes = getStateSizes(*this, b, number);
    sizes.insert(sizes.begin(), tileSizes[kSlots]);
    Value empty = tensor::EmptyOp::create(b, loc, sizes, b.getF32Type());
    Value constant =
        arith::ConstantOp::create(b, loc, b.getF32FloatAttr(identity));
    inits.push_back(
        linalg::FillOp::create(b, loc, constant, empty).getResult(0));
  }
  return inits;
}

/// Where the state of a split lies in the stack.
static void getSplitPosition(AttendOp op, OpBuilder &b, unsigned number,
                             ArrayRef<OpFoldResult> offsets,
                             ArrayRef<OpFoldResult> sizes, OpFoldResult split,
                             SmallVector<OpFoldResult> &splitOffsets,
                             SmallVector<OpFoldResult> &splitSizes) {
  Tiler(op, b, offsets, sizes)
      .getTile(kPerQueryHead, getStateSizes(op, b, number), splitOffsets,
               splitSizes);
  splitOffsets.insert(splitOffsets.begin(), split);
  splitSizes.insert(splitSizes.begin(), b.getIndexAttr(1));
}

FailureOr<TilingResult> AttendOp::tileToPartialReduction(
    OpBuilder &b, Location loc, ReductionTilingStrategy strategy,
    ValueRange inits, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, const SetVector<unsigned> &reductionDims,
    ArrayRef<OpFoldResult> splitReductionIvs) {
  if (!isSplit(strategy, reductionDims) || getSolver().isProjection() ||
      ShapedType::isDynamic(getGroupSize()))
    return failure();
  Tiler tiler(*this, b, offsets, sizes);
  SmallVector<Value> outs;
  for (auto [number, init] : llvm::enumerate(inits)) {
    SmallVector<OpFoldResult> splitOffsets, splitSizes;
    getSplitPosition(*this, b, number, offsets, sizes, splitReductionIvs[0],
                     splitOffsets, splitSizes);
    SmallVector<OpFoldResult> strides(splitSizes.size(), b.getIndexAttr(1));
    SmallVector<int64_t> shape;
    SmallVector<Value> dynamic;
    dispatchIndexOpFoldResults(ArrayRef<OpFoldResult>(splitSizes).drop_front(),
                               dynamic, shape);
    auto slice = tensor::ExtractSliceOp::create(
        b, loc, RankedTensorType::get(shape, b.getF32Type()), init,
        splitOffsets, splitSizes, strides);
    tiler.slices.push_back(slice);
    outs.push_back(slice);
  }
  FailureOr<AttendOp> tile = createTile(*this, b, tiler, offsets, sizes, outs);
  if (failed(tile))
    return failure();
  return TilingResult{
      {*tile}, llvm::to_vector_of<Value>((*tile)->getResults()), tiler.slices};
}

LogicalResult AttendOp::getPartialResultTilePosition(
    OpBuilder &b, unsigned resultNumber, ReductionTilingStrategy strategy,
    ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
    const SetVector<unsigned> &reductionDims,
    ArrayRef<OpFoldResult> splitReductionIvs,
    SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  if (!isSplit(strategy, reductionDims))
    return failure();
  getSplitPosition(*this, b, resultNumber, offsets, sizes, splitReductionIvs[0],
                   resultOffsets, resultSizes);
  return success();
}

FailureOr<MergeResult>
AttendOp::mergeReductions(OpBuilder &b, Location loc, ValueRange partials,
                          const SetVector<unsigned> &reductionDims) {
  // The destinations held a state before the splits: it joins them.
  auto merge = MergeOp::create(b, loc, getResultTypes(),
                               ValueRange{partials[0], getOuts()[0]},
                               ValueRange{partials[1], getOuts()[1]});
  return MergeResult{{merge}, llvm::to_vector_of<Value>(merge->getResults())};
}
