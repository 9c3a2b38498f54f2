// What a scan finds is of the slots that it scores: a pick of others, of another
// length here, has scores and bounds of all, of which what is not visible is -inf,
// and looks for the highest itself.

// RUN: vashista-opt %s -convert-vashista-to-gpu | FileCheck %s

// CHECK-LABEL: func.func @prove(
// CHECK-NOT: 1024xi8>
// CHECK-COUNT-2: memref.alloc() {alignment = 64 : i64} : memref<2x8x1024xf32>
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x8x[[BLOCKS:[0-9]+]]x1xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK-NOT: memref<2x8x[[BLOCKS]]x1xf32>
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.func @sketch_scan_0
func.func @prove(
    %q: tensor<2x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>, %others: tensor<2xi32>)
    -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      : (tensor<2x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<2x64xi32>,
         tensor<2xi32>) -> (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>)
  %ids, %count, %tail = vashista.pick proving 64 tokens of(%scores, %bounds)
      lens(%others) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count, %tail : tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>
}
