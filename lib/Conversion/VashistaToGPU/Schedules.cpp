//===- Schedules.cpp - How kernels are laid out on a GPU ------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What is chosen was found by measuring, on H100 (docs/performance.md). Groups
// are rows times KV heads: what has work of its own.
//
//===----------------------------------------------------------------------===//

#include "Schedules.h"

#include "Attend/AttendKernels.h"
#include "Best/BestTokens.h"
#include "Chunks/AttendChunks.h"
#include "Kernels.h"
#include "Pick/PickKernels.h"
#include "ScheduleDraft.h"
#include "Score/SketchScan.h"
#include "Score/VectorScan.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace vashista;

LogicalResult ScheduleTarget::verify(Operation *at) const {
  if (!llvm::is_contained({1, 2, 4, 8}, clusterBlocks))
    return at->emitError("expected clusters to be 1, 2, 4 or 8, got ")
           << clusterBlocks;
  if (sharedBytes < kSharedBytes)
    return at->emitError("expected shared-bytes to be at least ")
           << kSharedBytes << ", got " << sharedBytes;
  if (multiprocessors < 1)
    return at->emitError("expected multiprocessors to be at least 1, got ")
           << multiprocessors;
  return success();
}

static ShapedType getShape(Value value) {
  return cast<ShapedType>(value.getType());
}

InFlightDiagnostic vashista::refuseFuse(Operation *op, const char *obstacle) {
  return op->emitOpError("expected a schedule with fuse = false of what is not "
                         "one kernel, got true: ")
         << obstacle;
}

int64_t vashista::countGroups(int64_t rows, int64_t kvHeads) {
  return ShapedType::isDynamic(rows) ? kvHeads : rows * kvHeads;
}

int64_t vashista::getPower(const ScheduleTarget &target) {
  return llvm::bit_floor<uint64_t>(target.multiprocessors);
}

int64_t vashista::getMostClusters(const ScheduleTarget &target,
                                  int64_t blocks) {
  return blocks > 2 ? (getPower(target) - 1) / blocks
                    : target.multiprocessors / blocks;
}

int64_t vashista::getSharedBytes(const ScheduleTarget &target,
                                 int64_t residentBlocks) {
  int64_t all = target.sharedBytes + kReservedBytes;
  return std::max(all / std::max<int64_t>(residentBlocks, 1) - kReservedBytes,
                  kSharedBytes);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

namespace {

/// What the kernels of an attend or fallback follow from.
struct AttendShape {
  int64_t groups; // of one row where rows are not known
  int64_t group, keyDim, valueDim, pageSize;
  /// Slots of a sequence, at most: dynamic where not known.
  int64_t capacity;
  /// And of what is listed, if anything is.
  std::optional<int64_t> listed;
  bool inTokens = false;
  /// Whether most rows have nothing to do.
  bool isSeldom = false;
  int64_t kvHeads;

  template <typename OpTy> explicit AttendShape(OpTy op) {
    ShapedType query = getShape(op.getQuery()), keys = getShape(op.getKCache());
    bool isHnd = op.getLayout() == Layout::hnd;
    int64_t rows = query.getDimSize(0);
    kvHeads = keys.getDimSize(isHnd ? 1 : 2);
    groups = ShapedType::isDynamic(rows) ? 1 : rows * kvHeads;
    group = query.getDimSize(1) / kvHeads;
    pageSize = keys.getDimSize(isHnd ? 2 : 1);
    capacity = getShape(op.getPageTable()).getDimSize(1);
    if (!ShapedType::isDynamic(capacity))
      capacity *= pageSize;
    if (ShapedType::isDynamic(rows))
      capacity = rows;
    keyDim = keys.getDimSize(3);
    valueDim = getShape(op.getVCache()).getDimSize(3);
  }

  /// Whether a tile lies in one page.
  bool isPaged() const { return !inTokens && pageSize % kTokens == 0; }
  /// Whether few blocks have registers for what they find.
  bool isWide() const { return std::max(keyDim, valueDim) > 128; }
  int64_t getHeadsOfBlock(int64_t warps, int64_t blocks) const {
    return vashista::getHeadsOfBlock(group, warps, blocks, keyDim, valueDim);
  }
  /// Of a row and split.
  int64_t getHeadBlocks(const ScheduleDraft &draft) const {
    return kvHeads *
           llvm::divideCeil(group, getHeadsOfBlock(draft.warps, draft.blocks));
  }
};

} // namespace

/// Enough blocks to occupy a GPU, and not many more: most of those of a list
/// that is not full, or of a sequence that is shorter than its table, find
/// nothing to do.
static void chooseSplits(ScheduleDraft &draft, const AttendShape &shape,
                         const ScheduleTarget &target) {
  if (draft.split > 0)
    return;
  constexpr int64_t kLong = 2048, kShort = 256;
  // Of no rows as of one.
  const int64_t power = getPower(target),
                groups = std::max<int64_t>(shape.groups, 1),
                slots = shape.listed.value_or(shape.capacity);
  const bool isKnown = !ShapedType::isDynamic(slots);
  // At most so many splits, of so many slots or more.
  auto choose = [&](int64_t splits, int64_t split) {
    draft.split = split;
    if (!isKnown || slots > splits * split)
      draft.choose(draft.splits, splits);
  };
  auto getPowerWithin = [](int64_t number, int64_t least, int64_t most) {
    return std::clamp<int64_t>(llvm::bit_floor<uint64_t>(number), least, most);
  };
  // The few rows that have something to do are shared by all blocks; lists of a
  // later round are short, and nothing else waits for memory.
  if (shape.isSeldom)
    return choose(getPowerWithin(8 * power / shape.getHeadBlocks(draft), 8,
                                 shape.listed ? 32 : 128),
                  shape.listed ? kShort / 4 : kShort);
  // One short sequence needs many splits, and many long ones few: what is not
  // known is in between.
  if (!isKnown) {
    draft.split = shape.listed ? kShort : kLong / 2;
    return;
  }
  // As many as what is full is best read by; others share it among as many,
  // down to what is worth a block. Of few groups nothing waits for memory, and
  // a block's own chain is what takes time: as many as there is room for.
  int64_t resident = target.multiprocessors * draft.blocks;
  if (shape.inTokens && groups < power / 2 && slots >= 4 * kShort)
    return choose(std::clamp<int64_t>(resident / groups, 32, 64), kShort / 4);
  if (shape.listed) {
    // Tokens' rows lie apart: a block waits longer for as many.
    int64_t least = shape.inTokens ? kShort / 2 : kShort;
    return choose(
        std::max<int64_t>(16 * power / groups, 8),
        getPowerWithin(groups * least / (kShort / 2), least, 2 * kShort));
  }
  // Full ones fill the device a whole number of times.
  auto getWaves = [&](int64_t split) {
    return llvm::divideNearest(groups * slots, split * resident);
  };
  // Of many heads one wave is enough: a split has as many states.
  bool areMany = shape.getHeadsOfBlock(draft.warps, draft.blocks) > kHeads;
  int64_t waves = getWaves(2 * kLong);
  if (waves < 2 && !areMany)
    waves = std::max<int64_t>(getWaves(kLong), 1);
  int64_t splits =
      std::max<int64_t>(std::max<int64_t>(waves, 1) * resident / groups, 1);
  int64_t full = llvm::alignTo(llvm::divideCeil(slots, splits), 4 * kTokens);
  choose(splits, std::min(getPowerWithin(8 * groups, kShort, kLong),
                          std::max(full, kShort)));
}

/// Copies of two tiles of each warp, where they are faster and three blocks
/// have room for them: of tokens whose rows lie apart, and of sequences that
/// take more than three times the blocks that run at once. Of few warps with
/// many heads, three of each.
static void chooseStages(ScheduleDraft &draft, const AttendShape &shape,
                         bool areBlocksFree, const ScheduleTarget &target) {
  constexpr int64_t kBlocks = 3;
  int64_t blocks =
      areBlocksFree ? std::min(draft.blocks, kBlocks) : draft.blocks;
  bool areMany = shape.getHeadsOfBlock(draft.warps, blocks) > kHeads;
  int64_t stages = areMany ? 3 : 2;
  bool isLong =
      !shape.listed && !shape.isSeldom &&
      shape.groups * draft.splits > 3 * target.multiprocessors * draft.blocks;
  bool isFaster = !shape.isWide() && (areMany || !shape.isPaged() || isLong);
  if (draft.stages == 0 && isFaster &&
      hasRoomAhead(target, draft.warps, stages, blocks, shape.keyDim,
                   shape.valueDim)) {
    draft.stages = stages;
    draft.blocks = blocks;
  }
  draft.choose(draft.stages, 1);
}

static LogicalResult assign(Operation *op, const AttendShape &shape,
                            ScheduleAttr written,
                            const ScheduleTarget &target) {
  ScheduleDraft draft(written);
  draft.expectNoFuse();
  int64_t heads = std::min(shape.group, kHeads), most = 32;
  while (!hasRoomForHeads(most, heads, shape.valueDim))
    most /= 2;
  draft.choose(draft.warps, 4);
  draft.expectAtMost("warps", draft.warps, most);
  draft.expectOnly("vector", draft.vector, 8);
  bool areBlocksFree = draft.blocks == 0;
  // Fewer blocks have registers for more heads.
  int64_t ofProducts = std::max<int64_t>(kWarpsOfProducts / draft.warps, 1);
  bool areMany = shape.getHeadsOfBlock(draft.warps, ofProducts) > kHeads;
  draft.choose(draft.blocks, areMany           ? ofProducts
                             : shape.isWide()  ? 1
                             : shape.isPaged() ? 4
                                               : 3);
  chooseSplits(draft, shape, target);
  chooseStages(draft, shape, areBlocksFree, target);
  draft.expectMultiple("split", draft.split, kTokens);
  draft.expectOnly("cluster", draft.cluster, 1);
  return draft.assign(op);
}

static LogicalResult assign(AttendOp op, const ScheduleTarget &target) {
  AttendShape shape(op);
  shape.inTokens = op.getTokens() != nullptr;
  if (Value list = op.getTokens() ? op.getTokens() : op.getPages()) {
    auto pick = list.getDefiningOp<PickOp>();
    shape.isSeldom = pick && pick.getAttended();
    shape.listed = getShape(list).getDimSize(2);
    if (!shape.inTokens && !ShapedType::isDynamic(*shape.listed))
      *shape.listed *= shape.pageSize;
  }
  return assign(op, shape, op.getScheduleAttr(), target);
}

static LogicalResult assign(FallbackOp op, const ScheduleTarget &target) {
  AttendShape shape(op);
  shape.isSeldom = true;
  return assign(op, shape, op.getScheduleAttr(), target);
}

static int64_t getGroups(BestTokens best) {
  return countGroups(getShape(best.attend.getQuery()).getDimSize(0),
                     best.kvHeads);
}

/// Groups of which each has a block of many warps: of more there are several
/// blocks on a multiprocessor, which wait for different things.
static int64_t getMostOfWide(const ScheduleTarget &target) {
  return 2 * target.multiprocessors - 1;
}

/// One kernel for all three or, with a route, for all five, where that can be.
static ScheduleDraft makeDraft(BestTokens best, ScheduleAttr written,
                               int64_t groups, const ScheduleTarget &target) {
  constexpr int64_t kSlotsOfBlock = 128, kMostOwn = 32;
  ScheduleDraft draft(written);
  draft.fuse = true;
  // Clusters, where there are fewer groups than multiprocessors, about;
  // otherwise as many blocks as wait for different things. What a route is
  // scored by with fmas, other kernels read faster.
  int64_t cluster = 1;
  bool isShared = !best.route || VectorScan::canMultiply(best.route->score);
  auto divides = [&](int64_t cluster) {
    return best.numSlots % (cluster * kWarp) == 0;
  };
  while (isShared && 2 * cluster <= target.clusterBlocks &&
         groups <= getMostClusters(target, 2 * cluster) &&
         divides(2 * cluster) && best.numSlots / (2 * cluster) >= kSlotsOfBlock)
    cluster *= 2;
  draft.choose(draft.cluster, cluster);
  draft.expectAtMost("cluster", draft.cluster, target.clusterBlocks);
  draft.expect(draft.cluster == 1 || divides(draft.cluster),
               "32 slots, or a multiple, of " + Twine(best.numSlots) +
                   " for each block of a cluster",
               draft.cluster);
  // Of a cluster each block has a multiprocessor, and its registers.
  auto getBlocks = [&](int64_t warps) {
    if (draft.blocks > 0)
      return draft.blocks;
    return draft.cluster > 1 ? 1 : std::max<int64_t>(16 / warps, 1);
  };
  auto getRoom = [&](int64_t warps) {
    return getSharedBytes(target, getBlocks(warps));
  };
  auto hasRoom = [&](int64_t warps) {
    int64_t room = getRoom(warps);
    return best.getMemory(warps, draft.cluster, room).bytes <= room;
  };
  int64_t warps = groups > getMostOfWide(target)     ? 4
                  : draft.cluster > 1 && !best.route ? 8
                                                     : 16;
  int64_t slots = best.numSlots;
  if (best.route)
    slots = std::max(slots, best.route->numPages);
  const int64_t fewest = llvm::divideCeil(slots, kMostOwn * kWarp);
  while (warps < fewest)
    warps *= 2;
  while (warps > std::max<int64_t>(fewest, 4) && !hasRoom(warps))
    warps /= 2;
  draft.choose(draft.warps, warps);
  draft.expect(hasRoom(draft.warps),
               "warps that " + Twine(getRoom(draft.warps) >> 10) +
                   " KiB have room for",
               draft.warps);
  // A thread for each head, and bits for the slots of a thread.
  draft.expectAtLeast(
      "warps", draft.warps,
      std::max<int64_t>(llvm::divideCeil(best.group, kWarp), fewest));
  draft.expectOnly("vector", draft.vector, 8);
  draft.choose(draft.stages, 8);
  draft.expectOnly("split", draft.split, 0);
  draft.expectNoSplits();
  draft.choose(draft.blocks, getBlocks(draft.warps));
  return draft;
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

int64_t vashista::chooseRows(ScoreOp op) {
  /// Registers that a warp's loads go to, each, about; products take them as
  /// they are.
  constexpr int64_t kInFlight = 32, kOfProducts = 64;
  int64_t dim = getShape(op.getDirection()).getDimSize(2);
  int64_t lanes = getLanesOfRow(dim), registers = 0;
  for (auto [part, tensor] :
       llvm::zip_equal(op.getFrom().getParts(), op.getParts()))
    if (llvm::is_contained(part.dims, Dim::keyDim))
      registers += dim / lanes *
                   getElementTypeOrSelf(tensor).getIntOrFloatBitWidth() / 32;
  auto choose = [&](int64_t inFlight) {
    int64_t rows = std::clamp<int64_t>(
        llvm::bit_floor<uint64_t>(inFlight / registers), 1, 8);
    return std::min(rows, lanes);
  };
  int64_t rows = choose(kOfProducts);
  bool multiplies = VectorScan::canMultiply(op) &&
                    rows * (kWarp / lanes) % VectorScan::kBlock == 0;
  return multiplies ? rows : choose(kInFlight);
}

/// Many slots for a block, where there are many blocks: `fewest` for each
/// multiprocessor; `unknown` of slots that are not known.
static int64_t chooseScanSplit(int64_t most, int64_t least, int64_t unknown,
                               int64_t fewest, int64_t groups, int64_t slots,
                               const ScheduleTarget &target) {
  if (ShapedType::isDynamic(slots))
    return unknown;
  int64_t split = most;
  while (split > least && groups * slots / split < fewest * getPower(target))
    split /= 2;
  return split;
}

/// Whether a block of a scan can round its directions.
static bool canRound(ScoreOp op, const SketchFormat &format,
                     ScheduleDraft draft, const ScheduleTarget &target) {
  draft.fuse = true;
  OpBuilder builder(op);
  WarpBuilder b(op.getLoc(), builder);
  return DirectionWarp::hasRoom(format) &&
         SketchScan(op, b, format, draft.get(op.getContext()), target)
             .hasRoom(target);
}

static LogicalResult assign(ScoreOp op, const ScheduleTarget &target) {
  ScheduleDraft draft(op.getScheduleAttr());
  draft.expectNoSplits();
  SourcePart part = op.getFrom().getParts().front();
  auto at = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
  ShapedType direction = getShape(op.getDirection());
  int64_t kvHeads = getShape(op.getParts().front()).getDimSize(at),
          group = direction.getDimSize(1) / kvHeads,
          groups = countGroups(direction.getDimSize(0), kvHeads),
          slots = getShape(op.getScores()).getDimSize(2);
  draft.choose(draft.warps, 4);
  draft.expectOnly("vector", draft.vector, 8);
  draft.expectOnly("cluster", draft.cluster, 1);
  if (isa<SketchAttr>(op.getFrom())) {
    draft.expectOnly("stages", draft.stages, 4);
    int64_t headBlocks = llvm::divideCeil(group, SketchScan::kMostHeads);
    // Two for each multiprocessor: what a block begins and ends with costs more
    // than more of them even out.
    draft.choose(draft.split,
                 chooseScanSplit(4096, 128, 1024, 2, groups * headBlocks, slots,
                                 target));
    draft.expectMultiple("split", draft.split, ScanFindings::kTile);
    SketchFormat format(cast<SketchAttr>(op.getFrom()),
                        direction.getDimSize(2));
    draft.choose(draft.blocks, SketchScan::chooseBlocks(format, group));
    // Directions rounded by each block for itself are a launch less, and are
    // hidden by what a block waits for first; of many blocks they are more than
    // that. Where sizes are not known, the few are what a launch matters to.
    constexpr int64_t kMostBlocks = 16; // for each multiprocessor
    int64_t blocks = groups * headBlocks;
    if (!ShapedType::isDynamic(slots))
      blocks *= llvm::divideCeil(slots, draft.split);
    if (!op.getScheduleAttr())
      draft.fuse = blocks <= kMostBlocks * getPower(target) &&
                   canRound(op, format, draft, target);
    else if (draft.fuse && !canRound(op, format, draft, target))
      draft.expectNoFuse(" where directions have no room in a block");
    return draft.assign(op);
  }
  draft.expectNoFuse();
  draft.choose(draft.stages, chooseRows(op));
  int64_t lanes = getLanesOfRow(direction.getDimSize(2));
  draft.expect(llvm::isPowerOf2_64(draft.stages), "stages a power of two",
               draft.stages);
  draft.expectAtMost("stages", draft.stages, lanes);
  int64_t unknown = groups < 2 * getPower(target) ? 256 : 1024;
  draft.choose(draft.split,
               chooseScanSplit(1024, 64, unknown, 4, groups, slots, target));
  draft.expectMultiple("split", draft.split, kWarp);
  draft.choose(draft.blocks, 4);
  return draft.assign(op);
}

//===----------------------------------------------------------------------===//
// Picks
//===----------------------------------------------------------------------===//

/// Warps where the slots are few: small blocks wait for each other less; many
/// slots for each thread where blocks share a multiprocessor.
static int64_t chooseWarpsOfFew(PickOp op, bool areMany) {
  int64_t slots = getShape(op.getScores()).getDimSize(2);
  int64_t own = areMany ? PickLauncher::kMostOwn : PickLauncher::kFewOwn;
  return std::clamp<int64_t>(
      llvm::bit_ceil<uint64_t>(llvm::divideCeil(slots, own * kWarp)), 4,
      PickLauncher::kMostWarps);
}

static int64_t getGroups(PickOp op) {
  return countGroups(getShape(op.getScores()).getDimSize(0), op.getKvHeads());
}

static ScheduleDraft makeDraft(PickOp op, ScheduleAttr written, int64_t groups,
                               const ScheduleTarget &target) {
  constexpr int64_t kMostWarps = PickLauncher::kMostWarps;
  ScheduleDraft draft(written);
  draft.expectNoFuse();
  draft.expectNoSplits();
  ShapedType scores = getShape(op.getScores());
  int64_t kvHeads = op.getKvHeads(), power = getPower(target);
  bool areMany = groups > power;
  auto getOwn = [&](int64_t warps, int64_t cluster) {
    return scores.isDynamicDim(2)
               ? 0
               : PickLauncher::getOwnOfFew(op, warps, cluster);
  };

  int64_t warpsOfFew = draft.warps;
  if (warpsOfFew == 0 && !scores.isDynamicDim(2))
    warpsOfFew = chooseWarpsOfFew(op, areMany);
  int64_t cluster = 1;
  // Of a later round most groups have nothing to do.
  constexpr int64_t kLeft = 32;
  auto areAtOnce = [&](int64_t cluster) {
    return op.getAttended() ? std::min(groups, kLeft) * cluster <= power
                            : groups <= getMostClusters(target, cluster);
  };
  bool isOfTokens = op.getUnit() == SlotUnit::tokens;
  if (isOfTokens && getOwn(warpsOfFew, 1) == 0)
    while (cluster < target.clusterBlocks && areAtOnce(2 * cluster))
      cluster *= 2;
  // Two blocks wait longer for each other than one looks at so few slots.
  constexpr int64_t kFewSlots = 8192;
  int64_t slots = scores.getDimSize(2);
  if (cluster == 2 && !ShapedType::isDynamic(slots) && slots <= kFewSlots)
    cluster = 1;
  draft.choose(draft.cluster, cluster);
  draft.expectAtMost("cluster", draft.cluster,
                     isOfTokens ? target.clusterBlocks : 1);
  draft.choose(draft.warps,
               getOwn(warpsOfFew, draft.cluster) > 0 ? warpsOfFew : kMostWarps);
  draft.expectAtLeast("warps", draft.warps, 4);
  draft.expectOnly("vector", draft.vector, PickLauncher::kTogether);
  draft.expectOnly("stages", draft.stages, PickLauncher::kAtOnce);
  draft.expectOnly("split", draft.split, 0);
  // Registers for what few blocks have in flight, or room for more of them.
  int64_t own = getOwn(draft.warps, draft.cluster);
  int64_t blocks = (own > 0 && !areMany ? 1 : 2) * kMostWarps / draft.warps;
  if (own > PickLauncher::kFewOwn)
    blocks /= 2;
  // No other block waits for its place; of a later round most end at once.
  bool isAlone = op.getAttended()
                     ? scores.getDimSize(1) > kvHeads
                     : groups <= getMostClusters(target, draft.cluster);
  if (op.getMode() == PickMode::proving && isAlone)
    blocks = 1;
  draft.choose(draft.blocks, std::max<int64_t>(blocks, 1));
  return draft;
}

static LogicalResult assign(PickOp op, const ScheduleTarget &target) {
  return makeDraft(op, op.getScheduleAttr(), getGroups(op), target).assign(op);
}

//===----------------------------------------------------------------------===//
// Versions
//===----------------------------------------------------------------------===//

static constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

/// `own` is for one row, if it is what `make` makes of its groups; what is
/// written stays, for any.
static SmallVector<ScheduleVersion>
makeVersions(ScheduleAttr own, int64_t groups, const ScheduleTarget &target,
             function_ref<ScheduleDraft(int64_t groups)> make) {
  MLIRContext *context = own.getContext();
  if (make(groups).get(context) != own)
    return {{own, kAny}};
  SmallVector<ScheduleVersion> versions = {
      {own, getMostClusters(target, own.getCluster())}};
  for (int64_t most : {getMostClusters(target, 2), getMostClusters(target, 1),
                       getMostOfWide(target), kAny}) {
    ScheduleDraft draft = make(most);
    if (most <= versions.back().mostGroups || !draft.isPossible())
      continue;
    ScheduleAttr schedule = draft.get(context);
    if (schedule == versions.back().schedule)
      versions.back().mostGroups = most;
    else
      versions.push_back({schedule, most});
  }
  // Where there is no kernel of smaller clusters, more groups than these have
  // room for wait.
  versions.back().mostGroups = kAny;
  return versions;
}

SmallVector<ScheduleVersion>
vashista::getVersions(const BestTokens &best, const ScheduleTarget &target) {
  AttendOp op = best.attend;
  ScheduleAttr own = *op.getSchedule();
  bool isKnown = !getShape(op.getQuery()).isDynamicDim(0);
  if (isKnown || best.route)
    return {{own, kAny}};
  return makeVersions(own, getGroups(best), target, [&](int64_t groups) {
    return makeDraft(best, nullptr, groups, target);
  });
}

SmallVector<ScheduleVersion>
vashista::getVersions(PickOp op, const ScheduleTarget &target) {
  ScheduleAttr own = *op.getSchedule();
  bool isKnown = !getShape(op.getScores()).isDynamicDim(0);
  bool isWhole = own.getCluster() > 1 || op.getMode() == PickMode::proving;
  // Of few slots one block is enough; of a later round most blocks end at once.
  if (isKnown || !isWhole || op.getAttended())
    return {{own, kAny}};
  return makeVersions(own, getGroups(op), target, [&](int64_t groups) {
    return makeDraft(op, nullptr, groups, target);
  });
}

void vashista::launchVersion(KernelBuilder &b, Value rows, int64_t kvHeads,
                             ArrayRef<ScheduleVersion> versions,
                             function_ref<void(ScheduleAttr)> launch) {
  const ScheduleVersion &first = versions.front();
  if (versions.size() == 1)
    return launch(first.schedule);
  Value isEnough = b.compare(arith::CmpIPredicate::ule, rows,
                             b.index(first.mostGroups / kvHeads));
  auto choice = scf::IfOp::create(b, isEnough, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(choice.thenYield());
  launch(first.schedule);
  b.setInsertionPoint(choice.elseYield());
  launchVersion(b, rows, kvHeads, versions.drop_front(), launch);
}

//===----------------------------------------------------------------------===//
// All ops
//===----------------------------------------------------------------------===//

/// Fuses an attend where it is written or chosen; null where it has a kernel of
/// its own.
static FailureOr<std::optional<BestTokens>>
assignFused(AttendOp op, const ScheduleTarget &target) {
  ScheduleAttr written = op.getScheduleAttr();
  if (written && !written.getFuse())
    return std::optional<BestTokens>();
  const char *obstacle = nullptr;
  std::optional<BestTokens> best = findBestTokens(op, obstacle);
  if (!best && written)
    return refuseFuse(op, obstacle);
  if (!best)
    return std::optional<BestTokens>();
  const int64_t groups = getGroups(*best);
  ScheduleDraft draft = makeDraft(*best, written, groups, target);
  // The blocks of too few groups read too little at a time.
  bool areFew = !written && draft.cluster * groups < getPower(target);
  if (best->route && (areFew || !draft.isPossible())) {
    best->route.reset();
    draft = makeDraft(*best, written, groups, target);
  }
  if (!written && !draft.isPossible())
    return std::optional<BestTokens>();
  if (failed(draft.assign(op)))
    return failure();
  return best;
}

/// What has no kernel has no schedule.
template <typename OpTy>
static LogicalResult assignOrDrop(OpTy op, const ScheduleTarget &target) {
  const char *obstacle = findObstacle(op);
  if (!obstacle)
    return assign(op, target);
  if (op.getScheduleAttr())
    op.emitWarning("drops the schedule of an op without a kernel of its own: ")
        << obstacle;
  op.removeScheduleAttr();
  return success();
}

LogicalResult vashista::assignSchedules(ModuleOp module,
                                        const ScheduleTarget &target) {
  SmallVector<Operation *> ops;
  llvm::SmallPtrSet<Operation *, 8> fused;
  WalkResult result = module.walk([&](Operation *op) {
    ops.push_back(op);
    auto attend = dyn_cast<AttendOp>(op);
    if (!attend)
      return WalkResult::advance();
    auto pick = attend.getTokens() ? attend.getTokens().getDefiningOp<PickOp>()
                                   : PickOp();
    if (pick && pick.getMode() == PickMode::proving) {
      FailureOr<std::optional<ProvenChunks>> chunks =
          assignChunks(attend, target);
      if (failed(chunks))
        return WalkResult::interrupt();
      if (*chunks)
        fused.insert({op, (*chunks)->pick, (*chunks)->score});
      return WalkResult::advance();
    }
    FailureOr<std::optional<BestTokens>> best = assignFused(attend, target);
    if (failed(best))
      return WalkResult::interrupt();
    if (!*best)
      return WalkResult::advance();
    fused.insert({op, (*best)->pick, (*best)->score});
    if ((*best)->route)
      fused.insert({(*best)->route->pick, (*best)->route->score});
    return WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  for (Operation *op : ops) {
    if (fused.contains(op))
      continue;
    LogicalResult assigned =
        llvm::TypeSwitch<Operation *, LogicalResult>(op)
            .Case<AttendOp, FallbackOp, ScoreOp, PickOp>(
                [&](auto op) { return assignOrDrop(op, target); })
            .Default(success());
    if (failed(assigned))
      return failure();
  }
  return success();
}
