//===- KernelBuilder.cpp - Building CPU kernels out of scf, arith and vector -*-
// C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace vashista;

Value KernelBuilder::toLogits(Value dots, const APFloat &scale,
                              std::optional<APFloat> softCap,
                              const APFloat &epsilon) {
  int64_t size = cast<VectorType>(dots.getType()).getDimSize(0);
  auto toDouble = [](APFloat value) {
    bool losesInfo;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    return value.convertToDouble();
  };
  double factor = toDouble(scale), divisor = toDouble(epsilon);
  if (!softCap)
    return mulF(dots, splat(factor / divisor, size));
  double cap = toDouble(*softCap);
  Value ratios = mulF(dots, splat(factor / cap, size));
  return mulF(tanh(ratios), splat(cap / divisor, size));
}

/// A cap rounds what the slack has raised, and flattens the slack: bounds are
/// raised again by what tanh may be off.
Value KernelBuilder::toLogitBounds(Value dots, const APFloat &scale,
                                   std::optional<APFloat> softCap,
                                   const APFloat &epsilon) {
  Value logits = toLogits(dots, scale, softCap, epsilon);
  if (!softCap)
    return logits;
  int64_t size = cast<VectorType>(logits.getType()).getDimSize(0);
  Value slack = mulF(absF(logits), splat(0x1p-20f, size));
  Value inf = splat(std::numeric_limits<float>::infinity(), size);
  Value unbounded = compare(arith::CmpFPredicate::OEQ, dots, inf);
  return select(unbounded, inf, addF(logits, slack));
}

LogicalResult vashista::verify(const KernelTarget &target, Location loc) {
  if (!llvm::isPowerOf2_64(target.lanes) || target.lanes < 4 ||
      target.lanes > 64)
    return emitError(loc) << "expected lanes to be 4, 8, 16, 32 or 64, got "
                          << target.lanes;
  if (target.registers < 8)
    return emitError(loc) << "expected at least 8 registers, got "
                          << target.registers;
  if (target.dotsBF16 && target.lanes != 16)
    return emitError(loc) << "expected 16 lanes for dots of bf16, got "
                          << target.lanes;
  return success();
}

Value KernelBuilder::dotPairs(Value a, Value b, Value c) {
  return x86vector::DotBF16Op::create(*this, c.getType(), c, a, b);
}

Value KernelBuilder::sumEach(ArrayRef<Value> vectors) {
  SmallVector<Value> level(vectors);
  int64_t size = cast<VectorType>(level.front().getType()).getDimSize(0);
  // Padding with zeros keeps the order of what is there.
  while (!llvm::isPowerOf2_64(level.size()))
    level.push_back(splat(0.0f, size));

  // Interleaving two vectors of partial sums, one block each, and adding the
  // even to the odd elements leaves one vector with half as many partial sums
  // of each.
  auto addHalves = [&](Value a, Value b, int64_t block) -> Value {
    // `block` elements of a vector belong to one sum: pair them up.
    int64_t width = cast<VectorType>(a.getType()).getDimSize(0);
    SmallVector<int64_t> first, second;
    bool two = static_cast<bool>(b);
    for (int64_t source = 0; source < (two ? 2 : 1); ++source)
      for (int64_t start = 0; start < width; start += block)
        for (int64_t i = 0; i < block / 2; ++i) {
          first.push_back(source * width + start + i);
          second.push_back(source * width + start + block / 2 + i);
        }
    Value other = two ? b : a;
    return addF(shuffle(a, other, first), shuffle(a, other, second));
  };
  int64_t block = size;
  while (level.size() > 1) {
    SmallVector<Value> next;
    for (size_t i = 0; i < level.size(); i += 2)
      next.push_back(addHalves(level[i], level[i + 1], block));
    level = std::move(next);
    block /= 2;
  }
  Value sums = level.front();
  for (; block > 1; block /= 2)
    sums = addHalves(sums, Value(), block);
  return sums;
}

Value KernelBuilder::readOnly(Value tensor) {
  if (!tensor)
    return tensor;
  auto type = cast<RankedTensorType>(tensor.getType());
  auto buffer = MemRefType::get(type.getShape(), type.getElementType());
  return bufferization::ToBufferOp::create(*this, buffer, tensor,
                                           /*read_only=*/true);
}

Value KernelBuilder::loadVector(Value memref, ValueRange indices,
                                int64_t size) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  Value loaded = vector::LoadOp::create(*this, VectorType::get({size}, element),
                                        memref, indices);
  if (element.isF32())
    return loaded;
  return arith::ExtFOp::create(*this, vectorType(size), loaded);
}

SmallVector<Value> KernelBuilder::forLoop(Value begin, Value end, int64_t step,
                                          ValueRange carried, Body body) {
  auto loop = scf::ForOp::create(
      *this, begin, end, index(step), carried,
      [&](OpBuilder &b, Location loc, Value i, ValueRange values) {
        OpBuilder::InsertionGuard guard(*this);
        setInsertionPoint(b.getInsertionBlock(), b.getInsertionPoint());
        SmallVector<Value> next = body(i, values);
        scf::YieldOp::create(*this, next);
      });
  return llvm::to_vector_of<Value>(loop.getResults());
}

void KernelBuilder::forLoop(Value begin, Value end, int64_t step,
                            function_ref<void(Value)> body) {
  forLoop(begin, end, step, ValueRange(),
          [&](Value i, ValueRange) -> SmallVector<Value> {
            body(i);
            return {};
          });
}

void KernelBuilder::ifThen(Value condition, function_ref<void()> body) {
  scf::IfOp::create(*this, condition, [&](OpBuilder &b, Location) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPoint(b.getInsertionBlock(), b.getInsertionPoint());
    body();
    scf::YieldOp::create(*this);
  });
}

/// What bodies yield, of the types that the first one's results have.
static SmallVector<Value>
makeIf(KernelBuilder &builder, Value condition,
       function_ref<SmallVector<Value>()> body,
       function_ref<SmallVector<Value>(TypeRange)> otherwise) {
  SmallVector<Type> types;
  auto make = [&](OpBuilder &b, function_ref<SmallVector<Value>()> get) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(b.getInsertionBlock(), b.getInsertionPoint());
    SmallVector<Value> values = get();
    types = llvm::to_vector(ValueRange(values).getTypes());
    scf::YieldOp::create(builder, values);
  };
  auto ifOp = scf::IfOp::create(
      builder, condition, [&](OpBuilder &b, Location) { make(b, body); },
      [&](OpBuilder &b, Location) {
        make(b, [&] { return otherwise(types); });
      });
  return llvm::to_vector_of<Value>(ifOp.getResults());
}

SmallVector<Value>
KernelBuilder::ifThen(Value condition, ValueRange otherwise,
                      function_ref<SmallVector<Value>()> body) {
  return makeIf(*this, condition, body, [&](TypeRange) {
    return llvm::to_vector_of<Value>(otherwise);
  });
}

SmallVector<Value>
KernelBuilder::ifThenOrZeros(Value condition,
                             function_ref<SmallVector<Value>()> body) {
  return makeIf(*this, condition, body, [&](TypeRange types) {
    SmallVector<Value> zeros;
    for (Type type : types)
      zeros.push_back(arith::ConstantOp::create(*this, getZeroAttr(type)));
    return zeros;
  });
}

SmallVector<Value> vashista::allocateResults(Operation *op,
                                             ImplicitLocOpBuilder &b,
                                             unsigned number) {
  ReifiedRankedShapedTypeDims shapes;
  (void)cast<ReifyRankedShapedTypeOpInterface>(op).reifyResultShapes(b, shapes);
  SmallVector<Value> buffers;
  for (unsigned i = 0; i < number; ++i) {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> shape;
    dispatchIndexOpFoldResults(shapes[i], dynamic, shape);
    auto type = MemRefType::get(shape, getElementTypeOrSelf(op->getResult(i)));
    buffers.push_back(
        memref::AllocOp::create(b, type, dynamic, b.getI64IntegerAttr(64)));
  }
  return buffers;
}

SmallVector<Value> vashista::toTensors(ImplicitLocOpBuilder &b,
                                       ValueRange buffers, TypeRange types) {
  SmallVector<Value> tensors;
  for (auto [buffer, type] : llvm::zip_equal(buffers, types))
    tensors.push_back(bufferization::ToTensorOp::create(
        b, type, buffer, /*restrict=*/true, /*writable=*/true));
  return tensors;
}
