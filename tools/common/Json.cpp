//===- Json.cpp - Writes JSON ---------------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Json.h"

using namespace vashista::tool;

void JsonWriter::open(char bracket) {
  raw(std::string(1, bracket));
  needsComma = false;
}

void JsonWriter::close(char bracket) {
  out += bracket;
  needsComma = true;
}

void JsonWriter::raw(const std::string &text) {
  if (needsComma)
    out += ", ";
  out += text;
  needsComma = true;
}

void JsonWriter::key(const char *name) {
  string(name);
  out += ": ";
  needsComma = false;
}

void JsonWriter::shape(const Shape &sizes) {
  beginArray();
  for (int64_t size : sizes)
    number(size);
  endArray();
}

/// The length of the UTF-8 sequence at the start of the bytes; 0 if there is
/// none.
static size_t utf8Length(const char *bytes, size_t size) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (byte(0) < 0x80)
    return 1;
  size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || length > size)
    return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80)
      return 0;
  // Longer than needed, a surrogate, or past the last code point.
  bool isBad = (byte(0) == 0xe0 && byte(1) < 0xa0) ||
               (byte(0) == 0xed && byte(1) > 0x9f) ||
               (byte(0) == 0xf0 && byte(1) < 0x90) ||
               (byte(0) == 0xf4 && byte(1) > 0x8f);
  return isBad ? 0 : length;
}

void JsonWriter::string(const std::string &bytes) {
  std::string text = "\"";
  for (size_t i = 0; i < bytes.size();) {
    size_t length = utf8Length(&bytes[i], bytes.size() - i);
    auto c = static_cast<unsigned char>(bytes[i]);
    if (length == 0)
      text += "\xef\xbf\xbd"; // U+FFFD, the replacement character
    else if (c == '"' || c == '\\')
      text += {'\\', bytes[i]};
    else if (c < 0x20 || c == 0x7f)
      text += vashista::tool::text("\\u%04x", c);
    else
      text.append(bytes, i, length);
    i += length ? length : 1;
  }
  raw(text + "\"");
}
