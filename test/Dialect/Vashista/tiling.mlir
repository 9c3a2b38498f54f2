// attend tiles through the upstream transform ops: rows and KV heads in
// parallel, slots as a reduction that accumulates or splits.
//
// RUN: vashista-opt %s -transform-interpreter -cse -canonicalize -split-input-file -verify-diagnostics | FileCheck %s

// Query heads go with their KV head, four to one; the list and its count too.
// CHECK-LABEL: func @rows_and_heads
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<4x8x64xbf16>, %[[K:[a-z0-9]*]]: tensor<?x2x16x64xbf16>, %[[V:[a-z0-9]*]]: tensor<?x2x16x96xbf16>, %[[T:[a-z0-9]*]]: tensor<4x?xi32>, %[[L:[a-z0-9]*]]: tensor<4xi32>, %[[C:[a-z0-9]*]]: tensor<4x2x32xi32>, %[[N:[a-z0-9]*]]: tensor<4x2xi32>
// CHECK: scf.for %[[R:.*]] = %c0 to %c4 step %c1
// CHECK: scf.for %[[H:.*]] = %c0 to %c2 step %c1 iter_args(%[[O:.*]] = %{{.*}}, %[[LSE:.*]] = %{{.*}})
// CHECK: %[[G:.*]] = affine.apply #{{.*}}()[%[[H]]]
// CHECK-DAG: %[[OT:.*]] = tensor.extract_slice %[[O]][%[[R]], %[[G]], 0] [1, 4, 96]
// CHECK-DAG: %[[LT:.*]] = tensor.extract_slice %[[LSE]][%[[R]], %[[G]]] [1, 4]
// CHECK-DAG: %[[TT:.*]] = tensor.extract_slice %[[T]][%[[R]], 0] [1, %{{.*}}]
// CHECK-DAG: %[[QT:.*]] = tensor.extract_slice %[[Q]][%[[R]], %[[G]], 0] [1, 4, 64]
// CHECK-DAG: %[[KT:.*]] = tensor.extract_slice %[[K]][0, %[[H]], 0, 0] [%{{.*}}, 1, 16, 64]
// CHECK-DAG: %[[VT:.*]] = tensor.extract_slice %[[V]][0, %[[H]], 0, 0] [%{{.*}}, 1, 16, 96]
// CHECK-DAG: %[[LENT:.*]] = tensor.extract_slice %[[L]][%[[R]]] [1]
// CHECK-DAG: %[[CT:.*]] = tensor.extract_slice %[[C]][%[[R]], %[[H]], 0] [1, 1, 32]
// CHECK-DAG: %[[NT:.*]] = tensor.extract_slice %[[N]][%[[R]], %[[H]]] [1, 1]
// CHECK: %[[ON:.*]], %[[LN:.*]] = vashista.attend %[[QT]] keys(%[[KT]]) values(%[[VT]]) table(%[[TT]]) lens(%[[LENT]]) tokens(%[[CT]], %[[NT]]) outs(%[[OT]], %[[LT]]) scale 1.250000e-01 soft_cap 3.000000e+01 schedule <warps = 8> :
// CHECK-DAG: tensor.insert_slice %[[ON]] into %[[O]][%[[R]], %[[G]], 0] [1, 4, 96]
// CHECK-DAG: tensor.insert_slice %[[LN]] into %[[LSE]][%[[R]], %[[G]]] [1, 4]
module attributes {transform.with_named_sequence} {
func.func @rows_and_heads(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x?xi32>, %lens: tensor<4xi32>,
    %tokens: tensor<4x2x32xi32>, %n: tensor<4x2xi32>, %o0: tensor<4x8x96xf32>,
    %lse0: tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%tokens, %n) outs(%o0, %lse0) scale 0.125 soft_cap 30.0
      schedule <warps = 8>
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x?xi32>, tensor<4xi32>, tensor<4x2x32xi32>, tensor<4x2xi32>,
         tensor<4x8x96xf32>, tensor<4x8xf32>)
      -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [1, 1, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Rows that name their sequence keep the whole page table. NHD has its heads
// elsewhere. Two KV heads of four at a time: six query heads.
// CHECK-LABEL: func @shared_rows_nhd
// CHECK-SAME: %{{.*}}: tensor<6x12x64xf32>, %[[K:[a-z0-9]*]]: tensor<?x16x4x64xf32>, %{{.*}}: tensor<?x16x4x64xf32>, %[[T:[a-z0-9]*]]: tensor<2x?xi32>
// CHECK: scf.for %[[R:.*]] = %c0 to %c6 step %c3
// CHECK: scf.for %[[H:.*]] = %c0 to %c4 step %c2
// CHECK: %[[G:.*]] = affine.apply #{{.*}}()[%[[H]]]
// CHECK: tensor.extract_slice %{{.*}}[%[[R]], %[[G]], 0] [3, 6, 64]
// CHECK: %[[KT:.*]] = tensor.extract_slice %[[K]][0, 0, %[[H]], 0] [%{{.*}}, 16, 2, 64]
// CHECK: %[[PT:.*]] = tensor.extract_slice %{{.*}}[%[[R]], %[[H]], 0] [3, 2, 5]
// CHECK: vashista.attend %{{.*}} keys(%[[KT]]) values(%{{.*}}) table(%[[T]]) lens(%{{.*}}) rows(%{{.*}}) pages(%[[PT]]) outs(%{{.*}}) scale 1.250000e-01 layout nhd : (tensor<3x6x64xf32>, tensor<?x16x2x64xf32>, tensor<?x16x2x64xf32>, tensor<2x?xi32>, tensor<3xi32>, tensor<3xi32>, tensor<3x2x5xi32>, tensor<3x6x64xf32>, tensor<3x6xf32>)
module attributes {transform.with_named_sequence} {
func.func @shared_rows_nhd(
    %q: tensor<6x12x64xf32>, %k: tensor<?x16x4x64xf32>,
    %v: tensor<?x16x4x64xf32>, %table: tensor<2x?xi32>, %lens: tensor<6xi32>,
    %rows: tensor<6xi32>, %pages: tensor<6x4x5xi32>, %o0: tensor<6x12x64xf32>,
    %lse0: tensor<6x12xf32>) -> tensor<6x12x64xf32> {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) pages(%pages) outs(%o0, %lse0) scale 0.125 layout nhd
      : (tensor<6x12x64xf32>, tensor<?x16x4x64xf32>, tensor<?x16x4x64xf32>,
         tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>, tensor<6x4x5xi32>,
         tensor<6x12x64xf32>, tensor<6x12xf32>)
      -> (tensor<6x12x64xf32>, tensor<6x12xf32>)
  return %0#0 : tensor<6x12x64xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [3, 2, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Slots of the sequence: M * S of them. Tiles in sequence accumulate in the
// state; nothing else is sliced.
// CHECK-DAG: #[[SLOTS:.*]] = affine_map<()[s0] -> (s0 * 16)>
// CHECK-DAG: #[[SIZE:.*]] = affine_map<(d0)[s0] -> (-d0 + s0 * 16, 512)>
// CHECK-LABEL: func @slots
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<4x8x64xbf16>, %[[K:[a-z0-9]*]]: tensor<?x2x16x64xbf16>, %[[V:[a-z0-9]*]]: tensor<?x2x16x96xbf16>, %[[T:[a-z0-9]*]]: tensor<4x?xi32>, %[[L:[a-z0-9]*]]: tensor<4xi32>
// CHECK: %[[M:.*]] = tensor.dim %[[T]], %c1
// CHECK: %[[END:.*]] = affine.apply #[[SLOTS]]()[%[[M]]]
// CHECK: scf.for %[[B:.*]] = %c0 to %[[END]] step %c512 iter_args(%[[O:.*]] = %{{.*}}, %[[LSE:.*]] = %{{.*}})
// CHECK: %[[SZ:.*]] = affine.min #[[SIZE]](%[[B]])[%[[M]]]
// CHECK: %[[E:.*]] = affine.apply #{{.*}}()[%[[B]], %[[SZ]]]
// CHECK: %[[ON:.*]], %[[LN:.*]] = vashista.attend %[[Q]] keys(%[[K]]) values(%[[V]]) table(%[[T]]) lens(%[[L]]) range(%[[B]], %[[E]]) outs(%[[O]], %[[LSE]])
// CHECK-NEXT: scf.yield %[[ON]], %[[LN]]
module attributes {transform.with_named_sequence} {
func.func @slots(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x?xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x?xi32>, tensor<4xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 0, 512] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// A range is tiled within itself.
// CHECK-LABEL: func @slots_of_a_range
// CHECK-SAME: %[[B:[a-z0-9]*]]: index, %[[E:[a-z0-9]*]]: index
// CHECK: scf.for %[[I:.*]] = %[[B]] to %{{.*}} step %c128
// CHECK: vashista.attend {{.*}} range(%[[I]], %{{.*}})
module attributes {transform.with_named_sequence} {
func.func @slots_of_a_range(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>,
    %b: index, %e: index)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%b, %e)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, index, index, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 0, 128] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// A range stays whole where slots are not tiled.
// CHECK-LABEL: func @rows_of_a_range
// CHECK-SAME: %[[B:[a-z0-9]*]]: index, %[[E:[a-z0-9]*]]: index
// CHECK: vashista.attend {{.*}} range(%[[B]], %[[E]])
module attributes {transform.with_named_sequence} {
func.func @rows_of_a_range(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>,
    %b: index, %e: index)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%b, %e)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, index, index, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [1, 0, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Slots of listed pages are their tokens: 5 * 16. Slots of a token list are its
// entries (below).
// CHECK-LABEL: func @slots_of_pages
// CHECK: scf.for %[[I:.*]] = %c0 to %c80 step %c40
// CHECK: vashista.attend {{.*}} pages(%{{.*}}) range(%[[I]], %{{.*}})
module attributes {transform.with_named_sequence} {
func.func @slots_of_pages(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>,
    %p: tensor<4x2x5xi32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x2x5xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 0, 40] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// CHECK-LABEL: func @slots_of_tokens
// CHECK: scf.for %[[I:.*]] = %c0 to %c32 step %c8
// CHECK: vashista.attend {{.*}} tokens(%{{.*}}) range(%[[I]], %{{.*}})
module attributes {transform.with_named_sequence} {
func.func @slots_of_tokens(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>,
    %c: tensor<4x2x32xi32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%c)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x2x32xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 0, 8] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Split: one state per 512 tokens, in parallel, from the identity; then merged
// with the state that was there.
// CHECK-LABEL: func @split
// CHECK-SAME: %[[O0:[a-z0-9]*]]: tensor<4x8x96xf32>, %[[LSE0:[a-z0-9]*]]: tensor<4x8xf32>)
// CHECK-DAG: %[[NINF:.*]] = arith.constant 0xFF800000 : f32
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK: %[[OS:.*]] = linalg.fill ins(%[[ZERO]] : f32) {{.*}} -> tensor<8x4x8x96xf32>
// CHECK: %[[LS:.*]] = linalg.fill ins(%[[NINF]] : f32) {{.*}} -> tensor<8x4x8xf32>
// CHECK: %[[ALL:.*]]:2 = scf.forall (%[[B:.*]]) = (0) to (4096) step (512) shared_outs(%[[OA:.*]] = %[[OS]], %[[LA:.*]] = %[[LS]])
// CHECK: %[[I:.*]] = affine.apply #{{.*}}()[%[[B]]]
// CHECK: %[[OT:.*]] = tensor.extract_slice %[[OA]][%[[I]], 0, 0, 0] [1, 4, 8, 96] {{.*}} to tensor<4x8x96xf32>
// CHECK: %[[LT:.*]] = tensor.extract_slice %[[LA]][%[[I]], 0, 0] [1, 4, 8] {{.*}} to tensor<4x8xf32>
// CHECK: %[[ON:.*]], %[[LN:.*]] = vashista.attend {{.*}} range(%[[B]], %{{.*}}) outs(%[[OT]], %[[LT]])
// CHECK: tensor.parallel_insert_slice %[[ON]] into %[[OA]][%[[I]], 0, 0, 0] [1, 4, 8, 96]
// CHECK: tensor.parallel_insert_slice %[[LN]] into %[[LA]][%[[I]], 0, 0] [1, 4, 8]
// CHECK: vashista.merge outputs(%[[ALL]]#0, %[[O0]]) lses(%[[ALL]]#1, %[[LSE0]])
module attributes {transform.with_named_sequence} {
func.func @split(
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
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %fill:2, %split, %merge, %loop = transform.structured.tile_reduction_using_forall %op by tile_sizes = [0, 0, 512] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Splits are states, not running sums: the sequential form has no meaning.
module attributes {transform.with_named_sequence} {
func.func @split_in_sequence(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  // expected-error @+2 {{to tile operation}}
  // expected-error @+1 {{failed to generate tiling loops}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  return %0#0, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  // expected-error @+1 {{failed to tile using partial reduction}}
  %fill:2, %split, %merge, %loop = transform.structured.tile_reduction_using_for %op by tile_sizes = [0, 0, 512] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// A projection tiles by rows and heads, its direction and gap with it ...
// CHECK-LABEL: func @projection_rows
// CHECK: scf.for
// CHECK: vashista.attend
// CHECK-NOT: range
// CHECK-SAME: (tensor<1x4x64xbf16>, tensor<?x1x16x64xbf16>, tensor<?x1x16x64xbf16>, tensor<1x?xi32>, tensor<1xi32>, tensor<1x4x64xf32>, tensor<1x4xf32>, tensor<1x4x64xf32>, tensor<1x4xf32>)
module attributes {transform.with_named_sequence} {
func.func @projection_rows(
    %q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>,
    %lse0: tensor<2x8xf32>, %r0: tensor<2x8x64xf32>, %gap0: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  %0:4 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0, %r0, %gap0) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
          tensor<2x8xf32>)
  return %0#2 : tensor<2x8x64xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [1, 1, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// ... but is solved over its whole set at once.
module attributes {transform.with_named_sequence} {
func.func @projection_slots(
    %q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>,
    %lse0: tensor<2x8xf32>, %r0: tensor<2x8x64xf32>, %gap0: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  // expected-error @+2 {{to tile operation}}
  // expected-error @+1 {{failed to generate tiling loops}}
  %0:4 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0, %r0, %gap0) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
          tensor<2x8xf32>)
  return %0#2 : tensor<2x8x64xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 0, 64] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Heads of an unknown group size cannot be tiled by KV head.
module attributes {transform.with_named_sequence} {
func.func @dynamic_group(
    %q: tensor<2x?x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %o0: tensor<2x?x64xf32>, %lse0: tensor<2x?xf32>)
    -> tensor<2x?x64xf32> {
  // expected-error @+2 {{to tile operation}}
  // expected-error @+1 {{failed to generate tiling loops}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<2x?x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x?x64xf32>, tensor<2x?xf32>)
      -> (tensor<2x?x64xf32>, tensor<2x?xf32>)
  return %0#0 : tensor<2x?x64xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [1, 1, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Half a group of heads is no tile of the state: the consumer is fused with
// all of it instead.
// CHECK-LABEL: func @consumer_splits_a_group
// CHECK-NOT: tensor<1x2x96xf32>, tensor<1x2xf32>
// CHECK: return
module attributes {transform.with_named_sequence} {
func.func @consumer_splits_a_group(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  %1 = linalg.exp ins(%0#0 : tensor<4x8x96xf32>) outs(%o0 : tensor<4x8x96xf32>)
      -> tensor<4x8x96xf32>
  return %1, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %exp = transform.structured.match ops{["linalg.exp"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_forall %exp tile_sizes [1, 2] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  %fused, %new = transform.structured.fuse_into_containing_op %op into %loop : (!transform.any_op, !transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// On buffers the tiles are views.
// CHECK-LABEL: func @buffers
// CHECK: scf.for %[[R:.*]] = %c0 to %c2 step %c1
// CHECK: %[[O:.*]] = memref.subview %{{.*}}[%[[R]], 0, 0] [1, 8, 64]
// CHECK: %[[LSE:.*]] = memref.subview %{{.*}}[%[[R]], 0] [1, 8]
// CHECK: vashista.attend {{.*}} outs(%[[O]], %[[LSE]]) {{.*}} -> ()
module attributes {transform.with_named_sequence} {
func.func @buffers(
    %q: memref<2x8x64xf32>, %k: memref<?x2x16x64xf32>, %table: memref<2x?xi32>,
    %lens: memref<2xi32>, %o: memref<2x8x64xf32>, %lse: memref<2x8xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<2x8x64xf32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<2x?xi32>, memref<2xi32>, memref<2x8x64xf32>, memref<2x8xf32>)
      -> ()
  return
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [1, 0, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}

// -----

// Fused into a consumer that is tiled by rows and by whole groups of heads.
// CHECK-LABEL: func @fuse_into_consumer
// CHECK: scf.forall (%[[R:.*]], %[[H:.*]]) in (4, 2)
// CHECK: tensor.extract_slice %{{.*}}[0, %[[H]], 0, 0] [%{{.*}}, 1, 16, 64]
// CHECK: %[[O:.*]], %{{.*}} = vashista.attend {{.*}} -> (tensor<1x4x96xf32>, tensor<1x4xf32>)
// CHECK: linalg.exp ins(%[[O]] : tensor<1x4x96xf32>)
module attributes {transform.with_named_sequence} {
func.func @fuse_into_consumer(
    %q: tensor<4x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %table: tensor<4x256xi32>, %lens: tensor<4xi32>,
    %o0: tensor<4x8x96xf32>, %lse0: tensor<4x8xf32>)
    -> (tensor<4x8x96xf32>, tensor<4x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<4x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<4x256xi32>, tensor<4xi32>, tensor<4x8x96xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x96xf32>, tensor<4x8xf32>)
  %1 = linalg.exp ins(%0#0 : tensor<4x8x96xf32>) outs(%o0 : tensor<4x8x96xf32>)
      -> tensor<4x8x96xf32>
  return %1, %0#1 : tensor<4x8x96xf32>, tensor<4x8xf32>
}
transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
  %op = transform.structured.match ops{["vashista.attend"]} in %root : (!transform.any_op) -> !transform.any_op
  %exp = transform.structured.match ops{["linalg.exp"]} in %root : (!transform.any_op) -> !transform.any_op
  %tiled, %loop = transform.structured.tile_using_forall %exp tile_sizes [1, 4] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
  %fused, %new = transform.structured.fuse_into_containing_op %op into %loop : (!transform.any_op, !transform.any_op) -> (!transform.any_op, !transform.any_op)
  transform.yield
}
}
