// A kernel says when the next one may start, but for targets that do not know of it,
// which have no clusters either. What others have written stays.

// RUN: vashista-opt %s -convert-vashista-to-gpu | FileCheck %s
// RUN: vashista-opt %s -convert-vashista-to-gpu=clusters=1 \
// RUN:   | FileCheck %s --check-prefix=OLD

module attributes {gpu.container_module} {
// CHECK-LABEL: func.func @prove(
// OLD-LABEL: func.func @prove(
func.func @prove(%s: tensor<2x4x1024xf32>, %b: tensor<2x4x1024xf32>,
                 %lens: tensor<2xi32>) -> tensor<2x2x64xi32> {
  %r:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  return %r#0 : tensor<2x2x64xi32>
}

// The merge of a list, once the blocks of its attention are about to end.
func.func @attend(%q: memref<2x8x64xbf16>, %k: memref<?x2x16x64xbf16>,
                  %table: memref<2x64xi32>, %lens: memref<2xi32>,
                  %ids: memref<2x2x512xi32>, %n: memref<2x2xi32>,
                  %o: memref<2x8x64xf32>, %lse: memref<2x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %so = memref.alloc() : memref<2x8x64xf32>
  %sl = memref.alloc() : memref<2x8xf32>
  linalg.fill ins(%zero : f32) outs(%so : memref<2x8x64xf32>)
  linalg.fill ins(%none : f32) outs(%sl : memref<2x8xf32>)
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %n) outs(%so, %sl) scale 0.125
      : (memref<2x8x64xbf16>, memref<?x2x16x64xbf16>, memref<?x2x16x64xbf16>,
         memref<2x64xi32>, memref<2xi32>, memref<2x2x512xi32>,
         memref<2x2xi32>, memref<2x8x64xf32>, memref<2x8xf32>) -> ()
  memref.copy %so, %o : memref<2x8x64xf32> to memref<2x8x64xf32>
  memref.copy %sl, %lse : memref<2x8xf32> to memref<2x8xf32>
  return
}

gpu.module @kernels {
  // CHECK: gpu.func @foreign
  // CHECK-NEXT: nvvm.griddepcontrol wait
  // OLD: gpu.func @foreign
  // OLD-NEXT: nvvm.griddepcontrol wait
  // OLD-NOT: nvvm.griddepcontrol
  gpu.func @foreign() kernel {
    nvvm.griddepcontrol wait
    gpu.return
  }
}
}

// CHECK: gpu.func @pick_0(
// CHECK: nvvm.griddepcontrol launch_dependents
// CHECK: memref.load
// CHECK: gpu.func @attend_0(
// CHECK: nvvm.mma.sync
// CHECK: nvvm.griddepcontrol launch_dependents
// CHECK: gpu.func @merge_0(
// CHECK-NOT: nvvm.griddepcontrol
