//===- SketchMoments.cpp - Second moments of what a sketch lacks ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SketchMoments.h"

#include "UpperBounds.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;

/// f64 channels that are handled at a time, and rows of a matrix; padded dims
/// are multiples of 16.
static constexpr int64_t kWidth = 8, kTileRows = 4;
static_assert(SketchMoments::kRows % kTileRows == 0, "a block has whole tiles");

static constexpr double kGrowth = 1 + SketchFormat::kMomentShare;

static VectorType getWide(KernelBuilder &b) {
  return VectorType::get({kWidth}, b.getF64Type());
}

Value SketchMoments::computeDiagonal(Value room) {
  // With what sums of up to 2^31 squares may have lost.
  double factor = (1 + 1 / SketchFormat::kMomentShare) * (1 + 0x1p-20);
  return b.mulF(room, f64(b, factor));
}

void SketchMoments::clearResiduals() {
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(getWide(b)));
  b.forLoop(b.index(0), b.index(numTokens), 1, [&](Value token) {
    b.forLoop(b.index(0), b.index(format.paddedDim), kWidth,
              [&](Value channel) {
                b.storeVector(none, residuals, {token, channel});
              });
  });
}

//===----------------------------------------------------------------------===//
// A token
//===----------------------------------------------------------------------===//

void SketchMoments::beginAppend() {
  numTokens = 1;
  residuals = b.scratch({1, format.paddedDim}, b.getF64Type());
}

void SketchMoments::append(Value sequence, Value kvHead, Value room,
                           Value isFirst) {
  Value zero = b.index(0), all = b.index(format.paddedDim);
  VectorType wide = getWide(b);
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  auto like = [&](double number) -> Value {
    return arith::ConstantOp::create(b, DenseElementsAttr::get(wide, number));
  };
  Value diagonal = computeDiagonal(room);
  b.forLoop(zero, all, 1, [&](Value channel) {
    Value own = b.load(residuals, {zero, channel});
    Value at[] = {sequence, kvHead, channel, channel};
    // What is there before the first token may be anything.
    Value before =
        b.select(isFirst, f64(b, 0.0), widen(b, b.load(moments, at)));
    Value others = b.broadcastTo(own, wide);
    Value lost =
        b.forLoop(zero, all, kWidth, none,
                  [&](Value other, ValueRange carried) -> SmallVector<Value> {
                    Value indices[] = {sequence, kvHead, channel, other};
                    Value old = b.loadVector(moments, indices, kWidth);
                    old = b.select(isFirst, none, widen(b, old));
                    Value x = vector::LoadOp::create(b, wide, residuals,
                                                     ValueRange{zero, other});
                    // Whichever of the two is `own`, with the same result.
                    Value share = b.mulF(b.mulF(others, x), like(kGrowth));
                    Value sum = b.addF(old, share);
                    Value rounded = arith::TruncFOp::create(
                        b, wide.clone(b.getF32Type()), sum);
                    b.storeVector(rounded, moments, indices);
                    // f64 has lost less than 2^-51 of each.
                    Value sizes = b.addF(b.absF(old), b.absF(share));
                    Value off = b.absF(b.subF(widen(b, rounded), sum));
                    off = b.addF(off, b.mulF(sizes, like(0x1p-50)));
                    return {b.addF(carried[0], off)};
                  })
            .front();
    Value square = b.mulF(b.mulF(own, own), f64(b, kGrowth));
    Value sum = b.addF(b.addF(before, square), b.reduceAdd(lost));
    b.store(roundUp(b, b.addF(sum, diagonal)), moments, at);
  });
}

//===----------------------------------------------------------------------===//
// A sequence
//===----------------------------------------------------------------------===//

void SketchMoments::beginSums(Value block) {
  numTokens = kTokens;
  residuals = b.scratch({kTokens, format.paddedDim}, b.getF64Type());
  int64_t rows = std::min(kRows, format.paddedDim);
  sums = b.scratch({rows, format.paddedDim}, b.getF64Type());
  first = b.mulI(block, b.index(kRows));
  last = b.minI(b.addI(first, b.index(kRows)), b.index(format.paddedDim));
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(getWide(b)));
  b.forLoop(b.index(0), b.index(rows), 1, [&](Value row) {
    b.forLoop(b.index(0), b.index(format.paddedDim), kWidth,
              [&](Value channel) {
                b.storeVector(none, sums, {row, channel});
              });
  });
}

void SketchMoments::addResiduals() {
  VectorType wide = getWide(b);
  // Above the diagonal: the rest is its mirror image.
  b.forLoop(first, last, kTileRows, [&](Value row) {
    Value width = b.index(kWidth);
    Value begin = b.mulI(b.divU(row, width), width);
    b.forLoop(begin, b.index(format.paddedDim), kWidth, [&](Value channel) {
      auto at = [&](int64_t i) -> SmallVector<Value> {
        return {b.addI(b.subI(row, first), b.index(i)), channel};
      };
      SmallVector<Value> tile;
      for (int64_t i = 0; i < kTileRows; ++i)
        tile.push_back(vector::LoadOp::create(b, wide, sums, at(i)));
      tile = b.forLoop(
          b.index(0), b.index(kTokens), 1, tile,
          [&](Value token, ValueRange carried) {
            Value x = vector::LoadOp::create(b, wide, residuals,
                                             ValueRange{token, channel});
            SmallVector<Value> next;
            for (int64_t i = 0; i < kTileRows; ++i) {
              Value own = b.load(residuals, {token, b.addI(row, b.index(i))});
              next.push_back(b.fma(b.broadcastTo(own, wide), x, carried[i]));
            }
            return next;
          });
      for (int64_t i = 0; i < kTileRows; ++i)
        b.storeVector(tile[i], sums, at(i));
    });
  });
}

void SketchMoments::finishSums(Value sequence, Value kvHead, Value trace,
                               Value room) {
  Value diagonal =
      b.addF(computeDiagonal(room), b.mulF(trace, f64(b, kGrowth * 0x1p-21)));
  Value any = b.compare(CmpFPredicate::OGT, diagonal, f64(b, 0.0));
  double least = static_cast<double>(format.paddedDim) * 0x1p-149;
  diagonal = b.addF(diagonal, b.select(any, f64(b, least), f64(b, 0.0)));
  b.forLoop(first, last, 1, [&](Value row) {
    auto load = [&](Value channel) -> Value {
      return b.mulF(b.load(sums, {b.subI(row, first), channel}),
                    f64(b, kGrowth));
    };
    b.store(roundUp(b, b.addF(load(row), diagonal)), moments,
            {sequence, kvHead, row, row});
    b.forLoop(b.addI(row, b.index(1)), b.index(format.paddedDim), 1,
              [&](Value channel) {
                Value moment =
                    arith::TruncFOp::create(b, b.getF32Type(), load(channel));
                b.store(moment, moments, {sequence, kvHead, row, channel});
                b.store(moment, moments, {sequence, kvHead, channel, row});
              });
  });
}
