// Attention to what a sketch proves is one kernel with the score and the pick, where a
// schedule says so, or is not there and all clusters run at once.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu -canonicalize -cse \
// RUN:   | FileCheck %s
// RUN: vashista-opt %s -split-input-file \
// RUN:   -convert-vashista-to-gpu=clusters=1 -canonicalize -cse \
// RUN:   | FileCheck %s --check-prefix=ALONE
// RUN: vashista-opt %s -split-input-file -vashista-assign-schedule \
// RUN:   | FileCheck %s --check-prefix=SCHEDULE

// The grid has KV heads, rows and whole clusters; what is left and how many are
// picked come from the merge. The certificate reads norms that blocks have found.
// CHECK-LABEL: func.func @prove(
// CHECK-NOT: vashista.
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[C16:.*]] = arith.constant 16 : index
// CHECK: gpu.launch_func @kernels::@attend_chunks_0 blocks in (%[[C2]], %{{.*}}, %[[C16]]) threads
// CHECK: gpu.launch_func @kernels::@merge_0
// CHECK-NOT: gpu.launch_func
// CHECK: return
// CHECK: gpu.func @attend_chunks_0
// CHECK-SAME: nvvm.cluster_dim = array<i32: 1, 1, 8>
// Scores of the sketch, then of keys.
// CHECK: nvgpu.device_async_copy
// CHECK: nvvm.mma.sync
// CHECK: nvvm.cluster.arrive
// CHECK: memref.atomic_rmw addi
// CHECK: nvvm.cluster.wait
// CHECK: nvgpu.device_async_copy

// Chunks of a block each need too many tokens.
// ALONE-LABEL: func.func @prove(
// ALONE: gpu.launch_func @kernels::@sketch_scan_0

// SCHEDULE-LABEL: func.func @prove(
// SCHEDULE: vashista.score
// SCHEDULE-NOT: schedule
// SCHEDULE: vashista.pick
// SCHEDULE-NOT: schedule
// SCHEDULE: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 2, split = 256, blocks = 3, cluster = 8, fuse = true>
#sketch = #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>
func.func @prove(%q: tensor<3x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<3x256xi32>, %lens: tensor<3xi32>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>)
    -> (tensor<3x8x128xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x2xi32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<3x8x128xf32>
  %el = tensor.empty() : tensor<3x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<3x8x128xf32>)
      -> tensor<3x8x128xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<3x8xf32>)
      -> tensor<3x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<3x256xi32>,
         tensor<3xi32>) -> (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>)
  %ids, %count, %tail = vashista.pick proving 2048 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 sinks 4 window 64 tolerance 0.5
      : (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>, tensor<3xi32>)
      -> (tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %l0) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x256xi32>, tensor<3xi32>,
         tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8x128xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x128xf32>, tensor<3x8xf32>)
  return %o, %lse, %tail, %count
      : tensor<3x8x128xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x2xi32>
}

// -----

// A list that others read is written, by a pick of its own; and rows that are not
// known may be more than run at once.
// CHECK-LABEL: func.func @listed(
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: vashista.attend
// SCHEDULE-LABEL: func.func @listed(
// SCHEDULE: vashista.pick {{.*}} schedule <
// SCHEDULE-LABEL: func.func @any(
// SCHEDULE: vashista.pick {{.*}} schedule <
#sketch = #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>
func.func @listed(%q: tensor<3x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<3x256xi32>, %lens: tensor<3xi32>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>, %o0: tensor<3x8x128xf32>, %l0: tensor<3x8xf32>)
    -> (tensor<3x8x128xf32>, tensor<3x2x2048xi32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %fo = linalg.fill ins(%zero : f32) outs(%o0 : tensor<3x8x128xf32>)
      -> tensor<3x8x128xf32>
  %fl = linalg.fill ins(%none : f32) outs(%l0 : tensor<3x8xf32>)
      -> tensor<3x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<3x256xi32>,
         tensor<3xi32>) -> (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>)
  %ids, %count, %tail = vashista.pick proving 2048 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>, tensor<3xi32>)
      -> (tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%fo, %fl) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x256xi32>, tensor<3xi32>,
         tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8x128xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x128xf32>, tensor<3x8xf32>)
  return %o, %ids : tensor<3x8x128xf32>, tensor<3x2x2048xi32>
}

func.func @any(%q: tensor<?x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<?x256xi32>, %lens: tensor<?xi32>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>, %o0: tensor<?x8x128xf32>, %l0: tensor<?x8xf32>)
    -> tensor<?x8x128xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %fo = linalg.fill ins(%zero : f32) outs(%o0 : tensor<?x8x128xf32>)
      -> tensor<?x8x128xf32>
  %fl = linalg.fill ins(%none : f32) outs(%l0 : tensor<?x8xf32>)
      -> tensor<?x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<?x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<?x256xi32>,
         tensor<?xi32>) -> (tensor<?x8x4096xf32>, tensor<?x8x4096xf32>)
  %ids, %count, %tail = vashista.pick proving 2048 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<?x8x4096xf32>, tensor<?x8x4096xf32>, tensor<?xi32>)
      -> (tensor<?x2x2048xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%fo, %fl) scale 0.125
      : (tensor<?x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<?x256xi32>, tensor<?xi32>,
         tensor<?x2x2048xi32>, tensor<?x2xi32>, tensor<?x8x128xf32>,
         tensor<?x8xf32>) -> (tensor<?x8x128xf32>, tensor<?x8xf32>)
  return %o : tensor<?x8x128xf32>
}

// What lies outside is a part of the tail, and a tail that is read before the attend
// must be there.
// SCHEDULE-LABEL: func.func @outside(
// SCHEDULE: vashista.pick {{.*}} schedule <
func.func @outside(%q: tensor<3x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<3x256xi32>, %lens: tensor<3xi32>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>, %o0: tensor<3x8x128xf32>, %l0: tensor<3x8xf32>,
    %out: tensor<3x8xf32>)
    -> tensor<3x8x128xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %fo = linalg.fill ins(%zero : f32) outs(%o0 : tensor<3x8x128xf32>)
      -> tensor<3x8x128xf32>
  %fl = linalg.fill ins(%none : f32) outs(%l0 : tensor<3x8xf32>)
      -> tensor<3x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<3x256xi32>,
         tensor<3xi32>) -> (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>)
  %ids, %count, %tail = vashista.pick proving 2048 tokens of(%s, %b) lens(%lens)
      outside(%out) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>, tensor<3xi32>, tensor<3x8xf32>)
      -> (tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%fo, %fl) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x256xi32>, tensor<3xi32>,
         tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8x128xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x128xf32>, tensor<3x8xf32>)
  return %o : tensor<3x8x128xf32>
}

// SCHEDULE-LABEL: func.func @early(
// SCHEDULE: vashista.pick {{.*}} schedule <
func.func @early(%q: tensor<3x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<3x256xi32>, %lens: tensor<3xi32>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %norms: tensor<?x2x16xi8>, %o0: tensor<3x8x128xf32>, %l0: tensor<3x8xf32>)
    -> (tensor<3x8x128xf32>, tensor<3x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %fo = linalg.fill ins(%zero : f32) outs(%o0 : tensor<3x8x128xf32>)
      -> tensor<3x8x128xf32>
  %fl = linalg.fill ins(%none : f32) outs(%l0 : tensor<3x8xf32>)
      -> tensor<3x8xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<3x256xi32>,
         tensor<3xi32>) -> (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>)
  %ids, %count, %tail = vashista.pick proving 2048 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<3x8x4096xf32>, tensor<3x8x4096xf32>, tensor<3xi32>)
      -> (tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  %early = vashista.merge_tails %tail, %tail
      : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%fo, %fl) scale 0.125
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x256xi32>, tensor<3xi32>,
         tensor<3x2x2048xi32>, tensor<3x2xi32>, tensor<3x8x128xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x128xf32>, tensor<3x8xf32>)
  return %o, %early : tensor<3x8x128xf32>, tensor<3x8xf32>
}
