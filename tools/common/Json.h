//===- Json.h - Writes JSON -------------------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_JSON_H
#define VASHISTA_TOOLS_COMMON_JSON_H

#include "NpyFile.h"

#include <string>

namespace vashista::tool {

/// Writes one JSON value after the other into a string, and the commas between
/// them.
class JsonWriter {
public:
  void beginObject() { open('{'); }
  void endObject() { close('}'); }
  void beginArray() { open('['); }
  void endArray() { close(']'); }
  /// Before each value of an object.
  void key(const char *name);

  void string(const std::string &bytes);
  void number(int64_t value) { raw(std::to_string(value)); }
  void number(double value) { raw(vashista::tool::text("%.9g", value)); }
  void boolean(bool value) { raw(value ? "true" : "false"); }
  void null() { raw("null"); }
  void shape(const Shape &sizes);

  /// What was written, with a line end.
  std::string take() { return static_cast<std::string &&>(out) + "\n"; }

private:
  void open(char bracket);
  void close(char bracket);
  void raw(const std::string &text);

  std::string out;
  bool needsComma = false;
};

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_JSON_H
