//===- Convert.h - Element types and their conversion -----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_CONVERT_H
#define VASHISTA_TOOLS_COMMON_CONVERT_H

#include "Error.h"

#include "dlpack/dlpack.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace vashista::tool {

/// The element type of a .npy file.
struct FileType {
  enum class Kind { boolean, integer, natural, floating, raw };

  Kind kind = Kind::raw;
  unsigned bytes = 1;
  /// Of the other byte order than this machine's.
  bool swapped = false;
  /// As the file says it: "<f4".
  std::string name;
};

/// "f32", "bf16", "f8E4M3FN", "bool"
std::string nameOf(DLDataType type);

/// Bytes of an element; 0 for types that this tool does not know.
unsigned bytesOf(DLDataType type);

/// One of the eight-bit floating-point types, which travel as raw bits.
bool isFloat8(DLDataType type);

/// Fails unless elements of a file become elements of the type by conversion
/// within their kind, or are its raw bits.
Error checkConversion(const FileType &from, DLDataType to);

/// Converts elements of types that checkConversion() takes, which it may change
/// where they are. Floating-point numbers are rounded to nearest, ties to even,
/// once; NaNs stay NaNs. Integers must fit, and booleans be 0 or 1: returns the
/// number of elements before the first that is not so.
size_t convert(const FileType &from, void *source, DLDataType to,
               void *destination, size_t count);

/// An element for a message: "300".
std::string elementText(const FileType &type, const void *element);

/// The f32 of the same value.
float widenF16(uint16_t bits);
float widenBF16(uint16_t bits);

/// Rounds to nearest, ties to even.
uint16_t narrowToF16(double value);
uint16_t narrowToBF16(double value);

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_CONVERT_H
