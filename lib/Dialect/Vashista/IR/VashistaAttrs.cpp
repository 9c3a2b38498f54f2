//===- VashistaAttrs.cpp - Attributes of the vashista dialect -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace vashista;

FailureOr<APFloat> vashista::detail::parseF64(AsmParser &parser) {
  APFloat value = APFloat::getZero(APFloat::IEEEdouble());
  if (parser.parseFloat(APFloat::IEEEdouble(), value))
    return failure();
  return value;
}

#include "vashista/Dialect/Vashista/IR/VashistaEnums.cpp.inc"
#include "vashista/Dialect/Vashista/IR/VashistaInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "vashista/Dialect/Vashista/IR/VashistaAttrs.cpp.inc"

void VashistaDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "vashista/Dialect/Vashista/IR/VashistaAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Key sources
//===----------------------------------------------------------------------===//

int64_t vashista::getNumWindowPages(int64_t tokens, int64_t pageSize) {
  return tokens == 0 ? 0 : (tokens + pageSize - 2) / pageSize + 1;
}

SmallVector<Dim, 4> vashista::getCacheDims(Layout layout, Dim head) {
  if (layout == Layout::nhd)
    return {Dim::physPages, Dim::pageSize, Dim::kvHeads, head};
  return {Dim::physPages, Dim::kvHeads, Dim::pageSize, head};
}

SmallVector<SourcePart> SummaryAttr::getParts() const {
  SmallVector<Dim, 4> vector = {Dim::physPages, Dim::kvHeads, Dim::keyDim};
  SmallVector<Dim, 4> scalar = {Dim::physPages, Dim::kvHeads};
  switch (getKind()) {
  case SummaryKind::mean:
    return {{"mean", vector, PartElement::storage}};
  case SummaryKind::mean_std:
    return {{"mean", vector, PartElement::storage},
            {"std", vector, PartElement::storage}};
  case SummaryKind::box:
    return {{"lo", vector, PartElement::storage},
            {"hi", vector, PartElement::storage}};
  case SummaryKind::ball:
    return {{"centre", vector, PartElement::storage},
            {"radius", scalar, PartElement::f32}};
  }
  llvm_unreachable("all summaries have parts");
}

bool SummaryAttr::scoresPages() const { return true; }

bool SummaryAttr::hasBounds() const {
  return getKind() == SummaryKind::box || getKind() == SummaryKind::ball;
}

SmallVector<SourcePart> KeysAttr::getParts() const {
  return {
      {"keys", getCacheDims(getLayout(), Dim::keyDim), PartElement::storage}};
}

bool KeysAttr::scoresPages() const { return false; }
bool KeysAttr::hasBounds() const { return true; }

SmallVector<SourcePart> SketchAttr::getParts() const {
  SmallVector<Dim, 4> codes = {Dim::physPages, Dim::kvHeads, Dim::pageSize,
                               Dim::codeBytes};
  SmallVector<Dim, 4> perGroup = {Dim::physPages, Dim::kvHeads, Dim::pageSize,
                                  Dim::groups};
  SmallVector<SourcePart> parts = {
      {"codes", codes, PartElement::i8},
      {"scales", perGroup, PartElement::sketchScale},
      {"norms",
       getNorm() == SketchNorm::group
           ? perGroup
           : SmallVector<Dim, 4>(ArrayRef<Dim>(perGroup).drop_back()),
       PartElement::residualNorm}};
  if (getCentre() == SketchCentre::page)
    parts.push_back({"centre",
                     {Dim::physPages, Dim::kvHeads, Dim::keyDim},
                     PartElement::storage});
  return parts;
}

bool SketchAttr::scoresPages() const { return false; }
bool SketchAttr::hasBounds() const { return true; }

int64_t SketchAttr::getNumGroups(int64_t keyDim) const {
  return llvm::divideCeil(keyDim, getGroup());
}

int64_t SketchAttr::getCodeBytes(int64_t keyDim) const {
  return llvm::divideCeil(getNumGroups(keyDim) * getGroup() * getBits(), 8);
}

LogicalResult SketchAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t bits, int64_t group,
                                 SketchCentre centre, SketchRotation rotation,
                                 SketchNorm norm) {
  if (!llvm::is_contained({2, 3, 4, 5, 6, 8}, bits))
    return emitError() << "[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, "
                          "got "
                       << bits;
  if (!llvm::is_contained({16, 32, 64, 128}, group))
    return emitError()
           << "[sketch_c2] expected group to be 16, 32, 64 or 128, got "
           << group;
  return success();
}

//===----------------------------------------------------------------------===//
// Solver
//===----------------------------------------------------------------------===//

static double toDouble(const APFloat &value) { return value.convertToDouble(); }

/// Whether the value is usable as a factor in the f32 arithmetic of kernels.
static bool isPositiveInF32(const APFloat &value) {
  float rounded = static_cast<float>(toDouble(value));
  return std::isnormal(rounded) && rounded > 0;
}

SolverAttr SolverAttr::getSoftmax(MLIRContext *context) {
  return SolverAttr::get(context, SolverKind::softmax, Objective::linear,
                         APFloat(1.0), /*iterations=*/0, APFloat(0.0),
                         FrankWolfeStep::plain);
}

LogicalResult SolverAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 SolverKind kind, Objective objective,
                                 APFloat epsilon, int64_t iterations,
                                 APFloat tolerance, FrankWolfeStep step) {
  StringRef name = stringifySolverKind(kind);
  if (kind == SolverKind::softmax && objective != Objective::linear)
    return emitError() << "[solver_c1] expected the objective linear for "
                       << name << ", got " << stringifyObjective(objective);
  if (kind == SolverKind::frank_wolfe && objective != Objective::projection)
    return emitError() << "[solver_c2] expected the objective projection for "
                       << name << ", got " << stringifyObjective(objective);
  if (kind == SolverKind::frank_wolfe) {
    if (!epsilon.isPosZero())
      return emitError() << "[solver_c3] expected epsilon to be 0.0 for "
                         << name << ", got " << toDouble(epsilon);
  } else if (!isPositiveInF32(epsilon)) {
    return emitError()
           << "[solver_c3] expected epsilon to be a positive normal f32 for "
           << name << ", got " << toDouble(epsilon);
  }
  if (kind == SolverKind::softmax && iterations != 0)
    return emitError() << "[solver_c4] expected no iterations for " << name
                       << ", got " << iterations;
  if (kind != SolverKind::softmax && iterations < 1)
    return emitError() << "[solver_c4] expected at least 1 iteration for "
                       << name << ", got " << iterations;
  if (kind == SolverKind::softmax && !tolerance.isPosZero())
    return emitError() << "[solver_c5] expected the tolerance 0.0 for " << name
                       << ", got " << toDouble(tolerance);
  if (!tolerance.isFinite() || (tolerance.isNegative() && !tolerance.isZero()))
    return emitError()
           << "[solver_c5] expected a finite tolerance of at least 0, got "
           << toDouble(tolerance);
  if (kind != SolverKind::frank_wolfe && step != FrankWolfeStep::plain)
    return emitError() << "[solver_c6] expected the step plain for " << name
                       << ", got " << stringifyFrankWolfeStep(step);
  return success();
}

//===----------------------------------------------------------------------===//
// Policy and schedule
//===----------------------------------------------------------------------===//

PolicyAttr PolicyAttr::getDense(MLIRContext *context) {
  return PolicyAttr::get(context, /*pages=*/0, /*candidates=*/0, /*sinks=*/0,
                         /*window=*/0, PickMode::top, Target::tau,
                         /*tolerance=*/APFloat(0.0), /*rounds=*/1,
                         FallbackKind::none);
}

LogicalResult PolicyAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t pages, int64_t candidates,
                                 int64_t sinks, int64_t window, PickMode pick,
                                 Target target, APFloat tolerance,
                                 int64_t rounds, FallbackKind fallback) {
  std::pair<StringRef, int64_t> counts[] = {{"pages", pages},
                                            {"candidates", candidates},
                                            {"sinks", sinks},
                                            {"window", window}};
  for (auto [name, value] : counts)
    if (value < 0 || value > std::numeric_limits<int32_t>::max())
      return emitError() << "[policy_c1] expected " << name
                         << " to be 0 to 2^31 - 1, got " << value;
  if (!tolerance.isPosZero() && !isPositiveInF32(tolerance))
    return emitError()
           << "[policy_c2] expected a tolerance of 0 or a positive normal f32, "
              "got "
           << toDouble(tolerance);
  if (target == Target::tau && toDouble(tolerance) >= 1.0)
    return emitError() << "[policy_c2] expected a tolerance below 1 for the "
                          "target tau, got "
                       << toDouble(tolerance);
  bool certified = !tolerance.isZero();
  bool dense = pages == 0 && candidates == 0;
  if (rounds < 1 || rounds > 8)
    return emitError() << "[policy_c3] expected 1 to 8 rounds, got " << rounds;
  if (rounds > 1 && (!certified || dense || target == Target::output_error))
    return emitError() << "[policy_c3] expected 1 round for a policy "
                       << (!certified ? "without a tolerance"
                           : dense    ? "without pages and candidates"
                                      : "with the target output_error")
                       << ", got " << rounds;
  if (fallback != FallbackKind::none && !certified)
    return emitError() << "[policy_c4] expected a tolerance for the fallback "
                       << stringifyFallbackKind(fallback) << ", got none";
  if (pick == PickMode::proving && (!certified || target != Target::tau))
    return emitError()
           << "[policy_c5] expected a tolerance with the target tau "
              "for pick = proving, got "
           << (certified ? stringifyTarget(target) : "none");
  if (candidates != 0 && candidates < sinks + window)
    return emitError() << "[policy_c6] expected candidates to be 0 or at least "
                       << sinks + window << " (sinks + window), got "
                       << candidates;
  return success();
}

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t warps, int64_t vector,
                                   int64_t stages, int64_t split,
                                   int64_t splits, int64_t blocks,
                                   int64_t cluster, bool fuse) {
  if (!llvm::is_contained({0, 1, 2, 4, 8, 16, 32}, warps))
    return emitError()
           << "[schedule_c1] expected warps to be 0, 1, 2, 4, 8, 16 or 32, got "
           << warps;
  if (!llvm::is_contained({0, 1, 2, 4, 8, 16}, vector))
    return emitError()
           << "[schedule_c2] expected vector to be 0, 1, 2, 4, 8 or 16, got "
           << vector;
  if (stages < 0 || stages > 8)
    return emitError() << "[schedule_c3] expected stages to be 0 to 8, got "
                       << stages;
  if (split < 0)
    return emitError() << "[schedule_c4] expected split to be at least 0, got "
                       << split;
  if (blocks < 0 || blocks > 32)
    return emitError() << "[schedule_c5] expected blocks to be 0 to 32, got "
                       << blocks;
  if (!llvm::is_contained({0, 1, 2, 4, 8}, cluster))
    return emitError()
           << "[schedule_c6] expected cluster to be 0, 1, 2, 4 or 8, got "
           << cluster;
  if (splits < 0)
    return emitError() << "[schedule_c7] expected splits to be at least 0, got "
                       << splits;
  return success();
}
