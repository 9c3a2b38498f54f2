// RUN: vashista-opt %s -split-input-file -vashista-split-tokens="split=512" -canonicalize -cse | FileCheck %s --check-prefixes=CHECK,SPLIT
// RUN: vashista-opt %s -split-input-file -vashista-split-tokens="split=0" | FileCheck %s --check-prefixes=CHECK,WHOLE
// RUN: not vashista-opt %s -vashista-split-tokens="split=-1" 2>&1 | FileCheck %s --check-prefix=NEGATIVE

// NEGATIVE: error: expected a split of at least 0 tokens, got -1

// States of 512 tokens each, merged with that of the destinations.
// CHECK-LABEL: func.func @long(
// SPLIT-SAME: %[[O:[a-z0-9]*]]: tensor<4x8x96xf32>, %[[LSE:[a-z0-9]*]]: tensor<4x8xf32>)
// SPLIT-DAG: %[[OS:.*]] = linalg.fill {{.*}} -> tensor<8x4x8x96xf32>
// SPLIT-DAG: %[[LS:.*]] = linalg.fill {{.*}} -> tensor<8x4x8xf32>
// SPLIT: %[[ALL:.*]]:2 = scf.forall (%[[I:.*]]) in (8) shared_outs(%{{.*}} = %[[OS]], %{{.*}} = %[[LS]])
// SPLIT: %[[BEGIN:.*]] = affine.apply #{{.*}}(%[[I]])
// SPLIT: vashista.attend {{.*}} range(%[[BEGIN]], %{{.*}})
// SPLIT: %[[MO:.*]], %[[ML:.*]] = vashista.merge outputs(%[[ALL]]#0, %[[O]]) lses(%[[ALL]]#1, %[[LSE]])
// The destinations stay where they are.
// SPLIT: bufferization.materialize_in_destination %[[MO]] in %[[O]]
// SPLIT: bufferization.materialize_in_destination %[[ML]] in %[[LSE]]
// WHOLE-NOT: scf.forall
func.func @long(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}

// -----

// A table of any width: as many splits as that needs.
// CHECK-LABEL: func.func @any_length(
// SPLIT: %[[M:.*]] = tensor.dim %{{.*}}, %c1
// SPLIT: %[[N:.*]] = affine.apply #{{.*}}()[%[[M]]]
// SPLIT: scf.forall (%{{.*}}) in (%[[N]])
// WHOLE-NOT: scf.forall
func.func @any_length(
    %q: tensor<?x8x64xbf16>, %k: tensor<?x2x16x64xbf16>, %table: tensor<?x?xi32>,
    %lens: tensor<?xi32>, %o0: tensor<?x8x64xf32>, %lse0: tensor<?x8xf32>)
    -> tensor<?x8x64xf32> {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<?x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x8x64xf32>,
         tensor<?x8xf32>) -> (tensor<?x8x64xf32>, tensor<?x8xf32>)
  return %0#0 : tensor<?x8x64xf32>
}

// -----

// A schedule decides for its op: not to split is to split by all there can be.
// CHECK-LABEL: func.func @scheduled(
// CHECK: scf.forall (%{{.*}}) in ({{2|%.*}})
// CHECK: vashista.attend
// CHECK-NOT: scf.forall (
// CHECK: vashista.attend {{.*}} schedule <warps = 8, split = 4096>
func.func @scheduled(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %table: tensor<4x256xi32>, %lens: tensor<4xi32>, %o0: tensor<4x8x64xf32>,
    %lse0: tensor<4x8xf32>) -> tensor<4x8x64xf32> {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125 schedule <split = 2048>
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x8x64xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%0#0, %0#1) scale 0.125 schedule <warps = 8, split = 4096>
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x8x64xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  return %1#0 : tensor<4x8x64xf32>
}

// -----

// Nothing to split: a short sequence, a list.
// CHECK-LABEL: func.func @short(
// CHECK-NOT: scf.forall (
func.func @short(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %table: tensor<4x32xi32>, %lens: tensor<4xi32>, %o0: tensor<4x8x64xf32>,
    %lse0: tensor<4x8xf32>, %tokens: tensor<4x2x600xi32>)
    -> tensor<4x8x64xf32> {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<4x32xi32>, tensor<4xi32>, tensor<4x8x64xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%tokens) outs(%0#0, %0#1) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<4x32xi32>, tensor<4xi32>, tensor<4x2x600xi32>,
         tensor<4x8x64xf32>, tensor<4x8xf32>)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  return %1#0 : tensor<4x8x64xf32>
}

// -----

// Nor of no rows, of which no split has a state.
// CHECK-LABEL: func.func @no_rows(
// CHECK-NOT: scf.forall (
// CHECK: vashista.attend %{{.*}} outs(
func.func @no_rows(
    %q: tensor<0x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %table: tensor<0x256xi32>, %lens: tensor<0xi32>, %o0: tensor<0x8x64xf32>,
    %lse0: tensor<0x8xf32>) -> tensor<0x8x64xf32> {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<0x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<0x256xi32>, tensor<0xi32>, tensor<0x8x64xf32>,
         tensor<0x8xf32>) -> (tensor<0x8x64xf32>, tensor<0x8xf32>)
  return %0#0 : tensor<0x8x64xf32>
}
