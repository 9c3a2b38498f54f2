//===- FrankWolfeToVector.cpp - Frank-Wolfe as a CPU kernel -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The projection objective without an entropy (docs/theory.md, section 5). A
// head holds a few keys, its vertices, with weights in f64. A pass over the
// keys finds the one furthest along the residual r = q - y; a step then moves
// weight to it, by exact line search:
//
//   * plain: from all vertices alike,
//   * away: that, or from the vertex that is least along r to all others,
//   * pairwise: from that vertex to the new one.
//
// A vertex that loses all its weight has exactly none. y is summed from the
// weights after each step, so that rounding does not drift. The heads of a
// group walk together; one that has met the tolerance stays where it is.
//
// For any stored r, the primal value of the weights less the dual value of r
// is, in units of scale,
//
//   G = max_j <r, k_j> - <r, y> + norm(q - y - r)^2 / 2.
//
// Only the maximum is rounded in f32: by at most e, from the norms of r and of
// the keys.
//
//===----------------------------------------------------------------------===//

#include "AttendKernel.h"
#include "RowScores.h"
#include "UpperBounds.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

class FrankWolfeKernel : public AttendKernel {
public:
  FrankWolfeKernel(AttendOp op, KernelBuilder &b)
      : AttendKernel(op, b), rule(op.getSolver().getStep()),
        iterations(op.getSolver().getIterations()),
        scale(op.getScale().convertToDouble()) {}

private:
  void emitTask() override;
  void allocate();
  void start();
  void walkKeys(Value isFirst);
  void findKeyNorm();
  void findBest(Value head);
  /// Evaluates a head where the latest pass has looked along its residual, and
  /// steps unless that is enough.
  void visit(Value head, Value pass);
  void move(Value head);
  void sumVertices(Value head);
  Value getGap(Value head);
  void finish(Value head);

  /// The vertex that is least along the residual.
  Value findWorst(Value head);
  /// The number of the best key among the vertices, with no weight if it is
  /// new.
  Value addVertex(Value head);
  /// Writes a row of the key cache to `ends`, in f64.
  void loadEnd(unsigned which, Value page, Value slot);
  SmallVector<Value> getIndices(Value page, Value slot, Value channel) {
    if (op.getLayout() == Layout::hnd)
      return {page, walk.kvHead, slot, channel};
    return {page, slot, walk.kvHead, channel};
  }
  /// Calls body(vertex) for each vertex of a head that has a weight.
  void forEachVertex(Value head, function_ref<void(Value)> body);
  /// body(channel, sum) for vectors of the vertices' weighted rows, over their
  /// weight, in f64 and in the order of `vectors`.
  void forEachSum(Value head, Value cache, RowVectors &vectors,
                  function_ref<void(Value, ArrayRef<Value>)> body);
  Value sumChannels(function_ref<Value(Value)> body);
  Value loadWide(Value memref, ValueRange at) {
    return widen(b, b.load(memref, at));
  }
  Value isPositive(Value value) {
    return b.compare(CmpFPredicate::OGT, value, f64(b, 0.0));
  }

  FrankWolfeStep rule;
  int64_t iterations;
  double scale;

  Value query;        // [G, D] f32; all channels in the order of `keys`
  Value directions;   // [G, D] f32: r
  Value solution;     // [G, D] f64: y
  Value scores;       // [G, kTile] f32
  Value tileMaxima;   // [G] f32
  Value best;         // [G] f32: the largest logit of a pass
  Value bestRow;      // [G, 2] index: its key's page and slot
  Value poison;       // [G] f32: 0, or NaN where a logit is not finite
  Value rows;         // [G, V, 2] index: page and slot of each vertex
  Value weights;      // [G, V] f64
  Value numVertices;  // [G] index
  Value ends;         // [2, D] f64: the best key and the worst vertex
  Value change;       // [D] f64: direction of a step
  Value least, worst; // [1] f64 and index
  Value gaps, lses;   // [G] f32
  Value active;       // [G] i1
  Value anyActive;    // [1] i1
  Value keyNorm;      // [1] f64, the largest
};

} // namespace

void FrankWolfeKernel::allocate() {
  Type f32 = b.getF32Type(), f64 = b.getF64Type(), i1 = b.getI1Type(),
       index = b.getIndexType();
  int64_t most = iterations + 1;
  query = b.scratch({group, keyDim}, f32);
  directions = b.scratch({group, keyDim}, f32);
  solution = b.scratch({group, keyDim}, f64);
  scores = b.scratch({group, kTile}, f32);
  tileMaxima = b.scratch({group}, f32);
  best = b.scratch({group}, f32);
  bestRow = b.scratch({group, 2}, index);
  poison = b.scratch({group}, f32);
  rows = b.scratch({group, most, 2}, index);
  weights = b.scratch({group, most}, f64);
  numVertices = b.scratch({group}, index);
  ends = b.scratch({2, keyDim}, f64);
  change = b.scratch({keyDim}, f64);
  least = b.scratch({1}, f64);
  worst = b.scratch({1}, index);
  gaps = b.scratch({group}, f32);
  lses = b.scratch({group}, f32);
  active = b.scratch({group}, i1);
  anyActive = b.scratch({1}, i1);
  keyNorm = b.scratch({1}, f64);
}

void FrankWolfeKernel::emitTask() {
  allocate();
  start();
  Value zero = b.index(0), heads = b.index(group);
  // The first pass finds where to begin, the last only evaluates.
  b.forLoop(zero, b.index(iterations + 2), 1, [&](Value pass) {
    b.ifThen(b.load(anyActive, zero), [&] {
      walkKeys(b.compare(CmpIPredicate::eq, pass, zero));
      b.store(b.boolean(false), anyActive, zero);
      b.forLoop(zero, heads, 1, [&](Value head) {
        b.ifThen(b.load(active, head), [&] { visit(head, pass); });
      });
    });
  });
  b.forLoop(zero, heads, 1, [&](Value head) { finish(head); });
}

void FrankWolfeKernel::start() {
  Value zero = b.index(0);
  b.store(b.boolean(true), anyActive, zero);
  b.store(f64(b, 0.0), keyNorm, zero);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    b.store(b.boolean(true), active, head);
    b.store(zero, numVertices, head);
    b.forLoop(zero, b.index(keyDim), keys.getStep(), [&](Value channel) {
      SmallVector<Value> q = keys.permute(keys.loadConsecutive(
          op.getQuery(), {walk.row, getQueryHead(head), channel}));
      keys.store(q, query, {head, channel});
      keys.store(q, directions, {head, channel});
    });
  });
}

/// The key that is furthest along the residual of each head.
void FrankWolfeKernel::walkKeys(Value isFirst) {
  Value zero = b.index(0), heads = b.index(group);
  b.forLoop(zero, heads, 1, [&](Value head) {
    b.store(b.negInf(), best, head);
    b.store(b.f32(0.0f), poison, head);
  });
  walk.sources = {op.getKCache()};
  walk.forEachTile(zero, walk.numSlots, [&](Value, Value) {
    Value any = b.compare(CmpIPredicate::sgt, walk.count, zero);
    b.ifThen(any, [&] {
      b.ifThen(isFirst, [&] { findKeyNorm(); });
      RowScores tile(b, walk, keys.getRows(), group);
      tile.terms.push_back({directions, [&](ValueRange indices) {
                              return keys.load(op.getKCache(), indices);
                            }});
      tile.prefetched = {op.getKCache()};
      tile.finish = [&](Value dots) {
        return b.toLogits(dots, op.getScale(), /*softCap=*/std::nullopt,
                          /*epsilon=*/APFloat(1.0));
      };
      tile.scores = scores;
      tile.maxima = tileMaxima;
      tile.emit();
      b.forLoop(zero, heads, 1, [&](Value head) { findBest(head); });
    });
  });
}

/// The largest norm of a key. In f64, where squares neither overflow nor
/// vanish.
void FrankWolfeKernel::findKeyNorm() {
  Value zero = b.index(0);
  b.forLoop(zero, walk.count, 1, [&](Value token) {
    SmallVector<Value> at = walk.getRow(token, zero);
    Value squares = sumChannels([&](Value channel) {
      at.back() = channel;
      Value key = loadWide(op.getKCache(), at);
      return b.mulF(key, key);
    });
    b.store(b.maxF(b.load(keyNorm, zero), b.sqrt(squares)), keyNorm, zero);
  });
}

/// The best key of a head so far; of several, the first.
void FrankWolfeKernel::findBest(Value head) {
  Value zero = b.index(0), one = b.index(1);
  Value most = b.load(tileMaxima, head);
  Value isBetter = b.compare(CmpFPredicate::OGT, most, b.load(best, head));
  // A logit less itself is 0, unless it is not finite. Its sum tells all.
  Value spoilt =
      b.forLoop(zero, walk.count, 1, b.load(poison, head),
                [&](Value token, ValueRange carried) -> SmallVector<Value> {
                  Value x = b.load(scores, {head, token});
                  return {b.addF(carried[0], b.subF(x, x))};
                })
          .front();
  b.store(spoilt, poison, head);
  b.ifThen(isBetter, [&] {
    b.store(most, best, head);
    // From the last to the first.
    b.forLoop(zero, walk.count, 1, [&](Value number) {
      Value token = b.subI(b.subI(walk.count, one), number);
      Value isBest =
          b.compare(CmpFPredicate::OEQ, b.load(scores, {head, token}), most);
      b.ifThen(isBest, [&] {
        SmallVector<Value> at = walk.getRow(token, zero);
        b.store(at[0], bestRow, {head, zero});
        b.store(at[op.getLayout() == Layout::hnd ? 2 : 1], bestRow,
                {head, one});
      });
    });
  });
}

Value FrankWolfeKernel::sumChannels(function_ref<Value(Value)> body) {
  return b
      .forLoop(b.index(0), b.index(keyDim), 1, f64(b, 0.0),
               [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                 return {b.addF(carried[0], body(channel))};
               })
      .front();
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

void FrankWolfeKernel::visit(Value head, Value pass) {
  Value zero = b.index(0);
  Value isFirst = b.compare(CmpIPredicate::eq, pass, zero);
  Value isLast = b.compare(CmpIPredicate::eq, pass, b.index(iterations + 1));
  Value any = b.compare(CmpFPredicate::OGT, b.load(best, head), b.negInf());
  Value isFinite =
      b.compare(CmpFPredicate::OEQ, b.load(poison, head), b.f32(0.0f));
  Value inf = b.f32(std::numeric_limits<float>::infinity());

  // What holds if nothing is there, or nothing that can be solved for.
  Value isEmpty = b.andI(
      isFinite, b.compare(CmpFPredicate::OEQ, b.load(best, head), b.negInf()));
  b.store(b.boolean(false), active, head);
  b.store(b.select(isEmpty, b.f32(0.0f), inf), gaps, head);
  b.store(b.addF(b.load(best, head), b.load(poison, head)), lses, head);
  b.ifThen(b.andI(any, isFinite), [&] {
    auto goOn = [&] {
      b.store(b.boolean(true), active, head);
      b.store(b.boolean(true), anyActive, zero);
    };
    b.ifThen(isFirst, [&] {
      Value vertex = addVertex(head);
      b.store(f64(b, 1.0), weights, {head, vertex});
      sumVertices(head);
      goOn();
    });
    Value isLater = arith::XOrIOp::create(b, isFirst, b.boolean(true));
    b.ifThen(isLater, [&] {
      Value gap = roundUp(b, getGap(head));
      b.store(b.select(b.compare(CmpFPredicate::ORD, gap, gap), gap, inf), gaps,
              head);
      // NaN ends it.
      double tolerance = op.getSolver().getTolerance().convertToDouble();
      Value misses =
          b.compare(CmpFPredicate::OGT, widen(b, gap), f64(b, tolerance));
      Value steps =
          b.andI(misses, arith::XOrIOp::create(b, isLast, b.boolean(true)));
      b.ifThen(steps, [&] {
        move(head);
        sumVertices(head);
        goOn();
      });
    });
  });
}

Value FrankWolfeKernel::addVertex(Value head) {
  Value zero = b.index(0), one = b.index(1);
  Value page = b.load(bestRow, {head, zero}),
        slot = b.load(bestRow, {head, one});
  Value count = b.load(numVertices, head);
  Value found =
      b.forLoop(zero, count, 1, count,
                [&](Value vertex, ValueRange carried) -> SmallVector<Value> {
                  Value same =
                      b.andI(b.compare(CmpIPredicate::eq, page,
                                       b.load(rows, {head, vertex, zero})),
                             b.compare(CmpIPredicate::eq, slot,
                                       b.load(rows, {head, vertex, one})));
                  return {b.select(same, vertex, carried[0])};
                })
          .front();
  b.ifThen(b.compare(CmpIPredicate::eq, found, count), [&] {
    b.store(page, rows, {head, found, zero});
    b.store(slot, rows, {head, found, one});
    b.store(f64(b, 0.0), weights, {head, found});
    b.store(b.addI(count, one), numVertices, head);
  });
  return found;
}

void FrankWolfeKernel::loadEnd(unsigned which, Value page, Value slot) {
  Value to = b.index(which);
  b.forLoop(b.index(0), b.index(keyDim), keys.getStep(), [&](Value channel) {
    for (auto [part, vector] : llvm::enumerate(
             keys.load(op.getKCache(), getIndices(page, slot, channel))))
      b.storeVector(widen(b, vector), ends,
                    {to, b.addI(channel, b.index(part * keys.lanes))});
  });
}

void FrankWolfeKernel::forEachVertex(Value head,
                                     function_ref<void(Value)> body) {
  b.forLoop(b.index(0), b.load(numVertices, head), 1, [&](Value vertex) {
    b.ifThen(isPositive(b.load(weights, {head, vertex})),
             [&] { body(vertex); });
  });
}

Value FrankWolfeKernel::findWorst(Value head) {
  Value zero = b.index(0), one = b.index(1);
  b.store(f64(b, std::numeric_limits<double>::infinity()), least, zero);
  b.store(zero, worst, zero);
  forEachVertex(head, [&](Value vertex) {
    loadEnd(1, b.load(rows, {head, vertex, zero}),
            b.load(rows, {head, vertex, one}));
    Value along = sumChannels([&](Value channel) {
      return b.mulF(loadWide(directions, {head, channel}),
                    b.load(ends, {one, channel}));
    });
    Value isLess = b.compare(CmpFPredicate::OLT, along, b.load(least, zero));
    b.ifThen(isLess, [&] {
      b.store(along, least, zero);
      b.store(vertex, worst, zero);
    });
  });
  return b.load(worst, zero);
}

/// Moves weight as far as the objective falls, or to the end.
void FrankWolfeKernel::move(Value head) {
  Value zero = b.index(0), one = b.index(1), unit = f64(b, 1.0);
  Value to = addVertex(head), from = zero;
  loadEnd(0, b.load(bestRow, {head, zero}), b.load(bestRow, {head, one}));
  if (rule != FrankWolfeStep::plain) {
    from = findWorst(head);
    loadEnd(1, b.load(rows, {head, from, zero}),
            b.load(rows, {head, from, one}));
  }
  auto loadTo = [&](Value channel) { return b.load(ends, {zero, channel}); };
  auto loadFrom = [&](Value channel) { return b.load(ends, {one, channel}); };
  auto loadY = [&](Value channel) { return b.load(solution, {head, channel}); };
  auto along = [&](function_ref<Value(Value)> vector) {
    return sumChannels([&](Value channel) {
      return b.mulF(loadWide(directions, {head, channel}), vector(channel));
    });
  };
  Value heldBefore = b.load(weights, {head, from});

  // The direction of the step, and how far it may go.
  Value isAway = b.boolean(false), limit = unit;
  if (rule == FrankWolfeStep::away) {
    Value towards = b.subF(along(loadTo), along(loadY));
    Value away = b.subF(along(loadY), along(loadFrom));
    isAway = b.compare(CmpFPredicate::OGT, away, towards);
    limit =
        b.select(isAway, b.divF(heldBefore, b.subF(unit, heldBefore)), unit);
  } else if (rule == FrankWolfeStep::pairwise) {
    limit = heldBefore;
  }
  b.forLoop(zero, b.index(keyDim), 1, [&](Value channel) {
    Value y = loadY(channel);
    Value step;
    if (rule == FrankWolfeStep::pairwise)
      step = b.subF(loadTo(channel), loadFrom(channel));
    else
      step = b.subF(loadTo(channel), y);
    if (rule == FrankWolfeStep::away)
      step = b.select(isAway, b.subF(y, loadFrom(channel)), step);
    b.store(step, change, channel);
  });
  auto loadChange = [&](Value channel) { return b.load(change, channel); };
  Value length = sumChannels([&](Value channel) {
    return b.mulF(loadChange(channel), loadChange(channel));
  });
  // Exact line search.
  Value size = b.divF(along(loadChange), length);
  Value isWhole = b.compare(CmpFPredicate::OGE, size, limit);
  size = b.select(isWhole, limit, b.maxF(size, f64(b, 0.0)));
  Value moves = isPositive(length);
  size = b.select(moves, size, f64(b, 0.0));
  isWhole = b.andI(isWhole, moves);

  if (rule == FrankWolfeStep::pairwise) {
    // A vertex that loses all of its weight has exactly none.
    b.store(b.select(isWhole, f64(b, 0.0), b.subF(heldBefore, size)), weights,
            {head, from});
    b.store(b.addF(b.load(weights, {head, to}), size), weights, {head, to});
    return;
  }
  Value factor = b.select(isAway, b.addF(unit, size), b.subF(unit, size));
  b.forLoop(zero, b.load(numVertices, head), 1, [&](Value vertex) {
    Value at[] = {head, vertex};
    b.store(b.mulF(b.load(weights, at), factor), weights, at);
  });
  if (rule == FrankWolfeStep::away)
    b.ifThen(isAway, [&] {
      Value left = b.subF(b.load(weights, {head, from}), size);
      b.store(b.select(isWhole, f64(b, 0.0), left), weights, {head, from});
    });
  Value gained = b.select(isAway, f64(b, 0.0), size);
  b.store(b.addF(b.load(weights, {head, to}), gained), weights, {head, to});
}

void FrankWolfeKernel::forEachSum(
    Value head, Value cache, RowVectors &vectors,
    function_ref<void(Value, ArrayRef<Value>)> body) {
  Value zero = b.index(0), one = b.index(1);
  Value number = b.load(numVertices, head);
  Value total =
      b.forLoop(zero, number, 1, f64(b, 0.0),
                [&](Value vertex, ValueRange carried) -> SmallVector<Value> {
                  return {b.addF(carried[0], b.load(weights, {head, vertex}))};
                })
          .front();
  auto wide = VectorType::get({vectors.lanes}, b.getF64Type());
  auto broadcast = [&](Value value) -> Value {
    return vector::BroadcastOp::create(b, wide, value);
  };
  b.forLoop(zero, b.index(vectors.dim), vectors.getStep(), [&](Value channel) {
    SmallVector<Value> sums(vectors.getNumParts(), broadcast(f64(b, 0.0)));
    sums = b.forLoop(
        zero, number, 1, sums,
        [&](Value vertex, ValueRange carried) -> SmallVector<Value> {
          Value weight = b.load(weights, {head, vertex});
          // What a vertex without weight holds has no influence.
          auto choice =
              scf::IfOp::create(b, carried.getTypes(), isPositive(weight),
                                /*addThenBlock=*/true,
                                /*addElseBlock=*/true);
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(choice.thenBlock());
          SmallVector<Value> next;
          for (auto [row, sum] : llvm::zip_equal(
                   vectors.load(cache,
                                getIndices(b.load(rows, {head, vertex, zero}),
                                           b.load(rows, {head, vertex, one}),
                                           channel)),
                   carried))
            next.push_back(
                b.addF(sum, b.mulF(broadcast(weight), widen(b, row))));
          scf::YieldOp::create(b, next);
          b.setInsertionPointToStart(choice.elseBlock());
          scf::YieldOp::create(b, carried);
          return llvm::to_vector_of<Value>(choice.getResults());
        });
    for (Value &sum : sums)
      sum = b.divF(sum, broadcast(total));
    body(channel, sums);
  });
}

/// y from the weights, and r = q - y.
void FrankWolfeKernel::sumVertices(Value head) {
  forEachSum(
      head, op.getKCache(), keys, [&](Value channel, ArrayRef<Value> sums) {
        for (auto [part, sum] : llvm::enumerate(sums)) {
          Value at[] = {head, b.addI(channel, b.index(part * keys.lanes))};
          Value q = widen(b, b.loadVector(query, at, keys.lanes));
          b.storeVector(sum, solution, at);
          b.storeVector(arith::TruncFOp::create(b, b.vectorType(keys.lanes),
                                                b.subF(q, sum)),
                        directions, at);
        }
      });
}

Value FrankWolfeKernel::getGap(Value head) {
  constexpr double u = 0x1p-24;
  Value zero = b.index(0);
  auto times = [&](double factor, Value value) {
    return b.mulF(f64(b, factor), value);
  };
  Value squares = sumChannels([&](Value channel) {
    Value x = loadWide(directions, {head, channel});
    return b.mulF(x, x);
  });
  Value product = sumChannels([&](Value channel) {
    return b.mulF(loadWide(directions, {head, channel}),
                  b.load(solution, {head, channel}));
  });
  Value lack = sumChannels([&](Value channel) {
    Value at[] = {head, channel};
    Value x = b.subF(b.subF(loadWide(query, at), b.load(solution, at)),
                     loadWide(directions, at));
    return b.mulF(x, x);
  });
  // Products, their sum, their scale; products that are subnormal; and f64.
  Value sizes = b.mulF(b.sqrt(squares), b.load(keyNorm, zero));
  Value rounding = times((RowScores::getDepth(keys.getRows()) + 3) * u * scale, sizes);
  rounding = b.addF(rounding, times(0x1p-148, sizes));
  rounding = b.addF(rounding, f64(b, 0x1p-147 * keyDim * scale));
  lack = times(scale * (1.0 + 0x1p-20), lack);
  Value gap = b.subF(loadWide(best, head), times(scale, product));
  gap = b.addF(b.addF(gap, rounding), times(0.5, lack));
  gap = b.maxF(gap, f64(b, 0.0));
  // (sqrt(G) + norm(lack))^2, with room for what is not attended: then
  // sqrt(gap) bounds the distance of q - r from the solution.
  return b.addF(times(1.0 + 0x1p-8, gap), times(1.0 + 0x1p8, lack));
}

/// Stores the results. Of an empty set they are o = 0, lse = -inf, the query,
/// and no gap; of one with NaN, nothing is a number but the gap, which is
/// infinite.
void FrankWolfeKernel::finish(Value head) {
  Value zero = b.index(0);
  Value queryHead = getQueryHead(head);
  b.store(b.load(lses, head), op.getOuts()[1], {walk.row, queryHead});
  b.store(b.load(gaps, head), op.getOuts()[3], {walk.row, queryHead});
  Value spoilt = b.load(poison, head);
  b.forLoop(zero, b.index(keyDim), keys.getStep(), [&](Value channel) {
    SmallVector<Value> residual =
        keys.restore(keys.loadConsecutive(directions, {head, channel}));
    for (Value &vector : residual)
      vector = b.addF(vector, b.broadcast(spoilt, keys.lanes));
    keys.store(residual, op.getOuts()[2], {walk.row, queryHead, channel});
  });
  Value isEmpty = b.compare(CmpIPredicate::eq, b.load(numVertices, head), zero);
  forEachSum(
      head, op.getVCache(), values, [&](Value channel, ArrayRef<Value> sums) {
        SmallVector<Value> outputs;
        for (Value sum : sums)
          outputs.push_back(
              arith::TruncFOp::create(b, b.vectorType(values.lanes), sum));
        outputs = values.restore(outputs);
        Value mask = vector::BroadcastOp::create(
            b, VectorType::get({values.lanes}, b.getI1Type()), isEmpty);
        for (Value &value : outputs) {
          value = b.select(mask, b.splat(0.0f, values.lanes), value);
          value = b.addF(value, b.broadcast(spoilt, values.lanes));
        }
        values.store(outputs, op.getOuts()[0], {walk.row, queryHead, channel});
      });
}

std::unique_ptr<AttendKernel> vashista::makeFrankWolfeKernel(AttendOp op,
                                                             KernelBuilder &b) {
  return std::make_unique<FrankWolfeKernel>(op, b);
}
