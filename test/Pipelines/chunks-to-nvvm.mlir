// A step that proves a sequence by chunks, from a graph to PTX: one kernel scores,
// picks and attends, and one joins and certifies what clusters found. Loads of 16
// bytes, nothing in local memory, no function of a library.

// RUN: vashista-opt %s -vashista-decompose \
// RUN:   -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --implicit-check-not=.local \
// RUN:   --implicit-check-not=call.uni

// CHECK: gpu.launch_func @kernels::@attend_chunks_0
// CHECK: gpu.launch_func @kernels::@merge_0
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK-NOT: gpu.launch_func

// CHECK: .entry attend_chunks_0(
// CHECK-DAG: .reqnctapercluster 1, 1, 8
// CHECK-DAG: .minnctapersm 3
// Codes are on their way while those before them are multiplied.
// CHECK: cp.async.cg.shared.global
// CHECK: cp.async.wait_group
// CHECK: mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32
// What was found is shared, then slots are counted.
// CHECK: barrier.cluster.arrive
// CHECK: barrier.cluster.wait
// CHECK: mapa.shared::cluster
// CHECK: ld.shared::cluster.b32
// CHECK: ld.shared.v4.b32
// CHECK-COUNT-2: atom.shared.add
// CHECK: barrier.cluster.wait
// CHECK-COUNT-8: ld.shared::cluster.v4.b32
// CHECK: st.shared::cluster
// CHECK: barrier.cluster.wait
// Keys and values of what is picked.
// CHECK: cp.async.cg.shared.global
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK: .entry merge_0(
// A warp certifies what its block has merged.
// CHECK-COUNT-2: bar.sync
// CHECK: sqrt.rn.f64
// CHECK: .entry attend_0(
func.func @decode(
    %q: tensor<1x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<1x2048xi32>,
    %lens: tensor<1xi32>, %codes: tensor<?x8x16x64xi8>,
    %scales: tensor<?x8x16x4xf8E4M3FN>, %residuals: tensor<?x8x16xi8>,
    %norms: tensor<?x8x2xf32>)
    -> (tensor<1x32x128xf32>, tensor<1x32xf32>, tensor<1x8xi1>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      norms(%norms)
      policy <pages = 0, candidates = 16384, sinks = 4, window = 64,
              pick = proving, tolerance = 0.5, fallback = dense>
      scale 0.0883883461
      : (tensor<1x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<1x2048xi32>, tensor<1xi32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>,
         tensor<?x8x16xi8>, tensor<?x8x2xf32>)
      -> (tensor<1x32x128xf32>, tensor<1x32xf32>, tensor<1x32xf32>,
          tensor<1x32xf32>, tensor<1x8xi32>, tensor<1x8xi1>)
  return %o, %tau, %flag
      : tensor<1x32x128xf32>, tensor<1x32xf32>, tensor<1x8xi1>
}
