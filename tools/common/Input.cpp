//===- Input.cpp - Loads an artefact, or compiles it first ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Input.h"
#include "vashista_artefact.h"

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace vashista::tool;

namespace {

/// A folder that only this user can enter, and that goes with the object.
class TemporaryFolder {
public:
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }

  Error create() {
    const char *parent = getenv("TMPDIR");
    std::string name = parent && *parent ? parent : "/tmp";
    name += "/vashista.XXXXXX";
    if (!mkdtemp(name.data()))
      return fail("cannot make a temporary folder %s: %s", quote(name).c_str(),
                  strerror(errno));
    path = name;
    return Error::success();
  }

  std::string path;
};

/// Holds back the signals that end programs, so that a folder is removed first.
class SignalGuard {
public:
  SignalGuard() {
    sigemptyset(&held);
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction action;
      // Those that are ignored, as under nohup, stay so.
      if (sigaction(signal, nullptr, &action) == 0 &&
          action.sa_handler != SIG_IGN)
        sigaddset(&held, signal);
    }
    sigaddset(&held, SIGCHLD);
    struct sigaction byDefault = {};
    byDefault.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &byDefault, nullptr);
    sigprocmask(SIG_BLOCK, &held, &before);
  }
  /// What was held back arrives here.
  ~SignalGuard() { sigprocmask(SIG_SETMASK, &before, nullptr); }

  const sigset_t &outside() const { return before; }

  /// Waits for a child, which gets the signals meanwhile, and gives its status.
  int wait(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
      int signal = sigwaitinfo(&held, nullptr);
      if (signal > 0 && signal != SIGCHLD) {
        kill(child, signal);
        pending = signal;
      }
    }
    return status;
  }
  /// A signal that came, 0 if none.
  int pending = 0;

private:
  sigset_t held, before;
};

} // namespace

/// The compiler beside this program; "" if there is none.
static std::string findSibling() {
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  if (length <= 0 || static_cast<size_t>(length) == sizeof(self))
    return "";
  std::string path(self, static_cast<size_t>(length));
  path.resize(path.rfind('/') + 1);
  path += "vashista-compile";
  struct stat about;
  bool isFile = stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode);
  return isFile && access(path.c_str(), X_OK) == 0 ? path : "";
}

namespace {

/// What vashista-compile is asked for.
struct Order {
  std::string input, shown, output, target;
  /// Null for an artefact.
  const char *emit = nullptr;
  /// Whether it says what is wrong.
  bool quiet = false;
};

} // namespace

static int spawnCompiler(const Order &order, const sigset_t &mask,
                         pid_t &child) {
  std::string program = findSibling();
  bool onPath = program.empty();
  if (onPath)
    program = "vashista-compile";
  std::string target = "--target=" + order.target;
  std::string emit = order.emit ? std::string("--emit=") + order.emit : "";
  const char *words[] = {program.c_str(),
                         order.input.c_str(),
                         "-o",
                         order.output.c_str(),
                         target.c_str(),
                         order.emit ? emit.c_str() : nullptr,
                         nullptr};
  // Standard output is for what the program itself says.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (order.quiet)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
                                     O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &mask);
  sigset_t byDefault;
  sigemptyset(&byDefault);
  sigaddset(&byDefault, SIGXFSZ);
  posix_spawnattr_setsigdefault(&attributes, &byDefault);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  int problem = (onPath ? posix_spawnp : posix_spawn)(
      &child, program.c_str(), &actions, &attributes,
      const_cast<char **>(words), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return problem;
}

static Error compile(const Order &order, SignalGuard &signals) {
  pid_t child = 0;
  int problem = spawnCompiler(order, signals.outside(), child);
  const std::string &shown = order.shown;
  if (problem == ENOENT)
    return fail("expected vashista-compile beside this program or on PATH to "
                "compile %s, got none",
                quote(shown).c_str());
  if (problem)
    return fail("cannot start vashista-compile: %s", strerror(problem));
  int status = signals.wait(child);
  if (signals.pending || (WIFEXITED(status) && WEXITSTATUS(status) != 0))
    return Error("");
  if (WIFSIGNALED(status))
    return fail("expected vashista-compile to compile %s, got its end by "
                "signal %d (%s)",
                quote(shown).c_str(), WTERMSIG(status),
                strsignal(WTERMSIG(status)));
  if (access(order.output.c_str(), F_OK) != 0)
    return fail("expected vashista-compile to write %s of %s, got none",
                order.emit ? "a module" : "an artefact", quote(shown).c_str());
  return Error::success();
}

/// A signal that came meanwhile arrives once the folder is gone.
static Error compileHere(const Order &order, SignalGuard &signals) {
  Error error = compile(order, signals);
  if (error && signals.pending)
    raise(signals.pending);
  return error;
}

static Error load(const std::string &path, const std::string &shown,
                  std::optional<DLDevice> device, Module &module) {
  vashista_load_options options = VASHISTA_LOAD_OPTIONS_INIT;
  if (device)
    options.device = *device;
  else
    options.describe_only = 1;
  vashista_module *loaded = nullptr;
  if (vashista_module_load(path.c_str(), &options, &loaded))
    return fail("cannot load %s: %s", quote(shown).c_str(),
                printable(vashista_last_error()).c_str());
  module.reset(loaded);
  return Error::success();
}

static Error compileAndLoad(Order order, const TemporaryFolder &folder,
                            SignalGuard &signals,
                            std::optional<DLDevice> device, Module &module) {
  order.output = folder.path + "/out.vso";
  if (Error error = compileHere(order, signals))
    return error;
  return load(order.output, order.shown, device, module);
}

static bool endsWith(const std::string &name, const std::string &end) {
  return name.size() >= end.size() &&
         name.compare(name.size() - end.size(), end.size(), end) == 0;
}

Error vashista::tool::loadInput(const std::string &path,
                                std::optional<DLDevice> device,
                                Module &module) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return fail("cannot open %s: %s", quote(path).c_str(), strerror(errno));
  struct stat about;
  bool isFile = fstat(file, &about) == 0 && S_ISREG(about.st_mode);
  char magic[8] = {};
  bool isArtefact = isFile && read(file, magic, sizeof(magic)) == 8 &&
                    memcmp(magic, VSO_MAGIC, sizeof(magic)) == 0;
  close(file);
  if (!isFile)
    return fail("expected %s to be a regular file, got something else",
                quote(path).c_str());
  if (isArtefact)
    return load(path, path, device, module);
  if (!endsWith(path, ".mlir") && !endsWith(path, ".mlirbc"))
    return fail("expected %s to be an artefact (.vso), or MLIR named .mlir or "
                ".mlirbc, got neither",
                quote(path).c_str());

  // In this order: the folder goes first, then signals are let through.
  SignalGuard signals;
  TemporaryFolder folder;
  if (Error error = folder.create())
    return error;
  // PTX is for any device, and takes no assembler.
  const char *target =
      device && device->device_type == kDLCUDA ? "cuda:compute_80" : "cpu";
  return compileAndLoad({path, path, "", target}, folder, signals, device,
                        module);
}

/// A file of the folder with the text.
static Error writeText(const std::string &text, const TemporaryFolder &folder,
                       std::string &path) {
  path = folder.path + "/graph.mlir";
  FILE *file = fopen(path.c_str(), "we");
  bool isWritten =
      file && fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file)
    isWritten &= fclose(file) == 0;
  return isWritten ? Error::success()
                   : fail("cannot write %s: %s", quote(path).c_str(),
                          strerror(errno));
}

Error vashista::tool::compileText(const std::string &text,
                                  const std::string &shown,
                                  const std::string &target, DLDevice device,
                                  Module &module, bool quiet) {
  SignalGuard signals;
  TemporaryFolder folder;
  if (Error error = folder.create())
    return error;
  Order order = {"", shown, "", target};
  order.quiet = quiet;
  if (Error error = writeText(text, folder, order.input))
    return error;
  return compileAndLoad(order, folder, signals, device, module);
}

Error vashista::tool::scheduleText(const std::string &text,
                                   const std::string &shown,
                                   const std::string &target,
                                   std::string &scheduled) {
  SignalGuard signals;
  TemporaryFolder folder;
  if (Error error = folder.create())
    return error;
  Order order = {"", shown, folder.path + "/scheduled.mlir", target,
                 "schedule"};
  if (Error error = writeText(text, folder, order.input))
    return error;
  if (Error error = compileHere(order, signals))
    return error;
  std::ifstream file(order.output, std::ios::binary);
  scheduled.assign(std::istreambuf_iterator<char>(file), {});
  return file.bad() ? fail("cannot read %s: %s", quote(order.output).c_str(),
                           strerror(errno))
                    : Error::success();
}
