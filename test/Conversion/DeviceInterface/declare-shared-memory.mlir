// RUN: vashista-opt %s -split-input-file \
// RUN:   --pass-pipeline='builtin.module(gpu.module(convert-gpu-to-nvvm, \
// RUN:   vashista-declare-shared-memory))' | FileCheck %s
// RUN: vashista-opt %s -split-input-file -vashista-declare-shared-memory \
// RUN:   | FileCheck %s --check-prefix=OTHER

// CHECK: llvm.mlir.global external @__dynamic_shmem__0() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<0 x i8>
// CHECK: llvm.func @store(
gpu.module @kernels {
  gpu.func @store(%i: index, %value: f32) kernel {
    %c0 = arith.constant 0 : index
    %all = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
    %view = memref.view %all[%c0][] : memref<?xi8, #gpu.address_space<workgroup>>
        to memref<1024xf32, #gpu.address_space<workgroup>>
    memref.store %value, %view[%i] : memref<1024xf32, #gpu.address_space<workgroup>>
    gpu.return
  }
}

// -----

// What has a size, or lies elsewhere, stays.
// OTHER: llvm.mlir.global internal @buffer() {addr_space = 3 : i32}
// OTHER: llvm.mlir.global internal @nothing()
llvm.mlir.global internal @buffer() {addr_space = 3 : i32} : !llvm.array<4 x f32>
llvm.mlir.global internal @nothing() : !llvm.array<0 x i8>
