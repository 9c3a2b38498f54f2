//===- InferTypeOpInterfaceImpl.cpp - Result types and their sizes --------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OpShapes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace vashista;
using namespace vashista::shapes;

template <typename Shape, typename Adaptor>
static LogicalResult inferTypes(MLIRContext *context, Adaptor adaptor,
                                SmallVectorImpl<Type> &types) {
  NamedDims dims = getDims<Shape>(adaptor);
  for (const ResultSpec &spec : Shape::results(adaptor, Builder(context)))
    types.push_back(dims.getType(spec));
  return success();
}

template <typename Shape, typename OpTy>
static LogicalResult reifyShapes(OpTy op, OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &shapes) {
  NamedDims dims = getDims<Shape>(op);
  for (auto [spec, type] :
       llvm::zip_equal(Shape::results(op, b), op->getResultTypes())) {
    SmallVector<OpFoldResult> shape;
    for (auto [extent, size] :
         llvm::zip_equal(spec.shape, cast<ShapedType>(type).getShape())) {
      // A size is an attribute where the type knows it, and nowhere else.
      if (ShapedType::isDynamic(size))
        shape.push_back(getValueOrCreateConstantIndexOp(
            b, op.getLoc(), dims.reify(b, op.getLoc(), extent)));
      else
        shape.push_back(b.getIndexAttr(size));
    }
    shapes.push_back(shape);
  }
  return success();
}

/// Types may differ in how much of a shape they know, not in what they say.
static bool areCompatible(TypeRange lhs, TypeRange rhs) {
  return succeeded(verifyCompatibleShapes(lhs, rhs)) &&
         llvm::equal(lhs, rhs, [](Type l, Type r) {
           return getElementTypeOrSelf(l) == getElementTypeOrSelf(r);
         });
}

/// The shape interfaces of an op with ordinary results.
#define VASHISTA_SHAPED_OP(OP)                                                 \
  LogicalResult OP##Op::inferReturnTypes(                                      \
      MLIRContext *context, std::optional<Location>, Adaptor adaptor,          \
      SmallVectorImpl<Type> &types) {                                          \
    return inferTypes<OP##Shape>(context, adaptor, types);                     \
  }                                                                            \
  bool OP##Op::isCompatibleReturnTypes(TypeRange lhs, TypeRange rhs) {         \
    return areCompatible(lhs, rhs);                                            \
  }                                                                            \
  LogicalResult OP##Op::reifyResultShapes(                                     \
      OpBuilder &b, ReifiedRankedShapedTypeDims &shapes) {                     \
    return reifyShapes<OP##Shape>(*this, b, shapes);                           \
  }
VASHISTA_SHAPED_OP(CheckTable)
VASHISTA_SHAPED_OP(CheckPositions)
VASHISTA_SHAPED_OP(CheckList)
VASHISTA_SHAPED_OP(Score)
VASHISTA_SHAPED_OP(Pick)
VASHISTA_SHAPED_OP(Route)
VASHISTA_SHAPED_OP(Select)
VASHISTA_SHAPED_OP(Merge)
VASHISTA_SHAPED_OP(MergeTails)
VASHISTA_SHAPED_OP(Moment)
VASHISTA_SHAPED_OP(Certify)
VASHISTA_SHAPED_OP(Fallback)
VASHISTA_SHAPED_OP(Attention)
#undef VASHISTA_SHAPED_OP
