// RUN: vashista-opt %s -convert-vashista-to-vector -canonicalize -cse -split-input-file | FileCheck %s

// A task per KV head. Partial pages come first, full ones second.
// CHECK-LABEL: func @mean_std
// CHECK-SAME: %[[K:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[T:[a-z0-9]*]]: memref<?x?xi32>, %[[L:[a-z0-9]*]]: memref<?xi32>, %[[MEAN:[a-z0-9]*]]: memref<?x8x128xbf16>, %[[STD:[a-z0-9]*]]: memref<?x8x128xbf16>
// CHECK: %[[ROWS:.*]] = memref.dim %[[L]], %c0
// CHECK: scf.forall (%[[H:.*]]) in (8)
// CHECK: scf.for %[[PASS:.*]] = %c0 to %c2
// CHECK: %[[PARTIAL:.*]] = arith.cmpi eq, %[[PASS]], %c0
// CHECK: scf.for %[[R:.*]] = %c0 to %[[ROWS]]
// An entry of the table is read only where the row has tokens of its page.
// CHECK: %[[ANY:.*]] = arith.cmpi sgt, %{{.*}}, %c0
// CHECK: %[[READ:.*]] = arith.andi %[[ANY]], %[[PARTIAL]]
// CHECK: scf.if %[[READ]]
// CHECK-NEXT: memref.load %[[T]][%[[R]]
// Only where no other row sees more of the page.
// CHECK: %[[FIRST:.*]] = scf.for %{{.*}} = %c0 to %[[ROWS]] {{.*}} iter_args
// CHECK: scf.if %[[FIRST]]
// CHECK: %[[COUNT:.*]] = arith.select %[[PARTIAL]], %{{.*}}, %c16
// CHECK: scf.for
// CHECK: %[[PAGE:.*]] = arith.index_cast
// CHECK: scf.for %[[C:.*]] = %c0 to %c128 step %c16
// CHECK: scf.for %[[TOKEN:.*]] = %c0 to %[[COUNT]]
// CHECK: vector.load %[[K]][%[[PAGE]], %[[H]], %[[TOKEN]], %[[C]]]
// CHECK: %[[M:.*]] = arith.divf
// CHECK: vector.store %{{.*}}, %[[MEAN]][%[[PAGE]], %[[H]], %[[C]]] : memref<?x8x128xbf16>, vector<16xbf16>
// CHECK: arith.subf %{{.*}}, %[[M]]
// CHECK: vector.fma
// CHECK: math.sqrt
// CHECK: vector.store %{{.*}}, %[[STD]]
func.func @mean_std(
    %k: memref<?x8x16x128xbf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %mean: memref<?x8x128xbf16>, %std: memref<?x8x128xbf16>) {
  vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean_std>(%mean, %std)
      : (memref<?x8x16x128xbf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?x8x128xbf16>, memref<?x8x128xbf16>) -> ()
  return
}

// -----

// The radius is taken from the centre as it was stored, and in f64 like norms.
// CHECK-LABEL: func @ball_and_norms
// CHECK-SAME: %[[K:[a-z0-9]*]]: memref<?x16x2x64xf16>, %[[V:[a-z0-9]*]]: memref<?x16x2x80xf16>, %{{.*}}: memref<2x?xi32>, %{{.*}}: memref<6xi32>, %[[ROWS:[a-z0-9]*]]: memref<6xi32>, %[[CENTRE:[a-z0-9]*]]: memref<?x2x64xf16>, %[[RADIUS:[a-z0-9]*]]: memref<?x2xf32>, %[[NORMS:[a-z0-9]*]]: memref<?x2x2xf32>
// CHECK: memref.load %[[ROWS]]
// CHECK: vector.load %[[K]][%[[PAGE:.*]], %[[TOKEN:.*]], %[[H:.*]], %[[C:.*]]]
// CHECK: vector.store %{{.*}}, %[[CENTRE]]
// CHECK: vector.load %[[CENTRE]]
// CHECK: arith.subf {{.*}} : vector<16xf64>
// CHECK: math.sqrt {{.*}} : f64
// CHECK: memref.store %{{.*}}, %[[RADIUS]]
// CHECK: memref.store %{{.*}}, %[[NORMS]][%{{.*}}, %{{.*}}, %c0]
// CHECK: vector.load %[[V]]
// CHECK: memref.store %{{.*}}, %[[NORMS]][%{{.*}}, %{{.*}}, %c1]
func.func @ball_and_norms(
    %k: memref<?x16x2x64xf16>, %v: memref<?x16x2x80xf16>,
    %table: memref<2x?xi32>, %lens: memref<6xi32>, %rows: memref<6xi32>,
    %centre: memref<?x2x64xf16>, %radius: memref<?x2xf32>,
    %norms: memref<?x2x2xf32>) {
  vashista.summarize keys(%k) values(%v) table(%table) lens(%lens) rows(%rows)
      summary <ball>(%centre, %radius) norms(%norms) layout nhd
      : (memref<?x16x2x64xf16>, memref<?x16x2x80xf16>, memref<2x?xi32>,
         memref<6xi32>, memref<6xi32>, memref<?x2x64xf16>, memref<?x2xf32>,
         memref<?x2x2xf32>) -> ()
  return
}
