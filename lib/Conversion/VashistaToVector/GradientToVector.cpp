//===- GradientToVector.cpp - Exponentiated gradient as a CPU kernel -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The projection objective with an entropy (docs/theory.md, sections 1 and 5).
// Weights are the softmax at a direction w, so that a solver's state is one
// vector per query head. A pass over the keys takes two products per key,
// x = <r, k> scale / epsilon with the residual r = q - y and z = <r - w, k>
// scale / epsilon. It yields
//
//   * at w, whose logits are x - z: how far w is from being solved,
//   * at the trial w + theta (r - w), logits x - (1 - theta) z: its y,
//   * at r: the log-sum-exp.
//
// A trial is kept where it descends as a function of smoothness L would,
// theta = epsilon / (epsilon + L); then L is halved, else doubled. The heads of
// a group walk together; one that has met the tolerance stays where it is. The
// last pass adds the values, weighted as they are at w, and bounds the gap of
// just these weights.
//
// The gap. Let a be the weights that were used (up to their sum, exact), r the
// stored residual and y = K'a. For any r the primal value of a less the dual
// value of r is, in units of scale,
//
//   G = epsilon (log sum_j exp x_j + sum_j a_j (log a_j - x_j))
//     + norm(q - y - r)^2 / 2.
//
// Let m be a's mean. With log a_j = x_j - z_j + const + (rounding) and
// zeta = z + (rounding) the bracket is log m(exp(zeta - m(zeta))), which is of
// second order in zeta, rounding included. Let e bound the rounding and
// mu = m(exp(z - m(z))) - 1. Then (Hoelder, Pinsker and Hoeffding)
//
//   bracket <= log(1 + mu + (exp(2 e) - 1) ((1 + mu) sqrt(2 mu) + 2 mu)
//                  + exp(e^2 / 2) - 1).
//
// mu is summed from exp(t) - 1 - t, which is not negative: nothing cancels.
// Where it overflows, or e is large, the difference of two log-sum-exps, off by
// 2 e, bounds the bracket as well.
//
//===----------------------------------------------------------------------===//

#include "AttendKernel.h"
#include "RowScores.h"
#include "RowSums.h"
#include "UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Where a pass takes weights.
enum Place : unsigned { kCurrent, kTrial, kResidual, kNumPlaces };

/// What a pass sums for each head, in f64. With t = z - centre, p the weights
/// at w and p' those of the trial:
enum Sum : unsigned {
  kMass,        // p
  kMean,        // p t
  kExcess,      // p (exp t - 1 - t)
  kTrialMass,   // p'
  kTrialMean,   // p' s with s = -theta t
  kTrialExcess, // p' (exp s - 1 - s)
  kResidualMass,
  kNumSums
};

/// A shift of exponents moves where it must: every move costs the rounding of
/// an exp.
static constexpr float kSlack = 8.0f;
/// Logits this far below the shift have no weight.
static constexpr float kNoWeight = -80.0f;

namespace {

class GradientKernel : public AttendKernel {
public:
  GradientKernel(AttendOp op, KernelBuilder &b)
      : AttendKernel(op, b),
        epsilon(op.getSolver().getEpsilon().convertToDouble()),
        scale(op.getScale().convertToDouble()) {}

private:
  void emitTask() override;
  void allocate();
  void start();
  /// Walks over the keys; over the values too in the last pass.
  void walkKeys(bool isLast, Value isFirst);
  void scoreTile();
  void findKeyNorm();
  void weigh(Value head, bool isLast);
  void moveShift(Value head, Place place, Value largest);
  void addToSums(bool isLast);
  /// Decides about the trial of a head.
  void step(Value head, Value isFirst);
  Value descends(Value head);
  void setResidual(Value head);
  void setTheta(Value head, Value smoothness);
  /// An upper bound of the gap of w and r, whose y is given, per channel, in
  /// f64.
  Value getGap(Value head, function_ref<Value(Value)> y);
  void finish(Value head);

  Value sum(Value head, Sum which) {
    return b.load(sums, {head, b.index(which)});
  }
  /// log of a sum of weights at a place, in f64, off by less than 2^-17.
  Value getLogSum(Value head, Place place, Sum which);
  /// Sum over channels of body(channel), in f64.
  Value sumChannels(function_ref<Value(Value)> body);
  Value loadWide(Value memref, ValueRange at) {
    return widen(b, b.load(memref, at));
  }
  Value getStep(Value head) { return b.addI(head, b.index(group)); }

  double epsilon, scale;

  Value query;          // [G, D] f32; all channels in the order of `keys`
  Value directions;     // [2 G, D] f32: r of all heads, then r - w
  Value weighed;        // [G, D] f64: w
  Value solution;       // [G, D] f64: y
  Value trial;          // [G, D] f64: sum of weighted keys
  Value tileSums;       // [G, D] f32
  Value output;         // [G, Dv] f32, in the order of `values`
  Value scores;         // [2 G, kTile] f32
  Value weights;        // [G, kTile] f32
  Value sums;           // [G, kNumSums] f64
  Value shifts;         // [G, kNumPlaces] f32
  Value moved, movedBy; // [G] f64 and f32: what the latest tile rescales by
  Value theta, centre;  // [G] f32
  Value smoothness;     // [G] f64
  Value active;         // [G] i1
  Value anyActive;      // [1] i1
  Value keyNorm;        // [1] f64, the largest
  Value numTiles;       // [1] f64
};

} // namespace

/// exp(t) - 1 - t of a vector, to 2^-15 of itself.
static Value getExcess(KernelBuilder &b, Value t) {
  int64_t size = cast<VectorType>(t.getType()).getDimSize(0);
  // 1/2! + t (1/3! + t (1/4! + ...)): the rest of the series is less than 2^-16
  // of its first term below 1/2.
  Value series = b.splat(1.0f / 5040, size);
  for (float factorial : {720.0f, 120.0f, 24.0f, 6.0f, 2.0f})
    series = b.fma(series, t, b.splat(1.0f / factorial, size));
  series = b.mulF(series, b.mulF(t, t));
  Value direct = b.subF(b.subF(b.exp(t), b.splat(1.0f, size)), t);
  Value isSmall = b.compare(CmpFPredicate::OLT, b.absF(t), b.splat(0.5f, size));
  return b.select(isSmall, series, direct);
}

void GradientKernel::allocate() {
  Type f32 = b.getF32Type(), f64 = b.getF64Type(), i1 = b.getI1Type();
  query = b.scratch({group, keyDim}, f32);
  directions = b.scratch({2 * group, keyDim}, f32);
  weighed = b.scratch({group, keyDim}, f64);
  solution = b.scratch({group, keyDim}, f64);
  trial = b.scratch({group, keyDim}, f64);
  tileSums = b.scratch({group, keyDim}, f32);
  output = b.scratch({group, valueDim}, f32);
  scores = b.scratch({2 * group, kTile}, f32);
  weights = b.scratch({group, kTile}, f32);
  sums = b.scratch({group, kNumSums}, f64);
  shifts = b.scratch({group, kNumPlaces}, f32);
  moved = b.scratch({group}, f64);
  movedBy = b.scratch({group}, f32);
  theta = b.scratch({group}, f32);
  centre = b.scratch({group}, f32);
  smoothness = b.scratch({group}, f64);
  active = b.scratch({group}, i1);
  anyActive = b.scratch({1}, i1);
  keyNorm = b.scratch({1}, f64);
  numTiles = b.scratch({1}, f64);
}

void GradientKernel::emitTask() {
  allocate();
  start();
  Value zero = b.index(0), heads = b.index(group);
  // The first pass finds the mean of the keys, where w = 0.
  int64_t passes = op.getSolver().getIterations() + 1;
  b.forLoop(zero, b.index(passes), 1, [&](Value pass) {
    b.ifThen(b.load(anyActive, zero), [&] {
      Value isFirst = b.compare(CmpIPredicate::eq, pass, zero);
      walkKeys(/*isLast=*/false, isFirst);
      b.store(b.boolean(false), anyActive, zero);
      b.forLoop(zero, heads, 1, [&](Value head) {
        b.ifThen(b.load(active, head), [&] { step(head, isFirst); });
      });
    });
  });
  walkKeys(/*isLast=*/true, Value());
  b.forLoop(zero, heads, 1, [&](Value head) { finish(head); });
}

/// w = 0, and no residual yet: a pass then weighs all keys alike.
void GradientKernel::start() {
  Value zero = b.index(0);
  b.store(b.boolean(true), anyActive, zero);
  b.store(f64(b, 0.0), keyNorm, zero);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    b.store(b.boolean(true), active, head);
    b.store(b.f32(0.0f), theta, head);
    b.store(b.f32(0.0f), centre, head);
    b.store(f64(b, epsilon), smoothness, head);
    b.forLoop(zero, b.index(keyDim), keys.getStep(), [&](Value channel) {
      SmallVector<Value> at = {walk.row, getQueryHead(head), channel};
      keys.store(keys.permute(keys.loadConsecutive(op.getQuery(), at)), query,
                 {head, channel});
    });
    b.forLoop(zero, b.index(keyDim), 1, [&](Value channel) {
      b.store(f64(b, 0.0), weighed, {head, channel});
      b.store(b.f32(0.0f), directions, {head, channel});
      b.store(b.f32(0.0f), directions, {getStep(head), channel});
    });
  });
}

void GradientKernel::walkKeys(bool isLast, Value isFirst) {
  Value zero = b.index(0), heads = b.index(group);
  b.store(f64(b, 0.0), numTiles, zero);
  b.forLoop(zero, heads, 1, [&](Value head) {
    for (unsigned i = 0; i < kNumSums; ++i)
      b.store(f64(b, 0.0), sums, {head, b.index(i)});
    for (unsigned i = 0; i < kNumPlaces; ++i)
      b.store(b.negInf(), shifts, {head, b.index(i)});
    b.forLoop(zero, b.index(keyDim), 1, [&](Value channel) {
      b.store(f64(b, 0.0), trial, {head, channel});
    });
    if (isLast)
      b.forLoop(zero, b.index(valueDim), 1, [&](Value channel) {
        b.store(b.f32(0.0f), output, {head, channel});
      });
  });
  walk.sources = {op.getKCache()};
  if (isLast)
    walk.sources.push_back(op.getVCache());
  walk.forEachTile(zero, walk.numSlots, [&](Value, Value) {
    Value any = b.compare(CmpIPredicate::sgt, walk.count, zero);
    b.ifThen(any, [&] {
      b.store(b.addF(b.load(numTiles, zero), f64(b, 1.0)), numTiles, zero);
      if (isFirst)
        b.ifThen(isFirst, [&] { findKeyNorm(); });
      scoreTile();
      b.forLoop(zero, heads, 1, [&](Value head) { weigh(head, isLast); });
      addToSums(isLast);
    });
  });
}

/// scores[h] = x of the tile's keys, scores[G + h] = z
void GradientKernel::scoreTile() {
  RowScores tile(b, walk, keys.getRows(), 2 * group);
  tile.terms.push_back({directions, [&](ValueRange indices) {
                          return keys.load(op.getKCache(), indices);
                        }});
  tile.prefetched = {op.getKCache()};
  tile.finish = [&](Value dots) {
    return b.toLogits(dots, op.getScale(), /*softCap=*/std::nullopt,
                      op.getSolver().getEpsilon());
  };
  tile.scores = scores;
  tile.emit();
}

/// The largest norm of a key. In f64, where squares neither overflow nor
/// vanish.
void GradientKernel::findKeyNorm() {
  Value zero = b.index(0);
  b.forLoop(zero, walk.count, 1, [&](Value token) {
    SmallVector<Value> at = walk.getRow(token, zero);
    Value squares = sumChannels([&](Value channel) {
      at.back() = channel;
      Value key = loadWide(op.getKCache(), at);
      return b.mulF(key, key);
    });
    Value norm = b.sqrt(squares);
    b.store(b.maxF(b.load(keyNorm, zero), norm), keyNorm, zero);
  });
}

/// Moves the shift of a place to the largest logit of a tile where that is far
/// above it.
void GradientKernel::moveShift(Value head, Place place, Value largest) {
  Value at[] = {head, b.index(place)};
  Value old = b.load(shifts, at);
  Value isAbove =
      b.compare(CmpFPredicate::OGT, largest, b.addF(old, b.f32(kSlack)));
  Value next = b.select(isAbove, largest, old);
  b.store(next, shifts, at);
  // exp of a quarter, squared twice, in f64: what was far below keeps a weight
  // that does not vanish at once. Nothing has moved from a shift of -inf to
  // itself.
  Value quarter = b.exp(b.mulF(b.subF(old, next), b.f32(0.25f)));
  quarter = b.select(isAbove, quarter, b.f32(1.0f));
  Value half = b.mulF(widen(b, quarter), widen(b, quarter));
  Value factor = b.mulF(half, half);
  auto rescale = [&](Sum which) {
    Value to[] = {head, b.index(which)};
    b.store(b.mulF(b.load(sums, to), factor), sums, to);
  };
  if (place == kResidual)
    return rescale(kResidualMass);
  if (place == kTrial) {
    for (Sum which : {kTrialMass, kTrialMean, kTrialExcess})
      rescale(which);
  } else {
    // What vanishes at w may not vanish at r: then the excess is not known.
    Value isLost =
        b.andI(b.compare(CmpFPredicate::OEQ, factor, f64(b, 0.0)),
               b.compare(CmpFPredicate::UNE, sum(head, kMass), f64(b, 0.0)));
    for (Sum which : {kMass, kMean, kExcess})
      rescale(which);
    double inf = std::numeric_limits<double>::infinity();
    b.store(b.select(isLost, f64(b, inf), sum(head, kExcess)), sums,
            {head, b.index(kExcess)});
  }
  b.store(factor, moved, head);
  b.store(arith::TruncFOp::create(b, b.getF32Type(), factor), movedBy, head);
}

/// From the products of a tile to the weights of a head, those of the trial or,
/// in the last pass, those at w. A NaN among the products is in all sums.
void GradientKernel::weigh(Value head, bool isLast) {
  Value zero = b.index(0);
  Value rest = b.broadcast(b.subF(b.f32(1.0f), b.load(theta, head)));
  auto maskType = VectorType::get({b.lanes}, b.getI1Type());
  auto forEach = [&](ValueRange carried, auto body) {
    return b.forLoop(zero, walk.count, b.lanes, carried,
                     [&](Value first, ValueRange values) -> SmallVector<Value> {
                       // Slots past the last token hold what an earlier tile
                       // left: select.
                       Value isToken = vector::CreateMaskOp::create(
                           b, maskType, ValueRange{b.subI(walk.count, first)});
                       Value x = b.loadVector(scores, {head, first});
                       Value z = b.loadVector(scores, {getStep(head), first});
                       Value logits[kNumPlaces];
                       logits[kCurrent] = b.subF(x, z);
                       logits[kTrial] = b.subF(x, b.mulF(rest, z));
                       logits[kResidual] = x;
                       return body(first, isToken, z, logits, values);
                     });
  };

  Value none = b.splat(-std::numeric_limits<float>::infinity(), b.lanes);
  SmallVector<Value> largest = forEach(
      {none, none, none}, [&](Value, Value isToken, Value,
                              ArrayRef<Value> logits, ValueRange carried) {
        SmallVector<Value> next;
        for (auto [logit, most] : llvm::zip_equal(logits, carried))
          next.push_back(b.maxNum(b.select(isToken, logit, none), most));
        return next;
      });
  // The place whose weights are used comes last of the two.
  for (Place place : {kCurrent, kTrial, kResidual})
    if (place != kTrial || !isLast)
      moveShift(head, place, b.reduceMaxNum(largest[place]));

  Value shift[kNumPlaces];
  for (unsigned place = 0; place < kNumPlaces; ++place)
    shift[place] = b.broadcast(b.load(shifts, {head, b.index(place)}));
  Value middle = b.broadcast(b.load(centre, head));
  Value minusTheta = b.broadcast(b.subF(b.f32(0.0f), b.load(theta, head)));
  auto wide = VectorType::get({b.lanes}, b.getF64Type());
  Value nothing = b.splat(0.0f, b.lanes);
  Value wideZero =
      arith::ConstantOp::create(b, DenseElementsAttr::get(wide, 0.0));
  SmallVector<Value> totals(kNumSums, wideZero);
  totals = forEach(totals, [&](Value first, Value isToken, Value z,
                               ArrayRef<Value> logits, ValueRange carried) {
    SmallVector<Value> next(carried);
    auto add = [&](Sum which, Value terms) {
      terms = b.select(isToken, terms, nothing);
      next[which] = b.addF(next[which], widen(b, terms));
    };
    auto addProduct = [&](Sum which, Value p, Value factor) {
      p = widen(b, b.select(isToken, p, nothing));
      factor = widen(b, b.select(isToken, factor, nothing));
      next[which] = b.addF(next[which], b.mulF(p, factor));
    };
    Value exponents = b.subF(logits[kCurrent], shift[kCurrent]);
    Value isFar =
        b.compare(CmpFPredicate::OLT, exponents, b.splat(kNoWeight, b.lanes));
    Value p = b.select(isFar, nothing, b.exp(exponents));
    Value t = b.subF(z, middle);
    add(kMass, p);
    addProduct(kMean, p, b.select(isFar, nothing, t));
    // A key without weight at w still has its mass at r.
    add(kExcess, b.select(isFar, b.exp(b.addF(exponents, t)),
                          b.mulF(p, getExcess(b, t))));
    add(kResidualMass, b.exp(b.subF(logits[kResidual], shift[kResidual])));
    if (!isLast) {
      p = b.exp(b.subF(logits[kTrial], shift[kTrial]));
      t = b.mulF(minusTheta, t);
      add(kTrialMass, p);
      addProduct(kTrialMean, p, t);
      add(kTrialExcess, b.mulF(p, getExcess(b, t)));
    }
    b.storeVector(b.select(isToken, p, nothing), weights, {head, first});
    return next;
  });
  for (unsigned which = 0; which < kNumSums; ++which) {
    Value to[] = {head, b.index(which)};
    b.store(b.addF(b.load(sums, to), b.reduceAdd(totals[which])), sums, to);
  }
}

/// Adds a tile's weighted keys to their sums in f64: a tile's own sum in f32
/// rounds no more than a tile has tokens. In the last pass, the values too.
void GradientKernel::addToSums(bool isLast) {
  RowSums keySums(b, walk, keys, group);
  keySums.rows = op.getKCache();
  keySums.weights = weights;
  keySums.sums = tileSums;
  keySums.emit();
  Value zero = b.index(0);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    Value factor = b.load(moved, head);
    b.forLoop(zero, b.index(keyDim), 1, [&](Value channel) {
      Value at[] = {head, channel};
      b.store(b.addF(b.mulF(b.load(trial, at), factor), loadWide(tileSums, at)),
              trial, at);
    });
  });
  if (!isLast)
    return;
  RowSums valueSums(b, walk, values, group);
  valueSums.rows = op.getVCache();
  valueSums.weights = weights;
  valueSums.rescale = movedBy;
  valueSums.sums = output;
  valueSums.emit();
}

Value GradientKernel::sumChannels(function_ref<Value(Value)> body) {
  return b
      .forLoop(b.index(0), b.index(keyDim), 1, f64(b, 0.0),
               [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                 return {b.addF(carried[0], body(channel))};
               })
      .front();
}

Value GradientKernel::getLogSum(Value head, Place place, Sum which) {
  Value narrow = arith::TruncFOp::create(b, b.getF32Type(), sum(head, which));
  Value shift = loadWide(shifts, {head, b.index(place)});
  return b.addF(shift, widen(b, b.log(narrow)));
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

void GradientKernel::step(Value head, Value isFirst) {
  Value zero = b.index(0);
  Value gap = getGap(head, [&](Value channel) {
    return b.load(solution, {head, channel});
  });
  // The last pass evaluates w anew, by other roundings: some room for them.
  double limit = op.getSolver().getTolerance().convertToDouble() * 15 / 16;
  // NaN ends it, and so does a first pass never.
  Value goesOn =
      b.orI(isFirst, b.compare(CmpFPredicate::OGT, gap, f64(b, limit)));
  b.store(goesOn, active, head);
  b.ifThen(goesOn, [&] {
    b.store(b.boolean(true), anyActive, zero);
    Value isKept = b.orI(isFirst, descends(head));
    Value before = b.load(smoothness, head);
    Value halved = b.maxF(b.mulF(before, f64(b, 0.5)), f64(b, epsilon / 64));
    halved = b.select(isFirst, before, halved);
    b.ifThen(isKept, [&] {
      Value mass = sum(head, kTrialMass), by = loadWide(theta, head);
      b.forLoop(zero, b.index(keyDim), 1, [&](Value channel) {
        Value at[] = {head, channel};
        Value change = loadWide(directions, {getStep(head), channel});
        b.store(b.addF(b.load(weighed, at), b.mulF(by, change)), weighed, at);
        b.store(b.divF(b.load(trial, at), mass), solution, at);
      });
      setResidual(head);
    });
    setTheta(head, b.select(isKept, halved, b.mulF(before, f64(b, 2.0))));
  });
}

/// norm(y' - y)^2 / 2 <= L KL(a' || a), in units of scale, for the trial a'.
Value GradientKernel::descends(Value head) {
  Value mass = sum(head, kTrialMass);
  Value squares = sumChannels([&](Value channel) {
    Value at[] = {head, channel};
    Value change =
        b.subF(b.divF(b.load(trial, at), mass), b.load(solution, at));
    return b.mulF(change, change);
  });
  Value mean = b.divF(sum(head, kTrialMean), mass);
  Value excess = b.divF(sum(head, kTrialExcess), mass);
  // KL = log a'(exp s) - a'(s) with s = -theta t, once as a difference and
  // once, where that is small, so that nothing cancels:
  // v - log(1 + v) = 3 v^2 / (6 + 4 v) to a few percent below 1/2.
  Value v = b.addF(mean, excess);
  Value close =
      b.subF(excess, b.divF(b.mulF(f64(b, 3.0), b.mulF(v, v)),
                            b.addF(f64(b, 6.0), b.mulF(f64(b, 4.0), v))));
  Value step = b.mulF(loadWide(theta, head), loadWide(centre, head));
  Value apart =
      b.subF(b.subF(step, mean), b.subF(getLogSum(head, kTrial, kTrialMass),
                                        getLogSum(head, kCurrent, kMass)));
  Value isClose = b.andI(b.compare(CmpFPredicate::OLT, apart, f64(b, 0.03)),
                         b.compare(CmpFPredicate::ORD, close, close));
  Value divergence = b.select(isClose, close, apart);
  Value allowed = b.mulF(b.load(smoothness, head), divergence);
  return b.compare(CmpFPredicate::OLE, b.mulF(squares, f64(b, scale / 2)),
                   allowed);
}

/// r = q - y, r - w and the mean of z at w.
void GradientKernel::setResidual(Value head) {
  auto narrow = [&](Value value) -> Value {
    return arith::TruncFOp::create(b, b.getF32Type(), value);
  };
  Value mean = sumChannels([&](Value channel) {
    Value at[] = {head, channel};
    Value y = b.load(solution, at);
    Value residual = narrow(b.subF(loadWide(query, at), y));
    Value change = narrow(b.subF(widen(b, residual), b.load(weighed, at)));
    b.store(residual, directions, at);
    b.store(change, directions, {getStep(head), channel});
    return b.mulF(widen(b, change), y);
  });
  b.store(narrow(b.mulF(mean, f64(b, scale / epsilon))), centre, head);
}

void GradientKernel::setTheta(Value head, Value value) {
  b.store(value, smoothness, head);
  Value share = b.divF(f64(b, epsilon), b.addF(f64(b, epsilon), value));
  b.store(arith::TruncFOp::create(b, b.getF32Type(), share), theta, head);
}

//===----------------------------------------------------------------------===//
// The gap
//===----------------------------------------------------------------------===//

Value GradientKernel::getGap(Value head, function_ref<Value(Value)> y) {
  constexpr double u = 0x1p-24, inf = std::numeric_limits<double>::infinity();
  auto plus = [&](Value lhs, Value rhs) { return b.addF(lhs, rhs); };
  auto times = [&](double factor, Value value) {
    return b.mulF(f64(b, factor), value);
  };
  auto getNorm = [&](Value row) {
    return b.sqrt(sumChannels([&](Value channel) {
      Value x = loadWide(directions, {row, channel});
      return b.mulF(x, x);
    }));
  };
  Value zero = b.index(0), one = f64(b, 1.0);
  Value largest = b.load(keyNorm, zero);
  Value x = b.mulF(getNorm(head), largest);
  Value z = b.mulF(getNorm(getStep(head)), largest);
  double factor = scale / epsilon;

  // e: the sum of products and their scale; differences of logits, shifts and
  // the centre; exps, one per tile where its shift moves; products that are
  // subnormal.
  Value e = times((RowScores::getDepth(keys.getRows()) + 12) * u * factor, x);
  e = plus(e, times(12 * u * factor, z));
  e = plus(e, times(0x1p-21, plus(b.load(numTiles, zero), f64(b, 2.0))));
  e = plus(e, plus(times(0x1p-148, x), f64(b, 0x1p-146 * keyDim * factor)));

  Value mass = sum(head, kMass);
  Value mean = b.divF(sum(head, kMean), mass);
  Value excess = b.divF(sum(head, kExcess), mass);
  // m(exp(z - m(z))) = exp(-mean) (1 + mean + excess), where exp(-mean) <= 1 -
  // mean + mean^2. Twice the rounding of an excess is added.
  Value square = b.mulF(mean, mean);
  Value mu = b.mulF(excess, plus(b.subF(one, mean), square));
  mu = plus(mu, b.maxF(b.mulF(square, mean), f64(b, 0.0)));
  mu = times(1.0 + 0x1p-13, mu);
  Value twice = times(2.0, mu);
  Value cross = plus(b.mulF(plus(one, mu), b.sqrt(twice)), twice);
  // exp(2 e) - 1 <= 2.5 e and exp(e^2 / 2) - 1 <= e^2 below 0.1.
  Value close = plus(mu, plus(b.mulF(times(2.5, e), cross), b.mulF(e, e)));
  // log(1 + v) <= v (6 + v) / (6 + 4 v).
  close = b.divF(b.mulF(close, plus(f64(b, 6.0), close)),
                 plus(f64(b, 6.0), times(4.0, close)));
  close = times(1.0 + 0x1p-40, close);
  Value isClose =
      b.andI(b.compare(CmpFPredicate::OLT, e, f64(b, 0.1)),
             b.compare(CmpFPredicate::OLT, b.absF(mean), f64(b, 0.5)));
  isClose = b.andI(isClose, b.compare(CmpFPredicate::OLT, close, f64(b, inf)));
  Value apart = b.subF(b.subF(getLogSum(head, kResidual, kResidualMass),
                              getLogSum(head, kCurrent, kMass)),
                       plus(loadWide(centre, head), mean));
  apart =
      b.maxF(plus(apart, plus(times(2.0, e), f64(b, 0x1p-15))), f64(b, 0.0));
  // NaN stays NaN.
  Value bracket = b.minF(apart, b.select(isClose, close, apart));

  // What r lacks: a tile's sum of keys rounds by as many u as it has tokens.
  Value squares = sumChannels([&](Value channel) {
    Value at[] = {head, channel};
    Value lack = b.subF(b.subF(loadWide(query, at), y(channel)),
                        loadWide(directions, at));
    return b.mulF(lack, lack);
  });
  Value lack = plus(b.sqrt(squares), times((kTile + 6) * u, largest));
  lack = times(scale, b.mulF(lack, lack));
  Value gap = plus(times(epsilon, bracket), times(0.5, lack));

  // (sqrt(G) + norm(lack))^2, with room for what is not attended: then
  // sqrt(gap) bounds the distance of q - r from the solution.
  return plus(times(1.0 + 0x1p-8, gap), times(1.0 + 0x1p8, lack));
}

/// Normalises and stores the results. Of an empty set they are o = 0, lse =
/// -inf, the query, and no gap.
void GradientKernel::finish(Value head) {
  Value zero = b.index(0);
  Value o = op.getOuts()[0], lses = op.getOuts()[1],
        directionOut = op.getOuts()[2], gaps = op.getOuts()[3];
  Value queryHead = getQueryHead(head), mass = sum(head, kMass);
  Value isEmpty =
      b.compare(CmpFPredicate::OEQ, sum(head, kResidualMass), f64(b, 0.0));
  auto choose = [&](Value whenEmpty, Value otherwise, int64_t lanes) {
    Value mask = vector::BroadcastOp::create(
        b, VectorType::get({lanes}, b.getI1Type()), isEmpty);
    return b.select(mask, whenEmpty, otherwise);
  };

  Value gap = roundUp(b, getGap(head, [&](Value channel) {
                        return b.divF(b.load(trial, {head, channel}), mass);
                      }));
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  gap = b.select(b.compare(CmpFPredicate::ORD, gap, gap), gap, inf);
  b.store(b.select(isEmpty, b.f32(0.0f), gap), gaps, {walk.row, queryHead});
  Value lse = arith::TruncFOp::create(
      b, b.getF32Type(), getLogSum(head, kResidual, kResidualMass));
  b.store(b.select(isEmpty, b.negInf(), lse), lses, {walk.row, queryHead});

  b.forLoop(zero, b.index(keyDim), keys.getStep(), [&](Value channel) {
    SmallVector<Value> at = {walk.row, queryHead, channel}, residual;
    for (auto [found, q] :
         llvm::zip_equal(keys.loadConsecutive(directions, {head, channel}),
                         keys.loadConsecutive(query, {head, channel})))
      residual.push_back(choose(q, found, keys.lanes));
    keys.store(keys.restore(residual), directionOut, at);
  });
  Value total = b.broadcast(arith::TruncFOp::create(b, b.getF32Type(), mass),
                            values.lanes);
  b.forLoop(zero, b.index(valueDim), values.getStep(), [&](Value channel) {
    SmallVector<Value> at = {walk.row, queryHead, channel};
    SmallVector<Value> outputs =
        values.restore(values.loadConsecutive(output, {head, channel}));
    for (Value &value : outputs)
      value = choose(b.splat(0.0f, values.lanes), b.divF(value, total),
                     values.lanes);
    values.store(outputs, o, at);
  });
}

std::unique_ptr<AttendKernel> vashista::makeGradientKernel(AttendOp op,
                                                           KernelBuilder &b) {
  return std::make_unique<GradientKernel>(op, b);
}
