//===- PickKernels.h - Picking slots on a GPU -------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A cluster of blocks has a row and KV head, each block a part of its slots,
// 32 to a word: a bit for each slot that can still be picked, and for each that
// is. A warp takes eight words at a time: a lane has four consecutive slots of
// each four words, which it loads at once.
//
// All that blocks add up together are integers, or floats that are added in the
// order of threads and blocks: results are bit-equal from run to run.
//
// Where nobody needs a tail and the slots of a group are few enough for the
// registers of a block, PickFew.cpp does all of it, or PickPages.cpp where
// these are pages of which a scan has left enough.
//
// PickToGPU.cpp has the order of things, PickLists.cpp writes what is picked;
// PickProof.cpp finds what the proofs of a group need, from bounds and scores,
// PickLevels.cpp from levels, which is all that some scans leave, as deep as
// PickCounts.cpp and PickDepths.cpp say; PickRanks.cpp the best of more than
// there is room for, PickTails.cpp what is left; PickPairs.cpp looks at two
// slots at a time, PickSlots.cpp walks slots, PickBlocks.cpp joins what threads
// and blocks find; PickMoments.cpp bounds what is left by a moment. What is
// picked and why: PickToLinalg.cpp and ProvingPick.cpp.
//
// Bytes, for L slots and G heads: `proving` reads G L scores and (2 G + G (G -
// 1) / 2) L bounds, and as much as `top` where that is more than the budget;
// `top` 3 to 5 G L scores where there is more to pick from than the budget (1
// less for one head), and with a tail G L bounds. Without a scan that looked
// for the highest bounds: G L scores and bounds more. A later round of a group
// that is proved already: nothing.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKKERNELS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKKERNELS_H

#include "Kernels.h"
#include "PickLevels.h"
#include "PickPairs.h"
#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include <optional>

namespace vashista {

/// Counts the slots of heads at each depth.
class DepthCounts;
/// Finds where what a head needs ends.
class DepthEnd;

/// Makes the kernel of a `pick`, and launches it in its place.
class PickLauncher {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  /// `findings`: of the scan that made the bounds, if any. `sharedBytes`: what
  /// a block may have.
  PickLauncher(PickOp op, ScheduleAttr schedule, const ScanFindings &findings,
               int64_t sharedBytes, WarpBuilder &b);

  /// The pick before, if it counts depths for this one, or marks what it picks.
  PickOp findCounter();
  PickOp findMarker();
  /// Buffers for what these leave: here, and of no values yet.
  Value allocateDepths();
  Value allocatePicked();
  /// What a kernel is given, on the host.
  struct Buffers {
    llvm::SmallVector<Value> read, results;
    llvm::SmallVector<Value> written; // results, too
    // Whether there are `open`, `picked`, and what blocks of a cluster tell
    // each other.
    bool areOpen = false, arePicked = false, areTold = false;
  };
  /// `its`: what the pick before leaves, or what this one leaves for the pick
  /// that follows.
  Buffers allocate(const PickFindings &its);
  /// Of this schedule, or of one with larger clusters.
  void launch(const Buffers &buffers, const PickFindings &its);
  /// Whether what follows the count of a list is written, too.
  bool padsList = true;
  /// Of the scan, where it has left them.
  PageFindings ofPages;

  static constexpr int64_t kMostWarps = 16;
  /// Words of a warp at a time, and slots that a lane has together.
  static constexpr int64_t kAtOnce = 8, kTogether = 4;
  static constexpr int64_t kWordsOfTile = ScanFindings::kTile / kWarp;
  /// Bins of a head's bounds, from the highest down; the last holds all below.
  /// They are 1/32 nat deep or, of levels, half a level, or a power of two
  /// times that where a proof may need what is further down.
  static constexpr int64_t kBins = 1024, kMostWidth = 8;
  /// Steps of depths in the narrowest of them, where there are levels.
  static constexpr int64_t kStepsOfBin = ScanFindings::kOfLevel / 2;
  float getBinsPerNat() const {
    return hasLevels() ? ScanFindings::kPerNat / kStepsOfBin : 32;
  }
  /// What an f32 from 2^23 on has above its bits of an integer.
  static constexpr int64_t kBitsOfInteger = 0x4b000000;
  /// Values that are joined at once, at most, but for those of many heads.
  static constexpr int64_t kTold = 16;
  /// Slots of a thread where few are picked from.
  static constexpr int64_t kFewOwn = 16, kMostOwn = 32;
  /// How many these are, of so many warps and blocks: 0 if they never are few.
  static int64_t getOwnOfFew(PickOp op, int64_t warps, int64_t clusterBlocks);

private:
  friend class DepthCounts;
  friend class DepthEnd;
  static constexpr float kLog2E = 1.44269504f;
  /// The mass of a score is counted in units of what is expected, up to so
  /// much.
  static constexpr float kMostShare = 8;
  /// Bins of a part of a rank.
  static constexpr int64_t kRankBins = 2048;

  /// A slot of this lane: one of kAtOnce, of which much is known, or alone.
  struct Slot {
    Value number;
    // Whether it is there, it is open (then it is there), or is picked in any
    // case; null where that is known: yes, yes and no.
    Value isThere, isOpen, isAlways;
  };

  void emit(llvm::ArrayRef<Value> values, const PickFindings &its,
            const Buffers &buffers, llvm::ArrayRef<Value> shared);
  void pick();
  /// Whether the tails of the pick before prove the group, as they are.
  Value isProvedBefore();
  void openSlots();
  void excludeTaken();
  Value closePicked(Value bits, Value word);
  void pickAndWrite();
  /// The same of a budget of the best of slots that a block's threads can hold,
  /// or of any number.
  void pickFew();
  void pickFewOrMany();
  void writeFew(Value number);
  /// The same of pages, by what a scan has left of them.
  void pickPages();
  /// Words of picks that this warp writes: from the first to before the last.
  std::pair<Value, Value> getOwnWords();
  /// What is marked.
  struct Marked {
    Value number; // in all blocks, i32
    // Where `sumsWhileMarking` of each head sums and bits as `addLeft` makes
    // them.
    llvm::SmallVector<Value> left;
  };
  Value loadPicked(Value word, int64_t which);
  Value loadMarked(Value word);
  /// Writes ids of what is marked, and of what may be picked as well so many;
  /// null: nothing may.
  void writePicks(Value numTies);
  /// Adds what of these was not picked, of levels, to what the thread has found
  /// that is left.
  llvm::SmallVector<Value> addTiesLeft(ValueRange left);
  void writeNothing();
  void pad(Value first);

  // Of proofs.
  void findTops();
  /// The same, of what a scan found, by a warp for each head; and how much of a
  /// mass scores lack that are near the best.
  void loadTops();
  /// How wide bins must be, if scores lack so much of the highest bounds.
  void setWidth(Value head, Value lack);
  /// What may be left for each unit of mass that is picked.
  Value getRatio();
  /// Of a head: how many bins it takes, given what heads before it do.
  void findEnd(Value head);
  /// Yields the mass of what is taken already, and what the last bin adds up
  /// to.
  std::pair<Value, Value> fillBins(Value head, Value shift);
  Value getUnit();
  /// How many bins a bound lies below the highest of its head.
  Value getPlace(Value top, Value bound, Value binsPerNat) {
    return b.mulF(b.subF(top, bound), binsPerNat);
  }
  Value getBinsPerNat(Value head) {
    return b.divF(b.f32(getBinsPerNat()), getFact(head, Fact::width));
  }
  /// Whether a head takes a bound, as it does what is not known.
  Value isTaken(Value top, Value end, Value bound) {
    return b.compare(mlir::arith::CmpFPredicate::ULT, b.subF(top, bound), end);
  }
  /// Marks what any head needs.
  Marked markNeeded();

  // Of levels. The depth of a slot is how many steps of a level its bound lies
  // below the highest of its head, at most; negative if it is not known.
  /// Heads whose depths are counted in one pass; all whose bins there is room
  /// for are then joined, and their ends found, together.
  static constexpr int64_t kCountedAtOnce = 4;
  int64_t getCountedAtOnce() const { return std::min(group, kCountedAtOnce); }
  int64_t getHeadsAtOnce(int64_t sharedBytes) const;
  /// Bounds that levels stand for; scores are not known beside them.
  llvm::SmallVector<Value> getBoundsOfLevels(Value head,
                                             llvm::ArrayRef<Slot> slots);
  /// Levels (PickLevels.h) of all heads, which are not many.
  llvm::SmallVector<Value> loadAllLevels(llvm::ArrayRef<Slot> slots);
  /// What was loaded so, and what depths take beside it.
  struct AllLevels {
    llvm::SmallVector<Levels> levels;
    llvm::SmallVector<Value> spreads; // sure ones, with a moment
    llvm::SmallVector<Value> below;
  };
  AllLevels takeAllLevels(ValueRange loaded, size_t slots,
                          llvm::ArrayRef<Value> headTops);
  Value getDepth(const AllLevels &all, int64_t head, int64_t slot) {
    return getDepth(all.levels[head], all.below[head], slot);
  }
  /// Of each head, what is in a buffer of the block.
  llvm::SmallVector<Value> loadOfHeads(Value buffer);
  /// Of slots: f16, in pairs as i32 or one.
  llvm::SmallVector<Value> loadSpreads(llvm::ArrayRef<Slot> slots);
  /// As f32.
  llvm::SmallVector<Value> getSpreads(ValueRange loaded);
  Levels loadLevels(Value head, llvm::ArrayRef<Slot> slots);
  /// kAtOnce levels from there on, as words.
  llvm::SmallVector<Value> loadTogether(Value queryHead, Value slot);
  /// As i32; and whether it is one.
  Value getLevel(const Levels &levels, int64_t slot);
  Value isLevel(const Levels &levels, int64_t slot, int64_t level);
  /// Depths of a head's slots: `below` of their tile, and a level.
  Value getBelow(Value top, Value topOfTile);
  Value getDepth(const Levels &levels, Value below, int64_t slot);
  /// The same, with what is below as f32 for `getFloatDepth`: no conversions,
  /// which are slow.
  AllLevels takeFloatLevels(ValueRange loaded, size_t slots,
                            llvm::ArrayRef<Value> headTops);
  Value getFloatBelow(Value top, Value topOfTile);
  Value getFloatDepth(const AllLevels &all, int64_t head, int64_t slot);
  /// A level as f32, and 2^15 more; 2^65, unless `isThere`.
  Value getFloatLevel(const Levels &levels, int64_t slot,
                      Value isThere = nullptr);
  Value toFloatDepth(Value depth) {
    return mlir::arith::SIToFPOp::create(b, b.getF32Type(), depth);
  }
  /// How deep each head takes slots, all heads.
  void findDepthEnds();
  /// Of `headsAtOnce`, by their owners in a cluster of blocks, from what each
  /// block has counted.
  void findEndsOfOwners(Value first, llvm::ArrayRef<Value> taken);
  /// Keeps four bins of a few heads for the pick that follows, which loads all
  /// of them.
  void keepDepths(Value first, Value at, Value four);
  void loadDepths(Value first);
  /// body(where such bins are kept), of heads that are there.
  void withKept(Value first, Value at,
                llvm::function_ref<void(llvm::ArrayRef<Value> there)> body);
  /// Whether the pick before has counted depths.
  bool isFollowing() { return depths && before; }
  /// The number of slots at each depth in this block, of `headsAtOnce` heads;
  /// yields what this thread has of each that is picked in any case, of which a
  /// score is a bound less what it lacks.
  llvm::SmallVector<Value> countDepths(Value first);
  /// From where on, below a head's highest bound, all slots together do not
  /// matter: nats.
  Value getDeepest(Value head);
  /// Whether the highest of each tile of the chunks is counted apart: of these
  /// scores are known.
  bool countsTileTops();
  /// One chunk in 2^this is the sample, i32, which is counted as so many, but
  /// for the highest of each tile: 0, or one of these, of some slots or of
  /// many. Null if always all are counted.
  static constexpr int64_t kShift = 2, kShiftOfMany = 3;
  Value getSampleShift();
  /// As markNeeded, for levels. Where what is needed may be over the budget,
  /// i1, it counts the margins' ranks, too, as `markBest` wants them.
  Marked markDeep(Value isNearlyOver = nullptr);
  /// `needed`: bits of the slots.
  void countMargins(llvm::ArrayRef<Slot> slots, ValueRange loaded,
                    Value needed);
  /// Of slots in pairs (PickPairs.h): masks of what is left, and bits of the
  /// slots, of what is needed and of what is left.
  struct MarkedPairs {
    LevelPairs::Words left;
    Value own, ownLeft;
  };
  /// Of what `beyond` says, of all heads.
  MarkedPairs closePairs(llvm::ArrayRef<Slot> slots,
                         const LevelPairs::Words &beyond);
  /// Whether that may be, by how many slots each head needs.
  Value isNearlyOver();
  /// The same, deeper and deeper until what is left is little enough for what
  /// is attended already.
  Marked markUntilProved();
  /// The same as `markDeep` of more heads than a thread has together: columns
  /// of several products, or heads after each other.
  Marked markInProducts();
  Marked markByHeads();
  /// Heads whose depths a thread has together: the columns of a product.
  static constexpr int64_t kMostTogether = LevelPairs::kColumns,
                           kMostByMoment = 4;
  bool hasFewHeads() {
    return group <= (hasMoment() ? kMostByMoment : kMostTogether);
  }
  static constexpr int64_t kMostInProducts = 32;
  int64_t getProducts() const { return llvm::divideCeil(group, kMostTogether); }
  /// Bits of margins that ranks leave out.
  static constexpr int64_t kLeftOut = 1;
  Value loadEnd(Value head);
  Value getMostMargin();
  llvm::SmallVector<Value> getMarginRanks(llvm::ArrayRef<Slot> slots,
                                          ValueRange loaded);
  /// Of the lanes before this one, and with it: f32 or i32.
  Value addUpLanes(Value sum);
  Value getShareUnit();
  /// The one of a number, which not all threads have.
  Value selectOne(llvm::ArrayRef<Value> values, Value number);
  Value getRest(Value head);
  /// What is known of a head: what a score lacks of its bound, at least and,
  /// for a unit of its spread, on average; how wide bins are, in the least
  /// width; and, with levels, how far below the highest bound what is attended
  /// begins, at most, and how many slots it needs, about.
  /// With a moment: what a bound adds to a score at least, for a unit of its
  /// spread; the moment, with what levels round; a threshold (`Unread`); and
  /// how far below the highest bound the best score is.
  enum class Fact {
    lack,
    slope,
    width,
    reach,
    need,
    perSpread,
    moment,
    theta,
    start
  };
  static constexpr int64_t kFacts = 9;
  Value getFact(Value head, Fact fact) {
    return b.load(facts, {head, b.index(static_cast<int64_t>(fact))});
  }
  void setFact(Value head, Fact fact, Value value) {
    b.store(value, facts, {head, b.index(static_cast<int64_t>(fact))});
  }
  /// By a warp for each head.
  void findDepthEnd(Value head, Value at, Value taken);
  Value getMassOfDepth(Value depth);

  // Of ranks.
  void findRefs();
  /// What ranks of levels take from memory; scores are loaded as they come.
  llvm::SmallVector<Value> loadForRanks(llvm::ArrayRef<Slot> slots) {
    if (hasLevels() && hasFewHeads())
      return loadAllLevels(slots);
    return {};
  }
  llvm::SmallVector<Value> getRanks(llvm::ArrayRef<Slot> slots,
                                    ValueRange loaded);
  /// Leaves marked what is better than the need-th best of what is, and as what
  /// may be picked what is equal to it; yields how many of these are, and where
  /// levels are summed while marking what the thread finds that is neither, as
  /// `addLeft` adds it.
  /// `hasCounted`, i1 or null: whether the first part of ranks is counted.
  llvm::SmallVector<Value> markBest(Value need, Value hasCounted);
  llvm::SmallVector<Value> markBestOfRanks();
  llvm::SmallVector<Value> markBestOfLevels();
  /// Whether a candidate is better than the last that is needed, or as good.
  void addBest(Value rank, Value isCandidate, llvm::SmallVector<Value> &better,
               llvm::SmallVector<Value> &equal);
  /// `width` bits of a rank, `shift` above the lowest, as i32; they have `most`
  /// values at most.
  struct RankPart {
    Value width, shift;
    int64_t most;
  };
  /// The number of candidates for each value of a part of their ranks, of those
  /// that have `prefix` above.
  void countRanks(const RankPart &part, Value prefix);
  /// The width of the first part. Of levels, it is as large as there are bins
  /// for, and mostly all of a rank.
  int64_t getFirstWidth() const {
    return hasLevels() ? std::min<int64_t>(llvm::Log2_64(numBins), 13) : 11;
  }
  /// `isCounted`, i1 or null: whether it is counted already, in each block.
  void narrowRanks(const RankPart &part, Value isCounted);

  // Of what is left.
  /// Of all that is open, or only of what is not picked. Yields whether it is
  /// little enough for what is attended already.
  Value sumTails(bool ofAll);
  /// What tails are made of: for a head, one sum of what bounds stand for or,
  /// with a moment, three (PickMoments.cpp).
  bool hasMoment() { return op.getMoment() != nullptr; }
  int64_t getNumSums();
  /// Adds a slot to the sums of its head, in units of exp(shift), and to bits:
  /// whether anything is left, and whether that is unknown.
  void addLeft(Value bound, Value isLeft, Value shift, Value &sum, Value &bits);
  /// The same of a depth, to what a thread finds of all heads: their sums, in
  /// units of the highest bound and kHeadroom, and then bits: whether anything
  /// is left, and of each head whether that is unknown.
  void addLeft(int64_t head, Value depth, Value spread, Value isLeft,
               llvm::MutableArrayRef<Value> left);
  /// The same of a head's slots, to its sums and bits.
  void addLeftOf(Value head, llvm::ArrayRef<Slot> slots,
                 llvm::ArrayRef<Value> left, llvm::MutableArrayRef<Value> sums);
  llvm::SmallVector<Value> getNothingLeft();
  /// Writes tails of what threads have found that is left, and of what all
  /// have: sums of each head, and its bits.
  void writeTails(ValueRange left);
  void writeTails(ValueRange sums, llvm::ArrayRef<Value> bits);
  /// From there, of all blocks, to a tail.
  Value getTail(Value head, ValueRange sums, Value bits);
  /// The same, which is written; yields as `sumTails`.
  Value writeTail(Value head, ValueRange sums, Value bits);

  // Of moments.
  /// What is known of a head while slots are looked at, for a unit of their
  /// spread: what that takes off a score, and off the mass of a bound.
  struct Unread {
    Value log2PerSpread, linear, square;
    Value start; // where units begin, in steps of depths
  };
  Unread getUnread(Value head);
  /// Adds a slot to the three sums, of a depth as f32, by whether it is left.
  void addByMoment(const Unread &of, Value depth, Value spread, Value isLeft,
                   llvm::MutableArrayRef<Value> sums);
  /// The same of the log of a mass, of base 2.
  void addByMoment(const Unread &of, Value log, Value spread,
                   llvm::MutableArrayRef<Value> sums);
  /// The same of all heads, by bits of the slots that are left.
  void addByMoment(llvm::ArrayRef<Unread> heads, const AllLevels &all,
                   Value left, size_t slots, llvm::MutableArrayRef<Value> sums);
  /// How far below the highest bound units of masses begin, in nats; depths of
  /// `addByMoment` are from there.
  Value getStart(Value head) { return getFact(head, Fact::start); }
  void setStart(Value head, Value nats);
  Value getUnitOfMasses(Value head);
  /// What stored spreads are at least, finite numbers.
  llvm::SmallVector<Value> getSureSpreads(ValueRange loaded);
  /// The same of a score, with several thresholds; bounds are finite where it
  /// is left.
  void addByScore(Value highest, Value bound, Value score, Value isLeft,
                  Value top, llvm::MutableArrayRef<Value> sums);
  /// What the highest bound that is left stands for, at most.
  Value getHighestLeft(Value head);
  /// What three sums bound, in the unit of depths.
  Value getMassByMoment(Value head, ValueRange sums);
  void setMomentFacts(Value head, Value top);
  /// A threshold of masses in the unit of exp(shift).
  void setTheta(Value head, Value theta);
  /// Of slots from some depth on: how many, and their masses by bounds and by
  /// scores.
  struct Counted {
    Value number, ofBounds, ofScores;
  };
  /// What scores may lack: squares added up, their inverse, and masses.
  struct Lacking {
    Value cost, perCost, gain;
  };
  Lacking getLacking(const Counted &of);
  Value divide(Value x, Value y);
  /// What the most may add up to that scores lack, if the first are `first`
  /// and then come getNext(1), getNext(2) and so on; and a threshold for it.
  std::pair<Value, Value>
  getMostLacking(Value head, const Lacking &first,
                 llvm::function_ref<Lacking(int64_t)> getNext);
  /// Whether a tail is little enough for what is attended already.
  Value meets(Value tail, ValueRange at);
  void storeTail(Value tail, ValueRange at);

  // Slots.
  /// Of this lane, in the words of this block: body(slots, carried), which is
  /// made twice: for most words, of which much is known, and for others.
  llvm::SmallVector<Value>
  forEachSlot(ValueRange carried,
              llvm::function_ref<llvm::SmallVector<Value>(llvm::ArrayRef<Slot>,
                                                          ValueRange)>
                  body,
              bool ofMarked = false);
  /// The same, and what `load` makes of slots is there when they come, as it
  /// was loaded while those before were looked at. With a sample, of one chunk
  /// in 2^sampleShift, and of all words that are in none.
  llvm::SmallVector<Value> forEachSlot(
      ValueRange carried,
      llvm::function_ref<llvm::SmallVector<Value>(llvm::ArrayRef<Slot>)> load,
      llvm::function_ref<llvm::SmallVector<Value>(
          llvm::ArrayRef<Slot>, ValueRange loaded, ValueRange carried)>
          body,
      bool ofMarked = false, Value sampleShift = nullptr);
  /// Slots that a lane has next to each other, of kAtOnce.
  int64_t getTogether() const { return hasLevels() ? kAtOnce : kTogether; }
  /// The first of the words that are looked at kAtOnce at a time, and how many
  /// times: all their slots are there, and none is picked in any case.
  std::pair<Value, Value> getChunks();
  static bool areTogether(llvm::ArrayRef<Slot> slots) {
    return slots.size() == kAtOnce;
  }
  /// Bits of words, of slots: buffer[row, kvHead, word, which...].
  llvm::SmallVector<Value> loadBits(Value buffer, ValueRange which,
                                    llvm::ArrayRef<Slot> slots);
  void storeBits(llvm::ArrayRef<Value> bits, Value buffer, ValueRange which,
                 llvm::ArrayRef<Slot> slots);
  /// Leaves a word as what is picked, and nothing as what may be picked as
  /// well.
  void storeMarked(Value word, Value slot);
  /// Words of a block, at most, whose marks stay in its memory where there is
  /// room.
  int64_t getOwnWordsAtMost();
  bool keepsMarks = false;
  Value ownMarks; // [words of the block] i32
  /// Bits of the slots of a lane, as i32, the first lowest; and one of them.
  Value getOwnBits(llvm::ArrayRef<Value> bits);
  Value isOwn(Value bits, int64_t slot);
  /// body(word, slot of it), in one of the lanes that share the word: of so
  /// many bits of each lane, or of slots.
  void forEachWord(Value own, Value slot, int64_t together,
                   llvm::function_ref<void(Value word, Value slot)> body);
  void forEachWord(llvm::ArrayRef<Value> bits, llvm::ArrayRef<Slot> slots,
                   llvm::function_ref<void(Value word, Value slot)> body);
  /// A head's scores or bounds + weights; -inf of slots that are not open.
  llvm::SmallVector<Value> weighted(Value from, Value head,
                                    llvm::ArrayRef<Slot> slots);
  Value addWeight(Value value, Value slot);
  Value getPosition(Value slot);
  Value isVisible(Value slot);
  Value isAlways(Value slot);
  /// The first slot after the sinks, and the first of the window.
  std::pair<Value, Value> getFree();
  Value andOpen(const Slot &slot, Value bit) {
    return slot.isOpen ? b.andI(slot.isOpen, bit) : bit;
  }
  Value orAlways(const Slot &slot, Value bit) {
    return slot.isAlways ? b.orI(slot.isAlways, bit) : bit;
  }
  /// +inf or NaN.
  Value isUnknown(Value bound);
  /// Whether the slots are known to be few.
  bool picksFew() { return fewOwn > 0 && !isDynamic(); }
  bool isDynamic();
  bool hasAlways() { return op.getSinks() > 0 || op.getWindow() > 0; }
  /// Whether words tell what is open, and not the length alone.
  bool hasWords() { return op.getTaken() || op.getPages(); }

  // Of all threads of a block, each of which gets the result.
  enum class Join { sum, most, least, either };
  Value join(Join how, Value x, Value y);
  Value reduce(Value value, Join how);
  /// The sum over threads before, and over all.
  std::pair<Value, Value> scan(Value value);
  // Of all threads of a cluster, few values at once.
  using Joins = llvm::ArrayRef<Join>;
  llvm::SmallVector<Value> reduceAll(llvm::ArrayRef<Value> values, Joins joins);
  /// Of all blocks: how many are marked, and what is left (`Marked`). What they
  /// leave for it stays; the next one must wait for the cluster first.
  Marked joinMarked(llvm::ArrayRef<Value> sums, Joins joins);
  /// What was joined so.
  Marked getMarked(mlir::TypeRange types, Joins joins);
  Marked getMarkedDeep();
  /// The same, and the bins of all blocks together, in place.
  llvm::SmallVector<Value>
  addUpBins(int64_t size, llvm::ArrayRef<Value> values = {}, Joins joins = {});
  /// Leaves what the block comes to for all blocks, and reads it from them, by
  /// numbers from `first` on.
  void leave(llvm::ArrayRef<Value> values, Joins joins, int64_t first = 0);
  llvm::SmallVector<Value> collect(mlir::TypeRange types, Joins joins,
                                   int64_t first = 0);
  void forEachPart(int64_t number,
                   llvm::function_ref<void(int64_t from, int64_t size)> body);
  Value joinOwn(llvm::ArrayRef<Value> each, mlir::TypeRange types, Joins joins);
  /// A value of the block, of each block.
  llvm::SmallVector<Value> collectEach(int64_t number, mlir::Type type);
  /// The sum of those of the blocks before this one, i32.
  Value addUpBefore(llvm::ArrayRef<Value> each);
  /// Where a block leaves a value.
  llvm::SmallVector<Value> getTold(Value ofBlock, Value number);
  /// What is left for all is at these numbers: of what is joined at once, of
  /// marks, and of the ends of heads.
  int64_t getToldOfMarks() const { return numTold; }
  int64_t getToldOfEnds() const { return 2 * numTold; }
  int64_t getAllTold() const {
    return getToldOfEnds() + 3 * (hasLevels() ? headsAtOnce : kCountedAtOnce);
  }
  void waitCluster() { b.clusterBarrier(clusterBlocks); }
  void clearBins(int64_t size);
  /// Of so many bins, four at a time.
  void forEachFour(int64_t size, llvm::function_ref<void(Value at)> body);
  Value loadFour(Value from, ValueRange at);
  void storeFour(Value four, Value to, ValueRange at);
  void addToBin(Value at, Value amount);
  Value addAny(Value x, Value y) {
    return x.getType().isF32() ? b.addF(x, y) : b.addI(x, y);
  }
  /// By the first thread of the block, which others wait for.
  void storeOnce(Value value, Value to, ValueRange at);
  Value isFirstThread() {
    return b.compare(mlir::arith::CmpIPredicate::eq, thread, b.index(0));
  }
  /// The mass that a log stands for, in units of exp(shift): finite.
  Value getMass(Value log, Value shift) {
    return b.exp(b.minF(b.subF(log, shift), b.f32(80.0f)));
  }
  /// exp(x), within 2^-21 of it and as far as the exponent is rounded.
  Value estimate(Value x) { return b.exp2(b.mulF(x, b.f32(kLog2E))); }
  Value isNaN(Value x) {
    return b.compare(mlir::arith::CmpFPredicate::UNO, x, x);
  }
  Value isInf(Value x);
  Value isFirstLane() {
    return b.compare(mlir::arith::CmpIPredicate::eq, lane, b.index(0));
  }
  Value notI(Value bit) {
    return mlir::arith::XOrIOp::create(b, bit, b.boolean(true));
  }
  /// Masses are in units of exp(this): f32 has room for few times exp(88), and
  /// for exp(-87), which is what bounds that are far above scores leave of
  /// them. exp must not meet -inf - -inf.
  static constexpr float kHeadroom = 40;
  Value getShift(Value head);

  PickOp op;
  WarpBuilder &b;
  const ScheduleAttr schedule;
  const int64_t clusterBlocks, warps, threads; // of a cluster, of a block
  const int64_t group, unit;
  const bool isProving, hasTail;
  int64_t numBins = kRankBins, numTold = kTold;
  int64_t headsAtOnce = 0; // whose bins a block has, of levels
  const int64_t fewOwn;    // slots of a thread where they are few; 0 if never
  const ScanFindings findings;
  bool hasLevels() const { return findings.levels != nullptr; }
  Value hostBefore; // tails of the pick whose list is taken; or null
  /// What is left is summed up while needs are marked, but for many heads.
  bool sumsWhileMarking();
  /// Of a head, what marking has found.
  std::pair<ValueRange, Value> getLeft(const Marked &marked, int64_t head);

  // Of the kernel. Buffers of operands, results, and between blocks.
  Value scores, bounds, lengths, pages, pageCount, taken, outside, attended;
  Value moment, norms; // norms: of directions, beside levels
  Value pickedBefore;  // as `picked`, of the pick whose list is taken
  Value before, scanTops, levels, tileTops, tileLacks, spreads;
  // [R, H, kKept] i32: how many slots, their scores' mass, and how deep the
  // pick takes them, beside which rows of four stay whole
  Value depths;
  static constexpr int64_t kKept = 2 * kBins + 4;
  Value ids, counts, tails;
  Value open;   // [R, Hkv, words] i32: bits of slots that can be picked
  Value picked; // [R, Hkv, words, 2] i32: that are, and that may be as well
  // Of the blocks of a cluster, or of a larger one: [R, Hkv, blocks, told], or
  // of one block [told]; and [R, Hkv, blocks, numBins]. i32
  Value told, between;
  // Of the block: bins of masses and rests, of depths, or of ranks,
  // and one of each lane for neither, i32; a number of each warp; for each
  // head: the highest finite bound; how far below it bounds are taken, in nats
  // or, i32, in steps; ref; whether a score is NaN; and its facts.
  Value bins, massBefore, restFrom, perWarp, tops, ends, refs, nans;
  Value facts;
  // Of the last of the best: what its rank begins with, how many that begin so
  // are needed, how many bits follow, and whether they are all. [4] i32
  Value found;
  Value mostMargin; // of a level, once all ends are known, i32
  Value counters;   // of BestScores
  // Of pages: findings, and buffers of a BlockPick.
  PageFindings pageFindings;
  Value chosenBlocks, chosenPages, marks;
  Value row, kvHead, firstHead, length, numSlots; // index
  Value used;                                     // slots that may be visible
  Value firstWord, lastWord, block, thread, warp, lane;
  Value laneBit; // i32
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_PICK_PICKKERNELS_H
