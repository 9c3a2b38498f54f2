//===- OutputFolder.cpp - Stores results, all or none ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OutputFolder.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace vashista::run;
using namespace vashista::tool;

static Error cannot(const char *what, const std::string &path) {
  return fail("cannot %s %s: %s", what, quote(path).c_str(), strerror(errno));
}

OutputFolder::~OutputFolder() {
  for (const File &file : files)
    unlink(file.temporary.c_str());
  if (!committed)
    for (size_t i = madeFolders.size(); i-- > 0;)
      rmdir(madeFolders[i].c_str());
}

Error OutputFolder::open(const std::string &path) {
  folder = path;
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0777) == 0) {
      madeFolders.push_back(part);
      continue;
    }
    struct stat about;
    int reason = errno;
    if (stat(part.c_str(), &about) == 0 && S_ISDIR(about.st_mode))
      continue;
    errno = reason == EEXIST ? ENOTDIR : reason;
    return cannot("make the folder", part);
  }
  // Now rather than after a long run.
  if (access(path.c_str(), W_OK | X_OK) != 0)
    return cannot("write to the folder", path);
  return Error::success();
}

Error OutputFolder::add(const std::string &name, DLDataType type,
                        const Shape &shape, const void *data,
                        std::string &path) {
  path = folder + (folder.back() == '/' ? "" : "/") + name;
  struct stat about;
  if (lstat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode)) {
    errno = EISDIR;
    return cannot("write", path);
  }
  int file = -1;
  std::string temporary;
  for (int attempt = 0; file < 0; ++attempt) {
    temporary =
        text("%s/.%s.%d.%d", folder.c_str(), name.c_str(), getpid(), attempt);
    file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                  0666);
    if (file < 0 && (errno != EEXIST || attempt == 100))
      return cannot("write", path);
  }
  files.push_back({temporary, path});
  Error error = writeNpy(file, type, shape, data);
  if (close(file) != 0 && !error)
    return cannot("write", path);
  if (error)
    return fail("%s %s", quote(path).c_str(), error.message().c_str());
  return Error::success();
}

Error OutputFolder::commit() {
  for (const File &file : files)
    if (rename(file.temporary.c_str(), file.final.c_str()) != 0)
      return cannot("write", file.final);
  files.clear();
  committed = true;
  return Error::success();
}
