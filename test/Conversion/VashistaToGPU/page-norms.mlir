// A scan looks up all pages of a sequence, and with them the largest norms that a
// certificate of it needs.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu | FileCheck %s

// Each block leaves a pair, of its 128 slots here and so of up to 8 pages; whoever
// certifies reads these, and neither a page nor the table.
// CHECK-LABEL: func.func @certified(
// CHECK: %[[LARGEST:.*]] = memref.alloc() {alignment = 64 : i64} : memref<2x2x8x2xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: memref.extract_strided_metadata %[[LARGEST]] : memref<2x2x8x2xf32>
// CHECK: gpu.launch_func @kernels::@certify_0
// CHECK: gpu.func @sketch_scan_0(
// CHECK: nvvm.mma.sync
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x2x2xf32>, vector<2xf32>
// CHECK: arith.maximumf
// CHECK: memref.store %{{.*}} : memref<4x2xf32, #gpu.address_space<workgroup>>
// CHECK: memref.store %{{.*}} : memref<2x2x8x2xf32>
// CHECK: gpu.func @certify_0(
// CHECK-NOT: memref<?x2x2xf32>, vector
// CHECK-NOT: gpu.barrier
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<2x2x8x2xf32>, vector<2xf32>
// CHECK-NOT: gpu.barrier
// CHECK: math.sqrt
func.func @certified(
    %q: tensor<2x4x128xf32>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %residuals: tensor<?x2x16xi8>,
    %norms: tensor<?x2x2xf32>, %table: tensor<2x64xi32>, %lens: tensor<2xi32>,
    %o: tensor<2x4x128xf32>, %lse: tensor<2x4xf32>)
    -> (tensor<2x2x64xi32>, tensor<2x4xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return %p#0, %tau : tensor<2x2x64xi32>, tensor<2x4xf32>
}

// -----

// Pages of one token: a block has 64 slots of each of four KV heads, whose norms
// a thread loads together.
// CHECK-LABEL: func.func @of_one(
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x4x16x2xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%c1{{.*}}, %c16{{.*}}, %c2{{.*}})
// CHECK: gpu.func @sketch_scan_0(
// CHECK: nvvm.mma.sync
// CHECK-COUNT-8: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x4x2xf32>, vector<2xf32>
// CHECK-NOT: memref<?x4x2xf32>, vector<2xf32>
// CHECK-COUNT-8: memref.store %{{.*}} : memref<4x8xf32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: memref.store %{{.*}} : memref<2x4x16x2xf32>
func.func @of_one(
    %q: tensor<2x16x128xf32>, %codes: tensor<?x4x1x64xi8>,
    %scales: tensor<?x4x1x4xf8E4M3FN>, %residuals: tensor<?x4x1xi8>,
    %norms: tensor<?x4x2xf32>, %table: tensor<2x1024xi32>, %lens: tensor<2xi32>,
    %o: tensor<2x16x128xf32>, %lse: tensor<2x16xf32>)
    -> (tensor<2x4x64xi32>, tensor<2x16xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461 schedule <split = 256>
      : (tensor<2x16x128xf32>, tensor<?x4x1x64xi8>, tensor<?x4x1x4xf8E4M3FN>,
         tensor<?x4x1xi8>, tensor<2x1024xi32>, tensor<2xi32>)
      -> (tensor<2x16x1024xf32>, tensor<2x16x1024xf32>)
  %p:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      kv_heads 4 page_size 1 tolerance 0.5
      : (tensor<2x16x1024xf32>, tensor<2x16x1024xf32>, tensor<2xi32>)
      -> (tensor<2x4x64xi32>, tensor<2x4xi32>, tensor<2x16xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms)
      table(%table) lens(%lens) page_size 1 scale 0.0883883461
      : (tensor<2x16x128xf32>, tensor<2x16x128xf32>, tensor<2x16xf32>,
         tensor<2x16xf32>, tensor<?x4x2xf32>, tensor<2x1024xi32>, tensor<2xi32>)
      -> (tensor<2x16xf32>, tensor<2x16xf32>)
  return %p#0, %tau : tensor<2x4x64xi32>, tensor<2x16xf32>
}

// -----

// A certificate of other lengths or KV heads, by norms that are not there yet, or
// that is wanted before there is a scan, looks at the pages itself.
// CHECK-LABEL: func.func @others(
// CHECK-NOT: memref<2x2x8x2xf32>
// CHECK: gpu.launch_func @kernels::@certify_0
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK-COUNT-3: gpu.launch_func @kernels::@certify_
// CHECK: gpu.func @sketch_scan_0(
// CHECK-NOT: memref<?x{{[24]}}x2xf32>
// CHECK: gpu.func @certify_0(
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x2x2xf32>, vector<2xf32>
// CHECK: gpu.func @certify_1(
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x2x2xf32>, vector<2xf32>
// CHECK: gpu.func @certify_2(
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x2x2xf32>, vector<2xf32>
// CHECK: gpu.func @certify_3(
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x4x2xf32>, vector<2xf32>
func.func @others(
    %q: tensor<2x4x128xf32>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %residuals: tensor<?x2x16xi8>,
    %norms: tensor<?x2x2xf32>, %norms4: tensor<?x4x2xf32>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>, %earlier: tensor<2xi32>,
    %o: tensor<2x4x128xf32>, %lse: tensor<2x4xf32>, %tail: tensor<2x4xf32>)
    -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %tau0, %error0 = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms)
      table(%table) lens(%earlier) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1.0 : f32
  %later = tensor.insert %c1 into %norms[%c0, %c0, %c0] : tensor<?x2x2xf32>
  %tau2, %error2 = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%later)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %tau3, %error3 = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms4)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x4x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return %tau0, %tau, %tau2, %tau3
      : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}
