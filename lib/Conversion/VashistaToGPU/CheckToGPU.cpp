//===- CheckToGPU.cpp - vashista.check_* on a GPU -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row of a table or list. Its threads look at entries that follow
// each other, each a few at a time, and remember the first of their own that is
// at fault; the least place of all is the row's, and whose it is writes it. Of
// positions a thread has a row.
//
// Bytes: 4 of each page or entry.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/Faults.h"
#include "Kernels.h"
#include "Warp/WarpBuilder.h"

#include <limits>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

/// Entries that a thread has in flight.
constexpr int64_t kAtOnce = 8;
/// Later than all places.
constexpr int64_t kNowhere = std::numeric_limits<int32_t>::max();

/// The first fault that a thread has found, and when who looks at everything by
/// itself would have: i32.
struct Found {
  Fault fault;
  Value when;

  static Found from(ValueRange values) {
    return {Fault::from(values), values[4]};
  }
  SmallVector<Value> values() const {
    SmallVector<Value> all = fault.values();
    all.push_back(when);
    return all;
  }
};

/// A row of a block.
class RowCheck {
public:
  /// `shared` has a number for each warp.
  RowCheck(WarpBuilder &b, FaultFinder &faults, Value shared)
      : thread(b.threadId()),
        warps(cast<MemRefType>(shared.getType()).getDimSize(0)),
        threads(warps * kWarp), b(b), faults(faults), shared(shared) {}

  /// Nothing yet, or what all threads know of.
  Found begin(const Fault &fault);
  /// A fault of the numbers 0 to `end - 1`, which are looked at by turns.
  Found search(const Found &before, Value end,
               function_ref<Found(Value number)> find);
  /// What is known where `fault` was found at a time.
  Found at(const Fault &fault, Value when);
  /// Has who found the block's first fault, or that there is none, write it.
  /// Yields whether there is one.
  Value finish(const Found &found, function_ref<void(const Fault &)> write);

  const Value thread;
  const int64_t warps, threads;

private:
  /// The earlier one.
  Found first(const Found &one, const Found &other);

  WarpBuilder &b;
  FaultFinder &faults;
  Value shared;
};

} // namespace

Found RowCheck::at(const Fault &fault, Value when) {
  return {fault, b.select(faults.isFound(fault), when, b.i32(kNowhere))};
}

Found RowCheck::begin(const Fault &fault) { return at(fault, b.i32(-1)); }

Found RowCheck::first(const Found &one, const Found &other) {
  Value isEarlier = b.compare(CmpIPredicate::slt, other.when, one.when);
  SmallVector<Value> values;
  for (auto [x, y] : llvm::zip_equal(one.values(), other.values()))
    values.push_back(b.select(isEarlier, y, x));
  return Found::from(values);
}

Found RowCheck::search(const Found &before, Value end,
                       function_ref<Found(Value)> find) {
  Value last = b.subI(end, b.index(1));
  return Found::from(
      b.forLoop(thread, end, threads * kAtOnce, before.values(),
                [&](Value number, ValueRange carried) -> SmallVector<Value> {
                  Found found = Found::from(carried);
                  SmallVector<Found> next;
                  // The last once more does no harm.
                  for (int64_t i = 0; i < kAtOnce; ++i)
                    next.push_back(find(
                        b.minI(b.addI(number, b.index(i * threads)), last)));
                  for (const Found &other : next)
                    found = first(found, other);
                  return found.values();
                }));
}

Value RowCheck::finish(const Found &found,
                       function_ref<void(const Fault &)> write) {
  b.store(b.getLeastOfWarp(found.when), shared, b.divU(thread, b.index(kWarp)));
  b.barrier();
  Value least =
      b.getLeastOfWarp(b.load(shared, b.remU(thread, b.index(warps))));
  auto isLeast = [&](int64_t when) {
    return b.compare(CmpIPredicate::eq, least, b.i32(when));
  };
  Value isNone = isLeast(kNowhere);
  // What all threads know of, the first one writes. Several may have looked at
  // the last number: they write the same.
  Value isWriter = b.select(b.orI(isNone, isLeast(-1)),
                            b.compare(CmpIPredicate::eq, thread, b.index(0)),
                            b.compare(CmpIPredicate::eq, found.when, least));
  b.ifThen(isWriter, [&] { write(found.fault); });
  return b.compare(CmpIPredicate::ne, least, b.i32(kNowhere));
}

/// Has a block for each row; of `entries`, if they are known, most rows need no
/// second turn.
static void launch(WarpBuilder &b, StringRef name, int64_t entries,
                   Value perRow, ValueRange read, ValueRange written,
                   function_ref<void(Given, Value shared)> body) {
  constexpr int64_t kLeast = 8, kMost = 32;
  int64_t warps = kMost;
  if (!ShapedType::isDynamic(entries))
    warps = std::clamp<int64_t>(
        llvm::bit_ceil<uint64_t>(llvm::divideCeil(entries, kWarp * kAtOnce)),
        kLeast, kMost);
  KernelShape shape;
  shape.name = name;
  shape.gridX = b.dim(perRow, 0);
  shape.gridY = shape.gridZ = b.index(1);
  shape.threads = warps * kWarp;
  shape.isShort = true;
  b.launch(shape, read, written, b.sharedType({warps}, b.getI32Type()),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             body(Given(values), shared[0]);
           });
}

/// Replaces the op where nothing has it in a loop.
template <typename OpTy>
static LogicalResult
replace(OpTy op, PatternRewriter &rewriter,
        function_ref<void(WarpBuilder &, ArrayRef<Value> results)> launch) {
  if (op->template getParentOfType<LoopLikeOpInterface>())
    return rewriter.notifyMatchFailure(op, "expected no loop around");
  WarpBuilder b(op.getLoc(), rewriter);
  SmallVector<Value> results = allocateResults(op, b, op->getNumResults());
  launch(b, results);
  rewriter.replaceOp(op, toTensors(b, results, op->getResultTypes()));
  return success();
}

/// What a kernel that follows a page table reads: what each row is `given`,
/// then the table.
template <typename OpTy>
static SmallVector<Value> getRead(OpTy op, Value given, WarpBuilder &b) {
  SmallVector<Value> read = {b.readOnly(given), b.readOnly(op.getPageTable()),
                             op.getNumPages()};
  if (op.getRowToSeq())
    read.push_back(b.readOnly(op.getRowToSeq()));
  return read;
}
template <typename OpTy>
static TableFaults takeTable(OpTy op, Given &given, WarpBuilder &b) {
  Value table = given.take(), numPages = given.take();
  Value rows = given.take(op.getRowToSeq() != nullptr);
  return TableFaults(b, table, rows, numPages, op.getPageSize());
}

LogicalResult vashista::launchCheck(CheckTableOp op,
                                    PatternRewriter &rewriter) {
  return replace(op, rewriter, [&](WarpBuilder &b, ArrayRef<Value> results) {
    SmallVector<Value> read = getRead(op, op.getSeqLens(), b);
    int64_t pages = cast<ShapedType>(op.getPageTable().getType()).getDimSize(1);
    launch(b, "check_table", pages, read[0], read, results,
           [&](Given given, Value shared) {
             Value lens = given.take();
             TableFaults faults = takeTable(op, given, b);
             RowCheck check(b, faults, shared);
             Value row = b.blockId(gpu::Dimension::x);
             Value sequence = faults.getSequence(row);
             Value length = b.loadIndex(lens, row);
             Fault fault = faults.ofLength(sequence, length);
             Found found = check.search(
                 check.begin(fault), faults.countPages(fault, length),
                 [&](Value page) {
                   return check.at(faults.ofPage(sequence, page),
                                   b.toI32(page));
                 });
             check.finish(found, [&](const Fault &first) {
               faults.store(first, row, lens, /*instead=*/0, given.values);
             });
           });
  });
}

LogicalResult vashista::launchCheck(CheckPositionsOp op,
                                    PatternRewriter &rewriter) {
  return replace(op, rewriter, [&](WarpBuilder &b, ArrayRef<Value> results) {
    SmallVector<Value> read = getRead(op, op.getPositions(), b);
    KernelShape shape;
    shape.name = "check_positions";
    shape.threads = 4 * kWarp;
    shape.gridX = arith::CeilDivUIOp::create(b, b.dim(read[0], 0),
                                             b.index(shape.threads));
    shape.gridY = shape.gridZ = b.index(1);
    shape.isShort = true;
    b.launch(
        shape, read, results, {}, [&](ArrayRef<Value> values, ArrayRef<Value>) {
          Given given(values);
          Value positions = given.take();
          TableFaults faults = takeTable(op, given, b);
          Value block = b.blockId(gpu::Dimension::x);
          Value row =
              b.addI(b.mulI(block, b.index(shape.threads)), b.threadId());
          Value isThere =
              b.compare(CmpIPredicate::ult, row, b.dim(positions, 0));
          b.ifThen(isThere, [&] {
            Fault fault = faults.ofPosition(row, b.loadIndex(positions, row));
            faults.store(fault, row, positions, /*instead=*/-1, given.values);
          });
        });
  });
}

LogicalResult vashista::launchCheck(CheckListOp op, PatternRewriter &rewriter) {
  auto type = cast<RankedTensorType>(op.getList().getType());
  int64_t heads = type.getDimSize(1), capacity = type.getDimSize(2), times;
  // A count, then its entries.
  if (type.isDynamicDim(1) || type.isDynamicDim(2) ||
      llvm::MulOverflow(heads, capacity + 1, times) || times >= kNowhere)
    return rewriter.notifyMatchFailure(op, "expected lists of a static size");
  return replace(op, rewriter, [&](WarpBuilder &b, ArrayRef<Value> results) {
    SmallVector<Value> read = {b.readOnly(op.getSeqLens()),
                               b.readOnly(op.getList())};
    if (op.getListCount())
      read.push_back(b.readOnly(op.getListCount()));
    launch(
        b, "check_list", heads * capacity, read[0], read, results,
        [&](Given given, Value shared) {
          Value lens = given.take(), list = given.take();
          Value counts = given.take(op.getListCount() != nullptr);
          ListFaults faults(b, op, list, counts);
          RowCheck check(b, faults, shared);
          Value row = b.blockId(gpu::Dimension::x);
          Value length = b.loadIndex(lens, row);
          Value visible = faults.countVisible(length);
          Fault fault = faults.ofLength(length);
          auto unlessFound = [&](int64_t number) {
            return b.select(faults.isFound(fault), b.index(0), b.index(number));
          };
          Found found = check.begin(fault);
          if (counts)
            found = check.search(found, unlessFound(heads), [&](Value head) {
              return check.at(faults.ofCount(head, faults.getCount(row, head)),
                              b.toI32(b.mulI(head, b.index(capacity + 1))));
            });
          // A bad count comes before its entries, however many it says.
          found = check.search(
              found, unlessFound(heads * capacity), [&](Value entry) {
                Value head = b.divU(entry, b.index(capacity));
                Value number = b.remU(entry, b.index(capacity));
                Value count = faults.getCount(row, head);
                Fault own = faults.ofEntry(row, head, number, visible);
                Value isListed = b.compare(CmpIPredicate::slt, number, count);
                own.what = b.select(isListed, own.what, b.i32(0));
                Value when = b.addI(b.addI(entry, head), b.index(1));
                return check.at(own, b.toI32(when));
              });
          Value isAny = check.finish(found, [&](const Fault &first) {
            faults.FaultFinder::store(first, given.values[1], row);
          });
          b.forLoop(check.thread, b.index(heads), check.threads,
                    [&](Value head) {
                      faults.storeCount(isAny, row, head, given.values[0]);
                    });
        });
  });
}
