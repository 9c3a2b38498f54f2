// Of rows that are not known there are kernels for few and for many, of which
// the host launches one.

// RUN: vashista-opt %s -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule -convert-vashista-to-gpu -canonicalize \
// RUN:   | FileCheck %s
// Of more multiprocessors larger clusters have room for more.
// RUN: vashista-opt %s -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule=multiprocessors=1024 \
// RUN:   -convert-vashista-to-gpu=multiprocessors=1024 -canonicalize \
// RUN:   | FileCheck %s --check-prefix=LARGE
// Without clusters there are blocks of many warps, and of few.
// RUN: vashista-opt %s -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule=clusters=1 \
// RUN:   -convert-vashista-to-gpu=clusters=1 -canonicalize \
// RUN:   | FileCheck %s --check-prefix=ALONE
// RUN: not vashista-opt %s -convert-vashista-to-gpu=multiprocessors=0 2>&1 \
// RUN:   | FileCheck %s --check-prefix=NONE

// NONE: error: expected multiprocessors to be at least 1, got 0

// One row of 8 KV heads has room for 8 clusters of 8, eight rows for 64 of 2.
// CHECK-LABEL: func.func @best(
// CHECK: memref.alloc({{.*}}) {{.*}} : memref<?x32x128xf32>
// CHECK: %[[FEW:.*]] = arith.cmpi ule, %{{.*}}, %c1 : index
// CHECK: scf.if %[[FEW]] {
// CHECK: gpu.launch_func  @kernels::@[[EIGHT:attend_best.*]] blocks in (%c8, %{{.*}}, %c8) threads in (%c256, %c1, %c1)
// CHECK: } else {
// CHECK: %[[MORE:.*]] = arith.cmpi ule, %{{.*}}, %c8 : index
// CHECK: scf.if %[[MORE]] {
// CHECK: gpu.launch_func  @kernels::@[[TWO:attend_best.*]] blocks in (%c8, %{{.*}}, %c2) threads in (%c256, %c1, %c1)
// CHECK: } else {
// CHECK: %[[MANY:.*]] = arith.cmpi ule, %{{.*}}, %c32 : index
// CHECK: scf.if %[[MANY]] {
// CHECK: gpu.launch_func  @kernels::@[[ONE:attend_best.*]] blocks in (%c8, %{{.*}}, %c1) threads in (%c512, %c1, %c1)
// CHECK: } else {
// CHECK: gpu.launch_func  @kernels::@[[SMALL:attend_best.*]] blocks in (%c8, %{{.*}}, %c1) threads in (%c128, %c1, %c1)
// CHECK-NOT: scf.if
// LARGE-LABEL: func.func @best(
// LARGE: arith.cmpi ule, %{{.*}}, %c15 : index
// ALONE-LABEL: func.func @best(
// ALONE: arith.cmpi ule, %{{.*}}, %c32 : index
// ALONE: gpu.launch_func  @kernels::@attend_best{{.*}} threads in (%c512, %c1, %c1)
// ALONE: } else {
// ALONE: gpu.launch_func  @kernels::@attend_best{{.*}} threads in (%c128, %c1, %c1)
// ALONE-NOT: scf.if
func.func @best(
    %q: tensor<?x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<?x512xi32>,
    %lens: tensor<?xi32>, %mean: tensor<?x8x128xbf16>)
    -> tensor<?x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<?x512xi32>, tensor<?xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x32xf32>,
          tensor<?x32xf32>, tensor<?x8xi32>, tensor<?x8xi1>)
  return %o : tensor<?x32x128xf32>
}

// Two to a multiprocessor are for more groups than there are multiprocessors.
// What is picked from is the same, and so is what a later round, of which most
// blocks end at once, takes up.
// CHECK-LABEL: func.func @certified(
// CHECK: scf.if
// CHECK: gpu.launch_func  @kernels::@[[P8:pick.*]] blocks in (%{{.*}}, %c8, %c8)
// CHECK: scf.if
// CHECK: gpu.launch_func  @kernels::@[[P2:pick.*]] blocks in (%{{.*}}, %c8, %c2)
// CHECK: arith.cmpi ule, %{{.*}}, %c16 : index
// CHECK: gpu.launch_func  @kernels::@[[P1:pick.*]] blocks in (%{{.*}}, %c8, %c1)
// CHECK: gpu.launch_func  @kernels::@[[PN:pick.*]] blocks in (%{{.*}}, %c8, %c1)
// CHECK: gpu.launch_func  @kernels::@[[LATER:pick.*]] blocks in (%{{.*}}, %c8, %c8)
// ALONE-LABEL: func.func @certified(
// ALONE: arith.cmpi ule, %{{.*}}, %c16 : index
// ALONE: gpu.launch_func  @kernels::@pick{{.*}} blocks in (%{{.*}}, %c8, %c1)
// ALONE: } else {
// ALONE: gpu.launch_func  @kernels::@pick{{.*}} blocks in (%{{.*}}, %c8, %c1)
// ALONE-NOT: scf.if
// ALONE: return
func.func @certified(
    %q: tensor<?x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<?x8192xi32>,
    %lens: tensor<?xi32>, %codes: tensor<?x8x16x64xi8>,
    %scales: tensor<?x8x16x4xf8E4M3FN>, %residuals: tensor<?x8x16xi8>,
    %norms: tensor<?x8x2xf32>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x8xi1>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      norms(%norms)
      policy <pages = 0, candidates = 8192, sinks = 4, window = 64,
              pick = proving, tolerance = 0.5, rounds = 2, fallback = dense>
      scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<?x8192xi32>, tensor<?xi32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>,
         tensor<?x8x16xi8>, tensor<?x8x2xf32>)
      -> (tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x32xf32>,
          tensor<?x32xf32>, tensor<?x8xi32>, tensor<?x8xi1>)
  return %o, %tau, %flag
      : tensor<?x32x128xf32>, tensor<?x32xf32>, tensor<?x8xi1>
}

// What is written stays, of any rows.
// CHECK-LABEL: func.func @written(
// CHECK: gpu.launch_func @kernels::@[[WRITTEN:pick.*]] blocks in (%{{.*}}, %c2, %c8) threads in (%c256, %c1, %c1)
// CHECK-NOT: scf.if
// CHECK: return
// ALONE-LABEL: func.func @written(
func.func @written(
    %scores: tensor<?x8x65536xf32>, %lens: tensor<?xi32>)
    -> (tensor<?x2x64xi32>, tensor<?x2xi32>) {
  %ids, %count, %tail = vashista.pick top 64 tokens of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 schedule <warps = 8>
      : (tensor<?x8x65536xf32>, tensor<?x8x65536xf32>, tensor<?xi32>)
      -> (tensor<?x2x64xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  return %ids, %count : tensor<?x2x64xi32>, tensor<?x2xi32>
}

// Blocks of clusters have a multiprocessor each.
// CHECK-DAG: gpu.func @[[EIGHT]]({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>
// CHECK-DAG: gpu.func @[[TWO]]({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 2>
// CHECK-DAG: gpu.func @[[SMALL]]({{.*}}nvvm.minctasm = 4
// CHECK-DAG: gpu.func @[[P8]]({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>{{.*}}nvvm.minctasm = 1
// CHECK-DAG: gpu.func @[[P2]]({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 2>{{.*}}nvvm.minctasm = 1
// CHECK-DAG: gpu.func @[[PN]]({{.*}}nvvm.minctasm = 2
// CHECK-DAG: gpu.func @[[WRITTEN]]({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>
// ALONE-NOT: nvvm.cluster_dim
