//===- VectorScorer.cpp - Scores of page summaries and of keys -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A score is a sum of dot products of vectors made of the direction with
// vectors made of the row:
//
//   mean       <w, mean>
//   mean_std   <w, mean> + <|w|, std>
//   box        <max(w, 0), hi> + <min(w, 0), lo>
//   ball       <w, centre> + norm(w) * radius
//   keys       <w, key>
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "TileScorer.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

namespace {

class VectorScorer : public TileScorer {
public:
  VectorScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk, int64_t group,
               int64_t dim);

  Bounds getBounds() const override;
  void begin(int64_t heads) override;
  void makeVectors(Value number, Value queryHead) override;
  void scoreTile(Value first, Value scores, Value bounds) override;
  ArrayRef<Value> getRead() const override {
    return ArrayRef<Value>(parts).take_front(getElements(op).size());
  }

private:
  static SmallVector<Type> getElements(ScoreOp op);
  Value getNorm(Value queryHead);
  void addRadii(Value first, Value scores);

  std::optional<SummaryKind> getSummary() const {
    if (auto summary = dyn_cast<SummaryAttr>(op.getFrom()))
      return summary.getKind();
    return std::nullopt;
  }
  bool isBound() const {
    return getSummary() == SummaryKind::box ||
           getSummary() == SummaryKind::ball;
  }

  RowVectors vectors;
  /// Products of bf16 are summed in pairs. Not for bounds of pages, whose slack
  /// is for arithmetic that keeps subnormal numbers; certify has slack for
  /// keys.
  bool dots;

  // Of the current task.
  Value queries, second, third; // [heads, D] f32: made of the direction
  Value norms;                  // [heads] f32: of the direction, of a ball
};

} // namespace

/// The types of the parts that have channels.
SmallVector<Type> VectorScorer::getElements(ScoreOp op) {
  SmallVector<Type> elements;
  for (auto [part, tensor] :
       llvm::zip_equal(op.getFrom().getParts(), op.getParts()))
    if (llvm::is_contained(part.dims, Dim::keyDim))
      elements.push_back(getElementTypeOrSelf(tensor));
  return elements;
}

VectorScorer::VectorScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk,
                           int64_t group, int64_t dim)
    : TileScorer(op, b, walk, group, dim),
      // The butterfly of partial sums halves them.
      vectors(b, dim, std::min(b.lanes, dim & -dim), getElements(op)) {
  dots = b.target.dotsBF16 && vectors.hasPairs() && !isBound() &&
         getElementTypeOrSelf(op.getDirection()).isBF16();
}

TileScorer::Bounds VectorScorer::getBounds() const {
  return op.getFrom().hasBounds() ? Bounds::same : Bounds::infinite;
}

void VectorScorer::begin(int64_t heads) {
  Type f32 = b.getF32Type(), element = dots ? Type(b.getBF16Type()) : f32;
  queries = b.scratch({heads, dim}, element);
  second = b.scratch({heads, dim}, f32);
  third = b.scratch({heads, dim}, element);
  norms = b.scratch({heads}, f32);
}

/// Above the norm of a head's direction, whose squares f32 may not hold, by
/// more than is lost where a bound is made of it: in a product, a sum and a
/// scale.
Value VectorScorer::getNorm(Value queryHead) {
  Value squares =
      b.forLoop(b.index(0), b.index(dim), 1, ValueRange{f64(b, 0.0)},
                [&](Value channel, ValueRange carried) -> SmallVector<Value> {
                  Value x = widen(
                      b, b.load(direction, {walk.row, queryHead, channel}));
                  return {b.addF(carried[0], b.mulF(x, x))};
                })
          .front();
  return roundUp(b, b.mulF(b.sqrt(squares), f64(b, 1 + std::ldexp(1.0, -20))));
}

void VectorScorer::makeVectors(Value number, Value queryHead) {
  std::optional<SummaryKind> summary = getSummary();
  Value zeros = b.splat(0.0f, vectors.lanes);
  auto make = [&](ArrayRef<Value> from, Value to, ValueRange at,
                  function_ref<Value(Value)> body) {
    vectors.store(llvm::map_to_vector(from, body), to, at);
  };
  // As they are stored, in pairs of bf16.
  auto copyPairs = [&](ValueRange from, ValueRange to) {
    for (int64_t part = 0; part < vectors.getNumParts(); part += 2) {
      auto at = [&](ValueRange indices) {
        SmallVector<Value> here(indices);
        here.back() = b.addI(here.back(), b.index(part * vectors.lanes));
        return here;
      };
      auto pairs = VectorType::get({2 * vectors.lanes}, b.getBF16Type());
      Value w = vector::LoadOp::create(b, pairs, direction, at(from));
      b.storeVector(w, queries, at(to));
      b.storeVector(b.absF(w), third, at(to));
    }
  };
  b.forLoop(b.index(0), b.index(dim), vectors.getStep(), [&](Value channel) {
    SmallVector<Value> w = vectors.permute(
        vectors.loadConsecutive(direction, {walk.row, queryHead, channel}));
    Value at[] = {number, channel};
    bool isBox = summary == SummaryKind::box;
    if (dots) {
      copyPairs({walk.row, queryHead, channel}, at);
    } else {
      make(w, queries, at,
           [&](Value v) { return isBox ? b.maxF(v, zeros) : v; });
      make(w, third, at, [&](Value v) { return b.absF(v); });
    }
    if (isBox)
      make(w, second, at, [&](Value v) { return b.minF(v, zeros); });
  });
  if (summary == SummaryKind::ball)
    b.store(getNorm(queryHead), norms, number);
}

void VectorScorer::scoreTile(Value first, Value scores, Value) {
  std::optional<SummaryKind> summary = getSummary();
  auto loadPart = [&](unsigned part) {
    return [this, part](ValueRange indices) {
      return dots ? vectors.loadPairs(parts[part], indices)
                  : vectors.load(parts[part], indices);
    };
  };
  RowScores scorer(b, walk, vectors.getRows(), group);
  scorer.firstQuery = first;
  scorer.prefetched.assign(getRead().begin(), getRead().end());
  if (summary == SummaryKind::box) {
    scorer.terms.push_back({queries, loadPart(1)});
    scorer.terms.push_back({second, loadPart(0)});
  } else {
    scorer.terms.push_back({queries, loadPart(0), dots});
    if (summary == SummaryKind::mean_std)
      scorer.terms.push_back({third, loadPart(1), dots});
  }
  // A bound holds for the exact product of the stored numbers. A sum of D
  // products in f32, in any order, is off by at most (D + 2) 2^-24 times the
  // sum of their sizes; scale, cap and epsilon add a few units more. Twice
  // that.
  Value slack = b.splat(2.0f * (dim + 8) * 0x1p-24f, vectors.lanes);
  auto addSlack = [&](std::function<SmallVector<Value>(ValueRange)> getSizes) {
    scorer.terms.push_back({third, [this, slack, getSizes](ValueRange at) {
                              SmallVector<Value> sizes = getSizes(at);
                              for (Value &size : sizes)
                                size = b.mulF(size, slack);
                              return sizes;
                            }});
  };
  if (summary == SummaryKind::box)
    addSlack([this, loadPart](ValueRange at) {
      SmallVector<Value> sizes = loadPart(0)(at);
      for (auto [size, hi] : llvm::zip_equal(sizes, loadPart(1)(at)))
        size = b.maxF(b.absF(size), b.absF(hi));
      return sizes;
    });
  if (summary == SummaryKind::ball)
    addSlack([this, loadPart](ValueRange at) {
      SmallVector<Value> sizes = loadPart(0)(at);
      for (Value &size : sizes)
        size = b.absF(size);
      return sizes;
    });
  scorer.finish = [&](Value sums) {
    // The ball's radius joins before scale and cap.
    if (summary == SummaryKind::ball)
      return sums;
    return isBound() ? toBounds(sums) : toLogits(sums);
  };
  scorer.scores = scores;
  scorer.emit();
  if (summary == SummaryKind::ball)
    addRadii(first, scores);
}

/// The ball's radius, and then what is done to a sum.
void VectorScorer::addRadii(Value first, Value scores) {
  Value zero = b.index(0);
  b.forLoop(zero, b.index(group), 1, [&](Value head) {
    Value norm = b.load(norms, b.addI(first, head));
    b.forLoop(zero, walk.count, 1, [&](Value at) {
      Value radius = b.load(parts[1], {walk.getPage(at), walk.kvHead});
      Value sum = b.addF(b.load(scores, {head, at}), b.mulF(norm, radius));
      Value bound = toBounds(b.broadcast(sum, 1));
      b.store(vector::ExtractOp::create(b, bound, ArrayRef<int64_t>{0}), scores,
              {head, at});
    });
  });
}

std::unique_ptr<TileScorer>
vashista::createVectorScorer(ScoreOp op, KernelBuilder &b, TileWalk &walk,
                             int64_t group, int64_t dim) {
  return std::make_unique<VectorScorer>(op, b, walk, group, dim);
}
