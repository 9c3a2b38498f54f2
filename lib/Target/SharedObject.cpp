//===- SharedObject.cpp - Links an object into a shared one ---------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuCode.h"

#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

/// What every program has loaded.
static constexpr StringLiteral kAllowed[] = {"memcpy", "memmove", "memset",
                                             "memcmp", "bcmp"};

static Error verifyCalls(StringRef bytes) {
  auto object =
      object::ObjectFile::createObjectFile(MemoryBufferRef(bytes, "object"));
  if (!object)
    return object.takeError();
  for (const object::SymbolRef &symbol : (*object)->symbols()) {
    Expected<uint32_t> flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    Expected<StringRef> name = symbol.getName();
    if (!name)
      return name.takeError();
    if ((*flags & object::SymbolRef::SF_Undefined) && !name->empty() &&
        !is_contained(kAllowed, *name))
      return createStringError("expected code that calls nothing outside of "
                               "the module, got a call of '" +
                               *name + "'");
  }
  return Error::success();
}

static Expected<std::string> findLinker() {
  for (StringRef name : {VASHISTA_LLD, "ld.lld-22", "ld.lld"})
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      // A path is taken as it is.
      if (sys::fs::can_execute(*path))
        return *path;
  return createStringError("expected the linker ld.lld on the PATH, got none; "
                           "install lld");
}

Expected<std::string> vashista::linkSharedObject(StringRef object) {
  if (Error error = verifyCalls(object))
    return std::move(error);
  Expected<std::string> linker = findLinker();
  if (!linker)
    return linker.takeError();

  SmallString<128> input, output, log;
  auto failed = [](std::error_code code, StringRef what) {
    return createStringError("cannot " + what + ": " + code.message());
  };
  auto create = [&](StringRef suffix, SmallString<128> &path) {
    return sys::fs::createTemporaryFile("vashista", suffix, path);
  };
  if (std::error_code code = create("o", input))
    return failed(code, "create a temporary file");
  FileRemover removeInput(input);
  if (std::error_code code = create("so", output))
    return failed(code, "create a temporary file");
  FileRemover removeOutput(output);
  if (std::error_code code = create("log", log))
    return failed(code, "create a temporary file");
  FileRemover removeLog(log);
  if (Error error = writeToOutput(input, [&](raw_ostream &os) {
        os << object;
        return Error::success();
      }))
    return std::move(error);

  const StringRef arguments[] = {*linker,
                                 "-shared",
                                 "-Bsymbolic",
                                 "-z",
                                 "now",
                                 "-z",
                                 "relro",
                                 "-z",
                                 "noexecstack",
                                 "--gc-sections",
                                 "--hash-style=gnu",
                                 "--build-id=none",
                                 "-o",
                                 output,
                                 input};
  std::string message;
  int status = sys::ExecuteAndWait(
      *linker, arguments, /*Env=*/std::nullopt,
      /*Redirects=*/{std::nullopt, StringRef(log), StringRef(log)},
      /*SecondsToWait=*/0, /*MemoryLimit=*/0, &message);
  if (status != 0) {
    if (auto text = MemoryBuffer::getFile(log))
      message += (*text)->getBuffer().split('\n').first;
    return createStringError("expected " + *linker +
                             " to link, got: " + message);
  }
  auto linked = MemoryBuffer::getFile(output, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!linked)
    return failed(linked.getError(), "read what the linker wrote");
  return (*linked)->getBuffer().str();
}
