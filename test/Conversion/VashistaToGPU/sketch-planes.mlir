// Codes of which the 32 channels of a product lie in no whole parts of a plane.

// RUN: vashista-opt %s -convert-vashista-to-gpu | FileCheck %s

// Of 96 channels, 4 bits are 48 bytes of two channels each, and the fifth ones 12
// bytes of eight: rows of 60 bytes. A tile's 16 follow each other: of 240 chunks
// of four tiles half a warp copies the last ones. A lane's words are found one
// by one, and shifted by what its channels are of their bytes.
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.func @sketch_scan_0({{.*}}nvvm.minctasm = 2 : i32
// CHECK-COUNT-7: nvgpu.device_async_copy
// CHECK: scf.if
// CHECK-NEXT: nvgpu.device_async_copy
// CHECK: nvgpu.device_async_wait
// CHECK: vector.load %{{.*}} {alignment = 4 : i64} : memref<32x60x16xi8, #gpu.address_space<workgroup>>, vector<4xi8>
// CHECK: arith.shrui
// CHECK: nvvm.mma.sync
func.func @scan(%q: tensor<2x8x96xbf16>, %codes: tensor<?x2x16x60xi8>,
                %scales: tensor<?x2x16x3xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
                %table: tensor<2x512xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x512xi32>, tensor<2x2xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.1020620726
      schedule <split = 4096>
      : (tensor<2x8x96xbf16>, tensor<?x2x16x60xi8>,
         tensor<?x2x16x3xf8E4M3FN>, tensor<?x2x16xi8>, tensor<2x512xi32>,
         tensor<2xi32>) -> (tensor<2x8x8192xf32>, tensor<2x8x8192xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x8192xf32>, tensor<2x8x8192xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count : tensor<2x2x512xi32>, tensor<2x2xi32>
}
