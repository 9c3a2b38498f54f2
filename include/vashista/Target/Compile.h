//===- Compile.h - From a module to an artefact -----------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TARGET_COMPILE_H
#define VASHISTA_TARGET_COMPILE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace vashista {

/// A kind of CPU to generate code for.
struct CpuTarget {
  /// A level of x86-64: "x86-64-v3".
  std::string level;
  /// The CPU that instructions are ordered for: "znver4", or as `level`.
  std::string tune;
  /// What the code needs, in LLVM's names: "avx2,fma". The runtime asks the
  /// machine for these.
  std::string features;
  /// f32 elements of a vector register, and vector registers.
  int64_t lanes = 0, registers = 0;
  /// Whether it sums products of bf16 (AVX-512 BF16).
  bool dotsBF16 = false;
  /// Whether it sums products of pairs of 16-bit integers (AVX-512 VNNI).
  bool vnni = false;
};

/// A kind of NVIDIA GPU to generate code for.
struct CudaTarget {
  /// As it is asked for: "sm_90a", or "compute_90" for PTX.
  std::string architecture;
  /// In LLVM's names: "sm_90a" and "+ptx80".
  std::string chip, features;
  /// PTX, which the driver assembles when it is loaded, in place of a cubin.
  bool isPTX = false;
};

struct Target {
  /// What runs the kernels, or launches them on `device`.
  CpuTarget cpu;
  std::optional<CudaTarget> device;
};

/// Reads "cpu" (the best level that this machine has), "cpu:x86-64-v3",
/// "cpu:x86-64-v4", or an architecture of a GPU as in "cuda:sm_90a" (a cubin,
/// which takes ptxas) or "cuda:compute_90" (PTX).
llvm::Expected<Target> parseTarget(llvm::StringRef text);

/// What is written.
enum class OutputKind {
  vso,      // an artefact
  schedule, // the module, decomposed, with each op's schedule: to be compiled
  mlir,     // the module in the LLVM dialect
  llvm,     // LLVM IR
  assembly, // of the target
  object,   // ELF, relocatable
  ptx,      // of the kernels of a GPU
  cubin     // likewise, assembled
};

struct CompileOptions {
  /// Alternatives, the best first; more than one for an artefact only.
  llvm::SmallVector<Target> targets;
  OutputKind output = OutputKind::vso;
  /// Whether entries check page tables, lengths, positions and lists
  /// themselves, and return what they found (vashista-insert-checks).
  bool checked = false;
};

/// Compiles every public function of a module, which is an entry that takes and
/// returns tensors. A result that is an argument updated in place is that
/// argument, and no result of the entry. Errors are diagnostics of the module's
/// context; nothing is written after one. The module is left in pieces.
mlir::LogicalResult compile(mlir::ModuleOp module,
                            const CompileOptions &options,
                            llvm::raw_ostream &os);

/// Adds what the compilation looks up in a context beside the dialects of the
/// input: translations to LLVM IR.
void registerCompileDialects(mlir::DialectRegistry &registry);

} // namespace vashista

#endif // VASHISTA_TARGET_COMPILE_H
