// What most rows have no part in: a second round of picks, and a fallback.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu \
// RUN:   | FileCheck %s
// RUN: vashista-opt %s -split-input-file -vashista-lower-to-nvvm=format=nvvm \
// RUN:   | FileCheck %s --check-prefix=NVVM

// The second pick is given what the first has picked as bits, not as a list, and
// no list is padded for those who read as much of it as it counts.
// CHECK-LABEL: func.func @rounds(
// CHECK-NOT: memref.store %c-1_i32{{.*}} : memref<2x2x512xi32>
// NVVM-LABEL: func.func @rounds(
// NVVM: gpu.launch_func @kernels::@pick_1
// NVVM-SAME: args(%{{[^ ]+}} : memref<f32>, %{{[^ ]+}} : memref<f32>, %{{[^ ]+}} : memref<i32>, %[[IDS:[^ ]+]] : memref<i32>, %{{[^ ]+}} : memref<i32>, %{{[^ ]+}} : memref<f32>, %[[PICKED:[^ ]+]] : memref<i32>,
// NVVM: gpu.launch_func @kernels::@attend_0 {{.*}} %[[IDS]] : memref<i32>
// NVVM: gpu.launch_func @kernels::@pick_0
// NVVM-NOT: %[[IDS]] :
// NVVM-SAME: %[[PICKED]] : memref<i32>
// A block looks for rows that have something to do.
// NVVM: llvm.func @attend_1(
// NVVM: nvvm.vote.sync ballot
// NVVM: llvm.intr.ctpop
// NVVM: llvm.intr.cttz
// NVVM: nvvm.mma.sync
func.func @rounds(
    %q: tensor<2x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>,
    %scores: tensor<2x8x1024xf32>, %bounds: tensor<2x8x1024xf32>,
    %o0: tensor<2x8x128xf32>, %lse0: tensor<2x8xf32>)
    -> (tensor<2x8x128xf32>, tensor<2x2xi32>, tensor<2x8xf32>) {
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 sinks 4 window 64 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o1, %lse1 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids, %count) outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<2x64xi32>, tensor<2xi32>,
         tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8x128xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x128xf32>, tensor<2x8xf32>)
  %ids2, %count2, %tail2 = vashista.pick proving 512 tokens
      of(%scores, %bounds) lens(%lens) taken(%ids) attended(%lse1) kv_heads 2
      page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>,
         tensor<2x2x512xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %o2, %lse2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids2, %count2) outs(%o1, %lse1) scale 0.125
      : (tensor<2x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<2x64xi32>, tensor<2xi32>,
         tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8x128xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x128xf32>, tensor<2x8xf32>)
  return %o2, %count2, %tail2
      : tensor<2x8x128xf32>, tensor<2x2xi32>, tensor<2x8xf32>
}

// -----

// Whoever reads the list itself reads all of it.
// CHECK-LABEL: func.func @list(
// CHECK: gpu.func @pick_0(
// CHECK: memref.store %c-1_i32{{.*}} : memref<2x2x512xi32>
// NVVM-LABEL: func.func @list(
func.func @list(
    %lens: tensor<2xi32>, %scores: tensor<2x8x1024xf32>,
    %bounds: tensor<2x8x1024xf32>)
    -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>) {
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 sinks 4 window 64 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %ids, %count, %tail
      : tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>
}

// -----

// Two picks take up one list: both read the bits that the first leaves.
// NVVM-LABEL: func.func @twice(
// NVVM: gpu.launch_func @kernels::@pick_2
// NVVM-SAME: args(%{{[^ ]+}} : memref<f32>, %{{[^ ]+}} : memref<f32>, %{{[^ ]+}} : memref<i32>, %{{[^ ]+}} : memref<i32>, %{{[^ ]+}} : memref<i32>, %{{[^ ]+}} : memref<f32>, %[[PICKED:[^ ]+]] : memref<i32>,
// NVVM: gpu.launch_func @kernels::@pick_1 {{.*}} %[[PICKED]] : memref<i32>
// NVVM: gpu.launch_func @kernels::@pick_0 {{.*}} %[[PICKED]] : memref<i32>
// CHECK-LABEL: func.func @twice(
func.func @twice(
    %lens: tensor<2xi32>, %scores: tensor<2x8x1024xf32>,
    %bounds: tensor<2x8x1024xf32>, %lse1: tensor<2x8xf32>,
    %lse2: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>) {
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 sinks 4 window 64 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %ids1, %count1, %tail1 = vashista.pick proving 512 tokens
      of(%scores, %bounds) lens(%lens) taken(%ids) attended(%lse1) kv_heads 2
      page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>,
         tensor<2x2x512xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %ids2, %count2, %tail2 = vashista.pick proving 512 tokens
      of(%scores, %bounds) lens(%lens) taken(%ids) attended(%lse2) kv_heads 2
      page_size 16 tolerance 0.25
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>,
         tensor<2x2x512xi32>, tensor<2x8xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %tail1, %tail2 : tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// 512 groups that hardly ever have anything to do: 1,024 blocks, the last of each
// group merges its splits, and others keep what there is.
// CHECK-LABEL: func.func @fallback(
// CHECK: linalg.fill ins(%c0_i32{{.*}}) outs(%{{.*}} : memref<?xi32>)
// CHECK: gpu.launch_func @kernels::@attend_0 blocks in (%c1{{.*}}, %c32{{.*}}, %c32{{.*}}) threads in (%c128
// CHECK-NOT: gpu.launch_func
// CHECK: gpu.func @attend_0(
// CHECK: nvvm.vote.sync ballot
// CHECK: memref.store %false{{.*}} : memref<16x32xi1>
// CHECK: nvvm.vote.sync ballot
// CHECK: memref.store %true{{.*}} : memref<16x32xi1>
// CHECK: nvvm.mma.sync
// CHECK: nvvm.memory.barrier <gpu>
// CHECK: memref.atomic_rmw addi
// CHECK: nvvm.memory.barrier <gpu>
// CHECK: memref.store %true{{.*}} : memref<16x32xi1>
// NVVM-LABEL: func.func @fallback(
func.func @fallback(
    %q: tensor<16x32x128xbf16>, %k: tensor<?x32x16x128xbf16>,
    %table: tensor<16x8192xi32>, %lens: tensor<16xi32>,
    %o: tensor<16x32x128xf32>, %lse: tensor<16x32xf32>,
    %tau: tensor<16x32xf32>)
    -> (tensor<16x32x128xf32>, tensor<16x32xf32>, tensor<16x32xi1>) {
  %0:3 = vashista.fallback %q keys(%k) values(%k) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.5 scale 0.125
      : (tensor<16x32x128xbf16>, tensor<?x32x16x128xbf16>,
         tensor<?x32x16x128xbf16>, tensor<16x8192xi32>, tensor<16xi32>,
         tensor<16x32x128xf32>, tensor<16x32xf32>, tensor<16x32xf32>)
      -> (tensor<16x32x128xf32>, tensor<16x32xf32>, tensor<16x32xi1>)
  return %0#0, %0#1, %0#2
      : tensor<16x32x128xf32>, tensor<16x32xf32>, tensor<16x32xi1>
}

// -----

// A batch may be empty: rows are not divided by the rows of no block. The block
// that is the last of its group's loads what others have written, which no cache
// of memory that is only read may hold.
// CHECK-LABEL: func.func @later(
// CHECK: %[[GROUPS:.*]] = arith.muli %{{.*}}, %c2
// CHECK: %[[DONE:.*]] = memref.alloc(%[[GROUPS]]) {alignment = 64 : i64} : memref<?xi32>
// CHECK: linalg.fill ins(%c0_i32{{.*}}) outs(%[[DONE]] : memref<?xi32>)
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c1024
// CHECK: %[[SOME:.*]] = arith.maxui %[[BLOCKS]], %c1
// CHECK: %[[ROWS:.*]] = arith.minui %[[SOME]], %c32
// CHECK: arith.ceildivui %{{.*}}, %[[ROWS]]
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK-NOT: gpu.launch_func
// CHECK: gpu.func @attend_0(
// CHECK-NOT: memref<f32> {llvm.align = 16 : i64, llvm.noalias}
// CHECK-SAME: kernel
// NVVM-LABEL: func.func @later(
func.func @later(%q: memref<?x8x128xbf16>, %k: memref<?x2x16x128xbf16>,
                 %v: memref<?x2x16x128xbf16>, %table: memref<?x?xi32>,
                 %lens: memref<?xi32>, %ids: memref<?x2x4096xi32>,
                 %n: memref<?x2xi32>, %o: memref<?x8x128xf32>,
                 %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%ids, %n) outs(%o, %lse) scale 0.125
      : (memref<?x8x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?x2x4096xi32>, memref<?x2xi32>, memref<?x8x128xf32>,
         memref<?x8xf32>) -> ()
  return
}
