// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse -split-input-file | FileCheck %s
// RUN: vashista-opt %s -convert-vashista-to-linalg -one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" -cse -canonicalize -split-input-file | FileCheck %s --check-prefix=BUFFER

// A group is flagged unless every measure is at most the limit: NaN is. It is
// attended densely, alone, into an empty state.
// CHECK-LABEL: func @fallback
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<?x32x128xbf16>, %[[K:[a-z0-9]*]]: tensor<?x8x16x128xbf16>, %[[V:[a-z0-9]*]]: tensor<?x8x16x128xbf16>, %[[T:[a-z0-9]*]]: tensor<?x?xi32>, %[[L:[a-z0-9]*]]: tensor<?xi32>, %[[O:[a-z0-9]*]]: tensor<?x32x128xf32>, %[[LSE:[a-z0-9]*]]: tensor<?x32xf32>, %[[TAU:[a-z0-9]*]]: tensor<?x32xf32>
// CHECK-DAG: %[[LIMIT:.*]] = arith.constant 1.000000e-01 : f32
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (%{{.*}}, 8) shared_outs(%[[OUT:.*]] = %[[O]], %[[OUT_LSE:.*]] = %[[LSE]], %[[FLAGS:.*]] = %{{.*}})
// CHECK: %[[OLD:.*]] = tensor.extract_slice %[[OUT]][%[[R]], %{{.*}}, 0] [1, 4, 128]
// CHECK: %[[OLD_LSE:.*]] = tensor.extract_slice %[[OUT_LSE]][%[[R]], %{{.*}}] [1, 4]
// CHECK: %[[FLAG:.*]] = scf.for
// CHECK: %[[MEASURE:.*]] = tensor.extract %[[TAU]]
// CHECK: arith.cmpf ugt, %[[MEASURE]], %[[LIMIT]]
// CHECK: %[[NEW:.*]]:2 = scf.if %[[FLAG]]
// CHECK: %[[EMPTY:.*]] = linalg.fill {{.*}} outs(%[[OLD]]
// CHECK: %[[EMPTY_LSE:.*]] = linalg.fill {{.*}} outs(%[[OLD_LSE]]
// CHECK: vashista.attend {{.*}} outs(%[[EMPTY]], %[[EMPTY_LSE]]) scale {{.*}} : (tensor<1x4x128xbf16>, tensor<?x1x16x128xbf16>, tensor<?x1x16x128xbf16>, tensor<1x?xi32>, tensor<1xi32>
// CHECK: else
// CHECK: scf.yield %[[OLD]], %[[OLD_LSE]]
// CHECK: %[[NEW_FLAG:.*]] = tensor.insert %[[FLAG]]
// CHECK: tensor.parallel_insert_slice %[[NEW]]#0 into %[[OUT]]
// CHECK: tensor.parallel_insert_slice %[[NEW]]#1 into %[[OUT_LSE]]
// CHECK: tensor.parallel_insert_slice %[[NEW_FLAG]] into %[[FLAGS]]

// What passes is not touched: the state is updated in place.
// BUFFER-LABEL: func @fallback
// BUFFER: memref.alloc({{.*}} : memref<?x8xi1>
// BUFFER-NOT: memref.alloc
// BUFFER-NOT: memref.copy
// BUFFER: scf.if
// BUFFER-NOT: else
// BUFFER: return
func.func @fallback(
    %q: tensor<?x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %o: tensor<?x32x128xf32>, %lse: tensor<?x32xf32>, %tau: tensor<?x32xf32>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x8xi1>) {
  %out, %out_lse, %flag = vashista.fallback %q keys(%k) values(%v)
      table(%table) lens(%lens) state(%o, %lse) unless(%tau) at_most 0.1
      scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
      -> (tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x8xi1>)
  return %out, %out_lse, %flag
      : tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x8xi1>
}

// -----

// A projection is solved over all keys of the group; its direction and gap are
// for nobody. It overwrites: there is no state to empty.
// CHECK-LABEL: func @projection
// CHECK: scf.if
// CHECK-NOT: linalg.fill
// CHECK-DAG: %[[R:.*]] = tensor.empty() : tensor<1x4x64xf32>
// CHECK-DAG: %[[GAP:.*]] = tensor.empty() : tensor<1x4xf32>
// CHECK: %[[O:.*]], %[[LSE:.*]], %{{.*}}, %{{.*}} = vashista.attend {{.*}} outs(%{{.*}}, %{{.*}}, %[[R]], %[[GAP]]) scale 1.250000e-01 solver <eg, objective = projection, iterations = 4>
// CHECK: scf.yield %[[O]], %[[LSE]]
func.func @projection(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %o: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>,
    %tau: tensor<2x8xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi1>) {
  %0:3 = vashista.fallback %q keys(%k) values(%k) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi1>)
  return %0#0, %0#1, %0#2
      : tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi1>
}
