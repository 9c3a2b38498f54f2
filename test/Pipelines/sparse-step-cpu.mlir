// A whole sparse step, routed, selected and attended, lowers to the LLVM dialect.
//
// RUN: vashista-opt %s -vashista-lower-to-llvm-cpu -split-input-file | FileCheck %s

// No library function but the C library's.
// CHECK-NOT: memrefCopy
// CHECK-NOT: vashista.
// CHECK-NOT: unrealized_conversion_cast
// CHECK-NOT: {{(scf|memref|math|tensor|linalg|arith|bufferization)\.}}
// CHECK: llvm.func @decode
// Pages scored and picked, tokens scored and picked, attended.
// CHECK-DAG: llvm.func internal @decode_task_0
// CHECK-DAG: llvm.func internal @decode_task_4
func.func @decode(
    %q: tensor<?x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %mean: tensor<?x8x128xbf16>, %std: tensor<?x8x128xbf16>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k)
      values(%v) table(%table) lens(%lens) summary <mean_std>(%mean, %std)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x8x128xbf16>, tensor<?x8x128xbf16>)
      -> (tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x32xf32>,
          tensor<?x32xf32>, tensor<?x8xi32>, tensor<?x8xi1>)
  return %o, %lse : tensor<?x32x128xf32>, tensor<?x32xf32>
}

// -----

// Two rounds, certified, with a fallback.
// CHECK-NOT: memrefCopy
// CHECK-NOT: vashista.
// CHECK: llvm.func @certified
func.func @certified(
    %q: tensor<?x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>, %norms: tensor<?x2x2xf32>)
    -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x2xi32>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k)
      values(%v) table(%table) lens(%lens) summary <box>(%lo, %hi)
      norms(%norms)
      policy <pages = 8, candidates = 32, tolerance = 0.1, rounds = 2,
              fallback = dense>
      scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x64xf32>,
         tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
          tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xi1>)
  return %o, %tau, %rounds : tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x2xi32>
}
