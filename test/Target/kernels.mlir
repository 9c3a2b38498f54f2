// LLVM makes the code of kernels one by one; it is one text, with one header.

// RUN: vashista-compile %source_dir/examples/certified.mlir -o - --emit=ptx \
// RUN:   --target=cuda:compute_90a | FileCheck %s --implicit-check-not=.version \
// RUN:   --implicit-check-not=.target --implicit-check-not=.address_size

// CHECK: .version 8.0
// CHECK-NEXT: .target sm_90a
// CHECK-NEXT: .address_size 64
// CHECK: .visible .entry sketch_scan_0(
// CHECK: .shared {{.*}} __wg_sketch_scan_0_0[
// CHECK: .visible .entry pick_0(
// CHECK: .shared {{.*}} __wg_pick_0_0[
// CHECK: .visible .entry attend_0(

// Memory that launches give has one name, and one declaration.
// CHECK: .extern .shared .align 16 .b8 __dynamic_shmem__0[];
// CHECK-NOT: .extern
// CHECK: .visible .entry attend_1(
// CHECK: __dynamic_shmem__0
// CHECK-NOT: .extern
// CHECK: .visible .entry attend_2(
// CHECK: __dynamic_shmem__0
