//===- Execute.cpp - Runs an entry on files -------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Execute.h"
#include "Buffer.h"
#include "Device.h"
#include "Json.h"
#include "List.h"
#include "NpyFile.h"
#include "OutputFolder.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cmath>
#include <cstring>
#include <type_traits>

using namespace vashista::run;
using namespace vashista::tool;

namespace {

/// An argument or a result in memory.
struct Tensor {
  ValueInfo info;
  Shape shape;
  Buffer buffer;
  /// Of what is written, if it is run again: before and after the first run.
  Buffer before, after;
  /// Of an argument: where it is from. Of what is stored: where to.
  std::string source, target;
  DLTensor dl = {};
  /// Of a device, where it runs on one: what the buffer is copied to and from.
  DeviceMemory memory;
};

class Execution {
public:
  Execution(const vashista_module *module, uint32_t entry,
            const Options &options)
      : module(module), entry(entry), options(options) {}

  Error run();
  std::string reportText() const;
  std::string reportJson() const;

private:
  Error checkCount(const std::vector<ValueInfo> &infos) const;
  Error checkTypes(const char *what, const std::vector<ValueInfo> &infos) const;
  Error checkShape(size_t i, const Shape &shape) const;
  Error loadArgument(size_t i);
  Error makeResult(size_t i);
  Error allocate(Tensor &tensor, Buffer &buffer, const std::string &what);
  Error describeMemory(Tensor &tensor, const std::string &what);
  bool isOnDevice() const { return options.device.device_type != kDLCPU; }
  /// To the device, and from it; nothing where there is none.
  Error upload(const Tensor &tensor) const;
  Error download() const;
  Error call(bool checked);
  Error repeat();
  Error store();

  int64_t sizeOf(const vashista_dim &dim) const;
  std::string describeArgument(size_t i) const {
    return text("argument %zu %s (%s)", i,
                quote(arguments[i].info.name).c_str(),
                printable(arguments[i].source).c_str());
  }
  std::string describeResult(size_t i) const {
    return text("result %zu %s", i, quote(results[i].info.name).c_str());
  }
  double minimum() const {
    return *std::min_element(times.begin(), times.end());
  }
  double median() const;

  const vashista_module *module;
  uint32_t entry;
  const Options &options;
  std::vector<Tensor> arguments, results;
  std::vector<DLTensor *> argumentPointers, resultPointers;
  /// Those that are written, with what they are called.
  std::vector<std::pair<Tensor *, std::string>> written;
  OutputFolder folder;
  std::vector<double> times;
};

} // namespace

static const char *entryName(const vashista_module *module, uint32_t entry) {
  vashista_entry_info info = {};
  vashista_entry_describe(module, entry, &info);
  return info.name;
}

//===----------------------------------------------------------------------===//
// Before the run
//===----------------------------------------------------------------------===//

Error Execution::checkCount(const std::vector<ValueInfo> &infos) const {
  if (options.arguments.size() == infos.size())
    return Error::success();
  std::string names;
  for (const ValueInfo &info : infos)
    names += (names.empty() ? ": " : ", ") + quote(info.name);
  return fail("expected %zu files after --args for entry '%s'%s, got %zu",
              infos.size(), entryName(module, entry), names.c_str(),
              options.arguments.size());
}

Error Execution::checkTypes(const char *what,
                            const std::vector<ValueInfo> &infos) const {
  for (size_t i = 0; i < infos.size(); ++i)
    if (bytesOf(infos[i].dtype) == 0)
      return fail("%s %zu %s: expected an element type that vashista-run "
                  "knows, got %s",
                  what, i, quote(infos[i].name).c_str(),
                  nameOf(infos[i].dtype).c_str());
  return Error::success();
}

/// -1 where it is too large for any memory.
int64_t Execution::sizeOf(const vashista_dim &dim) const {
  if (dim.kind == VASHISTA_DIM_STATIC)
    return dim.size;
  int64_t size;
  return __builtin_mul_overflow(dim.size,
                                arguments[dim.argument].shape[dim.dim], &size)
             ? -1
             : size;
}

/// Sizes of arguments before it, and of its own dimensions before, are known.
Error Execution::checkShape(size_t i, const Shape &shape) const {
  const ValueInfo &info = arguments[i].info;
  std::string expected = "[", notes;
  bool fits = shape.size() == static_cast<size_t>(info.rank);
  for (int32_t d = 0; d < info.rank; ++d) {
    const vashista_dim &dim = info.dims[d];
    bool isOwn = dim.kind == VASHISTA_DIM_TIED && dim.argument == i;
    expected += d ? ", " : "";
    if (dim.kind == VASHISTA_DIM_DYNAMIC) {
      expected += "?";
      continue;
    }
    // Of a wrong rank, own dimensions may not be there.
    int64_t size = -1;
    if (!isOwn)
      size = sizeOf(dim);
    else if (fits && __builtin_mul_overflow(dim.size, shape[dim.dim], &size))
      size = -1;
    expected += size < 0 ? "?" : std::to_string(size);
    if (dim.kind == VASHISTA_DIM_TIED)
      notes += text(
          "%s dimension %d is %sdimension %" PRIu32 " of %s",
          notes.empty() ? ", where" : " and", d,
          dim.size == 1 ? "" : text("%" PRId64 " times ", dim.size).c_str(),
          dim.dim, quote(arguments[dim.argument].info.name).c_str());
    if (fits && shape[static_cast<size_t>(d)] != size)
      fits = false;
  }
  if (fits)
    return Error::success();
  return fail("%s: expected shape %s], got %s%s", describeArgument(i).c_str(),
              expected.c_str(), shapeText(shape).c_str(), notes.c_str());
}

Error Execution::allocate(Tensor &tensor, Buffer &buffer,
                          const std::string &what) {
  size_t size = bytesOf(tensor.info.dtype);
  bool overflows = false;
  bool isEmpty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) !=
                 tensor.shape.end();
  for (int64_t dim : tensor.shape)
    overflows |= !isEmpty &&
                 (dim < 0 || __builtin_mul_overflow(size, size_t(dim), &size));
  if (isEmpty)
    size = 0;
  if (overflows)
    return fail("out of memory: %s is larger than the address space",
                what.c_str());
  if (!buffer.allocate(size))
    return fail("out of memory: %s needs %zu bytes", what.c_str(), size);
  return Error::success();
}

static Error failed() {
  return fail("%s", printable(vashista_last_error()).c_str());
}

Error Execution::upload(const Tensor &tensor) const {
  if (isOnDevice() &&
      vashista_memory_copy(options.device, tensor.memory.data(),
                           tensor.buffer.data(), tensor.buffer.size(), nullptr))
    return failed();
  return Error::success();
}

Error Execution::download() const {
  for (const auto &[tensor, name] : written)
    if (isOnDevice() &&
        vashista_memory_copy(options.device, tensor->buffer.data(),
                             tensor->memory.data(), tensor->buffer.size(),
                             nullptr))
      return failed();
  return Error::success();
}

Error Execution::describeMemory(Tensor &tensor, const std::string &what) {
  tensor.dl.data = tensor.buffer.data();
  tensor.dl.device = options.device;
  if (isOnDevice()) {
    if (!tensor.memory.allocate(options.device, tensor.buffer.size()))
      return fail("%s: %s", what.c_str(),
                  printable(vashista_last_error()).c_str());
    tensor.dl.data = tensor.memory.data();
    if (Error error = upload(tensor))
      return error;
  }
  tensor.dl.ndim = static_cast<int32_t>(tensor.shape.size());
  tensor.dl.dtype = tensor.info.dtype;
  tensor.dl.shape = tensor.shape.data();
  return Error::success();
}

Error Execution::loadArgument(size_t i) {
  Tensor &tensor = arguments[i];
  std::string what = describeArgument(i);
  NpyFile file;
  if (Error error = file.open(tensor.source))
    return fail("%s: %s", what.c_str(), error.message().c_str());
  if (Error error = checkConversion(file.header().type, tensor.info.dtype))
    return fail("%s: %s", what.c_str(), error.message().c_str());
  if (Error error = checkShape(i, file.header().shape))
    return error;
  tensor.shape = file.header().shape;
  if (Error error = allocate(tensor, tensor.buffer, what))
    return error;
  if (Error error = file.read(tensor.info.dtype, tensor.buffer.data()))
    return fail("%s: %s", what.c_str(), error.message().c_str());
  return describeMemory(tensor, what);
}

Error Execution::makeResult(size_t i) {
  Tensor &tensor = results[i];
  for (int32_t d = 0; d < tensor.info.rank; ++d)
    tensor.shape.push_back(sizeOf(tensor.info.dims[d]));
  if (Error error = allocate(tensor, tensor.buffer, describeResult(i)))
    return error;
  return describeMemory(tensor, describeResult(i));
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

Error Execution::call(bool checked) {
  vashista_call_options callOptions = VASHISTA_CALL_OPTIONS_INIT;
  callOptions.checked = checked;
  callOptions.threads = options.threads;
  if (vashista_call(module, entry, argumentPointers.data(),
                    static_cast<uint32_t>(arguments.size()),
                    resultPointers.data(),
                    static_cast<uint32_t>(results.size()), &callOptions))
    return failed();
  if (isOnDevice() && vashista_synchronize(options.device, nullptr))
    return failed();
  return Error::success();
}

Error Execution::repeat() {
  for (auto &[tensor, name] : written)
    memcpy(tensor->after.data(), tensor->buffer.data(), tensor->buffer.size());
  for (uint32_t i = 0; i < options.repeat; ++i) {
    // Results are overwritten too, so that one that a run leaves out is
    // noticed.
    for (auto &[tensor, name] : written) {
      if (tensor->before.data())
        memcpy(tensor->buffer.data(), tensor->before.data(),
               tensor->buffer.size());
      else
        memset(tensor->buffer.data(), 0xff, tensor->buffer.size());
      if (Error error = upload(*tensor))
        return error;
    }
    auto start = std::chrono::steady_clock::now();
    if (Error error = call(/*checked=*/false))
      return error;
    std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start;
    times.push_back(time.count());
    if (Error error = download())
      return error;
    for (auto &[tensor, name] : written)
      if (memcmp(tensor->buffer.data(), tensor->after.data(),
                 tensor->buffer.size()) != 0)
        return fail("%s: expected each run to give the same bits, got others "
                    "in run %u of %u",
                    name.c_str(), i + 1, options.repeat);
  }
  return Error::success();
}

Error Execution::run() {
  std::vector<ValueInfo> infos = argumentsOf(module, entry);
  std::vector<ValueInfo> resultInfos = resultsOf(module, entry);
  if (Error error = checkCount(infos))
    return error;
  if (Error error = checkTypes("argument", infos))
    return error;
  if (Error error = checkTypes("result", resultInfos))
    return error;
  if (options.hasOut)
    if (Error error = folder.open(options.out))
      return error;

  arguments.resize(infos.size());
  results.resize(resultInfos.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    arguments[i].info = infos[i];
    arguments[i].source = options.arguments[i];
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (Error error = loadArgument(i))
      return error;
    argumentPointers.push_back(&arguments[i].dl);
    if (arguments[i].info.written)
      written.emplace_back(&arguments[i], describeArgument(i));
  }
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].info = resultInfos[i];
    if (Error error = makeResult(i))
      return error;
    resultPointers.push_back(&results[i].dl);
    written.emplace_back(&results[i], describeResult(i));
  }
  if (options.repeat) {
    for (auto &[tensor, name] : written) {
      if (Error error = allocate(*tensor, tensor->after, "a copy of " + name))
        return error;
      if (!tensor->info.written)
        continue;
      if (Error error = allocate(*tensor, tensor->before, "a copy of " + name))
        return error;
      memcpy(tensor->before.data(), tensor->buffer.data(),
             tensor->buffer.size());
    }
  }

  if (Error error = call(options.checked))
    return error;
  if (Error error = download())
    return error;
  if (options.repeat)
    if (Error error = repeat())
      return error;
  return options.hasOut ? store() : Error::success();
}

Error Execution::store() {
  for (size_t i = 0; i < results.size(); ++i)
    if (Error error = folder.add(text("%zu.npy", i), results[i].info.dtype,
                                 results[i].shape, results[i].buffer.data(),
                                 results[i].target))
      return error;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].info.written)
      if (Error error =
              folder.add(text("arg%zu.npy", i), arguments[i].info.dtype,
                         arguments[i].shape, arguments[i].buffer.data(),
                         arguments[i].target))
        return error;
  return folder.commit();
}

//===----------------------------------------------------------------------===//
// After the run
//===----------------------------------------------------------------------===//

double Execution::median() const {
  std::vector<double> sorted = times;
  std::sort(sorted.begin(), sorted.end());
  size_t middle = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[middle]
                           : (sorted[middle - 1] + sorted[middle]) / 2;
}

static std::string numberText(double number) { return text("%.6g", number); }
static std::string numberText(int64_t number) { return std::to_string(number); }
static std::string numberText(uint64_t number) {
  return std::to_string(number);
}

/// ", min -1, max 2, mean 0.5, 0 NaN"; a NaN is only counted.
template <typename Stored, typename Widen>
static std::string statistics(const Buffer &buffer, Widen widen) {
  using Number = decltype(widen(Stored()));
  size_t all = buffer.size() / sizeof(Stored), count = 0;
  double sum = 0;
  Number least = 0, most = 0;
  for (size_t i = 0; i < all; ++i) {
    Stored stored;
    memcpy(&stored, buffer.data() + i * sizeof(Stored), sizeof(Stored));
    Number number = widen(stored);
    if (std::isnan(static_cast<double>(number)))
      continue;
    least = count == 0 || number < least ? number : least;
    most = count == 0 || number > most ? number : most;
    sum += static_cast<double>(number);
    ++count;
  }
  std::string result;
  if (count > 0)
    result = ", min " + numberText(least) + ", max " + numberText(most) +
             ", mean " + numberText(sum / static_cast<double>(count));
  if (std::is_floating_point_v<Number>)
    result += text(", %zu NaN", all - count);
  return result;
}

template <typename Stored, typename Number>
static std::string statistics(const Buffer &buffer) {
  return statistics<Stored>(
      buffer, [](Stored stored) { return static_cast<Number>(stored); });
}

static std::string statistics(DLDataType type, const Buffer &buffer) {
  if (isFloat8(type))
    return ", raw bits";
  if (type.code == kDLBfloat)
    return statistics<uint16_t>(
        buffer, [](uint16_t bits) -> double { return widenBF16(bits); });
  if (type.code == kDLFloat)
    return type.bits == 16   ? statistics<uint16_t>(buffer,
                                                  [](uint16_t bits) -> double {
                                                    return widenF16(bits);
                                                  })
           : type.bits == 32 ? statistics<float, double>(buffer)
                             : statistics<double, double>(buffer);
  if (type.code == kDLInt)
    return type.bits == 8    ? statistics<int8_t, int64_t>(buffer)
           : type.bits == 16 ? statistics<int16_t, int64_t>(buffer)
           : type.bits == 32 ? statistics<int32_t, int64_t>(buffer)
                             : statistics<int64_t, int64_t>(buffer);
  return type.bits == 8    ? statistics<uint8_t, uint64_t>(buffer)
         : type.bits == 16 ? statistics<uint16_t, uint64_t>(buffer)
         : type.bits == 32 ? statistics<uint32_t, uint64_t>(buffer)
                           : statistics<uint64_t, uint64_t>(buffer);
}

std::string Execution::reportText() const {
  std::string report = text("entry '%s'\n", entryName(module, entry));
  auto add = [&](const Tensor &tensor, const std::string &name,
                 bool isWritten) {
    report +=
        name + ": " + nameOf(tensor.info.dtype) + " " + shapeText(tensor.shape);
    if (isWritten)
      report += statistics(tensor.info.dtype, tensor.buffer);
    if (!tensor.target.empty())
      report += ", in " + printable(tensor.target);
    report += "\n";
  };
  for (size_t i = 0; i < arguments.size(); ++i)
    add(arguments[i], describeArgument(i), arguments[i].info.written);
  for (size_t i = 0; i < results.size(); ++i)
    add(results[i], describeResult(i), true);
  if (!times.empty())
    report +=
        text("%zu run%s: minimum %.6f ms, median %.6f ms\n", times.size(),
             times.size() == 1 ? "" : "s", minimum() * 1e3, median() * 1e3);
  return report;
}

std::string Execution::reportJson() const {
  JsonWriter json;
  json.beginObject();
  json.key("entry");
  json.string(entryName(module, entry));
  json.key("times");
  json.beginArray();
  for (double time : times)
    json.number(time);
  json.endArray();
  if (!times.empty()) {
    json.key("minimum");
    json.number(minimum());
    json.key("median");
    json.number(median());
  }
  auto add = [&](const char *key, const std::vector<Tensor> &tensors) {
    json.key(key);
    json.beginArray();
    for (const Tensor &tensor : tensors) {
      json.beginObject();
      json.key("name");
      json.string(tensor.info.name);
      json.key("dtype");
      json.string(nameOf(tensor.info.dtype));
      json.key("shape");
      json.shape(tensor.shape);
      json.key("file");
      if (tensor.target.empty())
        json.null();
      else
        json.string(tensor.target);
      json.endObject();
    }
    json.endArray();
  };
  add("arguments", arguments);
  add("results", results);
  json.endObject();
  return json.take();
}

Error vashista::run::execute(const vashista_module *module, uint32_t entry,
                             const Options &options, std::string &report) {
  Execution execution(module, entry, options);
  if (Error error = execution.run())
    return error;
  report = options.json ? execution.reportJson() : execution.reportText();
  return Error::success();
}
