//===- SketchScan.cpp - Scores of a key sketch on tensor cores ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Scores and bounds are what SketchScorer.cpp says; sums are integers, and what
// follows is the same f32 arithmetic in the same order.
//
//   sums (tokens x bytes of multiples) = codes q'     m16n8k32, u8 x s8
//
// A direction's multiples have 16 bits, h and l of 256 h + l in a column each:
// four heads fill the eight columns, and lane 4 g + t has the sums of head t
// and tokens g and g + 8. The 32 channels that are summed at a time lie in one
// group. Which of them a lane takes does not matter: eight from 8 t on, so that
// its codes are 8 bytes of a row, taken apart by shifts and masks.
//
// Fewer heads fill the columns several times, and each of the lanes that then
// have the same sums finishes a tile of its own.
//
// A block has a row, a KV head and a split of the slots; a warp takes kTiles
// tiles of 16 slots at once, all of whose loads are in flight together.
//
// Where only proving picks read them, scores are not written, and of bounds
// their levels (ScanFindings). A level is rounded down, after 1/128 of a step
// is taken off: more than the f32 difference and its product are off by, which
// is 2^-23 of at most 2^16 steps. So the bound that it stands for is not below
// the one that was found. Tokens g and g + 8 of the product are then slots 2 g
// and 2 g + 1 of the tile, whose levels are written together.
//
// Bytes: codes, scales and norms of each visible token once per KV head; a
// score and a bound for each head and slot are written, or a level of 2 bytes
// and 2 for all heads, and a few numbers for each head and block.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/UpperBounds.h"
#include "DirectionWarp.h"
#include "Kernels.h"
#include "Slots.h"
#include "VectorScan.h"
#include "WarpBuilder.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

constexpr int64_t kTiles = 4, kTokens = 16;
/// Heads whose multiples are the columns of a product.
constexpr int64_t kColumns = 4;
/// Channels that a product sums over, and that a lane has of them.
constexpr int64_t kChannels = 32, kOwn = 8;

class SketchScan {
public:
  SketchScan(ScoreOp op, WarpBuilder &b, const SketchFormat &format)
      : op(op), b(b), format(format),
        rounded(this->format, b, SketchDirection::Packing::bytes),
        group(
            cast<RankedTensorType>(op.getDirection().getType()).getDimSize(1) /
            cast<RankedTensorType>(op.getParts()[0].getType()).getDimSize(1)),
        columns(llvm::divideCeil(group, kColumns)),
        heads(llvm::bit_ceil<uint64_t>(std::min(group, kColumns))),
        schedule(*op.getSchedule()), numWarps(schedule.getWarps()),
        block(schedule.getSplit()), hasBounds(!op.getBounds().use_empty()),
        hasLevels(needsLevels(op)) {}

  /// Launches the kernel; yields the tensors of scores and bounds, or none
  /// where levels stand for them.
  SmallVector<Value> launch();

  /// What it leaves beside them; nothing without bounds.
  ScanFindings findings;

private:
  /// What a lane has of the directions of the heads of a product.
  struct Column {
    Value head;                   // its own
    SmallVector<Value> factors;   // of its own head, f32
    SmallVector<Value> low, high; // of each 32 channels, i32: bytes
  };
  /// A token that a lane finishes.
  struct Token {
    Value slot, isVisible;
    // f32: of each group of channels, and of what a bound takes a norm of, the
    // residual's and the scales'.
    SmallVector<Value> scales, norms, sizes;
    Value getSpread(WarpBuilder &b) const {
      Value spread = norms.front();
      for (Value norm : ArrayRef<Value>(norms).drop_front())
        spread = b.addF(spread, norm);
      return spread;
    }
  };
  /// Of a lane, the codes of tokens g and g + 8 of a tile: of each 32 channels
  /// two i32.
  using Codes = std::array<SmallVector<Value>, 2>;

  /// Whether all that is read are levels, by picks.
  static bool needsLevels(ScoreOp op);
  void emit(ArrayRef<Value> values, Value shared);
  Column loadColumn(int64_t number);
  /// Of tokens g and g + 8 of a product: where they are in their tile.
  Value getOffset(int64_t half) {
    if (hasLevels)
      return b.addI(b.mulI(quad, b.index(2)), b.index(half));
    return b.addI(quad, b.index(8 * half));
  }
  Token loadToken(const Slots::Tile &tile, Value offset);
  /// The token of another tile, from the lane that loaded it.
  Token getToken(const Token &loaded, Value start, Value tile, int64_t half);
  SmallVector<Value> loadCodes(const Slots::Tile &tile, Value offset);
  /// `size` numbers of a row as f32.
  SmallVector<Value> loadNumbers(Value part, ArrayRef<Value> at, int64_t size);
  /// Of both tokens, the sums of each group of channels, i32.
  std::array<SmallVector<Value>, 2> multiply(const Codes &codes,
                                             const Column &column);
  /// A token's score and bound, which it writes if they are wanted.
  std::pair<Value, Value> finish(const Token &token, ArrayRef<Value> sums,
                                 const Column &column);
  /// Writes levels of the tokens of this lane, two of each of its tiles, and
  /// their top, which it yields.
  Value storeLevels(Value start, ArrayRef<Token> tokens, ArrayRef<Value> bounds,
                    const Column &column);
  /// The same of spreads, by lanes of the first head.
  void storeSpreads(ArrayRef<Token> tokens);
  /// Writes a number of 16 bits for each of two slots that follow each other.
  void storePair(ValueRange both, Value to, Value head, const Token &first,
                 Value isWanted);
  /// Adds up what finished tokens come to, as `tops` has it.
  void addFindings(ArrayRef<Token> tokens,
                   ArrayRef<std::pair<Value, Value>> finished, Value tileTop,
                   MutableArrayRef<Value> found);
  /// Lanes of the same head, by bits of their numbers.
  SmallVector<int64_t> getHeadMasks() const;
  void storeTops(ArrayRef<Value> found, ArrayRef<Column> columns, Value shared);
  /// Of numbers as they are stored: residual norms, and norms of the scales.
  std::pair<SmallVector<Value>, SmallVector<Value>>
  getNorms(ArrayRef<Value> scales, ArrayRef<Value> norms);

  ScoreOp op;
  WarpBuilder &b;
  const SketchFormat format;
  SketchDirection rounded;
  const int64_t group, columns;
  const int64_t heads; // of a product, a power of two
  const ScheduleAttr schedule;
  const int64_t numWarps, block; // of a block, and its slots
  const bool hasBounds, hasLevels;
  /// Numbers that are found of a head: of `tops`, with whether a score is NaN
  /// as one of its own.
  int64_t getNumFound() const { return hasLevels ? 5 : 2; }

  // Of the kernel.
  std::optional<Slots> slots;
  Value codes, scales, norms, multiples, factors, scores, bounds;
  Value tops, levels, tileTops, spreads;
  Value firstHead, warp, quad, within; // quad = g, within = t
  Value part; // which of the lanes with the same sums this is
};

} // namespace

/// Levels of two slots are written together: pages must hold whole tiles.
bool SketchScan::needsLevels(ScoreOp op) {
  auto keys = cast<RankedTensorType>(op.getParts()[0].getType());
  return !op.getBounds().use_empty() && keys.getDimSize(2) % kTokens == 0 &&
         llvm::all_of(op->getUsers(), [](Operation *user) {
           auto pick = dyn_cast<PickOp>(user);
           return pick && picksByLevels(pick);
         });
}

static SmallVector<OpFoldResult> getScoreSizes(ScoreOp op, WarpBuilder &b) {
  ReifiedRankedShapedTypeDims shapes;
  (void)cast<ReifyRankedShapedTypeOpInterface>(*op).reifyResultShapes(b,
                                                                      shapes);
  return shapes[0];
}

SmallVector<Value> SketchScan::launch() {
  Value direction = b.readOnly(op.getDirection());
  DirectionWarp warps(b, format, rounded);
  if (warps.hasRoom())
    warps.launch(direction);
  else
    rounded.emit(direction);
  SmallVector<OpFoldResult> sizes = getScoreSizes(op, b);
  SmallVector<Value> written;
  auto allocate = [&](Type element, ArrayRef<OpFoldResult> shape) {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> known;
    dispatchIndexOpFoldResults(shape, dynamic, known);
    written.push_back(memref::AllocOp::create(
        b, MemRefType::get(known, element), dynamic, b.getI64IntegerAttr(64)));
    return written.back();
  };
  auto divideUp = [&](int64_t by) -> OpFoldResult {
    return getAsOpFoldResult(b.createOrFold<arith::CeilDivUIOp>(
        getValueOrCreateConstantIndexOp(b, b.getLoc(), sizes[2]), b.index(by)));
  };
  if (hasLevels) {
    findings.levels = allocate(b.getI16Type(), sizes);
    findings.tileTops = allocate(
        b.getF32Type(), {sizes[0], sizes[1], divideUp(ScanFindings::kTile)});
    int64_t kvHeads =
        cast<RankedTensorType>(op.getParts()[0].getType()).getDimSize(1);
    findings.spreads =
        allocate(b.getF16Type(), {sizes[0], b.getIndexAttr(kvHeads), sizes[2]});
  } else {
    allocate(b.getF32Type(), sizes);
    if (hasBounds)
      allocate(b.getF32Type(), sizes);
  }
  Value blocks =
      getValueOrCreateConstantIndexOp(b, b.getLoc(), divideUp(block));
  if (hasBounds)
    findings.tops =
        allocate(b.getF32Type(), {sizes[0], sizes[1], divideUp(block),
                                  b.getIndexAttr(getNumFound() - 1)});
  SmallVector<Value> read;
  for (Value part : op.getParts())
    read.push_back(b.readOnly(part));
  llvm::append_range(read, ValueRange{rounded.multiples, rounded.factors});
  llvm::append_range(read, Slots::getRead(op, b));

  KernelShape shape;
  shape.name = "sketch_scan";
  // What all heads have of a page lies together: their blocks follow each
  // other.
  shape.gridX = b.dim(read[0], 1);
  shape.gridY = blocks;
  shape.gridZ = b.dim(written[0], 0);
  shape.threads = numWarps * kWarp;
  shape.residentBlocks = schedule.getBlocks();
  b.launch(shape, read, written,
           b.sharedType({numWarps, columns * kColumns, getNumFound()},
                        b.getF32Type()),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             emit(values, shared[0]);
           });
  if (hasLevels)
    return {};
  return toTensors(b, {written[0], written[hasBounds ? 1 : 0]},
                   op->getResultTypes());
}

void SketchScan::emit(ArrayRef<Value> values, Value shared) {
  codes = values[0];
  scales = values[1];
  norms = values[2];
  multiples = values[3];
  factors = values[4];
  ArrayRef<Value> written = values.take_back(hasLevels ? 4 : hasBounds ? 3 : 1);
  if (hasLevels) {
    levels = written[0];
    tileTops = written[1];
    spreads = written[2];
  } else {
    scores = written[0];
    bounds = hasBounds ? written[1] : nullptr;
  }
  tops = hasBounds ? written.back() : nullptr;
  Given given(values.drop_front(5));
  slots.emplace(op, b, given);
  slots->begin(b.blockId(gpu::Dimension::z), b.blockId(gpu::Dimension::x));
  firstHead = b.mulI(slots->kvHead, b.index(group));
  Value thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  Value lane = b.remU(thread, b.index(kWarp));
  quad = b.divU(lane, b.index(4));
  within = b.remU(lane, b.index(4));
  part = b.divU(within, b.index(heads));

  Value first = b.mulI(b.blockId(gpu::Dimension::y), b.index(block));
  Value end = b.minI(b.addI(first, b.index(block)), b.dim(written[0], 2));
  Value last = b.maxI(b.minI(end, slots->numSlots), first);
  SmallVector<Column> all;
  for (int64_t i = 0; i < columns; ++i)
    all.push_back(loadColumn(i));
  int64_t step = kTiles * kTokens, copies = kColumns / heads;
  static_assert(kTiles * kTokens == ScanFindings::kTile);
  SmallVector<Value> found;
  for (int64_t i = 0; i < columns; ++i) {
    found.push_back(b.negInf());
    found.append(getNumFound() - 1, b.f32(0.0f));
  }
  found = b.forLoop(
      b.addI(first, b.mulI(warp, b.index(step))), last, numWarps * step, found,
      [&](Value start, ValueRange carried) {
        auto findTile = [&](Value number) {
          Value first = b.addI(start, b.mulI(number, b.index(kTokens)));
          return slots->findTile(first, kTokens);
        };
        SmallVector<Codes> tiles(kTiles);
        for (int64_t i = 0; i < kTiles; ++i) {
          Slots::Tile tile = findTile(b.index(i));
          for (int64_t half : {0, 1})
            tiles[i][half] = loadCodes(tile, getOffset(half));
        }
        // Each lane of four loads what goes with the tokens of a tile, and has
        // the others' from them.
        static_assert(kTiles == kColumns);
        SmallVector<Token> loaded;
        Slots::Tile tile = findTile(within);
        for (int64_t half : {0, 1})
          loaded.push_back(loadToken(tile, getOffset(half)));
        SmallVector<Value> next(carried);
        for (auto [number, column] : llvm::enumerate(all)) {
          SmallVector<Token> own;
          SmallVector<std::pair<Value, Value>> finished;
          SmallVector<Value> bounds;
          // A lane's tile of each few after the other, for each column anew:
          // what it needs of all of them would take another warp's registers.
          for (int64_t firstTile = 0; firstTile < kTiles; firstTile += copies) {
            SmallVector<std::array<SmallVector<Value>, 2>> sums;
            for (int64_t copy = 0; copy < copies; ++copy)
              sums.push_back(multiply(tiles[firstTile + copy], column));
            Value tile = b.addI(part, b.index(firstTile));
            for (int64_t half : {0, 1}) {
              own.push_back(getToken(loaded[half], start, tile, half));
              SmallVector<Value> mine = sums[0][half];
              for (int64_t copy = 1; copy < copies; ++copy) {
                Value is = b.compare(CmpIPredicate::eq, part, b.index(copy));
                for (auto [sum, other] :
                     llvm::zip_equal(mine, sums[copy][half]))
                  sum = b.select(is, other, sum);
              }
              finished.push_back(finish(own.back(), mine, column));
              bounds.push_back(finished.back().second);
            }
          }
          if (!hasBounds)
            continue;
          Value tileTop;
          if (hasLevels)
            tileTop = storeLevels(start, own, bounds, column);
          if (hasLevels && number == 0)
            storeSpreads(own);
          addFindings(own, finished, tileTop,
                      MutableArrayRef<Value>(next).slice(number * getNumFound(),
                                                         getNumFound()));
        }
        return next;
      });
  if (hasBounds)
    storeTops(found, all, shared);
  if (hasLevels)
    return; // what is not visible is not read
  // Tiles end together; what follows the last is not visible.
  Value scored = b.mulI(
      b.createOrFold<arith::CeilDivUIOp>(b.subI(last, first), b.index(step)),
      b.index(step));
  Value rest = b.addI(first, scored);
  b.forLoop(b.index(0), b.index(group), 1, [&](Value number) {
    Value head = b.addI(firstHead, number);
    b.forLoop(b.addI(rest, thread), end, numWarps * kWarp, [&](Value slot) {
      b.store(b.negInf(), scores, {slots->row, head, slot});
      if (hasBounds)
        b.store(b.negInf(), bounds, {slots->row, head, slot});
    });
  });
}

Value SketchScan::storeLevels(Value start, ArrayRef<Token> tokens,
                              ArrayRef<Value> bounds, const Column &column) {
  Value top = bounds.front();
  for (Value bound : bounds.drop_front())
    top = b.maxNumber(top, bound);
  for (int64_t mask : getHeadMasks())
    top = b.maxNumber(top, b.shuffleXor(top, mask));

  Value isHead = b.compare(CmpIPredicate::ult, column.head, b.index(group));
  Value head = b.addI(firstHead, column.head);
  for (unsigned i = 0; i < tokens.size(); i += 2) {
    SmallVector<Value> both;
    for (Value bound : bounds.slice(i, 2)) {
      // NaN, of two infinities, is no steps: all of the tile are not known.
      Value steps = math::FmaOp::create(
          b, b.subF(top, bound), b.f32(ScanFindings::kPerNat), b.f32(-0x1p-7f));
      steps = b.maxNumber(steps, b.f32(0.0f));
      steps = b.minNumber(steps, b.f32(ScanFindings::kLowest));
      Value level = arith::FPToUIOp::create(b, b.getI32Type(), steps);
      both.push_back(arith::TruncIOp::create(b, b.getI16Type(), level));
    }
    storePair(both, levels, head, tokens[i], isHead);
  }
  Value isFirst = b.andI(b.compare(CmpIPredicate::eq, quad, b.index(0)),
                         b.compare(CmpIPredicate::eq, part, b.index(0)));
  b.ifThen(b.andI(isHead, isFirst), [&] {
    Value tile = b.divU(start, b.index(ScanFindings::kTile));
    b.store(top, tileTops, {slots->row, head, tile});
  });
  return top;
}

void SketchScan::storePair(ValueRange both, Value to, Value head,
                           const Token &first, Value isWanted) {
  Value isSlot = b.compare(CmpIPredicate::slt, first.slot, b.dim(to, 2));
  b.ifThen(b.andI(isWanted, isSlot), [&] {
    auto pair = VectorType::get({2}, getElementTypeOrSelf(to));
    vector::StoreOp::create(b, vector::FromElementsOp::create(b, pair, both),
                            to, ValueRange{slots->row, head, first.slot},
                            /*nontemporal=*/false, llvm::MaybeAlign(4));
  });
}

void SketchScan::storeSpreads(ArrayRef<Token> tokens) {
  Value isFirst =
      b.compare(CmpIPredicate::eq, b.remU(within, b.index(heads)), b.index(0));
  for (unsigned i = 0; i < tokens.size(); i += 2) {
    SmallVector<Value> both;
    for (const Token &token : tokens.slice(i, 2))
      both.push_back(
          arith::TruncFOp::create(b, b.getF16Type(), token.getSpread(b)));
    storePair(both, spreads, slots->kvHead, tokens[i], isFirst);
  }
}

void SketchScan::addFindings(ArrayRef<Token> tokens,
                             ArrayRef<std::pair<Value, Value>> finished,
                             Value tileTop, MutableArrayRef<Value> found) {
  Value inf = b.f32(std::numeric_limits<float>::infinity()), zero = b.f32(0.0f);
  auto addNaN = [&](const Token &token, Value score, Value known) -> Value {
    Value isNaN =
        b.andI(b.compare(CmpFPredicate::UNO, score, score), token.isVisible);
    return b.select(isNaN, b.f32(1.0f), known);
  };
  if (!hasLevels) {
    for (auto [token, scored] : llvm::zip_equal(tokens, finished)) {
      auto [score, bound] = scored;
      Value isFinite = b.compare(CmpFPredicate::OLT, bound, inf);
      found[0] = b.maxNumber(found[0], b.select(isFinite, bound, b.negInf()));
      found[1] = addNaN(token, score, found[1]);
    }
    return;
  }
  // Of a tile with a bound that is not known, none is.
  Value isKnown = b.compare(CmpFPredicate::OLT, tileTop, inf);
  found[0] = b.maxNumber(found[0], b.select(isKnown, tileTop, b.negInf()));
  Value mayBeNaN = b.select(isKnown, b.index(0), b.index(1));
  found[1] =
      b.forLoop(b.index(0), mayBeNaN, 1, found[1],
                [&](Value, ValueRange now) -> SmallVector<Value> {
                  Value known = now[0];
                  for (auto [token, scored] : llvm::zip_equal(tokens, finished))
                    known = addNaN(token, scored.first, known);
                  return {known};
                })
          .front();
  // What is picked is like the best of each tile.
  Value lack = zero, spread = zero, isHere = b.boolean(false);
  for (auto [token, scored] : llvm::zip_equal(tokens, finished)) {
    auto [score, bound] = scored;
    Value isBest =
        b.andI(b.compare(CmpFPredicate::OEQ, bound, tileTop), isKnown);
    lack = b.select(isBest, b.subF(bound, score), lack);
    spread = b.select(isBest, token.getSpread(b), spread);
    isHere = b.orI(isHere, isBest);
  }
  Value own[] = {lack, spread, b.select(isHere, b.f32(1.0f), zero)};
  for (auto [sum, value] : llvm::zip_equal(found.drop_front(2), own))
    sum = b.addF(sum, value);
}

SmallVector<int64_t> SketchScan::getHeadMasks() const {
  SmallVector<int64_t> masks = {4, 8, 16};
  for (int64_t mask = heads; mask < kColumns; mask *= 2)
    masks.push_back(mask);
  return masks;
}

void SketchScan::storeTops(ArrayRef<Value> found, ArrayRef<Column> columns,
                           Value shared) {
  int64_t numFound = getNumFound();
  // The highest of two, and sums of two.
  auto join = [&](int64_t which, Value x, Value y) {
    return which < 2 ? b.maxNumber(x, y) : b.addF(x, y);
  };
  Value zero = b.index(0);
  for (auto [i, column] : llvm::enumerate(columns)) {
    for (int64_t which = 0; which < numFound; ++which) {
      Value all = found[numFound * i + which];
      for (int64_t mask : getHeadMasks())
        all = join(which, all, b.shuffleXor(all, mask));
      Value at = b.addI(within, b.index(kColumns * i));
      b.store(all, shared, {warp, at, b.index(which)});
    }
  }
  b.barrier();
  Value thread = b.threadId();
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(group)), [&] {
    SmallVector<Value> joined;
    for (int64_t which = 0; which < numFound; ++which) {
      Value all = b.load(shared, {zero, thread, b.index(which)});
      for (int64_t i = 1; i < numWarps; ++i)
        all = join(which, all,
                   b.load(shared, {b.index(i), thread, b.index(which)}));
      joined.push_back(all);
    }
    Value isNaN = b.compare(CmpFPredicate::OGT, joined[1], b.f32(0.0f));
    joined[1] = b.select(isNaN, b.f32(std::numeric_limits<float>::quiet_NaN()),
                         joined[0]);
    for (int64_t which = 1; which < numFound; ++which)
      b.store(joined[which], tops,
              {slots->row, b.addI(firstHead, thread),
               b.blockId(gpu::Dimension::y), b.index(which - 1)});
  });
}

SketchScan::Column SketchScan::loadColumn(int64_t number) {
  auto getHead = [&](Value offset) {
    Value head = b.addI(offset, b.index(kColumns * number));
    return b.addI(firstHead, b.minI(head, b.index(group - 1)));
  };
  Column column;
  Value mine = b.remU(within, b.index(heads));
  column.head = b.addI(mine, b.index(kColumns * number));
  Value own = getHead(mine);
  for (int64_t i = 0; i < rounded.getNumFactors(); ++i)
    column.factors.push_back(b.load(factors, {slots->row, own, b.index(i)}));
  // Column g of a product: byte g % 2 of head g / 2.
  Value two = b.index(2);
  Value other = getHead(b.remU(b.divU(quad, two), b.index(heads)));
  Value byte = b.remU(quad, two);
  for (int64_t channel = 0; channel < format.paddedDim; channel += kChannels) {
    Value at = b.addI(b.mulI(within, b.index(kOwn)), b.index(channel));
    auto [low, high] = b.load8Bytes(multiples, {slots->row, other, byte, at});
    column.low.push_back(low);
    column.high.push_back(high);
  }
  return column;
}

SketchScan::Token SketchScan::loadToken(const Slots::Tile &tile, Value offset) {
  auto [place, isVisible] = slots->find(tile, offset);
  Token token;
  token.slot = b.addI(tile.first, offset);
  token.isVisible = isVisible;
  SmallVector<Value> at = {place.page, slots->kvHead, place.slot};
  token.scales = loadNumbers(scales, at, format.numGroups);
  int64_t size = format.normPerToken ? 1 : format.numGroups;
  if (hasBounds)
    std::tie(token.norms, token.sizes) =
        getNorms(token.scales, loadNumbers(norms, at, size));
  return token;
}

SketchScan::Token SketchScan::getToken(const Token &loaded, Value start,
                                       Value tile, int64_t half) {
  if (heads == 1)
    return loaded;
  Value lane = b.toI32(b.addI(b.mulI(quad, b.index(kColumns)), tile));
  Token token;
  token.slot =
      b.addI(b.addI(start, b.mulI(tile, b.index(kTokens))), getOffset(half));
  Value isVisible = b.select(loaded.isVisible, b.i32(1), b.i32(0));
  token.isVisible =
      b.compare(CmpIPredicate::ne, b.shuffle(isVisible, lane), b.i32(0));
  auto take = [&](ArrayRef<Value> from, SmallVector<Value> &to) {
    for (Value value : from)
      to.push_back(b.shuffle(value, lane));
  };
  take(loaded.scales, token.scales);
  take(loaded.norms, token.norms);
  take(loaded.sizes, token.sizes);
  return token;
}

SmallVector<Value> SketchScan::loadCodes(const Slots::Tile &tile,
                                         Value offset) {
  Slots::Place place = slots->find(tile, offset).first;
  // Parts of a plane that lie in the same bytes are loaded once.
  llvm::MapVector<int64_t, std::pair<Value, Value>> loaded;
  SmallVector<Value> result;
  for (int64_t channel = 0; channel < format.paddedDim; channel += kChannels) {
    Value low, high;
    for (const SketchFormat::Plane &plane : format.planes) {
      // A plane of fewer bytes has several parts for the channels of a lane.
      bool isWide = plane.bytes % kChannels == 0;
      int64_t start = plane.first + (isWide ? channel % plane.bytes : 0);
      auto &bytes = loaded[start];
      if (!bytes.first) {
        Value own = b.mulI(within, b.index(kOwn));
        if (!isWide)
          own = b.remU(own, b.index(plane.bytes));
        SmallVector<Value> indices = {place.page, slots->kvHead, place.slot,
                                      b.addI(own, b.index(start))};
        bytes = b.load8Bytes(codes, indices);
      }
      Value part = b.i32(channel / plane.bytes);
      if (!isWide) {
        Value own = b.addI(b.mulI(within, b.index(kOwn)), b.index(channel));
        part = arith::IndexCastOp::create(b, b.getI32Type(),
                                          b.divU(own, b.index(plane.bytes)));
      }
      Value shift = b.mulI(part, b.i32(plane.bits));
      int64_t ones = (int64_t(1) << plane.bits) - 1;
      auto take = [&](Value word, Value &code) {
        Value bits = b.andI(b.createOrFold<arith::ShRUIOp>(word, shift),
                            b.i32(ones * 0x01010101));
        bits = b.createOrFold<arith::ShLIOp>(bits, b.i32(plane.shift));
        code = code ? b.orI(code, bits) : bits;
      };
      take(bytes.first, low);
      take(bytes.second, high);
    }
    result.append({low, high});
  }
  return result;
}

SmallVector<Value> SketchScan::loadNumbers(Value part, ArrayRef<Value> at,
                                           int64_t size) {
  auto type = cast<MemRefType>(part.getType());
  Type element = type.getElementType();
  int64_t bytes = element.getIntOrFloatBitWidth() / 8 * size;
  SmallVector<Value> indices(at), numbers;
  bool isRow = type.getRank() == 4;
  if (isRow)
    indices.push_back(b.index(0));
  if (size > 1 && llvm::isPowerOf2_64(bytes) && bytes <= 16) {
    Value vector = vector::LoadOp::create(
        b, VectorType::get({size}, element), part, indices,
        /*nontemporal=*/false, llvm::MaybeAlign(bytes));
    for (int64_t i = 0; i < size; ++i)
      numbers.push_back(
          vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{i}));
  } else {
    for (int64_t i = 0; i < size; ++i) {
      if (isRow)
        indices.back() = b.index(i);
      numbers.push_back(b.load(part, indices));
    }
  }
  for (Value &number : numbers) {
    if (element.isInteger(8))
      number = arith::ExtUIOp::create(b, b.getI32Type(), number);
    else if (element.getIntOrFloatBitWidth() == 8)
      number = widenF8(b, number);
    else
      number = arith::ExtFOp::create(b, b.getF32Type(), number);
  }
  return numbers;
}

std::pair<SmallVector<Value>, SmallVector<Value>>
SketchScan::getNorms(ArrayRef<Value> scales, ArrayRef<Value> stored) {
  SmallVector<Value> sizes(scales), found(stored);
  if (format.normPerToken) {
    Value squares = b.f32(0.0f);
    for (Value scale : scales)
      squares = math::FmaOp::create(b, scale, scale, squares);
    sizes = {b.sqrt(squares)};
  }
  if (!getElementTypeOrSelf(norms).isInteger())
    return {found, sizes};
  float step = format.getResidualPerScale() / SketchFormat::kNormSteps;
  for (auto [norm, size] : llvm::zip_equal(found, sizes)) {
    Value infinite =
        b.compare(CmpIPredicate::eq, norm, b.i32(SketchFormat::kInfiniteNorm));
    Value share =
        b.mulF(arith::SIToFPOp::create(b, b.getF32Type(), norm), b.f32(step));
    norm = b.select(infinite, b.f32(std::numeric_limits<float>::infinity()),
                    b.mulF(share, size));
  }
  return {found, sizes};
}

std::array<SmallVector<Value>, 2> SketchScan::multiply(const Codes &codes,
                                                       const Column &column) {
  std::array<Value, 4> zeros = {b.i32(0), b.i32(0), b.i32(0), b.i32(0)};
  std::array<Value, 4> products = zeros;
  std::array<SmallVector<Value>, 2> sums;
  for (int64_t i = 0; i < format.paddedDim / kChannels; ++i) {
    products = b.multiplyBytes({codes[0][2 * i], codes[1][2 * i],
                                codes[0][2 * i + 1], codes[1][2 * i + 1]},
                               {column.low[i], column.high[i]}, products);
    if ((i + 1) * kChannels % format.group)
      continue;
    for (int64_t half : {0, 1})
      sums[half].push_back(b.addI(b.mulI(products[2 * half], b.i32(256)),
                                  products[2 * half + 1]));
    products = zeros;
  }
  return sums;
}

std::pair<Value, Value> SketchScan::finish(const Token &token,
                                           ArrayRef<Value> sums,
                                           const Column &column) {
  auto fma = [&](Value x, Value y, Value z) -> Value {
    return math::FmaOp::create(b, x, y, z);
  };
  auto toLogit = [&](Value value, bool isBound) -> Value {
    Value one = b.broadcast(value, 1);
    Value logit = isBound ? b.toLogitBounds(one, op.getScale(), op.getSoftCap(),
                                            op.getEpsilon())
                          : b.toLogits(one, op.getScale(), op.getSoftCap(),
                                       op.getEpsilon());
    return vector::ExtractOp::create(b, logit, ArrayRef<int64_t>{0});
  };
  Value total = b.f32(0.0f);
  for (auto [number, sum] : llvm::enumerate(sums)) {
    Value exact = arith::SIToFPOp::create(b, b.getF32Type(), sum);
    exact = fma(exact, b.f32(2.0f),
                column.factors[rounded.getCorrection() + number]);
    total = fma(exact, token.scales[number], total);
  }
  total = b.mulF(total, column.factors[rounded.getHalfStep()]);
  Value score = toLogit(total, false);
  if (!hasLevels)
    score = b.select(token.isVisible, score, b.negInf());
  Value bound;
  if (hasBounds) {
    Value slack = b.f32(0x1p-100f);
    for (int64_t number = 0; number < rounded.getNumNorms(); ++number) {
      slack = fma(column.factors[number], token.norms[number], slack);
      slack = fma(column.factors[rounded.getScaleReach() + number],
                  token.sizes[number], slack);
    }
    slack = b.mulF(slack, b.f32(1 + 0x1p-18f));
    bound = toLogit(b.addF(total, slack), true);
    // What is visible and yet -inf has overflowed, which bounds nothing; nor
    // does NaN.
    Value none = b.compare(CmpFPredicate::UEQ, bound, b.negInf());
    bound =
        b.select(none, b.f32(std::numeric_limits<float>::infinity()), bound);
    bound = b.select(token.isVisible, bound, b.negInf());
  }
  if (hasLevels)
    return {score, bound};
  Value isHead = b.compare(CmpIPredicate::ult, column.head, b.index(group));
  Value isSlot = b.compare(CmpIPredicate::slt, token.slot, b.dim(scores, 2));
  b.ifThen(b.andI(isHead, isSlot), [&] {
    Value at[] = {slots->row, b.addI(firstHead, column.head), token.slot};
    b.store(score, scores, at);
    if (hasBounds)
      b.store(bound, bounds, at);
  });
  return {score, bound};
}

const char *vashista::findObstacle(ScoreOp op) {
  auto sketch = dyn_cast<SketchAttr>(op.getFrom());
  if (!sketch)
    return VectorScan::getObstacle(op);
  if (op->getParentOfType<LoopLikeOpInterface>())
    return "expected no loop around";
  auto direction = cast<RankedTensorType>(op.getDirection().getType());
  auto codes = cast<RankedTensorType>(op.getParts()[0].getType());
  if (direction.isDynamicDim(1) || direction.isDynamicDim(2) ||
      codes.isDynamicDim(1) || codes.isDynamicDim(2))
    return "expected static head and page sizes";
  SketchFormat format(sketch, direction.getDimSize(2));
  if (format.centred || format.group % kChannels || format.group > 128)
    return "expected no centre, and groups of 32, 64, 96 or 128";
  for (const SketchFormat::Plane &plane : format.planes)
    if (plane.bytes % kOwn || plane.first % kOwn ||
        (plane.bytes % kChannels && kChannels % plane.bytes))
      return "expected planes of whole words";
  return nullptr;
}

LogicalResult vashista::launchSketchScan(ScoreOp op, Findings &findings,
                                         PatternRewriter &rewriter) {
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  SketchFormat format(
      cast<SketchAttr>(op.getFrom()),
      cast<RankedTensorType>(op.getDirection().getType()).getDimSize(2));
  WarpBuilder b(op.getLoc(), rewriter);
  SketchScan scan(op, b, format);
  SmallVector<Value> tensors = scan.launch();
  Value bounds = tensors.empty() ? op.getBounds() : tensors[1];
  if (scan.findings.tops)
    findings.scans.insert({bounds, scan.findings});
  if (!tensors.empty())
    rewriter.replaceOp(op, tensors);
  return success();
}
