//===- PagedOperands.h - How ops find tokens in a cache ---------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What a caller can get wrong: the operands that ops follow to the pages of a
// cache. Who describes or inserts checks asks here, so that both know the same.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_IR_PAGEDOPERANDS_H
#define VASHISTA_DIALECT_VASHISTA_IR_PAGEDOPERANDS_H

#include "vashista/Dialect/Vashista/IR/NamedDims.h"

#include "mlir/IR/ValueRange.h"

namespace vashista {

/// An operand of an op, which may be absent.
class MaybeOperand {
public:
  MaybeOperand() = default;
  MaybeOperand(mlir::MutableOperandRange range) : range(range) {}
  MaybeOperand(mlir::OpOperand &operand) : range(operand) {}

  /// Null where it is absent.
  mlir::Value get() const {
    return range && !range->empty() ? mlir::OperandRange(*range)[0]
                                    : mlir::Value();
  }
  explicit operator bool() const { return static_cast<bool>(get()); }
  /// Where it is absent it is added.
  void set(mlir::Value value) { range->assign(value); }

private:
  std::optional<mlir::MutableOperandRange> range;
};

/// Logical pages or tokens [R, Hkv, C], and how many of them [R, Hkv].
struct PagedList {
  mlir::Value list;
  MaybeOperand count;
  bool inPages;
};

struct PagedOperands {
  MaybeOperand table, lens, rows, positions;
  llvm::SmallVector<PagedList, 1> lists;
  /// Tokens per page; 1 where nothing says.
  int64_t pageSize = 1;
  /// Where the op says how many physical pages there are: dimensions of caches
  /// and of what is kept beside them, all of one size.
  llvm::SmallVector<NamedDims::Place> numPages;

  /// Whether the module itself fixes all but lists, which nobody can get wrong.
  bool areConstant() const;
  /// Whether checks of the table made the lengths or positions.
  bool areChecked() const;
};

/// Nothing for an op that follows no pages. Of checks, nothing either.
PagedOperands getPagedOperands(mlir::Operation *op);

/// What a check was given for what it made of it, else the value.
mlir::Value getUnchecked(mlir::Value value);

} // namespace vashista

#endif // VASHISTA_DIALECT_VASHISTA_IR_PAGEDOPERANDS_H
