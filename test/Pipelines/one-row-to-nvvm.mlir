// RUN: vashista-opt %s -vashista-lower-to-nvvm | FileCheck %s

// Of one row and one KV head a loop over these is none any more.
// CHECK-LABEL: func.func @dense(
// CHECK: gpu.launch_func
// CHECK: gpu.module @kernels
// CHECK: llvm.func {{.*}}@dense_0{{.*}} attributes {gpu.kernel
func.func @dense(%q: tensor<1x8x128xf32>, %k: tensor<?x1x16x128xf32>,
                 %v: tensor<?x1x16x128xf32>, %table: tensor<1x?xi32>,
                 %lens: tensor<1xi32>, %o: tensor<1x8x128xf32>,
                 %lse: tensor<1x8xf32>)
    -> (tensor<1x8x128xf32>, tensor<1x8xf32>) {
  %r:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.0883883461
      : (tensor<1x8x128xf32>, tensor<?x1x16x128xf32>, tensor<?x1x16x128xf32>,
         tensor<1x?xi32>, tensor<1xi32>, tensor<1x8x128xf32>, tensor<1x8xf32>)
      -> (tensor<1x8x128xf32>, tensor<1x8xf32>)
  return %r#0, %r#1 : tensor<1x8x128xf32>, tensor<1x8xf32>
}
