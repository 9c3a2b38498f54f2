//===- OutlineKernels.cpp - vashista-outline-kernels ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../HostInterface/HoistScratch.h"
#include "HostWork.h"
#include "KernelArguments.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/RegionUtils.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAOUTLINEKERNELSPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

/// Threads of a block where an iteration is a few operations.
constexpr int64_t kThreads = 128;

class Outliner {
public:
  explicit Outliner(ModuleOp module)
      : module(module), b(module.getLoc(), module.getContext()) {}

  LogicalResult outline(LoopLikeOpInterface loop);

private:
  LogicalResult takeGlobals(gpu::GPUFuncOp kernel);
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); }
  Value mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(x, y); }
  Value ceilDiv(Value x, Value y) {
    return b.createOrFold<arith::CeilDivUIOp>(x, y);
  }

  ModuleOp module;
  ImplicitLocOpBuilder b;
};

} // namespace

/// What the host has of them no kernel can read.
LogicalResult Outliner::takeGlobals(gpu::GPUFuncOp kernel) {
  auto kernels = kernel->getParentOfType<gpu::GPUModuleOp>();
  WalkResult result = kernel.walk([&](memref::GetGlobalOp get) {
    auto global = module.lookupSymbol<memref::GlobalOp>(get.getName());
    if (!global.getConstant()) {
      get.emitOpError("expected a constant: a kernel has a copy of its own");
      return WalkResult::interrupt();
    }
    if (!kernels.lookupSymbol(global.getSymName()))
      OpBuilder::atBlockBegin(kernels.getBody()).clone(*global);
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

LogicalResult Outliner::outline(LoopLikeOpInterface loop) {
  if (loop->getNumResults() != 0)
    return loop.emitOpError("expected no results to become a kernel; "
                            "bufferize, and make loops of reductions first");
  b.setLoc(loop.getLoc());
  Region &region = *loop.getLoopRegions().front();
  std::optional<SmallVector<Value>> inductions = loop.getLoopInductionVars();
  auto lowers = loop.getLoopLowerBounds(), uppers = loop.getLoopUpperBounds(),
       steps = loop.getLoopSteps();

  // The extents, and with them the number of threads.
  b.setInsertionPoint(loop);
  auto toValue = [&](OpFoldResult number) -> Value {
    if (auto constant = getConstantIntValue(number))
      return index(*constant);
    return cast<Value>(number);
  };
  SmallVector<Value> lower, step, extents;
  Value total = index(1);
  for (auto [from, to, by] : llvm::zip_equal(*lowers, *uppers, *steps)) {
    lower.push_back(toValue(from));
    step.push_back(toValue(by));
    Value extent = b.createOrFold<arith::SubIOp>(toValue(to), lower.back());
    extents.push_back(ceilDiv(extent, step.back()));
    total = mul(total, extents.back());
  }
  int64_t threads = isa<scf::ParallelOp>(loop) ? kThreads : 1;

  // Constants are cheaper to make than to carry.
  SetVector<Value> used;
  getUsedValuesDefinedAbove(region, used);
  for (ArrayRef<Value> bounds : {ArrayRef<Value>(lower), ArrayRef<Value>(step),
                                 ArrayRef<Value>(extents)})
    used.insert(bounds.begin(), bounds.end());
  SmallVector<Value> captured, constants, operands;
  for (Value value : used) {
    if (matchPattern(value, m_Constant()) ||
        value.getDefiningOp<memref::GetGlobalOp>()) {
      constants.push_back(value);
      continue;
    }
    if (!isKernelArgument(value.getType()))
      return loop.emitOpError("cannot give a kernel a value of type ")
             << value.getType();
    captured.push_back(value);
    flattenArgument(b, value, operands);
  }

  // The kernel.
  auto parent = loop->getParentOfType<func::FuncOp>();
  gpu::GPUFuncOp kernel = createKernel(
      b, module, parent.getName(), ValueRange(operands).getTypes(), threads);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(&kernel.getBody().front());
    IRMapping mapping;
    for (Value constant : constants)
      mapping.map(constant, b.clone(*constant.getDefiningOp())->getResult(0));
    ArrayRef<BlockArgument> arguments = kernel.getArguments();
    for (Value value : captured)
      mapping.map(value, restoreArgument(b, value.getType(), arguments));
    Value number = gpu::BlockIdOp::create(b, gpu::Dimension::x);
    if (threads > 1)
      number = add(mul(number, index(threads)),
                   gpu::ThreadIdOp::create(b, gpu::Dimension::x));
    Value all = index(1);
    for (Value extent : extents)
      all = mul(all, mapping.lookup(extent));
    Value isThere =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, number, all);
    auto guarded = scf::IfOp::create(b, isThere, /*withElseRegion=*/false);
    gpu::ReturnOp::create(b);

    // The last dimension varies fastest.
    b.setInsertionPoint(guarded.thenYield());
    for (unsigned d = extents.size(); d-- > 0;) {
      Value at = number;
      if (d > 0) {
        Value extent = mapping.lookup(extents[d]);
        at = arith::RemUIOp::create(b, number, extent);
        number = arith::DivUIOp::create(b, number, extent);
      }
      at = add(mul(at, mapping.lookup(step[d])), mapping.lookup(lower[d]));
      mapping.map((*inductions)[d], at);
    }
    for (Operation &op : region.front().without_terminator())
      b.clone(op, mapping);
    if (failed(takeGlobals(kernel)))
      return failure();
  }

  Value one = index(1), blocks = ceilDiv(total, index(threads));
  gpu::LaunchFuncOp::create(b, kernel, gpu::KernelDim3{blocks, one, one},
                            gpu::KernelDim3{index(threads), one, one},
                            /*dynamicSharedMemorySize=*/Value(), operands);
  loop->erase();
  return success();
}

/// The host sees no memory of the device.
static LogicalResult verifyHost(func::FuncOp function) {
  WalkResult result = function.walk([](Operation *op) {
    if (!touchesMemory(op))
      return WalkResult::advance();
    op->emitOpError("expected only parallel loops to touch memory, which the "
                    "host cannot");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

namespace {

struct OutlineKernelsPass
    : public vashista::impl::VashistaOutlineKernelsPassBase<
          OutlineKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    hoistScratch(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>())
      wrapHostWork(function);
    SmallVector<LoopLikeOpInterface> loops;
    // Only the outermost: a thread runs its own loops itself.
    for (auto function : getOperation().getOps<func::FuncOp>())
      function.walk<WalkOrder::PreOrder>([&](Operation *op) {
        if (!isa<scf::ForallOp, scf::ParallelOp>(op))
          return WalkResult::advance();
        loops.push_back(cast<LoopLikeOpInterface>(op));
        return WalkResult::skip();
      });
    Outliner outliner(getOperation());
    for (LoopLikeOpInterface loop : loops)
      if (failed(outliner.outline(loop)))
        return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(verifyHost(function)))
        return signalPassFailure();
  }
};

} // namespace
