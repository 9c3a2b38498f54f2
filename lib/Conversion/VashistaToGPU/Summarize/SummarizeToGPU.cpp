//===- SummarizeToGPU.cpp - vashista.summarize on a GPU -------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Two kernels, one after the other (SummaryRows.h): a block has a row's last
// page, where the row sees part of it, or one of its other pages; and a KV
// head. Grids are as large as the table is: how long rows are, blocks look up.
//
// Where rows share sequences, a block looks for the row that works. Of
// sequences that share a page that is full, all write the same.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/SummaryRows.h"
#include "KeepPages.h"
#include "Kernels.h"
#include "Moments.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

constexpr int64_t kWarps = 4;

class SummarizeLauncher {
public:
  SummarizeLauncher(SummarizeOp op, WarpBuilder &b) : op(op), b(b) {}

  void launch(bool isPartial);

private:
  void emitPartial(Value row);
  void emitFull(Value number);
  /// Whether a row summarises its pages, or another does.
  Value isFirst(const SummaryRows::Row &mine, bool isPartial);

  SummarizeOp op;
  WarpBuilder &b;
  // Of the kernel.
  std::optional<KeepPages> pages;
  std::optional<SummaryRows> rows;
  Value table, lengths, kvHead;
};

} // namespace

void SummarizeLauncher::launch(bool isPartial) {
  SmallVector<Value> read = {op.getKCache(), op.getPageTable(),
                             op.getSeqLens()};
  for (Value value : {op.getVCache(), op.getRowToSeq()})
    if (value)
      read.push_back(value);
  pages.emplace(op, b, kWarps);
  KernelShape shape;
  shape.name = isPartial ? "summarize_partial" : "summarize";
  shape.gridX = b.dim(op.getSeqLens(), 0);
  if (!isPartial)
    shape.gridX = b.mulI(shape.gridX, b.dim(op.getPageTable(), 1));
  shape.gridY = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  shape.gridZ = b.index(1);
  shape.threads = pages->getThreads();
  shape.residentBlocks = pages->getResidentBlocks();
  shape.readsWritten = true;
  b.launch(shape, read, pages->getWritten(), pages->getShared(),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given given(values);
             Value keys = given.take();
             table = given.take();
             lengths = given.take();
             Value cache = given.take(op.getVCache() != nullptr);
             Value rowToSeq = given.take(op.getRowToSeq() != nullptr);
             pages->begin(keys, cache, given, shared);
             rows.emplace(b, table, lengths, rowToSeq, pages->getPageSize());
             Value number = b.blockId(gpu::Dimension::x);
             kvHead = b.blockId(gpu::Dimension::y);
             isPartial ? emitPartial(number) : emitFull(number);
           });
}

Value SummarizeLauncher::isFirst(const SummaryRows::Row &mine, bool isPartial) {
  Value yes = b.i32(1);
  Value found =
      b.forLoop(b.threadId(), b.dim(lengths, 0), pages->getThreads(), yes,
                [&](Value row, ValueRange carried) -> SmallVector<Value> {
                  // Differs from `mine` where there is no partial page.
                  Value outdone = rows->isOutdone(
                      mine, rows->get(row, b.boolean(isPartial), /*none=*/-2));
                  return {b.select(outdone, b.i32(0), carried[0])};
                })
          .front();
  return b.compare(CmpIPredicate::ne, pages->getLeast(found), b.i32(0));
}

void SummarizeLauncher::emitPartial(Value row) {
  SummaryRows::Row mine = rows->get(row, b.boolean(true), /*none=*/-1);
  b.ifThen(b.compare(CmpIPredicate::sgt, mine.rest, b.index(0)), [&] {
    b.ifThen(isFirst(mine, /*isPartial=*/true), [&] {
      pages->emit(mine.partial, kvHead, mine.rest, /*sketchesAll=*/true);
    });
  });
}

void SummarizeLauncher::emitFull(Value number) {
  // Fewer than 2^31 blocks: a division of i32 is several times shorter.
  Value perRow = b.toI32(b.dim(table, 1));
  Value row = b.toIndex(b.divU(b.toI32(number), perRow));
  Value logical = b.toIndex(b.remU(b.toI32(number), perRow));
  SummaryRows::Row mine = rows->get(row, b.boolean(false), /*none=*/-1);
  auto emit = [&] {
    pages->emit(b.loadIndex(table, {mine.sequence, logical}), kvHead,
                b.index(pages->getPageSize()), /*sketchesAll=*/true);
  };
  b.ifThen(b.compare(CmpIPredicate::slt, logical, mine.full), [&] {
    if (op.getRowToSeq())
      b.ifThen(isFirst(mine, /*isPartial=*/false), emit);
    else
      emit();
  });
}

LogicalResult vashista::launchSummarize(SummarizeOp op,
                                        PatternRewriter &rewriter) {
  if (const char *obstacle = KeepPages::getObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  // In a page of one token there is no part of it.
  for (bool isPartial : {true, false})
    SummarizeLauncher(op, b).launch(isPartial);
  launchMomentSums(op, b);
  rewriter.eraseOp(op);
  return success();
}
