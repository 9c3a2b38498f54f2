// RUN: vashista-opt %s -split-input-file -vashista-collapse-tasks | FileCheck %s

// One loop of three dimensions; what was computed per outer iteration still is.
// CHECK-LABEL: func.func @nested(
// CHECK-SAME: %[[A:.*]]: memref<?x4x8xf32>, %[[N:.*]]: index
// CHECK: scf.forall (%[[I:.*]], %[[J:.*]], %[[K:.*]]) in (%[[N]], 4, %[[N]]) {
// CHECK:   %[[ROW:.*]] = memref.subview %[[A]][%[[I]], 0, 0]
// CHECK:   memref.store %{{.*}}, %[[ROW]][%[[J]], %[[K]]]
// CHECK-NOT: scf.forall
func.func @nested(%a: memref<?x4x8xf32>, %n: index, %z: f32) {
  scf.forall (%i) in (%n) {
    %row = memref.subview %a[%i, 0, 0] [1, 4, 8] [1, 1, 1]
        : memref<?x4x8xf32> to memref<4x8xf32, strided<[8, 1], offset: ?>>
    scf.forall (%j, %k) in (4, %n) {
      memref.store %z, %row[%j, %k]
          : memref<4x8xf32, strided<[8, 1], offset: ?>>
    }
  }
  return
}

// -----

// The outer loop does something itself: each inner task would repeat it.
// CHECK-LABEL: func.func @effects(
// CHECK: scf.forall (%{{.*}}) in (2)
// CHECK:   memref.store
// CHECK:   scf.forall (%{{.*}}) in (4)
func.func @effects(%a: memref<4xf32>, %z: f32) {
  %c0 = arith.constant 0 : index
  scf.forall (%i) in (2) {
    memref.store %z, %a[%c0] : memref<4xf32>
    scf.forall (%j) in (4) {
      memref.store %z, %a[%j] : memref<4xf32>
    }
  }
  return
}

// -----

// The number of inner iterations is known to the outer one alone.
// CHECK-LABEL: func.func @ragged(
// CHECK: scf.forall (%[[I:.*]]) in (2)
// CHECK:   scf.forall (%{{.*}}) in (%[[I]])
func.func @ragged(%a: memref<4xf32>, %z: f32) {
  scf.forall (%i) in (2) {
    scf.forall (%j) in (%i) {
      memref.store %z, %a[%j] : memref<4xf32>
    }
  }
  return
}

// -----

// Two inner loops run one after the other.
// CHECK-LABEL: func.func @two(
// CHECK: scf.forall (%{{.*}}) in (2)
// CHECK-COUNT-2: scf.forall (%{{.*}}) in (4)
func.func @two(%a: memref<4xf32>, %z: f32) {
  scf.forall (%i) in (2) {
    scf.forall (%j) in (4) {
      memref.store %z, %a[%j] : memref<4xf32>
    }
    scf.forall (%j) in (4) {
      memref.store %z, %a[%j] : memref<4xf32>
    }
  }
  return
}
