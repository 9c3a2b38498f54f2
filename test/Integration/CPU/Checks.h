//===- Checks.h - How far results may be from the reference -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_CHECKS_H
#define VASHISTA_TEST_INTEGRATION_CPU_CHECKS_H

#include "Cases.h"
#include "Findings.h"
#include "SketchReference.h"

namespace vashista::test {

/// Half a unit in the last place of an f32.
constexpr double kUnit = 0x1p-24;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// What rounds among subnormal numbers, where no slack is relative.
constexpr double kSubnormal = 0x1p-140;

/// Whether to look at a row and KV head; all where there is none.
using Where = std::function<bool(int64_t, int64_t)>;

/// Checks that `attend` of the inputs merged into (o, lse) gives `result`, for
/// the rows and KV heads of `where`.
void checkState(const Config &config, const AttendInputs &inputs,
                const Array<float> &o, const Array<float> &lse,
                const Outputs &result, Findings &findings,
                const Where &where = Where());

/// Checks o, lse, direction and gap of a projection of the inputs, for the rows
/// and KV heads of `where`.
void checkProjection(const Config &config, const AttendInputs &inputs,
                     const Outputs &result, Findings &findings,
                     const Where &where = Where());

/// Checks that `outputs`, a merge of the states, agrees.
void checkMerge(const std::vector<State<float>> &states, const Outputs &outputs,
                Findings &findings);

/// Checks that `got`, a merge of tails, is a bound, and a good one.
void checkMergeTails(const std::vector<float> &tails, float got,
                     Findings &findings);

/// Checks `outputs`, scores and bounds, and that bounds bound the logit of
/// every token of a page. The inputs' `keys` are those of the cache whatever
/// the source.
void checkScores(const Config &config, const ScoreInputs &inputs,
                 const Outputs &outputs, Findings &findings);

/// Checks `outputs`: ids, count and tail.
void checkPick(const PickInputs &inputs, int64_t lanes, const Outputs &outputs,
               Findings &findings);

/// Checks `outputs`, tau and error, against their definition.
void checkCertify(const CertifyInputs &inputs, const Outputs &outputs,
                  Findings &findings);

/// The same of tau, error and full_gap of a projection.
void checkCertifyProjection(const CertifyInputs &inputs, bool hasEntropy,
                            const Outputs &outputs, Findings &findings);

/// What is kept beside a cache: a summary, norms, a sketch or some of them.
struct Kept {
  std::optional<Source> summary;
  ElementType type = ElementType::f32; // of the summary; a radius is f32
  bool hasNorms = false;
  std::optional<SketchFormat> sketch;
  /// Second moments of the sketch, the last of the buffers.
  bool hasMoments = false;
  /// Of a sketch's scales, residual norms and centre.
  ElementType scaleType = ElementType::f16, residualType = ElementType::f16,
              centreType = ElementType::f32;

  /// `<ball>`
  std::string getSummaryText() const;
  /// `<bits = 4, group = 32>`
  std::string getSketchText() const;
  bool hasSecond() const { return summary && *summary != Source::mean; }
  Shape getSecondShape(const Config &config, int64_t pages) const;
  ElementType getSecondType() const {
    return summary == Source::ball ? ElementType::f32 : type;
  }
  /// Buffers of what is kept, of unspecified contents; moments are of
  /// sequences.
  Outputs make(const Config &config, int64_t pages,
               int64_t sequences = 0) const;
  /// Declares them as outputs; ` summary<...>(...) norms(...)
  /// sketch<...>(...)`.
  std::string write(Entry &entry, const Config &config) const;
  /// Names them as operands; `<ball>(%first, %second)`.
  std::string useSummary(Entry &entry, const Config &config) const;
  std::string useNorms(Entry &entry, const Config &config) const;
  std::string useSketch(Entry &entry, const Config &config) const;
  std::string useMoments(Entry &entry, const Config &config) const;
  size_t getNormsPosition() const { return summary.has_value() + hasSecond(); }
  size_t getSketchPosition() const { return getNormsPosition() + hasNorms; }
  /// Sets the operands of all that is kept.
  void set(Operands &operands, const Outputs &kept) const;

private:
  /// The name, type and shape of each tensor.
  struct Part {
    std::string name;
    ElementType type;
    Shape shape;
  };
  std::vector<Part> getSummaryParts(const Config &config, int64_t pages) const;
  std::vector<Part> getSketchParts(const Config &config, int64_t pages) const;
  Shape getMomentsShape(const Config &config, int64_t sequences) const;
  std::vector<Part> getParts(const Config &config, int64_t pages,
                             int64_t sequences) const;
};
Kept makeKept(const Config &config, Random &random, bool hasSummary,
              bool hasNorms, bool hasSketch = false);

/// A sketch as it is kept, in numbers that a check can read.
struct KeptSketch {
  KeptSketch(const Config &config, const Kept &kept, const Outputs &parts);
  Sketch get() const;

private:
  Array<float> readNorms(const Buffer &part) const;

  SketchFormat format;
  int64_t dim;
  Array<int32_t> codes;
  Array<float> scales, norms, centre;
};

/// Whether a token of a page is to be looked at.
using WhichTokens = std::function<bool(int64_t page, int64_t slot)>;

/// Checks what is kept of the pages that `expected` has tokens of, and that the
/// rest is as it was; of a sketch, the tokens that `isSketched`, all if null.
void checkKept(const Config &config, const Kept &kept, const Cache &keys,
               const Array<PageSummary> &expected, const Outputs &before,
               const Outputs &after, Findings &findings,
               const WhichTokens &isSketched = WhichTokens());

/// Checks the sketch of the tokens of `expected`, of those that `isSketched`:
/// that residual norms bound residuals and that these are small.
void checkSketch(const Config &config, const Kept &kept, const Cache &keys,
                 const Array<PageSummary> &expected, const Outputs &after,
                 Findings &findings, const WhichTokens &isSketched);

/// Checks `outputs`, scores and bounds of tokens by a sketch, and that bounds
/// bound the logit of every token of `inputs.keys`.
void checkSketchScores(const Config &config, const ScoreInputs &inputs,
                       const Sketch &sketch, const Outputs &outputs,
                       Findings &findings);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_CHECKS_H
