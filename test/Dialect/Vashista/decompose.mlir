// RUN: vashista-opt %s -vashista-decompose=depth=one -cse -canonicalize -split-input-file | FileCheck %s --check-prefixes=CHECK,ONE
// RUN: vashista-opt %s -vashista-decompose -cse -canonicalize -split-input-file | FileCheck %s --check-prefixes=CHECK,ALL

//===----------------------------------------------------------------------===//
// route, select
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @route
// CHECK-SAME: %[[W:[a-z0-9]*]]: tensor<6x8x128xf32>, %[[C:[a-z0-9]*]]: tensor<?x2x128xbf16>, %[[R:[a-z0-9]*]]: tensor<?x2xf32>, %[[T:[a-z0-9]*]]: tensor<2x?xi32>, %[[L:[a-z0-9]*]]: tensor<6xi32>, %[[ROWS:[a-z0-9]*]]: tensor<6xi32>, %[[TAKEN:[a-z0-9]*]]: tensor<6x2x8xi32>, %[[OUT:[a-z0-9]*]]: tensor<6x8xf32>, %[[LSE:[a-z0-9]*]]: tensor<6x8xf32>
// CHECK-NEXT: %[[S:.*]], %[[B:.*]] = vashista.score %[[W]] from #vashista.summary<ball>(%[[C]], %[[R]]) table(%[[T]]) lens(%[[L]]) rows(%[[ROWS]]) page_size 16 scale 1.000000e+00 soft_cap 5.000000e+01 epsilon 5.000000e-01 schedule <split = 1024> : {{.*}} -> (tensor<6x8x?xf32>, tensor<6x8x?xf32>)
// CHECK-NEXT: %[[P:.*]], %[[N:.*]], %[[TAIL:.*]] = vashista.pick proving 8 pages of(%[[S]], %[[B]]) lens(%[[L]]) taken(%[[TAKEN]]) outside(%[[OUT]]) attended(%[[LSE]]) kv_heads 2 page_size 16 sinks 3 window 33 tolerance 1.000000e-01 :
// CHECK-NEXT: return %[[P]], %[[N]], %[[TAIL]]
func.func @route(
    %w: tensor<6x8x128xf32>, %c: tensor<?x2x128xbf16>, %r: tensor<?x2xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %taken: tensor<6x2x8xi32>, %outside: tensor<6x8xf32>,
    %lse: tensor<6x8xf32>)
    -> (tensor<6x2x8xi32>, tensor<6x2xi32>, tensor<6x8xf32>) {
  %0:3 = vashista.route %w from <ball>(%c, %r) table(%table) lens(%lens)
      rows(%rows) taken(%taken) outside(%outside) attended(%lse)
      proving 8 page_size 16 sinks 3 window 33 tolerance 0.1 scale 1.0
      soft_cap 50.0 epsilon 0.5 schedule <split = 1024>
      : (tensor<6x8x128xf32>, tensor<?x2x128xbf16>, tensor<?x2xf32>,
         tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>, tensor<6x2x8xi32>,
         tensor<6x8xf32>, tensor<6x8xf32>)
      -> (tensor<6x2x8xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#0, %0#1, %0#2 : tensor<6x2x8xi32>, tensor<6x2xi32>, tensor<6x8xf32>
}

// The page size of a select is that of its source: here the sketch's, 64.
// CHECK-LABEL: func @select_by_sketch
// CHECK: %[[S:.*]], %[[B:.*]] = vashista.score %{{.*}} from #vashista.sketch<bits = 8, group = 128>(%{{.*}}, %{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) within(%[[P:.*]], %[[N:.*]]) scale {{.*}} -> (tensor<6x8x192xf32>, tensor<6x8x192xf32>)
// CHECK-NEXT: vashista.pick top 64 tokens of(%[[S]], %[[B]]) lens(%{{.*}}) within(%[[P]], %[[N]]) outside(%{{.*}}) kv_heads 2 page_size 64 sinks 4 window 16 :
func.func @select_by_sketch(
    %w: tensor<6x8x128xf32>, %codes: tensor<?x2x64x128xi8>,
    %scales: tensor<?x2x64x1xf16>, %res: tensor<?x2x64x1xf16>,
    %table: tensor<6x?xi32>, %lens: tensor<6xi32>, %p: tensor<6x2x3xi32>,
    %n: tensor<6x2xi32>, %tail: tensor<6x8xf32>)
    -> (tensor<6x2x64xi32>, tensor<6x8xf32>) {
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 8, group = 128>(%codes, %scales, %res)
      table(%table) lens(%lens) within(%p, %n) outside(%tail)
      top 64 sinks 4 window 16 scale 0.0883883461
      : (tensor<6x8x128xf32>, tensor<?x2x64x128xi8>, tensor<?x2x64x1xf16>,
         tensor<?x2x64x1xf16>, tensor<6x?xi32>, tensor<6xi32>,
         tensor<6x2x3xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
      -> (tensor<6x2x64xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#0, %0#2 : tensor<6x2x64xi32>, tensor<6x8xf32>
}

// How far the sketch is off in all tells the pick.
// CHECK-LABEL: func @select_with_moments
// CHECK-SAME: %[[W:[a-z0-9]*]]: tensor<6x8x128xf32>
// CHECK-SAME: %[[M:[a-z0-9]*]]: tensor<2x2x128x128xf32>
// CHECK: %[[S:.*]], %[[B:.*]] = vashista.score %[[W]] from
// CHECK: %[[MOMENT:.*]] = vashista.moment %[[W]] of(%[[M]]) sketch <bits = 8, group = 128> lens(%[[L:.*]]) rows(%[[ROWS:.*]]) scale 0.0883883461 epsilon 5.000000e-01 :
// CHECK-NEXT: vashista.pick proving 64 tokens of(%[[S]], %[[B]]) lens(%[[L]]) attended(%{{.*}}) moment(%[[MOMENT]]) kv_heads 2
func.func @select_with_moments(
    %w: tensor<6x8x128xf32>, %codes: tensor<?x2x64x128xi8>,
    %scales: tensor<?x2x64x1xf16>, %res: tensor<?x2x64x1xf16>,
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %lse: tensor<6x8xf32>, %moments: tensor<2x2x128x128xf32>)
    -> tensor<6x2x64xi32> {
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 8, group = 128>(%codes, %scales, %res)
      table(%table) lens(%lens) rows(%rows) attended(%lse) moments(%moments)
      proving 64 tolerance 0.5 scale 0.0883883461 epsilon 0.5
      : (tensor<6x8x128xf32>, tensor<?x2x64x128xi8>, tensor<?x2x64x1xf16>,
         tensor<?x2x64x1xf16>, tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>,
         tensor<6x8xf32>, tensor<2x2x128x128xf32>)
      -> (tensor<6x2x64xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#0 : tensor<6x2x64xi32>
}

// And the keys', wherever their layout puts it.
// CHECK-LABEL: func @select_by_keys_nhd
// CHECK: vashista.score {{.*}} from #vashista.keys<nhd>({{.*}} -> (tensor<6x8x60xf32>, tensor<6x8x60xf32>)
// CHECK-NEXT: vashista.pick top 64 tokens of({{.*}} kv_heads 2 page_size 5 :
func.func @select_by_keys_nhd(
    %w: tensor<6x8x128xf32>, %k: tensor<?x5x2x128xf32>,
    %table: tensor<6x12xi32>, %lens: tensor<6xi32>) -> tensor<6x2x64xi32> {
  %0:3 = vashista.select %w from #vashista.keys<nhd>(%k) table(%table)
      lens(%lens) top 64 scale 0.0883883461
      : (tensor<6x8x128xf32>, tensor<?x5x2x128xf32>, tensor<6x12xi32>,
         tensor<6xi32>) -> (tensor<6x2x64xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#0 : tensor<6x2x64xi32>
}

// Results that know less than what is inferred keep their types.
// CHECK-LABEL: func @route_with_vague_results
// CHECK: %[[P:.*]], %{{.*}}, %{{.*}} = vashista.pick {{.*}} -> (tensor<2x2x3xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
// CHECK: %[[CAST:.*]] = tensor.cast %[[P]] : tensor<2x2x3xi32> to tensor<?x2x?xi32>
// CHECK: return %[[CAST]]
func.func @route_with_vague_results(
    %w: tensor<2x8x64xf32>, %mean: tensor<?x2x64xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<2xi32>) -> tensor<?x2x?xi32> {
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      top 3 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>)
      -> (tensor<?x2x?xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %0#0 : tensor<?x2x?xi32>
}

// -----

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

// Dense: one state, nothing left out, no round spent.
// CHECK-LABEL: func @dense
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<?x8x64xf32>
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG: %[[NINF:.*]] = arith.constant 0xFF800000 : f32
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0 : i32
// CHECK-DAG: %[[FALSE:.*]] = arith.constant false
// CHECK: %[[R:.*]] = tensor.dim %[[Q]]
// CHECK: %[[OE:.*]] = tensor.empty(%[[R]]) : tensor<?x8x96xf32>
// CHECK: %[[O0:.*]] = linalg.fill ins(%[[ZERO]] : f32) outs(%[[OE]]
// CHECK: %[[LE:.*]] = tensor.empty(%[[R]]) : tensor<?x8xf32>
// CHECK: %[[LSE0:.*]] = linalg.fill ins(%[[NINF]] : f32) outs(%[[LE]]
// CHECK: %[[O:.*]], %[[LSE:.*]] = vashista.attend %[[Q]] keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) outs(%[[O0]], %[[LSE0]]) scale 1.250000e-01 soft_cap 2.000000e+01 layout nhd schedule <warps = 2> :
// CHECK: %[[BOUND:.*]] = linalg.fill ins(%[[ZERO]] : f32) outs(%[[LE]]
// CHECK: %[[ROUNDS:.*]] = linalg.fill ins(%[[NONE]] : i32)
// CHECK: %[[FLAG:.*]] = linalg.fill ins(%[[FALSE]] : i1)
// CHECK: return %[[O]], %[[LSE]], %[[BOUND]], %[[BOUND]], %[[ROUNDS]], %[[FLAG]]
func.func @dense(
    %q: tensor<?x8x64xf32>, %k: tensor<?x16x2x64xf32>,
    %v: tensor<?x16x2x96xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x8x96xf32>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
        tensor<?x2xi32>, tensor<?x2xi1>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125 soft_cap 20.0 layout nhd
      schedule <warps = 2>
      : (tensor<?x8x64xf32>, tensor<?x16x2x64xf32>, tensor<?x16x2x96xf32>,
         tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x8x96xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
          tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xi1>)
  return %0#0, %0#1, %0#2, %0#3, %0#4, %0#5
      : tensor<?x8x96xf32>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
        tensor<?x2xi32>, tensor<?x2xi1>
}

// Without a tolerance nothing is proved: tau is 1, the error unbounded.
// CHECK-LABEL: func @pages_only
// CHECK-DAG: %[[ONE_F:.*]] = arith.constant 1.000000e+00 : f32
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK-DAG: %[[ONE_I:.*]] = arith.constant 1 : i32
// ONE: %[[P:.*]], %[[N:.*]], %{{.*}} = vashista.route %{{.*}} from <mean>(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) top 6 page_size 16 sinks 4 window 32 scale
// ALL: vashista.score
// ALL: %[[P:.*]], %[[N:.*]], %{{.*}} = vashista.pick top 6 pages
// CHECK: %[[O:.*]], %{{.*}} = vashista.attend {{.*}} rows(%{{.*}}) pages(%[[P]], %[[N]]) outs
// CHECK-NOT: vashista.
// CHECK: %[[TAU:.*]] = linalg.fill ins(%[[ONE_F]] : f32)
// CHECK: %[[ERROR:.*]] = linalg.fill ins(%[[INF]] : f32)
// CHECK: return %[[O]], %[[TAU]], %[[ERROR]], %[[ROUNDS:.*]], %{{.*}} :
func.func @pages_only(
    %q: tensor<6x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x64xbf16>, %table: tensor<2x?xi32>, %lens: tensor<6xi32>,
    %rows: tensor<6xi32>, %mean: tensor<?x2x64xbf16>)
    -> (tensor<6x8x64xf32>, tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x2xi32>,
        tensor<6x2xi1>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) summary <mean>(%mean)
      policy <pages = 6, sinks = 4, window = 32> scale 0.125
      : (tensor<6x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>, tensor<?x2x64xbf16>)
      -> (tensor<6x8x64xf32>, tensor<6x8xf32>, tensor<6x8xf32>,
          tensor<6x8xf32>, tensor<6x2xi32>, tensor<6x2xi1>)
  return %0#0, %0#2, %0#3, %0#4, %0#5
      : tensor<6x8x64xf32>, tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x2xi32>,
        tensor<6x2xi1>
}

// -----

// Two rounds. The second picks only where the state does not prove the
// tolerance, never what is taken, and from the pages of both rounds; its tail
// is what is certified. Tolerances are rounded down to f32.
// CHECK-LABEL: func @grow
// ONE: %[[P:.*]], %[[PN:.*]], %[[PT:.*]] = vashista.route %[[Q:.*]] from <box>(%{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) top 8 page_size 16 sinks 4 window 16 scale 1.250000e-01 epsilon 5.000000e-01 :
// ONE: %[[C:.*]], %[[CN:.*]], %[[CT:.*]] = vashista.select %[[Q]] from #vashista.sketch<bits = 4, group = 32>({{.*}}) table(%{{.*}}) lens(%{{.*}}) within(%[[P]], %[[PN]]) outside(%[[PT]]) proving 64 sinks 4 window 16 tolerance 0.099999994 scale 1.250000e-01 epsilon 5.000000e-01 :
// ONE: %[[O:.*]], %[[LSE:.*]] = vashista.attend %[[Q]] {{.*}} tokens(%[[C]], %[[CN]]) outs
// ONE: %[[P2:.*]], %{{.*}}, %[[PT2:.*]] = vashista.route %[[Q]] {{.*}} taken(%[[P]]) attended(%[[LSE]]) proving 8 page_size 16 tolerance 0.099999994 scale
// ONE: %[[BOTH:.*]] = tensor.concat dim(2) %[[P]], %[[P2]] :
// ONE: %[[C2:.*]], %[[CN2:.*]], %[[CT2:.*]] = vashista.select %[[Q]] {{.*}} within(%[[BOTH]]) taken(%[[C]]) outside(%[[PT2]]) attended(%[[LSE]]) proving 64 tolerance 0.099999994 scale
// ONE: %[[O2:.*]], %[[LSE2:.*]] = vashista.attend %[[Q]] {{.*}} tokens(%[[C2]], %[[CN2]]) outs(%[[O]], %[[LSE]])
// ONE: %[[TAU:.*]], %[[ERROR:.*]] = vashista.certify %[[Q]] state(%[[O2]], %[[LSE2]]) tail(%[[CT2]]) norms(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) page_size 16 scale 1.250000e-01 solver <softmax, epsilon = 5.000000e-01> :
// ONE: %[[OF:.*]], %{{.*}}, %[[FLAG:.*]] = vashista.fallback %[[Q]] {{.*}} state(%[[O2]], %[[LSE2]]) unless(%[[TAU]]) at_most 0.099999994 scale 1.250000e-01 solver <softmax, epsilon = 5.000000e-01> :
// ONE: %[[SPENT:.*]] = linalg.map ins(%[[CN2]] : tensor<2x2xi32>)
// ONE: %[[MORE:.*]] = arith.cmpi sgt, %{{.*}}, %{{.*}} : i32
// ONE: %[[EXTRA:.*]] = arith.extui %[[MORE]]
// ONE: arith.addi %[[EXTRA]], %{{.*}} : i32
// ONE: return %[[OF]], %[[TAU]], %[[ERROR]], %[[SPENT]], %[[FLAG]]
// ALL: %[[S:.*]], %[[B:.*]] = vashista.score {{.*}} from #vashista.summary
// ALL: vashista.pick top 8 pages of(%[[S]], %[[B]])
// ALL: vashista.score {{.*}} from #vashista.sketch
// ALL: vashista.attend
// The rounds score the pages once: the second score is the first (CSE).
// ALL-NOT: from #vashista.summary
// ALL: vashista.pick proving 8 pages of(%[[S]], %[[B]])
// ALL: vashista.score {{.*}} from #vashista.sketch
// ALL: vashista.attend
// ALL-NOT: vashista.route
// ALL-NOT: vashista.select
// ALL: vashista.certify
// ALL: vashista.fallback
func.func @grow(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf16>,
    %res: tensor<?x2x16x2xf16>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x2xi32>,
        tensor<2x2xi1>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <box>(%lo, %hi)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) norms(%norms)
      policy <pages = 8, candidates = 64, sinks = 4, window = 16,
              pick = proving, tolerance = 0.1, rounds = 2, fallback = dense>
      scale 0.125 solver <softmax, epsilon = 0.5>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x64xf32>,
         tensor<?x2x64xf32>, tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>,
         tensor<?x2x16x2xf16>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0, %0#2, %0#3, %0#4, %0#5
      : tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x2xi32>,
        tensor<2x2xi1>
}

// -----

// Three rounds of pages: each takes all before it, and counts.
// CHECK-LABEL: func @grow_pages
// ONE: %[[P1:.*]], %{{.*}}, %{{.*}} = vashista.route {{.*}} top 8
// ONE: %{{.*}}, %[[LSE1:.*]] = vashista.attend {{.*}} pages(%[[P1]],
// ONE: %[[P2:.*]], %[[N2:.*]], %{{.*}} = vashista.route {{.*}} taken(%[[P1]]) attended(%[[LSE1]]) proving 8
// ONE: %[[P12:.*]] = tensor.concat dim(2) %[[P1]], %[[P2]]
// ONE: %{{.*}}, %[[LSE2:.*]] = vashista.attend {{.*}} pages(%[[P2]], %[[N2]])
// ONE: %[[P3:.*]], %[[N3:.*]], %[[TAIL:.*]] = vashista.route {{.*}} taken(%[[P12]]) attended(%[[LSE2]]) proving 8
// ONE: %[[O3:.*]], %[[LSE3:.*]] = vashista.attend {{.*}} pages(%[[P3]], %[[N3]])
// ONE: vashista.certify %{{.*}} state(%[[O3]], %[[LSE3]]) tail(%[[TAIL]])
// ONE-NOT: vashista.fallback
// ONE: linalg.map ins(%[[N2]], %[[N3]] :
// ONE-COUNT-2: arith.cmpi sgt
// ALL-NOT: vashista.route
func.func @grow_pages(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi32>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <box>(%lo, %hi) norms(%norms)
      policy <pages = 8, tolerance = 0.25, rounds = 3> scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x64xf32>,
         tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0, %0#2, %0#4 : tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi32>
}

// -----

// Everything is scored by the sketch; `output_error` is what must be met.
// CHECK-LABEL: func @select_everywhere
// ONE-NOT: vashista.route
// ONE: %[[C:.*]], %[[N:.*]], %[[TAIL:.*]] = vashista.select %{{.*}} from #vashista.sketch<bits = 4, group = 32>(%{{.*}}, %{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) top 64 sinks 4 scale
// CHECK: %[[O:.*]], %[[LSE:.*]] = vashista.attend {{.*}} tokens(
// CHECK: %[[TAU:.*]], %[[ERROR:.*]] = vashista.certify
// ONE-SAME: tail(%[[TAIL]])
// CHECK: vashista.fallback {{.*}} unless(%[[ERROR]]) at_most 2.500000e-01
func.func @select_everywhere(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %codes: tensor<?x2x16x32xi8>,
    %scales: tensor<?x2x16x2xf16>, %res: tensor<?x2x16x2xf16>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> tensor<2x8x64xf32> {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) norms(%norms)
      policy <pages = 0, candidates = 64, sinks = 4, target = output_error,
              tolerance = 0.25, fallback = dense>
      scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x16x32xi8>,
         tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

// A projection picks by the query and is certified at its residual: what is
// left out is scored again for that direction, and nothing more is picked.
// CHECK-LABEL: func @projection
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<?x8x64xbf16>
// ONE: %[[P:.*]], %[[PN:.*]], %[[PT:.*]] = vashista.route %[[Q]]
// ONE: %[[C:.*]], %[[CN:.*]], %{{.*}} = vashista.select %[[Q]] {{.*}} within(%[[P]], %[[PN]]) outside(%[[PT]]) top 64
// CHECK: %[[R0:.*]] = tensor.empty(%{{.*}}) : tensor<?x8x64xf32>
// CHECK: %[[O:.*]], %[[LSE:.*]], %[[R:.*]], %[[GAP:.*]] = vashista.attend %[[Q]] {{.*}} outs(%{{.*}}, %{{.*}}, %[[R0]], %{{.*}}) scale 1.250000e-01 solver <frank_wolfe, objective = projection, epsilon = 0.000000e+00, iterations = 8, step = away> :
// ONE: %{{.*}}, %{{.*}}, %[[PT2:.*]] = vashista.route %[[R]] from <ball>(%{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) taken(%[[P]]) top 0 page_size 16 scale 1.250000e-01 :
// ONE: %{{.*}}, %{{.*}}, %[[CT2:.*]] = vashista.select %[[R]] from #vashista.keys<hnd>(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) within(%[[P]], %[[PN]]) taken(%[[C]]) outside(%[[PT2]]) top 0 scale 1.250000e-01 :
// ONE: vashista.certify %[[R]] state(%[[O]], %[[LSE]]) tail(%[[CT2]]) gap(%[[GAP]]) norms(%{{.*}}) {{.*}} solver <frank_wolfe,
// ALL: vashista.pick top 0 pages
// ALL: vashista.pick top 0 tokens
// ALL: vashista.certify %[[R]] state(%[[O]], %[[LSE]])
// CHECK: vashista.fallback %[[Q]] {{.*}} solver <frank_wolfe,
func.func @projection(
    %q: tensor<?x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x96xbf16>, %c: tensor<?x2x64xbf16>, %r: tensor<?x2xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> tensor<?x8x96xf32> {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <ball>(%c, %r) norms(%norms)
      policy <pages = 16, candidates = 64, tolerance = 0.1, fallback = dense>
      scale 0.125
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 8, step = away>
      : (tensor<?x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x96xbf16>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x64xbf16>, tensor<?x2xf32>,
         tensor<?x2x2xf32>)
      -> (tensor<?x8x96xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
          tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xi1>)
  return %0#0 : tensor<?x8x96xf32>
}

// -----

// Column generation: a second round picks at the residual what the first has
// left out, unless a mass of tolerance^2 is left, and the projection is solved
// anew over both lists.
// CHECK-LABEL: func @columns
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<2x8x64xf32>
// ONE: %[[P1:.*]], %[[PN1:.*]], %{{.*}} = vashista.route %[[Q]] {{.*}} top 4 page_size 16 sinks 4
// ONE: %[[C1:.*]], %[[CN1:.*]], %{{.*}} = vashista.select %[[Q]] {{.*}} within(%[[P1]], %[[PN1]]) {{.*}} top 32 sinks 4
// ONE: %{{.*}}, %[[LSE1:.*]], %[[R1:.*]], %{{.*}} = vashista.attend %[[Q]] {{.*}} tokens(%[[C1]], %[[CN1]])
// ONE: %[[P2:.*]], %{{.*}}, %[[PT2:.*]] = vashista.route %[[R1]] {{.*}} taken(%[[P1]]) attended(%[[LSE1]]) proving 4 page_size 16 tolerance 0.00995016656
// ONE: %[[P12:.*]] = tensor.concat dim(2) %[[P1]], %[[P2]]
// ONE: %[[C2:.*]], %[[CN2:.*]], %{{.*}} = vashista.select %[[R1]] {{.*}} within(%[[P12]]) taken(%[[C1]]) outside(%[[PT2]]) attended(%[[LSE1]]) proving 32 tolerance 0.00995016656
// ONE: %[[C12:.*]] = tensor.concat dim(2) %[[C1]], %[[C2]]
// ONE: %[[O2:.*]], %[[LSE2:.*]], %[[R2:.*]], %[[GAP:.*]] = vashista.attend %[[Q]] {{.*}} tokens(%[[C12]]) outs
// ONE: %{{.*}}, %{{.*}}, %[[PT:.*]] = vashista.route %[[R2]] {{.*}} taken(%[[P12]]) top 0
// ONE: %{{.*}}, %{{.*}}, %[[T:.*]] = vashista.select %[[R2]] {{.*}} within(%[[P12]]) taken(%[[C12]]) outside(%[[PT]]) top 0
// ONE: %[[TAU:.*]], %{{.*}}, %{{.*}} = vashista.certify %[[R2]] state(%[[O2]], %[[LSE2]]) tail(%[[T]]) gap(%[[GAP]])
// ONE: vashista.fallback %[[Q]] {{.*}} unless(%[[TAU]])
// ONE: linalg.map ins(%[[CN2]] :
// ALL: vashista.fallback
func.func @columns(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x2xi32>, tensor<2x2xi1>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <box>(%lo, %hi) norms(%norms)
      policy <pages = 4, candidates = 32, sinks = 4, tolerance = 0.1,
              rounds = 2, fallback = dense>
      scale 0.125 solver <eg, objective = projection, iterations = 8>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x64xf32>,
         tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0, %0#4, %0#5
      : tensor<2x8x64xf32>, tensor<2x2xi32>, tensor<2x2xi1>
}

// -----

// Without an entropy the largest logits matter, to which a tail is close at a
// low temperature, tolerance / 64: maxima are divided by it, tails multiplied. A
// gap is what decides.
// CHECK-LABEL: func @columns_by_gap
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<2x8x64xf32>
// CHECK-DAG: %[[UP:.*]] = arith.constant 1.280000e+02 : f32
// CHECK-DAG: %[[DOWN:.*]] = arith.constant 7.812500e-03 : f32
// ONE: vashista.route %[[Q]] {{.*}} top 4 page_size 16 scale 1.250000e-01 epsilon 7.812500e-03
// ONE: %{{.*}}, %[[MOST:.*]], %[[R1:.*]], %{{.*}} = vashista.attend
// ONE: %[[UPS:.*]] = linalg.fill ins(%[[UP]]
// ONE: %[[LSE:.*]] = arith.mulf %[[MOST]], %[[UPS]]
// ONE: %[[P2:.*]], %{{.*}}, %{{.*}} = vashista.route %[[R1]] {{.*}} attended(%[[LSE]]) proving 4 page_size 16 tolerance 0.99999994 scale 1.250000e-01 epsilon 7.812500e-03
// ONE: %{{.*}}, %{{.*}}, %[[R2:.*]], %{{.*}} = vashista.attend {{.*}} pages(%{{[a-z0-9_]*}}) outs
// ONE: %{{.*}}, %{{.*}}, %[[TAIL:.*]] = vashista.route %[[R2]] {{.*}} top 0 page_size 16 scale 1.250000e-01 epsilon 7.812500e-03
// ONE: %[[DOWNS:.*]] = linalg.fill ins(%[[DOWN]]
// ONE: %[[LARGEST:.*]] = arith.mulf %[[TAIL]], %[[DOWNS]]
// ONE: %{{.*}}, %{{.*}}, %[[FULL:.*]] = vashista.certify %[[R2]] {{.*}} tail(%[[LARGEST]])
// ONE: vashista.fallback %[[Q]] {{.*}} unless(%[[FULL]]) at_most 5.000000e-01
// ALL: vashista.fallback
func.func @columns_by_gap(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x2xi32>, tensor<2x2xi1>) {
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <box>(%lo, %hi) norms(%norms)
      policy <pages = 4, target = gap, tolerance = 0.5, rounds = 2,
              fallback = dense>
      scale 0.125
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 8, step = pairwise>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x64xf32>,
         tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0, %0#4, %0#5
      : tensor<2x8x64xf32>, tensor<2x2xi32>, tensor<2x2xi1>
}

// -----

// Every select of a round has the moments; all at once they are one moment of
// the query, which does not change.
// CHECK-LABEL: func @attention_with_moments
// CHECK-SAME: %[[Q:[a-z0-9]*]]: tensor<2x8x64xf32>
// CHECK-SAME: %[[M:[a-z0-9]*]]: tensor<2x2x64x64xf32>
// ONE-COUNT-2: vashista.select %[[Q]] {{.*}} moments(%[[M]])
// ALL: %[[MOMENT:.*]] = vashista.moment %[[Q]] of(%[[M]]) sketch <bits = 4, group = 32> lens(%{{.*}}) scale 1.250000e-01 epsilon 5.000000e-01 :
// ALL: vashista.pick {{.*}} moment(%[[MOMENT]])
// ALL-NOT: vashista.moment
// ALL: vashista.pick {{.*}} moment(%[[MOMENT]])
// CHECK: vashista.certify
func.func @attention_with_moments(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %codes: tensor<?x2x16x32xi8>,
    %scales: tensor<?x2x16x2xf16>, %res: tensor<?x2x16x2xf16>,
    %norms: tensor<?x2x2xf32>, %moments: tensor<2x2x64x64xf32>)
    -> tensor<2x8xf32> {
  %0:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) norms(%norms)
      moments(%moments)
      policy <pages = 0, candidates = 64, pick = proving, tolerance = 0.1,
              rounds = 2>
      scale 0.125 solver <softmax, epsilon = 0.5>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x16x32xi8>,
         tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<?x2x2xf32>,
         tensor<2x2x64x64xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#2 : tensor<2x8xf32>
}
