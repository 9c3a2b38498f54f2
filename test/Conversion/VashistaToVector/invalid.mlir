// RUN: vashista-opt %s -convert-vashista-to-vector -split-input-file -verify-diagnostics

func.func @tensors(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %o: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  // expected-error @+1 {{expected buffers, got tensors; bufferize first}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

func.func @linear_eg(
    %q: memref<2x8x64xf32>, %k: memref<?x2x16x64xf32>, %table: memref<2x?xi32>,
    %lens: memref<2xi32>, %o: memref<2x8x64xf32>, %lse: memref<2x8xf32>) {
  // expected-error @+1 {{has no CPU kernel for eg on the linear objective, which canonicalizes to softmax}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 solver <eg, iterations = 4>
      : (memref<2x8x64xf32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<2x?xi32>, memref<2xi32>, memref<2x8x64xf32>, memref<2x8xf32>)
      -> ()
  return
}

// -----

// 4 heads of a group may hold 4096 vertices each, one more than there are steps.
func.func @too_many_vertices(
    %q: memref<2x8x64xf32>, %k: memref<?x2x16x64xf32>, %table: memref<2x?xi32>,
    %lens: memref<2xi32>, %o: memref<2x8x64xf32>, %lse: memref<2x8xf32>,
    %r: memref<2x8x64xf32>, %gap: memref<2x8xf32>) {
  // expected-error @+1 {{has no CPU kernel for more than 16384 Frank-Wolfe vertices in a group of query heads}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 4096>
      : (memref<2x8x64xf32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<2x?xi32>, memref<2xi32>, memref<2x8x64xf32>, memref<2x8xf32>,
         memref<2x8x64xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @dynamic_head_dim(
    %q: memref<2x8x?xf32>, %k: memref<?x2x16x?xf32>, %table: memref<2x?xi32>,
    %lens: memref<2xi32>, %o: memref<2x8x?xf32>, %lse: memref<2x8xf32>) {
  // expected-error @+1 {{has no CPU kernel for dynamic head sizes}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<2x8x?xf32>, memref<?x2x16x?xf32>, memref<?x2x16x?xf32>,
         memref<2x?xi32>, memref<2xi32>, memref<2x8x?xf32>, memref<2x8xf32>)
      -> ()
  return
}
