//===- PickPairs.h - Levels of a lane's slots in pairs ----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKPAIRS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKPAIRS_H

#include "PickLevels.h"

namespace vashista {

/// Of a head and up to eight slots of a lane: levels of two in the halves of a
/// word, 0 where there are fewer; steps of a level, i32; and of what the top of
/// their tile lies below that of the head, f32.
struct LevelPairs {
  using Value = mlir::Value;

  static constexpr int64_t kNumber = 4;
  using Words = std::array<Value, kNumber>;
  Words levels;
  Value steps, below;

  /// Heads whose masses a product adds up.
  static constexpr int64_t kColumns = 8;
  /// Masses of pairs are so many times what they should be, on average:
  /// (1 + x) 2^-x, for x from 0 to 1.
  static constexpr float kMean = 1.0407f;

  LevelPairs(WarpBuilder &b, const Levels &from, Value below);

  /// Leaves in `beyond` the highest bit of a half of what lies beyond the end
  /// of this head, a depth as f32, and of those before, if there are any.
  void andBeyond(WarpBuilder &b, const Levels &from, Value end,
                 Words &beyond) const;
};

/// Adds the masses of heads, in units of the highest bound less `headroom`
/// nats, to four sums of a lane, by masks of the slots that count.
void addMasses(WarpBuilder &b, mlir::Value lane,
               llvm::ArrayRef<LevelPairs> heads, const LevelPairs::Words &masks,
               double headroom, llvm::MutableArrayRef<mlir::Value> sums);

/// Of each of so many heads, what these are in this lane.
llvm::SmallVector<mlir::Value> getSumsOfHeads(WarpBuilder &b, mlir::Value lane,
                                              mlir::ValueRange sums,
                                              int64_t heads);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKPAIRS_H
