// RUN: vashista-opt %s -split-input-file -verify-diagnostics -vashista-pack-entries | FileCheck %s

// The host's table, set by whoever loads the code.
// CHECK: llvm.mlir.global internal @vashista_host
// CHECK: llvm.func @vashista_bind(%[[TABLE:.*]]: !llvm.ptr)
// CHECK:   %[[HOST:.*]] = llvm.mlir.addressof @vashista_host
// CHECK:   llvm.store %[[TABLE]], %[[HOST]]

// Allocation is the host's: the size first, then the alignment.
// CHECK: llvm.func internal @_mlir_memref_to_llvm_aligned_alloc(%[[ALIGN:.*]]: i64, %[[SIZE:.*]]: i64)
// CHECK:   %[[ALLOC:.*]] = llvm.getelementptr %{{.*}}[0, 2] : (!llvm.ptr) -> !llvm.ptr, !llvm.struct<(i32, ptr, ptr, ptr, ptr)>
// CHECK:   %[[FUNCTION:.*]] = llvm.load %[[ALLOC]]
// CHECK:   %[[MEMORY:.*]] = llvm.call %[[FUNCTION]](%[[SIZE]], %[[ALIGN]])
// CHECK:   llvm.return %[[MEMORY]]
llvm.func @_mlir_memref_to_llvm_aligned_alloc(i64, i64) -> !llvm.ptr
// CHECK: llvm.func internal @_mlir_memref_to_llvm_free(%[[MEMORY:.*]]: !llvm.ptr)
// CHECK:   %[[FREE:.*]] = llvm.getelementptr %{{.*}}[0, 3]
// CHECK:   %[[FUNCTION:.*]] = llvm.load %[[FREE]]
// CHECK:   llvm.call %[[FUNCTION]](%[[MEMORY]])
llvm.func @_mlir_memref_to_llvm_free(!llvm.ptr)

// CHECK: llvm.func internal @_mlir_ciface_f(
llvm.func @_mlir_ciface_f(%a: !llvm.ptr, %b: !llvm.ptr) {
  llvm.return
}
// CHECK: llvm.func internal @helper()
llvm.func @helper() {
  llvm.return
}

// CHECK: llvm.func @vashista_entry_f(%[[ALL:.*]]: !llvm.ptr)
// CHECK:   %[[A:.*]] = llvm.getelementptr %[[ALL]][0]
// CHECK:   %[[FIRST:.*]] = llvm.load %[[A]]
// CHECK:   %[[B:.*]] = llvm.getelementptr %[[ALL]][1]
// CHECK:   %[[SECOND:.*]] = llvm.load %[[B]]
// CHECK:   llvm.call @_mlir_ciface_f(%[[FIRST]], %[[SECOND]])

// -----

// expected-error @below {{expected a function of memrefs without results to be packed, got '!llvm.func<void (ptr, i64)>'}}
llvm.func @_mlir_ciface_f(%a: !llvm.ptr, %n: i64) {
  llvm.return
}
