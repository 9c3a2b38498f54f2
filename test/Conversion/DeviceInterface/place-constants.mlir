// RUN: vashista-opt %s -split-input-file -allow-unregistered-dialect \
// RUN:   -vashista-place-constants | FileCheck %s

// Code of the host holds constants, and no kernel can read them there: they are
// copied, once for all who read them.
// CHECK-LABEL: func.func @read(
// CHECK-SAME: %[[OUT:[^:]*]]: memref<4xf32>
// CHECK: %[[AT_HOME:.*]] = memref.get_global @slopes : memref<4xf32>
// CHECK: %[[PLACE:.*]] = memref.alloc() {alignment = 64 : i64} : memref<4xf32>
// CHECK: memref.copy %[[AT_HOME]], %[[PLACE]]
// CHECK-NOT: memref.get_global
// CHECK: memref.expand_shape %[[PLACE]]
// CHECK: memref.copy %[[PLACE]], %[[OUT]]
memref.global "private" constant @slopes : memref<4xf32> = dense<[1.0, 0.5, 0.25, 0.125]>
func.func @read(%out: memref<4xf32>) {
  %slopes = memref.get_global @slopes : memref<4xf32>
  %rows = memref.expand_shape %slopes [[0, 1]] output_shape [2, 2]
    : memref<4xf32> into memref<2x2xf32>
  "test.use"(%rows) : (memref<2x2xf32>) -> ()
  %again = memref.get_global @slopes : memref<4xf32>
  memref.copy %again, %out : memref<4xf32> to memref<4xf32>
  return
}

// -----

// What is read in a loop is a kernel's own.
// CHECK-LABEL: func.func @within(
// CHECK-NOT: memref.alloc
memref.global "private" constant @slopes : memref<4xf32> = dense<[1.0, 0.5, 0.25, 0.125]>
func.func @within(%out: memref<4xf32>) {
  scf.forall (%i) in (4) {
    %slopes = memref.get_global @slopes : memref<4xf32>
    %slope = memref.load %slopes[%i] : memref<4xf32>
    memref.store %slope, %out[%i] : memref<4xf32>
  }
  return
}

// -----

// CHECK-LABEL: func.func private @declared(
func.func private @declared(memref<4xf32>)
