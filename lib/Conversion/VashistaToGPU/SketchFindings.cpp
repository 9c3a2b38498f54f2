//===- SketchFindings.cpp - What a scan of a sketch leaves beside scores --===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Where only proving picks read them, scores are not written, and of bounds
// their levels (ScanFindings). A level is rounded down, after 1/128 of a step
// is taken off: more than the f32 difference and its product are off by, which
// is 2^-23 of at most 2^16 steps. So the bound that it stands for is not below
// the one that was found. Tokens g and g + 8 of the product are then slots 2 g
// and 2 g + 1 of the tile, whose levels are written together.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

void SketchScan::Best::add(WarpBuilder &b, Value score, Value ofBound,
                           Value ofSpread) {
  Value isBest = b.compare(CmpFPredicate::OGE, ofBound, bound);
  bound = b.maxNumber(bound, ofBound);
  lack = b.select(isBest, b.subF(ofBound, score), lack);
  spread = b.select(isBest, ofSpread, spread);
  highest = arith::MaximumFOp::create(b, highest, score);
}

Value SketchScan::storeLevels(Value start, ArrayRef<Value> slots,
                              ArrayRef<Value> bounds, Value top,
                              const Column &column, bool areWhole) {
  for (int64_t mask : getHeadMasks())
    top = b.maxNumber(top, b.shuffleXor(top, mask));

  Value isHead = b.compare(CmpIPredicate::ult, column.head, b.index(group));
  Value head = b.addI(firstHead, column.head);
  for (unsigned i = 0; i < slots.size(); i += 2) {
    SmallVector<Value> both;
    for (Value bound : bounds.slice(i, 2)) {
      // NaN, of two infinities, is no steps: all of the tile are not known.
      Value steps = math::FmaOp::create(
          b, b.subF(top, bound), b.f32(ScanFindings::kPerNat), b.f32(-0x1p-7f));
      steps = b.maxNumber(steps, b.f32(0.0f));
      steps = b.minNumber(steps, b.f32(ScanFindings::kLowest));
      Value level = arith::FPToUIOp::create(b, b.getI32Type(), steps);
      both.push_back(arith::TruncIOp::create(b, b.getI16Type(), level));
    }
    storePair(both, levels, head, slots[i], isHead, areWhole);
  }
  Value isFirst = b.andI(b.compare(CmpIPredicate::eq, quad, b.index(0)),
                         b.compare(CmpIPredicate::eq, part, b.index(0)));
  b.ifThen(b.andI(isHead, isFirst), [&] {
    Value tile = b.divU(start, b.index(ScanFindings::kTile));
    b.store(top, tileTops, {this->slots->row, head, tile});
  });
  return top;
}

void SketchScan::storePair(ValueRange both, Value to, Value head, Value slot,
                           Value isWanted, bool isWhole) {
  // Rows may end within what is not whole.
  if (!isWhole)
    isWanted =
        b.andI(isWanted, b.compare(CmpIPredicate::slt, slot, b.dim(to, 2)));
  b.ifThen(isWanted, [&] {
    auto pair = VectorType::get({2}, getElementTypeOrSelf(to));
    vector::StoreOp::create(b, vector::FromElementsOp::create(b, pair, both),
                            to, ValueRange{slots->row, head, slot},
                            /*nontemporal=*/false, llvm::MaybeAlign(4));
  });
}

void SketchScan::storeSpreads(ArrayRef<Value> both, Value slot, bool areWhole) {
  Value isFirst =
      b.compare(CmpIPredicate::eq, b.remU(within, b.index(heads)), b.index(0));
  SmallVector<Value> narrow;
  for (Value spread : both)
    narrow.push_back(arith::TruncFOp::create(b, b.getF16Type(), spread));
  storePair(narrow, spreads, slots->kvHead, slot, isFirst, areWhole);
}

void SketchScan::addFindings(const Token &token, Value score, Value bound,
                             MutableArrayRef<Value> found) {
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  Value isFinite = b.compare(CmpFPredicate::OLT, bound, inf);
  found[0] = b.maxNumber(found[0], b.select(isFinite, bound, b.negInf()));
  Value isNaN =
      b.andI(b.compare(CmpFPredicate::UNO, score, score), token.isVisible);
  found[1] = b.select(isNaN, b.f32(1.0f), found[1]);
}

void SketchScan::addFindings(const Best &best, Value tileTop,
                             MutableArrayRef<Value> found) {
  Value inf = b.f32(std::numeric_limits<float>::infinity()), zero = b.f32(0.0f);
  // Of a tile with a bound that is not known, none is.
  Value isKnown = b.compare(CmpFPredicate::OLT, tileTop, inf);
  found[0] = b.maxNumber(found[0], b.select(isKnown, tileTop, b.negInf()));
  found[1] = arith::MaximumFOp::create(b, found[1], best.highest);
  // What is picked is like the best of each tile.
  Value isHere =
      b.andI(b.compare(CmpFPredicate::OEQ, best.bound, tileTop), isKnown);
  Value own[] = {best.lack, best.spread, b.f32(1.0f)};
  for (auto [sum, value] : llvm::zip_equal(found.drop_front(2), own))
    sum = b.addF(sum, b.select(isHere, value, zero));
}

SmallVector<int64_t> SketchScan::getHeadMasks() const {
  SmallVector<int64_t> masks = {4, 8, 16};
  for (int64_t mask = heads; mask < kColumns; mask *= 2)
    masks.push_back(mask);
  return masks;
}

void SketchScan::storeTops(ArrayRef<Value> found, ArrayRef<Column> columns,
                           Value shared) {
  int64_t numFound = getNumFound();
  // The highest of two, and sums of two.
  auto join = [&](int64_t which, Value x, Value y) -> Value {
    if (hasLevels && which == 1)
      return arith::MaximumFOp::create(b, x, y);
    return which < 2 ? b.maxNumber(x, y) : b.addF(x, y);
  };
  Value zero = b.index(0);
  for (auto [i, column] : llvm::enumerate(columns)) {
    for (int64_t which = 0; which < numFound; ++which) {
      Value all = found[numFound * i + which];
      for (int64_t mask : getHeadMasks())
        all = join(which, all, b.shuffleXor(all, mask));
      Value at = b.addI(within, b.index(kColumns * i));
      b.store(all, shared, {warp, at, b.index(which)});
    }
  }
  b.barrier();
  Value thread = b.threadId();
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(group)), [&] {
    SmallVector<Value> joined;
    for (int64_t which = 0; which < numFound; ++which) {
      Value all = b.load(shared, {zero, thread, b.index(which)});
      for (int64_t i = 1; i < numWarps; ++i)
        all = join(which, all,
                   b.load(shared, {b.index(i), thread, b.index(which)}));
      joined.push_back(all);
    }
    if (hasLevels) {
      Value number = b.maxNumber(joined.pop_back_val(), b.f32(1.0f));
      for (Value &sum : MutableArrayRef<Value>(joined).drop_front(2))
        sum = b.divF(sum, number);
    } else {
      Value isNaN = b.compare(CmpFPredicate::OGT, joined[1], b.f32(0.0f));
      Value nan = b.f32(std::numeric_limits<float>::quiet_NaN());
      joined = {b.select(isNaN, nan, joined[0])};
    }
    for (auto [which, value] : llvm::enumerate(joined))
      b.store(value, tops,
              {slots->row, b.addI(firstHead, thread),
               b.blockId(gpu::Dimension::y), b.index(which)});
  });
}
