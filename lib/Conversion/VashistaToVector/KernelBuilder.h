//===- KernelBuilder.h - Building CPU kernels out of scf, arith and vector -*-
// C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KERNELBUILDER_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KERNELBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace vashista {

/// Bytes of a cache line, which is what memory is asked for by.
inline constexpr int64_t kLineBytes = 64;

/// What a kernel needs to know of a CPU.
struct KernelTarget {
  int64_t lanes;     // f32 elements of a vector register
  int64_t registers; // vector registers
  /// Sums products of pairs of bf16 in f32 (AVX-512 BF16).
  bool dotsBF16 = false;
};

/// Fails, with an error, where the options of a pass describe no such CPU.
llvm::LogicalResult verify(const KernelTarget &target, mlir::Location loc);

/// Short names for the ops that kernels are made of, so that a kernel reads
/// like the loop nest it is. Arithmetic is on f32 scalars and vectors.
class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  KernelBuilder(mlir::Location loc, mlir::OpBuilder &b,
                const KernelTarget &target)
      : ImplicitLocOpBuilder(loc, b), target(target), lanes(target.lanes) {}

  const KernelTarget target;
  /// f32 elements of a vector.
  const int64_t lanes;

  mlir::VectorType vectorType(int64_t size) {
    return mlir::VectorType::get({size}, getF32Type());
  }
  mlir::VectorType vectorType() { return vectorType(lanes); }

  //===--- Constants and integers -----------------------------------------===//
  Value index(int64_t value) {
    return mlir::arith::ConstantIndexOp::create(*this, value);
  }
  Value f32(float value) {
    return mlir::arith::ConstantOp::create(*this, getF32FloatAttr(value));
  }
  Value splat(float value, int64_t size) {
    return mlir::arith::ConstantOp::create(
        *this, mlir::DenseElementsAttr::get(vectorType(size), value));
  }
  Value boolean(bool value) {
    return mlir::arith::ConstantIntOp::create(*this, getI1Type(), value);
  }
  Value negInf() { return f32(-std::numeric_limits<float>::infinity()); }
  Value addI(Value a, Value b) {
    return createOrFold<mlir::arith::AddIOp>(a, b);
  }
  Value subI(Value a, Value b) {
    return createOrFold<mlir::arith::SubIOp>(a, b);
  }
  Value mulI(Value a, Value b) {
    return createOrFold<mlir::arith::MulIOp>(a, b);
  }
  Value divU(Value a, Value b) {
    return createOrFold<mlir::arith::DivUIOp>(a, b);
  }
  Value remU(Value a, Value b) {
    return createOrFold<mlir::arith::RemUIOp>(a, b);
  }
  Value minI(Value a, Value b) {
    return createOrFold<mlir::arith::MinSIOp>(a, b);
  }
  Value maxI(Value a, Value b) {
    return createOrFold<mlir::arith::MaxSIOp>(a, b);
  }
  Value compare(mlir::arith::CmpIPredicate predicate, Value a, Value b) {
    return mlir::arith::CmpIOp::create(*this, predicate, a, b);
  }
  Value compare(mlir::arith::CmpFPredicate predicate, Value a, Value b) {
    return mlir::arith::CmpFOp::create(*this, predicate, a, b);
  }
  Value andI(Value a, Value b) {
    return createOrFold<mlir::arith::AndIOp>(a, b);
  }
  Value orI(Value a, Value b) { return createOrFold<mlir::arith::OrIOp>(a, b); }
  Value select(Value condition, Value a, Value b) {
    return createOrFold<mlir::arith::SelectOp>(condition, a, b);
  }

  //===--- Floats
  //-----------------------------------------------------------===//
  Value addF(Value a, Value b) {
    return mlir::arith::AddFOp::create(*this, a, b);
  }
  Value subF(Value a, Value b) {
    return mlir::arith::SubFOp::create(*this, a, b);
  }
  Value mulF(Value a, Value b) {
    return mlir::arith::MulFOp::create(*this, a, b);
  }
  Value divF(Value a, Value b) {
    return mlir::arith::DivFOp::create(*this, a, b);
  }
  /// NaN where either is.
  Value maxF(Value a, Value b) {
    return mlir::arith::MaximumFOp::create(*this, a, b);
  }
  /// The larger where both are numbers, otherwise `b`: one instruction.
  Value maxNum(Value a, Value b) {
    return select(compare(mlir::arith::CmpFPredicate::OGT, a, b), a, b);
  }
  Value minF(Value a, Value b) {
    return mlir::arith::MinimumFOp::create(*this, a, b);
  }
  Value absF(Value a) { return mlir::math::AbsFOp::create(*this, a); }
  Value sqrt(Value a) { return mlir::math::SqrtOp::create(*this, a); }
  Value exp(Value a) { return mlir::math::ExpOp::create(*this, a); }
  Value log(Value a) { return mlir::math::LogOp::create(*this, a); }
  Value tanh(Value a) { return mlir::math::TanhOp::create(*this, a); }
  Value fma(Value a, Value b, Value c) {
    return mlir::vector::FMAOp::create(*this, a, b, c);
  }
  /// c[i] + a[2 i + 1] b[2 i + 1] + a[2 i] b[2 i] of vectors of bf16, each
  /// product and sum as an f32 fma, except that subnormal numbers are zeros.
  Value dotPairs(Value a, Value b, Value c);
  Value broadcastTo(Value scalar, mlir::VectorType type) {
    return mlir::vector::BroadcastOp::create(*this, type, scalar);
  }
  Value broadcast(Value scalar, int64_t size) {
    return broadcastTo(scalar, vectorType(size));
  }
  Value broadcast(Value scalar) { return broadcast(scalar, lanes); }
  Value reduceAdd(Value vector) {
    return mlir::vector::ReductionOp::create(
        *this, mlir::vector::CombiningKind::ADD, vector);
  }
  /// NaN where any is.
  Value reduceMax(Value vector) {
    return mlir::vector::ReductionOp::create(
        *this, mlir::vector::CombiningKind::MAXIMUMF, vector);
  }
  /// Of elements none of which is NaN.
  Value reduceMaxNum(Value vector) {
    return mlir::vector::ReductionOp::create(
        *this, mlir::vector::CombiningKind::MAXNUMF, vector,
        mlir::arith::FastMathFlags::nnan);
  }
  Value shuffle(Value a, Value b, llvm::ArrayRef<int64_t> mask) {
    return mlir::vector::ShuffleOp::create(*this, a, b, mask);
  }

  /// cap(scale * dots) / epsilon, on a vector of any size.
  Value toLogits(Value dots, const llvm::APFloat &scale,
                 std::optional<llvm::APFloat> softCap,
                 const llvm::APFloat &epsilon);
  /// The same of bounds, which the rounding of a cap must not break. What is
  /// unbounded stays so: not even a cap bounds NaN.
  Value toLogitBounds(Value dots, const llvm::APFloat &scale,
                      std::optional<llvm::APFloat> softCap,
                      const llvm::APFloat &epsilon);

  /// The sums of up to `lanes` vectors, in order, as one vector of as many
  /// elements as the next power of two: a butterfly that halves the number of
  /// vectors at each level instead of reducing each by itself.
  Value sumEach(llvm::ArrayRef<Value> vectors);

  //===--- Memory
  //-----------------------------------------------------------===//
  /// A page table entry, position or length: i32 in memory, index here.
  Value loadIndex(Value memref, ValueRange indices) {
    Value loaded = mlir::memref::LoadOp::create(*this, memref, indices);
    return mlir::arith::IndexCastOp::create(*this, getIndexType(), loaded);
  }
  Value load(Value memref, ValueRange indices) {
    return mlir::memref::LoadOp::create(*this, memref, indices);
  }
  void store(Value value, Value memref, ValueRange indices) {
    mlir::memref::StoreOp::create(*this, value, memref, indices);
  }
  /// `size` consecutive elements, widened to f32.
  Value loadVector(Value memref, ValueRange indices, int64_t size);
  Value loadVector(Value memref, ValueRange indices) {
    return loadVector(memref, indices, lanes);
  }
  void storeVector(Value vector, Value memref, ValueRange indices) {
    mlir::vector::StoreOp::create(*this, vector, memref, indices);
  }
  /// The buffer of a tensor that is only read; null for an absent one.
  Value readOnly(Value tensor);
  /// Asks for the line of an element that is read soon.
  void prefetch(Value memref, ValueRange indices) {
    mlir::memref::PrefetchOp::create(*this, memref, indices, /*isWrite=*/false,
                                     /*localityHint=*/2, /*isDataCache=*/true);
  }
  /// Scratch of the enclosing task, on its stack.
  Value scratch(llvm::ArrayRef<int64_t> shape, mlir::Type elementType) {
    return mlir::memref::AllocaOp::create(
        *this, mlir::MemRefType::get(shape, elementType),
        getI64IntegerAttr(64));
  }
  Value dim(Value memref, int64_t position) {
    return createOrFold<mlir::memref::DimOp>(memref, position);
  }

  //===--- Control
  //----------------------------------------------------------===//
  using Body = llvm::function_ref<llvm::SmallVector<Value>(Value, ValueRange)>;
  /// for (i = begin; i < end; i += step) carried = body(i, carried)
  llvm::SmallVector<Value> forLoop(Value begin, Value end, int64_t step,
                                   ValueRange carried, Body body);
  void forLoop(Value begin, Value end, int64_t step,
               llvm::function_ref<void(Value)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
  /// What the body yields; where the condition does not hold, `otherwise`.
  llvm::SmallVector<Value>
  ifThen(Value condition, ValueRange otherwise,
         llvm::function_ref<llvm::SmallVector<Value>()> body);
  /// The same, with zeros otherwise.
  llvm::SmallVector<Value>
  ifThenOrZeros(Value condition,
                llvm::function_ref<llvm::SmallVector<Value>()> body);
};

/// Buffers for results of an op on tensors, as many as are needed.
llvm::SmallVector<mlir::Value> allocateResults(mlir::Operation *op,
                                               mlir::ImplicitLocOpBuilder &b,
                                               unsigned number);
/// The tensors that they are.
llvm::SmallVector<mlir::Value> toTensors(mlir::ImplicitLocOpBuilder &b,
                                         mlir::ValueRange buffers,
                                         mlir::TypeRange types);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KERNELBUILDER_H
