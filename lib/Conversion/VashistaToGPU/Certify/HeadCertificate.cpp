//===- HeadCertificate.cpp - A warp certifies a head ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HeadCertificate.h"

#include "../../VashistaToVector/Certificate.h"
#include "../../VashistaToVector/UpperBounds.h"
#include "PageNorms.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

std::array<Value, 2> HeadCertificate::joinLargest(Value largest, Value row,
                                                  Value kvHead) {
  SmallVector<Value> none(2, b.f32(0.0f));
  SmallVector<Value> own = b.forLoop(
      getLane(), b.dim(largest, 2), kWarp, none,
      [&](Value block, ValueRange carried) -> SmallVector<Value> {
        Value found =
            vector::LoadOp::create(b, b.vectorType(2), largest,
                                   ValueRange{row, kvHead, block, b.index(0)},
                                   /*nontemporal=*/false, llvm::MaybeAlign(8));
        SmallVector<Value> next;
        for (int64_t i = 0; i < 2; ++i)
          next.push_back(getLargerNorm(
              b, carried[i],
              vector::ExtractOp::create(b, found, ArrayRef<int64_t>{i})));
        return next;
      });
  auto join = [&](Value x, Value y) { return getLargerNorm(b, x, y); };
  return {b.combine(own[0], join), b.combine(own[1], join)};
}

HeadCertificate::Loaded HeadCertificate::load(const State &state, Value row,
                                              Value head) {
  // All loads first: after what a step reads, each is one from memory.
  Loaded loaded;
  Value at[] = {row, head};
  loaded.direction = loadVector(state.direction, row, head);
  loaded.o = loadVector(state.o, row, head);
  loaded.lse = b.load(state.lse, at);
  loaded.tail = b.load(state.tail, at);
  if (state.gap)
    loaded.gap = b.load(state.gap, at);
  return loaded;
}

SmallVector<Value> HeadCertificate::certify(const Loaded &loaded, Value length,
                                            const std::array<Value, 2> &norms) {
  Certificate::Head known;
  known.lse = widen(b, loaded.lse);
  known.tail = widen(b, loaded.tail);
  known.direction = getNorm(loaded.direction);
  known.output = getNorm(loaded.o);
  known.keyNorm = widen(b, norms[0]);
  known.valueNorm = widen(b, norms[1]);
  known.tokens = arith::UIToFPOp::create(
      b, b.getF64Type(), arith::IndexCastOp::create(b, b.getI64Type(), length));
  if (loaded.gap)
    known.gap = widen(b, loaded.gap);
  return Certificate(op, b).certify(known);
}

void HeadCertificate::store(ArrayRef<Value> made, ArrayRef<Value> to, Value row,
                            Value head) {
  Value isFirst = b.compare(CmpIPredicate::eq, getLane(), b.index(0));
  b.ifThen(isFirst, [&] {
    for (auto [result, place] : llvm::zip_equal(made, to))
      b.store(result, place, {row, head});
  });
}

SmallVector<std::pair<Value, Value>>
HeadCertificate::loadVector(Value vectors, Value row, Value head) {
  SmallVector<std::pair<Value, Value>> loaded;
  int64_t size = cast<MemRefType>(vectors.getType()).getDimSize(2);
  for (int64_t first = 0; first < size; first += kWarp) {
    Value channel = b.addI(getLane(), b.index(first));
    Value isThere = b.compare(CmpIPredicate::ult, channel, b.index(size));
    channel = b.minI(channel, b.index(size - 1));
    loaded.push_back({b.load(vectors, {row, head, channel}), isThere});
  }
  return loaded;
}

Value HeadCertificate::getNorm(ArrayRef<std::pair<Value, Value>> vector) {
  Value squares = f64(b, 0.0);
  for (auto [channel, isThere] : vector) {
    Value x = widen(b, channel);
    x = b.select(isThere, x, f64(b, 0.0));
    squares = b.addF(squares, b.mulF(x, x));
  }
  return b.sqrt(
      b.combine(squares, [&](Value x, Value y) { return b.addF(x, y); }));
}
