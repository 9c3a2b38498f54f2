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
// A block has a row, a KV head and kBlock slots; a warp takes kTiles tiles of
// 16 slots at once, all of whose loads are in flight together.
//
// Bytes: codes, scales and norms of each visible token once per KV head; a
// score and a bound for each head and slot are written, and two numbers for
// each head and block: its highest finite bound, and whether a score is NaN.
//
//===----------------------------------------------------------------------===//

#include "../VashistaToVector/SketchDirection.h"
#include "../VashistaToVector/UpperBounds.h"
#include "Kernels.h"
#include "Slots.h"
#include "WarpBuilder.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace vashista;

using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

constexpr int64_t kWarps = 4, kTiles = 4, kTokens = 16, kBlock = 1024;
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
        hasBounds(!op.getBounds().use_empty()) {}

  /// Launches the kernel; yields the tensors of scores and bounds.
  SmallVector<Value> launch();

  /// [R, H, blocks, 2] f32: the highest finite bound of each block's slots, and
  /// 1 where a score is NaN. Null without bounds.
  Value tops;

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
    SmallVector<Value> scales, norms; // f32
  };
  /// Of a lane, the codes of tokens g and g + 8 of a tile: of each 32 channels
  /// two i32.
  using Codes = std::array<SmallVector<Value>, 2>;

  void emit(ArrayRef<Value> values, Value shared);
  Column loadColumn(int64_t number);
  Token loadToken(const Slots::Tile &tile, Value offset);
  SmallVector<Value> loadCodes(const Slots::Tile &tile, Value offset);
  /// `size` numbers of a row as f32.
  SmallVector<Value> loadNumbers(Value part, ArrayRef<Value> at, int64_t size);
  /// Of both tokens, the sums of each group of channels, i32.
  std::array<SmallVector<Value>, 2> multiply(const Codes &codes,
                                             const Column &column);
  /// Writes a token's score and bound, which it yields.
  std::pair<Value, Value> finish(const Token &token, ArrayRef<Value> sums,
                                 const Column &column);
  void storeTops(ArrayRef<Value> found, ArrayRef<Column> columns, Value shared);
  /// Residual norms of a token, and norms of its scales.
  std::pair<SmallVector<Value>, SmallVector<Value>>
  getNorms(const Token &token);

  ScoreOp op;
  WarpBuilder &b;
  const SketchFormat format;
  SketchDirection rounded;
  const int64_t group, columns;
  const int64_t heads; // of a product, a power of two
  const bool hasBounds;

  // Of the kernel.
  std::optional<Slots> slots;
  Value codes, scales, norms, multiples, factors, scores, bounds;
  Value firstHead, warp, quad, within; // quad = g, within = t
  Value part; // which of the lanes with the same sums this is
};

} // namespace

SmallVector<Value> SketchScan::launch() {
  rounded.emit(b.readOnly(op.getDirection()));
  SmallVector<Value> written = allocateResults(op, b, hasBounds ? 2 : 1);
  Value blocks =
      b.createOrFold<arith::CeilDivUIOp>(b.dim(written[0], 2), b.index(kBlock));
  if (hasBounds) {
    constexpr int64_t dynamic = ShapedType::kDynamic;
    tops = memref::AllocOp::create(
        b, MemRefType::get({dynamic, dynamic, dynamic, 2}, b.getF32Type()),
        ValueRange{b.dim(written[0], 0), b.dim(written[0], 1), blocks},
        b.getI64IntegerAttr(64));
    written.push_back(tops);
  }
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
  shape.threads = kWarps * kWarp;
  // Each lane finishes a tile of its own, or several heads of a tile.
  shape.residentBlocks = heads == 1 ? 4 : 3;
  b.launch(shape, read, written,
           b.sharedType({kWarps, columns * kColumns, 2}, b.getF32Type()),
           [&](ArrayRef<Value> values, ArrayRef<Value> shared) {
             emit(values, shared[0]);
           });
  return toTensors(b, {written[0], written[hasBounds ? 1 : 0]},
                   op->getResultTypes());
}

void SketchScan::emit(ArrayRef<Value> values, Value shared) {
  codes = values[0];
  scales = values[1];
  norms = values[2];
  multiples = values[3];
  factors = values[4];
  ArrayRef<Value> written = values.take_back(hasBounds ? 3 : 1);
  scores = written[0];
  bounds = hasBounds ? written[1] : nullptr;
  Value hostTops = tops;
  tops = hasBounds ? written[2] : nullptr;
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

  Value first = b.mulI(b.blockId(gpu::Dimension::y), b.index(kBlock));
  Value end = b.minI(b.addI(first, b.index(kBlock)), b.dim(scores, 2));
  Value last = b.maxI(b.minI(end, slots->numSlots), first);
  SmallVector<Column> all;
  for (int64_t i = 0; i < columns; ++i)
    all.push_back(loadColumn(i));
  int64_t step = kTiles * kTokens, copies = kColumns / heads;
  SmallVector<Value> found;
  for (int64_t i = 0; i < columns; ++i)
    found.append({b.negInf(), b.f32(0.0f)});
  found = b.forLoop(
      b.addI(first, b.mulI(warp, b.index(step))), last, kWarps * step, found,
      [&](Value start, ValueRange carried) {
        auto findTile = [&](Value number) {
          Value first = b.addI(start, b.mulI(number, b.index(kTokens)));
          return slots->findTile(first, kTokens);
        };
        auto getOffset = [&](int64_t half) {
          return b.addI(quad, b.index(8 * half));
        };
        SmallVector<Codes> tiles(kTiles);
        for (int64_t i = 0; i < kTiles; ++i) {
          Slots::Tile tile = findTile(b.index(i));
          for (int64_t half : {0, 1})
            tiles[i][half] = loadCodes(tile, getOffset(half));
        }
        SmallVector<Token> own;
        for (int64_t i = 0; i < kTiles; i += copies) {
          Slots::Tile tile = findTile(b.addI(part, b.index(i)));
          for (int64_t half : {0, 1})
            own.push_back(loadToken(tile, getOffset(half)));
        }

        SmallVector<Value> next(carried);
        for (auto [number, column] : llvm::enumerate(all)) {
          SmallVector<std::array<SmallVector<Value>, 2>> sums;
          for (const Codes &codes : tiles)
            sums.push_back(multiply(codes, column));
          for (auto [i, token] : llvm::enumerate(own)) {
            int64_t firstTile = i / 2 * copies, half = i % 2;
            SmallVector<Value> mine = sums[firstTile][half];
            for (int64_t copy = 1; copy < copies; ++copy) {
              Value is = b.compare(CmpIPredicate::eq, part, b.index(copy));
              for (auto [sum, other] :
                   llvm::zip_equal(mine, sums[firstTile + copy][half]))
                sum = b.select(is, other, sum);
            }
            auto [score, bound] = finish(token, mine, column);
            if (!hasBounds)
              continue;
            float inf = std::numeric_limits<float>::infinity();
            Value isFinite = b.compare(CmpFPredicate::OLT, bound, b.f32(inf));
            Value isNaN = b.compare(CmpFPredicate::UNO, score, score);
            Value &most = next[2 * number], &nan = next[2 * number + 1];
            most = b.maxNumber(most, b.select(isFinite, bound, b.negInf()));
            nan = b.select(isNaN, b.f32(1.0f), nan);
          }
        }
        return next;
      });
  if (hasBounds)
    storeTops(found, all, shared);
  // Tiles end together; what follows the last is not visible.
  Value scored = b.mulI(
      b.createOrFold<arith::CeilDivUIOp>(b.subI(last, first), b.index(step)),
      b.index(step));
  Value rest = b.addI(first, scored);
  b.forLoop(b.index(0), b.index(group), 1, [&](Value number) {
    Value head = b.addI(firstHead, number);
    b.forLoop(b.addI(rest, thread), end, kWarps * kWarp, [&](Value slot) {
      b.store(b.negInf(), scores, {slots->row, head, slot});
      if (hasBounds)
        b.store(b.negInf(), bounds, {slots->row, head, slot});
    });
  });
  tops = hostTops;
}

void SketchScan::storeTops(ArrayRef<Value> found, ArrayRef<Column> columns,
                           Value shared) {
  // Lanes of the same head.
  SmallVector<int64_t> masks = {4, 8, 16};
  for (int64_t mask = heads; mask < kColumns; mask *= 2)
    masks.push_back(mask);
  Value zero = b.index(0), one = b.index(1);
  for (auto [i, column] : llvm::enumerate(columns)) {
    for (int64_t which : {0, 1}) {
      Value most = found[2 * i + which];
      for (int64_t mask : masks)
        most = b.maxNumber(most, b.shuffleXor(most, mask));
      Value at = b.addI(within, b.index(kColumns * i));
      b.store(most, shared, {warp, at, b.index(which)});
    }
  }
  b.barrier();
  Value thread = b.threadId();
  b.ifThen(b.compare(CmpIPredicate::ult, thread, b.index(group)), [&] {
    for (Value which : {zero, one}) {
      Value most = b.load(shared, {zero, thread, which});
      for (int64_t i = 1; i < kWarps; ++i)
        most = b.maxNumber(most, b.load(shared, {b.index(i), thread, which}));
      b.store(most, tops,
              {slots->row, b.addI(firstHead, thread),
               b.blockId(gpu::Dimension::y), which});
    }
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
  token.norms = hasBounds ? loadNumbers(norms, at, size) : SmallVector<Value>();
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
SketchScan::getNorms(const Token &token) {
  SmallVector<Value> sizes = token.scales, found = token.norms;
  if (format.normPerToken) {
    Value squares = b.f32(0.0f);
    for (Value scale : token.scales)
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
  Value score = b.select(token.isVisible, toLogit(total, false), b.negInf());
  Value bound;
  if (hasBounds) {
    auto [norms, sizes] = getNorms(token);
    Value slack = b.f32(0x1p-100f);
    for (int64_t number = 0; number < rounded.getNumNorms(); ++number) {
      slack = fma(column.factors[number], norms[number], slack);
      slack = fma(column.factors[rounded.getScaleReach() + number],
                  sizes[number], slack);
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

LogicalResult vashista::launchSketchScan(ScoreOp op, ScanTops &tops,
                                         PatternRewriter &rewriter) {
  auto refuse = [&](const char *why) {
    return rewriter.notifyMatchFailure(op, why);
  };
  auto sketch = dyn_cast<SketchAttr>(op.getFrom());
  if (!sketch || op->getParentOfType<LoopLikeOpInterface>())
    return refuse("expected a sketch, and no loop around");
  auto direction = cast<RankedTensorType>(op.getDirection().getType());
  auto codes = cast<RankedTensorType>(op.getParts()[0].getType());
  if (direction.isDynamicDim(1) || direction.isDynamicDim(2) ||
      codes.isDynamicDim(1) || codes.isDynamicDim(2))
    return refuse("expected static head and page sizes");
  SketchFormat format(sketch, direction.getDimSize(2));
  if (format.centred || format.group % kChannels || format.group > 128)
    return refuse("expected no centre, and groups of 32, 64, 96 or 128");
  for (const SketchFormat::Plane &plane : format.planes)
    if (plane.bytes % kOwn || plane.first % kOwn ||
        (plane.bytes % kChannels && kChannels % plane.bytes))
      return refuse("expected planes of whole words");
  WarpBuilder b(op.getLoc(), rewriter);
  SketchScan scan(op, b, format);
  SmallVector<Value> tensors = scan.launch();
  if (scan.tops)
    tops.insert({tensors[1], scan.tops});
  rewriter.replaceOp(op, tensors);
  return success();
}
