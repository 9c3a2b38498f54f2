//===- Faults.cpp - What is at fault in a row -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Faults.h"

#include <limits>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

/// Lengths, positions and page ids are i32: more makes no difference.
constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

Value FaultFinder::i32(int64_t value) {
  return arith::ConstantOp::create(
      b, b.getI32IntegerAttr(static_cast<int32_t>(value)));
}

Value FaultFinder::toI32(Value index) {
  return b.createOrFold<arith::IndexCastOp>(b.getI32Type(), index);
}

Value FaultFinder::isFound(const Fault &fault) {
  return b.compare(CmpIPredicate::ne, fault.what,
                   i32(static_cast<int64_t>(FaultKind::none)));
}

Fault FaultFinder::first(const Fault &fault, const Fault &next) {
  Value is = isFound(fault);
  SmallVector<Value> values;
  for (auto [one, other] : llvm::zip_equal(fault.values(), next.values()))
    values.push_back(b.select(is, one, other));
  return Fault::from(values);
}

Fault FaultFinder::unless(Value isWell, FaultKind kind, Value place, Value got,
                          Value size) {
  Value limit = b.minI(b.subI(size, b.index(1)), b.index(kMost));
  SmallVector<Value> values = {i32(static_cast<int64_t>(kind)), toI32(place),
                               toI32(got), toI32(limit)};
  Value zero = i32(0);
  for (Value &value : values)
    value = b.select(isWell, zero, value);
  return Fault::from(values);
}

Fault FaultFinder::unlessWithin(FaultKind kind, Value place, Value got,
                                Value size) {
  Value isWell = b.andI(b.compare(CmpIPredicate::sge, got, b.index(0)),
                        b.compare(CmpIPredicate::slt, got, size));
  return unless(isWell, kind, place, got, size);
}

Fault FaultFinder::unlessBelow(FaultKind kind, Value place, Value got,
                               Value size) {
  return unless(b.compare(CmpIPredicate::slt, got, size), kind, place, got,
                size);
}

void FaultFinder::store(const Fault &fault, Value faults, Value row) {
  for (auto [i, value] : llvm::enumerate(fault.values()))
    b.store(value, faults, {row, b.index(i)});
}

/// Pages of so many tokens.
static Value countPagesOf(KernelBuilder &b, Value tokens, int64_t pageSize) {
  return b.divU(b.addI(tokens, b.index(pageSize - 1)), b.index(pageSize));
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

Value TableFaults::getCapacity() {
  // Of a table that is wider the product might overflow.
  Value pages = b.minI(b.dim(table, 1), b.index(kMost + 1));
  return b.mulI(pages, b.index(pageSize));
}

Fault TableFaults::ofSequence(Value sequence) {
  return unlessWithin(FaultKind::table_row, b.index(0), sequence,
                      b.dim(table, 0));
}

Fault TableFaults::ofLength(Value sequence, Value length) {
  return first(ofSequence(sequence),
               unlessWithin(FaultKind::length, b.index(0), length,
                            b.addI(getCapacity(), b.index(1))));
}

Fault TableFaults::ofPage(Value sequence, Value logicalPage) {
  Value page = b.loadIndex(table, {sequence, logicalPage});
  return unlessWithin(FaultKind::page, logicalPage, page, numPages);
}

Fault TableFaults::ofPosition(Value row, Value position) {
  Value sequence = getSequence(row);
  Fault fault =
      first(ofSequence(sequence), unlessBelow(FaultKind::position, b.index(0),
                                              position, getCapacity()));
  Value isWell = b.compare(CmpIPredicate::eq, fault.what, i32(0));
  Value isWritten = b.compare(CmpIPredicate::sge, position, b.index(0));
  return Fault::from(b.ifThen(b.andI(isWell, isWritten), fault.values(), [&] {
    return ofPage(sequence, b.divU(position, b.index(pageSize))).values();
  }));
}

Value TableFaults::countPages(const Fault &before, Value length) {
  return b.select(isFound(before), b.index(0),
                  countPagesOf(b, length, pageSize));
}

void TableFaults::store(const Fault &fault, Value row, Value given,
                        int64_t instead, ArrayRef<Value> results) {
  Value is = isFound(fault);
  b.store(b.select(is, i32(instead), b.load(given, row)), results.front(), row);
  if (rows)
    b.store(b.select(is, i32(0), b.load(rows, row)), results[1], row);
  FaultFinder::store(fault, results.back(), row);
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

Fault ListFaults::ofLength(Value length) {
  return unlessWithin(FaultKind::length, b.index(0), length,
                      b.index(kMost + 1));
}

Value ListFaults::countVisible(Value length) {
  return op.getUnit() == SlotUnit::pages
             ? countPagesOf(b, length, op.getPageSize())
             : length;
}

Value ListFaults::getCount(Value row, Value head) {
  return counts ? b.loadIndex(counts, {row, head}) : b.dim(list, 2);
}

Fault ListFaults::ofCount(Value head, Value count) {
  return unlessWithin(FaultKind::count, head, count,
                      b.addI(b.dim(list, 2), b.index(1)));
}

Fault ListFaults::ofEntry(Value row, Value head, Value number, Value visible) {
  Value entry = b.loadIndex(list, {row, head, number});
  return unlessBelow(FaultKind::entry,
                     b.addI(b.mulI(head, b.dim(list, 2)), number), entry,
                     visible);
}

void ListFaults::storeCount(Value isFound, Value row, Value head, Value made) {
  Value count = toI32(b.minI(getCount(row, head), b.index(kMost)));
  b.store(b.select(isFound, i32(0), count), made, {row, head});
}
