// What a sketch proves of more query heads than a product has.

// RUN: vashista-opt %s -convert-vashista-to-gpu | FileCheck %s
// RUN: vashista-opt %s -vashista-lower-to-nvvm='format=isa' | sed 's/\\0A/\n/g' \
// RUN:   | FileCheck %s --check-prefix=PTX --implicit-check-not=.local

// Of 12 heads a block of the scan has 8, or the others. A pick's has bins of all
// of them, of which those of a few are counted at a time.
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%c4{{.*}}, %c8{{.*}}, %c2{{.*}})
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.func @pick_0(
// CHECK: memref.view %{{.*}} to memref<25632xi32, #gpu.address_space<workgroup>>

// It marks by two products, for which levels are loaded again: a loop for what
// is beyond all heads' ends, and one for the sums of eight.
// PTX: .entry pick_0(
// PTX-COUNT-4: prmt.b32 {{.*}}, 0xbb99U
// PTX-NOT: ex2.approx
// PTX-COUNT-8: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
func.func @many(
    %q: tensor<2x24x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2xi32>, tensor<2x24xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x24x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<2x64xi32>,
         tensor<2xi32>) -> (tensor<2x24x1024xf32>, tensor<2x24x1024xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x24x1024xf32>, tensor<2x24x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x24xf32>)
  return %count, %tail : tensor<2x2xi32>, tensor<2x24xf32>
}
