//===- NpyFile.h - Reads and writes .npy files ------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_NPYFILE_H
#define VASHISTA_TOOLS_COMMON_NPYFILE_H

#include "Convert.h"

#include <string>
#include <vector>

namespace vashista::tool {

using Shape = std::vector<int64_t>;

/// "[2, 3]"
std::string shapeText(const Shape &shape);

struct NpyHeader {
  FileType type;
  bool isFortranOrder = false;
  Shape shape;
  /// Elements, whose bytes fill the file from `dataOffset` on.
  uint64_t count = 0;
  uint64_t dataOffset = 0;
};

/// Bytes of a file that hold any header that is taken.
constexpr size_t maxNpyHeaderBytes = 12 + 65536;

/// Parses the header of a file of `fileSize` bytes, of which the first `size`
/// are given: all of them, or at least maxNpyHeaderBytes.
Error parseNpyHeader(const char *bytes, size_t size, uint64_t fileSize,
                     NpyHeader &header);

/// A file that is open for reading. Messages do not name it.
class NpyFile {
public:
  NpyFile() = default;
  ~NpyFile();
  NpyFile(const NpyFile &) = delete;
  NpyFile &operator=(const NpyFile &) = delete;

  Error open(const std::string &path);
  const NpyHeader &header() const { return npy; }

  /// Reads all elements, as those of another type and in row-major order, into
  /// memory that has room for them.
  Error read(DLDataType to, void *destination);

private:
  int file = -1;
  NpyHeader npy;
};

/// Writes row-major elements into an open file; f16 and bf16 become f32, eight
/// bits of floating point stay bits.
Error writeNpy(int file, DLDataType type, const Shape &shape, const void *data);

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_NPYFILE_H
