//===- PagesOfPick.cpp - What a pick makes of scores of pages -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PagesOfPick.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

PagesOfPick::PagesOfPick(PickOp pick, WarpBuilder &b, Value length, Value most)
    : pick(pick), b(b) {
  int64_t size = pick.getPageSize();
  numFull = b.divU(length, b.index(size));
  Value all = b.divU(b.addI(length, b.index(size - 1)), b.index(size));
  used = b.minI(all, most);
  afterSinks = b.minI(b.index(llvm::divideCeil(pick.getSinks(), size)), used);
  window = used;
  if (pick.getWindow() > 0) {
    Value recent = b.subI(length, b.index(pick.getWindow()));
    window = b.divU(b.maxI(recent, b.index(0)), b.index(size));
    window = b.minI(b.maxI(window, afterSinks), used);
  }
  auto scores = cast<RankedTensorType>(pick.getScores().getType());
  bool areCompared =
      scores.getDimSize(1) > static_cast<int64_t>(pick.getKvHeads());
  isWeighed = size > 1 && (areCompared || pick.getWindow() == 0);
  if (!isWeighed)
    return;
  Value rest = b.toI32(b.remU(length, b.index(size)));
  weightOfLast = b.log(arith::UIToFPOp::create(b, b.getF32Type(), rest));
  weightOfFull = b.f32(static_cast<float>(std::log(static_cast<double>(size))));
}

Value PagesOfPick::weigh(Value score, Value page) {
  if (!isWeighed)
    return score;
  Value isFull = b.compare(CmpIPredicate::slt, page, numFull);
  return b.addF(score, b.select(isFull, weightOfFull, weightOfLast));
}
