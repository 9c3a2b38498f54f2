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
// What is kept follows from what is in the page: it is made once, of the tokens
// up to the last row's, when all are written. The sketch of a token by itself
// is that of the last row's that is written there, and of nothing else: another
// block of the row makes it meanwhile.
//
// Bytes: of each page that is written to, the tokens up to the new one, keys
// and, for norms, values; and a row's key twice for its sketch.
//
//===----------------------------------------------------------------------===//

#include "KeepPages.h"
#include "Kernels.h"
#include "Moments.h"

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
  void emitPage(Value row);
  void emitSketch(Value row);
  /// Where a row's token goes, whose position is not negative.
  Value getPage(Value row, Value position);
  /// The first row, from one on, that writes to a page, or to one of its
  /// tokens; i32. If there is none, the number of rows.
  Value findRow(Value page, Value first, Value token = nullptr);
  /// A row's token, in its page.
  Value getToken(Value position) {
    return b.remU(position, b.index(pages->getPageSize()));
  }
  /// Writes the tokens of a page's rows, from the first on; yields the last.
  Value copyRows(Value first, Value page);
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
  const bool sketches = pages->canSketchToken();
  shape.gridZ = b.index(sketches ? 2 : 1);
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
             Value row = b.blockId(gpu::Dimension::x);
             if (!sketches)
               return emitPage(row);
             Value which = b.blockId(gpu::Dimension::z);
             auto isBlock = [&](int64_t number) {
               return b.compare(CmpIPredicate::eq, which, b.index(number));
             };
             b.ifThen(isBlock(0), [&] { emitPage(row); });
             b.ifThen(isBlock(1), [&] { emitSketch(row); });
           });
}

Value AppendLauncher::getPage(Value row, Value position) {
  Value sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  return b.loadIndex(
      table, {sequence, b.divU(position, b.index(pages->getPageSize()))});
}

Value AppendLauncher::findRow(Value page, Value first, Value token) {
  // One row alone writes to its page.
  if (cast<MemRefType>(positions.getType()).getDimSize(0) == 1)
    return b.toI32(first);
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
                  if (token)
                    is = b.andI(is, b.compare(CmpIPredicate::eq,
                                              getToken(position), token));
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

Value AppendLauncher::copyRows(Value first, Value page) {
  auto within = [&](OpBuilder &inner, function_ref<void()> body) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
    body();
  };
  Type index = b.getIndexType();
  auto loop = scf::WhileOp::create(
      b, TypeRange{index, index}, ValueRange{first, first},
      [&](OpBuilder &inner, Location, ValueRange now) {
        within(inner, [&] {
          Value isRow = b.compare(CmpIPredicate::ult, now[0], numRows);
          scf::ConditionOp::create(b, isRow, now);
        });
      },
      [&](OpBuilder &inner, Location, ValueRange now) {
        within(inner, [&] {
          // The same channels by the same threads: the last one stays.
          Value token = getToken(b.loadIndex(positions, now[0]));
          copy(key, now[0], keys, page, token);
          copy(value, now[0], values, page, token);
          Value next = b.toIndex(findRow(page, b.addI(now[0], b.index(1))));
          scf::YieldOp::create(b, ValueRange{next, now[0]});
        });
      });
  return loop.getResult(1);
}

void AppendLauncher::emitPage(Value row) {
  Value position = b.loadIndex(positions, row);
  b.ifThen(b.compare(CmpIPredicate::sge, position, b.index(0)), [&] {
    Value page = getPage(row, position);
    Value first = b.toIndex(findRow(page, b.index(0)));
    b.ifThen(b.compare(CmpIPredicate::eq, first, row), [&] {
      Value last = copyRows(row, page);
      b.barrier();
      Value token = getToken(b.loadIndex(positions, last));
      pages->emit(page, kvHead, b.addI(token, b.index(1)),
                  /*sketchesAll=*/false);
    });
  });
}

void AppendLauncher::emitSketch(Value row) {
  Value position = b.loadIndex(positions, row);
  b.ifThen(b.compare(CmpIPredicate::sge, position, b.index(0)), [&] {
    Value page = getPage(row, position), token = getToken(position);
    Value next = findRow(page, b.addI(row, b.index(1)), token);
    Value isLast = b.compare(CmpIPredicate::eq, next, b.toI32(numRows));
    Value isFirstWarp =
        b.compare(CmpIPredicate::ult, b.threadId(), b.index(kWarp));
    b.ifThen(b.andI(isLast, isFirstWarp), [&] {
      pages->sketchToken(
          page, kvHead, token, [&](Value channel, int64_t number) {
            return b.loadFloats(key, {row, kvHead, channel}, number);
          });
    });
  });
}

LogicalResult vashista::launchAppend(AppendOp op, PatternRewriter &rewriter) {
  if (const char *obstacle = KeepPages::getObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  AppendLauncher(op, b).launch();
  launchMomentUpdates(op, b);
  rewriter.eraseOp(op);
  return success();
}
