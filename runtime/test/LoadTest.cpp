//===- LoadTest.cpp - Loading and describing artefacts --------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sha256.h"
#include "Utils.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/SHA256.h"

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace vashista;
using namespace vashista::test;

namespace {

std::string temporaryPath(const char *name) {
  return testing::TempDir() + "vashista-" + std::to_string(getpid()) + name;
}

TEST(Sha256, AgreesWithLlvm) {
  std::string bytes;
  for (int size = 0; size < 300; ++size) {
    uint8_t digest[32];
    auto *data = reinterpret_cast<const uint8_t *>(bytes.data());
    runtime::sha256(data, bytes.size(), digest);
    auto expected = llvm::SHA256::hash(llvm::ArrayRef(data, bytes.size()));
    EXPECT_EQ(memcmp(digest, expected.data(), 32), 0) << size;
    bytes += static_cast<char>(size * 37);
  }
}

TEST(Load, FromBytesAtAnyAlignment) {
  std::string bytes = write(tinyArtefact());
  for (size_t shift = 0; shift < 8; ++shift) {
    std::string shifted = std::string(shift, 'x') + bytes;
    vashista_module *module = nullptr;
    ASSERT_OK(vashista_module_load_bytes(shifted.data() + shift, bytes.size(),
                                         nullptr, &module));
    EXPECT_EQ(answer(Module(module)), 42);
    EXPECT_OK(vashista_artefact_verify(shifted.data() + shift, bytes.size()));
  }
}

TEST(Load, FromAFileThatGoesAway) {
  std::string path = temporaryPath(".vso");
  writeFile(path, write(tinyArtefact()));
  vashista_module *module = nullptr;
  ASSERT_OK(vashista_module_load(path.c_str(), nullptr, &module));
  writeFile(path, "overwritten");
  unlink(path.c_str());
  EXPECT_EQ(answer(Module(module)), 42);
}

TEST(Load, FilesThatCannotBe) {
  vashista_module *module = nullptr;
  std::string path = temporaryPath(".absent");
  EXPECT_EQ(vashista_module_load(path.c_str(), nullptr, &module),
            VASHISTA_NOT_FOUND);
  EXPECT_EQ(vashista_last_error(),
            "expected to open '" + path + "', got: No such file or directory");
  EXPECT_FAILS(vashista_module_load("/", nullptr, &module), VASHISTA_IO_ERROR,
               "expected '/' to be a file, got something else");
  EXPECT_FAILS(vashista_module_load("/dev/null", nullptr, &module),
               VASHISTA_IO_ERROR,
               "expected '/dev/null' to be a file, got something else");
  // Does not wait for a writer.
  std::string pipe = temporaryPath(".pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(vashista_module_load(pipe.c_str(), nullptr, &module),
            VASHISTA_IO_ERROR);
  unlink(pipe.c_str());

  writeFile(path, "");
  EXPECT_FAILS(vashista_module_load(path.c_str(), nullptr, &module),
               VASHISTA_MALFORMED,
               "expected an artefact of at least 184 bytes, got 0");
  unlink(path.c_str());
  EXPECT_EQ(module, nullptr);
}

TEST(Load, WrongCalls) {
  std::string bytes = write(tinyArtefact());
  vashista_module *module = nullptr;
  EXPECT_FAILS(vashista_module_load(nullptr, nullptr, &module),
               VASHISTA_INVALID_ARGUMENT, "expected a path, got null");
  EXPECT_FAILS(vashista_module_load("x", nullptr, nullptr),
               VASHISTA_INVALID_ARGUMENT,
               "expected a place for the module, got null");
  EXPECT_FAILS(vashista_module_load_bytes(nullptr, 5, nullptr, &module),
               VASHISTA_INVALID_ARGUMENT, "expected bytes, got null");
  EXPECT_FAILS(vashista_artefact_verify(nullptr, 5), VASHISTA_INVALID_ARGUMENT,
               "expected bytes, got null");
  vashista_load_options options = {};
  EXPECT_FAILS(
      vashista_module_load_bytes(bytes.data(), bytes.size(), &options, &module),
      VASHISTA_INVALID_ARGUMENT,
      "expected load options of struct_size 32, got 0");
  vashista_module_free(nullptr);
}

TEST(Load, AGivenDigest) {
  std::string bytes = write(tinyArtefact());
  vashista_load_options options = VASHISTA_LOAD_OPTIONS_INIT;
  uint8_t digest[32];
  memcpy(digest, bytes.data() + offsetof(vso_header, digest), 32);
  options.digest = digest;
  vashista_module *module = nullptr;
  EXPECT_OK(vashista_module_load_bytes(bytes.data(), bytes.size(), &options,
                                       &module));
  vashista_module_free(module);
  digest[31] ^= 1;
  EXPECT_FAILS(
      vashista_module_load_bytes(bytes.data(), bytes.size(), &options, &module),
      VASHISTA_MALFORMED,
      "expected an artefact with the given digest, got another one");
  EXPECT_EQ(module, nullptr);
}

TEST(Load, TheBestPayloadThatTheCpuCanRun) {
  Artefact artefact = tinyArtefact();
  artefact.payloads[0].features = "sse2,no-such-feature";
  expectRefused(write(artefact), VASHISTA_UNSUPPORTED,
                "expected a CPU with the features 'sse2,no-such-feature', got "
                "one without 'no-such-feature'");
  EXPECT_EQ(
      vashista_artefact_verify(write(artefact).data(), write(artefact).size()),
      VASHISTA_OK);

  artefact.payloads.push_back({"sse2", stickyPayload()});
  artefact.payloads.push_back({"", tinyPayload()});
  Module module = load(artefact);
  EXPECT_EQ(answer(module), 7);
  vashista_module_info info;
  ASSERT_OK(vashista_module_describe(module.get(), &info));
  EXPECT_STREQ(info.features, "sse2");

  artefact.payloads.resize(1);
  for (const char *features : {",", "sse2,", ",sse2", "sse2,,sse", "SSE2"}) {
    artefact.payloads[0].features = features;
    std::string bytes = write(artefact);
    vashista_module *none = nullptr;
    EXPECT_EQ(
        vashista_module_load_bytes(bytes.data(), bytes.size(), nullptr, &none),
        VASHISTA_UNSUPPORTED)
        << features;
  }
}

#ifdef __x86_64__
TEST(Load, FeaturesAreThoseOfTheSystem) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line) && line.rfind("flags", 0) != 0)
    ;
  std::istringstream words(line);
  std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
  if (flags.empty())
    GTEST_SKIP() << "the system does not say";
  // By LLVM's name and Linux's.
  const std::map<std::string, std::string> features = {
      {"sse", "sse"},
      {"sse2", "sse2"},
      {"sse3", "pni"},
      {"ssse3", "ssse3"},
      {"sse4.1", "sse4_1"},
      {"sse4.2", "sse4_2"},
      {"popcnt", "popcnt"},
      {"avx", "avx"},
      {"avx2", "avx2"},
      {"fma", "fma"},
      {"bmi", "bmi1"},
      {"bmi2", "bmi2"},
      {"f16c", "f16c"},
      {"lzcnt", "abm"},
      {"movbe", "movbe"},
      {"gfni", "gfni"},
      {"vpclmulqdq", "vpclmulqdq"},
      {"avx512f", "avx512f"},
      {"avx512vl", "avx512vl"},
      {"avx512bw", "avx512bw"},
      {"avx512dq", "avx512dq"},
      {"avx512cd", "avx512cd"},
      {"avx512ifma", "avx512ifma"},
      {"avx512vbmi", "avx512vbmi"},
      {"avx512vbmi2", "avx512_vbmi2"},
      {"avx512vnni", "avx512_vnni"},
      {"avx512bitalg", "avx512_bitalg"},
      {"avx512vpopcntdq", "avx512_vpopcntdq"},
      {"avx512bf16", "avx512_bf16"},
      {"avx512fp16", "avx512_fp16"},
      {"avxvnni", "avx_vnni"},
  };
  for (const auto &[name, flag] : features) {
    Artefact artefact = tinyArtefact();
    artefact.payloads[0].features = name;
    std::string bytes = write(artefact);
    vashista_module *module = nullptr;
    EXPECT_EQ(vashista_module_load_bytes(bytes.data(), bytes.size(), nullptr,
                                         &module),
              flags.count(flag) ? VASHISTA_OK : VASHISTA_UNSUPPORTED)
        << name;
    vashista_module_free(module);
  }
}
#endif

TEST(Load, SymbolsThatAreNotEntries) {
  Artefact artefact = kernelsArtefact();
  artefact.entries.resize(1);
  auto expectSymbolRefused = [&](const char *symbol, const char *message) {
    artefact.entries[0].symbol = symbol;
    expectRefused(write(artefact), VASHISTA_LOAD_FAILED, message);
  };
  expectSymbolRefused("absent", "expected the payload to export 'absent', got "
                                "no such symbol");
  expectSymbolRefused("halve_one", "expected the payload to export "
                                   "'halve_one', got no such symbol");
  // Functions of the libraries that the payload uses, and data.
  expectSymbolRefused("abort", "expected the payload to export the function "
                               "'abort', got a symbol of another kind or "
                               "object");
  expectSymbolRefused("not_a_function",
                      "expected the payload to export the function "
                      "'not_a_function', got a symbol of another kind or "
                      "object");
}

TEST(Load, PayloadsThatAreNotSharedObjects) {
  for (const std::string &payload :
       {std::string("x"), std::string(64, '\0'), tinyPayload().substr(0, 64),
        tinyPayload().substr(0, tinyPayload().size() - 1),
        readFile("/proc/self/exe").substr(0, 5000)}) {
    expectRefused(write(tinyArtefact(payload)), VASHISTA_LOAD_FAILED,
                  "expected the payload to be a whole x86-64 shared object, "
                  "got " +
                      std::to_string(payload.size()) + " other bytes");
  }
}

TEST(Load, PayloadsThatWereCut) {
  // Without a section table, which the system's loader does not miss.
  Elf64_Ehdr header;
  memcpy(&header, tinyPayload().data(), sizeof(header));
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  memcpy(segments.data(), tinyPayload().data() + header.e_phoff,
         segments.size() * sizeof(Elf64_Phdr));
  size_t needed = 0;
  for (const Elf64_Phdr &segment : segments)
    if (segment.p_type == PT_LOAD)
      needed = std::max<size_t>(needed, segment.p_offset + segment.p_filesz);
  header.e_shoff = header.e_shnum = 0;
  for (size_t size = 0; size <= needed + 8; ++size) {
    std::string payload = tinyPayload().substr(0, size);
    memcpy(payload.data(), &header, std::min(size, sizeof(header)));
    std::string bytes = write(tinyArtefact(payload.empty() ? "x" : payload));
    vashista_module *module = nullptr;
    ASSERT_EQ(vashista_module_load_bytes(bytes.data(), bytes.size(), nullptr,
                                         &module),
              size < needed ? VASHISTA_LOAD_FAILED : VASHISTA_OK)
        << size;
    vashista_module_free(module);
  }
}

TEST(Load, NotAnEarlierPayloadThatCouldNotBeUnloaded) {
  // The sticky one stays, and the next one gets its file number.
  for (int i = 0; i < 70; ++i) {
    EXPECT_EQ(answer(load(tinyArtefact(stickyPayload()))), 7);
    EXPECT_EQ(answer(load(tinyArtefact())), 42);
  }
}

TEST(Load, LeavesNoFilesOpen) {
  load(tinyArtefact());
  auto countFiles = [] {
    int count = 0;
    for (int file = 0; file < 1024; ++file)
      count += fcntl(file, F_GETFD) >= 0;
    return count;
  };
  int before = countFiles();
  for (int i = 0; i < 100; ++i)
    load(tinyArtefact());
  EXPECT_EQ(countFiles(), before);
}

TEST(Load, ManyAtOnce) {
  std::vector<Module> modules;
  modules.reserve(50);
  for (int i = 0; i < 50; ++i)
    modules.push_back(
        load(i % 2 ? tinyArtefact() : tinyArtefact(stickyPayload())));
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(answer(modules[i]), i % 2 ? 42 : 7);
}

TEST(Describe, SaysWhatWasWritten) {
  Module module = load(kernelsArtefact());
  vashista_module_info info;
  ASSERT_OK(vashista_module_describe(module.get(), &info));
  EXPECT_STREQ(info.producer, "vashista test");
  EXPECT_STREQ(info.compiler, "LLVM test");
  EXPECT_STREQ(info.features, "sse2");
  EXPECT_EQ(info.format_version, 2U);
  EXPECT_EQ(info.device.device_type, kDLCPU);
  EXPECT_EQ(info.architecture, nullptr);
  EXPECT_EQ(info.num_payloads, 1U);
  vashista_payload_info payload;
  ASSERT_OK(vashista_payload_describe(module.get(), 0, &payload));
  EXPECT_EQ(payload.device_type, kDLCPU);
  EXPECT_STREQ(payload.features, "sse2");
  EXPECT_EQ(payload.architecture, nullptr);
  EXPECT_FAILS(vashista_payload_describe(module.get(), 1, &payload),
               VASHISTA_INVALID_ARGUMENT,
               "expected one of 1 payloads, got number 1");
  EXPECT_EQ(info.num_entries, 11U);
  std::string bytes = write(kernelsArtefact());
  EXPECT_EQ(
      memcmp(info.digest, bytes.data() + offsetof(vso_header, digest), 32), 0);

  vashista_entry_info entry;
  uint32_t decode = find(module, "decode");
  ASSERT_OK(vashista_entry_describe(module.get(), decode, &entry));
  EXPECT_STREQ(entry.name, "decode");
  EXPECT_EQ(entry.num_arguments, 7U);
  EXPECT_EQ(entry.num_results, 1U);
  EXPECT_EQ(entry.num_constants, 2U);
  EXPECT_EQ(entry.num_checks, 3U);

  vashista_value_info value;
  ASSERT_OK(vashista_argument_describe(module.get(), decode, 3, &value));
  EXPECT_STREQ(value.name, "cache");
  EXPECT_EQ(value.dtype.code, kDLFloat);
  EXPECT_EQ(value.dtype.bits, 32);
  EXPECT_EQ(value.dtype.lanes, 1);
  ASSERT_EQ(value.rank, 2);
  EXPECT_FALSE(value.written);
  EXPECT_FALSE(value.strided);
  EXPECT_EQ(value.dims[0].kind, VASHISTA_DIM_DYNAMIC);
  EXPECT_EQ(value.dims[1].kind, VASHISTA_DIM_STATIC);
  EXPECT_EQ(value.dims[1].size, 4);
  ASSERT_OK(vashista_result_describe(module.get(), decode, 0, &value));
  EXPECT_STREQ(value.name, "sum");
  EXPECT_EQ(value.dims[0].kind, VASHISTA_DIM_TIED);
  EXPECT_EQ(value.dims[0].argument, 1U);
  EXPECT_EQ(value.dims[0].dim, 0U);
  EXPECT_EQ(value.dims[0].size, 1);
  ASSERT_OK(vashista_argument_describe(module.get(), find(module, "increment"),
                                       0, &value));
  EXPECT_TRUE(value.written);
  EXPECT_TRUE(value.strided);

  vashista_constant_info constant;
  ASSERT_OK(vashista_constant_describe(module.get(), decode, 0, &constant));
  EXPECT_STREQ(constant.name, "scale");
  EXPECT_STREQ(constant.value, "0.0883883461");

  vashista_check_info check;
  ASSERT_OK(vashista_check_describe(module.get(), decode, 0, &check));
  EXPECT_EQ(check.kind, VASHISTA_CHECK_TABLE);
  EXPECT_EQ(check.table, 0);
  EXPECT_EQ(check.lens, 1);
  EXPECT_EQ(check.rows, 2);
  EXPECT_EQ(check.cache, 3);
  EXPECT_EQ(check.cache_dim, 0);
  EXPECT_EQ(check.positions, -1);
  EXPECT_EQ(check.page_size, 4);
  ASSERT_OK(vashista_check_describe(module.get(), decode, 2, &check));
  EXPECT_EQ(check.kind, VASHISTA_CHECK_LIST);
  EXPECT_EQ(check.list, 5);
  EXPECT_EQ(check.count, 6);
  EXPECT_FALSE(check.in_pages);
  EXPECT_EQ(check.table, -1);
}

TEST(Describe, WrongCalls) {
  Module module = load(tinyArtefact());
  vashista_module_info info;
  vashista_entry_info entry;
  vashista_value_info value;
  vashista_constant_info constant;
  vashista_check_info check;
  uint32_t number;
  EXPECT_FAILS(vashista_module_describe(nullptr, &info),
               VASHISTA_INVALID_ARGUMENT, "expected a module, got null");
  EXPECT_FAILS(vashista_module_describe(module.get(), nullptr),
               VASHISTA_INVALID_ARGUMENT,
               "expected a place for the answer, got null");
  EXPECT_FAILS(vashista_find_entry(module.get(), nullptr, &number),
               VASHISTA_INVALID_ARGUMENT, "expected a name, got null");
  EXPECT_FAILS(vashista_find_entry(module.get(), "question", &number),
               VASHISTA_NOT_FOUND,
               "expected an entry such as 'answer', got 'question', which is "
               "none");
  EXPECT_FAILS(vashista_entry_describe(module.get(), 1, &entry),
               VASHISTA_INVALID_ARGUMENT,
               "expected one of 1 entries, got number 1");
  EXPECT_FAILS(vashista_argument_describe(module.get(), 0, 0, &value),
               VASHISTA_INVALID_ARGUMENT,
               "expected one of 0 arguments, got number 0");
  EXPECT_FAILS(vashista_result_describe(module.get(), 0, UINT32_MAX, &value),
               VASHISTA_INVALID_ARGUMENT,
               "expected one of 1 results, got number 4294967295");
  EXPECT_FAILS(vashista_constant_describe(module.get(), 0, 0, &constant),
               VASHISTA_INVALID_ARGUMENT,
               "expected one of 0 constants, got number 0");
  EXPECT_FAILS(vashista_check_describe(module.get(), 0, 0, &check),
               VASHISTA_INVALID_ARGUMENT,
               "expected one of 0 checks, got number 0");
}

TEST(Describe, Statuses) {
  std::set<std::string> names;
  for (int status = VASHISTA_OK; status <= VASHISTA_CHECK_FAILED; ++status)
    names.insert(vashista_status_name(status));
  EXPECT_EQ(names.size(), 9U);
  EXPECT_STREQ(vashista_status_name(99), "unknown status");
}

TEST(Describe, EachThreadHasItsOwnError) {
  EXPECT_NE(vashista_module_describe(nullptr, nullptr), VASHISTA_OK);
  std::string mine = vashista_last_error();
  std::thread([] {
    EXPECT_STREQ(vashista_last_error(), "");
    EXPECT_NE(vashista_artefact_verify(nullptr, 0), VASHISTA_OK);
  }).join();
  EXPECT_EQ(vashista_last_error(), mine);
}

/// A C program that links the shared library only.
TEST(Consumer, RunsWithoutACompiler) {
  std::string path = temporaryPath(".consumer.vso");
  writeFile(path, write(tinyArtefact()));
  EXPECT_EQ(system(("'" VASHISTA_CONSUMER "' '" + path + "'").c_str()), 0);
  unlink(path.c_str());
}

} // namespace
