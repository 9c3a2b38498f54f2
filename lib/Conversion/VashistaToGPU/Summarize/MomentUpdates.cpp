//===- MomentUpdates.cpp - Second moments of sequences that grow ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row, a KV head and some rows of its matrix, of which warps have
// a few each: in registers, while the block adds the products of residuals to
// them. Of rows of the step that have a sequence in common the block of the
// first one adds those of all, in order; the next is looked for by all threads.
//
// An entry of the sum is off by 2^-24 of itself. Rows of what that comes to
// have norms, and a symmetric matrix is at most the diagonal one of these: each
// step raises the diagonal by as much, twice, which covers its own rounding.
//
// Where tokens of a page share a centre, all that the page has have another
// residual now, and count once more.
//
// Bytes: the matrices of sequences that grow, once each way; a key and its
// sketch.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "KeyResiduals.h"
#include "Moments.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

namespace {

constexpr int64_t kWarps = 8, kThreads = kWarps * kWarp;
/// Of a warp: as many loads of 16 bytes does a thread have in flight, or more.
constexpr int64_t kRows = 4;
constexpr int64_t kFour = 4;

class MomentUpdates {
public:
  MomentUpdates(AppendOp op, WarpBuilder &b)
      : op(op), b(b), residuals(op, b), dim(residuals.format.paddedDim),
        parts(llvm::divideCeil(dim, kFour * kWarp)),
        warps(residuals.format.centred ? kWarps : 1),
        together(residuals.lanes.getTokens(warps)) {}

  void launch();

private:
  using Sums = SmallVector<Value>;

  bool isCentred() const { return residuals.format.centred; }
  void emit(Value row);
  /// The first row from one on, of the sequence or of a page of it, that writes
  /// a token; the number of rows if there is none.
  Value findRow(Value first, Value logical = nullptr);
  /// The row after the last one that writes token 0, or `first`: from there on
  /// rows count.
  Value findStart(Value first);
  /// Of a block's i32, which each thread has.
  Value join(Value value, bool isLeast);
  /// This warp's rows of the matrix, as vectors of four.
  Sums loadRows();
  void storeRows(ArrayRef<Value> sums);
  Sums addRow(Value row, ArrayRef<Value> sums);
  /// Adds tokens of a page.
  Sums addTokens(Value page, Value first, Value last, ValueRange sums);
  Sums addToken(Value slot, ValueRange sums);

  Value getMatrixRow(int64_t i) { return b.addI(firstRow, b.index(i)); }
  Value getColumn(int64_t part) {
    Value own = b.mulI(b.addI(lane, b.index(part * kWarp)), b.index(kFour));
    return own;
  }
  /// Whether a lane has columns of a part; and some that are there.
  Value hasColumn(int64_t part) {
    if (dim % (kFour * kWarp) == 0)
      return b.boolean(true);
    return b.compare(CmpIPredicate::ult, getColumn(part), b.index(dim));
  }
  Value getNearColumn(int64_t part) {
    if (dim % (kFour * kWarp) == 0)
      return getColumn(part);
    return b.minI(getColumn(part), b.index(dim - kFour));
  }

  AppendOp op;
  WarpBuilder &b;
  KeyResiduals residuals;
  const int64_t dim, parts;
  /// Warps that read tokens, and how many they read at once.
  const int64_t warps, together;
  // Of the kernel.
  Value positions, table, rowToSeq, moments;
  Value buffer, raises, joined; // shared
  Value sequence, kvHead, thread, warp, lane, firstRow, numRows;
};

} // namespace

void MomentUpdates::launch() {
  SmallVector<Value> read = residuals.getRead();
  read.append({op.getPositions(), op.getPageTable()});
  if (op.getRowToSeq())
    read.push_back(op.getRowToSeq());
  KernelShape shape;
  shape.name = "append_moments";
  shape.gridX = b.dim(op.getKey(), 0);
  shape.gridY = b.dim(op.getKey(), 1);
  shape.gridZ = b.index(llvm::divideCeil(dim, kWarps * kRows));
  shape.threads = kThreads;
  shape.residentBlocks = parts == 1 ? 2 : 1;
  shape.readsWritten = true;
  MemRefType shared[] = {b.sharedType({together, dim}, b.getF32Type()),
                         b.sharedType({together}, b.getF32Type()),
                         b.sharedType({kWarps}, b.getI32Type())};
  b.launch(shape, read, op.getMoments(), shared,
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given given(values);
             residuals.begin(given);
             positions = given.take();
             table = given.take();
             rowToSeq = given.take(op.getRowToSeq() != nullptr);
             moments = given.take();
             buffer = shared[0];
             raises = shared[1];
             joined = shared[2];
             kvHead = b.blockId(gpu::Dimension::y);
             thread = b.threadId();
             warp = b.divU(thread, b.index(kWarp));
             lane = b.remU(thread, b.index(kWarp));
             firstRow = b.mulI(b.blockId(gpu::Dimension::z), b.index(kWarps));
             firstRow = b.mulI(b.addI(firstRow, warp), b.index(kRows));
             numRows = b.dim(positions, 0);
             emit(b.blockId(gpu::Dimension::x));
           });
}

//===----------------------------------------------------------------------===//
// Rows of the step
//===----------------------------------------------------------------------===//

Value MomentUpdates::join(Value value, bool isLeast) {
  // All lanes have the same, and write it.
  b.store(isLeast ? b.getLeastOfWarp(value) : b.getMostOfWarp(value), joined,
          warp);
  b.barrier();
  Value found = b.load(joined, b.index(0));
  for (int64_t i = 1; i < kWarps; ++i) {
    Value other = b.load(joined, b.index(i));
    found = isLeast ? b.minI(found, other) : b.maxI(found, other);
  }
  b.barrier();
  return found;
}

Value MomentUpdates::findRow(Value first, Value logical) {
  Value found =
      b.forLoop(
           b.addI(first, thread), numRows, kThreads, b.toI32(numRows),
           [&](Value row, ValueRange carried) -> SmallVector<Value> {
             Value position = b.loadIndex(positions, row);
             Value is = b.compare(CmpIPredicate::sge, position, b.index(0));
             is = b.andI(is, b.compare(CmpIPredicate::eq,
                                       b.loadIndex(rowToSeq, row), sequence));
             if (logical) {
               Value size =
                   b.index(getPageSize(op.getKCache(), op.getLayout()));
               is = b.andI(is, b.compare(CmpIPredicate::eq,
                                         b.divU(position, size), logical));
             }
             Value earlier = b.minI(carried[0], b.toI32(row));
             return {b.select(is, earlier, carried[0])};
           })
          .front();
  return b.toIndex(join(found, /*isLeast=*/true));
}

Value MomentUpdates::findStart(Value first) {
  Value found =
      b.forLoop(b.addI(first, thread), numRows, kThreads, b.i32(-1),
                [&](Value row, ValueRange carried) -> SmallVector<Value> {
                  Value is = b.compare(CmpIPredicate::eq,
                                       b.loadIndex(positions, row), b.index(0));
                  is = b.andI(is,
                              b.compare(CmpIPredicate::eq,
                                        b.loadIndex(rowToSeq, row), sequence));
                  Value later = b.maxI(carried[0], b.toI32(row));
                  return {b.select(is, later, carried[0])};
                })
          .front();
  return join(found, /*isLeast=*/false);
}

void MomentUpdates::emit(Value row) {
  Value position = b.loadIndex(positions, row), zero = b.index(0);
  b.ifThen(b.compare(CmpIPredicate::sge, position, zero), [&] {
    sequence = rowToSeq ? b.loadIndex(rowToSeq, row) : row;
    // On their way while rows are looked for.
    Sums sums = loadRows();
    auto clear = [&](Value isNew) {
      Value none = b.splat(0.0f, kFour);
      for (Value &four : sums)
        four = b.select(isNew, none, four);
    };
    if (!rowToSeq) {
      clear(b.compare(CmpIPredicate::eq, position, zero));
      return storeRows(addRow(row, sums));
    }
    Value first = findRow(zero);
    b.ifThen(b.compare(CmpIPredicate::eq, first, row), [&] {
      Value start = findStart(row);
      Value isNew = b.compare(CmpIPredicate::sge, start, b.i32(0));
      clear(isNew);
      SmallVector<Value> init = {
          b.select(isNew, b.toIndex(b.maxI(start, b.i32(0))), row)};
      llvm::append_range(init, sums);
      auto within = [&](OpBuilder &inner, function_ref<void()> body) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(inner.getInsertionBlock(),
                            inner.getInsertionPoint());
        body();
      };
      auto loop = scf::WhileOp::create(
          b, ValueRange(init).getTypes(), init,
          [&](OpBuilder &inner, Location, ValueRange now) {
            within(inner, [&] {
              Value isRow = b.compare(CmpIPredicate::ult, now[0], numRows);
              scf::ConditionOp::create(b, isRow, now);
            });
          },
          [&](OpBuilder &inner, Location, ValueRange now) {
            within(inner, [&] {
              SmallVector<Value> left(now.drop_front());
              SmallVector<Value> next = addRow(now[0], left);
              next.insert(next.begin(), findRow(b.addI(now[0], b.index(1))));
              scf::YieldOp::create(b, next);
            });
          });
      storeRows(SmallVector<Value>(loop.getResults().drop_front()));
    });
  });
}

SmallVector<Value> MomentUpdates::addRow(Value row, ArrayRef<Value> sums) {
  Value size = b.index(getPageSize(op.getKCache(), op.getLayout()));
  Value position = b.loadIndex(positions, row);
  Value logical = b.divU(position, size), token = b.remU(position, size);
  auto add = [&]() -> SmallVector<Value> {
    Value page = b.loadIndex(table, {sequence, logical});
    if (!isCentred())
      return addTokens(page, token, token, sums);
    return b.forLoop(b.index(0), b.addI(token, b.index(1)), together, sums,
                     [&](Value first, ValueRange carried) {
                       return addTokens(page, first, token, carried);
                     });
  };
  if (!isCentred() || !rowToSeq)
    return add();
  // The last one to write there leaves what is kept of the page.
  Value next = findRow(b.addI(row, b.index(1)), logical);
  return b.ifThen(b.compare(CmpIPredicate::eq, next, numRows), sums, add);
}

//===----------------------------------------------------------------------===//
// Rows of the matrix
//===----------------------------------------------------------------------===//

SmallVector<Value> MomentUpdates::loadRows() {
  Sums sums;
  Value none = b.splat(0.0f, kFour);
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t part = 0; part < parts; ++part) {
      Value row = b.minI(getMatrixRow(i), b.index(dim - 1));
      Value four = vector::FromElementsOp::create(
          b, b.vectorType(kFour),
          b.loadFloats(moments, {sequence, kvHead, row, getNearColumn(part)},
                       kFour));
      sums.push_back(b.select(hasColumn(part), four, none));
    }
  return sums;
}

void MomentUpdates::storeRows(ArrayRef<Value> sums) {
  int64_t size = std::min(kFour, getVectorSize(moments));
  for (int64_t i = 0; i < kRows; ++i) {
    Value row = getMatrixRow(i);
    Value isRow = b.compare(CmpIPredicate::ult, row, b.index(dim));
    for (int64_t part = 0; part < parts; ++part)
      b.ifThen(b.andI(isRow, hasColumn(part)), [&] {
        for (int64_t j = 0; j < kFour; j += size) {
          Value some = vector::ExtractStridedSliceOp::create(
              b, sums[i * parts + part], ArrayRef<int64_t>{j},
              ArrayRef<int64_t>{size}, ArrayRef<int64_t>{1});
          vector::StoreOp::create(
              b, some, moments,
              ValueRange{sequence, kvHead, row,
                         b.addI(getColumn(part), b.index(j))},
              /*nontemporal=*/false, llvm::MaybeAlign(4 * size));
        }
      });
  }
}

SmallVector<Value> MomentUpdates::addTokens(Value page, Value first, Value last,
                                            ValueRange sums) {
  Value slot = residuals.lanes.getToken(b);
  Value isReader =
      b.compare(CmpIPredicate::ult, thread, b.index(warps * kWarp));
  b.ifThen(isReader, [&] {
    Value token = b.addI(first, slot);
    Value isToken = b.compare(CmpIPredicate::ule, token, last);
    KeyResiduals::Token made =
        residuals.load(page, kvHead, b.minI(token, last), isToken);
    residuals.store(made, buffer, slot);
    auto add = [&](Value x, Value y) { return b.addF(x, y); };
    int64_t lanes = residuals.lanes.lanes;
    Value raise = b.mulF(b.combine(made.decoded, add, 1, lanes),
                         b.f32(residuals.getPerKey()));
    raise = math::FmaOp::create(b, b.combine(made.squares, add, 1, lanes),
                                b.f32(KeyResiduals::kPerResidual), raise);
    // All lanes of a token have the same, and write it.
    b.store(b.addF(raise, b.f32(KeyResiduals::kLeastOfKey)), raises, slot);
  });
  b.barrier();
  SmallVector<Value> next;
  if (!isCentred()) {
    next = addToken(b.index(0), sums);
  } else {
    Value count =
        b.minI(b.addI(b.subI(last, first), b.index(1)), b.index(together));
    next = b.forLoop(b.index(0), count, 1, sums,
                     [&](Value slot, ValueRange carried) {
                       return addToken(slot, carried);
                     });
  }
  // Before the next tokens are written there.
  if (isCentred() || rowToSeq)
    b.barrier();
  return next;
}

SmallVector<Value> MomentUpdates::addToken(Value slot, ValueRange sums) {
  auto four = b.vectorType(kFour);
  SmallVector<Value> columns;
  for (int64_t part = 0; part < parts; ++part) {
    Value own = vector::LoadOp::create(
        b, four, buffer, ValueRange{slot, getNearColumn(part)},
        /*nontemporal=*/false, llvm::MaybeAlign(16));
    columns.push_back(b.select(hasColumn(part), own, b.splat(0.0f, kFour)));
  }
  Value raise = b.load(raises, slot);
  SmallVector<Value> next;
  for (int64_t i = 0; i < kRows; ++i) {
    Value row = b.minI(getMatrixRow(i), b.index(dim - 1));
    Value factor = b.broadcast(b.load(buffer, {slot, row}), kFour);
    SmallVector<Value> own;
    Value sizes = b.splat(0.0f, kFour);
    for (int64_t part = 0; part < parts; ++part) {
      own.push_back(b.fma(columns[part], factor, sums[i * parts + part]));
      sizes = b.addF(sizes, b.absF(own.back()));
    }
    auto add = [&](Value x, Value y) { return b.addF(x, y); };
    Value size = vector::ExtractOp::create(b, sizes, ArrayRef<int64_t>{0});
    for (int64_t j = 1; j < kFour; ++j)
      size = b.addF(size,
                    vector::ExtractOp::create(b, sizes, ArrayRef<int64_t>{j}));
    size = b.combine(size, add);
    // Twice what is needed, and what f32 loses of this sum.
    Value more =
        math::FmaOp::create(b, size, b.f32(0x1p-23f * (1 + 0x1p-10f)), raise);
    // The rows of a warp begin with a multiple of 4: so do its columns.
    for (int64_t part = 0; part < parts; ++part) {
      Value isDiagonal =
          b.compare(CmpIPredicate::eq, getColumn(part), firstRow);
      Value x = vector::ExtractOp::create(b, own[part], ArrayRef<int64_t>{i});
      x = b.select(isDiagonal, b.addF(x, more), x);
      own[part] =
          vector::InsertOp::create(b, x, own[part], ArrayRef<int64_t>{i});
    }
    llvm::append_range(next, own);
  }
  return next;
}

void vashista::launchMomentUpdates(AppendOp op, WarpBuilder &b) {
  if (op.getMoments())
    MomentUpdates(op, b).launch();
}
