//===- Call.cpp - Checks tensors and runs entries -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Error.h"
#include "Module.h"
#include "ThreadPool.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

using namespace vashista::runtime;

namespace {

/// Copies of the arguments that a check reads, on the host.
struct Lists {
  static constexpr unsigned kMost = 5;
  Descriptor copies[kMost];
  Allocation<uint8_t> memory[kMost];
  unsigned count = 0;
};

/// One call, all of it on the stack.
class Call {
public:
  Call(const vashista_module &module, const vso_entry &entry)
      : module(module), manifest(module.manifest), entry(entry),
        values(module.manifest.values(entry)) {}

  vashista_status bind(DLTensor *const *tensors, uint32_t first,
                       uint32_t count);
  vashista_status checkOverlaps() const;
  vashista_status runChecks(cuda::Stream stream);
  void **descriptors() { return pointers; }

private:
  vashista_status copyLists(const vso_check &check, cuda::Stream stream,
                            Lists &lists);
  vashista_status clearResults(cuda::Stream stream);
  vashista_status bindTensor(uint32_t i, const DLTensor *tensor);
  vashista_status checkType(uint32_t i, const DLTensor &tensor) const;
  vashista_status bindSizes(uint32_t i, const DLTensor &tensor);
  vashista_status bindStrides(uint32_t i, const DLTensor &tensor);
  vashista_status bindData(uint32_t i, const DLTensor &tensor);

  /// Keeps "argument 2 'table'<place>: expected <what>".
  __attribute__((format(printf, 3, 4), cold)) vashista_status
  refuse(uint32_t i, const char *format, ...) const;

  bool isWritten(uint32_t i) const {
    return i >= entry.num_arguments || values[i].flags & VSO_VALUE_WRITTEN;
  }

  const vashista_module &module;
  const Manifest &manifest;
  const vso_entry &entry;
  Span<vso_value> values;
  Descriptor storage[VSO_MAX_VALUES];
  Operand operands[VSO_MAX_VALUES];
  void *pointers[VSO_MAX_VALUES];
  /// Bytes of each operand; 0 for one that is empty or not row-major.
  uint64_t bytes[VSO_MAX_VALUES];
};

/// "f32", "bf16", "code 3 of 64 bits"
struct TypeName {
  TypeName(unsigned code, unsigned bits, unsigned lanes) {
    static const char *const prefixes[] = {"i",     "u",  "f",
                                           nullptr, "bf", "complex"};
    static const char *const float8[] = {
        "f8E3M4",     "f8E4M3", "f8E4M3B11FNUZ", "f8E4M3FN",
        "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ",    "f8E8M0FNU"};
    int end;
    if (code == kDLBool && bits == 8)
      end = snprintf(text, sizeof(text), "bool");
    else if (code <= kDLComplex && prefixes[code])
      end = snprintf(text, sizeof(text), "%s%u", prefixes[code], bits);
    else if (code >= kDLFloat8_e3m4 && code <= kDLFloat8_e8m0fnu && bits == 8)
      end = snprintf(text, sizeof(text), "%s", float8[code - kDLFloat8_e3m4]);
    else
      end = snprintf(text, sizeof(text), "code %u of %u bits", code, bits);
    if (lanes != 1)
      snprintf(text + end, sizeof(text) - end, " x %u", lanes);
  }
  char text[48];
};

} // namespace

vashista_status Call::refuse(uint32_t i, const char *format, ...) const {
  char what[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof(what), format, arguments);
  va_end(arguments);
  bool isArgument = i < entry.num_arguments;
  return fail(VASHISTA_INVALID_ARGUMENT, "%s %" PRIu32 " '%s'%s",
              isArgument ? "argument" : "result",
              isArgument ? i : i - entry.num_arguments,
              manifest.string(values[i].name), what);
}

vashista_status Call::bind(DLTensor *const *tensors, uint32_t first,
                           uint32_t count) {
  if (count > 0 && !tensors)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected %" PRIu32 " tensors, got null", count);
  for (uint32_t i = 0; i < count; ++i)
    if (vashista_status status = bindTensor(first + i, tensors[i]))
      return status;
  return VASHISTA_OK;
}

vashista_status Call::bindTensor(uint32_t i, const DLTensor *tensor) {
  const vso_value &value = values[i];
  storage[i] = {};
  bytes[i] = 0;
  pointers[i] = &storage[i];
  operands[i] = {&storage[i], manifest.string(value.name), value.rank,
                 elementBytes(value.code, value.bits)};
  if (!tensor)
    return refuse(i, ": expected a tensor, got null");
  if (vashista_status status = checkType(i, *tensor))
    return status;
  if (vashista_status status = bindSizes(i, *tensor))
    return status;
  if (vashista_status status = bindStrides(i, *tensor))
    return status;
  return bindData(i, *tensor);
}

vashista_status Call::checkType(uint32_t i, const DLTensor &tensor) const {
  const vso_value &value = values[i];
  bool onDevice = module.device.isOpen();
  int32_t number = onDevice ? module.device.getDevice() : 0;
  DLDeviceType wanted = onDevice ? kDLCUDA : kDLCPU;
  if (!onDevice && tensor.device.device_type != kDLCPU)
    return refuse(i, ": expected a tensor of the CPU, got device type %d",
                  static_cast<int>(tensor.device.device_type));
  if (onDevice && (tensor.device.device_type != wanted ||
                   tensor.device.device_id != number))
    return refuse(i,
                  ": expected a tensor of the CUDA device %" PRId32
                  ", got device type %d, number %" PRId32,
                  number, static_cast<int>(tensor.device.device_type),
                  tensor.device.device_id);
  const DLDataType &type = tensor.dtype;
  if (type.code != value.code || type.bits != value.bits || type.lanes != 1)
    return refuse(i, ": expected %s, got %s",
                  TypeName(value.code, value.bits, 1).text,
                  TypeName(type.code, type.bits, type.lanes).text);
  if (tensor.ndim != static_cast<int32_t>(value.rank))
    return refuse(i, ": expected rank %" PRIu32 ", got %" PRId32, value.rank,
                  tensor.ndim);
  if (value.rank > 0 && !tensor.shape)
    return refuse(i, ": expected a shape, got null");
  return VASHISTA_OK;
}

vashista_status Call::bindSizes(uint32_t i, const DLTensor &tensor) {
  Span<vso_dim> dims = manifest.dims(values[i]);
  for (uint32_t d = 0; d < dims.size; ++d) {
    const vso_dim &dim = dims[d];
    int64_t got = tensor.shape[d];
    storage[i].extents[d] = got;
    if (got < 0)
      return refuse(i,
                    ", dimension %" PRIu32 ": expected 0 or more, got %" PRId64,
                    d, got);
    if (dim.kind == VSO_DIM_STATIC && got != dim.size)
      return refuse(
          i, ", dimension %" PRIu32 ": expected %" PRId64 ", got %" PRId64, d,
          dim.size, got);
    if (dim.kind != VSO_DIM_TIED)
      continue;
    const Operand &other = operands[dim.argument];
    int64_t unit = other.size(dim.dim), expected;
    if (__builtin_mul_overflow(dim.size, unit, &expected) || got != expected) {
      char factor[32] = "";
      if (dim.size != 1)
        snprintf(factor, sizeof(factor), "%" PRId64 " times ", dim.size);
      return refuse(i,
                    ", dimension %" PRIu32 ": expected %sthe %" PRId64
                    " of dimension %" PRIu32 " of argument %" PRIu32
                    " '%s', got %" PRId64,
                    d, factor, unit, dim.dim, dim.argument, other.name, got);
    }
  }
  return VASHISTA_OK;
}

vashista_status Call::bindStrides(uint32_t i, const DLTensor &tensor) {
  const Operand &operand = operands[i];
  const int64_t *sizes = storage[i].extents;
  int64_t *strides = storage[i].extents + operand.rank;

  // The strides of a tensor without elements do not matter.
  for (uint32_t d = 0; d < operand.rank; ++d)
    if (sizes[d] == 0)
      return VASHISTA_OK;

  // Row-major, which also tells the number of bytes.
  int64_t next = 1, size;
  bool overflows = false;
  for (uint32_t d = operand.rank; d-- > 0;) {
    strides[d] = next;
    overflows |= __builtin_mul_overflow(next, sizes[d], &next);
  }
  overflows |=
      __builtin_mul_overflow(next, int64_t(operand.elementBytes), &size);
  if (overflows)
    return refuse(i, ": expected fewer than 2^63 bytes, got more");
  bytes[i] = static_cast<uint64_t>(size);
  if (!tensor.strides)
    return VASHISTA_OK;

  for (uint32_t d = 0; d < operand.rank; ++d) {
    int64_t got = tensor.strides[d];
    // Nor that of a single element.
    if (sizes[d] == 1 || got == strides[d])
      continue;
    if (!(values[i].flags & VSO_VALUE_STRIDED))
      return refuse(i,
                    ", dimension %" PRIu32 ": expected the row-major stride "
                    "%" PRId64 ", got %" PRId64,
                    d, strides[d], got);
    if (isWritten(i) && got == 0)
      return refuse(i,
                    ", dimension %" PRIu32 ": expected a stride other than "
                    "0 of what is written, got 0",
                    d);
    bytes[i] = 0;
  }
  if (bytes[i] != 0)
    return VASHISTA_OK;

  int64_t lowest = 0, highest = operand.elementBytes;
  for (uint32_t d = 0; d < operand.rank; ++d) {
    strides[d] = tensor.strides[d];
    int64_t reach;
    if (__builtin_mul_overflow(sizes[d] - 1, strides[d], &reach) ||
        __builtin_mul_overflow(reach, int64_t(operand.elementBytes), &reach) ||
        __builtin_add_overflow(reach < 0 ? lowest : highest, reach,
                               reach < 0 ? &lowest : &highest))
      return refuse(i, ": expected strides that stay within 2^63 bytes, got "
                       "others");
  }
  return VASHISTA_OK;
}

vashista_status Call::bindData(uint32_t i, const DLTensor &tensor) {
  const Operand &operand = operands[i];
  bool isEmpty = false;
  for (uint32_t d = 0; d < operand.rank; ++d)
    isEmpty |= operand.size(d) == 0;
  auto start = reinterpret_cast<uint64_t>(tensor.data);
  uint64_t address;
  if (!tensor.data) {
    if (!isEmpty)
      return refuse(i, ": expected data, got null");
    return VASHISTA_OK;
  }
  uint64_t end;
  if (__builtin_add_overflow(start, tensor.byte_offset, &address) ||
      __builtin_add_overflow(address, bytes[i], &end))
    return refuse(i,
                  ": expected data within the address space, got byte "
                  "offset %" PRIu64,
                  tensor.byte_offset);
  // Pairs of doubles are aligned like doubles. Kernels of a device load 16
  // bytes at a time.
  uint64_t align = operand.elementBytes < 8 ? operand.elementBytes : 8;
  if (module.device.isOpen())
    align = 16;
  if (!isEmpty && address % align != 0)
    return refuse(i,
                  ": expected data aligned to %" PRIu64
                  " bytes, got an address %" PRIu64 " past that",
                  align, address % align);
  storage[i].allocated = storage[i].aligned = reinterpret_cast<void *>(address);
  return VASHISTA_OK;
}

vashista_status Call::checkOverlaps() const {
  auto overlap = [&](uint32_t a, uint32_t b) {
    auto startOf = [&](uint32_t i) {
      return reinterpret_cast<uint64_t>(storage[i].aligned);
    };
    return startOf(a) < startOf(b) + bytes[b] &&
           startOf(b) < startOf(a) + bytes[a];
  };
  for (uint32_t i = 0; i < values.size; ++i) {
    if (!isWritten(i) || bytes[i] == 0)
      continue;
    for (uint32_t j = 0; j < values.size; ++j) {
      if (j == i || bytes[j] == 0 || !overlap(i, j))
        continue;
      bool isArgument = j < entry.num_arguments;
      return refuse(
          i, ": expected memory of its own, got some of %s %" PRIu32 " '%s'",
          isArgument ? "argument" : "result",
          isArgument ? j : j - entry.num_arguments, operands[j].name);
    }
  }
  return VASHISTA_OK;
}

vashista_status Call::copyLists(const vso_check &check, cuda::Stream stream,
                                Lists &lists) {
  const uint32_t numbers[Lists::kMost] = {
      check.table,
      check.kind == VSO_CHECK_POSITIONS ? check.positions : check.lens,
      check.rows, check.list, check.count};
  cuda::ContextScope scope(module.device.getContext());
  if (scope.status)
    return scope.status;
  const cuda::Driver &driver = *cuda::getDriver();
  for (uint32_t i : numbers) {
    if (i == VSO_NONE)
      continue;
    bool isEmpty = false;
    for (uint32_t d = 0; d < operands[i].rank; ++d)
      isEmpty |= operands[i].size(d) == 0;
    // Of any strides it could be anywhere.
    if (bytes[i] == 0 && !isEmpty)
      return refuse(i, ": expected row-major strides in checked mode on a CUDA "
                       "device, got others");
    Allocation<uint8_t> &memory = lists.memory[lists.count];
    memory = Allocation<uint8_t>(bytes[i] ? bytes[i] : 1);
    if (!memory)
      return fail(VASHISTA_OUT_OF_MEMORY,
                  "expected memory of %" PRIu64 " bytes, got none", bytes[i]);
    if (bytes[i])
      if (vashista_status status = cuda::check(
              driver.memoryCopyAsync(
                  reinterpret_cast<cuda::Pointer>(memory.get()),
                  reinterpret_cast<cuda::Pointer>(storage[i].aligned), bytes[i],
                  stream),
              "a list that can be copied to the host"))
        return status;
    Descriptor &copy = lists.copies[lists.count++];
    copy = storage[i];
    copy.allocated = copy.aligned = memory.get();
    operands[i].descriptor = &copy;
  }
  return cuda::check(driver.streamSynchronize(stream),
                     "a stream whose work ends well");
}

vashista_status Call::clearResults(cuda::Stream stream) {
  // Results are row-major.
  for (uint64_t i = entry.num_arguments; i < values.size; ++i) {
    if (!bytes[i])
      continue;
    if (!module.device.isOpen()) {
      memset(storage[i].aligned, 0, bytes[i]);
      continue;
    }
    cuda::ContextScope scope(module.device.getContext());
    if (scope.status)
      return scope.status;
    if (vashista_status status =
            cuda::check(cuda::getDriver()->memorySetAsync(
                            reinterpret_cast<cuda::Pointer>(storage[i].aligned),
                            0, bytes[i], stream),
                        "a result that can be set to zero"))
      return status;
  }
  return VASHISTA_OK;
}

vashista_status Call::runChecks(cuda::Stream stream) {
  for (const vso_check &check : manifest.checks(entry)) {
    Lists lists;
    if (module.device.isOpen())
      if (vashista_status status = copyLists(check, stream, lists))
        return status;
    vashista_status status = runCheck(check, operands);
    for (uint64_t i = 0; i < values.size; ++i)
      operands[i].descriptor = &storage[i];
    if (!status)
      continue;
    // What the check found is what is told, whatever happens to the results.
    char found[1024];
    snprintf(found, sizeof(found), "%s", vashista_last_error());
    if (vashista_status failure = clearResults(stream))
      return failure;
    return fail(status, "%s", found);
  }
  return VASHISTA_OK;
}

/// The entry, if a call may be made of so many tensors.
static vashista_status findEntry(const vashista_module *module,
                                 uint32_t entryNumber, uint32_t numArguments,
                                 uint32_t numResults, const vso_entry *&entry) {
  if (!module)
    return fail(VASHISTA_INVALID_ARGUMENT, "expected a module, got null");
  if (!module->functions)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected a module that was loaded to be called, got one that "
                "was loaded to be described");
  const Manifest &manifest = module->manifest;
  if (entryNumber >= manifest.entries.size)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected one of %" PRIu64 " entries, got number %" PRIu32,
                manifest.entries.size, entryNumber);
  entry = &manifest.entries[entryNumber];
  if (numArguments != entry->num_arguments || numResults != entry->num_results)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "entry '%s': expected %" PRIu32 " arguments and %" PRIu32
                " results, got %" PRIu32 " and %" PRIu32,
                manifest.string(entry->name), entry->num_arguments,
                entry->num_results, numArguments, numResults);
  return VASHISTA_OK;
}

/// Runs the host's part of an entry for a device.
static vashista_status runOnDevice(const vashista_module &module,
                                   vashista_entry_fn *function,
                                   cuda::DeviceCall &device, Call &call) {
  cuda::ContextScope context(module.device.getContext());
  if (context.status)
    return context.status;
  device.code = &module.device;
  CallState state;
  state.device = &device;
  CallScope scope(state);
  function(call.descriptors());
  return device.status;
}

extern "C" vashista_status
vashista_call(const vashista_module *module, uint32_t entryNumber,
              DLTensor *const *arguments, uint32_t numArguments,
              DLTensor *const *results, uint32_t numResults,
              const vashista_call_options *options) {
  const vso_entry *entry = nullptr;
  if (vashista_status status =
          findEntry(module, entryNumber, numArguments, numResults, entry))
    return status;
  if (options && options->struct_size < sizeof(*options))
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected call options of struct_size %zu, got %zu",
                sizeof(*options), options->struct_size);

  Call call(*module, *entry);
  if (vashista_status status = call.bind(arguments, 0, numArguments))
    return status;
  if (vashista_status status = call.bind(results, numArguments, numResults))
    return status;
  if (vashista_status status = call.checkOverlaps())
    return status;
  auto stream = static_cast<cuda::Stream>(options ? options->stream : nullptr);
  if (options && options->checked)
    if (vashista_status status = call.runChecks(stream))
      return status;

  if (module->device.isOpen()) {
    cuda::DeviceCall device;
    device.stream = stream;
    device.workspace = options ? options->workspace : nullptr;
    device.workspaceBytes = options ? options->workspace_bytes : 0;
    return runOnDevice(*module, module->functions[entryNumber], device, call);
  }
  CallState state;
  state.maxThreads = options ? options->threads : 0;
  {
    CallScope scope(state);
    module->functions[entryNumber](call.descriptors());
  }
  if (state.outOfMemory.load(std::memory_order_relaxed))
    return fail(VASHISTA_OUT_OF_MEMORY,
                "entry '%s': expected memory for temporaries, got none",
                module->manifest.string(entry->name));
  return VASHISTA_OK;
}

extern "C" vashista_status
vashista_workspace_bytes(const vashista_module *module, uint32_t entryNumber,
                         DLTensor *const *arguments, uint32_t numArguments,
                         DLTensor *const *results, uint32_t numResults,
                         size_t *bytes) {
  const vso_entry *entry = nullptr;
  if (vashista_status status =
          findEntry(module, entryNumber, numArguments, numResults, entry))
    return status;
  if (!bytes)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected a place for the answer, got null");
  *bytes = 0;
  Call call(*module, *entry);
  if (vashista_status status = call.bind(arguments, 0, numArguments))
    return status;
  if (vashista_status status = call.bind(results, numArguments, numResults))
    return status;
  if (!module->device.isOpen())
    return VASHISTA_OK;
  // The entry asks for its workspace before it does anything else.
  cuda::DeviceCall device;
  device.isMeasured = true;
  if (vashista_status status =
          runOnDevice(*module, module->functions[entryNumber], device, call))
    return status;
  *bytes = device.neededBytes;
  return VASHISTA_OK;
}
