//===- Sketch.cpp - Which key sketch a step scans -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sketch.h"

#include <cstdlib>

using namespace vashista;
using namespace vashista::bench;
using tool::fail;

static int64_t getTypeBytes(const std::string &type) {
  return type == "f16" ? 2 : 1;
}

int64_t Sketch::getTokenBytes(int64_t dim) const {
  int64_t numGroups = getNumGroups(dim);
  return getCodeBytes(dim) + numGroups * getTypeBytes(scaleType) +
         (hasTokenNorms() ? 1 : numGroups) * getTypeBytes(normType);
}

std::string Sketch::text() const {
  std::string out =
      tool::text("bits = %lld, group = %lld", static_cast<long long>(bits),
                 static_cast<long long>(group));
  if (isCentred())
    out += ", centre = page";
  if (rotation != "none")
    out += ", rotation = " + rotation;
  if (hasTokenNorms())
    out += ", norm = token";
  return out;
}

Error bench::parseWord(const std::string &name, const std::string &word,
                       const std::vector<const char *> &words,
                       std::string &value) {
  std::string list;
  for (size_t i = 0; i < words.size(); ++i) {
    if (word == words[i]) {
      value = word;
      return Error::success();
    }
    list += i == 0 ? "" : i + 1 == words.size() ? " or " : ", ";
    list += words[i];
  }
  return fail("expected %s=%s, got %s", name.c_str(), list.c_str(),
              tool::quote(word).c_str());
}

Error Sketch::parse(const std::string &given) {
  std::string text;
  for (char c : given)
    if (c != ' ' && c != '\t')
      text += c;
  const std::string before = "#vashista.sketch<";
  if (text.rfind(before, 0) == 0)
    text.erase(0, before.size() - 1);
  if (text.size() >= 2 && text.front() == '<' && text.back() == '>')
    text = text.substr(1, text.size() - 2);

  Sketch parsed;
  parsed.scaleType = scaleType;
  parsed.normType = normType;
  std::string bitsText, groupText;
  struct Parameter {
    const char *name;
    std::vector<const char *> words;
    std::string *value;
  };
  const Parameter parameters[] = {
      {"bits", {"2", "3", "4", "5", "6", "8"}, &bitsText},
      {"group", {"16", "32", "64", "128"}, &groupText},
      {"centre", {"none", "page"}, &parsed.centre},
      {"rotation", {"none", "hadamard"}, &parsed.rotation},
      {"norm", {"group", "token"}, &parsed.norm}};
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string item = text.substr(begin, end - begin);
    begin = end + 1;
    size_t equals = std::min(item.find('='), item.size());
    const Parameter *found = nullptr;
    for (const Parameter &parameter : parameters)
      if (item.substr(0, equals) == parameter.name)
        found = &parameter;
    if (!found || equals == item.size())
      return fail("expected --sketch=bits=N,group=N with centre=, rotation= "
                  "and norm= as wanted, got %s",
                  tool::quote(given).c_str());
    if (Error error =
            parseWord(std::string("--sketch=") + found->name,
                      item.substr(equals + 1), found->words, *found->value))
      return error;
  }
  if (bitsText.empty() || groupText.empty())
    return fail("expected --sketch to have bits and group, got %s",
                tool::quote(given).c_str());
  parsed.bits = atoi(bitsText.c_str());
  parsed.group = atoi(groupText.c_str());
  *this = parsed;
  return Error::success();
}
