//===- Schedules.h - How kernels are laid out on a GPU ----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCHEDULES_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCHEDULES_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

struct BestTokens;
class KernelBuilder;

/// What a kernel may declare of a block's memory, at most.
inline constexpr int64_t kSharedBytes = 48 * 1024;
/// What the system takes of it for each block.
inline constexpr int64_t kReservedBytes = 1024;

/// What schedules are chosen for.
struct ScheduleTarget {
  int64_t multiprocessors = 132;
  /// Blocks of a cluster, at most.
  int64_t clusterBlocks = 8;
  /// What a launch may give a block of memory, with what the kernel declares.
  int64_t sharedBytes = 227 * 1024;

  /// Fails, with an error, for what is no target.
  llvm::LogicalResult verify(mlir::Operation *at) const;
};

/// Gives ops that have kernels whole schedules: what is written stays, what is
/// not is chosen. Fails, with an error at the op, where a kernel cannot be what
/// is written.
llvm::LogicalResult assignSchedules(mlir::ModuleOp module,
                                    const ScheduleTarget &target);

/// What each block may have, of so many that share a multiprocessor: what all
/// may declare, or more.
int64_t getSharedBytes(const ScheduleTarget &target, int64_t residentBlocks);

/// What an op is launched with, where its groups, rows times KV heads, are at
/// most so many; the last of several versions is for any number.
struct ScheduleVersion {
  ScheduleAttr schedule;
  int64_t mostGroups;
};
/// Of rows that are known, of a written schedule, of a route or of a later
/// round the op's own alone. Otherwise that for as many groups as its clusters
/// have room for at once, and those of smaller clusters, as far as there are
/// some.
llvm::SmallVector<ScheduleVersion> getVersions(PickOp op,
                                               const ScheduleTarget &target);
llvm::SmallVector<ScheduleVersion> getVersions(const BestTokens &best,
                                               const ScheduleTarget &target);
/// Has the host make one of the launches that `launch` makes of versions, by
/// the rows that there are.
void launchVersion(KernelBuilder &b, mlir::Value rows, int64_t kvHeads,
                   llvm::ArrayRef<ScheduleVersion> versions,
                   llvm::function_ref<void(ScheduleAttr)> launch);

/// Rows that a lane loads together, of a summary or of keys that are scored.
int64_t chooseRows(ScoreOp op);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_SCHEDULES_H
