//===- Problem.h - Inputs of the measured entries -----------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_BENCH_PROBLEM_H
#define VASHISTA_TOOLS_VASHISTA_BENCH_PROBLEM_H

#include "Buffer.h"
#include "Device.h"
#include "Options.h"

#include <map>
#include <vector>

namespace vashista::bench {

/// A row-major tensor in memory of its own, of the host, and beside it of the
/// device where entries run on one.
class Tensor {
public:
  Error allocate(DLDataType type, std::vector<int64_t> shape);

  char *data() const { return buffer.data(); }
  size_t bytes() const { return buffer.size(); }
  int64_t count() const;
  const std::vector<int64_t> &shape() const { return sizes; }
  DLDataType type() const { return tensor.dtype; }
  /// Where entries run.
  DLTensor *get() { return &tensor; }

  /// Memory of a device with what the host's has; nothing for the CPU.
  Error place(DLDevice device);
  /// From there to the host.
  Error fetch();

  /// An element as a number.
  double at(int64_t i) const;
  void set(int64_t i, float value);
  int32_t *ints() const { return reinterpret_cast<int32_t *>(data()); }

private:
  tool::Buffer buffer;
  tool::DeviceMemory memory;
  std::vector<int64_t> sizes;
  DLTensor tensor = {};
};

/// What the entries work on, by the names of the graph.
struct Problem {
  std::map<std::string, Tensor> tensors;
  int64_t rows = 0;
  /// Rows name their sequence: those of a trace share one.
  bool sharesRows = false;
  /// Where entries run.
  DLDevice device = {kDLCPU, 0};

  Tensor &operator[](const std::string &name) { return tensors.at(name); }

  /// All tensors, on its device.
  Error place();
  /// Results of entries, from there.
  Error fetchResults();
};

/// Sizes of a trace's files become those of the problem.
Error readTraceSizes(Options &options, Problem &problem);

/// Makes queries, caches, page table, lengths, and room for what is kept beside
/// the cache.
Error makeProblem(const Options &options, Problem &problem);

/// Leaves of each sequence as many tokens, the first, as the options say.
Error shorten(const Options &options, Problem &problem);

} // namespace vashista::bench

#endif // VASHISTA_TOOLS_VASHISTA_BENCH_PROBLEM_H
