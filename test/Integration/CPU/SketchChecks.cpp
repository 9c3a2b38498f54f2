//===- SketchChecks.cpp - Whether a sketch and its scores are sound -------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace vashista::test;

/// Norms as numbers; those of tokens as of a group.
Array<float> KeptSketch::readNorms(const Buffer &part) const {
  bool inBytes = part.getType() == ElementType::i8;
  Array<int32_t> bytes = inBytes ? part.toInts() : Array<int32_t>();
  Array<float> result =
      inBytes ? Array<float>(part.getShape()) : part.toFloats();
  if (format.normPerToken)
    result.shape.push_back(1);
  int64_t numGroups = format.getNumGroups(dim);
  int64_t numNorms = format.getNumNorms(dim);
  for (size_t i = 0; i < result.data.size(); ++i) {
    float &norm = result.data[i];
    if (inBytes) {
      // The largest norm that half a cell in each channel has.
      double square = 0;
      int64_t first = i / numNorms * numGroups + i % numNorms;
      int64_t span = numGroups / numNorms;
      for (int64_t g = first; g < first + span; ++g)
        square += std::pow(scales.data[g], 2) * format.group / 4;
      int64_t steps = bytes.data[i] & 0xff;
      norm = steps == 255 ? kInf : std::sqrt(square) * steps / 254;
    }
    if (std::isnan(norm))
      norm = kInf;
  }
  return result;
}

KeptSketch::KeptSketch(const Config &config, const Kept &kept,
                       const Outputs &parts)
    : format(*kept.sketch), dim(config.keyDim) {
  const Buffer *part = &parts[kept.getSketchPosition()];
  codes = part[0].toInts();
  scales = part[1].toFloats();
  norms = readNorms(part[2]);
  if (format.centred)
    centre = part[3].toFloats();
}

Sketch KeptSketch::get() const {
  return {format,  dim,    &codes,
          &scales, &norms, format.centred ? &centre : nullptr};
}

void vashista::test::checkSketch(const Config &config, const Kept &kept,
                                 const Cache &keys,
                                 const Array<PageSummary> &expected,
                                 const Outputs &after, Findings &findings,
                                 const WhichTokens &isSketched) {
  KeptSketch numbers(config, kept, after);
  Sketch sketch = numbers.get();
  const SketchFormat &format = sketch.format;
  auto getUnit = [](ElementType type) {
    return type == ElementType::f8 ? 0x1p-3 : 0x1p-10;
  };
  auto getLeast = [](ElementType type) {
    return type == ElementType::f8 ? 0x1p-9 : 0x1p-24;
  };
  auto getMost = [](ElementType type) {
    return type == ElementType::f8 ? 448.0 : 65504.0;
  };
  double cells = static_cast<double>(1 << (format.bits - 1));
  int64_t span = format.getNormSpan(config.keyDim);
  Reporter reporter;
  auto checkToken = [&](int64_t page, int64_t h, int64_t slot) {
    std::vector<double> key =
        toSketchSpace(format, keys.get(page, h, slot), config.keyDim,
                      sketch.centre ? &(*sketch.centre)(page, h, 0) : nullptr);
    std::vector<double> decoded = sketch.decode(page, h, slot);
    double all = 0;
    for (double channel : key)
      all += channel * channel;
    all = std::sqrt(all);
    for (int64_t n = 0; n < format.getNumNorms(config.keyDim); ++n) {
      double square = 0, halfCells = 0, stored = 0;
      bool fits = true;
      for (int64_t i = n * span; i < (n + 1) * span; ++i) {
        square += std::pow(key[i] - decoded[i], 2);
        if (i % format.group)
          continue;
        // No worse than rounding to the nearest of cells that hold all.
        double largest = 0;
        for (int64_t j = i; j < i + format.group; ++j)
          largest = std::max(largest, std::fabs(key[j]));
        double cell =
            largest / cells * (1 + getUnit(kept.scaleType)) * (1 + 0x1p-20) +
            getLeast(kept.scaleType);
        fits &= cell <= getMost(kept.scaleType);
        halfCells += format.group * std::pow(cell / 2, 2);
        stored +=
            format.group *
            std::pow((*sketch.scales)(page, h, slot, i / format.group) / 2, 2);
      }
      double residual = std::sqrt(square);
      double norm = (*sketch.norms)(page, h, slot, n);
      if (!std::isfinite(all)) {
        if (norm != kInfinity)
          reporter.report(page, h, "the norm of an unknown residual", norm,
                          kInfinity, 0);
        continue;
      }
      // A bound, and not by more than its type and 2^-45 of the key ask for.
      // What is read back of bytes is rounded to f32.
      if (!(norm >= residual * (1 - 0x1p-22) - 0x1p-48 * all))
        reporter.report(page, h, "a residual norm below the residual", norm,
                        residual, 0);
      double allowed = residual * (1 + 0x1p-20) + 0x1p-44 * all, most;
      if (kept.residualType == ElementType::i8) {
        allowed += std::sqrt(stored) / 254 * (1 + 0x1p-20);
        most = std::sqrt(stored) * (1 - 0x1p-20);
      } else {
        allowed +=
            residual * getUnit(kept.residualType) + getLeast(kept.residualType);
        most = getMost(kept.residualType);
      }
      if (!(norm <= allowed) && allowed <= most)
        reporter.report(page, h, "a residual norm", norm, residual,
                        allowed - residual);
      if (fits && !findings.include("residual", residual, std::sqrt(halfCells)))
        reporter.report(page, h, "a residual", residual, 0,
                        std::sqrt(halfCells));
    }
  };
  for (int64_t page = 0; page < expected.shape[0]; ++page)
    for (int64_t h = 0; h < config.kvHeads; ++h)
      for (int64_t slot = 0; slot < expected(page, h).numTokens; ++slot)
        if (!isSketched || isSketched(page, slot))
          checkToken(page, h, slot);
}

void vashista::test::checkSketchScores(const Config &config,
                                       const ScoreInputs &inputs,
                                       const Sketch &sketch,
                                       const Outputs &outputs,
                                       Findings &findings) {
  Array<float> scores = outputs[0].toFloats(), bounds = outputs[1].toFloats();
  int64_t pageSize = config.pageSize, dim = config.keyDim;
  const Logit &logit = config.logit;
  // As an op caps and divides.
  auto toLogit = [&](double product) {
    double scaled = logit.scale * product;
    if (logit.softCap)
      scaled = *logit.softCap * std::tanh(scaled / *logit.softCap);
    return scaled / logit.epsilon;
  };
  double factor = logit.scale / logit.epsilon;
  Reporter reporter;
  auto checkToken = [&](int64_t r, int64_t h, int64_t kvHead, int64_t slot,
                        int64_t position) {
    int64_t page = inputs.paging.getPhysicalPage(r, position);
    const float *w = &(*inputs.direction)(r, h, 0);
    SketchProducts found =
        getProducts(sketch, w, page, kvHead, position % pageSize);
    double got = scores(r, h, slot), bound = bounds(r, h, slot);
    const float *key = inputs.keys.get(page, kvHead, position % pageSize);
    double truth = 0;
    for (int64_t d = 0; d < dim; ++d)
      truth += static_cast<double>(w[d]) * key[d];
    if (found.reach == kInfinity) {
      if (bound != kInf)
        reporter.report(r, h, "the bound of an unknown key", bound, kInf, 0);
      return;
    }
    if (!(bound >= toLogit(truth) - kSubnormal))
      reporter.report(r, h, "a bound below the true logit", bound,
                      toLogit(truth), 0);
    // Queries are rounded to 16 bits of their largest channel: by half a step
    // in each, which their products with what is decoded carry.
    std::vector<double> wide = toSketchSpace(sketch.format, w, dim);
    double largest = 0, decodedSum = 0;
    for (double channel : wide)
      largest = std::max(largest, std::fabs(channel));
    for (double channel : sketch.decode(page, kvHead, position % pageSize))
      decodedSum += std::fabs(channel);
    double halfStep = largest / 65534 * (1 + 0x1p-20) + 0x1p-149;
    // n terms in f32, and w itself; a few units for the logit, more for tanh.
    double n = sketch.format.getPaddedDim(dim) + dim;
    double error =
        (n + 8) * kUnit * factor * found.sizes +
        factor * halfStep * decodedSum +
        8 * kUnit * std::fabs(toLogit(found.product)) +
        (logit.softCap ? 0x1p-20 * *logit.softCap / logit.epsilon : 0) +
        kSubnormal;
    if (!findings.include("sketch score",
                          std::fabs(got - toLogit(found.product)), error))
      reporter.report(r, h, "a score", got, toLogit(found.product), error);
    // The slack of f32 is a share of what a group can be decoded to.
    double most = 0;
    const Array<float> &scales = *sketch.scales;
    double wideSquare = 0, scaleSquare = 0;
    double perScale =
        std::sqrt(sketch.format.group) * ((1 << sketch.format.bits) - 1) / 2.0;
    for (int64_t g = 0; g < sketch.format.getNumGroups(dim); ++g) {
      double square = 0, scale = scales(page, kvHead, position % pageSize, g);
      for (int64_t i = 0; i < sketch.format.group; ++i)
        square += std::pow(wide[g * sketch.format.group + i], 2);
      wideSquare += square;
      scaleSquare += scale * scale;
      if (!sketch.format.normPerToken)
        most += std::sqrt(square) * perScale * scale;
    }
    if (sketch.format.normPerToken)
      most = std::sqrt(wideSquare * scaleSquare) * perScale;
    double allowed =
        3 * (n + 8) * kUnit * factor * (most + found.sizes) +
        0x1p-17 * factor * found.reach + 2 * error +
        factor * halfStep * perScale * std::sqrt(wide.size() * scaleSquare);
    double expected = toLogit(found.product + found.reach);
    if (!(bound >= expected - kSubnormal) ||
        !findings.include("sketch bound", bound - expected, allowed))
      reporter.report(r, h, "a bound", bound, expected, allowed);
  };
  for (int64_t r = 0; r < scores.shape[0]; ++r)
    for (int64_t h = 0; h < scores.shape[1]; ++h)
      for (int64_t slot = 0; slot < scores.shape[2]; ++slot) {
        int64_t kvHead = h / config.group, page = slot / pageSize;
        bool visible = true;
        if (inputs.pages) {
          visible = !inputs.pageCount || page < (*inputs.pageCount)(r, kvHead);
          page = (*inputs.pages)(r, kvHead, page);
          visible &= page >= 0;
        }
        int64_t position = page * pageSize + slot % pageSize;
        visible &= position < (*inputs.paging.seqLens)(r);
        if (visible)
          checkToken(r, h, kvHead, slot, position);
        else if (scores(r, h, slot) != -kInf || bounds(r, h, slot) != -kInf)
          reporter.report(r, h, "an invisible score", scores(r, h, slot), -kInf,
                          0);
      }
}
