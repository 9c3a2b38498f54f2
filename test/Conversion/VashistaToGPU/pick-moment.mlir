// What picks leave, bounded by a moment, by levels and by scores.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu \
// RUN:   -canonicalize -cse | FileCheck %s
// RUN: vashista-opt %s -split-input-file \
// RUN:   -vashista-lower-to-nvvm='format=isa' | sed 's/\\0A/\n/g' \
// RUN:   | FileCheck %s --check-prefix=PTX --implicit-check-not=.local

// Both rounds are given the moment, and the norms of directions as the scan has
// them: scores are bounds less what a norm and a spread are sure to add.
// CHECK-LABEL: func.func @levels(
// CHECK-SAME: %[[MOMENT:[a-z0-9]*]]: tensor<2x8xf32>, %{{.*}}: tensor<2x8xf32>)
// CHECK: %[[NORMS:.*]] = memref.alloc() {{.*}} : memref<2x8x1xf32>
// CHECK: %[[NORMS_AT:[^ ,]*]], %{{.*}} = memref.extract_strided_metadata %[[NORMS]] :
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 {{.*}} %[[NORMS_AT]] : memref<f32>
// CHECK: %[[GIVEN:.*]] = bufferization.to_buffer %[[MOMENT]]
// CHECK: %[[MOMENT_AT:[^ ,]*]], %{{.*}} = memref.extract_strided_metadata %[[GIVEN]] :
// CHECK: gpu.launch_func @kernels::@pick_1 {{.*}} %[[MOMENT_AT]] : memref<f32>, %[[NORMS_AT]] : memref<f32>
// CHECK: gpu.launch_func @kernels::@pick_0 {{.*}} %[[MOMENT_AT]] : memref<f32>, %[[NORMS_AT]] : memref<f32>
// A level is the second byte of a f32 number, or that is too large for a mass,
// where a slot is not left: of eight slots of four heads. No conversions.
// PTX: .entry pick_0(
// PTX-COUNT-32: prmt.b32 {{.*}}, 1197473792, %r{{[0-9]+}};
// PTX: .entry pick_1(
func.func @levels(
    %q: tensor<2x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>, %moment: tensor<2x8xf32>,
    %lse: tensor<2x8xf32>)
    -> (tensor<2x2xi32>, tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x8xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<2x64xi32>,
         tensor<2xi32>) -> (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) moment(%moment) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>,
         tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %ids2, %count2, %tail2 = vashista.pick proving 512 tokens
      of(%scores, %bounds) lens(%lens) taken(%ids) attended(%lse)
      moment(%moment) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>,
         tensor<2x2x512xi32>, tensor<2x8xf32>, tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %count, %tail, %count2, %tail2
      : tensor<2x2xi32>, tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x8xf32>
}

// -----

// Without levels thresholds are tried, and the tail has a pass of its own.
// CHECK-LABEL: func.func @scores(
// CHECK-SAME: %[[MOMENT:[a-z0-9]*]]: tensor<2x8xf32>)
// CHECK: %[[GIVEN:.*]] = bufferization.to_buffer %[[MOMENT]]
// CHECK: %[[MOMENT_AT:[^ ,]*]], %{{.*}} = memref.extract_strided_metadata %[[GIVEN]] :
// CHECK: gpu.launch_func @kernels::@pick_0 {{.*}} %[[MOMENT_AT]] : memref<f32>
// PTX: .entry pick_0(
func.func @scores(
    %scores: tensor<2x8x1024xf32>, %bounds: tensor<2x8x1024xf32>,
    %lens: tensor<2xi32>, %moment: tensor<2x8xf32>)
    -> (tensor<2x2xi32>, tensor<2x8xf32>) {
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) moment(%moment) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>,
         tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %count, %tail : tensor<2x2xi32>, tensor<2x8xf32>
}
