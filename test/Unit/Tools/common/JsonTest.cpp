//===- JsonTest.cpp - JSON text -------------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Json.h"

#include "gtest/gtest.h"

using namespace vashista::tool;

namespace {

std::string written(const std::string &bytes) {
  JsonWriter json;
  json.string(bytes);
  return json.take();
}

TEST(Json, Structure) {
  JsonWriter json;
  json.beginObject();
  json.key("a");
  json.beginArray();
  json.endArray();
  json.key("b");
  json.shape({1, 2});
  json.key("c");
  json.beginObject();
  json.key("d");
  json.null();
  json.key("e");
  json.boolean(true);
  json.endObject();
  json.key("f");
  json.number(0.25);
  json.endObject();
  EXPECT_EQ(json.take(), R"({"a": [], "b": [1, 2], "c": {"d": null, "e": true})"
                         ", \"f\": 0.25}\n");
}

TEST(Json, Strings) {
  EXPECT_EQ(written("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"\n");
  EXPECT_EQ(written(std::string("\0\n\x1f\x7f", 4)),
            "\"\\u0000\\u000a\\u001f\\u007f\"\n");
  EXPECT_EQ(written(""), "\"\"\n");
  for (const char *good : {"\xc3\xa9", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(written(good), std::string("\"") + good + "\"\n");
}

TEST(Json, ReplacesWhatIsNoUTF8) {
  const std::string no = "\xef\xbf\xbd";
  EXPECT_EQ(written("a\xff_"), "\"a" + no + "_\"\n");
  EXPECT_EQ(written("\xc3"), "\"" + no + "\"\n");
  EXPECT_EQ(written("\xc3\""), "\"" + no + "\\\"\"\n");
  EXPECT_EQ(written("\xc0\x80"), "\"" + no + no + "\"\n");
  EXPECT_EQ(written("\xe0\x9f\xbf"), "\"" + no + no + no + "\"\n");
  EXPECT_EQ(written("\xed\xa0\x80"), "\"" + no + no + no + "\"\n");
  EXPECT_EQ(written("\xf0\x8f\xbf\xbf"), "\"" + no + no + no + no + "\"\n");
  EXPECT_EQ(written("\xf4\x90\x80\x80"), "\"" + no + no + no + no + "\"\n");
  EXPECT_EQ(written("\xf0\x90\x80"), "\"" + no + no + no + "\"\n");
}

} // namespace
