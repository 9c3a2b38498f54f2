//===- SketchKept.cpp - A scan as a part of another kernel ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Levels, tops and spreads of a block's slots stay in its memory, for who goes
// on with them there; slots count from the block's first one, heads from its
// own.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

using namespace mlir;
using namespace vashista;

SmallVector<MemRefType> SketchScan::getKeptTypes() {
  const int64_t all = getHeadsOfBlock();
  return {b.sharedType({all, block}, b.getI8Type()),
          b.sharedType({all, block / ScanFindings::kTile}, b.getF32Type()),
          b.sharedType(block, b.getF16Type()),
          b.sharedType({all, getNumFound()}, b.getF32Type())};
}

void SketchScan::keep(Given &given, ArrayRef<Value> shared, const Kept &kept,
                      Value row, Value kvHead, Value number, Value largest) {
  isKept = true;
  blockNumber = number;
  levels = kept.levels;
  tileTops = kept.tileTops;
  spreads = kept.spreads;
  tops = kept.tops;
  Given buffers(shared.drop_front());
  bindShared(buffers);
  bind(given);
  begin(row, kvHead);
  firstSlot = b.mulI(number, b.index(block));
  endSlot = b.addI(firstSlot, b.index(block));
  endSlot = b.maxI(b.minI(endSlot, slots->numSlots), firstSlot);
  SmallVector<Value> found = scanSlots();
  if (pageNorms)
    findPageNorms(firstSlot, endSlot);
  storeTops(found, shared.front());
  if (pageNorms)
    storePageNorms(largest);
}
