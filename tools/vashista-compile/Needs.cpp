//===- Needs.cpp - What a program asks of a machine -----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Needs.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ELF.h"

#include <algorithm>

using namespace vashista;
using File = llvm::object::ELF64LEFile;

static bool isOfGlibc(llvm::StringRef library) {
  static constexpr llvm::StringLiteral parts[] = {
      "libc.so.",  "libm.so.",      "libpthread.so.", "libdl.so.",
      "librt.so.", "libresolv.so.", "ld-linux-"};
  return llvm::any_of(
      parts, [&](llvm::StringRef part) { return library.starts_with(part); });
}

/// Versions of symbols that are taken from elsewhere.
static llvm::Error readVersions(const File &file, const File::Elf_Shdr &section,
                                Needs &needs) {
  auto versions = file.getVersionDependencies(section);
  if (!versions)
    return versions.takeError();
  for (const llvm::object::VerNeed &library : *versions)
    for (const llvm::object::VernAux &version : library.AuxV) {
      llvm::StringRef name = version.Name;
      unsigned major, minor;
      if (!name.consume_front("GLIBC_") || name.consumeInteger(10, major) ||
          !name.consume_front(".") || name.consumeInteger(10, minor))
        continue;
      needs.glibc = std::max(needs.glibc, {major, minor});
    }
  return llvm::Error::success();
}

llvm::Expected<Needs> vashista::readNeeds(llvm::StringRef bytes) {
  llvm::Expected<File> file = File::create(bytes);
  if (!file)
    return file.takeError();
  auto sections = file->sections();
  if (!sections)
    return sections.takeError();
  auto dynamic = file->dynamicEntries();
  if (!dynamic)
    return dynamic.takeError();
  Needs needs;
  llvm::StringRef strings;
  for (const File::Elf_Shdr &section : *sections) {
    if (section.sh_type == llvm::ELF::SHT_GNU_verneed)
      if (llvm::Error error = readVersions(*file, section, needs))
        return std::move(error);
    if (section.sh_type != llvm::ELF::SHT_DYNAMIC)
      continue;
    auto table = file->getSection(section.sh_link);
    if (!table)
      return table.takeError();
    auto text = file->getStringTable(**table);
    if (!text)
      return text.takeError();
    strings = *text;
  }
  for (const File::Elf_Dyn &entry : *dynamic) {
    if (entry.getTag() != llvm::ELF::DT_NEEDED ||
        entry.getVal() >= strings.size())
      continue;
    llvm::StringRef name = strings.drop_front(entry.getVal()).data();
    if (!isOfGlibc(name))
      needs.libraries.push_back(name.str());
  }
  return needs;
}
