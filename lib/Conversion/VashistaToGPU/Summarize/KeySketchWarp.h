//===- KeySketchWarp.h - Writing the sketch of keys by warps ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A lane has 16 channels of a key in registers, the least that a group or a
// block of the rotation has: what is done within them needs no other lane, and
// what is done between lanes are shuffles over powers of two. Only codes, whose
// planes hold channels that are far apart, go through memory that is shared.
//
// For each channel, 6 instructions of f64 for each of the scales that are
// tried, and fewer than 20 for all else.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEYSKETCHWARP_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEYSKETCHWARP_H

#include "../VashistaToVector/SketchQuantiser.h"
#include "Warp/SketchLanes.h"

namespace vashista {

/// Codes, scales and residual norms of keys, in buffers beside their cache.
class KeySketchWarp {
public:
  using Value = mlir::Value;

  /// `parts` are those of the op, `warps` those of a block.
  KeySketchWarp(WarpBuilder &b, SketchAttr sketch, mlir::ValueRange parts,
                int64_t keyDim, int64_t warps);

  /// The buffer of the block that `begin` is given.
  mlir::MemRefType getShared();
  /// In the kernel.
  void begin(llvm::ArrayRef<Value> parts, Value shared);

  /// Whether tokens share what is written of each: if one changes, all do.
  bool isShared() const { return format.centred; }
  /// Where the page's mean is kept; only if shared.
  Value getCentre() const { return parts[3]; }
  /// How tokens lie in lanes, 16 channels a vector.
  const TokenLanes lanes;

  /// Writes the sketch of the tokens of a warp's lanes, where there is one for
  /// these. `load` yields consecutive channels of a lane's key.
  void emit(Value page, Value kvHead, Value token, Value isToken,
            llvm::function_ref<llvm::SmallVector<Value>(Value channel,
                                                        int64_t number)>
                load);

private:
  /// A group's scale and the squares of what it leaves, in all of its lanes.
  struct Group {
    SketchQuantiser::Scale scale;
    Value squares;
  };

  Value add(Value x, Value y) { return b.addF(x, y); }
  /// The sum of squares of some channels.
  Value getSquares(llvm::ArrayRef<Value> channels);
  Group quantise(llvm::ArrayRef<Value> channels);
  void storeGroups(llvm::ArrayRef<Group> groups, Value isKnown, Value rounding);
  /// `words` are the codes of a lane's vectors, a byte each.
  void pack(llvm::ArrayRef<Value> words);

  WarpBuilder &b;
  const SketchFormat format;
  SketchQuantiser quantiser;
  const int64_t warps, groupLanes;
  llvm::SmallVector<Value> parts;
  Value shared;
  // Of the token that is being emitted.
  Value page, kvHead, token, isToken;
  llvm::SmallVector<Value> vectors; // of this lane
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SUMMARIZE_KEYSKETCHWARP_H
