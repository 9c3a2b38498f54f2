// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse -split-input-file | FileCheck %s

// Directions are rotated, and the norms of their groups taken, once. Tasks
// transpose the rows of a tile: a vector holds four bytes of as many tokens, and a
// channel is taken from it by a shift and a mask, as the low bits of 2^23.
// CHECK-LABEL: func @rotated
// CHECK-DAG: %[[W:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?x4x64xf32>
// CHECK-DAG: %[[REACH:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?x4x2xf32>
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (%{{.*}}, 4)
// CHECK-COUNT-3: vector.shuffle
// CHECK: vector.store %{{.*}}, %[[W]][%[[R]], %[[H]]
// CHECK: memref.store %{{.*}}, %[[REACH]][%[[R]], %[[H]]
// CHECK: scf.forall
// CHECK: vector.load %[[W]]
// CHECK: vector.load %[[REACH]]
// CHECK: %[[BYTES:.*]] = vector.load %{{.*}} : memref<?x2x16x32xi8>, vector<32xi8>
// CHECK: vector.bitcast %[[BYTES]] : vector<32xi8> to vector<8xi32>
// CHECK: vector.shuffle
// CHECK: vector.store %{{.*}} : memref<8x64xi32>, vector<8xi32>
// CHECK: %[[UNITS:.*]] = vector.load %{{.*}} : memref<8x64xi32>, vector<16xi32>
// CHECK: arith.shli %[[UNITS]]
// CHECK: arith.andi
// CHECK: arith.ori
// CHECK: arith.bitcast
// CHECK: arith.subf
// CHECK: vector.fma
// CHECK: arith.shrui %[[UNITS]]
// CHECK: vector.load %{{.*}} : memref<?x2x16x2xf8E4M3FN>, vector<2xf8E4M3FN>
func.func @rotated(
    %q: tensor<?x4x64xf32>, %codes: tensor<?x2x16x32xi8>,
    %scales: tensor<?x2x16x2xf16>, %norms: tensor<?x2x16x2xf8E4M3FN>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x4x?xf32>, tensor<?x4x?xf32>) {
  %s, %b = vashista.score %q from
      #vashista.sketch<bits = 4, group = 32, rotation = hadamard>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<?x4x64xf32>, tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>,
         tensor<?x2x16x2xf8E4M3FN>, tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x4x?xf32>, tensor<?x4x?xf32>)
  return %s, %b : tensor<?x4x?xf32>, tensor<?x4x?xf32>
}

// -----

// Nobody reads the bounds: no norm is read.
// CHECK-LABEL: func @unread
// CHECK: vector.load %{{.*}} : memref<?x2x16x32xi8>
// CHECK-NOT: vector<2xf8E4M3FN>
// CHECK: return
func.func @unread(
    %q: tensor<?x4x64xf32>, %codes: tensor<?x2x16x32xi8>,
    %scales: tensor<?x2x16x2xf16>, %norms: tensor<?x2x16x2xf8E4M3FN>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>) -> tensor<?x4x?xf32> {
  %s, %b = vashista.score %q from
      #vashista.sketch<bits = 4, group = 32, rotation = hadamard>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<?x4x64xf32>, tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>,
         tensor<?x2x16x2xf8E4M3FN>, tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x4x?xf32>, tensor<?x4x?xf32>)
  return %s : tensor<?x4x?xf32>
}
