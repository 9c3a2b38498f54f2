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
// A block has a row, a KV head and kBlock slots; a warp takes kTiles tiles of
// 16 slots at once, all of whose loads are in flight together.
//
// Bytes: codes, scales and norms of each visible token once per KV head; a
// score and a bound for each head and slot are written.
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
        hasBounds(!op.getBounds().use_empty()) {}

  /// Launches the kernel; yields the tensors of scores and bounds.
  SmallVector<Value> launch();

private:
  /// What a lane has of the directions of the heads of a product.
  struct Column {
    Value head;                   // its own
    SmallVector<Value> factors;   // of its own head, f32
    SmallVector<Value> low, high; // of each 32 channels, i32: bytes
  };
  /// What a lane reads of a token, g or g + 8.
  struct Token {
    Value isVisible;
    SmallVector<Value> codes;         // of each 32 channels, two i32
    SmallVector<Value> scales, norms; // f32
  };

  void emit(ArrayRef<Value> values);
  Column loadColumn(int64_t number);
  Token loadToken(Value slot);
  SmallVector<Value> loadCodes(ArrayRef<Value> at);
  /// `size` numbers of a row as f32.
  SmallVector<Value> loadNumbers(Value part, ArrayRef<Value> at, int64_t size);
  void scoreTile(Value first, ArrayRef<Token> tokens, ArrayRef<Column> columns);
  /// Residual norms of a token, and norms of its scales.
  std::pair<SmallVector<Value>, SmallVector<Value>>
  getNorms(const Token &token);

  ScoreOp op;
  WarpBuilder &b;
  const SketchFormat format;
  SketchDirection rounded;
  const int64_t group, columns;
  const bool hasBounds;

  // Of the kernel.
  std::optional<Slots> slots;
  Value codes, scales, norms, multiples, factors, scores, bounds;
  Value firstHead, quad, within; // quad = g, within = t
};

} // namespace

SmallVector<Value> SketchScan::launch() {
  rounded.emit(b.readOnly(op.getDirection()));
  ReifiedRankedShapedTypeDims shapes;
  (void)op.reifyResultShapes(b, shapes);
  auto allocate = [&](unsigned result) -> Value {
    SmallVector<Value> dynamic;
    SmallVector<int64_t> shape;
    dispatchIndexOpFoldResults(shapes[result], dynamic, shape);
    return memref::AllocOp::create(b, MemRefType::get(shape, b.getF32Type()),
                                   dynamic, b.getI64IntegerAttr(64));
  };
  SmallVector<Value> written = {allocate(0)};
  if (hasBounds)
    written.push_back(allocate(1));
  SmallVector<Value> read;
  for (Value part : op.getParts())
    read.push_back(b.readOnly(part));
  llvm::append_range(read, ValueRange{rounded.multiples, rounded.factors});
  llvm::append_range(read, Slots::getRead(op, b));

  KernelShape shape;
  shape.name = "sketch_scan";
  shape.gridX =
      b.createOrFold<arith::CeilDivUIOp>(b.dim(written[0], 2), b.index(kBlock));
  shape.gridY = b.dim(read[0], 1);
  shape.gridZ = b.dim(written[0], 0);
  shape.threads = kWarps * kWarp;
  shape.residentBlocks = columns == 1 ? 4 : 3;
  b.launch(shape, read, written, {},
           [&](ArrayRef<Value> values, ArrayRef<Value>) { emit(values); });
  SmallVector<Value> tensors;
  for (auto [i, type] : llvm::enumerate(op->getResultTypes()))
    tensors.push_back(bufferization::ToTensorOp::create(
        b, type, written[hasBounds ? i : 0], /*restrict=*/true,
        /*writable=*/true));
  return tensors;
}

void SketchScan::emit(ArrayRef<Value> values) {
  codes = values[0];
  scales = values[1];
  norms = values[2];
  multiples = values[3];
  factors = values[4];
  scores = values[values.size() - (hasBounds ? 2 : 1)];
  bounds = values.back();
  slots.emplace(op, b, values.drop_front(5));
  slots->begin(b.blockId(gpu::Dimension::z), b.blockId(gpu::Dimension::y));
  firstHead = b.mulI(slots->kvHead, b.index(group));
  Value thread = b.threadId();
  Value warp = b.divU(thread, b.index(kWarp));
  Value lane = b.remU(thread, b.index(kWarp));
  quad = b.divU(lane, b.index(4));
  within = b.remU(lane, b.index(4));

  Value first = b.mulI(b.blockId(gpu::Dimension::x), b.index(kBlock));
  Value end = b.minI(b.addI(first, b.index(kBlock)), b.dim(scores, 2));
  Value last = b.maxI(b.minI(end, slots->numSlots), first);
  SmallVector<Column> all;
  for (int64_t i = 0; i < columns; ++i)
    all.push_back(loadColumn(i));
  int64_t step = kTiles * kTokens;
  b.forLoop(b.addI(first, b.mulI(warp, b.index(step))), last, kWarps * step,
            [&](Value start) {
              SmallVector<Token> tokens;
              for (int64_t i = 0; i < kTiles; ++i)
                for (int64_t half : {0, 8}) {
                  Value slot = b.addI(start, b.index(kTokens * i + half));
                  tokens.push_back(loadToken(b.addI(slot, quad)));
                }
              for (int64_t i = 0; i < kTiles; ++i)
                scoreTile(b.addI(start, b.index(kTokens * i)),
                          ArrayRef<Token>(tokens).slice(2 * i, 2), all);
            });
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
}

SketchScan::Column SketchScan::loadColumn(int64_t number) {
  auto getHead = [&](Value offset) {
    Value head = b.addI(offset, b.index(kColumns * number));
    return b.addI(firstHead, b.minI(head, b.index(group - 1)));
  };
  Column column;
  column.head = b.addI(within, b.index(kColumns * number));
  Value own = getHead(within);
  for (int64_t i = 0; i < rounded.getNumFactors(); ++i)
    column.factors.push_back(b.load(factors, {slots->row, own, b.index(i)}));
  // Column g of a product: byte g % 2 of head g / 2.
  Value two = b.index(2);
  Value other = getHead(b.divU(quad, two)), part = b.remU(quad, two);
  for (int64_t channel = 0; channel < format.paddedDim; channel += kChannels) {
    Value at = b.addI(b.mulI(within, b.index(kOwn)), b.index(channel));
    auto [low, high] = b.load8Bytes(multiples, {slots->row, other, part, at});
    column.low.push_back(low);
    column.high.push_back(high);
  }
  return column;
}

SketchScan::Token SketchScan::loadToken(Value slot) {
  auto [place, isVisible] = slots->find(slot);
  Token token;
  token.isVisible = isVisible;
  SmallVector<Value> at = {place.page, slots->kvHead, place.slot};
  token.codes = loadCodes(at);
  token.scales = loadNumbers(scales, at, format.numGroups);
  int64_t size = format.normPerToken ? 1 : format.numGroups;
  token.norms = hasBounds ? loadNumbers(norms, at, size) : SmallVector<Value>();
  return token;
}

SmallVector<Value> SketchScan::loadCodes(ArrayRef<Value> at) {
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
        SmallVector<Value> indices(at);
        indices.push_back(b.addI(own, b.index(start)));
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

void SketchScan::scoreTile(Value first, ArrayRef<Token> tokens,
                           ArrayRef<Column> columns) {
  SmallVector<std::pair<SmallVector<Value>, SmallVector<Value>>> lengths;
  if (hasBounds)
    for (const Token &token : tokens)
      lengths.push_back(getNorms(token));
  auto fma = [&](Value x, Value y, Value z) -> Value {
    return math::FmaOp::create(b, x, y, z);
  };
  for (const Column &column : columns) {
    std::array<Value, 4> zeros = {b.i32(0), b.i32(0), b.i32(0), b.i32(0)},
                         sums = zeros;
    std::array<Value, 2> totals = {b.f32(0.0f), b.f32(0.0f)};
    for (int64_t part = 0; part < format.paddedDim / kChannels; ++part) {
      sums = b.multiplyBytes(
          {tokens[0].codes[2 * part], tokens[1].codes[2 * part],
           tokens[0].codes[2 * part + 1], tokens[1].codes[2 * part + 1]},
          {column.low[part], column.high[part]}, sums);
      int64_t end = (part + 1) * kChannels;
      if (end % format.group)
        continue;
      int64_t number = end / format.group - 1;
      for (int64_t i = 0; i < 2; ++i) {
        Value sum = b.addI(b.mulI(sums[2 * i], b.i32(256)), sums[2 * i + 1]);
        Value exact = arith::SIToFPOp::create(b, b.getF32Type(), sum);
        exact = fma(exact, b.f32(2.0f),
                    column.factors[rounded.getCorrection() + number]);
        totals[i] = fma(exact, tokens[i].scales[number], totals[i]);
      }
      sums = zeros;
    }
    Value isHead = b.compare(CmpIPredicate::ult, column.head, b.index(group));
    for (int64_t i = 0; i < 2; ++i) {
      Value half = column.factors[rounded.getHalfStep()];
      Value sum = b.mulF(totals[i], half);
      auto finish = [&](Value value, bool isBound) -> Value {
        Value one = b.broadcast(value, 1);
        Value logit = isBound
                          ? b.toLogitBounds(one, op.getScale(), op.getSoftCap(),
                                            op.getEpsilon())
                          : b.toLogits(one, op.getScale(), op.getSoftCap(),
                                       op.getEpsilon());
        return vector::ExtractOp::create(b, logit, ArrayRef<int64_t>{0});
      };
      Value slot = b.addI(b.addI(first, quad), b.index(8 * i));
      Value isSlot = b.compare(CmpIPredicate::slt, slot, b.dim(scores, 2));
      Value score =
          b.select(tokens[i].isVisible, finish(sum, false), b.negInf());
      Value bound;
      if (hasBounds) {
        Value slack = b.f32(0x1p-100f);
        for (int64_t number = 0; number < rounded.getNumNorms(); ++number) {
          slack = fma(column.factors[number], lengths[i].first[number], slack);
          slack = fma(column.factors[rounded.getScaleReach() + number],
                      lengths[i].second[number], slack);
        }
        slack = b.mulF(slack, b.f32(1 + 0x1p-18f));
        bound = finish(b.addF(sum, slack), true);
        // What is visible and yet -inf has overflowed, which bounds nothing;
        // nor does NaN.
        Value none = b.compare(CmpFPredicate::UEQ, bound, b.negInf());
        bound = b.select(none, b.f32(std::numeric_limits<float>::infinity()),
                         bound);
        bound = b.select(tokens[i].isVisible, bound, b.negInf());
      }
      b.ifThen(b.andI(isHead, isSlot), [&] {
        Value at[] = {slots->row, b.addI(firstHead, column.head), slot};
        b.store(score, scores, at);
        if (hasBounds)
          b.store(bound, bounds, at);
      });
    }
  }
}

LogicalResult vashista::launchSketchScan(ScoreOp op,
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
  rewriter.replaceOp(op, SketchScan(op, b, format).launch());
  return success();
}
