// RUN: vashista-opt %s -vashista-insert-checks -split-input-file | FileCheck %s
// A second run finds nothing to do.
// RUN: vashista-opt %s -vashista-insert-checks -vashista-insert-checks \
// RUN:   -split-input-file | FileCheck %s

// A step is checked at its beginning; what was found is a further result.
// CHECK-LABEL: func.func @decode(
// CHECK-SAME: %[[Q:.*]]: tensor<8x32x128xbf16>, %[[K:.*]]: tensor<?x8x16x128xbf16>, %{{.*}}: tensor<?x8x16x128xbf16>, %[[TABLE:.*]]: tensor<8x?xi32>, %[[LENS:.*]]: tensor<8xi32>, %{{.*}}: tensor<?x8x128xbf16>)
// CHECK-SAME: -> (tensor<8x32x128xf32>, tensor<8x4xi32>)
// CHECK: %[[N:.*]] = tensor.dim %[[K]], %c0
// CHECK: %[[CHECKED:.*]], %[[FAULTS:.*]] = vashista.check_table %[[TABLE]] lens(%[[LENS]]) num_pages %[[N]] page_size 16
// CHECK: %[[O:.*]], %{{lse.*}} = vashista.attention %[[Q]] {{.*}} table(%[[TABLE]]) lens(%[[CHECKED]])
// CHECK-NOT: vashista.
// CHECK: return %[[O]], %[[FAULTS]]
func.func @decode(
    %q: tensor<8x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<8x?xi32>, %lens: tensor<8xi32>,
    %mean: tensor<?x8x128xbf16>) -> tensor<8x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k)
      values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128> scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x?xi32>, tensor<8xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
          tensor<8x32xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
  return %o : tensor<8x32x128xf32>
}

// -----

// What is written is checked before it is, of the caches as they were given; the
// caches stay results. Positions and lengths are two checks.
// CHECK-LABEL: func.func @step(
// CHECK-SAME: %[[K:[a-z0-9]*]]: tensor<?x2x16x64xf32>, %[[V:[a-z0-9]*]]: tensor<?x2x16x64xf32>
// CHECK-SAME: -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<4x8x64xf32>, tensor<4x4xi32>, tensor<4x4xi32>)
// CHECK: %[[N:.*]] = tensor.dim %[[K]], %c0
// CHECK: %[[AT:.*]], %[[ROWS:.*]], %[[FIRST:.*]] = vashista.check_positions %[[POS:.*]] table(%[[T:.*]]) rows(%[[R:.*]]) num_pages %[[N]] page_size 16
// CHECK: %[[K1:.*]], %[[V1:.*]] = vashista.append {{.*}} at(%[[AT]]) table(%[[T]]) rows(%[[ROWS]]) into(%[[K]], %[[V]])
// CHECK: %[[N1:.*]] = tensor.dim %[[K]], %c0
// CHECK: %[[LENS:.*]], %[[ROWS1:.*]], %[[SECOND:.*]] = vashista.check_table %[[T]] lens(%{{.*}}) rows(%[[R]]) num_pages %[[N1]] page_size 16
// CHECK: %[[O:.*]], %{{.*}} = vashista.attend {{.*}} table(%[[T]]) lens(%[[LENS]]) rows(%[[ROWS1]])
// CHECK: return %[[K1]], %[[V1]], %[[O]], %[[FIRST]], %[[SECOND]]
func.func @step(
    %k: tensor<?x2x16x64xf32>, %v: tensor<?x2x16x64xf32>,
    %key: tensor<4x2x64xf32>, %value: tensor<4x2x64xf32>, %pos: tensor<4xi32>,
    %table: tensor<3x?xi32>, %rows: tensor<4xi32>, %lens: tensor<4xi32>,
    %q: tensor<4x8x64xf32>, %o: tensor<4x8x64xf32>, %lse: tensor<4x8xf32>)
    -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<4x8x64xf32>) {
  %k1, %v1 = vashista.append key(%key) value(%value) at(%pos) table(%table)
      rows(%rows) into(%k, %v)
      : (tensor<4x2x64xf32>, tensor<4x2x64xf32>, tensor<4xi32>,
         tensor<3x?xi32>, tensor<4xi32>, tensor<?x2x16x64xf32>,
         tensor<?x2x16x64xf32>)
      -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>)
  %o1, %lse1 = vashista.attend %q keys(%k1) values(%v1) table(%table)
      lens(%lens) rows(%rows) outs(%o, %lse) scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<3x?xi32>, tensor<4xi32>, tensor<4xi32>, tensor<4x8x64xf32>,
         tensor<4x8xf32>) -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  return %k1, %v1, %o1
      : tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<4x8x64xf32>
}

// -----

// Lists get counts, of what is visible under the lengths that were checked.
// CHECK-LABEL: func.func @listed(
// CHECK: %[[LENS:.*]], %[[FAULTS:.*]] = vashista.check_table
// CHECK: %[[N:.*]], %[[OF_TOKENS:.*]] = vashista.check_list tokens of(%[[TOKENS:.*]], %[[COUNT:.*]]) lens(%[[LENS]]) page_size 16
// CHECK: vashista.attend {{.*}} lens(%[[LENS]]) tokens(%[[TOKENS]], %[[N]])
// CHECK: %[[P:.*]], %[[OF_PAGES:.*]] = vashista.check_list pages of(%[[PAGES:[a-z0-9]*]]) lens(%[[LENS]]) page_size 16
// CHECK: vashista.attend {{.*}} lens(%[[LENS]]) pages(%[[PAGES]], %[[P]])
// CHECK: return %{{.*}}, %[[FAULTS]], %[[OF_TOKENS]], %[[OF_PAGES]]
func.func @listed(
    %q: tensor<4x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<4x?xi32>, %lens: tensor<4xi32>,
    %tokens: tensor<4x2x40xi32>, %count: tensor<4x2xi32>,
    %pages: tensor<4x2x5xi32>, %o: tensor<4x8x64xf32>, %lse: tensor<4x8xf32>)
    -> tensor<4x8x64xf32> {
  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%tokens, %count) outs(%o, %lse) scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<4x?xi32>, tensor<4xi32>, tensor<4x2x40xi32>, tensor<4x2xi32>,
         tensor<4x8x64xf32>, tensor<4x8xf32>)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  %o2, %lse2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%pages) outs(%o1, %lse1) scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<4x?xi32>, tensor<4xi32>, tensor<4x2x5xi32>,
         tensor<4x8x64xf32>, tensor<4x8xf32>)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  return %o2 : tensor<4x8x64xf32>
}

// -----

// Ops that read by one table share a check, which allows what all of their
// caches have; a pick follows the lengths of its scores; its list needs none.
// CHECK-LABEL: func.func @decomposed(
// CHECK-SAME: %[[K:[a-z0-9]*]]: tensor<?x2x16x64xf32>, %[[MEAN:[a-z0-9]*]]: tensor<?x2x64xf32>
// CHECK-DAG: %[[A:.*]] = tensor.dim %[[MEAN]], %c0
// CHECK-DAG: %[[B:.*]] = tensor.dim %[[K]], %c0
// CHECK: %[[N:.*]] = arith.minsi %[[A]], %[[B]]
// CHECK: %[[LENS:.*]], %[[FAULTS:.*]] = vashista.check_table %{{.*}} lens(%{{.*}}) num_pages %[[N]] page_size 16
// CHECK: vashista.score {{.*}} lens(%[[LENS]]) page_size 16
// CHECK: vashista.pick {{.*}} lens(%[[LENS]])
// CHECK: vashista.attend {{.*}} lens(%[[LENS]]) pages(%{{.*}}, %{{.*}})
// CHECK-NOT: vashista.check
// CHECK: return %{{.*}}, %[[FAULTS]] :
func.func @decomposed(
    %k: tensor<?x2x16x64xf32>, %mean: tensor<?x2x64xf32>, %q: tensor<4x8x64xf32>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>, %o: tensor<4x8x64xf32>,
    %lse: tensor<4x8xf32>) -> tensor<4x8x64xf32> {
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  %pages, %count, %tail = vashista.pick top 8 pages of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16
      : (tensor<4x8x?xf32>, tensor<4x8x?xf32>, tensor<4xi32>)
      -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  %o1, %lse1 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      pages(%pages, %count) outs(%o, %lse) scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<4x?xi32>, tensor<4xi32>, tensor<4x2x8xi32>, tensor<4x2xi32>,
         tensor<4x8x64xf32>, tensor<4x8xf32>)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  return %o1 : tensor<4x8x64xf32>
}

// -----

// A table that the entry computes can be checked, too; a constant is nobody's to
// get wrong, but beside what is.
// CHECK-LABEL: func.func @computed(
// CHECK: %[[TABLE:.*]] = arith.addi
// CHECK: %[[LENS:.*]], %[[FAULTS:.*]] = vashista.check_table %[[TABLE]] lens(%{{cst.*}}) num_pages %c5{{.*}} page_size 1
// CHECK: vashista.certify {{.*}} table(%[[TABLE]]) lens(%[[LENS]])
// CHECK: return %{{.*}}, %[[FAULTS]]
func.func @computed(%q: tensor<2x8x64xf32>, %o: tensor<2x8x48xf32>,
                    %lse: tensor<2x8xf32>, %norms: tensor<5x2x2xf32>,
                    %table: tensor<2x1xi32>) -> tensor<2x8xf32> {
  %lens = arith.constant dense<1> : tensor<2xi32>
  %other = arith.addi %table, %table : tensor<2x1xi32>
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%lse) norms(%norms)
      table(%other) lens(%lens) page_size 1 scale 0.125
      : (tensor<2x8x64xf32>, tensor<2x8x48xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<5x2x2xf32>, tensor<2x1xi32>, tensor<2xi32>)
      -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %tau : tensor<2x8xf32>
}

// CHECK-LABEL: func.func @fixed(
// CHECK-SAME: -> tensor<2x8xf32>
// CHECK-NOT: vashista.check
// CHECK: return
func.func @fixed(%q: tensor<2x8x64xf32>, %o: tensor<2x8x48xf32>,
                 %lse: tensor<2x8xf32>, %norms: tensor<2x2x2xf32>)
    -> tensor<2x8xf32> {
  %table = arith.constant dense<[[0], [1]]> : tensor<2x1xi32>
  %lens = arith.constant dense<1> : tensor<2xi32>
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%lse) norms(%norms)
      table(%table) lens(%lens) page_size 1 scale 0.125
      : (tensor<2x8x64xf32>, tensor<2x8x48xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<2x2x2xf32>, tensor<2x1xi32>, tensor<2xi32>)
      -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %tau : tensor<2x8xf32>
}

// -----

// Two tables are two checks, each for the ops that read by it.
// CHECK-LABEL: func.func @tables(
// CHECK: %[[A:.*]], %[[FIRST:.*]] = vashista.check_table %[[T:.*]] lens(%[[LENS:.*]]) num_pages
// CHECK: vashista.route {{.*}} table(%[[T]]) lens(%[[A]])
// CHECK: %[[B:.*]], %[[SECOND:.*]] = vashista.check_table %[[U:.*]] lens(%[[LENS]]) num_pages
// CHECK: vashista.route {{.*}} table(%[[U]]) lens(%[[B]])
// CHECK: return %{{.*}}, %{{.*}}, %[[FIRST]], %[[SECOND]]
func.func @tables(%q: tensor<4x8x64xf32>, %mean: tensor<?x2x64xf32>,
                  %t: tensor<4x?xi32>, %u: tensor<4x?xi32>, %lens: tensor<4xi32>)
    -> (tensor<4x2x8xi32>, tensor<4x2x8xi32>) {
  %0:3 = vashista.route %q from <mean>(%mean) table(%t) lens(%lens) top 8
      page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  %1:3 = vashista.route %q from <mean>(%mean) table(%u) lens(%lens) top 8
      page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  return %0#0, %1#0 : tensor<4x2x8xi32>, tensor<4x2x8xi32>
}

// -----

// So are rows, and pages of another size.
// CHECK-LABEL: func.func @rows(
// CHECK: %[[A:.*]], %[[R:.*]], %[[FIRST:.*]] = vashista.check_table %{{.*}} lens(%[[LENS:.*]]) rows(%{{.*}}) num_pages %{{.*}} page_size 16
// CHECK: vashista.route {{.*}} lens(%[[A]]) rows(%[[R]])
// CHECK: %[[B:.*]], %[[S:.*]], %[[SECOND:.*]] = vashista.check_table %{{.*}} lens(%[[LENS]]) rows(%{{.*}}) num_pages %{{.*}} page_size 16
// CHECK: vashista.route {{.*}} lens(%[[B]]) rows(%[[S]])
// CHECK: %[[C:.*]], %[[T:.*]], %[[THIRD:.*]] = vashista.check_table %{{.*}} lens(%[[LENS]]) rows(%{{.*}}) num_pages %{{.*}} page_size 32
// CHECK: vashista.route {{.*}} lens(%[[C]]) rows(%[[T]])
// CHECK: return %{{.*}}, %{{.*}}, %{{.*}}, %[[FIRST]], %[[SECOND]], %[[THIRD]]
func.func @rows(%q: tensor<4x8x64xf32>, %mean: tensor<?x2x64xf32>,
                %t: tensor<3x?xi32>, %r: tensor<4xi32>, %s: tensor<4xi32>,
                %lens: tensor<4xi32>)
    -> (tensor<4x2x8xi32>, tensor<4x2x8xi32>, tensor<4x2x8xi32>) {
  %0:3 = vashista.route %q from <mean>(%mean) table(%t) lens(%lens) rows(%r)
      top 8 page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<3x?xi32>,
         tensor<4xi32>, tensor<4xi32>)
      -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  %1:3 = vashista.route %q from <mean>(%mean) table(%t) lens(%lens) rows(%s)
      top 8 page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<3x?xi32>,
         tensor<4xi32>, tensor<4xi32>)
      -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  %2:3 = vashista.route %q from <mean>(%mean) table(%t) lens(%lens) rows(%s)
      top 8 page_size 32 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<3x?xi32>,
         tensor<4xi32>, tensor<4xi32>)
      -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  return %0#0, %1#0, %2#0
      : tensor<4x2x8xi32>, tensor<4x2x8xi32>, tensor<4x2x8xi32>
}

// -----

// A cache that is made after a check of another one is checked by itself.
// CHECK-LABEL: func.func @late(
// CHECK: %[[A:.*]], %[[FIRST:.*]] = vashista.check_table
// CHECK: vashista.route {{.*}} lens(%[[A]])
// CHECK: %[[MADE:.*]] = arith.addf
// CHECK: %[[N:.*]] = tensor.dim %[[MADE]], %c0
// CHECK: %[[B:.*]], %[[SECOND:.*]] = vashista.check_table %{{.*}} lens(%{{.*}}) num_pages %[[N]] page_size 16
// CHECK: vashista.route {{.*}} lens(%[[B]])
// CHECK: return %{{.*}}, %{{.*}}, %[[FIRST]], %[[SECOND]]
func.func @late(%q: tensor<4x8x64xf32>, %mean: tensor<?x2x64xf32>,
                %t: tensor<4x?xi32>, %lens: tensor<4xi32>)
    -> (tensor<4x2x8xi32>, tensor<4x2x8xi32>) {
  %0:3 = vashista.route %q from <mean>(%mean) table(%t) lens(%lens) top 8
      page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  %made = arith.addf %mean, %mean : tensor<?x2x64xf32>
  %1:3 = vashista.route %q from <mean>(%made) table(%t) lens(%lens) top 8
      page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  return %0#0, %1#0 : tensor<4x2x8xi32>, tensor<4x2x8xi32>
}

// -----

// Within a loop what comes from outside of it is checked before the loop.
// CHECK-LABEL: func.func @loop(
// CHECK: %[[LENS:.*]], %[[FAULTS:.*]] = vashista.check_table
// CHECK: scf.for
// CHECK: vashista.attend {{.*}} lens(%[[LENS]])
// CHECK: return %{{.*}}, %[[FAULTS]]
func.func @loop(
    %q: tensor<4x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<4x?xi32>,
    %lens: tensor<4xi32>, %o: tensor<4x8x64xf32>, %lse: tensor<4x8xf32>)
    -> tensor<4x8x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %s:2 = scf.for %i = %c0 to %c2 step %c1 iter_args(%a = %o, %b = %lse)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>) {
    %next:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
        outs(%a, %b) scale 0.125
        : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
           tensor<4x?xi32>, tensor<4xi32>, tensor<4x8x64xf32>,
           tensor<4x8xf32>) -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
    scf.yield %next#0, %next#1 : tensor<4x8x64xf32>, tensor<4x8xf32>
  }
  return %s#0 : tensor<4x8x64xf32>
}

// Private functions are somebody's: he inlines them.
// CHECK-LABEL: func.func private @private(
// CHECK-NOT: vashista.check
func.func private @private(
    %q: tensor<4x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<4x?xi32>,
    %lens: tensor<4xi32>, %o: tensor<4x8x64xf32>, %lse: tensor<4x8xf32>)
    -> tensor<4x8x64xf32> {
  %s:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<4x?xi32>, tensor<4xi32>, tensor<4x8x64xf32>, tensor<4x8xf32>)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
  return %s#0 : tensor<4x8x64xf32>
}

// -----

// A moment is of the rows that a check has left; it needs none of its own.
// CHECK-LABEL: func.func @moment(
// CHECK-SAME: %[[Q:.*]]: tensor<4x8x128xbf16>, %[[M:.*]]: tensor<?x2x128x128xf32>, %[[LENS:.*]]: tensor<4xi32>, %[[ROWS:.*]]: tensor<4xi32>) -> tensor<4x8xf32>
// CHECK-NOT: vashista.check
// CHECK: vashista.moment %[[Q]] of(%[[M]]) {{.*}} lens(%[[LENS]]) rows(%[[ROWS]])
func.func @moment(%q: tensor<4x8x128xbf16>, %m: tensor<?x2x128x128xf32>,
                  %lens: tensor<4xi32>, %rows: tensor<4xi32>)
    -> tensor<4x8xf32> {
  %moment = vashista.moment %q of(%m)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) rows(%rows) scale 0.0883883461
      : (tensor<4x8x128xbf16>, tensor<?x2x128x128xf32>, tensor<4xi32>,
         tensor<4xi32>) -> tensor<4x8xf32>
  return %moment : tensor<4x8xf32>
}

// -----

// The sequences of an attention's moments are those of its table.
// CHECK-LABEL: func.func @moments(
// CHECK: %[[CHECKED:.*]], %[[ROWS:.*]], %{{.*}} = vashista.check_table
// CHECK: vashista.attention {{.*}} lens(%[[CHECKED]]) rows(%[[ROWS]]) {{.*}} moments(
func.func @moments(
    %q: tensor<4x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<3x?xi32>, %lens: tensor<4xi32>, %rows: tensor<4xi32>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %residuals: tensor<?x2x16xi8>, %norms: tensor<?x2x2xf32>,
    %m: tensor<3x2x128x128xf32>) -> tensor<4x8xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k)
      values(%k) table(%table) lens(%lens) rows(%rows)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      norms(%norms) moments(%m)
      policy <pages = 0, candidates = 512, pick = proving, tolerance = 0.5>
      scale 0.0883883461
      : (tensor<4x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x?xi32>, tensor<4xi32>,
         tensor<4xi32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<?x2x2xf32>, tensor<3x2x128x128xf32>)
      -> (tensor<4x8x128xf32>, tensor<4x8xf32>, tensor<4x8xf32>,
          tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xi1>)
  return %tau : tensor<4x8xf32>
}
