//===- Error.h - Failures as sentences --------------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_ERROR_H
#define VASHISTA_TOOLS_COMMON_ERROR_H

#include <string>

namespace vashista::tool {

/// Why something failed, in one sentence. True if it did.
class [[nodiscard]] Error {
public:
  static Error success() { return Error(); }
  explicit Error(std::string text)
      : failed(true), text(static_cast<std::string &&>(text)) {}

  explicit operator bool() const { return failed; }
  const std::string &message() const { return text; }

private:
  Error() = default;

  bool failed = false;
  std::string text;
};

__attribute__((format(printf, 1, 2), cold)) Error fail(const char *format, ...);

/// As printf would print it.
__attribute__((format(printf, 1, 2))) std::string text(const char *format, ...);

/// Bytes that are fit for one line of a terminal: control characters are
/// written as \x0a.
std::string printable(const std::string &bytes);

/// A name in quotes, fit for a message.
std::string quote(const std::string &name);

} // namespace vashista::tool

#endif // VASHISTA_TOOLS_COMMON_ERROR_H
