//===- OpShapes.h - What each dimension of each op is -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For each op, once: the named dimensions of its operands and of its results.
// Templates, because inference has adaptors where verifiers have ops.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_DIALECT_VASHISTA_IR_OPSHAPES_H
#define VASHISTA_LIB_DIALECT_VASHISTA_IR_OPSHAPES_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include <limits>
#include <string>

namespace vashista::shapes {

using namespace mlir;

//===----------------------------------------------------------------------===//
// Dimensions of shared operands
//===----------------------------------------------------------------------===//

/// The rows of the page table: sequences where rows name theirs, else rows.
template <typename T> Dim getTableRows(T op) {
  return op.getRowToSeq() ? Dim::seqs : Dim::rows;
}

template <typename T> void bindTable(T op, NamedDims &dims) {
  dims.bind("page_table", op.getPageTable(), {getTableRows(op), Dim::seqPages});
  dims.bind("row_to_seq", op.getRowToSeq(), {Dim::rows});
}

template <typename T> void bindTableAndLengths(T op, NamedDims &dims) {
  dims.bind("seq_lens", op.getSeqLens(), {Dim::rows});
  bindTable(op, dims);
}

template <typename T> void bindCaches(T op, NamedDims &dims) {
  dims.bind("k_cache", op.getKCache(),
            getCacheDims(op.getLayout(), Dim::keyDim));
  dims.bind("v_cache", op.getVCache(),
            getCacheDims(op.getLayout(), Dim::valueDim));
}

template <typename T> void bindWithin(T op, NamedDims &dims) {
  dims.bind("pages", op.getPages(), {Dim::rows, Dim::kvHeads, Dim::listPages});
  dims.bind("page_count", op.getPageCount(), {Dim::rows, Dim::kvHeads});
}

template <typename T> void bindChain(T op, NamedDims &dims) {
  dims.bind("taken", op.getTaken(), {Dim::rows, Dim::kvHeads, Dim::taken});
  dims.bind("outside", op.getOutside(), {Dim::rows, Dim::heads});
  dims.bind("attended", op.getAttended(), {Dim::rows, Dim::heads});
}

/// Binds the tensors of a key source. What a sketch's attribute implies for its
/// codes and groups is fixed first, so that a tensor that differs is at fault.
inline void bindSource(KeySource source, ValueRange parts, NamedDims &dims) {
  if (!source)
    return;
  SmallVector<SourcePart> specs = source.getParts();
  if (auto sketch = dyn_cast<SketchAttr>(source)) {
    // The head dimension as the direction, a cache or the centre says; else
    // the padded one, as the number of groups says.
    NamedDims own;
    for (auto [spec, value] : llvm::zip(specs, parts))
      own.bind(spec.name, value, spec.dims);
    int64_t keyDim = dims.size(Dim::keyDim);
    if (ShapedType::isDynamic(keyDim))
      keyDim = own.size(Dim::keyDim);
    if (ShapedType::isDynamic(keyDim) &&
        !ShapedType::isDynamic(own.size(Dim::groups)))
      keyDim = own.size(Dim::groups) * sketch.getGroup();
    // Beyond this no head dimension is meant, and products overflow.
    if (keyDim > 0 && keyDim <= std::numeric_limits<int32_t>::max()) {
      dims.fix("sketch", Dim::codeBytes, sketch.getCodeBytes(keyDim));
      dims.fix("sketch", Dim::groups, sketch.getNumGroups(keyDim));
    }
  }
  for (auto [spec, value] : llvm::zip(specs, parts))
    dims.bind(spec.name, value, spec.dims);
}

/// Binds the second moments of a sketch, which are of sequences.
template <typename T>
void bindMoments(T op, SketchAttr sketch, NamedDims &dims) {
  int64_t keyDim = dims.size(Dim::keyDim);
  if (sketch && keyDim > 0 && keyDim <= std::numeric_limits<int32_t>::max())
    dims.fix("sketch", Dim::channels,
             sketch.getNumGroups(keyDim) * sketch.getGroup());
  dims.bind("moments", op.getMoments(),
            {getTableRows(op), Dim::kvHeads, Dim::channels, Dim::channels});
}

/// Binds everything that is kept beside a cache.
template <typename T> void bindKept(T op, NamedDims &dims) {
  bindSource(op.getSummaryAttr(), op.getSummaryParts(), dims);
  dims.fix("key norm, value norm", Dim::normKinds, 2);
  dims.bind("norms", op.getNorms(),
            {Dim::physPages, Dim::kvHeads, Dim::normKinds});
  bindSource(op.getSketchAttr(), op.getSketchParts(), dims);
  bindMoments(op, op.getSketchAttr(), dims);
}

//===----------------------------------------------------------------------===//
// Shapes of each op: what its operands declare, what its results are
//===----------------------------------------------------------------------===//

struct ScoreShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    bindSource(op.getFrom(), op.getParts(), dims);
    bindTableAndLengths(op, dims);
    bindWithin(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    Extent slots = op.getFrom() && op.getFrom().scoresPages()
                       ? Extent(Dim::seqPages)
                   : op.getPages() ? Extent(Dim::listPages, Dim::pageSize)
                                   : Extent(Dim::seqPages, Dim::pageSize);
    ResultSpec scores = {{Dim::rows, Dim::heads, slots}, b.getF32Type()};
    return {scores, scores};
  }
};

struct MomentShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    dims.bind("seq_lens", op.getSeqLens(), {Dim::rows});
    dims.bind("row_to_seq", op.getRowToSeq(), {Dim::rows});
    bindMoments(op, op.getSketch(), dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::heads}, b.getF32Type()}};
  }
};

/// The list, its count and the tail: the results of every picking op.
inline SmallVector<ResultSpec> getPickResults(Extent budget, Builder b) {
  return {{{Dim::rows, Dim::kvHeads, budget}, b.getI32Type()},
          {{Dim::rows, Dim::kvHeads}, b.getI32Type()},
          {{Dim::rows, Dim::heads}, b.getF32Type()}};
}

struct PickShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.fix("kv_heads", Dim::kvHeads, op.getKvHeads());
    dims.bind("scores", op.getScores(), {Dim::rows, Dim::heads, Dim::slots});
    dims.bind("bounds", op.getBounds(), {Dim::rows, Dim::heads, Dim::slots});
    dims.bind("seq_lens", op.getSeqLens(), {Dim::rows});
    bindWithin(op, dims);
    bindChain(op, dims);
    dims.bind("moment", op.getMoment(), {Dim::rows, Dim::heads});
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getPickResults(static_cast<int64_t>(op.getBudget()), b);
  }
};

struct RouteShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    bindSource(op.getFrom(), op.getParts(), dims);
    bindTableAndLengths(op, dims);
    bindChain(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getPickResults(static_cast<int64_t>(op.getBudget()), b);
  }
};

struct SelectShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    RouteShape::bind(op, dims);
    bindWithin(op, dims);
    bindMoments(op, llvm::dyn_cast_or_null<SketchAttr>(op.getFrom()), dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getPickResults(static_cast<int64_t>(op.getBudget()), b);
  }
};

/// Binds operands each of which has the dimensions `shape`, or is a stack of
/// such with a dimension of its own before them.
inline void bindStacks(const std::string &name, ValueRange values,
                       ArrayRef<Dim> shape, NamedDims &dims) {
  for (auto [i, value] : llvm::enumerate(values)) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    bool isStack =
        type && type.getRank() == static_cast<int64_t>(shape.size()) + 1;
    dims.bind(name + " #" + std::to_string(i), value.getType(), shape, value,
              isStack);
  }
}

struct MergeShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    bindStacks("outputs", op.getOutputs(),
               {Dim::rows, Dim::heads, Dim::valueDim}, dims);
    bindStacks("lses", op.getLses(), {Dim::rows, Dim::heads}, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::heads, Dim::valueDim}, b.getF32Type()},
            {{Dim::rows, Dim::heads}, b.getF32Type()}};
  }
};

struct MergeTailsShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    bindStacks("tails", op.getTails(), {Dim::rows, Dim::heads}, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::heads}, b.getF32Type()}};
  }
};

struct CertifyShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("direction", op.getDirection(),
              {Dim::rows, Dim::heads, Dim::keyDim});
    dims.bind("o", op.getO(), {Dim::rows, Dim::heads, Dim::valueDim});
    dims.bind("lse", op.getLse(), {Dim::rows, Dim::heads});
    dims.bind("tail", op.getTail(), {Dim::rows, Dim::heads});
    dims.bind("gap", op.getGap(), {Dim::rows, Dim::heads});
    dims.fix("key norm, value norm", Dim::normKinds, 2);
    dims.bind("norms", op.getNorms(),
              {Dim::physPages, Dim::kvHeads, Dim::normKinds});
    bindTableAndLengths(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    ResultSpec perHead = {{Dim::rows, Dim::heads}, b.getF32Type()};
    // tau, error and, where a solver's gap is known, that over all keys.
    return SmallVector<ResultSpec>(op.getGap() ? 3 : 2, perHead);
  }
};

struct FallbackShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("query", op.getQuery(), {Dim::rows, Dim::heads, Dim::keyDim});
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    dims.bind("o", op.getO(), {Dim::rows, Dim::heads, Dim::valueDim});
    dims.bind("lse", op.getLse(), {Dim::rows, Dim::heads});
    dims.bind("measure", op.getMeasure(), {Dim::rows, Dim::heads});
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::heads, Dim::valueDim}, b.getF32Type()},
            {{Dim::rows, Dim::heads}, b.getF32Type()},
            {{Dim::rows, Dim::kvHeads}, b.getI1Type()}};
  }
};

struct AttentionShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("query", op.getQuery(), {Dim::rows, Dim::heads, Dim::keyDim});
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    bindKept(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    ResultSpec perHead = {{Dim::rows, Dim::heads}, b.getF32Type()};
    return {{{Dim::rows, Dim::heads, Dim::valueDim}, b.getF32Type()},
            perHead,
            perHead,
            perHead,
            {{Dim::rows, Dim::kvHeads}, b.getI32Type()},
            {{Dim::rows, Dim::kvHeads}, b.getI1Type()}};
  }
};

/// What a check says of its rows: what, place, got, limit.
inline ResultSpec getFaults(Builder b) {
  return {{Dim::rows, 4}, b.getI32Type()};
}

/// What was given per row, emptied, with the rows' sequences if they are named.
template <typename T> SmallVector<ResultSpec> getCheckedRows(T op, Builder b) {
  SmallVector<ResultSpec> results(op.getRowToSeq() ? 2 : 1,
                                  {{Dim::rows}, b.getI32Type()});
  results.push_back(getFaults(b));
  return results;
}

struct CheckTableShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    bindTableAndLengths(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getCheckedRows(op, b);
  }
};

struct CheckPositionsShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("positions", op.getPositions(), {Dim::rows});
    bindTable(op, dims);
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return getCheckedRows(op, b);
  }
};

struct CheckListShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    bool pages = op.getUnit() == SlotUnit::pages;
    dims.bind(
        "list", op.getList(),
        {Dim::rows, Dim::kvHeads, pages ? Dim::listPages : Dim::listTokens});
    dims.bind("list_count", op.getListCount(), {Dim::rows, Dim::kvHeads});
    dims.bind("seq_lens", op.getSeqLens(), {Dim::rows});
  }
  template <typename T>
  static SmallVector<ResultSpec> results(T op, Builder b) {
    return {{{Dim::rows, Dim::kvHeads}, b.getI32Type()}, getFaults(b)};
  }
};

/// Destination ops take their result types from their destinations.
struct SummarizeShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    bindKept(op, dims);
  }
};

struct AppendShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("key", op.getKey(), {Dim::rows, Dim::kvHeads, Dim::keyDim});
    dims.bind("value", op.getValue(), {Dim::rows, Dim::kvHeads, Dim::valueDim});
    dims.bind("positions", op.getPositions(), {Dim::rows});
    bindTable(op, dims);
    bindCaches(op, dims);
    bindKept(op, dims);
  }
};

struct AttendShape {
  template <typename T> static void bind(T op, NamedDims &dims) {
    dims.bind("query", op.getQuery(), {Dim::rows, Dim::heads, Dim::keyDim});
    bindCaches(op, dims);
    bindTableAndLengths(op, dims);
    bindWithin(op, dims);
    dims.bind("tokens", op.getTokens(),
              {Dim::rows, Dim::kvHeads, Dim::listTokens});
    dims.bind("token_count", op.getTokenCount(), {Dim::rows, Dim::kvHeads});
    for (auto [out, name, shape] : llvm::zip(op.getOuts(), kNames, kDims))
      dims.bind(name, out, shape);
  }
  static inline const StringRef kNames[] = {"o", "lse", "direction", "gap"};
  static inline const SmallVector<Dim, 3> kDims[] = {
      {Dim::rows, Dim::heads, Dim::valueDim},
      {Dim::rows, Dim::heads},
      {Dim::rows, Dim::heads, Dim::keyDim},
      {Dim::rows, Dim::heads}};
};

template <typename Shape, typename T> NamedDims getDims(T op) {
  NamedDims dims;
  Shape::bind(op, dims);
  return dims;
}

} // namespace vashista::shapes

#endif // VASHISTA_LIB_DIALECT_VASHISTA_IR_OPSHAPES_H
