// What a kernel cannot be is an error at its op.

// RUN: vashista-opt %s -split-input-file -verify-diagnostics \
// RUN:   -convert-vashista-to-gpu
// RUN: vashista-opt %s -split-input-file -verify-diagnostics \
// RUN:   -vashista-assign-schedule

func.func @attend_warps(%q: memref<2x8x128xbf16>, %k: memref<?x1x16x128xbf16>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %o: memref<2x8x128xf32>,
    %lse: memref<2x8xf32>) {
  // expected-error @+1 {{expected a schedule with warps at most 8, got 16}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <warps = 16>
      : (memref<2x8x128xbf16>, memref<?x1x16x128xbf16>,
         memref<?x1x16x128xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<2x8x128xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @attend_vector(%q: memref<2x8x128xbf16>, %k: memref<?x1x16x128xbf16>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %o: memref<2x8x128xf32>,
    %lse: memref<2x8xf32>) {
  // expected-error @+1 {{expected a schedule with vector = 8, got 4}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <vector = 4>
      : (memref<2x8x128xbf16>, memref<?x1x16x128xbf16>,
         memref<?x1x16x128xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<2x8x128xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @attend_split(%q: memref<2x8x128xbf16>, %k: memref<?x1x16x128xbf16>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %o: memref<2x8x128xf32>,
    %lse: memref<2x8xf32>) {
  // expected-error @+1 {{expected a schedule with split a multiple of 16, got 100}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <split = 100>
      : (memref<2x8x128xbf16>, memref<?x1x16x128xbf16>,
         memref<?x1x16x128xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<2x8x128xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @attend_cluster(%q: memref<2x8x128xbf16>, %k: memref<?x1x16x128xbf16>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %o: memref<2x8x128xf32>,
    %lse: memref<2x8xf32>) {
  // expected-error @+1 {{expected a schedule with cluster = 1, got 2}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <cluster = 2>
      : (memref<2x8x128xbf16>, memref<?x1x16x128xbf16>,
         memref<?x1x16x128xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<2x8x128xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @attend_blocks(%q: memref<2x8x64xbf16>, %k: memref<?x1x16x64xbf16>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %o: memref<2x8x64xf32>,
    %lse: memref<2x8xf32>) {
  // expected-error @+1 {{expected a schedule with warps * blocks at most 64, got 80}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <warps = 16, blocks = 5>
      : (memref<2x8x64xbf16>, memref<?x1x16x64xbf16>,
         memref<?x1x16x64xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<2x8x64xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @attend_fuse(%q: memref<2x8x128xbf16>, %k: memref<?x1x16x128xbf16>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %o: memref<2x8x128xf32>,
    %lse: memref<2x8xf32>) {
  // expected-error @+1 {{expected a schedule with fuse = false of what is not one kernel, got true: expected softmax attention over tokens, from nothing}}
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <fuse = true>
      : (memref<2x8x128xbf16>, memref<?x1x16x128xbf16>,
         memref<?x1x16x128xbf16>, memref<2x?xi32>, memref<2xi32>,
         memref<2x8x128xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @score_split(%q: tensor<4x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) -> tensor<4x8x?xf32> {
  // expected-error @+1 {{expected a schedule with split a multiple of 32, got 300}}
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125 schedule <split = 300>
      : (tensor<4x8x128xbf16>, tensor<?x2x128xbf16>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return %s : tensor<4x8x?xf32>
}

// -----

func.func @score_stages(%q: tensor<4x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) -> tensor<4x8x?xf32> {
  // expected-error @+1 {{expected a schedule with stages a power of two, got 3}}
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125 schedule <stages = 3>
      : (tensor<4x8x128xbf16>, tensor<?x2x128xbf16>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return %s : tensor<4x8x?xf32>
}

// -----

func.func @score_vector(%q: tensor<4x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) -> tensor<4x8x?xf32> {
  // expected-error @+1 {{expected a schedule with vector = 8, got 16}}
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125 schedule <vector = 16>
      : (tensor<4x8x128xbf16>, tensor<?x2x128xbf16>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return %s : tensor<4x8x?xf32>
}

// -----

func.func @score_cluster(%q: tensor<4x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) -> tensor<4x8x?xf32> {
  // expected-error @+1 {{expected a schedule with cluster = 1, got 4}}
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125 schedule <cluster = 4>
      : (tensor<4x8x128xbf16>, tensor<?x2x128xbf16>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return %s : tensor<4x8x?xf32>
}

// -----

func.func @score_fuse(%q: tensor<4x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) -> tensor<4x8x?xf32> {
  // expected-error @+1 {{expected a schedule with fuse = false, got true}}
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125 schedule <fuse = true>
      : (tensor<4x8x128xbf16>, tensor<?x2x128xbf16>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return %s : tensor<4x8x?xf32>
}

// -----

func.func @sketch_split(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>) -> tensor<3x4x?xf32> {
  // expected-error @+1 {{expected a schedule with split a multiple of 64, got 96}}
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125 schedule <split = 96>
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s : tensor<3x4x?xf32>
}

// -----

func.func @sketch_stages(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>) -> tensor<3x4x?xf32> {
  // expected-error @+1 {{expected a schedule with stages = 4, got 2}}
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125 schedule <stages = 2>
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s : tensor<3x4x?xf32>
}

// -----

// Directions that do not stay in registers are rounded first.
func.func @sketch_fuse(
    %q: tensor<3x4x2048xbf16>, %codes: tensor<?x2x16x1024xi8>,
    %scales: tensor<?x2x16x64xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>) -> tensor<3x4x?xf32> {
  // expected-error @+1 {{expected a schedule with fuse = false where directions have no room in a block, got true}}
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125 schedule <fuse = true>
      : (tensor<3x4x2048xbf16>, tensor<?x2x16x1024xi8>,
         tensor<?x2x16x64xf8E4M3FN>, tensor<?x2x16xi8>, tensor<3x?xi32>,
         tensor<3xi32>) -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s : tensor<3x4x?xf32>
}

// -----

// Those of pages of 2 tokens have several KV heads in a block.
func.func @sketch_room(
    %q: tensor<3x128x1024xbf16>, %codes: tensor<?x16x2x512xi8>,
    %scales: tensor<?x16x2x32xf8E4M3FN>, %norms: tensor<?x16x2xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>) -> tensor<3x128x?xf32> {
  // expected-error @+1 {{expected a schedule with fuse = false where directions have no room in a block, got true}}
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      schedule <warps = 16, blocks = 1, fuse = true>
      : (tensor<3x128x1024xbf16>, tensor<?x16x2x512xi8>,
         tensor<?x16x2x32xf8E4M3FN>, tensor<?x16x2xi8>, tensor<3x?xi32>,
         tensor<3xi32>) -> (tensor<3x128x?xf32>, tensor<3x128x?xf32>)
  return %s : tensor<3x128x?xf32>
}

// -----

func.func @pick_warps(%scores: tensor<2x8x512xf32>, %lens: tensor<2xi32>)
    -> tensor<2x2x64xi32> {
  // expected-error @+1 {{expected a schedule with warps at least 4, got 2}}
  %ids, %count, %tail = vashista.pick top 64 pages of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <warps = 2>
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x64xi32>
}

// -----

func.func @pick_vector(%scores: tensor<2x8x512xf32>, %lens: tensor<2xi32>)
    -> tensor<2x2x64xi32> {
  // expected-error @+1 {{expected a schedule with vector = 4, got 8}}
  %ids, %count, %tail = vashista.pick top 64 pages of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <vector = 8>
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x64xi32>
}

// -----

func.func @pick_stages(%scores: tensor<2x8x?xf32>, %lens: tensor<2xi32>)
    -> tensor<2x2x64xi32> {
  // expected-error @+1 {{expected a schedule with stages = 8, got 1}}
  %ids, %count, %tail = vashista.pick top 64 tokens of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <stages = 1>
      : (tensor<2x8x?xf32>, tensor<2x8x?xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x64xi32>
}

// -----

func.func @pick_split(%scores: tensor<2x8x?xf32>, %lens: tensor<2xi32>)
    -> tensor<2x2x64xi32> {
  // expected-error @+1 {{expected a schedule with split = 0, got 1024}}
  %ids, %count, %tail = vashista.pick top 64 tokens of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <split = 1024>
      : (tensor<2x8x?xf32>, tensor<2x8x?xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x64xi32>
}

// -----

func.func @pick_cluster(%scores: tensor<2x8x512xf32>, %lens: tensor<2xi32>)
    -> tensor<2x2x64xi32> {
  // expected-error @+1 {{expected a schedule with cluster at most 1, got 2}}
  %ids, %count, %tail = vashista.pick top 64 pages of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <cluster = 2>
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x64xi32>
}

// -----

func.func @best_stands_alone(
    %q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>, %table: tensor<2x64xi32>,
    %lens: tensor<2xi32>, %pages: tensor<2x2x32xi32>) -> tensor<2x8x64xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %e0 = tensor.empty() : tensor<2x8x64xf32>
  %e1 = tensor.empty() : tensor<2x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%e1 : tensor<2x8xf32>) -> tensor<2x8xf32>
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages) scale 0.125
      schedule <warps = 4>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<2x64xi32>,
         tensor<2xi32>, tensor<2x2x32xi32>)
      -> (tensor<2x8x512xf32>, tensor<2x8x512xf32>)
  %ids, %count, %tail = vashista.pick top 128 tokens of(%s, %s) lens(%lens)
      within(%pages) kv_heads 2 page_size 16
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>,
         tensor<2x2x32xi32>)
      -> (tensor<2x2x128xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  // expected-error @+1 {{expected a schedule with fuse = false of what is not one kernel, got true: expected no schedules of the pick and the score}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %lse0) scale 0.125 schedule <fuse = true>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x128xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

func.func @best_warps(
    %q: tensor<2x32x128xbf16>, %k: tensor<?x2x16x128xbf16>, %table: tensor<2x64xi32>,
    %lens: tensor<2xi32>, %pages: tensor<2x2x32xi32>) -> tensor<2x32x128xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %e0 = tensor.empty() : tensor<2x32x128xf32>
  %e1 = tensor.empty() : tensor<2x32xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<2x32x128xf32>) -> tensor<2x32x128xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%e1 : tensor<2x32xf32>) -> tensor<2x32xf32>
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages) scale 0.125
      : (tensor<2x32x128xbf16>, tensor<?x2x16x128xbf16>, tensor<2x64xi32>,
         tensor<2xi32>, tensor<2x2x32xi32>)
      -> (tensor<2x32x512xf32>, tensor<2x32x512xf32>)
  %ids, %count, %tail = vashista.pick top 128 tokens of(%s, %s) lens(%lens)
      within(%pages) kv_heads 2 page_size 16
      : (tensor<2x32x512xf32>, tensor<2x32x512xf32>, tensor<2xi32>,
         tensor<2x2x32xi32>)
      -> (tensor<2x2x128xi32>, tensor<2x2xi32>, tensor<2x32xf32>)
  // expected-error @+1 {{expected a schedule with warps that 227 KiB have room for, got 32}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %lse0) scale 0.125 schedule <warps = 32, fuse = true>
      : (tensor<2x32x128xbf16>, tensor<?x2x16x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x128xi32>,
         tensor<2x2xi32>, tensor<2x32x128xf32>, tensor<2x32xf32>)
      -> (tensor<2x32x128xf32>, tensor<2x32xf32>)
  return %0#0 : tensor<2x32x128xf32>
}

// -----

func.func @best_split(
    %q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>, %table: tensor<2x64xi32>,
    %lens: tensor<2xi32>, %pages: tensor<2x2x32xi32>) -> tensor<2x8x64xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %e0 = tensor.empty() : tensor<2x8x64xf32>
  %e1 = tensor.empty() : tensor<2x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%e1 : tensor<2x8xf32>) -> tensor<2x8xf32>
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages) scale 0.125
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<2x64xi32>,
         tensor<2xi32>, tensor<2x2x32xi32>)
      -> (tensor<2x8x512xf32>, tensor<2x8x512xf32>)
  %ids, %count, %tail = vashista.pick top 128 tokens of(%s, %s) lens(%lens)
      within(%pages) kv_heads 2 page_size 16
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>,
         tensor<2x2x32xi32>)
      -> (tensor<2x2x128xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  // expected-error @+1 {{expected a schedule with split = 0, got 256}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %lse0) scale 0.125 schedule <split = 256, fuse = true>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x128xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

func.func @splits_of_pick(
    %scores: tensor<2x8x128xf32>, %bounds: tensor<2x8x128xf32>,
    %lens: tensor<2xi32>) -> tensor<2x2x16xi32> {
  // expected-error @+1 {{expected a schedule with splits = 0, got 4}}
  %ids, %count, %tail = vashista.pick top 16 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 schedule <splits = 4>
      : (tensor<2x8x128xf32>, tensor<2x8x128xf32>, tensor<2xi32>)
      -> (tensor<2x2x16xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x16xi32>
}

// -----

#sketch = #vashista.sketch<bits = 4, group = 32, norm = token>
func.func @chunks_with_moment(%q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>, %table: tensor<2x64xi32>, %lens: tensor<2xi32>,
    %moment: tensor<2x8xf32>) -> tensor<2x8x64xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x8x64xf32>
  %el = tensor.empty() : tensor<2x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<2x8xf32>) -> tensor<2x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<2x8x64xbf16>, tensor<?x2x16x32xi8>, tensor<?x2x16x2xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%s, %b) lens(%lens)
      moment(%moment) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  // expected-error @+1 {{expected a schedule with fuse = false of what is not one kernel, got true: expected a first list that proves all, without a moment, and that nobody else reads}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %l0) scale 0.125 schedule <fuse = true>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x512xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

#sketch = #vashista.sketch<bits = 4, group = 32, norm = token>
func.func @too_large_chunks(%q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>, %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> tensor<2x8x64xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x8x64xf32>
  %el = tensor.empty() : tensor<2x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<2x8xf32>) -> tensor<2x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<2x8x64xbf16>, tensor<?x2x16x32xi8>, tensor<?x2x16x2xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  // expected-error @+1 {{expected a schedule with warps, stages and a split that 75 KiB have room for, got 16384}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %l0) scale 0.125
      schedule <split = 16384, fuse = true>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x512xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}
