//===- Needs.h - What a program asks of a machine ---------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_COMPILE_NEEDS_H
#define VASHISTA_TOOLS_VASHISTA_COMPILE_NEEDS_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <string>

namespace vashista {

/// What a program or a library, in ELF, needs to be loaded.
struct Needs {
  /// Libraries that are no part of glibc.
  llvm::SmallVector<std::string> libraries;
  /// The least glibc that has the symbols it takes from it: {2, 34}.
  std::pair<unsigned, unsigned> glibc = {2, 0};
};

llvm::Expected<Needs> readNeeds(llvm::StringRef bytes);

} // namespace vashista

#endif // VASHISTA_TOOLS_VASHISTA_COMPILE_NEEDS_H
