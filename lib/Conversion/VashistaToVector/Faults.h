//===- Faults.h - What is at fault in a row ---------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The parts of check_table, check_positions and check_list, for one thread that
// looks at all of a row as for many that look at some of it: what is accepted
// is said once, who looks at what and when is up to each.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_FAULTS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_FAULTS_H

#include "KernelBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// i32 each; all 0 where nothing is at fault.
struct Fault {
  mlir::Value what, place, got, limit;

  static Fault from(mlir::ValueRange values) {
    return {values[0], values[1], values[2], values[3]};
  }
  llvm::SmallVector<mlir::Value> values() const {
    return {what, place, got, limit};
  }
};

/// What is accepted of a row. Indices are `index`, buffers of i32.
class FaultFinder {
public:
  using Value = mlir::Value;
  explicit FaultFinder(KernelBuilder &b) : b(b) {}

  Value isFound(const Fault &fault);
  /// The first that is a fault.
  Fault first(const Fault &fault, const Fault &next);
  /// Its row of a check's last result.
  void store(const Fault &fault, Value faults, Value row);

protected:
  /// Of a number that is to be 0 to `size - 1`.
  Fault unlessWithin(FaultKind kind, Value place, Value got, Value size);
  /// Of one that may be negative, too; `size` is not.
  Fault unlessBelow(FaultKind kind, Value place, Value got, Value size);
  Value i32(int64_t value);
  Value toI32(Value index);

  KernelBuilder &b;

private:
  Fault unless(Value isWell, FaultKind kind, Value place, Value got,
               Value size);
};

/// Of rows and their pages, through a page table. Without buffers of rows, row
/// r has table row r.
class TableFaults : public FaultFinder {
public:
  TableFaults(KernelBuilder &b, Value table, Value rows, Value numPages,
              int64_t pageSize)
      : FaultFinder(b), table(table), rows(rows), numPages(numPages),
        pageSize(pageSize) {}

  Value getSequence(Value row) { return rows ? b.loadIndex(rows, row) : row; }
  /// Of a row and its length, before its pages.
  Fault ofLength(Value sequence, Value length);
  /// Of a page that the table has.
  Fault ofPage(Value sequence, Value logicalPage);
  /// Of a row and its position.
  Fault ofPosition(Value row, Value position);
  /// Pages to look at; none where something was found before.
  Value countPages(const Fault &before, Value length);
  /// What is left of the row: what was `given`, or `instead` of a row at fault,
  /// its table row, and what was found.
  void store(const Fault &fault, Value row, Value given, int64_t instead,
             llvm::ArrayRef<Value> results);

private:
  Fault ofSequence(Value sequence);
  /// Tokens that a row of the table has room for.
  Value getCapacity();

  Value table, rows, numPages;
  int64_t pageSize;
};

/// Of lists of pages or tokens.
class ListFaults : public FaultFinder {
public:
  ListFaults(KernelBuilder &b, CheckListOp op, Value list, Value counts)
      : FaultFinder(b), op(op), list(list), counts(counts) {}

  Fault ofLength(Value length);
  /// Pages or tokens of a length that is not negative.
  Value countVisible(Value length);
  Value getCount(Value row, Value head);
  Fault ofCount(Value head, Value count);
  Fault ofEntry(Value row, Value head, Value number, Value visible);
  /// What is left of a head's list.
  void storeCount(Value isFound, Value row, Value head, Value made);

private:
  CheckListOp op;
  Value list, counts;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_FAULTS_H
