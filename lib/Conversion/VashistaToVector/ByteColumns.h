//===- ByteColumns.h - Bytes of a tile's rows, token by token -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_BYTECOLUMNS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_BYTECOLUMNS_H

#include "TileWalk.h"

namespace vashista {

/// The rows of a tile, transposed: a vector of 32-bit units holds one unit of
/// each of several tokens. What is packed in rows is then taken apart by shifts
/// that are the same for all tokens, and sums over a row need no reduction of a
/// vector.
class ByteColumns {
public:
  using Value = mlir::Value;

  /// Rows along the last dimension of a buffer of bytes, f8 or f16; of rank 3
  /// if a row is one element.
  ByteColumns(KernelBuilder &b, TileWalk &walk, Value rows);

  /// Bytes of a unit: 4, or fewer where rows are no whole number of such.
  int64_t getUnit() const { return unit; }

  /// Allocates the scratch of a task.
  void begin();
  /// Loads the rows of the tile, of which those past the last repeat it.
  void load();
  /// Units of the tokens from `token` on: a vector of i32.
  Value get(Value number, Value token);
  /// A number of the element type, at a static position in a row, as f32; f8 as
  /// `widenF8` does.
  Value getFloat(int64_t position, Value token);
  /// A byte of a row.
  Value getByte(int64_t position, Value token);

private:
  void askAhead(Value at);
  /// Numbers of `count` units of a row, from `first` on, as i32.
  Value loadUnits(Value at, int64_t first, int64_t count);
  void loadBlock(Value at, int64_t first, int64_t count);
  mlir::VectorType ints(int64_t size) {
    return mlir::VectorType::get({size}, b.getI32Type());
  }

  KernelBuilder &b;
  TileWalk &walk;
  Value rows;
  mlir::Type element;
  int64_t elementBytes, unit, numUnits;

  Value columns; // [numUnits, kTile] i32
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_BYTECOLUMNS_H
