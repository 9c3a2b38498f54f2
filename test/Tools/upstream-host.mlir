// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Tensors become the LLVM dialect: the bufferization models and the
// conversion interfaces are registered.

// RUN: vashista-opt %s --one-shot-bufferize=bufferize-function-boundaries \
// RUN:   --convert-linalg-to-loops --convert-scf-to-cf \
// RUN:   --expand-strided-metadata --lower-affine --convert-to-llvm \
// RUN:   --reconcile-unrealized-casts | FileCheck %s

// CHECK-NOT: memref.
// CHECK: llvm.func @scale
// CHECK: llvm.fmul
// CHECK-NOT: memref.
func.func @scale(%x: tensor<?xf32>, %factor: f32) -> tensor<?xf32> {
  %0 = linalg.map ins(%x : tensor<?xf32>) outs(%x : tensor<?xf32>)
    (%in: f32, %out: f32) {
      %1 = arith.mulf %in, %factor : f32
      linalg.yield %1 : f32
    }
  return %0 : tensor<?xf32>
}
