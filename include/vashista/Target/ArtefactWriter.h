//===- ArtefactWriter.h - Writes .vso files --------------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// From a description of entries and their code to the bytes of an artefact. The
// format is that of runtime/include/vashista_artefact.h.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TARGET_ARTEFACTWRITER_H
#define VASHISTA_TARGET_ARTEFACTWRITER_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace vashista {

/// The size of one dimension of an argument or result.
struct ArtefactDim {
  enum class Kind { fixed, dynamic, tied };

  static ArtefactDim getFixed(int64_t size) { return {Kind::fixed, size}; }
  /// Whatever the caller gives. Arguments only: a caller provides memory for
  /// results, so their sizes follow from the arguments.
  static ArtefactDim getDynamic() { return {}; }
  /// `factor` times a dynamic dimension of an argument that comes before.
  static ArtefactDim getTied(unsigned argument, unsigned dim,
                             int64_t factor = 1) {
    return {Kind::tied, factor, argument, dim};
  }

  Kind kind = Kind::dynamic;
  int64_t size = 0; // or the factor
  unsigned argument = 0;
  unsigned dim = 0;
};

/// An argument or a result.
struct ArtefactValue {
  /// Default: "arg0", "result0".
  std::string name;
  /// DLPack's type code (kDLInt = 0, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6,
  /// kDLFloat8_e4m3fn = 10) and bits. MLIR's i1 is a kDLBool of 8 bits.
  uint8_t code = 0;
  uint8_t bits = 0;
  llvm::SmallVector<ArtefactDim, 4> dims;
  /// An argument that is written in place.
  bool written = false;
  /// An argument of any strides; others are row-major.
  bool strided = false;
  /// A result [R, 4] i32 that has what a check within the entry found, and
  /// which of the entry's checks is of the same arguments, if one is.
  bool faults = false;
  std::optional<unsigned> check;
};

/// What checked mode verifies, as vashista_artefact.h says by kind: numbers of
/// arguments.
struct ArtefactCheck {
  enum class Kind { table, positions, list };

  static ArtefactCheck getTable(unsigned table, unsigned lens,
                                std::optional<unsigned> rows, unsigned cache,
                                unsigned cacheDim, int64_t pageSize);
  static ArtefactCheck getPositions(unsigned positions, unsigned table,
                                    std::optional<unsigned> rows,
                                    unsigned cache, unsigned cacheDim,
                                    int64_t pageSize);
  static ArtefactCheck getList(unsigned list, std::optional<unsigned> count,
                               unsigned lens, bool inPages, int64_t pageSize);

  Kind kind = Kind::table;
  std::optional<unsigned> table, lens, rows, cache, cacheDim, positions, list,
      count;
  /// The list names pages rather than tokens.
  bool inPages = false;
  int64_t pageSize = 1;
};

/// A number that was baked into the code: "scale", "0.0883883461".
struct ArtefactConstant {
  std::string name;
  std::string value;
};

struct ArtefactEntry {
  /// Unique in the artefact.
  std::string name;
  /// Of the type vashista_entry_fn, exported by every payload.
  std::string symbol;
  std::vector<ArtefactValue> arguments;
  std::vector<ArtefactValue> results;
  std::vector<ArtefactConstant> constants;
  std::vector<ArtefactCheck> checks;
};

/// Kernels of a CUDA device.
struct ArtefactImage {
  /// "sm_90a" of a cubin, "compute_90" of PTX.
  std::string architecture;
  bool isPTX = false;
  /// Of PTX without the NUL that ends it.
  std::string bytes;
};

/// An ELF shared object for x86-64 that exports VSO_BIND_SYMBOL and, with an
/// image, VSO_KERNELS_SYMBOL and VSO_WAITS_SYMBOL.
struct ArtefactPayload {
  /// CPU features that it needs: "avx2,fma".
  std::string features;
  std::string bytes;
  std::optional<ArtefactImage> image = std::nullopt;
};

struct Artefact {
  /// "vashista 0.1.0"
  std::string producer;
  /// "LLVM 22.1.8"
  std::string compiler;
  /// Alternatives, the best first: the first one that a machine can run is run.
  std::vector<ArtefactPayload> payloads;
  std::vector<ArtefactEntry> entries;
};

/// Writes an artefact. Fails where the description cannot be expressed; what it
/// means is for vashista_artefact_verify() to judge. The same description gives
/// the same bytes.
llvm::Error writeArtefact(const Artefact &artefact, llvm::raw_ostream &os);

} // namespace vashista

#endif // VASHISTA_TARGET_ARTEFACTWRITER_H
