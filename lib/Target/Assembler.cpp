//===- Assembler.cpp - ptxas of a CUDA toolkit ----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Assembler.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace vashista;

FailureOr<std::string> vashista::findAssembler(ModuleOp module) {
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  const char *root = nullptr; // the first that is set
  for (const char *variable : {"CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"})
    if ((root = std::getenv(variable)))
      break;
  if (root && *root)
    if (auto found =
            llvm::sys::findProgramByName("ptxas", {std::string(root) + "/bin"}))
      return *found;
  return module.emitError(
      "expected the assembler ptxas of a CUDA toolkit on the PATH or in "
      "CUDA_HOME for a cubin, got none; a target such as cuda:compute_90 needs "
      "none: its PTX is assembled by the driver");
}

/// Runs it; whether it succeeds, and what it prints, to a file of ours.
static std::pair<bool, std::string>
run(StringRef assembler, ArrayRef<StringRef> arguments, StringRef log) {
  SmallVector<StringRef> all = {assembler};
  llvm::append_range(all, arguments);
  std::optional<StringRef> redirects[] = {StringRef(), log, log};
  std::string printed;
  bool succeeds = llvm::sys::ExecuteAndWait(
                      assembler, all, /*Env=*/std::nullopt, redirects,
                      /*SecondsToWait=*/0, /*MemoryLimit=*/0, &printed) == 0;
  if (auto said = llvm::MemoryBuffer::getFile(log))
    printed += (*said)->getBuffer();
  return {succeeds, printed};
}

/// Kernels on all processors, where the assembler knows how: how many there are
/// changes no byte of what it makes.
static bool splitsKernels(StringRef assembler, StringRef option,
                          StringRef log) {
  auto [succeeds, help] = run(assembler, {"--help"}, log);
  return succeeds && StringRef(help).contains(option);
}

/// All of a file, or why not.
static std::error_code write(StringRef path, StringRef text) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  if (error)
    return error;
  os << text;
  os.close();
  error = os.error();
  os.clear_error();
  return error;
}

FailureOr<std::string> vashista::assemble(ModuleOp module, StringRef text,
                                          StringRef chip, StringRef assembler) {
  auto fail = [&](const llvm::Twine &why) {
    return module.emitError("expected ptxas to assemble the kernels, got: ")
           << why;
  };
  auto failFile = [&](std::error_code error) {
    return module.emitError("expected a temporary file for ptxas, got: ")
           << error.message();
  };
  SmallString<128> input, output, log;
  SmallVector<llvm::FileRemover, 3> removers;
  for (auto [suffix, path] :
       {std::pair("ptx", &input), {"cubin", &output}, {"txt", &log}}) {
    if (std::error_code error =
            llvm::sys::fs::createTemporaryFile("kernels", suffix, *path))
      return failFile(error);
    removers.emplace_back(*path);
  }
  if (std::error_code error = write(input, text))
    return failFile(error);
  SmallVector<StringRef> arguments = {"-arch", chip,          input, "-o",
                                      output,  "--opt-level", "3"};
  if (splitsKernels(assembler, "--split-compile", log))
    arguments.push_back("--split-compile=0");
  auto [succeeds, printed] = run(assembler, arguments, log);
  if (!succeeds)
    return fail(printed);
  auto image = llvm::MemoryBuffer::getFile(output);
  if (!image)
    return failFile(image.getError());
  return (*image)->getBuffer().str();
}
