//===- Call.cpp - An entry with its arguments -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <chrono>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

double bench::now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

static Error runtimeError() { return Error(vashista_last_error()); }

Error Call::bind(const vashista_module *loaded, const Entry &bound,
                 const std::string &step, Problem &problem) {
  module = loaded;
  vashista_entry_info info;
  if (vashista_find_entry(module, bound.function.c_str(), &entry) ||
      vashista_entry_describe(module, entry, &info))
    return runtimeError();
  for (uint32_t i = 0; i < info.num_arguments; ++i) {
    vashista_value_info value;
    if (vashista_argument_describe(module, entry, i, &value))
      return runtimeError();
    auto found = problem.tensors.find(step + "/" + value.name);
    if (found == problem.tensors.end())
      found = problem.tensors.find(value.name);
    if (found == problem.tensors.end())
      return fail("expected an argument of a known name, got '%s' of '%s'",
                  value.name, bound.name.c_str());
    arguments.push_back(found->second.get());
  }
  // What is written in place is no result.
  for (uint32_t i = 0; i < info.num_results; ++i) {
    vashista_value_info value;
    if (vashista_result_describe(module, entry, i, &value))
      return runtimeError();
    std::vector<int64_t> shape;
    for (int32_t d = 0; d < value.rank; ++d) {
      const vashista_dim &dim = value.dims[d];
      shape.push_back(dim.kind == VASHISTA_DIM_TIED
                          ? dim.size * arguments[dim.argument]->shape[dim.dim]
                          : dim.size);
    }
    const char *separator = bound.kind == Entry::stage ? "/" : ".";
    Tensor &tensor = problem.tensors[step + separator + bound.results[i]];
    if (Error error = tensor.allocate(value.dtype, shape))
      return error;
    if (Error error = tensor.place(problem.device))
      return error;
    results.push_back(tensor.get());
  }
  return Error::success();
}

Error Call::call(const vashista_call_options &options) {
  if (vashista_call(module, entry, arguments.data(), arguments.size(),
                    results.data(), results.size(), &options))
    return runtimeError();
  return Error::success();
}

Error Call::measureWorkspace(size_t &bytes) {
  if (vashista_workspace_bytes(module, entry, arguments.data(),
                               arguments.size(), results.data(), results.size(),
                               &bytes))
    return runtimeError();
  return Error::success();
}
