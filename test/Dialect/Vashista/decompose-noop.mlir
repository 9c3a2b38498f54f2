// What stands for nothing else is left alone: the ops below the aggregated
// ones, and aggregated ops of other dialects.
//
// RUN: vashista-opt %s -vashista-decompose | FileCheck %s


// CHECK-LABEL: func @no_aggregated_op
// CHECK-NEXT: %[[S:.*]], %[[B:.*]] = vashista.score
// CHECK-NEXT: vashista.pick
// CHECK-NEXT: linalg.softmax
// CHECK-NEXT: return
func.func @no_aggregated_op(
    %w: tensor<2x8x64xf32>, %mean: tensor<?x2x64xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<2xi32>, %out: tensor<2x8x4xf32>)
    -> (tensor<2x2x3xi32>, tensor<2x8x4xf32>) {
  %s, %b = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>) -> (tensor<2x8x4xf32>, tensor<2x8x4xf32>)
  %p, %n, %t = vashista.pick top 3 pages of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>)
      -> (tensor<2x2x3xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %soft = linalg.softmax dimension(2) ins(%s : tensor<2x8x4xf32>)
      outs(%out : tensor<2x8x4xf32>) -> tensor<2x8x4xf32>
  return %p, %soft : tensor<2x2x3xi32>, tensor<2x8x4xf32>
}
