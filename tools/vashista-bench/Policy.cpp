//===- Policy.cpp - Whether an artefact is what is asked for --------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Policy.h"

#include "Graph.h"

#include <cstdlib>
#include <map>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

/// A number baked into an entry, "none" where it has none of that name.
static Error readConstant(const vashista_module *module,
                          const std::string &entry, const std::string &name,
                          std::string &value) {
  uint32_t number;
  vashista_entry_info info;
  if (vashista_find_entry(module, entry.c_str(), &number) ||
      vashista_entry_describe(module, number, &info))
    return Error(vashista_last_error());
  value = "none";
  for (uint32_t i = 0; i < info.num_constants; ++i) {
    vashista_constant_info constant;
    if (vashista_constant_describe(module, number, i, &constant))
      return Error(vashista_last_error());
    if (name == constant.name)
      value = constant.value;
  }
  return Error::success();
}

/// Of `<name = value, ...>`, and of what it leaves out.
static std::map<std::string, std::string> parsePolicy(const std::string &text) {
  std::map<std::string, std::string> policy = {
      {"candidates", "0"}, {"sinks", "0"},      {"window", "0"},
      {"pick", "top"},     {"target", "tau"},   {"tolerance", "0"},
      {"rounds", "1"},     {"fallback", "none"}};
  size_t at = text.find('<');
  while (at != std::string::npos && at + 1 < text.size()) {
    size_t end = text.find_first_of(",>", ++at);
    size_t equals = text.find(" = ", at);
    if (end == std::string::npos || equals > end)
      break;
    at = text.find_first_not_of(' ', at);
    policy[text.substr(at, equals - at)] =
        text.substr(equals + 3, end - equals - 3);
    at = end;
  }
  return policy;
}

static bool isSame(const std::string &a, const std::string &b) {
  char *endA = nullptr, *endB = nullptr;
  double numberA = strtod(a.c_str(), &endA);
  double numberB = strtod(b.c_str(), &endB);
  bool areNumbers = !a.empty() && !b.empty() && !*endA && !*endB;
  return areNumbers ? numberA == numberB : a == b;
}

static Error unlike(const Options &o, const char *what,
                    const std::string &expected, const std::string &got) {
  return fail("expected an artefact of --print-graph with these options, whose "
              "'%s' has the %s %s, got %s",
              o.step.c_str(), what, expected.c_str(),
              tool::printable(got).c_str());
}

Error bench::checkPolicy(const vashista_module *module, const Options &o) {
  std::string got;
  if (Error error = readConstant(module, o.step, "attention.policy", got))
    return error;
  std::string expected = getPolicy(o);
  auto wanted = parsePolicy(expected), found = parsePolicy(got);
  for (const auto &[name, value] : wanted)
    if (!found.count(name) || !isSame(found[name], value))
      return unlike(o, "policy", expected, got);

  expected = o.routes() ? "#vashista.summary<" + o.summary + ">" : "none";
  if (Error error = readConstant(module, o.step, "attention.summary", got))
    return error;
  if (got != expected)
    return unlike(o, "summary", expected, got);
  expected = o.sketch ? "#vashista.sketch<" + o.sketch.text() + ">" : "none";
  if (Error error = readConstant(module, o.step, "attention.sketch", got))
    return error;
  return got == expected ? Error::success()
                         : unlike(o, "sketch", expected, got);
}

Error bench::readCandidates(const vashista_module *module,
                            const std::string &step, int64_t &candidates) {
  std::string policy;
  if (Error error = readConstant(module, step, "attention.policy", policy))
    return error;
  candidates = strtoll(parsePolicy(policy)["candidates"].c_str(), nullptr, 10);
  return Error::success();
}
