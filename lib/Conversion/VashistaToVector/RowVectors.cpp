//===- RowVectors.cpp - Rows of a cache as vectors of f32 -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowVectors.h"

using namespace mlir;
using namespace vashista;

int64_t vashista::getLargestDivisor(int64_t value, int64_t limit) {
  for (int64_t divisor = std::min(value, limit); divisor > 1; --divisor)
    if (value % divisor == 0)
      return divisor;
  return 1;
}

RowVectors::RowVectors(KernelBuilder &b, int64_t dim, int64_t lanes,
                       ArrayRef<Type> elements, int64_t maxParts)
    : dim(dim), lanes(lanes), b(b) {
  int64_t bytes = 1;
  for (Type element : elements)
    bytes = std::max<int64_t>(bytes, element.getIntOrFloatBitWidth() / 8);
  while (2 * parts <= maxParts && 2 * getStep() * bytes <= kLineBytes &&
         dim % (2 * getStep()) == 0)
    parts *= 2;
  paired = parts > 1 &&
           llvm::all_of(elements, [](Type type) { return type.isBF16(); });
}

SmallVector<Value> RowVectors::loadConsecutive(Value memref,
                                               ValueRange indices) {
  SmallVector<Value> at(indices), vectors;
  for (int64_t part = 0; part < parts; ++part) {
    at.back() = b.addI(indices.back(), b.index(part * lanes));
    vectors.push_back(b.loadVector(memref, at, lanes));
  }
  return vectors;
}

void RowVectors::store(ArrayRef<Value> vectors, Value memref,
                       ValueRange indices) {
  SmallVector<Value> at(indices);
  for (auto [part, vector] : llvm::enumerate(vectors)) {
    at.back() = b.addI(indices.back(), b.index(part * lanes));
    b.storeVector(vector, memref, at);
  }
}

SmallVector<Value> RowVectors::loadPairs(Value memref, ValueRange indices) {
  auto type = VectorType::get({2 * lanes}, b.getBF16Type());
  SmallVector<Value> at(indices), pairs;
  for (int64_t part = 0; part < parts; part += 2) {
    at.back() = b.addI(indices.back(), b.index(part * lanes));
    pairs.push_back(vector::LoadOp::create(b, type, memref, at));
  }
  return pairs;
}

SmallVector<Value> RowVectors::load(Value memref, ValueRange indices) {
  if (!paired)
    return loadConsecutive(memref, indices);
  auto ints = VectorType::get({lanes}, b.getI32Type());
  auto constant = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(b, DenseElementsAttr::get(ints, value));
  };
  auto toFloats = [&](Value bits) -> Value {
    return vector::BitCastOp::create(b, b.vectorType(lanes), bits);
  };
  SmallVector<Value> vectors;
  for (Value pairs : loadPairs(memref, indices)) {
    // The first of two elements is the lower half.
    Value bits = vector::BitCastOp::create(b, ints, pairs);
    vectors.push_back(toFloats(arith::ShLIOp::create(b, bits, constant(16))));
    vectors.push_back(toFloats(
        arith::AndIOp::create(b, bits, constant(int32_t(0xffff0000)))));
  }
  return vectors;
}

SmallVector<Value> RowVectors::shufflePairs(ArrayRef<Value> vectors,
                                            bool restoring) {
  if (!paired)
    return SmallVector<Value>(vectors);
  SmallVector<int64_t> masks[2];
  for (int64_t i = 0; i < 2 * lanes; ++i) {
    int64_t half = i / lanes, at = i % lanes;
    masks[half].push_back(restoring ? i / 2 + i % 2 * lanes : 2 * at + half);
  }
  SmallVector<Value> result;
  for (size_t i = 0; i < vectors.size(); i += 2)
    for (ArrayRef<int64_t> mask : masks)
      result.push_back(b.shuffle(vectors[i], vectors[i + 1], mask));
  return result;
}

SmallVector<Value> RowVectors::permute(ArrayRef<Value> vectors) {
  return shufflePairs(vectors, /*restoring=*/false);
}

SmallVector<Value> RowVectors::restore(ArrayRef<Value> vectors) {
  return shufflePairs(vectors, /*restoring=*/true);
}
