//===- MakeArtefacts.cpp - Artefacts for the tests of vashista-run --------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Takes a folder and writes into it run.vso (Inputs/kernels.c), kernels.vso
// (the kernels of the runtime's tests), answer.vso (one entry), future.vso (for
// a CPU that there is not) and complex.vso (an element type without a .npy
// conversion).
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

using namespace vashista;
using namespace vashista::test;

static DLDataType type(uint8_t code, uint8_t bits) { return {code, bits, 1}; }

static ArtefactEntry &add(Artefact &artefact, std::string name,
                          std::string symbol,
                          std::vector<ArtefactValue> arguments,
                          std::vector<ArtefactValue> results) {
  ArtefactEntry entry;
  entry.name = std::move(name);
  entry.symbol = std::move(symbol);
  entry.arguments = std::move(arguments);
  entry.results = std::move(results);
  artefact.entries.push_back(std::move(entry));
  return artefact.entries.back();
}

static Artefact runArtefact() {
  Artefact artefact;
  artefact.producer = "vashista test";
  artefact.compiler = "LLVM test";
  artefact.payloads.push_back({"", readFile(VASHISTA_RUN_PAYLOAD)});

  const std::pair<const char *, DLDataType> types[] = {
      {"f16", type(kDLFloat, 16)},       {"bf16", type(kDLBfloat, 16)},
      {"f32", type(kDLFloat, 32)},       {"f64", type(kDLFloat, 64)},
      {"f8", type(kDLFloat8_e4m3fn, 8)}, {"bool", type(kDLBool, 8)},
      {"i8", type(kDLInt, 8)},           {"i16", type(kDLInt, 16)},
      {"i32", type(kDLInt, 32)},         {"i64", type(kDLInt, 64)},
      {"u8", type(kDLUInt, 8)},          {"u16", type(kDLUInt, 16)},
      {"u32", type(kDLUInt, 32)},        {"u64", type(kDLUInt, 64)}};
  for (const auto &[name, t] : types)
    add(artefact, std::string("copy_") + name,
        "copy" + std::to_string(t.bits / 8),
        {value("x", t, {dynamic(), dynamic()})},
        {value("y", t, {tied(0, 0), tied(0, 1)})});

  ArtefactValue sum = value("sum", type(kDLBfloat, 16), {dynamic()});
  sum.written = true;
  add(artefact, "accumulate", "accumulate",
      {sum, value("x", typeOf<float>(), {tied(0, 0)})}, {});
  add(artefact, "count", "count", {}, {value("n", typeOf<int64_t>(), {})});
  ArtefactValue state = value("state", typeOf<int64_t>(), {});
  state.written = true;
  add(artefact, "age", "age", {state}, {});
  add(artefact, "forget", "forget", {},
      {value("y", typeOf<int32_t>(), {fixed(2)})});
  add(artefact, "align", "align", {},
      {value("good", typeOf<int64_t>(), {}),
       value("large", type(kDLUInt, 8), {fixed(5 << 20)})});
  add(artefact, "crowd", "crowd", {}, {value("most", typeOf<int64_t>(), {})});
  add(artefact, "huge", "nothing", {},
      {value("y", typeOf<float>(), {fixed(int64_t(1) << 50)})});
  add(artefact, "vast", "nothing", {value("x", typeOf<float>(), {dynamic()})},
      {value("y", typeOf<double>(),
             {tied(0, 0, int64_t(1) << 40), fixed(int64_t(1) << 40)})});
  // Sizes of every kind.
  add(artefact, "shapes", "nothing",
      {value("a", typeOf<float>(), {fixed(2), dynamic()}),
       value("b", typeOf<int32_t>(), {dynamic(), tied(1, 0, 3), tied(0, 1)})},
      {value("y", typeOf<float>(), {tied(0, 1, 2), fixed(4)})});
  return artefact;
}

int main(int argc, char **argv) {
  if (argc != 2)
    return 1;
  std::string folder = std::string(argv[1]) + "/";
  writeFile(folder + "run.vso", write(runArtefact()));
  writeFile(folder + "kernels.vso", write(kernelsArtefact()));
  Artefact answer = tinyArtefact();
  writeFile(folder + "answer.vso", write(answer));
  answer.payloads[0].features = "amx-future";
  writeFile(folder + "future.vso", write(answer));
  Artefact complex = tinyArtefact();
  complex.entries[0].symbol = "nothing";
  complex.entries[0].results = {value("z", type(kDLComplex, 64), {fixed(2)})};
  writeFile(folder + "complex.vso", write(complex));
  return 0;
}
