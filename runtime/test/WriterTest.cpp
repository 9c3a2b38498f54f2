//===- WriterTest.cpp - Descriptions that cannot be written ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include "llvm/Support/raw_ostream.h"

using namespace vashista;
using namespace vashista::test;

namespace {

void expectFails(const Artefact &artefact, const char *message) {
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  EXPECT_EQ(llvm::toString(writeArtefact(artefact, os)), message);
  EXPECT_TRUE(bytes.empty());
}

TEST(Writer, IsDeterministic) {
  EXPECT_EQ(write(kernelsArtefact()), write(kernelsArtefact()));
}

TEST(Writer, NamesWhatHasNoName) {
  Artefact artefact = tinyArtefact();
  ArtefactEntry &entry = artefact.entries[0];
  entry.symbol = "nothing";
  entry.results[0].name = "";
  entry.arguments.resize(2, value("", typeOf<float>(), {}));
  Module module = load(artefact);
  vashista_value_info info;
  ASSERT_OK(vashista_argument_describe(module.get(), 0, 1, &info));
  EXPECT_STREQ(info.name, "arg1");
  ASSERT_OK(vashista_result_describe(module.get(), 0, 0, &info));
  EXPECT_STREQ(info.name, "result0");
}

TEST(Writer, RefusesWhatTheFormatCannotHold) {
  const Artefact good = tinyArtefact();
  Artefact artefact = good;
  artefact.payloads.clear();
  expectFails(artefact, "expected at least 1 payload, got 0");
  artefact = good;
  artefact.payloads[0].bytes.clear();
  expectFails(artefact, "expected a payload of at least 1 byte, got 0");
  artefact = good;
  artefact.entries.clear();
  expectFails(artefact, "expected 1 to 1024 entries, got 0");
  artefact.entries.resize(1025, good.entries[0]);
  expectFails(artefact, "expected 1 to 1024 entries, got 1025");
  artefact.entries.resize(2);
  expectFails(artefact,
              "expected entries of different names, got 'answer' twice");

  artefact = good;
  artefact.entries[0].arguments.resize(128, value("", typeOf<float>(), {}));
  expectFails(artefact, "entry 'answer': expected at most 128 arguments and "
                        "results, got 129");
  artefact.entries[0].arguments.resize(127);
  artefact.entries[0].arguments[5].name = "arg3";
  expectFails(artefact, "entry 'answer': expected arguments of different "
                        "names, got 'arg3' twice");
  artefact = good;
  artefact.entries[0].results[0].dims.resize(9, fixed(1));
  expectFails(artefact, "entry 'answer', 'o': expected rank 0 to 8, got 9");
  artefact.entries[0].results[0].dims = {dynamic()};
  expectFails(artefact, "entry 'answer', 'o': expected sizes of a result to be "
                        "static or tied to arguments, got a dynamic one");
  artefact = good;
  artefact.entries[0].results[0].written = true;
  expectFails(artefact, "entry 'answer', 'o': expected a result without flags, "
                        "got one");
  artefact = good;
  artefact.entries[0].results[0].faults = true;
  artefact.entries[0].results[0].check = 0;
  expectFails(artefact, "entry 'answer', 'o': expected a result with the "
                        "faults of one of 0 checks, got check 0");
  artefact = good;
  artefact.producer = "a\nb";
  expectFails(artefact, "expected names without control characters, got 0xa");
  artefact.producer = std::string("a\0b", 3);
  expectFails(artefact, "expected names without NUL, got one");
}

TEST(Writer, HoldsAsMuchAsTheLimitsSay) {
  Artefact artefact = tinyArtefact();
  artefact.entries.clear();
  for (int i = 0; i < VSO_MAX_ENTRIES; ++i) {
    ArtefactEntry entry;
    entry.name = "entry" + std::to_string(i);
    entry.symbol = "nothing";
    artefact.entries.push_back(entry);
  }
  ArtefactValue value;
  value.code = kDLInt;
  value.bits = 8;
  value.dims.resize(VSO_MAX_RANK, fixed(1));
  artefact.entries[1].arguments.resize(VSO_MAX_VALUES, value);
  artefact.entries[1].arguments[127].dims[0] = dynamic();
  artefact.entries[2].arguments = artefact.entries[1].arguments;
  Module module = load(artefact);

  Tensor<int8_t> tensor({1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_OK(call(module, "entry1", std::vector<DLTensor *>(128, tensor), {}));
}

} // namespace
