// What is kept beside a cache, from a graph to PTX: no op becomes a kernel of one
// thread per task, nothing is in local memory, functions of a library or
// approximate.

// RUN: vashista-opt %s -split-input-file -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --implicit-check-not=.local
// RUN: vashista-opt %s -split-input-file \
// RUN:   -vashista-lower-to-nvvm='chip=sm_80 features=+ptx80 format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=OLD \
// RUN:   --implicit-check-not=.local

// OLD-COUNT-3: .entry

// CHECK: gpu.launch_func @kernels::@append_0
// CHECK-NOT: gpu.launch_func
// CHECK-NOT: .extern
// CHECK: .entry append_0(
// CHECK-NOT: approx
// CHECK: %ctaid.z
// What another row of the step may have written is not read by `.nc`.
// CHECK: redux.sync.min.s32
// CHECK: ld.global.nc.v4.b32
// CHECK: st.global.v4.b32
// The sketch of a row's key, by a block of its own.
// CHECK: ld.global.nc.v4.b32
// CHECK: fma.rn.f64
// CHECK: shfl.sync.bfly.b32
// CHECK: rcp.rn.f32
// CHECK: bar.warp.sync
// CHECK: st.global.b32
// The page, which was written to.
// CHECK: bar.sync
// CHECK: ld.global.v4.b32
// CHECK: fma.rn.f64
// CHECK: shfl.sync.bfly.b32
// CHECK: div.rn.f32
// CHECK: ld.global.v4.b32
// CHECK-NOT: .entry
func.func @append(
    %key: tensor<?x8x128xbf16>, %value: tensor<?x8x128xbf16>,
    %at: tensor<?xi32>, %table: tensor<?x?xi32>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %mean: tensor<?x8x128xbf16>,
    %std: tensor<?x8x128xbf16>, %norms: tensor<?x8x2xf32>,
    %codes: tensor<?x8x16x64xi8>, %scales: tensor<?x8x16x4xf8E4M3FN>,
    %residuals: tensor<?x8x16xi8>)
    -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
        tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
        tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>) {
  %0:8 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) summary <mean_std>(%mean, %std) norms(%norms)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes,
          %scales, %residuals)
      : (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?xi32>,
         tensor<?x?xi32>, tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>)
      -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
          tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
          tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>)
  return %0#0, %0#1, %0#2, %0#3, %0#4, %0#5, %0#6, %0#7
      : tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
        tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
        tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>
}

// -----

// Caches that are only read are so by `.nc`; the centre that the block has just
// written is not.
// CHECK: gpu.launch_func @kernels::@summarize_partial_0
// CHECK: gpu.launch_func @kernels::@summarize_0
// CHECK-NOT: gpu.launch_func
// CHECK: .entry summarize_partial_0(
// CHECK: .entry summarize_0(
// CHECK: ld.global.nc.v4.b32
// CHECK: st.global.b16
// CHECK: bar.sync
// CHECK-DAG: ld.global.nc.v4.b32
// CHECK-DAG: ld.global.v4.b32
// CHECK: fma.rn.f64
// CHECK: st.global.b8
func.func @centred(
    %k: tensor<?x16x8x128xbf16>, %v: tensor<?x16x8x128xbf16>,
    %table: tensor<4x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %lo: tensor<?x8x128xbf16>, %hi: tensor<?x8x128xbf16>,
    %norms: tensor<?x8x2xf32>, %codes: tensor<?x8x16x80xi8>,
    %scales: tensor<?x8x16x2xf16>, %residuals: tensor<?x8x16x2xf8E4M3FN>,
    %centre: tensor<?x8x128xbf16>)
    -> (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
        tensor<?x8x16x80xi8>, tensor<?x8x16x2xf16>,
        tensor<?x8x16x2xf8E4M3FN>, tensor<?x8x128xbf16>) {
  %0:7 = vashista.summarize keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) summary <box>(%lo, %hi) norms(%norms)
      sketch <bits = 5, group = 64, centre = page>(%codes, %scales, %residuals,
          %centre) layout nhd
      : (tensor<?x16x8x128xbf16>, tensor<?x16x8x128xbf16>, tensor<4x?xi32>,
         tensor<6xi32>, tensor<6xi32>, tensor<?x8x128xbf16>,
         tensor<?x8x128xbf16>, tensor<?x8x2xf32>, tensor<?x8x16x80xi8>,
         tensor<?x8x16x2xf16>, tensor<?x8x16x2xf8E4M3FN>,
         tensor<?x8x128xbf16>)
      -> (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
          tensor<?x8x16x80xi8>, tensor<?x8x16x2xf16>,
          tensor<?x8x16x2xf8E4M3FN>, tensor<?x8x128xbf16>)
  return %0#0, %0#1, %0#2, %0#3, %0#4, %0#5, %0#6
      : tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x2xf32>,
        tensor<?x8x16x80xi8>, tensor<?x8x16x2xf16>,
        tensor<?x8x16x2xf8E4M3FN>, tensor<?x8x128xbf16>
}
