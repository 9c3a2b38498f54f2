//===- Bundle.cpp - An artefact with all that runs it ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Bundle.h"
#include "Needs.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace vashista;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;
using llvm::createStringError;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;

static std::string under(const Twine &folder, StringRef name) {
  llvm::SmallString<128> joined;
  folder.toVector(joined);
  path::append(joined, name);
  path::remove_dots(joined, /*remove_dot_dot=*/true);
  return joined.str().str();
}

/// Where files are of an installation, or of a build, whose programs are in
/// `bin`.
static llvm::SmallVector<std::string>
getFolders(StringRef bin, StringRef installed, StringRef built) {
  llvm::SmallVector<std::string> folders;
  for (StringRef name : {installed, built}) {
    std::string folder =
        path::is_absolute(name) ? name.str() : under(bin + "/..", name);
    if (!llvm::is_contained(folders, folder))
      folders.push_back(folder);
  }
  return folders;
}

//===----------------------------------------------------------------------===//
// What goes into it
//===----------------------------------------------------------------------===//

Error Bundle::add(llvm::ArrayRef<std::string> folders, StringRef name,
                  StringRef inside, StringRef what, bool isProgram) {
  std::string tried;
  for (const std::string &from : folders) {
    std::string found = under(from, name);
    tried += (tried.empty() ? "'" : " or '") + from + "'";
    // Read now: it may be replaced while the module is compiled.
    auto file = llvm::MemoryBuffer::getFile(found);
    if (!file && file.getError() == std::errc::no_such_file_or_directory)
      continue;
    if (!file)
      return createStringError("cannot open '" + found +
                               "': " + file.getError().message());
    files.push_back(
        {inside.str(), what.str(), (*file)->getBuffer().str(), isProgram});
    if (!isProgram)
      return Error::success();
    llvm::Expected<Needs> needs = readNeeds(files.back().bytes);
    if (!needs)
      return createStringError("expected '" + found +
                               "' to be a program, got " +
                               llvm::toString(needs.takeError()));
    if (!needs->libraries.empty())
      return createStringError("expected '" + found +
                               "' to need no library but glibc, got " +
                               llvm::join(needs->libraries, ", "));
    glibc = std::max(glibc, needs->glibc);
    return Error::success();
  }
  return createStringError("expected " + name + " in " + tried +
                           " for --bundle, got no such file");
}

Error Bundle::prepare(StringRef program, StringRef wanted) {
  llvm::SmallString<128> absolute(wanted);
  if (std::error_code code = fs::make_absolute(absolute))
    return llvm::errorCodeToError(code);
  path::remove_dots(absolute, /*remove_dot_dot=*/false);
  folder = StringRef(absolute).rtrim("/").str();
  fs::file_status status;
  std::error_code code = fs::status(folder, status, /*follow=*/false);
  if (!code) {
    if (status.type() != fs::file_type::directory_file)
      return createStringError("expected --bundle=DIR to be a new or an empty "
                               "folder, got '" +
                               wanted + "', which is no folder");
    fs::directory_iterator inside(folder, code);
    if (!code && inside != fs::directory_iterator())
      return createStringError("expected --bundle=DIR to be a new or an empty "
                               "folder, got '" +
                               wanted + "', which holds '" +
                               path::filename(inside->path()) + "'");
  }

  std::string bin = path::parent_path(program).str();
  soname = "libvashista_runtime.so." VASHISTA_SOVERSION;
  library = "libvashista_runtime.so." VASHISTA_VERSION;
  if (Error error = add(bin, "vashista-run", "bin/vashista-run",
                        "runs an entry on NumPy files", /*isProgram=*/true))
    return error;
  if (Error error = add(bin, "vashista-bench", "bin/vashista-bench",
                        "measures a decode step", /*isProgram=*/true))
    return error;
  if (Error error =
          add(getFolders(bin, VASHISTA_LIBDIR, "lib"), soname, "lib/" + library,
              "the runtime, a C library for programs of your own",
              /*isProgram=*/true))
    return error;
  return add(getFolders(bin, VASHISTA_DOCDIR, "share/doc/vashista"), "LICENSE",
             "LICENSE", "of all of this", /*isProgram=*/false);
}

void Bundle::describe(mlir::ModuleOp module) {
  for (auto function : module.getOps<mlir::func::FuncOp>()) {
    if (!function.isPublic() || function.isExternal())
      continue;
    Entry entry{function.getName().str(), {}};
    for (mlir::BlockArgument argument : function.getArguments()) {
      auto name = llvm::dyn_cast<mlir::NameLoc>(argument.getLoc());
      entry.arguments.push_back(
          name ? name.getName().str()
               : "arg" + std::to_string(argument.getArgNumber()));
    }
    entries.push_back(std::move(entry));
  }
}

//===----------------------------------------------------------------------===//
// What it says of itself
//===----------------------------------------------------------------------===//

static void writeTarget(llvm::raw_ostream &os, const Target &target) {
  const std::string &features = target.cpu.features;
  if (!target.device) {
    os << "* `cpu:" << target.cpu.level << "`: x86-64 with " << features
       << '\n';
    return;
  }
  const std::string &architecture = target.device->architecture;
  os << "* `cuda:" << architecture << "`: "
     << (target.device->isPTX
             ? "PTX, which the driver compiles for NVIDIA GPUs of this "
               "architecture and later ones"
             : "code for NVIDIA GPUs of this architecture");
  if (!features.empty())
    os << "; the host with " << features;
  os << '\n';
}

std::string Bundle::writeReadme(StringRef input, llvm::ArrayRef<File> all,
                                llvm::ArrayRef<Target> targets) const {
  std::string text;
  llvm::raw_string_ostream os(text);
  StringRef artefact = all.front().path;
  os << "# " << artefact << "\n\nCompiled from `" << input
     << "` by vashista " VASHISTA_VERSION " (LLVM " LLVM_VERSION_STRING
        "), with what runs it.\n\n"
        "| file | bytes | |\n|---|---|---|\n";
  uint64_t total = 0;
  for (const File &file : all) {
    os << "| " << file.path << " | " << file.bytes.size() << " | " << file.what
       << " |\n";
    total += file.bytes.size();
  }
  os << "\n"
     << total << " bytes in all, beside this file and `SHA256SUMS`; `lib/"
     << soname << "` is a link.\n\n## What it is for\n\n";
  for (const Target &target : targets)
    writeTarget(os, target);
  bool hasDevice =
      llvm::any_of(targets, [](const Target &t) { return bool(t.device); });
  os << "\nIt needs x86-64 Linux with glibc " << glibc.first << '.'
     << glibc.second << " or later"
     << (hasDevice ? ", and on a GPU NVIDIA's driver, of CUDA 11.8 or later"
                   : "")
     << ": no compiler, no Python, no network.\n\n"
        "## Commands\n\nIn this folder, or from anywhere by their paths:\n\n"
        "```console\n$ sha256sum --check SHA256SUMS\n"
        "$ bin/vashista-run "
     << artefact << " --list\n";
  StringRef device = hasDevice ? " --device=cuda:0" : "";
  for (const Entry &entry : entries) {
    os << "$ bin/vashista-run " << artefact << " --entry=" << entry.name
       << device << " --out results --args";
    for (const std::string &argument : entry.arguments)
      os << ' ' << argument << ".npy";
    os << '\n';
  }
  // Of the module that vashista-bench prints.
  auto has = [&](StringRef name) {
    return llvm::any_of(entries,
                        [&](const Entry &e) { return e.name == name; });
  };
  if (has("dense") && (has("sparse") || has("certified")))
    os << "$ bin/vashista-bench decode --artefact=" << artefact << device
       << "  # and the options that it was printed with\n";
  os << "```\n";
  return text;
}

static std::string getDigest(StringRef bytes) {
  std::array<uint8_t, 32> digest =
      llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes));
  return llvm::toHex(digest, /*LowerCase=*/true);
}

//===----------------------------------------------------------------------===//
// The folder
//===----------------------------------------------------------------------===//

namespace {

/// A folder that does not stay unless it is moved.
struct TemporaryFolder {
  ~TemporaryFolder() {
    if (!name.empty())
      fs::remove_directories(name);
  }
  llvm::SmallString<128> name;
};

} // namespace

static std::error_code writeFile(const std::string &name, StringRef bytes,
                                 bool isProgram) {
  if (std::error_code code = fs::create_directories(
          path::parent_path(name), /*IgnoreExisting=*/true, fs::all_all))
    return code;
  int handle;
  if (std::error_code code = fs::openFileForWrite(
          name, handle, fs::CD_CreateNew, fs::OF_None, isProgram ? 0777 : 0666))
    return code;
  llvm::raw_fd_ostream os(handle, /*shouldClose=*/true);
  os << bytes;
  os.close();
  std::error_code code = os.error();
  os.clear_error();
  return code;
}

Error Bundle::write(StringRef input, StringRef artefact,
                    llvm::ArrayRef<Target> targets) const {
  std::string stem = input == "-" ? "module" : path::stem(input).str();
  llvm::SmallVector<File> all = {
      {stem + ".vso", "the artefact", artefact.str()}};
  all.append(files.begin(), files.end());
  std::string readme = writeReadme(input == "-" ? StringRef("standard input")
                                                : path::filename(input),
                                   all, targets);
  all.push_back({"README.md", "", std::move(readme)});
  std::string sums;
  for (const File &file : all)
    sums += getDigest(file.bytes) + "  " + file.path + "\n";
  all.push_back({"SHA256SUMS", "", std::move(sums)});

  auto failed = [&](std::error_code code) {
    return createStringError("cannot write '" + folder +
                             "': " + code.message());
  };
  // Beside its place, so that it is moved there at once.
  TemporaryFolder made;
  if (std::error_code code = fs::createUniqueDirectory(folder, made.name))
    return failed(code);
  for (const File &file : all)
    if (std::error_code code =
            writeFile(under(made.name, file.path), file.bytes, file.isProgram))
      return failed(code);
  if (std::error_code code =
          fs::create_link(library, under(made.name, "lib/" + soname)))
    return failed(code);
  // Others may read it, as they may what mkdir makes.
  auto permissions = static_cast<fs::perms>(fs::all_all & ~fs::getUmask());
  if (std::error_code code = fs::setPermissions(made.name, permissions))
    return failed(code);
  if (std::error_code code = fs::rename(made.name, folder))
    return failed(code);
  made.name.clear();
  return Error::success();
}
