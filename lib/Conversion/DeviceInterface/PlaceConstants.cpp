//===- PlaceConstants.cpp - vashista-place-constants ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/LoopLikeInterface.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAPLACECONSTANTSPASS
#include "vashista/Conversion/Passes.h.inc"
} // namespace vashista

using namespace mlir;

namespace {

struct PlaceConstantsPass
    : public vashista::impl::VashistaPlaceConstantsPassBase<
          PlaceConstantsPass> {
  using Base::Base;

  void runOnOperation() override {
    // A loop that becomes a kernel takes what it names along.
    SmallVector<memref::GetGlobalOp> gets;
    getOperation().walk([&](memref::GetGlobalOp get) {
      if (!get->getParentOfType<LoopLikeOpInterface>())
        gets.push_back(get);
    });
    // A declaration has no start.
    if (gets.empty())
      return;
    // At the function's start, where one place dominates all who read it.
    llvm::MapVector<StringAttr, Value> places;
    OpBuilder b(&getContext());
    b.setInsertionPointToStart(&getOperation().front());
    for (memref::GetGlobalOp get : gets) {
      Value &place = places[get.getNameAttr().getAttr()];
      if (!place) {
        Location loc = get.getLoc();
        Value atHome = memref::GetGlobalOp::create(b, loc, get.getType(),
                                                   get.getNameAttr());
        place = memref::AllocOp::create(b, loc, get.getType(),
                                        b.getI64IntegerAttr(kAlignment));
        memref::CopyOp::create(b, loc, atHome, place);
      }
      get.replaceAllUsesWith(place);
      get.erase();
    }
  }

  /// A line of the cache, as the workspace has it.
  static constexpr int64_t kAlignment = 64;
};

} // namespace
