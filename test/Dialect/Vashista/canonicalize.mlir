// RUN: vashista-opt %s -canonicalize -split-input-file | FileCheck %s

//===----------------------------------------------------------------------===//
// Unused ops: no op has an effect on tensors
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @unused_summarize
// CHECK-NEXT: return
func.func @unused_summarize(
    %k: tensor<?x8x16x128xf32>, %table: tensor<4x?xi32>, %lens: tensor<4xi32>,
    %mean: tensor<?x8x128xf32>) {
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<?x8x16x128xf32>, tensor<4x?xi32>, tensor<4xi32>,
         tensor<?x8x128xf32>) -> tensor<?x8x128xf32>
  return
}

// On buffers it has.
// CHECK-LABEL: func @summarize_writes
// CHECK-NEXT: vashista.summarize
func.func @summarize_writes(
    %k: memref<?x8x16x128xf32>, %table: memref<4x?xi32>, %lens: memref<4xi32>,
    %mean: memref<?x8x128xf32>) {
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <mean>(%mean)
      : (memref<?x8x16x128xf32>, memref<4x?xi32>, memref<4xi32>,
         memref<?x8x128xf32>) -> ()
  return
}

// CHECK-LABEL: func @unused_append
// CHECK-NEXT: return
func.func @unused_append(
    %key: tensor<4x8x64xf32>, %value: tensor<4x8x64xf32>, %at: tensor<4xi32>,
    %table: tensor<4x?xi32>, %k: tensor<?x8x16x64xf32>,
    %v: tensor<?x8x16x64xf32>) {
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<4x8x64xf32>, tensor<4x8x64xf32>, tensor<4xi32>,
         tensor<4x?xi32>, tensor<?x8x16x64xf32>, tensor<?x8x16x64xf32>)
      -> (tensor<?x8x16x64xf32>, tensor<?x8x16x64xf32>)
  return
}

// CHECK-LABEL: func @unused_score
// CHECK-NEXT: return
func.func @unused_score(
    %q: tensor<4x8x128xf32>, %mean: tensor<?x8x128xf32>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) {
  %0:2 = vashista.score %q from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<4x8x128xf32>, tensor<?x8x128xf32>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// A budget that covers the sequence is dense
//===----------------------------------------------------------------------===//

// All 4 pages of any sequence are routed.
// CHECK-LABEL: func @routed_pages_cover
// CHECK: vashista.attend
// CHECK-NOT: pages(
// CHECK-SAME: outs
func.func @routed_pages_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>,
    %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%lens)
      top 4 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>) -> (tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x4xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// One page fewer does not cover.
// CHECK-LABEL: func @routed_pages_do_not_cover
// CHECK: %[[PAGES:.*]], %[[COUNT:.*]], %{{.*}} = vashista.route
// CHECK: vashista.attend {{.*}} pages(%[[PAGES]], %[[COUNT]])
func.func @routed_pages_do_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>,
    %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%lens)
      top 3 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>) -> (tensor<2x2x3xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x3xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// In `proving` a budget is a cap: fewer may be picked.
// CHECK-LABEL: func @proving_does_not_cover
// CHECK: vashista.attend {{.*}} pages(
func.func @proving_does_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %lo: tensor<?x2x64xf32>,
    %hi: tensor<?x2x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.route %q from <box>(%lo, %hi) table(%table) lens(%lens)
      proving 4 page_size 16 tolerance 0.5 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<?x2x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>)
      -> (tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x4xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// A route that leaves out what is taken does not cover.
// CHECK-LABEL: func @taken_does_not_cover
// CHECK: vashista.attend {{.*}} pages(
func.func @taken_does_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>, %taken: tensor<2x2x1xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%lens)
      taken(%taken) top 4 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>, tensor<2x2x1xi32>)
      -> (tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x4xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// Other lengths: the list covers another sequence.
// CHECK-LABEL: func @other_lengths_do_not_cover
// CHECK: vashista.attend {{.*}} pages(
func.func @other_lengths_do_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>, %others: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%others)
      top 4 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>) -> (tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x4xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// A dynamic number of pages may be any.
// CHECK-LABEL: func @dynamic_does_not_cover
// CHECK: vashista.attend {{.*}} pages(
func.func @dynamic_does_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>,
    %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%lens)
      top 2147483647 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x?xi32>,
         tensor<2xi32>)
      -> (tensor<2x2x2147483647xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x2x2147483647xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// The same through score and pick.
// CHECK-LABEL: func @picked_pages_cover
// CHECK: vashista.attend
// CHECK-NOT: pages(
// CHECK-SAME: outs
func.func @picked_pages_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %s: tensor<2x8x4xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.pick top 5 pages of(%s, %s) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>)
      -> (tensor<2x2x5xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x5xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// Scores of tokens do not name pages: 4 picked tokens are not 4 pages.
// CHECK-LABEL: func @picked_tokens_are_not_pages
// CHECK: vashista.attend {{.*}} pages(
func.func @picked_tokens_are_not_pages(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %s: tensor<2x8x4xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  %p, %n, %t = vashista.pick top 4 tokens of(%s, %s) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>)
      -> (tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%p, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x4xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// -----

// 64 tokens of 4 pages of 16: everything.
// CHECK-LABEL: func @selected_tokens_cover
// CHECK: vashista.attend
// CHECK-NOT: tokens(
// CHECK-SAME: outs
func.func @selected_tokens_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %c, %n, %t = vashista.select %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 64 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%c, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x64xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// 63 of 64 tokens are not everything.
// CHECK-LABEL: func @selected_tokens_do_not_cover
// CHECK: vashista.attend {{.*}} tokens(
func.func @selected_tokens_do_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x16x2x64xf32>,
    %v: tensor<?x16x2x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %c, %n, %t = vashista.select %q from #vashista.keys<nhd>(%k) table(%table)
      lens(%lens) top 63 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x16x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>)
      -> (tensor<2x2x63xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%c, %n) outs(%o0, %lse0) scale 0.125 layout nhd
      : (tensor<2x8x64xf32>, tensor<?x16x2x64xf32>, tensor<?x16x2x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x63xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// All tokens of the routed pages: attend to the pages.
// CHECK-LABEL: func @selected_tokens_cover_pages
// CHECK-SAME: %[[P:[a-z0-9]*]]: tensor<2x2x3xi32>, %[[N:[a-z0-9]*]]: tensor<2x2xi32>
// CHECK: vashista.attend {{.*}} lens(%{{.*}}) pages(%[[P]], %[[N]]) outs
func.func @selected_tokens_cover_pages(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>, %p: tensor<2x2x3xi32>,
    %pn: tensor<2x2xi32>) -> tensor<2x8x64xf32> {
  %c, %n, %t = vashista.select %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%p, %pn) top 48 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x?xi32>,
         tensor<2xi32>, tensor<2x2x3xi32>, tensor<2x2xi32>)
      -> (tensor<2x2x48xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%c, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x2x48xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o : tensor<2x8x64xf32>
}

// One token fewer, or a range in slots of the token list: left alone.
// CHECK-LABEL: func @selected_tokens_do_not_cover_pages
// CHECK: vashista.attend {{.*}} tokens(
// CHECK: vashista.attend {{.*}} tokens(
func.func @selected_tokens_do_not_cover_pages(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>, %p: tensor<2x2x3xi32>,
    %b: index, %e: index) -> tensor<2x8x64xf32> {
  %c, %n, %t = vashista.select %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%p) top 47 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x?xi32>,
         tensor<2xi32>, tensor<2x2x3xi32>)
      -> (tensor<2x2x47xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%c, %n) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x2x47xi32>, tensor<2x2xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %c1, %n1, %t1 = vashista.select %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%p) top 48 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x?xi32>,
         tensor<2xi32>, tensor<2x2x3xi32>)
      -> (tensor<2x2x48xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%c1, %n1) range(%b, %e) outs(%o, %lse) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x2x48xi32>, tensor<2x2xi32>,
         index, index, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o1 : tensor<2x8x64xf32>
}

// Selecting within pages that cover is selecting everywhere.
// CHECK-LABEL: func @select_within_all
// CHECK: vashista.select
// CHECK-NOT: within
// CHECK-SAME: top 8
func.func @select_within_all(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>) -> tensor<2x2x8xi32> {
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%lens)
      top 4 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>) -> (tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %c, %m, %u = vashista.select %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%p, %n) top 8 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>, tensor<2x2x4xi32>, tensor<2x2xi32>)
      -> (tensor<2x2x8xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %c : tensor<2x2x8xi32>
}

// -----

//===----------------------------------------------------------------------===//
// A policy that covers the sequence is dense
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @policy_covers
// CHECK: vashista.attention
// CHECK-NOT: summary
// CHECK-NOT: sketch
// CHECK-NOT: norms
// CHECK-SAME: policy <pages = 0> scale
func.func @policy_covers(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf16>,
    %res: tensor<?x2x16x2xf16>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>) -> tensor<2x8x64xf32> {
  %o:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) norms(%norms)
      policy <pages = 4, candidates = 64, sinks = 4, tolerance = 0.1,
              rounds = 2, fallback = dense>
      scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>,
         tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>,
         tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %o#0 : tensor<2x8x64xf32>
}

// Routing covers, selection does not: select everywhere, keep the rest.
// CHECK-LABEL: func @policy_routes_all
// CHECK: vashista.attention
// CHECK-NOT: summary
// CHECK-SAME: norms(%{{.*}}) policy <pages = 0, candidates = 63, sinks = 4, window = 8, tolerance = 1.000000e-01, fallback = dense>
func.func @policy_routes_all(
    %q: tensor<2x8x64xf32>, %k: tensor<?x16x2x64xf32>,
    %v: tensor<?x16x2x64xf32>, %mean: tensor<?x2x64xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>)
    -> tensor<2x8x64xf32> {
  %o:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) norms(%norms)
      policy <pages = 4, candidates = 63, sinks = 4, window = 8,
              tolerance = 0.1, fallback = dense>
      scale 0.125 layout nhd
      : (tensor<2x8x64xf32>, tensor<?x16x2x64xf32>, tensor<?x16x2x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %o#0 : tensor<2x8x64xf32>
}

// Selection covers what is routed, routing does not cover.
// CHECK-LABEL: func @policy_selects_all
// CHECK: vashista.attention {{.*}} summary <mean>
// CHECK-NOT: sketch
// CHECK-SAME: policy <pages = 3> scale
func.func @policy_selects_all(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf16>,
    %res: tensor<?x2x16x2xf16>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>)
    -> tensor<2x8x64xf32> {
  %o:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      policy <pages = 3, candidates = 48> scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>,
         tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %o#0 : tensor<2x8x64xf32>
}

// A certificate of a projection tells how well it is solved, too: it stays. So
// it does not where nothing is certified.
// CHECK-LABEL: func @policy_covers_projection
// CHECK: policy <pages = 4, tolerance = 1.000000e-01>
// CHECK: policy <pages = 0>
func.func @policy_covers_projection(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>) {
  %0:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      summary <mean>(%mean) norms(%norms) policy <pages = 4, tolerance = 0.1>
      scale 0.125 solver <eg, objective = projection, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  %1:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 4> scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0, %1#0 : tensor<2x8x64xf32>, tensor<2x8x64xf32>
}

// Left alone: a partial cover that later rounds would spend otherwise, a cap,
// budgets one too small, and a dynamic number of pages.
// CHECK-LABEL: func @policies_that_do_not_cover
// CHECK: policy <pages = 4, candidates = 63, tolerance = 1.000000e-01, rounds = 2>
// CHECK: policy <pages = 4, candidates = 64, pick = proving, tolerance = 1.000000e-01>
// CHECK: policy <pages = 3>
// CHECK: policy <pages = 2000>
func.func @policies_that_do_not_cover(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x4xi32>,
    %dynamic: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>,
        tensor<2x8x64xf32>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) norms(%norms)
      policy <pages = 4, candidates = 63, tolerance = 0.1, rounds = 2>
      scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  %1:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) norms(%norms)
      policy <pages = 4, candidates = 64, pick = proving, tolerance = 0.1>
      scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  %2:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 3> scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x2x64xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  %3:6 = vashista.attention %q keys(%k) values(%v) table(%dynamic) lens(%lens)
      summary <mean>(%mean) policy <pages = 2000> scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x64xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0, %1#0, %2#0, %3#0
      : tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>,
        tensor<2x8x64xf32>
}

// -----

//===----------------------------------------------------------------------===//
// What is empty
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @nothing_taken_nothing_outside
// CHECK: vashista.route
// CHECK-NOT: taken
// CHECK-NOT: outside
// CHECK-SAME: top 2
// CHECK: vashista.select
// CHECK-NOT: taken
// CHECK-SAME: outside(%{{.*}}) top 2
// CHECK: vashista.pick
// CHECK-NOT: outside
// CHECK-SAME: kv_heads
func.func @nothing_taken_nothing_outside(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>,
    %table: tensor<2x4xi32>, %lens: tensor<2xi32>, %none: tensor<2x2x0xi32>,
    %s: tensor<2x8x4xf32>)
    -> (tensor<2x2x2xi32>, tensor<2x2x2xi32>, tensor<2x2x2xi32>) {
  %ninf = arith.constant dense<0xFF800000> : tensor<2x8xf32>
  %p, %n, %t = vashista.route %q from <mean>(%mean) table(%table) lens(%lens)
      taken(%none) outside(%ninf) top 2 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>, tensor<2x2x0xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %c, %m, %u = vashista.select %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) taken(%none) outside(%t) top 2 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>, tensor<2x2x0xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %f = arith.constant 0xFF800000 : f32
  %splat = tensor.splat %f : tensor<2x8xf32>
  %d, %l, %w = vashista.pick top 2 tokens of(%s, %s) lens(%lens)
      outside(%splat) kv_heads 2 page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %p, %c, %d : tensor<2x2x2xi32>, tensor<2x2x2xi32>, tensor<2x2x2xi32>
}

// Without a reader of its tail a pick of the best needs neither bounds nor what is
// outside; then nor does the pick before, whose tail that was. A proof needs both.
// CHECK-LABEL: func @unused_tails
// CHECK: vashista.pick top 2 tokens of(%[[S:.*]], %[[S]]) lens(%{{.*}}) kv_heads
// CHECK: vashista.pick top 2 tokens of(%[[S]], %[[S]]) lens(%{{.*}}) taken(%{{.*}}) kv_heads
// CHECK: vashista.pick proving 2 tokens of(%[[S]], %{{.*}}) lens(%{{.*}}) outside(
func.func @unused_tails(%s: tensor<2x8x4xf32>, %b: tensor<2x8x4xf32>,
                        %lens: tensor<2xi32>, %tail: tensor<2x8xf32>)
    -> (tensor<2x2x2xi32>, tensor<2x2x2xi32>) {
  %0:3 = vashista.pick top 2 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %1:3 = vashista.pick top 2 tokens of(%s, %b) lens(%lens) taken(%0#0)
      outside(%0#2) kv_heads 2 page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>, tensor<2x2x2xi32>,
         tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %2:3 = vashista.pick proving 2 tokens of(%s, %b) lens(%lens) outside(%tail)
      kv_heads 2 page_size 16 tolerance 0.1
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %1#0, %2#0 : tensor<2x2x2xi32>, tensor<2x2x2xi32>
}

// A tail of +inf, or of 0, is not nothing.
// CHECK-LABEL: func @something_outside
// CHECK-COUNT-2: vashista.pick {{.*}} outside(
func.func @something_outside(%s: tensor<2x8x4xf32>, %lens: tensor<2xi32>)
    -> (tensor<2x8xf32>, tensor<2x8xf32>) {
  %inf = arith.constant dense<0x7F800000> : tensor<2x8xf32>
  %zero = arith.constant dense<0.0> : tensor<2x8xf32>
  %0:3 = vashista.pick top 2 tokens of(%s, %s) lens(%lens) outside(%inf)
      kv_heads 2 page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %1:3 = vashista.pick top 2 tokens of(%s, %s) lens(%lens) outside(%zero)
      kv_heads 2 page_size 16
      : (tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x2xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %0#2, %1#2 : tensor<2x8xf32>, tensor<2x8xf32>
}

// CHECK-LABEL: func @attend_to_nothing
// CHECK-SAME: %[[O0:[a-z0-9]*]]: tensor<2x8x64xf32>, %[[LSE0:[a-z0-9]*]]: tensor<2x8xf32>
// CHECK-NEXT: return %[[O0]], %[[LSE0]]
func.func @attend_to_nothing(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>,
    %none: tensor<2x2x0xi32>, %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>) {
  %c5 = arith.constant 5 : index
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%c5, %c5) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, index, index, tensor<2x8x64xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%none) outs(%0#0, %0#1) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x0xi32>, tensor<2x8x64xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %1#0, %1#1 : tensor<2x8x64xf32>, tensor<2x8xf32>
}

// Something, an unknown range, a projection that overwrites, and buffers.
// CHECK-LABEL: func @attend_to_something
// CHECK-COUNT-4: vashista.attend
func.func @attend_to_something(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>,
    %none: tensor<2x2x0xi32>, %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>,
    %e: index, %mq: memref<2x8x64xf32>, %mk: memref<?x2x16x64xf32>,
    %mt: memref<2x4xi32>, %ml: memref<2xi32>, %mo: memref<2x8x64xf32>,
    %mlse: memref<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>) {
  %c5 = arith.constant 5 : index
  %c6 = arith.constant 6 : index
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%c5, %c6) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, index, index, tensor<2x8x64xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%c5, %e) outs(%0#0, %0#1) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, index, index, tensor<2x8x64xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %2:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%none) outs(%1#0, %1#1, %o0, %lse0) scale 0.125
      solver <eg, objective = projection, iterations = 1>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x2x0xi32>, tensor<2x8x64xf32>,
         tensor<2x8xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
          tensor<2x8xf32>)
  vashista.attend %mq keys(%mk) values(%mk) table(%mt) lens(%ml)
      range(%c5, %c5) outs(%mo, %mlse) scale 0.125
      : (memref<2x8x64xf32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<2x4xi32>, memref<2xi32>, index, index, memref<2x8x64xf32>,
         memref<2x8xf32>) -> ()
  return %2#0, %2#2 : tensor<2x8x64xf32>, tensor<2x8x64xf32>
}

// -----

// CHECK-LABEL: func @merge_with_empty
// CHECK-SAME: %[[O:[a-z0-9]*]]: tensor<2x8x64xf32>, %[[LSE:[a-z0-9]*]]: tensor<2x8xf32>
// CHECK-NOT: vashista.merge
// CHECK: return %[[O]], %[[LSE]]
func.func @merge_with_empty(%o: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>,
                            %o2: tensor<5x2x8x64xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %ninf = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x8x64xf32>
  %el = tensor.empty() : tensor<2x8xf32>
  %o1 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x8x64xf32>)
      -> tensor<2x8x64xf32>
  %lse1 = linalg.fill ins(%ninf : f32) outs(%el : tensor<2x8xf32>)
      -> tensor<2x8xf32>
  %lse2 = arith.constant dense<0xFF800000> : tensor<5x2x8xf32>
  %0:2 = vashista.merge outputs(%o1, %o, %o2) lses(%lse1, %lse, %lse2)
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<5x2x8x64xf32>,
         tensor<2x8xf32>, tensor<2x8xf32>, tensor<5x2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0, %0#1 : tensor<2x8x64xf32>, tensor<2x8xf32>
}

// States whose emptiness is unknown stay, in order, and so does a stack.
// CHECK-LABEL: func @merge_of_states
// CHECK-SAME: %[[O:[a-z0-9]*]]: tensor<2x8x64xf32>, %[[LSE:[a-z0-9]*]]: tensor<2x8xf32>, %[[O2:[a-z0-9]*]]: tensor<5x2x8x64xf32>, %[[LSE2:[a-z0-9]*]]: tensor<5x2x8xf32>
// CHECK: %[[A:.*]], %[[B:.*]] = vashista.merge outputs(%[[O]], %[[O2]]) lses(%[[LSE]], %[[LSE2]])
// CHECK: %[[C:.*]], %[[D:.*]] = vashista.merge outputs(%[[O2]]) lses(%[[LSE2]])
// CHECK: return %[[A]], %[[B]], %[[C]], %[[D]]
func.func @merge_of_states(%o: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>,
                           %o2: tensor<5x2x8x64xf32>, %lse2: tensor<5x2x8xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
        tensor<2x8xf32>) {
  %ninf = arith.constant dense<0xFF800000> : tensor<2x8xf32>
  %0:2 = vashista.merge outputs(%o, %o, %o2) lses(%lse, %ninf, %lse2)
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<5x2x8x64xf32>,
         tensor<2x8xf32>, tensor<2x8xf32>, tensor<5x2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %1:2 = vashista.merge outputs(%o2) lses(%lse2)
      : (tensor<5x2x8x64xf32>, tensor<5x2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0, %0#1, %1#0, %1#1
      : tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>
}

// Only empty states: one of them.
// CHECK-LABEL: func @merge_of_empty
// CHECK-SAME: %[[O:[a-z0-9]*]]: tensor<2x8x64xf32>
// CHECK: %[[NINF:.*]] = arith.constant dense<0xFF800000>
// CHECK: return %[[O]], %[[NINF]]
func.func @merge_of_empty(%o: tensor<2x8x64xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>) {
  %ninf = arith.constant dense<0xFF800000> : tensor<2x8xf32>
  %0:2 = vashista.merge outputs(%o, %o) lses(%ninf, %ninf)
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0, %0#1 : tensor<2x8x64xf32>, tensor<2x8xf32>
}

// -----

// A tail alone is itself, whatever else is -inf.
// CHECK-LABEL: func @merge_tails_with_empty
// CHECK-SAME: %[[TAIL:[a-z0-9]*]]: tensor<2x8xf32>
// CHECK-NOT: vashista.merge_tails
// CHECK: return %[[TAIL]]
func.func @merge_tails_with_empty(%tail: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %ninf = arith.constant 0xFF800000 : f32
  %empty = tensor.empty() : tensor<2x8xf32>
  %none = linalg.fill ins(%ninf : f32) outs(%empty : tensor<2x8xf32>)
      -> tensor<2x8xf32>
  %nones = arith.constant dense<0xFF800000> : tensor<5x2x8xf32>
  %0 = vashista.merge_tails %none, %tail, %nones
      : (tensor<2x8xf32>, tensor<2x8xf32>, tensor<5x2x8xf32>)
      -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// What may bound something stays, in order: a stack, a tail whose type says less
// than the result's, tails of 0 or +inf.
// CHECK-LABEL: func @merge_of_tails
// CHECK-SAME: %[[TAIL:[a-z0-9]*]]: tensor<2x8xf32>, %[[TAILS:[a-z0-9]*]]: tensor<5x2x8xf32>, %[[ANY:[a-z0-9]*]]: tensor<?x8xf32>
// CHECK-DAG: %[[ZERO:.*]] = arith.constant dense<0.0
// CHECK-DAG: %[[INF:.*]] = arith.constant dense<0x7F800000>
// CHECK: %[[A:.*]] = vashista.merge_tails %[[TAILS]], %[[TAIL]] :
// CHECK: %[[B:.*]] = vashista.merge_tails %[[TAILS]] :
// CHECK: %[[C:.*]] = vashista.merge_tails %[[ANY]] :
// CHECK: %[[D:.*]] = vashista.merge_tails %[[ZERO]], %[[INF]], %[[TAIL]] :
// CHECK: return %[[A]], %[[B]], %[[C]], %[[D]]
func.func @merge_of_tails(%tail: tensor<2x8xf32>, %tails: tensor<5x2x8xf32>,
                          %any: tensor<?x8xf32>)
    -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) {
  %ninf = arith.constant dense<0xFF800000> : tensor<2x8xf32>
  %inf = arith.constant dense<0x7F800000> : tensor<2x8xf32>
  %zero = arith.constant dense<0.0> : tensor<2x8xf32>
  %0 = vashista.merge_tails %tails, %ninf, %tail
      : (tensor<5x2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
      -> tensor<2x8xf32>
  %1 = vashista.merge_tails %tails : (tensor<5x2x8xf32>) -> tensor<2x8xf32>
  %2 = vashista.merge_tails %any : (tensor<?x8xf32>) -> tensor<2x8xf32>
  %3 = vashista.merge_tails %zero, %inf, %tail
      : (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
      -> tensor<2x8xf32>
  return %0, %1, %2, %3
      : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

// Only tails of nothing: one of them.
// CHECK-LABEL: func @merge_of_empty_tails
// CHECK: %[[NINF:.*]] = arith.constant dense<0xFF800000>
// CHECK: return %[[NINF]]
func.func @merge_of_empty_tails() -> tensor<2x8xf32> {
  %ninf = arith.constant dense<0xFF800000> : tensor<2x8xf32>
  %0 = vashista.merge_tails %ninf, %ninf
      : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Closed forms
//===----------------------------------------------------------------------===//

// Exponentiated gradient on the linear objective is softmax, at its
// temperature; on the projection it is not.
// CHECK-LABEL: func @linear_gradient
// CHECK: vashista.attend {{.*}} scale 1.250000e-01 solver <softmax, epsilon = 5.000000e-01> :
// CHECK: vashista.certify {{.*}} scale 1.250000e-01 :
// CHECK: vashista.fallback {{.*}} solver <softmax, epsilon = 5.000000e-01> :
// CHECK: vashista.attention {{.*}} solver <softmax, epsilon = 5.000000e-01> :
// CHECK: vashista.attention {{.*}} solver <eg, objective = projection, iterations = 3> :
func.func @linear_gradient(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>, %norms: tensor<?x2x2xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      solver <eg, epsilon = 0.5, iterations = 20, tolerance = 0.01>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %1:2 = vashista.certify %q state(%0#0, %0#1) tail(%lse0) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      solver <eg, iterations = 1>
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<?x2x2xf32>, tensor<2x4xi32>, tensor<2xi32>)
      -> (tensor<2x8xf32>, tensor<2x8xf32>)
  %2:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%0#0, %0#1) unless(%1#0) at_most 0.1 scale 0.125
      solver <eg, epsilon = 0.5, iterations = 20>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi1>)
  %3:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      solver <eg, epsilon = 0.5, iterations = 20>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  %4:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      solver <eg, objective = projection, iterations = 3>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %2#0, %3#0, %4#0
      : tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>
}

// -----

//===----------------------------------------------------------------------===//
// What was checked before
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @unused_checks
// CHECK-NEXT: return
func.func @unused_checks(
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %list: tensor<3x2x10xi32>,
    %n: index) {
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 16
      : (tensor<3x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  %1:2 = vashista.check_positions %lens table(%table) num_pages %n page_size 16
      : (tensor<3xi32>, tensor<3x24xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  %2:2 = vashista.check_list tokens of(%list) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  return
}

// CHECK-LABEL: func @check_table_twice
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0 : i32
// CHECK: %[[LENS:.*]], %[[FAULTS:.*]] = vashista.check_table
// CHECK: %[[NONE:.*]] = linalg.fill ins(%[[ZERO]] : i32) outs(%{{.*}} : tensor<?x4xi32>)
// CHECK-NOT: vashista.
// CHECK: return %[[LENS]], %[[FAULTS]], %[[NONE]]
func.func @check_table_twice(
    %table: tensor<?x24xi32>, %lens: tensor<?xi32>, %n: index)
    -> (tensor<?xi32>, tensor<?x4xi32>, tensor<?x4xi32>) {
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 16
      : (tensor<?x24xi32>, tensor<?xi32>, index)
      -> (tensor<?xi32>, tensor<?x4xi32>)
  %1:2 = vashista.check_table %table lens(%0#0) num_pages %n page_size 16
      : (tensor<?x24xi32>, tensor<?xi32>, index)
      -> (tensor<?xi32>, tensor<?x4xi32>)
  return %1#0, %0#1, %1#1 : tensor<?xi32>, tensor<?x4xi32>, tensor<?x4xi32>
}

// Another number of pages finds something else.
// CHECK-LABEL: func @check_table_of_another_cache
// CHECK-COUNT-2: vashista.check_table
func.func @check_table_of_another_cache(
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %n: index, %m: index)
    -> (tensor<3xi32>, tensor<3x4xi32>) {
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 16
      : (tensor<3x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  %1:2 = vashista.check_table %table lens(%0#0) num_pages %m page_size 16
      : (tensor<3x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return %1#0, %1#1 : tensor<3xi32>, tensor<3x4xi32>
}

// Rows at fault have the table's row 0, which may not be there.
// CHECK-LABEL: func @check_table_rows_of_any_table
// CHECK-COUNT-2: vashista.check_table
func.func @check_table_rows_of_any_table(
    %table: tensor<?x24xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>,
    %n: index) -> tensor<3x4xi32> {
  %0:3 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16 : (tensor<?x24xi32>, tensor<3xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
  %1:3 = vashista.check_table %table lens(%0#0) rows(%0#1) num_pages %n
      page_size 16 : (tensor<?x24xi32>, tensor<3xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
  return %1#2 : tensor<3x4xi32>
}

// CHECK-LABEL: func @check_table_rows_of_a_table
// CHECK: %[[LENS:.*]], %[[ROWS:.*]], %{{.*}} = vashista.check_table
// CHECK-NOT: vashista.
// CHECK: return %[[LENS]], %[[ROWS]], %{{.*}} :
func.func @check_table_rows_of_a_table(
    %table: tensor<2x24xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>,
    %n: index) -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>) {
  %0:3 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16 : (tensor<2x24xi32>, tensor<3xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
  %1:3 = vashista.check_table %table lens(%0#0) rows(%0#1) num_pages %n
      page_size 16 : (tensor<2x24xi32>, tensor<3xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
  return %1#0, %1#1, %1#2 : tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>
}

// CHECK-LABEL: func @check_positions_twice
// CHECK: %[[AT:.*]], %{{.*}} = vashista.check_positions
// CHECK-NOT: vashista.
// CHECK: return %[[AT]], %{{.*}} :
func.func @check_positions_twice(
    %at: tensor<3xi32>, %table: tensor<3x24xi32>, %n: index)
    -> (tensor<3xi32>, tensor<3x4xi32>) {
  %0:2 = vashista.check_positions %at table(%table) num_pages %n page_size 16
      : (tensor<3xi32>, tensor<3x24xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  %1:2 = vashista.check_positions %0#0 table(%table) num_pages %n page_size 16
      : (tensor<3xi32>, tensor<3x24xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return %1#0, %1#1 : tensor<3xi32>, tensor<3x4xi32>
}

// CHECK-LABEL: func @check_list_twice
// CHECK: %[[COUNT:.*]], %{{.*}} = vashista.check_list
// CHECK-NOT: vashista.
// CHECK: return %[[COUNT]] :
func.func @check_list_twice(%list: tensor<3x2x10xi32>, %lens: tensor<3xi32>)
    -> tensor<3x2xi32> {
  %0:2 = vashista.check_list tokens of(%list) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  %1:2 = vashista.check_list tokens of(%list, %0#0) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  return %1#0 : tensor<3x2xi32>
}

// A negative length is at fault again.
// CHECK-LABEL: func @check_list_twice_of_any_lengths
// CHECK-COUNT-2: vashista.check_list
func.func @check_list_twice_of_any_lengths(
    %list: tensor<3x2x10xi32>, %lens: tensor<3xi32>) -> tensor<3x4xi32> {
  %0:2 = vashista.check_list tokens of(%list) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  %1:2 = vashista.check_list tokens of(%list, %0#0) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  return %1#1 : tensor<3x4xi32>
}
