// Second moments, from a graph to PTX: loads and stores of 16 bytes, nothing in
// local memory, no function of a library or approximate.

// RUN: vashista-opt %s -split-input-file -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --implicit-check-not=.local \
// RUN:   --implicit-check-not=.extern --implicit-check-not=approx
// RUN: vashista-opt %s -split-input-file \
// RUN:   -vashista-lower-to-nvvm='chip=sm_80 features=+ptx80 format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=OLD \
// RUN:   --implicit-check-not=.local

// OLD-COUNT-7: .entry

// CHECK: gpu.launch_func @kernels::@sum_moments_0
// CHECK: gpu.launch_func @kernels::@finish_moments_0
// CHECK-NOT: gpu.launch_func
// What blocks have of the sum, where there is more than one chunk; keys and codes.
// CHECK: .entry sum_moments_0(
// CHECK: .minnctapersm 2
// CHECK-COUNT-8: ld.global.v4.b32
// CHECK-COUNT-8: st.global.v4.b32
// CHECK: ld.global.nc.v4.b32
// CHECK: ld.global.nc.v4.b32
// CHECK: shfl.sync.bfly.b32
// CHECK: st.shared.v4.b32
// CHECK: bar.sync
// CHECK-COUNT-4: ld.shared.v4.b32
// CHECK-NOT: ld.shared
// CHECK-COUNT-64: fma.rn.f32
// CHECK: .entry finish_moments_0(
// CHECK: ld.global.nc.b32
// CHECK: st.global.b32
func.func @summarize(
    %k: tensor<?x8x16x128xbf16>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %codes: tensor<?x8x16x64xi8>, %scales: tensor<?x8x16x4xf8E4M3FN>,
    %residuals: tensor<?x8x16xi8>, %moments: tensor<?x8x128x128xf32>)
    -> (tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
        tensor<?x8x128x128xf32>) {
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes,
          %scales, %residuals) moments(%moments)
      : (tensor<?x8x16x128xbf16>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
         tensor<?x8x128x128xf32>)
      -> (tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
          tensor<?x8x128x128xf32>)
  return %0#0, %0#1, %0#2, %0#3
      : tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
        tensor<?x8x128x128xf32>
}

// -----

// The matrix is on its way before the key is.
// CHECK: gpu.launch_func @kernels::@append_moments_0
// CHECK: .entry append_moments_0(
// CHECK-COUNT-4: ld.global.v4.b32
// CHECK: bar.sync
// CHECK-COUNT-4: st.global.v4.b32
func.func @append(
    %key: tensor<?x8x128xbf16>, %at: tensor<?xi32>, %table: tensor<?x?xi32>,
    %k: tensor<?x8x16x128xbf16>, %v: tensor<?x8x16x128xbf16>,
    %codes: tensor<?x8x16x64xi8>, %scales: tensor<?x8x16x4xf8E4M3FN>,
    %residuals: tensor<?x8x16xi8>, %moments: tensor<?x8x128x128xf32>)
    -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>, tensor<?x8x16x64xi8>,
        tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
        tensor<?x8x128x128xf32>) {
  %0:6 = vashista.append key(%key) value(%key) at(%at) table(%table)
      into(%k, %v)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes,
          %scales, %residuals) moments(%moments)
      : (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>, tensor<?xi32>,
         tensor<?x?xi32>, tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
         tensor<?x8x128x128xf32>)
      -> (tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>,
          tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>,
          tensor<?x8x128x128xf32>)
  return %0#0, %0#1, %0#2, %0#3, %0#4, %0#5
      : tensor<?x8x16x128xbf16>, tensor<?x8x16x128xbf16>, tensor<?x8x16x64xi8>,
        tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<?x8x128x128xf32>
}

// -----

// Directions are read after the matrix was asked for.
// CHECK: gpu.launch_func @kernels::@moment_0
// CHECK: .entry moment_0(
// CHECK-COUNT-8: ld.global.nc.v4.b32
// CHECK: ld.global.nc.v2.b32
// CHECK: bar.sync
// CHECK: st.global.b32
func.func @moment(%q: tensor<?x32x128xbf16>,
                  %moments: tensor<?x8x128x128xf32>, %lens: tensor<?xi32>)
    -> tensor<?x32xf32> {
  %moment = vashista.moment %q of(%moments)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>
      lens(%lens) scale 0.0883883461
      : (tensor<?x32x128xbf16>, tensor<?x8x128x128xf32>, tensor<?xi32>)
      -> tensor<?x32xf32>
  return %moment : tensor<?x32xf32>
}
