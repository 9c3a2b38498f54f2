//===- PagesOfPick.h - What a pick makes of scores of pages -----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PAGESOFPICK_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PAGESOFPICK_H

#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// The pages of a sequence, for a `pick` of the best of them.
class PagesOfPick {
public:
  using Value = mlir::Value;

  /// `length`: tokens of the sequence; `most`: pages at most. index
  PagesOfPick(PickOp pick, WarpBuilder &b, Value length, Value most);

  /// A page's score, which its tokens have together: a summary is their mean.
  /// Only the last page may have fewer; where a window takes it, and heads are
  /// not compared, all others weigh the same.
  Value weigh(Value score, Value page);
  Value isFree(Value page) {
    using mlir::arith::CmpIPredicate;
    return b.andI(b.compare(CmpIPredicate::sge, page, afterSinks),
                  b.compare(CmpIPredicate::slt, page, window));
  }

  // Pages with visible tokens; those from afterSinks on and below window are
  // free to be picked or not. index
  Value used, afterSinks, window;

private:
  PickOp pick;
  WarpBuilder &b;
  bool isWeighed;
  Value numFull, weightOfFull, weightOfLast;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PAGESOFPICK_H
