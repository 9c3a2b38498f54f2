// Value ops become launches on tensors.

// RUN: vashista-opt %s -convert-vashista-to-gpu -split-input-file \
// RUN:   | FileCheck %s
// RUN: vashista-opt %s -convert-vashista-to-gpu=clusters=1 -split-input-file \
// RUN:   | FileCheck %s --check-prefix=ALONE
// RUN: not vashista-opt %s -convert-vashista-to-gpu=clusters=3 \
// RUN:   -split-input-file 2>&1 | FileCheck %s --check-prefix=THREE

// RUN: not vashista-opt %s -convert-vashista-to-gpu=shared-bytes=49151 \
// RUN:   -split-input-file 2>&1 | FileCheck %s --check-prefix=LESS

// THREE: error: expected clusters to be 1, 2, 4 or 8, got 3
// LESS: error: expected shared-bytes to be at least 49152, got 49151

// Each block rounds the directions of its heads, to two bytes a channel, by the
// lanes of a warp. What it begins with is on the way before it knows how long the
// row is: directions, and the pages of its first codes. A block has 1,024 slots of
// a KV head and sequence; sums are of bytes, and a block leaves the highest of its
// bounds to whoever picks.
// CHECK-LABEL: func.func @score(
// CHECK-NOT: @round_direction
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c1024
// CHECK: memref.alloc({{.*}}) {alignment = 64 : i64} : memref<3x4x?x1xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%c2{{.*}}, %[[BLOCKS]], %c3{{.*}}) threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK-NOT: vashista.
// CHECK: gpu.func @sketch_scan_0({{.*}}llvm.noalias, llvm.readonly
// CHECK: %[[PAGE:.*]] = memref.load {{.*}} : memref<3x?xi32{{.*}}>
// CHECK: vector.load {{.*}} {alignment = 8 : i64} : {{.*}}, vector<4xbf16>
// CHECK: nvvm.bar.warp.sync
// CHECK: scf.if
// CHECK: gpu.shuffle idx %[[PAGE]],
// CHECK: nvgpu.device_async_copy
// Four channels of a lane: two levels within it, five between 32 lanes, each of
// two halves. So are the largest channel and squares; sums of a group are those
// of 8 lanes.
// CHECK: arith.extf {{.*}} : f32 to f64
// CHECK-COUNT-40: gpu.shuffle xor
// CHECK: arith.maximumf
// CHECK-COUNT-10: gpu.shuffle xor
// CHECK: math.fma
// CHECK-COUNT-10: gpu.shuffle xor
// CHECK: arith.divf
// CHECK: math.roundeven {{.*}} : f64
// CHECK-COUNT-2: vector.store {{.*}} {alignment = 4 : i64} : memref<2x2x128xi8, #gpu.address_space<workgroup>>, vector<4xi8>
// CHECK-COUNT-13: gpu.shuffle xor
// CHECK: memref.store {{.*}} : memref<2x7xf32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// A lane loads what goes with two tokens of a step; all lanes of a tile read it.
// CHECK: nvvm.bar.warp.sync
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<16x18x4xf32, #gpu.address_space<workgroup>>, vector<4xf32>
// CHECK: vector.store {{.*}} {alignment = 8 : i64} : memref<16x18x2xf32, #gpu.address_space<workgroup>>, vector<2xf32>
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

// Without `fuse`, as where there are many blocks, directions are rounded first, by a
// kernel of their own. Which sequence a row is may be anything where it sees
// nothing: then no page is looked up before it is known.
// CHECK-LABEL: func.func @score_apart(
// CHECK: memref.alloc(%{{.*}}, %{{.*}}) {alignment = 64 : i64} : memref<?x?x2x128xi8>
// CHECK-NOT: scf.forall
// CHECK: gpu.launch_func @kernels::@round_direction_0 blocks in (%c3{{.*}}, %c1{{.*}}, %c1{{.*}}) threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.func @round_direction_0({{.*}}llvm.noalias, llvm.readonly
// CHECK: vector.load {{.*}} {alignment = 8 : i64} : {{.*}}, vector<4xbf16>
// CHECK-COUNT-73: gpu.shuffle xor
// CHECK-NOT: gpu.shuffle
// CHECK: gpu.func @sketch_scan_0({{.*}}llvm.noalias, llvm.readonly
// CHECK: nvvm.bar.warp.sync
// CHECK: scf.if
// CHECK: memref.load {{.*}} : memref<?x?xi32{{.*}}>
// CHECK: nvgpu.device_async_copy
// CHECK: nvvm.mma.sync
func.func @score_apart(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<?x?xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>)
    -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) rows(%rows) scale 0.0883883461
      schedule <warps = 4>
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<?x?xi32>, tensor<3xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s, %b : tensor<3x4x?xf32>, tensor<3x4x?xf32>
}

// -----

// Of 5 bits: rows of five chunks, which follow each other, are copied ahead as they
// lie. Both planes of a code are joined where as few of them as can be are shifted:
// low nibbles by one bit to where a single bit belongs, and single bits of the last
// channels by three to where high nibbles begin.
// CHECK-LABEL: func.func @score_5_bits(
// CHECK: gpu.func @sketch_scan_0(
// CHECK: memref.collapse_shape %{{.*}} {{\[\[}}0], [1], [2, 3]] : memref<?x2x16x80xi8> into memref<?x2x1280xi8>
// CHECK-NOT: arith.xori
// CHECK-COUNT-10: nvgpu.device_async_copy %collapse_shape[{{.*}}], 16 {bypassL1}
// CHECK: nvgpu.device_async_create_group
// CHECK: %[[NIBBLES:.*]] = arith.andi %{{.*}}, %c505290270_i32
// CHECK: %[[BITS:.*]] = arith.andi %{{.*}}, %c16843009_i32
// CHECK: arith.ori %[[NIBBLES]], %[[BITS]]
// CHECK: %[[HIGH:.*]] = arith.andi %{{.*}}, %c-252645136_i32
// CHECK: arith.shrui %{{.*}}, %c1_i32
// CHECK: %[[ONE:.*]] = arith.andi %{{.*}}, %c134744072_i32
// CHECK: arith.ori %[[HIGH]], %[[ONE]]
// CHECK: arith.shrui %{{.*}}, %c3_i32
// CHECK: nvvm.mma.sync {{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 32>
// CHECK: gpu.return
func.func @score_5_bits(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x80xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x80xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s, %b : tensor<3x4x?xf32>, tensor<3x4x?xf32>
}

// -----

// What goes with tokens of four norms each has no room beside codes: lanes have it
// from each other.
// CHECK-LABEL: func.func @score_5_bits_of_groups(
// CHECK: gpu.func @sketch_scan_0(
// CHECK-NOT: memref<16x18x
// CHECK: nvgpu.device_async_copy
// CHECK-NOT: memref<16x18x
// CHECK-COUNT-12: gpu.shuffle idx
// CHECK: gpu.return
func.func @score_5_bits_of_groups(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x80xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16x4xi8>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x80xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16x4xi8>, tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s, %b : tensor<3x4x?xf32>, tensor<3x4x?xf32>
}

// -----

// Nobody reads bounds: none are made, nor norms read.
// CHECK-LABEL: func.func @score_alone(
// CHECK-NOT: memref<3x4x?x1xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.func @sketch_scan_0(
// CHECK-NOT: math.sqrt
func.func @score_alone(
    %q: tensor<3x4x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x1xf16>, %norms: tensor<?x2x16x1xf16>,
    %table: tensor<3x8xi32>, %lens: tensor<3xi32>) -> tensor<3x4x128xf32> {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 128>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461 schedule <warps = 4>
      : (tensor<3x4x128xbf16>, tensor<?x2x16x64xi8>, tensor<?x2x16x1xf16>,
         tensor<?x2x16x1xf16>, tensor<3x8xi32>, tensor<3xi32>)
      -> (tensor<3x4x128xf32>, tensor<3x4x128xf32>)
  return %s : tensor<3x4x128xf32>
}

// -----

// A direction of 2,048 channels is rounded by one thread.
// CHECK-LABEL: func.func @score_wide(
// CHECK: scf.forall
// CHECK: math.roundeven
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK-NOT: @round_direction_0
func.func @score_wide(
    %q: tensor<3x4x2048xbf16>, %codes: tensor<?x2x16x1024xi8>,
    %scales: tensor<?x2x16x16xf16>, %norms: tensor<?x2x16x16xf16>,
    %table: tensor<3x8xi32>, %lens: tensor<3xi32>) -> tensor<3x4x128xf32> {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 128>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x4x2048xbf16>, tensor<?x2x16x1024xi8>,
         tensor<?x2x16x16xf16>, tensor<?x2x16x16xf16>, tensor<3x8xi32>,
         tensor<3xi32>) -> (tensor<3x4x128xf32>, tensor<3x4x128xf32>)
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

// One block for each list of pages. Few of which nobody wants a tail are held in
// registers: no words of marks, and no bounds.
// CHECK-LABEL: func.func @pick_pages(
// CHECK-NOT: memref<?x3x?x2xi32>
// CHECK: gpu.launch_func @kernels::@pick_0 blocks in (%c2{{.*}}, %c3{{.*}}, %c1{{.*}}) threads in (%c128{{.*}}
// CHECK: gpu.func @pick_0(
// CHECK: scf.while
// CHECK: gpu.subgroup_reduce add
// CHECK: gpu.return
func.func @pick_pages(%s: tensor<2x6x256xf32>, %lens: tensor<2xi32>)
    -> tensor<2x3x16xi32> {
  %ids, %n, %tail = vashista.pick top 16 pages of(%s, %s) lens(%lens)
      kv_heads 3 page_size 16
      : (tensor<2x6x256xf32>, tensor<2x6x256xf32>, tensor<2xi32>)
      -> (tensor<2x3x16xi32>, tensor<2x3xi32>, tensor<2x6xf32>)
  return %ids : tensor<2x3x16xi32>
}

// -----

// Few or not: that is told by the length of rows.
// CHECK-LABEL: func.func @pick_any(
// CHECK: memref<?x3x?x2xi32>
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.func @pick_0(
// CHECK: arith.cmpi sle, %{{.*}}, %c8192
// CHECK: scf.while
// CHECK: memref.atomic_rmw addi {{.*}} memref<2080xi32, #gpu.address_space<workgroup>>
func.func @pick_any(%s: tensor<2x6x?xf32>, %lens: tensor<2xi32>)
    -> tensor<2x3x16xi32> {
  %ids, %n, %tail = vashista.pick top 16 pages of(%s, %s) lens(%lens)
      kv_heads 3 page_size 16
      : (tensor<2x6x?xf32>, tensor<2x6x?xf32>, tensor<2xi32>)
      -> (tensor<2x3x16xi32>, tensor<2x3xi32>, tensor<2x6xf32>)
  return %ids : tensor<2x3x16xi32>
}

// -----

// Summaries are scored for several heads by tensor cores: of each half of 16 rows
// one in four lanes, deviations by the sizes of the direction. Pages are looked up a
// lane each; a bound is a number of its own only where somebody reads it.
// CHECK-LABEL: func.func @score_pages(
// CHECK: gpu.launch_func @kernels::@vector_scan_0 blocks in (%c2{{.*}}, %{{.*}}, %c3{{.*}}) threads in (%c128{{.*}}
// CHECK: gpu.func @vector_scan_0({{.*}}llvm.noalias, llvm.readonly
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 16 : i64} : memref<3x4x128xbf16
// CHECK: gpu.shuffle idx
// CHECK-COUNT-16: vector.load {{.*}} {alignment = 16 : i64} : memref<?x2x128xbf16
// CHECK-COUNT-16: nvvm.mma.sync {{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK-NOT: nvvm.mma
// CHECK-NOT: gpu.shuffle xor
func.func @score_pages(
    %q: tensor<3x4x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %std: tensor<?x2x128xbf16>, %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> tensor<3x4x?xf32> {
  %s, %b = vashista.score %q from #vashista.summary<mean_std>(%mean, %std)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x128xbf16>, tensor<?x2x128xbf16>,
         tensor<3x?xi32>, tensor<3xi32>)
      -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s : tensor<3x4x?xf32>
}

// -----

// For one head, and of other types than the direction's, by f32 fmas, 8 channels a
// lane.
// CHECK-LABEL: func.func @score_alone(
// CHECK: gpu.func @vector_scan_0(
// CHECK: gpu.shuffle idx
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<?x2x128xbf16
// CHECK: math.fma
// CHECK: gpu.shuffle xor
// CHECK: gpu.func @vector_scan_1(
// CHECK: math.fma
// CHECK-NOT: nvvm.mma
func.func @score_alone(
    %q: tensor<3x2x128xbf16>, %wide: tensor<3x4x128xf32>,
    %mean: tensor<?x2x128xbf16>, %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x2x?xf32>, tensor<3x4x?xf32>) {
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<3x2x128xbf16>, tensor<?x2x128xbf16>, tensor<3x?xi32>,
         tensor<3xi32>) -> (tensor<3x2x?xf32>, tensor<3x2x?xf32>)
  %t, %c = vashista.score %wide from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<3x4x128xf32>, tensor<?x2x128xbf16>, tensor<3x?xi32>,
         tensor<3xi32>) -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  return %s, %t : tensor<3x2x?xf32>, tensor<3x4x?xf32>
}

// -----

// Keys, too, where something may be proved by their scores; by tensor cores where
// they are only ranked.
// CHECK-LABEL: func.func @score_keys(
// CHECK: gpu.func @vector_scan_0(
// CHECK: nvvm.mma.sync
// CHECK: gpu.func @vector_scan_1(
// CHECK: math.fma
// CHECK-NOT: nvvm.mma
func.func @score_keys(
    %q: tensor<3x4x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<3x?xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x2x64xi32>, tensor<3x2x64xi32>, tensor<3x4xf32>) {
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x128xbf16>, tensor<3x?xi32>,
         tensor<3xi32>) -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  %ids, %n, %rest = vashista.pick top 64 tokens of(%s, %s) lens(%lens)
      kv_heads 2 page_size 16
      : (tensor<3x4x?xf32>, tensor<3x4x?xf32>, tensor<3xi32>)
      -> (tensor<3x2x64xi32>, tensor<3x2xi32>, tensor<3x4xf32>)
  %t, %c = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x16x128xbf16>, tensor<3x?xi32>,
         tensor<3xi32>) -> (tensor<3x4x?xf32>, tensor<3x4x?xf32>)
  %those, %m, %tail = vashista.pick proving 64 tokens of(%t, %c) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<3x4x?xf32>, tensor<3x4x?xf32>, tensor<3xi32>)
      -> (tensor<3x2x64xi32>, tensor<3x2xi32>, tensor<3x4xf32>)
  return %ids, %those, %tail
      : tensor<3x2x64xi32>, tensor<3x2x64xi32>, tensor<3x4xf32>
}

// -----

// What a pick of many pages needs of most of them a scan leaves: of 16 pages the
// highest score and what all weigh against it, and the highest of those that are
// free. Few pages are read then; where they are not few, all are.
// CHECK-LABEL: func.func @pick_pages(
// CHECK: memref.alloc(%{{.*}}) {{.*}}: memref<?x4x157x2xf32>
// CHECK: memref.alloc(%{{.*}}) {{.*}}: memref<?x4x157xf32>
// CHECK: gpu.launch_func @kernels::@vector_scan_0
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.func @pick_0(
// CHECK: arith.cmpi uge, %{{.*}}, %c1024
// CHECK: memref.load {{.*}} : memref<?x4x157xf32
// CHECK: vector.load {{.*}} : memref<?x4x157x2xf32
// CHECK: memref.atomic_rmw addi {{.*}} memref<49xi32, #gpu.address_space<workgroup>>
// CHECK: memref.load {{.*}} : memref<3x4x2500xf32
// CHECK: memref.atomic_rmw ori {{.*}} memref<2x79xi32, #gpu.address_space<workgroup>>
// CHECK: vector.load {{.*}} : memref<3x4x2500xf32
func.func @pick_pages(
    %q: tensor<3x4x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<3x2500xi32>, %lens: tensor<3xi32>) -> tensor<3x2x64xi32> {
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x128xbf16>, tensor<3x2500xi32>,
         tensor<3xi32>) -> (tensor<3x4x2500xf32>, tensor<3x4x2500xf32>)
  %ids, %n, %tail = vashista.pick top 64 pages of(%s, %s) lens(%lens)
      kv_heads 2 page_size 16 sinks 4 window 64
      : (tensor<3x4x2500xf32>, tensor<3x4x2500xf32>, tensor<3xi32>)
      -> (tensor<3x2x64xi32>, tensor<3x2xi32>, tensor<3x4xf32>)
  return %ids : tensor<3x2x64xi32>
}

// -----

// Where somebody else reads the scores, too, nothing else is left.
// CHECK-LABEL: func.func @pick_and_return(
// CHECK-NOT: memref<?x4x157x2xf32>
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.module @kernels
func.func @pick_and_return(
    %q: tensor<3x4x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<3x2500xi32>, %lens: tensor<3xi32>)
    -> (tensor<3x2x64xi32>, tensor<3x4x2500xf32>) {
  %s, %b = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<3x4x128xbf16>, tensor<?x2x128xbf16>, tensor<3x2500xi32>,
         tensor<3xi32>) -> (tensor<3x4x2500xf32>, tensor<3x4x2500xf32>)
  %ids, %n, %tail = vashista.pick top 64 pages of(%s, %s) lens(%lens)
      kv_heads 2 page_size 16 sinks 4 window 64
      : (tensor<3x4x2500xf32>, tensor<3x4x2500xf32>, tensor<3xi32>)
      -> (tensor<3x2x64xi32>, tensor<3x2xi32>, tensor<3x4xf32>)
  return %ids, %s : tensor<3x2x64xi32>, tensor<3x4x2500xf32>
}

// -----

// Scores, pick and attend are one kernel where nobody else reads what is between:
// a cluster of blocks for few groups.
// CHECK-LABEL: func.func @attend_best(
// CHECK-NOT: vashista.
// CHECK: gpu.launch_func @kernels::@attend_best_0 blocks in (%c2{{.*}}, %c3{{.*}}, %c8{{.*}}) threads in (%c256{{.*}}
// ALONE-LABEL: func.func @attend_best(
// ALONE: gpu.launch_func @kernels::@attend_best_0 blocks in (%c2{{.*}}, %c3{{.*}}, %c1{{.*}}) threads in (%c512{{.*}}
// Otherwise they are kernels of their own.
// CHECK-LABEL: func.func @attend_listed(
// CHECK: gpu.launch_func @kernels::@vector_scan_0
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: vashista.attend
// CHECK: gpu.func @attend_best_0({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>
// CHECK: nvvm.cluster.arrive
func.func @attend_best(
    %q: tensor<3x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %v: tensor<?x2x16x128xbf16>, %table: tensor<3x?xi32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x64xi32>, %n: tensor<3x2xi32>) -> tensor<3x8x128xf32> {
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages, %n) scale 0.0883883461
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>, tensor<3x?xi32>,
         tensor<3xi32>, tensor<3x2x64xi32>, tensor<3x2xi32>)
      -> (tensor<3x8x1024xf32>, tensor<3x8x1024xf32>)
  %ids, %m, %tail = vashista.pick top 128 tokens of(%s, %s) lens(%lens)
      within(%pages, %n) kv_heads 2 page_size 16 sinks 4 window 16
      : (tensor<3x8x1024xf32>, tensor<3x8x1024xf32>, tensor<3xi32>,
         tensor<3x2x64xi32>, tensor<3x2xi32>)
      -> (tensor<3x2x128xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %o_any = tensor.empty() : tensor<3x8x128xf32>
  %lse_any = tensor.empty() : tensor<3x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%o_any : tensor<3x8x128xf32>)
      -> tensor<3x8x128xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%lse_any : tensor<3x8xf32>)
      -> tensor<3x8xf32>
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%ids, %m) outs(%o0, %lse0) scale 0.0883883461
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x?xi32>, tensor<3xi32>,
         tensor<3x2x128xi32>, tensor<3x2xi32>, tensor<3x8x128xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x128xf32>, tensor<3x8xf32>)
  return %o : tensor<3x8x128xf32>
}

// The list is a result, too.
func.func @attend_listed(
    %q: tensor<3x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %v: tensor<?x2x16x128xbf16>, %table: tensor<3x?xi32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x64xi32>, %n: tensor<3x2xi32>)
    -> (tensor<3x8x128xf32>, tensor<3x2x128xi32>) {
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages, %n) scale 0.0883883461
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>, tensor<3x?xi32>,
         tensor<3xi32>, tensor<3x2x64xi32>, tensor<3x2xi32>)
      -> (tensor<3x8x1024xf32>, tensor<3x8x1024xf32>)
  %ids, %m, %tail = vashista.pick top 128 tokens of(%s, %s) lens(%lens)
      within(%pages, %n) kv_heads 2 page_size 16 sinks 4 window 16
      : (tensor<3x8x1024xf32>, tensor<3x8x1024xf32>, tensor<3xi32>,
         tensor<3x2x64xi32>, tensor<3x2xi32>)
      -> (tensor<3x2x128xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %o_any = tensor.empty() : tensor<3x8x128xf32>
  %lse_any = tensor.empty() : tensor<3x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%o_any : tensor<3x8x128xf32>)
      -> tensor<3x8x128xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%lse_any : tensor<3x8xf32>)
      -> tensor<3x8xf32>
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%ids, %m) outs(%o0, %lse0) scale 0.0883883461
      : (tensor<3x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<3x?xi32>, tensor<3xi32>,
         tensor<3x2x128xi32>, tensor<3x2xi32>, tensor<3x8x128xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x128xf32>, tensor<3x8xf32>)
  return %o, %ids : tensor<3x8x128xf32>, tensor<3x2x128xi32>
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

// Of many heads a block has four, whose norms lie in 32 bytes of a page.
// CHECK-LABEL: func.func @certify_many(
// CHECK: gpu.launch_func @kernels::@certify_0 blocks in (%c16{{.*}}, %c8{{.*}}, %c1{{.*}})
// CHECK: gpu.func @certify_0({{.*}}memref<16x8xf32, #gpu.address_space<workgroup>>
// CHECK-COUNT-16: vector.load {{.*}} {alignment = 8 : i64} : {{.*}}, vector<2xf32>
// CHECK: gpu.barrier
func.func @certify_many(%q: tensor<16x32x64xbf16>, %o: tensor<16x32x64xf32>,
                        %lse: tensor<16x32xf32>, %tail: tensor<16x32xf32>,
                        %norms: tensor<?x32x2xf32>, %table: tensor<16x?xi32>,
                        %lens: tensor<16xi32>)
    -> (tensor<16x32xf32>, tensor<16x32xf32>) {
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<16x32x64xbf16>, tensor<16x32x64xf32>, tensor<16x32xf32>,
         tensor<16x32xf32>, tensor<?x32x2xf32>, tensor<16x?xi32>,
         tensor<16xi32>) -> (tensor<16x32xf32>, tensor<16x32xf32>)
  return %tau, %error : tensor<16x32xf32>, tensor<16x32xf32>
}

// -----

// Few blocks of a long sequence share its pages, and the heads.
// CHECK-LABEL: func.func @certify_long(
// CHECK: memref.alloc({{.*}}) {{.*}}: memref<?x?x8x8xf32>
// CHECK: gpu.launch_func @kernels::@certify_0 blocks in (%c1{{.*}}, %c2{{.*}}, %c8{{.*}}) threads in (%c512{{.*}}
// CHECK: gpu.func @certify_0({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>
// CHECK: gpu.barrier
// CHECK: nvvm.cluster.arrive {aligned}
// CHECK-NEXT: nvvm.cluster.wait {aligned}
// CHECK: math.sqrt {{.*}} : f64
func.func @certify_long(%q: tensor<1x32x64xbf16>, %o: tensor<1x32x64xf32>,
                        %lse: tensor<1x32xf32>, %tail: tensor<1x32xf32>,
                        %norms: tensor<?x8x2xf32>, %table: tensor<1x8192xi32>,
                        %lens: tensor<1xi32>)
    -> (tensor<1x32xf32>, tensor<1x32xf32>) {
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<1x32x64xbf16>, tensor<1x32x64xf32>, tensor<1x32xf32>,
         tensor<1x32xf32>, tensor<?x8x2xf32>, tensor<1x8192xi32>,
         tensor<1xi32>) -> (tensor<1x32xf32>, tensor<1x32xf32>)
  return %tau, %error : tensor<1x32xf32>, tensor<1x32xf32>
}

// -----

// A dense attend, of which a block looks first whether its group needs it.
// CHECK-LABEL: func.func @fallback(
// CHECK: gpu.launch_func @kernels::@attend_0
// f32 has no such kernel, and leaves nothing behind.
// CHECK-LABEL: func.func @fallback_f32(
// CHECK-NEXT: vashista.fallback
// CHECK-NEXT: return
// The kernels follow.
// CHECK: gpu.func @attend_0(
// CHECK: arith.cmpf ugt
// CHECK: scf.if
// CHECK: memref.store %{{.*}} : memref<2x3xi1>
// CHECK: nvvm.mma.sync
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

// -----

// Of what only proofs read a scan keeps a byte of each bound, the best of 64
// of them, what its score lacks of it, and how far a key may be from its sketch.
// A group has a block for each
// multiprocessor, or a share of a cluster, which no other waits for. What the
// first pick counts the second one reads.
// CHECK-LABEL: func.func @prove(
// CHECK-COUNT-2: memref.alloc() {alignment = 64 : i64} : memref<2x4x16xf32>
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x4x1024xi8>
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x2x1024xf16>
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<2x4x8x4xf32>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 {{.*}} : memref<i8>
// CHECK: %[[DEPTHS:.*]] = memref.alloc({{.*}}) {alignment = 64 : i64} : memref<?x4x2052xi32>
// CHECK: gpu.launch_func @kernels::@pick_1 blocks in (%c2{{.*}}, %c2{{.*}}, %c8{{.*}}) threads in (%c512{{.*}} : memref<i8>
// CHECK: gpu.launch_func @kernels::@pick_0 blocks in (%c2{{.*}}, %c2{{.*}}, %c8{{.*}}) threads in (%c512{{.*}} : memref<i8>
// CHECK-NOT: = vashista.
// CHECK: gpu.func @pick_1({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 8>
func.func @prove(
    %q: tensor<2x4x128xf32>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>, %lse: tensor<2x4xf32>)
    -> (tensor<2x2x64xi32>, tensor<2x4xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  %r:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      taken(%p#0) attended(%lse) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>,
         tensor<2x2x64xi32>, tensor<2x4xf32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  return %r#0, %r#2 : tensor<2x2x64xi32>, tensor<2x4xf32>
}

// -----

// Of many slots one chunk in eight is counted, of some one in four, and the highest
// of each tile, whose scores are known.
// CHECK-LABEL: func.func @prove_long(
// CHECK: gpu.func @pick_0(
// CHECK: arith.cmpi uge, %{{.*}}, %c32768{{.*}} : index
// CHECK: arith.cmpi uge, %{{.*}}, %c65536{{.*}} : index
// CHECK: %[[SHIFT:.*]] = arith.select %{{.*}}, %c3_i32{{.*}}, %c2_i32{{.*}} : i32
// CHECK: arith.select %{{.*}}, %[[SHIFT]], %c0_i32{{.*}} : i32
// CHECK: memref.atomic_rmw addi
// CHECK: memref.load {{.*}} : memref<2x4x2048xf32
// CHECK: memref.load {{.*}} : memref<2x4x2048xf32
// CHECK: memref.atomic_rmw addi
func.func @prove_long(
    %q: tensor<2x4x128xf32>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x8192xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x64xi32>, tensor<2x4xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x8192xi32>, tensor<2xi32>)
      -> (tensor<2x4x131072xf32>, tensor<2x4x131072xf32>)
  %p:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x131072xf32>, tensor<2x4x131072xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  return %p#0, %p#2 : tensor<2x2x64xi32>, tensor<2x4xf32>
}

// -----

// One that is given bounds for scores needs them as they are.
// CHECK-LABEL: func.func @prove_by_bounds(
// CHECK-NOT: memref<2x4x1024xi8>
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.launch_func @kernels::@pick_0
func.func @prove_by_bounds(
    %q: tensor<2x4x128xf32>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x64xi32>, tensor<2x4xf32>) {
  %s, %b = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x4x128xf32>, tensor<?x2x16x64xi8>, tensor<?x2x16x4xf8E4M3FN>,
         tensor<?x2x16xi8>, tensor<2x64xi32>, tensor<2xi32>)
      -> (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>)
  %p:3 = vashista.pick proving 64 tokens of(%b, %b) lens(%lens)
      kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x4x1024xf32>, tensor<2x4x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x64xi32>, tensor<2x2xi32>, tensor<2x4xf32>)
  return %p#0, %p#2 : tensor<2x2x64xi32>, tensor<2x4xf32>
}
