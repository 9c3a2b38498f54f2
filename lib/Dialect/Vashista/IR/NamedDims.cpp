//===- NamedDims.cpp - Named dimensions of attention ops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/NamedDims.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace vashista;

StringRef vashista::describe(Dim dim) {
  switch (dim) {
  case Dim::rows:
    return "rows (R)";
  case Dim::seqs:
    return "sequences (B)";
  case Dim::heads:
    return "query heads (H)";
  case Dim::kvHeads:
    return "KV heads (Hkv)";
  case Dim::keyDim:
    return "key head dimension (D)";
  case Dim::valueDim:
    return "value head dimension (Dv)";
  case Dim::pageSize:
    return "page size (S)";
  case Dim::physPages:
    return "physical pages (N)";
  case Dim::seqPages:
    return "pages per sequence (M)";
  case Dim::listPages:
    return "listed pages (P)";
  case Dim::listTokens:
    return "listed tokens (C)";
  case Dim::taken:
    return "taken slots";
  case Dim::slots:
    return "slots (L)";
  case Dim::codeBytes:
    return "code bytes per key";
  case Dim::groups:
    return "sketch groups per key";
  case Dim::channels:
    return "channels of the sketch (Dp)";
  case Dim::normKinds:
    return "kinds of norms";
  }
  llvm_unreachable("all dimensions are described");
}

void NamedDims::bind(StringRef name, Type type, ArrayRef<Dim> dims, Value value,
                     unsigned numOwn) {
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped || !shaped.hasRank() ||
      shaped.getRank() != static_cast<int64_t>(numOwn + dims.size()))
    return;
  for (auto [i, dim] : llvm::enumerate(dims)) {
    unsigned position = numOwn + i;
    Binding &binding = bindings[index(dim)];
    int64_t size = shaped.getDimSize(position);
    if (value)
      binding.places.push_back({value, position});
    if (ShapedType::isDynamic(size))
      continue;
    if (ShapedType::isDynamic(binding.size)) {
      binding.size = size;
      binding.operand = name.str();
    } else if (binding.size != size && !conflict) {
      conflict = llvm::formatv(
          "expected dimension {0} of `{1}` ({2}) to be {3} as in `{4}`, got "
          "{5}",
          position, name, describe(dim), binding.size, binding.operand, size);
    }
  }
}

void NamedDims::fix(StringRef name, Dim dim, int64_t size) {
  Binding &binding = bindings[index(dim)];
  if (ShapedType::isDynamic(binding.size)) {
    binding.size = size;
    binding.operand = name.str();
  } else if (binding.size != size && !conflict) {
    conflict =
        llvm::formatv("expected `{0}` to be {1}, the {2} of `{3}`, got {4}",
                      name, binding.size, describe(dim), binding.operand, size);
  }
}

int64_t NamedDims::size(const Extent &extent) const {
  if (!extent.dim)
    return extent.constant;
  int64_t factor = size(*extent.dim);
  if (!extent.times || ShapedType::isDynamic(factor))
    return factor;
  int64_t times = size(*extent.times), product;
  // A product that overflows is as good as unknown.
  if (ShapedType::isDynamic(times) ||
      llvm::MulOverflow(factor, times, product) || product < 0)
    return ShapedType::kDynamic;
  return product;
}

RankedTensorType NamedDims::getType(const ResultSpec &spec) const {
  auto shape = llvm::map_to_vector(
      spec.shape, [&](const Extent &extent) { return size(extent); });
  return RankedTensorType::get(shape, spec.elementType);
}

OpFoldResult NamedDims::reify(OpBuilder &b, Location loc,
                              const Extent &extent) const {
  int64_t known = size(extent);
  if (!ShapedType::isDynamic(known))
    return b.getIndexAttr(known);
  auto reifyDim = [&](Dim dim) -> OpFoldResult {
    const Binding &binding = bindings[index(dim)];
    if (!ShapedType::isDynamic(binding.size))
      return b.getIndexAttr(binding.size);
    assert(!binding.places.empty() &&
           "a dynamic dimension comes from an operand");
    const Place &place = binding.places.front();
    return b.createOrFold<tensor::DimOp>(loc, place.value, place.position);
  };
  OpFoldResult factor = reifyDim(*extent.dim);
  if (!extent.times)
    return factor;
  Value lhs = getValueOrCreateConstantIndexOp(b, loc, factor);
  Value rhs = getValueOrCreateConstantIndexOp(b, loc, reifyDim(*extent.times));
  return b.createOrFold<arith::MulIOp>(loc, lhs, rhs);
}

bool vashista::isElement(PartElement element, Type type) {
  switch (element) {
  case PartElement::storage:
    return type.isF32() || type.isF16() || type.isBF16();
  case PartElement::f32:
    return type.isF32();
  case PartElement::i8:
    return type.isSignlessInteger(8);
  case PartElement::sketchScale:
    return type.isF16() || isa<Float8E4M3FNType>(type);
  case PartElement::residualNorm:
    return type.isF16() || isa<Float8E4M3FNType>(type) ||
           type.isSignlessInteger(8);
  }
  llvm_unreachable("all part elements are checked");
}

StringRef vashista::describe(PartElement element) {
  switch (element) {
  case PartElement::storage:
    return "f32, f16 or bf16";
  case PartElement::f32:
    return "f32";
  case PartElement::i8:
    return "i8";
  case PartElement::sketchScale:
    return "f16 or f8E4M3FN";
  case PartElement::residualNorm:
    return "f16, f8E4M3FN or i8";
  }
  llvm_unreachable("all part elements are described");
}
