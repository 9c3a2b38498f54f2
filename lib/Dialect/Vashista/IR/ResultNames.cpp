//===- ResultNames.cpp - Names of results, for readable IR ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OpShapes.h"

using namespace mlir;
using namespace vashista;
using namespace vashista::shapes;

static void nameResults(Operation *op, OpAsmSetValueNameFn setName,
                        ArrayRef<StringRef> names) {
  for (auto [result, name] : llvm::zip(op->getResults(), names))
    setName(result, name);
}

/// The names of what is kept beside a cache, after `names`.
template <typename OpTy>
static void nameKept(OpTy op, OpAsmSetValueNameFn setName,
                     SmallVector<StringRef> names) {
  auto append = [&](KeySource source) {
    if (source)
      for (const SourcePart &part : source.getParts())
        names.push_back(part.name);
  };
  append(op.getSummaryAttr());
  if (op.getNorms())
    names.push_back("norms");
  append(op.getSketchAttr());
  if (op.getMoments())
    names.push_back("moments");
  nameResults(op, setName, names);
}

void SummarizeOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameKept(*this, setName, {});
}
void AppendOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameKept(*this, setName, {"k_cache", "v_cache"});
}
template <typename OpTy>
static void nameChecked(OpTy op, OpAsmSetValueNameFn setName, StringRef name) {
  SmallVector<StringRef> names = {name};
  if (op.getRowToSeq())
    names.push_back("rows");
  names.push_back("faults");
  nameResults(op, setName, names);
}
void CheckTableOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameChecked(*this, setName, "lens");
}
void CheckPositionsOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameChecked(*this, setName, "positions");
}
void CheckListOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"count", "faults"});
}
void ScoreOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  if (getFrom() && getFrom().scoresPages())
    nameResults(*this, setName, {"page_scores", "page_bounds"});
  else
    nameResults(*this, setName, {"token_scores", "token_bounds"});
}

void MomentOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"moment"});
}

static void namePick(Operation *op, OpAsmSetValueNameFn setName, bool pages) {
  if (pages)
    nameResults(op, setName, {"pages", "page_count", "page_tail"});
  else
    nameResults(op, setName, {"tokens", "token_count", "tail"});
}
void PickOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  namePick(*this, setName, getUnit() == SlotUnit::pages);
}
void RouteOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  namePick(*this, setName, /*pages=*/true);
}
void SelectOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  namePick(*this, setName, /*pages=*/false);
}
void AttendOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, AttendShape::kNames);
}
void MergeOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"o", "lse"});
}
void MergeTailsOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"tail"});
}
void CertifyOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"tau", "error", "full_gap"});
}
void FallbackOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"o", "lse", "flag"});
}
void AttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, setName, {"o", "lse", "tau", "error", "rounds", "flag"});
}
