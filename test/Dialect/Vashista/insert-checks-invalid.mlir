// RUN: vashista-opt %s -vashista-insert-checks -split-input-file \
// RUN:   -verify-diagnostics

func.func @within_a_loop(
    %q: tensor<4x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<4x?xi32>,
    %lens: tensor<4xi32>, %o: tensor<4x8x64xf32>, %lse: tensor<4x8xf32>)
    -> tensor<4x8x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %s:3 = scf.for %i = %c0 to %c2 step %c1
      iter_args(%a = %o, %b = %lse, %now = %lens)
      -> (tensor<4x8x64xf32>, tensor<4x8xf32>, tensor<4xi32>) {
    // expected-error @+1 {{cannot be checked: expected its page table, rows, lengths, positions, lists and caches to come from outside of loops and branches, got some from within}}
    %next:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%now)
        outs(%a, %b) scale 0.125
        : (tensor<4x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
           tensor<4x?xi32>, tensor<4xi32>, tensor<4x8x64xf32>,
           tensor<4x8xf32>) -> (tensor<4x8x64xf32>, tensor<4x8xf32>)
    scf.yield %next#0, %next#1, %now
        : tensor<4x8x64xf32>, tensor<4x8xf32>, tensor<4xi32>
  }
  return %s#0 : tensor<4x8x64xf32>
}

// -----

func.func @buffers(
    %k: memref<?x8x16x128xf32>, %table: memref<4x?xi32>, %lens: memref<4xi32>,
    %mean: memref<?x8x128xf32>) {
  // expected-error @+1 {{cannot be checked: expected tensors, got memrefs}}
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <mean>(%mean)
      : (memref<?x8x16x128xf32>, memref<4x?xi32>, memref<4xi32>,
         memref<?x8x128xf32>) -> ()
  return
}

// -----

// expected-error @+1 {{cannot be checked: expected one block, got 2}}
func.func @two_blocks(%x: tensor<4xf32>) -> tensor<4xf32> {
  cf.br ^bb1
^bb1:
  return %x : tensor<4xf32>
}
