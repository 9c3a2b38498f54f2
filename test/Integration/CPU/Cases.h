//===- Cases.h - Random batches over a paged cache -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_CASES_H
#define VASHISTA_TEST_INTEGRATION_CPU_CASES_H

#include "Entry.h"
#include "Reference.h"

#include <algorithm>
#include <limits>

namespace vashista::test {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// A solver of the projection objective; its epsilon is that of the logit, 0
/// for Frank-Wolfe.
struct ProjectionSolver {
  enum class Kind { eg, plain, away, pairwise } kind = Kind::eg;
  int64_t iterations = 1;
  double tolerance = 0;
  bool hasEntropy() const { return kind == Kind::eg; }
};

/// The sizes and modes that every op over a paged cache has, static in a
/// compiled module.
struct Config {
  ElementType type = ElementType::f32;
  int64_t keyDim = 64, valueDim = 64, group = 1, kvHeads = 1, pageSize = 16;
  bool nhd = false, hasRows = false;
  Logit logit;
  /// None for softmax.
  std::optional<ProjectionSolver> projection;
  CompileOptions options;

  int64_t getNumHeads() const { return group * kvHeads; }
  Shape getCacheShape(int64_t pages, int64_t dim) const {
    return nhd ? Shape{pages, pageSize, kvHeads, dim}
               : Shape{pages, kvHeads, pageSize, dim};
  }
  int64_t getNumPages(int64_t tokens) const {
    return (tokens + pageSize - 1) / pageSize;
  }
  /// `bf16 D=64 ...`
  std::string describe() const;
  /// ` scale 0.125 soft_cap 30.0`, and ` epsilon 2.0` where no solver has it.
  std::string getLogitText(bool withEpsilon) const;
  /// ` solver <softmax, epsilon = 2.0>` and the layout.
  std::string getSolverText() const;
  std::string getLayoutText() const { return nhd ? " layout nhd" : ""; }
};

Config makeConfig(Random &random);
/// Gives a configuration a projection to solve.
void makeProjection(Config &config, Random &random);

/// Queries, and sequences in a paged cache.
struct Batch {
  Array<float> query, keys, values; // of numbers of the storage type
  Array<int32_t> table, lens, rows; // rows: only where the config has them
  int64_t getNumRows() const { return lens.shape[0]; }
  Paging getPaging(const Config &config) const {
    return {&table, &lens, config.hasRows ? &rows : nullptr, config.pageSize};
  }
};

/// What data is like.
enum class Flavour { normal, clustered, needle, ties, extreme };

Batch makeBatch(const Config &config, Random &random);
/// Fills `array` with normal numbers of a storage type.
void fill(Array<float> &array, ElementType type, Random &random, float scale);

/// Which slots of the cache [N, Hkv, S] a row sees.
Array<char> getVisible(const Config &config, const Batch &batch);
/// The same with other contents, such as NaN, wherever nothing is visible and
/// where the table must not be read.
Batch poison(const Config &config, const Batch &batch,
             const Array<char> &visible, Random &random);

template <typename T> Array<T> takeRow(const Array<T> &array, int64_t row) {
  if (array.data.empty())
    return array;
  Shape shape = array.shape;
  shape[0] = 1;
  Array<T> result(shape);
  size_t size = result.data.size();
  std::copy_n(array.data.begin() + row * size, size, result.data.begin());
  return result;
}
/// One row of a batch alone.
Batch takeRow(const Config &config, const Batch &batch, int64_t row);

/// Ids and how many of them to read [R, Hkv].
struct List {
  Array<int32_t> ids, count;
};
/// Lists of ids of [0, size) and, now and then, beyond: ascending, with entries
/// to skip. Without a count what follows the list is padding.
List makeList(const Config &config, int64_t rows, int64_t size, bool hasCount,
              Random &random);
/// Other entries behind the count.
void poisonList(List &list, Random &random);

/// Operands that many ops have, in the order in which ops have them.
std::string useTable(Entry &entry, const Config &config);
void setTable(Operands &operands, const Batch &batch);
std::string useCache(Entry &entry, const Config &config);
void setBatch(Operands &operands, const Config &config, const Batch &batch);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_CASES_H
