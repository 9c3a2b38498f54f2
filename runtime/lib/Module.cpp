//===- Module.cpp - A loaded artefact -------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Module.h"
#include "Error.h"
#include "Temporaries.h"
#include "ThreadPool.h"
#include "cpu/Features.h"

#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/stat.h>
#include <unistd.h>

using namespace vashista::runtime;

static vashista_status outOfMemory(uint64_t size) {
  return fail(VASHISTA_OUT_OF_MEMORY,
              "expected memory of %" PRIu64 " bytes, got none", size);
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

vashista_module::vashista_module() { acquirePool(); }
vashista_module::~vashista_module() { releasePool(); }

/// The first payload whose host code this CPU can run.
static vashista_status chooseForCpu(const Manifest &manifest,
                                    const vso_payload *&chosen) {
  const char *missing = "", *wanted = nullptr;
  size_t missingLength = 0;
  for (const vso_payload &payload : manifest.payloads) {
    if (payload.kind != VSO_PAYLOAD_ELF_X86_64)
      continue;
    wanted = manifest.string(payload.features);
    if (hasCpuFeatures(wanted, missing, missingLength)) {
      chosen = &payload;
      return VASHISTA_OK;
    }
  }
  if (!wanted)
    return fail(VASHISTA_UNSUPPORTED,
                "expected an artefact with code for the CPU, got one without");
  return fail(VASHISTA_UNSUPPORTED,
              "expected a CPU with the features '%s', got one without '%.*s'",
              wanted, static_cast<int>(missingLength), missing);
}

vashista_status vashista_module::choose(const vashista_load_options *options,
                                        const vso_payload *&chosen) {
  DLDevice wanted = options ? options->device : DLDevice{DLDeviceType(0), 0};
  bool hasCpu = false;
  for (const vso_payload &its : manifest.payloads)
    hasCpu |= its.kind == VSO_PAYLOAD_ELF_X86_64;
  if (wanted.device_type == 0)
    wanted = {hasCpu ? kDLCPU : kDLCUDA, 0};
  if (wanted.device_type == kDLCPU)
    return chooseForCpu(manifest, chosen);
  if (wanted.device_type != kDLCUDA)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected the CPU (device type %d) or a CUDA device (%d), got "
                "device type %d",
                kDLCPU, kDLCUDA, static_cast<int>(wanted.device_type));
  if (vashista_status status = device.open(wanted.device_id))
    return status;
  if (vashista_status status = device.choose(manifest, chosen))
    return status;
  const char *missing = "";
  size_t missingLength = 0;
  if (!hasCpuFeatures(manifest.string(chosen->features), missing,
                      missingLength))
    return fail(VASHISTA_UNSUPPORTED,
                "expected a CPU with the features '%s', got one without '%.*s'",
                manifest.string(chosen->features),
                static_cast<int>(missingLength), missing);
  return VASHISTA_OK;
}

vashista_status vashista_module::load(Allocation<uint8_t> file, size_t size,
                                      const vashista_load_options *options) {
  bytes = static_cast<Allocation<uint8_t> &&>(file);
  if (vashista_status status = manifest.verify(bytes.get(), size))
    return status;
  if (options && options->digest &&
      memcmp(options->digest, manifest.header().digest, 32) != 0)
    return fail(VASHISTA_MALFORMED,
                "expected an artefact with the given digest, got another one");

  if (options && options->describe_only) {
    features = manifest.string(manifest.payloads[0].features);
    return VASHISTA_OK;
  }
  const vso_payload *chosen = nullptr;
  if (vashista_status status = choose(options, chosen))
    return status;
  features = manifest.string(chosen->features);
  if (vashista_status status =
          payload.map(bytes.get() + chosen->offset, chosen->bytes))
    return status;

  functions = Allocation<vashista_entry_fn *>(manifest.entries.size);
  if (!functions)
    return outOfMemory(manifest.entries.size * sizeof(void *));
  for (uint64_t i = 0; i < manifest.entries.size; ++i) {
    void *function = nullptr;
    if (vashista_status status =
            payload.find(manifest.string(manifest.entries[i].symbol), function))
      return status;
    functions[i] = reinterpret_cast<vashista_entry_fn *>(function);
  }
  void *bind = nullptr;
  if (vashista_status status = payload.find(VSO_BIND_SYMBOL, bind))
    return status;
  reinterpret_cast<vashista_bind_fn *>(bind)(&host);
  if (chosen->kind != VSO_PAYLOAD_CUDA)
    return VASHISTA_OK;

  architecture = manifest.string(chosen->architecture);
  const char *names = nullptr;
  uint64_t namesBytes = 0;
  if (vashista_status status =
          payload.findObject(VSO_KERNELS_SYMBOL, names, namesBytes))
    return status;
  if (namesBytes == 0 || names[namesBytes - 1] != '\0')
    return fail(VASHISTA_LOAD_FAILED,
                "expected names of kernels that end with NUL, got others");
  // Payloads from before any kernel waited have no such object.
  const char *waits = nullptr;
  uint64_t waitsBytes = 0;
  if (payload.exports(VSO_WAITS_SYMBOL))
    if (vashista_status status =
            payload.findObject(VSO_WAITS_SYMBOL, waits, waitsBytes))
      return status;
  return device.load(bytes.get() + chosen->image_offset, names, namesBytes,
                     waits, waitsBytes);
}

static vashista_status checkLoad(const vashista_load_options *options,
                                 vashista_module **module) {
  if (!module)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected a place for the module, got null");
  *module = nullptr;
  if (options && options->struct_size < sizeof(*options))
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected load options of struct_size %zu, got %zu",
                sizeof(*options), options->struct_size);
  return VASHISTA_OK;
}

static vashista_status loadModule(Allocation<uint8_t> bytes, size_t size,
                                  const vashista_load_options *options,
                                  vashista_module **module) {
  void *memory = malloc(sizeof(vashista_module));
  if (!memory)
    return outOfMemory(sizeof(vashista_module));
  auto *loaded = new (memory) vashista_module;
  if (vashista_status status = loaded->load(
          static_cast<Allocation<uint8_t> &&>(bytes), size, options)) {
    vashista_module_free(loaded);
    return status;
  }
  *module = loaded;
  return VASHISTA_OK;
}

/// Reads a whole file: what is verified must not change afterwards.
static vashista_status readFile(const char *path, Allocation<uint8_t> &bytes,
                                size_t &size) {
  // Not blocking, in case that it is a pipe.
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return fail(errno == ENOENT ? VASHISTA_NOT_FOUND : VASHISTA_IO_ERROR,
                "expected to open '%s', got: %m", path);
  struct stat about;
  vashista_status status = VASHISTA_OK;
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
    status = fail(VASHISTA_IO_ERROR,
                  "expected '%s' to be a file, got something else", path);
  } else {
    size = static_cast<size_t>(about.st_size);
    bytes = Allocation<uint8_t>(size);
    if (!bytes)
      status = outOfMemory(size);
  }
  for (size_t done = 0; !status && done < size;) {
    ssize_t got = read(file, bytes.get() + done, size - done);
    if (got > 0)
      done += static_cast<size_t>(got);
    else if (got == 0)
      status = fail(VASHISTA_IO_ERROR,
                    "expected %zu bytes in '%s', got %zu: it changed", size,
                    path, done);
    else if (errno != EINTR)
      status = fail(VASHISTA_IO_ERROR, "expected to read '%s', got: %m", path);
  }
  close(file);
  return status;
}

extern "C" vashista_status
vashista_module_load(const char *path, const vashista_load_options *options,
                     vashista_module **module) {
  if (vashista_status status = checkLoad(options, module))
    return status;
  if (!path)
    return fail(VASHISTA_INVALID_ARGUMENT, "expected a path, got null");
  Allocation<uint8_t> bytes;
  size_t size = 0;
  if (vashista_status status = readFile(path, bytes, size))
    return status;
  return loadModule(static_cast<Allocation<uint8_t> &&>(bytes), size, options,
                    module);
}

/// A copy that stays as it is, aligned for the records.
static vashista_status copyBytes(const void *bytes, size_t size,
                                 Allocation<uint8_t> &copy) {
  if (!bytes)
    return fail(VASHISTA_INVALID_ARGUMENT, "expected bytes, got null");
  copy = Allocation<uint8_t>(size);
  if (!copy)
    return outOfMemory(size);
  memcpy(copy.get(), bytes, size);
  return VASHISTA_OK;
}

extern "C" vashista_status
vashista_module_load_bytes(const void *bytes, size_t size,
                           const vashista_load_options *options,
                           vashista_module **module) {
  if (vashista_status status = checkLoad(options, module))
    return status;
  Allocation<uint8_t> copy;
  if (vashista_status status = copyBytes(bytes, size, copy))
    return status;
  return loadModule(static_cast<Allocation<uint8_t> &&>(copy), size, options,
                    module);
}

extern "C" vashista_status vashista_artefact_verify(const void *bytes,
                                                    size_t size) {
  Allocation<uint8_t> copy;
  if (vashista_status status = copyBytes(bytes, size, copy))
    return status;
  return Manifest().verify(copy.get(), size);
}

extern "C" void vashista_module_free(vashista_module *module) {
  if (!module)
    return;
  module->~vashista_module();
  free(module);
  releaseTemporaries();
}

//===----------------------------------------------------------------------===//
// Describing
//===----------------------------------------------------------------------===//

static vashista_status checkDescribe(const vashista_module *module,
                                     const void *info) {
  if (!module)
    return fail(VASHISTA_INVALID_ARGUMENT, "expected a module, got null");
  if (!info)
    return fail(VASHISTA_INVALID_ARGUMENT,
                "expected a place for the answer, got null");
  return VASHISTA_OK;
}

static vashista_status checkIndex(const char *what, uint32_t index,
                                  uint64_t count) {
  if (index < count)
    return VASHISTA_OK;
  return fail(VASHISTA_INVALID_ARGUMENT,
              "expected one of %" PRIu64 " %s, got number %" PRIu32, count,
              what, index);
}

static vashista_status checkEntry(const vashista_module *module, uint32_t entry,
                                  const void *info) {
  if (vashista_status status = checkDescribe(module, info))
    return status;
  return checkIndex("entries", entry, module->manifest.entries.size);
}

extern "C" vashista_status
vashista_module_describe(const vashista_module *module,
                         vashista_module_info *info) {
  if (vashista_status status = checkDescribe(module, info))
    return status;
  const Manifest &manifest = module->manifest;
  const vso_header &header = manifest.header();
  *info = {manifest.string(header.producer),
           manifest.string(header.compiler),
           module->features,
           header.digest,
           header.format_version,
           static_cast<uint32_t>(manifest.entries.size),
           static_cast<uint32_t>(manifest.payloads.size),
           {module->device.isOpen() ? kDLCUDA : kDLCPU,
            module->device.isOpen() ? module->device.getDevice() : 0},
           module->architecture};
  return VASHISTA_OK;
}

extern "C" vashista_status
vashista_payload_describe(const vashista_module *module, uint32_t payload,
                          vashista_payload_info *info) {
  if (vashista_status status = checkDescribe(module, info))
    return status;
  const Manifest &manifest = module->manifest;
  if (vashista_status status =
          checkIndex("payloads", payload, manifest.payloads.size))
    return status;
  const vso_payload &record = manifest.payloads[payload];
  bool hasImage = record.kind == VSO_PAYLOAD_CUDA;
  *info = {hasImage ? kDLCUDA : kDLCPU, manifest.string(record.features),
           hasImage ? manifest.string(record.architecture) : nullptr};
  return VASHISTA_OK;
}

extern "C" vashista_status vashista_find_entry(const vashista_module *module,
                                               const char *name,
                                               uint32_t *entry) {
  if (vashista_status status = checkDescribe(module, entry))
    return status;
  if (!name)
    return fail(VASHISTA_INVALID_ARGUMENT, "expected a name, got null");
  const Manifest &manifest = module->manifest;
  for (uint64_t i = 0; i < manifest.entries.size; ++i) {
    if (strcmp(manifest.string(manifest.entries[i].name), name) == 0) {
      *entry = static_cast<uint32_t>(i);
      return VASHISTA_OK;
    }
  }
  return fail(VASHISTA_NOT_FOUND,
              "expected an entry such as '%s', got '%s', which is none",
              manifest.string(manifest.entries[0].name), name);
}

extern "C" vashista_status
vashista_entry_describe(const vashista_module *module, uint32_t entry,
                        vashista_entry_info *info) {
  if (vashista_status status = checkEntry(module, entry, info))
    return status;
  const vso_entry &record = module->manifest.entries[entry];
  *info = {module->manifest.string(record.name), record.num_arguments,
           record.num_results, record.num_constants, record.num_checks};
  return VASHISTA_OK;
}

static void describeValue(const Manifest &manifest, const vso_value &value,
                          vashista_value_info &info) {
  info = {};
  info.name = manifest.string(value.name);
  info.dtype = {value.code, value.bits, 1};
  info.rank = static_cast<int32_t>(value.rank);
  info.written = (value.flags & VSO_VALUE_WRITTEN) != 0;
  info.strided = (value.flags & VSO_VALUE_STRIDED) != 0;
  info.faults = (value.flags & VSO_VALUE_FAULTS) != 0;
  int32_t check = value.flags >> VSO_VALUE_CHECK;
  info.check = info.faults && check != VSO_NO_CHECK ? check : -1;
  vashista_dim *out = info.dims;
  for (const vso_dim &dim : manifest.dims(value)) {
    bool tied = dim.kind == VSO_DIM_TIED;
    *out++ = {static_cast<vashista_dim_kind>(dim.kind), tied ? dim.argument : 0,
              tied ? dim.dim : 0, dim.size};
  }
}

extern "C" vashista_status
vashista_argument_describe(const vashista_module *module, uint32_t entry,
                           uint32_t argument, vashista_value_info *info) {
  if (vashista_status status = checkEntry(module, entry, info))
    return status;
  const vso_entry &record = module->manifest.entries[entry];
  if (vashista_status status =
          checkIndex("arguments", argument, record.num_arguments))
    return status;
  describeValue(module->manifest, module->manifest.values(record)[argument],
                *info);
  return VASHISTA_OK;
}

extern "C" vashista_status
vashista_result_describe(const vashista_module *module, uint32_t entry,
                         uint32_t result, vashista_value_info *info) {
  if (vashista_status status = checkEntry(module, entry, info))
    return status;
  const vso_entry &record = module->manifest.entries[entry];
  if (vashista_status status =
          checkIndex("results", result, record.num_results))
    return status;
  describeValue(
      module->manifest,
      module->manifest.values(record)[uint64_t(record.num_arguments) + result],
      *info);
  return VASHISTA_OK;
}

extern "C" vashista_status
vashista_constant_describe(const vashista_module *module, uint32_t entry,
                           uint32_t constant, vashista_constant_info *info) {
  if (vashista_status status = checkEntry(module, entry, info))
    return status;
  const Manifest &manifest = module->manifest;
  const vso_entry &record = manifest.entries[entry];
  if (vashista_status status =
          checkIndex("constants", constant, record.num_constants))
    return status;
  const vso_constant &found = manifest.constants(record)[constant];
  *info = {manifest.string(found.name), manifest.string(found.value)};
  return VASHISTA_OK;
}

extern "C" vashista_status
vashista_check_describe(const vashista_module *module, uint32_t entry,
                        uint32_t check, vashista_check_info *info) {
  if (vashista_status status = checkEntry(module, entry, info))
    return status;
  const vso_entry &record = module->manifest.entries[entry];
  if (vashista_status status = checkIndex("checks", check, record.num_checks))
    return status;
  const vso_check &found = module->manifest.checks(record)[check];
  auto number = [](uint32_t field) {
    return field == VSO_NONE ? -1 : static_cast<int32_t>(field);
  };
  *info = {static_cast<vashista_check_kind>(found.kind),
           number(found.table),
           number(found.lens),
           number(found.rows),
           number(found.cache),
           number(found.cache_dim),
           number(found.positions),
           number(found.list),
           number(found.count),
           found.unit == VSO_UNIT_PAGES,
           found.page_size};
  return VASHISTA_OK;
}
