// RUN: vashista-opt %s -convert-vashista-to-vector -canonicalize -cse -split-input-file | FileCheck %s
// RUN: vashista-opt %s -convert-vashista-to-vector="lanes=8 registers=16" -canonicalize -cse -split-input-file | FileCheck %s --check-prefix=AVX2

// A task per row and KV head. The addresses of the next tile are gathered before
// a tile is computed, so that its rows can be asked for.
// CHECK-LABEL: func @dense
// CHECK-SAME: %[[Q:[a-z0-9]*]]: memref<?x32x128xbf16>, %[[K:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[V:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[T:[a-z0-9]*]]: memref<?x?xi32>, %[[L:[a-z0-9]*]]: memref<?xi32>, %[[O:[a-z0-9]*]]: memref<?x32x128xf32>, %[[LSE:[a-z0-9]*]]: memref<?x32xf32>
// CHECK: %[[ROWS:.*]] = memref.dim %[[Q]], %c0
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (%[[ROWS]], 8)
// CHECK: %[[LEN:.*]] = memref.load %[[L]][%[[R]]]
// Page and slot of a position, through the table.
// CHECK: %[[PAGE:.*]] = arith.divui %[[POS:.*]], %c16
// CHECK: arith.remui %[[POS]], %c16
// CHECK: memref.load %[[T]][%[[R]], %[[PAGE]]]
// Four rows of keys by four heads: 16 sums, each key loaded once.
// A line at a time: 32 channels of bf16, as the even and the odd ones.
// CHECK: scf.for %{{.*}} = %c0 to %c128 step %c32 iter_args
// CHECK-COUNT-4: vector.load %[[K]][%{{.*}}, %[[H]], %{{.*}}, %{{.*}}] : memref<?x8x16x128xbf16>, vector<32xbf16>
// CHECK-COUNT-32: vector.fma
// CHECK-COUNT-4: memref.prefetch %[[K]]
// CHECK: scf.yield
// CHECK: math.exp %{{.*}} : vector<16xf32>
// CHECK: vector.load %[[V]]{{.*}} vector<32xbf16>
// CHECK: memref.prefetch %[[V]]
// The state that was there joins at the end.
// CHECK: memref.load %[[LSE]]
// CHECK: math.log
// CHECK: vector.store %{{.*}}, %[[O]]
// CHECK: memref.store %{{.*}}, %[[LSE]]
// CHECK-NOT: vashista.
// AVX2-LABEL: func @dense
// Two vectors of eight: 16 channels, half a line of registers' worth.
// AVX2: vector<16xbf16> to vector<8xi32>
// AVX2-NOT: vector<16xf32>
func.func @dense(
    %q: memref<?x32x128xbf16>, %k: memref<?x8x16x128xbf16>,
    %v: memref<?x8x16x128xbf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %o: memref<?x32x128xf32>, %lse: memref<?x32xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.0883883461
      : (memref<?x32x128xbf16>, memref<?x8x16x128xbf16>,
         memref<?x8x16x128xbf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?x32x128xf32>, memref<?x32xf32>) -> ()
  return
}

// -----

// A list may name anything: negative entries and positions past the length are
// compared away before the table is read. Rows name their sequence.
// CHECK-LABEL: func @tokens_nhd
// CHECK-SAME: %[[T:[a-z0-9]*]]: memref<2x?xi32>, %[[L:[a-z0-9]*]]: memref<6xi32>, %[[ROWS:[a-z0-9]*]]: memref<6xi32>, %[[C:[a-z0-9]*]]: memref<6x2x512xi32>
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (6, 2)
// CHECK: memref.load %[[ROWS]][%[[R]]]
// CHECK: memref.load %[[C]][%[[R]], %[[H]], %{{.*}}]
// CHECK: %[[LISTED:.*]] = arith.cmpi sge, %[[POS:.*]], %c0
// CHECK: %[[INSIDE:.*]] = arith.cmpi slt, %[[POS]], %{{.*}}
// CHECK: %[[VISIBLE:.*]] = arith.andi %[[LISTED]], %[[INSIDE]]
// CHECK: scf.if %[[VISIBLE]]
// CHECK: arith.divui
// CHECK: memref.load %[[T]]
// CHECK: math.tanh
func.func @tokens_nhd(
    %table: memref<2x?xi32>, %lens: memref<6xi32>, %rows: memref<6xi32>,
    %tokens: memref<6x2x512xi32>, %n: memref<6x2xi32>,
    %q: memref<6x8x80xf16>, %k: memref<?x5x2x80xf16>, %v: memref<?x5x2x96xf16>,
    %o: memref<6x8x96xf32>, %lse: memref<6x8xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens) rows(%rows)
      tokens(%tokens, %n) outs(%o, %lse) scale 0.125 soft_cap 30.0 layout nhd
      : (memref<6x8x80xf16>, memref<?x5x2x80xf16>, memref<?x5x2x96xf16>,
         memref<2x?xi32>, memref<6xi32>, memref<6xi32>, memref<6x2x512xi32>,
         memref<6x2xi32>, memref<6x8x96xf32>, memref<6x8xf32>) -> ()
  return
}
