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
// Where only proving picks read them, levels of bounds are written in their
// place (SketchFindings.cpp). Tokens g and g + 8 of the product are then slots
// 2 g and 2 g + 1 of the tile, whose levels are written together.
//
// Bytes: codes, scales and norms of each visible token once per KV head; a
// score and a bound for each head and slot are written, or a level of 2 bytes
// and 2 for all heads, and a few numbers for each head and block.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

#include "../VashistaToVector/UpperBounds.h"
#include "VectorScan.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "llvm/ADT/MapVector.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

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
  lane = b.remU(thread, b.index(kWarp));
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
  const int64_t apart = numWarps * step; // steps of a warp
  constexpr int64_t kMany = 4;
  auto scan = [&](Value from, Value to, bool areWhole) {
    auto scanTiles = [&](Value start, ValueRange carried) {
      auto findTile = [&](Value number) {
        Value first = b.addI(start, b.mulI(number, b.index(kTokens)));
        return areWhole ? slots->findWholeTile(first, kTokens)
                        : slots->findTile(first, kTokens);
      };
      SmallVector<Codes> tiles(kTiles);
      for (int64_t i = 0; i < kTiles; ++i) {
        Slots::Tile tile = findTile(b.index(i));
        for (int64_t half : {0, 1})
          tiles[i][half] = loadCodes(tile, getOffset(half));
      }
      if (areWhole && block >= kMany * apart) {
        // The next step's come while this one's are looked at.
        Value next = b.addI(start, b.index(apart));
        Value isNext = b.compare(CmpIPredicate::slt, next, to);
        prefetchCodes(b.select(isNext, next, start));
      }
      // Each lane of four loads what goes with the tokens of a tile, and
      // has the others' from them.
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
              for (auto [sum, other] : llvm::zip_equal(mine, sums[copy][half]))
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
    };
    found = b.forLoop(from, to, apart, found, scanTiles);
  };
  Value start = b.addI(first, b.mulI(warp, b.index(step)));
  if (slots->hasWholeTiles(kTokens)) {
    // As long as all of a step is visible, nothing is looked at.
    Value whole = b.maxI(b.subI(last, b.index(step - 1)), start);
    scan(start, whole, /*areWhole=*/true);
    Value times = b.createOrFold<arith::CeilDivUIOp>(b.subI(whole, start),
                                                     b.index(apart));
    start = b.addI(start, b.mulI(times, b.index(apart)));
  }
  scan(start, last, /*areWhole=*/false);
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

/// A line for each lane of those that have a tile.
void SketchScan::prefetchCodes(Value start) {
  constexpr int64_t kLanes = kWarp / kTiles, kLine = 128;
  Value first = b.mulI(b.divU(lane, b.index(kLanes)), b.index(kTokens));
  first = b.addI(start, first);
  Slots::Place place = *slots->findWholeTile(first, kTokens).place;
  int64_t row = cast<MemRefType>(codes.getType()).getDimSize(3),
          lines = llvm::divideCeil(kTokens * row, kLine);
  for (int64_t i = 0; i < lines; i += kLanes) {
    Value line = b.addI(b.remU(lane, b.index(kLanes)), b.index(i));
    if (i + kLanes > lines)
      line = b.minI(line, b.index(lines - 1));
    Value byte = b.mulI(line, b.index(kLine));
    Value token = b.addI(place.slot, b.divU(byte, b.index(row)));
    b.prefetch(codes,
               {place.page, slots->kvHead, token, b.remU(byte, b.index(row))});
  }
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
      if (int64_t below = getBitsBelow(channel)) {
        Value mask = b.i32((ones << below) * 0x01010101);
        low = b.andI(bytes.first, mask);
        high = b.andI(bytes.second, mask);
        continue;
      }
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

int64_t SketchScan::getBitsBelow(int64_t channel) const {
  const SketchFormat::Plane &plane = format.planes.front();
  bool isAlone = format.planes.size() == 1 && plane.bytes % format.group == 0;
  return isAlone ? channel / plane.bytes * plane.bits : 0;
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
    int64_t below = getBitsBelow(static_cast<int64_t>(number) * format.group);
    exact = fma(exact, b.f32(std::ldexp(2.0f, -below)),
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
  if (format.centred || format.group % SketchScan::kChannels ||
      format.group > 128)
    return "expected no centre, and groups of 32, 64 or 128";
  for (const SketchFormat::Plane &plane : format.planes)
    if (plane.bytes % SketchScan::kOwn || plane.first % SketchScan::kOwn ||
        (plane.bytes % SketchScan::kChannels &&
         SketchScan::kChannels % plane.bytes))
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
