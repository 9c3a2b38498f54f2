//===- VectorScan.cpp - Scores of page summaries and keys -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Bytes of a launch: the parts of each visible slot, once for each 8 heads of a
// KV head (by fmas 4 for two parts, 2 for a box), and a score for each head and
// slot is written; a bound, too, where it is not the score, and for a pick of
// many pages what PageFindings are.
//
//===----------------------------------------------------------------------===//

#include "VectorScan.h"
#include "../VashistaToVector/UpperBounds.h"
#include "Kernels.h"
#include "Schedules.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Channels that a lane loads together, and has at most for all heads.
static constexpr int64_t kChannels = 8, kMostOwn = 64;
/// Channels that four lanes load of a row for products of tensor cores.
static constexpr int64_t kBlockChannels = 4 * kChannels;

static RankedTensorType getDirectionType(ScoreOp op) {
  return cast<RankedTensorType>(op.getDirection().getType());
}

static int64_t getNumKvHeads(ScoreOp op) {
  SourcePart part = op.getFrom().getParts().front();
  auto at = llvm::find(part.dims, Dim::kvHeads) - part.dims.begin();
  return cast<RankedTensorType>(op.getParts().front().getType()).getDimSize(at);
}

int64_t vashista::getLanesOfRow(int64_t dim) {
  int64_t chunks = dim / kChannels;
  return std::min<int64_t>(chunks & -chunks, kWarp);
}

VectorScan::VectorScan(ScoreOp op, WarpBuilder &b, int64_t rows)
    : dim(getDirectionType(op).getDimSize(2)),
      group(getDirectionType(op).getDimSize(1) / getNumKvHeads(op)),
      numKvHeads(getNumKvHeads(op)), op(op), b(b), lanes(getLanesOfRow(dim)),
      rows(rows), tile(rows * (kWarp / lanes)) {
  if (auto from = dyn_cast<SummaryAttr>(op.getFrom()))
    summary = from.getKind();
  int64_t own = dim / lanes;
  int64_t vectors = is(SummaryKind::box)                ? 3
                    : !summary || is(SummaryKind::mean) ? 1
                                                        : 2;
  heads = std::clamp<int64_t>(kMostOwn / (vectors * own), 1, group);
  numRows = llvm::count_if(op.getFrom().getParts(), [](const SourcePart &part) {
    return llvm::is_contained(part.dims, Dim::keyDim);
  });
  constexpr int64_t kColumns = 8;
  byProducts = canMultiply(op) && tile % kBlock == 0;
  if (byProducts)
    heads = std::min(group, kColumns);
}

/// Whether nothing is proved by the scores.
static bool areOnlyRanked(ScoreOp op) {
  return llvm::all_of(op->getUsers(), [](Operation *user) {
    auto pick = dyn_cast<PickOp>(user);
    return pick && pick.getMode() == PickMode::top &&
           pick.getTail().use_empty();
  });
}

// What a bound allows for is the rounding of fmas. Means and deviations bound
// nothing.
bool VectorScan::canMultiply(ScoreOp op) {
  bool isExact = isa<KeysAttr>(op.getFrom()) && areOnlyRanked(op);
  auto summary = dyn_cast<SummaryAttr>(op.getFrom());
  if (!isExact && !(summary && !summary.hasBounds()))
    return false;
  RankedTensorType direction = getDirectionType(op);
  Type element = direction.getElementType();
  // For one head a product has seven columns of nothing.
  return direction.getDimSize(1) > getNumKvHeads(op) &&
         direction.getDimSize(2) % kBlockChannels == 0 &&
         (element.isBF16() || element.isF16()) &&
         llvm::all_of(op.getParts(), [&](Value part) {
           return getElementTypeOrSelf(part) == element;
         });
}

const char *VectorScan::getObstacle(ScoreOp op) {
  if (isa<SketchAttr>(op.getFrom()))
    return "expected a summary or keys";
  if (op->getParentOfType<LoopLikeOpInterface>())
    return "expected no loop around";
  RankedTensorType direction = getDirectionType(op);
  if (direction.isDynamicDim(1) || direction.isDynamicDim(2) ||
      ShapedType::isDynamic(getNumKvHeads(op)))
    return "expected static head sizes";
  if (direction.getDimSize(2) % kChannels)
    return "expected channels that are a multiple of 8";
  return nullptr;
}

SmallVector<Value> VectorScan::getRead(bool hasOwnList) {
  SmallVector<Value> read = {b.readOnly(op.getDirection())};
  for (Value part : op.getParts())
    read.push_back(b.readOnly(part));
  llvm::append_range(read, Slots::getRead(op, b, hasOwnList));
  return read;
}

void VectorScan::begin(Given &given, Value row, Value kvHead,
                       std::optional<Slots::OwnList> ownList) {
  direction = given.take();
  parts.clear();
  for (unsigned i = 0; i < op.getParts().size(); ++i)
    parts.push_back(given.take());
  slots.emplace(op, b, given, ownList);
  slots->begin(row, kvHead);
  lane = b.remU(b.threadId(), b.index(kWarp));
  member = b.divU(lane, b.index(lanes));
  within = b.remU(lane, b.index(lanes));
  // The highest bits of a lane say which half it keeps, as long as there is
  // more than one row.
  ownRow = b.divU(within, b.index(lanes / rows));
}

void VectorScan::scan(Value firstHead, Value first, Value end, int64_t warps,
                      Store store, Blocks *blocks) {
  Value thread = b.threadId(), zero = b.index(0);
  Value warp = b.divU(thread, b.index(kWarp));
  Value isOwn =
      b.compare(CmpIPredicate::eq, b.remU(within, b.index(lanes / rows)), zero);
  SmallVector<Value> columns;
  if (multiplies())
    columns = makeColumns(firstHead);
  SmallVector<Vectors> all;
  for (int64_t head = 0; !multiplies() && head < heads; ++head)
    all.push_back(makeVectors(
        b.addI(b.addI(b.mulI(slots->kvHead, b.index(group)), firstHead),
               b.index(head))));

  Value last = b.maxI(b.minI(end, slots->numSlots), first);
  Value start = b.addI(first, b.mulI(warp, b.index(tile)));
  int64_t step = warps * tile;
  const bool addsUp = blocks && blocks->addsUp;
  auto packSums = [&] {
    SmallVector<Value> all;
    for (int64_t i = 0; addsUp && i < 2; ++i)
      all.append({blocks->sums[i].top, blocks->sums[i].sum});
    return all;
  };
  auto unpack = [&](ValueRange all) {
    for (int64_t i = 0; addsUp && i < 2; ++i)
      blocks->sums[i] = {all[2 * i], all[2 * i + 1]};
  };
  auto scanTile = [&](Value tileStart, ValueRange carried) {
    Places here = {carried[0], carried[1], carried[2]};
    unpack(carried.drop_front(3));
    Value after = b.addI(tileStart, b.index(step));
    Value isMore = b.compare(CmpIPredicate::slt, after, last);
    Places next = findPlaces(b.select(isMore, after, tileStart));
    if (multiplies()) {
      scanBlocks(firstHead, here, tileStart, end, columns, store, blocks);
      SmallVector<Value> all = next.pack();
      llvm::append_range(all, packSums());
      return all;
    }
    SmallVector<SmallVector<Numbers>> loaded;
    for (int64_t row = 0; row < rows; ++row) {
      auto [page, slot] =
          getRow(here, b.addI(b.mulI(member, b.index(rows)), b.index(row)));
      SmallVector<Numbers> numbers;
      for (unsigned part = 0; part < numRows; ++part)
        numbers.push_back(load(parts[part], page, slot));
      loaded.push_back(numbers);
    }
    // Of the row that this lane finishes.
    Value own = b.addI(b.mulI(member, b.index(rows)), ownRow);
    Value radius;
    if (is(SummaryKind::ball)) {
      Value page = getRow(here, own).first;
      radius = b.load(parts[1], {page, slots->kvHead});
    }
    Value isVisible = isRowVisible(here, own);
    Value slot = b.addI(tileStart, own);
    Value stores = b.andI(isOwn, b.compare(CmpIPredicate::slt, slot, end));
    for (auto [head, vectors] : llvm::enumerate(all)) {
      SmallVector<Value> sums;
      for (const SmallVector<Numbers> &row : loaded)
        sums.push_back(multiply(vectors, row));
      Value logit = toLogit(addUp(sums), vectors, radius);
      b.ifThen(stores, [&, head = head] {
        store(b.addI(firstHead, b.index(head)), slot, logit, isVisible);
      });
    }
    return next.pack();
  };
  Value some = b.compare(CmpIPredicate::slt, start, last);
  unpack(b.ifThen(some, packSums(), [&]() -> SmallVector<Value> {
    SmallVector<Value> carried = findPlaces(start).pack();
    llvm::append_range(carried, packSums());
    SmallVector<Value> found = b.forLoop(start, last, step, carried, scanTile);
    found.erase(found.begin(), found.begin() + 3);
    return found;
  }));
  // What follows the last tile is not visible.
  Value tiles =
      b.createOrFold<arith::CeilDivUIOp>(b.subI(last, first), b.index(tile));
  Value rest = b.addI(first, b.mulI(tiles, b.index(tile)));
  for (int64_t head = 0; head < heads; ++head)
    b.forLoop(b.addI(rest, thread), end, warps * kWarp, [&](Value slot) {
      store(b.addI(firstHead, b.index(head)), slot, b.negInf(),
            b.boolean(false));
    });
}

// Of fragments of `mma.m16n8k16`, a product's pairs of channels are any that
// both matrices agree on: a lane's are consecutive ones, of one load for two
// products.
SmallVector<Value> VectorScan::makeColumns(Value firstHead) {
  Value column = b.divU(lane, b.index(4)), quarter = b.remU(lane, b.index(4));
  Value isThere = b.compare(CmpIPredicate::slt, column, b.index(heads));
  Value head = b.addI(b.addI(b.mulI(slots->kvHead, b.index(group)), firstHead),
                      b.minI(column, b.index(heads - 1)));
  SmallVector<Value> columns;
  for (int64_t channel = 0; channel < dim; channel += kBlockChannels) {
    Value at = b.addI(b.mulI(quarter, b.index(kChannels)), b.index(channel));
    for (Value pair : b.load16Bytes(direction, {slots->row, head, at}))
      columns.push_back(b.select(isThere, pair, b.i32(0)));
  }
  return columns;
}

void VectorScan::scanBlocks(Value firstHead, const Places &here,
                            Value tileStart, Value end, ArrayRef<Value> columns,
                            Store store, Blocks *blocks) {
  Value inBlock = b.divU(lane, b.index(4)), quarter = b.remU(lane, b.index(4));
  constexpr int64_t kHalf = kBlock / 2;
  Type element = getElementTypeOrSelf(parts[0]);
  // Deviations are multiplied with sizes.
  SmallVector<Value> sizes;
  for (Value pair : columns)
    if (numRows > 1)
      sizes.push_back(b.andI(pair, b.i32(0x7fff7fff)));
  // Of each half of a block a row in four lanes.
  SmallVector<Value> rowsOf;
  SmallVector<SmallVector<Value>> loaded;
  for (int64_t first = 0; first < tile; first += kHalf) {
    rowsOf.push_back(b.addI(inBlock, b.index(first)));
    auto [page, slot] = getRow(here, rowsOf.back());
    SmallVector<Value> pairs;
    for (unsigned part = 0; part < numRows; ++part)
      for (int64_t channel = 0; channel < dim; channel += kBlockChannels) {
        Value at =
            b.addI(b.mulI(quarter, b.index(kChannels)), b.index(channel));
        llvm::append_range(
            pairs, b.load16Bytes(parts[part], getPlace(page, slot, at)));
      }
    loaded.push_back(pairs);
  }
  for (int64_t block = 0; block < tile / kBlock; ++block) {
    ArrayRef<Value> upper = loaded[2 * block], lower = loaded[2 * block + 1];
    std::array<Value, 4> sums;
    sums.fill(b.f32(0.0f));
    for (unsigned part = 0; part < numRows; ++part) {
      ArrayRef<Value> others = part == 0 ? columns : ArrayRef<Value>(sizes);
      size_t first = part * others.size();
      for (size_t i = 0; i < others.size(); i += 2)
        sums = b.multiply({upper[first + i], lower[first + i],
                           upper[first + i + 1], lower[first + i + 1]},
                          {others[i], others[i + 1]}, sums, element);
    }
    // Two heads of a row of each half.
    SmallVector<Value> slots, areVisible;
    for (int64_t half = 0; half < 2; ++half) {
      slots.push_back(b.addI(tileStart, rowsOf[2 * block + half]));
      areVisible.push_back(isRowVisible(here, rowsOf[2 * block + half]));
    }
    for (int64_t i = 0; i < 2; ++i) {
      Value head = b.addI(b.mulI(quarter, b.index(2)), b.index(i));
      Value isHead = b.compare(CmpIPredicate::slt, head, b.index(heads));
      head = b.addI(firstHead, head);
      SmallVector<Value> logits;
      for (int64_t half = 0; half < 2; ++half) {
        logits.push_back(toLogit(sums[2 * half + i], {}, nullptr));
        Value stores = b.compare(CmpIPredicate::slt, slots[half], end);
        b.ifThen(b.andI(stores, isHead), [&] {
          store(head, slots[half], logits[half], areVisible[half]);
        });
      }
      if (!blocks)
        continue;
      Value first = b.addI(tileStart, b.index(block * kBlock));
      Value isBlock = b.compare(CmpIPredicate::slt, first, end);
      findInBlock(i, b.andI(isBlock, isHead), head, first, slots, logits,
                  areVisible, *blocks);
    }
  }
}

std::pair<Value, Value> VectorScan::weighPage(PagesOfPick &pages, Value page,
                                              Value logit, Value isVisible) {
  Value score = pages.weigh(toScore(logit), page);
  score = b.maxNumber(score, b.negInf());
  Value nan = b.f32(std::numeric_limits<float>::quiet_NaN());
  return {b.select(isVisible, score, b.negInf()),
          b.select(pages.isFree(page), score, nan)};
}

void VectorScan::scanPages(
    Value firstHead, Value first, Value end, int64_t warps, Store store,
    PagesOfPick &pages,
    function_ref<void(Value, Value, Value, const SoftmaxSum &)> leave) {
  auto weigh = [&](Value page, Value logit, Value isVisible) {
    return weighPage(pages, page, logit, isVisible);
  };
  Blocks blocks = {weigh, leave, /*addsUp=*/false, {}};
  scan(firstHead, first, end, warps, store, &blocks);
}

void VectorScan::scanPages(
    Value firstHead, Value first, Value end, int64_t warps, Store store,
    PagesOfPick &pages, function_ref<void(Value, Value, Value)> leaveTop,
    function_ref<void(Value, const SoftmaxSum &)> leaveSum) {
  auto weigh = [&](Value page, Value logit, Value isVisible) {
    return weighPage(pages, page, logit, isVisible);
  };
  auto leave = [&](Value head, Value block, Value highest, const SoftmaxSum &) {
    leaveTop(head, block, highest);
  };
  SoftmaxSum nothing = {b.negInf(), b.f32(0.0f)};
  Blocks blocks = {weigh, leave, /*addsUp=*/true, {nothing, nothing}};
  scan(firstHead, first, end, warps, store, &blocks);
  auto getOwn = [&](int64_t head) -> SoftmaxSum {
    Value has = b.compare(CmpIPredicate::eq, b.remU(lane, b.index(4)),
                          b.index(head / 2));
    SoftmaxSum own = blocks.sums[head % 2];
    return {b.select(has, own.top, nothing.top),
            b.select(has, own.sum, nothing.sum)};
  };
  joinWarps(b, heads, getOwn, [&](Value head, const SoftmaxSum &all) {
    leaveSum(b.addI(firstHead, head), all);
  });
}

/// Eight lanes have two slots of a head each.
void VectorScan::findInBlock(int64_t number, Value stores, Value head,
                             Value first, ArrayRef<Value> ofSlots,
                             ArrayRef<Value> logits, ArrayRef<Value> areVisible,
                             Blocks &blocks) {
  assert(tile <= kWarp && "no tile has slots of the next part");
  auto larger = [&](Value x, Value y) { return b.maxNumber(x, y); };
  auto join = [&](Value value, auto of) {
    return b.combine(value, of, /*first=*/4);
  };
  SmallVector<Value> counted, compared;
  for (auto [slot, logit, isVisible] :
       llvm::zip_equal(ofSlots, logits, areVisible)) {
    auto [counts, compares] = blocks.weigh(slot, logit, isVisible);
    counted.push_back(counts);
    compared.push_back(compares);
  }
  Value highest = join(larger(compared[0], compared[1]), larger);
  SoftmaxSum all = {larger(counted[0], counted[1]), nullptr};
  if (blocks.addsUp)
    all.top = larger(blocks.sums[number].top, all.top);
  else
    all.top = join(all.top, larger);
  Value shift = toShift(b, all.top);
  all.sum =
      b.addF(toWeight(b, counted[0], shift), toWeight(b, counted[1], shift));
  if (blocks.addsUp) {
    SoftmaxSum &before = blocks.sums[number];
    Value weight = toWeight(b, before.top, shift);
    all.sum = math::FmaOp::create(b, before.sum, weight, all.sum);
    before = all;
  } else {
    all.sum = join(all.sum, [&](Value x, Value y) { return b.addF(x, y); });
  }
  Value isOne = b.compare(CmpIPredicate::ult, lane, b.index(4));
  b.ifThen(b.andI(stores, isOne), [&] {
    blocks.store(head, b.divU(first, b.index(kBlock)), highest, all);
  });
}

VectorScan::Places VectorScan::findPlaces(Value first) {
  Slots::Tile found = slots->findTile(first, tile);
  if (found.place)
    return {b.toI32(found.place->page), b.toI32(found.place->slot),
            found.count};
  Value offset = lane;
  if (tile < kWarp)
    offset = b.remU(lane, b.index(tile));
  auto [place, isVisible] = slots->find(b.addI(first, offset));
  return {b.toI32(place.page), b.toI32(place.slot),
          b.select(isVisible, b.i32(1), b.i32(0))};
}

std::pair<Value, Value> VectorScan::getRow(const Places &places, Value row) {
  if (!slots->hasTiles(tile))
    return {b.toIndex(b.shuffle(places.page, b.toI32(row))),
            b.toIndex(b.shuffle(places.slot, b.toI32(row)))};
  // In place of one that is not visible stands one that is.
  Value last = b.subI(b.maxI(places.visible, b.i32(1)), b.i32(1));
  Value slot = b.addI(places.slot, b.minI(b.toI32(row), last));
  return {b.toIndex(places.page), b.toIndex(slot)};
}

Value VectorScan::isRowVisible(const Places &places, Value row) {
  if (slots->hasTiles(tile))
    return b.compare(CmpIPredicate::slt, b.toI32(row), places.visible);
  return b.compare(CmpIPredicate::ne, b.shuffle(places.visible, b.toI32(row)),
                   b.i32(0));
}

SmallVector<Value> VectorScan::getPlace(Value page, Value slot, Value channel) {
  SmallVector<Value> at = {page, slots->kvHead};
  if (auto keys = dyn_cast<KeysAttr>(op.getFrom()))
    at.insert(keys.getLayout() == Layout::hnd ? at.end() : at.begin() + 1,
              slot);
  if (channel)
    at.push_back(channel);
  return at;
}

VectorScan::Numbers VectorScan::load(Value from, Value page, Value slot) {
  return loadChannels(b, from, getPlace(page, slot), within);
}

SmallVector<Value> vashista::loadChannels(WarpBuilder &b, Value from,
                                          ArrayRef<Value> row, Value within) {
  int64_t dim = cast<MemRefType>(from.getType()).getShape().back(),
          lanes = getLanesOfRow(dim);
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
  vectors.direction = loadChannels(b, direction, {slots->row, head}, within);
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

Value VectorScan::toLogit(Value sum, const Vectors &vectors, Value radius) {
  if (radius)
    sum = b.addF(sum, b.mulF(vectors.norm, radius));
  Value one = b.broadcast(sum, 1);
  one = isBound()
            ? b.toLogitBounds(one, op.getScale(), op.getSoftCap(),
                              op.getEpsilon())
            : b.toLogits(one, op.getScale(), op.getSoftCap(), op.getEpsilon());
  return vector::ExtractOp::create(b, one, ArrayRef<int64_t>{0});
}

Value VectorScan::toScore(Value logit) {
  if (!op.getFrom().hasBounds())
    return logit;
  Value none = b.compare(CmpFPredicate::OEQ, logit, b.negInf());
  return b.select(none, b.f32(kInfinity), logit);
}

/// The pick that what is left of blocks of pages is for, if there is one.
static PickOp findPickOfBlocks(ScoreOp op) {
  if (op->use_empty() || !llvm::all_equal(op->getUsers()))
    return nullptr;
  auto pick = dyn_cast<PickOp>(*op->user_begin());
  bool isOfThese = pick && pick.getScores() == op.getScores() &&
                   op.getPageSize() == pick.getPageSize() &&
                   op.getSeqLens() == pick.getSeqLens() && picksByBlocks(pick);
  return isOfThese ? pick : nullptr;
}

LogicalResult vashista::launchVectorScan(ScoreOp op, Findings &findings,
                                         PatternRewriter &rewriter) {
  if (const char *obstacle = VectorScan::getObstacle(op))
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  ScheduleAttr schedule = *op.getSchedule();
  VectorScan scan(op, b, schedule.getStages());
  bool writesBounds = !op.getFrom().hasBounds() && !op.getBounds().use_empty();
  SmallVector<Value> written = allocateResults(op, b, writesBounds ? 2 : 1);
  PickOp pick = scan.multiplies() ? findPickOfBlocks(op) : nullptr;
  if (pick) {
    auto shape = cast<MemRefType>(written[0].getType()).getShape();
    constexpr int64_t dynamic = ShapedType::kDynamic;
    bool areKnown = !ShapedType::isDynamic(shape[2]);
    int64_t blocks =
        areKnown ? llvm::divideCeil(shape[2], VectorScan::kBlock) : dynamic;
    SmallVector<Value> unknown = {b.dim(written[0], 0)};
    if (!areKnown)
      unknown.push_back(b.createOrFold<arith::CeilDivUIOp>(
          b.dim(written[0], 2), b.index(VectorScan::kBlock)));
    auto allocate = [&](ArrayRef<int64_t> sizes) {
      written.push_back(
          memref::AllocOp::create(b, MemRefType::get(sizes, b.getF32Type()),
                                  unknown, b.getI64IntegerAttr(64)));
    };
    allocate({dynamic, shape[1], blocks, 2});
    allocate({dynamic, shape[1], blocks});
  }

  int64_t warps = schedule.getWarps(), block = schedule.getSplit();
  int64_t headBlocks = llvm::divideCeil(scan.group, scan.heads);

  KernelShape shape;
  shape.name = "vector_scan";
  // Blocks of the same slots follow each other: what all heads have of a page
  // lies together, and blocks of the same KV head read what is in a cache.
  shape.gridX = b.index(scan.numKvHeads * headBlocks);
  shape.gridY =
      b.createOrFold<arith::CeilDivUIOp>(b.dim(written[0], 2), b.index(block));
  shape.gridZ = b.dim(written[0], 0);
  shape.threads = warps * kWarp;
  shape.residentBlocks = schedule.getBlocks();
  b.launch(
      shape, scan.getRead(), written, {},
      [&](ArrayRef<Value> values, ArrayRef<Value>) {
        Given given(values);
        Value row = b.blockId(gpu::Dimension::z);
        Value number = b.blockId(gpu::Dimension::x);
        Value kvHead = b.divU(number, b.index(headBlocks));
        scan.begin(given, row, kvHead);
        // The last heads of a group, where blocks do not divide it, twice.
        Value head =
            b.mulI(b.remU(number, b.index(headBlocks)), b.index(scan.heads));
        head = b.minI(head, b.index(scan.group - scan.heads));
        Value scores = given.take();
        Value bounds = given.take(writesBounds);
        Value sums = given.take(pick != nullptr);
        Value tops = given.take(pick != nullptr);
        Value first = b.mulI(b.blockId(gpu::Dimension::y), b.index(block));
        Value end = b.minI(b.addI(first, b.index(block)), b.dim(scores, 2));
        Value firstHead = b.mulI(kvHead, b.index(scan.group));
        auto storeAll = [&](Value head, Value slot, Value logit,
                            Value isVisible) {
          Value at[] = {row, b.addI(firstHead, head), slot};
          auto store = [&](Value value, Value to) {
            value = b.select(isVisible, value, b.negInf());
            b.store(value, to, at);
          };
          store(scan.toScore(logit), scores);
          if (bounds)
            store(b.f32(kInfinity), bounds);
        };
        if (!pick)
          return scan.scan(head, first, end, warps, storeAll);
        PagesOfPick pages(pick, b, scan.slots->getLength(), b.dim(scores, 2));
        scan.scanPages(
            head, first, end, warps, storeAll, pages,
            [&](Value head, Value block, Value highest, const SoftmaxSum &sum) {
              Value ofHead = b.addI(firstHead, head);
              b.storeFloats({sum.top, sum.sum}, sums,
                            {row, ofHead, block, b.index(0)});
              b.store(highest, tops, {row, ofHead, block});
            });
      });
  SmallVector<Value> tensors = toTensors(
      b, {written[0], written[writesBounds ? 1 : 0]}, op->getResultTypes());
  if (pick)
    findings.pages[pick] = {written[written.size() - 2], written.back()};
  rewriter.replaceOp(op, tensors);
  return success();
}
