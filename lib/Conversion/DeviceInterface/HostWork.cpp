//===- HostWork.cpp - What of a function is in no parallel loop -----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostWork.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace vashista;

bool vashista::touchesMemory(Operation *op) {
  if (isa<memref::AllocaOp, linalg::LinalgOp>(op))
    return true;
  auto effects = dyn_cast<MemoryEffectOpInterface>(op);
  if (!effects || isa<gpu::LaunchFuncOp>(op))
    return false;
  SmallVector<MemoryEffects::EffectInstance> all;
  effects.getEffects(all);
  return llvm::any_of(all, [](const MemoryEffects::EffectInstance &effect) {
    return isa<MemoryEffects::Read, MemoryEffects::Write>(effect.getEffect()) &&
           effect.getValue() &&
           isa<BaseMemRefType>(effect.getValue().getType());
  });
}

namespace {

/// As many operations of a block that follow each other as there are, with all
/// that needs them, and scratch and views of it that nobody else uses.
class HostWork {
public:
  void wrap(Block &block);

private:
  bool needs(const SetVector<Operation *> &others, Operation *op) {
    return llvm::any_of(op->getOperands(), [&](Value value) {
      return others.contains(value.getDefiningOp());
    });
  }
  bool isOfHost(Operation *op);
  bool isOfRun(Operation *op);
  void wrapRun(Block &block);

  SetVector<Operation *> run, scratch;
};

} // namespace

bool HostWork::isOfRun(Operation *op) {
  auto isOfLoop = [&](Operation *inner) {
    while (inner != op && !isa<scf::ForallOp, scf::ParallelOp>(inner))
      inner = inner->getParentOp();
    return isa<scf::ForallOp, scf::ParallelOp>(inner);
  };
  // A loop of a thread's own scratch is the thread's; one that wants to know
  // what is in memory is not to become one thread's for that.
  if (isa<scf::ForallOp, scf::ParallelOp>(op)) {
    bool isOfThread = false;
    op->walk([&](Operation *inner) { isOfThread |= needs(scratch, inner); });
    return isOfThread;
  }
  bool launches = false, touches = false, needsRun = false;
  op->walk([&](Operation *inner) {
    launches |= isa<gpu::LaunchFuncOp>(inner);
    touches |= touchesMemory(inner) && !isOfLoop(inner);
    needsRun |= needs(run, inner) || needs(scratch, inner);
  });
  return !launches && (touches || needsRun);
}

/// No kernel is given a vector: what the host makes of one, a thread makes.
static void takeVectors(scf::ForallOp loop) {
  for (bool isDone = false; !isDone;) {
    isDone = true;
    SetVector<Value> used;
    getUsedValuesDefinedAbove(loop.getRegion(), used);
    for (Value value : used) {
      Operation *op = value.getDefiningOp();
      if (!isa<VectorType>(value.getType()) || !op || !isPure(op))
        continue;
      OpBuilder b = OpBuilder::atBlockBegin(loop.getBody());
      Operation *own = b.clone(*op);
      for (auto [old, taken] :
           llvm::zip_equal(op->getResults(), own->getResults()))
        replaceAllUsesInRegionWith(old, taken, loop.getRegion());
      isDone = false;
    }
  }
}

void HostWork::wrapRun(Block &block) {
  auto isAlone = [&](Operation *op) {
    return llvm::all_of(op->getUsers(), [&](Operation *user) {
      return run.contains(block.findAncestorOpInBlock(*user)) ||
             run.contains(user);
    });
  };
  // What the host wants to know of memory nobody can tell it.
  if (!run.empty() && llvm::all_of(run, isAlone)) {
    SmallVector<Operation *> all(run.getArrayRef());
    for (Operation *op : llvm::reverse(scratch.getArrayRef()))
      if (!op->use_empty() && isAlone(op)) {
        run.insert(op);
        all.insert(all.begin(), op);
      }
    scratch.remove_if([&](Operation *op) { return run.contains(op); });
    OpBuilder b(&block, std::next(all.back()->getIterator()));
    auto loop = scf::ForallOp::create(
        b, all.back()->getLoc(), ArrayRef<OpFoldResult>{b.getIndexAttr(1)},
        /*outputs=*/ValueRange(), /*mapping=*/std::nullopt);
    for (Operation *op : all)
      op->moveBefore(loop.getBody()->getTerminator());
    takeVectors(loop);
  }
  run.clear();
}

/// Whether the host knows if it is to launch what is in there.
bool HostWork::isOfHost(Operation *op) {
  if (!isa<scf::IfOp>(op) || needs(run, op) || needs(scratch, op))
    return false;
  return op
      ->walk([](Operation *inner) {
        return isa<gpu::LaunchFuncOp, scf::ForallOp, scf::ParallelOp>(inner)
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

void HostWork::wrap(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block.without_terminator()))
    if (isa<memref::AllocaOp>(op) ||
        (isPure(&op) && needs(scratch, &op) && !needs(run, &op))) {
      scratch.insert(&op);
    } else if (isOfHost(&op)) {
      wrapRun(block);
      for (Region &region : op.getRegions())
        if (!region.empty())
          wrap(region.front());
    } else if (isOfRun(&op)) {
      run.insert(&op);
    } else if (!isMemoryEffectFree(&op) && !isa<memref::AllocOp>(op)) {
      wrapRun(block);
    }
  wrapRun(block);
}

void vashista::wrapHostWork(func::FuncOp function) {
  if (llvm::hasSingleElement(function.getBody()))
    HostWork().wrap(function.front());
}
