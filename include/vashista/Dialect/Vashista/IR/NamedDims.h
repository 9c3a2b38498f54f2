//===- NamedDims.h - Named dimensions of attention ops -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The vocabulary that shape checks, shape inference and shape reification
// share: every op lists, once, which named dimension each dimension of its
// operands and results is. From that list follow the verifier's agreement
// check, the inferred result types and the reified result shapes.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_NAMEDDIMS_H
#define VASHISTA_DIALECT_VASHISTA_IR_NAMEDDIMS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <array>
#include <optional>
#include <string>

namespace vashista {

/// The dimensions of docs/reference/VashistaDialect.md.
enum class Dim : unsigned {
  rows,       // R
  seqs,       // B
  heads,      // H
  kvHeads,    // Hkv
  keyDim,     // D
  valueDim,   // Dv
  pageSize,   // S
  physPages,  // N
  seqPages,   // M
  listPages,  // P
  listTokens, // C
  taken,      // capacity of a `taken` list
  slots,      // L
  codeBytes,  // bytes of one key's sketch codes
  groups,     // scale groups of one key's sketch
  channels,   // Dp: channels of a sketch, D rounded up to groups
  normKinds,  // the pair (key norm, value norm)
};
inline constexpr unsigned kNumDims = static_cast<unsigned>(Dim::normKinds) + 1;

/// "query heads (H)" and so on, for messages.
llvm::StringRef describe(Dim dim);

/// One extent of a result: a constant, a dimension, or a product of two.
struct Extent {
  Extent(int64_t constant) : constant(constant) {}
  Extent(Dim dim) : dim(dim) {}
  Extent(Dim dim, Dim times) : dim(dim), times(times) {}

  int64_t constant = mlir::ShapedType::kDynamic;
  std::optional<Dim> dim, times;
};

/// Shape and element type of one result.
struct ResultSpec {
  llvm::SmallVector<Extent, 4> shape;
  mlir::Type elementType;
};

/// What the operands of one op say about each named dimension.
class NamedDims {
public:
  /// Declares that the dimensions of `type`, which belongs to the operand
  /// `name` and, where there is an IR, to `value`, are `dims`, but for the
  /// first `numOwn`, which it shares with no other. The first static size of a
  /// dimension wins; a later one that differs is kept as a conflict. A type
  /// whose rank differs from `dims` declares nothing: ranks are checked
  /// elsewhere, and inference runs before any check.
  void bind(llvm::StringRef name, mlir::Type type, llvm::ArrayRef<Dim> dims,
            mlir::Value value = {}, unsigned numOwn = 0);

  /// The same for an operand, which may be absent.
  void bind(llvm::StringRef name, mlir::Value value, llvm::ArrayRef<Dim> dims) {
    if (value)
      bind(name, value.getType(), dims, value);
  }

  /// Declares a size that an attribute fixes.
  void fix(llvm::StringRef name, Dim dim, int64_t size);

  /// The size, or kDynamic where no operand says.
  int64_t size(Dim dim) const { return bindings[index(dim)].size; }
  int64_t size(const Extent &extent) const;

  /// "expected dimension 2 of `v_cache` (page size (S)) to be 16 as in
  /// `k_cache`, got 8": the first conflict, if any.
  const std::optional<std::string> &getConflict() const { return conflict; }

  /// A dimension of a value.
  struct Place {
    mlir::Value value;
    unsigned position = 0;
  };
  /// Where the dimension occurs among the operands, in their order.
  llvm::ArrayRef<Place> places(Dim dim) const {
    return bindings[index(dim)].places;
  }

  /// The type of a result.
  mlir::RankedTensorType getType(const ResultSpec &spec) const;

  /// The size as IR: an attribute or a value made at the insertion point.
  mlir::OpFoldResult reify(mlir::OpBuilder &b, mlir::Location loc,
                           const Extent &extent) const;

private:
  struct Binding {
    int64_t size = mlir::ShapedType::kDynamic;
    std::string operand; // who fixed the size, or declared it first
    llvm::SmallVector<Place, 4> places;
  };
  static unsigned index(Dim dim) { return static_cast<unsigned>(dim); }

  std::array<Binding, kNumDims> bindings;
  std::optional<std::string> conflict;
};

/// What the operands of a vashista op say; nothing for another op.
NamedDims getNamedDims(mlir::Operation *op);

/// Which element types a part of a key source may have.
enum class PartElement { storage, f32, i8, sketchScale, residualNorm };

/// One tensor of a key source: its name, dimensions and element type.
struct SourcePart {
  llvm::StringRef name;
  llvm::SmallVector<Dim, 4> dims;
  PartElement element;
};

bool isElement(PartElement element, mlir::Type type);
llvm::StringRef describe(PartElement element);

} // namespace vashista

#endif // VASHISTA_DIALECT_VASHISTA_IR_NAMEDDIMS_H
