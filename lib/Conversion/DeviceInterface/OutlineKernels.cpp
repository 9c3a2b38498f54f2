//===- OutlineKernels.cpp - vashista-outline-kernels ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../HostInterface/HoistScratch.h"
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
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); }
  Value mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(x, y); }
  Value ceilDiv(Value x, Value y) {
    return b.createOrFold<arith::CeilDivUIOp>(x, y);
  }
  /// On the host: what a kernel is given of a value.
  void flatten(Value value, SmallVectorImpl<Value> &operands);
  /// In the kernel: the value again, of the arguments from `next` on.
  Value restore(Type type, ArrayRef<BlockArgument> &next);
  gpu::GPUModuleOp getKernels();

  ModuleOp module;
  ImplicitLocOpBuilder b;
  gpu::GPUModuleOp kernels;
  llvm::DenseMap<Operation *, unsigned> numKernels; // of each function
};

/// The dynamic ones among offset, sizes and strides of a buffer's type.
struct Layout {
  explicit Layout(MemRefType type) {
    auto known = type.getStridesAndOffset(strides, offset);
    assert(succeeded(known) && "only strided buffers are captured");
    (void)known;
    sizes.assign(type.getShape().begin(), type.getShape().end());
  }
  int64_t offset;
  SmallVector<int64_t> sizes, strides;
};

} // namespace

void Outliner::flatten(Value value, SmallVectorImpl<Value> &operands) {
  auto type = dyn_cast<MemRefType>(value.getType());
  if (!type) {
    operands.push_back(value);
    return;
  }
  Layout layout(type);
  auto about = memref::ExtractStridedMetadataOp::create(b, value);
  operands.push_back(about.getBaseBuffer());
  if (ShapedType::isDynamic(layout.offset))
    operands.push_back(about.getOffset());
  for (auto [known, size] : llvm::zip_equal(layout.sizes, about.getSizes()))
    if (ShapedType::isDynamic(known))
      operands.push_back(size);
  for (auto [known, stride] :
       llvm::zip_equal(layout.strides, about.getStrides()))
    if (ShapedType::isDynamic(known))
      operands.push_back(stride);
}

Value Outliner::restore(Type type, ArrayRef<BlockArgument> &next) {
  auto take = [&]() -> Value {
    Value argument = next.front();
    next = next.drop_front();
    return argument;
  };
  Value first = take();
  auto buffer = dyn_cast<MemRefType>(type);
  if (!buffer)
    return first;
  Layout layout(buffer);
  auto get = [&](int64_t known) -> OpFoldResult {
    if (ShapedType::isDynamic(known))
      return take();
    return b.getIndexAttr(known);
  };
  OpFoldResult offset = get(layout.offset);
  SmallVector<OpFoldResult> sizes = llvm::map_to_vector(layout.sizes, get);
  SmallVector<OpFoldResult> strides = llvm::map_to_vector(layout.strides, get);
  // Strides of sizes that a kernel is given are products of them: a type of
  // its own, which says no more than that they are strided.
  auto strided = MemRefType::get(
      buffer.getShape(), buffer.getElementType(),
      StridedLayoutAttr::get(b.getContext(), layout.offset, layout.strides),
      buffer.getMemorySpace());
  Value whole = memref::ReinterpretCastOp::create(b, strided, first, offset,
                                                  sizes, strides);
  if (strided == buffer)
    return whole;
  return memref::CastOp::create(b, buffer, whole);
}

gpu::GPUModuleOp Outliner::getKernels() {
  if (kernels)
    return kernels;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(module.getBody());
  kernels = gpu::GPUModuleOp::create(b, "kernels");
  module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  b.getUnitAttr());
  return kernels;
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
    if (matchPattern(value, m_Constant())) {
      constants.push_back(value);
      continue;
    }
    auto buffer = dyn_cast<MemRefType>(value.getType());
    if (!value.getType().isIntOrIndexOrFloat() &&
        !(buffer && buffer.isStrided()))
      return loop.emitOpError("cannot give a kernel a value of type ")
             << value.getType();
    captured.push_back(value);
    flatten(value, operands);
  }

  // The kernel.
  auto parent = loop->getParentOfType<func::FuncOp>();
  gpu::GPUFuncOp kernel;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(getKernels().getBody());
    std::string name =
        (parent.getName() + "_" + Twine(numKernels[parent]++)).str();
    auto type = b.getFunctionType(TypeRange(ValueRange(operands)), {});
    kernel = gpu::GPUFuncOp::create(b, name, type);
    kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
    kernel.setKnownBlockSizeAttr(
        b.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
    b.setInsertionPointToEnd(&kernel.getBody().front());
    IRMapping mapping;
    for (Value constant : constants)
      mapping.map(constant, b.clone(*constant.getDefiningOp())->getResult(0));
    ArrayRef<BlockArgument> arguments = kernel.getArguments();
    for (Value value : captured)
      mapping.map(value, restore(value.getType(), arguments));
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
    if (!isa<memref::LoadOp, memref::StoreOp, memref::CopyOp, memref::AllocaOp,
             vector::LoadOp, vector::StoreOp, vector::TransferReadOp,
             vector::TransferWriteOp, linalg::LinalgOp>(op))
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
