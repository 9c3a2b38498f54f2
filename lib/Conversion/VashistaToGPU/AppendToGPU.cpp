//===- AppendToGPU.cpp - vashista.append on a GPU -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row and KV head. Several rows may write to one page, in order:
// the block of the first of them applies them all, those of the others end. The
// row that is next is looked for by all threads, a row each.
//
// Bytes: of each page that is written to, the tokens up to the new one, keys
// and, for norms, values.
//
//===----------------------------------------------------------------------===//

#include "KeepPages.h"
#include "Kernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

/// A block has the time of one page: as many threads as find work in it.
constexpr int64_t kWarps = 8;

class AppendLauncher {
public:
  AppendLauncher(AppendOp op, WarpBuilder &b) : op(op), b(b) {}

  void launch();

private:
  void emit(Value row);
  /// Where a row's token goes, whose position is not negative.
  Value getPage(Value row, Value position);
  /// The first row, from one on, that writes to a page; i32. If there is none,
  /// the number of rows.
  Value findRow(Value page, Value first);
  /// Writes a row's token, and keeps.
  void append(Value row, Value page);
  /// Bits are copied as they are: a conversion would quieten NaN.
  void copy(Value from, Value row, Value cache, Value page, Value token);

  AppendOp op;
  WarpBuilder &b;
  // Of the kernel.
  std::optional<KeepPages> pages;
  Value key, value, positions, table, rowToSeq, keys, values;
  Value kvHead, numRows;
};

} // namespace

void AppendLauncher::launch() {
  SmallVector<Value> read = {op.getKey(), op.getValue(), op.getPositions(),
                             op.getPageTable()};
  if (op.getRowToSeq())
    read.push_back(op.getRowToSeq());
  pages.emplace(op, b, kWarps);
  SmallVector<Value> written = {op.getKCache(), op.getVCache()};
  llvm::append_range(written, pages->getWritten());
  KernelShape shape;
  shape.name = "append";
  shape.gridX = b.dim(op.getKey(), 0);
  shape.gridY = b.dim(op.getKey(), 1);
  shape.gridZ = b.index(1);
  shape.threads = pages->getThreads();
  shape.residentBlocks = pages->getResidentBlocks();
  shape.readsWritten = true;
  b.launch(shape, read, written, pages->getShared(),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given given(values);
             for (Value *place : {&key, &value, &positions, &table})
               *place = given.take();
             rowToSeq = given.take(op.getRowToSeq() != nullptr);
             keys = given.take();
             this->values = given.take();
             pages->begin(keys, this->values, given, shared);
             kvHead = b.blockId(gpu::Dimension::y);
             numRows = b.dim(positions, 0);
             emit(b.blockId(gpu::Dimension::x));
           });
}

Value AppendLauncher::getPage(Value row, Value position) {
  Value sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  return b.loadIndex(
      table, {sequence, b.divU(position, b.index(pages->getPageSize()))});
}

Value AppendLauncher::findRow(Value page, Value first) {
  Value found =
      b.forLoop(b.addI(first, b.threadId()), numRows, pages->getThreads(),
                b.toI32(numRows),
                [&](Value row, ValueRange carried) -> SmallVector<Value> {
                  Value position = b.loadIndex(positions, row);
                  Value isWritten =
                      b.compare(CmpIPredicate::sge, position, b.index(0));
                  auto least = scf::IfOp::create(b, b.getI32Type(), isWritten,
                                                 /*withElseRegion=*/true);
                  OpBuilder::InsertionGuard guard(b);
                  b.setInsertionPointToStart(least.thenBlock());
                  Value is = b.compare(CmpIPredicate::eq,
                                       getPage(row, position), page);
                  Value earlier =
                      arith::MinUIOp::create(b, carried[0], b.toI32(row));
                  scf::YieldOp::create(b, b.select(is, earlier, carried[0]));
                  b.setInsertionPointToStart(least.elseBlock());
                  scf::YieldOp::create(b, carried[0]);
                  return {least.getResult(0)};
                })
          .front();
  return pages->getLeast(found);
}

void AppendLauncher::copy(Value from, Value row, Value cache, Value page,
                          Value token) {
  Type element = getElementTypeOrSelf(cache);
  int64_t size = std::min(getVectorSize(from), getVectorSize(cache));
  llvm::MaybeAlign align(size * element.getIntOrFloatBitWidth() / 8);
  b.forLoop(b.mulI(b.threadId(), b.index(size)), b.index(getHeadDim(cache)),
            pages->getThreads() * size, [&](Value channel) {
              Value bits =
                  vector::LoadOp::create(b, VectorType::get({size}, element),
                                         from, ValueRange{row, kvHead, channel},
                                         /*nontemporal=*/false, align);
              vector::StoreOp::create(
                  b, bits, cache, pages->indices(page, kvHead, token, channel),
                  /*nontemporal=*/false, align);
            });
}

void AppendLauncher::append(Value row, Value page) {
  Value position = b.loadIndex(positions, row);
  Value token = b.remU(position, b.index(pages->getPageSize()));
  copy(key, row, keys, page, token);
  copy(value, row, values, page, token);
  // What is kept of the row before has been read, too.
  b.barrier();
  pages->emit(page, kvHead, b.addI(token, b.index(1)), /*firstNew=*/token);
}

void AppendLauncher::emit(Value row) {
  Value position = b.loadIndex(positions, row);
  b.ifThen(b.compare(CmpIPredicate::sge, position, b.index(0)), [&] {
    Value page = getPage(row, position);
    Value first = b.toIndex(findRow(page, b.index(0)));
    b.ifThen(b.compare(CmpIPredicate::eq, first, row), [&] {
      auto within = [&](OpBuilder &inner, function_ref<void()> body) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(inner.getInsertionBlock(),
                            inner.getInsertionPoint());
        body();
      };
      scf::WhileOp::create(
          b, b.getIndexType(), row,
          [&](OpBuilder &inner, Location, ValueRange next) {
            within(inner, [&] {
              Value isRow = b.compare(CmpIPredicate::ult, next[0], numRows);
              scf::ConditionOp::create(b, isRow, next);
            });
          },
          [&](OpBuilder &inner, Location, ValueRange next) {
            within(inner, [&] {
              append(next[0], page);
              Value after = b.addI(next[0], b.index(1));
              scf::YieldOp::create(b, b.toIndex(findRow(page, after)));
            });
          });
    });
  });
}

LogicalResult vashista::launchAppend(AppendOp op, PatternRewriter &rewriter) {
  if (const char *obstacle = KeepPages::getObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  AppendLauncher(op, b).launch();
  rewriter.eraseOp(op);
  return success();
}
