// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu \
// RUN:   -canonicalize -cse | FileCheck %s

// A block has a row and a KV head: 8 rows of the matrix of each of 16 warps are on
// their way while 4 of them rotate a direction each. A sequence that is not there
// is not read.
// CHECK-LABEL: func.func @moment(
// CHECK: gpu.launch_func @kernels::@moment_0 blocks in (%{{.*}}, %c8, %c1) threads in (%c512, %c1, %c1)
// CHECK-NOT: vashista.moment
// CHECK: gpu.func @moment_0(%{{.*}}: memref<bf16> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK-SAME: workgroup(%{{.*}} : memref<4x128xf32, #gpu.address_space<workgroup>>
// CHECK: arith.cmpi sgt
// CHECK: arith.cmpi ult
// CHECK: scf.if
// CHECK: memref.store %{{.*}} : memref<?x32xf32
// CHECK: scf.if
// CHECK-COUNT-8: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x8x128x128xf32{{.*}}>, vector<4xf32>
// CHECK-NOT: memref<?x8x128x128xf32{{.*}}>, vector<4xf32>
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x32x128xbf16{{.*}}>, vector<4xbf16>
// CHECK: gpu.shuffle xor %{{.*}} : f32
// CHECK: gpu.barrier
// Of each head, products of 8 vectors of four, and their factors.
// CHECK-COUNT-128: math.fma {{.*}} : f32
// CHECK: gpu.barrier
// Rounded up; NaN is +inf.
// CHECK: arith.truncf %{{.*}} : f64 to f32
// CHECK: arith.cmpf ord
func.func @moment(%q: tensor<?x32x128xbf16>,
                  %moments: tensor<?x8x128x128xf32>, %lens: tensor<?xi32>,
                  %rows: tensor<?xi32>) -> tensor<?x32xf32> {
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) rows(%rows) scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x128x128xf32>, tensor<?xi32>,
         tensor<?xi32>) -> tensor<?x32xf32>
  return %moment : tensor<?x32xf32>
}

// -----

// Many heads are of several blocks; rows of a wide matrix come by turns.
// CHECK-LABEL: func.func @wide(
// CHECK: gpu.launch_func @kernels::@moment_0 blocks in (%{{.*}}, %c1, %c2) threads in (%c512, %c1, %c1)
// CHECK: gpu.func @moment_0(
// CHECK: scf.for
// CHECK-COUNT-8: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x1x256x256xf32{{.*}}>, vector<4xf32>
func.func @wide(%q: tensor<?x20x256xf32>, %moments: tensor<?x1x256x256xf32>,
                %lens: tensor<?xi32>) -> tensor<?x20xf32> {
  %moment = vashista.moment %q of(%moments) sketch <bits = 8, group = 64>
      lens(%lens) scale 0.0625 epsilon 0.5
      : (tensor<?x20x256xf32>, tensor<?x1x256x256xf32>, tensor<?xi32>)
      -> tensor<?x20xf32>
  return %moment : tensor<?x20xf32>
}

// -----

// Heads that are not known stay.
// CHECK-LABEL: func.func @stays(
// CHECK: vashista.moment
// CHECK-NOT: gpu.func
func.func @stays(%q: tensor<?x?x64xf32>, %moments: tensor<?x?x64x64xf32>,
                 %lens: tensor<?xi32>) -> tensor<?x?xf32> {
  %moment = vashista.moment %q of(%moments) sketch <bits = 4, group = 64>
      lens(%lens) scale 0.125
      : (tensor<?x?x64xf32>, tensor<?x?x64x64xf32>, tensor<?xi32>)
      -> tensor<?x?xf32>
  return %moment : tensor<?x?xf32>
}

// -----

// Of the direction that a scan scores, the first block of each row and KV head has
// the moments, whose picks come later; all others have slots.
// CHECK-LABEL: func.func @scanned(
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c1024
// CHECK: %[[MORE:.*]] = arith.addi %[[BLOCKS]], %c1
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%c2, %[[MORE]], %{{.*}}) threads in (%c128, %c1, %c1)
// CHECK-NOT: @moment_0
// CHECK: gpu.func @sketch_scan_0(
// CHECK: %[[NUMBER:.*]] = gpu.block_id y
// CHECK: %[[IS:.*]] = arith.cmpi eq, %[[NUMBER]], %c0
// CHECK: scf.if %[[IS]] {
// CHECK: scf.for
// CHECK-COUNT-8: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x128x128xf32{{.*}}>, vector<4xf32>
// CHECK: %[[OTHERS:.*]] = arith.cmpi ne, %[[NUMBER]], %c0
// CHECK: scf.if %[[OTHERS]] {
// CHECK: arith.subi %{{.*}}, %c1
// CHECK: nvvm.mma.sync
func.func @scanned(
    %q: tensor<?x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %moments: tensor<?x2x128x128xf32>) -> (tensor<?x2xi32>, tensor<?x8xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<?x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<?x?xi32>,
         tensor<?xi32>) -> (tensor<?x8x?xf32>, tensor<?x8x?xf32>)
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) scale 0.0883883461
      : (tensor<?x8x128xbf16>, tensor<?x2x128x128xf32>, tensor<?xi32>)
      -> tensor<?x8xf32>
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) moment(%moment) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<?x8x?xf32>, tensor<?x8x?xf32>, tensor<?xi32>,
         tensor<?x8xf32>)
      -> (tensor<?x2x512xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  return %count, %tail : tensor<?x2xi32>, tensor<?x8xf32>
}

// -----

// One that is used before the scan has a kernel of its own.
// CHECK-LABEL: func.func @early(
// CHECK: gpu.launch_func @kernels::@moment_0
func.func @early(
    %q: tensor<1x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<1x8xi32>, %lens: tensor<1xi32>,
    %moments: tensor<1x2x128x128xf32>) -> (tensor<1x8xf32>, tensor<1x8x128xf32>) {
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) scale 0.0883883461
      : (tensor<1x8x128xbf16>, tensor<1x2x128x128xf32>, tensor<1xi32>)
      -> tensor<1x8xf32>
  %twice = arith.addf %moment, %moment : tensor<1x8xf32>
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<1x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<1x8xi32>,
         tensor<1xi32>) -> (tensor<1x8x128xf32>, tensor<1x8x128xf32>)
  return %twice, %scores : tensor<1x8xf32>, tensor<1x8x128xf32>
}

// -----

// So has one whose matrix is made after it.
// CHECK-LABEL: func.func @late(
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.launch_func @kernels::@moment_0
func.func @late(
    %q: tensor<1x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<1x8xi32>, %lens: tensor<1xi32>,
    %moments: tensor<1x2x128x128xf32>) -> (tensor<1x8xf32>, tensor<1x8x128xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<1x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<1x8xi32>,
         tensor<1xi32>) -> (tensor<1x8x128xf32>, tensor<1x8x128xf32>)
  %more = arith.addf %moments, %moments : tensor<1x2x128x128xf32>
  %moment = vashista.moment %q of(%more)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) scale 0.0883883461
      : (tensor<1x8x128xbf16>, tensor<1x2x128x128xf32>, tensor<1xi32>)
      -> tensor<1x8xf32>
  return %moment, %scores : tensor<1x8xf32>, tensor<1x8x128xf32>
}

// -----

// Sizes that only one of both knows are no obstacle.
// CHECK-LABEL: func.func @sizes(
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK-NOT: @moment_0
// CHECK: return %{{.*}} : tensor<?x8xf32>, tensor<3x8x128xf32>
func.func @sizes(
    %q: tensor<3x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<3x8xi32>, %lens: tensor<?xi32>,
    %moments: tensor<?x2x128x128xf32>) -> (tensor<?x8xf32>, tensor<3x8x128xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<3x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<3x8xi32>,
         tensor<?xi32>) -> (tensor<3x8x128xf32>, tensor<3x8x128xf32>)
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) scale 0.0883883461
      : (tensor<3x8x128xbf16>, tensor<?x2x128x128xf32>, tensor<?xi32>)
      -> tensor<?x8xf32>
  return %moment, %scores : tensor<?x8xf32>, tensor<3x8x128xf32>
}

// -----

// More heads than a block of a scan has: each block of a KV head has moments of its
// own, of which sequences are looked up.
// CHECK-LABEL: func.func @many_heads(
// CHECK: gpu.launch_func @kernels::@sketch_scan_0 blocks in (%c4,
// CHECK-NOT: @moment_0
// CHECK: gpu.func @sketch_scan_0(
// CHECK-SAME: memref<8x2x128xi8, #gpu.address_space<workgroup>>
// CHECK-SAME: memref<8x128xf32, #gpu.address_space<workgroup>>
// CHECK: arith.divui %{{.*}}, %c2
// CHECK: arith.remui %{{.*}}, %c2
func.func @many_heads(
    %q: tensor<3x24x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<?x8xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>,
    %moments: tensor<?x2x128x128xf32>)
    -> (tensor<3x24xf32>, tensor<3x24x128xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) rows(%rows) scale 0.0883883461
      : (tensor<3x24x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<?x8xi32>,
         tensor<3xi32>, tensor<3xi32>)
      -> (tensor<3x24x128xf32>, tensor<3x24x128xf32>)
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) rows(%rows) scale 0.0883883461
      : (tensor<3x24x128xbf16>, tensor<?x2x128x128xf32>, tensor<3xi32>,
         tensor<3xi32>) -> tensor<3x24xf32>
  return %moment, %scores : tensor<3x24xf32>, tensor<3x24x128xf32>
}

// -----

// Of small pages a block has several KV heads, whose directions it rounds; moments
// have a kernel of their own.
// CHECK-LABEL: func.func @small_pages(
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.launch_func @kernels::@moment_0
// CHECK: gpu.func @sketch_scan_0(
// CHECK-SAME: memref<4x2x128xi8, #gpu.address_space<workgroup>>
func.func @small_pages(
    %q: tensor<1x8x128xbf16>, %codes: tensor<?x4x2x64xi8>,
    %scales: tensor<?x4x2x4xf8E4M3FN>, %norms: tensor<?x4x2xi8>,
    %table: tensor<1x4096xi32>, %lens: tensor<1xi32>,
    %moments: tensor<1x4x128x128xf32>)
    -> (tensor<1x8xf32>, tensor<1x8x8192xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<1x8x128xbf16>, tensor<?x4x2x64xi8>,
         tensor<?x4x2x4xf8E4M3FN>, tensor<?x4x2xi8>, tensor<1x4096xi32>,
         tensor<1xi32>) -> (tensor<1x8x8192xf32>, tensor<1x8x8192xf32>)
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) scale 0.0883883461
      : (tensor<1x8x128xbf16>, tensor<1x4x128x128xf32>, tensor<1xi32>)
      -> tensor<1x8xf32>
  return %moment, %scores : tensor<1x8xf32>, tensor<1x8x8192xf32>
}
