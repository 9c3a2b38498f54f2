//===- Utils.cpp - What the tests of the runtime share --------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <sys/mman.h>
#include <unistd.h>

using namespace vashista;
using namespace vashista::test;

// A sanitizer gives null like the system, rather than end the program. LLVM's
// own containers are not annotated.
// NOLINTBEGIN(readability-identifier-naming): the sanitizers' names.
extern "C" const char *__asan_default_options() {
  return "allocator_may_return_null=1:detect_container_overflow=0";
}
extern "C" const char *__tsan_default_options() {
  return "allocator_may_return_null=1";
}
// NOLINTEND(readability-identifier-naming)

GuardedMemory::GuardedMemory(size_t size) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t inside = (size + page - 1) / page * page;
  mappingSize = inside + 2 * page;
  mapping = static_cast<char *>(mmap(nullptr, mappingSize, PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (mapping == MAP_FAILED ||
      (inside && mprotect(mapping + page, inside, PROT_READ | PROT_WRITE) != 0))
    abort();
  start = mapping + page + inside - size;
}

GuardedMemory::~GuardedMemory() {
  if (mapping)
    munmap(mapping, mappingSize);
}

GuardedMemory::GuardedMemory(GuardedMemory &&other) noexcept
    : mapping(other.mapping), mappingSize(other.mappingSize),
      start(other.start) {
  other.mapping = nullptr;
}

std::string vashista::test::readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void vashista::test::writeFile(const std::string &path,
                               const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

const std::string &vashista::test::tinyPayload() {
  static const std::string bytes = readFile(VASHISTA_TINY_PAYLOAD);
  return bytes;
}

const std::string &vashista::test::stickyPayload() {
  static const std::string bytes = readFile(VASHISTA_STICKY_PAYLOAD);
  return bytes;
}

const std::string &vashista::test::kernelsPayload() {
  static const std::string bytes = readFile(VASHISTA_KERNELS_PAYLOAD);
  return bytes;
}

ArtefactValue vashista::test::value(std::string name, DLDataType type,
                                    std::initializer_list<ArtefactDim> dims) {
  ArtefactValue result;
  result.name = std::move(name);
  result.code = type.code;
  result.bits = type.bits;
  result.dims = dims;
  return result;
}

ArtefactDim vashista::test::fixed(int64_t size) {
  return ArtefactDim::getFixed(size);
}
ArtefactDim vashista::test::dynamic() { return ArtefactDim::getDynamic(); }
ArtefactDim vashista::test::tied(unsigned argument, unsigned dim,
                                 int64_t factor) {
  return ArtefactDim::getTied(argument, dim, factor);
}

Artefact vashista::test::tinyArtefact(const std::string &payload) {
  Artefact artefact;
  artefact.producer = "vashista test";
  artefact.compiler = "LLVM test";
  artefact.payloads.push_back({"", payload});
  ArtefactEntry entry;
  entry.name = entry.symbol = "answer";
  entry.results = {value("o", typeOf<int32_t>(), {})};
  artefact.entries.push_back(entry);
  return artefact;
}

Artefact vashista::test::kernelsArtefact() {
  DLDataType f32 = typeOf<float>(), i32 = typeOf<int32_t>(),
             i64 = typeOf<int64_t>();
  Artefact artefact;
  artefact.producer = "vashista test";
  artefact.compiler = "LLVM test";
  artefact.payloads.push_back({"sse2", kernelsPayload()});
  auto add = [&](std::string name, std::vector<ArtefactValue> arguments,
                 std::vector<ArtefactValue> results) -> ArtefactEntry & {
    ArtefactEntry entry;
    entry.name = entry.symbol = std::move(name);
    entry.arguments = std::move(arguments);
    entry.results = std::move(results);
    artefact.entries.push_back(std::move(entry));
    return artefact.entries.back();
  };
  auto strided = [](ArtefactValue value, bool written = false) {
    value.strided = true;
    value.written = written;
    return value;
  };

  add("halve", {value("x", f32, {dynamic()})}, {value("y", f32, {tied(0, 0)})});
  add("transpose", {strided(value("x", f32, {dynamic(), dynamic()}))},
      {value("y", f32, {tied(0, 1), tied(0, 0)})});
  add("increment", {strided(value("x", i32, {dynamic()}), true)}, {});
  add("identify", {}, {value("threads", i64, {fixed(64)})});
  add("meet", {}, {value("threads", i64, {fixed(4)})});
  add("nested", {}, {value("threads", i64, {fixed(8), fixed(8)})});
  add("temporary", {value("size", i64, {})}, {value("good", i64, {})});
  add("temporaries", {value("size", i64, {})}, {});

  ArtefactEntry &decode =
      add("decode",
          {strided(value("table", i32, {dynamic(), dynamic()})),
           value("lens", i32, {dynamic()}), value("rows", i32, {dynamic()}),
           value("cache", f32, {dynamic(), fixed(4)}),
           value("positions", i32, {tied(1, 0)}),
           value("list", i32, {dynamic(), dynamic(), dynamic()}),
           value("count", i32, {dynamic(), dynamic()})},
          {value("sum", f32, {tied(1, 0)})});
  decode.symbol = "gather";
  decode.constants = {{"scale", "0.0883883461"}, {"sinks", "4"}};
  decode.checks = {ArtefactCheck::getTable(0, 1, 2, 3, 0, 4),
                   ArtefactCheck::getPositions(4, 0, 2, 3, 0, 4),
                   ArtefactCheck::getList(5, 6, 1, /*inPages=*/false, 4)};

  // The same, where row r has table row r, and the list is one of pages, whole.
  ArtefactEntry simple = decode;
  simple.name = "simple";
  simple.checks = {ArtefactCheck::getTable(0, 1, std::nullopt, 3, 0, 4),
                   ArtefactCheck::getPositions(4, 0, std::nullopt, 3, 0, 4),
                   ArtefactCheck::getList(5, std::nullopt, 1, true, 4)};
  artefact.entries.push_back(simple);
  add("crowd", {}, {value("most", i64, {})});
  return artefact;
}

std::string vashista::test::write(const Artefact &artefact) {
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  llvm::Error failure = writeArtefact(artefact, os);
  EXPECT_FALSE(static_cast<bool>(failure));
  EXPECT_EQ(llvm::toString(std::move(failure)), "");
  return bytes;
}

void vashista::test::redigest(std::string &bytes) {
  constexpr size_t at = offsetof(vso_header, digest), end = at + 32;
  auto digest =
      llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes).drop_front(end));
  memcpy(bytes.data() + at, digest.data(), digest.size());
}

Module vashista::test::load(const std::string &bytes) {
  vashista_module *module = nullptr;
  EXPECT_OK(
      vashista_module_load_bytes(bytes.data(), bytes.size(), nullptr, &module));
  return Module(module);
}

Module vashista::test::load(const Artefact &artefact) {
  return load(write(artefact));
}

void vashista::test::expectRefused(const std::string &bytes,
                                   vashista_status status,
                                   const std::string &message) {
  vashista_module *module = nullptr;
  EXPECT_EQ(
      vashista_module_load_bytes(bytes.data(), bytes.size(), nullptr, &module),
      status);
  EXPECT_EQ(vashista_last_error(), message);
  EXPECT_EQ(module, nullptr);
  vashista_module_free(module);
}

uint32_t vashista::test::find(const Module &module, const char *name) {
  uint32_t entry = 0;
  EXPECT_OK(vashista_find_entry(module.get(), name, &entry));
  return entry;
}

vashista_status vashista::test::call(const Module &module, const char *entry,
                                     std::vector<DLTensor *> arguments,
                                     std::vector<DLTensor *> results,
                                     bool checked, uint32_t threads) {
  vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
  options.checked = checked;
  options.threads = threads;
  return vashista_call(module.get(), find(module, entry), arguments.data(),
                       static_cast<uint32_t>(arguments.size()), results.data(),
                       static_cast<uint32_t>(results.size()), &options);
}

int vashista::test::answer(const Module &module) {
  Tensor<int32_t> result({});
  EXPECT_OK(call(module, "answer", {}, {result}));
  return result[0];
}
