//===- PickToGPU.cpp - vashista.pick on a GPU -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Best/BestScores.h"
#include "BlockPick.h"
#include "Kernels.h"
#include "PickKernels.h"
#include "Schedules.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// The pick whose list is taken, if its tail is what is left of this one.
static PickOp findPickBefore(PickOp op) {
  auto before = op.getTaken() ? op.getTaken().getDefiningOp<PickOp>() : nullptr;
  bool isSame = before && op.getTaken() == before.getIds() &&
                !before.getTaken() && op.getScores() == before.getScores() &&
                op.getBounds() == before.getBounds() &&
                op.getSeqLens() == before.getSeqLens() &&
                op.getPages() == before.getPages() &&
                op.getPageCount() == before.getPageCount() &&
                op.getOutside() == before.getOutside() &&
                op.getMoment() == before.getMoment() &&
                op.getUnit() == before.getUnit() &&
                op.getPageSize() == before.getPageSize();
  return isSame ? before : nullptr;
}

/// Whether it takes up that pick's list, and needs its tail.
static bool takesUp(PickOp op, PickOp before) {
  return op.getMode() == PickMode::proving && op.getAttended() &&
         op.getSinks() == 0 && op.getWindow() == 0 &&
         findPickBefore(op) == before;
}

/// Whether it can read which slots that pick has picked, in place of its list:
/// one that was given what is attended may have found all proved, and picked
/// nothing.
static bool takesBits(PickOp op, PickOp before) {
  return takesUp(op, before) && !before.getAttended();
}

void vashista::noteList(PickOp op, Findings &findings) {
  bool isShort = llvm::all_of(op.getIds().getUsers(), [&](Operation *user) {
    if (auto attend = dyn_cast<AttendOp>(user))
      return !findObstacle(attend) &&
             (attend.getTokens() == op.getIds()
                  ? attend.getTokenCount() == op.getCount()
                  : attend.getPageCount() == op.getCount());
    auto pick = dyn_cast<PickOp>(user);
    return pick && !findObstacle(pick) && pick.getPages() != op.getIds() &&
           takesBits(pick, op);
  });
  if (isShort)
    findings.shortLists.insert(op);
}

static bool needsTail(PickOp op) {
  return !op.getTail().use_empty() || op.getAttended() ||
         llvm::any_of(op.getIds().getUsers(), [&](Operation *user) {
           auto pick = dyn_cast<PickOp>(user);
           return pick && takesUp(pick, op);
         });
}

int64_t PickLauncher::getOwnOfFew(PickOp op, int64_t warps,
                                  int64_t clusterBlocks) {
  if (op.getMode() == PickMode::proving || needsTail(op) || op.getTaken() ||
      clusterBlocks > 1)
    return 0;
  int64_t slots =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  if (ShapedType::isDynamic(slots))
    return kFewOwn;
  int64_t own = llvm::divideCeil(slots, warps * kWarp);
  return own <= kMostOwn ? own : 0;
}

PickLauncher::PickLauncher(PickOp op, ScheduleAttr schedule,
                           const ScanFindings &findings, int64_t sharedBytes,
                           WarpBuilder &b)
    : op(op), b(b), schedule(schedule), clusterBlocks(schedule.getCluster()),
      warps(schedule.getWarps()), threads(warps * kWarp),
      group(cast<RankedTensorType>(op.getScores().getType()).getDimSize(1) /
            op.getKvHeads()),
      unit(op.getUnit() == SlotUnit::pages ? op.getPageSize() : 1),
      isProving(op.getMode() == PickMode::proving), hasTail(needsTail(op)),
      fewOwn(getOwnOfFew(op, warps, clusterBlocks)), findings(findings) {
  if (hasLevels()) {
    // What marks join of all heads, and ends of those whose bins there are.
    if (sumsWhileMarking())
      numTold = std::max(numTold, 2 + group * getNumSums());
    headsAtOnce = getHeadsAtOnce(sharedBytes);
    numTold = std::max(numTold, headsAtOnce);
    // Those of a few are counted at a time, also where some are not there.
    int64_t counted = llvm::alignTo(headsAtOnce, getCountedAtOnce());
    numBins = std::max(kRankBins, 2 * counted * kBins);
  }
  if (PickOp before = findPickBefore(op); before && takesUp(op, before))
    hostBefore = before.getTail();
}

bool PickLauncher::sumsWhileMarking() {
  if (hasMoment() && !hasLevels())
    return false;
  bool areFew = group <= 4;
  if (hasLevels())
    areFew = hasFewHeads() || (!hasMoment() && group <= kMostInProducts);
  return isProving && hasTail && areFew;
}

int64_t PickLauncher::getHeadsAtOnce(int64_t sharedBytes) const {
  // Of other buffers, and of bins of what is not counted, of masses and rests.
  constexpr int64_t kOthers = 24 * 1024, kOfHead = 2 * kBins * 4;
  int64_t most = (sharedBytes - kOthers) / kOfHead;
  // Ends are found by a warp for each.
  most = std::min(most, warps) / kCountedAtOnce * kCountedAtOnce;
  return std::min(group, std::max(most, kCountedAtOnce));
}

//===----------------------------------------------------------------------===//
// The launch
//===----------------------------------------------------------------------===//

PickOp PickLauncher::findCounter() {
  PickOp counter = hasLevels() && hostBefore ? findPickBefore(op) : nullptr;
  // One that was given what is attended may find all proved, and count nothing.
  bool isSame = counter && picksByLevels(counter) && !counter.getAttended() &&
                counter.getTolerance() == op.getTolerance();
  return isSame ? counter : nullptr;
}

Value PickLauncher::allocateDepths() {
  int64_t heads = group * static_cast<int64_t>(op.getKvHeads());
  auto type =
      MemRefType::get({ShapedType::kDynamic, heads, kKept}, b.getI32Type());
  return memref::AllocOp::create(b, type, b.dim(findings.levels, 0),
                                 b.getI64IntegerAttr(64));
}

PickOp PickLauncher::findMarker() {
  PickOp before = hostBefore ? findPickBefore(op) : nullptr;
  return before && takesBits(op, before) ? before : nullptr;
}

Value PickLauncher::allocatePicked() {
  auto getSize = [&](int64_t dim) {
    return hasLevels() ? b.dim(findings.levels, dim)
                       : b.createOrFold<tensor::DimOp>(op.getScores(), dim);
  };
  constexpr int64_t dynamic = ShapedType::kDynamic;
  auto type = MemRefType::get(
      {dynamic, static_cast<int64_t>(op.getKvHeads()), dynamic, 2},
      b.getI32Type());
  Value words = b.createOrFold<arith::CeilDivUIOp>(getSize(2), b.index(kWarp));
  return memref::AllocOp::create(b, type, ValueRange{getSize(0), words},
                                 b.getI64IntegerAttr(64));
}

PickLauncher::Buffers PickLauncher::allocate(const PickFindings &its) {
  Buffers buffers;
  SmallVector<Value> &read = buffers.read, &written = buffers.written;
  if (hasLevels())
    read.append({findings.levels, findings.tileTops, findings.tileLacks,
                 findings.spreads});
  else
    for (Value value : {op.getScores(), op.getBounds()})
      read.push_back(b.readOnly(value));
  const bool isFollowing = hostBefore != nullptr,
             readsBits = isFollowing && its.picked;
  Value list = readsBits ? Value() : op.getTaken();
  for (Value value : {Value(op.getSeqLens()), Value(op.getPages()),
                      Value(op.getPageCount()), list, Value(op.getOutside()),
                      Value(op.getAttended()), Value(op.getMoment())})
    if (value)
      read.push_back(b.readOnly(value));
  if (hasMoment() && hasLevels())
    read.push_back(findings.norms);
  if (readsBits)
    read.push_back(its.picked);
  if (hostBefore)
    read.push_back(b.readOnly(hostBefore));
  if (findings.tops)
    read.push_back(findings.tops);
  if (ofPages.sums)
    read.append({ofPages.sums, ofPages.tops});
  if (its.depths && isFollowing)
    read.push_back(its.depths);
  buffers.results = allocateResults(op, b, op->getNumResults());
  written = buffers.results;
  if (its.depths && !isFollowing)
    written.push_back(its.depths);
  Value rows = b.dim(read[0], 0);
  Value words =
      b.createOrFold<arith::CeilDivUIOp>(b.dim(read[0], 2), b.index(kWarp));
  int64_t kvHeads = op.getKvHeads();
  constexpr int64_t dynamic = ShapedType::kDynamic;
  auto allocate = [&](ArrayRef<int64_t> shape, Type element) {
    SmallVector<Value> sizes = {rows};
    if (ShapedType::isDynamic(shape[2]))
      sizes.push_back(words);
    written.push_back(memref::AllocOp::create(
        b, MemRefType::get(shape, element), sizes, b.getI64IntegerAttr(64)));
  };
  buffers.areOpen = hasWords() && !picksFew();
  if (buffers.areOpen)
    allocate({dynamic, kvHeads, dynamic}, b.getI32Type());
  bool isGiven = its.picked && !isFollowing;
  buffers.arePicked = isGiven || !picksFew();
  if (isGiven)
    written.push_back(its.picked);
  else if (buffers.arePicked)
    allocate({dynamic, kvHeads, dynamic, 2}, b.getI32Type());
  buffers.areTold = clusterBlocks > 1;
  if (buffers.areTold) {
    allocate({dynamic, kvHeads, clusterBlocks, getAllTold()}, b.getI32Type());
    allocate({dynamic, kvHeads, clusterBlocks, numBins}, b.getI32Type());
  }
  return buffers;
}

void PickLauncher::launch(const Buffers &given, const PickFindings &its) {
  KernelShape shape;
  shape.name = "pick";
  shape.gridX = b.dim(given.read[0], 0);
  shape.gridY = b.index(static_cast<int64_t>(op.getKvHeads()));
  shape.gridZ = b.index(clusterBlocks);
  shape.clusterBlocks = clusterBlocks;
  shape.threads = threads;
  shape.residentBlocks = schedule.getBlocks();
  shape.isShort = op.getAttended() != nullptr;
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  int64_t numWords = numBins + (hasLevels() ? kBins : 0) + kWarp;
  if (fewOwn > 0)
    numWords = std::max(numWords,
                        BestScores::getNumFew(warps, BestScores::getUsual(op)));
  SmallVector<MemRefType> buffers = {
      b.sharedType(numWords, i32),
      b.sharedType(hasLevels() ? 1 : kBins, f32),
      b.sharedType(hasLevels() ? 1 : kBins, f32),
      b.sharedType({warps, numTold}, i32),
      b.sharedType(group, f32),
      b.sharedType(group, hasLevels() ? i32 : f32),
      b.sharedType(group, f32),
      b.sharedType(group, i32),
      b.sharedType(4, i32),
      b.sharedType(getAllTold(), i32),
      b.sharedType(BestScores::kCounters, i32),
      b.sharedType({group, kFacts}, f32)};
  if (ofPages.sums)
    llvm::append_range(buffers, BlockPick::getBuffers(op, b, warps));
  int64_t bytes = 0;
  for (MemRefType type : buffers)
    bytes += WarpBuilder::getBytes(type);
  keepsMarks = bytes + 4 * getOwnWordsAtMost() <= kSharedBytes;
  if (keepsMarks)
    buffers.push_back(b.sharedType(getOwnWordsAtMost(), i32));
  b.launch(shape, given.read, given.written, buffers,
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             emit(values, its, given, shared);
           });
}

void PickLauncher::emit(ArrayRef<Value> values, const PickFindings &its,
                        const Buffers &buffers, ArrayRef<Value> shared) {
  Given given(values);
  const bool hasDepths = its.depths != nullptr,
             readsBits = hostBefore && its.picked;
  (hasLevels() ? levels : scores) = given.take();
  (hasLevels() ? tileTops : bounds) = given.take();
  tileLacks = given.take(hasLevels());
  spreads = given.take(hasLevels());
  lengths = given.take();
  pages = given.take(op.getPages() != nullptr);
  pageCount = given.take(op.getPageCount() != nullptr);
  taken = given.take(op.getTaken() && !readsBits);
  outside = given.take(op.getOutside() != nullptr);
  attended = given.take(op.getAttended() != nullptr);
  moment = given.take(hasMoment());
  norms = given.take(hasMoment() && hasLevels());
  pickedBefore = given.take(readsBits);
  before = given.take(hostBefore != nullptr);
  scanTops = given.take(findings.tops != nullptr);
  pageFindings.sums = given.take(ofPages.sums != nullptr);
  pageFindings.tops = given.take(ofPages.tops != nullptr);
  if (hostBefore)
    depths = given.take(hasDepths);
  for (Value *place : {&ids, &counts, &tails})
    *place = given.take();
  if (!hostBefore)
    depths = given.take(hasDepths);
  open = given.take(buffers.areOpen);
  picked = given.take(buffers.arePicked);
  told = given.take(buffers.areTold);
  between = given.take(buffers.areTold);
  bins = shared[0];
  massBefore = shared[1];
  restFrom = shared[2];
  perWarp = shared[3];
  tops = shared[4];
  ends = shared[5];
  refs = shared[6];
  nans = shared[7];
  found = shared[8];
  if (clusterBlocks == 1)
    told = shared[9];
  counters = shared[10];
  facts = shared[11];
  if (ofPages.sums) {
    chosenBlocks = shared[12];
    chosenPages = shared[13];
    marks = shared[14];
  }

  if (keepsMarks)
    ownMarks = shared.back();

  // Proofs fill a multiprocessor: blocks of the next kernel wait for their
  // launch no more. A later pick is short, and has let them start.
  if (isProving && !op.getAttended())
    b.letNextStart();
  Value zero = b.index(0);
  row = b.blockId(gpu::Dimension::x);
  kvHead = b.blockId(gpu::Dimension::y);
  block = b.blockId(gpu::Dimension::z);
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  laneBit = arith::ShLIOp::create(b, b.i32(1), b.toI32(lane));
  firstHead = b.mulI(kvHead, b.index(group));
  length = b.maxI(b.loadIndex(lengths, row), zero);
  // Rows of levels are padded.
  numSlots = hasLevels() && pages
                 ? b.mulI(b.dim(pages, 2), b.index(op.getPageSize()))
                 : b.dim(hasLevels() ? levels : scores, 2);

  // Nothing that is visible follows the last page of a list or, without one,
  // the sequence; nor is a level there.
  used = numSlots;
  if (pageCount) {
    Value listed = b.maxI(b.loadIndex(pageCount, {row, kvHead}), zero);
    used = b.minI(used, b.mulI(listed, b.index(op.getPageSize())));
  }
  if (pages)
    used = b.select(b.compare(CmpIPredicate::sgt, length, zero), used, zero);
  else
    used =
        b.minI(used, b.divU(b.addI(length, b.index(unit - 1)), b.index(unit)));
  Value words = b.divU(b.addI(used, b.index(kWarp - 1)), b.index(kWarp));
  Value perBlock =
      b.divU(b.addI(words, b.index(clusterBlocks - 1)), b.index(clusterBlocks));
  firstWord = b.minI(b.mulI(block, perBlock), words);
  lastWord = b.minI(b.addI(firstWord, perBlock), words);

  if (ofPages.sums)
    return pickPages();
  if (fewOwn > 0)
    return pickFewOrMany();
  if (!before)
    return pick();
  // Most groups of a later round are proved already.
  Value proved = isProvedBefore();
  b.ifThen(proved, [&] { writeNothing(); });
  b.ifThen(notI(proved), [&] { pick(); });
}

void PickLauncher::pickFewOrMany() {
  if (picksFew())
    return pickFew();
  Value some = b.compare(CmpIPredicate::sgt, numSlots, b.index(0));
  Value isFew =
      b.compare(CmpIPredicate::sle, numSlots, b.index(fewOwn * threads));
  isFew = b.andI(some, isFew);
  b.ifThen(isFew, [&] { pickFew(); });
  b.ifThen(notI(isFew), [&] { pick(); });
}

Value PickLauncher::isProvedBefore() {
  return b
      .forLoop(b.index(0), b.index(group), 1, ValueRange{b.boolean(true)},
               [&](Value head, ValueRange carried) -> SmallVector<Value> {
                 Value at[] = {row, b.addI(firstHead, head)};
                 Value tail = b.load(before, at);
                 storeTail(tail, at);
                 return {b.andI(carried[0], meets(tail, at))};
               })
      .front();
}

void PickLauncher::pick() {
  if (hasWords()) {
    openSlots();
    if (taken)
      excludeTaken();
    b.barrier();
  }
  if (isProving || hasTail) {
    // A proof by scores looks for the best of these, too.
    if (scanTops && (hasLevels() || !isProving))
      loadTops();
    else
      findTops();
  }
  if (!isProving || !attended || hasAlways() || before)
    return pickAndWrite();
  Value proved = sumTails(/*ofAll=*/true);
  b.ifThen(proved, [&] { writeNothing(); });
  b.ifThen(notI(proved), [&] { pickAndWrite(); });
}

void PickLauncher::pickAndWrite() {
  if (hasLevels())
    findDepthEnds();
  else if (isProving)
    b.forLoop(b.index(0), b.index(group), 1,
              [&](Value head) { findEnd(head); });
  const bool fitsAll = hasRoomForAll(op);
  Value isCounted;
  if (hasLevels() && hasFewHeads() && !isFollowing() && !fitsAll)
    isCounted = isNearlyOver();
  Marked marked = !hasLevels()    ? markNeeded()
                  : isFollowing() ? markUntilProved()
                                  : markDeep(isCounted);
  const bool hasSums = sumsWhileMarking();
  auto writeMarked = [&] {
    writePicks(Value());
    SmallVector<Value> sums, bits;
    for (int64_t head = 0; hasSums && head < group; ++head) {
      auto [ofHead, itsBits] = getLeft(marked, head);
      llvm::append_range(sums, ofHead);
      bits.push_back(itsBits);
    }
    if (hasSums)
      writeTails(sums, bits);
  };
  if (fitsAll) {
    writeMarked();
  } else {
    // Twice: mostly nothing is over, and no words of what may be picked as well
    // are looked at.
    Value isOver =
        b.compare(CmpIPredicate::sgt, marked.number, b.i32(op.getBudget()));
    b.ifThen(notI(isOver), writeMarked);
    b.ifThen(isOver, [&] {
      SmallVector<Value> best = markBest(b.i32(op.getBudget()), isCounted);
      writePicks(best.front());
      if (hasSums && hasLevels() && hasFewHeads())
        writeTails(addTiesLeft(ValueRange(best).drop_front()));
      else if (hasSums)
        sumTails(/*ofAll=*/false);
    });
  }
  if (hasTail && !hasSums)
    sumTails(/*ofAll=*/false);
}

const char *vashista::findObstacle(PickOp op) {
  if (op->getParentOfType<LoopLikeOpInterface>())
    return "expected no loop around";
  if (cast<RankedTensorType>(op.getScores().getType()).isDynamicDim(1))
    return "expected static heads";
  return nullptr;
}

bool vashista::hasRoomForAll(PickOp op) {
  int64_t slots =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(2);
  // Rows of levels are padded.
  return !ShapedType::isDynamic(slots) &&
         static_cast<int64_t>(llvm::alignTo(slots, ScanFindings::kTile)) <=
             static_cast<int64_t>(op.getBudget());
}

bool vashista::picksByLevels(PickOp op) {
  auto score = op.getScores().getDefiningOp<ScoreOp>();
  return !findObstacle(op) && op.getMode() == PickMode::proving &&
         op.getUnit() == SlotUnit::tokens && score &&
         op.getScores() == score.getScores() &&
         op.getBounds() == score.getBounds() && seesSlotsOf(op, score) &&
         (!op.getMoment() || boundsByNorm(score));
}

bool vashista::seesSlotsOf(PickOp op, ScoreOp score) {
  return op.getSeqLens() == score.getSeqLens() &&
         op.getPages() == score.getPages() &&
         op.getPageCount() == score.getPageCount();
}

LogicalResult vashista::launchPick(PickOp op, const ScheduleTarget &target,
                                   Findings &findings,
                                   PatternRewriter &rewriter) {
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  ScanFindings found;
  // A scan's are of tokens, without weights, and of the whole list.
  if (op.getUnit() == SlotUnit::tokens)
    found = findings.scans.lookup(op.getBounds());
  auto makeLauncher = [&](ScheduleAttr schedule) {
    PickLauncher launcher(op, schedule, found,
                          getSharedBytes(target, schedule.getBlocks()), b);
    launcher.padsList = !findings.shortLists.contains(op);
    launcher.ofPages = findings.pages.lookup(op);
    return launcher;
  };
  // The first one's clusters are the largest, and what its blocks have.
  SmallVector<ScheduleVersion> versions = getVersions(op, target);
  PickLauncher launcher = makeLauncher(versions.front().schedule);
  PickFindings its = findings.picks.lookup(op);
  auto getOf = [&](PickOp before, Value PickFindings::*what, auto allocate) {
    if (!before)
      return;
    Value &buffer = findings.picks[before].*what;
    if (!buffer) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(before);
      buffer = (launcher.*allocate)();
    }
    its.*what = buffer;
  };
  getOf(launcher.findCounter(), &PickFindings::depths,
        &PickLauncher::allocateDepths);
  getOf(launcher.findMarker(), &PickFindings::picked,
        &PickLauncher::allocatePicked);
  PickLauncher::Buffers buffers = launcher.allocate(its);
  launchVersion(b, b.dim(buffers.read[0], 0), op.getKvHeads(), versions,
                [&](ScheduleAttr schedule) {
                  makeLauncher(schedule).launch(buffers, its);
                });
  rewriter.replaceOp(op, toTensors(b, buffers.results, op->getResultTypes()));
  return success();
}
