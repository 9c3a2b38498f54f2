//===- FuseLaunches.cpp - vashista-fuse-launches --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../HostInterface/Workspace.h"
#include "KernelArguments.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAFUSELAUNCHESPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

/// Blocks at most of a kernel that another one takes up: more would have a
/// share of the device for long enough to be worth a launch.
constexpr int64_t kMostBlocks = 8;

/// Bytes of a buffer that a launch is given.
struct Bytes {
  Value buffer;
  // Of it, where that is known; otherwise any.
  std::optional<int64_t> begin, end;

  /// Whether the buffer is one of its own: an argument of a function, none of
  /// which overlap, memory that is made, or a part of a workspace.
  bool isOwn() const {
    if (auto argument = dyn_cast<BlockArgument>(buffer))
      return argument.getOwner()->isEntryBlock() &&
             isa<FunctionOpInterface>(argument.getOwner()->getParentOp());
    Operation *maker = buffer.getDefiningOp();
    return isa<memref::AllocOp>(maker) || maker->hasAttr(kIsApart);
  }
  bool overlaps(const Bytes &other) const {
    if (buffer != other.buffer)
      return !isOwn() || !other.isOwn();
    return !begin || !other.begin ||
           (*begin < *other.end && *other.begin < *end);
  }
};

/// A launch of a kernel that nobody else launches, in rows of threads.
struct Launch {
  gpu::LaunchFuncOp op;
  gpu::GPUFuncOp kernel;
  std::optional<int64_t> blocks; // where that is known
  int64_t threads;
};

} // namespace

/// What a pointer that a kernel is given points to, or more.
static Bytes findBytes(Value pointer) {
  Bytes bytes{pointer, {}, {}};
  while (Operation *op = bytes.buffer.getDefiningOp()) {
    if (auto metadata = dyn_cast<memref::ExtractStridedMetadataOp>(op)) {
      bytes = {metadata.getSource(), {}, {}};
    } else if (op->hasAttr(kIsApart)) {
      break;
    } else if (auto view = dyn_cast<memref::ViewOp>(op)) {
      // Of a workspace, where it lies.
      bytes = {view.getSource(), {}, {}};
      std::optional<int64_t> shift = getConstantIntValue(view.getByteShift());
      MemRefType type = view.getType();
      if (!shift || !type.hasStaticShape() ||
          !type.getElementType().isIntOrFloat())
        continue;
      int64_t size = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
      bytes.begin = shift;
      bytes.end = *shift + type.getNumElements() * size;
    } else if (auto view = dyn_cast<ViewLikeOpInterface>(op)) {
      bytes = {view.getViewSource(), {}, {}};
    } else {
      break;
    }
  }
  return bytes;
}

/// Whether kernels may run in any order: none writes what the other one uses.
static bool areIndependent(Launch one, Launch other) {
  // What else points to memory points anywhere.
  auto isKnown = [](Value operand) {
    return operand.getType().isIntOrIndexOrFloat() ||
           isa<MemRefType>(operand.getType());
  };
  if (!llvm::all_of(one.op.getKernelOperands(), isKnown) ||
      !llvm::all_of(other.op.getKernelOperands(), isKnown))
    return false;
  auto isRead = [](Launch launch, unsigned argument) {
    return launch.kernel.getArgAttr(argument, "llvm.readonly") != nullptr;
  };
  for (auto [i, x] : llvm::enumerate(one.op.getKernelOperands()))
    for (auto [j, y] : llvm::enumerate(other.op.getKernelOperands())) {
      if (!isa<MemRefType>(x.getType()) || !isa<MemRefType>(y.getType()) ||
          (isRead(one, i) && isRead(other, j)))
        continue;
      if (findBytes(x).overlaps(findBytes(y)))
        return false;
    }
  return true;
}

static std::optional<Launch> getLaunch(gpu::LaunchFuncOp op,
                                       const SymbolUserMap &users) {
  auto kernel = SymbolTable::lookupNearestSymbolFrom<gpu::GPUFuncOp>(
      op, op.getKernelAttr());
  if (!kernel || !llvm::hasSingleElement(users.getUsers(kernel)) ||
      op.getAsyncToken() || op.getAsyncObject() ||
      !op.getAsyncDependencies().empty())
    return std::nullopt;
  Launch launch{op, kernel, 1, 1};
  gpu::KernelDim3 grid = op.getGridSizeOperandValues(),
                  block = op.getBlockSizeOperandValues();
  for (Value size : {grid.x, grid.y, grid.z}) {
    std::optional<int64_t> known = getConstantIntValue(size);
    if (launch.blocks && known)
      *launch.blocks *= *known;
    else
      launch.blocks.reset();
  }
  std::optional<int64_t> threads = getConstantIntValue(block.x);
  if (!threads || !isConstantIntValue(block.y, 1) ||
      !isConstantIntValue(block.z, 1))
    return std::nullopt;
  launch.threads = *threads;
  return launch;
}

/// Whether threads of a kernel know no other ones and no memory but what they
/// are given, and only where they are in a row of blocks.
static bool areIndependentThreads(Launch launch) {
  if (!llvm::hasSingleElement(launch.kernel.getBody()) ||
      !isConstantIntValue(launch.op.getGridSizeY(), 1) ||
      !isConstantIntValue(launch.op.getGridSizeZ(), 1) ||
      launch.kernel.getNumWorkgroupAttributions() ||
      launch.kernel.getNumPrivateAttributions() ||
      launch.op.getDynamicSharedMemorySize())
    return false;
  auto isOfOneThread = [](Operation *op) {
    if (isa<memref::GetGlobalOp>(op))
      return false;
    return isa<gpu::BlockIdOp, gpu::ThreadIdOp, gpu::ReturnOp, gpu::GPUFuncOp>(
               op) ||
           isa<arith::ArithDialect, math::MathDialect, memref::MemRefDialect,
               scf::SCFDialect, vector::VectorDialect>(op->getDialect());
  };
  WalkResult result = launch.kernel.walk([&](Operation *op) {
    return isOfOneThread(op) ? WalkResult::advance() : WalkResult::interrupt();
  });
  return !result.wasInterrupted();
}

/// Whether a kernel has as many blocks as another one, which are few.
static bool hasBlocksFor(Launch into, Launch from) {
  if (from.blocks)
    return into.blocks && *from.blocks <= kMostBlocks &&
           *from.blocks <= *into.blocks;
  // So many threads for each row, and no more than a block has: there are as
  // many blocks as rows, or more.
  auto blocks = from.op.getGridSizeX().getDefiningOp<arith::CeilDivUIOp>();
  std::optional<int64_t> ofBlock;
  if (!blocks || !(ofBlock = getConstantIntValue(blocks.getRhs())))
    return false;
  Value rows = blocks.getLhs();
  if (auto threads = rows.getDefiningOp<arith::MulIOp>()) {
    std::optional<int64_t> ofRow = getConstantIntValue(threads.getRhs());
    if (!ofRow || *ofRow < 0 || *ofRow > *ofBlock)
      return false;
    rows = threads.getLhs();
  }
  gpu::KernelDim3 grid = into.op.getGridSizeOperandValues();
  unsigned numRows = 0;
  for (Value size : {grid.x, grid.y, grid.z}) {
    std::optional<int64_t> known = getConstantIntValue(size);
    if (size == rows)
      ++numRows;
    else if (!known || *known < 1)
      return false;
  }
  return numRows > 0;
}

/// Has the first blocks of a kernel do what all of another's do, first.
static void takeUp(Launch into, Launch from) {
  gpu::GPUFuncOp kernel = into.kernel;
  gpu::LaunchFuncOp launch = into.op;
  Location loc = from.op.getLoc();
  // What the other one is given is known only where it was.
  launch->moveBefore(from.op);
  launch.getKernelOperandsMutable().append(from.op.getKernelOperands());
  IRMapping mapping;
  for (auto [i, argument] : llvm::enumerate(from.kernel.getArguments())) {
    unsigned at = kernel.getNumArguments();
    (void)kernel.insertArgument(at, argument.getType(),
                                from.kernel.getArgAttrDict(i), loc);
    mapping.map(argument, kernel.getArgument(at));
  }
  Value numBlocks;
  if (!from.blocks) {
    Value size = from.op.getGridSizeX();
    launch.getKernelOperandsMutable().append(size);
    unsigned at = kernel.getNumArguments();
    (void)kernel.insertArgument(at, size.getType(), DictionaryAttr(), loc);
    numBlocks = kernel.getArgument(at);
  }

  auto b = ImplicitLocOpBuilder::atBlockBegin(loc, &kernel.getBody().front());
  // Of all blocks, those along x first.
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::z);
  for (gpu::Dimension dimension : {gpu::Dimension::y, gpu::Dimension::x}) {
    Value size = gpu::GridDimOp::create(b, dimension);
    block = arith::AddIOp::create(b, arith::MulIOp::create(b, block, size),
                                  gpu::BlockIdOp::create(b, dimension));
  }
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, value);
  };
  auto isBelow = [&](Value x, Value end) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, end);
  };
  Value blocks = from.blocks ? index(*from.blocks) : numBlocks;
  Value isThere = arith::AndIOp::create(b, isBelow(block, blocks),
                                        isBelow(thread, index(from.threads)));
  auto guarded = scf::IfOp::create(b, isThere, /*withElseRegion=*/false);
  b.setInsertionPoint(guarded.thenYield());
  Value zero = arith::ConstantIndexOp::create(b, 0);
  for (Operation &op : from.kernel.getBody().front().without_terminator())
    b.clone(op, mapping);
  auto replace = [&](auto id, Value x) {
    id.replaceAllUsesWith(id.getDimension() == gpu::Dimension::x ? x : zero);
    id.erase();
  };
  guarded.walk([&](Operation *op) {
    if (auto id = dyn_cast<gpu::BlockIdOp>(op))
      replace(id, block);
    else if (auto id = dyn_cast<gpu::ThreadIdOp>(op))
      replace(id, thread);
  });
  from.op.erase();
  from.kernel.erase();
}

/// Whether what lies between may as well come before a launch.
static bool canPass(Operation *op) {
  if (op->getNumRegions())
    return false;
  if (isMemoryEffectFree(op))
    return true;
  std::optional<SmallVector<MemoryEffects::EffectInstance>> effects =
      getEffectsRecursively(op);
  return effects &&
         llvm::all_of(*effects,
                      [](const MemoryEffects::EffectInstance &effect) {
                        return isa<MemoryEffects::Allocate>(effect.getEffect());
                      });
}

namespace {

struct FuseLaunchesPass
    : public vashista::impl::VashistaFuseLaunchesPassBase<FuseLaunchesPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<gpu::LaunchFuncOp> launches;
    getOperation().walk([&](gpu::LaunchFuncOp op) { launches.push_back(op); });
    if (launches.empty())
      return;
    // Who uses a kernel stays: what is gone are launches, with their own.
    SymbolTableCollection symbols;
    SymbolUserMap users(symbols, getOperation());
    for (gpu::LaunchFuncOp op : launches)
      fuse(op, users);
  }

private:
  /// With the launch before it.
  void fuse(gpu::LaunchFuncOp op, const SymbolUserMap &users) {
    Operation *before = op->getPrevNode();
    while (before && !isa<gpu::LaunchFuncOp>(before) && canPass(before))
      before = before->getPrevNode();
    auto other = dyn_cast_or_null<gpu::LaunchFuncOp>(before);
    if (!other)
      return;
    std::optional<Launch> from = getLaunch(op, users),
                          into = getLaunch(other, users);
    if (!from || !into || !areIndependentThreads(*from) ||
        from->kernel->getParentOp() != into->kernel->getParentOp() ||
        !hasBlocksFor(*into, *from) || from->threads > into->threads ||
        !areIndependent(*into, *from))
      return;
    takeUp(*into, *from);
    ++numFused;
  }
};

} // namespace
