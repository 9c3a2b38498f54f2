// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A transform script tiles: the transform extensions and the tiling models are
// registered.

// RUN: vashista-opt %s --transform-interpreter | FileCheck %s

// CHECK-LABEL: @double
// CHECK: scf.for
// CHECK: tensor.extract_slice
// CHECK: linalg.add
func.func @double(%x: tensor<128xf32>) -> tensor<128xf32> {
  %0 = linalg.add ins(%x, %x : tensor<128xf32>, tensor<128xf32>)
                  outs(%x : tensor<128xf32>) -> tensor<128xf32>
  return %0 : tensor<128xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(
      %root: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["linalg.add"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %0 tile_sizes [32]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
