// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu \
// RUN:   -canonicalize -cse | FileCheck %s

// Two blocks for each row and KV head, of which one has the sketch. The first row
// that writes to a page does so for all of them, in order; which is next, all
// threads look for. Bits are copied, and what is written is read again: caches are
// not `noalias`.
// CHECK-LABEL: func.func @append(
// CHECK-SAME: %[[KEY:[a-z0-9]*]]: memref<?x2x128xbf16>
// CHECK: %[[ROWS:.*]] = memref.dim %[[KEY]], %c0
// CHECK: gpu.launch_func @kernels::@append_0 blocks in (%[[ROWS]], %c2, %c2) threads in (%c256, %c1, %c1)
// CHECK-NOT: vashista.
// CHECK: gpu.func @append_0(%{{.*}}: memref<bf16> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK-SAME: memref<i32> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}, %{{[a-z0-9]*}}: index, %{{[a-z0-9]*}}: index, %{{[a-z0-9]*}}: index, %{{[a-z0-9]*}}: memref<bf16> {llvm.align = 16 : i64}, %{{.*}}: index, %{{.*}}: memref<bf16> {llvm.align = 16 : i64}
// CHECK-SAME: known_block_size = array<i32: 256, 1, 1>
// CHECK: arith.cmpi sge
// CHECK: scf.if
// CHECK: scf.for
// CHECK: gpu.subgroup_reduce minsi %{{.*}} uniform
// CHECK: gpu.barrier
// CHECK: scf.while
// A copy of whole vectors, before anybody reads the page.
// CHECK-COUNT-2: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x2x16x128xbf16{{.*}}>, vector<8xbf16>
// CHECK: gpu.barrier
// Sums and norms of tokens, 16 lanes each: 4 shuffles of two halves.
// CHECK: scf.for
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x16x128xbf16{{.*}}>, vector<8xbf16>
// CHECK-COUNT-8: math.fma {{.*}} : f64
// CHECK-COUNT-8: gpu.shuffle xor
// Deviations are from the mean as computed.
// CHECK: arith.divf {{.*}} : f32
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: gpu.barrier
// CHECK: arith.subf {{.*}} : f32
// CHECK-NEXT: math.fma {{.*}} : f32
// A sketch: 16 channels of a lane, turned within it and between 8 lanes. The last
// row that writes there has the key.
// CHECK: gpu.subgroup_reduce minsi %{{.*}} uniform
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x128xbf16{{.*}}>, vector<8xbf16>
// CHECK: arith.cmpf olt, %{{.*}}, %{{.*}} : f64
// CHECK-COUNT-96: gpu.shuffle xor
// CHECK: nvvm.bar.warp.sync
// CHECK: vector.store %{{.*}} {alignment = 4 : i64} : memref<?x2x16x64xi8{{.*}}>, vector<4xi8>
func.func @append(
    %key: memref<?x2x128xbf16>, %at: memref<?xi32>, %table: memref<?x?xi32>,
    %k: memref<?x2x16x128xbf16>, %v: memref<?x2x16x128xbf16>,
    %mean: memref<?x2x128xbf16>, %std: memref<?x2x128xbf16>,
    %norms: memref<?x2x2xf32>, %codes: memref<?x2x16x64xi8>,
    %scales: memref<?x2x16x4xf8E4M3FN>, %residuals: memref<?x2x16xi8>) {
  vashista.append key(%key) value(%key) at(%at) table(%table) into(%k, %v)
      summary <mean_std>(%mean, %std) norms(%norms)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes,
          %scales, %residuals)
      : (memref<?x2x128xbf16>, memref<?x2x128xbf16>, memref<?xi32>,
         memref<?x?xi32>, memref<?x2x16x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x128xbf16>, memref<?x2x128xbf16>, memref<?x2x2xf32>,
         memref<?x2x16x64xi8>, memref<?x2x16x4xf8E4M3FN>,
         memref<?x2x16xi8>) -> ()
  return
}

// -----

// Parts of pages first, whole ones second; of rows that share a sequence, one
// works. A radius is from the centre as stored.
// CHECK-LABEL: func.func @shared_sequences(
// CHECK: gpu.launch_func @kernels::@summarize_partial_0 blocks in (%c6, %c2, %c1)
// CHECK: %[[PAGES:.*]] = memref.dim %{{.*}}, %c1 : memref<2x?xi32>
// CHECK: %[[BLOCKS:.*]] = arith.muli %[[PAGES]], %c6
// CHECK: gpu.launch_func @kernels::@summarize_0 blocks in (%[[BLOCKS]], %c2, %c1)
// CHECK: gpu.func @summarize_partial_0(%{{.*}}: memref<f16> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK: gpu.func @summarize_0(
// CHECK: arith.divui %{{.*}}, %{{.*}} : i32
// CHECK: gpu.subgroup_reduce minsi
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x16x2x64xf16{{.*}}>, vector<8xf16>
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x16x2x80xf16{{.*}}>, vector<8xf16>
// CHECK: gpu.barrier
// CHECK: memref.store %{{.*}} : memref<?x2x64xf16
// CHECK: gpu.barrier
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x64xf16{{.*}}>, vector<8xf16>
// CHECK: arith.subf %{{.*}} : f64
// CHECK: math.sqrt {{.*}} : f64
// CHECK: memref.store %{{.*}} : memref<?x2xf32
func.func @shared_sequences(
    %k: memref<?x16x2x64xf16>, %v: memref<?x16x2x80xf16>,
    %table: memref<2x?xi32>, %lens: memref<6xi32>, %rows: memref<6xi32>,
    %centre: memref<?x2x64xf16>, %radius: memref<?x2xf32>,
    %norms: memref<?x2x2xf32>) {
  vashista.summarize keys(%k) values(%v) table(%table) lens(%lens) rows(%rows)
      summary <ball>(%centre, %radius) norms(%norms) layout nhd
      : (memref<?x16x2x64xf16>, memref<?x16x2x80xf16>, memref<2x?xi32>,
         memref<6xi32>, memref<6xi32>, memref<?x2x64xf16>, memref<?x2xf32>,
         memref<?x2x2xf32>) -> ()
  return
}

// -----

// Rows of a view are loaded as widely as its strides allow; a head dimension of
// 12 has vectors of 4.
// CHECK-LABEL: func.func @views(
// CHECK: gpu.func @summarize_0(
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<8x2x4x12xf16, strided<[96, 48, 12, 1], offset: 4>>, vector<4xf16>
func.func @views(
    %k: memref<8x2x4x12xf16, strided<[96, 48, 12, 1], offset: 4>>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %lo: memref<8x2x12xf32>,
    %hi: memref<8x2x12xf32>) {
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <box>(%lo, %hi)
      : (memref<8x2x4x12xf16, strided<[96, 48, 12, 1], offset: 4>>,
         memref<2x?xi32>, memref<2xi32>, memref<8x2x12xf32>,
         memref<8x2x12xf32>) -> ()
  return
}

// -----

// What no kernel can keep stays: a box of another type is no bound, sums of
// 8192 channels have no room.
// CHECK-LABEL: func.func @stays(
// CHECK-NOT: gpu.launch_func
// CHECK: vashista.summarize
// CHECK: vashista.summarize
// CHECK-NOT: gpu.func
func.func @stays(
    %k: memref<?x2x16x64xf32>, %wide: memref<?x2x16x8192xf32>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %lo: memref<?x2x64xbf16>,
    %hi: memref<?x2x64xbf16>, %mean: memref<?x2x8192xf32>) {
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <box>(%lo, %hi)
      : (memref<?x2x16x64xf32>, memref<2x?xi32>, memref<2xi32>,
         memref<?x2x64xbf16>, memref<?x2x64xbf16>) -> ()
  vashista.summarize keys(%wide) table(%table) lens(%lens) summary <mean>(%mean)
      : (memref<?x2x16x8192xf32>, memref<2x?xi32>, memref<2xi32>,
         memref<?x2x8192xf32>) -> ()
  return
}

// -----

// Moments, after what they are of: a block sums up some tokens in tiles in
// registers, three of two warps each, 24 tokens at once in one of two buffers. A
// second kernel adds up what blocks have, and raises the diagonal.
// CHECK-LABEL: func.func @sums_moments(
// CHECK: arith.ceildivui %c1024, %{{.*}}
// CHECK: %[[SPLITS:.*]] = arith.maxsi
// CHECK: memref.alloc(%{{.*}}, %[[SPLITS]]) {alignment = 64 : i64} : memref<?x2x?x3x64x64xf32>
// CHECK: memref.alloc(%{{.*}}, %[[SPLITS]]) {alignment = 64 : i64} : memref<?x2x?xf64>
// CHECK: gpu.launch_func @kernels::@sum_moments_0 blocks in (%{{.*}}, %c2, %[[SPLITS]]) threads in (%c192, %c1, %c1)
// CHECK: gpu.launch_func @kernels::@finish_moments_0 blocks in (%{{.*}}, %c2, %c8) threads in (%c256, %c1, %c1)
// CHECK-NOT: vashista.summarize
// CHECK: gpu.func @sum_moments_0(
// CHECK-SAME: workgroup(%{{.*}} : memref<2x24x128xf32, #gpu.address_space<workgroup>>
// The longest row of the sequence.
// CHECK: gpu.subgroup_reduce maxsi
// Keys and codes of 16 channels, in f32; what has no finite norm is 0.
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x16x128xbf16{{.*}}>, vector<8xbf16>
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x16x64xi8{{.*}}>, vector<16xi8>
// CHECK: arith.cmpi ult, %{{.*}}, %c255_i32
// CHECK: gpu.shuffle xor %{{.*}} : f32
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<2x24x128xf32, #gpu.address_space<workgroup>>, vector<4xf32>
// CHECK: gpu.barrier
// CHECK: scf.for
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<2x24x128xf32, #gpu.address_space<workgroup>>, vector<4xf32>
// CHECK-COUNT-64: math.fma {{.*}} : f32
// CHECK: gpu.func @finish_moments_0(
// CHECK: arith.select
// CHECK: memref.store %{{.*}} : memref<?x2x128x128xf32
func.func @sums_moments(
    %k: memref<?x2x16x128xbf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %rows: memref<?xi32>, %codes: memref<?x2x16x64xi8>,
    %scales: memref<?x2x16x4xf8E4M3FN>, %residuals: memref<?x2x16xi8>,
    %moments: memref<?x2x128x128xf32>) {
  vashista.summarize keys(%k) table(%table) lens(%lens) rows(%rows)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes,
          %scales, %residuals) moments(%moments)
      : (memref<?x2x16x128xbf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?xi32>, memref<?x2x16x64xi8>, memref<?x2x16x4xf8E4M3FN>,
         memref<?x2x16xi8>, memref<?x2x128x128xf32>) -> ()
  return
}

// -----

// A wide matrix has ten tiles, three of a block: four blocks share a split.
// CHECK-LABEL: func.func @sums_wide_moments(
// CHECK: %[[BLOCKS:.*]] = arith.muli %{{.*}}, %c4
// CHECK: gpu.launch_func @kernels::@sum_moments_0 blocks in (%{{.*}}, %c2, %[[BLOCKS]]) threads in (%c192, %c1, %c1)
// CHECK: gpu.launch_func @kernels::@finish_moments_0 blocks in (%{{.*}}, %c2, %c16)
func.func @sums_wide_moments(
    %k: memref<?x16x2x256xf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %codes: memref<?x2x16x256xi8>, %scales: memref<?x2x16x4xf16>,
    %residuals: memref<?x2x16x4xf16>, %moments: memref<?x2x256x256xf32>) {
  vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 8, group = 64>(%codes, %scales, %residuals)
      moments(%moments) layout nhd
      : (memref<?x16x2x256xf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?x2x16x256xi8>, memref<?x2x16x4xf16>, memref<?x2x16x4xf16>,
         memref<?x2x256x256xf32>) -> ()
  return
}

// -----

// Of an append, a kernel that follows: 32 rows of a matrix are on their way while
// the first row of a sequence is looked for, and one that begins it anew.
// CHECK-LABEL: func.func @appends_moments(
// CHECK: gpu.launch_func @kernels::@append_0
// CHECK: gpu.launch_func @kernels::@append_moments_0 blocks in (%{{.*}}, %c2, %c4) threads in (%c256, %c1, %c1)
// CHECK-NOT: vashista.append
// CHECK: gpu.func @append_moments_0(
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x128x128xf32{{.*}}>, vector<4xf32>
// CHECK: gpu.subgroup_reduce minsi
// CHECK: gpu.subgroup_reduce maxsi
// CHECK: scf.while
// CHECK: gpu.barrier
// The row's products, and the norm of what rounding may lose of them.
// CHECK-COUNT-4: vector.fma
// CHECK: gpu.barrier
// CHECK-COUNT-4: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x2x128x128xf32{{.*}}>, vector<4xf32>
func.func @appends_moments(
    %key: memref<?x2x128xbf16>, %at: memref<?xi32>, %table: memref<?x?xi32>,
    %rows: memref<?xi32>, %k: memref<?x2x16x128xbf16>,
    %v: memref<?x2x16x128xbf16>, %codes: memref<?x2x16x64xi8>,
    %scales: memref<?x2x16x4xf8E4M3FN>, %residuals: memref<?x2x16xi8>,
    %moments: memref<?x2x128x128xf32>) {
  vashista.append key(%key) value(%key) at(%at) table(%table) rows(%rows)
      into(%k, %v)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes,
          %scales, %residuals) moments(%moments)
      : (memref<?x2x128xbf16>, memref<?x2x128xbf16>, memref<?xi32>,
         memref<?x?xi32>, memref<?xi32>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<?x2x16x64xi8>,
         memref<?x2x16x4xf8E4M3FN>, memref<?x2x16xi8>,
         memref<?x2x128x128xf32>) -> ()
  return
}
