// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -split-input-file | FileCheck %s

// Mean and deviation: two products per channel, with the direction and with its
// size. Bounds of a source without bounds are +inf where a page is visible.
// CHECK-LABEL: func @mean_std
// CHECK-SAME: %[[W:[a-z0-9]*]]: tensor<2x8x64xf32>, %[[M:[a-z0-9]*]]: tensor<?x2x64xbf16>, %[[S:[a-z0-9]*]]: tensor<?x2x64xbf16>
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK-DAG: %[[NINF:.*]] = arith.constant 0xFF800000 : f32
// CHECK-DAG: %[[MB:.*]] = bufferization.to_buffer %[[M]] read_only
// CHECK-DAG: %[[SB:.*]] = bufferization.to_buffer %[[S]] read_only
// CHECK: %[[SCORES:.*]] = memref.alloc() {{.*}} : memref<2x8x4xf32>
// CHECK: %[[BOUNDS:.*]] = memref.alloc() {{.*}} : memref<2x8x4xf32>
// A task per row and block of slots, for all KV heads of a tile in turn.
// CHECK: scf.forall (%{{.*}}) in (2)
// CHECK: math.absf
// One line of each: 32 channels of bf16, as the even and the odd ones.
// CHECK: vector.load %[[MB]]{{.*}} vector<32xbf16>
// CHECK: vector.bitcast %{{.*}} : vector<32xbf16> to vector<16xi32>
// CHECK: arith.shli
// CHECK: arith.andi
// CHECK: vector.load %[[SB]]{{.*}} vector<32xbf16>
// CHECK: memref.prefetch %[[MB]]
// CHECK: memref.prefetch %[[SB]]
// CHECK: vector.store %{{.*}}, %[[SCORES]]
// CHECK: memref.store %[[INF]], %[[BOUNDS]]
// Behind what is visible.
// CHECK: memref.store %[[NINF]], %[[SCORES]]
// CHECK: memref.store %[[NINF]], %[[BOUNDS]]
// CHECK: bufferization.to_tensor %[[SCORES]] restrict writable
// CHECK: bufferization.to_tensor %[[BOUNDS]] restrict writable
// CHECK-NOT: vashista.
func.func @mean_std(
    %w: tensor<2x8x64xf32>, %mean: tensor<?x2x64xbf16>,
    %std: tensor<?x2x64xbf16>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x4xf32>, tensor<2x8x4xf32>) {
  %s, %b = vashista.score %w from #vashista.summary<mean_std>(%mean, %std)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xbf16>, tensor<?x2x64xbf16>,
         tensor<2x4xi32>, tensor<2xi32>)
      -> (tensor<2x8x4xf32>, tensor<2x8x4xf32>)
  return %s, %b : tensor<2x8x4xf32>, tensor<2x8x4xf32>
}

// -----

// Scores that are bounds: one buffer for both.
// CHECK-LABEL: func @box
// CHECK: %[[SCORES:.*]] = memref.alloc()
// CHECK-NOT: memref.alloc()
// CHECK: arith.maximumf
// CHECK: arith.minimumf
// CHECK: %[[T:.*]] = bufferization.to_tensor %[[SCORES]]
// CHECK: return %[[T]], %[[T]]
func.func @box(
    %w: tensor<2x8x64xf32>, %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x4xf32>, tensor<2x8x4xf32>) {
  %s, %b = vashista.score %w from #vashista.summary<box>(%lo, %hi)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<?x2x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>)
      -> (tensor<2x8x4xf32>, tensor<2x8x4xf32>)
  return %s, %b : tensor<2x8x4xf32>, tensor<2x8x4xf32>
}

// -----

// A size is as known as its result's type says, whoever knows more.
// CHECK-LABEL: func @rows_of_some
// CHECK: %[[SCORES:.*]] = memref.cast {{.*}} to memref<?x8x4xf32>
// CHECK: bufferization.to_tensor %[[SCORES]] {{.*}} : memref<?x8x4xf32> to tensor<?x8x4xf32>
func.func @rows_of_some(
    %w: tensor<?x8x64xf32>, %mean: tensor<?x2x64xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<?xi32>) -> tensor<?x8x4xf32> {
  %s, %b = vashista.score %w from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<?xi32>)
      -> (tensor<?x8x4xf32>, tensor<?x8x4xf32>)
  return %s : tensor<?x8x4xf32>
}
