//===- ScheduleDraft.h - A schedule as it is made ---------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCHEDULEDRAFT_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCHEDULEDRAFT_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include "llvm/ADT/Twine.h"

#include <string>

namespace vashista {

/// A schedule as it is made.
class ScheduleDraft {
public:
  explicit ScheduleDraft(ScheduleAttr written) {
    if (!written)
      return;
    warps = written.getWarps();
    vector = written.getVector();
    stages = written.getStages();
    split = written.getSplit();
    splits = written.getSplits();
    blocks = written.getBlocks();
    cluster = written.getCluster();
    fuse = written.getFuse();
  }

  int64_t warps = 0, vector = 0, stages = 0, split = 0, splits = 0, blocks = 0,
          cluster = 0;
  bool fuse = false;

  /// What is not written is chosen.
  static void choose(int64_t &parameter, int64_t value) {
    if (parameter == 0)
      parameter = value;
  }
  /// Of what is written, what the kernel cannot be is remembered.
  void expect(bool holds, const llvm::Twine &expected, int64_t got) {
    if (!holds && mistake.empty())
      mistake =
          ("expected a schedule with " + expected + ", got " + llvm::Twine(got))
              .str();
  }
  void expectNoFuse(llvm::StringRef where = "") {
    if (fuse && mistake.empty())
      mistake = ("expected a schedule with fuse = false" + where + ", got true")
                    .str();
  }
  void expectNoSplits() { expectOnly("splits", splits, 0); }
  /// What no kernel of a family can be but this.
  void expectOnly(llvm::StringRef name, int64_t &parameter, int64_t value) {
    choose(parameter, value);
    expect(parameter == value, name + " = " + llvm::Twine(value), parameter);
  }
  void expectMultiple(llvm::StringRef name, int64_t parameter, int64_t of) {
    expect(parameter % of == 0, name + " a multiple of " + llvm::Twine(of),
           parameter);
  }
  void expectAtMost(llvm::StringRef name, int64_t parameter, int64_t most) {
    expect(parameter <= most, name + " at most " + llvm::Twine(most),
           parameter);
  }
  void expectAtLeast(llvm::StringRef name, int64_t parameter, int64_t least) {
    expect(parameter >= least, name + " at least " + llvm::Twine(least),
           parameter);
  }

  /// What a multiprocessor cannot have is no schedule of any kernel.
  bool isPossible() {
    constexpr int64_t kMostWarps = 64;
    expect(warps * blocks <= kMostWarps,
           "warps * blocks at most " + llvm::Twine(kMostWarps), warps * blocks);
    return mistake.empty();
  }
  ScheduleAttr get(mlir::MLIRContext *context) const {
    return ScheduleAttr::get(context, warps, vector, stages, split, splits,
                             blocks, cluster, fuse);
  }
  /// With an error at the op where that cannot be.
  llvm::LogicalResult assign(mlir::Operation *op) {
    if (!isPossible())
      return op->emitOpError(mistake);
    op->setAttr("schedule", get(op->getContext()));
    return llvm::success();
  }

private:
  std::string mistake;
};

struct ScheduleTarget;

/// The error of a written schedule with fuse, of an attend that is not one
/// kernel with what its list is from.
mlir::InFlightDiagnostic refuseFuse(mlir::Operation *op, const char *obstacle);
/// Of one row, where rows are not known.
int64_t countGroups(int64_t rows, int64_t kvHeads);
/// Multiprocessors, as a power of two, which blocks and groups mostly are.
int64_t getPower(const ScheduleTarget &target);
/// How many clusters run at once, each block of which has a multiprocessor.
/// Those of a cluster are neighbours, of whom there are not multiples of four
/// and eight everywhere: of an H200's 132 there is room for 31 clusters of 4,
/// or 15 of 8. One that has to wait takes as long as all others.
int64_t getMostClusters(const ScheduleTarget &target, int64_t blocks);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCHEDULEDRAFT_H
