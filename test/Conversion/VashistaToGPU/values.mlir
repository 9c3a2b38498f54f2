// Value ops become launches on tensors.

// RUN: vashista-opt %s -convert-vashista-to-gpu -split-input-file \
// RUN:   | FileCheck %s
// RUN: vashista-opt %s -convert-vashista-to-gpu=clusters=1 -split-input-file \
// RUN:   | FileCheck %s --check-prefix=ALONE
// RUN: not vashista-opt %s -convert-vashista-to-gpu=clusters=3 \
// RUN:   -split-input-file 2>&1 | FileCheck %s --check-prefix=THREE

// THREE: error: expected clusters to be 1, 2, 4 or 8, got 3

// A direction is rounded first, to two bytes a channel. A block has 1,024 slots
// of a KV head and sequence; sums are of bytes, and a block leaves the highest
// of its bounds to whoever picks.
// CHECK-LABEL: func.func @score(
// CHECK: %[[BYTES:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {alignment = 64 : i64} : memref<?x?x2x128xi8>
// CHECK: scf.forall
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c1024
// CHECK: memref.alloc({{.*}}) {alignment = 64 : i64} : memref<?x?x?x2xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%[[BLOCKS]], %c2{{.*}}, %c3{{.*}}) threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK-NOT: vashista.
// CHECK: gpu.func @sketch_scan_0({{.*}}llvm.noalias, llvm.readonly
// CHECK-COUNT-4: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<u8>, multiplicandBPtxType = #nvvm.mma_type<s8>, shape = #nvvm.shape<m = 16, n = 8, k = 32>
// CHECK: gpu.return
func.func @score(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s, %b : tensor<3x4x?xf32>, tensor<3x4x?xf32>
}

// -----

// Nobody reads bounds: none are made, nor norms read.
// CHECK-LABEL: func.func @score_alone(
// CHECK-NOT: memref<?x?x?x2xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK-NOT: math.sqrt
func.func @score_alone(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x1xf16>, %norms: tensor<?x2x16x1xf16>,
    %table: tensor<3x8xi32>, %lens: tensor<3xi32>) -> tensor<3x4x128xf32> {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 128>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x1xf16>,
         tensor<?x2x16x1xf16>, tensor<3x8xi32>, tensor<3xi32>)
      -> (tensor<3x4x128xf32>, tensor<3x4x128xf32>)
  return %s : tensor<3x4x128xf32>
}

// -----

// A centre has no kernel.
// CHECK-LABEL: func.func @score_centred(
// CHECK-NOT: gpu.launch_func
// CHECK: vashista.score
func.func @score_centred(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x1xf16>, %norms: tensor<?x2x16x1xf16>,
    %centre: tensor<?x2x128xbf16>, %table: tensor<3x8xi32>,
    %lens: tensor<3xi32>) -> tensor<3x4x128xf32> {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 128, centre = page>(%codes, %scales, %norms, %centre)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x1xf16>,
         tensor<?x2x16x1xf16>, tensor<?x2x128xbf16>, tensor<3x8xi32>,
         tensor<3xi32>)
      -> (tensor<3x4x128xf32>, tensor<3x4x128xf32>)
  return %s : tensor<3x4x128xf32>
}

// -----

// Eight blocks work together on each of few groups. A later round begins with
// the tails of the one before, and most groups end there.
// CHECK-LABEL: func.func @pick(
// CHECK: gpu.launch_func @kernels::@pick_1 blocks in (%c2{{.*}}, %c3{{.*}}, %c8{{.*}}) threads in (%c512{{.*}}
// CHECK: %[[TAIL:.*]] = bufferization.to_tensor {{.*}} : memref<2x6xf32> to tensor<2x6xf32>
// CHECK: bufferization.to_buffer %[[TAIL]] read_only
// CHECK: gpu.launch_func @kernels::@pick_0 blocks in (%c2{{.*}}, %c3{{.*}}, %c8{{.*}})
// CHECK: gpu.func @pick_0({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>
// CHECK: scf.if
// CHECK: nvvm.cluster.arrive
// CHECK: memref.atomic_rmw addi {{.*}} memref<2080xi32, #gpu.address_space<workgroup>>
// ALONE-LABEL: func.func @pick(
// ALONE: gpu.launch_func @kernels::@pick_1 blocks in (%c2{{.*}}, %c3{{.*}}, %c1{{.*}})
// ALONE-NOT: cluster
func.func @pick(%s: tensor<2x6x4096xf32>, %b: tensor<2x6x4096xf32>,
                %lens: tensor<2xi32>, %lse: tensor<2x6xf32>)
    -> (tensor<2x3x64xi32>, tensor<2x3x64xi32>, tensor<2x6xf32>) {
  %ids, %n, %tail = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      kv_heads 3 page_size 16 sinks 4 window 16 tolerance 0.25
      : (tensor<2x6x4096xf32>, tensor<2x6x4096xf32>, tensor<2xi32>)
      -> (tensor<2x3x64xi32>, tensor<2x3xi32>, tensor<2x6xf32>)
  %more, %m, %rest = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      taken(%ids) attended(%lse) kv_heads 3 page_size 16 tolerance 0.25
      : (tensor<2x6x4096xf32>, tensor<2x6x4096xf32>, tensor<2xi32>,
         tensor<2x3x64xi32>, tensor<2x6xf32>)
      -> (tensor<2x3x64xi32>, tensor<2x3xi32>, tensor<2x6xf32>)
  return %ids, %more, %rest
      : tensor<2x3x64xi32>, tensor<2x3x64xi32>, tensor<2x6xf32>
}

// -----

// One block for each list of pages, of which there are few.
// CHECK-LABEL: func.func @pick_pages(
// CHECK: gpu.launch_func @kernels::@pick_0 blocks in (%c2{{.*}}, %c3{{.*}}, %c1{{.*}})
func.func @pick_pages(%s: tensor<2x6x256xf32>, %lens: tensor<2xi32>)
    -> tensor<2x3x16xi32> {
  %ids, %n, %tail = vashista.pick top 16 pages of(%s, %s) lens(%lens)
      kv_heads 3 page_size 16
      : (tensor<2x6x256xf32>, tensor<2x6x256xf32>, tensor<2xi32>)
      -> (tensor<2x3x16xi32>, tensor<2x3xi32>, tensor<2x6xf32>)
  return %ids : tensor<2x3x16xi32>
}

// -----

// Norms of pages in pairs; all after them in f64, but exp.
// CHECK-LABEL: func.func @certify(
// CHECK: gpu.launch_func @kernels::@certify_0 blocks in (%c2{{.*}}, %{{.*}}, %c1{{.*}}) threads in (%c512{{.*}}
// CHECK: gpu.func @certify_0(
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 8 : i64} : {{.*}}, vector<2xf32>
// CHECK: gpu.barrier
// CHECK: math.sqrt {{.*}} : f64
func.func @certify(%q: tensor<2x6x64xbf16>, %o: tensor<2x6x64xf32>,
                   %lse: tensor<2x6xf32>, %tail: tensor<2x6xf32>,
                   %norms: tensor<?x3x2xf32>, %table: tensor<2x?xi32>,
                   %lens: tensor<2xi32>)
    -> (tensor<2x6xf32>, tensor<2x6xf32>) {
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<2x6x64xbf16>, tensor<2x6x64xf32>, tensor<2x6xf32>,
         tensor<2x6xf32>, tensor<?x3x2xf32>, tensor<2x?xi32>, tensor<2xi32>)
      -> (tensor<2x6xf32>, tensor<2x6xf32>)
  return %tau, %error : tensor<2x6xf32>, tensor<2x6xf32>
}

// -----

// A dense attend, of which a block looks first whether its group needs it.
// CHECK-LABEL: func.func @fallback(
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK: gpu.launch_func @kernels::@merge_0
// f32 has no such kernel, and leaves nothing behind.
// CHECK-LABEL: func.func @fallback_f32(
// CHECK-NEXT: vashista.fallback
// CHECK-NEXT: return
// The kernels follow.
// CHECK: gpu.func @attend_0(
// CHECK: arith.cmpf ugt
// CHECK: scf.if
// CHECK: nvvm.mma.sync
// CHECK: gpu.func @merge_0(
// CHECK: memref.store %{{.*}} : memref<2x3xi1>
func.func @fallback(
    %q: tensor<2x6x64xbf16>, %k: tensor<?x3x16x64xbf16>,
    %v: tensor<?x3x16x64xbf16>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %o: tensor<2x6x64xf32>, %lse: tensor<2x6xf32>, %tau: tensor<2x6xf32>)
    -> (tensor<2x6x64xf32>, tensor<2x6xf32>, tensor<2x3xi1>) {
  %r:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.25 scale 0.125
      : (tensor<2x6x64xbf16>, tensor<?x3x16x64xbf16>, tensor<?x3x16x64xbf16>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x6x64xf32>, tensor<2x6xf32>,
         tensor<2x6xf32>)
      -> (tensor<2x6x64xf32>, tensor<2x6xf32>, tensor<2x3xi1>)
  return %r#0, %r#1, %r#2
      : tensor<2x6x64xf32>, tensor<2x6xf32>, tensor<2x3xi1>
}
func.func @fallback_f32(
    %q: tensor<2x6x64xf32>, %k: tensor<?x3x16x64xf32>,
    %v: tensor<?x3x16x64xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %o: tensor<2x6x64xf32>, %lse: tensor<2x6xf32>, %tau: tensor<2x6xf32>)
    -> (tensor<2x6x64xf32>, tensor<2x6xf32>, tensor<2x3xi1>) {
  %r:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.25 scale 0.125
      : (tensor<2x6x64xf32>, tensor<?x3x16x64xf32>, tensor<?x3x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x6x64xf32>, tensor<2x6xf32>,
         tensor<2x6xf32>)
      -> (tensor<2x6x64xf32>, tensor<2x6xf32>, tensor<2x3xi1>)
  return %r#0, %r#1, %r#2
      : tensor<2x6x64xf32>, tensor<2x6xf32>, tensor<2x3xi1>
}
