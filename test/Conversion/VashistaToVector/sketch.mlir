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

// -----

// Second moments follow when all is sketched: a task per row, KV head and block
// of 128 rows of a matrix. The longest row of a sequence works.
// CHECK-LABEL: func @moments
// CHECK-SAME: %[[K:[a-z0-9]*]]: memref<?x2x16x144xbf16>, %[[T:[a-z0-9]*]]: memref<3x?xi32>, %[[L:[a-z0-9]*]]: memref<5xi32>, %[[ROWS:[a-z0-9]*]]: memref<5xi32>
// CHECK-SAME: %[[NORMS:[a-z0-9]*]]: memref<?x2x16xi8>, %[[M:[a-z0-9]*]]: memref<3x2x160x160xf32>
// CHECK: scf.forall (%{{.*}}) in (2)
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]], %[[BLOCK:.*]]) in (5, 2, 2)
// CHECK: %[[B:.*]] = memref.load %[[ROWS]][%[[R]]]
// CHECK: %[[SEQUENCE:.*]] = arith.index_cast %[[B]]
// CHECK: memref.load %[[L]][%[[R]]]
// CHECK-DAG: %[[LEFT:.*]] = memref.alloca() {{.*}} : memref<16x160xf64>
// CHECK-DAG: %[[SUMS:.*]] = memref.alloca() {{.*}} : memref<128x160xf64>
// Keys without a finite norm do not count.
// CHECK: %[[NORM:.*]] = memref.load %[[NORMS]]
// CHECK: arith.cmpi eq, %[[NORM]], %c-1_i8
// CHECK: scf.if
// CHECK: vector.load %[[K]]
// CHECK: vector.store %{{.*}}, %[[LEFT]]
// 16 tokens join a tile of 4 rows at a time.
// CHECK: scf.for %{{.*}} = %c0 to %c16
// CHECK-COUNT-4: vector.fma
// CHECK: vector.store %{{.*}}, %[[SUMS]]
// Rounded once, and the diagonal up.
// CHECK: memref.store %{{.*}}, %[[M]][%[[SEQUENCE]], %[[H]], %[[I:.*]], %[[I]]]
// CHECK: %[[X:.*]] = arith.truncf %{{.*}} : f64 to f32
// CHECK: memref.store %[[X]], %[[M]][%[[SEQUENCE]], %[[H]], %[[I]], %[[J:.*]]]
// CHECK: memref.store %[[X]], %[[M]][%[[SEQUENCE]], %[[H]], %[[J]], %[[I]]]
func.func @moments(
    %k: memref<?x2x16x144xbf16>, %table: memref<3x?xi32>, %lens: memref<5xi32>,
    %rows: memref<5xi32>, %codes: memref<?x2x16x80xi8>,
    %scales: memref<?x2x16x5xf16>, %norms: memref<?x2x16xi8>,
    %moments: memref<3x2x160x160xf32>) {
  vashista.summarize keys(%k) table(%table) lens(%lens) rows(%rows)
      sketch <bits = 4, group = 32, norm = token>(%codes, %scales, %norms)
      moments(%moments)
      : (memref<?x2x16x144xbf16>, memref<3x?xi32>, memref<5xi32>,
         memref<5xi32>, memref<?x2x16x80xi8>, memref<?x2x16x5xf16>,
         memref<?x2x16xi8>, memref<3x2x160x160xf32>) -> ()
  return
}

// -----

// A token is added to what is there, unless it is the first one of a sequence;
// a diagonal grows by what rounding its row has lost.
// CHECK-LABEL: func @append_moments
// CHECK-SAME: %[[M:[a-z0-9]*]]: memref<2x2x64x64xf32>)
// CHECK: %[[AT:.*]] = arith.index_cast
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[AT]], %c0
// CHECK: %[[OLD:.*]] = memref.load %[[M]][%[[R:.*]], %[[H:.*]], %[[I:.*]], %[[I]]]
// CHECK: %[[LOST:.*]] = scf.for %[[J:.*]] = %c0 to %c64 step %c8
// CHECK: vector.load %[[M]][%[[R]], %[[H]], %[[I]], %[[J]]]
// CHECK: arith.select %[[FIRST]], %{{.*}}, %{{.*}} : vector<8xf64>
// CHECK: %[[SUM:.*]] = arith.addf
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[SUM]]
// CHECK: vector.store %[[ROUNDED]], %[[M]][%[[R]], %[[H]], %[[I]], %[[J]]]
// CHECK: arith.subf %{{.*}}, %[[SUM]]
// CHECK: vector.reduction <add>, %[[LOST]]
// CHECK: memref.store %{{.*}}, %[[M]][%[[R]], %[[H]], %[[I]], %[[I]]]
func.func @append_moments(
    %key: memref<2x2x64xf32>, %at: memref<2xi32>, %table: memref<2x?xi32>,
    %k: memref<?x2x16x64xf32>, %v: memref<?x2x16x64xf32>,
    %codes: memref<?x2x16x32xi8>, %scales: memref<?x2x16x2xf16>,
    %norms: memref<?x2x16x2xf16>, %moments: memref<2x2x64x64xf32>) {
  vashista.append key(%key) value(%key) at(%at) table(%table) into(%k, %v)
      sketch <bits = 4, group = 32>(%codes, %scales, %norms) moments(%moments)
      : (memref<2x2x64xf32>, memref<2x2x64xf32>, memref<2xi32>,
         memref<2x?xi32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<?x2x16x32xi8>, memref<?x2x16x2xf16>, memref<?x2x16x2xf16>,
         memref<2x2x64x64xf32>) -> ()
  return
}
