//===- PageKept.h - What is kept of a page, from its tokens -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_PAGEKEPT_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_PAGEKEPT_H

#include "KeySketch.h"
#include "SketchMoments.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// Head dimension of a cache in any layout.
inline int64_t getHeadDim(mlir::Value cache) {
  return llvm::cast<mlir::MemRefType>(cache.getType()).getDimSize(3);
}

/// Tokens of its pages.
inline int64_t getPageSize(mlir::Value cache, Layout layout) {
  return llvm::cast<mlir::MemRefType>(cache.getType())
      .getDimSize(layout == Layout::hnd ? 2 : 1);
}
/// Indices of an element.
inline llvm::SmallVector<mlir::Value>
getCacheIndices(Layout layout, mlir::Value page, mlir::Value kvHead,
                mlir::Value token, mlir::Value channel) {
  if (layout == Layout::hnd)
    return {page, kvHead, token, channel};
  return {page, token, kvHead, channel};
}

/// The summary, the norms and the sketch of pages, in buffers beside their
/// cache.
class PageKept {
public:
  using Value = mlir::Value;

  /// Of a `summarize` or an `append` on buffers.
  template <typename OpTy>
  PageKept(OpTy op, KernelBuilder &b)
      : b(b), keys(op.getKCache()), values(op.getVCache()),
        norms(op.getNorms()), summary(op.getSummaryAttr()),
        parts(op.getSummaryParts()), layout(op.getLayout()) {
    if (op.getSketchAttr())
      sketch.emplace(b, op.getSketchAttr(), op.getSketchParts(),
                     getHeadDim(keys));
    if (op.getMoments())
      moments.emplace(b, sketch->getFormat(), op.getMoments());
  }

  /// Why there is no kernel for an op, or an empty string.
  template <typename OpTy> static llvm::StringRef getObstacle(OpTy op) {
    return getObstacle(op.getKCache(), op.getVCache(), op.getSummaryAttr(),
                       op.getSummaryParts());
  }

  /// Begins a task, whose scratch lives as long as what encloses it.
  void begin();

  /// Recomputes what is kept of a physical page and KV head, from its tokens 0
  /// to count - 1, of which those from `firstNew` on were not there before;
  /// count is at least 1.
  void emit(Value page, Value kvHead, Value count, Value firstNew);

  /// Begins a task that appends, after `begin`.
  void beginAppend() {
    if (moments)
      moments->beginAppend();
  }
  /// Of `append`: what is written of the page joins the second moments of a
  /// sequence, as its first tokens if at `position` 0. With a shared centre
  /// that is all tokens of the page, whose sketches have changed.
  void appendToMoments(Value sequence, Value position);
  /// Of `summarize`: the second moments of a sequence of which `length` tokens
  /// are seen and sketched; a block of their rows.
  void emitMoments(Value table, Value sequence, Value kvHead, Value length,
                   Value block);
  /// Blocks of rows, 0 where there are no moments.
  int64_t getNumMomentBlocks() const {
    return moments ? moments->getNumBlocks() : 0;
  }

  int64_t getPageSize() const { return vashista::getPageSize(keys, layout); }
  /// Indices of an element of a cache.
  llvm::SmallVector<Value> indices(Value page, Value kvHead, Value token,
                                   Value channel) const {
    return getCacheIndices(layout, page, kvHead, token, channel);
  }

private:
  static llvm::StringRef getObstacle(Value keys, Value values,
                                     SummaryAttr summary,
                                     mlir::ValueRange parts);
  void emitSummary();
  void emitSketch(Value firstNew);
  /// Squares of the residual of a token of the page, and of its room.
  std::pair<Value, Value> emitResidual(Value token, Value row);
  /// The mean of the page's keys, of which it stores the nearest in `to`.
  Value emitMean(Value to, Value channel, int64_t lanes);
  /// The number of tokens, in every element.
  Value getCount(int64_t lanes);
  /// The largest norm of a cache's tokens, or distance from a centre, as a
  /// bound.
  Value getLargestNorm(Value cache, Value centre = {});
  /// Loops over the page's tokens at a block of channels.
  llvm::SmallVector<Value> reduceKeys(
      Value channel, int64_t lanes, mlir::ValueRange init,
      llvm::function_ref<llvm::SmallVector<Value>(Value, mlir::ValueRange)>
          body);
  /// Stores a vector of f32, rounded to nearest, of a part `[N, Hkv, D]`.
  void storePart(Value part, Value vector, Value channel);

  KernelBuilder &b;
  Value keys, values, norms;
  SummaryAttr summary;
  llvm::SmallVector<Value> parts;
  Layout layout;
  std::optional<KeySketch> sketch;
  std::optional<SketchMoments> moments;

  // Of the page that is being emitted.
  Value page, kvHead, count;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_PAGEKEPT_H
