// Keys and values go by the block's memory, where it has room for them.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu | FileCheck %s
// RUN: vashista-opt %s -split-input-file \
// RUN:   -convert-vashista-to-gpu=shared-bytes=101376 \
// RUN:   | FileCheck %s --check-prefix=LITTLE

// Two tiles of each warp are 64 KiB, where exponents are beside them and what
// warps find is in their place. A lane looks a token up, its page a turn later,
// and another turn later half a warp copies a row; a lane's 16 loads are of what
// is in the block's memory. What no list has is not copied but by its group.
// CHECK-LABEL: func.func @tokens(
// CHECK: gpu.launch_func @kernels::@attend_0 {{.*}} dynamic_shared_memory_size %c65664_i32
// CHECK: gpu.func @attend_0(
// CHECK-NOT: workgroup(
// CHECK-SAME: nvvm.minctasm = 3 : i32
// CHECK: %[[ALL:.*]] = gpu.dynamic_shared_memory
// CHECK: %[[RING:.*]] = memref.view %[[ALL]]{{.*}} to memref<65536xi8, #gpu.address_space<workgroup>>
// CHECK: %[[TILES:.*]] = memref.view %[[RING]]{{.*}} to memref<32768xbf16, #gpu.address_space<workgroup>>
// CHECK: %[[NUMBERS:.*]] = memref.view %[[RING]]{{.*}} to memref<16384xf32, #gpu.address_space<workgroup>>
// CHECK: %[[FOUND:.*]] = memref.reinterpret_cast %[[NUMBERS]] to offset: [0], sizes: [4, 4, 128], strides: [4096, 128, 1]
// CHECK-COUNT-3: memref.load %{{.*}} : memref<2x2x512xi32>
// CHECK-COUNT-2: memref.load %{{.*}} : memref<2x64xi32>
// CHECK: nvvm.vote.sync ballot
// CHECK: scf.if
// CHECK-COUNT-16: nvgpu.device_async_copy %{{.*}}, %[[TILES]][%{{.*}}], 8 {bypassL1}
// CHECK-NOT: nvgpu.device_async_copy
// CHECK: nvgpu.device_async_create_group
// CHECK: scf.for
// CHECK-DAG: memref.load %{{.*}} : memref<2x2x512xi32>
// CHECK-DAG: memref.load %{{.*}} : memref<2x64xi32>
// CHECK-DAG: nvvm.vote.sync ballot
// CHECK: nvvm.bar.warp.sync
// CHECK: scf.if
// CHECK-COUNT-16: nvgpu.device_async_copy %{{.*}}, %[[TILES]]
// CHECK-NOT: nvgpu.device_async_copy
// CHECK: %[[GROUP:.*]] = nvgpu.device_async_create_group
// CHECK: nvgpu.device_async_wait %[[GROUP]] {numGroups = 1 : i32}
// CHECK: nvvm.bar.warp.sync
// CHECK-NOT: memref<?x2x16x128xbf16>, vector
// CHECK-COUNT-16: vector.load %[[TILES]][%{{.*}}] {alignment = 16 : i64}
// CHECK-COUNT-16: nvvm.mma.sync
// CHECK: nvvm.bar.warp.sync
// CHECK: vector.store %{{.*}}, %[[FOUND]]
// LITTLE-LABEL: func.func @tokens(
// LITTLE-NOT: dynamic_shared_memory_size
// LITTLE-NOT: nvgpu
// LITTLE: gpu.func @attend_0(
// LITTLE-SAME: workgroup(%{{.*}} : memref<4x4x128xf32,
// LITTLE-NOT: nvgpu
// LITTLE: scf.for
// LITTLE-COUNT-16: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x16x128xbf16>, vector<8xbf16>
func.func @tokens(%q: memref<2x8x128xbf16>, %k: memref<?x2x16x128xbf16>,
                  %v: memref<?x2x16x128xbf16>, %table: memref<2x64xi32>,
                  %lens: memref<2xi32>, %ids: memref<2x2x512xi32>,
                  %n: memref<2x2xi32>, %o: memref<2x8x128xf32>,
                  %lse: memref<2x8xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%ids, %n) outs(%o, %lse) scale 0.125
      : (memref<2x8x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<2x64xi32>, memref<2xi32>,
         memref<2x2x512xi32>, memref<2x2xi32>, memref<2x8x128xf32>,
         memref<2x8xf32>) -> ()
  return
}

// -----

// Three tiles of one warp are what a kernel may declare; two are on the way while
// one is multiplied. In a page no token is looked up. A row of 96 channels is
// copied by four lanes, three times 64 bytes, one of 64 by eight: 6 and 4 copies.
// CHECK-LABEL: func.func @pages(
// CHECK-NOT: dynamic_shared_memory_size
// CHECK: gpu.func @attend_0(
// CHECK-SAME: workgroup(%{{.*}} : memref<15360xi8, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}
// CHECK-NOT: ballot
// CHECK-COUNT-30: nvgpu.device_async_copy
// CHECK-NOT: {{ballot|async_copy}}
// CHECK: nvgpu.device_async_wait %{{.*}} {numGroups = 2 : i32}
// CHECK-COUNT-10: vector.load %{{.*}} : memref<7680xf16, #gpu.address_space<workgroup>>, vector<8xf16>
// LITTLE-LABEL: func.func @pages(
// LITTLE: nvgpu.device_async_wait
func.func @pages(%q: memref<2x2x96xf16>, %k: memref<?x16x2x96xf16>,
                 %v: memref<?x16x2x64xf16>, %table: memref<2x64xi32>,
                 %lens: memref<2xi32>, %o: memref<2x2x64xf32>,
                 %lse: memref<2x2xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 layout nhd
      schedule <warps = 1, stages = 3, blocks = 2>
      : (memref<2x2x96xf16>, memref<?x16x2x96xf16>, memref<?x16x2x64xf16>,
         memref<2x64xi32>, memref<2xi32>, memref<2x2x64xf32>,
         memref<2x2xf32>) -> ()
  return
}
