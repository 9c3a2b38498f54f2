// RUN: vashista-opt %s -convert-vashista-to-vector -canonicalize -cse -split-input-file | FileCheck %s

// Passes over the keys while a head has not met the tolerance: 6 steps, and one
// before them. Both directions of both heads are multiplied with a key that is
// loaded once; weights are exps at three places, of which those of the trial
// weigh the keys. The last pass weighs keys and values.
// CHECK-LABEL: func @gradient
// CHECK-SAME: %[[Q:[a-z0-9]*]]: memref<?x4x64xbf16>, %[[K:[a-z0-9]*]]: memref<?x2x16x64xbf16>, %[[V:[a-z0-9]*]]: memref<?x2x16x96xbf16>, %[[T:[a-z0-9]*]]: memref<?x?xi32>, %[[L:[a-z0-9]*]]: memref<?xi32>, %[[O:[a-z0-9]*]]: memref<?x4x96xf32>, %[[LSE:[a-z0-9]*]]: memref<?x4xf32>, %[[R:[a-z0-9]*]]: memref<?x4x64xf32>, %[[GAP:[a-z0-9]*]]: memref<?x4xf32>
// 15 / 16 of the tolerance.
// CHECK-DAG: %[[LIMIT:.*]] = arith.constant 2.343750e-01 : f64
// CHECK-DAG: %[[FAR:.*]] = arith.constant dense<-8.000000e+01> : vector<16xf32>
// CHECK: scf.forall (%[[ROW:.*]], %[[H:.*]]) in (%{{.*}}, 2)
// CHECK: %[[DIRECTIONS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<4x64xf32>
// CHECK: scf.for %{{.*}} = %c0 to %c7
// CHECK: scf.if
// CHECK-NOT: memref.prefetch %[[V]][
// CHECK: scf.for %{{.*}} = %c0 to %c64 step %c32 iter_args
// CHECK-COUNT-4: vector.load %[[K]][%{{.*}}, %[[H]], %{{.*}}, %{{.*}}] : memref<?x2x16x64xbf16>, vector<32xbf16>
// CHECK-COUNT-32: vector.fma
// CHECK: arith.cmpf olt, %{{.*}}, %[[FAR]]
// CHECK-COUNT-4: math.exp %{{.*}} : vector<16xf32>
// CHECK: vector.load %[[K]]
// CHECK: arith.cmpf ogt, %{{.*}}, %[[LIMIT]] : f64
// CHECK: vector.load %[[K]]
// CHECK: vector.load %[[V]]
// Nothing of the state that was there is read.
// CHECK-NOT: load %[[LSE]]
// CHECK-NOT: load %[[O]]
// CHECK: memref.store %{{.*}}, %[[GAP]]
// CHECK: memref.store %{{.*}}, %[[LSE]]
// CHECK: vector.store %{{.*}}, %[[R]]
// CHECK: vector.store %{{.*}}, %[[O]]
// CHECK-NOT: vashista.
func.func @gradient(
    %q: memref<?x4x64xbf16>, %k: memref<?x2x16x64xbf16>,
    %v: memref<?x2x16x96xbf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %o: memref<?x4x96xf32>, %lse: memref<?x4xf32>, %r: memref<?x4x64xf32>,
    %gap: memref<?x4xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <eg, objective = projection, epsilon = 0.5, iterations = 6,
              tolerance = 0.25>
      : (memref<?x4x64xbf16>, memref<?x2x16x64xbf16>, memref<?x2x16x96xbf16>,
         memref<?x?xi32>, memref<?xi32>, memref<?x4x96xf32>, memref<?x4xf32>,
         memref<?x4x64xf32>, memref<?x4xf32>) -> ()
  return
}

// -----

// One pass to begin with, one for each of 6 steps and one to evaluate the last.
// Vertices are addresses and f64 weights; their rows are read again, keys to
// sum a point and values at the end.
// CHECK-LABEL: func @pairwise
// CHECK-SAME: %[[K:[a-z0-9]*]]: memref<?x2x16x64xf32>, %[[V:[a-z0-9]*]]: memref<?x2x16x96xf32>
// CHECK: %[[ROWS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x7x2xindex>
// CHECK: %[[WEIGHTS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x7xf64>
// CHECK: scf.for %[[PASS:.*]] = %c0 to %c8
// CHECK: scf.if
// CHECK: arith.cmpi eq, %[[PASS]], %c0
// CHECK-NOT: load %[[V]][
// CHECK: arith.cmpi ne, %[[PASS]], %c7
// CHECK: memref.store %{{.*}}, %[[WEIGHTS]]
// Where a step takes all that a vertex has, it has exactly none.
// CHECK: %[[WHOLE:.*]] = arith.cmpf oge, %{{.*}}, %{{.*}} : f64
// CHECK: %[[ALL:.*]] = arith.andi %[[WHOLE]], %{{.*}} : i1
// CHECK: arith.select %[[ALL]], %{{cst.*}}, %{{.*}} : f64
// CHECK: vector.load %[[V]]
// CHECK-NOT: vashista.
func.func @pairwise(
    %k: memref<?x2x16x64xf32>, %v: memref<?x2x16x96xf32>,
    %q: memref<?x4x64xf32>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %o: memref<?x4x96xf32>, %lse: memref<?x4xf32>, %r: memref<?x4x64xf32>,
    %gap: memref<?x4xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 6, step = pairwise>
      : (memref<?x4x64xf32>, memref<?x2x16x64xf32>, memref<?x2x16x96xf32>,
         memref<?x?xi32>, memref<?xi32>, memref<?x4x96xf32>, memref<?x4xf32>,
         memref<?x4x64xf32>, memref<?x4xf32>) -> ()
  return
}
