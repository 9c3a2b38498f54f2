//===- Policy.h - Whether an artefact is what is asked for ------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_POLICY_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_POLICY_H

#include "Options.h"

namespace vashista::bench {

/// Fails unless the options' step in an artefact that was compiled before has
/// their policy, summary and sketch. What tensors have to do with is verified
/// where they are passed.
Error checkPolicy(const vashista_module *module, const Options &options);

/// How many tokens a step of an artefact lists at most.
Error readCandidates(const vashista_module *module, const std::string &step,
                     int64_t &candidates);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_POLICY_H
