// Pages of which the 16 tokens of a product lie in several.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu | FileCheck %s

// Rows of 5 bits are 80 bytes, five chunks of 16, each of which is copied from
// the page of its token: of the 64 pages of a step a lane has two, and tells
// them to others. Rows of levels are padded to whole tiles of 64: those of slots
// that follow each other are written together.
// CHECK-LABEL: func.func @of_one(
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x8x8064xi8>
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x2x8064xf16>
// What both KV heads have of a token lies together: half of a block's warps have
// one of them, and half of the slots that a schedule's split would be of one.
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x8x4x4xf32>
// CHECK: gpu.func @sketch_scan_0
// CHECK: %[[FIRST_HEAD:.*]] = arith.muli %block_id_x, %c2
// CHECK: %[[OF_WARP:.*]] = arith.remui %{{.*}}, %c2
// CHECK: arith.addi %[[FIRST_HEAD]], %[[OF_WARP]]
// CHECK: gpu.shuffle idx %[[FIRST:[^ ]+]], %[[OF:[^ ]+]],
// CHECK: %[[IS_OTHER:.*]] = arith.cmpi uge, %[[OF]], %c32_i32
// CHECK: gpu.shuffle idx %[[OTHER:[^ ]+]], %[[OF]],
// CHECK: arith.select %[[IS_OTHER]]
// CHECK: nvgpu.device_async_copy
// CHECK: gpu.shuffle idx %[[FIRST]],
// CHECK: gpu.shuffle idx %[[OTHER]],
// CHECK-COUNT-9: nvgpu.device_async_copy
// CHECK: nvgpu.device_async_wait
// CHECK: nvvm.mma.sync
func.func @of_one(
    %q: tensor<2x8x128xbf16>, %codes: tensor<?x2x1x80xi8>,
    %scales: tensor<?x2x1x4xf8E4M3FN>, %norms: tensor<?x2x1xi8>,
    %table: tensor<2x8001xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x512xi32>, tensor<2x2xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 4096>
      : (tensor<2x8x128xbf16>, tensor<?x2x1x80xi8>,
         tensor<?x2x1x4xf8E4M3FN>, tensor<?x2x1xi8>, tensor<2x8001xi32>,
         tensor<2xi32>) -> (tensor<2x8x8001xf32>, tensor<2x8x8001xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 1 tolerance 0.5
      : (tensor<2x8x8001xf32>, tensor<2x8x8001xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count : tensor<2x2x512xi32>, tensor<2x2xi32>
}

// -----

// Rows of 60 bytes: those of a page of four are 15 chunks, and copied; norms of
// four tokens are a word.
// CHECK-LABEL: func.func @of_four(
// CHECK: gpu.func @sketch_scan_0
// CHECK: gpu.shuffle idx
// CHECK-NOT: gpu.shuffle idx
// CHECK: nvgpu.device_async_copy
// CHECK: vector.load {{.*}} {alignment = 4 : i64} : memref<?x2x4xi8>, vector<4xi8>
// CHECK: nvgpu.device_async_wait
func.func @of_four(
    %q: tensor<2x8x96xbf16>, %codes: tensor<?x2x4x60xi8>,
    %scales: tensor<?x2x4x3xf8E4M3FN>, %norms: tensor<?x2x4xi8>,
    %table: tensor<2x2000xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x512xi32>, tensor<2x2xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 4096>
      : (tensor<2x8x96xbf16>, tensor<?x2x4x60xi8>,
         tensor<?x2x4x3xf8E4M3FN>, tensor<?x2x4xi8>, tensor<2x2000xi32>,
         tensor<2xi32>) -> (tensor<2x8x8000xf32>, tensor<2x8x8000xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 4 tolerance 0.5
      : (tensor<2x8x8000xf32>, tensor<2x8x8000xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count : tensor<2x2x512xi32>, tensor<2x2xi32>
}

// -----

// Those of two are no whole chunks: each slot is looked up, and lanes load what
// they need of its token.
// CHECK-LABEL: func.func @of_two(
// CHECK: gpu.func @sketch_scan_0
// CHECK-NOT: nvgpu.device_async_copy
// CHECK: vector.store {{.*}} : memref<2x2x8000xf16>, vector<2xf16>
// CHECK: gpu.return
func.func @of_two(
    %q: tensor<2x8x96xbf16>, %codes: tensor<?x2x2x60xi8>,
    %scales: tensor<?x2x2x3xf8E4M3FN>, %norms: tensor<?x2x2xi8>,
    %table: tensor<2x4000xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x512xi32>, tensor<2x2xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 4096>
      : (tensor<2x8x96xbf16>, tensor<?x2x2x60xi8>,
         tensor<?x2x2x3xf8E4M3FN>, tensor<?x2x2xi8>, tensor<2x4000xi32>,
         tensor<2xi32>) -> (tensor<2x8x8000xf32>, tensor<2x8x8000xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 2 tolerance 0.5
      : (tensor<2x8x8000xf32>, tensor<2x8x8000xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count : tensor<2x2x512xi32>, tensor<2x2xi32>
}

// -----

// Of pages of 24 tokens eight at a time lie in one.
// CHECK-LABEL: func.func @of_24(
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x8x7232xi8>
// CHECK: gpu.func @sketch_scan_0
// CHECK: %[[LANE:.*]] = arith.remui %{{.*}}, %c8
// CHECK-COUNT-10: nvgpu.device_async_copy
// CHECK: nvgpu.device_async_wait
func.func @of_24(
    %q: tensor<2x8x128xbf16>, %codes: tensor<?x2x24x80xi8>,
    %scales: tensor<?x2x24x4xf8E4M3FN>, %norms: tensor<?x2x24xi8>,
    %table: tensor<2x300xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x512xi32>, tensor<2x2xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 4096>
      : (tensor<2x8x128xbf16>, tensor<?x2x24x80xi8>,
         tensor<?x2x24x4xf8E4M3FN>, tensor<?x2x24xi8>, tensor<2x300xi32>,
         tensor<2xi32>) -> (tensor<2x8x7200xf32>, tensor<2x8x7200xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 24 tolerance 0.5
      : (tensor<2x8x7200xf32>, tensor<2x8x7200xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count : tensor<2x2x512xi32>, tensor<2x2xi32>
}

// -----

// A warp for each KV head, in two blocks of four.
// CHECK-LABEL: func.func @of_eight_heads(
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x32x8x4xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%c2{{.*}}, %c8{{.*}}, %c2{{.*}})
// CHECK: gpu.func @sketch_scan_0
// CHECK: %[[FIRST_HEAD:.*]] = arith.muli %block_id_x, %c4
// CHECK: %[[OF_WARP:.*]] = arith.remui %{{.*}}, %c4
// CHECK: arith.addi %[[FIRST_HEAD]], %[[OF_WARP]]
func.func @of_eight_heads(
    %q: tensor<2x32x128xbf16>, %codes: tensor<?x8x1x80xi8>,
    %scales: tensor<?x8x1x4xf8E4M3FN>, %norms: tensor<?x8x1xi8>,
    %table: tensor<2x8001xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x512xi32>, tensor<2x8xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 4096>
      : (tensor<2x32x128xbf16>, tensor<?x8x1x80xi8>,
         tensor<?x8x1x4xf8E4M3FN>, tensor<?x8x1xi8>, tensor<2x8001xi32>,
         tensor<2xi32>) -> (tensor<2x32x8001xf32>, tensor<2x32x8001xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 8 page_size 1 tolerance 0.5
      : (tensor<2x32x8001xf32>, tensor<2x32x8001xf32>, tensor<2xi32>)
      -> (tensor<2x8x512xi32>, tensor<2x8xi32>, tensor<2x32xf32>)
  return %ids, %count : tensor<2x8x512xi32>, tensor<2x8xi32>
}

// -----

// Copies of rows of 128 bytes have no room in a block, for however many KV heads.
// CHECK-LABEL: func.func @of_eight_bits(
// CHECK: gpu.func @sketch_scan_0
// CHECK: arith.muli %block_id_x, %c4
// CHECK-NOT: nvgpu.device_async_copy
// CHECK: gpu.return
func.func @of_eight_bits(
    %q: tensor<2x32x128xbf16>, %codes: tensor<?x8x1x128xi8>,
    %scales: tensor<?x8x1x4xf8E4M3FN>, %norms: tensor<?x8x1xi8>,
    %table: tensor<2x8001xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x8x512xi32>, tensor<2x8xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 8, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 4096>
      : (tensor<2x32x128xbf16>, tensor<?x8x1x128xi8>,
         tensor<?x8x1x4xf8E4M3FN>, tensor<?x8x1xi8>, tensor<2x8001xi32>,
         tensor<2xi32>) -> (tensor<2x32x8001xf32>, tensor<2x32x8001xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 8 page_size 1 tolerance 0.5
      : (tensor<2x32x8001xf32>, tensor<2x32x8001xf32>, tensor<2xi32>)
      -> (tensor<2x8x512xi32>, tensor<2x8xi32>, tensor<2x32xf32>)
  return %ids, %count : tensor<2x8x512xi32>, tensor<2x8xi32>
}

// -----

// A warp has one step, whose codes are copied, too. Of two heads a lane has two
// tiles: one exchange with the lane of the next quad, and four levels together;
// spreads of all tiles at once.
// CHECK-LABEL: func.func @of_two_heads(
// CHECK: gpu.func @sketch_scan_0
// CHECK: nvgpu.device_async_copy
// CHECK: nvgpu.device_async_wait
// CHECK: vector.store {{.*}} {alignment = 4 : i64} : memref<2x2x256xf16>, vector<2xf16>
// CHECK-NOT: memref<2x2x256xf16>
// CHECK: vector.store {{.*}} {alignment = 4 : i64} : memref<2x4x256xi8>, vector<4xi8>
// What is not a whole step, too.
// CHECK-NOT: memref<2x4x256xi8>
// CHECK: vector.store {{.*}} {alignment = 4 : i64} : memref<2x2x256xf16>, vector<2xf16>
// CHECK-NOT: memref<2x2x256xf16>
// CHECK: vector.store {{.*}} {alignment = 4 : i64} : memref<2x4x256xi8>, vector<4xi8>
// CHECK-NOT: vector.store
// CHECK: nvvm.griddepcontrol
func.func @of_two_heads(
    %q: tensor<2x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x16xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x64xi32>, tensor<2x2xi32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.088388
      schedule <split = 256>
      : (tensor<2x4x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<2x16xi32>,
         tensor<2xi32>) -> (tensor<2x4x256xf32>, tensor<2x4x256xf32>)
  %ids, %count, %tail = vashista.pick proving 64 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x256xf32>, tensor<2x4x256xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  return %ids, %count : tensor<2x2x64xi32>, tensor<2x2xi32>
}
