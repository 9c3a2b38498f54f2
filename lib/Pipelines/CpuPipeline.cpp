//===- CpuPipeline.cpp - vashista-lower-to-llvm-cpu -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Conversion/Passes.h"
#include "vashista/Dialect/Vashista/Transforms/Passes.h"
#include "vashista/Pipelines/Pipelines.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Affine/Transforms/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace vashista;

void vashista::buildGraphPipeline(OpPassManager &pm,
                                  const CpuPipelineOptions &options) {
  // What is read, in which order.
  pm.addPass(createVashistaDecomposePass());
  if (options.split >= 0) {
    VashistaSplitTokensPassOptions split;
    split.split = options.split;
    pm.addPass(createVashistaSplitTokensPass(split));
  }
  pm.addPass(createCSEPass());
  pm.addPass(createCanonicalizerPass());
}

void vashista::buildScheduledGraphPipeline(OpPassManager &pm) {
  CpuPipelineOptions whole;
  whole.split = -1;
  buildGraphPipeline(pm, whole);
  VashistaAssignSchedulePassOptions schedules;
  schedules.cpu = true;
  pm.addPass(createVashistaAssignSchedulePass(schedules));
}

void vashista::buildValuePipeline(OpPassManager &pm,
                                  const CpuPipelineOptions &options) {
  ConvertVashistaToLinalgPassOptions values;
  values.lanes = options.lanes;
  values.registers = options.registers;
  values.dotsBF16 = options.dotsBF16;
  pm.addPass(createConvertVashistaToLinalgPass(values));
  pm.addPass(createConvertElementwiseToLinalgPass());

  // Buffers: destinations in place.
  pm.addPass(bufferization::createEmptyTensorEliminationPass());
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
}

void vashista::buildBufferPipeline(OpPassManager &pm,
                                   const CpuPipelineOptions &options) {
  buildGraphPipeline(pm, options);
  buildValuePipeline(pm, options);
}

void vashista::buildKernelPipeline(OpPassManager &pm,
                                   const CpuPipelineOptions &options) {
  ConvertVashistaToVectorPassOptions kernels;
  kernels.lanes = options.lanes;
  kernels.registers = options.registers;
  kernels.dotsBF16 = options.dotsBF16;
  pm.addPass(createConvertVashistaToVectorPass(kernels));
  pm.addPass(createVashistaExpandCopiesPass());
  // Only of one subview is it seen that a copy of it to itself does nothing.
  pm.addPass(createCSEPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createLoopInvariantCodeMotionPass());
  pm.addPass(createVashistaCollapseTasksPass());
}

/// From upstream ops to tasks of a host.
static void buildTaskPipeline(OpPassManager &pm) {
  pm.addPass(createConvertLinalgToLoopsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createVashistaApproximateMathPass());
  pm.addPass(createVashistaOutlineTasksPass());
}

/// `hostMemory`: through MLIR's generic functions instead of the C library's.
static void buildLLVMPipeline(OpPassManager &pm, bool hostMemory) {
  pm.addPass(createConvertVectorToSCFPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(expand));
  if (hostMemory) {
    FinalizeMemRefToLLVMConversionPassOptions memory;
    memory.useAlignedAlloc = true;
    memory.useGenericFunctions = true;
    pm.addPass(createFinalizeMemRefToLLVMConversionPass(memory));
  }
  ConvertVectorToLLVMPassOptions vectors;
  vectors.x86Vector = true;
  pm.addPass(createConvertVectorToLLVMPass(vectors));
  pm.addPass(createConvertToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

static void buildLinalgPipeline(OpPassManager &pm,
                                const CpuPipelineOptions &options) {
  buildBufferPipeline(pm, options);
  bufferization::buildBufferDeallocationPipeline(
      pm, bufferization::BufferDeallocationPipelineOptions());
  pm.addPass(createConvertBufferizationToMemRefPass());
  buildKernelPipeline(pm, options);
}

void vashista::buildCpuPipeline(OpPassManager &pm,
                                const CpuPipelineOptions &options) {
  buildLinalgPipeline(pm, options);
  buildTaskPipeline(pm);
  buildLLVMPipeline(pm, /*hostMemory=*/false);
}

void vashista::buildHostPipeline(OpPassManager &pm) {
  buildLLVMPipeline(pm, /*hostMemory=*/true);
  pm.addPass(createVashistaPackEntriesPass());
}

void vashista::buildCpuEntryPipeline(OpPassManager &pm,
                                     const CpuPipelineOptions &options) {
  buildKernelPipeline(pm, options);
  pm.addNestedPass<func::FuncOp>(createVashistaPlanWorkspacePass());
  buildTaskPipeline(pm);
  buildHostPipeline(pm);
}

void vashista::registerPipelines() {
  PassPipelineRegistration<CpuPipelineOptions>(
      "vashista-to-linalg",
      "Lowers vashista ops to linalg, scf and vector ops on buffers",
      buildLinalgPipeline);
  PassPipelineRegistration<CpuPipelineOptions>(
      "vashista-lower-to-llvm-cpu",
      "Lowers vashista ops to the LLVM dialect for a CPU", buildCpuPipeline);
  PassPipelineRegistration<CudaPipelineOptions>(
      "vashista-lower-to-nvvm",
      "Lowers vashista ops to kernels of an NVIDIA GPU", buildCudaPipeline);
}
