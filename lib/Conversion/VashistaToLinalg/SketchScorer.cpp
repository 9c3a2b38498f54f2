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
// r covers arithmetic. w' is rounded to q, 16-bit multiples of a step; products
// of codes and multiples are summed in pairs and groups as integers, exactly,
// and
//
//   <q, decoded_g> = step D_g / 2 (2 sum_i code_i q_i - largest code sum_i
//   q_i).
//
// What that leaves is norm(w'_g - q_g) norm(decoded_g), and the norm of a
// decoded group is at most getMostPerScale() D_g; and the rounding of a few f32
// numbers, each by 2^-24 of norm(w'_g) norm(decoded_g) or less. For that n = Dp
// + 8 such roundings are taken twice, which also covers a sum in f32 of n
// products in any order. A centre has slack of its own, as a summary has. Norms
// of w' and of w' - q are those of the exact ones, rounded up.
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
  void roundDirection(Value row, Value head, Value exact);
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

  /// Norms of a direction: of its groups, or one.
  int64_t getNumNorms() const {
    return format.normPerToken ? 1 : format.numGroups;
  }
  /// Channels whose codes share 32 bits: two, where a unit has four bytes.
  int64_t getPaired() const { return codes.getUnit() == 4 ? 2 : 1; }
  int64_t getNumPairs() const { return format.paddedDim / getPaired(); }
  // Of each head: what a bound has for a unit of a residual norm and of a scale
  // (each per norm), what a group's sums are corrected by, and half the step.
  int64_t getNumFactors() const {
    return 2 * getNumNorms() + format.numGroups + 1;
  }
  int64_t getScaleReach() const { return getNumNorms(); }
  int64_t getCorrection() const { return 2 * getNumNorms(); }
  int64_t getHalfStep() const { return getNumFactors() - 1; }
  Value splatInt(int64_t value) {
    auto type = VectorType::get({b.lanes}, b.getI32Type());
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, static_cast<int32_t>(value)));
  }

  SketchFormat format;
  ByteColumns codes, scales, norms;

  // Made before the tasks: [R, H, getNumPairs()] i32, [R, H, getNumFactors()].
  Value allPairs, allFactors;
  // Of the current task: [heads, getNumPairs()] i32, [heads, getNumFactors()],
  // twice [heads, D], [G, kTile]; [numGroups, kTile], twice [getNumNorms(),
  // kTile].
  Value pairs, factors, originals, sizes, centreTile, scaleTile, normTile,
      sizeTile;
};

} // namespace

void SketchScorer::prepare() {
  Value rows = b.dim(direction, 0), heads = b.dim(direction, 1);
  auto allocate = [&](int64_t size, Type element) -> Value {
    auto type = MemRefType::get(
        {ShapedType::kDynamic, ShapedType::kDynamic, size}, element);
    return memref::AllocOp::create(b, type, ValueRange{rows, heads},
                                   b.getI64IntegerAttr(64));
  };
  allPairs = allocate(getNumPairs(), b.getI32Type());
  allFactors = allocate(getNumFactors(), b.getF32Type());
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
  roundDirection(row, head, exact);
}

void SketchScorer::roundDirection(Value row, Value head, Value exact) {
  constexpr int64_t kWidth = 8, kLargest = 32767;
  auto wide = VectorType::get({kWidth}, b.getF64Type());
  auto shorts = VectorType::get({kWidth}, b.getI32Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  auto load = [&](Value channel) -> Value {
    return vector::LoadOp::create(b, wide, exact, channel);
  };
  auto splat = [&](Value value) -> Value {
    return vector::BroadcastOp::create(b, wide, value);
  };
  Value zero = b.index(0), all = b.index(format.paddedDim);
  Value largest =
      b.forLoop(zero, all, kWidth, none,
                [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                  return {b.maxF(carried[0], b.absF(load(channel)))};
                })
          .front();
  largest =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXIMUMF, largest);
  // Halves of it are what products have in common.
  Value half = roundUp(b, b.mulF(largest, f64(b, 0.5 / kLargest)));
  Value step = b.mulF(widen(b, half), f64(b, 2.0));
  Value some = b.compare(CmpFPredicate::OGT, step, f64(b, 0.0));
  Value inverse = b.select(some, b.divF(f64(b, 1.0), step), f64(b, 0.0));
  Value rounded = b.scratch({format.paddedDim}, b.getI32Type());
  auto store = [&](Value value, int64_t factor) {
    b.store(value, allFactors, {row, head, b.index(factor)});
  };
  store(half, getHalfStep());

  // NaN and infinities have no multiple: what bounds reach is unknown then.
  for (int64_t number = 0; number < format.numGroups; ++number) {
    Value first = b.index(number * format.group);
    Value last = b.index((number + 1) * format.group);
    Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(shorts));
    Value sums =
        b.forLoop(first, last, kWidth, ValueRange{zeros},
                  [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                    Value q = math::RoundEvenOp::create(
                        b, b.mulF(load(channel), splat(inverse)));
                    Value known = b.compare(CmpFPredicate::ORD, q, q);
                    q = b.select(known, q, none);
                    Value ints = arith::FPToSIOp::create(b, shorts, q);
                    b.storeVector(ints, rounded, channel);
                    return {b.addI(carried[0], ints)};
                  })
            .front();
    Value sum =
        vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums);
    Value correction = arith::SIToFPOp::create(b, b.getF32Type(), sum);
    correction =
        b.mulF(correction, b.f32(-static_cast<float>(format.getLargestCode())));
    store(correction, getCorrection() + number);
  }

  int64_t channels = format.paddedDim / getNumNorms();
  for (int64_t number = 0; number < getNumNorms(); ++number) {
    Value first = b.index(number * channels);
    Value last = b.index((number + 1) * channels);
    SmallVector<Value> squares = b.forLoop(
        first, last, kWidth, ValueRange{none, none},
        [&](Value channel, ValueRange carried) -> SmallVector<Value> {
          Value w = load(channel);
          Value q = vector::LoadOp::create(b, shorts, rounded, channel);
          q = b.mulF(arith::SIToFPOp::create(b, wide, q), splat(step));
          Value left = b.subF(w, q);
          return {b.addF(carried[0], b.mulF(w, w)),
                  b.addF(carried[1], b.mulF(left, left))};
        });
    Value norm = b.sqrt(b.reduceAdd(squares[0]));
    Value left = b.sqrt(b.reduceAdd(squares[1]));
    double roundings = 2 * (format.paddedDim + 8) * 0x1p-24 * (1 + 0x1p-20);
    // The difference itself is off by a few 2^-53 of w'.
    Value perScale = b.addF(b.mulF(norm, f64(b, roundings)), left);
    perScale = b.mulF(perScale, f64(b, format.getMostPerScale()));
    store(roundUp(b, norm), number);
    store(roundUp(b, perScale), getScaleReach() + number);
  }

  // Pairs of channels that lie two bytes apart.
  auto narrow = [&](Value channel, int64_t shift) -> Value {
    Value q = b.load(rounded, channel);
    if (shift == 0)
      return b.andI(q,
                    arith::ConstantOp::create(b, b.getI32IntegerAttr(0xffff)));
    return arith::ShLIOp::create(
        b, q, arith::ConstantOp::create(b, b.getI32IntegerAttr(shift)));
  };
  b.forLoop(zero, b.index(getNumPairs()), 1, [&](Value number) {
    Value pair;
    if (getPaired() == 1) {
      pair = narrow(number, 0);
    } else {
      Value two = b.index(2);
      Value channel =
          b.addI(b.mulI(b.divU(number, two), b.index(4)), b.remU(number, two));
      pair = arith::OrIOp::create(b, narrow(channel, 0),
                                  narrow(b.addI(channel, two), 16));
    }
    b.store(pair, allPairs, {row, head, number});
  });
}

void SketchScorer::begin(int64_t heads) {
  Type f32 = b.getF32Type();
  pairs = b.scratch({heads, getNumPairs()}, b.getI32Type());
  factors = b.scratch({heads, getNumFactors()}, f32);
  scaleTile = b.scratch({format.numGroups, kTile}, f32);
  normTile = b.scratch({getNumNorms(), kTile}, f32);
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
  copy(allPairs, pairs, getNumPairs(), same);
  copy(allFactors, factors, getNumFactors(), same);
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
      Value correction = getFactor(query, getCorrection() + number);
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
    Value half = getFactor(query, getHalfStep());
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
    for (int64_t number = 0; number < getNumNorms(); ++number) {
      Value at[] = {b.index(number), token};
      slack = b.fma(getFactor(number), b.loadVector(normTile, at), slack);
      slack = b.fma(getFactor(getScaleReach() + number),
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
