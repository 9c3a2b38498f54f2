//===- SummaryRows.h - Which row summarises a page --------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Rows and sequences may share physical pages. A page is summarised over the
// most tokens that any row sees of it, so its result does not depend on the
// order:
//
//   * of the rows of a sequence, the longest works (of equals the first);
//   * pages that a row sees part of come first, and only where no other row
//     sees more of that page as its last one;
//   * pages that a row sees all of come second and overwrite.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SUMMARYROWS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SUMMARYROWS_H

#include "KernelBuilder.h"

namespace vashista {

class SummaryRows {
public:
  using Value = mlir::Value;

  /// `rowToSeq` may be null.
  SummaryRows(KernelBuilder &b, Value table, Value lengths, Value rowToSeq,
              int64_t pageSize)
      : b(b), table(table), lengths(lengths), rowToSeq(rowToSeq),
        pageSize(pageSize) {}

  /// What a row sees: `full` pages, and `rest` tokens of one more where that is
  /// not 0: then and if `wanted`, `partial` is its physical page, else `none`.
  struct Row {
    Value row, sequence, length, full, rest, partial;
  };
  Row get(Value row, Value wanted, int64_t none);

  /// Whether another row summarises the pages of a first one.
  Value isOutdone(const Row &mine, const Row &other);

private:
  /// Whether another row comes before this one: it has more, or is earlier.
  Value precedes(const Row &other, const Row &mine, Value theirs, Value ours);

  KernelBuilder &b;
  Value table, lengths, rowToSeq;
  const int64_t pageSize;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_SUMMARYROWS_H
