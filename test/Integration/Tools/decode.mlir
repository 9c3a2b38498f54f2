// A small step from text to results: compiled, run on files, and compared with
// attention in float64; then with page tables and lengths that lie.

// RUN: rm -rf %t && mkdir %t
// RUN: vashista-compile %s -o %t/decode.vso
// RUN: %python %S/Inputs/decode.py %t/decode.vso %t 200 | FileCheck %s
// vashista-run compiles by itself what is no artefact.
// RUN: vashista-run %s --entry=dense --args %t/q.npy %t/k.npy %t/v.npy %t/table.npy %t/lens.npy %t/rows.npy --out %t/direct
// RUN: cmp %t/direct/0.npy %t/dense/0.npy

// CHECK: dense: largest error {{[0-9.e-]+}} of at most 1e-05
// CHECK: sparse with room for all: largest error {{[0-9.e-]+}} of at most 1e-05
// CHECK: append: 3 tokens written, all others kept
// CHECK: 200 of 200 mutants that matter refused, by name; 200 of 200 that do not matter changed nothing

func.func @dense(
    %q: tensor<?x4x16xf32>, %k: tensor<?x2x4x16xf32>, %v: tensor<?x2x4x8xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %minus_inf = arith.constant 0xFF800000 : f32
  %n = tensor.dim %q, %c0 : tensor<?x4x16xf32>
  %o = tensor.empty(%n) : tensor<?x4x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%o : tensor<?x4x8xf32>)
      -> tensor<?x4x8xf32>
  %lse = tensor.empty(%n) : tensor<?x4xf32>
  %lse0 = linalg.fill ins(%minus_inf : f32) outs(%lse : tensor<?x4xf32>)
      -> tensor<?x4xf32>
  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) outs(%o0, %lse0) scale 0.25
      : (tensor<?x4x16xf32>, tensor<?x2x4x16xf32>, tensor<?x2x4x8xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?x4x8xf32>,
         tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %o1, %lse1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

func.func @sparse(
    %q: tensor<?x4x16xf32>, %k: tensor<?x2x4x16xf32>, %v: tensor<?x2x4x8xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>, %rows: tensor<?xi32>,
    %mean: tensor<?x2x16xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) rows(%rows)
      summary <mean>(%mean)
      policy <pages = 64, candidates = 64, sinks = 1, window = 1> scale 0.25
      : (tensor<?x4x16xf32>, tensor<?x2x4x16xf32>, tensor<?x2x4x8xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?x2x16xf32>)
      -> (tensor<?x4x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>,
          tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xi1>)
  return %o, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>
}

func.func @append(
    %key: tensor<?x2x16xf32>, %value: tensor<?x2x8xf32>, %at: tensor<?xi32>,
    %table: tensor<?x?xi32>, %rows: tensor<?xi32>,
    %k: tensor<?x2x4x16xf32>, %v: tensor<?x2x4x8xf32>)
    -> (tensor<?x2x4x16xf32>, tensor<?x2x4x8xf32>) {
  %k1, %v1 = vashista.append key(%key) value(%value) at(%at) table(%table)
      rows(%rows) into(%k, %v)
      : (tensor<?x2x16xf32>, tensor<?x2x8xf32>, tensor<?xi32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x4x16xf32>,
         tensor<?x2x4x8xf32>)
      -> (tensor<?x2x4x16xf32>, tensor<?x2x4x8xf32>)
  return %k1, %v1 : tensor<?x2x4x16xf32>, tensor<?x2x4x8xf32>
}
