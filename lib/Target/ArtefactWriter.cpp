//===- ArtefactWriter.cpp - Writes .vso files -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Target/ArtefactWriter.h"
#include "vashista_artefact.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

#include <cstddef>
#include <cstring>

using namespace llvm;
using namespace vashista;

ArtefactCheck ArtefactCheck::getTable(unsigned table, unsigned lens,
                                      std::optional<unsigned> rows,
                                      unsigned cache, unsigned cacheDim,
                                      int64_t pageSize) {
  ArtefactCheck check;
  check.kind = Kind::table;
  check.table = table;
  check.lens = lens;
  check.rows = rows;
  check.cache = cache;
  check.cacheDim = cacheDim;
  check.pageSize = pageSize;
  return check;
}

ArtefactCheck ArtefactCheck::getPositions(unsigned positions, unsigned table,
                                          std::optional<unsigned> rows,
                                          unsigned cache, unsigned cacheDim,
                                          int64_t pageSize) {
  ArtefactCheck check;
  check.kind = Kind::positions;
  check.positions = positions;
  check.table = table;
  check.rows = rows;
  check.cache = cache;
  check.cacheDim = cacheDim;
  check.pageSize = pageSize;
  return check;
}

ArtefactCheck ArtefactCheck::getList(unsigned list,
                                     std::optional<unsigned> count,
                                     unsigned lens, bool inPages,
                                     int64_t pageSize) {
  ArtefactCheck check;
  check.kind = Kind::list;
  check.list = list;
  check.count = count;
  check.lens = lens;
  check.inPages = inPages;
  check.pageSize = pageSize;
  return check;
}

namespace {

/// Lays out an artefact: records first, then everything into one string.
class Writer {
public:
  Error add(const Artefact &artefact);
  std::string finish(const Artefact &artefact);

private:
  uint32_t addString(StringRef string);
  Error addEntry(const ArtefactEntry &entry);
  Error addValue(const ArtefactEntry &entry, const ArtefactValue &value,
                 bool isArgument, StringRef name);
  void addDim(const ArtefactDim &dim);
  void addCheck(const ArtefactCheck &check);

  /// Ends the part before, so that the next one starts at a multiple of 8.
  uint64_t startPart() {
    bytes.resize(alignTo(bytes.size(), 8), '\0');
    return bytes.size();
  }
  template <typename Record> vso_section addPart(ArrayRef<Record> records) {
    vso_section section = {startPart(), records.size()};
    bytes.append(reinterpret_cast<const char *>(records.data()),
                 records.size() * sizeof(Record));
    return section;
  }

  std::string strings;
  StringMap<uint32_t> offsets;
  std::vector<vso_entry> entries;
  std::vector<vso_value> values;
  std::vector<vso_dim> dims;
  std::vector<vso_constant> constants;
  std::vector<vso_check> checks;
  uint32_t producer = 0, compiler = 0;
  std::vector<uint32_t> features, architectures;

  std::string bytes;
};

} // namespace

static_assert(endianness::native == endianness::little,
              "records are written as they lie");

template <typename... Args>
static Error error(const char *format, Args &&...args) {
  return createStringError(formatv(format, std::forward<Args>(args)...).str());
}

/// The size of a vector in a field of a record.
template <typename T> static uint32_t sizeOf(const std::vector<T> &records) {
  return static_cast<uint32_t>(records.size());
}

/// Strings that are equal are one string.
uint32_t Writer::addString(StringRef string) {
  auto [it, isNew] =
      offsets.try_emplace(string, static_cast<uint32_t>(strings.size()));
  if (isNew) {
    strings += string;
    strings += '\0';
  }
  return it->second;
}

Error Writer::add(const Artefact &artefact) {
  if (artefact.payloads.empty())
    return error("expected at least 1 payload, got 0");
  if (artefact.entries.empty() || artefact.entries.size() > VSO_MAX_ENTRIES)
    return error("expected 1 to {0} entries, got {1}", VSO_MAX_ENTRIES,
                 artefact.entries.size());
  producer = addString(artefact.producer);
  compiler = addString(artefact.compiler);
  for (const ArtefactPayload &payload : artefact.payloads) {
    if (payload.bytes.empty())
      return error("expected a payload of at least 1 byte, got 0");
    features.push_back(addString(payload.features));
    architectures.push_back(
        payload.image ? addString(payload.image->architecture) : VSO_NONE);
  }
  StringSet<> names;
  for (const ArtefactEntry &entry : artefact.entries) {
    if (!names.insert(entry.name).second)
      return error("expected entries of different names, got '{0}' twice",
                   entry.name);
    if (Error failure = addEntry(entry))
      return failure;
  }
  for (char c : strings)
    if (c == 0x7f || (c != 0 && static_cast<unsigned char>(c) < 0x20))
      return error("expected names without control characters, got {0:x}",
                   static_cast<unsigned>(c));
  if (llvm::count(strings, '\0') != static_cast<ptrdiff_t>(offsets.size()))
    return error("expected names without NUL, got one");
  return Error::success();
}

Error Writer::addEntry(const ArtefactEntry &entry) {
  size_t numValues = entry.arguments.size() + entry.results.size();
  if (numValues > VSO_MAX_VALUES)
    return error("entry '{0}': expected at most {1} arguments and results, got "
                 "{2}",
                 entry.name, VSO_MAX_VALUES, numValues);
  vso_entry record = {};
  record.name = addString(entry.name);
  record.symbol = addString(entry.symbol);
  record.first_value = sizeOf(values);
  record.num_arguments = sizeOf(entry.arguments);
  record.num_results = sizeOf(entry.results);
  record.first_constant = sizeOf(constants);
  record.num_constants = sizeOf(entry.constants);
  record.first_check = sizeOf(checks);
  record.num_checks = sizeOf(entry.checks);
  entries.push_back(record);

  for (bool isArgument : {true, false}) {
    StringSet<> names;
    for (auto [i, value] :
         enumerate(isArgument ? entry.arguments : entry.results)) {
      std::string name = value.name;
      if (name.empty())
        name = (isArgument ? "arg" : "result") + std::to_string(i);
      if (!names.insert(name).second)
        return error("entry '{0}': expected {1} of different names, got '{2}' "
                     "twice",
                     entry.name, isArgument ? "arguments" : "results", name);
      if (Error failure = addValue(entry, value, isArgument, name))
        return failure;
    }
  }
  for (const ArtefactConstant &constant : entry.constants)
    constants.push_back({addString(constant.name), addString(constant.value)});
  for (const ArtefactCheck &check : entry.checks)
    addCheck(check);
  return Error::success();
}

Error Writer::addValue(const ArtefactEntry &entry, const ArtefactValue &value,
                       bool isArgument, StringRef name) {
  if (value.dims.size() > VSO_MAX_RANK)
    return error("entry '{0}', '{1}': expected rank 0 to {2}, got {3}",
                 entry.name, name, VSO_MAX_RANK, value.dims.size());
  if (!isArgument && (value.written || value.strided))
    return error("entry '{0}', '{1}': expected a result without flags, got one",
                 entry.name, name);
  if ((value.faults && isArgument) ||
      (value.check && (!value.faults || *value.check >= entry.checks.size())))
    return error("entry '{0}', '{1}': expected a result with the faults of one "
                 "of {2} checks, got check {3}",
                 entry.name, name, entry.checks.size(),
                 value.check.value_or(VSO_NO_CHECK));
  vso_value record = {};
  record.name = addString(name);
  record.code = value.code;
  record.bits = value.bits;
  record.flags = (value.written ? VSO_VALUE_WRITTEN : 0) |
                 (value.strided ? VSO_VALUE_STRIDED : 0);
  if (value.faults)
    record.flags = static_cast<uint16_t>(VSO_VALUE_FAULTS |
                                         value.check.value_or(VSO_NO_CHECK)
                                             << VSO_VALUE_CHECK);
  record.rank = static_cast<uint32_t>(value.dims.size());
  record.first_dim = sizeOf(dims);
  values.push_back(record);
  for (const ArtefactDim &dim : value.dims) {
    if (dim.kind == ArtefactDim::Kind::dynamic && !isArgument)
      return error(
          "entry '{0}', '{1}': expected sizes of a result to be static "
          "or tied to arguments, got a dynamic one",
          entry.name, name);
    addDim(dim);
  }
  return Error::success();
}

void Writer::addDim(const ArtefactDim &dim) {
  vso_dim record = {};
  record.argument = record.dim = VSO_NONE;
  record.size = dim.size;
  switch (dim.kind) {
  case ArtefactDim::Kind::fixed:
    record.kind = VSO_DIM_STATIC;
    break;
  case ArtefactDim::Kind::dynamic:
    record.kind = VSO_DIM_DYNAMIC;
    break;
  case ArtefactDim::Kind::tied:
    record.kind = VSO_DIM_TIED;
    record.argument = dim.argument;
    record.dim = dim.dim;
    break;
  }
  dims.push_back(record);
}

void Writer::addCheck(const ArtefactCheck &check) {
  auto number = [](std::optional<unsigned> argument) -> uint32_t {
    return argument.value_or(VSO_NONE);
  };
  vso_check record = {};
  switch (check.kind) {
  case ArtefactCheck::Kind::table:
    record.kind = VSO_CHECK_TABLE;
    break;
  case ArtefactCheck::Kind::positions:
    record.kind = VSO_CHECK_POSITIONS;
    break;
  case ArtefactCheck::Kind::list:
    record.kind = VSO_CHECK_LIST;
    record.unit = check.inPages ? VSO_UNIT_PAGES : VSO_UNIT_TOKENS;
    break;
  }
  record.table = number(check.table);
  record.lens = number(check.lens);
  record.rows = number(check.rows);
  record.cache = number(check.cache);
  record.cache_dim = number(check.cacheDim);
  record.positions = number(check.positions);
  record.list = number(check.list);
  record.count = number(check.count);
  record.page_size = check.pageSize;
  checks.push_back(record);
}

std::string Writer::finish(const Artefact &artefact) {
  vso_header header = {};
  memcpy(header.magic, VSO_MAGIC, sizeof(header.magic));
  header.format_version = VSO_FORMAT_VERSION;
  header.header_bytes = sizeof(header);
  header.host_abi = VSO_HOST_ABI;
  header.producer = producer;
  header.compiler = compiler;

  bytes.assign(sizeof(header), '\0');
  header.strings = addPart(ArrayRef<char>(strings.data(), strings.size()));
  // Where the payloads go is known once the records have been laid out.
  std::vector<vso_payload> payloads(artefact.payloads.size());
  header.payloads = addPart(ArrayRef<vso_payload>(payloads));
  header.entries = addPart(ArrayRef<vso_entry>(entries));
  header.values = addPart(ArrayRef<vso_value>(values));
  header.dims = addPart(ArrayRef<vso_dim>(dims));
  header.constants = addPart(ArrayRef<vso_constant>(constants));
  header.checks = addPart(ArrayRef<vso_check>(checks));
  for (auto [i, payload] : enumerate(artefact.payloads)) {
    vso_payload &record = payloads[i];
    record = {
        VSO_PAYLOAD_ELF_X86_64, features[i], startPart(), payload.bytes.size(),
        architectures[i],       0,           0,           0};
    bytes += payload.bytes;
    if (!payload.image)
      continue;
    record.kind = VSO_PAYLOAD_CUDA;
    record.image_kind = payload.image->isPTX ? VSO_IMAGE_PTX : VSO_IMAGE_CUBIN;
    record.image_offset = startPart();
    bytes += payload.image->bytes;
    if (payload.image->isPTX)
      bytes += '\0';
    record.image_bytes = bytes.size() - record.image_offset;
  }
  memcpy(bytes.data() + header.payloads.offset, payloads.data(),
         payloads.size() * sizeof(vso_payload));

  header.file_bytes = bytes.size();
  memcpy(bytes.data(), &header, sizeof(header));
  constexpr size_t digestAt = offsetof(vso_header, digest);
  constexpr size_t digestEnd = digestAt + sizeof(header.digest);
  auto digest =
      SHA256::hash(arrayRefFromStringRef(bytes).drop_front(digestEnd));
  memcpy(bytes.data() + digestAt, digest.data(), digest.size());
  return std::move(bytes);
}

Error vashista::writeArtefact(const Artefact &artefact, raw_ostream &os) {
  Writer writer;
  if (Error failure = writer.add(artefact))
    return failure;
  os << writer.finish(artefact);
  return Error::success();
}
