// RUN: vashista-opt %s -convert-vashista-to-vector -canonicalize -cse -split-input-file | FileCheck %s

// Each token's key is widened to f64, rotated by a fast transform, quantised
// group by group with the best of a few scales, and packed: 5 bits are a plane
// of 4 and one of 1.
// CHECK-LABEL: func @rotated
// CHECK-SAME: %[[K:[a-z0-9]*]]: memref<?x2x16x64xbf16>, %[[T:[a-z0-9]*]]: memref<2x?xi32>, %[[L:[a-z0-9]*]]: memref<2xi32>, %[[CODES:[a-z0-9]*]]: memref<?x2x16x40xi8>, %[[SCALES:[a-z0-9]*]]: memref<?x2x16x2xf16>, %[[NORMS:[a-z0-9]*]]: memref<?x2x16x2xf8E4M3FN>
// CHECK: scf.forall (%[[H:.*]]) in (2)
// CHECK-DAG: %[[KEY:.*]] = memref.alloca() {{.*}} : memref<64xf64>
// CHECK-DAG: %[[BYTES:.*]] = memref.alloca() {{.*}} : memref<64xi8>
// CHECK: vector.load %[[K]][%{{.*}}, %[[H]], %[[TOKEN:.*]], %{{.*}}] : memref<?x2x16x64xbf16>, vector<8xbf16>
// CHECK: vector.store %{{.*}}, %[[KEY]]
// A key that is not finite is not coded.
// CHECK: %[[FINITE:.*]] = arith.cmpf olt, %{{.*}}, %{{.*}} : f64
// CHECK: scf.if %[[FINITE]]
// Within vectors, then between them: distances 8, 16 and 32.
// CHECK-COUNT-3: vector.shuffle
// CHECK: scf.for %{{.*}} = %c0 to %c64 step %c16
// CHECK: scf.for %{{.*}} = %c0 to %c64 step %c32
// CHECK: arith.addf
// CHECK: arith.subf
// The nearest cell, by what adding 2^52 leaves.
// CHECK: math.fma
// CHECK: memref.store %{{.*}}, %[[SCALES]][%{{.*}}, %[[H]], %[[TOKEN]], %[[G:.*]]] : memref<?x2x16x2xf16>
// The norm of what is left, and what f64 may have lost of the key.
// CHECK: math.sqrt
// CHECK: memref.store %{{.*}}, %[[NORMS]][%{{.*}}, %[[H]], %[[TOKEN]], %[[G]]] : memref<?x2x16x2xf8E4M3FN>
// CHECK: arith.cmpf uge
// 32 bytes of high halves: channels j and j + 32.
// CHECK: scf.for %[[J:.*]] = %c0 to %c32 step %c8
// CHECK: vector.load %[[BYTES]][%[[J]]]
// CHECK: %[[FAR:.*]] = arith.addi %[[J]], %c32
// CHECK: vector.load %[[BYTES]][%[[FAR]]]
// CHECK: vector.store %{{.*}}, %[[CODES]][%{{.*}}, %[[H]], %[[TOKEN]], %[[J]]]
// 8 bytes of low bits, after them.
// CHECK: vector.store %{{.*}}, %[[CODES]][%{{.*}}, %[[H]], %[[TOKEN]], %c32] : memref<?x2x16x40xi8>, vector<8xi8>
func.func @rotated(
    %k: memref<?x2x16x64xbf16>, %table: memref<2x?xi32>, %lens: memref<2xi32>,
    %codes: memref<?x2x16x40xi8>, %scales: memref<?x2x16x2xf16>,
    %norms: memref<?x2x16x2xf8E4M3FN>) {
  vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 5, group = 32, rotation = hadamard>(%codes, %scales, %norms)
      : (memref<?x2x16x64xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<?x2x16x40xi8>, memref<?x2x16x2xf16>,
         memref<?x2x16x2xf8E4M3FN>) -> ()
  return
}

// -----

// An append sketches the new token alone.
// CHECK-LABEL: func @append
// CHECK: %[[TOKEN:.*]] = arith.remui
// CHECK: %[[COUNT:.*]] = arith.addi %[[TOKEN]], %c1
// CHECK: scf.for %{{.*}} = %[[TOKEN]] to %[[COUNT]]
// CHECK-NOT: vector.shuffle
func.func @append(
    %key: memref<2x2x64xf32>, %at: memref<2xi32>, %table: memref<2x?xi32>,
    %k: memref<?x2x16x64xf32>, %v: memref<?x2x16x64xf32>,
    %codes: memref<?x2x16x32xi8>, %scales: memref<?x2x16x2xf16>,
    %norms: memref<?x2x16x2xf16>) {
  vashista.append key(%key) value(%key) at(%at) table(%table) into(%k, %v)
      sketch <bits = 4, group = 32>(%codes, %scales, %norms)
      : (memref<2x2x64xf32>, memref<2x2x64xf32>, memref<2xi32>,
         memref<2x?xi32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<?x2x16x32xi8>, memref<?x2x16x2xf16>, memref<?x2x16x2xf16>) -> ()
  return
}

// -----

// The mean that is subtracted changes with every token: all are sketched.
// CHECK-LABEL: func @centred
// CHECK-SAME: %[[CENTRE:[a-z0-9]*]]: memref<?x2x64xbf16>)
// CHECK: %[[COUNT:.*]] = arith.addi %{{.*}}, %c1
// CHECK: arith.divf
// CHECK: vector.store %{{.*}}, %[[CENTRE]]
// CHECK: scf.for %{{.*}} = %c0 to %[[COUNT]]
// CHECK: vector.load %[[CENTRE]]
// CHECK: arith.subf %{{.*}}, %{{.*}} : vector<8xf64>
func.func @centred(
    %key: memref<2x2x64xf32>, %at: memref<2xi32>, %table: memref<2x?xi32>,
    %k: memref<?x2x16x64xf32>, %v: memref<?x2x16x64xf32>,
    %codes: memref<?x2x16x32xi8>, %scales: memref<?x2x16x2xf16>,
    %norms: memref<?x2x16x2xf16>, %centre: memref<?x2x64xbf16>) {
  vashista.append key(%key) value(%key) at(%at) table(%table) into(%k, %v)
      sketch <bits = 4, group = 32, centre = page>(%codes, %scales, %norms, %centre)
      : (memref<2x2x64xf32>, memref<2x2x64xf32>, memref<2xi32>,
         memref<2x?xi32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<?x2x16x32xi8>, memref<?x2x16x2xf16>, memref<?x2x16x2xf16>,
         memref<?x2x64xbf16>) -> ()
  return
}
