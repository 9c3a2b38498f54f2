//===- SummaryRows.cpp - Which row summarises a page ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SummaryRows.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

SummaryRows::Row SummaryRows::get(Value row, Value wanted, int64_t none) {
  Row r;
  r.row = row;
  r.sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  r.length = b.maxI(b.loadIndex(lengths, row), b.index(0));
  r.full = b.divU(r.length, b.index(pageSize));
  r.rest = b.remU(r.length, b.index(pageSize));
  // Entries past the length are never read.
  Value any = b.compare(CmpIPredicate::sgt, r.rest, b.index(0));
  auto entry = scf::IfOp::create(
      b, b.andI(any, wanted),
      [&](OpBuilder &nested, Location) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        scf::YieldOp::create(b, b.loadIndex(table, {r.sequence, r.full}));
      },
      [&](OpBuilder &nested, Location loc) {
        scf::YieldOp::create(
            nested, loc,
            arith::ConstantIndexOp::create(nested, loc, none).getResult());
      });
  r.partial = entry.getResult(0);
  return r;
}

Value SummaryRows::precedes(const Row &other, const Row &mine, Value theirs,
                            Value ours) {
  Value more = b.compare(CmpIPredicate::sgt, theirs, ours);
  Value same = b.compare(CmpIPredicate::eq, theirs, ours);
  Value earlier = b.compare(CmpIPredicate::slt, other.row, mine.row);
  return b.orI(more, b.andI(same, earlier));
}

Value SummaryRows::isOutdone(const Row &mine, const Row &other) {
  Value samePage = b.compare(CmpIPredicate::eq, other.partial, mine.partial);
  Value outdone =
      b.andI(samePage, precedes(other, mine, other.rest, mine.rest));
  if (!rowToSeq)
    return outdone;
  Value sameSequence =
      b.compare(CmpIPredicate::eq, other.sequence, mine.sequence);
  Value longer =
      b.andI(sameSequence, precedes(other, mine, other.length, mine.length));
  return b.orI(outdone, longer);
}
