// The stages of a step by a sketch, one by one: what diagnostics look at.

func.func @summarize(
    %k: tensor<?x2x8x32xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %codes: tensor<?x2x8x16xi8>, %scales: tensor<?x2x8x1xf16>,
    %residuals: tensor<?x2x8xf16>)
    -> (tensor<?x2x8x16xi8>, tensor<?x2x8x1xf16>, tensor<?x2x8xf16>) {
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      : (tensor<?x2x8x32xf32>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x2x8x16xi8>, tensor<?x2x8x1xf16>, tensor<?x2x8xf16>)
      -> (tensor<?x2x8x16xi8>, tensor<?x2x8x1xf16>, tensor<?x2x8xf16>)
  return %0#0, %0#1, %0#2
      : tensor<?x2x8x16xi8>, tensor<?x2x8x1xf16>, tensor<?x2x8xf16>
}

func.func @scored(
    %q: tensor<?x4x32xf32>, %k: tensor<?x2x8x32xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %codes: tensor<?x2x8x16xi8>, %scales: tensor<?x2x8x1xf16>,
    %residuals: tensor<?x2x8xf16>)
    -> (tensor<?x4x?xf32>, tensor<?x4x?xf32>, tensor<?x2x64xi32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %n = tensor.dim %q, %c0 : tensor<?x4x32xf32>
  %oe = tensor.empty(%n) : tensor<?x4x32xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%oe : tensor<?x4x32xf32>) -> tensor<?x4x32xf32>
  %le = tensor.empty(%n) : tensor<?x4xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%le : tensor<?x4xf32>) -> tensor<?x4xf32>
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.25
      : (tensor<?x4x32xf32>, tensor<?x2x8x16xi8>, tensor<?x2x8x1xf16>,
         tensor<?x2x8xf16>, tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x4x?xf32>, tensor<?x4x?xf32>)
  %ids, %count, %tail = vashista.pick top 64 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 8
      : (tensor<?x4x?xf32>, tensor<?x4x?xf32>, tensor<?xi32>)
      -> (tensor<?x2x64xi32>, tensor<?x2xi32>, tensor<?x4xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %lse0) scale 0.25
      : (tensor<?x4x32xf32>, tensor<?x2x8x32xf32>, tensor<?x2x8x32xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x64xi32>, tensor<?x2xi32>,
         tensor<?x4x32xf32>, tensor<?x4xf32>) -> (tensor<?x4x32xf32>, tensor<?x4xf32>)
  return %scores, %bounds, %ids, %lse
      : tensor<?x4x?xf32>, tensor<?x4x?xf32>, tensor<?x2x64xi32>, tensor<?x4xf32>
}
