//===- Sketch.h - Which key sketch a step scans ------------------*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_SKETCH_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_SKETCH_H

#include "Error.h"

#include <cstdint>
#include <vector>

namespace vashista::bench {

using tool::Error;

/// `#vashista.sketch` in its own words, and the types of its tensors.
struct Sketch {
  int64_t bits = 0; // 0: none
  int64_t group = 0;
  std::string centre = "none", rotation = "none", norm = "group";
  std::string scaleType, normType; // empty: not given, until completed

  explicit operator bool() const { return bits > 0; }
  bool isCentred() const { return centre == "page"; }
  bool hasTokenNorms() const { return norm == "token"; }

  int64_t getNumGroups(int64_t dim) const { return (dim + group - 1) / group; }
  int64_t getCodeBytes(int64_t dim) const {
    return getNumGroups(dim) * group * bits / 8;
  }
  /// Of one token and KV head, without its share of a centre.
  int64_t getTokenBytes(int64_t dim) const;

  /// The attribute's parameters, as it prints them.
  std::string text() const;
  /// From its parameters, with or without what the attribute has around them.
  /// The types stay as they are.
  Error parse(const std::string &text);
};

/// Fails unless the word is among those that `name` takes.
Error parseWord(const std::string &name, const std::string &word,
                const std::vector<const char *> &words, std::string &value);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_SKETCH_H
