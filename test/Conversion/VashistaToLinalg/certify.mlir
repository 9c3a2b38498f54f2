// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse -split-input-file | FileCheck %s

// A task per row and KV head: norms of the row's pages once per group, and no
// entry of the table past the row's length.
// CHECK-LABEL: func @softmax
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<?x32x128xbf16>, %[[O:[a-z0-9]*]]: tensor<?x32x128xf32>, %[[LSE:[a-z0-9]*]]: tensor<?x32xf32>, %[[TAIL:[a-z0-9]*]]: tensor<?x32xf32>, %[[NORMS:[a-z0-9]*]]: tensor<?x8x2xf32>, %[[T:[a-z0-9]*]]: tensor<?x?xi32>, %[[L:[a-z0-9]*]]: tensor<?xi32>
// CHECK-DAG: %[[TENTH:.*]] = arith.constant 1.000000e-01 : f64
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK-DAG: %[[ALL:.*]] = arith.constant 1.000000e+00 : f32
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0.000000e+00 : f32
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (%{{.*}}, 8) shared_outs(%[[TAUS:.*]] = %{{.*}}, %[[ERRORS:.*]] = %{{.*}})
// CHECK: %[[LEN:.*]] = tensor.extract %[[L]][%[[R]]]
// CHECK: %[[PAGES:.*]] = arith.divui %{{.*}}, %c16
// CHECK: scf.for %[[P:.*]] = %c0 to %[[PAGES]]
// CHECK: tensor.extract %[[T]][%[[R]], %[[P]]]
// CHECK: tensor.extract %[[NORMS]][%{{.*}}, %[[H]], %c0]
// CHECK: tensor.extract %[[NORMS]][%{{.*}}, %[[H]], %c1]
// CHECK-COUNT-2: arith.maximumf
// Norms are taken in f64, where squares neither overflow nor vanish.
// CHECK: scf.for %{{.*}} = %c0 to %c4
// CHECK: tensor.extract %[[LSE]]
// CHECK: tensor.extract %[[TAIL]]
// CHECK: tensor.extract %[[Q]]
// CHECK: arith.mulf {{.*}} : f64
// CHECK: tensor.extract %[[O]]
// CHECK: arith.mulf {{.*}} : f64
// CHECK: %[[EXP:.*]] = math.exp
// CHECK: arith.minimumf %{{.*}}, %[[ALL]]
// Unless all is finite and the rounding small, nothing is known.
// CHECK: arith.cmpf ugt, %{{.*}}, %[[TENTH]]
// CHECK: %[[KNOWN:.*]] = arith.cmpf olt
// CHECK: %[[TAU:.*]] = arith.select %[[KNOWN]], %{{.*}}, %[[ALL]]
// CHECK: %[[ERROR:.*]] = arith.select %[[KNOWN]], %{{.*}}, %[[INF]]
// CHECK: arith.cmpf oeq
// CHECK: arith.select %[[WHOLE:.*]], %[[NONE]], %[[TAU]]
// CHECK: arith.select %[[WHOLE]], %[[NONE]], %[[ERROR]]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[TAUS]]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[ERRORS]]
func.func @softmax(
    %q: tensor<?x32x128xbf16>, %o: tensor<?x32x128xf32>,
    %lse: tensor<?x32xf32>, %tail: tensor<?x32xf32>, %norms: tensor<?x8x2xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x32x128xf32>, tensor<?x32xf32>,
         tensor<?x32xf32>, tensor<?x8x2xf32>, tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x32xf32>, tensor<?x32xf32>)
  return %tau, %error : tensor<?x32xf32>, tensor<?x32xf32>
}

// -----

// Rows name their sequence.
// CHECK-LABEL: func @rows
// CHECK-SAME: %[[T:[a-z0-9]*]]: tensor<2x?xi32>, %[[L:[a-z0-9]*]]: tensor<6xi32>, %[[ROWS:[a-z0-9]*]]: tensor<6xi32>
// CHECK: scf.forall (%[[R:.*]], %{{.*}}) in (6, 2)
// CHECK: %[[SEQ32:.*]] = tensor.extract %[[ROWS]][%[[R]]]
// CHECK: %[[SEQ:.*]] = arith.index_cast %[[SEQ32]]
// CHECK: tensor.extract %[[T]][%[[SEQ]], %{{.*}}]
func.func @rows(
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %q: tensor<6x8x64xf32>, %lse: tensor<6x8xf32>, %norms: tensor<?x2x2xf32>)
    -> tensor<6x8xf32> {
  %tau, %error = vashista.certify %q state(%q, %lse) tail(%lse) norms(%norms)
      table(%table) lens(%lens) rows(%rows) page_size 32 scale 0.125
      soft_cap 30.0
      : (tensor<6x8x64xf32>, tensor<6x8x64xf32>, tensor<6x8xf32>,
         tensor<6x8xf32>, tensor<?x2x2xf32>, tensor<2x?xi32>, tensor<6xi32>,
         tensor<6xi32>) -> (tensor<6x8xf32>, tensor<6x8xf32>)
  return %tau : tensor<6x8xf32>
}

// -----

// With an entropy: the gap among all keys, and from it the distance of weights.
// CHECK-LABEL: func @projection
// CHECK-SAME: %[[GAP:[a-z0-9]*]]: tensor<2x8xf32>
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK-DAG: %[[ALL:.*]] = arith.constant 1.000000e+00 : f32
// CHECK-DAG: %[[TENTH:.*]] = arith.constant 1.000000e-01 : f64
// epsilon, with room for the rounding of the direction.
// CHECK-DAG: %[[ROOM:.*]] = arith.constant 0.501953125 : f64
// CHECK: scf.forall {{.*}} shared_outs(%[[TAUS:.*]] = %{{.*}}, %[[ERRORS:.*]] = %{{.*}}, %[[GAPS:.*]] = %{{.*}})
// CHECK: tensor.extract %[[GAP]]
// CHECK: %[[MISSED:.*]] = arith.mulf %{{.*}}, %[[ROOM]] : f64
// CHECK: %[[FULL:.*]] = arith.select %[[FINITE:.*]], %{{.*}}, %[[INF]] : f32
// CHECK: arith.cmpf ugt, %{{.*}}, %[[TENTH]]
// CHECK: arith.select %[[KNOWN:.*]], %{{.*}}, %[[ALL]] : f32
// CHECK: arith.select %[[KNOWN]], %{{.*}}, %[[INF]] : f32
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[TAUS]]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[ERRORS]]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[GAPS]]
func.func @projection(
    %gap: tensor<2x8xf32>, %r: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>,
    %tail: tensor<2x8xf32>, %norms: tensor<?x2x2xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>)
    -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) {
  %0:3 = vashista.certify %r state(%r, %lse) tail(%tail) gap(%gap) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.25
      solver <eg, objective = projection, epsilon = 0.5, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<2x8xf32>, tensor<?x2x2xf32>, tensor<2x?xi32>,
         tensor<2xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
  return %0#0, %0#1, %0#2
      : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// Without one, weights are not unique: only the gap is known, and no exp needed.
// CHECK-LABEL: func @nearest
// CHECK-NOT: math.exp
// CHECK: tensor.parallel_insert_slice
// CHECK: return
func.func @nearest(
    %gap: tensor<2x8xf32>, %r: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>,
    %tail: tensor<2x8xf32>, %norms: tensor<?x2x2xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>) -> tensor<2x8xf32> {
  %0:3 = vashista.certify %r state(%r, %lse) tail(%tail) gap(%gap) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.25
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 4>
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<2x8xf32>, tensor<?x2x2xf32>, tensor<2x?xi32>,
         tensor<2xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
  return %0#2 : tensor<2x8xf32>
}
