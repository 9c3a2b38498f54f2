// Where a scan leaves the largest norms of a row's pages, the merge of an attention
// from nothing certifies what it has merged.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu -canonicalize -cse \
// RUN:   | FileCheck %s

// The state and tail are read once all threads have written; a certificate has no
// launch of its own.
// CHECK-LABEL: func.func @once(
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK: gpu.launch_func @kernels::@merge_0
// CHECK-NOT: gpu.launch_func
// CHECK: return
// CHECK: gpu.func @merge_0(
// CHECK: gpu.barrier
// CHECK: gpu.barrier
// CHECK-NEXT: arith.cmpi eq
// CHECK-NEXT: scf.if
// CHECK: memref.load {{.*}} : memref<2x4x128xf32, strided
// CHECK: vector.load {{.*}} : memref<2x2x8x2xf32, strided<{{.*}}>>, vector<2xf32>
// CHECK: math.sqrt {{.*}} : f64
// CHECK-COUNT-2: memref.store %{{.*}} : memref<2x4xf32, strided

// A budget of all slots binds nobody: no rank of what is more than that.
// CHECK-NOT: math.ctlz
#sketch = #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>
func.func @once(
    %q: tensor<2x4x128xf32>, %w: tensor<2x4x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %residuals: tensor<?x2x16xi8>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x4x128xf32>
  %el = tensor.empty() : tensor<2x4xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x4x128xf32>) -> tensor<2x4x128xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<2x4xf32>) -> tensor<2x4xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 1024 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x1024xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %o, %lse = vashista.attend %w keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%p#0, %p#1) outs(%o0, %l0) scale 0.0883883461 schedule <fuse = false>
      : (tensor<2x4x128xbf16>, tensor<?x2x16x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x1024xi32>, tensor<2x2xi32>,
         tensor<2x4x128xf32>, tensor<2x4xf32>) -> (tensor<2x4x128xf32>, tensor<2x4xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return %o, %tau, %error : tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}

// -----

// What is left is said by who knows what was attended; a smaller budget may bind.
// CHECK-LABEL: func.func @of_later(
// CHECK: gpu.launch_func @kernels::@certify_0
// CHECK: gpu.func @pick_
// CHECK: math.ctlz
#sketch = #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>
func.func @of_later(
    %q: tensor<2x4x128xf32>, %w: tensor<2x4x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %residuals: tensor<?x2x16xi8>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x4x128xf32>
  %el = tensor.empty() : tensor<2x4xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x4x128xf32>) -> tensor<2x4x128xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<2x4xf32>) -> tensor<2x4xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 1024 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x1024xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %o, %lse = vashista.attend %w keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%p#0, %p#1) outs(%o0, %l0) scale 0.0883883461 schedule <fuse = false>
      : (tensor<2x4x128xbf16>, tensor<?x2x16x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x1024xi32>, tensor<2x2xi32>,
         tensor<2x4x128xf32>, tensor<2x4xf32>) -> (tensor<2x4x128xf32>, tensor<2x4xf32>)
  %r:3 = vashista.pick proving 512 tokens of(%s, %b) lens(%lens)
      taken(%p#0) attended(%lse) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>,
         tensor<2x2x1024xi32>, tensor<2x4xf32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%r#2) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return %o, %tau, %error : tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}

// -----

// One split is merged by nobody.
// CHECK-LABEL: func.func @of_one(
// CHECK: gpu.launch_func @kernels::@certify_0
#sketch = #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>
func.func @of_one(
    %q: tensor<2x4x128xf32>, %w: tensor<2x4x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %residuals: tensor<?x2x16xi8>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x4x128xf32>
  %el = tensor.empty() : tensor<2x4xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x4x128xf32>) -> tensor<2x4x128xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<2x4xf32>) -> tensor<2x4xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 1024 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x1024xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %o, %lse = vashista.attend %w keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%p#0, %p#1) outs(%o0, %l0) scale 0.0883883461 schedule <split = 1024, fuse = false>
      : (tensor<2x4x128xbf16>, tensor<?x2x16x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x1024xi32>, tensor<2x2xi32>,
         tensor<2x4x128xf32>, tensor<2x4xf32>) -> (tensor<2x4x128xf32>, tensor<2x4xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return %o, %tau, %error : tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}

// -----

// Nor is it done for other lengths, whose norms no scan has left.
// CHECK-LABEL: func.func @of_others(
// CHECK: gpu.launch_func @kernels::@certify_0
#sketch = #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>
func.func @of_others(
    %q: tensor<2x4x128xf32>, %w: tensor<2x4x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %codes: tensor<?x2x16x64xi8>, %scales: tensor<?x2x16x4xf8E4M3FN>,
    %residuals: tensor<?x2x16xi8>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>, %earlier: tensor<2xi32>)
    -> (tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %eo = tensor.empty() : tensor<2x4x128xf32>
  %el = tensor.empty() : tensor<2x4xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%eo : tensor<2x4x128xf32>) -> tensor<2x4x128xf32>
  %l0 = linalg.fill ins(%none : f32) outs(%el : tensor<2x4xf32>) -> tensor<2x4xf32>
  %s, %b = vashista.score %q from #sketch(%codes, %scales, %residuals)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 1024 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x1024xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %o, %lse = vashista.attend %w keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%p#0, %p#1) outs(%o0, %l0) scale 0.0883883461 schedule <fuse = false>
      : (tensor<2x4x128xbf16>, tensor<?x2x16x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<2x64xi32>, tensor<2xi32>, tensor<2x2x1024xi32>, tensor<2x2xi32>,
         tensor<2x4x128xf32>, tensor<2x4xf32>) -> (tensor<2x4x128xf32>, tensor<2x4xf32>)
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%p#2) norms(%norms)
      table(%table) lens(%earlier) page_size 16 scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<2x4x128xf32>, tensor<2x4xf32>,
         tensor<2x4xf32>, tensor<?x2x2xf32>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return %o, %tau, %error : tensor<2x4x128xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}
