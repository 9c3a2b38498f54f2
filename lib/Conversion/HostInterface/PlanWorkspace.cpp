//===- PlanWorkspace.cpp - vashista-plan-workspace ------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Workspace.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAPLANWORKSPACEPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

/// A line of the cache: temporaries of different threads share none.
constexpr int64_t kAlignment = 64;

class Planner {
public:
  explicit Planner(func::FuncOp function)
      : function(function), b(function.getLoc(), function.getContext()) {}

  LogicalResult plan(bool ofTasks);

private:
  LogicalResult place(memref::AllocOp alloc);
  FailureOr<Value> hoist(Value value);
  /// Operands of `isPure` work, on indices.
  Value add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); }
  Value mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(x, y); }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }

  func::FuncOp function;
  ImplicitLocOpBuilder b;
  IRMapping hoisted;
  /// Bytes so far, at the start of the function.
  Value total;
  /// Where sizes are computed; the workspace replaces it.
  memref::AllocOp workspace;
};

} // namespace

/// Recomputes a size at the start of the function.
FailureOr<Value> Planner::hoist(Value value) {
  if (Value known = hoisted.lookupOrNull(value))
    return known;
  Operation *op = value.getDefiningOp();
  if (!op) {
    auto argument = cast<BlockArgument>(value);
    if (argument.getOwner() == &function.getBody().front())
      return value;
    return failure();
  }
  // The size of a buffer, placed already, is the operand that it is made with.
  if (auto dim = dyn_cast<memref::DimOp>(op)) {
    auto view = dim.getSource().getDefiningOp<memref::ViewOp>();
    std::optional<int64_t> position = dim.getConstantIndex();
    if (view && position && view.getType().isDynamicDim(*position))
      return hoist(
          view.getSizes()[view.getType().getDynamicDimIndex(*position)]);
  }
  if (!isMemoryEffectFree(op) || op->getNumRegions() != 0)
    return failure();
  for (Value operand : op->getOperands()) {
    FailureOr<Value> moved = hoist(operand);
    if (failed(moved))
      return failure();
    hoisted.map(operand, *moved);
  }
  b.clone(*op, hoisted);
  return hoisted.lookup(value);
}

/// The buffer must not outlive the iteration of a loop that makes it.
static bool leavesItsBlock(memref::AllocOp alloc) {
  SmallVector<Value> aliases = {alloc.getResult()};
  while (!aliases.empty()) {
    Value alias = aliases.pop_back_val();
    for (Operation *user : alias.getUsers()) {
      if (user->hasTrait<OpTrait::IsTerminator>() &&
          user->getBlock() == alloc->getBlock())
        return true;
      for (Value result : user->getResults())
        if (isa<BaseMemRefType>(result.getType()))
          aliases.push_back(result);
    }
  }
  return false;
}

LogicalResult Planner::place(memref::AllocOp alloc) {
  auto refuse = [&](const Twine &expected) {
    return alloc.emitError("expected ")
           << expected << " to place this buffer in the workspace";
  };
  MemRefType type = alloc.getType();
  if (!type.getLayout().isIdentity() || !type.getElementType().isIntOrFloat())
    return refuse("a row-major buffer of numbers");
  if (leavesItsBlock(alloc))
    return refuse("a buffer that does not leave its block");

  // Its size, at the start of the function.
  b.setLoc(alloc.getLoc());
  b.setInsertionPoint(workspace);
  int64_t bytesPerElement = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  Value bytes = index(bytesPerElement);
  auto sizes = alloc.getDynamicSizes().begin();
  for (int64_t size : type.getShape()) {
    if (!ShapedType::isDynamic(size)) {
      bytes = mul(bytes, index(size));
      continue;
    }
    FailureOr<Value> known = hoist(*sizes++);
    if (failed(known))
      return refuse("a size that follows from those of the arguments");
    bytes = mul(bytes, *known);
  }
  Value mask = index(-kAlignment);
  bytes =
      b.createOrFold<arith::AndIOp>(add(bytes, index(kAlignment - 1)), mask);

  // Room for each iteration of the parallel loops around it, which run at once.
  Value begin = total;
  SmallVector<scf::ForallOp> loops;
  for (Operation *op = alloc->getParentOp(); op != function;
       op = op->getParentOp())
    if (auto forall = dyn_cast<scf::ForallOp>(op))
      loops.push_back(forall);
  Value room = bytes;
  Value offset = begin;
  if (!loops.empty()) {
    // Within the innermost loop: the number of the iteration, outermost first.
    SmallVector<std::pair<Value, Value>> extents; // (induction, extent)
    for (scf::ForallOp forall : llvm::reverse(loops)) {
      if (!forall.isNormalized())
        return refuse("parallel loops from 0 in steps of 1");
      for (auto [bound, induction] :
           llvm::zip(forall.getMixedUpperBound(), forall.getInductionVars())) {
        Value extent;
        if (auto constant = getConstantIntValue(bound)) {
          extent = index(*constant);
        } else {
          FailureOr<Value> known = hoist(cast<Value>(bound));
          if (failed(known))
            return refuse("a parallel loop whose extent follows from the "
                          "arguments");
          extent = *known;
        }
        extents.push_back({induction, extent});
        room = mul(room, extent);
      }
    }
    total = add(total, room);
    b.setInsertionPoint(alloc);
    Value number = index(0);
    for (auto [induction, extent] : extents)
      number = add(mul(number, extent), induction);
    offset = add(begin, mul(number, bytes));
  } else {
    total = add(total, room);
    b.setInsertionPoint(alloc);
  }

  Value view = memref::ViewOp::create(b, type, workspace, offset,
                                      alloc.getDynamicSizes());
  view.getDefiningOp()->setAttr(kIsApart, b.getUnitAttr());
  alloc.replaceAllUsesWith(view);
  alloc.erase();
  return success();
}

LogicalResult Planner::plan(bool ofTasks) {
  SmallVector<memref::AllocOp> allocs;
  function.walk([&](memref::AllocOp alloc) {
    if (!ofTasks || alloc->getParentOfType<scf::ForallOp>())
      allocs.push_back(alloc);
  });
  if (allocs.empty())
    return success();
  if (!llvm::hasSingleElement(function.getBody()) ||
      (!ofTasks && function.getNumResults() != 0))
    return function.emitError("expected one block and no results to plan the "
                              "workspace of a function");

  Block &body = function.getBody().front();
  b.setInsertionPointToStart(&body);
  total = index(0);
  auto workspaceType =
      MemRefType::get({ShapedType::kDynamic}, b.getIntegerType(8));
  workspace = memref::AllocOp::create(b, workspaceType, ValueRange{total},
                                      b.getI64IntegerAttr(kAlignment));
  for (memref::AllocOp alloc : allocs)
    if (failed(place(alloc)))
      return failure();
  b.setLoc(function.getLoc());
  b.setInsertionPoint(workspace);
  if (ofTasks) {
    workspace.getDynamicSizesMutable().assign(total);
    return success();
  }
  // Null is what a host without memory returns, so ask for something.
  workspace.getDynamicSizesMutable().assign(add(total, index(kAlignment)));

  // Only with memory does anything happen.
  b.setInsertionPointAfter(workspace);
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, workspace);
  Value hasMemory =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ne, address, index(0));
  auto guarded = scf::IfOp::create(b, hasMemory, /*withElseRegion=*/false);
  Block *inner = guarded.thenBlock();
  inner->getOperations().splice(inner->begin(), body.getOperations(),
                                std::next(guarded->getIterator()),
                                body.getTerminator()->getIterator());
  b.setInsertionPoint(inner->getTerminator());
  memref::DeallocOp::create(b, workspace);
  return success();
}

namespace {

struct PlanWorkspacePass
    : public vashista::impl::VashistaPlanWorkspacePassBase<PlanWorkspacePass> {
  using Base::Base;

  void runOnOperation() override {
    if (!getOperation().isExternal() &&
        failed(Planner(getOperation()).plan(tasks)))
      signalPassFailure();
  }
};

} // namespace
