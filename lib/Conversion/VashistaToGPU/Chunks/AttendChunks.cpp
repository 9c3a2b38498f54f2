//===- AttendChunks.cpp - Scan, pick and attend in one kernel -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row, a KV head and a split of the slots, a cluster of blocks a
// chunk. Each scans the sketch of its slots (SketchScan.h), the cluster picks
// what proves the chunk (ChunkPick.h), and each attends to what it has picked
// (AttendKernels.h). A merge joins states, and what is left.
//
// So no score goes to memory, and while a block picks, others of its
// multiprocessor read: all that takes time are codes, keys and values.
//
// Memory of a block: what is attended to takes the place of what was scanned,
// but for the list.
//
//===----------------------------------------------------------------------===//

#include "AttendChunks.h"
#include "Attend/AttendKernels.h"
#include "ChunkPick.h"
#include "Kernels.h"
#include "Schedules.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace vashista;

std::optional<ProvenChunks> vashista::findProvenChunks(AttendOp op,
                                                       const char *&obstacle) {
  auto refuse = [&](const char *why) {
    obstacle = why;
    return std::nullopt;
  };
  if (!op.hasPureTensorSemantics() || op.getBegin() || !op.getTokens() ||
      !isEmptyState(op.getOuts()))
    return refuse("expected attention over tokens, from nothing");
  if (const char *obstacle = findObstacle(op))
    return refuse(obstacle);
  auto pick = op.getTokens().getDefiningOp<PickOp>();
  if (!pick || op.getTokens() != pick.getIds() ||
      op.getTokenCount() != pick.getCount() || !pick.getIds().hasOneUse() ||
      pick.getMode() != PickMode::proving ||
      pick.getUnit() != SlotUnit::tokens || pick.getPages() ||
      pick.getTaken() || pick.getOutside() || pick.getAttended() ||
      pick.getMoment() || pick.getSchedule())
    return refuse(
        "expected a first list that proves all, without a moment, and "
        "that nobody else reads");
  auto score = pick.getScores().getDefiningOp<ScoreOp>();
  if (!score || !picksByLevels(pick) || score.getSchedule() ||
      !llvm::all_of(score->getUsers(),
                    [&](Operation *user) { return user == pick; }))
    return refuse("expected scores that only the pick reads");
  if (!isa<SketchAttr>(score.getFrom()) || findObstacle(score))
    return refuse("expected scores of a sketch");
  auto codes = cast<RankedTensorType>(score.getParts()[0].getType());
  if (codes.getDimSize(1) != static_cast<int64_t>(pick.getKvHeads()))
    return refuse("expected scores of the same KV heads");
  if (Slots::getRun(score, kTokens) < 4)
    return refuse("expected pages of a multiple of 4 tokens");
  if (!DirectionWarp::hasRoom(
          SketchFormat(cast<SketchAttr>(score.getFrom()),
                       cast<RankedTensorType>(score.getDirection().getType())
                           .getDimSize(2))))
    return refuse("expected directions that have room in a block");
  if (score.getPageTable() != op.getPageTable() ||
      score.getSeqLens() != op.getSeqLens() ||
      pick.getSeqLens() != op.getSeqLens() ||
      score.getRowToSeq() != op.getRowToSeq())
    return refuse("expected scores of the same tokens");
  // What else the pick yields is there when the attend is.
  bool areLater = score->getBlock() == op->getBlock() &&
                  pick->getBlock() == op->getBlock() &&
                  llvm::all_of(pick->getUsers(), [&](Operation *user) {
                    Operation *own =
                        op->getBlock()->findAncestorOpInBlock(*user);
                    return own == op || (own && op->isBeforeInBlock(own));
                  });
  if (!areLater)
    return refuse("expected nobody before it who reads what is picked or left");
  int64_t group = op.getGroupSize(), kvHeads = pick.getKvHeads();
  if (group > kHeads)
    return refuse("expected at most 8 query heads of a KV head");
  return ProvenChunks{op, pick, score, group, kvHeads};
}

namespace {

class AttendChunks {
public:
  AttendChunks(ProvenChunks chunks, ScheduleAttr schedule,
               const ScheduleTarget &target, Value pageNorms, WarpBuilder &b)
      : chunks(chunks), schedule(schedule), target(target), b(b),
        format(cast<SketchAttr>(chunks.score.getFrom()),
               cast<RankedTensorType>(chunks.score.getDirection().getType())
                   .getDimSize(2)),
        scan(chunks.score, b, format, schedule, target, pageNorms),
        pick(chunks.pick, b, chunks.group, scan.getSlotsOfBlock(),
             schedule.getWarps(), schedule.getCluster(), format.paddedDim),
        pageNorms(pageNorms) {}

  /// `certify`: what the merge does as well, or null.
  void launch(CertifyOp certify, PatternRewriter &rewriter);
  bool hasRoom();

  Value o, lse, tail, count, largestNorms;
  SmallVector<Value> certificates; // results of `certify`

private:
  AttendOp makeAttend();
  SmallVector<MemRefType> getShared(int64_t tileBytes, MemRefType exponents);
  void emit(AttendLauncher &attend, ArrayRef<Value> values,
            ArrayRef<Value> shared);
  /// Of one buffer, others that begin at so many bytes; and where they end.
  SmallVector<Value> takeApart(Value bytes, ArrayRef<MemRefType> types,
                               int64_t from);
  static int64_t getBytes(ArrayRef<MemRefType> types) {
    int64_t bytes = 0;
    for (MemRefType type : types)
      bytes += WarpBuilder::getBytes(type);
    return bytes;
  }
  /// Bins take the place of codes, where these are as many bytes: they follow
  /// what warps have found.
  int64_t getPlaceOfBins() {
    SmallVector<MemRefType> buffers = scan.getBuffers();
    return WarpBuilder::getBytes(pick.getBinsType()) <=
                   WarpBuilder::getBytes(buffers[1])
               ? WarpBuilder::getBytes(buffers[0])
               : getBytesOfScan();
  }
  int64_t getBytesOfScan() {
    return getBytes(scan.getBuffers()) +
           getBytes(ArrayRef(scan.getKeptTypes()).drop_back());
  }

  ProvenChunks chunks;
  const ScheduleAttr schedule;
  const ScheduleTarget &target;
  WarpBuilder &b;
  const SketchFormat format;
  SketchScan scan;
  ChunkPick pick;
  Value pageNorms;
  size_t numRead = 0; // of the scan
};

} // namespace

SmallVector<Value>
AttendChunks::takeApart(Value bytes, ArrayRef<MemRefType> types, int64_t from) {
  SmallVector<Value> buffers;
  for (MemRefType type : types) {
    buffers.push_back(
        memref::ViewOp::create(b, type, bytes, b.index(from), ValueRange()));
    from += WarpBuilder::getBytes(type);
  }
  return buffers;
}

/// What is attended to, then the list; or what is scanned. What others of the
/// cluster read, and what is read to the end, beside it.
SmallVector<MemRefType> AttendChunks::getShared(int64_t tileBytes,
                                                MemRefType exponents) {
  int64_t last = tileBytes + WarpBuilder::getBytes(pick.getListType());
  SmallVector<MemRefType> shared = {
      b.sharedType(std::max({last, getBytesOfScan(),
                             getPlaceOfBins() +
                                 WarpBuilder::getBytes(pick.getBinsType())}),
                   b.getI8Type()),
      exponents, scan.getKeptTypes().back()};
  llvm::append_range(shared, pick.getTypes());
  return shared;
}

bool AttendChunks::hasRoom() {
  AttendOp op = chunks.attend;
  auto getDim = [](Value tensor) {
    return cast<RankedTensorType>(tensor.getType()).getDimSize(3);
  };
  int64_t keyDim = getDim(op.getKCache()), valueDim = getDim(op.getVCache()),
          warps = schedule.getWarps(), stages = schedule.getStages();
  // Buffers of a scan have codes second, if these are copied ahead.
  if (!scan.hasWholeGroup() || !scan.canScanAhead() ||
      !hasRoomAhead(target, warps, stages, schedule.getBlocks(), keyDim,
                    valueDim))
    return false;
  int64_t tileBytes = 2 * warps * stages * kTokens * (keyDim + valueDim);
  MemRefType exponents = b.sharedType({warps, chunks.group, 2}, b.getF32Type());
  return getBytes(getShared(tileBytes, exponents)) <=
         getSharedBytes(target, schedule.getBlocks());
}

bool vashista::hasRoomForChunks(ProvenChunks chunks, ScheduleAttr schedule,
                                const ScheduleTarget &target) {
  OpBuilder builder(chunks.attend);
  WarpBuilder b(chunks.attend.getLoc(), builder);
  // Somebody may want norms of pages, too: of which nothing is read here.
  Value pageNorms = chunks.score.getParts()[0];
  return AttendChunks(chunks, schedule, target, pageNorms, b).hasRoom();
}

/// The same on buffers, over the whole sequence: which of it, the kernel knows.
AttendOp AttendChunks::makeAttend() {
  AttendOp op = chunks.attend;
  // As many rows as there are queries; no other size is dynamic.
  auto allocate = [&](Value like) -> Value {
    auto type = cast<RankedTensorType>(like.getType());
    SmallVector<Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(b.createOrFold<tensor::DimOp>(op.getQuery(), 0));
    return memref::AllocOp::create(
        b, MemRefType::get(type.getShape(), type.getElementType()), sizes,
        b.getI64IntegerAttr(64));
  };
  o = allocate(op.getOuts()[0]);
  lse = allocate(op.getOuts()[1]);
  tail = allocate(op.getOuts()[1]);
  count = allocate(op.getTokenCount());
  return AttendOp::create(
      b, TypeRange(), b.readOnly(op.getQuery()), b.readOnly(op.getKCache()),
      b.readOnly(op.getVCache()), b.readOnly(op.getPageTable()),
      b.readOnly(op.getSeqLens()), b.readOnly(op.getRowToSeq()),
      /*pages=*/Value(), /*page_count=*/Value(), /*tokens=*/Value(),
      /*token_count=*/Value(), /*begin=*/Value(), /*end=*/Value(),
      ValueRange{o, lse}, op.getScaleAttr(), op.getSoftCapAttr(),
      op.getSolverAttr(), op.getLayoutAttr(), schedule);
}

void AttendChunks::launch(CertifyOp certify, PatternRewriter &rewriter) {
  const int64_t cluster = schedule.getCluster();
  AttendOp op = makeAttend();
  AttendLauncher attend(op, b, target, /*startsEmpty=*/true);
  scan.prepare();
  ReifiedRankedShapedTypeDims shapes;
  (void)cast<ReifyRankedShapedTypeOpInterface>(*chunks.score)
      .reifyResultShapes(b, shapes);
  Value slots = getValueOrCreateConstantIndexOp(b, b.getLoc(), shapes[0][2]);
  Value clusters = b.createOrFold<arith::CeilDivUIOp>(
      slots, b.index(cluster * scan.getSlotsOfBlock()));
  Value blocks = b.mulI(clusters, b.index(cluster));
  attend.allocateStates(blocks, {tail, count});
  SmallVector<Value> read = scan.getRead();
  numRead = read.size();
  llvm::append_range(read, attend.getRead());
  SmallVector<Value> written = attend.getWritten();
  if (pageNorms) {
    Value rows = b.dim(op.getQuery(), 0);
    largestNorms = memref::AllocOp::create(
        b,
        MemRefType::get(
            {ShapedType::kDynamic, chunks.kvHeads, ShapedType::kDynamic, 2},
            b.getF32Type()),
        ValueRange{rows, blocks}, b.getI64IntegerAttr(64));
    written.push_back(largestNorms);
  }

  KernelShape shape;
  shape.name = "attend_chunks";
  shape.gridX = b.index(chunks.kvHeads);
  shape.gridY = b.dim(op.getQuery(), 0);
  shape.gridZ = blocks;
  shape.threads = schedule.getWarps() * kWarp;
  shape.residentBlocks = schedule.getBlocks();
  shape.clusterBlocks = cluster;
  auto [tiles, exponents] = attend.getBuffers();
  b.launch(shape, read, written,
           getShared(WarpBuilder::getBytes(tiles), exponents),
           [&](ArrayRef<Value> values, ArrayRef<Value> buffers) {
             emit(attend, values, buffers);
           });
  if (certify) {
    certificates = allocateResults(certify, b, certify->getNumResults());
    // What is left is what the merge adds up.
    attend.certified =
        AttendLauncher::Certified{certify, b.readOnly(certify.getDirection()),
                                  /*tail=*/Value(), largestNorms, certificates};
  }
  attend.launchMerge();
  rewriter.eraseOp(op);
}

void AttendChunks::emit(AttendLauncher &attend, ArrayRef<Value> values,
                        ArrayRef<Value> shared) {
  Value row = b.blockId(gpu::Dimension::y),
        kvHead = b.blockId(gpu::Dimension::x),
        number = b.blockId(gpu::Dimension::z);
  Value largest = pageNorms ? values.back() : Value();
  values = values.drop_back(pageNorms ? 1 : 0);
  ArrayRef<Value> ofAttend = values.drop_front(numRead);
  Given given(values.take_front(numRead));
  SmallVector<MemRefType> types = scan.getBuffers();
  SmallVector<Value> ofScan = takeApart(shared[0], types, 0);
  SmallVector<Value> keptBuffers = takeApart(
      shared[0], ArrayRef(scan.getKeptTypes()).drop_back(), getBytes(types));
  SketchScan::Kept kept{keptBuffers[0], keptBuffers[1], keptBuffers[2],
                        shared[2]};
  scan.keep(given, ofScan, kept, row, kvHead, number, largest);
  // All warps have found what they look for: codes are not needed any more.
  MemRefType tiles = attend.getBuffers()[0];
  Value bins = takeApart(shared[0], pick.getBinsType(), getPlaceOfBins())[0];
  Value list =
      takeApart(shared[0], pick.getListType(), WarpBuilder::getBytes(tiles))[0];
  Value group = b.index(chunks.group);
  Value firstHead = b.mulI(kvHead, group);
  Value isThere = b.compare(arith::CmpIPredicate::slt, scan.firstSlot,
                            scan.slots->numSlots);
  Value count =
      pick.emit(kept, bins, list, shared.drop_front(3),
                {scan.firstSlot, scan.endSlot, scan.slots->getLength()},
                b.remU(number, b.index(schedule.getCluster())),
                [&](Value head, Value left) {
                  b.ifThen(isThere, [&] {
                    attend.storeTail(ofAttend, row, b.addI(firstHead, head),
                                     number, left);
                  });
                });
  b.barrier();
  b.ifThen(isThere, [&] {
    attend.storeCount(ofAttend, row, kvHead, number, count);
    attend.emitListed(ofAttend, {takeApart(shared[0], tiles, 0)[0], shared[1]},
                      row, kvHead, number, list, scan.firstSlot, count);
  });
}

std::array<MemRefType, 2> AttendLauncher::getBuffers() {
  warps = schedule.getWarps();
  return {getAheadType(), b.sharedType({warps, numHeads, 2}, b.getF32Type())};
}

void AttendLauncher::storeTail(ArrayRef<Value> values, Value row, Value head,
                               Value split, Value tail) {
  b.store(tail, bind(values, /*hasPartials=*/true).tails, {row, head, split});
}

void AttendLauncher::storeCount(ArrayRef<Value> values, Value row, Value kvHead,
                                Value split, Value count) {
  Value isFirst = b.compare(arith::CmpIPredicate::eq, b.threadId(), b.index(0));
  b.ifThen(isFirst, [&] {
    b.store(b.toI32(count), bind(values, /*hasPartials=*/true).counts,
            {row, kvHead, split});
  });
}

void AttendLauncher::emitListed(ArrayRef<Value> values, ArrayRef<Value> buffers,
                                Value row, Value kvHead, Value split,
                                Value list, Value first, Value count) {
  its = bind(values, /*hasPartials=*/true);
  bindThread();
  bindAhead(buffers[0]);
  sharedExponents = buffers[1];
  this->row = row;
  this->kvHead = kvHead;
  firstHead = b.mulI(kvHead, b.index(group));
  splitNumber = split;
  findSlots();
  inTokens = true;
  ownList = list;
  firstListed = first;
  numSlots = last = count;
  this->first = b.index(0);
  emitTiles(b.index(group));
  inTokens = false;
  ownList = nullptr;
}

LogicalResult vashista::launchAttendChunks(AttendOp op,
                                           const ScheduleTarget &target,
                                           Findings &findings,
                                           PatternRewriter &rewriter) {
  if (!op.getSchedule() || !op.getSchedule()->getFuse())
    return rewriter.notifyMatchFailure(op, "expected a schedule with fuse");
  const char *obstacle = nullptr;
  std::optional<ProvenChunks> chunks = findProvenChunks(op, obstacle);
  if (!chunks)
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  SmallVector<CertifyOp> certifies = findCertifies(chunks->score, op, findings);
  AttendChunks kernel(*chunks, *op.getSchedule(), target,
                      certifies.empty() ? Value() : certifies[0].getNorms(), b);
  SmallVector<Value> outs(op.getOuts());
  PickOp pick = chunks->pick;
  CertifyOp certified = findCertifyOfMerge(op, pick.getTail());
  if (!llvm::is_contained(certifies, certified) ||
      certified.getTail() != pick.getTail())
    certified = nullptr;
  kernel.launch(certified, rewriter);
  for (CertifyOp certify : certifies)
    if (certify != certified)
      findings.norms.insert({certify, kernel.largestNorms});
  if (certified)
    rewriter.replaceOp(certified, toTensors(b, kernel.certificates,
                                            certified->getResultTypes()));
  SmallVector<Value> picked =
      toTensors(b, {kernel.count, kernel.tail},
                TypeRange{pick.getCount().getType(), pick.getTail().getType()});
  rewriter.replaceAllUsesWith(pick.getCount(), picked[0]);
  rewriter.replaceAllUsesWith(pick.getTail(), picked[1]);
  rewriter.replaceOp(
      op, toTensors(b, {kernel.o, kernel.lse}, op->getResultTypes()));
  rewriter.eraseOp(chunks->pick);
  rewriter.eraseOp(chunks->score);
  for (Value out : outs)
    if (out.use_empty())
      rewriter.eraseOp(out.getDefiningOp());
  return success();
}
