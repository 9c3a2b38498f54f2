// Kernels are what the schedules of their ops say.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu | FileCheck %s

// Twice the warps in half as many blocks of a multiprocessor, which have no room
// for copies; the loads of two tiles, of 16 and 16, before their products.
// CHECK-LABEL: func.func @attend(
// CHECK: arith.ceildivui %{{.*}}, %c512
// CHECK: gpu.launch_func @kernels::@attend_0 {{.*}} threads in (%c256{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.launch_func @kernels::@merge_0 {{.*}} threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.func @attend_0(
// CHECK-SAME: memref<8x4x128xf32, #gpu.address_space<workgroup>>
// CHECK-SAME: known_block_size = array<i32: 256, 1, 1>, nvvm.minctasm = 2 : i32
// CHECK: scf.for
// CHECK-NOT: nvvm.mma.sync
// CHECK-COUNT-32: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x16x128xbf16>, vector<8xbf16>
// CHECK-COUNT-32: nvvm.mma.sync
func.func @attend(%q: memref<?x8x128xbf16>, %k: memref<?x2x16x128xbf16>,
                  %v: memref<?x2x16x128xbf16>, %table: memref<?x?xi32>,
                  %lens: memref<?xi32>, %o: memref<?x8x128xf32>,
                  %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      schedule <warps = 8, split = 512, blocks = 2, stages = 2>
      : (memref<?x8x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?x8x128xf32>, memref<?x8xf32>) -> ()
  return
}

// -----

// Four blocks share a row's slots, more than 64 for each where there are many.
// CHECK-LABEL: func.func @share(
// CHECK: gpu.launch_func @kernels::@attend_0 blocks in ({{[^,]+}}, %c2{{[^,]*}}, %c4{{[^,]*}}) threads in (%c128
// CHECK: gpu.func @attend_0(
// CHECK: arith.ceildivui %{{.*}}, %arg
// CHECK: arith.maxsi
func.func @share(%q: memref<2x8x128xbf16>, %k: memref<?x2x16x128xbf16>,
                 %table: memref<2x64xi32>, %lens: memref<2xi32>,
                 %o: memref<2x8x128xf32>, %lse: memref<2x8xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <split = 64, splits = 4>
      : (memref<2x8x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<2x64xi32>, memref<2xi32>,
         memref<2x8x128xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

// A fallback is such an attend.
// CHECK-LABEL: func.func @fallback(
// CHECK: gpu.launch_func @kernels::@attend_0 {{.*}} threads in (%c64{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.func @attend_0({{.*}}known_block_size = array<i32: 64, 1, 1>, nvvm.minctasm = 7 : i32
func.func @fallback(
    %q: tensor<2x4x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %table: tensor<2x32xi32>, %lens: tensor<2xi32>, %o: tensor<2x4x64xf32>,
    %lse: tensor<2x4xf32>, %tau: tensor<2x4xf32>)
    -> (tensor<2x4x64xf32>, tensor<2x2xi1>) {
  %0:3 = vashista.fallback %q keys(%k) values(%k) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.5 scale 0.125
      schedule <warps = 2, blocks = 7>
      : (tensor<2x4x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x32xi32>, tensor<2xi32>, tensor<2x4x64xf32>,
         tensor<2x4xf32>, tensor<2x4xf32>)
      -> (tensor<2x4x64xf32>, tensor<2x4xf32>, tensor<2x2xi1>)
  return %0#0, %0#2 : tensor<2x4x64xf32>, tensor<2x2xi1>
}

// -----

// A lane loads two rows at once; a block has 512 of them.
// CHECK-LABEL: func.func @score_pages(
// CHECK: arith.ceildivui %{{.*}}, %c512
// CHECK: gpu.launch_func @kernels::@vector_scan_0 {{.*}} threads in (%c256{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.func @vector_scan_0({{.*}}known_block_size = array<i32: 256, 1, 1>, nvvm.minctasm = 3 : i32
// CHECK: scf.for
// CHECK-COUNT-2: vector.load {{.*}} : memref<?x2x128xbf16
// CHECK-NOT: vector.load
// CHECK: scf.yield
func.func @score_pages(
    %q: tensor<4x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<4xi32>) -> tensor<4x8x?xf32> {
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.125
      schedule <warps = 8, split = 512, stages = 2, blocks = 3>
      : (tensor<4x8x128xbf16>, tensor<?x2x128xbf16>, tensor<4x?xi32>,
         tensor<4xi32>) -> (tensor<4x8x?xf32>, tensor<4x8x?xf32>)
  return %s : tensor<4x8x?xf32>
}

// -----

// CHECK-LABEL: func.func @score_sketch(
// CHECK: arith.ceildivui %{{.*}}, %c256
// CHECK: memref.alloc({{.*}}) {alignment = 64 : i64} : memref<3x4x?x1xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 {{.*}} threads in (%c64{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.func @sketch_scan_0({{.*}}known_block_size = array<i32: 64, 1, 1>, nvvm.minctasm = 8 : i32
func.func @score_sketch(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      schedule <warps = 2, split = 256, blocks = 8>
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s, %b : tensor<3x4x?xf32>, tensor<3x4x?xf32>
}

// -----

// Two blocks have a list, where eight would be chosen.
// CHECK-LABEL: func.func @pick(
// CHECK: gpu.launch_func @kernels::@pick_0 blocks in (%c2{{.*}}, %c2{{.*}}, %c2{{.*}}) threads in (%c256{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.func @pick_0({{.*}}known_block_size = array<i32: 256, 1, 1>, nvvm.cluster_dim = array<i32: 1, 1, 2>, nvvm.minctasm = 5 : i32
func.func @pick(%scores: tensor<2x8x?xf32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x512xi32>, tensor<2x8xf32>) {
  %ids, %count, %tail = vashista.pick top 512 tokens of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16
      schedule <warps = 8, cluster = 2, blocks = 5>
      : (tensor<2x8x?xf32>, tensor<2x8x?xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %tail : tensor<2x2x512xi32>, tensor<2x8xf32>
}

// -----

// Few slots: a thread has as many as warps leave it.
// CHECK-LABEL: func.func @pick_few(
// CHECK: gpu.launch_func @kernels::@pick_0 blocks in (%c2{{.*}}, %c2{{.*}}, %c1{{.*}}) threads in (%c1024{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.func @pick_0({{.*}}known_block_size = array<i32: 1024, 1, 1>, nvvm.minctasm = 1 : i32
func.func @pick_few(%scores: tensor<2x8x512xf32>, %lens: tensor<2xi32>)
    -> tensor<2x2x64xi32> {
  %ids, %count, %tail = vashista.pick top 64 pages of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <warps = 32>
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids : tensor<2x2x64xi32>
}

// -----

// One kernel of four blocks; and, with schedules of their own, three.
// CHECK-LABEL: func.func @best(
// CHECK: gpu.launch_func @kernels::@attend_best_0 blocks in (%c2{{.*}}, %c2{{.*}}, %c4{{.*}}) threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.launch_func @kernels::@vector_scan_0
// CHECK: gpu.launch_func @kernels::@pick_0 {{.*}} threads in (%c128
// CHECK: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 2, split = 128, blocks = 3, cluster = 1>
// CHECK: gpu.func @attend_best_0({{.*}}known_block_size = array<i32: 128, 1, 1>, nvvm.cluster_dim = array<i32: 1, 1, 4>, nvvm.minctasm = 6 : i32
func.func @best(
    %q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>, %table: tensor<2x64xi32>,
    %lens: tensor<2xi32>, %pages: tensor<2x2x32xi32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>) {
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
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %lse0) scale 0.125
      schedule <warps = 4, blocks = 6, cluster = 4, fuse = true>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x128xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  %s1, %b1 = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages) scale 0.25
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<2x64xi32>,
         tensor<2xi32>, tensor<2x2x32xi32>)
      -> (tensor<2x8x512xf32>, tensor<2x8x512xf32>)
  %ids1, %count1, %tail1 = vashista.pick top 128 tokens of(%s1, %s1)
      lens(%lens) within(%pages) kv_heads 2 page_size 16
      : (tensor<2x8x512xf32>, tensor<2x8x512xf32>, tensor<2xi32>,
         tensor<2x2x32xi32>)
      -> (tensor<2x2x128xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids1, %count1) outs(%o0, %lse0) scale 0.25 schedule <warps = 4>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x128xi32>,
         tensor<2x2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0, %1#0 : tensor<2x8x64xf32>, tensor<2x8x64xf32>
}
