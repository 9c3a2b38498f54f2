//===- CertifyToGPU.cpp - vashista.certify on a GPU -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row and a few KV heads. Its threads look for the largest norms
// over the row's pages, a few at a time: what they load must not wait for each
// other. Then its warps take query heads by turns, sum the squares of their
// vectors, and certify (Certificate.h).
//
// Bytes: 8 of each page and KV head, and a table entry of each page and block.
// Memory gives 32 at least, which are the norms of four heads. Blocks of many
// pages that would be few share them, in a cluster; short sequences of few rows
// have a block for each head. Where a scan has looked at the same pages before,
// it leaves the largest norms of each of its blocks, and these are all there is
// to look at: the merge of what is certified does it, if that is from nothing
// (AttendCertified.cpp).
//
//===----------------------------------------------------------------------===//

#include "HeadCertificate.h"
#include "Kernels.h"
#include "PageNorms.h"
#include "Warp/WarpBuilder.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

#include <numeric>

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

constexpr int64_t kWarps = 16, kThreads = kWarps * kWarp;
/// Norms that a thread has in flight.
constexpr int64_t kAtOnce = 32;

class CertifyLauncher {
public:
  /// `largest`: [R, Hkv, blocks, 2] f32, the largest norms of a row's pages by
  /// blocks of them, or null.
  CertifyLauncher(CertifyOp op, int64_t mostParts, Value largest,
                  WarpBuilder &b);

  /// Yields tensors.
  SmallVector<Value> launch();

private:
  void emit(ArrayRef<Value> values, Value shared);
  /// Of the pages that this thread looks at and each KV head of the block: key
  /// and value norm.
  SmallVector<Value> getLargestNorms();

  CertifyOp op;
  WarpBuilder &b;
  // Of the kernel.
  Value direction, o, lse, tail, norms, table, lengths, rowToSeq, gap;
  Value row, firstKvHead, length, thread, warp, lane;
  Value largest;       // of all pages, by a scan's blocks; null without one
  Value part;          // of the row's pages, that this block looks at
  Value between;       // [R, blocks, parts, 2 * kvHeads] f32: their norms
  int64_t kvHeads = 1; // of a block
  int64_t parts = 1;   // of a cluster
};

} // namespace

CertifyLauncher::CertifyLauncher(CertifyOp op, int64_t mostParts, Value largest,
                                 WarpBuilder &b)
    : op(op), b(b), largest(largest) {
  constexpr int64_t kFew = 128;   // blocks
  constexpr int64_t kMany = 256;  // of a KV head each
  constexpr int64_t kLong = 1024; // pages
  auto getSize = [](Value tensor, int64_t dim) {
    return cast<RankedTensorType>(tensor.getType()).getDimSize(dim);
  };
  int64_t rows = getSize(op.getDirection(), 0), all = getSize(op.getNorms(), 1),
          pages = getSize(op.getPageTable(), 1);
  if (ShapedType::isDynamic(rows) || ShapedType::isDynamic(all))
    return;
  int64_t together = std::gcd<int64_t>(all, 4), blocks = rows * all / together;
  while (!largest && 2 * parts * blocks <= kFew && 2 * parts <= mostParts &&
         !ShapedType::isDynamic(pages) && pages >= parts * kLong)
    parts *= 2;
  if (parts > 1 || rows * all >= kMany)
    kvHeads = together;
}

SmallVector<Value> CertifyLauncher::launch() {
  SmallVector<Value> read;
  for (Value value :
       {Value(op.getDirection()), Value(op.getO()), Value(op.getLse()),
        Value(op.getTail()), Value(op.getNorms()), Value(op.getPageTable()),
        Value(op.getSeqLens()), Value(op.getRowToSeq()), Value(op.getGap())})
    if (value)
      read.push_back(b.readOnly(value));
  if (largest)
    read.push_back(largest);
  SmallVector<Value> results = allocateResults(op, b, op->getNumResults());
  KernelShape shape;
  shape.name = "certify";
  shape.gridX = b.dim(read[0], 0);
  shape.gridY = b.divU(b.dim(read[4], 1), b.index(kvHeads));
  shape.gridZ = b.index(parts);
  shape.clusterBlocks = parts;
  shape.threads = kThreads;
  SmallVector<Value> written;
  if (parts > 1) {
    constexpr int64_t dynamic = ShapedType::kDynamic;
    auto type =
        MemRefType::get({dynamic, dynamic, parts, 2 * kvHeads}, b.getF32Type());
    written.push_back(
        memref::AllocOp::create(b, type, ValueRange{shape.gridX, shape.gridY},
                                b.getI64IntegerAttr(64)));
  }
  llvm::append_range(written, results);
  shape.isShort = true;
  b.launch(shape, read, written,
           b.sharedType({kWarps, 2 * kvHeads}, b.getF32Type()),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             emit(values, shared[0]);
           });
  return toTensors(b, results, op->getResultTypes());
}

void CertifyLauncher::emit(ArrayRef<Value> values, Value shared) {
  Given given(values);
  for (Value *place : {&direction, &o, &lse, &tail, &norms, &table, &lengths})
    *place = given.take();
  rowToSeq = given.take(op.getRowToSeq() != nullptr);
  gap = given.take(op.getGap() != nullptr);
  largest = given.take(largest != nullptr);
  between = given.take(parts > 1);
  part = b.blockId(gpu::Dimension::z);
  row = b.blockId(gpu::Dimension::x);
  firstKvHead = b.mulI(b.blockId(gpu::Dimension::y), b.index(kvHeads));
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  length = b.maxI(b.loadIndex(lengths, row), b.index(0));

  // Joined in the block; NaN stays.
  auto join = [&](Value x, Value y) { return getLargerNorm(b, x, y); };
  if (!largest) {
    for (auto [i, norm] : llvm::enumerate(getLargestNorms()))
      b.store(b.combine(norm, join), shared, {warp, b.index(i)});
    b.barrier();
  }
  std::function<Value(Value)> getNormOf = [&](Value which) {
    Value ofWarp = b.load(shared, {b.remU(lane, b.index(kWarps)), which});
    return b.combine(ofWarp, join);
  };
  if (parts > 1) {
    // Of all blocks of the cluster, a lane for each norm of each.
    Value y = b.blockId(gpu::Dimension::y);
    b.forLoop(warp, b.index(2 * kvHeads), kWarps, [&](Value which) {
      b.store(getNormOf(which), between, {row, y, part, which});
    });
    b.clusterBarrier(parts);
    getNormOf = [&, y](Value which) {
      Value other = b.remU(lane, b.index(parts));
      return b.combine(b.load(between, {row, y, other, which}), join);
    };
  }

  int64_t heads =
      cast<RankedTensorType>(op.getDirection().getType()).getDimSize(1);
  Value group = b.divU(b.index(heads), b.dim(norms, 1));
  HeadCertificate certificate(op, b);
  Value all = b.mulI(group, b.index(kvHeads));
  Value first = b.addI(b.mulI(part, b.index(kWarps)), warp);
  b.forLoop(first, all, kWarps * parts, [&](Value number) {
    Value head = b.addI(b.mulI(firstKvHead, group), number);
    Value kvHead = b.divU(number, group), keyNorm = b.mulI(kvHead, b.index(2));
    HeadCertificate::Loaded loaded =
        certificate.load({direction, o, lse, tail, gap}, row, head);
    std::array<Value, 2> keyAndValue;
    if (largest)
      keyAndValue =
          certificate.joinLargest(largest, row, b.addI(firstKvHead, kvHead));
    else
      keyAndValue = {getNormOf(keyNorm),
                     getNormOf(b.addI(keyNorm, b.index(1)))};
    certificate.store(certificate.certify(loaded, length, keyAndValue),
                      given.values, row, head);
  });
}

SmallVector<Value> CertifyLauncher::getLargestNorms() {
  int64_t pageSize = op.getPageSize();
  Value sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
  Value pages =
      b.divU(b.addI(length, b.index(pageSize - 1)), b.index(pageSize));
  const int64_t pagesAtOnce = kAtOnce / (2 * std::max<int64_t>(kvHeads, 2));
  Value own = b.addI(b.mulI(part, b.index(kThreads)), thread);
  return findLargestNorms(b, norms, firstKvHead, kvHeads, own, pages,
                          kThreads * parts, pagesAtOnce, [&](Value at) {
                            return b.loadIndex(table, {sequence, at});
                          });
}

const char *vashista::findObstacle(CertifyOp op) {
  if (op->getParentOfType<LoopLikeOpInterface>())
    return "expected no loop around";
  if (op.getSolver().getKind() == SolverKind::eg && !op.getGap())
    return "expected its closed form";
  auto type = cast<RankedTensorType>(op.getDirection().getType());
  if (type.isDynamicDim(1) || type.isDynamicDim(2) ||
      cast<RankedTensorType>(op.getO().getType()).isDynamicDim(2))
    return "expected static head sizes";
  return nullptr;
}

LogicalResult vashista::launchCertify(CertifyOp op, int64_t clusterBlocks,
                                      const Findings &findings,
                                      PatternRewriter &rewriter) {
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  rewriter.replaceOp(
      op, CertifyLauncher(op, clusterBlocks, findings.norms.lookup(op), b)
              .launch());
  return success();
}
