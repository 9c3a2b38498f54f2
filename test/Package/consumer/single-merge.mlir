// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// CHECK-LABEL: @single
// CHECK-SAME:    (%[[O:.+]]: tensor<4x32x128xf32>, %[[LSE:.+]]: tensor<4x32xf32>)
// CHECK-NEXT:    return %[[O]], %[[LSE]]
func.func @single(%o: tensor<4x32x128xf32>, %lse: tensor<4x32xf32>)
    -> (tensor<4x32x128xf32>, tensor<4x32xf32>) {
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (tensor<4x32x128xf32>, tensor<4x32xf32>)
      -> (tensor<4x32x128xf32>, tensor<4x32xf32>)
  return %0#0, %0#1 : tensor<4x32x128xf32>, tensor<4x32xf32>
}

// CHECK-LABEL: @stack
// CHECK:         vashista.merge
func.func @stack(%o: tensor<2x4x32x128xf32>, %lse: tensor<2x4x32xf32>)
    -> (tensor<4x32x128xf32>, tensor<4x32xf32>) {
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (tensor<2x4x32x128xf32>, tensor<2x4x32xf32>)
      -> (tensor<4x32x128xf32>, tensor<4x32xf32>)
  return %0#0, %0#1 : tensor<4x32x128xf32>, tensor<4x32xf32>
}
