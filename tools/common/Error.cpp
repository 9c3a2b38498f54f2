//===- Error.cpp - Failures as sentences ----------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Error.h"

#include <cstdarg>
#include <cstdio>

using namespace vashista::tool;

static std::string format(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(nullptr, 0, format, arguments);
  std::string result(length < 0 ? 0 : static_cast<size_t>(length), '\0');
  // Also writes the NUL that a string has.
  vsnprintf(result.data(), result.size() + 1, format, again);
  va_end(again);
  return result;
}

Error vashista::tool::fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Error error(::format(format, arguments));
  va_end(arguments);
  return error;
}

std::string vashista::tool::text(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string result = ::format(format, arguments);
  va_end(arguments);
  return result;
}

std::string vashista::tool::printable(const std::string &bytes) {
  std::string result;
  for (unsigned char c : bytes) {
    if (c < 0x20 || c == 0x7f)
      result += text("\\x%02x", c);
    else
      result += static_cast<char>(c);
  }
  return result;
}

std::string vashista::tool::quote(const std::string &name) {
  return "'" + printable(name) + "'";
}
