// What the test of examples/sharded.mlir needs beside it.

func.func @summarize(
    %k: tensor<?x8x16x128xbf16> loc("k"), %v: tensor<?x8x16x128xbf16> loc("v"),
    %table: tensor<8x?xi32> loc("table"), %lens: tensor<8xi32> loc("lens"),
    %codes: tensor<?x8x16x64xi8> loc("codes"),
    %scales: tensor<?x8x16x4xf8E4M3FN> loc("scales"),
    %residuals: tensor<?x8x16xi8> loc("residuals"),
    %norms: tensor<?x8x2xf32> loc("norms"))
    -> (tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
        tensor<?x8x2xf32>) {
  %n, %c, %s, %r = vashista.summarize keys(%k) values(%v) table(%table)
      lens(%lens) norms(%norms)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      : (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>, tensor<8x?xi32>,
         tensor<8xi32>, tensor<?x8x2xf32>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>)
      -> (tensor<?x8x2xf32>, tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>,
          tensor<?x8x16xi8>)
  return %c, %s, %r, %n
      : tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
        tensor<?x8x2xf32>
}

// The tokens that @shard attends to.
func.func @picked(
    %q: tensor<8x32x128xbf16> loc("q"), %table: tensor<8x?xi32> loc("table"),
    %lens: tensor<8xi32> loc("lens"),
    %codes: tensor<?x8x16x64xi8> loc("codes"),
    %scales: tensor<?x8x16x4xf8E4M3FN> loc("scales"),
    %residuals: tensor<?x8x16xi8> loc("residuals"))
    -> (tensor<8x8x256xi32>, tensor<8x32xf32>) {
  %tokens, %count, %tail = vashista.select %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) proving 256 tolerance 0.25 scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<8x?xi32>,
         tensor<8xi32>)
      -> (tensor<8x8x256xi32>, tensor<8x8xi32>, tensor<8x32xf32>)
  return %tokens, %tail : tensor<8x8x256xi32>, tensor<8x32xf32>
}

// The state of given tokens, and the certificate of it, in one place.
func.func @whole(
    %q: tensor<8x32x128xbf16> loc("q"),
    %k: tensor<?x8x16x128xbf16> loc("k"), %v: tensor<?x8x16x128xbf16> loc("v"),
    %table: tensor<8x?xi32> loc("table"), %lens: tensor<8xi32> loc("lens"),
    %codes: tensor<?x8x16x64xi8> loc("codes"),
    %scales: tensor<?x8x16x4xf8E4M3FN> loc("scales"),
    %residuals: tensor<?x8x16xi8> loc("residuals"),
    %norms: tensor<?x8x2xf32> loc("norms"),
    %tokens: tensor<8x8x?xi32> loc("tokens"))
    -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
        tensor<8x32xf32>, tensor<8x32xf32>) {
  %ids, %count, %tail = vashista.select %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) taken(%tokens) top 0 scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<8x?xi32>,
         tensor<8xi32>, tensor<8x8x?xi32>)
      -> (tensor<8x8x0xi32>, tensor<8x8xi32>, tensor<8x32xf32>)
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %o_empty = tensor.empty() : tensor<8x32x128xf32>
  %lse_empty = tensor.empty() : tensor<8x32xf32>
  %o_start = linalg.fill ins(%zero : f32)
      outs(%o_empty : tensor<8x32x128xf32>) -> tensor<8x32x128xf32>
  %lse_start = linalg.fill ins(%none : f32)
      outs(%lse_empty : tensor<8x32xf32>) -> tensor<8x32xf32>
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%tokens) outs(%o_start, %lse_start) scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x?xi32>, tensor<8xi32>,
         tensor<8x8x?xi32>, tensor<8x32x128xf32>, tensor<8x32xf32>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<8x32x128xf32>, tensor<8x32xf32>,
         tensor<8x32xf32>, tensor<?x8x2xf32>, tensor<8x?xi32>, tensor<8xi32>)
      -> (tensor<8x32xf32>, tensor<8x32xf32>)
  return %o, %lse, %tail, %tau, %error
      : tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
        tensor<8x32xf32>, tensor<8x32xf32>
}
