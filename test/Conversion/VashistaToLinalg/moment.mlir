// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse -split-input-file | FileCheck %s

// A task per row and KV head. A row that sees nothing has 0, one whose sequence
// is not there +inf, and neither reads a matrix.
// CHECK-LABEL: func @rows
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0.000000e+00 : f32
// (0.125 / 0.5)^2, and a bit more.
// CHECK-DAG: %[[FACTOR:.*]] = arith.constant 0.06250000000005{{[0-9]*}} : f64
// CHECK-DAG: %[[Q:.*]] = bufferization.to_buffer %{{.*}} read_only : tensor<?x8x80xbf16>
// CHECK-DAG: %[[M:.*]] = bufferization.to_buffer %{{.*}} read_only : tensor<?x2x96x96xf32>
// CHECK: %[[SEQUENCES:.*]] = tensor.dim %{{.*}}, %c0 : tensor<?x2x96x96xf32>
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (%{{.*}}, 2)
// CHECK: %[[B:.*]] = arith.index_cast
// CHECK: %[[W:.*]] = memref.alloca() {{.*}} : memref<96xf64>
// CHECK: %[[SEES:.*]] = arith.cmpi sgt
// CHECK: arith.cmpi sge, %[[B]], %c0
// CHECK: arith.cmpi slt, %[[B]], %[[SEQUENCES]]
// CHECK: %[[OTHERWISE:.*]] = arith.select %[[SEES]], %[[INF]], %[[NONE]]
// The matrix is read by each head of the group.
// CHECK: scf.for %{{.*}} = %c0 to %c4
// CHECK: scf.if
// CHECK: vector.load %[[Q]][%[[R]], %[[HEAD:.*]], %{{.*}}] : memref<?x8x80xbf16>, vector<8xbf16>
// CHECK: vector.shuffle
// CHECK: scf.for %[[I:.*]] = %c0 to %c96
// CHECK: scf.for %[[J:.*]] = %c0 to %c96 step %c8
// CHECK: vector.load %[[M]][%[[B]], %[[H]], %[[I]], %[[J]]]
// CHECK: vector.fma {{.*}} : vector<8xf64>
// CHECK: arith.mulf %{{.*}}, %[[FACTOR]] : f64
// CHECK: arith.truncf
// CHECK: else
// CHECK: scf.yield %[[OTHERWISE]]
// CHECK: memref.store %{{.*}}, %{{.*}}[%[[R]], %[[HEAD]]]
func.func @rows(
    %q: tensor<?x8x80xbf16>, %moments: tensor<?x2x96x96xf32>,
    %lens: tensor<?xi32>, %rows: tensor<?xi32>) -> tensor<?x8xf32> {
  %0 = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard>
      lens(%lens) rows(%rows) scale 0.125 epsilon 0.5
      : (tensor<?x8x80xbf16>, tensor<?x2x96x96xf32>, tensor<?xi32>,
         tensor<?xi32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// Row r has sequence r, and channels are as they are.
// CHECK-LABEL: func @sequences
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (4, 2)
// CHECK-NOT: vector.shuffle
// CHECK: vector.load %{{.*}}[%[[R]], %[[H]], %{{.*}}, %{{.*}}] : memref<4x2x64x64xf32>
func.func @sequences(
    %q: tensor<4x8x64xf32>, %moments: tensor<4x2x64x64xf32>,
    %lens: tensor<4xi32>) -> tensor<4x8xf32> {
  %0 = vashista.moment %q of(%moments) sketch <bits = 4, group = 32>
      lens(%lens) scale 0.125
      : (tensor<4x8x64xf32>, tensor<4x2x64x64xf32>, tensor<4xi32>)
      -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}
