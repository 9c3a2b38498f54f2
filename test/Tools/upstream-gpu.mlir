// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A kernel becomes PTX: the NVVM target and the translations are registered.

// RUN: vashista-opt %s --pass-pipeline='builtin.module( \
// RUN:   gpu.module(convert-gpu-to-nvvm), \
// RUN:   nvvm-attach-target{chip=sm_90a features=+ptx86}, \
// RUN:   gpu-module-to-binary{format=isa})' | FileCheck %s

// CHECK: gpu.binary @kernels
// CHECK-SAME: .target sm_90a
// CHECK-SAME: .entry store_id
gpu.module @kernels {
  gpu.func @store_id(%out: memref<64xindex>) kernel {
    %id = gpu.thread_id x
    memref.store %id, %out[%id] : memref<64xindex>
    gpu.return
  }
}
