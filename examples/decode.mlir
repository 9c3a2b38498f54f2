// One decode step of Llama-3-8B attention: 8 sequences, 32 query heads over 8
// KV heads of dimension 128, pages of 16 tokens, any context length. 64 pages
// are routed by mean and standard deviation, 128 of their tokens attended.
func.func @decode(
    %q: tensor<8x32x128xbf16> loc("q"),
    %k: tensor<?x8x16x128xbf16> loc("k"), %v: tensor<?x8x16x128xbf16> loc("v"),
    %table: tensor<8x?xi32> loc("table"), %lens: tensor<8xi32> loc("lens"),
    %mean: tensor<?x8x128xbf16> loc("mean"), %std: tensor<?x8x128xbf16> loc("std"))
    -> tensor<8x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean_std>(%mean, %std)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x?xi32>, tensor<8xi32>,
         tensor<?x8x128xbf16>, tensor<?x8x128xbf16>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
          tensor<8x32xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
  return %o : tensor<8x32x128xf32>
}
