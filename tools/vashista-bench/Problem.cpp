//===- Problem.cpp - Inputs of the measured entries ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Problem.h"

#include "Data.h"
#include "Graph.h"
#include "NpyFile.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

int64_t Tensor::count() const {
  int64_t count = 1;
  for (int64_t size : sizes)
    count *= size;
  return count;
}

Error Tensor::allocate(DLDataType type, std::vector<int64_t> shape) {
  sizes = std::move(shape);
  __int128 wanted = type.bits / 8;
  for (int64_t size : sizes)
    wanted = std::min<__int128>(wanted * size, INT64_MAX);
  if (!buffer.allocate(static_cast<size_t>(wanted)))
    return fail("expected memory for a tensor of %.1f GB, got none",
                static_cast<double>(wanted) * 1e-9);
  tensor.data = buffer.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = static_cast<int32_t>(sizes.size());
  tensor.dtype = type;
  tensor.shape = sizes.data();
  return Error::success();
}

Error Tensor::place(DLDevice device) {
  if (device.device_type == kDLCPU)
    return Error::success();
  // Results that are not written at all shall be seen.
  if (!memory.allocate(device, bytes()) ||
      vashista_memory_copy(device, memory.data(), data(), bytes(), nullptr))
    return Error(vashista_last_error());
  tensor.data = memory.data();
  tensor.device = device;
  return Error::success();
}

Error Tensor::fetch() {
  if (tensor.device.device_type != kDLCPU &&
      vashista_memory_copy(tensor.device, data(), memory.data(), bytes(),
                           nullptr))
    return Error(vashista_last_error());
  return Error::success();
}

Error Problem::place() {
  for (auto &[name, tensor] : tensors)
    if (Error error = tensor.place(device))
      return error;
  return Error::success();
}

Error Problem::fetchResults() {
  // Of a stage or of a step.
  for (auto &[name, tensor] : tensors)
    if (name.find_first_of("/.") != std::string::npos)
      if (Error error = tensor.fetch())
        return error;
  return Error::success();
}

static float widenBF16(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, sizeof(value));
  return value;
}

double Tensor::at(int64_t i) const {
  if (tensor.dtype.code == kDLBfloat)
    return widenBF16(reinterpret_cast<const uint16_t *>(data())[i]);
  if (tensor.dtype.bits == 16)
    return static_cast<float>(reinterpret_cast<const _Float16 *>(data())[i]);
  return reinterpret_cast<const float *>(data())[i];
}

void Tensor::set(int64_t i, float value) {
  if (tensor.dtype.code == kDLBfloat) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    bits += 0x7fff + ((bits >> 16) & 1);
    reinterpret_cast<uint16_t *>(data())[i] = bits >> 16;
  } else if (tensor.dtype.bits == 16) {
    reinterpret_cast<_Float16 *>(data())[i] = static_cast<_Float16>(value);
  } else {
    reinterpret_cast<float *>(data())[i] = value;
  }
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

static DLDataType getType(const std::string &name) {
  if (name == "bf16")
    return {kDLBfloat, 16, 1};
  if (name == "f8E4M3FN")
    return {kDLFloat8_e4m3fn, 8, 1};
  if (name == "i8")
    return {kDLInt, 8, 1};
  return {kDLFloat, static_cast<uint8_t>(name == "f16" ? 16 : 32), 1};
}
static constexpr DLDataType kF32 = {kDLFloat, 32, 1};
static constexpr DLDataType kI32 = {kDLInt, 32, 1};

//===----------------------------------------------------------------------===//
// Traces
//===----------------------------------------------------------------------===//

static std::string getTraceFile(const Options &options, const char *name) {
  return options.trace + "." + name + ".npy";
}

Error bench::readTraceSizes(Options &options, Problem &problem) {
  std::vector<int64_t> shapes[3];
  static const char *const names[] = {"q", "k", "v"};
  for (unsigned i = 0; i < 3; ++i) {
    std::string path = getTraceFile(options, names[i]);
    tool::NpyFile file;
    if (Error error = file.open(path))
      return fail("%s %s", tool::quote(path).c_str(), error.message().c_str());
    shapes[i] = file.header().shape;
    size_t rank = i == 0 ? 3 : 2;
    if (shapes[i].size() != rank)
      return fail("expected %s to have %zu dimensions, got %zu",
                  tool::quote(path).c_str(), rank, shapes[i].size());
  }
  auto [q, k, v] = std::tie(shapes[0], shapes[1], shapes[2]);
  if (k[0] != v[0] || q[2] != k[1] || q[0] < 1 || k[0] < q[0])
    return fail("expected q [rows, heads, D], k [tokens, D] and v [tokens, Dv] "
                "with at least as many tokens as rows, got %s, %s and %s",
                tool::shapeText(q).c_str(), tool::shapeText(k).c_str(),
                tool::shapeText(v).c_str());
  options.batch = 1;
  options.heads = q[1];
  options.kvHeads = 1;
  options.headDim = q[2];
  options.valueDim = v[1];
  options.context = k[0];
  problem.rows = q[0];
  problem.sharesRows = true;
  return Error::success();
}

/// Puts the tokens of a file, of one KV head, where the page table says.
static Error readTokens(const Options &options, const char *name,
                        Problem &problem) {
  std::string path = getTraceFile(options, name);
  Tensor &cache = problem[name];
  int64_t dim = cache.shape().back();
  std::vector<char> tokens(options.context * dim * (cache.type().bits / 8));
  tool::NpyFile file;
  Error error = file.open(path);
  if (!error)
    error = file.read(cache.type(), tokens.data());
  if (error)
    return fail("%s %s", tool::quote(path).c_str(), error.message().c_str());
  size_t bytes = dim * (cache.type().bits / 8);
  for (int64_t t = 0; t < options.context; ++t) {
    int64_t page = problem["table"].ints()[t / options.pageSize];
    memcpy(cache.data() +
               (page * options.pageSize + t % options.pageSize) * bytes,
           tokens.data() + t * bytes, bytes);
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Problems
//===----------------------------------------------------------------------===//

Error bench::makeProblem(const Options &o, Problem &problem) {
  int64_t rows = problem.sharesRows ? problem.rows : o.batch;
  problem.rows = rows;
  int64_t perSequence = (o.context + o.pageSize - 1) / o.pageSize;
  int64_t numPages = o.batch * perSequence;
  DLDataType type = getType(o.dtype);
  struct Wanted {
    std::string name;
    DLDataType type;
    std::vector<int64_t> shape;
  };
  std::vector<Wanted> wanted = {
      {"q", type, {rows, o.heads, o.headDim}},
      {"k", type, {numPages, o.kvHeads, o.pageSize, o.headDim}},
      {"v", type, {numPages, o.kvHeads, o.pageSize, o.valueDim}},
      {"table", kI32, {o.batch, perSequence}},
      {"lens", kI32, {rows}}};
  if (problem.sharesRows)
    wanted.push_back({"rows", kI32, {rows}});
  const std::vector<std::string> none;
  for (const std::string &part : o.routes() ? getSummaryParts(o) : none) {
    if (part == "radius")
      wanted.push_back({part, kF32, {numPages, o.kvHeads}});
    else
      wanted.push_back({part, type, {numPages, o.kvHeads, o.headDim}});
  }
  if (o.isCertified())
    wanted.push_back({"norms", kF32, {numPages, o.kvHeads, 2}});
  if (o.sketch) {
    const Sketch &sketch = o.sketch;
    int64_t numGroups = sketch.getNumGroups(o.headDim);
    std::vector<int64_t> tokens = {numPages, o.kvHeads, o.pageSize};
    auto add = [&](const char *name, DLDataType type, int64_t size) {
      std::vector<int64_t> shape = tokens;
      if (size > 0)
        shape.push_back(size);
      wanted.push_back({name, type, shape});
    };
    add("codes", getType("i8"), sketch.getCodeBytes(o.headDim));
    add("scales", getType(sketch.scaleType), numGroups);
    add("residuals", getType(sketch.normType),
        sketch.hasTokenNorms() ? 0 : numGroups);
    if (sketch.isCentred())
      wanted.push_back(
          {"sketch_centre", type, {numPages, o.kvHeads, o.headDim}});
  }
  for (Wanted &tensor : wanted)
    if (Error error = problem.tensors[tensor.name].allocate(
            tensor.type, std::move(tensor.shape)))
      return error;

  int32_t *table = problem["table"].ints();
  std::iota(table, table + numPages, 0);
  if (o.table == "shuffled")
    for (int64_t i = numPages - 1; i > 0; --i)
      std::swap(table[i], table[mix(o.seed + (1ull << 40) + i) % (i + 1)]);
  for (int64_t r = 0; r < rows; ++r)
    problem["lens"].ints()[r] = static_cast<int32_t>(
        problem.sharesRows ? o.context - (rows - 1 - r) : o.context);

  if (o.trace.empty()) {
    generateData(o, problem);
    return Error::success();
  }
  std::string path = getTraceFile(o, "q");
  tool::NpyFile file;
  Error error = file.open(path);
  if (!error)
    error = file.read(type, problem["q"].data());
  if (error)
    return fail("%s %s", tool::quote(path).c_str(), error.message().c_str());
  if (Error error = readTokens(o, "k", problem))
    return error;
  return readTokens(o, "v", problem);
}

Error bench::shorten(const Options &o, Problem &problem) {
  int64_t perSequence = (o.context + o.pageSize - 1) / o.pageSize;
  Tensor table, &old = problem["table"];
  if (Error error = table.allocate(kI32, {o.batch, perSequence}))
    return error;
  for (int64_t i = 0; i < o.batch; ++i)
    std::copy_n(old.ints() + i * old.shape()[1], perSequence,
                table.ints() + i * perSequence);
  old = std::move(table);
  std::fill_n(problem["lens"].ints(), problem.rows, o.context);
  return Error::success();
}
