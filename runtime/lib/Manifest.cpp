//===- Manifest.cpp - The verified contents of an artefact ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The bytes come from anywhere. Every number is checked before it is used, in
// 64 bits; each part of the file has one place where it may be, so that nothing
// overlaps and nothing is left over.
//
//===----------------------------------------------------------------------===//

#include "Manifest.h"
#include "Error.h"
#include "Sha256.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <elf.h>

using namespace vashista::runtime;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "records are read where they lie");
static_assert(sizeof(vso_header) == 184 && sizeof(vso_payload) == 48 &&
                  sizeof(vso_entry) == 40 && sizeof(vso_value) == 16 &&
                  sizeof(vso_dim) == 24 && sizeof(vso_constant) == 8 &&
                  sizeof(vso_check) == 48,
              "the format has no implicit padding");

unsigned vashista::runtime::elementBytes(uint8_t code, uint8_t bits) {
  switch (code) {
  case kDLInt:
  case kDLUInt:
    return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
  case kDLFloat:
    return bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
  case kDLBfloat:
    return bits == 16 ? 2 : 0;
  case kDLComplex:
    return bits == 64 || bits == 128 ? bits / 8 : 0;
  case kDLBool:
  case kDLFloat8_e3m4:
  case kDLFloat8_e4m3:
  case kDLFloat8_e4m3b11fnuz:
  case kDLFloat8_e4m3fn:
  case kDLFloat8_e4m3fnuz:
  case kDLFloat8_e5m2:
  case kDLFloat8_e5m2fnuz:
  case kDLFloat8_e8m0fnu:
    return bits == 8 ? 1 : 0;
  default:
    return 0;
  }
}

/// Whether all that an ELF file of a CUDA device says of its sections and
/// segments lies within it.
static bool isWholeCubin(const uint8_t *bytes, uint64_t size) {
  constexpr unsigned machine = 190; // EM_CUDA
  Elf64_Ehdr header;
  if (size < sizeof(header))
    return false;
  memcpy(&header, bytes, sizeof(header));
  auto isWithin = [&](uint64_t offset, uint64_t length) {
    return offset <= size && length <= size - offset;
  };
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine ||
      (header.e_shnum && header.e_shentsize != sizeof(Elf64_Shdr)) ||
      (header.e_phnum && header.e_phentsize != sizeof(Elf64_Phdr)) ||
      !isWithin(header.e_shoff,
                uint64_t(header.e_shnum) * sizeof(Elf64_Shdr)) ||
      !isWithin(header.e_phoff, uint64_t(header.e_phnum) * sizeof(Elf64_Phdr)))
    return false;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    memcpy(&section, bytes + header.e_shoff + i * sizeof(section),
           sizeof(section));
    if (section.sh_type != SHT_NOBITS &&
        !isWithin(section.sh_offset, section.sh_size))
      return false;
  }
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, bytes + header.e_phoff + i * sizeof(segment),
           sizeof(segment));
    if (!isWithin(segment.p_offset, segment.p_filesz))
      return false;
  }
  return true;
}

namespace vashista::runtime {

/// Fills a manifest, part by part, in the order of the file. Members return
/// whether all is well and keep the message otherwise.
class Verifier {
public:
  Verifier(Manifest &manifest, const uint8_t *bytes, uint64_t size)
      : m(manifest), bytes(bytes), size(size) {}

  vashista_status verifyHeader();
  bool verifyRecords() {
    return placeRecords() && verifyStrings() && verifyPayloads() &&
           verifyEntries();
  }

private:
  __attribute__((format(printf, 1, 2), cold)) static bool
  malformed(const char *format, ...);
  /// "expected field 'a' of entry 3 to be 7, got 8"
  static bool equal(const char *field, const char *record, uint64_t number,
                    uint64_t got, uint64_t expected) {
    return got == expected || malformed("expected %s of %s %" PRIu64
                                        " to be %" PRIu64 ", got %" PRIu64,
                                        field, record, number, expected, got);
  }

  template <typename Record>
  bool place(const char *name, const vso_section &section,
             Span<Record> &records);
  bool skipPadding();
  bool placeRecords();
  bool verifyStrings();
  bool verifyString(uint32_t offset, const char *what, uint64_t number,
                    bool mayBeEmpty);
  bool verifyPayloads();
  bool verifyImage(uint64_t number);
  bool verifyEntries();
  bool verifyEntry(uint64_t number);
  bool verifyValue(uint64_t entryNumber, const vso_entry &entry, uint64_t i);
  bool verifyDim(uint64_t entryNumber, const vso_entry &entry, uint64_t i,
                 uint64_t d);
  bool verifyChecks(uint64_t entryNumber, const vso_entry &entry);
  bool verifyCheck(const vso_entry &entry, const vso_check &check);

  Manifest &m;
  const uint8_t *bytes;
  uint64_t size;
  /// Where the part before ended.
  uint64_t at = 0;
  /// Records that the entries before had.
  uint64_t values = 0, dims = 0, constants = 0, checks = 0;
};

} // namespace vashista::runtime

bool Verifier::malformed(const char *format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof(message), format, arguments);
  va_end(arguments);
  fail(VASHISTA_MALFORMED, "%s", message);
  return false;
}

vashista_status Verifier::verifyHeader() {
  if (size < sizeof(vso_header))
    return fail(VASHISTA_MALFORMED,
                "expected an artefact of at least %zu bytes, got %" PRIu64,
                sizeof(vso_header), size);
  const vso_header &header = m.header();
  if (memcmp(header.magic, VSO_MAGIC, sizeof(header.magic)) != 0)
    return fail(VASHISTA_MALFORMED,
                "expected an artefact, got bytes without its magic number");
  if (header.format_version != VSO_FORMAT_VERSION)
    return fail(VASHISTA_UNSUPPORTED,
                "expected artefact format %d, got %" PRIu32, VSO_FORMAT_VERSION,
                header.format_version);
  if (header.header_bytes != sizeof(vso_header))
    return fail(VASHISTA_MALFORMED,
                "expected a header of %zu bytes, got %" PRIu32,
                sizeof(vso_header), header.header_bytes);
  if (header.file_bytes != size)
    return fail(VASHISTA_MALFORMED,
                "expected an artefact of %" PRIu64 " bytes, got %" PRIu64,
                header.file_bytes, size);

  uint8_t digest[32];
  constexpr size_t covered = offsetof(vso_header, digest) + sizeof(digest);
  sha256(bytes + covered, size - covered, digest);
  if (memcmp(digest, header.digest, sizeof(digest)) != 0)
    return fail(VASHISTA_MALFORMED,
                "expected the bytes that the artefact's digest was made of, "
                "got others");

  if (header.host_abi != VSO_HOST_ABI)
    return fail(VASHISTA_UNSUPPORTED,
                "expected host interface %d, got %" PRIu32, VSO_HOST_ABI,
                header.host_abi);
  if (header.reserved != 0)
    return fail(VASHISTA_MALFORMED, "expected reserved fields to be 0");
  at = sizeof(vso_header);
  return VASHISTA_OK;
}

bool Verifier::skipPadding() {
  for (; at % 8 != 0 && at < size; ++at)
    if (bytes[at] != 0)
      return malformed("expected 0 between parts, at byte %" PRIu64, at);
  return true;
}

template <typename Record>
bool Verifier::place(const char *name, const vso_section &section,
                     Span<Record> &records) {
  if (!skipPadding())
    return false;
  if (section.offset != at)
    return malformed("expected %s at byte %" PRIu64 ", got %" PRIu64, name, at,
                     section.offset);
  uint64_t room = (size - at) / sizeof(Record);
  if (section.count > room)
    return malformed("expected at most %" PRIu64 " %s, got %" PRIu64, room,
                     name, section.count);
  records = {reinterpret_cast<const Record *>(bytes + at), section.count};
  at += section.count * sizeof(Record);
  return true;
}

bool Verifier::placeRecords() {
  const vso_header &header = m.header();
  return place("strings", header.strings, m.strings) &&
         place("payloads", header.payloads, m.payloads) &&
         place("entries", header.entries, m.entries) &&
         place("values", header.values, m.allValues) &&
         place("dims", header.dims, m.allDims) &&
         place("constants", header.constants, m.allConstants) &&
         place("checks", header.checks, m.allChecks);
}

bool Verifier::verifyStrings() {
  if (m.strings.size == 0 || m.strings[m.strings.size - 1] != '\0')
    return malformed("expected strings to end with NUL");
  // Names are printed.
  for (uint64_t i = 0; i < m.strings.size; ++i) {
    auto c = static_cast<unsigned char>(m.strings[i]);
    if (c == 0x7f || (c != 0 && c < 0x20))
      return malformed("expected strings without control characters, got "
                       "0x%02x at %" PRIu64,
                       c, i);
  }
  return verifyString(m.header().producer, "producer", 0, false) &&
         verifyString(m.header().compiler, "compiler", 0, true);
}

bool Verifier::verifyString(uint32_t offset, const char *what, uint64_t number,
                            bool mayBeEmpty) {
  if (offset >= m.strings.size)
    return malformed("expected %s %" PRIu64 " to be a string before %" PRIu64
                     ", got %" PRIu32,
                     what, number, m.strings.size, offset);
  if (offset > 0 && m.strings[offset - 1] != '\0')
    return malformed("expected %s %" PRIu64 " to start a string, got %" PRIu32,
                     what, number, offset);
  if (!mayBeEmpty && *m.string(offset) == '\0')
    return malformed("expected %s %" PRIu64 " to be named", what, number);
  return true;
}

bool Verifier::verifyPayloads() {
  if (m.payloads.size == 0)
    return malformed("expected at least 1 payload, got 0");
  for (uint64_t i = 0; i < m.payloads.size; ++i) {
    const vso_payload &payload = m.payloads[i];
    if (payload.kind != VSO_PAYLOAD_ELF_X86_64 &&
        payload.kind != VSO_PAYLOAD_CUDA)
      return malformed(
          "expected payload %" PRIu64 " to be of kind %d or %d, got %" PRIu32,
          i, VSO_PAYLOAD_ELF_X86_64, VSO_PAYLOAD_CUDA, payload.kind);
    if (!verifyString(payload.features, "features of payload", i, true) ||
        !skipPadding() || !equal("offset", "payload", i, payload.offset, at))
      return false;
    if (payload.bytes == 0 || payload.bytes > size - at)
      return malformed("expected payload %" PRIu64 " to have 1 to %" PRIu64
                       " bytes, got %" PRIu64,
                       i, size - at, payload.bytes);
    at += payload.bytes;
    if (!verifyImage(i))
      return false;
  }
  return at == size || malformed("expected the last payload to end the "
                                 "artefact, got %" PRIu64 " bytes more",
                                 size - at);
}

bool Verifier::verifyImage(uint64_t number) {
  const vso_payload &payload = m.payloads[number];
  if (payload.kind != VSO_PAYLOAD_CUDA)
    return equal("architecture", "payload", number, payload.architecture,
                 VSO_NONE) &&
           equal("image_kind", "payload", number, payload.image_kind, 0) &&
           equal("image_offset", "payload", number, payload.image_offset, 0) &&
           equal("image_bytes", "payload", number, payload.image_bytes, 0);
  if (!verifyString(payload.architecture, "architecture of payload", number,
                    false) ||
      !skipPadding() ||
      !equal("image_offset", "payload", number, payload.image_offset, at))
    return false;
  if (payload.image_bytes == 0 || payload.image_bytes > size - at)
    return malformed("expected the image of payload %" PRIu64
                     " to have 1 to %" PRIu64 " bytes, got %" PRIu64,
                     number, size - at, payload.image_bytes);
  // A driver reads as far as an image says.
  const uint8_t *image = bytes + at;
  bool isWhole = false;
  if (payload.image_kind == VSO_IMAGE_PTX)
    isWhole = memchr(image, 0, payload.image_bytes) ==
              image + payload.image_bytes - 1;
  else if (payload.image_kind == VSO_IMAGE_CUBIN)
    isWhole = isWholeCubin(image, payload.image_bytes);
  if (!isWhole)
    return malformed("expected the image of payload %" PRIu64
                     " to be a whole cubin (kind %d) or PTX that ends with NUL "
                     "(kind %d), got other bytes of kind %" PRIu32,
                     number, VSO_IMAGE_CUBIN, VSO_IMAGE_PTX,
                     payload.image_kind);
  at += payload.image_bytes;
  return true;
}

bool Verifier::verifyEntries() {
  if (m.entries.size == 0 || m.entries.size > VSO_MAX_ENTRIES)
    return malformed("expected 1 to %d entries, got %" PRIu64, VSO_MAX_ENTRIES,
                     m.entries.size);
  for (uint64_t i = 0; i < m.entries.size; ++i)
    if (!verifyEntry(i))
      return false;
  return equal("values", "entry", m.entries.size - 1, m.allValues.size,
               values) &&
         equal("dims", "entry", m.entries.size - 1, m.allDims.size, dims) &&
         equal("constants", "entry", m.entries.size - 1, m.allConstants.size,
               constants) &&
         equal("checks", "entry", m.entries.size - 1, m.allChecks.size, checks);
}

bool Verifier::verifyEntry(uint64_t number) {
  const vso_entry &entry = m.entries[number];
  if (!verifyString(entry.name, "entry", number, false) ||
      !verifyString(entry.symbol, "symbol of entry", number, false))
    return false;
  for (uint64_t i = 0; i < number; ++i)
    if (strcmp(m.string(m.entries[i].name), m.string(entry.name)) == 0)
      return malformed("expected entries of different names, got '%s' twice",
                       m.string(entry.name));
  if (!equal("first_value", "entry", number, entry.first_value, values) ||
      !equal("first_constant", "entry", number, entry.first_constant,
             constants) ||
      !equal("first_check", "entry", number, entry.first_check, checks) ||
      !equal("reserved", "entry", number, entry.reserved, 0))
    return false;

  uint64_t count = uint64_t(entry.num_arguments) + entry.num_results;
  if (count > VSO_MAX_VALUES || count > m.allValues.size - values ||
      entry.num_constants > m.allConstants.size - constants ||
      entry.num_checks > m.allChecks.size - checks)
    return malformed("expected entry %" PRIu64 " to have at most %d values, "
                     "and no more records than there are",
                     number, VSO_MAX_VALUES);
  values += count;
  constants += entry.num_constants;
  checks += entry.num_checks;

  for (uint64_t i = 0; i < count; ++i)
    if (!verifyValue(number, entry, i))
      return false;
  for (const vso_constant &constant : m.constants(entry))
    if (!verifyString(constant.name, "constant of entry", number, false) ||
        !verifyString(constant.value, "constant of entry", number, true))
      return false;
  return verifyChecks(number, entry);
}

bool Verifier::verifyValue(uint64_t entryNumber, const vso_entry &entry,
                           uint64_t i) {
  const vso_value &value = m.values(entry)[i];
  bool isArgument = i < entry.num_arguments;
  if (!verifyString(value.name, "value", i, false))
    return false;
  for (uint64_t j = isArgument ? 0 : entry.num_arguments; j < i; ++j)
    if (strcmp(m.string(m.values(entry)[j].name), m.string(value.name)) == 0)
      return malformed("expected values of different names in entry %" PRIu64
                       ", got '%s' twice",
                       entryNumber, m.string(value.name));
  if (!elementBytes(value.code, value.bits))
    return malformed("expected value %" PRIu64 " of entry %" PRIu64
                     " to have whole bytes of a known type, got code %d with "
                     "%d bits",
                     i, entryNumber, value.code, value.bits);
  unsigned flags = isArgument ? VSO_VALUE_WRITTEN | VSO_VALUE_STRIDED : 0;
  bool areFaults = !isArgument && value.flags & VSO_VALUE_FAULTS;
  if (!areFaults && value.flags & ~flags)
    return malformed("expected value %" PRIu64 " of entry %" PRIu64
                     " to have flags within %u, got %d",
                     i, entryNumber, flags, value.flags);
  unsigned check = value.flags >> VSO_VALUE_CHECK;
  if (areFaults && (value.flags & (VSO_VALUE_WRITTEN | VSO_VALUE_STRIDED) ||
                    (check >= entry.num_checks && check != VSO_NO_CHECK)))
    return malformed("expected value %" PRIu64 " of entry %" PRIu64
                     " to have the faults of one of %" PRIu32
                     " checks, got flags %d",
                     i, entryNumber, entry.num_checks, value.flags);
  if (value.rank > VSO_MAX_RANK)
    return malformed("expected value %" PRIu64 " of entry %" PRIu64
                     " to have rank 0 to %d, got %" PRIu32,
                     i, entryNumber, VSO_MAX_RANK, value.rank);
  if (!equal("first_dim", "value", i, value.first_dim, dims))
    return false;
  if (value.rank > m.allDims.size - dims)
    return malformed("expected value %" PRIu64 " of entry %" PRIu64
                     " to have no more dims than there are",
                     i, entryNumber);
  dims += value.rank;
  for (uint64_t d = 0; d < value.rank; ++d)
    if (!verifyDim(entryNumber, entry, i, d))
      return false;
  Span<vso_dim> shape = m.dims(value);
  if (areFaults &&
      (value.code != kDLInt || value.bits != 32 || value.rank != 2 ||
       shape[1].kind != VSO_DIM_STATIC || shape[1].size != 4))
    return malformed("expected value %" PRIu64 " of entry %" PRIu64
                     ", which has faults, to be i32 [R, 4]",
                     i, entryNumber);
  return true;
}

bool Verifier::verifyDim(uint64_t entryNumber, const vso_entry &entry,
                         uint64_t i, uint64_t d) {
  Span<vso_value> entryValues = m.values(entry);
  const vso_dim &dim = m.dims(entryValues[i])[d];
  bool isArgument = i < entry.num_arguments;
  bool refersToNothing = dim.argument == VSO_NONE && dim.dim == VSO_NONE;
  bool valid = false;
  switch (dim.kind) {
  case VSO_DIM_STATIC:
    valid = refersToNothing && dim.size >= 0;
    break;
  case VSO_DIM_DYNAMIC:
    // The caller provides memory for results, so their sizes follow from the
    // arguments.
    valid = refersToNothing && dim.size == 0 && isArgument;
    break;
  case VSO_DIM_TIED: {
    // Comes before, and is not tied itself: one look gives its size.
    bool before = dim.argument < entry.num_arguments &&
                  (dim.argument < i || (dim.argument == i && dim.dim < d));
    valid = before && dim.size >= 1 &&
            dim.dim < entryValues[dim.argument].rank &&
            m.dims(entryValues[dim.argument])[dim.dim].kind == VSO_DIM_DYNAMIC;
    break;
  }
  default:
    break;
  }
  return (valid && dim.reserved == 0) ||
         malformed("expected dimension %" PRIu64 " of value %" PRIu64
                   " of entry %" PRIu64
                   " to be static, dynamic (arguments only) or tied to a "
                   "dynamic dimension before it, got kind %" PRIu32
                   ", size %" PRId64,
                   d, i, entryNumber, dim.kind, dim.size);
}

bool Verifier::verifyChecks(uint64_t entryNumber, const vso_entry &entry) {
  for (const vso_check &check : m.checks(entry))
    if (!verifyCheck(entry, check))
      return malformed("expected check %d of entry %" PRIu64
                       " to name i32 arguments of the right ranks, got kind "
                       "%" PRIu32,
                       static_cast<int>(&check - m.checks(entry).data),
                       entryNumber, check.kind);
  return true;
}

bool Verifier::verifyCheck(const vso_entry &entry, const vso_check &check) {
  // Each field is an argument of i32 of that rank, or nothing.
  auto isList = [&](uint32_t argument, uint32_t rank) {
    if (argument >= entry.num_arguments)
      return false;
    const vso_value &value = m.values(entry)[argument];
    return value.code == kDLInt && value.bits == 32 && value.rank == rank;
  };
  auto isListOrNone = [&](uint32_t argument, uint32_t rank) {
    return argument == VSO_NONE || isList(argument, rank);
  };
  auto none = [](uint32_t field) { return field == VSO_NONE; };
  auto isCache = [&] {
    return check.cache < entry.num_arguments &&
           check.cache_dim < m.values(entry)[check.cache].rank;
  };

  if (check.page_size < 1 || check.page_size > INT32_MAX)
    return false;
  switch (check.kind) {
  case VSO_CHECK_TABLE:
    return check.unit == 0 && isList(check.table, 2) && isList(check.lens, 1) &&
           isListOrNone(check.rows, 1) && isCache() && none(check.positions) &&
           none(check.list) && none(check.count);
  case VSO_CHECK_POSITIONS:
    return check.unit == 0 && isList(check.table, 2) && none(check.lens) &&
           isListOrNone(check.rows, 1) && isCache() &&
           isList(check.positions, 1) && none(check.list) && none(check.count);
  case VSO_CHECK_LIST:
    return (check.unit == VSO_UNIT_TOKENS || check.unit == VSO_UNIT_PAGES) &&
           none(check.table) && isList(check.lens, 1) && none(check.rows) &&
           none(check.cache) && none(check.cache_dim) &&
           none(check.positions) && isList(check.list, 3) &&
           isListOrNone(check.count, 2);
  default:
    return false;
  }
}

vashista_status Manifest::verify(const uint8_t *bytes, uint64_t size) {
  this->bytes = bytes;
  Verifier verifier(*this, bytes, size);
  if (vashista_status status = verifier.verifyHeader())
    return status;
  return verifier.verifyRecords() ? VASHISTA_OK : VASHISTA_MALFORMED;
}
