//===- SketchScan.cpp - Scores of a key sketch on tensor cores ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Scores and bounds are what SketchScorer.cpp says; sums are integers, and what
// follows is f32 arithmetic that rounds no more often.
//
//   sums (tokens x bytes of multiples) = codes q'     m16n8k32, u8 x s8
//
// A direction's multiples have 16 bits, h and l of 256 h + l in a column each:
// four heads fill the eight columns, and lane 4 g + t has the sums of head t
// and tokens g and g + 8. The 32 channels that are summed at a time lie in one
// group. Which of them a lane takes does not matter: eight from 8 t on, so that
// its codes are mostly 8 bytes of a row, taken apart by shifts and masks.
//
// Fewer heads fill the columns several times, and each of the lanes that then
// have the same sums finishes a tile of its own. What goes with a token comes
// from the lane that has loaded it (SketchTokens.cpp).
//
// A block has a row, up to 8 heads of a KV head and a split of the slots; or,
// of small pages, of which memory gives what several KV heads have at once, as
// many KV heads of so many times fewer slots, of which each warp has one. A
// warp takes a step of kTiles tiles of 16 slots at once. All loads of a step
// are in flight together, or, of whole tiles, while the step before is looked
// at (SketchAhead.cpp). More heads would take more registers than there are:
// they have blocks beside it, which read the same from the second cache.
//
// Directions are rounded by a kernel before this one, or by each block for
// itself (`fuse`). The moments of the same directions are what the first block
// of each row and KV head does: they are there when the scan is
// (MomentBlock.h).
//
// Where only proving picks read them, levels of bounds are written in their
// place (SketchFindings.cpp). Tokens g and g + 8 of the product are then slots
// 2 g and 2 g + 1 of the tile, whose spreads are written together.
//
// Bytes: codes, scales and norms of each visible token once per KV head, and
// from the second cache once per 8 heads; a score and a bound for each head and
// slot are written, or a level of a byte, 2 bytes for all heads and 8 for each
// head and tile, and a few numbers for each head and block.
//
//===----------------------------------------------------------------------===//

#include "SketchScan.h"

#include "VectorScan.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

bool SketchScan::needsLevels(ScoreOp op) {
  return !op.getBounds().use_empty() &&
         llvm::all_of(op->getUsers(), [](Operation *user) {
           auto pick = dyn_cast<PickOp>(user);
           return pick && picksByLevels(pick);
         });
}

bool vashista::boundsByNorm(ScoreOp op) {
  auto sketch = dyn_cast<SketchAttr>(op.getFrom());
  return sketch && sketch.getNorm() == SketchNorm::token && !op.getSoftCap();
}

static SmallVector<OpFoldResult> getScoreSizes(ScoreOp op, WarpBuilder &b) {
  ReifiedRankedShapedTypeDims shapes;
  (void)cast<ReifyRankedShapedTypeOpInterface>(*op).reifyResultShapes(b,
                                                                      shapes);
  return shapes[0];
}

int64_t SketchScan::chooseKvHeads() {
  // Scales of 8 tokens are as much as memory gives at once, or more; of 4, half
  // of that, which is not worth what a pick has to join of more blocks.
  constexpr int64_t kFewTokens = 4;
  auto codes = cast<RankedTensorType>(op.getParts()[0].getType());
  if (run == 0 || codes.getDimSize(2) >= kFewTokens)
    return 1;
  // Slots of a block are whole steps.
  int64_t most = std::gcd(codes.getDimSize(1), numWarps);
  return std::gcd(most, static_cast<int64_t>(schedule.getSplit()) / kStep);
}

SmallVector<MemRefType> SketchScan::getBuffers() {
  SmallVector<MemRefType> buffers = {b.sharedType(
      {numWarps, columns * kColumns, getNumFound()}, b.getF32Type())};
  if (canScanAhead())
    buffers.push_back(getAheadType());
  if (sharesTokens())
    buffers.push_back(getSharedType(format.numGroups));
  if (sharesTokens() && hasBounds)
    buffers.push_back(getSharedType(2 * getNumNorms()));
  if (pageNorms)
    buffers.push_back(getNormsType());
  if (roundsDirections)
    llvm::append_range(buffers, directions.getTypesOfBlock(kvHeadsOfBlock *
                                                           getHeadsOfBlock()));
  if (momentBlock)
    llvm::append_range(buffers, momentBlock->getShared());
  return buffers;
}

bool SketchScan::hasRoom(const ScheduleTarget &target) {
  int64_t bytes = 0;
  for (MemRefType type : getBuffers())
    bytes += WarpBuilder::getBytes(type);
  return bytes <= getSharedBytes(target, schedule.getBlocks());
}

void SketchScan::takeMoment(MomentOp moment, const ScheduleTarget &target) {
  // Those of 128 channels by 4 warps; more would be what a scan waits for.
  constexpr int64_t kMostPasses = 4;
  this->moment = moment;
  momentBlock.emplace(moment, b, numWarps, kMostHeads);
  if (momentBlock->getPasses() > kMostPasses || !hasRoom(target))
    momentBlock.reset();
}

SmallVector<Value> SketchScan::launch() {
  prepare();
  SmallVector<OpFoldResult> sizes = getScoreSizes(op, b);
  int64_t kvHeads =
      cast<RankedTensorType>(op.getParts()[0].getType()).getDimSize(1);
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
    findings.channels = format.paddedDim;
    SmallVector<OpFoldResult> tiles = {sizes[0], sizes[1],
                                       divideUp(ScanFindings::kTile)};
    findings.tileTops = allocate(b.getF32Type(), tiles);
    findings.tileLacks = allocate(b.getF32Type(), tiles);
    // Rows of whole tiles, some of whose slots are written together.
    OpFoldResult padded = getAsOpFoldResult(b.createOrFold<arith::MulIOp>(
        getValueOrCreateConstantIndexOp(b, b.getLoc(), tiles[2]),
        b.index(ScanFindings::kTile)));
    findings.levels = allocate(b.getI8Type(), {sizes[0], sizes[1], padded});
    findings.spreads =
        allocate(b.getF16Type(), {sizes[0], b.getIndexAttr(kvHeads), padded});
    if (boundsByNorm(op))
      findings.reach = getLogitOfDot();
  } else {
    allocate(b.getF32Type(), sizes);
    if (hasBounds)
      allocate(b.getF32Type(), sizes);
  }
  Value blocks =
      getValueOrCreateConstantIndexOp(b, b.getLoc(), divideUp(block));
  if (hasBounds)
    findings.tops = allocate(b.getF32Type(),
                             {sizes[0], sizes[1], divideUp(block),
                              b.getIndexAttr(hasLevels ? getNumFound() : 1)});
  if (pageNorms)
    largestNorms =
        allocate(b.getF32Type(), {sizes[0], b.getIndexAttr(kvHeads),
                                  divideUp(block), b.getIndexAttr(2)});
  if (hasLevels && boundsByNorm(op))
    findings.norms =
        roundsDirections
            ? allocate(b.getF32Type(), {sizes[0], sizes[1], b.getIndexAttr(1)})
            : rounded.factors;
  // What moments are of comes first, and what they are last.
  SmallVector<Value> read;
  if (momentBlock)
    read = momentBlock->getRead();
  const size_t numOfMoments = read.size();
  llvm::append_range(read, getRead());
  if (momentBlock)
    written.push_back(moments = allocateResults(moment, b, 1)[0]);

  KernelShape shape;
  shape.name = "sketch_scan";
  // What all KV heads have of a page lies together, and all heads of one of
  // them read the same: their blocks follow each other.
  shape.gridX = b.index(kvHeads / kvHeadsOfBlock * headBlocks);
  shape.gridY = momentBlock ? b.addI(blocks, b.index(1)) : blocks;
  shape.gridZ = b.dim(written[0], 0);
  shape.threads = numWarps * kWarp;
  shape.residentBlocks = schedule.getBlocks();
  b.launch(shape, read, written, getBuffers(),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given given(shared.drop_front());
             bindShared(given);
             if (!momentBlock)
               return emit(values, shared[0]);
             SmallVector<Value> own(values.take_front(numOfMoments));
             own.push_back(values.back());
             values = values.drop_front(numOfMoments).drop_back();
             emitMoments(own, given.values, [&] { emit(values, shared[0]); });
           });
  if (hasLevels)
    return {};
  return toTensors(b, {written[0], written[hasBounds ? 1 : 0]},
                   op->getResultTypes());
}

void SketchScan::emitMoments(ArrayRef<Value> values, ArrayRef<Value> shared,
                             function_ref<void()> others) {
  Value number = b.blockId(gpu::Dimension::y),
        kvHead = b.blockId(gpu::Dimension::x);
  b.ifThen(b.compare(CmpIPredicate::eq, number, b.index(0)), [&] {
    momentBlock->emit(values, shared, b.blockId(gpu::Dimension::z),
                      b.divU(kvHead, b.index(headBlocks)),
                      b.remU(kvHead, b.index(headBlocks)));
  });
  b.ifThen(b.compare(CmpIPredicate::ne, number, b.index(0)), others);
}

SmallVector<Value> SketchScan::getRead() {
  SmallVector<Value> inputs(op.getParts()), read;
  if (pageNorms)
    inputs.push_back(pageNorms);
  for (Value part : inputs)
    read.push_back(b.readOnly(part));
  if (roundsDirections)
    read.push_back(b.readOnly(op.getDirection()));
  else
    llvm::append_range(read, ValueRange{rounded.multiples, rounded.factors});
  llvm::append_range(read, Slots::getRead(op, b));
  return read;
}

void SketchScan::bind(Given &given) {
  codes = given.take();
  scales = given.take();
  norms = given.take();
  if (pageNorms)
    pageNorms = given.take();
  direction = given.take(roundsDirections);
  if (!roundsDirections) {
    multiples = given.take();
    factors = given.take();
  }
  slots.emplace(op, b, given);
}

void SketchScan::bindShared(Given &given) {
  ahead = given.take(canScanAhead());
  ownScales = given.take(sharesTokens());
  ownNorms = given.take(sharesTokens() && hasBounds);
  normsOfWarps = given.take(pageNorms != nullptr);
  if (!roundsDirections)
    return;
  multiples = given.take();
  factors = given.take();
}

void SketchScan::begin(Value row, Value kvHead) {
  Value number; // of the first head, within its KV head
  if (headBlocks > 1) {
    number = b.mulI(b.remU(kvHead, b.index(headBlocks)), b.index(kMostHeads));
    kvHead = b.divU(kvHead, b.index(headBlocks));
  }
  Value thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  firstKvHead = kvHead;
  turn = warp;
  if (kvHeadsOfBlock > 1) {
    firstKvHead = b.mulI(kvHead, b.index(kvHeadsOfBlock));
    kvHead = b.addI(firstKvHead, b.remU(warp, b.index(kvHeadsOfBlock)));
    turn = b.divU(warp, b.index(kvHeadsOfBlock));
  }
  slots->begin(row, kvHead);
  firstHead = b.mulI(slots->kvHead, b.index(group));
  if (number)
    firstHead = b.addI(firstHead, number);
  numHeads = b.index(getHeadsOfBlock());
  if (number && group % kMostHeads)
    numHeads = b.minI(b.subI(b.index(group), number), numHeads);
  isFirst = number ? b.compare(CmpIPredicate::eq, number, b.index(0)) : Value();
  quad = b.divU(lane, b.index(4));
  within = b.remU(lane, b.index(4));
  part = b.divU(within, b.index(heads));
}

SmallVector<Value> SketchScan::scanSlots() {
  static_assert(kStep == ScanFindings::kTile);
  SmallVector<Value> found;
  for (int64_t i = 0; i < columns; ++i) {
    found.push_back(b.negInf());
    found.append(getNumFound() - 1, b.f32(0.0f));
    if (hasLevels)
      found[found.size() - getNumFound() + 1] = b.negInf();
  }
  Value start = b.addI(firstSlot, b.mulI(turn, b.index(kStep)));
  if (!ahead) {
    loadDirections();
    roundDirections();
  }
  if (ahead || run == kTokens) {
    // As long as all of a step is visible, nothing is looked at.
    Value whole = b.maxI(b.subI(endSlot, b.index(kStep - 1)), start);
    found = ahead ? scanAhead(start, whole, found)
                  : scanTiles(start, whole, /*areWhole=*/true, found);
    Value times = b.createOrFold<arith::CeilDivUIOp>(b.subI(whole, start),
                                                     b.index(getApart()));
    start = b.addI(start, b.mulI(times, b.index(getApart())));
  }
  return b.ifThen(b.compare(CmpIPredicate::slt, start, endSlot), found, [&] {
    return scanTiles(start, endSlot, /*areWhole=*/false, found);
  });
}

void SketchScan::prepare() {
  if (!directions.hasRoom())
    rounded.emit(b.readOnly(op.getDirection()));
  else if (!roundsDirections)
    directions.launch(b.readOnly(op.getDirection()));
}

void SketchScan::emit(ArrayRef<Value> values, Value shared) {
  Given given(values);
  bind(given);
  if (hasLevels) {
    tileTops = given.take();
    tileLacks = given.take();
    levels = given.take();
    spreads = given.take();
  } else {
    scores = given.take();
    bounds = given.take(hasBounds);
  }
  tops = given.take(hasBounds);
  Value largest = given.take(pageNorms != nullptr);
  directionNorms =
      given.take(roundsDirections && hasLevels && boundsByNorm(op));
  begin(b.blockId(gpu::Dimension::z), b.blockId(gpu::Dimension::x));
  firstSlot = b.mulI(getNumber(), b.index(block));
  Value end = b.minI(b.addI(firstSlot, b.index(block)),
                     b.dim(hasLevels ? levels : scores, 2));
  endSlot = b.maxI(b.minI(end, slots->numSlots), firstSlot);
  SmallVector<Value> found = scanSlots();
  if (pageNorms)
    findPageNorms(firstSlot, endSlot);
  b.letNextStart();
  if (hasBounds)
    storeTops(found, shared);
  if (pageNorms)
    storePageNorms(largest);
  if (hasLevels)
    return; // what is not visible is not read
  // Tiles end together; what follows the last is not visible.
  Value scored = b.mulI(b.createOrFold<arith::CeilDivUIOp>(
                            b.subI(endSlot, firstSlot), b.index(kStep)),
                        b.index(kStep));
  Value rest = b.addI(firstSlot, scored);
  Value own = b.addI(b.mulI(turn, b.index(kWarp)), lane);
  b.forLoop(b.index(0), numHeads, 1, [&](Value number) {
    Value head = b.addI(firstHead, number);
    b.forLoop(b.addI(rest, own), end, getNumTurns() * kWarp, [&](Value slot) {
      b.store(b.negInf(), scores, {slots->row, head, slot});
      if (hasBounds)
        b.store(b.negInf(), bounds, {slots->row, head, slot});
    });
  });
}

SmallVector<Value> SketchScan::scanTiles(Value from, Value to, bool areWhole,
                                         ValueRange found) {
  SmallVector<Column> all = loadColumns();
  auto scan = [&](Value start, ValueRange carried) {
    auto findTile = [&](Value number) {
      Value first = b.addI(start, b.mulI(number, b.index(kTokens)));
      return areWhole ? slots->findWholeTile(first, kTokens,
                                             slots->loadPageOf(first))
                      : slots->findTile(first, kTokens);
    };
    SmallVector<Codes> tiles(kTiles);
    for (int64_t i = 0; i < kTiles; ++i) {
      Slots::Tile tile = findTile(b.index(i));
      for (int64_t half : {0, 1}) {
        Slots::Place place = slots->find(tile, getOffset(half)).first;
        tiles[i][half] = loadCodes([&](Value byte, int64_t number) {
          SmallVector<Value> at = {place.page, slots->kvHead, place.slot, byte};
          return b.loadWords(codes, at, 4 * number);
        });
      }
    }
    // Each lane of four loads what goes with the tokens of a tile, and has the
    // others' from them.
    static_assert(kTiles == kColumns);
    Slots::Tile tile = findTile(within);
    SmallVector<Token> loaded;
    for (int64_t half : {0, 1})
      loaded.push_back(loadToken(tile, getOffset(half)));
    b.warpBarrier();
    shareTokens(loaded);
    b.warpBarrier();
    return scanStep(
        start, areWhole, [&](int64_t tile) { return tiles[tile]; }, loaded, all,
        carried);
  };
  return b.forLoop(from, to, getApart(), found, scan);
}

SmallVector<Value> SketchScan::scanStep(Value start, bool areWhole,
                                        function_ref<Codes(int64_t)> getCodes,
                                        ArrayRef<Token> loaded,
                                        ArrayRef<Column> all,
                                        ValueRange found) {
  const int64_t copies = kColumns / heads;
  Value none = b.negInf(), zero = b.f32(0.0f);
  // Then its registers are free.
  if (hasLevels)
    storeSpreads(loaded);
  SmallVector<Value> next(found);
  struct Step {
    SmallVector<Value> bounds;
    Best best;
    Value ofTop; // the score of its highest bound
  };
  SmallVector<Step> steps(all.size(),
                          {{}, Best({none, none, zero, zero}), none});
  // Of a head, what is found.
  auto getFound = [&](size_t number) {
    return MutableArrayRef<Value>(next).slice(number * getNumFound(),
                                              getNumFound());
  };
  // A lane's tile of each few after the other: what it needs of all of them
  // would take another warp's registers.
  for (int64_t firstTile = 0; firstTile < kTiles; firstTile += copies) {
    SmallVector<Codes> codes;
    for (int64_t copy = 0; copy < copies; ++copy)
      codes.push_back(getCodes(firstTile + copy));
    Value tile = b.addI(part, b.index(firstTile));
    std::array<Token, 2> tokens;
    SmallVector<Value> spreads;
    for (int64_t half : {0, 1}) {
      tokens[half] = getToken(loaded[half], start, tile, half, areWhole);
      if (hasLevels)
        spreads.push_back(tokens[half].getSpread(b));
    }
    for (auto [number, column] : llvm::enumerate(all)) {
      SmallVector<std::array<SmallVector<Value>, 2>> sums;
      for (const Codes &its : codes)
        sums.push_back(multiply(its, column));
      Step &step = steps[number];
      for (int64_t half : {0, 1}) {
        const Token &token = tokens[half];
        SmallVector<Value> mine = sums[0][half];
        for (int64_t copy = 1; copy < copies; ++copy) {
          Value is = b.compare(CmpIPredicate::eq, part, b.index(copy));
          for (auto [sum, other] : llvm::zip_equal(mine, sums[copy][half]))
            sum = b.select(is, other, sum);
        }
        auto [score, bound] = finish(token, mine, column, areWhole);
        step.bounds.push_back(bound);
        if (hasLevels) {
          score = b.select(token.isVisible, score, none);
          Value isTop = b.compare(CmpFPredicate::OGT, bound, step.best.bound);
          step.ofTop = b.select(isTop, score, step.ofTop);
          step.best.join(
              b, Best({bound, score, b.subF(bound, score), spreads[half]}));
        } else if (hasBounds) {
          addFindings(token, score, bound, getFound(number));
        }
      }
    }
  }
  if (!hasLevels)
    return next;
  Value inf = b.f32(std::numeric_limits<float>::infinity());
  for (auto [number, column] : llvm::enumerate(all)) {
    auto &[bounds, best, ofTop] = steps[number];
    Value lack = b.subF(best.bound, ofTop);
    if (areWhole) {
      Value least = bounds.front();
      for (Value bound : ArrayRef<Value>(bounds).drop_front())
        least = arith::MinimumFOp::create(b, least, bound);
      Value isNone = b.compare(CmpFPredicate::UEQ, least, none);
      best.bound = b.select(isNone, inf, best.bound);
      best.lack = b.select(isNone, inf, best.lack);
    }
    best.bound = storeLevels(start, bounds, best.bound, lack, column, areWhole);
    // Of a tile with a bound that is not known, none is.
    Value isKnown = b.compare(CmpFPredicate::OLT, best.bound, inf);
    best.bound = b.select(isKnown, best.bound, none);
    Best all(getFound(number));
    all.join(b, best);
    llvm::copy(all.pack(), getFound(number).begin());
  }
  return next;
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
                                           const Column &column,
                                           bool areWhole) {
  auto fma = [&](Value x, Value y, Value z) -> Value {
    return math::FmaOp::create(b, x, y, z);
  };
  auto toLogit = [&](Value value, bool isBound) -> Value {
    if (!op.getSoftCap())
      return value;
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
    int64_t below = getBitsBelow(static_cast<int64_t>(number));
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
    bound = toLogit(b.addF(total, slack), true);
    if (hasLevels && areWhole)
      return {score, bound};
    // What is visible and yet -inf has overflowed, which bounds nothing; nor
    // does NaN.
    Value none = b.compare(CmpFPredicate::UEQ, bound, b.negInf());
    bound =
        b.select(none, b.f32(std::numeric_limits<float>::infinity()), bound);
    bound = b.select(token.isVisible, bound, b.negInf());
  }
  if (hasLevels)
    return {score, bound};
  Value isHead = b.compare(CmpIPredicate::ult, column.head, numHeads);
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
    if (plane.bytes % 4 || plane.first % 4)
      return "expected planes of whole words";
  return nullptr;
}

/// Whether there is a value before an op.
bool vashista::isBefore(Value value, Operation *op) {
  Operation *maker = value.getDefiningOp();
  return !maker ||
         (maker->getBlock() == op->getBlock() && maker->isBeforeInBlock(op));
}

/// Moments of the direction, whose matrix is there and which are needed later.
static MomentOp findMoment(ScoreOp op) {
  int64_t kvHeads =
      cast<RankedTensorType>(op.getParts()[0].getType()).getDimSize(1);
  for (Operation *user : op.getDirection().getUsers()) {
    auto moment = dyn_cast<MomentOp>(user);
    if (!moment || moment->getBlock() != op->getBlock() ||
        findObstacle(moment) ||
        cast<RankedTensorType>(moment.getMoments().getType()).getDimSize(1) !=
            kvHeads)
      continue;
    bool isKnown = llvm::all_of(moment->getOperands(), [&](Value operand) {
      return isBefore(operand, op);
    });
    bool isLater = llvm::all_of(moment->getUsers(), [&](Operation *user) {
      Operation *own = op->getBlock()->findAncestorOpInBlock(*user);
      return own && op->isBeforeInBlock(own);
    });
    if (isKnown && isLater)
      return moment;
  }
  return nullptr;
}

SmallVector<CertifyOp> vashista::findCertifies(ScoreOp score, Operation *op,
                                               const Findings &findings) {
  SmallVector<CertifyOp> found;
  if (score.getBounds().use_empty() || Slots::getRun(score, 1) == 0)
    return found;
  auto codes = cast<RankedTensorType>(score.getParts()[0].getType());
  for (auto certify : op->getBlock()->getOps<CertifyOp>()) {
    Value norms = certify.getNorms();
    int64_t kvHeads = cast<RankedTensorType>(norms.getType()).getDimSize(1);
    if (isBefore(norms, op) && op->isBeforeInBlock(certify) &&
        !findObstacle(certify) && !findings.norms.contains(certify) &&
        certify.getPageTable() == score.getPageTable() &&
        certify.getSeqLens() == score.getSeqLens() &&
        certify.getRowToSeq() == score.getRowToSeq() &&
        certify.getPageSize() == static_cast<uint64_t>(codes.getDimSize(2)) &&
        kvHeads == codes.getDimSize(1) &&
        (found.empty() || norms == found.front().getNorms()))
      found.push_back(certify);
  }
  return found;
}

LogicalResult vashista::launchSketchScan(ScoreOp op,
                                         const ScheduleTarget &target,
                                         Findings &findings,
                                         PatternRewriter &rewriter) {
  if (const char *obstacle = findObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  SketchFormat format(
      cast<SketchAttr>(op.getFrom()),
      cast<RankedTensorType>(op.getDirection().getType()).getDimSize(2));
  WarpBuilder b(op.getLoc(), rewriter);
  SmallVector<CertifyOp> certifies = findCertifies(op, op, findings);
  MomentOp moment = findMoment(op);
  SketchScan scan(op, b, format, *op.getSchedule(), target,
                  certifies.empty() ? Value() : certifies[0].getNorms(),
                  moment);
  SmallVector<Value> tensors = scan.launch();
  Value bounds = tensors.empty() ? op.getBounds() : tensors[1];
  bool areSame = llvm::all_of(op->getUsers(), [&](Operation *user) {
    auto pick = dyn_cast<PickOp>(user);
    return !pick || seesSlotsOf(pick, op);
  });
  if (scan.findings.tops && areSame)
    findings.scans.insert({bounds, scan.findings});
  for (CertifyOp certify : certifies)
    findings.norms.insert({certify, scan.largestNorms});
  if (scan.moments)
    rewriter.replaceOp(moment,
                       toTensors(b, {scan.moments}, moment->getResultTypes()));
  if (!tensors.empty())
    rewriter.replaceOp(op, tensors);
  return success();
}
