//===- Bundle.h - An artefact with all that runs it -------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_COMPILE_BUNDLE_H
#define VASHISTA_TOOLS_VASHISTA_COMPILE_BUNDLE_H

#include "vashista/Target/Compile.h"

namespace vashista {

/// A folder for a machine that has no compiler: an artefact, the runtime, the
/// programs that run and measure it, and what they are.
class Bundle {
public:
  /// Finds what goes into it beside `program`, which is this one, and that
  /// nothing is in the way at `folder`: before anything takes time.
  llvm::Error prepare(llvm::StringRef program, llvm::StringRef folder);

  /// Notes entries and their arguments, before compilation takes the module to
  /// pieces.
  void describe(mlir::ModuleOp module);

  /// Writes the folder as a whole, or nothing of it. The artefact is called
  /// after `input`, the file that it was compiled from.
  llvm::Error write(llvm::StringRef input, llvm::StringRef artefact,
                    llvm::ArrayRef<Target> targets) const;

private:
  /// A file of the bundle: its path there, and what it is.
  struct File {
    std::string path, what, bytes;
    bool isProgram = false;
  };
  llvm::Error add(llvm::ArrayRef<std::string> folders, llvm::StringRef name,
                  llvm::StringRef path, llvm::StringRef what, bool isProgram);
  std::string writeReadme(llvm::StringRef input, llvm::ArrayRef<File> files,
                          llvm::ArrayRef<Target> targets) const;

  struct Entry {
    std::string name;
    llvm::SmallVector<std::string> arguments;
  };
  std::string folder;
  llvm::SmallVector<File> files;
  llvm::SmallVector<Entry> entries;
  /// The runtime's name to the loader, and the file that it is a link to.
  std::string soname, library;
  /// The least glibc that all files run with: {2, 34}.
  std::pair<unsigned, unsigned> glibc = {2, 0};
};

} // namespace vashista

#endif // VASHISTA_TOOLS_VASHISTA_COMPILE_BUNDLE_H
