//===- SketchScorer.cpp - Scores of a key sketch -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// With w' the direction and k' the key, both rotated where the sketch is,
// k' = c + (decoded codes) + e and norm(e_g) <= E_g for each group g:
//
//   score  x = <w', decoded> + <w, c>
//   bound  x + sum_g norm(w'_g) (E_g + r D_g)     D_g: the group's scale
//   or     x + norm(w') (E + r norm(D))           with one norm per token
//
// r covers f32 arithmetic. A decoded channel, (code - middle) D_g, is exact. A
// sum of n products in any order is off by n 2^-24 of the sum of their sizes,
// which in a group is at most norm(w'_g) norm(decoded_g), and the norm of a
// decoded group is at most getMostPerScale() D_g; the rounding of w' to f32 is
// another such share of it. A centre has slack of its own, as a summary has. n
// is Dp + 8 for a few units of scale and epsilon; all is taken twice. Norms of
// w' are those of the exact one, rounded up.
//
// Rotated directions and their norms are made once, before the tasks. Read per
// token: its codes, scales and norms, once per group of heads.
//
//===----------------------------------------------------------------------===//

#include "TileScorer.h"

#include "../VashistaToVector/SketchFormat.h"
#include "../VashistaToVector/UpperBounds.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

class SketchScorer : public TileScorer {
public:
  SketchScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk, int64_t group,
               int64_t dim)
      : TileScorer(op, b, walk, group, dim),
        format(cast<SketchAttr>(op.getFrom()), dim),
        lanes(format.getLanes(b.lanes)),
        groupLanes(llvm::PowerOf2Ceil(format.numGroups)) {}

  Bounds getBounds() const override { return Bounds::own; }
  void prepare() override;
  void begin(int64_t heads) override;
  void makeVectors(Value number, Value queryHead) override;
  void scoreTile(Value first, Value scores, Value bounds) override;
  ArrayRef<Value> getRead() const override {
    // One norm per token is hardly worth asking for ahead.
    return ArrayRef<Value>(parts).take_front(format.normPerToken ? 2 : 3);
  }

private:
  void rotateDirection(Value row, Value head);
  /// The vectors of all channels of the token at the given indices.
  SmallVector<Value> decode(ValueRange indices);
  /// The scales of a token's groups, padded with 0 to groupLanes.
  Value loadScales(ValueRange indices);
  Value toF32(Value loaded);
  Value padGroups(Value numbers);
  Value toShares(Value bytes);
  void reachByGroup(Value first, Value bounds);
  void reachByToken(Value first, Value bounds);
  Value addMargin(Value slack);
  float getRounding() const {
    return 2 * (format.paddedDim + 8) * 0x1p-24 * format.getMostPerScale() *
           (1 + 0x1p-20);
  }
  void addCentre(Value first, Value scores, Value bounds);

  SketchFormat format;
  int64_t lanes, groupLanes;

  /// Norms of a direction: of its groups, or one.
  int64_t getNumNorms() const {
    return format.normPerToken ? 1 : format.numGroups;
  }

  // Made before the tasks: [R, H, Dp] and [R, H, getNumNorms()] f32.
  Value rotated, directionNorms;
  // Of the current task: [heads, Dp], [heads, getNumNorms() or more], twice
  // [heads, D], [G, kTile], twice [kTile].
  Value queries, reaches, originals, sizes, centreTile, scaleSquares, norms;
};

} // namespace

void SketchScorer::prepare() {
  Value rows = b.dim(direction, 0), heads = b.dim(direction, 1);
  auto allocate = [&](int64_t size) -> Value {
    auto type = MemRefType::get(
        {ShapedType::kDynamic, ShapedType::kDynamic, size}, b.getF32Type());
    return memref::AllocOp::create(b, type, ValueRange{rows, heads},
                                   b.getI64IntegerAttr(64));
  };
  rotated = allocate(format.paddedDim);
  directionNorms = allocate(getNumNorms());
  auto forall = scf::ForallOp::create(b, getAsOpFoldResult({rows, heads}),
                                      ValueRange(), std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(forall.getTerminator());
  auto scope = memref::AllocaScopeOp::create(b, TypeRange());
  b.createBlock(&scope.getBodyRegion());
  rotateDirection(forall.getInductionVar(0), forall.getInductionVar(1));
  memref::AllocaScopeReturnOp::create(b, ValueRange());
}

void SketchScorer::rotateDirection(Value row, Value head) {
  Value zero = b.index(0);
  Value exact = b.scratch({format.paddedDim}, b.getF64Type());
  int64_t width = getLargestDivisor(dim, 8);
  b.forLoop(zero, b.index(dim), width, [&](Value channel) {
    Value w = b.loadVector(direction, {row, head, channel}, width);
    b.storeVector(widen(b, w), exact, channel);
  });
  b.forLoop(b.index(dim), b.index(format.paddedDim), 1,
            [&](Value channel) { b.store(f64(b, 0.0), exact, channel); });
  if (format.rotated)
    rotate(b, format, exact);
  auto wide = VectorType::get({8}, b.getF64Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  int64_t channels = format.paddedDim / getNumNorms();
  b.forLoop(zero, b.index(getNumNorms()), 1, [&](Value number) {
    Value first = b.mulI(number, b.index(channels));
    Value squares =
        b.forLoop(first, b.addI(first, b.index(channels)), 8, ValueRange{none},
                  [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                    Value w = vector::LoadOp::create(b, wide, exact, channel);
                    Value near = arith::TruncFOp::create(b, b.vectorType(8), w);
                    b.storeVector(near, rotated, {row, head, channel});
                    return {b.addF(carried[0], b.mulF(w, w))};
                  })
            .front();
    b.store(roundUp(b, b.sqrt(b.reduceAdd(squares))), directionNorms,
            {row, head, number});
  });
}

void SketchScorer::begin(int64_t heads) {
  Type f32 = b.getF32Type();
  queries = b.scratch({heads, format.paddedDim}, f32);
  reaches = b.scratch({heads, format.normPerToken ? 1 : groupLanes}, f32);
  if (format.normPerToken) {
    Type element = getElementTypeOrSelf(parts[2]);
    scaleSquares = b.scratch({kTile}, f32);
    norms = b.scratch({kTile}, element.isInteger() ? element : Type(f32));
  }
  if (format.centred) {
    originals = b.scratch({heads, dim}, f32);
    sizes = b.scratch({heads, dim}, f32);
    centreTile = b.scratch({group, kTile}, f32);
  }
}

void SketchScorer::makeVectors(Value number, Value queryHead) {
  auto copy = [&](Value from, Value to, int64_t size,
                  function_ref<Value(Value)> body) {
    int64_t width = getLargestDivisor(size, b.lanes);
    b.forLoop(b.index(0), b.index(size), width, [&](Value at) {
      Value vector = b.loadVector(from, {walk.row, queryHead, at}, width);
      b.storeVector(body(vector), to, {number, at});
    });
  };
  auto same = [](Value vector) { return vector; };
  copy(rotated, queries, format.paddedDim, same);
  if (!format.normPerToken)
    b.storeVector(b.splat(0.0f, groupLanes), reaches, {number, b.index(0)});
  copy(directionNorms, reaches, getNumNorms(), same);
  if (format.centred) {
    copy(direction, originals, dim, same);
    copy(direction, sizes, dim, [&](Value vector) { return b.absF(vector); });
  }
}

Value SketchScorer::loadScales(ValueRange indices) {
  auto type =
      VectorType::get({format.numGroups}, getElementTypeOrSelf(parts[1]));
  Value loaded = vector::LoadOp::create(b, type, parts[1], indices);
  return padGroups(toF32(loaded));
}

Value SketchScorer::toF32(Value loaded) {
  Type element = getElementTypeOrSelf(loaded);
  if (!element.isF16())
    return widenF8(b, loaded);
  Type type = b.getF32Type();
  if (auto vector = dyn_cast<VectorType>(loaded.getType()))
    type = vector.clone(type);
  return arith::ExtFOp::create(b, type, loaded);
}

/// Sums of vectors want powers of two.
Value SketchScorer::padGroups(Value numbers) {
  SmallVector<int64_t> padded(groupLanes, format.numGroups);
  std::iota(padded.begin(), padded.begin() + format.numGroups, 0);
  return b.shuffle(numbers, b.splat(0.0f, format.numGroups), padded);
}

/// From steps of norms in bytes to shares of the norms' unit, in f32.
Value SketchScorer::toShares(Value bytes) {
  int64_t size = cast<VectorType>(bytes.getType()).getDimSize(0);
  auto ints = VectorType::get({size}, b.getI32Type());
  Value steps = arith::ExtUIOp::create(b, ints, bytes);
  Value infinite = b.compare(
      CmpIPredicate::eq, steps,
      arith::ConstantOp::create(
          b, DenseElementsAttr::get(
                 ints, static_cast<int32_t>(SketchFormat::kInfiniteNorm))));
  Value shares = b.mulF(
      arith::SIToFPOp::create(b, b.vectorType(size), steps),
      b.splat(format.getResidualPerScale() / SketchFormat::kNormSteps, size));
  return b.select(
      infinite, b.splat(std::numeric_limits<float>::infinity(), size), shares);
}

/// bounds[h][t] = sum_g norm(w'_g) (E_g + r D_g)
void SketchScorer::reachByGroup(Value first, Value bounds) {
  RowScores reach(b, walk, {groupLanes, groupLanes, groupLanes}, group);
  reach.firstQuery = first;
  reach.terms.push_back(
      {reaches, [&](ValueRange indices) -> SmallVector<Value> {
         Value scales = loadScales(indices);
         Value rounding = b.splat(getRounding(), groupLanes);
         auto type = VectorType::get({format.numGroups},
                                     getElementTypeOrSelf(parts[2]));
         Value norms = vector::LoadOp::create(b, type, parts[2], indices);
         if (!type.getElementType().isInteger())
           return {b.fma(scales, rounding, padGroups(toF32(norms)))};
         // An infinite share of a scale of 0 is infinite, too.
         Value shares = padGroups(toShares(norms));
         Value infinite = b.compare(
             CmpFPredicate::OEQ, shares,
             b.splat(std::numeric_limits<float>::infinity(), groupLanes));
         Value sums = b.mulF(scales, b.addF(shares, rounding));
         return {b.select(infinite, shares, sums)};
       }});
  reach.finish = [&](Value sums) { return addMargin(sums); };
  reach.scores = bounds;
  reach.emit();
}

/// bounds[h][t] = norm(w') (E + r norm(D))
void SketchScorer::reachByToken(Value first, Value bounds) {
  Value zero = b.index(0);
  Type element = getElementTypeOrSelf(parts[2]);
  bool inBytes = element.isInteger();
  b.forLoop(zero, walk.count, 1, [&](Value at) {
    SmallVector<Value> row = walk.getRow(at, zero);
    Value scales = loadScales(row);
    b.store(b.reduceAdd(b.mulF(scales, scales)), scaleSquares, at);
    row.pop_back();
    Value norm = b.load(parts[2], row);
    b.store(inBytes ? norm : toF32(norm), norms, at);
  });
  // Tiles are whole vectors.
  b.forLoop(zero, walk.count, b.lanes, [&](Value at) {
    Value size = b.sqrt(b.loadVector(scaleSquares, at));
    Value rounding = b.splat(getRounding(), b.lanes), reach;
    if (inBytes) {
      auto bytes = VectorType::get({b.lanes}, b.getI8Type());
      Value shares = toShares(vector::LoadOp::create(b, bytes, norms, at));
      Value infinite =
          b.compare(CmpFPredicate::OEQ, shares,
                    b.splat(std::numeric_limits<float>::infinity(), b.lanes));
      reach = b.mulF(size, b.addF(shares, rounding));
      reach = b.select(infinite, shares, reach);
    } else {
      reach = b.fma(size, rounding, b.loadVector(norms, at));
    }
    b.storeVector(reach, scaleSquares, at);
  });
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    Value norm = b.broadcast(b.load(reaches, {b.addI(first, head), zero}));
    b.forLoop(zero, walk.count, b.lanes, [&](Value at) {
      Value reach = b.mulF(norm, b.loadVector(scaleSquares, at));
      b.storeVector(addMargin(reach), bounds, {head, at});
    });
  });
}

/// What sums and products of slack round, and those that are hardly numbers.
Value SketchScorer::addMargin(Value slack) {
  int64_t size = cast<VectorType>(slack.getType()).getDimSize(0);
  return b.fma(slack, b.splat(1 + 0x1p-18f, size), b.splat(0x1p-100f, size));
}

SmallVector<Value> SketchScorer::decode(ValueRange indices) {
  auto bytes = VectorType::get({lanes}, b.getI8Type());
  auto ints = VectorType::get({lanes}, b.getI32Type());
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(ints, static_cast<int32_t>(value)));
  };
  SmallVector<Value> at(indices), codes(format.paddedDim / lanes);
  for (const SketchFormat::Plane &plane : format.planes)
    for (int64_t byte = 0; byte < plane.bytes; byte += lanes) {
      at.back() = b.index(plane.first + byte);
      Value loaded = vector::LoadOp::create(b, bytes, parts[0], at);
      Value wide = arith::ExtUIOp::create(b, ints, loaded);
      for (int64_t part = 0; part < 8 / plane.bits; ++part) {
        Value code = wide;
        if (part > 0)
          code = arith::ShRUIOp::create(b, code, constant(part * plane.bits));
        if (plane.bits < 8)
          code = b.andI(code, constant((1 << plane.bits) - 1));
        if (plane.shift > 0)
          code = arith::ShLIOp::create(b, code, constant(plane.shift));
        Value &sum = codes[(part * plane.bytes + byte) / lanes];
        sum = sum ? Value(arith::OrIOp::create(b, sum, code)) : code;
      }
    }
  // code D - middle D: exact, and so is middle D.
  at.back() = b.index(0);
  Value all = loadScales(at);
  Value allShifts = b.mulF(all, b.splat(-format.getMiddle(), groupLanes));
  SmallVector<Value> scales, shifts, vectors;
  for (int64_t number = 0; number < format.numGroups; ++number) {
    auto get = [&](Value from) {
      return b.broadcast(
          vector::ExtractOp::create(b, from, ArrayRef<int64_t>{number}), lanes);
    };
    scales.push_back(get(all));
    shifts.push_back(get(allShifts));
  }
  for (auto [i, code] : llvm::enumerate(codes)) {
    Value number = arith::SIToFPOp::create(b, b.vectorType(lanes), code);
    int64_t group = i * lanes / format.group;
    vectors.push_back(b.fma(number, scales[group], shifts[group]));
  }
  return vectors;
}

void SketchScorer::scoreTile(Value first, Value scores, Value bounds) {
  Value zero = b.index(0);
  RowScores scorer(b, walk, {format.paddedDim, lanes, format.paddedDim}, group);
  scorer.firstQuery = first;
  scorer.prefetched.assign(getRead().begin(), getRead().end());
  scorer.terms.push_back(
      {queries, [&](ValueRange indices) { return decode(indices); }});
  scorer.finish = [](Value sums) { return sums; };
  scorer.scores = scores;
  scorer.emit();

  if (bounds && format.normPerToken)
    reachByToken(first, bounds);
  else if (bounds)
    reachByGroup(first, bounds);
  if (format.centred)
    addCentre(first, scores, bounds);

  // Tiles are whole vectors.
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    b.forLoop(zero, walk.count, b.lanes, [&](Value at) {
      Value sums = b.loadVector(scores, {head, at});
      if (bounds) {
        Value slack = b.loadVector(bounds, {head, at});
        b.storeVector(toBounds(b.addF(sums, slack)), bounds, {head, at});
      }
      b.storeVector(toLogits(sums), scores, {head, at});
    });
  });
}

/// <w, c> joins the scores, and its slack the bounds.
void SketchScorer::addCentre(Value first, Value scores, Value bounds) {
  Value centre = parts[3];
  RowVectors vectors(b, dim, std::min(b.lanes, dim & -dim),
                     getElementTypeOrSelf(centre), /*maxParts=*/1);
  auto load = [&](ValueRange indices) {
    return vectors.load(centre, {indices[0], indices[1], indices[3]});
  };
  auto add = [&](Value to, Value made, const RowScores::Load &load,
                 float factor) {
    RowScores scorer(b, walk, vectors.getRows(), group);
    scorer.firstQuery = first;
    scorer.terms.push_back({made, load});
    scorer.finish = [](Value sums) { return sums; };
    scorer.scores = centreTile;
    scorer.emit();
    b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
      b.forLoop(b.index(0), walk.count, b.lanes, [&](Value at) {
        Value more = b.loadVector(centreTile, {head, at});
        Value sum =
            b.fma(more, b.splat(factor, b.lanes), b.loadVector(to, {head, at}));
        b.storeVector(sum, to, {head, at});
      });
    });
  };
  add(scores, originals, load, 1.0f);
  if (bounds)
    add(
        bounds, sizes,
        [&](ValueRange indices) {
          return llvm::map_to_vector(load(indices),
                                     [&](Value c) { return b.absF(c); });
        },
        2 * (dim + 8) * 0x1p-24f * (1 + 0x1p-10f));
}

std::unique_ptr<TileScorer>
vashista::createSketchScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk,
                             int64_t group, int64_t dim) {
  return std::make_unique<SketchScorer>(op, b, walk, group, dim);
}
