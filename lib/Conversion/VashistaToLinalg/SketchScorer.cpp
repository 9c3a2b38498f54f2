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
// r covers f32 arithmetic. Twice a code minus its largest value, an odd number,
// is exact, and <w', decoded> is the sum of its products with w' in a group,
// times half the scale, over the groups. A sum of n products in any order is
// off by n 2^-24 of the sum of their sizes, which in a group is at most
// norm(w'_g) norm(decoded_g), and the norm of a decoded group is at most
// getMostPerScale() D_g; the rounding of w' to f32 is another such share of it.
// A centre has slack of its own, as a summary has. n is Dp + 8 for scales and a
// few units of scale and epsilon; all is taken twice. Norms of w' are those of
// the exact one, rounded up.
//
// Rotated directions and their norms are made once, before the tasks. A tile's
// codes, scales and norms are transposed: a vector holds a channel of as many
// tokens. Per channel and vector of tokens that is three operations to decode,
// and one multiply-add for each head. Read per token: codes, scales and norms,
// once per group of heads.
//
//===----------------------------------------------------------------------===//

#include "TileScorer.h"

#include "../VashistaToVector/ByteColumns.h"
#include "../VashistaToVector/SketchFormat.h"
#include "../VashistaToVector/UpperBounds.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>

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
        format(cast<SketchAttr>(op.getFrom()), dim), codes(b, walk, parts[0]),
        scales(b, walk, parts[1]), norms(b, walk, parts[2]) {}

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
  /// Of the tile: scales, and what a unit of the direction's norms adds to a
  /// bound, of each token.
  void unpackScales();
  void unpackReaches();
  /// A residual norm of the tokens from `token` on; of shares in bytes, of the
  /// largest norms that `unit` tells.
  Value getNorm(int64_t number, Value token, Value unit);
  /// Sums of the products of a block of heads with blocks of tokens.
  void multiply(int64_t head, int64_t numHeads, int64_t numVectors, Value first,
                Value token, Value scores);
  /// Twice the code minus the largest one, of a channel that is the `byte`-th
  /// of the `number`-th unit after the segment's first.
  Value decode(int64_t segment, Value number, int64_t byte, Value token);
  void addReaches(Value first, Value token, Value bounds);
  void addCentre(Value first, Value scores, Value bounds);

  float getRounding() const {
    return 2 * (format.paddedDim + 8) * 0x1p-24 * format.getMostPerScale() *
           (1 + 0x1p-20);
  }
  /// Norms of a direction: of its groups, or one.
  int64_t getNumNorms() const {
    return format.normPerToken ? 1 : format.numGroups;
  }
  Value splatInt(int64_t value) {
    auto type = VectorType::get({b.lanes}, b.getI32Type());
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, static_cast<int32_t>(value)));
  }

  SketchFormat format;
  ByteColumns codes, scales, norms;

  // Made before the tasks: [R, H, Dp] and [R, H, getNumNorms()] f32.
  Value rotated, directionNorms;
  // Of the current task: [heads, Dp], [heads, getNumNorms()], twice [heads, D],
  // [G, kTile]; [numGroups, kTile], [getNumNorms(), kTile].
  Value queries, reaches, originals, sizes, centreTile, scaleTile, reachTile;
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
  reaches = b.scratch({heads, getNumNorms()}, f32);
  scaleTile = b.scratch({format.numGroups, kTile}, f32);
  reachTile = b.scratch({getNumNorms(), kTile}, f32);
  codes.begin();
  scales.begin();
  norms.begin();
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
  copy(directionNorms, reaches, getNumNorms(), same);
  if (format.centred) {
    copy(direction, originals, dim, same);
    copy(direction, sizes, dim, [&](Value vector) { return b.absF(vector); });
  }
}

void SketchScorer::unpackScales() {
  for (int64_t number = 0; number < format.numGroups; ++number)
    b.forLoop(b.index(0), walk.count, b.lanes, [&](Value token) {
      b.storeVector(scales.getFloat(number, token), scaleTile,
                    {b.index(number), token});
    });
}

Value SketchScorer::getNorm(int64_t number, Value token, Value unit) {
  if (!getElementTypeOrSelf(parts[2]).isInteger())
    return norms.getFloat(number, token);
  Value steps = norms.getByte(number, token);
  Value infinite = b.compare(CmpIPredicate::eq, steps,
                             splatInt(SketchFormat::kInfiniteNorm));
  float step = format.getResidualPerScale() / SketchFormat::kNormSteps;
  Value share = b.mulF(arith::SIToFPOp::create(b, b.vectorType(), steps),
                       b.splat(step, b.lanes));
  float inf = std::numeric_limits<float>::infinity();
  return b.select(infinite, b.splat(inf, b.lanes), b.mulF(share, unit));
}

void SketchScorer::unpackReaches() {
  Value rounding = b.splat(getRounding(), b.lanes);
  b.forLoop(b.index(0), walk.count, b.lanes, [&](Value token) {
    Value squares = b.splat(0.0f, b.lanes);
    for (int64_t number = 0; number < format.numGroups; ++number) {
      Value scale = b.loadVector(scaleTile, {b.index(number), token});
      squares = b.fma(scale, scale, squares);
      if (format.normPerToken)
        continue;
      Value reach = b.fma(scale, rounding, getNorm(number, token, scale));
      b.storeVector(reach, reachTile, {b.index(number), token});
    }
    if (!format.normPerToken)
      return;
    Value size = b.sqrt(squares);
    Value reach = b.fma(size, rounding, getNorm(0, token, size));
    b.storeVector(reach, reachTile, {b.index(0), token});
  });
}

Value SketchScorer::decode(int64_t segment, Value number, int64_t byte,
                           Value token) {
  // 2^23 + 2 code as an f32 is these bits after its exponent.
  int64_t channel = segment * format.getSegment();
  Value bits = splatInt(0x4b000000);
  for (const SketchFormat::Plane &plane : format.planes) {
    int64_t first = plane.first + channel % plane.bytes;
    int64_t part = channel / plane.bytes;
    Value unit = b.addI(number, b.index(first / codes.getUnit()));
    Value here = codes.get(unit, token);
    int64_t shift = 8 * byte + plane.bits * part - (plane.shift + 1);
    if (shift > 0)
      here = arith::ShRUIOp::create(b, here, splatInt(shift));
    if (shift < 0)
      here = arith::ShLIOp::create(b, here, splatInt(-shift));
    int64_t mask = ((int64_t(1) << plane.bits) - 1) << (plane.shift + 1);
    bits = arith::OrIOp::create(b, bits, b.andI(here, splatInt(mask)));
  }
  Value number32 = arith::BitcastOp::create(b, b.vectorType(), bits);
  return b.subF(number32, b.splat(0x1p23f + format.getLargestCode(), b.lanes));
}

void SketchScorer::multiply(int64_t head, int64_t numHeads, int64_t numVectors,
                            Value first, Value token, Value scores) {
  int64_t segment = format.getSegment(), unit = codes.getUnit();
  SmallVector<Value> tokens, heads;
  for (int64_t i = 0; i < numVectors; ++i)
    tokens.push_back(b.addI(token, b.index(i * b.lanes)));
  for (int64_t i = 0; i < numHeads; ++i)
    heads.push_back(b.addI(first, b.index(head + i)));
  SmallVector<Value> none(numHeads * numVectors, b.splat(0.0f, b.lanes));
  SmallVector<Value> totals = none, sums = none;
  for (int64_t s = 0; s < format.paddedDim / segment; ++s) {
    sums = b.forLoop(
        b.index(0), b.index(segment / unit), 1, sums,
        [&](Value number, ValueRange carried) {
          SmallVector<Value> next(carried);
          for (int64_t byte = 0; byte < unit; ++byte) {
            SmallVector<Value> channels;
            for (Value at : tokens)
              channels.push_back(decode(s, number, byte, at));
            Value channel = b.addI(b.mulI(number, b.index(unit)),
                                   b.index(s * segment + byte));
            for (auto [h, query] : llvm::enumerate(heads)) {
              Value w = b.broadcast(b.load(queries, {query, channel}));
              for (auto [i, here] : llvm::enumerate(channels)) {
                Value &sum = next[h * numVectors + i];
                sum = b.fma(w, here, sum);
              }
            }
          }
          return next;
        });
    int64_t end = (s + 1) * segment;
    if (end % format.group)
      continue;
    for (auto [i, at] : llvm::enumerate(tokens)) {
      Value scale =
          b.loadVector(scaleTile, {b.index(end / format.group - 1), at});
      scale = b.mulF(scale, b.splat(0.5f, b.lanes));
      for (int64_t h = 0; h < numHeads; ++h) {
        Value &total = totals[h * numVectors + i];
        total = b.fma(sums[h * numVectors + i], scale, total);
      }
    }
    sums = none;
  }
  for (int64_t h = 0; h < numHeads; ++h)
    for (auto [i, at] : llvm::enumerate(tokens))
      b.storeVector(totals[h * numVectors + i], scores,
                    {b.index(head + h), at});
}

/// Bounds of sums: what the norms of a head reach, and what sums and products
/// of slack round, and those that are hardly numbers.
void SketchScorer::addReaches(Value first, Value token, Value bounds) {
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    Value slack = b.splat(0x1p-100f, b.lanes);
    for (int64_t number = 0; number < getNumNorms(); ++number) {
      Value at = b.index(number);
      Value norm = b.broadcast(b.load(reaches, {b.addI(first, head), at}));
      Value reach = b.loadVector(reachTile, {at, token});
      slack = b.fma(norm, reach, slack);
    }
    slack = b.mulF(slack, b.splat(1 + 0x1p-18f, b.lanes));
    b.storeVector(slack, bounds, {head, token});
  });
}

void SketchScorer::scoreTile(Value first, Value scores, Value bounds) {
  Value zero = b.index(0);
  codes.load();
  scales.load();
  unpackScales();
  // As many sums as keep multiply-adds busy: a block of heads, and vectors of
  // tokens, of which a tile has whole blocks.
  int64_t numHeads = getLargestDivisor(group, 8);
  int64_t numVectors = std::clamp<int64_t>(8 / numHeads, 1, kTile / b.lanes);
  numVectors = getLargestDivisor(kTile / b.lanes, numVectors);
  b.forLoop(zero, walk.count, numVectors * b.lanes, [&](Value token) {
    for (int64_t head = 0; head < group; head += numHeads)
      multiply(head, numHeads, numVectors, first, token, scores);
  });
  if (bounds) {
    norms.load();
    unpackReaches();
    b.forLoop(zero, walk.count, b.lanes,
              [&](Value token) { addReaches(first, token, bounds); });
  }
  if (format.centred)
    addCentre(first, scores, bounds);

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
