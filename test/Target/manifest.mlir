// What the manifest says of entries, as vashista-run lists it.

// RUN: vashista-compile %s -o %t.vso --target=cpu:x86-64-v3
// RUN: vashista-run %t.vso --list | FileCheck %s

// Equal sizes are those of the first argument that has them; a literal name is
// the location's, else the text's.
// CHECK-LABEL: {{^}}certified
// CHECK-NEXT:   arguments
// CHECK-NEXT:     q      f32 [?, 8, 64]
// CHECK-NEXT:     k      f32 [?, 2, 16, 64]
// CHECK-NEXT:     v      f32 [k.0, 2, 16, 64]
// CHECK-NEXT:     table  i32 [q.0, ?]
// CHECK-NEXT:     lens   i32 [q.0]
// CHECK-NEXT:     lo     f32 [k.0, 2, 64]
// CHECK-NEXT:     hi     f32 [k.0, 2, 64]
// CHECK-NEXT:     norms  f32 [k.0, 2, 2]
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [q.0, 8, 64]
// CHECK-NEXT:     result1  f32 [q.0, 8]
// CHECK-NEXT:     result2  i32 [q.0, 2]
// CHECK-NEXT:   constants
// CHECK:            attention.scale = 0.125
// CHECK:        checks
// CHECK-NEXT:     lengths 'lens' and page ids 'table', pages in dimension 0 of 'k', page size 16

// Results that are arguments updated in place are arguments.
// CHECK-LABEL: {{^}}append
// CHECK:          k      f32 [?, 2, 16, 64], written in place
// CHECK-NEXT:     v      f32 [k.0, 2, 16, 64], written in place
// CHECK-NEXT:     key    f32 [?, 2, 64]
// CHECK-NEXT:     value  f32 [key.0, 2, 64]
// CHECK-NEXT:     pos    i32 [key.0]
// CHECK-NEXT:     table  i32 [key.0, ?]
// CHECK-NEXT:   constants
// CHECK:        checks
// CHECK-NEXT:     positions 'pos' and page ids 'table', pages in dimension 0 of 'k', page size 16

// Lists of the caller's, rows that share a sequence, a size that is a multiple.
// CHECK-LABEL: {{^}}lists
// CHECK:          table   i32 [?, ?]
// CHECK:          rows    i32 [q.0]
// CHECK:          o       f32 [q.0, 8, 64], written in place
// CHECK-NEXT:     lse     f32 [q.0, 8], written in place
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [q.0, 8, 16 * table.1]
// CHECK:        checks
// CHECK-NEXT:     lengths 'lens' and page ids 'table', table rows 'rows', pages in dimension 0 of 'k', page size 16
// CHECK-NEXT:     tokens 'tokens' within lengths 'lens', as many as 'count', page size 16

// Stacks of states: as many log-sum-exps, for the rows of the others.
// CHECK-LABEL: {{^}}joined
// CHECK:          os     f32 [?, ?, 8, 64]
// CHECK-NEXT:     lses   f32 [os.0, os.1, 8]
// CHECK-NEXT:     o      f32 [os.1, 8, 64]
// CHECK-NEXT:     lse    f32 [os.1, 8]
// CHECK-NEXT:     tails  f32 [?, ?, 8]
// CHECK-NEXT:     tail   f32 [tails.1, 8]
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [os.1, 8, 64]
// CHECK-NEXT:     result1  f32 [os.1, 8]
// CHECK-NEXT:     result2  f32 [tails.1, 8]

// One value that is returned twice is two results.
// CHECK-LABEL: {{^}}twice
// CHECK:          x  f32 [?]
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [x.0]
// CHECK-NEXT:     result1  f32 [x.0]

// So is an argument that is returned as it is, whatever becomes of it later; one
// that is updated in place is not.
// CHECK-LABEL: {{^}}kept
// CHECK:          a  f32 [4]
// CHECK-NEXT:     b  f32 [4], written in place
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [4]
// CHECK-NEXT:     result1  f32 [4]
// CHECK-NEXT:     result2  f32 [4]

// Upstream ops require equal sizes, too.
// CHECK-LABEL: {{^}}equal
// CHECK:          a  f32 [?]
// CHECK-NEXT:     b  f32 [a.0]
// CHECK-NEXT:     m  f32 [?, a.0]
// CHECK-NEXT:     x  f32 [m.0]
// CHECK-NEXT:     y  f32 [m.0]
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [m.0]

// A size that an op says is the caller's, too.
// CHECK-LABEL: {{^}}fixed
// CHECK:          a     f32 [4]
// CHECK-NEXT:     q     f32 [3, 8, 64]
// CHECK-NEXT:     k     f32 [?, 2, 16, 64]
// CHECK-NEXT:     lens  i32 [3]

func.func @certified(%q: tensor<?x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %lo: tensor<?x2x64xf32>, %hi: tensor<?x2x64xf32>, %norms: tensor<?x2x2xf32>)
    -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x2xi32>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q keys(%k)
      values(%v) table(%table) lens(%lens) summary <box>(%lo, %hi)
      norms(%norms)
      policy <pages = 8, candidates = 32, tolerance = 0.1, rounds = 2,
              fallback = dense>
      scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x64xf32>,
         tensor<?x2x64xf32>, tensor<?x2x2xf32>)
      -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
          tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xi1>)
  return %o, %tau, %rounds : tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x2xi32>
}
func.func @append(%k: tensor<?x2x16x64xf32>, %v: tensor<?x2x16x64xf32>, %key: tensor<?x2x64xf32>,
  %value: tensor<?x2x64xf32>, %pos: tensor<?xi32>, %table: tensor<?x?xi32>) -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>) {
  %k1, %v1 = vashista.append key(%key) value(%value) at(%pos) table(%table) into(%k, %v) : (tensor<?x2x64xf32>, tensor<?x2x64xf32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>) -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>)
  return %k1, %v1 : tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>
}

func.func @lists(
    %q: tensor<?x8x64xf32>, %k: tensor<?x2x16x64xf32>, %v: tensor<?x2x16x64xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>, %rows: tensor<?xi32>,
    %tokens: tensor<?x2x40xi32>, %count: tensor<?x2xi32>,
    %o: tensor<?x8x64xf32>, %lse: tensor<?x8xf32>)
    -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8x?xf32>) {
  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) tokens(%tokens, %count) outs(%o, %lse) scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?x2x40xi32>,
         tensor<?x2xi32>, tensor<?x8x64xf32>, tensor<?x8xf32>)
      -> (tensor<?x8x64xf32>, tensor<?x8xf32>)
  %scores, %bounds = vashista.score %q from #vashista.keys<hnd>(%k)
      table(%table) lens(%lens) rows(%rows) scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x?xi32>,
         tensor<?xi32>, tensor<?xi32>) -> (tensor<?x8x?xf32>, tensor<?x8x?xf32>)
  return %o1, %lse1, %scores
      : tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8x?xf32>
}

func.func @joined(
    %os: tensor<?x?x8x64xf32>, %lses: tensor<?x?x8xf32>, %o: tensor<?x8x64xf32>,
    %lse: tensor<?x8xf32>, %tails: tensor<?x?x8xf32>, %tail: tensor<?x8xf32>)
    -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %o1, %lse1 = vashista.merge outputs(%os, %o) lses(%lses, %lse)
      : (tensor<?x?x8x64xf32>, tensor<?x8x64xf32>, tensor<?x?x8xf32>,
         tensor<?x8xf32>) -> (tensor<?x8x64xf32>, tensor<?x8xf32>)
  %tail1 = vashista.merge_tails %tails, %tail
      : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %o1, %lse1, %tail1
      : tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

func.func @twice(%x: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
  %0 = arith.addf %x, %x : tensor<?xf32>
  return %0, %0 : tensor<?xf32>, tensor<?xf32>
}
func.func @kept(%a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %zero = arith.constant 0.0 : f32
  %sum = arith.addf %a, %b : tensor<4xf32>
  %copy = arith.mulf %b, %b : tensor<4xf32>
  %filled = linalg.fill ins(%zero : f32) outs(%b : tensor<4xf32>) -> tensor<4xf32>
  return %a, %sum, %filled, %copy : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
func.func @equal(%a: tensor<?xf32>, %b: tensor<?xf32>, %m: tensor<?x?xf32>, %x: tensor<?xf32>, %y: tensor<?xf32>) -> tensor<?xf32> {
  %sum = arith.addf %a, %b : tensor<?xf32>
  %product = linalg.matvec ins(%m, %sum : tensor<?x?xf32>, tensor<?xf32>) outs(%x : tensor<?xf32>) -> tensor<?xf32>
  %more = arith.addf %product, %y : tensor<?xf32>
  return %more : tensor<?xf32>
}
func.func @fixed(%a: tensor<?xf32>, %q: tensor<3x8x64xf32>, %k: tensor<?x2x16x64xf32>, %lens: tensor<?xi32>, %table: tensor<?x?xi32>) -> (tensor<4xf32>, tensor<3x8x?xf32>) {
  %cast = tensor.cast %a : tensor<?xf32> to tensor<4xf32>
  %twice = arith.addf %cast, %cast : tensor<4xf32>
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table) lens(%lens) scale 0.125
      : (tensor<3x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x?xi32>, tensor<?xi32>) -> (tensor<3x8x?xf32>, tensor<3x8x?xf32>)
  return %twice, %s : tensor<4xf32>, tensor<3x8x?xf32>
}
