// One-shot bufferization: destinations are written in place, all else is only
// read, and nothing is copied unless a value that is overwritten is used again.
//
// RUN: vashista-opt %s -one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" -canonicalize -split-input-file | FileCheck %s

// CHECK-LABEL: func @step
// CHECK-SAME: %[[Q:[a-z0-9]*]]: memref<4x32x128xbf16>, %[[KEY:[a-z0-9]*]]: memref<4x8x128xbf16>, %[[VALUE:[a-z0-9]*]]: memref<4x8x128xbf16>, %[[AT:[a-z0-9]*]]: memref<4xi32>, %[[T:[a-z0-9]*]]: memref<4x?xi32>, %[[L:[a-z0-9]*]]: memref<4xi32>, %[[K:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[V:[a-z0-9]*]]: memref<?x8x16x128xbf16>, %[[M:[a-z0-9]*]]: memref<?x8x128xbf16>, %[[O:[a-z0-9]*]]: memref<4x32x128xf32>, %[[LSE:[a-z0-9]*]]: memref<4x32xf32>
// CHECK-NOT: memref.alloc
// CHECK-NOT: memref.copy
// CHECK: vashista.summarize keys(%[[K]]) table(%[[T]]) lens(%[[L]]) summary <mean>(%[[M]])
// CHECK-NEXT: vashista.append key(%[[KEY]]) value(%[[VALUE]]) at(%[[AT]]) table(%[[T]]) into(%[[K]], %[[V]]) summary <mean>(%[[M]])
// CHECK-NEXT: vashista.attend %[[Q]] keys(%[[K]]) values(%[[V]]) table(%[[T]]) lens(%[[L]]) outs(%[[O]], %[[LSE]]) scale
// CHECK-NEXT: return
func.func @step(
    %q: tensor<4x32x128xbf16>, %key: tensor<4x8x128xbf16>,
    %value: tensor<4x8x128xbf16>, %at: tensor<4xi32>, %table: tensor<4x?xi32>,
    %lens: tensor<4xi32>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %mean: tensor<?x8x128xbf16>,
    %o: tensor<4x32x128xf32>, %lse: tensor<4x32xf32>)
    -> (tensor<4x32x128xf32>, tensor<?x8x16x128xbf16>, tensor<?x8x128xbf16>) {
  %m = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<?x8x16x128xbf16>, tensor<4x?xi32>, tensor<4xi32>,
         tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>
  %0:3 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) summary <mean>(%m)
      : (tensor<4x8x128xbf16>, tensor<4x8x128xbf16>, tensor<4xi32>,
         tensor<4x?xi32>, tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x128xbf16>)
      -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
          tensor<?x8x128xbf16>)
  %1:2 = vashista.attend %q keys(%0#0) values(%0#1) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<4x?xi32>, tensor<4xi32>,
         tensor<4x32x128xf32>, tensor<4x32xf32>)
      -> (tensor<4x32x128xf32>, tensor<4x32xf32>)
  return %1#0, %0#0, %0#2
      : tensor<4x32x128xf32>, tensor<?x8x16x128xbf16>, tensor<?x8x128xbf16>
}

// -----

// The old cache is attended after the append: it must not be overwritten.
// CHECK-LABEL: func @old_cache_is_used_again
// CHECK-SAME: %[[K:[a-z0-9]*]]: memref<?x8x16x128xbf16>
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK: memref.copy %[[K]], %[[NEW]]
// CHECK: vashista.append {{.*}} into(%[[NEW]],
// CHECK: vashista.attend {{.*}} keys(%[[K]])
func.func @old_cache_is_used_again(
    %k: tensor<?x8x16x128xbf16>, %q: tensor<4x32x128xbf16>,
    %key: tensor<4x8x128xbf16>, %at: tensor<4xi32>, %table: tensor<4x?xi32>,
    %lens: tensor<4xi32>, %v: tensor<?x8x16x128xbf16>,
    %o: tensor<4x32x128xf32>, %lse: tensor<4x32xf32>)
    -> (tensor<4x32x128xf32>, tensor<?x8x16x128xbf16>) {
  %0:2 = vashista.append key(%key) value(%key) at(%at) table(%table)
      into(%k, %v)
      : (tensor<4x8x128xbf16>, tensor<4x8x128xbf16>, tensor<4xi32>,
         tensor<4x?xi32>, tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>)
      -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>)
  %1:2 = vashista.attend %q keys(%k) values(%0#1) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<4x?xi32>, tensor<4xi32>,
         tensor<4x32x128xf32>, tensor<4x32xf32>)
      -> (tensor<4x32x128xf32>, tensor<4x32xf32>)
  return %1#0, %0#0 : tensor<4x32x128xf32>, tensor<?x8x16x128xbf16>
}

// -----

// A state that is attended into twice is read: the second use needs a copy.
// CHECK-LABEL: func @state_is_read
// CHECK-COUNT-2: memref.copy
// CHECK-NOT: memref.copy
// CHECK: return
func.func @state_is_read(
    %o: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>, %q: tensor<2x8x64xf32>,
    %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.25
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0, %1#0 : tensor<2x8x64xf32>, tensor<2x8x64xf32>
}

// -----

// The destinations of a projection are overwritten: nothing is copied.
// CHECK-LABEL: func @projection_is_not_read
// CHECK-NOT: memref.copy
// CHECK: return
func.func @projection_is_not_read(
    %o: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>, %r: tensor<2x8x64xf32>,
    %gap: tensor<2x8xf32>, %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) {
  %0:4 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
          tensor<2x8xf32>)
  %1:4 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <eg, objective = projection, iterations = 8>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
          tensor<2x8xf32>)
  return %0#0, %1#0, %1#2
      : tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>
}

// -----

// Second moments are destinations like any other.
// CHECK-LABEL: func @moments
// CHECK-SAME: %[[M:[a-z0-9]*]]: memref<4x2x64x64xf32>)
// CHECK-NOT: memref.alloc
// CHECK-NOT: memref.copy
// CHECK: vashista.summarize {{.*}} moments(%[[M]]) :
// CHECK-NEXT: vashista.append {{.*}} moments(%[[M]]) :
// CHECK-NEXT: return
func.func @moments(
    %key: tensor<4x2x64xf32>, %at: tensor<4xi32>, %table: tensor<4x?xi32>,
    %lens: tensor<4xi32>, %k: tensor<?x2x16x64xf32>, %v: tensor<?x2x16x64xf32>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf16>,
    %res: tensor<?x2x16x2xf16>, %moments: tensor<4x2x64x64xf32>)
    -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x32xi8>,
        tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<4x2x64x64xf32>) {
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) moments(%moments)
      : (tensor<?x2x16x64xf32>, tensor<4x?xi32>, tensor<4xi32>,
         tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>,
         tensor<4x2x64x64xf32>)
      -> (tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>,
          tensor<4x2x64x64xf32>)
  %1:6 = vashista.append key(%key) value(%key) at(%at) table(%table)
      into(%k, %v) sketch <bits = 4, group = 32>(%0#0, %0#1, %0#2)
      moments(%0#3)
      : (tensor<4x2x64xf32>, tensor<4x2x64xf32>, tensor<4xi32>,
         tensor<4x?xi32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>,
         tensor<4x2x64x64xf32>)
      -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x32xi8>,
          tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<4x2x64x64xf32>)
  return %1#0, %1#1, %1#2, %1#3, %1#4, %1#5
      : tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x32xi8>,
        tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<4x2x64x64xf32>
}
