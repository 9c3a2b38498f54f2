//===- AttendToGPU.cpp - Softmax attention on tensor cores ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendKernels.h"
#include "Kernels.h"
#include "Schedules.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace vashista;

static int64_t getDim(Value memref, unsigned position) {
  return cast<MemRefType>(memref.getType()).getDimSize(position);
}

bool vashista::hasRoomForHeads(int64_t warps, int64_t heads, int64_t valueDim) {
  constexpr int64_t kOthers = 1024;
  return warps * heads * valueDim * 4 + kOthers <= kSharedBytes;
}

int64_t vashista::getHeadsOfBlock(int64_t group, int64_t warps, int64_t blocks,
                                  int64_t keyDim, int64_t valueDim) {
  bool areNarrow = std::max(keyDim, valueDim) <= 128;
  bool hasRoom = warps * blocks <= kWarpsOfProducts &&
                 hasRoomForHeads(warps, kMostProducts * kHeads, valueDim);
  int64_t most = areNarrow && hasRoom ? kMostProducts * kHeads : kHeads;
  return llvm::divideCeil(group, llvm::divideCeil(group, most));
}

AttendLauncher::AttendLauncher(AttendOp op, WarpBuilder &b,
                               const ScheduleTarget &target, bool startsEmpty)
    : op(op), b(b), startsEmpty(startsEmpty), group(op.getGroupSize()),
      keyDim(getDim(op.getKCache(), 3)), valueDim(getDim(op.getVCache(), 3)),
      pageSize(getDim(op.getKCache(), op.getLayout() == Layout::hnd ? 2 : 1)),
      element(getElementTypeOrSelf(op.getKCache())),
      inTokens(op.getTokens() != nullptr), inPages(op.getPages() != nullptr),
      schedule(*op.getSchedule()),
      numHeads(getHeadsOfBlock(group, schedule.getWarps(), schedule.getBlocks(),
                               keyDim, valueDim)),
      headBlocks(llvm::divideCeil(group, numHeads)),
      products(llvm::divideCeil(numHeads, kHeads)), split(schedule.getSplit()),
      mostSplits(schedule.getSplits()),
      isAhead(hasRoomAhead(target, schedule.getWarps(), schedule.getStages(),
                           schedule.getBlocks(), keyDim, valueDim)) {}

SmallVector<Value> AttendLauncher::getRead() {
  SmallVector<Value> read = {op.getQuery(), op.getKCache(), op.getVCache(),
                             op.getPageTable(), op.getSeqLens()};
  Value list = inTokens ? op.getTokens() : op.getPages();
  Value count = inTokens ? op.getTokenCount() : op.getPageCount();
  for (Value optional : {Value(op.getRowToSeq()), list, count})
    if (optional)
      read.push_back(optional);
  if (condition)
    read.append({condition->measure, condition->o, condition->lse});
  return read;
}

AttendLauncher::Operands AttendLauncher::bind(ArrayRef<Value> values,
                                              bool hasPartials) {
  Given given(values);
  Operands in;
  for (Value *place : {&in.query, &in.keys, &in.values, &in.table, &in.lengths})
    *place = given.take();
  in.rowToSeq = given.take(op.getRowToSeq() != nullptr);
  in.list = given.take(inTokens || inPages);
  in.count = given.take(op.getTokenCount() || op.getPageCount());
  if (in.condition = condition; condition)
    for (Value *place :
         {&in.condition->measure, &in.condition->o, &in.condition->lse})
      *place = given.take();
  in.o = given.take();
  in.lse = given.take();
  if (condition)
    in.condition->flags = given.take();
  in.partials = given.take(hasPartials);
  in.exponents = given.take(hasPartials);
  in.numSplits = given.take(hasPartials);
  in.arrivals = given.take(hasPartials && host.arrivals);
  const bool arePicked = hasPartials && host.tails;
  for (Value *place :
       {&in.tails, &in.counts, &in.picked.tail, &in.picked.count})
    *place = given.take(arePicked);
  return in;
}

void AttendLauncher::allocateStates(Value numSplits, const Picked &all) {
  host.numSplits = numSplits;
  Value rows = b.dim(op.getQuery(), 0), heads = b.dim(op.getQuery(), 1);
  auto allocate = [&](Value heads, ArrayRef<int64_t> last,
                      Type element) -> Value {
    SmallVector<int64_t> shape(3, ShapedType::kDynamic);
    llvm::append_range(shape, last);
    return memref::AllocOp::create(b, MemRefType::get(shape, element),
                                   ValueRange{rows, heads, numSplits},
                                   b.getI64IntegerAttr(64));
  };
  host.partials = allocate(heads, valueDim, b.getF32Type());
  host.exponents = allocate(heads, 2, b.getF32Type());
  if (!all.tail)
    return;
  host.tails = allocate(heads, {}, b.getF32Type());
  host.counts = allocate(b.divU(heads, b.index(group)), {}, b.getI32Type());
  host.picked = all;
}

SmallVector<Value> AttendLauncher::getWritten() {
  SmallVector<Value> written(op.getOuts());
  for (Value value :
       {host.partials, host.exponents, host.numSplits, host.arrivals,
        host.tails, host.counts, host.picked.tail, host.picked.count})
    if (value)
      written.push_back(value);
  return written;
}

void AttendLauncher::launch() {
  // The grid does not depend on lengths: it has room for the longest.
  Value list = inTokens ? op.getTokens() : op.getPages();
  Value capacity = list ? b.dim(list, 2) : b.dim(op.getPageTable(), 1);
  if (!inTokens)
    capacity = b.mulI(capacity, b.index(pageSize));
  host.numSplits = b.createOrFold<arith::CeilDivUIOp>(capacity, b.index(split));
  if (mostSplits > 0)
    host.numSplits =
        b.createOrFold<arith::MinUIOp>(host.numSplits, b.index(mostSplits));
  bool isWhole = getConstantIntValue(host.numSplits) == 1;
  if (!isWhole)
    allocateStates(host.numSplits, /*all=*/{});
  // Of a later round, or of what was not certified, most rows have nothing.
  isShort = condition || (!startsEmpty && list);
  takesTurns = isShort && !isWhole;
  Value blocksOfHeads =
      b.mulI(b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2),
             b.index(headBlocks));
  if (takesTurns) {
    // Nobody has set a workspace to 0. It is a kernel of its own, which the one
    // before this takes up (vashista-fuse-launches).
    host.arrivals = memref::AllocOp::create(
        b, MemRefType::get({ShapedType::kDynamic}, b.getI32Type()),
        b.mulI(b.dim(op.getQuery(), 0), blocksOfHeads),
        b.getI64IntegerAttr(64));
    linalg::FillOp::create(b, b.i32(0), host.arrivals);
  }
  launchSplits(isWhole, blocksOfHeads);
  if (!isWhole && !takesTurns)
    launchMerge();
}

void AttendLauncher::launchSplits(bool isWhole, Value blocksOfHeads) {
  KernelShape shape;
  shape.name = "attend";
  shape.isShort = isShort;
  shape.readsWritten = host.arrivals != nullptr;
  shape.gridX = b.dim(op.getQuery(), 0);
  if (takesTurns)
    shape.gridX = b.createOrFold<arith::CeilDivUIOp>(
        shape.gridX, getRowsOfBlock(shape.gridX, host.numSplits));
  shape.gridY = blocksOfHeads;
  shape.gridZ = host.numSplits;
  warps = schedule.getWarps();
  shape.threads = warps * kWarp;
  shape.residentBlocks = schedule.getBlocks();
  SmallVector<Value> read = getRead(), written(op.getOuts());
  if (condition)
    written.push_back(condition->flags);
  if (!isWhole)
    llvm::append_range(
        written, ValueRange{host.partials, host.exponents, host.numSplits});
  if (host.arrivals)
    written.push_back(host.arrivals);
  auto shared = [&](int64_t size) {
    return b.sharedType({warps, numHeads, size}, b.getF32Type());
  };
  MemRefType outputs = isAhead ? getAheadType() : shared(valueDim);
  b.launch(shape, read, written, {outputs, shared(2)},
           [&](ArrayRef<Value> values, ArrayRef<Value> buffers) {
             its = bind(values, !isWhole);
             if (isAhead)
               bindAhead(buffers[0]);
             else
               sharedOutputs = buffers[0];
             sharedExponents = buffers[1];
             row = b.blockId(gpu::Dimension::x);
             Value heads = b.blockId(gpu::Dimension::y);
             splitNumber = b.blockId(gpu::Dimension::z);
             kvHead = b.divU(heads, b.index(headBlocks));
             firstHead = b.addI(
                 b.mulI(kvHead, b.index(group)),
                 b.mulI(b.remU(heads, b.index(headBlocks)), b.index(numHeads)));
             if (takesTurns)
               forEachRow([&] { emitSplit(); });
             else
               emitSplit();
           });
}

/// What alone has written a destination before the op, if that is a fill.
static linalg::FillOp findFill(AttendOp op, Value buffer) {
  // Others may know the memory of a view by another name.
  if (!isa<BlockArgument>(buffer) && !buffer.getDefiningOp<memref::AllocOp>())
    return nullptr;
  linalg::FillOp fill;
  for (Operation *user : buffer.getUsers()) {
    Operation *here = op->getBlock()->findAncestorOpInBlock(*user);
    if (here == op || (here && op->isBeforeInBlock(here)))
      continue;
    auto found = dyn_cast<linalg::FillOp>(user);
    if (fill || !found || here != user)
      return nullptr;
    fill = found;
  }
  return fill;
}

/// Drops the fills that make the destinations an empty state, which the kernels
/// then write themselves.
static bool takeEmptyState(AttendOp op, PatternRewriter &rewriter) {
  constexpr float values[] = {0.0f, -INFINITY};
  std::array<linalg::FillOp, 2> fills;
  for (int64_t i = 0; i < 2; ++i) {
    fills[i] = findFill(op, op.getOuts()[i]);
    APFloat value(0.0f);
    if (!fills[i] ||
        !matchPattern(fills[i].getInputs()[0], m_ConstantFloat(&value)) ||
        !value.isExactlyValue(values[i]))
      return false;
  }
  for (linalg::FillOp fill : fills)
    rewriter.eraseOp(fill);
  return true;
}

/// What of an attend or fallback the kernels cannot do, if anything.
template <typename OpTy> static const char *findObstacleOf(OpTy op) {
  if (op->template getParentOfType<LoopLikeOpInterface>())
    return "expected no loop around";
  if (op.getSolver().getKind() != SolverKind::softmax)
    return "expected softmax attention";
  auto getType = [](Value value) { return cast<ShapedType>(value.getType()); };
  ShapedType query = getType(op.getQuery()), keys = getType(op.getKCache()),
             values = getType(op.getVCache());
  Type element = keys.getElementType();
  if ((!element.isBF16() && !element.isF16()) ||
      values.getElementType() != element || query.getElementType() != element)
    return "expected queries, keys and values of bf16 or f16";
  int64_t keyDim = keys.getDimSize(3), valueDim = values.getDimSize(3),
          heads = query.getDimSize(1),
          kvHeads = keys.getDimSize(op.getLayout() == Layout::hnd ? 1 : 2);
  for (int64_t size : {keyDim, valueDim, heads, kvHeads})
    if (ShapedType::isDynamic(size))
      return "expected static head sizes";
  constexpr int64_t kWarps = 4;
  constexpr int64_t kChannels = 16;
  if (keyDim % kChannels || valueDim % kChannels ||
      !hasRoomForHeads(kWarps, std::min(heads / kvHeads, kHeads), valueDim))
    return "expected head sizes that are multiples of an mma's";
  return nullptr;
}

const char *vashista::findObstacle(AttendOp op) {
  return op.getBegin() ? "expected a whole set" : findObstacleOf(op);
}

const char *vashista::findObstacle(FallbackOp op) { return findObstacleOf(op); }

LogicalResult vashista::launchAttend(AttendOp op, const ScheduleTarget &target,
                                     PatternRewriter &rewriter) {
  if (!op.hasPureBufferSemantics())
    return rewriter.notifyMatchFailure(op, "expected buffers");
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  AttendLauncher(op, b, target, takeEmptyState(op, rewriter)).launch();
  rewriter.eraseOp(op);
  return success();
}

LogicalResult vashista::launchFallback(FallbackOp op,
                                       const ScheduleTarget &target,
                                       PatternRewriter &rewriter) {
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  auto allocate = [&](Value like, Type type) -> Value {
    auto shaped = cast<RankedTensorType>(type);
    SmallVector<Value> sizes;
    for (int64_t i = 0; i < shaped.getRank(); ++i)
      if (shaped.isDynamicDim(i))
        sizes.push_back(b.dim(like, i));
    return memref::AllocOp::create(
        b, MemRefType::get(shaped.getShape(), shaped.getElementType()), sizes,
        b.getI64IntegerAttr(64));
  };
  AttendLauncher::Condition condition;
  condition.measure = b.readOnly(op.getMeasure());
  condition.o = b.readOnly(op.getO());
  condition.lse = b.readOnly(op.getLse());
  condition.limit = op.getLimit().convertToFloat();
  SmallVector<Value> made;
  made.push_back(allocate(condition.o, op->getResult(0).getType()));
  made.push_back(allocate(condition.lse, op->getResult(1).getType()));
  Value query = b.readOnly(op.getQuery()), keys = b.readOnly(op.getKCache());
  auto flags = cast<RankedTensorType>(op->getResult(2).getType());
  SmallVector<Value> sizes;
  if (flags.isDynamicDim(0))
    sizes.push_back(b.dim(query, 0));
  if (flags.isDynamicDim(1))
    sizes.push_back(b.dim(keys, op.getLayout() == Layout::hnd ? 1 : 2));
  condition.flags = memref::AllocOp::create(
      b, MemRefType::get(flags.getShape(), flags.getElementType()), sizes,
      b.getI64IntegerAttr(64));
  made.push_back(condition.flags);
  auto attend = AttendOp::create(
      b, TypeRange(), query, keys, b.readOnly(op.getVCache()),
      b.readOnly(op.getPageTable()), b.readOnly(op.getSeqLens()),
      b.readOnly(op.getRowToSeq()), /*pages=*/Value(), /*page_count=*/Value(),
      /*tokens=*/Value(), /*token_count=*/Value(), /*begin=*/Value(),
      /*end=*/Value(), ValueRange(made).take_front(2), op.getScaleAttr(),
      op.getSoftCapAttr(), op.getSolverAttr(), op.getLayoutAttr(),
      op.getScheduleAttr());
  AttendLauncher launcher(attend, b, target, /*startsEmpty=*/true);
  launcher.condition = condition;
  launcher.launch();
  rewriter.eraseOp(attend);
  rewriter.replaceOp(op, toTensors(b, made, op->getResultTypes()));
  return success();
}
