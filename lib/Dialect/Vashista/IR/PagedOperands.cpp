//===- PagedOperands.cpp - How ops find tokens in a cache -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/PagedOperands.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace vashista;

bool PagedOperands::areConstant() const {
  return llvm::all_of(
      ArrayRef{table, lens, rows, positions}, [](const MaybeOperand &operand) {
        return !operand || matchPattern(operand.get(), m_Constant());
      });
}

bool PagedOperands::areChecked() const {
  if (!table)
    return false;
  if (Value value = positions.get())
    if (auto check = value.getDefiningOp<CheckPositionsOp>())
      return value == check.getAt() && check.getPageTable() == table.get();
  if (Value value = lens.get())
    if (auto check = value.getDefiningOp<CheckTableOp>())
      return value == check.getLens() && check.getPageTable() == table.get();
  return false;
}

static void addList(PagedOperands &paged, Value list, MutableOperandRange count,
                    bool inPages) {
  if (list)
    paged.lists.push_back({list, count, inPages});
}

PagedOperands vashista::getPagedOperands(Operation *op) {
  PagedOperands paged;
  auto addTable = [&](auto op) {
    paged.table = op.getPageTableMutable();
    paged.rows = op.getRowToSeqMutable();
  };
  auto addLengths = [&](auto op) { paged.lens = op.getSeqLensMutable(); };
  auto addPages = [&](auto op) {
    addList(paged, op.getPages(), op.getPageCountMutable(), /*inPages=*/true);
  };
  bool isPaged =
      TypeSwitch<Operation *, bool>(op)
          .Case([&](AppendOp op) {
            addTable(op);
            paged.positions = op.getPositionsMutable();
            return true;
          })
          // A sequence that is not there is its own answer.
          .Case([&](MomentOp op) {
            addLengths(op);
            return true;
          })
          .Case([&](PickOp op) {
            addLengths(op);
            addPages(op);
            return true;
          })
          .Case<ScoreOp, SelectOp>([&](auto op) {
            addTable(op);
            addLengths(op);
            addPages(op);
            return true;
          })
          .Case([&](AttendOp op) {
            addTable(op);
            addLengths(op);
            addPages(op);
            addList(paged, op.getTokens(), op.getTokenCountMutable(),
                    /*inPages=*/false);
            return true;
          })
          .Case<SummarizeOp, RouteOp, CertifyOp, FallbackOp, AttentionOp>(
              [&](auto op) {
                addTable(op);
                addLengths(op);
                return true;
              })
          .Default([](Operation *) { return false; });
  if (!isPaged)
    return paged;
  NamedDims dims = getNamedDims(op);
  int64_t pageSize = dims.size(Dim::pageSize);
  if (auto attribute = op->getAttrOfType<IntegerAttr>("page_size"))
    pageSize = attribute.getInt();
  if (!ShapedType::isDynamic(pageSize))
    paged.pageSize = pageSize;
  llvm::append_range(paged.numPages, dims.places(Dim::physPages));
  return paged;
}

Value vashista::getUnchecked(Value value) {
  auto result = dyn_cast_if_present<OpResult>(value);
  if (!result)
    return value;
  Value given =
      TypeSwitch<Operation *, Value>(result.getOwner())
          .Case([&](CheckTableOp op) -> Value {
            if (result == op.getLens())
              return op.getSeqLens();
            return result == op.getRows() ? op.getRowToSeq() : Value();
          })
          .Case([&](CheckPositionsOp op) -> Value {
            if (result == op.getAt())
              return op.getPositions();
            return result == op.getRows() ? op.getRowToSeq() : Value();
          })
          .Default([](Operation *) { return Value(); });
  return given ? getUnchecked(given) : value;
}
