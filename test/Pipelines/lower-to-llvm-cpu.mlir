// From a graph to the LLVM dialect, and to assembly of a CPU: nothing is left of
// the dialects between.
//
// RUN: vashista-opt %s -vashista-lower-to-llvm-cpu | FileCheck %s
// RUN: vashista-opt %s -vashista-lower-to-llvm-cpu | mlir-translate --mlir-to-llvmir | llc -mcpu=x86-64-v4 -O3 | FileCheck %s --check-prefix=ASM

// CHECK-NOT: vashista.
// CHECK-NOT: unrealized_conversion_cast
// CHECK-NOT: {{(scf|vector|memref|math|tensor|linalg|arith)\.}}
// CHECK: llvm.func @dense
// CHECK: llvm.func internal @dense_task_
// CHECK: llvm.intr.fma({{.*}}) : (vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK: llvm.intr.prefetch

// No vector is taken apart for a library call.
// ASM: vfmadd{{.*}}zmm
// ASM: prefetcht1
// ASM-NOT: callq{{.*}}expf
func.func @dense(
    %q: tensor<?x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %o: tensor<?x32x128xf32>, %lse: tensor<?x32xf32>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x32x128xf32>, tensor<?x32xf32>)
      -> (tensor<?x32x128xf32>, tensor<?x32xf32>)
  return %0#0, %0#1 : tensor<?x32x128xf32>, tensor<?x32xf32>
}
