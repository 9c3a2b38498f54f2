//===- KeySketch.h - Writing the sketch of keys -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KEYSKETCH_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KEYSKETCH_H

#include "SketchQuantiser.h"

namespace vashista {

/// Codes, scales and residual norms of keys, in buffers beside their cache.
class KeySketch {
public:
  using Value = mlir::Value;

  KeySketch(KernelBuilder &b, SketchAttr sketch, mlir::ValueRange parts,
            int64_t keyDim)
      : b(b), format(sketch, keyDim), parts(parts),
        quantiser(b, format, mlir::getElementTypeOrSelf(parts[1]),
                  mlir::getElementTypeOrSelf(parts[2])) {}

  /// Allocates the scratch of a task.
  void begin();
  /// Whether tokens share what is written of each: if one changes, all do.
  bool isShared() const { return format.centred; }
  /// Where the page's mean is kept; only if shared.
  Value getCentre() const { return parts[3]; }

  /// Writes the sketch of one token's key, whose channels `loadKey` yields in
  /// f32.
  void emit(Value page, Value kvHead, Value token,
            llvm::function_ref<Value(Value channel, int64_t lanes)> loadKey);

  /// What a written sketch of a token lacks of its key goes to a row of
  /// `residuals`, [.., paddedDim] f64. Yields the squares of its norm and of
  /// the room for rounding (SketchQuantiser.h). Of a key without a finite
  /// residual norm both are 0, and the row stays as it is.
  std::pair<Value, Value>
  emitResidual(Value page, Value kvHead, Value token,
               llvm::function_ref<Value(Value channel, int64_t lanes)> loadKey,
               Value residuals, Value row);
  const SketchFormat &getFormat() const { return format; }

private:
  /// Loads the token's key, centred and padded; yields the square of its norm.
  Value
  loadCentred(llvm::function_ref<Value(Value channel, int64_t lanes)> loadKey);
  /// The square of the norm of the page's centre.
  Value getCentreSquare();
  /// Whether all residual norms of the token are finite.
  Value isBounded();
  /// The codes of the token, as they are stored.
  void unpack();
  /// Stores what the unpacked codes lack of the loaded key; yields the squares
  /// of the norms of what is decoded and of that.
  std::pair<Value, Value> emitLeft(Value residuals, Value row);
  /// A vector of the key's f64 channels.
  Value loadKey(Value channel);
  /// Chooses and stores a group's scale and codes; yields the squares of the
  /// scale, in f64, and of what is left.
  std::pair<Value, Value> emitGroup(Value number);
  void emitUnknown();
  void pack();
  /// Of a group, or of the token.
  void storeNorm(Value norm, Value number);

  KernelBuilder &b;
  SketchFormat format;
  llvm::SmallVector<Value> parts;
  SketchQuantiser quantiser;

  Value key;   // [paddedDim] f64: centred and rotated
  Value codes; // [paddedDim] i8
  // Of the token that is being emitted.
  Value page, kvHead, token;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_KEYSKETCH_H
