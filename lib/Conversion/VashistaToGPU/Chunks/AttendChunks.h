//===- AttendChunks.h - Scan, pick and attend in one kernel -----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CHUNKS_ATTENDCHUNKS_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CHUNKS_ATTENDCHUNKS_H

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include <optional>

namespace vashista {

struct ScheduleTarget;

/// Attention to what chunks of a sequence prove by themselves, by scores of a
/// sketch that nobody else reads.
struct ProvenChunks {
  AttendOp attend;
  PickOp pick;
  ScoreOp score;
  int64_t group, kvHeads;
};

/// What is such a thing, or why it is none.
std::optional<ProvenChunks> findProvenChunks(AttendOp op,
                                             const char *&obstacle);

/// Gives an attend that is such a thing a schedule, where one kernel is faster
/// or one is written that says so; yields what it is then.
llvm::FailureOr<std::optional<ProvenChunks>>
assignChunks(AttendOp op, const ScheduleTarget &target);

/// Whether a block has room for what it has, and for copies of what it reads.
bool hasRoomForChunks(ProvenChunks chunks, ScheduleAttr schedule,
                      const ScheduleTarget &target);

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CHUNKS_ATTENDCHUNKS_H
