//===- AttendTiles.cpp - Tiles of tokens on tensor cores ------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendKernels.h"

using namespace mlir;
using namespace vashista;

using arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

void AttendLauncher::findSlots() {
  Value zero = b.index(0);
  length = b.maxI(b.loadIndex(its.lengths, row), zero);
  sequence = its.rowToSeq ? b.loadIndex(its.rowToSeq, row) : row;
  numSlots = length;
  if (!its.list)
    return;
  numSlots = b.dim(its.list, 2);
  if (its.count)
    numSlots = b.minI(numSlots, b.loadIndex(its.count, {row, kvHead}));
  if (inPages)
    numSlots = b.mulI(numSlots, b.index(pageSize));
  // Of an empty sequence nothing is visible, and there is no token to read in
  // place of one that is not.
  numSlots =
      b.select(b.compare(CmpIPredicate::sgt, length, zero), numSlots, zero);
}

Value AttendLauncher::getSlotsOfSplit() {
  if (mostSplits == 0 || !its.partials)
    return b.index(split);
  // Whole tiles of all warps.
  Value least = b.index(split), tiles = b.index(4 * kTokens);
  Value share = arith::CeilDivUIOp::create(b, numSlots, its.numSplits);
  share = b.mulI(b.divU(b.addI(share, b.index(4 * kTokens - 1)), tiles), tiles);
  return b.maxI(share, least);
}

Value AttendLauncher::loadEntry(Value slot) {
  if (ownList) {
    slot = b.minI(slot, b.subI(last, b.index(1)));
    Value entry = b.load(ownList, slot);
    entry = arith::ExtUIOp::create(b, b.getI32Type(), entry);
    return b.addI(entry, b.toI32(firstListed));
  }
  if (!its.list)
    return nullptr;
  // What lies behind a list's end is not read.
  slot = b.minI(slot, b.subI(last, b.index(1)));
  if (inPages)
    slot = b.divU(slot, b.index(pageSize));
  return b.load(its.list, {row, kvHead, slot});
}

/// The position of a slot, and whether it is visible.
std::pair<Value, Value> AttendLauncher::findPosition(Value slot, Value entry) {
  Value inside = b.compare(CmpIPredicate::slt, slot, last);
  slot = b.minI(slot, b.subI(last, b.index(1)));
  if (entry)
    entry = arith::IndexCastOp::create(b, b.getIndexType(), entry);
  Value position = inTokens ? entry : slot;
  if (inPages) {
    Value size = b.index(pageSize), page = entry;
    position = b.addI(b.mulI(page, size), b.remU(slot, size));
    position = b.select(b.compare(CmpIPredicate::sge, page, b.index(0)),
                        position, b.index(-1));
  }
  Value listed = b.compare(CmpIPredicate::sge, position, b.index(0));
  Value visible = b.compare(CmpIPredicate::slt, position, length);
  return {position, b.andI(inside, b.andI(listed, visible))};
}

std::array<Value, 6> AttendLauncher::getTokens() {
  Value two = b.mulI(within, b.index(2));
  return {quad,
          b.addI(quad, b.index(8)),
          two,
          b.addI(two, b.index(1)),
          b.addI(two, b.index(8)),
          b.addI(two, b.index(9))};
}

static Value widen(WarpBuilder &b, Value value) {
  return arith::IndexCastOp::create(b, b.getIndexType(), value);
}

/// In place of a token that is not visible stands one that is: nothing else is
/// ever read.
SmallVector<Value> AttendLauncher::findTile(Value first) {
  if (isPaged())
    return findTileOfPage(first, loadEntry(first));
  Value size = b.index(pageSize);
  SmallVector<Value> places, visibilities;
  for (Value token : getTokens()) {
    Value slot = b.addI(first, token);
    auto [position, visible] = findPosition(slot, loadEntry(slot));
    position = b.select(visible, position, b.index(0));
    places.push_back(b.load(its.table, {sequence, b.divU(position, size)}));
    places.push_back(b.toI32(b.remU(position, size)));
    visibilities.push_back(visible);
  }
  places.append({visibilities[0], visibilities[1]});
  return places;
}

SmallVector<Value> AttendLauncher::findTileOfPage(Value first, Value entry) {
  Value size = b.index(pageSize);
  auto [position, any] = findPosition(first, entry);
  position = b.select(any, position, b.index(0));
  Value page = b.load(its.table, {sequence, b.divU(position, size)});
  // Slots of the tile, and tokens of the sequence.
  Value count = b.minI(b.subI(last, first), b.subI(length, position));
  count = b.select(any, count, b.index(0));
  return {page, b.toI32(b.remU(position, size)), b.toI32(count)};
}

std::pair<Value, Value> AttendLauncher::getRow(ValueRange places,
                                               unsigned token) {
  if (isPaged())
    return getRowOfPage(places, getTokens()[token]);
  return {widen(b, places[2 * token]), widen(b, places[2 * token + 1])};
}

std::pair<Value, Value> AttendLauncher::getRowOfPage(ValueRange places,
                                                     Value token) {
  Value one = b.index(1);
  Value most = b.subI(b.maxI(widen(b, places[2]), one), one);
  Value slot = b.minI(token, most);
  return {widen(b, places[0]), b.addI(widen(b, places[1]), slot)};
}

Value AttendLauncher::isVisible(ValueRange places, unsigned key) {
  if (!isPaged())
    return places[12 + key];
  return b.compare(CmpIPredicate::slt, getTokens()[key], widen(b, places[2]));
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

SmallVector<AttendLauncher::RowPart> AttendLauncher::takeApart(int64_t dim,
                                                               int64_t lanes) {
  constexpr int64_t kMostOwn = 8; // 16 bytes
  SmallVector<RowPart> parts;
  for (int64_t channel = 0; channel < dim;) {
    int64_t own = llvm::bit_floor<uint64_t>((dim - channel) / lanes);
    parts.push_back({channel, std::min(own, kMostOwn)});
    channel += lanes * parts.back().own;
  }
  return parts;
}

/// Of each part, halves of the second operand of a product or two.
AttendLauncher::Query AttendLauncher::loadQuery() {
  Value end =
      b.subI(b.mulI(b.addI(kvHead, b.index(1)), b.index(group)), b.index(1));
  Query query(products);
  for (auto [product, parts] : llvm::enumerate(query)) {
    Value head = b.addI(quad, b.index(product * kHeads));
    if (numHeads % kHeads)
      head = b.minI(head, b.index(numHeads - 1));
    head = b.minI(b.addI(firstHead, head), end);
    for (const RowPart &part : getKeyParts()) {
      Value at =
          b.addI(b.mulI(within, b.index(part.own)), b.index(part.channel));
      parts.push_back(b.loadWords(its.query, {row, head, at}, part.own));
    }
  }
  return query;
}

/// A logit as an exponent of 2.
Value AttendLauncher::toExponent(Value product) {
  double scale = op.getScale().convertToDouble();
  double epsilon = op.getSolver().getEpsilon().convertToDouble();
  auto times = [&](Value value, double factor) {
    return b.mulF(value, b.f32(static_cast<float>(factor)));
  };
  if (!op.getSoftCap())
    return times(product, scale / epsilon * kLog2E);
  double cap = op.getSoftCap()->convertToDouble();
  return times(b.tanh(times(product, scale / cap)), cap / epsilon * kLog2E);
}

AttendLauncher::Tile AttendLauncher::loadTile(Load loadKey, Load loadValue) {
  Tile tile;
  for (const RowPart &part : getKeyParts())
    tile.keys.push_back({loadKey(0, part), loadKey(1, part)});
  for (const RowPart &part : getValueParts()) {
    std::array<Words, 4> tokens;
    for (int64_t i = 0; i < 4; ++i)
      tokens[i] = loadValue(i, part);
    tile.values.push_back(tokens);
  }
  return tile;
}

AttendLauncher::Weights AttendLauncher::weigh(State &state, const Tile &tile,
                                              const QueryParts &query,
                                              IsVisible isVisible) {
  // Tokens g and g + 8 of heads 2 t and 2 t + 1.
  Value zero = b.f32(0.0f);
  std::array<Value, 4> scores = {zero, zero, zero, zero};
  for (auto [key, q] : llvm::zip_equal(tile.keys, query))
    for (size_t i = 0; i < q.size(); i += 2)
      scores = b.multiply({key[0][i], key[1][i], key[0][i + 1], key[1][i + 1]},
                          {q[i], q[i + 1]}, scores, element);
  for (int64_t i = 0; i < 4; ++i)
    scores[i] = b.select(isVisible(i / 2), toExponent(scores[i]), b.negInf());

  Weights weights;
  for (int64_t head = 0; head < 2; ++head) {
    Value largest = b.maxNumber(scores[head], scores[head + 2]);
    for (int64_t mask : {4, 8, 16})
      largest = b.maxNumber(largest, b.shuffleXor(largest, mask));
    largest = b.maxNumber(state.maxima[head], largest);
    Value shift = getShift(largest);
    Value before = b.exp2(b.subF(state.maxima[head], shift));
    Value sum = b.mulF(state.sums[head], before);
    for (int64_t i : {head, head + 2}) {
      scores[i] = b.exp2(b.subF(scores[i], shift));
      sum = b.addF(sum, scores[i]);
    }
    weights.before[head] = before;
    state.maxima[head] = largest;
    state.sums[head] = sum;
  }
  weights.tokens = {b.transpose(b.packPair(scores[0], scores[1], element)),
                    b.transpose(b.packPair(scores[2], scores[3], element))};
  return weights;
}

AttendLauncher::States AttendLauncher::attendTile(States states,
                                                  const Tile &tile,
                                                  const Query &query,
                                                  IsVisible isVisible) {
  SmallVector<Weights> weights;
  for (auto [state, q] : llvm::zip_equal(states, query))
    weights.push_back(weigh(state, tile, q, isVisible));
  int64_t output = 0;
  for (const auto &tokens : tile.values)
    for (size_t i = 0; i < tokens[0].size(); ++i, output += 4) {
      constexpr int64_t lows = 0x5410, highs = 0x7632;
      std::array<Value, 4> channels = {
          b.permuteBytes(tokens[0][i], tokens[1][i], lows),
          b.permuteBytes(tokens[0][i], tokens[1][i], highs),
          b.permuteBytes(tokens[2][i], tokens[3][i], lows),
          b.permuteBytes(tokens[2][i], tokens[3][i], highs)};
      for (auto [state, of] : llvm::zip_equal(states, weights)) {
        std::array<Value, 4> sums;
        for (int64_t j = 0; j < 4; ++j)
          sums[j] = b.mulF(state.outputs[output + j], of.before[j % 2]);
        sums = b.multiply(channels, of.tokens, sums, element);
        llvm::copy(sums, state.outputs.begin() + output);
      }
    }
  return states;
}

AttendLauncher::States AttendLauncher::getEmptyStates() {
  State state;
  state.maxima = {b.negInf(), b.negInf()};
  state.sums = {b.f32(0.0f), b.f32(0.0f)};
  state.outputs.assign(valueDim / 4, b.f32(0.0f));
  States states;
  states.assign(products, state);
  return states;
}

AttendLauncher::States AttendLauncher::unpack(ValueRange all) {
  States states;
  for (int64_t i = 0, size = 4 + valueDim / 4; i < products; ++i) {
    ValueRange own = all.slice(i * size, size);
    states.push_back({{own[0], own[1]},
                      {own[2], own[3]},
                      SmallVector<Value>(own.drop_front(4))});
  }
  return states;
}

AttendLauncher::States AttendLauncher::attendLoaded(const Query &query) {
  // The places of a few tiles are looked up while those before are read.
  Value start = b.addI(first, b.mulI(warp, b.index(kTokens)));
  int64_t atOnce = schedule.getStages(), apart = warps * kTokens;
  auto findAhead = [&](Value at) {
    SmallVector<Value> places;
    for (int64_t i = 0; i < atOnce; ++i) {
      Value tile = b.addI(at, b.index(i * apart));
      llvm::append_range(places,
                         findTile(b.minI(tile, b.subI(last, b.index(1)))));
    }
    return places;
  };
  auto load = [&](ValueRange places) {
    auto loadFrom = [&](Value memref, unsigned token, Value number,
                        const RowPart &part) {
      Value at =
          b.addI(b.mulI(number, b.index(part.own)), b.index(part.channel));
      return b.loadWords(memref, getIndices(getRow(places, token), at),
                         part.own);
    };
    return loadTile(
        [&](unsigned key, const RowPart &part) {
          return loadFrom(its.keys, key, within, part);
        },
        [&](unsigned value, const RowPart &part) {
          return loadFrom(its.values, 2 + value, quad, part);
        });
  };
  SmallVector<Value> carried = findAhead(start);
  unsigned numPlaces = carried.size();
  llvm::append_range(carried, getEmptyStates().pack());
  int64_t step = atOnce * apart;
  auto attendTiles = [&](Value at, ValueRange now) {
    SmallVector<Value> next = findAhead(b.addI(at, b.index(step)));
    auto getPlaces = [&](int64_t i) {
      unsigned size = numPlaces / atOnce;
      return now.slice(i * size, size);
    };
    // All loads first: they are what takes time.
    SmallVector<Tile, 1> tiles;
    for (int64_t i = 0; i < atOnce; ++i)
      tiles.push_back(load(getPlaces(i)));
    States states = unpack(now.drop_front(numPlaces));
    for (int64_t i = 0; i < atOnce; ++i) {
      Value isThere; // the first always is
      if (i > 0)
        isThere =
            b.compare(CmpIPredicate::slt, b.addI(at, b.index(i * apart)), last);
      states = attendTile(states, tiles[i], query, [&](unsigned key) {
        Value visible = isVisible(getPlaces(i), key);
        return isThere ? b.andI(visible, isThere) : visible;
      });
    }
    llvm::append_range(next, states.pack());
    return next;
  };
  SmallVector<Value> end = b.forLoop(start, last, step, carried, attendTiles);
  return unpack(ValueRange(end).drop_front(numPlaces));
}

//===----------------------------------------------------------------------===//
// Splits
//===----------------------------------------------------------------------===//

void AttendLauncher::storeShared(const States &states) {
  auto store = [&](const State &state, Value head, int64_t i) {
    Value sum = state.sums[i];
    for (int64_t mask : {4, 8, 16})
      sum = b.addF(sum, b.shuffleXor(sum, mask));
    Value isHead = b.compare(CmpIPredicate::ult, head, b.index(numHeads));
    b.ifThen(isHead, [&] {
      b.store(state.maxima[i], sharedExponents, {warp, head, b.index(0)});
      b.store(sum, sharedExponents, {warp, head, b.index(1)});
      for (const RowPart &part : getValueParts()) {
        Value at =
            b.addI(b.mulI(quad, b.index(part.own)), b.index(part.channel));
        const Value *outputs = state.outputs.begin() + part.channel / 4;
        const int64_t size = std::min<int64_t>(part.own, 4);
        for (int64_t first = 0; first < part.own; first += size) {
          SmallVector<Value> some;
          for (int64_t j = first; j < first + size; ++j)
            some.push_back(outputs[j / 2 * 4 + j % 2 * 2 + i]);
          Value vector =
              vector::FromElementsOp::create(b, b.vectorType(size), some);
          vector::StoreOp::create(
              b, vector, sharedOutputs,
              ValueRange{warp, head, b.addI(at, b.index(first))},
              /*nontemporal=*/false, llvm::MaybeAlign(4 * size));
        }
      }
    });
  };
  for (auto [product, state] : llvm::enumerate(states))
    for (int64_t i = 0; i < 2; ++i)
      store(state,
            b.addI(b.mulI(within, b.index(2)), b.index(product * kHeads + i)),
            i);
}

Value AttendLauncher::isFlagged() {
  Value begin = b.mulI(kvHead, b.index(group));
  return b
      .forLoop(begin, b.addI(begin, b.index(group)), 1,
               ValueRange{b.boolean(false)},
               [&](Value other, ValueRange carried) -> SmallVector<Value> {
                 Value measure = b.load(its.condition->measure, {row, other});
                 Value misses = b.compare(arith::CmpFPredicate::UGT, measure,
                                          b.f32(its.condition->limit));
                 return {b.orI(carried[0], misses)};
               })
      .front();
}

/// So many that there are few blocks, and no more than a warp can look at.
Value AttendLauncher::getRowsOfBlock(Value numRows, Value numSplits) {
  int64_t heads = cast<MemRefType>(op.getQuery().getType()).getDimSize(1);
  Value blocks =
      b.mulI(b.mulI(numRows, numSplits), b.index(heads / group * headBlocks));
  blocks = b.createOrFold<arith::CeilDivUIOp>(blocks, b.index(kFewBlocks));
  // An empty batch has no blocks: rows are divided by this.
  blocks = b.createOrFold<arith::MaxUIOp>(blocks, b.index(1));
  return b.createOrFold<arith::MinUIOp>(blocks, b.index(kWarp));
}

void AttendLauncher::forEachRow(function_ref<void()> body) {
  Value numRows = b.dim(its.query, 0);
  Value ofBlock = getRowsOfBlock(numRows, its.numSplits);
  Value firstRow = b.mulI(row, ofBlock), zero = b.index(0);
  // A lane looks at each.
  Value lane = b.remU(b.threadId(), b.index(kWarp));
  row = b.addI(firstRow, lane);
  Value isRow = b.andI(b.compare(CmpIPredicate::ult, lane, ofBlock),
                       b.compare(CmpIPredicate::ult, row, numRows));
  row = b.minI(row, b.subI(numRows, b.index(1)));
  Value hasWork = its.condition ? isFlagged() : b.boolean(true);
  if (its.count)
    hasWork = b.compare(CmpIPredicate::sgt,
                        b.loadIndex(its.count, {row, kvHead}), zero);
  auto forEach = [&](Value isWanted, function_ref<void()> body) {
    Value rows = b.ballot(isWanted);
    Value number = b.toIndex(math::CtPopOp::create(b, rows));
    b.forLoop(zero, number, 1, ValueRange{rows},
              [&](Value, ValueRange left) -> SmallVector<Value> {
                Value lowest = math::CountTrailingZerosOp::create(b, left[0]);
                row = b.addI(firstRow, b.toIndex(lowest));
                body();
                return {b.andI(left[0], b.subI(left[0], b.i32(1)))};
              });
  };
  if (its.condition) {
    // Of others the state is kept, by blocks of the row's splits by turns.
    Value isNone = arith::XOrIOp::create(b, hasWork, b.boolean(true));
    Value isOwn =
        b.compare(CmpIPredicate::eq, b.remU(lane, its.numSplits), splitNumber);
    forEach(b.andI(isRow, b.andI(isNone, isOwn)), [&] {
      keepState(firstHead, countHeads());
      storeFlag(b.boolean(false), firstHead);
    });
  }
  forEach(b.andI(isRow, hasWork), [&] {
    body();
    // Others read what this block shares.
    b.barrier();
  });
}

void AttendLauncher::attendIf(Value head, Value count,
                              function_ref<void()> attend) {
  if (!its.condition)
    return attend();
  Value isFlagged = this->isFlagged();
  b.ifThen(isFlagged, attend);
  Value isKept = arith::XOrIOp::create(b, isFlagged, b.boolean(true));
  b.ifThen(isKept, [&] { keepState(head, count); });
  storeFlag(isFlagged, head);
}

void AttendLauncher::keepState(Value head, Value count) {
  Value thread = b.threadId(), dim = b.index(valueDim);
  b.forLoop(thread, b.mulI(count, dim), warps * kWarp, [&](Value number) {
    Value at[] = {row, b.addI(head, b.divU(number, dim)), b.remU(number, dim)};
    b.store(b.load(its.condition->o, at), its.o, at);
  });
  b.ifThen(b.compare(CmpIPredicate::ult, thread, count), [&] {
    Value at[] = {row, b.addI(head, thread)};
    b.store(b.load(its.condition->lse, at), its.lse, at);
  });
}

/// By the first thread of those who have the KV head's first head.
void AttendLauncher::storeFlag(Value isFlagged, Value head) {
  Value begin = b.mulI(kvHead, b.index(group));
  Value isFirst = b.andI(b.compare(CmpIPredicate::eq, b.threadId(), b.index(0)),
                         b.compare(CmpIPredicate::eq, head, begin));
  b.ifThen(isFirst, [&] {
    b.store(isFlagged, its.condition->flags, {row, kvHead});
  });
}

Value AttendLauncher::countHeads() {
  Value end = b.mulI(b.addI(kvHead, b.index(1)), b.index(group));
  return b.minI(b.subI(end, firstHead), b.index(numHeads));
}

void AttendLauncher::bindThread() {
  Value thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  quad = b.divU(lane, b.index(4));
  within = b.remU(lane, b.index(4));
}

void AttendLauncher::emitSplit() {
  bindThread();
  findSlots();
  ofSplit = getSlotsOfSplit();
  first = b.mulI(splitNumber, ofSplit);
  last = b.minI(b.addI(first, ofSplit), numSlots);
  Value heads = countHeads();
  if (takesTurns)
    return emitTiles(heads);
  attendIf(firstHead, heads, [&] { emitTiles(heads); });
}

void AttendLauncher::storeNothing(Value heads) {
  Value dim = b.index(valueDim), thread = b.threadId();
  b.forLoop(thread, b.mulI(heads, dim), warps * kWarp, [&](Value number) {
    Value head = b.addI(firstHead, b.divU(number, dim));
    b.store(b.f32(0.0f), its.partials,
            {row, head, splitNumber, b.remU(number, dim)});
  });
  b.ifThen(b.compare(CmpIPredicate::ult, thread, heads), [&] {
    Value head = b.addI(firstHead, thread);
    b.store(b.negInf(), its.exponents, {row, head, splitNumber, b.index(0)});
    b.store(b.f32(0.0f), its.exponents, {row, head, splitNumber, b.index(1)});
  });
}

void AttendLauncher::emitTiles(Value heads) {
  Value zero = b.index(0), thread = b.threadId();
  Value none = b.compare(CmpIPredicate::sge, first, last);
  if (startsEmpty && !its.partials)
    b.ifThen(none, [&] { storeEmpty(firstHead, heads); });
  if (its.condition && its.arrivals) {
    // Nobody attends to anything: the first block of all.
    none = b.andI(none, b.compare(CmpIPredicate::eq, splitNumber, zero));
    b.ifThen(none, [&] {
      storeEmpty(firstHead, heads);
      storeFlag(b.boolean(true), firstHead);
    });
  }
  // Of a cluster, others may have picked all there is.
  if (ownList)
    b.ifThen(none, [&] { storeNothing(heads); });
  Value some = b.compare(CmpIPredicate::slt, first, last);
  b.ifThen(some, [&] {
    Query query = loadQuery();
    States found = isAhead ? attendAhead(query) : attendLoaded(query);
    // The merge of a list is launched while this one ends.
    if ((its.list || ownList) && its.partials && startsEmpty)
      b.letNextStart();
    storeShared(found);
    b.barrier();

    // All threads, over the heads' channels.
    Value dim = b.index(valueDim);

    b.forLoop(thread, b.mulI(heads, dim), warps * kWarp, [&](Value number) {
      Value head = b.divU(number, dim), channel = b.remU(number, dim);
      Merged merged = mergeExponents(head);
      Value output = mergeOutputs(merged, head, channel);
      Value queryHead = b.addI(firstHead, head);
      if (its.partials) {
        b.store(output, its.partials, {row, queryHead, splitNumber, channel});
      } else {
        joinOutput(merged, output, loadBefore(queryHead), queryHead, channel);
      }
    });
    if (!its.partials && !startsEmpty)
      b.barrier();
    Value isHead = b.compare(CmpIPredicate::ult, thread, heads);
    b.ifThen(isHead, [&] {
      Merged merged = mergeExponents(thread);
      Value queryHead = b.addI(firstHead, thread);
      if (its.partials) {
        b.store(merged.maximum, its.exponents,
                {row, queryHead, splitNumber, zero});
        b.store(merged.sum, its.exponents,
                {row, queryHead, splitNumber, b.index(1)});
        return;
      }
      b.store(joinLse(merged, loadBefore(queryHead)), its.lse,
              {row, queryHead});
    });
    if (its.arrivals)
      mergeIfLast(heads);
  });
}
