// RUN: vashista-opt %s -split-input-file -pass-pipeline='builtin.module(func.func(vashista-plan-workspace),canonicalize,cse)' | FileCheck %s

// One allocation, sized first; nothing happens without it.
// CHECK-LABEL: func.func @places(
// CHECK-SAME: %[[A:.*]]: memref<?x8xf32>
// CHECK: %[[N:.*]] = memref.dim %[[A]], %{{.*}}
// Six bytes per element of ?x3xf16, in whole lines of 64 bytes.
// CHECK: %[[BYTES:.*]] = arith.muli %[[N]], %c6
// CHECK: arith.addi %[[BYTES]], %c63
// CHECK: arith.andi %{{.*}}, %c-64
// CHECK: %[[W:.*]] = memref.alloc(%{{.*}}) {alignment = 64 : i64} : memref<?xi8>
// CHECK: %[[P:.*]] = memref.extract_aligned_pointer_as_index %[[W]]
// CHECK: %[[SOME:.*]] = arith.cmpi ne, %[[P]], %c0
// CHECK: scf.if %[[SOME]] {
// CHECK:   memref.view %[[W]][%c0][%[[N]]] {vashista.is_apart} : memref<?xi8> to memref<?x3xf16>
// CHECK:   memref.view %[[W]][%{{.*}}][] {vashista.is_apart} : memref<?xi8> to memref<5xi1>
// CHECK-NOT: memref.alloc
// CHECK:   memref.dealloc %[[W]]
// CHECK: }
// CHECK-NEXT: return
func.func @places(%a: memref<?x8xf32>, %z: f16, %b: i1) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %a, %c0 : memref<?x8xf32>
  %t = memref.alloc(%n) : memref<?x3xf16>
  memref.store %z, %t[%c0, %c0] : memref<?x3xf16>
  %u = memref.alloc() : memref<5xi1>
  memref.store %b, %u[%c0] : memref<5xi1>
  return
}

// -----

// Iterations of a parallel loop run at once: each has its own.
// CHECK-LABEL: func.func @iterations(
// CHECK: %[[N:.*]] = memref.dim
// CHECK: %[[EACH:.*]] = arith.andi %{{.*}}, %c-64
// CHECK: arith.muli %[[EACH]], %[[N]]
// CHECK: memref.alloc
// CHECK: scf.forall (%[[I:.*]], %[[J:.*]]) in (%[[N]], 2)
// CHECK:   %[[ROW:.*]] = arith.muli %[[I]], %c2
// CHECK:   %[[NUMBER:.*]] = arith.addi %[[ROW]], %[[J]]
// CHECK:   %[[OFFSET:.*]] = arith.muli %[[NUMBER]], %[[EACH]]
// CHECK:   memref.view %{{.*}}[%[[OFFSET]]][%[[N]]] {vashista.is_apart} : memref<?xi8> to memref<?xf32>
func.func @iterations(%a: memref<?x8xf32>, %z: f32) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %a, %c0 : memref<?x8xf32>
  scf.forall (%i, %j) in (%n, 2) {
    // As large as the loop's own temporary: its size is asked of a buffer.
    %s = memref.alloc(%n) : memref<?xf32>
    %m = memref.dim %s, %c0 : memref<?xf32>
    %t = memref.alloc(%m) : memref<?xf32>
    memref.store %z, %s[%c0] : memref<?xf32>
    memref.store %z, %t[%c0] : memref<?xf32>
  }
  return
}

// -----

// CHECK-LABEL: func.func @nothing_to_place(
// CHECK-NEXT: return
func.func @nothing_to_place(%a: memref<?x8xf32>) {
  return
}
