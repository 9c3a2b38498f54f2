//===- WarpBuilder.h - Building kernels of NVIDIA GPUs ----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_WARPBUILDER_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_WARPBUILDER_H

#include "../VashistaToVector/KernelBuilder.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace vashista {

inline constexpr int64_t kWarp = 32;

/// A kernel as it is made: sizes, and what it is given.
struct KernelShape {
  llvm::StringRef name;
  /// Blocks, on the host.
  mlir::Value gridX, gridY, gridZ;
  int64_t threads;
  /// Blocks that share a multiprocessor, at least; 0: as it comes. Without it
  /// the assembler saves registers where loads should be in flight.
  int64_t residentBlocks = 0;
  /// Whether most blocks end soon, as where few have anything to do: the next
  /// kernel may start beside them.
  bool isShort = false;
  /// Blocks of a cluster, along z.
  int64_t clusterBlocks = 1;
  /// Whether threads read what others have written: a barrier says nothing of
  /// memory that nobody else is supposed to know of.
  bool readsWritten = false;
};

/// What a kernel was given, in its order.
class Given {
public:
  explicit Given(llvm::ArrayRef<mlir::Value> values) : values(values) {}
  /// The next one; null for what is not there.
  mlir::Value take(bool isThere = true) {
    if (!isThere)
      return nullptr;
    mlir::Value value = values.front();
    values = values.drop_front();
    return value;
  }
  /// What is left.
  llvm::ArrayRef<mlir::Value> values;
};

/// Elements of a buffer that may be loaded at once, from any multiple of their
/// number on: of 16 bytes, or fewer where rows or strides ask for it.
int64_t getVectorSize(mlir::Value memref);

/// The words of kernels whose lanes work together, beside those for one thread.
class WarpBuilder : public KernelBuilder {
public:
  WarpBuilder(mlir::Location loc, mlir::OpBuilder &b)
      : KernelBuilder(loc, b, KernelTarget{/*lanes=*/4, /*registers=*/32}) {}

  /// Makes a kernel and, here, its launch. `values` are what the body is given
  /// in its place, in their order: those that are only `read`, and no other
  /// argument's memory, first. `shared` are buffers of the block.
  void launch(const KernelShape &shape, ValueRange read, ValueRange written,
              llvm::ArrayRef<mlir::MemRefType> shared,
              llvm::function_ref<void(llvm::ArrayRef<Value> values,
                                      llvm::ArrayRef<Value> shared)>
                  body);

  using KernelBuilder::shuffle;

  Value threadId() {
    return mlir::gpu::ThreadIdOp::create(*this, mlir::gpu::Dimension::x);
  }
  Value blockId(mlir::gpu::Dimension dimension) {
    return mlir::gpu::BlockIdOp::create(*this, dimension);
  }
  void barrier() { mlir::gpu::BarrierOp::create(*this); }
  /// The next kernel may start beside this one, once all blocks say so.
  void letNextStart();
  /// Waits for all `blocks` of a cluster, or for the threads of a block
  /// without, and lets each see what others wrote.
  void clusterBarrier(int64_t blocks) {
    if (blocks == 1)
      return barrier();
    clusterArrive();
    clusterWait();
  }
  /// The same in two: what is written between is seen by the next one.
  void clusterArrive();
  void clusterWait();
  /// A buffer of the block as another block of the cluster has it: after a
  /// barrier, as that must have begun, and before the last one, as it may not
  /// have ended.
  Value ofBlock(Value shared, Value block);
  /// The same of all `blocks` of a cluster, or of one without.
  void storeInAll(Value value, Value shared, ValueRange at, int64_t blocks);

  /// f32, i32 or f64 of the lane whose number differs in the bits of `mask`.
  Value shuffleXor(Value value, int64_t mask);
  /// f32 or i32 of a lane, given as i32.
  Value shuffle(Value value, Value lane);
  /// f32 or i32 of the lane `distance` below; of lower ones, anything.
  Value shuffleUp(Value value, int64_t distance);
  /// What all lanes of a warp come to, each of which has it; or those that
  /// differ in the bits from `first` on and below `end`.
  Value combine(Value value, llvm::function_ref<Value(Value, Value)> join,
                int64_t first = 1, int64_t end = kWarp) {
    for (int64_t mask = first; mask < end; mask *= 2)
      value = join(value, shuffleXor(value, mask));
    return value;
  }
  /// The sum of a warp's i32, which each lane has.
  Value addUpWarp(Value value);
  /// The least and the most of a warp's i32, which each lane has.
  Value getLeastOfWarp(Value value);
  Value getMostOfWarp(Value value);
  /// The most of a warp's f32, none of which is NaN.
  Value getTopOfWarp(Value value);
  /// Waits for the lanes of a warp, and lets each see what others wrote.
  void warpBarrier();
  /// A bit of each lane, as i32.
  Value ballot(Value bit);
  /// A buffer of the block; and what it takes of its memory.
  mlir::MemRefType sharedType(llvm::ArrayRef<int64_t> shape,
                              mlir::Type element);
  static int64_t getBytes(mlir::MemRefType type);
  /// i32, unsigned, as index and back.
  Value toIndex(Value value) {
    return mlir::arith::IndexCastUIOp::create(*this, getIndexType(), value);
  }
  Value toI32(Value value) {
    return mlir::arith::IndexCastOp::create(*this, getI32Type(), value);
  }
  Value i32(int64_t value) {
    return mlir::arith::ConstantOp::create(
        *this, getI32IntegerAttr(static_cast<int32_t>(value)));
  }
  /// 2^x: within 2^-22 of it, subnormal results are 0.
  Value exp2(Value x);
  /// The root of an f32, within 2^-23 of it; subnormal numbers are 0.
  Value approximateRoot(Value x);
  /// Sums and products of f32, rounded down.
  Value subDown(Value x, Value y);
  Value fmaDown(Value x, Value y, Value z);
  /// A number times 2^exponent, or over it: that of an i32, of few.
  Value scaleByPower(float number, Value exponent, bool isInverse = false);
  /// The larger or smaller, of two numbers; the number, if only one is.
  Value maxNumber(Value x, Value y) {
    return mlir::arith::MaxNumFOp::create(*this, x, y);
  }
  Value minNumber(Value x, Value y) {
    return mlir::arith::MinNumFOp::create(*this, x, y);
  }
  /// 16 consecutive bytes as four i32.
  std::array<Value, 4> load16Bytes(Value memref, ValueRange indices);
  /// 8 of them as two.
  std::pair<Value, Value> load8Bytes(Value memref, ValueRange indices);
  /// Consecutive elements, of 2 to 16 bytes, as i32 or one i16, and the
  /// elements of these: loops carry words, which nothing waits for before they
  /// are used.
  llvm::SmallVector<Value> loadWords(Value memref, ValueRange indices,
                                     int64_t number);
  llvm::SmallVector<Value> takeApart(llvm::ArrayRef<Value> words,
                                     mlir::Type element);
  /// Consecutive elements as f32, from a multiple of their number on, in loads
  /// as wide as the buffer allows.
  llvm::SmallVector<Value> loadFloats(Value memref, ValueRange indices,
                                      int64_t number);
  void storeFloats(ValueRange floats, Value memref, ValueRange indices);
  /// Two f32 as a pair of 16-bit floats, `low` in the low half.
  Value packPair(Value low, Value high, mlir::Type element);
  /// Bytes of two i32, four of 0 to 7 in hexadecimal, the lowest last.
  Value permuteBytes(Value a, Value b, Value selector);
  Value permuteBytes(Value a, Value b, int64_t selector) {
    return permuteBytes(a, b, i32(selector));
  }
  /// The lesser of each 16-bit half, unsigned.
  Value minOfHalves(Value a, Value b);
  /// A matrix of 8 x 8 pairs of bytes, a row for four lanes, transposed.
  Value transpose(Value fragment);
  /// c + a b for a of 16 x 16, b of 16 x 8 16-bit floats, c of f32: fragments
  /// of `mma.m16n8k16`.
  std::array<Value, 4> multiply(const std::array<Value, 4> &a,
                                const std::array<Value, 2> &b,
                                const std::array<Value, 4> &c,
                                mlir::Type element);
  /// The same of integers, for a of 16 x 32 unsigned bytes, b of 32 x 8 signed
  /// ones: `mma.m16n8k32`.
  std::array<Value, 4> multiplyBytes(const std::array<Value, 4> &a,
                                     const std::array<Value, 2> &b,
                                     const std::array<Value, 4> &c);
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_WARP_WARPBUILDER_H
