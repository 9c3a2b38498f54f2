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
// r covers arithmetic, above all that w' is rounded to integers of 16 bits
// (SketchDirection.h). A centre has slack of its own, as a summary has.
//
// Directions are rotated and rounded once, before the tasks. A tile's codes,
// scales and norms are transposed: a vector holds four bytes of as many tokens,
// and the codes of two channels are taken from it by a shift and a mask. Per
// two channels and vector of tokens that is two operations for all heads, and
// one for each head where a CPU multiplies and adds pairs of 16-bit integers.
// Read per token: codes, scales and norms, once per group of heads.
//
//===----------------------------------------------------------------------===//

#include "TileScorer.h"

#include "../VashistaToVector/ByteColumns.h"
#include "../VashistaToVector/SketchDirection.h"
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
        scales(b, walk, parts[1]), norms(b, walk, parts[2]),
        rounded(format, b,
                getPaired() == 2 ? SketchDirection::Packing::pairs
                                 : SketchDirection::Packing::single) {}

  Bounds getBounds() const override { return Bounds::own; }
  void prepare() override { rounded.emit(direction); }
  void begin(int64_t heads) override;
  void makeVectors(Value number, Value queryHead) override;
  void scoreTile(Value first, Value scores, Value bounds) override;
  ArrayRef<Value> getRead() const override {
    // One norm per token is hardly worth asking for ahead.
    return ArrayRef<Value>(parts).take_front(format.normPerToken ? 2 : 3);
  }

private:
  /// Of the tile, for each token: scales; residual norms and norms of scales.
  void unpackScales();
  void unpackNorms();
  /// A residual norm of the tokens from `token` on; of shares in bytes, of the
  /// largest norms that `unit` tells.
  Value getNorm(int64_t number, Value token, Value unit);
  /// Sums of the products of a block of heads with blocks of tokens.
  void multiply(int64_t head, int64_t numHeads, int64_t numVectors, Value first,
                Value token, Value scores);
  /// The codes of a pair of channels, in 16 bits each: of the bytes `byte` and
  /// `byte` + 2 of the `number`-th unit after the segment's first.
  Value decode(int64_t segment, Value number, int64_t byte, Value token);
  /// sums + the products of pairs of 16-bit integers.
  Value addProducts(Value sums, Value pairs, Value others);
  void addReaches(Value first, Value token, Value bounds);
  void addCentre(Value first, Value scores, Value bounds);

  /// Channels whose codes share 32 bits: two, where a unit has four bytes.
  int64_t getPaired() const { return codes.getUnit() == 4 ? 2 : 1; }
  Value splatInt(int64_t value) {
    auto type = VectorType::get({b.lanes}, b.getI32Type());
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, static_cast<int32_t>(value)));
  }

  SketchFormat format;
  ByteColumns codes, scales, norms;
  /// Made before the tasks.
  SketchDirection rounded;
  // Of the current task: multiples [heads, Dp or Dp / 2] i32, factors of heads;
  // twice [heads, D], [G, kTile]; [numGroups, kTile], twice [norms, kTile].
  Value pairs, factors, originals, sizes, centreTile, scaleTile, normTile,
      sizeTile;
};

} // namespace

void SketchScorer::begin(int64_t heads) {
  Type f32 = b.getF32Type();
  pairs = b.scratch({heads, rounded.getNumMultiples()}, b.getI32Type());
  factors = b.scratch({heads, rounded.getNumFactors()}, f32);
  scaleTile = b.scratch({format.numGroups, kTile}, f32);
  normTile = b.scratch({rounded.getNumNorms(), kTile}, f32);
  sizeTile = format.normPerToken ? b.scratch({1, kTile}, f32) : scaleTile;
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
    Type element = getElementTypeOrSelf(to);
    b.forLoop(b.index(0), b.index(size), width, [&](Value at) {
      SmallVector<Value> indices = {walk.row, queryHead, at};
      Value vector =
          element.isF32()
              ? b.loadVector(from, indices, width)
              : Value(vector::LoadOp::create(
                    b, VectorType::get({width}, element), from, indices));
      b.storeVector(body(vector), to, {number, at});
    });
  };
  auto same = [](Value vector) { return vector; };
  copy(rounded.multiples, pairs, rounded.getNumMultiples(), same);
  copy(rounded.factors, factors, rounded.getNumFactors(), same);
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

void SketchScorer::unpackNorms() {
  b.forLoop(b.index(0), walk.count, b.lanes, [&](Value token) {
    Value squares = b.splat(0.0f, b.lanes);
    for (int64_t number = 0; number < format.numGroups; ++number) {
      Value at[] = {b.index(number), token};
      Value scale = b.loadVector(scaleTile, at);
      squares = b.fma(scale, scale, squares);
      if (!format.normPerToken)
        b.storeVector(getNorm(number, token, scale), normTile, at);
    }
    if (!format.normPerToken)
      return;
    Value at[] = {b.index(0), token};
    Value size = b.sqrt(squares);
    b.storeVector(size, sizeTile, at);
    b.storeVector(getNorm(0, token, size), normTile, at);
  });
}

Value SketchScorer::decode(int64_t segment, Value number, int64_t byte,
                           Value token) {
  int64_t channel = segment * format.getSegment();
  int64_t fields = getPaired() == 2 ? 0x00010001 : 1;
  Value pair;
  for (const SketchFormat::Plane &plane : format.planes) {
    int64_t first = plane.first + channel % plane.bytes;
    int64_t part = channel / plane.bytes;
    Value unit = b.addI(number, b.index(first / codes.getUnit()));
    Value here = codes.get(unit, token);
    int64_t shift = 8 * byte + plane.bits * part - plane.shift;
    if (shift > 0)
      here = arith::ShRUIOp::create(b, here, splatInt(shift));
    if (shift < 0)
      here = arith::ShLIOp::create(b, here, splatInt(-shift));
    int64_t mask = ((int64_t(1) << plane.bits) - 1) << plane.shift;
    here = b.andI(here, splatInt(mask * fields));
    pair = pair ? Value(arith::OrIOp::create(b, pair, here)) : here;
  }
  return pair;
}

Value SketchScorer::addProducts(Value sums, Value pairs, Value others) {
  // What x86 does in one instruction, or two, is matched by its code generator.
  int64_t size = 2 * b.lanes;
  auto shorts = VectorType::get({size}, b.getIntegerType(16));
  auto ints = VectorType::get({size}, b.getI32Type());
  auto extend = [&](Value vector) -> Value {
    Value halves = vector::BitCastOp::create(b, shorts, vector);
    return arith::ExtSIOp::create(b, ints, halves);
  };
  Value products = b.mulI(extend(pairs), extend(others));
  SmallVector<int64_t> even, odd;
  for (int64_t i = 0; i < size; i += 2) {
    even.push_back(i);
    odd.push_back(i + 1);
  }
  return b.addI(sums, b.addI(b.shuffle(products, products, even),
                             b.shuffle(products, products, odd)));
}

void SketchScorer::multiply(int64_t head, int64_t numHeads, int64_t numVectors,
                            Value first, Value token, Value scores) {
  int64_t segment = format.getSegment(), unit = codes.getUnit();
  int64_t perUnit = unit / getPaired();
  SmallVector<Value> tokens, heads;
  for (int64_t i = 0; i < numVectors; ++i)
    tokens.push_back(b.addI(token, b.index(i * b.lanes)));
  for (int64_t i = 0; i < numHeads; ++i)
    heads.push_back(b.addI(first, b.index(head + i)));
  auto getFactor = [&](Value query, int64_t factor) {
    return b.broadcast(b.load(factors, {query, b.index(factor)}));
  };
  SmallVector<Value> none(numHeads * numVectors, splatInt(0)), sums = none;
  SmallVector<Value> totals(numHeads * numVectors, b.splat(0.0f, b.lanes));
  for (int64_t s = 0; s < format.paddedDim / segment; ++s) {
    sums = b.forLoop(b.index(0), b.index(segment / unit), 1, sums,
                     [&](Value number, ValueRange carried) {
                       SmallVector<Value> next(carried);
                       for (int64_t i = 0; i < perUnit; ++i) {
                         SmallVector<Value> channels;
                         for (Value at : tokens)
                           channels.push_back(decode(s, number, i, at));
                         Value pair =
                             b.addI(b.mulI(number, b.index(perUnit)),
                                    b.index(s * segment / getPaired() + i));
                         for (auto [h, query] : llvm::enumerate(heads)) {
                           Value q = b.broadcastTo(
                               b.load(pairs, {query, pair}),
                               VectorType::get({b.lanes}, b.getI32Type()));
                           for (auto [v, here] : llvm::enumerate(channels)) {
                             Value &sum = next[h * numVectors + v];
                             sum = addProducts(sum, here, q);
                           }
                         }
                       }
                       return next;
                     });
    int64_t end = (s + 1) * segment;
    if (end % format.group)
      continue;
    int64_t number = end / format.group - 1;
    SmallVector<Value> groupScales;
    for (Value at : tokens)
      groupScales.push_back(b.loadVector(scaleTile, {b.index(number), at}));
    for (auto [h, query] : llvm::enumerate(heads)) {
      Value correction = getFactor(query, rounded.getCorrection() + number);
      for (int64_t v = 0; v < numVectors; ++v) {
        Value sum = arith::SIToFPOp::create(b, b.vectorType(),
                                            sums[h * numVectors + v]);
        sum = b.fma(sum, b.splat(2.0f, b.lanes), correction);
        Value &total = totals[h * numVectors + v];
        total = b.fma(sum, groupScales[v], total);
      }
    }
    sums = none;
  }
  for (auto [h, query] : llvm::enumerate(heads)) {
    Value half = getFactor(query, rounded.getHalfStep());
    for (auto [v, at] : llvm::enumerate(tokens))
      b.storeVector(b.mulF(totals[h * numVectors + v], half), scores,
                    {b.index(head + h), at});
  }
}

/// Bounds of sums: what the norms of a head reach, and what sums and products
/// of slack round, and those that are hardly numbers.
void SketchScorer::addReaches(Value first, Value token, Value bounds) {
  b.forLoop(b.index(0), b.index(group), 1, [&](Value head) {
    Value query = b.addI(first, head);
    auto getFactor = [&](int64_t factor) {
      return b.broadcast(b.load(factors, {query, b.index(factor)}));
    };
    Value slack = b.splat(0x1p-100f, b.lanes);
    for (int64_t number = 0; number < rounded.getNumNorms(); ++number) {
      Value at[] = {b.index(number), token};
      slack = b.fma(getFactor(number), b.loadVector(normTile, at), slack);
      slack = b.fma(getFactor(rounded.getScaleReach() + number),
                    b.loadVector(sizeTile, at), slack);
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
    unpackNorms();
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
