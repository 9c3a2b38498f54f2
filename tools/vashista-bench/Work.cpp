//===- Work.cpp - What has to be read and multiplied ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Work.h"

#include <algorithm>
#include <numeric>

using namespace vashista;
using namespace vashista::bench;

static double getElementBytes(const Options &o) {
  return o.dtype == "f32" ? 4 : 2;
}

/// Bytes of the summary of one page and KV head.
static double getSummaryBytes(const Options &o) {
  double row = o.headDim * getElementBytes(o);
  if (o.summary == "ball")
    return row + 4;
  return o.summary == "mean" ? row : 2 * row;
}

double bench::getTokenBytes(const Options &o) {
  return o.kvHeads * (o.headDim + o.valueDim) * getElementBytes(o);
}

double bench::getSketchBytes(const Options &o) {
  double centre =
      o.sketch.isCentred() ? o.headDim * getElementBytes(o) / o.pageSize : 0;
  return o.kvHeads * (o.sketch.getTokenBytes(o.headDim) + centre);
}

const int32_t *bench::getTokenCounts(const Options &o, Problem &problem,
                                     int64_t round) {
  std::string name = o.step + "/token_count";
  if (round > 1)
    name += "_" + std::to_string(round);
  return problem[name].ints();
}

/// Tokens of all lists of a round, or of the routed pages.
static double countAttended(const Options &o, Problem &problem, int64_t row,
                            double scored, int64_t round) {
  if (!o.selects())
    return scored * o.kvHeads;
  const int32_t *counts = getTokenCounts(o, problem, round) + row * o.kvHeads;
  return std::accumulate(counts, counts + o.kvHeads, 0.0);
}

/// Tokens that flagged groups of a row fall back to.
static double countDense(const Options &o, Problem &problem, int64_t row,
                         double tokens) {
  const char *flags = problem[o.step + "/flag"].data() + row * o.kvHeads;
  return tokens * (o.kvHeads - std::count(flags, flags + o.kvHeads, 0));
}

static Work getRowWork(const Options &o, Problem &problem, const Entry &entry,
                       int64_t row) {
  double tokens = problem["lens"].ints()[row];
  double pages = (problem["lens"].ints()[row] + o.pageSize - 1) / o.pageSize;
  double e = getElementBytes(o), hkv = o.kvHeads, h = o.heads;
  double d = o.headDim, dv = o.valueDim;
  double routed = std::min<double>(o.pages, pages);
  double scored =
      o.routes() ? std::min<double>(routed * o.pageSize, tokens) : tokens;
  auto attend = [&](double listed) -> Work {
    return {listed * (d + dv) * e, 0, listed * o.getGroup() * (d + dv)};
  };
  // Scores, and bounds where there are any.
  double perSlot = 4 * h * (o.isCertified() ? 2 : 1);

  const std::string &name = entry.name;
  auto is = [&](const char *stage) { return name.rfind(stage, 0) == 0; };
  if (name == "summarize") {
    Work work = {hkv * tokens * d * e, 0, 0};
    if (o.isCertified())
      work.bytes += hkv * tokens * dv * e + hkv * pages * 8;
    if (o.routes())
      work.bytes += hkv * pages * getSummaryBytes(o);
    if (o.sketch)
      work.bytes += tokens * getSketchBytes(o);
    return work;
  }
  if (name == "dense")
    return attend(hkv * tokens);
  if (is("score_pages"))
    return {hkv * pages * getSummaryBytes(o), 0,
            h * pages * d *
                (o.summary == "mean" || o.summary == "ball" ? 1 : 2)};
  if (is("pick_pages"))
    return {0, pages * perSlot, 0};
  if (is("score_tokens"))
    return {o.sketch ? scored * getSketchBytes(o) : hkv * scored * d * e, 0,
            h * scored * d};
  if (is("pick_tokens"))
    return {0, scored * (entry.round > 1 ? 4 * h : perSlot), 0};
  if (is("attend"))
    return attend(countAttended(o, problem, row, scored, entry.round));
  if (is("certify"))
    return {hkv * pages * 8, 0, 0};
  return attend(countDense(o, problem, row, tokens)); // fallback
}

static Work &operator+=(Work &sum, const Work &work) {
  sum.bytes += work.bytes;
  sum.passedBytes += work.passedBytes;
  sum.multiplyAdds += work.multiplyAdds;
  return sum;
}

Work bench::getWork(const Options &o, Problem &problem, const Entry &entry) {
  Work total;
  for (int64_t row = 0; row < problem.rows; ++row)
    total += getRowWork(o, problem, entry, row);
  return total;
}

Work bench::getStepWork(const Options &o, Problem &problem,
                        const std::vector<Work> &stages) {
  Work total;
  for (const Work &stage : stages)
    total += stage;
  total.passedBytes = 0;
  // Keys that were just scored.
  if (o.selects() && !o.sketch)
    for (int64_t row = 0; row < problem.rows; ++row)
      total.bytes -=
          countAttended(o, problem, row, 0, 1) * o.headDim * getElementBytes(o);
  return total;
}
