//===- CudaPipeline.cpp - vashista-lower-to-nvvm ----------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"
#include "vashista/Pipelines/Pipelines.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/VectorToSCF/VectorToSCF.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace vashista;

/// What a graph is lowered with on the way to a GPU.
static void setGraphOptions(CpuPipelineOptions &graph) {
  // A thread has scalars: vectors are what it has in flight. Four is the least
  // that kernels are made of.
  graph.lanes = 4;
  graph.registers = 32;
  // Kernels split sequences themselves, by the schedule of an op too.
  graph.split = -1;
}

/// 90 of sm_90a; 0 of what has no number.
static unsigned getNumber(StringRef chip) {
  unsigned number = 0;
  chip.consume_front("sm_");
  return chip.consumeInteger(10, number) ? 0 : number;
}

/// Clusters and launches that overlap came with compute capability 9.0.
static bool isHopperOrLater(StringRef chip) { return getNumber(chip) >= 90; }

/// Of a block, what every GPU has that runs code for it: PTX of a number alone
/// also runs on later ones, which may have less, and so does code of a family.
static int64_t getSharedBytes(StringRef chip) {
  constexpr int64_t kOldest = 48 << 10, kOfAll = 99 << 10,
                    kOfDataCentres = 227 << 10;
  if (getNumber(chip) < 80)
    return kOldest;
  bool isAlone = llvm::is_contained(
      {"sm_90a", "sm_100a", "sm_100f", "sm_103a", "sm_103f"}, chip);
  return isAlone ? kOfDataCentres : kOfAll;
}

void vashista::buildCudaGraphPipeline(OpPassManager &pm,
                                      const CudaPipelineOptions &options) {
  CpuPipelineOptions graph;
  setGraphOptions(graph);
  buildGraphPipeline(pm, graph);
  VashistaAssignSchedulePassOptions schedules;
  schedules.multiprocessors = options.multiprocessors;
  if (!isHopperOrLater(options.chip))
    schedules.clusters = 1;
  schedules.sharedBytes = getSharedBytes(options.chip);
  pm.addPass(createVashistaAssignSchedulePass(schedules));
}

/// What kernels are made for.
static ConvertVashistaToGPUPassOptions
getKernelOptions(const CudaPipelineOptions &options) {
  ConvertVashistaToGPUPassOptions kernels;
  kernels.multiprocessors = options.multiprocessors;
  if (!isHopperOrLater(options.chip))
    kernels.clusters = 1;
  kernels.sharedBytes = getSharedBytes(options.chip);
  return kernels;
}

void vashista::buildCudaBufferPipeline(OpPassManager &pm,
                                       const CudaPipelineOptions &options) {
  buildCudaGraphPipeline(pm, options);
  CpuPipelineOptions graph;
  setGraphOptions(graph);
  // What is a launch is no value op any more.
  pm.addPass(createConvertVashistaToGPUPass(getKernelOptions(options)));
  buildValuePipeline(pm, graph);
}

/// From buffers to kernels of upstream ops.
static void buildOutlinePipeline(OpPassManager &pm,
                                 const CudaPipelineOptions &options,
                                 bool planWorkspace) {
  CpuPipelineOptions graph;
  setGraphOptions(graph);
  pm.addPass(createConvertVashistaToGPUPass(getKernelOptions(options)));
  buildKernelPipeline(pm, graph);
  pm.addNestedPass<func::FuncOp>(createVashistaPlaceConstantsPass());
  VashistaExpandCopiesPassOptions copies;
  copies.all = true;
  pm.addPass(createVashistaExpandCopiesPass(copies));
  VashistaPlanWorkspacePassOptions workspace;
  workspace.tasks = !planWorkspace;
  pm.addNestedPass<func::FuncOp>(createVashistaPlanWorkspacePass(workspace));
  pm.addPass(createConvertLinalgToParallelLoopsPass());
  // No canonicalisation here: it would fold loops of one iteration, of which
  // each is a kernel.
  pm.addPass(createCSEPass());
  pm.addPass(createVashistaApproximateMathPass());
  pm.addPass(createVashistaOutlineKernelsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createVashistaFuseLaunchesPass());
}

/// Within a gpu.module: to the NVVM dialect. Kernels are many: what neither
/// sees others nor makes symbols, as of a global or a declaration, takes each
/// by itself.
static void buildNVVMPipeline(OpPassManager &pm) {
  OpPassManager &kernels = pm.nestAny();
  kernels.addPass(createLoopInvariantCodeMotionPass());
  kernels.addPass(createVashistaExactMathPass());
  kernels.addPass(createConvertVectorToSCFPass(
      VectorTransferToSCFOptions().enableFullUnroll()));
  kernels.addPass(createSCFToControlFlowPass());
  kernels.addPass(memref::createExpandStridedMetadataPass());
  kernels.addPass(createLowerAffinePass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  kernels.addPass(arith::createArithExpandOpsPass(expand));
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  kernels.addPass(createConvertNVGPUToNVVMPass());
  // Before vectors: they would not know of memory spaces.
  ConvertGpuOpsToNVVMOpsOptions nvvm;
  nvvm.useBarePtrCallConv = true;
  nvvm.hasRedux = true;
  pm.addPass(createConvertGpuOpsToNVVMOps(nvvm));
  pm.addPass(createVashistaDeclareSharedMemoryPass());
  OpPassManager &code = pm.nestAny();
  code.addPass(createConvertVectorToLLVMPass());
  code.addPass(createArithToLLVMConversionPass());
  code.addPass(createConvertMathToLLVMPass());
  code.addPass(createConvertNVVMToLLVMPass());
  code.addPass(createCanonicalizerPass());
  code.addPass(createCSEPass());
  code.addPass(createReconcileUnrealizedCastsPass());
}

/// As gpu-module-to-binary calls it.
static StringRef getBinaryFormat(KernelFormat format) {
  switch (format) {
  case KernelFormat::isa:
    return "isa";
  case KernelFormat::bin:
    return "bin";
  case KernelFormat::fatbin:
    return "fatbin";
  case KernelFormat::nvvm:
    break;
  }
  llvm_unreachable("no binary");
}

static void buildDevicePipeline(OpPassManager &pm,
                                const CudaPipelineOptions &options,
                                bool planWorkspace) {
  buildOutlinePipeline(pm, options, planWorkspace);
  if (isHopperOrLater(options.chip))
    pm.addPass(createVashistaOverlapLaunchesPass());
  buildNVVMPipeline(pm.nest<gpu::GPUModuleOp>());
  GpuNVVMAttachTargetOptions target;
  target.chip = options.chip;
  target.features = options.features;
  target.optLevel = 3;
  pm.addPass(createGpuNVVMAttachTarget(target));
  if (options.format == KernelFormat::nvvm)
    return;
  GpuModuleToBinaryPassOptions binary;
  binary.compilationTarget = getBinaryFormat(options.format);
  pm.addPass(createGpuModuleToBinaryPass(binary));
}

void vashista::buildCudaPipeline(OpPassManager &pm,
                                 const CudaPipelineOptions &options) {
  buildCudaBufferPipeline(pm, options);
  buildDevicePipeline(pm, options, /*planWorkspace=*/false);
}

void vashista::buildCudaDevicePipeline(OpPassManager &pm,
                                       const CudaPipelineOptions &options) {
  buildDevicePipeline(pm, options, /*planWorkspace=*/true);
}

void vashista::buildCudaEntryPipeline(OpPassManager &pm) {
  pm.addPass(createVashistaLaunchKernelsPass());
  buildHostPipeline(pm);
}
