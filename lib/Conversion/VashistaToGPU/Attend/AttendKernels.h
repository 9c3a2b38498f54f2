//===- AttendKernels.h - The kernels of attention on a GPU ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row, up to 8 query heads of a KV head or, where few warps share
// a multiprocessor's registers, 16, and a split of the slots. Its warps take
// tiles of 16 tokens by turns, which go from memory to registers to tensor
// cores: no other thread needs what a thread loads. Where there is room, they
// go by the block's memory, so that those to come are on the way while one is
// multiplied (AttendAhead.cpp).
//
//   scores   S (tokens x heads)   = K q'     m16n8k16, K in rows
//   outputs  O (channels x heads) = V' P     m16n8k16, V in columns
//
// With lane = 4 g + t, an m16n8k16 wants of its first operand rows g and g + 8,
// of its second column g, and of both the pairs 2 t and 2 t + 8 of the 16 that
// are summed over; its result has rows g and g + 8, columns 2 t and 2 t + 1.
//
//  * Which channels are summed together does not matter: a lane loads 16 bytes,
//    8 channels from 8 t on, of keys g and g + 8, and so of query head g.
//  * Which channels of V are which rows does not matter either: a lane loads 8
//    channels from 8 g on of tokens 2 t, 2 t + 1, 2 t + 8 and 2 t + 9, and
//    pairs those of two tokens by permuting bytes.
//  * Weights have tokens as rows and are wanted as columns: a transposition.
//  * What is left of a row, of 32 channels or of 64, a lane loads 4 or 2 of.
//
// Scores and sums of weights are f32; weights are rounded to the caches' type
// for the second product, as their values are. Exponents are of base 2.
//
// More than 8 heads are columns of two products, of keys and values that are
// loaded, and paired, once.
//
// Bytes: K and V of each visible token once per block of heads. A state of [G,
// Dv] per split, where there are several: a second kernel merges them, or,
// where mostly nobody attends, the last block of each row and its heads, as a
// launch takes longer then than all else.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_ATTEND_ATTENDKERNELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_ATTEND_ATTENDKERNELS_H

#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include <cmath>

namespace vashista {

struct ScheduleTarget;

/// Tokens of a tile and heads of a product: the sizes of an mma.
inline constexpr int64_t kTokens = 16, kHeads = 8;
/// Products of a block, at most, and warps whose registers have room for them.
inline constexpr int64_t kMostProducts = 2, kWarpsOfProducts = 8;
/// Blocks, about, that occupy a GPU: with nothing to do they are gone in a
/// microsecond or two.
inline constexpr int64_t kFewBlocks = 1024;
/// Warps of a block that merges splits.
inline constexpr int64_t kMergeWarps = 4;
inline constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.6931471805599453;

/// Query heads of a KV head that share a block, of so many warps, of which so
/// many blocks share a multiprocessor: as many in each, about.
int64_t getHeadsOfBlock(int64_t group, int64_t warps, int64_t blocks,
                        int64_t keyDim, int64_t valueDim);

/// Whether a block has room for what so many warps find of so many heads.
bool hasRoomForHeads(int64_t warps, int64_t heads, int64_t valueDim);

/// Whether the blocks that share a multiprocessor have room for copies of
/// `stages` tiles of each warp, and there is more than one.
bool hasRoomAhead(const ScheduleTarget &target, int64_t warps, int64_t stages,
                  int64_t blocks, int64_t keyDim, int64_t valueDim);

/// Makes the kernels of an attend, and launches them in its place.
class AttendLauncher {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  /// The op has a whole schedule. `startsEmpty`: nothing is in the destinations
  /// yet, not even the empty state.
  AttendLauncher(AttendOp op, WarpBuilder &b, const ScheduleTarget &target,
                 bool startsEmpty);

  /// Of a `fallback`, buffers: only groups with a head whose measure is not at
  /// most the limit are attended, of others the state is copied.
  struct Condition {
    Value measure, o, lse; // read
    Value flags;           // written: whether a group is attended
    float limit;
  };
  std::optional<Condition> condition;

  /// Of a `certify` of what is attended, which the merge does: what it reads,
  /// the largest norms that a scan has left, and its results, buffers. What is
  /// left is the splits' own where there is no tail.
  struct Certified {
    CertifyOp op;
    Value direction, tail, largest;
    llvm::SmallVector<Value> results;
  };
  std::optional<Certified> certified;

  void launch();

  // Of a kernel that picks tokens itself: each block some of its split, whose
  // states a merge joins (AttendChunks.cpp).

  /// What the merge adds up, of splits that pick tokens: the logs of what each
  /// leaves, [R, H] f32, and how many tokens it picks, [R, Hkv] i32; or nulls.
  struct Picked {
    Value tail, count;
  };
  /// Buffers for states of so many splits, and for what they have picked.
  void allocateStates(Value numSplits, const Picked &all);
  llvm::SmallVector<Value> getRead();
  llvm::SmallVector<Value> getWritten();
  void launchMerge();
  /// The block's memory: tiles, and exponents.
  std::array<mlir::MemRefType, 2> getBuffers();
  /// `values` are what getRead() and then getWritten() are in the kernel, and
  /// `list` [slots] i16, `count` numbers of tokens from `first` on.
  void emitListed(llvm::ArrayRef<Value> values, llvm::ArrayRef<Value> buffers,
                  Value row, Value kvHead, Value split, Value list, Value first,
                  Value count);
  /// Where what a split has picked goes.
  void storeCount(llvm::ArrayRef<Value> values, Value row, Value kvHead,
                  Value split, Value count);
  void storeTail(llvm::ArrayRef<Value> values, Value row, Value head,
                 Value split, Value tail);

private:
  /// What the kernels are given, in the kernel or on the host; null where
  /// absent.
  struct Operands {
    Value query, keys, values, table, lengths, rowToSeq, list, count;
    Value o, lse; // the destinations
    Value partials,
        exponents; // of splits: [R, H, splits, Dv], [R, H, splits, 2]
    Value numSplits;
    Value arrivals;      // [R * blocks of heads]: how many splits are done
    Value tails, counts; // [R, H, splits], [R, Hkv, splits]: of Picked
    Picked picked;
    std::optional<Condition> condition;
  };

  /// A running softmax, of a product: of heads 2 t and 2 t + 1 the largest
  /// logit, the sum of the weights of this lane's tokens; and the channels'
  /// sums, four for each mma.
  struct State {
    std::array<Value, 2> maxima, sums;
    llvm::SmallVector<Value> outputs;
  };
  /// Of each product.
  struct States : llvm::SmallVector<State, kMostProducts> {
    llvm::SmallVector<Value> pack() const {
      llvm::SmallVector<Value> all;
      for (const State &state : *this) {
        all.append(
            {state.maxima[0], state.maxima[1], state.sums[0], state.sums[1]});
        llvm::append_range(all, state.outputs);
      }
      return all;
    }
  };
  States unpack(ValueRange all);

  void launchSplits(bool isWhole, Value blocksOfHeads);
  /// Of some splits of a head, what a warp knows: the largest exponent, and
  /// against that the sum of weights and of outputs, a pair of a lane's
  /// channels for each 64.
  struct SplitSums {
    Value maximum, sum;
    llvm::SmallVector<Value> outputs;

    llvm::SmallVector<Value> pack() const {
      llvm::SmallVector<Value> all(outputs);
      all.append({maximum, sum});
      return all;
    }
    static SplitSums unpack(ValueRange all) {
      ValueRange last = all.take_back(2);
      return {last[0], last[1], llvm::SmallVector<Value>(all.drop_back(2))};
    }
  };
  SplitSums addUpSplits(Value head, Value first, int64_t apart, Value count);
  /// The first of a lane's two channels of each 64.
  Value getMergedChannel(int64_t part) {
    return b.addI(b.mulI(lane, b.index(2)), b.index(64 * part));
  }
  /// Where these are channels.
  void ifMerged(int64_t part, llvm::function_ref<void()> body) {
    if (64 * (part + 1) <= valueDim)
      return body();
    b.ifThen(b.compare(mlir::arith::CmpIPredicate::ult, getMergedChannel(part),
                       b.index(valueDim)),
             body);
  }
  /// So many splits of a head, by the warps of a block or by one of them.
  void mergeSplits(Value head, Value count);
  void mergeByWarp(Value head, Value count);
  void mergeTails(Value head, Value count);
  void addUpCounts(Value head, Value count);
  void certifyMerged(const Certified &known, Value head);
  /// Those of consecutive heads, if no other block of theirs is still at work.
  void mergeIfLast(Value heads);
  Operands bind(llvm::ArrayRef<Value> values, bool hasPartials);

  // Within a kernel.
  void bindThread();
  void findSlots();
  /// Slots of a block of the row: `split`, or more where there are too many.
  Value getSlotsOfSplit();
  /// Attends where the condition, if there is one, holds; elsewhere copies the
  /// states of consecutive heads. Writes the flag.
  void attendIf(Value head, Value count, llvm::function_ref<void()> attend);
  /// Whether the condition, if there is one, holds for the row and KV head.
  Value isFlagged();
  /// Copies the states of consecutive heads of which it does not.
  void keepState(Value head, Value count);
  void storeFlag(Value isFlagged, Value head);
  /// A block's rows, of which mostly few have anything to do.
  void forEachRow(llvm::function_ref<void()> body);
  Value getRowsOfBlock(Value numRows, Value numSplits);
  void emitSplit();
  void emitTiles(Value heads);
  /// The state of a split that attends to nothing.
  void storeNothing(Value heads);
  /// Heads of this block: the last one of a KV head may have fewer.
  Value countHeads();
  /// Channels of a row that lanes load together, from one on: each has so many,
  /// in words of two.
  struct RowPart {
    int64_t channel, own;
  };
  static llvm::SmallVector<RowPart> takeApart(int64_t dim, int64_t lanes);
  llvm::SmallVector<RowPart> getKeyParts() { return takeApart(keyDim, 4); }
  llvm::SmallVector<RowPart> getValueParts() { return takeApart(valueDim, 8); }
  using Words = llvm::SmallVector<Value, 4>;
  /// Of each product, and of each part of a row.
  using QueryParts = llvm::SmallVector<Words>;
  using Query = llvm::SmallVector<QueryParts>;
  /// A warp's tiles, one after the other.
  States getEmptyStates();
  States attendLoaded(const Query &query);
  /// Where the tokens of a tile are, as i32: of one in a page the page, its
  /// first slot and how many tokens are visible; otherwise for each of a lane's
  /// tokens (keys g, g + 8, values 2 t, 2 t + 1, 2 t + 8, 2 t + 9) the page and
  /// the slot, then whether the keys are visible.
  llvm::SmallVector<Value> findTile(Value first);
  llvm::SmallVector<Value> findTileOfPage(Value first, Value entry);
  std::array<Value, 6> getTokens();
  std::pair<Value, Value> getRow(ValueRange places, unsigned token);
  std::pair<Value, Value> getRowOfPage(ValueRange places, Value token);
  Value isVisible(ValueRange places, unsigned key);
  bool isPaged() const { return !inTokens && pageSize % kTokens == 0; }

  /// What the list says of a slot; null without a list.
  Value loadEntry(Value slot);
  std::pair<Value, Value> findPosition(Value slot, Value entry);
  Query loadQuery();
  /// What a lane has of the keys and values of a tile: two keys and four
  /// values, of each part of a row.
  struct Tile {
    llvm::SmallVector<std::array<Words, 2>> keys;
    llvm::SmallVector<std::array<Words, 4>> values;
  };
  /// By loads of a part of one of the lane's two keys or four values.
  using Load = llvm::function_ref<Words(unsigned token, const RowPart &part)>;
  Tile loadTile(Load loadKey, Load loadValue);
  /// isVisible(key) of the lane's two.
  using IsVisible = llvm::function_ref<Value(unsigned key)>;
  States attendTile(States states, const Tile &tile, const Query &query,
                    IsVisible isVisible);
  /// The weights of a tile's tokens, of a product, as its second operand; what
  /// the outputs before are multiplied by; and the largest logits and sums,
  /// which become those with the tile.
  struct Weights {
    std::array<Value, 2> tokens, before;
  };
  Weights weigh(State &state, const Tile &tile, const QueryParts &query,
                IsVisible isVisible);

  // Tiles that are copied to the block's memory (AttendAhead.cpp).
  /// What a turn is given of those to come: of tiles that are on the way, this
  /// turn's first, which tokens are visible, as bits; where the next one's are,
  /// the stage of this turn and, where there is a list, what that says of the
  /// one after.
  struct Ahead {
    llvm::SmallVector<Value> visible, places;
    Value stage, entry;

    llvm::SmallVector<Value> pack() const {
      llvm::SmallVector<Value> all(visible);
      llvm::append_range(all, places);
      all.push_back(stage);
      if (entry)
        all.push_back(entry);
      return all;
    }
    /// What was packed of one like this.
    Ahead unpack(ValueRange all) const {
      ValueRange rest = all.drop_front(visible.size() + places.size());
      return {
          llvm::SmallVector<Value>(all.take_front(visible.size())),
          llvm::SmallVector<Value>(all.slice(visible.size(), places.size())),
          rest[0], entry ? rest[1] : Value()};
    }
  };
  States attendAhead(const Query &query);
  Ahead beginAhead(Value start);
  Ahead waitAhead(Value tile, const Ahead &now);
  Value loadEntryAhead(Value first);
  llvm::SmallVector<Value> findAhead(Value first, Value entry);
  Value getVisibleAhead(ValueRange places);
  std::pair<Value, Value> getRowAhead(ValueRange places, Value token);
  Value copyIfThere(Value tile, ValueRange places, Value stage);
  void copyAhead(ValueRange places, Value stage);
  Tile loadAhead(Value stage);
  /// A warp's tile, some turns later.
  Value getLater(Value tile, int64_t turns) {
    return b.addI(tile, b.index(turns * warps * kTokens));
  }
  mlir::MemRefType getAheadType();
  void bindAhead(Value shared);
  Value getStageAhead(int64_t number);
  Value getFirstAhead(bool isKey, Value stage, Value token, Value chunk);
  Value getPlaceAhead(bool isKey, Value first, int64_t tokens, int64_t chunks);

  Value toExponent(Value product);
  llvm::SmallVector<Value> getIndices(std::pair<Value, Value> row,
                                      Value channel) {
    if (op.getLayout() == Layout::hnd)
      return {row.first, kvHead, row.second, channel};
    return {row.first, row.second, kvHead, channel};
  }
  void storeShared(const States &states);
  /// Of what the warps of a block found, or the splits of a sequence.
  struct Merged {
    Value maximum, shift, sum;
    llvm::SmallVector<Value> weights; // of warps
  };
  Merged mergeExponents(Value head);
  Value mergeOutputs(const Merged &merged, Value head, Value channel);
  /// Joins a head's state with the one in the destinations: its lse, then a
  /// channel's output.
  Value joinLse(const Merged &merged, Value before);
  void joinOutput(const Merged &merged, Value output, Value before, Value head,
                  Value channel);
  /// The lse of a head before, if it is needed.
  Value loadBefore(Value head) {
    return startsEmpty ? Value() : b.load(its.lse, {row, head});
  }
  /// The states of consecutive heads that have nothing to attend.
  void storeEmpty(Value head, Value count);
  Value getOwnLse(const Merged &merged) {
    Value shift = b.mulF(merged.shift, b.f32(static_cast<float>(kLn2)));
    return b.addF(shift, b.log(merged.sum));
  }

  Value isEqual(Value x, float y) {
    return b.compare(mlir::arith::CmpFPredicate::OEQ, x, b.f32(y));
  }
  /// Shifts exponents by what is finite.
  Value getShift(Value maximum) {
    return b.select(isEqual(maximum, -INFINITY), b.f32(0.0f), maximum);
  }

  AttendOp op;
  WarpBuilder &b;
  const bool startsEmpty;
  const int64_t group, keyDim, valueDim, pageSize;
  const mlir::Type element;
  bool inTokens;
  const bool inPages;
  const ScheduleAttr schedule;
  const int64_t numHeads, headBlocks; // of a block, and blocks of a KV head
  const int64_t products;
  const int64_t split, mostSplits;
  const bool isAhead; // tiles are copied
  /// Whether mostly few rows have anything to do, and blocks take several by
  /// turns.
  bool isShort = false, takesTurns = false;

  /// What lies between the kernels.
  Operands host;
  // Of the kernel that is being made.
  Operands its;
  int64_t warps = 0;
  Value row, kvHead, firstHead, sequence, length, numSlots; // index
  Value splitNumber, ofSplit, first, last;                  // slots
  Value warp, lane, quad, within;       // quad = g, within = t
  Value sharedOutputs, sharedExponents; // [warps, heads, Dv], [warps, heads, 2]
  Value tiles;                          // of all warps and stages, elements
  Value ownList, firstListed; // what the block has picked, from a token on
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_ATTEND_ATTENDKERNELS_H
