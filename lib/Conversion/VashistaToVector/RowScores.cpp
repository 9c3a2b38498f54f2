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

int64_t vashista::getLargestDivisor(int64_t value, int64_t limit) {
  for (int64_t divisor = std::min(value, limit); divisor > 1; --divisor)
    if (value % divisor == 0)
      return divisor;
  return 1;
}

void RowScores::emit(Value count) {
  int64_t headBlock = getLargestDivisor(group, 4);
  Value zero = b.index(0), one = b.index(1);
  b.forLoop(zero, count, kRowBlock, [&](Value row) {
    // A block may reach past the last row: it then repeats that one, and what
    // it scores there is never used.
    SmallVector<SmallVector<Value>> rows, nextRows;
    for (int64_t t = 0; t < kRowBlock; ++t) {
      Value here = b.addI(row, b.index(t));
      rows.push_back(indices(b.minI(here, b.subI(count, one)), zero));
      if (prefetch)
        nextRows.push_back(nextIndices(here, zero));
    }
    for (int64_t head = 0; head < group; head += headBlock) {
      SmallVector<Value> zeros(headBlock * kRowBlock, b.splat(0.0f, lanes));
      SmallVector<Value> dots =
          b.forLoop(zero, b.index(dim), lanes, zeros,
                    [&](Value channel, ValueRange carried) {
                      SmallVector<Value> next(carried);
                      for (Term &term : terms) {
                        SmallVector<Value> values;
                        for (SmallVector<Value> &at : rows) {
                          at.back() = channel;
                          values.push_back(term.load(at));
                        }
                        for (int64_t h = 0; h < headBlock; ++h) {
                          Value query =
                              b.loadVector(term.queries,
                                           {b.index(head + h), channel}, lanes);
                          for (int64_t t = 0; t < kRowBlock; ++t) {
                            Value &sum = next[h * kRowBlock + t];
                            sum = b.fma(query, values[t], sum);
                          }
                        }
                      }
                      if (prefetch && head == 0)
                        for (SmallVector<Value> &at : nextRows) {
                          at.back() = channel;
                          prefetch(at);
                        }
                      return next;
                    });
      // As many sums at a time as a vector has elements.
      int64_t atOnce = std::min<int64_t>(lanes, dots.size());
      atOnce = std::max<int64_t>(atOnce / kRowBlock, 1) * kRowBlock;
      for (int64_t first = 0, e = dots.size(); first < e; first += atOnce) {
        ArrayRef<Value> some =
            ArrayRef<Value>(dots).slice(first, std::min(atOnce, e - first));
        Value sums;
        if (lanes >= kRowBlock) {
          sums = b.sumEach(some);
        } else {
          SmallVector<Value> each;
          for (Value dot : some)
            each.push_back(b.reduceAdd(dot));
          sums = vector::FromElementsOp::create(b, b.vectorType(each.size()),
                                                each);
        }
        sums = finish(sums);
        for (int64_t i = 0, n = some.size() / kRowBlock; i < n; ++i) {
          Value four = vector::ExtractStridedSliceOp::create(
              b, sums, i * kRowBlock, kRowBlock, 1);
          b.storeVector(four, scores,
                        {b.index(head + first / kRowBlock + i), row});
        }
      }
    }
  });
}
