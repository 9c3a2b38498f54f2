//===- VectorScan.cpp - Scores of page summaries and keys -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The sums are those of VectorScorer.cpp, in f32 and one fma each, so that the
// slack of its bounds is right here, too: what tensor cores sum is not said to
// be rounded in any way. They would not be faster, either, for up to 8 heads: a
// summary is read from memory.
//
// A few lanes have a row of the source, each 8 channels of every so many, and
// what is made of the heads' directions in the same channels, in registers. A
// warp takes several rows for each of its groups of lanes at once, all of whose
// loads are in flight together; a butterfly adds the lanes' sums up and leaves
// each lane with a row or a few. Pages of the next rows are looked up, one by a
// lane, while these are read.
//
// A block has a row, heads of a KV head, and some of the slots.
//
// Bytes: the parts of each visible slot, once for each 8 heads of a KV head (4
// for two parts, 2 for a box), and a score for each head and slot is written;
// a bound, too, where it is not the score.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "Kernels.h"
#include "Slots.h"
#include "WarpBuilder.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kWarps = 4;
/// Channels that a lane loads together, and has at most for all its heads.
constexpr int64_t kChannels = 8, kMostOwn = 64;
/// Registers that a warp's loads go to, each, about.
constexpr int64_t kInFlight = 32;

int64_t getNumKvHeads(ScoreOp op) {
  SourcePart part = op.getFrom().getParts().front();
  auto at = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
  return cast<RankedTensorType>(op.getParts().front().getType()).getDimSize(at);
}

class VectorScan {
public:
  VectorScan(ScoreOp op, WarpBuilder &b);

  /// Launches the kernel; yields the tensors of scores and bounds.
  SmallVector<Value> launch();

private:
  using Numbers = SmallVector<Value>; // f32, of a lane
  /// What a row is multiplied with, of a head.
  struct Vectors {
    Numbers direction; // or, of a box, what is positive of it
    Numbers negative;  // of a box, what is not
    Numbers sizes;     // for deviations, and for the slack of bounds
    Value norm;        // of a ball: the direction's, rounded up
  };
  /// Where the rows of a warp are: a slot each lane.
  struct Places {
    Value page, slot, isVisible; // i32, i32, i1
    SmallVector<Value> pack() const { return {page, slot, isVisible}; }
  };

  void emit(ArrayRef<Value> results, Value first, Value end);
  Places findPlaces(Value first);
  Vectors makeVectors(Value head);
  /// A row of a part, and what this lane has of its channels.
  Numbers load(Value from, Value page, Value slot);
  Numbers loadChannels(Value from, ArrayRef<Value> row);
  /// Adds to a sum what a row of the parts comes to.
  Value multiply(const Vectors &vectors, ArrayRef<Numbers> row);
  /// Adds up the sums of the lanes that share rows; yields that of `ownRow`.
  Value addUp(SmallVector<Value> sums);
  Value finish(Value sum, const Vectors &vectors, Value radius);

  bool is(SummaryKind kind) const { return summary == kind; }
  bool isBound() const { return is(SummaryKind::box) || is(SummaryKind::ball); }
  ScoreOp op;
  WarpBuilder &b;
  std::optional<SummaryKind> summary; // null for keys
  const int64_t dim, group;
  int64_t lanes;    // that share a row
  int64_t heads;    // of a block
  int64_t rows;     // of a lane at once
  int64_t tile;     // rows of a warp
  unsigned numRows; // parts that have channels
  const bool writesBounds;

  // Of the kernel.
  std::optional<Slots> slots;
  Value direction;
  SmallVector<Value> parts;
  Value lane, member, within; // within: of the lanes of a row
  Value ownRow;               // which of its rows a lane finishes
  Value firstHead;
};

} // namespace

VectorScan::VectorScan(ScoreOp op, WarpBuilder &b)
    : op(op), b(b),
      dim(cast<RankedTensorType>(op.getDirection().getType()).getDimSize(2)),
      group(cast<RankedTensorType>(op.getDirection().getType()).getDimSize(1) /
            getNumKvHeads(op)),
      writesBounds(!op.getFrom().hasBounds() && !op.getBounds().use_empty()) {
  if (auto from = dyn_cast<SummaryAttr>(op.getFrom()))
    summary = from.getKind();
  int64_t chunks = dim / kChannels;
  lanes = std::min<int64_t>(chunks & -chunks, kWarp);
  int64_t own = dim / lanes;
  int64_t vectors = is(SummaryKind::box)                ? 3
                    : !summary || is(SummaryKind::mean) ? 1
                                                        : 2;
  heads = std::clamp<int64_t>(kMostOwn / (vectors * own), 1, group);
  numRows = 0;
  int64_t registers = 0;
  for (auto [part, tensor] :
       llvm::zip_equal(op.getFrom().getParts(), op.getParts())) {
    if (!llvm::is_contained(part.dims, Dim::keyDim))
      continue;
    ++numRows;
    registers +=
        own * getElementTypeOrSelf(tensor).getIntOrFloatBitWidth() / 32;
  }
  rows = std::clamp<int64_t>(llvm::bit_floor<uint64_t>(kInFlight / registers),
                             1, 8);
  rows = std::min(rows, lanes);
  tile = rows * (kWarp / lanes);
}

SmallVector<Value> VectorScan::launch() {
  SmallVector<Value> written = allocateResults(op, b, writesBounds ? 2 : 1);
  SmallVector<Value> read = {b.readOnly(op.getDirection())};
  for (Value part : op.getParts())
    read.push_back(b.readOnly(part));
  llvm::append_range(read, Slots::getRead(op, b));

  // Many rows for a block, where there are many blocks.
  constexpr int64_t kManyGroups = 256;
  int64_t numRows =
              cast<RankedTensorType>(op.getDirection().getType()).getDimSize(0),
          groups = ShapedType::isDynamic(numRows) ? getNumKvHeads(op)
                                                  : numRows * getNumKvHeads(op);
  int64_t block = groups < kManyGroups ? 256 : 1024;
  int64_t headBlocks = llvm::divideCeil(group, heads);

  KernelShape shape;
  shape.name = "vector_scan";
  // Blocks of the same slots follow each other: they read what is in a cache.
  shape.gridX = b.mulI(
      b.createOrFold<arith::CeilDivUIOp>(b.dim(written[0], 2), b.index(block)),
      b.index(headBlocks));
  shape.gridY = b.index(getNumKvHeads(op));
  shape.gridZ = b.dim(written[0], 0);
  shape.threads = kWarps * kWarp;
  shape.residentBlocks = 3;
  b.launch(shape, read, written, {},
           [&](ArrayRef<Value> values, ArrayRef<Value>) {
             Given given(values);
             direction = given.take();
             parts.clear();
             for (unsigned i = 0; i < op.getParts().size(); ++i)
               parts.push_back(given.take());
             slots.emplace(op, b, given.values);
             slots->begin(b.blockId(gpu::Dimension::z),
                          b.blockId(gpu::Dimension::y));
             ArrayRef<Value> results = values.take_back(written.size());
             Value number = b.blockId(gpu::Dimension::x);
             Value first =
                 b.mulI(b.divU(number, b.index(headBlocks)), b.index(block));
             // The last heads of a group, where blocks do not divide it, twice.
             Value head =
                 b.mulI(b.remU(number, b.index(headBlocks)), b.index(heads));
             head = b.minI(head, b.index(group - heads));
             firstHead = b.addI(b.mulI(slots->kvHead, b.index(group)), head);
             emit(results, first,
                  b.minI(b.addI(first, b.index(block)), b.dim(results[0], 2)));
           });
  return toTensors(b, {written[0], written.back()}, op->getResultTypes());
}

void VectorScan::emit(ArrayRef<Value> results, Value first, Value end) {
  Value thread = b.threadId(), zero = b.index(0), one = b.index(1);
  Value warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  member = b.divU(lane, b.index(lanes));
  within = b.remU(lane, b.index(lanes));
  // The highest bits of a lane say which half it keeps, as long as there is
  // more than one row.
  ownRow = b.divU(within, b.index(lanes / rows));
  Value isOwn =
      b.compare(CmpIPredicate::eq, b.remU(within, b.index(lanes / rows)), zero);
  SmallVector<Vectors> all;
  for (int64_t head = 0; head < heads; ++head)
    all.push_back(makeVectors(b.addI(firstHead, b.index(head))));

  Value last = b.maxI(b.minI(end, slots->numSlots), first);
  Value start = b.addI(first, b.mulI(warp, b.index(tile)));
  int64_t step = kWarps * tile;
  Value some = b.compare(CmpIPredicate::slt, start, last);
  b.ifThen(some, [&] {
    b.forLoop(
        start, last, step, findPlaces(start).pack(),
        [&](Value tileStart, ValueRange carried) {
          Places here = {carried[0], carried[1], carried[2]};
          Places next = findPlaces(
              b.minI(b.addI(tileStart, b.index(step)), b.subI(last, one)));
          SmallVector<SmallVector<Numbers>> loaded;
          for (int64_t row = 0; row < rows; ++row) {
            Value from =
                b.toI32(b.addI(b.mulI(member, b.index(rows)), b.index(row)));
            Value page = b.toIndex(b.shuffle(here.page, from));
            Value slot = b.toIndex(b.shuffle(here.slot, from));
            SmallVector<Numbers> numbers;
            for (unsigned part = 0; part < numRows; ++part)
              numbers.push_back(load(parts[part], page, slot));
            loaded.push_back(numbers);
          }
          // Of the row that this lane finishes.
          Value own = b.addI(b.mulI(member, b.index(rows)), ownRow);
          Value radius;
          if (is(SummaryKind::ball)) {
            Value page = b.toIndex(b.shuffle(here.page, b.toI32(own)));
            radius = b.load(parts[1], {page, slots->kvHead});
          }
          Value visible = b.select(here.isVisible, b.i32(1), b.i32(0));
          Value isVisible = b.compare(
              CmpIPredicate::ne, b.shuffle(visible, b.toI32(own)), b.i32(0));
          Value slot = b.addI(tileStart, own);
          Value stores =
              b.andI(isOwn, b.compare(CmpIPredicate::slt, slot, end));
          for (auto [head, vectors] : llvm::enumerate(all)) {
            SmallVector<Value> sums;
            for (const SmallVector<Numbers> &row : loaded)
              sums.push_back(multiply(vectors, row));
            Value score = finish(addUp(sums), vectors, radius);
            score = b.select(isVisible, score, b.negInf());
            Value at[] = {slots->row, b.addI(firstHead, b.index(head)), slot};
            b.ifThen(stores, [&] {
              b.store(score, results[0], at);
              if (writesBounds)
                b.store(b.select(isVisible, b.f32(kInfinity), b.negInf()),
                        results[1], at);
            });
          }
          return next.pack();
        });
  });
  // What follows the last tile is not visible.
  Value tiles =
      b.createOrFold<arith::CeilDivUIOp>(b.subI(last, first), b.index(tile));
  Value scored = b.mulI(tiles, b.index(tile));
  for (int64_t head = 0; head < heads; ++head)
    b.forLoop(
        b.addI(b.addI(first, scored), thread), end, kWarps * kWarp,
        [&](Value slot) {
          Value at[] = {slots->row, b.addI(firstHead, b.index(head)), slot};
          for (Value result : results)
            b.store(b.negInf(), result, at);
        });
}

VectorScan::Places VectorScan::findPlaces(Value first) {
  Value offset = lane;
  if (tile < kWarp)
    offset = b.remU(lane, b.index(tile));
  auto [place, isVisible] = slots->find(b.addI(first, offset));
  return {b.toI32(place.page), b.toI32(place.slot), isVisible};
}

VectorScan::Numbers VectorScan::load(Value from, Value page, Value slot) {
  auto type = cast<MemRefType>(from.getType());
  SmallVector<Value> at = {page, slots->kvHead};
  if (type.getRank() == 4) {
    auto keys = cast<KeysAttr>(op.getFrom());
    at.insert(keys.getLayout() == Layout::hnd ? at.end() : at.begin() + 1,
              slot);
  }
  return loadChannels(from, at);
}

VectorScan::Numbers VectorScan::loadChannels(Value from, ArrayRef<Value> row) {
  Type element = getElementTypeOrSelf(from);
  SmallVector<Value> at(row), numbers;
  at.push_back(Value());
  for (int64_t chunk = 0; chunk < dim / lanes / kChannels; ++chunk) {
    Value channel = b.addI(within, b.index(chunk * lanes));
    at.back() = b.mulI(channel, b.index(kChannels));
    if (element.isBF16()) {
      for (Value pair : b.load16Bytes(from, at))
        for (Value bits :
             {b.createOrFold<arith::ShLIOp>(pair, b.i32(16)),
              b.andI(pair, b.i32(static_cast<int32_t>(0xffff0000)))})
          numbers.push_back(arith::BitcastOp::create(b, b.getF32Type(), bits));
      continue;
    }
    int64_t size = 128 / element.getIntOrFloatBitWidth();
    for (int64_t i = 0; i < kChannels; i += size) {
      Value vector =
          vector::LoadOp::create(b, VectorType::get({size}, element), from, at,
                                 /*nontemporal=*/false, llvm::MaybeAlign(16));
      at.back() = b.addI(at.back(), b.index(size));
      for (int64_t j = 0; j < size; ++j) {
        Value number =
            vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{j});
        if (!element.isF32())
          number = arith::ExtFOp::create(b, b.getF32Type(), number);
        numbers.push_back(number);
      }
    }
  }
  return numbers;
}

VectorScan::Vectors VectorScan::makeVectors(Value head) {
  Vectors vectors;
  vectors.direction = loadChannels(direction, {slots->row, head});
  // As in VectorScorer.cpp; what a small number loses is added, too.
  Value slack = b.f32(2.0f * (dim + 8) * 0x1p-24f), zero = b.f32(0.0f);
  Value squares;
  for (Value &number : vectors.direction) {
    Value size = b.absF(number);
    if (is(SummaryKind::mean_std))
      vectors.sizes.push_back(size);
    if (isBound())
      vectors.sizes.push_back(
          math::FmaOp::create(b, size, slack, b.f32(0x1p-149f)));
    if (is(SummaryKind::box)) {
      vectors.negative.push_back(b.minF(number, zero));
      number = b.maxF(number, zero);
    }
    if (is(SummaryKind::ball)) {
      Value wide = widen(b, number), square = b.mulF(wide, wide);
      squares = squares ? b.addF(squares, square) : square;
    }
  }
  if (is(SummaryKind::ball)) {
    for (int64_t mask = 1; mask < lanes; mask *= 2)
      squares = b.addF(squares, b.shuffleXor(squares, mask));
    vectors.norm =
        roundUp(b, b.mulF(b.sqrt(squares), f64(b, 1 + std::ldexp(1.0, -20))));
  }
  return vectors;
}

Value VectorScan::multiply(const Vectors &vectors, ArrayRef<Numbers> row) {
  Value sum = b.f32(0.0f);
  auto add = [&](Value factor, Value number) {
    sum = math::FmaOp::create(b, factor, number, sum);
  };
  for (int64_t i = 0, end = row[0].size(); i < end; ++i) {
    if (is(SummaryKind::box)) {
      Value lo = row[0][i], hi = row[1][i];
      add(vectors.direction[i], hi);
      add(vectors.negative[i], lo);
      add(vectors.sizes[i], b.maxF(b.absF(lo), b.absF(hi)));
      continue;
    }
    add(vectors.direction[i], row[0][i]);
    if (is(SummaryKind::mean_std))
      add(vectors.sizes[i], row[1][i]);
    if (is(SummaryKind::ball))
      add(vectors.sizes[i], b.absF(row[0][i]));
  }
  return sum;
}

Value VectorScan::addUp(SmallVector<Value> sums) {
  for (int64_t mask = lanes / 2; mask > 0; mask /= 2) {
    if (sums.size() == 1) {
      sums[0] = b.addF(sums[0], b.shuffleXor(sums[0], mask));
      continue;
    }
    Value isUpper = b.compare(CmpIPredicate::ne,
                              b.andI(b.toI32(within), b.i32(mask)), b.i32(0));
    SmallVector<Value> half;
    for (unsigned i = 0, size = sums.size() / 2; i < size; ++i) {
      Value kept = b.select(isUpper, sums[size + i], sums[i]);
      Value given = b.select(isUpper, sums[i], sums[size + i]);
      half.push_back(b.addF(kept, b.shuffleXor(given, mask)));
    }
    sums = half;
  }
  return sums[0];
}

Value VectorScan::finish(Value sum, const Vectors &vectors, Value radius) {
  if (radius)
    sum = b.addF(sum, b.mulF(vectors.norm, radius));
  Value one = b.broadcast(sum, 1);
  one = isBound()
            ? b.toLogitBounds(one, op.getScale(), op.getSoftCap(),
                              op.getEpsilon())
            : b.toLogits(one, op.getScale(), op.getSoftCap(), op.getEpsilon());
  Value logit = vector::ExtractOp::create(b, one, ArrayRef<int64_t>{0});
  if (!op.getFrom().hasBounds())
    return logit;
  // What is visible and yet -inf has overflowed, which bounds nothing.
  Value none = b.compare(CmpFPredicate::OEQ, logit, b.negInf());
  return b.select(none, b.f32(kInfinity), logit);
}

LogicalResult vashista::launchVectorScan(ScoreOp op,
                                         PatternRewriter &rewriter) {
  auto refuse = [&](const char *why) {
    return rewriter.notifyMatchFailure(op, why);
  };
  if (isa<SketchAttr>(op.getFrom()) ||
      op->getParentOfType<LoopLikeOpInterface>())
    return refuse("expected a summary or keys, and no loop around");
  auto direction = cast<RankedTensorType>(op.getDirection().getType());
  if (direction.isDynamicDim(1) || direction.isDynamicDim(2) ||
      ShapedType::isDynamic(getNumKvHeads(op)))
    return refuse("expected static head sizes");
  if (direction.getDimSize(2) % kChannels)
    return refuse("expected channels that are a multiple of 8");
  WarpBuilder b(op.getLoc(), rewriter);
  rewriter.replaceOp(op, VectorScan(op, b).launch());
  return success();
}
