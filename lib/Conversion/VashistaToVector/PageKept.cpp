//===- PageKept.cpp - What is kept of a page, from its tokens -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PageKept.h"

#include "RowScores.h"
#include "UpperBounds.h"

using namespace mlir;
using namespace vashista;

StringRef PageKept::getObstacle(Value keys, Value values, SummaryAttr summary,
                                ValueRange parts) {
  if (ShapedType::isDynamic(getHeadDim(keys)) ||
      (values && ShapedType::isDynamic(getHeadDim(values))))
    return "dynamic head sizes";
  if (!summary || summary.getKind() != SummaryKind::box)
    return "";
  // Minima and maxima are bounds as long as they are stored exactly.
  for (Value part : parts) {
    Type stored = getElementTypeOrSelf(part);
    if (!stored.isF32() && stored != getElementTypeOrSelf(keys))
      return "a box that does not hold keys exactly";
  }
  return "";
}

void PageKept::begin() {
  if (sketch)
    sketch->begin();
}

void PageKept::emit(Value page, Value kvHead, Value count, Value firstNew) {
  this->page = page;
  this->kvHead = kvHead;
  this->count = count;
  if (summary) {
    emitSummary();
    if (summary.getKind() == SummaryKind::ball)
      b.store(getLargestNorm(keys, parts[0]), parts[1], {page, kvHead});
  }
  if (norms) {
    b.store(getLargestNorm(keys), norms, {page, kvHead, b.index(0)});
    b.store(getLargestNorm(values), norms, {page, kvHead, b.index(1)});
  }
  if (sketch)
    emitSketch(firstNew);
}

void PageKept::emitSketch(Value firstNew) {
  // The sketch of a key changes with what is subtracted from it.
  if (sketch->isShared()) {
    firstNew = b.index(0);
    int64_t dim = getHeadDim(keys), lanes = getLargestDivisor(dim, b.lanes);
    b.forLoop(b.index(0), b.index(dim), lanes, [&](Value channel) {
      emitMean(sketch->getCentre(), channel, lanes);
    });
  }
  b.forLoop(firstNew, count, 1, [&](Value token) {
    sketch->emit(page, kvHead, token, [&](Value channel, int64_t lanes) {
      return b.loadVector(keys, indices(page, kvHead, token, channel), lanes);
    });
  });
}

std::pair<Value, Value> PageKept::emitResidual(Value token, Value row) {
  auto loadKey = [&](Value channel, int64_t lanes) {
    return b.loadVector(keys, indices(page, kvHead, token, channel), lanes);
  };
  return sketch->emitResidual(page, kvHead, token, loadKey, moments->residuals,
                              row);
}

void PageKept::appendToMoments(Value sequence, Value position) {
  if (!moments)
    return;
  Value zero = b.index(0), one = b.index(1);
  Value isFirst = b.compare(arith::CmpIPredicate::eq, position, zero);
  Value first = sketch->isShared() ? zero : b.subI(count, one);
  b.forLoop(first, count, 1, [&](Value token) {
    moments->clearResiduals();
    Value room = emitResidual(token, zero).second;
    moments->append(sequence, kvHead, room, isFirst);
  });
}

void PageKept::emitMoments(Value table, Value sequence, Value kvHead,
                           Value length, Value block) {
  this->kvHead = kvHead;
  Value zero = b.index(0), size = b.index(getPageSize());
  sketch->begin();
  moments->beginSums(block);
  Value none = f64(b, 0.0);
  auto addSquares = [&](ValueRange sums, std::pair<Value, Value> squares) {
    return SmallVector<Value>{b.addF(sums[0], squares.first),
                              b.addF(sums[1], squares.second)};
  };
  SmallVector<Value> squares = b.forLoop(
      zero, length, SketchMoments::kTokens, {none, none},
      [&](Value first, ValueRange carried) {
        moments->clearResiduals();
        Value tokens =
            b.minI(b.index(SketchMoments::kTokens), b.subI(length, first));
        SmallVector<Value> next = b.forLoop(
            zero, tokens, 1, carried, [&](Value row, ValueRange sums) {
              Value position = b.addI(first, row);
              page = b.loadIndex(table, {sequence, b.divU(position, size)});
              return addSquares(sums,
                                emitResidual(b.remU(position, size), row));
            });
        moments->addResiduals();
        return next;
      });
  moments->finishSums(sequence, kvHead, squares[0], squares[1]);
}

SmallVector<Value>
PageKept::reduceKeys(Value channel, int64_t lanes, ValueRange init,
                     function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  return b.forLoop(
      b.index(0), count, 1, init, [&](Value token, ValueRange carried) {
        Value key =
            b.loadVector(keys, indices(page, kvHead, token, channel), lanes);
        return body(key, carried);
      });
}

void PageKept::storePart(Value part, Value vector, Value channel) {
  Type element = getElementTypeOrSelf(part);
  if (!element.isF32())
    vector = arith::TruncFOp::create(
        b, cast<VectorType>(vector.getType()).clone(element), vector);
  b.storeVector(vector, part, {page, kvHead, channel});
}

Value PageKept::emitMean(Value to, Value channel, int64_t lanes) {
  Value sum =
      reduceKeys(channel, lanes, b.splat(0.0f, lanes),
                 [&](Value key, ValueRange carried) -> SmallVector<Value> {
                   return {b.addF(carried[0], key)};
                 })
          .front();
  Value mean = b.divF(sum, getCount(lanes));
  storePart(to, mean, channel);
  return mean;
}

Value PageKept::getCount(int64_t lanes) {
  Value number = arith::SIToFPOp::create(
      b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI64Type(), count));
  return b.broadcast(number, lanes);
}

void PageKept::emitSummary() {
  int64_t dim = getHeadDim(keys), lanes = getLargestDivisor(dim, b.lanes);
  float inf = std::numeric_limits<float>::infinity();
  Value zero = b.splat(0.0f, lanes);

  b.forLoop(b.index(0), b.index(dim), lanes, [&](Value channel) {
    if (summary.getKind() == SummaryKind::box) {
      auto bounds = reduceKeys(
          channel, lanes, {b.splat(inf, lanes), b.splat(-inf, lanes)},
          [&](Value key, ValueRange carried) -> SmallVector<Value> {
            return {b.minF(carried[0], key), b.maxF(carried[1], key)};
          });
      storePart(parts[0], bounds[0], channel);
      storePart(parts[1], bounds[1], channel);
      return;
    }
    Value mean = emitMean(parts[0], channel, lanes);
    if (summary.getKind() != SummaryKind::mean_std)
      return;
    // Once more over the page, which is in the nearest cache by now: squares of
    // differences lose nothing to cancellation.
    Value squares =
        reduceKeys(channel, lanes, zero,
                   [&](Value key, ValueRange carried) -> SmallVector<Value> {
                     Value difference = b.subF(key, mean);
                     return {b.fma(difference, difference, carried[0])};
                   })
            .front();
    storePart(parts[1], b.sqrt(b.divF(squares, getCount(lanes))), channel);
  });
}

Value PageKept::getLargestNorm(Value cache, Value centre) {
  int64_t dim = getHeadDim(cache), lanes = getLargestDivisor(dim, b.lanes);
  auto wide = VectorType::get({lanes}, b.getF64Type());
  Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  Value zero = b.index(0);
  Value largest =
      b.forLoop(
           zero, count, 1, f64(b, 0.0),
           [&](Value token, ValueRange carried) -> SmallVector<Value> {
             Value squares =
                 b.forLoop(
                      zero, b.index(dim), lanes, zeros,
                      [&](Value channel,
                          ValueRange sums) -> SmallVector<Value> {
                        Value x = widen(b, b.loadVector(cache,
                                                        indices(page, kvHead,
                                                                token, channel),
                                                        lanes));
                        // From the centre as stored, not as computed.
                        if (centre)
                          x = b.subF(
                              x, widen(b, b.loadVector(centre,
                                                       {page, kvHead, channel},
                                                       lanes)));
                        return {b.addF(sums[0], b.mulF(x, x))};
                      })
                     .front();
             return {b.maxF(carried[0], b.reduceAdd(squares))};
           })
          .front();
  return roundUp(b, b.sqrt(largest));
}
