// RUN: vashista-opt %s -convert-vashista-to-linalg -split-input-file -verify-diagnostics

func.func @linear_eg_certify(
    %q: tensor<2x8x64xf32>, %lse: tensor<2x8xf32>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{has no CPU lowering for this solver, source or these sizes: expected no eg on the linear objective}}
  %tau, %error = vashista.certify %q state(%q, %lse) tail(%lse)
      norms(%norms) table(%table) lens(%lens) page_size 16 scale 0.125
      solver <eg, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<?x2x2xf32>, tensor<2x?xi32>,
         tensor<2xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %tau : tensor<2x8xf32>
}

// -----

func.func @linear_eg_fallback(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %lse: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  // expected-error @+1 {{has no CPU lowering for this solver, source or these sizes}}
  %0:3 = vashista.fallback %q keys(%k) values(%k) table(%table) lens(%lens)
      state(%q, %lse) unless(%lse) at_most 0.1 scale 0.125
      solver <eg, iterations = 4>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x2xi1>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

func.func @dynamic_heads(
    %q: tensor<2x?x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %lse: tensor<2x?xf32>) -> tensor<2x?x64xf32> {
  // expected-error @+1 {{static head sizes}}
  %0:3 = vashista.fallback %q keys(%k) values(%k) table(%table) lens(%lens)
      state(%q, %lse) unless(%lse) at_most 0.1 scale 0.125
      : (tensor<2x?x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x?x64xf32>, tensor<2x?xf32>,
         tensor<2x?xf32>)
      -> (tensor<2x?x64xf32>, tensor<2x?xf32>, tensor<2x2xi1>)
  return %0#0 : tensor<2x?x64xf32>
}

// -----

func.func @aggregate(
    %w: tensor<2x8x64xf32>, %mean: tensor<?x2x64xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<2xi32>) -> tensor<2x2x3xi32> {
  // expected-error @+1 {{expected smaller ops; run vashista-decompose first}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      top 3 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>)
      -> (tensor<2x2x3xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x2x3xi32>
}

// -----

func.func @dynamic_moment(
    %q: tensor<2x?x64xf32>, %moments: tensor<2x2x64x64xf32>,
    %lens: tensor<2xi32>) -> tensor<2x?xf32> {
  // expected-error @+1 {{static head sizes}}
  %0 = vashista.moment %q of(%moments) sketch <bits = 4, group = 32>
      lens(%lens) scale 0.125
      : (tensor<2x?x64xf32>, tensor<2x2x64x64xf32>, tensor<2xi32>)
      -> tensor<2x?xf32>
  return %0 : tensor<2x?xf32>
}
