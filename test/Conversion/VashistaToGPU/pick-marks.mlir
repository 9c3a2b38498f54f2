// Slots are counted; what a proof needs is marked, and what it leaves is added
// up, two slots at a time.

// RUN: vashista-opt %s -vashista-lower-to-nvvm='format=isa' | sed 's/\\0A/\n/g' \
// RUN:   | FileCheck %s --implicit-check-not=.local

// Lanes of a scan exchange levels of four tiles, and each writes eight together.
// CHECK: .entry sketch_scan_0(
// CHECK: prmt.b32 {{.*}}, 0x5410U
// CHECK: shfl.sync.bfly.b32 {{.*}}, 4, 31, -1
// CHECK: prmt.b32 {{.*}}, 0x7632U
// CHECK: shfl.sync.bfly.b32 {{.*}}, 8, 31, -1
// CHECK: st.global.v2.b32

// Each of four heads counts eight slots of a lane, and their masses, where the
// top of any tile of the warp matters.
// CHECK: .entry pick_0(
// CHECK: setp.le.s32 {{.*}}[[MATTERS:%p[0-9]+]]
// CHECK-NEXT: vote.sync.ballot.b32 {{.*}}, [[MATTERS]], -1;
// CHECK: bra
// CHECK-COUNT-16: atom.shared.add.u32
// CHECK: setp.le.s32 {{.*}}[[MATTERS:%p[0-9]+]]
// CHECK-NEXT: vote.sync.ballot.b32 {{.*}}, [[MATTERS]], -1;
// CHECK: bra
// CHECK-COUNT-16: atom.shared.add.u32
// CHECK: setp.le.s32 {{.*}}[[MATTERS:%p[0-9]+]]
// CHECK-NEXT: vote.sync.ballot.b32 {{.*}}, [[MATTERS]], -1;
// CHECK: bra
// CHECK-COUNT-16: atom.shared.add.u32
// CHECK: setp.le.s32 {{.*}}[[MATTERS:%p[0-9]+]]
// CHECK-NEXT: vote.sync.ballot.b32 {{.*}}, [[MATTERS]], -1;
// CHECK: bra
// CHECK-COUNT-16: atom.shared.add.u32

// Of eight slots of four heads: the levels of two in the halves of a word; what
// is left of them, their highest bits everywhere in a half; masses without an
// exponential, each no less than 0; and the sums of a head in its column.
// CHECK: prmt.b32 {{.*}}, 0, 0x4140U
// CHECK: prmt.b32 {{.*}}, 0, 0x4342U
// CHECK-COUNT-4: prmt.b32 {{.*}}, 0xbb99U
// CHECK-COUNT-4: min.u16x2
// CHECK-NOT: ex2.approx
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-COUNT-4: min.u16x2
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
func.func @prove(
    %q: tensor<2x8x128xbf16>, %codes: tensor<?x2x16x64xi8>,
    %scales: tensor<?x2x16x4xf8E4M3FN>, %norms: tensor<?x2x16xi8>,
    %table: tensor<2x64xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2xi32>, tensor<2x8xf32>) {
  %scores, %bounds = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.0883883461
      : (tensor<2x8x128xbf16>, tensor<?x2x16x64xi8>,
         tensor<?x2x16x4xf8E4M3FN>, tensor<?x2x16xi8>, tensor<2x64xi32>,
         tensor<2xi32>) -> (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>)
  %ids, %count, %tail = vashista.pick proving 512 tokens of(%scores, %bounds)
      lens(%lens) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<2x8x1024xf32>, tensor<2x8x1024xf32>, tensor<2xi32>)
      -> (tensor<2x2x512xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %count, %tail : tensor<2x2xi32>, tensor<2x8xf32>
}
