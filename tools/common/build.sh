# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# shellcheck shell=bash
# Sourced by tools/demo and tools/test: enters the project's folder and offers
# prepare and build.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

llvm=22
# What Debian and Ubuntu call the things we need, and a command, file or Python
# module of each for systems that have them from elsewhere.
packages=(
  "cmake cmake"
  "ninja-build ninja"
  "clang-$llvm clang++-$llvm"
  "lld-$llvm ld.lld-$llvm"
  "llvm-$llvm-dev llvm-config-$llvm"
  "mlir-$llvm-tools mlir-opt-$llvm"
  "libmlir-$llvm-dev /usr/lib/llvm-$llvm/lib/cmake/mlir/MLIRConfig.cmake"
  "libgtest-dev /usr/include/gtest/gtest.h"
)

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

found() {
  case $1 in
    /*) [[ -e $1 ]] ;;
    import:*)
      /usr/bin/python3 -c "import ${1#*:}" 2>/dev/null ||
        python3 -c "import ${1#*:}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Installs the packages that are missing, and asks the network only then.
install_packages() {
  local missing=() entry sudo=()
  for entry in "${packages[@]}"; do
    found "${entry#* }" || missing+=("${entry% *}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  command -v apt-get >/dev/null ||
    die "this system has no apt-get; install these first (by Debian's names): ${missing[*]}"
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null ||
      die "installing needs root; run as root: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  mkdir -p build
  say "Installing ${missing[*]}"
  "${sudo[@]}" apt-get update -q >build/install.log 2>&1 ||
    die "apt-get update failed; see build/install.log"
  for entry in "${missing[@]}"; do
    [[ $(LC_ALL=C apt-cache policy "$entry") == *"Candidate: "[0-9]* ]] ||
      die "apt has no $entry; use a distribution that has LLVM/MLIR $llvm or add https://apt.llvm.org, then run this again"
  done
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends "${missing[@]}" >>build/install.log 2>&1 ||
    die "apt-get install failed; see build/install.log"
}

# Leaves build/ configured, as it is if it was.
prepare() {
  install_packages
  if [[ ! -e build/build.ninja ]]; then
    say "Configuring build/"
    cmake --preset release
  fi
}

build() {
  say "Building $*"
  cmake --build build --target "$@"
}
