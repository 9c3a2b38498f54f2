// Bounds and tails that nobody reads are not computed.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-linalg -canonicalize | FileCheck %s

// One buffer for the scores of pages, none for their bounds or for a tail.
// CHECK-LABEL: func.func @unread(
// CHECK: memref.alloc(%{{.*}}) {{.*}} : memref<?x8x?xf32>
// CHECK-NOT: memref.alloc({{.*}} : memref<?x8x?xf32>
// CHECK-NOT: memref.alloc({{.*}} : memref<?x8xf32>
// CHECK: return
func.func @unread(
    %q: tensor<?x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<?x?xi32>,
    %lens: tensor<?xi32>, %mean: tensor<?x2x64xf32>, %std: tensor<?x2x64xf32>)
    -> (tensor<?x2x32xi32>, tensor<?x2xi32>) {
  %ps, %pb = vashista.score %q from #vashista.summary<mean_std>(%mean, %std)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x64xf32>, tensor<?x2x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>) -> (tensor<?x8x?xf32>, tensor<?x8x?xf32>)
  %pages, %pc, %pt = vashista.pick top 8 pages of(%ps, %pb) lens(%lens)
      kv_heads 2 page_size 16
      : (tensor<?x8x?xf32>, tensor<?x8x?xf32>, tensor<?xi32>)
      -> (tensor<?x2x8xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  %ts, %tb = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages, %pc) scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x?xi32>,
         tensor<?xi32>, tensor<?x2x8xi32>, tensor<?x2xi32>)
      -> (tensor<?x8x128xf32>, tensor<?x8x128xf32>)
  %tokens, %count, %tail = vashista.pick top 32 tokens of(%ts, %tb) lens(%lens)
      within(%pages, %pc) outside(%pt) kv_heads 2 page_size 16
      : (tensor<?x8x128xf32>, tensor<?x8x128xf32>, tensor<?xi32>,
         tensor<?x2x8xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
      -> (tensor<?x2x32xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  return %tokens, %count : tensor<?x2x32xi32>, tensor<?x2xi32>
}

// -----

// A tail that is returned reads both.
// CHECK-LABEL: func.func @read(
// CHECK: memref.alloc(%{{.*}}) {{.*}} : memref<?x8x?xf32>
// CHECK: memref.alloc(%{{.*}}) {{.*}} : memref<?x8x?xf32>
// CHECK: memref.alloc({{.*}} : memref<?x8xf32>
// CHECK: return
func.func @read(
    %q: tensor<?x8x64xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %mean: tensor<?x2x64xf32>, %std: tensor<?x2x64xf32>)
    -> (tensor<?x2x8xi32>, tensor<?x8xf32>) {
  %ps, %pb = vashista.score %q from #vashista.summary<mean_std>(%mean, %std)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x64xf32>, tensor<?x2x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>) -> (tensor<?x8x?xf32>, tensor<?x8x?xf32>)
  %pages, %pc, %pt = vashista.pick top 8 pages of(%ps, %pb) lens(%lens)
      kv_heads 2 page_size 16
      : (tensor<?x8x?xf32>, tensor<?x8x?xf32>, tensor<?xi32>)
      -> (tensor<?x2x8xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  return %pages, %pt : tensor<?x2x8xi32>, tensor<?x8xf32>
}
