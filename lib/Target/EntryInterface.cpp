//===- EntryInterface.cpp - What the manifest says of a function ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EntryInterface.h"

#include "vashista/Dialect/Vashista/IR/PagedOperands.h"
#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace mlir;
using namespace vashista;

std::string vashista::getEntrySymbol(func::FuncOp function) {
  return ("vashista_entry_" + function.getName()).str();
}

//===----------------------------------------------------------------------===//
// Sizes as multiples of argument sizes
//===----------------------------------------------------------------------===//

namespace {

/// `factor` times dimension `dim` of argument `argument`.
struct Size {
  unsigned argument, dim;
  int64_t factor = 1;
};

} // namespace

static std::optional<Size> getSize(Value value) {
  if (auto dim = value.getDefiningOp<tensor::DimOp>()) {
    auto argument = dyn_cast<BlockArgument>(dim.getSource());
    std::optional<int64_t> position = dim.getConstantIndex();
    if (!argument || !position)
      return std::nullopt;
    return Size{argument.getArgNumber(), static_cast<unsigned>(*position)};
  }
  auto times = [](Value x, Value y) -> std::optional<Size> {
    IntegerAttr factor;
    if (!matchPattern(y, m_Constant(&factor)))
      return std::nullopt;
    std::optional<Size> size = getSize(x);
    if (!size || factor.getInt() < 1 ||
        llvm::MulOverflow(size->factor, factor.getInt(), size->factor))
      return std::nullopt;
    return size;
  };
  if (auto product = value.getDefiningOp<arith::MulIOp>()) {
    if (auto size = times(product.getLhs(), product.getRhs()))
      return size;
    return times(product.getRhs(), product.getLhs());
  }
  if (auto apply = value.getDefiningOp<affine::AffineApplyOp>()) {
    auto product =
        dyn_cast<AffineBinaryOpExpr>(apply.getAffineMap().getResult(0));
    if (!product || product.getKind() != AffineExprKind::Mul ||
        apply->getNumOperands() != 1)
      return std::nullopt;
    auto factor = dyn_cast<AffineConstantExpr>(product.getRHS());
    std::optional<Size> size = getSize(apply->getOperand(0));
    if (!factor || !size || !product.getLHS().isSymbolicOrConstant() ||
        factor.getValue() < 1 ||
        llvm::MulOverflow(size->factor, factor.getValue(), size->factor))
      return std::nullopt;
    return size;
  }
  return std::nullopt;
}

namespace {

/// Elementwise ops on tensors do not say the sizes of their results.
struct DimOfElementwise : OpRewritePattern<tensor::DimOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::DimOp dim,
                                PatternRewriter &rewriter) const override {
    Operation *op = dim.getSource().getDefiningOp();
    if (!op || !OpTrait::hasElementwiseMappableTraits(op))
      return failure();
    for (Value operand : op->getOperands())
      if (isa<RankedTensorType>(operand.getType())) {
        rewriter.modifyOpInPlace(
            dim, [&] { dim.getSourceMutable().assign(operand); });
        return success();
      }
    return failure();
  }
};

} // namespace

/// What dynamic sizes of values of a function's first block are in terms of its
/// arguments, as far as upstream's reification patterns can tell. Works on a
/// copy that returns the sizes.
static SmallVector<std::optional<Size>>
resolveSizes(func::FuncOp function, ArrayRef<NamedDims::Place> places) {
  MLIRContext *context = function.getContext();
  // A module that has neither its ops nor ours has not loaded it.
  context->loadDialect<tensor::TensorDialect>();
  OwningOpRef<ModuleOp> module = ModuleOp::create(function.getLoc());
  IRMapping mapping;
  auto copy = cast<func::FuncOp>(function->clone(mapping));
  module->push_back(copy);
  Operation *end = copy.getBody().front().getTerminator();
  OpBuilder b(end);
  SmallVector<Value> sizes;
  for (const NamedDims::Place &place : places)
    sizes.push_back(tensor::DimOp::create(
        b, function.getLoc(), mapping.lookup(place.value), place.position));
  end->setOperands(sizes);
  copy.setFunctionType(
      b.getFunctionType(copy.getArgumentTypes(),
                        SmallVector<Type>(sizes.size(), b.getIndexType())));
  copy.removeResAttrsAttr();

  RewritePatternSet patterns(context);
  memref::populateResolveRankedShapedTypeResultDimsPatterns(patterns);
  memref::populateResolveShapedTypeResultDimsPatterns(patterns);
  tensor::DimOp::getCanonicalizationPatterns(patterns, context);
  patterns.add<DimOfElementwise>(context);
  // Not converging only means that some sizes stay unknown.
  (void)applyPatternsGreedily(copy, std::move(patterns));
  return llvm::map_to_vector(
      copy.getBody().front().getTerminator()->getOperands(), getSize);
}

/// The argument that a value is, updated in place or renamed by casts.
static std::optional<unsigned> getArgument(func::FuncOp function, Value value) {
  while (!isa<BlockArgument>(value)) {
    auto result = cast<OpResult>(value);
    if (auto cast = dyn_cast<tensor::CastOp>(result.getOwner()))
      value = cast.getSource();
    else if (auto op = dyn_cast<DestinationStyleOpInterface>(result.getOwner()))
      value = op.getTiedOpOperand(result)->get();
    else
      return std::nullopt;
  }
  auto argument = cast<BlockArgument>(value);
  if (argument.getOwner() != &function.getBody().front())
    return std::nullopt;
  return argument.getArgNumber();
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

namespace {

class Describer {
public:
  explicit Describer(func::FuncOp function) : function(function) {}

  FailureOr<ArtefactEntry> describe();

private:
  InFlightDiagnostic refuse() {
    return function.emitError("cannot be an entry: ");
  }
  LogicalResult describeValue(Type type, const Twine &what,
                              ArtefactValue &value);
  void nameArguments();
  void describeFaults();
  LogicalResult describeSizes();
  void addConstants(Operation *op, llvm::StringMap<unsigned> &numOps);
  void addChecks(Operation *op);

  func::FuncOp function;
  ArtefactEntry entry;
};

} // namespace

LogicalResult Describer::describeValue(Type type, const Twine &what,
                                       ArtefactValue &value) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() > 8)
    return refuse() << "expected " << what.str()
                    << " to be a ranked tensor of at most 8 dimensions, got "
                    << type;
  struct Element {
    bool matches;
    uint8_t code, bits;
  };
  Type element = tensor.getElementType();
  const Element elements[] = {
      {element.isF32(), 2, 32},
      {element.isF16(), 2, 16},
      {element.isBF16(), 4, 16},
      {element.isF64(), 2, 64},
      {element.isSignlessInteger(1), 6, 8},
      {element.isSignlessInteger(8), 0, 8},
      {element.isSignlessInteger(16), 0, 16},
      {element.isSignlessInteger(32), 0, 32},
      {element.isSignlessInteger(64), 0, 64},
      {isa<Float8E4M3FNType>(element), 10, 8},
  };
  const Element *known = llvm::find_if(
      elements, [](const Element &element) { return element.matches; });
  if (known == std::end(elements))
    return refuse() << "expected " << what.str()
                    << " to have elements of f64, f32, f16, bf16, f8E4M3FN, "
                       "i64, i32, i16, i8 or i1, got "
                    << element;
  value.code = known->code;
  value.bits = known->bits;
  for (int64_t size : tensor.getShape())
    value.dims.push_back(ShapedType::isDynamic(size)
                             ? ArtefactDim::getDynamic()
                             : ArtefactDim::getFixed(size));
  return success();
}

/// By their locations: `loc("q")`.
void Describer::nameArguments() {
  llvm::StringSet<> names;
  for (auto [argument, value] :
       llvm::zip(function.getArguments(), entry.arguments)) {
    auto loc = dyn_cast<NameLoc>(argument.getLoc());
    if (loc && llvm::all_of(loc.getName().getValue(), llvm::isPrint) &&
        names.insert(loc.getName().getValue()).second)
      value.name = loc.getName().str();
  }
}

/// What a check found is called so, and tells of what the host verifies of the
/// same arguments; the others have no names.
void Describer::describeFaults() {
  auto isOf = [&](std::optional<unsigned> number, Value value) {
    return value ? number && number == getArgument(function, value) : !number;
  };
  unsigned number = 0;
  Operation *end = function.getBody().front().getTerminator();
  for (auto [result, value] : llvm::zip(end->getOperands(), entry.results)) {
    Operation *op = result.getDefiningOp();
    if (!isa_and_present<CheckTableOp, CheckPositionsOp, CheckListOp>(op) ||
        result != op->getResults().back())
      continue;
    value.faults = true;
    value.name = "faults";
    if (number++ > 0)
      value.name += std::to_string(number);
    using Kind = ArtefactCheck::Kind;
    auto same = llvm::find_if(entry.checks, [&](const ArtefactCheck &check) {
      return TypeSwitch<Operation *, bool>(op)
          .Case([&](CheckTableOp op) {
            return check.kind == Kind::table &&
                   isOf(check.table, op.getPageTable()) &&
                   isOf(check.lens, op.getSeqLens()) &&
                   isOf(check.rows, op.getRowToSeq());
          })
          .Case([&](CheckPositionsOp op) {
            return check.kind == Kind::positions &&
                   isOf(check.positions, op.getPositions()) &&
                   isOf(check.table, op.getPageTable()) &&
                   isOf(check.rows, op.getRowToSeq());
          })
          .Case([&](CheckListOp op) {
            return check.kind == Kind::list && isOf(check.list, op.getList()) &&
                   isOf(check.count, op.getListCount()) &&
                   isOf(check.lens, getUnchecked(op.getSeqLens())) &&
                   check.inPages == (op.getUnit() == SlotUnit::pages);
          })
          .Default([](Operation *) { return false; });
    });
    if (same != entry.checks.end())
      value.check = same - entry.checks.begin();
  }
}

namespace {

/// Dimensions that must have one size, which may be known.
struct Tie {
  SmallVector<NamedDims::Place> places;
  int64_t size = ShapedType::kDynamic;

  void add(Value value, unsigned dim) {
    places.push_back({value, dim});
    int64_t own = cast<ShapedType>(value.getType()).getDimSize(dim);
    if (!ShapedType::isDynamic(own))
      size = own;
  }
};

} // namespace

static void addTies(linalg::LinalgOp op, SmallVectorImpl<Tie> &ties) {
  SmallVector<Tie> loops(op.getNumLoops());
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<RankedTensorType>(operand.get().getType()))
      continue;
    AffineMap map = op.getMatchingIndexingMap(&operand);
    for (auto [d, result] : llvm::enumerate(map.getResults()))
      if (auto loop = dyn_cast<AffineDimExpr>(result))
        loops[loop.getPosition()].add(operand.get(), d);
  }
  llvm::append_range(ties, loops);
}

/// What an op requires of its operands: those of ours, and upstream's on whole
/// tensors.
static void addTies(Operation *op, SmallVectorImpl<Tie> &ties) {
  NamedDims dims = getNamedDims(op);
  for (unsigned dim = 0; dim < kNumDims; ++dim)
    ties.push_back({llvm::to_vector(dims.places(static_cast<Dim>(dim))),
                    dims.size(static_cast<Dim>(dim))});
  // A stack of states has as many log-sum-exps.
  if (auto merge = dyn_cast<MergeOp>(op))
    for (auto [o, lse] : llvm::zip_equal(merge.getOutputs(), merge.getLses()))
      if (cast<ShapedType>(o.getType()).getRank() == 4) {
        Tie &tie = ties.emplace_back();
        tie.add(o, 0);
        tie.add(lse, 0);
      }
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return addTies(linalgOp, ties);
  auto isTensor = [](Value value) {
    return isa<RankedTensorType>(value.getType());
  };
  auto cast = dyn_cast<tensor::CastOp>(op);
  auto concat = dyn_cast<tensor::ConcatOp>(op);
  if ((!cast && !concat && !OpTrait::hasElementwiseMappableTraits(op)) ||
      !llvm::all_of(op->getResults(), isTensor))
    return;
  auto type = llvm::cast<RankedTensorType>(op->getResult(0).getType());
  for (int64_t d = 0; d < type.getRank(); ++d) {
    if (concat && d == static_cast<int64_t>(concat.getDim()))
      continue;
    Tie &tie = ties.emplace_back();
    for (Value operand : llvm::make_filter_range(op->getOperands(), isTensor))
      tie.add(operand, d);
    if (!type.isDynamicDim(d))
      tie.size = type.getDimSize(d);
  }
}

LogicalResult Describer::describeSizes() {
  // The dimensions that must agree, then those of the results.
  SmallVector<Tie> ties;
  for (Operation &op : function.getBody().front())
    addTies(&op, ties);
  SmallVector<NamedDims::Place> places;
  SmallVector<unsigned> ends;
  for (const Tie &tie : ties) {
    for (const NamedDims::Place &place : tie.places)
      if (cast<ShapedType>(place.value.getType()).isDynamicDim(place.position))
        places.push_back(place);
    ends.push_back(places.size());
  }
  Operation *end = function.getBody().front().getTerminator();
  for (Value result : end->getOperands()) {
    auto type = cast<RankedTensorType>(result.getType());
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (type.isDynamicDim(d))
        places.push_back({result, static_cast<unsigned>(d)});
  }
  SmallVector<std::optional<Size>> sizes = resolveSizes(function, places);

  // The first argument of a class stands for it.
  using Key = std::pair<unsigned, unsigned>;
  llvm::EquivalenceClasses<Key> classes;
  SmallVector<std::pair<Key, int64_t>> known;
  unsigned begin = 0;
  for (auto [end, tie] : llvm::zip_equal(ends, ties)) {
    std::optional<Key> first;
    for (unsigned i = begin; i < end; ++i) {
      if (!sizes[i] || sizes[i]->factor != 1)
        continue;
      Key key(sizes[i]->argument, sizes[i]->dim);
      if (first)
        classes.unionSets(*first, key);
      else
        first = key;
    }
    if (first && !ShapedType::isDynamic(tie.size))
      known.push_back({*first, tie.size});
    begin = end;
  }
  auto getFirst = [&](Key key) {
    if (classes.contains(key))
      for (const Key &other : classes.members(key))
        key = std::min(key, other);
    return key;
  };
  std::map<Key, int64_t> fixed;
  for (auto [key, size] : known) {
    int64_t other = fixed.try_emplace(getFirst(key), size).first->second;
    if (other != size)
      return refuse() << "expected one size of dimension " << key.second
                      << " of argument " << key.first << ", got " << other
                      << " and " << size;
  }
  for (auto [a, argument] : llvm::enumerate(entry.arguments))
    for (auto [d, dim] : llvm::enumerate(argument.dims)) {
      if (dim.kind != ArtefactDim::Kind::dynamic)
        continue;
      Key key(a, d), first = getFirst(key);
      if (auto size = fixed.find(first); size != fixed.end())
        dim = ArtefactDim::getFixed(size->second);
      else if (first.first < a)
        dim = ArtefactDim::getTied(first.first, first.second);
    }

  unsigned next = ends.empty() ? 0 : ends.back();
  for (auto [r, result] : llvm::enumerate(entry.results))
    for (auto [d, dim] : llvm::enumerate(result.dims)) {
      if (dim.kind != ArtefactDim::Kind::dynamic)
        continue;
      const std::optional<Size> &size = sizes[next++];
      if (!size)
        return refuse() << "expected dimension " << d << " of result " << r
                        << " to be fixed or a multiple of a dimension of an "
                           "argument, got one that only running tells";
      Key first = getFirst({size->argument, size->dim});
      dim = ArtefactDim::getTied(first.first, first.second, size->factor);
    }
  return success();
}

/// "attend.scale" "0.125"; "attend#2.scale" for the second attend.
void Describer::addConstants(Operation *op, llvm::StringMap<unsigned> &numOps) {
  std::string prefix = op->getName().stripDialect().str();
  unsigned number = ++numOps[prefix];
  if (number > 1)
    prefix += "#" + std::to_string(number);
  for (NamedAttribute attribute : op->getAttrs()) {
    if (attribute.getName() == "operandSegmentSizes" ||
        attribute.getName() == "resultSegmentSizes")
      continue;
    std::string text;
    llvm::raw_string_ostream os(text);
    if (auto number = dyn_cast<FloatAttr>(attribute.getValue()))
      os << llvm::format("%.9g", number.getValueAsDouble());
    else if (auto number = dyn_cast<IntegerAttr>(attribute.getValue()))
      os << number.getValue();
    else
      attribute.getValue().print(os, /*elideType=*/true);
    entry.constants.push_back({prefix + "." + attribute.getName().str(), text});
  }
}

static bool areEqual(const ArtefactCheck &a, const ArtefactCheck &b) {
  return a.kind == b.kind && a.table == b.table && a.lens == b.lens &&
         a.rows == b.rows && a.cache == b.cache && a.cacheDim == b.cacheDim &&
         a.positions == b.positions && a.list == b.list && a.count == b.count &&
         a.inPages == b.inPages && a.pageSize == b.pageSize;
}

void Describer::addChecks(Operation *op) {
  PagedOperands paged = getPagedOperands(op);
  auto add = [&](const ArtefactCheck &check) {
    if (llvm::none_of(entry.checks, [&](const ArtefactCheck &other) {
          return areEqual(check, other);
        }))
      entry.checks.push_back(check);
  };
  // What the module itself fixes no caller can get wrong.
  if (paged.areConstant())
    return;
  // What was computed within the entry cannot be verified before it, but where
  // it was checked within it.
  bool isComplete = true;
  auto find = [&](const MaybeOperand &operand) -> std::optional<unsigned> {
    Value value = getUnchecked(operand.get());
    if (!value)
      return std::nullopt;
    std::optional<unsigned> argument = getArgument(function, value);
    isComplete &= argument.has_value();
    return argument;
  };

  std::optional<unsigned> table = find(paged.table), lens = find(paged.lens);
  std::optional<unsigned> rows = find(paged.rows);
  std::optional<unsigned> cache;
  unsigned cacheDim = 0;
  for (const NamedDims::Place &place : paged.numPages) {
    cache = getArgument(function, place.value);
    cacheDim = place.position;
    if (cache)
      break;
  }
  isComplete &= !paged.table || cache.has_value() || paged.numPages.empty();
  bool rowsKnown = !paged.rows || rows;
  if (table && lens && cache && rowsKnown)
    add(ArtefactCheck::getTable(*table, *lens, rows, *cache, cacheDim,
                                paged.pageSize));
  if (paged.positions) {
    std::optional<unsigned> argument = find(paged.positions);
    if (argument && table && cache && rowsKnown)
      add(ArtefactCheck::getPositions(*argument, *table, rows, *cache, cacheDim,
                                      paged.pageSize));
  }
  for (const PagedList &list : paged.lists) {
    std::optional<unsigned> argument = getArgument(function, list.list),
                            counted;
    Value count = list.count.get();
    // One that a check made says as much as the one that it was given.
    if (auto check = count ? count.getDefiningOp<CheckListOp>() : nullptr)
      count = check.getListCount();
    if (count)
      counted = getArgument(function, count);
    // A list that the entry makes itself is in range.
    if (argument && lens && (!count || counted))
      add(ArtefactCheck::getList(*argument, counted, *lens, list.inPages,
                                 paged.pageSize));
  }
  if (!isComplete && !paged.areChecked())
    op->emitWarning("checked mode cannot verify the page table, rows, lengths "
                    "or positions of this op: expected arguments of the entry, "
                    "got values that it computes");
}

FailureOr<ArtefactEntry> Describer::describe() {
  entry.name = function.getName().str();
  entry.symbol = getEntrySymbol(function);
  if (!llvm::hasSingleElement(function.getBody()))
    return refuse() << "expected one block, got "
                    << function.getBody().getBlocks().size();
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
    if (failed(describeValue(type, "argument " + Twine(i),
                             entry.arguments.emplace_back())))
      return failure();
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    if (failed(describeValue(type, "result " + Twine(i),
                             entry.results.emplace_back())))
      return failure();
  nameArguments();
  if (failed(describeSizes()))
    return failure();
  llvm::StringMap<unsigned> numOps;
  function.walk([&](Operation *op) {
    if (!isa<VashistaDialect>(op->getDialect()))
      return;
    addConstants(op, numOps);
    addChecks(op);
  });
  describeFaults();
  return std::move(entry);
}

FailureOr<ArtefactEntry> vashista::describeEntry(func::FuncOp function) {
  return Describer(function).describe();
}

//===----------------------------------------------------------------------===//
// What is written
//===----------------------------------------------------------------------===//

void vashista::protectArguments(func::FuncOp function) {
  llvm::SmallDenseSet<unsigned> destinations;
  for (Value result : function.getBody().front().getTerminator()->getOperands())
    if (std::optional<unsigned> argument = getArgument(function, result))
      destinations.insert(*argument);
  auto no = BoolAttr::get(function.getContext(), false);
  for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
    if (!destinations.contains(i))
      function.setArgAttr(
          i, bufferization::BufferizationDialect::kWritableAttrName, no);
}

/// Whether a kernel that exists only reads what it is given as an operand.
static bool isOnlyRead(gpu::LaunchFuncOp launch, OpOperand &operand) {
  auto kernel = SymbolTable::lookupNearestSymbolFrom<gpu::GPUFuncOp>(
      launch, launch.getKernelAttr());
  OperandRange given = launch.getKernelOperands();
  return kernel && !given.empty() &&
         operand.getOperandNumber() >= given.getBeginOperandIndex() &&
         kernel.getArgAttr(operand.getOperandNumber() -
                               given.getBeginOperandIndex(),
                           LLVM::LLVMDialect::getReadonlyAttrName());
}

/// Whether anything writes to a buffer or to a view of it. What is not known
/// writes.
static bool isWritten(Value buffer) {
  for (OpOperand &use : buffer.getUses()) {
    Operation *user = use.getOwner();
    // A prefetch declares no effects.
    if (user->hasTrait<OpTrait::ReturnLike>() || isa<memref::PrefetchOp>(user))
      continue;
    // Of a kernel it is its argument that says so.
    if (auto launch = dyn_cast<gpu::LaunchFuncOp>(user)) {
      if (isOnlyRead(launch, use))
        continue;
      return true;
    }
    auto effects = getEffectsRecursively(user);
    if (!effects)
      return true;
    for (const MemoryEffects::EffectInstance &effect : *effects)
      if (isa<MemoryEffects::Write>(effect.getEffect()) &&
          (!effect.getValue() || effect.getValue() == buffer))
        return true;
    // An op with regions may hand the buffer to a block argument.
    if (user->getNumRegions() != 0 && !user->getResults().empty())
      return true;
    for (Value result : user->getResults())
      if (isa<BaseMemRefType>(result.getType()) && isWritten(result))
        return true;
  }
  return false;
}

void vashista::returnThroughArguments(func::FuncOp function,
                                      ArtefactEntry &entry) {
  for (auto [argument, value] :
       llvm::zip(function.getArguments(), entry.arguments))
    value.written = isWritten(argument);

  Block &body = function.getBody().front();
  Operation *end = body.getTerminator();
  OpBuilder b(end);
  std::vector<ArtefactValue> results;
  for (auto [i, value] : llvm::enumerate(entry.results)) {
    // An earlier result may have replaced it.
    Value returned = end->getOperand(i), buffer = returned;
    while (auto cast = buffer.getDefiningOp<memref::CastOp>())
      buffer = cast.getSource();
    auto argument = dyn_cast<BlockArgument>(buffer);
    bool isArgument =
        argument && argument.getArgNumber() < entry.arguments.size();
    if (isArgument && entry.arguments[argument.getArgNumber()].written)
      continue;
    results.push_back(std::move(value));
    unsigned number = function.getNumArguments();
    auto type = cast<MemRefType>(returned.getType());
    (void)function.insertArgument(
        number, MemRefType::get(type.getShape(), type.getElementType()), {},
        returned.getLoc());
    Value destination = body.getArgument(number);
    auto alloc = buffer.getDefiningOp<memref::AllocOp>();
    if (alloc && alloc->getBlock() == &body &&
        alloc.getType() == destination.getType()) {
      alloc.replaceAllUsesWith(destination);
      alloc.erase();
    } else {
      memref::CopyOp::create(b, end->getLoc(), buffer, destination);
    }
  }
  entry.results = std::move(results);
  func::ReturnOp::create(b, end->getLoc());
  end->erase();
  function.setFunctionType(b.getFunctionType(function.getArgumentTypes(), {}));
  function.removeResAttrsAttr();
}
