// From a graph to kernels: in the NVVM dialect, and as PTX.

// RUN: vashista-opt %source_dir/examples/certified.mlir \
// RUN:   -vashista-lower-to-nvvm | FileCheck %s \
// RUN:   --implicit-check-not=@certified_
// RUN: vashista-opt %source_dir/examples/certified.mlir \
// RUN:   -vashista-lower-to-nvvm='chip=sm_80 features=+ptx80 format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=PTX

// A format that there is not is a mistake of whoever asks, not of the module.
// RUN: not vashista-opt %s -vashista-lower-to-nvvm='format=ptx' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=FORMAT
// FORMAT: for the --format option: Cannot find option named 'ptx'!

// How many rounds there were is counted by a few threads of the last launch,
// whose counters those of the one before it set to 0.
// RUN: sed 's/, %%flag$/, %%rounds, %%flag/; \
// RUN:   s/32xf32>, tensor<8x8xi1>/32xf32>, tensor<8x8xi32>, tensor<8x8xi1>/; \
// RUN:   s/8x?xi32/8x8192xi32/g' \
// RUN:   %source_dir/examples/certified.mlir \
// RUN:   | vashista-opt -vashista-lower-to-nvvm \
// RUN:   | FileCheck %s --check-prefix=ROUNDS

// ROUNDS-NOT: gpu.launch_func @kernels::@certified_
// ROUNDS: gpu.module @kernels

// A sketch of 5 bits is scanned as one of 4 is.
// RUN: sed 's/bits = 4/bits = 5/; s/x64xi8>/x80xi8>/g' \
// RUN:   %source_dir/examples/certified.mlir \
// RUN:   | vashista-opt -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=FIVE

// FIVE: .entry sketch_scan_0(
// FIVE-NOT: .local
// FIVE-COUNT-20: cp.async.cg.shared.global
// FIVE: ld.shared.v2.b32
// FIVE: mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32
// FIVE: .entry
// What was picked is copied to the block's memory before it is multiplied, to
// numbers that are known from one place of a lane.
// FIVE: .entry attend_1(
// FIVE-NOT: .local
// FIVE: vote.sync.ballot.b32
// FIVE-COUNT-16: cp.async.cg.shared.global [%{{.*}}], [%{{.*}}], 16
// FIVE: cp.async.commit_group
// FIVE: cp.async.wait_group
// FIVE-COUNT-16: ld.shared.v4.b32
// FIVE: mma.sync.aligned.m16n8k16
// FIVE: .entry merge_0(

// The step without a certificate, of one sequence: three kernels, of plain loads
// of 16 bytes and nothing in local memory; larger numbers are one instruction.
// RUN: sed 's/tensor<8x/tensor<1x/g; s/1x?xi32/1x4096xi32/g' \
// RUN:   %source_dir/examples/decode.mlir \
// RUN:   | vashista-opt -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=STEP

// STEP: gpu.launch_func @kernels::@vector_scan_0
// STEP: gpu.launch_func @kernels::@pick_0
// STEP: gpu.launch_func @kernels::@attend_best_0
// STEP-NOT: gpu.launch_func
// STEP: .entry attend_best_0(
// STEP-NOT: .local
// STEP: ld.global.nc.v4.b32
// STEP: barrier.cluster.wait
// STEP: .entry vector_scan_0(
// STEP-NOT: .local
// STEP: ld.global.nc.v4.b32
// STEP: fma.rn.f32
// STEP: .entry pick_0(
// STEP-NOT: .local
// STEP: ld.global.nc.v4.b32
// STEP: max.f32
// STEP: redux.sync.add

// Of many sequences it is one kernel, a block for each KV head.
// RUN: sed 's/tensor<8x/tensor<16x/g; s/16x?xi32/16x1024xi32/g' \
// RUN:   %source_dir/examples/decode.mlir \
// RUN:   | vashista-opt -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=ROUTE

// ROUTE-NOT: gpu.launch_func
// ROUTE: gpu.launch_func @kernels::@route_attend_best_0 blocks in (%c8{{.*}}, %c16{{.*}}, %c1{{.*}}) threads in (%c512
// ROUTE-NOT: gpu.launch_func
// ROUTE: .entry route_attend_best_0(
// ROUTE-NOT: .local
// ROUTE: ld.global.nc.v4.b32
// ROUTE: fma.rn.f32
// ROUTE-NOT: barrier.cluster
// ROUTE-NOT: .entry

// Of fewer sequences a cluster of two blocks has a KV head: each keeps the scores
// of its pages and, once both have begun, stores the highest that its tensor cores
// find in the other's memory, too. The next kernel may start when pages are known.
// RUN: sed 's/8x?xi32/8x8192xi32/g' %source_dir/examples/decode.mlir \
// RUN:   | vashista-opt -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=SHARED

// SHARED-NOT: gpu.launch_func
// SHARED: gpu.launch_func @kernels::@route_attend_best_0 blocks in (%c8{{.*}}, %c8{{.*}}, %c2{{.*}}) threads in (%c512{{.*}} dynamic_shared_memory_size %c1{{[0-9]+}}_i32 args
// SHARED-NOT: gpu.launch_func
// SHARED: .extern .shared .align 16 .b8 __dynamic_shmem__0[];
// SHARED: .entry route_attend_best_0(
// SHARED-NOT: .local
// SHARED: barrier.cluster.arrive
// SHARED: barrier.cluster.wait
// SHARED: ld.global.nc.v4.b32
// SHARED: mapa.shared::cluster
// SHARED: mma.sync.aligned.m16n8k16
// SHARED-NOT: st.global
// SHARED: st.shared.b32
// SHARED-NOT: st.global
// SHARED: st.shared::cluster
// SHARED: barrier.cluster.arrive
// SHARED: barrier.cluster.wait
// SHARED: redux.sync.max
// SHARED-NOT: ld.global
// SHARED: ld.shared::cluster
// SHARED: griddepcontrol.launch_dependents
// SHARED: st.shared::cluster
// SHARED-NOT: .entry

// Code that other GPUs may run, too, asks for no more than these have: scores go
// by global memory.
// RUN: sed 's/8x?xi32/8x8192xi32/g' %source_dir/examples/decode.mlir \
// RUN:   | vashista-opt -vashista-lower-to-nvvm='chip=sm_90 format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=ANY

// ANY: gpu.launch_func @kernels::@route_attend_best_0
// ANY-NOT: dynamic_shared_memory_size
// ANY: .entry route_attend_best_0(
// ANY: mma.sync.aligned.m16n8k16
// ANY: st.global.b32
// ANY: st.shared::cluster

// Every op has become a launch of a kernel of its own; the host holds buffers and
// nothing of the dialect or of a loop over them.
// CHECK-LABEL: func.func @certified(
// CHECK-NOT: vashista.
// CHECK-NOT: scf.
// CHECK: gpu.launch_func @kernels::@sketch_scan_0
// CHECK: gpu.launch_func @kernels::@pick_1
// CHECK: gpu.launch_func @kernels::@attend_1
// CHECK: gpu.launch_func @kernels::@pick_0
// CHECK: gpu.launch_func @kernels::@attend_2
// CHECK: gpu.launch_func @kernels::@certify_0
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK: return
// CHECK: gpu.module @kernels [#nvvm.target<O = 3, chip = "sm_90a", features = "+ptx80">]
// CHECK-NOT: llvm.func @{{malloc|__nv}}
// Blocks work together on a sequence where the GPU has clusters.
// CHECK: llvm.func @pick_0({{.*}}nvvm.cluster_dim = array<i32: 1, 1, 4>
// CHECK: llvm.func @attend_0({{.*}}nvvm.kernel

// No function of a library, no approximate root.
// PTX: .target sm_80
// PTX-NOT: .extern
// PTX-NOT: sqrt.approx
// PTX: .entry sketch_scan_0(
// PTX-NOT: .local
// PTX: ld.global.nc.v2.b32
// PTX: cp.async.cg.shared.global
// PTX: shfl.sync.bfly.b32
// PTX: rcp.rn.f64
// PTX: sqrt.rn.f64
// PTX: mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32
// PTX: .entry pick_0(
// PTX-NOT: cluster
// PTX-NOT: .local
// PTX: .entry certify_0(
// PTX: sqrt.rn.f64
// PTX: .entry attend_0(
// PTX-NOT: .local
// PTX: ld.global.nc.v4
// PTX: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// PTX: movmatrix.sync.aligned.m8n8.trans.b16
