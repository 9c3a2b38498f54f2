//===- OutlineTasks.cpp - vashista-outline-tasks -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HoistScratch.h"
#include "HostTable.h"
#include "vashista/Conversion/Passes.h"

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAOUTLINETASKSPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

class Outliner {
public:
  explicit Outliner(ModuleOp module)
      : module(module), b(module.getLoc(), module.getContext()),
        types(module.getContext()),
        pointer(LLVM::LLVMPointerType::get(module.getContext())) {}

  LogicalResult outline(scf::ForallOp forall);

private:
  Value cast(Type type, Value value) {
    if (value.getType() == type)
      return value;
    return UnrealizedConversionCastOp::create(b, type, value).getResult(0);
  }
  Value fieldAddress(Type type, Value base, int32_t field) {
    return LLVM::GEPOp::create(b, pointer, type, base,
                               ArrayRef<LLVM::GEPArg>{0, field});
  }

  ModuleOp module;
  ImplicitLocOpBuilder b;
  LLVMTypeConverter types;
  Type pointer;
  unsigned numTasks = 0;
};

} // namespace

LogicalResult Outliner::outline(scf::ForallOp forall) {
  auto parent = forall->getParentOfType<FunctionOpInterface>();
  if (forall.getNumResults() != 0 || !forall.isNormalized())
    return forall.emitOpError(
        "expected no results, lower bounds of 0 and steps of 1 to be outlined");
  b.setLoc(forall.getLoc());

  // Constants are cheaper to make than to carry.
  SetVector<Value> used;
  getUsedValuesDefinedAbove(forall.getRegion(), used);
  b.setInsertionPointToStart(forall.getBody());
  SmallVector<Value> captured;
  for (Value value : used) {
    if (matchPattern(value, m_Constant())) {
      Operation *copy = b.clone(*value.getDefiningOp());
      replaceAllUsesInRegionWith(value, copy->getResult(0), forall.getRegion());
    } else {
      captured.push_back(value);
    }
  }

  // The context: what is captured, then the extents.
  b.setInsertionPoint(forall);
  SmallVector<Value> fields;
  for (Value value : captured) {
    Type type = types.convertType(value.getType());
    if (!type)
      return forall.emitOpError("cannot carry a value of type ")
             << value.getType() << " into a task";
    fields.push_back(cast(type, value));
  }
  Type i64 = b.getI64Type();
  Value number = arith::ConstantOp::create(b, b.getI64IntegerAttr(1));
  for (OpFoldResult bound : forall.getMixedUpperBound()) {
    Value extent =
        isa<Attribute>(bound)
            ? arith::ConstantIndexOp::create(
                  b, ::cast<IntegerAttr>(::cast<Attribute>(bound)).getInt())
                  .getResult()
            : ::cast<Value>(bound);
    extent = arith::IndexCastOp::create(b, i64, extent);
    fields.push_back(extent);
    number = arith::MulIOp::create(b, number, extent);
  }
  SmallVector<Type> fieldTypes =
      llvm::map_to_vector(fields, [](Value field) { return field.getType(); });
  Type contextType =
      LLVM::LLVMStructType::getLiteral(b.getContext(), fieldTypes);

  // The task: (context, number of the task).
  b.setInsertionPointToEnd(module.getBody());
  std::string name = (parent.getName() + "_task_" + Twine(numTasks++)).str();
  auto taskType = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {pointer, i64});
  auto task =
      LLVM::LLVMFuncOp::create(b, name, taskType, LLVM::Linkage::Internal);
  Block *entry = task.addEntryBlock(b);
  b.setInsertionPointToStart(entry);
  IRMapping mapping;
  auto loadField = [&](unsigned i) -> Value {
    return LLVM::LoadOp::create(
        b, fieldTypes[i], fieldAddress(contextType, entry->getArgument(0), i));
  };
  for (auto [i, value] : llvm::enumerate(captured))
    mapping.map(value, cast(value.getType(), loadField(i)));
  // The last dimension varies fastest.
  Value rest = entry->getArgument(1);
  unsigned rank = forall.getRank();
  for (unsigned d = rank; d-- > 0;) {
    Value index = rest;
    if (d > 0) {
      Value extent = loadField(captured.size() + d);
      index = arith::RemUIOp::create(b, rest, extent);
      rest = arith::DivUIOp::create(b, rest, extent);
    }
    mapping.map(forall.getInductionVar(d),
                arith::IndexCastOp::create(b, b.getIndexType(), index));
  }
  for (Operation &op : forall.getBody()->without_terminator())
    b.clone(op, mapping);
  LLVM::ReturnOp::create(b, ValueRange());

  // The call. The context lives on the caller's stack until all tasks ended.
  b.setInsertionPoint(forall);
  Value one = arith::ConstantOp::create(b, b.getI64IntegerAttr(1));
  Value context = LLVM::AllocaOp::create(b, pointer, contextType, one);
  for (auto [i, field] : llvm::enumerate(fields))
    LLVM::StoreOp::create(b, field, fieldAddress(contextType, context, i));
  Value parallelFor = loadHostFunction(b, HostField::parallelFor);
  Value body = LLVM::AddressOfOp::create(b, pointer, name);
  auto callType = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {i64, pointer, pointer});
  LLVM::CallOp::create(b, callType,
                       ValueRange{parallelFor, number, body, context});
  forall.erase();
  return success();
}

namespace {

struct OutlinePass
    : public vashista::impl::VashistaOutlineTasksPassBase<OutlinePass> {
  using Base::Base;

  void runOnOperation() override {
    Outliner outliner(getOperation());
    declareHostTable(getOperation());
    hoistScratch(getOperation());
    SmallVector<scf::ForallOp> loops;
    // Only the outermost: a task runs its own loops itself.
    getOperation().walk<WalkOrder::PreOrder>([&](scf::ForallOp forall) {
      loops.push_back(forall);
      return WalkResult::skip();
    });
    for (scf::ForallOp forall : loops)
      if (failed(outliner.outline(forall)))
        return signalPassFailure();
  }
};

} // namespace
