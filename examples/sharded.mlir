// A certified decode step of sequences that are spread over shards (sequence
// parallelism). Each shard holds some tokens of each sequence, in a cache of its
// own, and runs @shard; whatever engine gathers the results, stacked, runs @join.
// A shard may hold no token of a sequence: it yields the empty state.

// What a shard says of its tokens: the state of those that it attended, a bound of
// the mass of the others, and the largest norms of its keys and values.
func.func @shard(
    %q: tensor<8x32x128xbf16> loc("q"),
    %k: tensor<?x8x16x128xbf16> loc("k"), %v: tensor<?x8x16x128xbf16> loc("v"),
    %table: tensor<8x?xi32> loc("table"), %lens: tensor<8xi32> loc("lens"),
    %codes: tensor<?x8x16x64xi8> loc("codes"),
    %scales: tensor<?x8x16x4xf8E4M3FN> loc("scales"),
    %residuals: tensor<?x8x16xi8> loc("residuals"),
    %norms: tensor<?x8x2xf32> loc("norms"))
    -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
        tensor<8x8x2xf32>) {
  %tokens, %count, %tail = vashista.select %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) proving 256 tolerance 0.25 scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<8x?xi32>,
         tensor<8xi32>)
      -> (tensor<8x8x256xi32>, tensor<8x8xi32>, tensor<8x32xf32>)
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %o_empty = tensor.empty() : tensor<8x32x128xf32>
  %lse_empty = tensor.empty() : tensor<8x32xf32>
  %o_start = linalg.fill ins(%zero : f32)
      outs(%o_empty : tensor<8x32x128xf32>) -> tensor<8x32x128xf32>
  %lse_start = linalg.fill ins(%none : f32)
      outs(%lse_empty : tensor<8x32xf32>) -> tensor<8x32xf32>
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%tokens, %count) outs(%o_start, %lse_start) scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x?xi32>, tensor<8xi32>,
         tensor<8x8x256xi32>, tensor<8x8xi32>, tensor<8x32x128xf32>,
         tensor<8x32xf32>) -> (tensor<8x32x128xf32>, tensor<8x32xf32>)

  // Over the pages that hold visible tokens; the table says nothing of others.
  %size = arith.constant 16 : index
  %norms_empty = tensor.empty() : tensor<8x8x2xf32>
  %norms_start = linalg.fill ins(%zero : f32)
      outs(%norms_empty : tensor<8x8x2xf32>) -> tensor<8x8x2xf32>
  %row_norms = linalg.generic
      {indexing_maps = [affine_map<(r, h, i, p) -> (r, p)>,
                        affine_map<(r, h, i, p) -> (r)>,
                        affine_map<(r, h, i, p) -> (r, h, i)>],
       iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%table, %lens : tensor<8x?xi32>, tensor<8xi32>)
      outs(%norms_start : tensor<8x8x2xf32>) {
  ^bb0(%entry: i32, %len: i32, %most: f32):
    %h = linalg.index 1 : index
    %i = linalg.index 2 : index
    %p = linalg.index 3 : index
    %first = arith.muli %p, %size : index
    %length = arith.index_cast %len : i32 to index
    %visible = arith.cmpi slt, %first, %length : index
    %norm = scf.if %visible -> f32 {
      %page = arith.index_cast %entry : i32 to index
      %some = tensor.extract %norms[%page, %h, %i] : tensor<?x8x2xf32>
      scf.yield %some : f32
    } else {
      scf.yield %zero : f32
    }
    %larger = arith.maximumf %most, %norm : f32
    linalg.yield %larger : f32
  } -> tensor<8x8x2xf32>
  return %o, %lse, %tail, %row_norms
      : tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
        tensor<8x8x2xf32>
}

// What all shards together attended, and a certificate of it over the whole
// sequences. It is asked for here, once: of a shard that has next to nothing to
// say it may be that tau = 1, which is harmless.
func.func @join(
    %q: tensor<8x32x128xbf16> loc("q"),
    %os: tensor<?x8x32x128xf32> loc("os"), %lses: tensor<?x8x32xf32> loc("lses"),
    %tails: tensor<?x8x32xf32> loc("tails"),
    %norms: tensor<?x8x8x2xf32> loc("norms"))
    -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
        tensor<8x32xf32>) {
  %o, %lse = vashista.merge outputs(%os) lses(%lses)
      : (tensor<?x8x32x128xf32>, tensor<?x8x32xf32>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>)
  %tail = vashista.merge_tails %tails
      : (tensor<?x8x32xf32>) -> tensor<8x32xf32>
  // The largest norms, of the shards that hold tokens of the group's sequence. An op
  // that reads what all shards say of them makes the caller stack as many of each.
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %masses = arith.maximumf %lses, %tails : tensor<?x8x32xf32>
  %first = arith.constant 0 : index
  %shards = tensor.dim %masses, %first : tensor<?x8x32xf32>
  %groups = tensor.expand_shape %masses [[0], [1], [2, 3]]
      output_shape [%shards, 8, 8, 4]
      : tensor<?x8x32xf32> into tensor<?x8x8x4xf32>
  %empty = tensor.empty() : tensor<8x8x2xf32>
  %start = linalg.fill ins(%zero : f32)
      outs(%empty : tensor<8x8x2xf32>) -> tensor<8x8x2xf32>
  %largest = linalg.generic
      {indexing_maps = [affine_map<(r, h, i, n, g) -> (n, r, h, i)>,
                        affine_map<(r, h, i, n, g) -> (n, r, h, g)>,
                        affine_map<(r, h, i, n, g) -> (r, h, i)>],
       iterator_types = ["parallel", "parallel", "parallel", "reduction",
                         "reduction"]}
      ins(%norms, %groups : tensor<?x8x8x2xf32>, tensor<?x8x8x4xf32>)
      outs(%start : tensor<8x8x2xf32>) {
  ^bb0(%norm: f32, %mass: f32, %most: f32):
    %absent = arith.cmpf oeq, %mass, %none : f32
    %held = arith.select %absent, %zero, %norm : f32
    %larger = arith.maximumf %most, %held : f32
    linalg.yield %larger : f32
  } -> tensor<8x8x2xf32>
  // One page per row, with the norms of all of its tokens, which are at most as many
  // as 64 lists of 256: that bounds the rounding of sums over them.
  %table = arith.constant dense<[[0], [1], [2], [3], [4], [5], [6], [7]]>
      : tensor<8x1xi32>
  %lens = arith.constant dense<16384> : tensor<8xi32>
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail)
      norms(%largest) table(%table) lens(%lens) page_size 16384 scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<8x32x128xf32>, tensor<8x32xf32>,
         tensor<8x32xf32>, tensor<8x8x2xf32>, tensor<8x1xi32>, tensor<8xi32>)
      -> (tensor<8x32xf32>, tensor<8x32xf32>)
  return %o, %lse, %tau, %error
      : tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
        tensor<8x32xf32>
}
