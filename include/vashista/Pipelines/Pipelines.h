//===- Pipelines.h - Pipelines from the dialect to code -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_PIPELINES_PIPELINES_H
#define VASHISTA_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassOptions.h"

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace vashista {

/// What `vashista-lower-to-llvm-cpu` needs to know of the CPU.
struct CpuPipelineOptions
    : public mlir::PassPipelineOptions<CpuPipelineOptions> {
  Option<int64_t> lanes{
      *this, "lanes",
      llvm::cl::desc("f32 elements of a vector register (default: 16)"),
      llvm::cl::init(16)};
  Option<int64_t> registers{*this, "registers",
                            llvm::cl::desc("Vector registers (default: 32)"),
                            llvm::cl::init(32)};
  Option<bool> dotsBF16{
      *this, "dots-bf16",
      llvm::cl::desc("Sum products of bf16 by AVX-512 BF16 (default: false)"),
      llvm::cl::init(false)};
  Option<int64_t> split{
      *this, "split",
      llvm::cl::desc("Tokens of a split of a sequence that is attended as a "
                     "whole; 0: one split, -1: none, whatever schedules "
                     "say (default: 4096). Certificates "
                     "allow for the rounding of splits of 64 tokens or more"),
      llvm::cl::init(4096)};
};

/// What kernels of a GPU become: the NVVM dialect, or from there PTX, a cubin
/// or both, by ptxas.
enum class KernelFormat { nvvm, isa, bin, fatbin };

/// What `vashista-lower-to-nvvm` needs to know of the GPU.
struct CudaPipelineOptions
    : public mlir::PassPipelineOptions<CudaPipelineOptions> {
  Option<std::string> chip{*this, "chip",
                           llvm::cl::desc("The architecture (default: sm_90a)"),
                           llvm::cl::init("sm_90a")};
  Option<std::string> features{
      *this, "features",
      llvm::cl::desc("The version of PTX, as LLVM names it (default: +ptx80)"),
      llvm::cl::init("+ptx80")};
  Option<int64_t> multiprocessors{
      *this, "multiprocessors",
      llvm::cl::desc("Multiprocessors that schedules are chosen for "
                     "(default: 132)"),
      llvm::cl::init(132)};
  Option<KernelFormat> format{
      *this, "format", llvm::cl::desc("What kernels become (default: nvvm)"),
      llvm::cl::init(KernelFormat::nvvm),
      llvm::cl::values(
          clEnumValN(KernelFormat::nvvm, "nvvm", "The NVVM dialect"),
          clEnumValN(KernelFormat::isa, "isa", "PTX"),
          clEnumValN(KernelFormat::bin, "bin", "A cubin, by ptxas"),
          clEnumValN(KernelFormat::fatbin, "fatbin", "Both, by fatbinary"))};
};

/// `vashista-lower-to-llvm-cpu`: from vashista ops on tensors or buffers to the
/// LLVM dialect. Runs on a module, as all of these.
void buildCpuPipeline(mlir::OpPassManager &pm,
                      const CpuPipelineOptions &options);

/// Its parts, for a compiler that works between them.
///
/// Decomposes: smaller ops on tensors.
void buildGraphPipeline(mlir::OpPassManager &pm,
                        const CpuPipelineOptions &options);
/// As that, but whole sequences are not split yet: the schedule of an op says
/// how they are to be.
void buildScheduledGraphPipeline(mlir::OpPassManager &pm);
/// From the graph to buffers, function boundaries too: value ops become
/// upstream ops. Leaves destination ops, and buffers that nobody frees.
void buildValuePipeline(mlir::OpPassManager &pm,
                        const CpuPipelineOptions &options);
/// Both.
void buildBufferPipeline(mlir::OpPassManager &pm,
                         const CpuPipelineOptions &options);
/// From there to upstream ops only: linalg, scf, vector, memref, arith, math.
void buildKernelPipeline(mlir::OpPassManager &pm,
                         const CpuPipelineOptions &options);
/// From the buffer pipeline's result, without results of functions, to entries
/// that the runtime calls: with memory of the host, in the LLVM dialect.
void buildCpuEntryPipeline(mlir::OpPassManager &pm,
                           const CpuPipelineOptions &options);

/// Its last part: a module whose work is tasks or launches, to the LLVM
/// dialect.
void buildHostPipeline(mlir::OpPassManager &pm);

/// `vashista-lower-to-nvvm`: from vashista ops on tensors to kernels of a GPU
/// and a host that launches them (`gpu.launch_func`) and allocates the buffers
/// between them (`memref.alloc`).
void buildCudaPipeline(mlir::OpPassManager &pm,
                       const CudaPipelineOptions &options);

/// Its parts.
///
/// As `buildGraphPipeline`; ops that have kernels have schedules.
void buildCudaGraphPipeline(mlir::OpPassManager &pm,
                            const CudaPipelineOptions &options);
/// As `buildBufferPipeline`; value ops that have kernels are launches already.
void buildCudaBufferPipeline(mlir::OpPassManager &pm,
                             const CudaPipelineOptions &options);
/// From the buffer pipeline's result, without results of functions, to kernels
/// in the form that `format` says, with all temporaries in one workspace.
void buildCudaDevicePipeline(mlir::OpPassManager &pm,
                             const CudaPipelineOptions &options);
/// From there to entries that the runtime calls, without the kernels.
void buildCudaEntryPipeline(mlir::OpPassManager &pm);

void registerPipelines();

} // namespace vashista

#endif // VASHISTA_PIPELINES_PIPELINES_H
