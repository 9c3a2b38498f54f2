// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse -split-input-file | FileCheck %s

// Directions are rotated and rounded to 16-bit integers once, a pair of them in
// 32 bits, with what their norms and sums make bounds of. Tasks transpose the
// rows of a tile: a vector holds four bytes of as many tokens, of which a shift
// and a mask take the codes of two channels. Their products are exact.
// CHECK-LABEL: func @rotated
// CHECK-DAG: %[[PAIRS:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?x4x32xi32>
// CHECK-DAG: %[[FACTORS:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?x4x7xf32>
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (%{{.*}}, 4)
// CHECK-COUNT-3: vector.shuffle
// CHECK: vector.reduction <maximumf>
// CHECK: memref.store %{{.*}}, %[[FACTORS]][%[[R]], %[[H]]
// CHECK: math.roundeven
// CHECK: arith.fptosi
// CHECK: memref.store %{{.*}}, %[[PAIRS]][%[[R]], %[[H]]
// CHECK: scf.forall
// CHECK: vector.load %[[PAIRS]]
// CHECK: vector.load %[[FACTORS]]
// CHECK: memref.prefetch %[[CODES:.*]][
// CHECK: %[[BYTES:.*]] = vector.load %[[CODES]][{{.*}} : memref<?x2x16x32xi8>, vector<32xi8>
// CHECK: vector.bitcast %[[BYTES]] : vector<32xi8> to vector<8xi32>
// CHECK: vector.shuffle
// CHECK: vector.store %{{.*}} : memref<8x64xi32>, vector<8xi32>
// CHECK: %[[UNITS:.*]] = vector.load %{{.*}} : memref<8x64xi32>, vector<16xi32>
// CHECK: %[[LOW:.*]] = arith.andi %[[UNITS]], %{{.*}}
// CHECK: vector.bitcast %[[LOW]] : vector<16xi32> to vector<32xi16>
// CHECK: arith.extsi
// CHECK: arith.muli %{{.*}} : vector<32xi32>
// CHECK: vector.shuffle %{{.*}} [0, 2, 4,
// CHECK: vector.shuffle %{{.*}} [1, 3, 5,
// CHECK: arith.shrui %[[UNITS]]
// CHECK: arith.sitofp
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
