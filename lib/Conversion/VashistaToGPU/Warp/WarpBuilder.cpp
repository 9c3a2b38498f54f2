//===- WarpBuilder.cpp - Building kernels of NVIDIA GPUs ------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WarpBuilder.h"
#include "../DeviceInterface/KernelArguments.h"
#include "Schedules.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace vashista;

static constexpr int64_t kSharedAlign = 16;

int64_t WarpBuilder::getBytes(MemRefType type) {
  int64_t bits = type.getNumElements() * type.getElementTypeBitWidth();
  return llvm::alignTo(llvm::divideCeil(bits, 8), kSharedAlign);
}

/// Buffers of the block. What is more than a kernel may declare is memory that
/// its launch gives it, of so many bytes.
static SmallVector<Value> addBuffers(WarpBuilder &b, gpu::GPUFuncOp kernel,
                                     ArrayRef<MemRefType> types,
                                     int64_t &dynamicBytes) {
  int64_t bytes = 0;
  for (MemRefType type : types)
    bytes += WarpBuilder::getBytes(type);
  SmallVector<Value> buffers;
  if (bytes <= kSharedBytes) {
    for (auto [i, type] : llvm::enumerate(types)) {
      buffers.push_back(kernel.addWorkgroupAttribution(type, b.getLoc()));
      kernel.setWorkgroupAttributionAttr(i, "llvm.align",
                                         b.getI64IntegerAttr(kSharedAlign));
    }
    return buffers;
  }
  // All of it: upstream's symbol for it, as it is, has no place beside what is
  // declared (vashista-declare-shared-memory).
  Value all = gpu::DynamicSharedMemoryOp::create(
      b, b.sharedType(ShapedType::kDynamic, b.getI8Type()));
  for (MemRefType type : types) {
    buffers.push_back(memref::ViewOp::create(
        b, type, all, b.index(dynamicBytes), ValueRange()));
    dynamicBytes += WarpBuilder::getBytes(type);
  }
  return buffers;
}

void WarpBuilder::launch(
    const KernelShape &shape, ValueRange read, ValueRange written,
    ArrayRef<MemRefType> shared,
    function_ref<void(ArrayRef<Value>, ArrayRef<Value>)> body) {
  SmallVector<Value> values(read), operands;
  llvm::append_range(values, written);
  unsigned numRead = 0;
  for (auto [i, value] : llvm::enumerate(values)) {
    flattenArgument(*this, value, operands);
    if (i + 1 == read.size())
      numRead = operands.size();
  }
  auto module = getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  gpu::GPUFuncOp kernel =
      createKernel(*this, module, shape.name, ValueRange(operands).getTypes(),
                   shape.threads);
  if (shape.residentBlocks)
    kernel->setAttr("nvvm.minctasm", getI32IntegerAttr(shape.residentBlocks));
  if (shape.isShort)
    kernel->setAttr(kIsShort, getUnitAttr());
  if (shape.clusterBlocks > 1)
    kernel->setAttr("nvvm.cluster_dim",
                    getDenseI32ArrayAttr(
                        {1, 1, static_cast<int32_t>(shape.clusterBlocks)}));
  for (unsigned i = 0; i < operands.size(); ++i) {
    if (!isa<MemRefType>(operands[i].getType()))
      continue;
    if (i < numRead || !shape.readsWritten)
      kernel.setArgAttr(i, "llvm.noalias", getUnitAttr());
    kernel.setArgAttr(i, "llvm.align", getI64IntegerAttr(16));
    if (i < numRead)
      kernel.setArgAttr(i, "llvm.readonly", getUnitAttr());
  }
  int64_t dynamicBytes = 0;
  {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToEnd(&kernel.getBody().front());
    SmallVector<Value> inner,
        buffers = addBuffers(*this, kernel, shared, dynamicBytes);
    ArrayRef<BlockArgument> arguments = kernel.getArguments();
    for (Value value : values)
      inner.push_back(restoreArgument(*this, value.getType(), arguments));
    body(inner, buffers);
    gpu::ReturnOp::create(*this);
  }
  Value one = index(1);
  gpu::LaunchFuncOp::create(
      *this, kernel, gpu::KernelDim3{shape.gridX, shape.gridY, shape.gridZ},
      gpu::KernelDim3{index(shape.threads), one, one},
      dynamicBytes ? i32(dynamicBytes) : Value(), operands);
}

Value WarpBuilder::shuffleXor(Value value, int64_t mask) {
  if (value.getType().isF64()) {
    auto pair = VectorType::get({2}, getI32Type());
    Value one = vector::BroadcastOp::create(
        *this, VectorType::get({1}, value.getType()), value);
    Value halves = vector::BitCastOp::create(*this, pair, one);
    SmallVector<Value> shuffled;
    for (int64_t i = 0; i < 2; ++i)
      shuffled.push_back(shuffleXor(
          vector::ExtractOp::create(*this, halves, ArrayRef<int64_t>{i}),
          mask));
    Value joined = vector::FromElementsOp::create(*this, pair, shuffled);
    return vector::ExtractOp::create(
        *this, vector::BitCastOp::create(*this, one.getType(), joined),
        ArrayRef<int64_t>{0});
  }
  return gpu::ShuffleOp::create(*this, value, i32(mask), i32(kWarp),
                                gpu::ShuffleMode::XOR)
      .getShuffleResult();
}

Value WarpBuilder::shuffle(Value value, Value lane) {
  return gpu::ShuffleOp::create(*this, value, lane, i32(kWarp),
                                gpu::ShuffleMode::IDX)
      .getShuffleResult();
}

Value WarpBuilder::shuffleUp(Value value, int64_t distance) {
  return gpu::ShuffleOp::create(*this, value, i32(distance), i32(kWarp),
                                gpu::ShuffleMode::UP)
      .getShuffleResult();
}

Value WarpBuilder::addUpWarp(Value value) {
  return gpu::SubgroupReduceOp::create(*this, value,
                                       gpu::AllReduceOperation::ADD,
                                       /*uniform=*/true);
}

Value WarpBuilder::getLeastOfWarp(Value value) {
  return gpu::SubgroupReduceOp::create(*this, value,
                                       gpu::AllReduceOperation::MINSI,
                                       /*uniform=*/true);
}

Value WarpBuilder::getMostOfWarp(Value value) {
  return gpu::SubgroupReduceOp::create(*this, value,
                                       gpu::AllReduceOperation::MAXSI,
                                       /*uniform=*/true);
}

// One instruction for integers, five exchanges for floats.
Value WarpBuilder::getTopOfWarp(Value value) {
  auto flip = [&](Value bits) -> Value { // to two's complement order, and back
    Value sign = arith::ShRSIOp::create(*this, bits, i32(31));
    Value rest = andI(sign, i32(std::numeric_limits<int32_t>::max()));
    return arith::XOrIOp::create(*this, bits, rest);
  };
  Value bits = arith::BitcastOp::create(*this, getI32Type(), value);
  return arith::BitcastOp::create(*this, getF32Type(),
                                  flip(getMostOfWarp(flip(bits))));
}

void WarpBuilder::warpBarrier() { NVVM::SyncWarpOp::create(*this, i32(-1)); }

Value WarpBuilder::ballot(Value bit) {
  return NVVM::VoteSyncOp::create(*this, getI32Type(), i32(-1), bit,
                                  NVVM::VoteSyncKind::ballot);
}

MemRefType WarpBuilder::sharedType(ArrayRef<int64_t> shape, Type element) {
  return MemRefType::get(
      shape, element, MemRefLayoutAttrInterface(),
      gpu::AddressSpaceAttr::get(getContext(), gpu::AddressSpace::Workgroup));
}

void WarpBuilder::letNextStart() {
  NVVM::GriddepcontrolOp::create(*this,
                                 NVVM::GridDepActionKind::launch_dependents);
}

void WarpBuilder::clusterArrive() {
  NVVM::ClusterArriveOp::create(*this, getUnitAttr());
}

void WarpBuilder::clusterWait() {
  NVVM::ClusterWaitOp::create(*this, getUnitAttr());
}

// The address spaces of GPU dialects have none for a cluster's memory, so this
// is a descriptor of LLVM's.
Value WarpBuilder::ofBlock(Value shared, Value block) {
  auto type = cast<MemRefType>(shared.getType());
  auto space = [&](NVVM::NVVMMemorySpace space) {
    return static_cast<unsigned>(space);
  };
  Type own = LLVM::LLVMPointerType::get(getContext(),
                                        space(NVVM::NVVMMemorySpace::Shared)),
       theirs = LLVM::LLVMPointerType::get(
           getContext(), space(NVVM::NVVMMemorySpace::SharedCluster));
  Value address = arith::IndexCastOp::create(
      *this, getI64Type(),
      memref::ExtractAlignedPointerAsIndexOp::create(*this, shared));
  Value pointer = NVVM::MapaOp::create(
      *this, theirs, LLVM::IntToPtrOp::create(*this, own, address),
      toI32(block));
  SmallVector<int64_t> strides;
  int64_t offset;
  [[maybe_unused]] LogicalResult isKnown =
      type.getStridesAndOffset(strides, offset);
  assert(succeeded(isKnown) && type.hasStaticShape() && "a buffer of a block");
  Type sizes = LLVM::LLVMArrayType::get(getI64Type(), type.getRank());
  Value all = LLVM::PoisonOp::create(
      *this, LLVM::LLVMStructType::getLiteral(
                 getContext(), {theirs, theirs, getI64Type(), sizes, sizes}));
  auto insert = [&](Value value, ArrayRef<int64_t> at) {
    all = LLVM::InsertValueOp::create(*this, all, value, at);
  };
  auto constant = [&](int64_t value) {
    return LLVM::ConstantOp::create(*this, getI64IntegerAttr(value));
  };
  insert(pointer, 0);
  insert(pointer, 1);
  insert(constant(offset), 2);
  for (int64_t i = 0; i < type.getRank(); ++i) {
    insert(constant(type.getDimSize(i)), {3, i});
    insert(constant(strides[i]), {4, i});
  }
  auto memref = MemRefType::get(
      type.getShape(), type.getElementType(), type.getLayout(),
      getI64IntegerAttr(space(NVVM::NVVMMemorySpace::SharedCluster)));
  return UnrealizedConversionCastOp::create(*this, memref, all).getResult(0);
}

void WarpBuilder::storeInAll(Value value, Value shared, ValueRange at,
                             int64_t blocks) {
  if (blocks == 1)
    return store(value, shared, at);
  for (int64_t block = 0; block < blocks; ++block)
    store(value, ofBlock(shared, index(block)), at);
}

/// An instruction that upstream dialects have no op for.
static Value callIntrinsic(WarpBuilder &b, StringRef name,
                           ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, b.getF32Type(), b.getStringAttr(name),
                                       operands)
      .getResult(0);
}

Value WarpBuilder::exp2(Value x) {
  return callIntrinsic(*this, "llvm.nvvm.ex2.approx.ftz.f32", {x});
}

Value WarpBuilder::approximateRoot(Value x) {
  return callIntrinsic(*this, "llvm.nvvm.sqrt.approx.ftz.f", {x});
}

Value WarpBuilder::subDown(Value x, Value y) {
  Value negative = arith::NegFOp::create(*this, y);
  return callIntrinsic(*this, "llvm.nvvm.add.rm.f", {x, negative});
}

Value WarpBuilder::fmaDown(Value x, Value y, Value z) {
  return callIntrinsic(*this, "llvm.nvvm.fma.rm.f", {x, y, z});
}

Value WarpBuilder::scaleByPower(float number, Value exponent, bool isInverse) {
  constexpr int64_t kExponent = 23; // its lowest bit in an f32
  Value bits = i32(llvm::bit_cast<int32_t>(number));
  Value change = arith::ShLIOp::create(*this, exponent, i32(kExponent));
  bits = isInverse ? subI(bits, change) : addI(bits, change);
  return arith::BitcastOp::create(*this, getF32Type(), bits);
}

/// Consecutive bytes as i32, or as one i16.
static SmallVector<Value> loadBytes(WarpBuilder &b, Value memref,
                                    ValueRange indices, int64_t bytes) {
  Type element = getElementTypeOrSelf(memref);
  int64_t size = 8 * bytes / element.getIntOrFloatBitWidth();
  Value loaded = vector::LoadOp::create(
      b, VectorType::get({size}, element), memref, indices,
      /*nontemporal=*/false, llvm::MaybeAlign(bytes));
  int64_t wide = std::min<int64_t>(bytes, 4), number = bytes / wide;
  Value ints = vector::BitCastOp::create(
      b, VectorType::get({number}, b.getIntegerType(8 * wide)), loaded);
  SmallVector<Value> parts;
  for (int64_t i = 0; i < number; ++i)
    parts.push_back(vector::ExtractOp::create(b, ints, ArrayRef<int64_t>{i}));
  return parts;
}

SmallVector<Value> WarpBuilder::loadWords(Value memref, ValueRange indices,
                                          int64_t number) {
  int64_t bytes =
      getElementTypeOrSelf(memref).getIntOrFloatBitWidth() / 8 * number;
  return loadBytes(*this, memref, indices, bytes);
}

SmallVector<Value> WarpBuilder::takeApart(ArrayRef<Value> words, Type element) {
  Type word = words.front().getType();
  int64_t number = words.size() * word.getIntOrFloatBitWidth() /
                   element.getIntOrFloatBitWidth(),
          numWords = words.size();
  Value all = vector::BitCastOp::create(
      *this, VectorType::get({number}, element),
      vector::FromElementsOp::create(*this, VectorType::get({numWords}, word),
                                     words));
  SmallVector<Value> elements;
  for (int64_t i = 0; i < number; ++i)
    elements.push_back(
        vector::ExtractOp::create(*this, all, ArrayRef<int64_t>{i}));
  return elements;
}

std::array<Value, 4> WarpBuilder::load16Bytes(Value memref,
                                              ValueRange indices) {
  SmallVector<Value> parts = loadBytes(*this, memref, indices, 16);
  return {parts[0], parts[1], parts[2], parts[3]};
}

std::pair<Value, Value> WarpBuilder::load8Bytes(Value memref,
                                                ValueRange indices) {
  SmallVector<Value> parts = loadBytes(*this, memref, indices, 8);
  return {parts[0], parts[1]};
}

int64_t vashista::getVectorSize(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  int64_t size = 128 / type.getElementTypeBitWidth(), offset;
  SmallVector<int64_t> strides;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return 1;
  strides.back() = type.getShape().back();
  strides.push_back(offset);
  for (int64_t stride : strides) {
    // Of rows that follow each other, strides are multiples of their size.
    if (ShapedType::isDynamic(stride) && !type.getLayout().isIdentity())
      return 1;
    while (!ShapedType::isDynamic(stride) && stride % size)
      size /= 2;
  }
  return size;
}

SmallVector<Value> WarpBuilder::loadFloats(Value memref, ValueRange indices,
                                           int64_t number) {
  Type element = getElementTypeOrSelf(memref);
  int64_t size = std::min(number, getVectorSize(memref));
  int64_t bytes = size * element.getIntOrFloatBitWidth() / 8;
  SmallVector<Value> at(indices), floats;
  for (int64_t first = 0; first < number; first += size) {
    at.back() = addI(indices.back(), index(first));
    Value loaded = vector::LoadOp::create(
        *this, VectorType::get({size}, element), memref, at,
        /*nontemporal=*/false, llvm::MaybeAlign(bytes));
    if (element.isBF16() && size % 2 == 0) {
      // Two in an i32 are f32 by a shift and a mask.
      Value pairs = vector::BitCastOp::create(
          *this, VectorType::get({size / 2}, getI32Type()), loaded);
      for (int64_t i = 0; i < size / 2; ++i) {
        Value pair =
            vector::ExtractOp::create(*this, pairs, ArrayRef<int64_t>{i});
        for (Value bits :
             {arith::ShLIOp::create(*this, pair, i32(16)).getResult(),
              andI(pair, i32(-65536))})
          floats.push_back(arith::BitcastOp::create(*this, getF32Type(), bits));
      }
      continue;
    }
    for (int64_t i = 0; i < size; ++i) {
      Value value =
          vector::ExtractOp::create(*this, loaded, ArrayRef<int64_t>{i});
      if (!element.isF32())
        value = arith::ExtFOp::create(*this, getF32Type(), value);
      floats.push_back(value);
    }
  }
  return floats;
}

/// An instruction that MLIR has no op for.
static Value emitAssembly(WarpBuilder &b, StringRef text, StringRef constraints,
                          ValueRange operands, bool isTogether) {
  auto dialect =
      LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT);
  return LLVM::InlineAsmOp::create(
             b, b.getI32Type(), operands, text, constraints,
             // Of all lanes at once: neither moved nor copied.
             /*has_side_effects=*/isTogether, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, dialect, /*operand_attrs=*/ArrayAttr())
      .getResult(0);
}

void WarpBuilder::storeFloats(ValueRange floats, Value memref,
                              ValueRange indices) {
  int64_t number = floats.size(),
          size = std::min(number, getVectorSize(memref));
  SmallVector<Value> at(indices);
  for (int64_t first = 0; first < number; first += size) {
    at.back() = addI(indices.back(), index(first));
    Value some = vector::FromElementsOp::create(
        *this, VectorType::get({size}, getF32Type()),
        floats.slice(first, size));
    vector::StoreOp::create(*this, some, memref, at, /*nontemporal=*/false,
                            llvm::MaybeAlign(4 * size));
  }
}

Value WarpBuilder::packPair(Value low, Value high, Type element) {
  StringRef text = element.isBF16() ? "cvt.rn.bf16x2.f32 $0, $1, $2;"
                                    : "cvt.rn.f16x2.f32 $0, $1, $2;";
  return emitAssembly(*this, text, "=r,f,f", {high, low}, false);
}

Value WarpBuilder::permuteBytes(Value a, Value b, Value selector) {
  return LLVM::CallIntrinsicOp::create(*this, getI32Type(),
                                       getStringAttr("llvm.nvvm.prmt"),
                                       ValueRange{a, b, selector})
      .getResult(0);
}

Value WarpBuilder::minOfHalves(Value a, Value b) {
  auto halves = VectorType::get({2}, getI16Type());
  Value least = arith::MinUIOp::create(
      *this, LLVM::BitcastOp::create(*this, halves, a).getResult(),
      LLVM::BitcastOp::create(*this, halves, b).getResult());
  return LLVM::BitcastOp::create(*this, getI32Type(), least);
}

Value WarpBuilder::transpose(Value fragment) {
  return emitAssembly(*this, "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;",
                      "=r,r", fragment, true);
}

/// `mma.sync` of fragments, the first in rows and the second in columns.
static std::array<Value, 4>
emitProduct(WarpBuilder &b, ValueRange left, ValueRange right,
            const std::array<Value, 4> &c, ArrayRef<int64_t> shape,
            NVVM::MMATypes leftType, NVVM::MMATypes rightType) {
  Type type = c[0].getType();
  auto result = LLVM::LLVMStructType::getLiteral(b.getContext(),
                                                 {type, type, type, type});
  std::optional<NVVM::MMAIntOverflow> overflow;
  if (type.isInteger())
    overflow = NVVM::MMAIntOverflow::wrapped;
  Value product = NVVM::MmaOp::create(
      b, result, left, right, ValueRange(c), shape, /*b1Op=*/std::nullopt,
      overflow, std::array<NVVM::MMATypes, 2>{leftType, rightType},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  std::array<Value, 4> sums;
  for (int64_t i = 0; i < 4; ++i)
    sums[i] = LLVM::ExtractValueOp::create(b, product, i);
  return sums;
}

std::array<Value, 4> WarpBuilder::multiply(const std::array<Value, 4> &a,
                                           const std::array<Value, 2> &b,
                                           const std::array<Value, 4> &c,
                                           Type element) {
  SmallVector<Value> left(a.begin(), a.end()), right(b.begin(), b.end());
  NVVM::MMATypes type = NVVM::MMATypes::bf16;
  if (element.isF16()) {
    type = NVVM::MMATypes::f16;
    auto pair = VectorType::get({2}, element);
    for (SmallVector<Value> *side : {&left, &right})
      for (Value &value : *side)
        value = LLVM::BitcastOp::create(*this, pair, value);
  }
  return emitProduct(*this, left, right, c, {16, 8, 16}, type, type);
}

std::array<Value, 4> WarpBuilder::multiplyBytes(const std::array<Value, 4> &a,
                                                const std::array<Value, 2> &b,
                                                const std::array<Value, 4> &c) {
  return emitProduct(*this, a, b, c, {16, 8, 32}, NVVM::MMATypes::u8,
                     NVVM::MMATypes::s8);
}
