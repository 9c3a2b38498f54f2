//===- SketchScan.h - Scores of a key sketch on tensor cores ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SKETCHSCAN_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SKETCHSCAN_H

#include "DirectionWarp.h"
#include "Kernels.h"
#include "Slots.h"
#include "WarpBuilder.h"

#include <optional>

namespace vashista {

/// Makes the kernel that scores a sketch, and launches it.
class SketchScan {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  /// Channels that a product sums over, and that a lane has of them.
  static constexpr int64_t kChannels = 32, kOwn = 8;

  SketchScan(ScoreOp op, WarpBuilder &b, const SketchFormat &format)
      : op(op), b(b), format(format),
        rounded(this->format, b, SketchDirection::Packing::bytes),
        group(mlir::cast<mlir::RankedTensorType>(op.getDirection().getType())
                  .getDimSize(1) /
              mlir::cast<mlir::RankedTensorType>(op.getParts()[0].getType())
                  .getDimSize(1)),
        columns(llvm::divideCeil(group, kColumns)),
        heads(llvm::bit_ceil<uint64_t>(std::min(group, kColumns))),
        schedule(*op.getSchedule()), numWarps(schedule.getWarps()),
        block(schedule.getSplit()), hasBounds(!op.getBounds().use_empty()),
        hasLevels(needsLevels(op)) {}

  /// Launches the kernel; yields the tensors of scores and bounds, or none
  /// where levels stand for them.
  llvm::SmallVector<Value> launch();

  /// What it leaves beside them; nothing without bounds.
  ScanFindings findings;

private:
  static constexpr int64_t kTiles = 4, kTokens = 16;
  /// Heads whose multiples are the columns of a product.
  static constexpr int64_t kColumns = 4;

  /// What a lane has of the directions of the heads of a product.
  struct Column {
    Value head;                         // its own
    llvm::SmallVector<Value> factors;   // of its own head, f32
    llvm::SmallVector<Value> low, high; // of each 32 channels, i32: bytes
  };
  /// A token that a lane finishes.
  struct Token {
    Value slot, isVisible;
    // f32: of each group of channels, and of what a bound takes a norm of, the
    // residual's and the scales'.
    llvm::SmallVector<Value> scales, norms, sizes;
    Value getSpread(WarpBuilder &b) const {
      Value spread = norms.front();
      for (Value norm : llvm::ArrayRef<Value>(norms).drop_front())
        spread = b.addF(spread, norm);
      return spread;
    }
  };
  /// Of a lane, the codes of tokens g and g + 8 of a tile: of each 32 channels
  /// two i32.
  using Codes = std::array<llvm::SmallVector<Value>, 2>;

  /// Whether all that is read are levels, by picks.
  static bool needsLevels(ScoreOp op);
  void emit(llvm::ArrayRef<Value> values, Value shared);
  Column loadColumn(int64_t number);
  /// Of tokens g and g + 8 of a product: where they are in their tile.
  Value getOffset(int64_t half) {
    if (hasLevels)
      return b.addI(b.mulI(quad, b.index(2)), b.index(half));
    return b.addI(quad, b.index(8 * half));
  }
  /// Asks for the codes of a step, all of whose slots are visible.
  void prefetchCodes(Value start);
  Token loadToken(const Slots::Tile &tile, Value offset);
  /// The token of another tile, from the lane that loaded it.
  Token getToken(const Token &loaded, Value start, Value tile, int64_t half);
  llvm::SmallVector<Value> loadCodes(const Slots::Tile &tile, Value offset);
  /// How many bits of a byte lie below a channel's code and are not shifted
  /// out, where all channels of a group have as many: sums are 2^bits times as
  /// large then, and exact still, below 2^31.
  int64_t getBitsBelow(int64_t channel) const;
  /// `size` numbers of a row as f32.
  llvm::SmallVector<Value> loadNumbers(Value part, llvm::ArrayRef<Value> at,
                                       int64_t size);
  /// Of both tokens, the sums of each group of channels, i32.
  std::array<llvm::SmallVector<Value>, 2> multiply(const Codes &codes,
                                                   const Column &column);
  /// A token's score and bound, which it writes if they are wanted.
  std::pair<Value, Value> finish(const Token &token, llvm::ArrayRef<Value> sums,
                                 const Column &column);
  /// Writes levels of the tokens of this lane, two of each of its tiles, and
  /// their top, which it yields.
  Value storeLevels(Value start, llvm::ArrayRef<Token> tokens,
                    llvm::ArrayRef<Value> bounds, const Column &column);
  /// The same of spreads, by lanes of the first head.
  void storeSpreads(llvm::ArrayRef<Token> tokens);
  /// Writes a number of 16 bits for each of two slots that follow each other.
  void storePair(ValueRange both, Value to, Value head, const Token &first,
                 Value isWanted);
  /// Adds up what finished tokens come to, as `tops` has it.
  void addFindings(llvm::ArrayRef<Token> tokens,
                   llvm::ArrayRef<std::pair<Value, Value>> finished,
                   Value tileTop, llvm::MutableArrayRef<Value> found);
  /// Lanes of the same head, by bits of their numbers.
  llvm::SmallVector<int64_t> getHeadMasks() const;
  void storeTops(llvm::ArrayRef<Value> found, llvm::ArrayRef<Column> columns,
                 Value shared);
  /// Of numbers as they are stored: residual norms, and norms of the scales.
  std::pair<llvm::SmallVector<Value>, llvm::SmallVector<Value>>
  getNorms(llvm::ArrayRef<Value> scales, llvm::ArrayRef<Value> norms);

  ScoreOp op;
  WarpBuilder &b;
  const SketchFormat format;
  SketchDirection rounded;
  const int64_t group, columns;
  const int64_t heads; // of a product, a power of two
  const ScheduleAttr schedule;
  const int64_t numWarps, block; // of a block, and its slots
  const bool hasBounds, hasLevels;
  /// Numbers that are found of a head: of `tops`, with whether a score is NaN
  /// as one of its own.
  int64_t getNumFound() const { return hasLevels ? 5 : 2; }

  // Of the kernel.
  std::optional<Slots> slots;
  Value codes, scales, norms, multiples, factors, scores, bounds;
  Value tops, levels, tileTops, spreads;
  Value firstHead, warp, lane, quad, within; // quad = g, within = t
  Value part; // which of the lanes with the same sums this is
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SKETCHSCAN_H
