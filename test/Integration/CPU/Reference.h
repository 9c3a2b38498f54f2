//===- Reference.h - The ops by their definition, without MLIR -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What the ops compute, from their documentation alone: loops over arrays, in
// the arithmetic T. With T = double it is the reference; with T = float it is
// the naive program whose error a kernel's error is measured against. Inputs
// are f32 arrays that hold numbers of the storage type.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_REFERENCE_H
#define VASHISTA_TEST_INTEGRATION_CPU_REFERENCE_H

#include "Array.h"

#include <functional>
#include <optional>
#include <utility>

namespace vashista::test {

/// `x = cap(scale * <w, k>) / epsilon`
struct Logit {
  float scale = 1.0f;
  std::optional<float> softCap;
  double epsilon = 1.0;
};

/// Operands that name tokens of a paged cache.
struct Paging {
  const Array<int32_t> *pageTable = nullptr; // [B, M]
  const Array<int32_t> *seqLens = nullptr;   // [R]
  const Array<int32_t> *rowToSeq = nullptr;  // [R] or none
  int64_t pageSize = 0;

  int64_t getSequence(int64_t row) const {
    return rowToSeq ? (*rowToSeq)(row) : row;
  }
  int64_t getPhysicalPage(int64_t row, int64_t position) const {
    return (*pageTable)(getSequence(row), position / pageSize);
  }
};

/// A K or V cache; `nhd` is [N, S, Hkv, D] rather than [N, Hkv, S, D].
struct Cache {
  const Array<float> *array = nullptr;
  bool nhd = false;

  int64_t getNumHeads() const { return array->shape[nhd ? 2 : 1]; }
  int64_t getPageSize() const { return array->shape[nhd ? 1 : 2]; }
  int64_t getDim() const { return array->shape[3]; }
  size_t getOffset(int64_t page, int64_t head, int64_t slot) const {
    return nhd ? array->offset(page, slot, head, 0)
               : array->offset(page, head, slot, 0);
  }
  const float *get(int64_t page, int64_t head, int64_t slot) const {
    return &array->data[getOffset(page, head, slot)];
  }
};

/// A state `(o, lse)`: [R, H, Dv] and [R, H].
template <typename T> struct State {
  Array<T> o, lse;
  /// The identity of merging.
  static State empty(int64_t rows, int64_t heads, int64_t valueDim);
};

struct AttendInputs {
  const Array<float> *query = nullptr; // [R, H, D]
  Cache keys, values;
  Paging paging;
  // At most one list: logical pages [R, Hkv, P] or tokens [R, Hkv, C].
  const Array<int32_t> *pages = nullptr, *tokens = nullptr;
  const Array<int32_t> *count = nullptr; // [R, Hkv] or none
  std::optional<std::pair<int64_t, int64_t>> range;
  Logit logit;
};

/// Calls `use(position)` for each token that a row attends to, in the order of
/// the list.
void forEachToken(const AttendInputs &inputs, int64_t row, int64_t kvHead,
                  const std::function<void(int64_t)> &use);

/// Merges the attention over the inputs' tokens into a state.
template <typename T> void attend(const AttendInputs &inputs, State<T> &state);

/// Joins states of one shape.
template <typename T> State<T> merge(const std::vector<State<T>> &states);

/// Joins tails: log sum exp; +inf where any is NaN.
double mergeTails(const std::vector<float> &tails);

enum class Source { mean, meanStd, box, ball, keys };

struct ScoreInputs {
  const Array<float> *direction = nullptr; // [R, H, D]
  Source source = Source::keys;
  /// Mean, lo or centre [N, Hkv, D]; std or hi [N, Hkv, D]; radius [N, Hkv].
  const Array<float> *first = nullptr, *second = nullptr;
  Cache keys; // of Source::keys
  Paging paging;
  const Array<int32_t> *pages = nullptr;     // [R, Hkv, P] or none
  const Array<int32_t> *pageCount = nullptr; // [R, Hkv] or none
  Logit logit;
};

/// Scores and bounds [R, H, L]. Bounds are those of exact arithmetic: a kernel
/// must not be below.
template <typename T>
std::pair<Array<T>, Array<T>> score(const ScoreInputs &inputs);

struct PickInputs {
  const Array<float> *scores = nullptr, *bounds = nullptr; // [R, H, L]
  const Array<int32_t> *seqLens = nullptr;                 // [R]
  const Array<int32_t> *pages = nullptr;     // scored within [R, Hkv, P]
  const Array<int32_t> *pageCount = nullptr; // [R, Hkv] or none
  const Array<int32_t> *taken = nullptr;     // [R, Hkv, C'] or none
  const Array<float> *outside = nullptr;     // [R, H] or none
  const Array<float> *attended = nullptr;    // [R, H] or none
  bool ofPages = false;                      // a slot is a page
  int64_t budget = 0, numKvHeads = 1, pageSize = 1, sinks = 0, window = 0;
  /// The tolerance of `proving`; none for `top`.
  std::optional<float> tolerance;
};

/// A visible slot of a row and KV head that was not picked before.
struct OpenSlot {
  int64_t slot, id; // id: the logical page or token
  double numTokens;
  bool always; // a sink or in the window
};

std::vector<OpenSlot> getOpenSlots(const PickInputs &inputs, int64_t row,
                                   int64_t kvHead);

struct Picked {
  Array<int32_t> ids, count; // [R, Hkv, budget], [R, Hkv]
  Array<double> tail;        // [R, H]
  /// The rank value of every slot [R, Hkv, L]; -inf for slots that cannot be
  /// picked and where every head has NaN, +inf for sinks and window. Kernels
  /// may pick otherwise among slots whose values agree to rounding.
  Array<double> rank;
  /// Of `proving`: the slots that a proof needs [R, Hkv, L], and whether that
  /// hangs on less than `slack` of a sum [R, Hkv].
  Array<char> isNeeded, isClose;
};

Picked pick(const PickInputs &inputs, double slack = 0);

struct CertifyInputs {
  const Array<float> *direction = nullptr;              // [R, H, D]
  const Array<float> *o = nullptr, *lse = nullptr;      // the state
  const Array<float> *tail = nullptr, *norms = nullptr; // [R, H], [N, Hkv, 2]
  const Array<float> *gap = nullptr; // of a projection [R, H]
  Paging paging;
  Logit logit;
};

/// tau and error [R, H] of softmax attention.
std::pair<Array<double>, Array<double>> certify(const CertifyInputs &inputs);

struct CertifiedProjection {
  Array<double> tau, error, fullGap; // [R, H]
};

/// Of a projection with the inputs' gap; with no entropy where there is none,
/// whose logits are undivided.
CertifiedProjection certifyProjection(const CertifyInputs &inputs,
                                      bool hasEntropy);

/// Replaces the state of every flagged group by dense attention; the flags
/// [R, Hkv]. The inputs have no list.
template <typename T>
Array<int32_t> fallback(const AttendInputs &inputs, const Array<float> &measure,
                        float limit, State<T> &state);

/// What is kept beside a page's keys and values for one KV head, exactly.
struct PageSummary {
  int64_t numTokens = 0;
  std::vector<double> mean, std, lo, hi; // [D]
  /// The radius about the mean, and the largest norms.
  double radius = 0, keyNorm = 0, valueNorm = 0;
};

/// Of the first `numTokens` tokens of a page; `values` may be absent.
PageSummary summarizePage(const Cache &keys, const Cache &values, int64_t page,
                          int64_t kvHead, int64_t numTokens);

/// For every physical page and KV head; `numTokens` is 0 where the table names
/// none that is visible.
Array<PageSummary> summarize(const Cache &keys, const Cache &values,
                             const Paging &paging);

struct AppendInputs {
  const Array<float> *key = nullptr, *value = nullptr; // [R, Hkv, D or Dv]
  const Array<int32_t> *positions = nullptr;           // [R]
  Paging paging;                                       // without lengths
  bool nhd = false;
};

/// Writes the tokens. Of each page that was written, the summary over its
/// tokens up to the position that was written last.
Array<PageSummary> append(const AppendInputs &inputs, Array<float> &keys,
                          Array<float> &values);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_REFERENCE_H
