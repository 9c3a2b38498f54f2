// Constants of a graph: in the memory of the device, not at an address of the
// host, whoever reads them: kernels of vashista ops, loops, and results.

// RUN: vashista-opt %s -vashista-lower-to-nvvm | FileCheck %s
// RUN: vashista-opt %s -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=PTX

// CHECK-LABEL: func.func @decode(
// CHECK-NOT: memref.get_global
// CHECK: gpu.launch_func
// CHECK-NOT: memref.get_global
// CHECK: return

// PTX-DAG: .global {{.*}}__constant_2xi32[8] = {16, 0, 0, 0, 9}
// PTX-DAG: .global {{.*}}__constant_2x1xi32[8] = {0, 0, 0, 0, 2}
// PTX-DAG: .global {{.*}}__constant_4xf32[16]
func.func @decode(%q: tensor<2x4x64xbf16>, %k: tensor<?x4x16x64xbf16>,
                  %v: tensor<?x4x16x64xbf16>, %o: tensor<2x4x64xf32>,
                  %lse: tensor<2x4xf32>)
    -> (tensor<2x4x64xf32>, tensor<2x4xf32>, tensor<4xf32>) {
  %table = arith.constant dense<[[0], [2]]> : tensor<2x1xi32>
  %lens = arith.constant dense<[16, 9]> : tensor<2xi32>
  %slopes = arith.constant dense<[0.5, 0.25, 0.125, 0.0625]> : tensor<4xf32>
  %out, %sum = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
    outs(%o, %lse) scale 0.125
    : (tensor<2x4x64xbf16>, tensor<?x4x16x64xbf16>, tensor<?x4x16x64xbf16>,
       tensor<2x1xi32>, tensor<2xi32>, tensor<2x4x64xf32>, tensor<2x4xf32>)
    -> (tensor<2x4x64xf32>, tensor<2x4xf32>)
  return %out, %sum, %slopes : tensor<2x4x64xf32>, tensor<2x4xf32>, tensor<4xf32>
}
