// RUN: vashista-opt %s -vashista-decompose -split-input-file -verify-diagnostics

// A list has one row per KV head: their number must be known.
func.func @route_dynamic_kv_heads(
    %w: tensor<2x8x64xf32>, %mean: tensor<?x?x64xf32>, %table: tensor<2x4xi32>,
    %lens: tensor<2xi32>) -> tensor<2x?x3xi32> {
  // expected-error @+1 {{expected a static number of KV heads (Hkv) to decompose, got a dynamic one}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      top 3 page_size 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x?x64xf32>, tensor<2x4xi32>,
         tensor<2xi32>)
      -> (tensor<2x?x3xi32>, tensor<2x?xi32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x?x3xi32>
}

// -----

func.func @attention_dynamic_kv_heads(
    %q: tensor<2x8x64xf32>, %k: tensor<?x?x16x64xf32>,
    %mean: tensor<?x?x64xf32>, %table: tensor<2x4xi32>, %lens: tensor<2xi32>)
    -> tensor<2x8x64xf32> {
  // expected-error @+1 {{expected a static number of KV heads (Hkv) to decompose, got a dynamic one}}
  %0:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 3> scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x?x16x64xf32>, tensor<?x?x16x64xf32>,
         tensor<2x4xi32>, tensor<2xi32>, tensor<?x?x64xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x?xi32>, tensor<2x?xi1>)
  return %0#0 : tensor<2x8x64xf32>
}
