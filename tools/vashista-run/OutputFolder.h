//===- OutputFolder.h - Stores results, all or none -------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_VASHISTA_RUN_OUTPUTFOLDER_H
#define VASHISTA_TOOLS_VASHISTA_RUN_OUTPUTFOLDER_H

#include "NpyFile.h"

#include <string>
#include <vector>

namespace vashista::run {

using tool::Error;
using tool::Shape;

/// Files of one folder that appear together: until commit() they have other
/// names, and without it they vanish, with the folders that were made for them.
class OutputFolder {
public:
  OutputFolder() = default;
  ~OutputFolder();
  OutputFolder(const OutputFolder &) = delete;
  OutputFolder &operator=(const OutputFolder &) = delete;

  /// Makes the folder and its parents where they are missing.
  Error open(const std::string &path);

  /// Adds a .npy file of that name and gives its path.
  Error add(const std::string &name, DLDataType type, const Shape &shape,
            const void *data, std::string &path);

  Error commit();

private:
  struct File {
    std::string temporary, final;
  };

  std::string folder;
  std::vector<std::string> madeFolders;
  std::vector<File> files;
  bool committed = false;
};

} // namespace vashista::run

#endif // VASHISTA_TOOLS_VASHISTA_RUN_OUTPUTFOLDER_H
