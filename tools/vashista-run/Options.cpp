//===- Options.cpp - The command line of vashista-run ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include "Device.h"

#include <cstring>

using namespace vashista::run;
using namespace vashista::tool;

const char vashista::run::helpText[] =
    R"(Runs an entry of an artefact on NumPy files, or lists what an artefact holds.

  vashista-run ARTEFACT.vso --entry=NAME --args FILE.npy... [options]
  vashista-run INPUT.mlir --entry=NAME --args FILE.npy... [options]
  vashista-run ARTEFACT.vso --list [--entry=NAME] [--json]

MLIR (.mlir, .mlirbc) is compiled first, by the vashista-compile beside this
program or on PATH. An artefact is native code: run only what you trust.

  --entry=NAME     the entry to run; may be left out where there is one
  --args FILE...   its arguments in order, .npy files, up to the next option
  --out=DIR        stores result N in DIR/N.npy and an argument that is written
                   in place in DIR/argN.npy; makes DIR; default: stores nothing
  --repeat=N       runs once, then N times (1 to 1000000) for time, without
                   checks, and expects the same bits each time
  --threads=N      threads to use at most, 1 to 1024; default: VASHISTA_NUM_THREADS
                   from the environment, else all CPUs
  --device=D       where to run: cpu (default) or a CUDA device, cuda:0 and so on
  --checked        verifies page tables, lengths, positions and lists before the
                   first run (default)
  --no-checked     trusts them: a bad page id is undefined behaviour
  --list           prints entries with arguments, results, constants and checks
  --json           prints one JSON object
  --help, --version

Floating-point files are rounded once to the argument's type; integers must fit.
bf16 arguments also take raw bits (u2 or V2), f8 arguments take raw bits (u1 or
V1). f16 and bf16 results are stored as f32.
)";

static Error parseNumber(const char *option, const std::string &value,
                         uint32_t most, uint32_t &result) {
  uint64_t number = 0;
  bool good = !value.empty() && value.size() <= 10;
  for (char c : value) {
    good &= c >= '0' && c <= '9';
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (!good || number < 1 || number > most)
    return fail("expected --%s to be a whole number from 1 to %u, got %s",
                option, most, quote(value).c_str());
  result = static_cast<uint32_t>(number);
  return Error::success();
}

namespace {

class Parser {
public:
  Parser(int argc, char **argv, Options &options)
      : argc(argc), argv(argv), options(options) {}

  Error parse();

private:
  Error parseOption(const std::string &word);
  Error setFlag(const std::string &name, bool &found);
  Error setValue(const std::string &name, const std::string &value);
  Error checkTogether() const;

  int argc;
  char **argv;
  int next = 1;
  Options &options;
  std::string seen = ",";
  bool hasArguments = false;
};

} // namespace

Error Parser::parse() {
  for (int i = 1; i < argc; ++i) {
    options.help |=
        strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    options.version |= strcmp(argv[i], "--version") == 0;
  }
  if (options.help || options.version)
    return Error::success();

  bool hasInput = false;
  while (next < argc) {
    std::string word = argv[next++];
    if (word.size() > 1 && word[0] == '-') {
      if (Error error = parseOption(word))
        return error;
      continue;
    }
    if (hasInput)
      return fail("expected one input file, got %s and %s (arguments of the "
                  "entry come after --args)",
                  quote(options.input).c_str(), quote(word).c_str());
    options.input = word;
    hasInput = true;
  }
  if (!hasInput)
    return fail("expected an artefact (.vso) or MLIR (.mlir) to run, got none; "
                "see vashista-run --help");
  return checkTogether();
}

Error Parser::parseOption(const std::string &word) {
  if (word.compare(0, 2, "--") != 0)
    return fail("expected an option of vashista-run --help, got %s",
                quote(word).c_str());
  size_t equals = word.find('=');
  bool hasValue = equals != std::string::npos;
  std::string name = word.substr(2, hasValue ? equals - 2 : std::string::npos);

  bool isFlag = false;
  if (Error error = setFlag(name, isFlag))
    return error;
  bool takesValue = name == "entry" || name == "out" || name == "repeat" ||
                    name == "threads" || name == "device";
  if (!isFlag && !takesValue)
    return fail("expected an option of vashista-run --help, got %s",
                quote(word).c_str());
  if (isFlag && hasValue)
    return fail(name == "args" ? "expected the files of --args as the words "
                                 "after it, got %s"
                               : "expected an option without a value, got %s",
                quote(word).c_str());
  // Two values would leave open which one counts.
  if (takesValue || name == "args") {
    if (seen.find("," + name + ",") != std::string::npos)
      return fail("expected --%s once, got it twice", name.c_str());
    seen += name + ",";
  }
  if (isFlag)
    return Error::success();

  if (hasValue)
    return setValue(name, word.substr(equals + 1));
  if (next == argc)
    return fail("expected a value after --%s, got none", name.c_str());
  return setValue(name, argv[next++]);
}

Error Parser::setFlag(const std::string &name, bool &found) {
  found = true;
  if (name == "json") {
    options.json = true;
  } else if (name == "list") {
    options.list = true;
  } else if (name == "checked") {
    options.checked = true;
  } else if (name == "no-checked") {
    options.checked = false;
  } else if (name == "args") {
    hasArguments = true;
    for (; next < argc && argv[next][0] != '-'; ++next)
      options.arguments.emplace_back(argv[next]);
  } else {
    found = false;
  }
  return Error::success();
}

Error Parser::setValue(const std::string &name, const std::string &value) {
  if (name == "repeat")
    return parseNumber("repeat", value, 1000000, options.repeat);
  if (name == "threads")
    return parseNumber("threads", value, 1024, options.threads);
  if (name == "device")
    return parseDevice(value, options.device);
  if (value.empty())
    return fail("expected a name after --%s, got none", name.c_str());
  if (name == "entry") {
    options.hasEntry = true;
    options.entry = value;
  } else {
    options.hasOut = true;
    options.out = value;
  }
  return Error::success();
}

Error Parser::checkTogether() const {
  if (options.list && (hasArguments || options.hasOut || options.repeat))
    return fail("expected --list alone or with --entry or --json, because it "
                "runs nothing, got --%s",
                hasArguments     ? "args"
                : options.hasOut ? "out"
                                 : "repeat");
  return Error::success();
}

Error vashista::run::parseOptions(int argc, char **argv, Options &options) {
  return Parser(argc, argv, options).parse();
}
