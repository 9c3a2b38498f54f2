// A module without a tensor op or one of ours loads no dialect but its own.

// RUN: vashista-compile %s -o %t.vso
// RUN: vashista-run %t.vso --list | FileCheck %s

// CHECK: result0  f32 [x.0]
func.func @sum(%x: tensor<?xf32>, %y: tensor<?xf32>) -> tensor<?xf32> {
  %0 = arith.addf %x, %y : tensor<?xf32>
  return %0 : tensor<?xf32>
}
