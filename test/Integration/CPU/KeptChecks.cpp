//===- KeptChecks.cpp - Summaries and norms beside a cache ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include <cmath>
#include <cstring>

using namespace vashista::test;

std::string Kept::getSummaryText() const {
  switch (*summary) {
  case Source::mean:
    return "<mean>";
  case Source::meanStd:
    return "<mean_std>";
  case Source::box:
    return "<box>";
  case Source::ball:
    return "<ball>";
  case Source::keys:
    break;
  }
  return "";
}

std::string Kept::getSketchText() const {
  std::ostringstream os;
  os << "<bits = " << sketch->bits << ", group = " << sketch->group;
  if (sketch->centred)
    os << ", centre = page";
  if (sketch->rotated)
    os << ", rotation = hadamard";
  if (sketch->normPerToken)
    os << ", norm = token";
  os << ">";
  return os.str();
}

Shape Kept::getSecondShape(const Config &config, int64_t pages) const {
  Shape shape = {pages, config.kvHeads};
  if (summary != Source::ball)
    shape.push_back(config.keyDim);
  return shape;
}

std::vector<Kept::Part> Kept::getSummaryParts(const Config &config,
                                              int64_t pages) const {
  std::vector<Part> parts;
  if (summary)
    parts.push_back({"first", type, {pages, config.kvHeads, config.keyDim}});
  if (hasSecond())
    parts.push_back({"second", getSecondType(), getSecondShape(config, pages)});
  return parts;
}

std::vector<Kept::Part> Kept::getSketchParts(const Config &config,
                                             int64_t pages) const {
  if (!sketch)
    return {};
  int64_t dim = config.keyDim;
  Shape perGroup = {pages, config.kvHeads, config.pageSize,
                    sketch->getNumGroups(dim)};
  Shape codes = perGroup;
  codes.back() = sketch->getCodeBytes(dim);
  Shape norms = perGroup;
  if (sketch->normPerToken)
    norms.pop_back();
  std::vector<Part> parts = {{"codes", ElementType::i8, codes},
                             {"scales", scaleType, perGroup},
                             {"residuals", residualType, norms}};
  if (sketch->centred)
    parts.push_back({"centre", centreType, {pages, config.kvHeads, dim}});
  return parts;
}

Shape Kept::getMomentsShape(const Config &config, int64_t sequences) const {
  int64_t channels = sketch->getPaddedDim(config.keyDim);
  return {sequences, config.kvHeads, channels, channels};
}

std::vector<Kept::Part> Kept::getParts(const Config &config, int64_t pages,
                                       int64_t sequences) const {
  std::vector<Part> parts = getSummaryParts(config, pages);
  if (hasNorms)
    parts.push_back({"norms", ElementType::f32, {pages, config.kvHeads, 2}});
  for (Part &part : getSketchParts(config, pages))
    parts.push_back(std::move(part));
  if (hasMoments)
    parts.push_back(
        {"moments", ElementType::f32, getMomentsShape(config, sequences)});
  return parts;
}

Outputs Kept::make(const Config &config, int64_t pages,
                   int64_t sequences) const {
  Outputs outputs;
  for (const Part &part : getParts(config, pages, sequences)) {
    outputs.emplace_back(part.type, part.shape);
    // Numbers of any type, none of them 0.
    std::memset(outputs.back().data(), 0x42, outputs.back().size());
  }
  return outputs;
}

/// `(%first, %second)`
template <typename Parts, typename Name>
static std::string nameAll(const Parts &parts, Name name) {
  std::string text;
  for (const auto &part : parts)
    text += (text.empty() ? "" : ", ") + name(part);
  return "(" + text + ")";
}

std::string Kept::write(Entry &entry, const Config &config) const {
  auto write = [&](const Part &part) {
    return entry.writes(part.name, part.type, part.shape);
  };
  std::string text;
  if (summary)
    text += " summary " + getSummaryText() +
            nameAll(getSummaryParts(config, -1), write);
  if (hasNorms)
    text += " norms(" +
            entry.writes("norms", ElementType::f32, {-1, config.kvHeads, 2}) +
            ")";
  if (sketch)
    text += " sketch " + getSketchText() +
            nameAll(getSketchParts(config, -1), write);
  if (hasMoments)
    text +=
        " moments(" +
        entry.writes("moments", ElementType::f32, getMomentsShape(config, -1)) +
        ")";
  return text;
}

std::string Kept::useSummary(Entry &entry, const Config &config) const {
  return getSummaryText() +
         nameAll(getSummaryParts(config, -1), [&](const Part &part) {
           return entry.use(part.name, part.type, part.shape);
         });
}

std::string Kept::useSketch(Entry &entry, const Config &config) const {
  return getSketchText() +
         nameAll(getSketchParts(config, -1), [&](const Part &part) {
           return entry.use(part.name, part.type, part.shape);
         });
}

std::string Kept::useMoments(Entry &entry, const Config &config) const {
  return entry.use("moments", ElementType::f32, getMomentsShape(config, -1));
}

std::string Kept::useNorms(Entry &entry, const Config &config) const {
  return " norms(" +
         entry.use("norms", ElementType::f32, {-1, config.kvHeads, 2}) + ")";
}

void Kept::set(Operands &operands, const Outputs &kept) const {
  size_t i = 0;
  for (const Part &part : getParts(Config(), 0, 0))
    operands.set(part.name, kept[i++].copy());
}

Kept vashista::test::makeKept(const Config &config, Random &random,
                              bool hasSummary, bool hasNorms, bool hasSketch) {
  Kept kept;
  kept.hasNorms = hasNorms;
  if (hasSketch) {
    SketchFormat &format = kept.sketch.emplace();
    format.bits = random.pick<int64_t>({2, 3, 4, 4, 5, 6, 8});
    format.group = random.pick<int64_t>({16, 32, 64, 128});
    format.rotated = random.chance(0.6);
    format.centred = random.chance(0.3);
    format.normPerToken = random.chance(0.5);
    kept.scaleType = random.pick({ElementType::f16, ElementType::f8});
    kept.residualType =
        random.pick({ElementType::f16, ElementType::f8, ElementType::i8});
    kept.centreType =
        random.pick({ElementType::f32, ElementType::f16, ElementType::bf16});
  }
  if (!hasSummary)
    return kept;
  kept.summary =
      random.pick({Source::mean, Source::meanStd, Source::box, Source::ball});
  // A box holds keys exactly.
  kept.type = *kept.summary == Source::box || random.chance(0.5)
                  ? config.type
                  : random.pick({ElementType::f32, ElementType::f16,
                                 ElementType::bf16});
  if (*kept.summary == Source::box && random.chance(0.3))
    kept.type = ElementType::f32;
  return kept;
}

/// Half a unit in the last place of a number of a storage type.
static double getRounding(ElementType type, double value) {
  double relative = type == ElementType::f32    ? 0x1p-24
                    : type == ElementType::bf16 ? 0x1p-8
                                                : 0x1p-11;
  double least = type == ElementType::f16 ? 0x1p-25 : 0x1p-133;
  return relative * std::fabs(value) + least;
}

void vashista::test::checkKept(const Config &config, const Kept &kept,
                               const Cache &keys,
                               const Array<PageSummary> &expected,
                               const Outputs &before, const Outputs &after,
                               Findings &findings,
                               const WhichTokens &isSketched) {
  int64_t dim = config.keyDim;
  Reporter reporter;
  auto isUnchanged = [&](size_t part, int64_t page, int64_t kvHead) {
    size_t size =
        before[part].size() / (before[part].getShape()[0] * config.kvHeads);
    size_t offset = (page * config.kvHeads + kvHead) * size;
    return std::memcmp(static_cast<char *>(before[part].data()) + offset,
                       static_cast<char *>(after[part].data()) + offset,
                       size) == 0;
  };
  std::vector<Array<float>> parts;
  for (size_t part = 0; part < kept.getSketchPosition(); ++part)
    parts.push_back(after[part].toFloats());
  for (int64_t page = 0; page < expected.shape[0]; ++page)
    for (int64_t h = 0; h < config.kvHeads; ++h) {
      const PageSummary &summary = expected(page, h);
      if (summary.numTokens == 0) {
        for (size_t part = 0; part < after.size() - kept.hasMoments; ++part)
          if (!isUnchanged(part, page, h))
            reporter.report(page, h, "a page that no row sees, changed: part",
                            part, 0, 0);
        continue;
      }
      double n = summary.numTokens;
      // A bound is not below, and hardly above; of subnormal numbers, whole
      // ones.
      auto checkBound = [&](const char *what, double got, double least) {
        double bound = 0x1p-20 * least + 0x1p-126;
        if (got == least) // Infinite ones among them.
          return;
        if (!(got >= least) || !findings.include(what, got - least, bound))
          reporter.report(page, h, what, got, least, bound);
      };
      for (int64_t d = 0; kept.summary && d < dim; ++d) {
        double most =
            std::max(std::fabs(summary.lo[d]), std::fabs(summary.hi[d]));
        // n sums and a division; the mean's error enters the deviation.
        double rounding = (n + 4) * kUnit * most;
        auto check = [&](const char *what, size_t part, double reference,
                         double error) {
          double got = parts[part](page, h, d);
          double bound =
              error + getRounding(kept.type, std::fabs(reference) + error);
          if (!findings.include(what, std::fabs(got - reference), bound))
            reporter.report(page, h, what, got, reference, bound);
        };
        if (kept.summary == Source::box) {
          if (parts[0](page, h, d) != summary.lo[d] ||
              parts[1](page, h, d) != summary.hi[d])
            reporter.report(page, h, "the box, at its low side",
                            parts[0](page, h, d), summary.lo[d], 0);
          continue;
        }
        check("mean", 0, summary.mean[d], rounding);
        // Squares of small differences underflow.
        if (kept.summary == Source::meanStd)
          check("std", 1, summary.std[d], 2 * rounding + 0x1p-70);
      }
      if (kept.summary == Source::ball) {
        // About the centre as it is stored.
        double radius = 0;
        for (int64_t slot = 0; slot < summary.numTokens; ++slot) {
          const float *key = keys.get(page, h, slot);
          double square = 0;
          for (int64_t d = 0; d < dim; ++d) {
            double offset = key[d] - double(parts[0](page, h, d));
            square += offset * offset;
          }
          radius = std::max(radius, std::sqrt(square));
        }
        checkBound("radius", parts[1](page, h), radius);
      }
      if (kept.hasNorms) {
        const Array<float> &norms = parts[kept.getNormsPosition()];
        checkBound("norm", norms(page, h, 0), summary.keyNorm);
        checkBound("norm", norms(page, h, 1), summary.valueNorm);
      }
    }
  if (kept.sketch)
    checkSketch(config, kept, keys, expected, after, findings, isSketched);
}
