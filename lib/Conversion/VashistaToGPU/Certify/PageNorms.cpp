//===- PageNorms.cpp - The largest norms of pages -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PageNorms.h"

using namespace mlir;
using namespace vashista;

Value vashista::getLargerNorm(WarpBuilder &b, Value x, Value y) {
  return b.maxF(x, y);
}

SmallVector<Value>
vashista::findLargestNorms(WarpBuilder &b, Value norms, Value firstKvHead,
                           int64_t kvHeads, Value begin, Value end,
                           int64_t apart, int64_t atOnce,
                           function_ref<Value(Value entry)> loadPage) {
  Value last = b.subI(end, b.index(1));
  SmallVector<Value> none(2 * kvHeads, b.f32(0.0f));
  return b.forLoop(
      begin, end, atOnce * apart, none, [&](Value first, ValueRange carried) {
        SmallVector<Value> next(carried), found;
        for (int64_t i = 0; i < atOnce; ++i) {
          // The last page once more does no harm.
          Value at = b.minI(b.addI(first, b.index(i * apart)), last);
          Value page = loadPage(at);
          for (int64_t head = 0; head < kvHeads; ++head)
            found.push_back(vector::LoadOp::create(
                b, b.vectorType(2), norms,
                ValueRange{page, b.addI(firstKvHead, b.index(head)),
                           b.index(0)},
                /*nontemporal=*/false, llvm::MaybeAlign(8)));
        }
        for (auto [i, pair] : llvm::enumerate(found))
          for (int64_t j = 0; j < 2; ++j) {
            Value &most = next[2 * (i % kvHeads) + j];
            Value norm =
                vector::ExtractOp::create(b, pair, ArrayRef<int64_t>{j});
            most = getLargerNorm(b, most, norm);
          }
        return next;
      });
}
