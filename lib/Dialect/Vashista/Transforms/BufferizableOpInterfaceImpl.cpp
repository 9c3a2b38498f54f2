//===- BufferizableOpInterfaceImpl.cpp - Bufferization of vashista ops -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/Transforms/BufferizableOpInterfaceImpl.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace vashista;

namespace {

/// A destination op on tensors becomes itself on buffers: its destinations are
/// written in place, everything else is only read.
template <typename OpTy>
struct DestinationOpModel
    : public DstBufferizableOpInterfaceExternalModel<DestinationOpModel<OpTy>,
                                                     OpTy> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const AnalysisState &) const {
    // A projection overwrites all of its destinations.
    if (auto attend = dyn_cast<AttendOp>(op))
      return !attend.isOverwritten(operand);
    return true;
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto destinationOp = cast<DestinationStyleOpInterface>(op);
    if (destinationOp.hasPureBufferSemantics())
      return success();
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (!isa<TensorType>(operand.getType())) {
        operands.push_back(operand);
        continue;
      }
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
    }
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    auto buffered = cast<DestinationStyleOpInterface>(
        clone(rewriter, op, /*newResultTypes=*/TypeRange{}, operands));
    replaceOpWithBufferizedValues(rewriter, op,
                                  llvm::to_vector(buffered.getDpsInits()));
    return success();
  }
};

} // namespace

void vashista::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, VashistaDialect *) {
    SummarizeOp::attachInterface<DestinationOpModel<SummarizeOp>>(*context);
    AppendOp::attachInterface<DestinationOpModel<AppendOp>>(*context);
    AttendOp::attachInterface<DestinationOpModel<AttendOp>>(*context);
  });
}
