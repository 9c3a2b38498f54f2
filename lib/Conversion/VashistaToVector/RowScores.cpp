//===- RowScores.cpp - Scores of gathered rows against a group's queries -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowScores.h"

using namespace mlir;
using namespace vashista;

/// Rows that are scored together.
static constexpr int64_t kRowBlock = 4;

int64_t RowScores::getHeadBlock() {
  // The sums, a vector of each row, one of a query and one to spare.
  int64_t most = (b.target.registers - kRowBlock - 2) / kRowBlock;
  return getLargestDivisor(group, std::clamp<int64_t>(most, 1, 4));
}

int64_t RowScores::getSumsAtOnce() {
  int64_t most = std::max<int64_t>(rows.lanes / kRowBlock, 1);
  return getLargestDivisor(getHeadBlock(), most) * kRowBlock;
}

void RowScores::emit() {
  Value zero = b.index(0);
  // One running maximum for each sum of a block: heads x rows.
  int64_t sums = group * kRowBlock, atOnce = getSumsAtOnce();
  SmallVector<Value> largest;
  if (maxima)
    largest.assign(sums / atOnce,
                   b.splat(-std::numeric_limits<float>::infinity(),
                           llvm::PowerOf2Ceil(atOnce)));
  largest = b.forLoop(zero, walk.count, kRowBlock, largest,
                      [&](Value row, ValueRange carried) {
                        SmallVector<Value> next(carried);
                        emitBlock(row, next);
                        return next;
                      });
  for (auto [i, vector] : llvm::enumerate(largest))
    for (int64_t at = 0; at < atOnce; at += kRowBlock) {
      Value some =
          vector::ExtractStridedSliceOp::create(b, vector, at, kRowBlock, 1);
      b.store(b.reduceMaxNum(some), maxima,
              b.index((i * atOnce + at) / kRowBlock));
    }
}

/// Asks for as many steps of what is walked next as are read here, in the order
/// in which they lie in memory, and again for those that are read soon.
void RowScores::askAhead(Value row, Value channel) {
  int64_t step = rows.step, perRow = rows.dim / step;
  Value number = b.divU(channel, b.index(step));
  number =
      b.addI(b.mulI(row, b.index(perRow)), b.mulI(number, b.index(kRowBlock)));
  // Four steps of one row, or each of whichever it is.
  int64_t together = perRow % kRowBlock == 0 ? kRowBlock : 1;
  for (int64_t first = 0; first < kRowBlock; first += together) {
    Value here = b.addI(number, b.index(first));
    for (SmallVector<Value> at : {walk.getAhead(here, perRow, step),
                                  walk.getSoon(here, perRow, step)}) {
      Value start = at.back();
      for (int64_t i = 0; i < together; ++i) {
        at.back() = b.addI(start, b.index(i * step));
        for (Value memref : prefetched)
          b.prefetch(memref, at);
      }
    }
  }
}

void RowScores::emitBlock(Value row, MutableArrayRef<Value> largest) {
  Value zero = b.index(0), one = b.index(1);
  int64_t headBlock = getHeadBlock(), atOnce = getSumsAtOnce();
  // A block may reach past the last row: it then repeats that one, and what it
  // scores there is never used.
  SmallVector<SmallVector<Value>> places;
  for (int64_t t = 0; t < kRowBlock; ++t) {
    Value here = b.addI(row, b.index(t));
    places.push_back(walk.getRow(b.minI(here, b.subI(walk.count, one)), zero));
  }
  auto loadQuery = [&](Term &term, ValueRange at) -> Value {
    if (!term.dots)
      return b.loadVector(term.queries, at, rows.lanes);
    auto pairs = VectorType::get({2 * rows.lanes}, b.getBF16Type());
    return vector::LoadOp::create(b, pairs, term.queries, at);
  };
  auto emitStep = [&](int64_t head, Value channel, ValueRange carried) {
    SmallVector<Value> next(carried);
    for (Term &term : terms) {
      SmallVector<SmallVector<Value>> values;
      for (SmallVector<Value> &at : places) {
        at.back() = channel;
        values.push_back(term.load(at));
      }
      int64_t size = term.dots ? 2 * rows.lanes : rows.lanes;
      for (int64_t part = 0; part < rows.step / size; ++part) {
        Value here = b.addI(channel, b.index(part * size));
        for (int64_t h = 0; h < headBlock; ++h) {
          Value number = b.index(head + h);
          if (firstQuery)
            number = b.addI(firstQuery, number);
          Value query = loadQuery(term, {number, here});
          for (int64_t t = 0; t < kRowBlock; ++t) {
            Value &sum = next[h * kRowBlock + t];
            sum = term.dots ? b.dotPairs(query, values[t][part], sum)
                            : b.fma(query, values[t][part], sum);
          }
        }
      }
    }
    if (head == 0)
      askAhead(row, channel);
    return next;
  };
  for (int64_t head = 0; head < group; head += headBlock) {
    SmallVector<Value> zeros(headBlock * kRowBlock, b.splat(0.0f, rows.lanes));
    SmallVector<Value> dots =
        b.forLoop(zero, b.index(rows.dim), rows.step, zeros,
                  [&](Value channel, ValueRange carried) {
                    return emitStep(head, channel, carried);
                  });
    for (int64_t first = 0, e = dots.size(); first < e; first += atOnce) {
      ArrayRef<Value> some = ArrayRef<Value>(dots).slice(first, atOnce);
      Value sums;
      if (rows.lanes >= kRowBlock) {
        sums = b.sumEach(some);
      } else {
        SmallVector<Value> each;
        for (Value dot : some)
          each.push_back(b.reduceAdd(dot));
        sums =
            vector::FromElementsOp::create(b, b.vectorType(each.size()), each);
      }
      sums = finish(sums);
      int64_t firstSum = head * kRowBlock + first;
      for (int64_t at = 0; at < atOnce; at += kRowBlock) {
        Value four =
            vector::ExtractStridedSliceOp::create(b, sums, at, kRowBlock, 1);
        b.storeVector(four, scores,
                      {b.index((firstSum + at) / kRowBlock), row});
      }
      if (maxima) {
        Value &most = largest[firstSum / atOnce];
        most = b.maxNum(sums, most);
      }
    }
  }
}
