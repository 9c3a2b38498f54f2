// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse -split-input-file | FileCheck %s

// The largest lse, then the sum of powers relative to it, then the outputs, all
// in the order of the operands. Empty states are selected away.
// CHECK-DAG: #[[STATE:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[STACK:.*]] = affine_map<(d0, d1, d2) -> (d2, d0, d1)>
// CHECK-LABEL: func @state_and_stack
// CHECK-SAME: %[[O1:[a-z0-9]*]]: tensor<?x32x128xf32>, %[[LSE1:[a-z0-9]*]]: tensor<?x32xf32>, %[[OS:[a-z0-9]*]]: tensor<8x?x32x128xf32>, %[[LSES:[a-z0-9]*]]: tensor<8x?x32xf32>
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0xFF800000 : f32
// CHECK: %[[MAX0:.*]] = linalg.fill ins(%[[NONE]]
// CHECK: %[[MAX1:.*]] = linalg.generic {indexing_maps = [#[[STATE]], #[[STATE]]], iterator_types = ["parallel", "parallel"]} ins(%[[LSE1]] {{.*}} outs(%[[MAX0]]
// CHECK: arith.maximumf
// CHECK: %[[MAX:.*]] = linalg.generic {{.*}}["parallel", "parallel", "reduction"]} ins(%[[LSES]] {{.*}} outs(%[[MAX1]]
// CHECK: arith.maximumf
// CHECK: %[[SUM1:.*]]:2 = linalg.generic {{.*}} ins(%[[LSE1]], %[[MAX]]
// CHECK: math.exp
// CHECK: arith.cmpf oeq, %{{.*}}, %[[NONE]]
// CHECK: arith.select
// CHECK: %[[SUM:.*]]:2 = linalg.generic {{.*}}["parallel", "parallel", "reduction"]} ins(%[[LSES]], %[[MAX]] {{.*}} outs(%[[SUM1]]#0
// CHECK: %[[PART:.*]] = linalg.generic {{.*}} ins(%[[O1]], %[[LSE1]], %[[SUM1]]#1
// CHECK: %[[ALL:.*]] = linalg.generic {{.*}}["parallel", "parallel", "reduction", "parallel"]} ins(%[[OS]], %[[LSES]], %[[SUM]]#1 {{.*}} outs(%[[PART]]
// CHECK: %[[O:.*]] = linalg.generic {{.*}} ins(%[[ALL]], %[[MAX]], %[[SUM]]#0
// CHECK: arith.divf
// CHECK: %[[LSE:.*]] = linalg.generic {{.*}} ins(%[[MAX]], %[[SUM]]#0
// CHECK: math.log
// CHECK: return %[[O]], %[[LSE]]
func.func @state_and_stack(
    %o1: tensor<?x32x128xf32>, %lse1: tensor<?x32xf32>,
    %os: tensor<8x?x32x128xf32>, %lses: tensor<8x?x32xf32>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>) {
  %o, %lse = vashista.merge outputs(%o1, %os) lses(%lse1, %lses)
      : (tensor<?x32x128xf32>, tensor<8x?x32x128xf32>, tensor<?x32xf32>,
         tensor<8x?x32xf32>) -> (tensor<?x32x128xf32>, tensor<?x32xf32>)
  return %o, %lse : tensor<?x32x128xf32>, tensor<?x32xf32>
}

// -----

// A result that says less than what is made is cast.
// CHECK-LABEL: func @known_sizes
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<2x4x8xf32>)
// CHECK: tensor.cast %{{.*}} : tensor<2x4x8xf32> to tensor<?x?x?xf32>
func.func @known_sizes(
    %o1: tensor<?x?x8xf32>, %lse1: tensor<2x4xf32>,
    %o2: tensor<2x4x8xf32>, %lse2: tensor<?x?xf32>) -> tensor<?x?x?xf32> {
  %o, %lse = vashista.merge outputs(%o1, %o2) lses(%lse1, %lse2)
      : (tensor<?x?x8xf32>, tensor<2x4x8xf32>, tensor<2x4xf32>,
         tensor<?x?xf32>) -> (tensor<?x?x?xf32>, tensor<2x4xf32>)
  return %o : tensor<?x?x?xf32>
}

// -----

// The largest tail, then the sum of powers and the number of tails; the result is
// raised where there are several, and +inf where the largest is no number below.
// CHECK-LABEL: func @tail_and_stack
// CHECK-SAME: %[[TAIL:[a-z0-9]*]]: tensor<?x32xf32>, %[[TAILS:[a-z0-9]*]]: tensor<8x?x32xf32>
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0xFF800000 : f32
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
// CHECK-DAG: %[[FOUR_UNITS:.*]] = arith.constant 2.38418579E-7 : f32
// CHECK: %[[MAX0:.*]] = linalg.fill ins(%[[NONE]]
// CHECK: %[[MAX1:.*]] = linalg.generic {{.*}} ins(%[[TAIL]] {{.*}} outs(%[[MAX0]]
// CHECK: arith.maximumf
// CHECK: %[[MAX:.*]] = linalg.generic {{.*}}["parallel", "parallel", "reduction"]} ins(%[[TAILS]] {{.*}} outs(%[[MAX1]]
// CHECK: arith.maximumf
// CHECK: %[[SUM0:.*]] = linalg.fill ins(%[[ZERO]]
// CHECK: %[[SUM1:.*]]:2 = linalg.generic {{.*}} ins(%[[TAIL]], %[[MAX]] {{.*}} outs(%[[SUM0]], %[[SUM0]]
// CHECK: %[[SUM:.*]]:2 = linalg.generic {{.*}}["parallel", "parallel", "reduction"]} ins(%[[TAILS]], %[[MAX]] {{.*}} outs(%[[SUM1]]#0, %[[SUM1]]#1
// CHECK: %[[EMPTY:.*]] = arith.cmpf oeq, %{{.*}}, %[[NONE]]
// CHECK: %[[EXP:.*]] = math.exp
// CHECK: %[[POWER:.*]] = arith.select %[[EMPTY]], %[[ZERO]], %[[EXP]]
// CHECK: %[[COUNT:.*]] = arith.select %[[EMPTY]], %[[ZERO]], %[[ONE]]
// CHECK: %[[RESULT:.*]] = linalg.generic {{.*}} ins(%[[MAX]], %[[SUM]]#0, %[[SUM]]#1
// CHECK: ^bb0(%[[MOST:.*]]: f32, %[[ALL:.*]]: f32, %[[NUMBER:.*]]: f32, %{{.*}}: f32):
// CHECK: %[[LOG:.*]] = math.log %[[ALL]]
// CHECK: %[[NEAR:.*]] = arith.addf %[[MOST]], %[[LOG]]
// CHECK: arith.mulf %{{.*}}, %[[FOUR_UNITS]]
// CHECK: %[[SIZE:.*]] = math.absf %[[NEAR]]
// CHECK: arith.mulf %[[SIZE]], %[[FOUR_UNITS]]
// CHECK: %[[RAISED:.*]] = arith.addf %[[NEAR]],
// CHECK: %[[SEVERAL:.*]] = arith.cmpf ogt, %[[NUMBER]], %[[ONE]]
// CHECK: %[[BOUND:.*]] = arith.select %[[SEVERAL]], %[[RAISED]], %[[MOST]]
// CHECK: %[[KNOWN:.*]] = arith.cmpf olt, %[[MOST]], %[[INF]]
// CHECK: arith.select %[[KNOWN]], %[[BOUND]], %[[INF]]
// CHECK: return %[[RESULT]]
func.func @tail_and_stack(%tail: tensor<?x32xf32>, %tails: tensor<8x?x32xf32>)
    -> tensor<?x32xf32> {
  %0 = vashista.merge_tails %tail, %tails
      : (tensor<?x32xf32>, tensor<8x?x32xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}
