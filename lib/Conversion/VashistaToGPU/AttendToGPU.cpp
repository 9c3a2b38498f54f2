//===- AttendToGPU.cpp - Softmax attention on tensor cores ------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A block has a row, up to 8 query heads of a KV head, and a split of the
// slots. Its warps take tiles of 16 tokens by turns, which go from memory to
// registers to tensor cores: no other thread needs what a thread loads.
//
//   scores   S (tokens x heads)   = K q'     m16n8k16, K in rows
//   outputs  O (channels x heads) = V' P     m16n8k16, V in columns
//
// With lane = 4 g + t, an m16n8k16 wants of its first operand rows g and g + 8,
// of its second column g, and of both the pairs 2 t and 2 t + 8 of the 16 that
// are summed over; its result has rows g and g + 8, columns 2 t and 2 t + 1.
//
//  * Which channels are summed together does not matter: a lane loads 16 bytes,
//    8 channels from 8 t on, of keys g and g + 8, and so of query head g.
//  * Which channels of V are which rows does not matter either: a lane loads 8
//    channels from 8 g on of tokens 2 t, 2 t + 1, 2 t + 8 and 2 t + 9, and
//    pairs those of two tokens by permuting bytes.
//  * Weights have tokens as rows and are wanted as columns: a transposition.
//
// Scores and sums of weights are f32; weights are rounded to the caches' type
// for the second product, as their values are. Exponents are of base 2.
//
// Bytes: K and V of each visible token once per 8 heads. A state of [G, Dv] per
// split, where there are several: a second kernel merges them.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "WarpBuilder.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"

#include <cmath>

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Tokens of a tile and heads of a block: the sizes of an mma.
static constexpr int64_t kTokens = 16, kHeads = 8;
static constexpr int64_t kWarps = 4;
/// Slots of a split where the schedule does not say: of a sequence, of a list.
static constexpr int64_t kSequenceSplit = 2048, kListSplit = 256;
/// Static memory of a block, at most.
static constexpr int64_t kSharedBytes = 48 * 1024;
static constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.6931471805599453;

static int64_t getDim(Value memref, unsigned position) {
  return cast<MemRefType>(memref.getType()).getDimSize(position);
}

namespace {

/// What the kernels are given, in the kernel or on the host; null where absent.
struct Operands {
  Value query, keys, values, table, lengths, rowToSeq, list, count;
  Value o, lse;              // the destinations
  Value partials, exponents; // of splits: [R, H, splits, Dv], [R, H, splits, 2]
  Value numSplits;
};

/// A running softmax: of heads 2 t and 2 t + 1 the largest logit, the sum of
/// the weights of this lane's tokens; and the channels' sums, four for each
/// product.
struct State {
  std::array<Value, 2> maxima, sums;
  SmallVector<Value> outputs;

  SmallVector<Value> pack() const {
    SmallVector<Value> all = {maxima[0], maxima[1], sums[0], sums[1]};
    llvm::append_range(all, outputs);
    return all;
  }
  static State unpack(ValueRange all) {
    return {{all[0], all[1]},
            {all[2], all[3]},
            SmallVector<Value>(all.drop_front(4))};
  }
};

class AttendLauncher {
public:
  AttendLauncher(AttendOp op, WarpBuilder &b, bool startsEmpty)
      : op(op), b(b), startsEmpty(startsEmpty), group(op.getGroupSize()),
        keyDim(getDim(op.getKCache(), 3)), valueDim(getDim(op.getVCache(), 3)),
        pageSize(getDim(op.getKCache(), op.getLayout() == Layout::hnd ? 2 : 1)),
        element(getElementTypeOrSelf(op.getKCache())),
        inTokens(op.getTokens() != nullptr), inPages(op.getPages() != nullptr),
        numHeads(std::min(group, kHeads)),
        headBlocks(llvm::divideCeil(group, kHeads)) {}

  void launch();

private:
  void launchSplits(bool isWhole);
  void launchMerge();
  void mergeSplits(Value head, Value count, int64_t atOnce, Value sharedOutputs,
                   Value sharedSums);
  SmallVector<Value> getRead();
  Operands bind(ArrayRef<Value> values, bool hasPartials);

  // Within a kernel.
  void findSlots();
  void emitSplit();
  /// Where the tokens of a tile are, as i32: of one in a page the page, its
  /// first slot and how many tokens are visible; otherwise for each of a lane's
  /// tokens (keys g, g + 8, values 2 t, 2 t + 1, 2 t + 8, 2 t + 9) the page and
  /// the slot, then whether the keys are visible.
  SmallVector<Value> findTile(Value first);
  std::array<Value, 6> getTokens();
  std::pair<Value, Value> getRow(ValueRange places, unsigned token);
  Value isVisible(ValueRange places, unsigned key);
  bool isPaged() const { return !inTokens && pageSize % kTokens == 0; }

  std::pair<Value, Value> findPosition(Value slot);
  SmallVector<std::array<Value, 4>> loadQuery();
  State attendTile(const State &state, ValueRange places,
                   ArrayRef<std::array<Value, 4>> query);
  Value toExponent(Value product);
  SmallVector<Value> getIndices(std::pair<Value, Value> row, Value channel) {
    if (op.getLayout() == Layout::hnd)
      return {row.first, kvHead, row.second, channel};
    return {row.first, row.second, kvHead, channel};
  }
  void storeShared(const State &state);
  /// Of what the warps of a block found, or the splits of a sequence.
  struct Merged {
    Value maximum, shift, sum;
    std::array<Value, kWarps> weights; // of warps
  };
  Merged mergeExponents(Value head);
  /// Joins a head's state with the one in the destinations: its lse, then a
  /// channel's output.
  Value joinLse(const Merged &merged, Value before);
  void joinOutput(const Merged &merged, Value output, Value before, Value head,
                  Value channel);
  /// The lse of a head before, if it is needed.
  Value loadBefore(Value head) {
    return startsEmpty ? Value() : b.load(its.lse, {row, head});
  }
  /// The states of consecutive heads that have nothing to attend.
  void storeEmpty(Value head, Value count);
  Value getOwnLse(const Merged &merged) {
    Value shift = b.mulF(merged.shift, b.f32(static_cast<float>(kLn2)));
    return b.addF(shift, b.log(merged.sum));
  }

  Value isEqual(Value x, float y) {
    return b.compare(CmpFPredicate::OEQ, x, b.f32(y));
  }
  /// Shifts exponents by what is finite.
  Value getShift(Value maximum) {
    return b.select(isEqual(maximum, -INFINITY), b.f32(0.0f), maximum);
  }

  AttendOp op;
  WarpBuilder &b;
  /// Nothing is in the destinations yet, not even the empty state.
  const bool startsEmpty;
  const int64_t group, keyDim, valueDim, pageSize;
  const Type element;
  const bool inTokens, inPages;
  const int64_t numHeads, headBlocks; // of a block, and blocks of a KV head
  int64_t split = 0;

  /// What lies between the kernels.
  Operands host;
  // Of the kernel that is being made.
  Operands its;
  Value row, kvHead, firstHead, sequence, length, numSlots; // index
  Value splitNumber, last;
  Value warp, lane, quad, within;       // quad = g, within = t
  Value sharedOutputs, sharedExponents; // [warps, heads, Dv], [warps, heads, 2]
};

} // namespace

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

SmallVector<Value> AttendLauncher::getRead() {
  SmallVector<Value> read = {op.getQuery(), op.getKCache(), op.getVCache(),
                             op.getPageTable(), op.getSeqLens()};
  Value list = inTokens ? op.getTokens() : op.getPages();
  Value count = inTokens ? op.getTokenCount() : op.getPageCount();
  for (Value optional : {Value(op.getRowToSeq()), list, count})
    if (optional)
      read.push_back(optional);
  return read;
}

Operands AttendLauncher::bind(ArrayRef<Value> values, bool hasPartials) {
  auto take = [&](bool isThere) -> Value {
    if (!isThere)
      return nullptr;
    Value value = values.front();
    values = values.drop_front();
    return value;
  };
  Operands in;
  for (Value *place : {&in.query, &in.keys, &in.values, &in.table, &in.lengths})
    *place = take(true);
  in.rowToSeq = take(op.getRowToSeq() != nullptr);
  in.list = take(inTokens || inPages);
  in.count = take(op.getTokenCount() || op.getPageCount());
  in.o = take(true);
  in.lse = take(true);
  in.partials = take(hasPartials);
  in.exponents = take(hasPartials);
  in.numSplits = take(hasPartials);
  return in;
}

void AttendLauncher::launch() {
  // The grid does not depend on lengths: it has room for the longest.
  Value list = inTokens ? op.getTokens() : op.getPages();
  split = op.getSchedule() ? op.getSchedule()->getSplit() : 0;
  if (split == 0)
    split = list ? kListSplit : kSequenceSplit;
  split = llvm::alignTo(split, kTokens);
  Value capacity = list ? b.dim(list, 2) : b.dim(op.getPageTable(), 1);
  if (!inTokens)
    capacity = b.mulI(capacity, b.index(pageSize));
  host.numSplits = b.createOrFold<arith::CeilDivUIOp>(capacity, b.index(split));
  bool isWhole = getConstantIntValue(host.numSplits) == 1;
  if (!isWhole) {
    auto allocate = [&](int64_t size) -> Value {
      constexpr int64_t dynamic = ShapedType::kDynamic;
      auto type =
          MemRefType::get({dynamic, dynamic, dynamic, size}, b.getF32Type());
      return memref::AllocOp::create(b, type,
                                     ValueRange{b.dim(op.getQuery(), 0),
                                                b.dim(op.getQuery(), 1),
                                                host.numSplits},
                                     b.getI64IntegerAttr(64));
    };
    host.partials = allocate(valueDim);
    host.exponents = allocate(2);
  }
  launchSplits(isWhole);
  if (!isWhole)
    launchMerge();
}

void AttendLauncher::launchSplits(bool isWhole) {
  Value kvHeads = b.dim(op.getKCache(), op.getLayout() == Layout::hnd ? 1 : 2);
  KernelShape shape;
  shape.name = "attend";
  shape.gridX = b.dim(op.getQuery(), 0);
  shape.gridY = b.mulI(kvHeads, b.index(headBlocks));
  shape.gridZ = host.numSplits;
  shape.threads = kWarps * kWarp;
  shape.residentBlocks = valueDim > 128 || keyDim > 128 ? 1 : isPaged() ? 4 : 3;
  SmallVector<Value> read = getRead(), written(op.getOuts());
  if (!isWhole)
    llvm::append_range(
        written, ValueRange{host.partials, host.exponents, host.numSplits});
  auto shared = [&](int64_t size) {
    return MemRefType::get({kWarps, numHeads, size}, b.getF32Type(),
                           MemRefLayoutAttrInterface(),
                           gpu::AddressSpaceAttr::get(
                               b.getContext(), gpu::AddressSpace::Workgroup));
  };
  b.launch(shape, read, written, {shared(valueDim), shared(2)},
           [&](ArrayRef<Value> values, ArrayRef<Value> buffers) {
             its = bind(values, !isWhole);
             sharedOutputs = buffers[0];
             sharedExponents = buffers[1];
             row = b.blockId(gpu::Dimension::x);
             Value heads = b.blockId(gpu::Dimension::y);
             splitNumber = b.blockId(gpu::Dimension::z);
             kvHead = b.divU(heads, b.index(headBlocks));
             firstHead = b.addI(
                 b.mulI(kvHead, b.index(group)),
                 b.mulI(b.remU(heads, b.index(headBlocks)), b.index(kHeads)));
             emitSplit();
           });
}

/// A block has a row and head. Its warps take splits by turns, a few at a time:
/// what they load must not wait for each other.
void AttendLauncher::launchMerge() {
  constexpr int64_t kAtOnce = 4;
  KernelShape shape;
  shape.name = "merge";
  shape.gridX = b.dim(op.getQuery(), 0);
  shape.gridY = b.dim(op.getQuery(), 1);
  shape.gridZ = b.index(1);
  shape.threads = kWarps * kWarp;
  SmallVector<Value> written(op.getOuts());
  llvm::append_range(written,
                     ValueRange{host.partials, host.exponents, host.numSplits});
  auto shared = [&](int64_t size) {
    return MemRefType::get({kWarps, size}, b.getF32Type(),
                           MemRefLayoutAttrInterface(),
                           gpu::AddressSpaceAttr::get(
                               b.getContext(), gpu::AddressSpace::Workgroup));
  };
  b.launch(shape, getRead(), written, {shared(valueDim), shared(1)},
           [&](ArrayRef<Value> values, ArrayRef<Value> buffers) {
             its = bind(values, true);
             row = b.blockId(gpu::Dimension::x);
             Value head = b.blockId(gpu::Dimension::y), zero = b.index(0);
             Value thread = b.threadId();
             warp = b.divU(thread, b.index(kWarp));
             lane = b.remU(thread, b.index(kWarp));
             kvHead = b.divU(head, b.index(group));
             findSlots();
             Value count =
                 b.divU(b.addI(numSlots, b.index(split - 1)), b.index(split));
             Value some = b.compare(CmpIPredicate::sgt, count, zero);
             b.ifThen(some, [&] {
               mergeSplits(head, count, kAtOnce, buffers[0], buffers[1]);
             });
             if (startsEmpty)
               b.ifThen(b.compare(CmpIPredicate::sle, count, zero),
                        [&] { storeEmpty(head, b.index(1)); });
           });
}

void AttendLauncher::mergeSplits(Value head, Value count, int64_t atOnce,
                                 Value sharedOutputs, Value sharedSums) {
  Value zero = b.index(0), thread = b.threadId();
  auto loadExponent = [&](Value at, int64_t which) {
    return b.load(its.exponents, {row, head, at, b.index(which)});
  };
  Merged merged;
  merged.maximum =
      b.forLoop(lane, count, kWarp, ValueRange{b.negInf()},
                [&](Value at, ValueRange carried) -> SmallVector<Value> {
                  return {b.maxNumber(carried[0], loadExponent(at, 0))};
                })
          .front();
  for (int64_t mask = 1; mask < kWarp; mask *= 2)
    merged.maximum =
        b.maxNumber(merged.maximum, b.shuffleXor(merged.maximum, mask));
  merged.shift = getShift(merged.maximum);

  // A lane has two of each 64 channels. The sum is the same in all lanes.
  auto pair = b.vectorType(2);
  SmallVector<Value> sums(valueDim / 64, b.splat(0.0f, 2));
  sums.push_back(b.f32(0.0f));
  Value channel = b.mulI(lane, b.index(2));
  sums = b.forLoop(
      b.mulI(warp, b.index(atOnce)), count, kWarps * atOnce, sums,
      [&](Value first, ValueRange carried) -> SmallVector<Value> {
        SmallVector<Value> next(carried);
        for (int64_t i = 0; i < atOnce; ++i) {
          Value at = b.addI(first, b.index(i));
          Value isSplit = b.compare(CmpIPredicate::slt, at, count);
          at = b.minI(at, b.subI(count, b.index(1)));
          Value weight = b.exp2(b.subF(loadExponent(at, 0), merged.shift));
          weight = b.select(isSplit, weight, b.f32(0.0f));
          for (int64_t part = 0; part < valueDim / 64; ++part) {
            Value found = vector::LoadOp::create(
                b, pair, its.partials,
                ValueRange{row, head, at, b.addI(channel, b.index(64 * part))},
                /*nontemporal=*/false, llvm::MaybeAlign(8));
            next[part] = b.fma(b.broadcast(weight, 2), found, next[part]);
          }
          Value sum = b.mulF(weight, loadExponent(at, 1));
          next.back() = b.addF(next.back(), sum);
        }
        return next;
      });
  for (int64_t part = 0; part < valueDim / 64; ++part)
    vector::StoreOp::create(
        b, sums[part], sharedOutputs,
        ValueRange{warp, b.addI(channel, b.index(64 * part))},
        /*nontemporal=*/false, llvm::MaybeAlign(8));
  b.store(sums.back(), sharedSums, {warp, zero});
  Value before = loadBefore(head);
  b.barrier();

  auto addWarps = [&](function_ref<Value(Value)> load) {
    Value sum = load(zero);
    for (int64_t i = 1; i < kWarps; ++i)
      sum = b.addF(sum, load(b.index(i)));
    return sum;
  };
  merged.sum = addWarps([&](Value at) {
    return b.load(sharedSums, {at, zero});
  });
  b.forLoop(thread, b.index(valueDim), kWarps * kWarp, [&](Value channel) {
    Value output = addWarps([&](Value at) {
      return b.load(sharedOutputs, {at, channel});
    });
    joinOutput(merged, output, before, head, channel);
  });
  Value isFirst = b.compare(CmpIPredicate::eq, thread, zero);
  b.ifThen(isFirst, [&] {
    b.store(joinLse(merged, before), its.lse, {row, head});
  });
}

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

/// The position of a slot, and whether it is visible.
std::pair<Value, Value> AttendLauncher::findPosition(Value slot) {
  Value inside = b.compare(CmpIPredicate::slt, slot, last);
  // What lies behind a list's end is not read.
  slot = b.minI(slot, b.subI(last, b.index(1)));
  Value position = slot;
  if (inTokens)
    position = b.loadIndex(its.list, {row, kvHead, slot});
  if (inPages) {
    Value size = b.index(pageSize);
    Value page = b.loadIndex(its.list, {row, kvHead, b.divU(slot, size)});
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

/// In place of a token that is not visible stands one that is: nothing else is
/// ever read.
SmallVector<Value> AttendLauncher::findTile(Value first) {
  Value size = b.index(pageSize);
  auto narrow = [&](Value index) -> Value {
    return arith::IndexCastOp::create(b, b.getI32Type(), index);
  };
  SmallVector<Value> places;
  if (isPaged()) {
    auto [position, any] = findPosition(first);
    position = b.select(any, position, b.index(0));
    Value page = b.load(its.table, {sequence, b.divU(position, size)});
    // Slots of the tile, and tokens of the sequence.
    Value count = b.minI(b.subI(last, first), b.subI(length, position));
    count = b.select(any, count, b.index(0));
    return {page, narrow(b.remU(position, size)), narrow(count)};
  }
  SmallVector<Value> visibilities;
  for (Value token : getTokens()) {
    auto [position, visible] = findPosition(b.addI(first, token));
    position = b.select(visible, position, b.index(0));
    places.push_back(b.load(its.table, {sequence, b.divU(position, size)}));
    places.push_back(narrow(b.remU(position, size)));
    visibilities.push_back(visible);
  }
  places.append({visibilities[0], visibilities[1]});
  return places;
}

std::pair<Value, Value> AttendLauncher::getRow(ValueRange places,
                                               unsigned token) {
  auto widen = [&](Value value) -> Value {
    return arith::IndexCastOp::create(b, b.getIndexType(), value);
  };
  if (!isPaged())
    return {widen(places[2 * token]), widen(places[2 * token + 1])};
  Value most = b.subI(b.maxI(widen(places[2]), b.index(1)), b.index(1));
  Value slot = b.minI(getTokens()[token], most);
  return {widen(places[0]), b.addI(widen(places[1]), slot)};
}

Value AttendLauncher::isVisible(ValueRange places, unsigned key) {
  if (!isPaged())
    return places[12 + key];
  Value count = arith::IndexCastOp::create(b, b.getIndexType(), places[2]);
  return b.compare(CmpIPredicate::slt, getTokens()[key], count);
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

/// Per 32 channels: two halves of the second operand of two products each.
SmallVector<std::array<Value, 4>> AttendLauncher::loadQuery() {
  Value head = numHeads == kHeads ? quad : b.minI(quad, b.index(numHeads - 1));
  Value end =
      b.subI(b.mulI(b.addI(kvHead, b.index(1)), b.index(group)), b.index(1));
  head = b.minI(b.addI(firstHead, head), end);
  SmallVector<std::array<Value, 4>> parts;
  for (int64_t channel = 0; channel < keyDim; channel += 32) {
    Value at = b.addI(b.mulI(within, b.index(8)), b.index(channel));
    parts.push_back(b.load16Bytes(its.query, {row, head, at}));
  }
  return parts;
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

State AttendLauncher::attendTile(const State &state, ValueRange places,
                                 ArrayRef<std::array<Value, 4>> query) {
  // All loads first: they are what takes time.
  SmallVector<std::array<std::array<Value, 4>, 2>> keys;
  for (int64_t channel = 0; channel < keyDim; channel += 32) {
    Value at = b.addI(b.mulI(within, b.index(8)), b.index(channel));
    keys.push_back(
        {b.load16Bytes(its.keys, getIndices(getRow(places, 0), at)),
         b.load16Bytes(its.keys, getIndices(getRow(places, 1), at))});
  }
  SmallVector<std::array<std::array<Value, 4>, 4>> values;
  for (int64_t channel = 0; channel < valueDim; channel += 64) {
    Value at = b.addI(b.mulI(quad, b.index(8)), b.index(channel));
    std::array<std::array<Value, 4>, 4> tokens;
    for (int64_t i = 0; i < 4; ++i)
      tokens[i] =
          b.load16Bytes(its.values, getIndices(getRow(places, 2 + i), at));
    values.push_back(tokens);
  }

  // Tokens g and g + 8 of heads 2 t and 2 t + 1.
  Value zero = b.f32(0.0f);
  std::array<Value, 4> scores = {zero, zero, zero, zero};
  for (auto [key, q] : llvm::zip_equal(keys, query))
    for (int64_t i : {0, 2})
      scores = b.multiply({key[0][i], key[1][i], key[0][i + 1], key[1][i + 1]},
                          {q[i], q[i + 1]}, scores, element);
  for (int64_t i = 0; i < 4; ++i)
    scores[i] =
        b.select(isVisible(places, i / 2), toExponent(scores[i]), b.negInf());

  State next = state;
  std::array<Value, 2> factors;
  for (int64_t head = 0; head < 2; ++head) {
    Value largest = b.maxNumber(scores[head], scores[head + 2]);
    for (int64_t mask : {4, 8, 16})
      largest = b.maxNumber(largest, b.shuffleXor(largest, mask));
    next.maxima[head] = b.maxNumber(state.maxima[head], largest);
    Value shift = getShift(next.maxima[head]);
    factors[head] = b.exp2(b.subF(state.maxima[head], shift));
    Value sum = b.mulF(state.sums[head], factors[head]);
    for (int64_t i : {head, head + 2}) {
      scores[i] = b.exp2(b.subF(scores[i], shift));
      sum = b.addF(sum, scores[i]);
    }
    next.sums[head] = sum;
  }

  std::array<Value, 2> weights = {
      b.transpose(b.packPair(scores[0], scores[1], element)),
      b.transpose(b.packPair(scores[2], scores[3], element))};
  auto *output = next.outputs.begin();
  for (const auto &tokens : values)
    for (int64_t i = 0; i < 4; ++i) {
      constexpr int64_t lows = 0x5410, highs = 0x7632;
      std::array<Value, 4> channels = {
          b.permuteBytes(tokens[0][i], tokens[1][i], lows),
          b.permuteBytes(tokens[0][i], tokens[1][i], highs),
          b.permuteBytes(tokens[2][i], tokens[3][i], lows),
          b.permuteBytes(tokens[2][i], tokens[3][i], highs)};
      std::array<Value, 4> sums;
      for (int64_t j = 0; j < 4; ++j)
        sums[j] = b.mulF(output[j], factors[j % 2]);
      sums = b.multiply(channels, weights, sums, element);
      output = std::copy(sums.begin(), sums.end(), output);
    }
  return next;
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

void AttendLauncher::storeShared(const State &state) {
  for (int64_t i = 0; i < 2; ++i) {
    Value sum = state.sums[i];
    for (int64_t mask : {4, 8, 16})
      sum = b.addF(sum, b.shuffleXor(sum, mask));
    Value head = b.addI(b.mulI(within, b.index(2)), b.index(i));
    Value isHead = b.compare(CmpIPredicate::ult, head, b.index(numHeads));
    b.ifThen(isHead, [&] {
      b.store(state.maxima[i], sharedExponents, {warp, head, b.index(0)});
      b.store(sum, sharedExponents, {warp, head, b.index(1)});
      // Of each 64 channels, 8 from 8 g on.
      for (int64_t channel = 0; channel < valueDim; channel += 64) {
        Value at = b.addI(b.mulI(quad, b.index(8)), b.index(channel));
        const Value *outputs = state.outputs.begin() + channel / 4;
        for (int64_t part = 0; part < 8; part += 4) {
          SmallVector<Value> four;
          for (int64_t j = part; j < part + 4; ++j)
            four.push_back(outputs[j / 2 * 4 + j % 2 * 2 + i]);
          Value vector =
              vector::FromElementsOp::create(b, b.vectorType(4), four);
          vector::StoreOp::create(
              b, vector, sharedOutputs,
              ValueRange{warp, head, b.addI(at, b.index(part))},
              /*nontemporal=*/false, llvm::MaybeAlign(16));
        }
      }
    });
  }
}

AttendLauncher::Merged AttendLauncher::mergeExponents(Value head) {
  auto load = [&](int64_t warp, int64_t which) {
    return b.load(sharedExponents, {b.index(warp), head, b.index(which)});
  };
  Merged merged;
  merged.maximum = load(0, 0);
  for (int64_t i = 1; i < kWarps; ++i)
    merged.maximum = b.maxNumber(merged.maximum, load(i, 0));
  merged.shift = getShift(merged.maximum);
  merged.sum = b.f32(0.0f);
  for (int64_t i = 0; i < kWarps; ++i) {
    merged.weights[i] = b.exp2(b.subF(load(i, 0), merged.shift));
    merged.sum = b.addF(merged.sum, b.mulF(merged.weights[i], load(i, 1)));
  }
  return merged;
}

/// An empty state has no influence, whatever its output holds. NaN is not
/// empty.
Value AttendLauncher::joinLse(const Merged &merged, Value before) {
  Value now = getOwnLse(merged), isEmpty = isEqual(merged.sum, 0.0f);
  if (startsEmpty)
    return b.select(isEmpty, b.negInf(), now);
  Value most = b.maxF(before, now);
  Value total = b.addF(b.exp(b.subF(before, most)), b.exp(b.subF(now, most)));
  Value lse =
      b.select(isEqual(before, -INFINITY), now, b.addF(most, b.log(total)));
  return b.select(isEmpty, before, lse);
}

void AttendLauncher::joinOutput(const Merged &merged, Value output,
                                Value before, Value head, Value channel) {
  Value at[] = {row, head, channel}, isEmpty = isEqual(merged.sum, 0.0f);
  Value mean = b.divF(output, merged.sum);
  if (startsEmpty) {
    b.store(b.select(isEmpty, b.f32(0.0f), mean), its.o, at);
    return;
  }
  Value now = getOwnLse(merged), most = b.maxF(before, now);
  Value weightBefore = b.exp(b.subF(before, most));
  Value weightNow = b.exp(b.subF(now, most));
  Value old = b.load(its.o, at);
  Value sum = b.addF(b.mulF(old, weightBefore), b.mulF(mean, weightNow));
  Value joined = b.select(isEqual(before, -INFINITY), mean,
                          b.divF(sum, b.addF(weightBefore, weightNow)));
  b.store(b.select(isEmpty, old, joined), its.o, at);
}

void AttendLauncher::storeEmpty(Value head, Value count) {
  Value dim = b.index(valueDim), thread = b.threadId();
  b.forLoop(thread, b.mulI(count, dim), kWarps * kWarp, [&](Value number) {
    Value at[] = {row, b.addI(head, b.divU(number, dim)), b.remU(number, dim)};
    b.store(b.f32(0.0f), its.o, at);
  });
  b.ifThen(b.compare(CmpIPredicate::ult, thread, count), [&] {
    b.store(b.negInf(), its.lse, {row, b.addI(head, thread)});
  });
}

void AttendLauncher::emitSplit() {
  Value zero = b.index(0), thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));
  quad = b.divU(lane, b.index(4));
  within = b.remU(lane, b.index(4));
  findSlots();
  Value first = b.mulI(splitNumber, b.index(split));
  last = b.minI(b.addI(first, b.index(split)), numSlots);
  // The last block of a KV head may have fewer heads.
  Value heads = b.minI(
      b.subI(b.mulI(b.addI(kvHead, b.index(1)), b.index(group)), firstHead),
      b.index(numHeads));
  if (startsEmpty && !its.partials)
    b.ifThen(b.compare(CmpIPredicate::sge, first, last),
             [&] { storeEmpty(firstHead, heads); });
  Value some = b.compare(CmpIPredicate::slt, first, last);
  b.ifThen(some, [&] {
    SmallVector<std::array<Value, 4>> query = loadQuery();
    State state;
    state.maxima = {b.negInf(), b.negInf()};
    state.sums = {b.f32(0.0f), b.f32(0.0f)};
    state.outputs.assign(valueDim / 4, b.f32(0.0f));
    // The places of a tile are looked up while the one before is read.
    Value start = b.addI(first, b.mulI(warp, b.index(kTokens)));
    int64_t step = kWarps * kTokens;
    auto findAhead = [&](Value at) {
      return findTile(b.minI(at, b.subI(last, b.index(1))));
    };
    SmallVector<Value> carried = findAhead(start);
    unsigned numPlaces = carried.size();
    llvm::append_range(carried, state.pack());
    SmallVector<Value> end =
        b.forLoop(start, last, step, carried, [&](Value tile, ValueRange now) {
          SmallVector<Value> next = findAhead(b.addI(tile, b.index(step)));
          State after = attendTile(State::unpack(now.drop_front(numPlaces)),
                                   now.take_front(numPlaces), query);
          llvm::append_range(next, after.pack());
          return next;
        });
    storeShared(State::unpack(ValueRange(end).drop_front(numPlaces)));
    b.barrier();

    // All threads, over the heads' channels.
    Value dim = b.index(valueDim);

    b.forLoop(thread, b.mulI(heads, dim), kWarps * kWarp, [&](Value number) {
      Value head = b.divU(number, dim), channel = b.remU(number, dim);
      Merged merged = mergeExponents(head);
      Value output = b.f32(0.0f);
      for (int64_t i = 0; i < kWarps; ++i) {
        Value found = b.load(sharedOutputs, {b.index(i), head, channel});
        output = b.addF(output, b.mulF(merged.weights[i], found));
      }
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
  });
}

/// What alone has written a destination before the op, if that is a fill.
static linalg::FillOp findFill(AttendOp op, Value buffer) {
  // Others may know the memory of a view by another name.
  if (!isa<BlockArgument>(buffer) && !buffer.getDefiningOp<memref::AllocOp>())
    return nullptr;
  linalg::FillOp fill;
  for (Operation *user : buffer.getUsers()) {
    Operation *here = op->getBlock()->findAncestorOpInBlock(*user);
    if (here == op || (here && op->isBeforeInBlock(here)))
      continue;
    auto found = dyn_cast<linalg::FillOp>(user);
    if (fill || !found || here != user)
      return nullptr;
    fill = found;
  }
  return fill;
}

/// Drops the fills that make the destinations an empty state, which the kernels
/// then write themselves.
static bool takeEmptyState(AttendOp op, PatternRewriter &rewriter) {
  constexpr float values[] = {0.0f, -INFINITY};
  std::array<linalg::FillOp, 2> fills;
  for (int64_t i = 0; i < 2; ++i) {
    fills[i] = findFill(op, op.getOuts()[i]);
    APFloat value(0.0f);
    if (!fills[i] ||
        !matchPattern(fills[i].getInputs()[0], m_ConstantFloat(&value)) ||
        !value.isExactlyValue(values[i]))
      return false;
  }
  for (linalg::FillOp fill : fills)
    rewriter.eraseOp(fill);
  return true;
}

LogicalResult vashista::launchAttend(AttendOp op, PatternRewriter &rewriter) {
  auto refuse = [&](const char *why) {
    return rewriter.notifyMatchFailure(op, why);
  };
  if (!op.hasPureBufferSemantics() ||
      op->getParentOfType<LoopLikeOpInterface>())
    return refuse("expected buffers, and no loop around");
  if (op.getSolver().getKind() != SolverKind::softmax || op.getBegin())
    return refuse("expected softmax attention over a whole set");
  Type element = getElementTypeOrSelf(op.getKCache());
  if ((!element.isBF16() && !element.isF16()) ||
      getElementTypeOrSelf(op.getVCache()) != element ||
      getElementTypeOrSelf(op.getQuery()) != element)
    return refuse("expected queries, keys and values of bf16 or f16");
  int64_t keyDim = getDim(op.getKCache(), 3),
          valueDim = getDim(op.getVCache(), 3), group = op.getGroupSize();
  if (ShapedType::isDynamic(keyDim) || ShapedType::isDynamic(valueDim) ||
      ShapedType::isDynamic(group) || keyDim % 32 || valueDim % 64 ||
      kWarps * std::min(group, kHeads) * valueDim * 4 + 1024 > kSharedBytes)
    return refuse("expected head sizes that are multiples of an mma's");
  WarpBuilder b(op.getLoc(), rewriter);
  AttendLauncher(op, b, takeEmptyState(op, rewriter)).launch();
  rewriter.eraseOp(op);
  return success();
}
