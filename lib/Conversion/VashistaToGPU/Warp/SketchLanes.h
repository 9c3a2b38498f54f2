//===- SketchLanes.h - Channels of a sketch in lanes of a warp --*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SKETCHLANES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SKETCHLANES_H

#include "../VashistaToVector/SketchFormat.h"
#include "TokenLanes.h"

namespace vashista {

/// Consecutive channels of a lane, f64 or f32.
using LaneChannels = llvm::SmallVector<mlir::Value>;

/// Those of a lane's vector, 0 where the key or direction has none. `load`
/// yields consecutive ones that it has.
LaneChannels loadChannels(
    WarpBuilder &b, const SketchFormat &format, const TokenLanes &lanes,
    mlir::Value vector,
    llvm::function_ref<LaneChannels(mlir::Value channel, int64_t number)> load);

/// Rotates what lanes have, a part for each of their vectors: of f64 as the
/// `rotate` of one thread, and to the same bits; of f32 off by less than 2^-20
/// of the vector's norm, 3 roundings and one for each level. Vectors are of a
/// power of two, at most 16.
void rotate(WarpBuilder &b, const SketchFormat &format, const TokenLanes &lanes,
            llvm::MutableArrayRef<LaneChannels> parts);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_SKETCHLANES_H
