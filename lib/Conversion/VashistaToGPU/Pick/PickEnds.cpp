//===- PickEnds.cpp - Where what a proof needs ends, by levels ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A warp finds of a head's bins, which PickCounts.cpp has filled, how deep its
// slots must be taken: until what is left is little enough beside what will be
// attended, by as much less than scores promise as the worst of all heads may
// have (docs/theory.md, section 3), where that is few tokens more.
//
//===----------------------------------------------------------------------===//

#include "PickKernels.h"

#include <cmath>
#include <optional>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Of what scores promise: what is attended has a little less than that as
/// often as more, and mostly not less than so much of it. By how much bins are
/// off themselves.
static constexpr float kPromised = 15.0f / 16.0f, kLeastPromised = 1.0f / 4.0f;
static constexpr float kOfBins = 0.02f;
/// Another round takes as long as to attend to some tokens more: so many of all
/// heads together are worth it that no head needs one.
static constexpr float kWorthARound = 0x1.8p19f;
/// Where no round follows, a group that misses its target attends to all: of
/// its slots so many more are worth it.
static constexpr float kWorthAFallback = 1.0f / 4;
/// Where few tokens are needed, few decide, of which a sample of many slots
/// says little, and more of them cost little; where many are, it is the other
/// way around. So deviations go with the inverse third root of needs, within
/// bounds; at so many they are as they are.
static constexpr float kUsualNeeds = 1536, kLeastCaution = 0.5f,
                       kMostCaution = 1.0f, kMostCautionOfMany = 1.5f;
/// Where no round follows, deviations are as they are, of slots whose mass is
/// off by a third of a nat or so at least: samples and bins are, too.
static constexpr float kLeastOfLast = 3.0f / 8;
/// What is left is added up as levels make it, which are half a level too high,
/// 2^(1/16); what exceeds a threshold is more than that of their mean. What is
/// attended is not.
static constexpr float kMeanOfLevels = 1.09f;
/// Of what is attended already: bins are not exact, and less so of a sample.
static constexpr float kKnown = 31.0f / 32.0f, kKnownOfSample = 7.0f / 8.0f;

/// The first bin from which on so little is left that a proof can do without. A
/// lane for each chunk of bins, then for each bin of the chunk that it is in:
/// sums from the last one on, of numbers that differ by tens of nats.
class vashista::DepthEnd {
public:
  using Fact = PickLauncher::Fact;

  /// Of a head, whose bins are those of number `at`; `taken`: the mass of what
  /// is picked in any case.
  DepthEnd(PickLauncher &pick, Value head, Value at, Value taken);
  void find();

private:
  /// Sums of masses: of bounds and of scores; where anybody asks, how many, and
  /// the squares of masses of scores; of a sample, of those of bounds, too.
  enum : int64_t { ofBounds, ofScores, numbers, squares, squaresOfBounds };
  /// There is room for squares of masses in it.
  static constexpr float kUnit = 0x1p32f;

  /// By how much a slot's mass is mostly off, and how many such deviations less
  /// than promised are to do; and how much less that of what is picked in any
  /// case is off.
  struct Risk {
    Value ofSlot, deviations, ofTaken;
  };
  /// Where the bins that are needed end.
  struct End {
    Value last, within; // the last chunk of them, and bins of it
    // A lane's bin of the chunk, from the last one on, and the chunks behind.
    SmallVector<Value> inside, below;
    Value theta;
    Value getNumber(WarpBuilder &b) const {
      return b.addI(b.mulI(last, b.i32(kWarp)), within);
    }
  };

  SmallVector<Value> getMasses(Value bin);
  void addUpChunks();
  /// Of all bins.
  Value getAll(int64_t of) { return b.shuffle(upTo[of], b.i32(kWarp - 1)); }
  /// A chunk that follows one, by so many.
  PickLauncher::Lacking getChunk(Value from, int64_t after);
  /// What is left from somewhere on: by bounds or, with a moment, by that, and
  /// then the threshold, too.
  std::pair<Value, Value> getLeft(ArrayRef<Value> masses,
                                  const PickLauncher::Lacking &first,
                                  Value chunk);
  Value getAttendable(ArrayRef<Value> masses, const std::optional<Risk> &risk);
  /// By how much what is left may be more than a sample says.
  Value getLeftBeside(ArrayRef<Value> masses);
  /// How many lanes find that too much is left: those of what is highest.
  Value countNeeded(Value rest, ArrayRef<Value> masses,
                    const std::optional<Risk> &risk);
  End findEnd(const std::optional<Risk> &risk);
  /// From the bin of the end on none is needed.
  Value getAtEnd(const End &end, Value ofBins, Value ofNext);
  /// How many slots are needed.
  Value countNeeds(const End &end);
  /// An end that knows its risk in place of this one, where that is worth it;
  /// yields how many slots are needed.
  Value makeSafe(End &found);
  Value getCaution(Value need);
  /// Whether no pick follows that takes what was counted.
  bool isLast() const { return !pick.depths; }
  /// Where slots that were found to be too few ended, and deeper.
  Value goDeeper(Value end);
  void store(const End &found, Value need);

  PickLauncher &pick;
  WarpBuilder &b;
  const Value head, taken;
  Value none, ratio, size, width, nats, firstBin, share;
  Value deepest; // that was counted, below the highest bound: negative
  const Value sampleShift;
  const int64_t numMasses;
  Value chunk;                   // of this lane, the last chunk first
  SmallVector<Value> sums, upTo; // of the chunk, and of those behind it, too
  PickLauncher::Lacking ofChunk;
  Value scores; // of all bins
  Value mass, known, outsideToo, slots, leftOfChunk, thetaOfChunk;
};

DepthEnd::DepthEnd(PickLauncher &pick, Value head, Value at, Value taken)
    : pick(pick), b(pick.b), head(head), taken(taken),
      sampleShift(pick.getSampleShift()),
      numMasses(pick.hasMoment()     ? squares + 1
                : pick.isFollowing() ? ofScores + 1
                : sampleShift        ? squaresOfBounds + 1
                                     : squares + 1) {
  static_assert(PickLauncher::kBins == kWarp * kWarp, "a chunk for each lane");
  none = b.f32(0.0f);
  ratio = pick.getRatio();
  size = b.index(kWarp);
  width = pick.getFact(head, Fact::width);
  nats = b.mulF(width, b.f32(-1.0f / pick.getBinsPerNat())); // of a bin
  firstBin = b.mulI(at, b.index(2 * PickLauncher::kBins));
  share = pick.estimate(b.subF(none, pick.getFact(head, Fact::lack)));
  share = b.divF(b.mulF(share, b.f32(PickLauncher::kMostShare)),
                 pick.getShareUnit());
}

SmallVector<Value> DepthEnd::getMasses(Value bin) {
  auto load = [&](int64_t which) {
    Value there = b.addI(bin, b.index(which * PickLauncher::kBins));
    return b.load(pick.bins, b.addI(firstBin, there));
  };
  auto toFloat = [&](Value number) -> Value {
    return arith::UIToFPOp::create(b, b.getF32Type(), number);
  };
  Value count = load(0);
  Value shares = load(1);
  Value depth = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(bin));
  depth = b.addF(depth, b.f32(0.5f));
  Value mass = pick.estimate(
      math::FmaOp::create(b, depth, nats, b.f32(PickLauncher::kHeadroom)));
  bool areOfPairs =
      !pick.hasMoment() && (pick.hasFewHeads() || pick.sumsWhileMarking());
  Value ofSums = areOfPairs ? b.mulF(mass, b.f32(LevelPairs::kMean)) : mass;
  SmallVector<Value> masses = {b.mulF(toFloat(count), ofSums),
                               b.mulF(b.mulF(toFloat(shares), share), mass)};
  if (numMasses > numbers)
    masses.push_back(toFloat(count));
  auto pushSquares = [&](int64_t of) {
    Value number = b.maxNumber(masses[numbers], b.f32(1.0f));
    Value most = b.mulF(masses[of], b.f32(1 / kUnit));
    masses.push_back(pick.divide(b.mulF(most, most), number));
  };
  if (numMasses > squares)
    pushSquares(ofScores);
  if (numMasses > squaresOfBounds)
    pushSquares(ofBounds);
  return masses;
}

void DepthEnd::addUpChunks() {
  // The last chunk first. No two lanes read from one bank.
  chunk = b.subI(b.index(kWarp - 1), pick.lane);
  sums = b.forLoop(b.index(0), size, 1, SmallVector<Value>(numMasses, none),
                   [&](Value i, ValueRange now) {
                     Value within = b.remU(b.addI(i, pick.lane), size);
                     SmallVector<Value> next =
                         getMasses(b.addI(b.mulI(chunk, size), within));
                     for (auto [sum, before] : llvm::zip_equal(next, now))
                       sum = b.addF(before, sum);
                     return next;
                   });
  for (Value sum : sums)
    upTo.push_back(pick.addUpLanes(sum));
}

PickLauncher::Lacking DepthEnd::getChunk(Value from, int64_t after) {
  Value at = b.subI(from, b.i32(after));
  Value isThere = b.compare(CmpIPredicate::sge, at, b.i32(0));
  at = b.maxI(at, b.i32(0));
  auto get = [&](Value its) {
    return b.select(isThere, b.shuffle(its, at), none);
  };
  return PickLauncher::Lacking{get(ofChunk.cost), get(ofChunk.perCost),
                               get(ofChunk.gain)};
}

std::pair<Value, Value> DepthEnd::getLeft(ArrayRef<Value> masses,
                                          const PickLauncher::Lacking &first,
                                          Value chunk) {
  if (!pick.hasMoment())
    return {masses[ofBounds], Value()};
  auto [most, theta] = pick.getMostLacking(
      head, first, [&](int64_t next) { return getChunk(chunk, next); });
  Value root =
      b.sqrt(b.mulF(pick.getFact(head, Fact::moment), masses[squares]));
  Value left = math::FmaOp::create(b, root, b.f32(kUnit), masses[ofScores]);
  return {b.mulF(b.addF(left, most), b.f32(kMeanOfLevels)), theta};
}

Value DepthEnd::getAttendable(ArrayRef<Value> masses,
                              const std::optional<Risk> &risk) {
  // What was picked before is attended, and among what was counted.
  if (pick.isFollowing())
    return b.mulF(mass, known);
  Value attendable = b.maxNumber(b.subF(scores, masses[ofScores]), none);
  attendable = b.addF(attendable, taken);
  Value promised = b.f32(kPromised);
  if (risk) {
    // What is taken in any case may be one slot, of whose log that is known.
    Value most = b.maxNumber(b.subF(getAll(squares), masses[squares]), none);
    Value sure = b.mulF(b.mulF(taken, risk->ofTaken), b.f32(1 / kUnit));
    most = b.sqrt(math::FmaOp::create(b, sure, sure, most));
    Value share = pick.divide(b.mulF(most, b.f32(kUnit)),
                              b.maxNumber(attendable, b.f32(0x1p-100f)));
    share = b.mulF(share, risk->ofSlot);
    share =
        b.sqrt(math::FmaOp::create(b, share, share, b.f32(kOfBins * kOfBins)));
    promised = pick.estimate(b.mulF(share, risk->deviations));
    promised = b.maxNumber(promised, b.f32(kLeastPromised));
  }
  return math::FmaOp::create(b, attendable, promised, mass);
}

/// A slot of the sample stands for itself and others, which are as many times
/// its mass as it says, give or take their root.
Value DepthEnd::getLeftBeside(ArrayRef<Value> masses) {
  Value others =
      b.subI(arith::ShLIOp::create(b, b.i32(1), sampleShift), b.i32(1));
  others = arith::SIToFPOp::create(b, b.getF32Type(), others);
  Value root = b.sqrt(b.mulF(masses[squaresOfBounds], others));
  // Of many slots there are enough in it: with more that is left more tokens
  // are taken, and no fewer groups need another round.
  Value areSome =
      b.compare(CmpIPredicate::eq, sampleShift, b.i32(PickLauncher::kShift));
  return b.select(areSome, b.mulF(root, b.f32(kUnit)), none);
}

Value DepthEnd::countNeeded(Value rest, ArrayRef<Value> masses,
                            const std::optional<Risk> &risk) {
  Value attendable = getAttendable(masses, risk);
  rest = b.addF(rest, outsideToo);
  if (risk && numMasses > squaresOfBounds)
    rest = b.addF(rest, getLeftBeside(masses));
  // Also what is NaN is needed.
  Value isNeeded =
      b.compare(CmpFPredicate::UGT, rest, b.mulF(ratio, attendable));
  return math::CtPopOp::create(b, b.ballot(isNeeded));
}

DepthEnd::End DepthEnd::findEnd(const std::optional<Risk> &risk) {
  End end;
  end.last =
      b.maxI(b.subI(countNeeded(leftOfChunk, upTo, risk), b.i32(1)), b.i32(0));
  end.inside = getMasses(b.addI(b.mulI(b.toIndex(end.last), size), chunk));
  for (auto [i, sum] : llvm::enumerate(end.inside)) {
    Value before = b.select(b.compare(CmpIPredicate::eq, pick.lane, b.index(0)),
                            none, b.shuffleUp(upTo[i], 1));
    before = b.shuffle(before, b.subI(b.i32(kWarp - 1), end.last));
    sum = b.addF(pick.addUpLanes(sum), before);
    end.below.push_back(before);
  }
  PickLauncher::Lacking own;
  if (pick.hasMoment()) { // of the chunk alone
    auto get = [&](int64_t of) {
      return b.subF(end.inside[of], end.below[of]);
    };
    own = pick.getLacking({get(numbers), get(ofBounds), get(ofScores)});
  }
  Value left;
  std::tie(left, end.theta) =
      getLeft(end.inside, own, b.subI(b.i32(kWarp - 1), end.last));
  end.within = countNeeded(left, end.inside, risk);
  return end;
}

Value DepthEnd::getAtEnd(const End &end, Value ofBins, Value ofNext) {
  Value isWhole = b.compare(CmpIPredicate::eq, end.within, b.i32(kWarp));
  Value its = b.shuffle(ofBins, b.subI(b.i32(kWarp - 1), end.within));
  return b.select(isWhole, ofNext, its);
}

Value DepthEnd::countNeeds(const End &end) {
  Value others = getAtEnd(end, end.inside[numbers], end.below[numbers]);
  return b.subF(getAll(numbers), others);
}

/// What deviations are multiplied by.
Value DepthEnd::getCaution(Value need) {
  Value ofUsual =
      b.mulF(b.maxNumber(need, b.f32(1.0f)), b.f32(1 / kUsualNeeds));
  Value caution = b.exp(b.mulF(b.log(ofUsual), b.f32(-1.0f / 3)));
  Value most = b.f32(kMostCaution);
  if (sampleShift) {
    Value areMany = b.compare(CmpIPredicate::eq, sampleShift,
                              b.i32(PickLauncher::kShiftOfMany));
    most = b.select(areMany, b.f32(kMostCautionOfMany), most);
  }
  return b.maxNumber(b.minNumber(caution, most), b.f32(kLeastCaution));
}

Value DepthEnd::makeSafe(End &found) {
  Value need = countNeeds(found);
  // What a score lacks has any sign, and as often one as the other. Of so many
  // heads, the one with the least has about so many deviations less.
  PickOp op = pick.op;
  int64_t headsOfRow = pick.group * static_cast<int64_t>(op.getKvHeads());
  Value heads = b.mulI(b.dim(pick.levels, 0), b.index(headsOfRow));
  heads = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(heads));
  Value deviations = b.sqrt(b.mulF(b.log(heads), b.f32(2)));
  if (!isLast())
    deviations = b.mulF(deviations, getCaution(need));
  float ofLack = 1 / std::sqrt(static_cast<float>(pick.findings.channels));
  Value ofSlot = b.mulF(pick.getFact(head, Fact::lack), b.f32(ofLack));
  Value ofTaken = b.f32(1.0f);
  if (isLast()) {
    Value ofAny = b.maxNumber(ofSlot, b.f32(kLeastOfLast));
    ofTaken = b.divF(ofSlot, ofAny);
    ofSlot = ofAny;
  }
  End safe = findEnd(Risk{ofSlot, b.subF(none, deviations), ofTaken});
  Value needOfSafe = countNeeds(safe);
  auto isAtMost = [&](Value number, Value most) {
    return b.compare(CmpFPredicate::OLE, number, most);
  };
  // Not where they are too deep to be counted.
  Value depth = arith::UIToFPOp::create(b, b.getF32Type(), safe.getNumber(b));
  Value isWorthIt = b.compare(CmpFPredicate::OGE, b.mulF(depth, nats), deepest);
  Value more = b.subF(needOfSafe, need);
  Value ofHead = isLast() ? b.mulF(slots, b.f32(kWorthAFallback /
                                                static_cast<float>(pick.group)))
                          : b.divF(b.f32(kWorthARound), heads);
  isWorthIt = b.andI(isWorthIt, isAtMost(more, ofHead));
  // No group is over its budget for it.
  float most =
      static_cast<float>(op.getBudget()) / static_cast<float>(pick.group);
  isWorthIt = b.andI(isWorthIt, isAtMost(needOfSafe, b.f32(most)));
  auto choose = [&](Value &one, Value other) {
    if (one)
      one = b.select(isWorthIt, other, one);
  };
  choose(need, needOfSafe);
  choose(found.last, safe.last);
  choose(found.within, safe.within);
  choose(found.theta, safe.theta);
  for (int64_t of = 0; of < numMasses; ++of) {
    choose(found.inside[of], safe.inside[of]);
    choose(found.below[of], safe.below[of]);
  }
  return need;
}

Value DepthEnd::goDeeper(Value end) {
  Value queryHead = b.addI(pick.firstHead, head);
  Value at[] = {pick.row, queryHead};
  Value tail = b.load(pick.before, at), isMet = pick.meets(tail, at);
  if (pick.hasMoment()) {
    // Estimates are of about the slots that were too few before: deeper than
    // these in any case, by a quarter of a nat and four times what the tail is
    // too high. Another pass costs more than a few tokens.
    constexpr float perNat = 4 * ScanFindings::kPerNat;
    Value allowed = b.addF(b.load(pick.attended, at), b.log(pick.getRatio()));
    Value nats = b.addF(b.subF(tail, allowed), b.f32(1.0f / 16));
    nats = b.minNumber(b.maxNumber(nats, none), b.f32(64.0f));
    Value most = b.i32(1 << 30);
    Value deeper =
        arith::FPToSIOp::create(b, b.getI32Type(), b.mulF(nats, b.f32(perNat)));
    Value kept = b.load(
        pick.depths, {pick.row, queryHead, b.index(2 * PickLauncher::kBins)});
    deeper = b.addI(b.minI(kept, most), deeper);
    end = b.maxI(end, b.minI(deeper, most));
  }
  return b.select(isMet, b.i32(0), end);
}

void DepthEnd::store(const End &found, Value need) {
  Value number = found.getNumber(b);
  // All bins, or a score that is NaN, which proves nothing: however deep.
  Value isAll =
      b.orI(b.compare(CmpIPredicate::eq, number, b.i32(PickLauncher::kBins)),
            b.compare(CmpIPredicate::ne, b.load(pick.nans, head), b.i32(0)));
  Value steps = arith::FPToSIOp::create(
      b, b.getI32Type(), b.mulF(width, b.f32(PickLauncher::kStepsOfBin)));
  Value estimated = b.select(isAll, b.i32(std::numeric_limits<int32_t>::max()),
                             b.mulI(number, steps));
  Value end = estimated, isFirst = pick.isFirstLane();
  if (pick.isFollowing()) {
    end = goDeeper(end);
  } else if (pick.depths) {
    Value queryHead = b.addI(pick.firstHead, head);
    b.ifThen(isFirst, [&] {
      b.store(end, pick.depths,
              {pick.row, queryHead, b.index(2 * PickLauncher::kBins)});
    });
  }
  b.ifThen(isFirst, [&] { b.store(end, pick.ends, head); });
  if (pick.hasMoment()) {
    Value next = b.maxI(b.subI(b.i32(kWarp - 2), found.last), b.i32(0));
    Value theta = getAtEnd(found, found.theta, b.shuffle(thetaOfChunk, next));
    // Where it is not taken as estimated, as much deeper.
    Value steps = b.maxI(b.subI(end, estimated), b.i32(0));
    Value deeper = b.mulF(arith::SIToFPOp::create(b, b.getF32Type(), steps),
                          b.f32(-1.0f / ScanFindings::kPerNat));
    theta = b.mulF(theta, b.exp(deeper));
    b.ifThen(isFirst, [&] { pick.setTheta(head, theta); });
  }
  if (pick.isFollowing())
    return;
  need = b.select(isAll, slots, need);
  b.ifThen(isFirst, [&] { pick.setFact(head, Fact::need, need); });
}

void DepthEnd::find() {
  addUpChunks();
  scores = getAll(ofScores);
  mass = none;
  if (pick.attended)
    mass = pick.getMass(
        b.load(pick.attended, {pick.row, b.addI(pick.firstHead, head)}),
        pick.getShift(head));
  known = b.f32(kKnown);
  outsideToo = pick.getRest(head);
  if (sampleShift) {
    Value isSampled = b.compare(CmpIPredicate::ne, sampleShift, b.i32(0));
    known = b.select(isSampled, b.f32(kKnownOfSample), known);
  }
  // What was too deep to be counted: where so little is attended that it may
  // matter, all are taken.
  slots = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(pick.numSlots));
  deepest = b.maxNumber(b.mulF(nats, b.f32(PickLauncher::kBins - 1)),
                        b.subF(none, pick.getDeepest(head)));
  Value ofDeepest =
      pick.estimate(b.addF(deepest, b.f32(PickLauncher::kHeadroom)));
  outsideToo = math::FmaOp::create(b, slots, ofDeepest, outsideToo);
  if (pick.hasMoment())
    ofChunk = pick.getLacking({sums[numbers], sums[ofBounds], sums[ofScores]});
  std::tie(leftOfChunk, thetaOfChunk) =
      getLeft(upTo, ofChunk, b.toI32(pick.lane));
  End found = findEnd(std::nullopt);
  Value need;
  if (!pick.isFollowing())
    need = makeSafe(found);
  store(found, need);
}

void PickLauncher::findDepthEnd(Value head, Value at, Value taken) {
  DepthEnd(*this, head, at, taken).find();
}

/// No head needs more than it and others together.
Value PickLauncher::isNearlyOver() {
  Value sum = b.forLoop(b.index(0), b.index(group), 1, b.f32(0.0f),
                        [&](Value head, ValueRange now) -> SmallVector<Value> {
                          return {b.addF(now[0], getFact(head, Fact::need))};
                        })
                  .front();
  return b.compare(CmpFPredicate::OGT, sum,
                   b.f32(static_cast<float>(op.getBudget())));
}

/// What is left in any case, in units of the highest bound.
Value PickLauncher::getRest(Value head) {
  if (!outside)
    return b.f32(0.0f);
  return getMass(b.load(outside, {row, b.addI(firstHead, head)}),
                 getShift(head));
}
