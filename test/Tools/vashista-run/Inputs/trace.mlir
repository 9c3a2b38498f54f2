// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

func.func @attend(
    %q: tensor<16x4x128xbf16>, %k: tensor<?x1x16x128xbf16>,
    %v: tensor<?x1x16x128xbf16>, %table: tensor<16x512xi32>,
    %lens: tensor<16xi32>, %o: tensor<16x4x128xf32>, %lse: tensor<16x4xf32>)
    -> (tensor<16x4x128xf32>, tensor<16x4xf32>) {
  %r:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.0883883461
      : (tensor<16x4x128xbf16>, tensor<?x1x16x128xbf16>,
         tensor<?x1x16x128xbf16>, tensor<16x512xi32>, tensor<16xi32>,
         tensor<16x4x128xf32>, tensor<16x4xf32>)
      -> (tensor<16x4x128xf32>, tensor<16x4xf32>)
  return %r#0, %r#1 : tensor<16x4x128xf32>, tensor<16x4xf32>
}
