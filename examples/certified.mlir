// A certified decode step: every token is scored by a 4-bit sketch of its key (69
// bytes, 13.5 % of its key and value), each head picks the tokens that prove that
// at most half of its mass is missed by the worst case of the sketch's bounds (a
// few hundredths in truth, on trained keys), picks more where the exact scores
// show that it must, and groups that 4096 tokens do not suffice for fall back to
// dense.
func.func @certified(
    %q: tensor<8x32x128xbf16> loc("q"),
    %k: tensor<?x8x16x128xbf16> loc("k"), %v: tensor<?x8x16x128xbf16> loc("v"),
    %table: tensor<8x?xi32> loc("table"), %lens: tensor<8xi32> loc("lens"),
    %codes: tensor<?x8x16x64xi8> loc("codes"),
    %scales: tensor<?x8x16x4xf8E4M3FN> loc("scales"),
    %residuals: tensor<?x8x16xi8> loc("residuals"),
    %norms: tensor<?x8x2xf32> loc("norms"))
    -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x8xi1>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      norms(%norms)
      policy <pages = 0, candidates = 4096, sinks = 4, window = 64,
              pick = proving, tolerance = 0.5, rounds = 2, fallback = dense>
      scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x?xi32>, tensor<8xi32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>,
         tensor<?x8x16xi8>, tensor<?x8x2xf32>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
          tensor<8x32xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
  return %o, %tau, %flag
      : tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x8xi1>
}
