//===- CorruptionTest.cpp - Artefacts that are not as they were written ---===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include <elf.h>

#include "llvm/ADT/StringExtras.h"

#include <cstring>
#include <limits>
#include <random>

using namespace vashista;
using namespace vashista::test;

namespace {

vashista_status tryLoad(const std::string &bytes) {
  vashista_module *module = nullptr;
  vashista_status status =
      vashista_module_load_bytes(bytes.data(), bytes.size(), nullptr, &module);
  EXPECT_EQ(module == nullptr, status != VASHISTA_OK);
  vashista_module_free(module);
  return status;
}

/// Whether the status is one that bytes can be blamed for.
bool isRefusal(vashista_status status) {
  return status == VASHISTA_MALFORMED || status == VASHISTA_UNSUPPORTED;
}

TEST(Corruption, EveryBitOfEveryByte) {
  std::string bytes = write(tinyArtefact());
  ASSERT_EQ(tryLoad(bytes), VASHISTA_OK);
  for (char &byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      byte ^= static_cast<char>(1 << bit);
      ASSERT_TRUE(isRefusal(tryLoad(bytes)))
          << "bit " << bit << " of byte " << &byte - bytes.data();
      byte ^= static_cast<char>(1 << bit);
    }
  }
  EXPECT_EQ(tryLoad(bytes), VASHISTA_OK);
}

TEST(Corruption, EveryTruncation) {
  std::string bytes = write(tinyArtefact());
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(tryLoad(bytes.substr(0, size)), VASHISTA_MALFORMED) << size;
    if (size > 0)
      ASSERT_EQ(tryLoad(bytes.substr(size)), VASHISTA_MALFORMED) << size;
  }
  for (int more = 0; more < 20; ++more) {
    bytes += '\0';
    EXPECT_EQ(tryLoad(bytes), VASHISTA_MALFORMED);
  }
}

/// Truncations whose header and digest are made to agree.
TEST(Corruption, EveryTruncationWithItsDigest) {
  std::string whole = write(tinyArtefact());
  for (size_t size = sizeof(vso_header); size < whole.size(); ++size) {
    std::string bytes = whole.substr(0, size);
    vso_header header;
    memcpy(&header, bytes.data(), sizeof(header));
    header.file_bytes = size;
    memcpy(bytes.data(), &header, sizeof(header));
    redigest(bytes);
    ASSERT_EQ(tryLoad(bytes), VASHISTA_MALFORMED) << size;
  }
}

//===----------------------------------------------------------------------===//
// One rule at a time
//===----------------------------------------------------------------------===//

/// A view of the records of an artefact that can be changed.
struct Records {
  explicit Records(std::string bytes) : bytes(std::move(bytes)) {}

  vso_header &header() { return *reinterpret_cast<vso_header *>(bytes.data()); }
  template <typename Record> Record *at(const vso_section &section) {
    return reinterpret_cast<Record *>(bytes.data() + section.offset);
  }
  vso_payload *payloads() { return at<vso_payload>(header().payloads); }
  vso_entry *entries() { return at<vso_entry>(header().entries); }
  vso_value *values() { return at<vso_value>(header().values); }
  vso_dim *dims() { return at<vso_dim>(header().dims); }
  vso_constant *constants() { return at<vso_constant>(header().constants); }
  vso_check *checks() { return at<vso_check>(header().checks); }
  char *strings() { return bytes.data() + header().strings.offset; }
  /// Of the entry 'decode', the last but one.
  vso_value *decodeValues() { return values() + entries()[8].first_value; }

  std::string bytes;
};

class RuleTest : public testing::Test {
protected:
  /// Changes an artefact and expects the message.
  template <typename Change>
  void expectRefused(Change change, const std::string &message,
                     vashista_status status = VASHISTA_MALFORMED) {
    Records records(whole);
    change(records);
    redigest(records.bytes);
    test::expectRefused(records.bytes, status, message);
    EXPECT_EQ(
        vashista_artefact_verify(records.bytes.data(), records.bytes.size()),
        status);
  }

  std::string whole = write(kernelsArtefact());
};

TEST_F(RuleTest, Header) {
  expectRefused([](Records &r) { r.header().magic[0] = 'x'; },
                "expected an artefact, got bytes without its magic number");
  expectRefused([](Records &r) { r.header().format_version = 1; },
                "expected artefact format 2, got 1", VASHISTA_UNSUPPORTED);
  expectRefused([](Records &r) { r.header().header_bytes = 192; },
                "expected a header of 184 bytes, got 192");
  expectRefused([](Records &r) { ++r.header().file_bytes; },
                "expected an artefact of " + std::to_string(whole.size() + 1) +
                    " bytes, got " + std::to_string(whole.size()));
  expectRefused([](Records &r) { r.header().host_abi = 1; },
                "expected host interface 2, got 1", VASHISTA_UNSUPPORTED);
  expectRefused([](Records &r) { r.header().reserved = 1; },
                "expected reserved fields to be 0");
  std::string wrongDigest = whole;
  wrongDigest[offsetof(vso_header, digest)] ^= 1;
  test::expectRefused(wrongDigest, VASHISTA_MALFORMED,
                      "expected the bytes that the artefact's digest was made "
                      "of, got others");
}

TEST_F(RuleTest, Sections) {
  expectRefused([](Records &r) { r.header().strings.offset += 8; },
                "expected strings at byte 184, got 192");
  expectRefused([](Records &r) { r.header().strings.offset = 0; },
                "expected strings at byte 184, got 0");
  for (vso_section vso_header::*section :
       {&vso_header::payloads, &vso_header::entries, &vso_header::values,
        &vso_header::dims, &vso_header::constants, &vso_header::checks,
        &vso_header::strings}) {
    for (uint64_t value :
         {uint64_t(0), uint64_t(1) << 32, uint64_t(1) << 60, UINT64_MAX,
          UINT64_MAX / 24 + 1, uint64_t(whole.size())}) {
      Records records(whole);
      (records.header().*section).count = value;
      redigest(records.bytes);
      EXPECT_EQ(tryLoad(records.bytes), VASHISTA_MALFORMED);
      records.bytes = whole;
      (records.header().*section).offset = value;
      redigest(records.bytes);
      EXPECT_EQ(tryLoad(records.bytes), VASHISTA_MALFORMED);
    }
  }
}

TEST_F(RuleTest, Padding) {
  Records records(whole);
  uint64_t end =
      records.header().strings.offset + records.header().strings.count;
  ASSERT_NE(end % 8, 0U) << "the test wants strings that padding follows";
  expectRefused([&](Records &r) { r.bytes[end] = 1; },
                "expected 0 between parts, at byte " + std::to_string(end));
}

TEST_F(RuleTest, Strings) {
  expectRefused(
      [](Records &r) { r.strings()[r.header().strings.count - 1] = 'x'; },
      "expected strings to end with NUL");
  expectRefused([](Records &r) { r.strings()[3] = '\n'; },
                "expected strings without control characters, got 0x0a at 3");
  expectRefused([](Records &r) { r.strings()[3] = 0x7f; },
                "expected strings without control characters, got 0x7f at 3");
  std::string count = std::to_string(Records(whole).header().strings.count);
  expectRefused(
      [](Records &r) {
        r.entries()[1].name = static_cast<uint32_t>(r.header().strings.count);
      },
      "expected entry 1 to be a string before " + count + ", got " + count);
  expectRefused([](Records &r) { r.entries()[1].symbol = VSO_NONE; },
                "expected symbol of entry 1 to be a string before " + count +
                    ", got 4294967295");
  expectRefused([](Records &r) { r.header().producer = 1; },
                "expected producer 0 to start a string, got 1");
  expectRefused([](Records &r) { r.strings()[0] = '\0'; },
                "expected producer 0 to be named");
}

TEST_F(RuleTest, Payloads) {
  expectRefused([](Records &r) { r.payloads()[0].kind = 3; },
                "expected payload 0 to be of kind 1 or 2, got 3");
  expectRefused([](Records &r) { r.payloads()[0].architecture = 0; },
                "expected architecture of payload 0 to be 4294967295, got 0");
  expectRefused([](Records &r) { r.payloads()[0].image_kind = 1; },
                "expected image_kind of payload 0 to be 0, got 1");
  expectRefused([](Records &r) { r.payloads()[0].image_offset = 8; },
                "expected image_offset of payload 0 to be 0, got 8");
  expectRefused([](Records &r) { r.payloads()[0].image_bytes = 8; },
                "expected image_bytes of payload 0 to be 0, got 8");
  Records records(whole);
  uint64_t at = records.payloads()[0].offset, bytes = whole.size() - at;
  std::string place =
      "expected offset of payload 0 to be " + std::to_string(at) + ", got ";
  expectRefused([](Records &r) { r.payloads()[0].offset += 8; },
                place + std::to_string(at + 8));
  expectRefused([](Records &r) { r.payloads()[0].offset = 0; }, place + "0");
  std::string size = "expected payload 0 to have 1 to " +
                     std::to_string(bytes) + " bytes, got ";
  expectRefused([](Records &r) { r.payloads()[0].bytes = 0; }, size + "0");
  expectRefused([](Records &r) { r.payloads()[0].bytes = UINT64_MAX; },
                size + "18446744073709551615");
  expectRefused([](Records &r) { r.payloads()[0].bytes -= 1; },
                "expected the last payload to end the artefact, got 1 bytes "
                "more");
  expectRefused([](Records &r) { r.payloads()[0].features = 1; },
                "expected features of payload 0 to start a string, got 1");
}

/// A cubin as far as a loader of files looks: a header and one section.
static std::string makeCubin() {
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_machine = 190;
  header.e_shoff = sizeof(header);
  header.e_shnum = 1;
  header.e_shentsize = sizeof(Elf64_Shdr);
  Elf64_Shdr section = {};
  section.sh_type = SHT_PROGBITS;
  section.sh_offset = sizeof(header) + sizeof(section);
  section.sh_size = 5;
  std::string bytes(reinterpret_cast<char *>(&header), sizeof(header));
  bytes.append(reinterpret_cast<char *>(&section), sizeof(section));
  return bytes + "code.";
}

TEST_F(RuleTest, Images) {
  std::string other = "expected the image of payload 0 to be a whole cubin "
                      "(kind 1) or PTX that ends with NUL (kind 2), got other "
                      "bytes of kind ";
  vashista::Artefact artefact = kernelsArtefact();
  artefact.payloads[0].image = {"sm_90a", /*isPTX=*/false, makeCubin()};
  whole = write(artefact);
  ASSERT_OK(vashista_artefact_verify(whole.data(), whole.size()));
  auto image = [](Records &r) {
    return r.bytes.data() + r.payloads()[0].image_offset;
  };
  expectRefused([](Records &r) { r.payloads()[0].architecture = 1; },
                "expected architecture of payload 0 to start a string, got 1");
  expectRefused([](Records &r) { r.payloads()[0].image_kind = 3; },
                other + "3");
  expectRefused([](Records &r) { r.payloads()[0].image_kind = 2; },
                other + "2");
  expectRefused([&](Records &r) { *image(r) = 'x'; }, other + "1");
  using Header = Elf64_Ehdr;
  for (auto change : std::initializer_list<void (*)(Header &)>{
           [](Header &h) { h.e_machine = EM_X86_64; },
           [](Header &h) { h.e_shoff = UINT64_MAX - 8; },
           [](Header &h) { h.e_shnum = 9; },
           [](Header &h) { h.e_shentsize = 8; },
           [](Header &h) {
             h.e_phnum = 1, h.e_phentsize = 56, h.e_phoff = 200;
           },
           [](Header &h) {
             reinterpret_cast<Elf64_Shdr *>(&h + 1)->sh_size = 6;
           },
           [](Header &h) {
             reinterpret_cast<Elf64_Shdr *>(&h + 1)->sh_offset = UINT64_MAX;
           }})
    expectRefused(
        [&](Records &r) { change(*reinterpret_cast<Header *>(image(r))); },
        other + "1");
  expectRefused([](Records &r) { r.payloads()[0].image_bytes = UINT64_MAX; },
                "expected the image of payload 0 to have 1 to " +
                    std::to_string(makeCubin().size()) + " bytes, got " +
                    std::to_string(UINT64_MAX));

  artefact.payloads[0].image = {"compute_90", /*isPTX=*/true, ".version 8.0"};
  whole = write(artefact);
  ASSERT_OK(vashista_artefact_verify(whole.data(), whole.size()));
  expectRefused([](Records &r) { r.bytes.back() = 'x'; }, other + "2");
  expectRefused([&](Records &r) { *image(r) = 0; }, other + "2");
}

TEST_F(RuleTest, Entries) {
  expectRefused([](Records &r) { r.entries()[3].name = r.entries()[1].name; },
                "expected entries of different names, got 'transpose' twice");
  expectRefused([](Records &r) { r.entries()[1].first_value = 0; },
                "expected first_value of entry 1 to be 2, got 0");
  expectRefused([](Records &r) { r.entries()[9].first_constant = 0; },
                "expected first_constant of entry 9 to be 2, got 0");
  expectRefused([](Records &r) { r.entries()[9].first_check = 0; },
                "expected first_check of entry 9 to be 3, got 0");
  expectRefused([](Records &r) { r.entries()[2].reserved = 9; },
                "expected reserved of entry 2 to be 0, got 9");
  for (uint32_t vso_entry::*field :
       {&vso_entry::num_arguments, &vso_entry::num_results,
        &vso_entry::num_constants, &vso_entry::num_checks})
    expectRefused([&](Records &r) { r.entries()[9].*field = UINT32_MAX; },
                  "expected entry 9 to have at most 128 values, and no more "
                  "records than there are");
  expectRefused([](Records &r) { --r.entries()[9].num_checks; },
                "expected first_check of entry 10 to be 5, got 6");
  expectRefused([](Records &r) { --r.entries()[9].num_constants; },
                "expected first_constant of entry 10 to be 3, got 4");
  expectRefused([](Records &r) { --r.entries()[10].num_results; },
                "expected values of entry 10 to be 27, got 28");
  expectRefused([](Records &r) { r.constants()[1].name = 3; },
                "expected constant of entry 8 to start a string, got 3");
}

TEST_F(RuleTest, AtLeastOneEntry) {
  vso_header header = Records(whole).header();
  vso_payload payload = {VSO_PAYLOAD_ELF_X86_64, 0, 0, 8, VSO_NONE, 0, 0, 0};
  const std::string strings("producer", 9), padding(7, '\0');
  header.producer = header.compiler = payload.features = 0;
  header.strings = {sizeof(header), strings.size()};
  header.payloads = {sizeof(header) + 16, 1};
  payload.offset = header.payloads.offset + sizeof(payload);
  header.entries = header.values = header.dims = header.constants =
      header.checks = {payload.offset, 0};
  header.file_bytes = payload.offset + payload.bytes;
  std::string bytes(reinterpret_cast<char *>(&header), sizeof(header));
  bytes += strings + padding;
  bytes.append(reinterpret_cast<char *>(&payload), sizeof(payload));
  bytes += "payload.";
  redigest(bytes);
  test::expectRefused(bytes, VASHISTA_MALFORMED,
                      "expected 1 to 1024 entries, got 0");
}

TEST_F(RuleTest, Values) {
  expectRefused(
      [](Records &r) { r.decodeValues()[1].name = r.decodeValues()[0].name; },
      "expected values of different names in entry 8, got 'table' twice");
  auto expectTypeRefused = [&](uint8_t code, uint8_t bits) {
    expectRefused(
        [&](Records &r) {
          r.values()[0].code = code;
          r.values()[0].bits = bits;
        },
        "expected value 0 of entry 0 to have whole bytes of a known type, got "
        "code " +
            std::to_string(code) + " with " + std::to_string(bits) + " bits");
  };
  expectTypeRefused(kDLInt, 0);
  expectTypeRefused(kDLInt, 4);
  expectTypeRefused(kDLUInt, 128);
  expectTypeRefused(kDLFloat, 8);
  expectTypeRefused(kDLBfloat, 32);
  expectTypeRefused(kDLBool, 1);
  expectTypeRefused(kDLComplex, 32);
  expectTypeRefused(kDLOpaqueHandle, 64);
  expectTypeRefused(kDLFloat8_e4m3fn, 16);
  expectTypeRefused(kDLFloat4_e2m1fn, 4);
  expectTypeRefused(255, 8);
  expectRefused([](Records &r) { r.values()[0].flags = 4; },
                "expected value 0 of entry 0 to have flags within 3, got 4");
  expectRefused([](Records &r) { r.values()[1].flags = 2; },
                "expected value 1 of entry 0 to have flags within 0, got 2");
  // A result with the faults of a check.
  for (uint16_t flags : {4 | 3 << 3, 4 | 1, 4 | 2})
    expectRefused(
        [&](Records &r) { r.decodeValues()[7].flags = flags; },
        "expected value 7 of entry 8 to have the faults of one of 3 checks, "
        "got flags " +
            std::to_string(flags));
  expectRefused([](Records &r) { r.decodeValues()[7].flags = 4; },
                "expected value 7 of entry 8, which has faults, to be i32 "
                "[R, 4]");
  expectRefused([](Records &r) { r.values()[1].rank = 9; },
                "expected value 1 of entry 0 to have rank 0 to 8, got 9");
  expectRefused([](Records &r) { r.values()[1].first_dim = 0; },
                "expected first_dim of value 1 to be 1, got 0");
  expectRefused([](Records &r) { r.values()[1].rank = 0; },
                "expected first_dim of value 0 to be 1, got 2");
}

TEST_F(RuleTest, Dims) {
  auto expectDimRefused = [&](int number, auto change, std::string place,
                              std::string got) {
    expectRefused([&](Records &r) { change(r.dims()[number]); },
                  "expected dimension " + place +
                      " to be static, dynamic (arguments only) or tied to a "
                      "dynamic dimension before it, got " +
                      got);
  };
  expectDimRefused(
      0, [](vso_dim &d) { d.kind = 0; }, "0 of value 0 of entry 0",
      "kind 0, size 0");
  expectDimRefused(
      0, [](vso_dim &d) { d.kind = 4; }, "0 of value 0 of entry 0",
      "kind 4, size 0");
  expectDimRefused(
      0, [](vso_dim &d) { d.size = 5; }, "0 of value 0 of entry 0",
      "kind 2, size 5");
  expectDimRefused(
      0, [](vso_dim &d) { d.argument = 0; }, "0 of value 0 of entry 0",
      "kind 2, size 0");
  expectDimRefused(
      0, [](vso_dim &d) { d.reserved = 1; }, "0 of value 0 of entry 0",
      "kind 2, size 0");
  expectDimRefused(
      0,
      [](vso_dim &d) {
        d = {VSO_DIM_STATIC, VSO_NONE, VSO_NONE, 0, -1};
      },
      "0 of value 0 of entry 0", "kind 1, size -1");
  // To itself.
  expectDimRefused(
      0,
      [](vso_dim &d) {
        d = {VSO_DIM_TIED, 0, 0, 0, 1};
      },
      "0 of value 0 of entry 0", "kind 3, size 1");
  // To the next one of its own.
  expectDimRefused(
      2,
      [](vso_dim &d) {
        d = {VSO_DIM_TIED, 0, 1, 0, 1};
      },
      "0 of value 0 of entry 1", "kind 3, size 1");
  // The result's.
  expectDimRefused(
      1,
      [](vso_dim &d) {
        d = {VSO_DIM_DYNAMIC, VSO_NONE, VSO_NONE, 0, 0};
      },
      "0 of value 1 of entry 0", "kind 2, size 0");
  expectDimRefused(
      1, [](vso_dim &d) { d.size = 0; }, "0 of value 1 of entry 0",
      "kind 3, size 0");
  expectDimRefused(
      1, [](vso_dim &d) { d.argument = 1; }, "0 of value 1 of entry 0",
      "kind 3, size 1");
  expectDimRefused(
      1, [](vso_dim &d) { d.dim = 1; }, "0 of value 1 of entry 0",
      "kind 3, size 1");
  // To a dimension that is not dynamic.
  int result = static_cast<int>(Records(whole).decodeValues()[7].first_dim);
  expectDimRefused(
      result, [](vso_dim &d) { d.argument = 4; }, "0 of value 7 of entry 8",
      "kind 3, size 1");
  expectDimRefused(
      result,
      [](vso_dim &d) {
        d = {VSO_DIM_TIED, 3, 1, 0, 1};
      },
      "0 of value 7 of entry 8", "kind 3, size 1");
}

TEST_F(RuleTest, Checks) {
  auto expectCheckRefused = [&](int number, uint32_t vso_check::*field,
                                uint32_t value) {
    Records records(whole);
    uint32_t kind =
        field == &vso_check::kind ? value : records.checks()[number].kind;
    expectRefused([&](Records &r) { r.checks()[number].*field = value; },
                  "expected check " + std::to_string(number) +
                      " of entry 8 to name i32 arguments of the right ranks, "
                      "got kind " +
                      std::to_string(kind));
  };
  // TABLE, POSITIONS and LIST. Argument 3 is f32, 0 has rank 2, 1 rank 1, 5
  // rank 3; 7 is a result.
  for (uint32_t kind : {0, 4})
    expectCheckRefused(0, &vso_check::kind, kind);
  expectCheckRefused(0, &vso_check::kind, VSO_CHECK_POSITIONS);
  for (uint32_t wrong : {uint32_t(1), uint32_t(3), uint32_t(7), VSO_NONE})
    expectCheckRefused(0, &vso_check::table, wrong);
  for (uint32_t wrong : {uint32_t(0), uint32_t(7), VSO_NONE})
    expectCheckRefused(0, &vso_check::lens, wrong);
  for (uint32_t wrong : {uint32_t(0), uint32_t(7)})
    expectCheckRefused(0, &vso_check::rows, wrong);
  for (uint32_t wrong : {uint32_t(7), VSO_NONE})
    expectCheckRefused(0, &vso_check::cache, wrong);
  for (uint32_t wrong : {uint32_t(2), VSO_NONE})
    expectCheckRefused(0, &vso_check::cache_dim, wrong);
  expectCheckRefused(0, &vso_check::unit, 1);
  expectCheckRefused(0, &vso_check::positions, 4);
  expectCheckRefused(0, &vso_check::list, 5);
  expectCheckRefused(0, &vso_check::count, 6);
  expectCheckRefused(1, &vso_check::lens, 1);
  expectCheckRefused(1, &vso_check::positions, VSO_NONE);
  expectCheckRefused(2, &vso_check::unit, 0);
  expectCheckRefused(2, &vso_check::unit, 3);
  expectCheckRefused(2, &vso_check::list, 6);
  expectCheckRefused(2, &vso_check::count, 5);
  expectCheckRefused(2, &vso_check::table, 0);
  for (int64_t size : {int64_t(1), (int64_t(1) << 31) - 1}) {
    Records records(whole);
    records.checks()[0].page_size = size;
    redigest(records.bytes);
    EXPECT_EQ(tryLoad(records.bytes), VASHISTA_OK);
  }
  for (int64_t size : {int64_t(0), int64_t(-1), int64_t(1) << 31})
    expectRefused([&](Records &r) { r.checks()[0].page_size = size; },
                  "expected check 0 of entry 8 to name i32 arguments of the "
                  "right ranks, got kind 1");
}

//===----------------------------------------------------------------------===//
// At random
//===----------------------------------------------------------------------===//

/// Calls every entry of a module that a changed artefact gave, with tensors
/// made as it says. The kernels do nothing.
void callEverything(vashista_module *module) {
  vashista_module_info info;
  ASSERT_OK(vashista_module_describe(module, &info));
  for (uint32_t entry = 0; entry < info.num_entries; ++entry) {
    vashista_entry_info about;
    ASSERT_OK(vashista_entry_describe(module, entry, &about));
    uint32_t count = about.num_arguments + about.num_results;
    std::vector<vashista_value_info> values(count);
    std::vector<std::vector<int64_t>> shapes(count);
    std::vector<DLTensor> tensors(count);
    std::vector<DLTensor *> pointers(count);
    std::vector<std::unique_ptr<GuardedMemory>> memories;
    bool isHuge = false;
    for (uint32_t i = 0; i < count; ++i) {
      if (i < about.num_arguments)
        ASSERT_OK(vashista_argument_describe(module, entry, i, &values[i]));
      else
        ASSERT_OK(vashista_result_describe(
            module, entry, i - about.num_arguments, &values[i]));
      double size = values[i].dtype.bits / 8;
      for (int d = 0; d < values[i].rank; ++d) {
        const vashista_dim &dim = values[i].dims[d];
        int64_t extent = dim.size;
        if (dim.kind == VASHISTA_DIM_DYNAMIC)
          extent = 3;
        else if (dim.kind == VASHISTA_DIM_TIED)
          extent = static_cast<int64_t>(
              static_cast<uint64_t>(extent) *
              static_cast<uint64_t>(shapes[dim.argument][dim.dim]));
        shapes[i].push_back(extent);
        size *= static_cast<double>(extent);
      }
      isHuge |= size < 0 || size >= 1e6;
      memories.push_back(std::make_unique<GuardedMemory>(
          isHuge ? 0 : static_cast<size_t>(size)));
      tensors[i] = {memories.back()->data(),
                    {kDLCPU, 0},
                    values[i].rank,
                    values[i].dtype,
                    shapes[i].data(),
                    nullptr,
                    0};
      pointers[i] = &tensors[i];
    }
    if (isHuge)
      continue;
    vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
    for (options.checked = 0; options.checked < 2; ++options.checked)
      vashista_call(module, entry, pointers.data(), about.num_arguments,
                    pointers.data() + about.num_arguments, about.num_results,
                    &options);
  }
}

/// Changes records in one to three places, makes the digest agree again, and
/// uses what loads.
TEST(Corruption, RandomRecordsWithTheirDigest) {
  Artefact artefact = kernelsArtefact();
  artefact.payloads[0].bytes = tinyPayload();
  for (ArtefactEntry &entry : artefact.entries)
    entry.symbol = "nothing";
  const std::string whole = write(artefact);
  const size_t end = Records(whole).payloads()[0].offset;

  std::mt19937_64 random(3);
  auto below = [&](uint64_t limit) { return random() % limit; };
  int loaded = 0;
  for (int i = 0; i < 50000; ++i) {
    std::string bytes = whole;
    for (uint64_t changes = 1 + below(3); changes > 0; --changes) {
      // An aligned field of 1, 2, 4 or 8 bytes.
      size_t width = size_t(1) << below(4);
      size_t at = below(end / width) * width;
      uint64_t field = 0;
      memcpy(&field, &bytes[at], width);
      const uint64_t interesting[] = {0,
                                      1,
                                      2,
                                      3,
                                      7,
                                      8,
                                      0x7f,
                                      0xff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      uint64_t(1) << 62,
                                      uint64_t(1) << 63,
                                      UINT64_MAX,
                                      field + 1,
                                      field - 1,
                                      field + 8,
                                      field ^ (uint64_t(1) << below(64)),
                                      below(64),
                                      random()};
      field = interesting[below(std::size(interesting))];
      memcpy(&bytes[at], &field, width);
    }
    redigest(bytes);
    vashista_module *module = nullptr;
    vashista_status status = vashista_module_load_bytes(
        bytes.data(), bytes.size(), nullptr, &module);
    ASSERT_TRUE(status == VASHISTA_OK || isRefusal(status) ||
                status == VASHISTA_LOAD_FAILED)
        << vashista_last_error();
    ASSERT_EQ(module == nullptr, status != VASHISTA_OK);
    if (module) {
      ++loaded;
      callEverything(module);
    }
    vashista_module_free(module);
  }
  // Names, types and sizes may change; a test where nothing loads tests little.
  EXPECT_GT(loaded, 1000);
  EXPECT_LT(loaded, 40000);
}

} // namespace
