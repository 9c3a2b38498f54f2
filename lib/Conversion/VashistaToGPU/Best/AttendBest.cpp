//===- AttendBest.cpp - Attention over the best tokens of listed pages ----===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// An `attend` over what a `pick` takes from the scores of few tokens, in one
// kernel: of these scores, and of the list, nothing leaves a block, and keys
// are read once.
//
// A block has a row and KV head, or a cluster has them and each block some of
// the tokens. Its warps score these (VectorScan.h), pick the best of all
// (BestScores.h), turn the scores of its own into weights, and add up their
// values, each warp some of them; then all warps' sums are added, and all
// blocks'.
//
// Bytes: the keys of all tokens, the values of those that are picked. Blocks of
// a cluster store in each other's memory: a score of each token, by which each
// block picks of all, and a state of each block.
//
//===----------------------------------------------------------------------===//

#include "BestScores.h"
#include "BestTokens.h"
#include "Kernels.h"
#include "RoutePages.h"
#include "Schedules.h"
#include "Score/VectorScan.h"
#include "Warp/SoftmaxSums.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

/// Channels of values that a lane adds up at once, for all heads.
static constexpr int64_t kMostOwn = 64;

/// A logit of -inf of what is visible, until it is weighed.
static constexpr float kOver = std::numeric_limits<float>::lowest();

/// Keys that a lane has in flight: few warps have registers for more, and a
/// block of few groups waits for memory as often as it goes round.
static int64_t getRows(BestTokens best, ScheduleAttr schedule) {
  constexpr int64_t kMost = 16, kFewWarps = 8;
  int64_t rows = chooseRows(best.score), warps = schedule.getWarps();
  int64_t lanes =
      getLanesOfRow(cast<RankedTensorType>(best.score.getDirection().getType())
                        .getDimSize(2));
  int64_t ofWarp = best.numSlots / (schedule.getCluster() * warps);
  auto areMore = [&](int64_t rows) { return rows * (kWarp / lanes) > ofWarp; };
  if (schedule.getBlocks() * warps <= kFewWarps)
    while (2 * rows <= std::min(lanes, kMost) && !areMore(2 * rows))
      rows *= 2;
  while (rows > 1 && areMore(rows)) // of all warps, not of some
    rows /= 2;
  return rows;
}

namespace {

class AttendBest {
public:
  AttendBest(const BestTokens &best, ScheduleAttr schedule,
             const ScheduleTarget &target, WarpBuilder &b)
      : op(best.attend), pick(best.pick),
        scan(best.score, b, getRows(best, schedule)), b(b), best(best),
        group(best.group), valueDim(best.valueDim), numSlots(best.numSlots),
        budget(best.budget), schedule(schedule), warps(schedule.getWarps()),
        blocks(schedule.getCluster()),
        memory(best.getMemory(warps, blocks,
                              getSharedBytes(target, schedule.getBlocks()))),
        keepsScores(memory.keepsScores) {
    if (best.route)
      route.emplace(*best.route, b, warps, blocks, memory.keepsPageScores);
  }

  /// Outputs and lse, of so many rows.
  SmallVector<Value> allocateResults();
  /// All scores, where they do not fit.
  Value allocateLogits();
  bool needsLogits() const { return !keepsScores; }
  void launch(ValueRange results, Value logits);
  Value getNumRows() { return b.dim(b.readOnly(op.getQuery()), 0); }

private:
  /// Slots of a block.
  int64_t getOwnSlots() { return numSlots / blocks; }
  void emit(Given read, Given written);
  /// To the pages that are listed, of which there is one.
  void attend();
  /// A head's scores of `own` slots from a multiple of it on.
  SmallVector<Value> loadScores(int64_t head, Value first, int64_t own);
  /// What a slot scores by its heads, as bits: NaN of what has no score.
  Value getBits(Value slot, ArrayRef<Value> ofHeads);
  bool hasAlways() { return pick.getSinks() > 0 || pick.getWindow() > 0; }
  /// What these weigh: of what has overflowed a head's ref is 0, as of
  /// infinity.
  SoftmaxSum sumLogits(SmallVector<Value> logits, ArrayRef<Value> areThere);
  void pickBest();
  void findPlaces();
  void weigh();
  void addValues();
  void writeOutputs();
  void mergeBlocks();
  void writeEmpty();
  Value isWarpsFirst() {
    return b.compare(CmpIPredicate::eq, lane, b.index(0));
  }
  /// To have begun.
  void waitForOthers() {
    if (blocks > 1)
      b.clusterWait();
  }
  /// Where the logit of a head and of a slot is.
  SmallVector<Value> getPlace(Value head, Value slot) {
    if (!keepsScores)
      return {row, kvHead, head, slot};
    return {b.addI(b.mulI(head, b.index(numSlots)), slot)};
  }
  /// Of sums of heads and channels those that a block adds up of all blocks'.
  int64_t getShare() { return llvm::divideCeil(group * valueDim, blocks); }
  /// What all blocks have told of a head.
  SoftmaxSum joinBlocks(Value head);
  /// What has no weight is 0, and not the quotient.
  void writeOutput(Value output, Value sum, Value head, Value channel) {
    Value isEmpty = b.compare(CmpFPredicate::OEQ, sum, b.f32(0.0f));
    Value mean = b.select(isEmpty, b.f32(0.0f), b.divF(output, sum));
    b.store(mean, o, {row, b.addI(firstHead, head), channel});
  }
  void writeLse(const SoftmaxSum &all, Value head) {
    Value isEmpty = b.compare(CmpFPredicate::OEQ, all.sum, b.f32(0.0f));
    Value found = b.addF(toShift(b, all.top), b.log(all.sum));
    b.store(b.select(isEmpty, b.negInf(), found), lse,
            {row, b.addI(firstHead, head)});
  }

  AttendOp op;
  PickOp pick;
  VectorScan scan;
  std::optional<RoutePages> route;
  WarpBuilder &b;
  const BestTokens best;
  const int64_t group, valueDim, numSlots, budget;
  const ScheduleAttr schedule;
  const int64_t warps, blocks;
  const BestTokens::Memory memory;
  const bool keepsScores;

  size_t numReadByScan = 0;

  // Of the kernel.
  Value values, o, lse;
  Value logits; // scores or, where these do not fit, [R, Hkv, G, slots] f32
  Value block, firstSlot;
  Value first, end; // of the picks, those of this block
  Value row, kvHead, firstHead, thread, warp, lane;
  // Of the block: logits of heads and all slots and later sums of values, f32;
  // weights of heads and
  // picks, f32; of picks their slots, and where these are, i32; for each head a
  // ref, its highest and the sum of weights.
  Value scores, weights, chosen, pages, places, refs, tops, sums;
  Value range; // of picks of the block, [2] i32
  // What blocks have of its share of sums of values [blocks, share] f32, and of
  // each head's picks, highest and sum [blocks, G, 2] f32.
  Value partials, told;
  Value counters, perWarp, few; // of BestScores
  Value list;                   // of pages, i32
  ArrayRef<Value> ofRoute;      // what that has of its own
};

} // namespace

SmallVector<Value> AttendBest::allocateResults() {
  SmallVector<Value> results;
  for (Type type : op->getResultTypes()) {
    auto tensor = cast<RankedTensorType>(type);
    SmallVector<Value> sizes;
    if (tensor.isDynamicDim(0))
      sizes.push_back(getNumRows());
    results.push_back(memref::AllocOp::create(
        b, MemRefType::get(tensor.getShape(), tensor.getElementType()), sizes,
        b.getI64IntegerAttr(64)));
  }
  return results;
}

Value AttendBest::allocateLogits() {
  auto type = MemRefType::get(
      {ShapedType::kDynamic, scan.numKvHeads, group, numSlots}, b.getF32Type());
  return memref::AllocOp::create(b, type, getNumRows(),
                                 b.getI64IntegerAttr(64));
}

void AttendBest::launch(ValueRange results, Value logits) {
  SmallVector<Value> read = {b.readOnly(op.getVCache())}, written(results);
  llvm::append_range(read, scan.getRead(/*hasOwnList=*/route.has_value()));
  numReadByScan = read.size() - 1;
  Value rows = getNumRows();
  if (route)
    llvm::append_range(read, route->getRead());
  if (needsLogits())
    written.push_back(logits);
  KernelShape shape;
  shape.name = route ? "route_attend_best" : "attend_best";
  shape.gridX = b.index(scan.numKvHeads);
  shape.gridY = rows;
  shape.gridZ = b.index(blocks);
  shape.clusterBlocks = blocks;
  shape.threads = warps * kWarp;
  shape.residentBlocks = schedule.getBlocks();
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  SmallVector<MemRefType> shared = {
      b.sharedType(memory.numScores, f32),
      b.sharedType({group, budget}, f32),
      b.sharedType(budget, i32),
      b.sharedType(budget, i32),
      b.sharedType(budget, i32),
      b.sharedType(group, f32),
      b.sharedType(group, f32),
      b.sharedType(group, f32),
      b.sharedType(BestScores::kCounters, i32),
      b.sharedType({warps, BestTokens::kColumns}, i32),
      b.sharedType(best.getNumFew(warps), i32),
      b.sharedType(2, i32)};
  if (blocks > 1) {
    shared.push_back(b.sharedType({blocks, getShare()}, f32));
    shared.push_back(b.sharedType({blocks, group, 2}, f32));
  }
  if (route) {
    llvm::append_range(written, route->allocate(rows));
    shared.push_back(b.sharedType(best.route->budget, i32));
    llvm::append_range(shared, route->getBuffers());
  }
  shape.readsWritten = written.size() > results.size();
  b.launch(shape, read, written, shared,
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             Given buffers(shared);
             for (Value *place :
                  {&scores, &weights, &chosen, &pages, &places, &refs, &tops,
                   &sums, &counters, &perWarp, &few, &range})
               *place = buffers.take();
             partials = buffers.take(blocks > 1);
             told = buffers.take(blocks > 1);
             list = buffers.take(route.has_value());
             ofRoute = buffers.values;
             emit(Given(values.take_front(read.size())),
                  Given(values.drop_front(read.size())));
           });
}

void AttendBest::emit(Given read, Given written) {
  kvHead = b.blockId(gpu::Dimension::x);
  row = b.blockId(gpu::Dimension::y);
  block = b.blockId(gpu::Dimension::z);
  values = read.take();
  o = written.take();
  lse = written.take();
  logits = keepsScores ? scores : written.take();
  firstHead = b.mulI(kvHead, b.index(group));
  firstSlot = b.mulI(block, b.index(getOwnSlots()));
  thread = b.threadId();
  warp = b.divU(thread, b.index(kWarp));
  lane = b.remU(thread, b.index(kWarp));

  Value any;
  if (blocks > 1)
    b.clusterArrive();
  if (route) {
    // What the scan of tokens is given comes first.
    Given ofScan = read;
    read.values = read.values.drop_front(numReadByScan);
    route->begin(read, written, row, kvHead, block);
    any = route->hasPages();
    waitForOthers();
    b.ifThen(any, [&] {
      Slots::OwnList pages = route->route({scores, memory.routeAt, refs, list,
                                           counters, perWarp, few, ofRoute});
      scan.begin(ofScan, row, kvHead, pages);
      attend();
    });
  } else {
    scan.begin(read, row, kvHead);
    any = b.compare(CmpIPredicate::sgt, scan.slots->numSlots, b.index(0));
    waitForOthers();
    b.ifThen(any, [&] { attend(); });
  }
  b.ifThen(arith::XOrIOp::create(b, any, b.boolean(true)),
           [&] { writeEmpty(); });
}

void AttendBest::attend() {
  // A block of a cluster fills a multiprocessor: the next kernel's wait for it
  // there, and not for their launch.
  if (blocks > 1)
    b.letNextStart();
  Value endSlot = b.addI(firstSlot, b.index(getOwnSlots()));
  int64_t last = group - scan.heads;
  for (int64_t head = 0; head < group; head += scan.heads)
    scan.scan(b.index(std::min(head, last)), firstSlot, endSlot, warps,
              [&](Value head, Value slot, Value logit, Value isVisible) {
                // Of what is visible -inf is told apart.
                Value isOver = b.compare(CmpFPredicate::OEQ, logit, b.negInf());
                Value score = b.select(isOver, b.f32(kOver), logit);
                score = b.select(isVisible, score, b.negInf());
                // By which each block picks of all.
                b.storeInAll(score, logits, getPlace(head, slot),
                             keepsScores ? blocks : 1);
              });
  b.clusterBarrier(blocks);
  pickBest();
  b.barrier();
  first = b.index(0);
  end = b.toIndex(b.load(range, b.index(1)));
  if (blocks > 1)
    first = b.toIndex(b.load(range, b.index(0)));
  findPlaces();
  weigh();
  b.barrier();
  addValues();
  b.barrier();
  writeOutputs();
  if (blocks > 1)
    mergeBlocks();
}

SmallVector<Value> AttendBest::loadScores(int64_t head, Value first,
                                          int64_t own) {
  constexpr int64_t kMost = 4;
  int64_t size = std::min(own & -own, kMost);
  while (numSlots % size)
    size /= 2;
  SmallVector<Value> found;
  for (int64_t i = 0; i < own; i += size) {
    // In place of what is not there stands what is.
    Value slot = b.minI(b.addI(first, b.index(i)), b.index(numSlots - size));
    Value vector = vector::LoadOp::create(
        b, b.vectorType(size), logits, getPlace(b.index(head), slot),
        /*nontemporal=*/false, llvm::MaybeAlign(4 * size));
    for (int64_t j = 0; j < size; ++j)
      found.push_back(
          vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{j}));
  }
  return found;
}

Value AttendBest::getBits(Value slot, ArrayRef<Value> ofHeads) {
  Value best = b.negInf(), isVisible;
  for (auto [head, logit] : llvm::enumerate(ofHeads)) {
    isVisible = b.compare(CmpFPredicate::UNE, logit, b.negInf());
    Value isOver = b.compare(CmpFPredicate::OEQ, logit, b.f32(kOver));
    Value score = b.select(isOver, scan.toScore(b.negInf()), logit);
    if (group > 1)
      score = b.subF(score, b.load(refs, b.index(head)));
    best = b.maxNumber(best, score); // NaN is -inf
  }
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), best);
  if (hasAlways()) {
    // Of a slot that is not visible a position is anything.
    Value position = scan.slots->getPosition(
        b.minI(slot, b.subI(scan.slots->numSlots, b.index(1))));
    Value isAlways =
        b.compare(CmpIPredicate::slt, position, b.index(pick.getSinks()));
    if (pick.getWindow() > 0) {
      Value recent = b.subI(scan.slots->getLength(), b.index(pick.getWindow()));
      isAlways =
          b.orI(isAlways, b.compare(CmpIPredicate::sge, position, recent));
    }
    bits = b.select(isAlways, b.i32(Candidates::kAlways), bits);
  }
  return b.select(isVisible, bits, b.i32(Candidates::kNothing));
}

SoftmaxSum AttendBest::sumLogits(SmallVector<Value> logits,
                                 ArrayRef<Value> areThere) {
  for (auto [logit, isThere] : llvm::zip_equal(logits, areThere)) {
    Value isOver = b.compare(CmpFPredicate::OEQ, logit, b.f32(kOver));
    logit = b.select(isOver, b.absF(b.negInf()), logit);
    logit = b.select(isThere, logit, b.negInf());
  }
  return sumScores(b, logits);
}

void AttendBest::pickBest() {
  constexpr int64_t kMostKept = 64; // in registers
  int64_t threads = warps * kWarp;
  int64_t own = llvm::divideCeil(numSlots, threads);
  BestScores best(b, warps, own, counters, perWarp, few);
  SmallVector<SmallVector<Value>> kept;
  auto load = [&](int64_t head) {
    return kept.empty() ? loadScores(head, best.getSlot(int64_t(0)), own)
                        : kept[head];
  };
  if (group * own <= kMostKept)
    for (int64_t head = 0; head < group; ++head)
      kept.push_back(loadScores(head, best.getSlot(int64_t(0)), own));
  SmallVector<Value> isThere;
  for (int64_t i = 0; i < own; ++i)
    isThere.push_back(
        b.compare(CmpIPredicate::slt, best.getSlot(i), b.index(numSlots)));
  if (group > 1)
    findRefs(b, warps, group, perWarp, refs,
             [&](int64_t head) { return sumLogits(load(head), isThere); });
  SmallVector<SmallVector<Value>> ofSlots(own);
  for (int64_t head = 0; head < group; ++head)
    for (auto [i, score] : llvm::enumerate(load(head)))
      ofSlots[i].push_back(score);
  Candidates all(b, hasAlways());
  for (int64_t i = 0; i < own; ++i) {
    Value slot = b.minI(best.getSlot(i), b.index(numSlots - 1));
    all.add(b.select(isThere[i], getBits(slot, ofSlots[i]),
                     b.i32(Candidates::kNothing)));
  }
  best.find(all, budget, BestScores::getUsual(pick));
  Value count = best.forEachPick(all, [&](Value i, Value number) {
    Value slot = b.subI(best.getSlot(i), firstSlot);
    auto write = [&] { b.store(b.toI32(slot), chosen, b.toIndex(number)); };
    if (blocks == 1)
      return write();
    Value isOwn =
        b.andI(b.compare(CmpIPredicate::sge, slot, b.index(0)),
               b.compare(CmpIPredicate::slt, slot, b.index(getOwnSlots())));
    b.ifThen(isOwn, write);
  });
  // Of consecutive slots picks are consecutive.
  Value ends[] = {firstSlot, b.addI(firstSlot, b.index(getOwnSlots()))};
  for (auto [i, slot] : llvm::enumerate(ends))
    if (blocks > 1)
      best.countBefore(slot, [&, i = i](Value number) {
        b.store(number, range, b.index(i));
      });
  Value isLast = b.compare(CmpIPredicate::eq, block, b.index(blocks - 1));
  b.ifThen(b.andI(isLast, b.compare(CmpIPredicate::eq, thread, b.index(0))),
           [&] { b.store(count, range, b.index(1)); });
}

/// A thread for each pick.
void AttendBest::findPlaces() {
  b.forLoop(b.addI(first, thread), end, warps * kWarp, [&](Value at) {
    Value slot = b.toIndex(b.load(chosen, at));
    Slots::Place place = scan.slots->find(b.addI(firstSlot, slot)).first;
    b.store(b.toI32(place.page), pages, at);
    b.store(b.toI32(place.slot), places, at);
  });
}

/// A warp for each head, from the last one on: the first ones find places.
void AttendBest::weigh() {
  Value last = b.subI(b.index(warps - 1), warp);
  b.forLoop(last, b.index(group), warps, [&](Value head) {
    auto load = [&](Value at) {
      Value slot = b.toIndex(b.load(chosen, at));
      Value score = b.load(logits, getPlace(head, b.addI(firstSlot, slot)));
      Value isOver = b.compare(CmpFPredicate::OEQ, score, b.f32(kOver));
      return b.select(isOver, b.negInf(), score);
    };
    SoftmaxSum all =
        sumByWarp(b, first, end, load, [&](Value at, Value weight) {
          b.store(weight, weights, {head, at});
        });
    b.ifThen(isWarpsFirst(), [&] {
      b.store(all.top, tops, head);
      b.store(all.sum, sums, head);
    });
  });
}

void AttendBest::addValues() {
  int64_t lanes = getLanesOfRow(valueDim), members = kWarp / lanes,
          own = valueDim / lanes;
  int64_t heads = std::clamp<int64_t>(kMostOwn / own, 1, group);
  Value within = b.remU(lane, b.index(lanes));
  Value member = b.divU(lane, b.index(lanes));
  Value last = b.subI(end, b.index(1));
  // Twice what each warp would have if picks lay evenly among blocks.
  int64_t ofWarp = llvm::divideCeil(budget, blocks * warps * members);
  int64_t inFlight = std::clamp<int64_t>(2 * ofWarp, 1, schedule.getStages()),
          tile = inFlight * members;
  for (int64_t firstOf = 0; firstOf < group; firstOf += heads) {
    int64_t here = std::min(heads, group - firstOf);
    SmallVector<Value> sums(here * own, b.f32(0.0f));
    sums = b.forLoop(
        b.addI(first, b.mulI(warp, b.index(tile))), end, warps * tile, sums,
        [&](Value start, ValueRange now) {
          SmallVector<Value> next(now), numbers;
          SmallVector<SmallVector<Value>> rows;
          for (int64_t i = 0; i < inFlight; ++i) {
            Value number = b.addI(b.addI(start, b.index(i * members)), member);
            numbers.push_back(number);
            // In place of what is not there stands what is.
            Value at = b.minI(number, last);
            SmallVector<Value> row = {b.loadIndex(pages, at), kvHead};
            row.insert(op.getLayout() == Layout::hnd ? row.end()
                                                     : row.begin() + 1,
                       b.loadIndex(places, at));
            rows.push_back(loadChannels(b, values, row, within));
          }
          for (auto [number, row] : llvm::zip_equal(numbers, rows)) {
            Value isThere = b.compare(CmpIPredicate::slt, number, end);
            Value at = b.minI(number, last);
            for (int64_t head = 0; head < here; ++head) {
              Value weight = b.load(weights, {b.index(firstOf + head), at});
              weight = b.select(isThere, weight, b.f32(0.0f));
              for (int64_t i = 0; i < own; ++i) {
                Value &sum = next[head * own + i];
                sum = math::FmaOp::create(b, weight, row[i], sum);
              }
            }
          }
          return next;
        });
    for (Value &sum : sums)
      for (int64_t mask = lanes; mask < kWarp; mask *= 2)
        sum = b.addF(sum, b.shuffleXor(sum, mask));
    // Chunks of 8 channels, as they were loaded.
    b.ifThen(b.compare(CmpIPredicate::eq, member, b.index(0)), [&] {
      for (int64_t head = 0; head < here; ++head)
        for (int64_t i = 0; i < own; i += 4) {
          Value channel =
              b.addI(b.mulI(b.addI(within, b.index(i / 8 * lanes)), b.index(8)),
                     b.index(i % 8));
          Value at = b.addI(b.mulI(b.addI(b.mulI(warp, b.index(group)),
                                          b.index(firstOf + head)),
                                   b.index(valueDim)),
                            channel);
          Value four = vector::FromElementsOp::create(
              b, b.vectorType(4),
              ArrayRef<Value>(sums).slice(head * own + i, 4));
          vector::StoreOp::create(b, four, scores, at, /*nontemporal=*/false,
                                  llvm::MaybeAlign(16));
        }
    });
  }
}

void AttendBest::writeOutputs() {
  Value dim = b.index(valueDim);
  b.forLoop(thread, b.index(group * valueDim), warps * kWarp, [&](Value at) {
    Value output = b.load(scores, at);
    for (int64_t i = 1; i < warps; ++i)
      output = b.addF(
          output, b.load(scores, b.addI(at, b.index(i * group * valueDim))));
    Value head = b.divU(at, dim), channel = b.remU(at, dim);
    if (blocks == 1)
      return writeOutput(output, b.load(sums, head), head, channel);
    Value share = b.index(getShare());
    b.store(output, b.ofBlock(partials, b.divU(at, share)),
            {block, b.remU(at, share)});
  });
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(group)), [&] {
    Value top = b.load(tops, thread), sum = b.load(sums, thread);
    if (blocks == 1)
      return writeLse({top, sum}, thread);
    b.storeInAll(top, told, {block, thread, b.index(0)}, blocks);
    b.storeInAll(sum, told, {block, thread, b.index(1)}, blocks);
  });
}

SoftmaxSum AttendBest::joinBlocks(Value head) {
  SmallVector<SoftmaxSum> sums;
  for (int64_t i = 0; i < blocks; ++i) {
    auto load = [&](int64_t which) {
      return b.load(told, {b.index(i), head, b.index(which)});
    };
    sums.push_back({load(0), load(1)});
  }
  return joinSums(b, sums);
}

void AttendBest::mergeBlocks() {
  b.clusterBarrier(blocks);
  Value dim = b.index(valueDim), share = b.index(getShare());
  Value start = b.mulI(block, share),
        end = b.minI(b.addI(start, share), b.index(group * valueDim));
  b.forLoop(b.addI(start, thread), end, warps * kWarp, [&](Value at) {
    Value head = b.divU(at, dim), channel = b.remU(at, dim);
    SoftmaxSum all = joinBlocks(head);
    Value shift = toShift(b, all.top);
    Value output = b.f32(0.0f);
    for (int64_t i = 0; i < blocks; ++i) {
      Value from = b.index(i);
      Value weight = toWeight(b, b.load(told, {from, head, b.index(0)}), shift);
      Value part = b.load(partials, {from, b.subI(at, start)});
      output = b.addF(output, b.mulF(weight, part));
    }
    writeOutput(output, all.sum, head, channel);
    b.ifThen(b.compare(CmpIPredicate::eq, channel, b.index(0)),
             [&] { writeLse(all, head); });
  });
}

void AttendBest::writeEmpty() {
  Value dim = b.index(valueDim);
  b.forLoop(thread, b.index(group * valueDim), warps * kWarp, [&](Value at) {
    b.store(b.f32(0.0f), o,
            {row, b.addI(firstHead, b.divU(at, dim)), b.remU(at, dim)});
  });
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(group)), [&] {
    b.store(b.negInf(), lse, {row, b.addI(firstHead, thread)});
  });
}

LogicalResult vashista::launchAttendBest(AttendOp op,
                                         const ScheduleTarget &target,
                                         PatternRewriter &rewriter) {
  if (!op.getSchedule() || !op.getSchedule()->getFuse())
    return rewriter.notifyMatchFailure(op, "expected a schedule with fuse");
  const char *obstacle = nullptr;
  std::optional<BestTokens> best = findBestTokens(op, obstacle);
  if (!best)
    return rewriter.notifyMatchFailure(op, obstacle);
  WarpBuilder b(op.getLoc(), rewriter);
  SmallVector<Value> outs(op.getOuts());
  SmallVector<ScheduleVersion> versions = getVersions(*best, target);
  auto make = [&](ScheduleAttr schedule) {
    return AttendBest(*best, schedule, target, b);
  };
  SmallVector<Value> results =
      make(versions.front().schedule).allocateResults();
  Value logits;
  for (const ScheduleVersion &version : versions)
    if (!logits && make(version.schedule).needsLogits())
      logits = make(version.schedule).allocateLogits();
  launchVersion(
      b, make(versions.front().schedule).getNumRows(), best->kvHeads, versions,
      [&](ScheduleAttr schedule) { make(schedule).launch(results, logits); });
  rewriter.replaceOp(op, toTensors(b, results, op->getResultTypes()));
  rewriter.eraseOp(best->pick);
  rewriter.eraseOp(best->score);
  if (best->route) {
    rewriter.eraseOp(best->route->pick);
    rewriter.eraseOp(best->route->score);
  }
  for (Value out : outs)
    if (out.use_empty())
      rewriter.eraseOp(out.getDefiningOp());
  return success();
}
