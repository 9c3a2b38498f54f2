//===- InsertChecks.cpp - vashista-insert-checks --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/Transforms/Passes.h"

#include "vashista/Dialect/Vashista/IR/PagedOperands.h"
#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"

namespace vashista {
#define GEN_PASS_DEF_VASHISTAINSERTCHECKSPASS
#include "vashista/Dialect/Vashista/Transforms/Passes.h.inc"
} // namespace vashista

using namespace mlir;
using namespace vashista;

namespace {

class Inserter {
public:
  explicit Inserter(func::FuncOp function)
      : block(function.getBody().front()),
        b(function.getLoc(), function.getContext()) {}

  /// Has an op follow what was checked.
  LogicalResult insert(Operation *op);

  /// Of all checks, in their order.
  SmallVector<Value> faults;

private:
  /// Whether the value is there where the checks of an op are.
  bool isAvailable(Value value) const;
  /// Where it is said how many physical pages an op reads of.
  std::optional<NamedDims::Place> findNumPages(const PagedOperands &paged);
  Value getSize(const NamedDims::Place &place) {
    return b.createOrFold<tensor::DimOp>(place.value, place.position);
  }

  /// The check that has these operands, made if there is none.
  template <typename OpTy>
  OpTy checkRows(Value given, const PagedOperands &paged,
                 const NamedDims::Place &numPages);
  CheckListOp checkList(const PagedList &list, Value lens, int64_t pageSize);
  template <typename OpTy> OpTy add(OpTy check) {
    faults.push_back(check.getFaults());
    checks.push_back(check);
    return check;
  }
  /// What was made of lengths that an op reads without a table.
  Value findChecked(Operation *op, Value lens) const;

  Block &block;
  ImplicitLocOpBuilder b;
  Operation *before = nullptr; // here are the checks of the op
  SmallVector<Operation *> checks;
  /// Sizes that a check knows of.
  llvm::DenseMap<Operation *, SmallVector<NamedDims::Place, 2>> sizes;
};

} // namespace

static Value getGiven(CheckTableOp op) { return op.getSeqLens(); }
static Value getGiven(CheckPositionsOp op) { return op.getPositions(); }

bool Inserter::isAvailable(Value value) const {
  if (!value)
    return true;
  if (value.getParentBlock() != &block)
    return false;
  Operation *op = value.getDefiningOp();
  return !op || op->isBeforeInBlock(before);
}

/// What a value was before it was updated in place or renamed by casts: as many
/// pages, and there as early as can be.
static Value getSource(Value value) {
  while (auto result = dyn_cast<OpResult>(value)) {
    if (auto cast = dyn_cast<tensor::CastOp>(result.getOwner()))
      value = cast.getSource();
    else if (auto op = dyn_cast<DestinationStyleOpInterface>(result.getOwner()))
      value = op.getTiedOpOperand(result)->get();
    else
      break;
  }
  return value;
}

std::optional<NamedDims::Place>
Inserter::findNumPages(const PagedOperands &paged) {
  std::optional<NamedDims::Place> found;
  for (const NamedDims::Place &place : paged.numPages) {
    NamedDims::Place source = {getSource(place.value), place.position};
    if (!isAvailable(source.value))
      continue;
    if (isa<BlockArgument>(source.value))
      return source;
    if (!found)
      found = source;
  }
  return found;
}

template <typename OpTy>
OpTy Inserter::checkRows(Value given, const PagedOperands &paged,
                         const NamedDims::Place &numPages) {
  for (Operation *op : checks) {
    auto check = dyn_cast<OpTy>(op);
    if (!check || getGiven(check) != given ||
        check.getPageTable() != paged.table.get() ||
        check.getRowToSeq() != paged.rows.get() ||
        static_cast<int64_t>(check.getPageSize()) != paged.pageSize)
      continue;
    bool isKnown =
        llvm::any_of(sizes[check], [&](const NamedDims::Place &known) {
          return known.value == numPages.value &&
                 known.position == numPages.position;
        });
    if (isKnown)
      return check;
    // A cache that is not there yet is checked by itself.
    Operation *made = numPages.value.getDefiningOp();
    if (made && !made->isBeforeInBlock(check))
      continue;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(check);
    check.getNumPagesMutable().assign(
        b.createOrFold<arith::MinSIOp>(check.getNumPages(), getSize(numPages)));
    sizes[check].push_back(numPages);
    return check;
  }
  Value size = getSize(numPages);
  OpTy check;
  if constexpr (std::is_same_v<OpTy, CheckTableOp>)
    check = OpTy::create(b, paged.table.get(), given, paged.rows.get(), size,
                         paged.pageSize);
  else
    check = OpTy::create(b, given, paged.table.get(), paged.rows.get(), size,
                         paged.pageSize);
  sizes[check].push_back(numPages);
  return add(check);
}

CheckListOp Inserter::checkList(const PagedList &list, Value lens,
                                int64_t pageSize) {
  SlotUnit unit = list.inPages ? SlotUnit::pages : SlotUnit::tokens;
  for (Operation *op : checks) {
    auto check = dyn_cast<CheckListOp>(op);
    if (check && check.getList() == list.list &&
        check.getListCount() == list.count.get() &&
        check.getSeqLens() == lens && check.getUnit() == unit &&
        static_cast<int64_t>(check.getPageSize()) == pageSize)
      return check;
  }
  return add(CheckListOp::create(b, list.list, list.count.get(), lens, unit,
                                 pageSize));
}

Value Inserter::findChecked(Operation *op, Value lens) const {
  // Those of its scores: canonicalisation compares them.
  if (auto pick = dyn_cast<PickOp>(op))
    if (auto score = pick.getScores().getDefiningOp<ScoreOp>())
      if (getUnchecked(score.getSeqLens()) == lens)
        return score.getSeqLens();
  for (Operation *check : checks)
    if (auto table = dyn_cast<CheckTableOp>(check))
      if (table.getSeqLens() == lens)
        return table.getLens();
  return lens;
}

/// Whether an op of the dialect makes the list, or did check it.
static bool isOwn(const PagedList &list) {
  Value value = list.list;
  while (auto cast = value.getDefiningOp<tensor::CastOp>())
    value = cast.getSource();
  Operation *op = value.getDefiningOp();
  if (op && isa<VashistaDialect>(op->getDialect()))
    return true;
  Value count = list.count.get();
  auto check = count ? count.getDefiningOp<CheckListOp>() : nullptr;
  return check && check.getList() == list.list;
}

LogicalResult Inserter::insert(Operation *op) {
  PagedOperands paged = getPagedOperands(op);
  llvm::erase_if(paged.lists, isOwn);
  bool isDone = paged.areConstant() || paged.areChecked();
  if (isDone && paged.lists.empty())
    return success();
  if (llvm::any_of(op->getOperandTypes(), llvm::IsaPred<BaseMemRefType>))
    return op->emitOpError("cannot be checked: expected tensors, got memrefs");
  before = block.findAncestorOpInBlock(*op);
  b.setInsertionPoint(before);
  b.setLoc(op->getLoc());
  bool areAvailable =
      llvm::all_of(
          ArrayRef{paged.table, paged.lens, paged.rows, paged.positions},
          [&](const MaybeOperand &operand) {
            return isAvailable(operand.get());
          }) &&
      llvm::all_of(paged.lists, [&](const PagedList &list) {
        return isAvailable(list.list) && isAvailable(list.count.get());
      });
  std::optional<NamedDims::Place> numPages = findNumPages(paged);
  if (!areAvailable || (paged.table && !numPages))
    return op->emitOpError("cannot be checked: expected its page table, rows, "
                           "lengths, positions, lists and caches to come from "
                           "outside of loops and branches, got some from "
                           "within");

  auto follow = [&](MaybeOperand &operand, Value checked, Value rows) {
    operand.set(checked);
    if (rows)
      paged.rows.set(rows);
  };
  if (!isDone && paged.table && paged.lens) {
    auto check = checkRows<CheckTableOp>(paged.lens.get(), paged, *numPages);
    follow(paged.lens, check.getLens(), check.getRows());
  } else if (!isDone && paged.table && paged.positions) {
    auto check =
        checkRows<CheckPositionsOp>(paged.positions.get(), paged, *numPages);
    follow(paged.positions, check.getAt(), check.getRows());
  } else if (!isDone && paged.lens) {
    paged.lens.set(findChecked(op, paged.lens.get()));
  }
  for (PagedList &list : paged.lists)
    list.count.set(
        checkList(list, paged.lens.get(), paged.pageSize).getCount());
  return success();
}

namespace {

struct InsertChecksPass
    : public vashista::impl::VashistaInsertChecksPassBase<InsertChecksPass> {
  using Base::Base;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || function.isPrivate())
      return;
    if (!llvm::hasSingleElement(function.getBody())) {
      function.emitError("cannot be checked: expected one block, got ")
          << function.getBody().getBlocks().size();
      return signalPassFailure();
    }
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) {
      if (isa<VashistaDialect>(op->getDialect()))
        ops.push_back(op);
    });
    Inserter inserter(function);
    for (Operation *op : ops)
      if (failed(inserter.insert(op)))
        return signalPassFailure();
    numChecks += inserter.faults.size();
    Operation *end = function.getBody().front().getTerminator();
    for (Value faults : inserter.faults) {
      if (failed(function.insertResult(function.getNumResults(),
                                       faults.getType(), {})))
        return signalPassFailure();
      end->insertOperands(end->getNumOperands(), faults);
    }
  }
};

} // namespace
