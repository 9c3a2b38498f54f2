//===- SketchScan.h - Scores of a key sketch on tensor cores ----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_SKETCHSCAN_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_SKETCHSCAN_H

#include "DirectionWarp.h"
#include "Kernels.h"
#include "MomentBlock.h"
#include "Schedules.h"
#include "Warp/Slots.h"
#include "Warp/WarpBuilder.h"

#include <optional>

namespace vashista {

/// Makes the kernel that scores a sketch, and launches it.
class SketchScan {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  /// Channels that a product sums over, and that a lane has of them.
  static constexpr int64_t kChannels = 32, kOwn = 8;
  /// Heads whose multiples are the columns of a product, and of a block, whose
  /// registers have room for two of them.
  static constexpr int64_t kColumns = 4, kMostHeads = 2 * kColumns;

  /// `pageNorms`: a tensor [N, Hkv, 2] f32, of which a certify wants the
  /// largest, or null. `moment`: what some of the blocks are to do, or null.
  SketchScan(ScoreOp op, WarpBuilder &b, const SketchFormat &format,
             ScheduleAttr schedule, const ScheduleTarget &target,
             Value pageNorms = nullptr, MomentOp moment = nullptr)
      : op(op), b(b), format(format),
        rounded(this->format, b, SketchDirection::Packing::bytes),
        directions(b, this->format, rounded),
        group(mlir::cast<mlir::RankedTensorType>(op.getDirection().getType())
                  .getDimSize(1) /
              mlir::cast<mlir::RankedTensorType>(op.getParts()[0].getType())
                  .getDimSize(1)),
        headBlocks(llvm::divideCeil(group, kMostHeads)),
        columns(llvm::divideCeil(std::min(group, kMostHeads), kColumns)),
        heads(llvm::bit_ceil<uint64_t>(std::min(group, kColumns))),
        schedule(schedule), numWarps(schedule.getWarps()),
        hasBounds(!op.getBounds().use_empty()), hasLevels(needsLevels(op)),
        roundsDirections(schedule.getFuse()), run(Slots::getRun(op, kTokens)),
        kvHeadsOfBlock(chooseKvHeads()),
        block(schedule.getSplit() / kvHeadsOfBlock), pageNorms(pageNorms) {
    if (moment && kvHeadsOfBlock == 1)
      takeMoment(moment, target);
  }

  /// Blocks that share a multiprocessor, so that each has registers for what it
  /// has of its heads.
  static int64_t chooseBlocks(const SketchFormat &format, int64_t group);

  /// Whether a block has room for what it has, of a target.
  bool hasRoom(const ScheduleTarget &target);

  /// Launches the kernel; yields the tensors of scores and bounds, or none
  /// where levels stand for them.
  llvm::SmallVector<Value> launch();

  /// What a kernel that goes on with the slots of a block keeps of them, in the
  /// block's memory: levels of bounds and their tops, and spreads, as
  /// ScanFindings has them; and of each head what `tops` has there.
  struct Kept {
    Value levels;   // [heads, slots] i8
    Value tileTops; // [heads, tiles] f32
    Value spreads;  // [slots] f16
    Value tops;     // [heads, 4] f32
  };
  llvm::SmallVector<mlir::MemRefType> getKeptTypes();
  /// What such a kernel is given, on the host; and within it, where it has
  /// buffers of getBuffers(). `largest`: where its page norms go, or null.
  llvm::SmallVector<Value> getRead();
  /// Before that: a kernel of its own rounds directions, if no block does.
  void prepare();
  void keep(Given &given, llvm::ArrayRef<Value> shared, const Kept &kept,
            Value row, Value kvHead, Value number, Value largest);
  /// Slots of a block.
  int64_t getSlotsOfBlock() const { return block; }
  /// Whether a block has one KV head, and all of its heads.
  bool hasWholeGroup() const { return kvHeadsOfBlock == 1 && headBlocks == 1; }
  /// Whether codes come while those before them are looked at.
  bool canScanAhead() const;
  /// What a block has of its memory.
  llvm::SmallVector<mlir::MemRefType> getBuffers();
  /// Of a kernel: the block's first slot, and the one behind its last visible
  /// one.
  Value firstSlot, endSlot;
  std::optional<Slots> slots;
  /// Of tokens with levels, as `tops` has it: the highest finite bound; the
  /// highest score, or NaN if any is; what a score lacks of its bound, and the
  /// spread of its token.
  struct Best {
    Value bound, score, lack, spread;

    explicit Best(llvm::ArrayRef<Value> all)
        : bound(all[0]), score(all[1]), lack(all[2]), spread(all[3]) {}
    llvm::SmallVector<Value> pack() const {
      return {bound, score, lack, spread};
    }
    /// Within a lane, of the token with the highest score.
    void join(WarpBuilder &b, const Best &other);
    /// Of lanes, or of blocks, whichever of the two is `other`.
    void joinLanes(WarpBuilder &b, const Best &other);
  };

  /// What it leaves beside them; nothing without bounds.
  ScanFindings findings;
  /// [R, Hkv, blocks, 2] f32: the largest page norms; null if none are wanted.
  Value largestNorms;
  /// [R, H] f32: the moments; null where they are not done here.
  Value moments;

private:
  static constexpr int64_t kTiles = 4, kTokens = 16, kStep = kTiles * kTokens;
  /// What a lane has of the directions of the heads of a product.
  struct Column {
    Value head;                         // its own, of those of the warp
    llvm::SmallVector<Value> factors;   // of its own head, f32: for logits
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
  /// Has some of the blocks do it, where there is room and it is not long.
  void takeMoment(MomentOp moment, const ScheduleTarget &target);
  void emit(llvm::ArrayRef<Value> values, Value shared);
  /// What is read, and buffers of the block but the first.
  void bind(Given &given);
  void bindShared(Given &given);
  /// Where the block and its lanes are.
  void begin(Value row, Value kvHead);
  /// Of the block's visible slots, what is found of its heads.
  llvm::SmallVector<Value> scanSlots();
  /// Where a number is that each head has for so many slots.
  llvm::SmallVector<Value> getPlace(Value head, Value slot, int64_t of = 1) {
    if (isKept)
      return {head, b.divU(b.subI(slot, firstSlot), b.index(of))};
    return {slots->row, b.addI(firstHead, head), b.divU(slot, b.index(of))};
  }
  /// The first block of each row and KV head has its moments, if they are done
  /// here; `others` is what all others do.
  void emitMoments(llvm::ArrayRef<Value> values, llvm::ArrayRef<Value> shared,
                   llvm::function_ref<void()> others);
  /// Which of a row's blocks of slots this one is.
  Value getNumber() {
    if (isKept)
      return blockNumber;
    Value number = b.blockId(mlir::gpu::Dimension::y);
    return momentBlock ? b.subI(number, b.index(1)) : number;
  }
  /// What a dot is multiplied by, where logits have no cap.
  float getLogitOfDot();
  /// Query heads of a block, of each of its KV heads.
  int64_t getHeadsOfBlock() const { return std::min(group, kMostHeads); }
  /// All warps of a block round the directions of its heads, if they do: what
  /// these are, and then the rest.
  void loadDirections();
  void roundDirections();
  /// Which head of the row is that of a number, of all KV heads of the block.
  Value getHeadOfBlock(Value number);
  /// Where multiples and factors are, of a head of the warp's.
  llvm::SmallVector<Value> getPlaceOfHead(Value number);
  Column loadColumn(int64_t number);
  llvm::SmallVector<Column> loadColumns();
  /// Of tokens g and g + 8 of a product: where they are in their tile.
  Value getOffset(int64_t half) {
    if (hasLevels)
      return b.addI(b.mulI(quad, b.index(2)), b.index(half));
    return b.addI(quad, b.index(8 * half));
  }
  /// KV heads that warps of a block have: several of the same slots, where what
  /// one of them has of a page is less than what memory gives at once.
  int64_t chooseKvHeads();
  /// Warps of a KV head, which take steps by turns; and, between the steps of
  /// each, slots.
  int64_t getNumTurns() const { return numWarps / kvHeadsOfBlock; }
  int64_t getApart() const { return getNumTurns() * kStep; }
  Value isFirstTurn() {
    return b.compare(mlir::arith::CmpIPredicate::eq, turn, b.index(0));
  }
  /// A warp's steps from a slot on and up to another, of whole tiles or any;
  /// yields what was found.
  llvm::SmallVector<Value> scanTiles(Value from, Value to, bool areWhole,
                                     ValueRange found);
  /// The same of whole tiles, whose codes come while those before them are
  /// looked at (SketchAhead.cpp).
  llvm::SmallVector<Value> scanAhead(Value from, Value to, ValueRange found);
  mlir::MemRefType getAheadType();
  Value getPlaceAhead(Value stage, Value tile);
  Value swizzle(Value chunk);
  std::pair<Value, Value> findAhead(Value token, Value byte);
  /// The pages of a step's runs, some of each lane, as they are loaded; and of
  /// one of the runs.
  llvm::SmallVector<Value>
  loadPages(Value start, llvm::function_ref<Value(Value first)> load);
  llvm::SmallVector<Value> loadPages(Value start) {
    return loadPages(start,
                     [&](Value first) { return slots->loadPageOf(first); });
  }
  Value getPageOf(ValueRange pages, Value number);
  /// Where a token of a whole step is, an offset from the first of a tile.
  Slots::Place findOfStep(Value start, ValueRange pages, Value offset);
  void copyAhead(Value start, ValueRange pages, Value stage);
  /// One of them, of tokens that are shared: `loaded` are the lane's own two.
  llvm::SmallVector<Value> scanStep(Value start, bool areWhole,
                                    llvm::function_ref<Codes(int64_t)> getCodes,
                                    llvm::ArrayRef<Token> loaded,
                                    llvm::ArrayRef<Column> all,
                                    ValueRange found);
  Token loadToken(const Slots::Tile &tile, Value offset);
  /// Of its scales and norms, f32.
  Token getToken(Value slot, Value isVisible, llvm::ArrayRef<Value> scales,
                 llvm::ArrayRef<Value> stored);
  /// Where lanes finish tokens that others have loaded: numbers of those of a
  /// step, in the block's memory; or, where it has no room, by shuffles.
  mlir::MemRefType getSharedType(int64_t numbers);
  bool sharesTokens();
  Value getPlaceOf(Value tile);
  void shareTokens(llvm::ArrayRef<Token> loaded);
  /// The token of a tile, which a lane has loaded and shared.
  Token getToken(const Token &loaded, Value start, Value tile, int64_t half,
                 bool areWhole);
  /// A token's codes, of a row of bytes: `loadWords` loads so many words from
  /// one of them on.
  using LoadWords =
      llvm::function_ref<llvm::SmallVector<Value>(Value byte, int64_t number)>;
  llvm::SmallVector<Value> loadCodes(LoadWords loadWords);
  /// The lane's two words of a plane, from a byte on; or of one of which the
  /// channels of a product lie in no whole number of parts.
  llvm::SmallVector<Value> loadWhole(const SketchFormat::Plane &plane,
                                     int64_t start, LoadWords loadWords);
  llvm::SmallVector<Value> loadParts(const SketchFormat::Plane &plane,
                                     int64_t channel, LoadWords loadWords);
  /// How many bits of a byte lie below the codes of a group of channels, so
  /// that few of their planes are shifted: sums are 2^bits times as large then,
  /// and exact still, below 2^31.
  int64_t getBitsBelow(int64_t group) const;
  /// Numbers that lie together, in words where they fill them; and, from the
  /// front of such, as f32, integers as i32.
  llvm::SmallVector<Value> loadStored(Value part, llvm::ArrayRef<Value> at,
                                      int64_t number);
  llvm::SmallVector<Value> takeStored(Value part, ValueRange &stored,
                                      int64_t number);
  llvm::SmallVector<Value> toFloats(llvm::ArrayRef<Value> numbers);
  int64_t getNumNorms() const {
    return format.normPerToken ? 1 : format.numGroups;
  }
  /// Of both tokens, the sums of each group of channels, i32.
  std::array<llvm::SmallVector<Value>, 2> multiply(const Codes &codes,
                                                   const Column &column);
  /// A token's score and bound, which it writes if they are wanted. Of whole
  /// tiles with levels, a bound may be NaN or -inf, which bounds nothing.
  std::pair<Value, Value> finish(const Token &token, llvm::ArrayRef<Value> sums,
                                 const Column &column, bool areWhole);
  /// The highest bound of all lanes of a head, of which a lane has its own;
  /// what its score lacks of it is written.
  Value findTop(Value own, Value lack, Value start, const Column &column);
  Value findExponent(Value top, llvm::ArrayRef<Value> some, bool areWhole);
  /// Writes a number of a step's tile of levels.
  void storeOfTile(Value value, Value to, const Column &column, Value start,
                   Value isWanted);
  /// Whether all lanes are: what any of them has is one instruction then.
  bool areOfOneHead() const { return heads == 1; }
  Value isFirstOfHead() {
    return b.andI(b.compare(mlir::arith::CmpIPredicate::eq, quad, b.index(0)),
                  b.compare(mlir::arith::CmpIPredicate::eq, part, b.index(0)));
  }
  /// Writes levels of the step, the top of all lanes' bounds, which it yields,
  /// and what its score lacks of that: `bounds` are those of two slots of each
  /// of this lane's tiles, `top` and `lack` its own, too.
  Value storeLevels(Value start, llvm::ArrayRef<Value> bounds, Value top,
                    Value lack, const Column &column, bool areWhole);
  /// Of bytes of two slots of each of a lane's tiles, i32, the bytes of twice
  /// as many slots as it has tiles, which follow each other; and the first of
  /// these, of the step.
  std::pair<llvm::SmallVector<Value>, Value>
  bringTogether(llvm::SmallVector<Value> pairs);
  /// Writes spreads of the two tokens that a lane has loaded.
  void storeSpreads(llvm::ArrayRef<Token> loaded);
  /// Adds up what finished tokens come to, as `tops` has it.
  void addFindings(const Token &token, Value score, Value bound,
                   llvm::MutableArrayRef<Value> found);
  /// Lanes of the same head, by bits of their numbers.
  llvm::SmallVector<int64_t> getHeadMasks() const;
  void storeTops(llvm::ArrayRef<Value> found, Value shared);
  /// The largest norms of the pages that some slots lie in, as each warp has
  /// them; behind a barrier, those of the block.
  void findPageNorms(Value first, Value last);
  void storePageNorms(Value largest);
  mlir::MemRefType getNormsType() {
    return b.sharedType({numWarps, 2 * kvHeadsOfBlock}, b.getF32Type());
  }
  /// Of numbers as they are stored: residual norms, and norms of the scales.
  std::pair<llvm::SmallVector<Value>, llvm::SmallVector<Value>>
  getNorms(llvm::ArrayRef<Value> scales, llvm::ArrayRef<Value> norms);

  ScoreOp op;
  WarpBuilder &b;
  const SketchFormat format;
  SketchDirection rounded;
  DirectionWarp directions;
  const int64_t group, headBlocks, columns; // of a KV head, and of a block
  const int64_t heads;                      // of a product, a power of two
  const ScheduleAttr schedule;
  const int64_t numWarps; // of a block
  const bool hasBounds, hasLevels;
  /// Whether each block rounds the directions of its heads, or finds them
  /// rounded.
  const bool roundsDirections;
  /// Of a whole tile's tokens, how many at a time are in one page; or 0.
  const int64_t run;
  const int64_t kvHeadsOfBlock, block; // and the slots of each
  Value pageNorms;                     // of the op, then of the kernel
  /// Numbers that are found of a head: with levels what a Best has, else the
  /// highest finite bound and whether a score is NaN.
  int64_t getNumFound() const { return hasLevels ? 4 : 2; }

  // Of the kernel.
  bool isKept = false; // what is found, by the block
  Value blockNumber;
  MomentOp moment; // what some of the blocks do, and how; or null
  std::optional<MomentBlock> momentBlock;
  Value codes, scales, norms, multiples, factors, scores, bounds;
  // Of a block that rounds directions: what it reads, and their norms, which
  // some of them write, or null.
  Value direction, directionNorms;
  Value tops, levels, tileTops, tileLacks, spreads;
  Value ahead;               // codes of steps to come, of each warp
  Value ownScales, ownNorms; // of a step's tokens, of each warp
  Value normsOfWarps;        // [warps, 2 of each KV head]: of pages
  // The heads of the warp, and whether these are the first of their KV head;
  // null if all are. The block's first KV head; and, of the warps that have the
  // same one, which this is.
  Value firstHead, numHeads, isFirst, firstKvHead, turn;
  Value andFirst(Value bit) { return isFirst ? b.andI(isFirst, bit) : bit; }
  Value warp, lane, quad, within; // quad = g, within = t
  Value part; // which of the lanes with the same sums this is
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCORE_SKETCHSCAN_H
