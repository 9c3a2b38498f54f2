// RUN: vashista-opt %s -convert-vashista-to-vector -canonicalize -cse | FileCheck %s

// A task per KV head applies the rows in order, skips negative positions, and
// recomputes the page's summary from its tokens up to the new one.
// CHECK-LABEL: func @box
// CHECK-SAME: %[[KEY:[a-z0-9]*]]: memref<?x8x128xbf16>, %[[VALUE:[a-z0-9]*]]: memref<?x8x128xbf16>, %[[AT:[a-z0-9]*]]: memref<?xi32>, %[[T:[a-z0-9]*]]: memref<?x?xi32>, %[[K:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[V:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[LO:[a-z0-9]*]]: memref<?x8x128xbf16>, %[[HI:[a-z0-9]*]]: memref<?x8x128xbf16>
// CHECK: scf.forall (%[[H:.*]]) in (8)
// CHECK: scf.for %[[R:.*]] = %c0 to
// CHECK: memref.load %[[AT]][%[[R]]]
// CHECK: %[[WRITTEN:.*]] = arith.cmpi sge, %[[POS:.*]], %c0
// CHECK: scf.if %[[WRITTEN]]
// CHECK: %[[LOGICAL:.*]] = arith.divui %[[POS]], %c16
// CHECK: memref.load %[[T]][%[[R]], %[[LOGICAL]]]
// CHECK: %[[TOKEN:.*]] = arith.remui %[[POS]], %c16
// Bits are copied as they are.
// CHECK: %[[BITS:.*]] = vector.load %[[KEY]][%[[R]], %[[H]], %[[C:.*]]] : memref<?x8x128xbf16>, vector<16xbf16>
// CHECK-NEXT: vector.store %[[BITS]], %[[K]][%[[PAGE:.*]], %[[H]], %[[TOKEN]], %[[C]]]
// CHECK: vector.load %[[VALUE]]
// CHECK-NEXT: vector.store %{{.*}}, %[[V]][%[[PAGE]], %[[H]], %[[TOKEN]]
// CHECK: %[[COUNT:.*]] = arith.addi %[[TOKEN]], %c1
// CHECK: scf.for %{{.*}} = %c0 to %[[COUNT]]
// CHECK: vector.load %[[K]]
// CHECK: arith.minimumf
// CHECK: arith.maximumf
// CHECK: vector.store %{{.*}}, %[[LO]][%[[PAGE]], %[[H]]
// CHECK: vector.store %{{.*}}, %[[HI]][%[[PAGE]], %[[H]]
func.func @box(
    %key: memref<?x8x128xbf16>, %value: memref<?x8x128xbf16>,
    %at: memref<?xi32>, %table: memref<?x?xi32>, %k: memref<?x8x16x128xbf16>,
    %v: memref<?x8x16x128xbf16>, %lo: memref<?x8x128xbf16>,
    %hi: memref<?x8x128xbf16>) {
  vashista.append key(%key) value(%value) at(%at) table(%table) into(%k, %v)
      summary <box>(%lo, %hi)
      : (memref<?x8x128xbf16>, memref<?x8x128xbf16>, memref<?xi32>,
         memref<?x?xi32>, memref<?x8x16x128xbf16>, memref<?x8x16x128xbf16>,
         memref<?x8x128xbf16>, memref<?x8x128xbf16>) -> ()
  return
}
