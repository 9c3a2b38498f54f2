//===- Payload.cpp - A mapped ELF payload ---------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Payload.h"
#include "../Error.h"

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace vashista::runtime;

/// Whether [offset, offset + length) is within `size` bytes.
static bool isWithin(uint64_t size, uint64_t offset, uint64_t length) {
  return offset <= size && length <= size - offset;
}

/// The system's loader believes an object's own numbers, and touches memory
/// past the end of a file that was cut.
static bool isWholeSharedObject(const uint8_t *bytes, uint64_t size) {
  Elf64_Ehdr header;
  if (size < sizeof(header))
    return false;
  memcpy(&header, bytes, sizeof(header));
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN ||
      header.e_machine != EM_X86_64 ||
      header.e_phentsize != sizeof(Elf64_Phdr) ||
      !isWithin(size, header.e_phoff,
                uint64_t(header.e_phnum) * sizeof(Elf64_Phdr)) ||
      !isWithin(size, header.e_shoff,
                uint64_t(header.e_shnum) * header.e_shentsize))
    return false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, bytes + header.e_phoff + i * sizeof(segment),
           sizeof(segment));
    if (segment.p_type == PT_LOAD &&
        (!isWithin(size, segment.p_offset, segment.p_filesz) ||
         segment.p_filesz > segment.p_memsz))
      return false;
  }
  return true;
}

/// A file without a name that can no longer change.
static int createSealedFile(const uint8_t *bytes, uint64_t size) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  constexpr unsigned executable = 0x10; // MFD_EXEC, since Linux 6.3
  int file = memfd_create("vashista", flags | executable);
  if (file < 0 && errno == EINVAL)
    file = memfd_create("vashista", flags);
  if (file < 0)
    return -1;
  for (uint64_t done = 0; done < size;) {
    ssize_t written = write(file, bytes + done, size - done);
    if (written > 0) {
      done += written;
    } else if (written == 0 || errno != EINTR) {
      int error = written == 0 ? ENOSPC : errno;
      close(file);
      errno = error;
      return -1;
    }
  }
  if (fcntl(file, F_ADD_SEALS,
            F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    int error = errno;
    close(file);
    errno = error;
    return -1;
  }
  return file;
}

namespace {

/// The loader has a lock of its own, but not one that race detectors see: to
/// them, an object would race with one that was at its address before.
class LoaderLock {
public:
  LoaderLock() { pthread_mutex_lock(&mutex); }
  ~LoaderLock() { pthread_mutex_unlock(&mutex); }
  LoaderLock(const LoaderLock &) = delete;
  LoaderLock &operator=(const LoaderLock &) = delete;

private:
  static pthread_mutex_t mutex;
};

pthread_mutex_t LoaderLock::mutex = PTHREAD_MUTEX_INITIALIZER;

} // namespace

Payload::~Payload() {
  if (handle) {
    LoaderLock lock;
    dlclose(handle);
  }
}

vashista_status Payload::map(const uint8_t *bytes, uint64_t size) {
  if (!isWholeSharedObject(bytes, size))
    return fail(VASHISTA_LOAD_FAILED,
                "expected the payload to be a whole x86-64 shared object, got "
                "%" PRIu64 " other bytes",
                size);
  int file = createSealedFile(bytes, size);
  if (file < 0)
    return fail(errno == ENOMEM || errno == ENOSPC ? VASHISTA_OUT_OF_MEMORY
                                                   : VASHISTA_LOAD_FAILED,
                "expected to copy the payload to memory, got: %m");

  // The loader takes an object of the same name for the same object, even one
  // that could not be unloaded and whose file number is free again. Slashes and
  // dots without a meaning, one for each bit of a serial number, make each name
  // new.
  static std::atomic<uint64_t> lastSerial{0};
  char path[192] = "/proc/self/fd/";
  char *end = path + strlen(path);
  for (uint64_t serial = ++lastSerial; serial != 0; serial >>= 1) {
    if (serial & 1)
      *end++ = '.';
    *end++ = '/';
  }
  snprintf(end, path + sizeof(path) - end, "%d", file);
  {
    LoaderLock lock;
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  close(file);
  if (!handle)
    return fail(VASHISTA_LOAD_FAILED, "expected to map the payload, got: %s",
                dlerror());
  return VASHISTA_OK;
}

/// What the payload itself exports: a search goes on in its libraries.
static const ElfW(Sym) *
    findOwn(void *handle, const char *symbol, void *&found) {
  found = dlsym(handle, symbol);
  link_map *own = nullptr, *its = nullptr;
  ElfW(Sym) *entry = nullptr;
  Dl_info info;
  if (!found || dlinfo(handle, RTLD_DI_LINKMAP, &own) != 0 ||
      !dladdr1(found, &info, reinterpret_cast<void **>(&its),
               RTLD_DL_LINKMAP) ||
      its != own ||
      !dladdr1(found, &info, reinterpret_cast<void **>(&entry), RTLD_DL_SYMENT))
    return nullptr;
  return entry;
}

vashista_status Payload::find(const char *symbol, void *&function) const {
  const ElfW(Sym) *entry = findOwn(handle, symbol, function);
  if (!function)
    return fail(VASHISTA_LOAD_FAILED,
                "expected the payload to export '%s', got no such symbol",
                symbol);
  if (!entry || ELF64_ST_TYPE(entry->st_info) != STT_FUNC)
    return fail(VASHISTA_LOAD_FAILED,
                "expected the payload to export the function '%s', got a "
                "symbol of another kind or object",
                symbol);
  return VASHISTA_OK;
}

bool Payload::exports(const char *symbol) const {
  void *found = nullptr;
  return findOwn(handle, symbol, found);
}

vashista_status Payload::findObject(const char *symbol, const char *&bytes,
                                    uint64_t &size) const {
  void *found = nullptr;
  const ElfW(Sym) *entry = findOwn(handle, symbol, found);
  if (!entry || ELF64_ST_TYPE(entry->st_info) != STT_OBJECT)
    return fail(VASHISTA_LOAD_FAILED,
                "expected the payload to export the object '%s', got none",
                symbol);
  bytes = static_cast<const char *>(found);
  size = entry->st_size;
  return VASHISTA_OK;
}
