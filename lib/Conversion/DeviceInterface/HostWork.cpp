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

using namespace mlir;
using namespace vashista;

bool vashista::touchesMemory(Operation *op) {
  return isa<memref::LoadOp, memref::StoreOp, memref::CopyOp, memref::AllocaOp,
             vector::LoadOp, vector::StoreOp, vector::TransferReadOp,
             vector::TransferWriteOp, linalg::LinalgOp>(op);
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
  bool launches = false, touches = false, needsRun = false;
  op->walk([&](Operation *inner) {
    launches |= isa<gpu::LaunchFuncOp>(inner);
    touches |= touchesMemory(inner) && !isOfLoop(inner);
    needsRun |= needs(run, inner) || needs(scratch, inner);
  });
  return !launches && (touches || needsRun);
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
      if (isAlone(op)) {
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
    if (isa<memref::AllocaOp>(op) || (isPure(&op) && needs(scratch, &op))) {
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
