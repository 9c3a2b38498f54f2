// RUN: vashista-opt %s -split-input-file -verify-diagnostics -pass-pipeline='builtin.module(func.func(vashista-plan-workspace))'

func.func @size_from_data(%a: memref<?xindex>, %z: f32) {
  %c0 = arith.constant 0 : index
  %n = memref.load %a[%c0] : memref<?xindex>
  // expected-error @below {{expected a size that follows from those of the arguments to place this buffer in the workspace}}
  %t = memref.alloc(%n) : memref<?xf32>
  memref.store %z, %t[%c0] : memref<?xf32>
  return
}

// -----

func.func @carried(%n: index, %z: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %t = memref.alloc(%n) : memref<?xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%b = %t) -> memref<?xf32> {
    // expected-error @below {{expected a buffer that does not leave its block}}
    %s = memref.alloc(%n) : memref<?xf32>
    scf.yield %s : memref<?xf32>
  }
  memref.store %z, %r[%c0] : memref<?xf32>
  return
}

// -----

func.func @strided(%z: f32) {
  %c0 = arith.constant 0 : index
  // expected-error @below {{expected a row-major buffer of numbers}}
  %t = memref.alloc() : memref<4x4xf32, strided<[1, 4]>>
  memref.store %z, %t[%c0, %c0] : memref<4x4xf32, strided<[1, 4]>>
  return
}

// -----

// expected-error @below {{expected one block and no results to plan the workspace of a function}}
func.func @with_results(%n: index) -> memref<?xf32> {
  %t = memref.alloc(%n) : memref<?xf32>
  %u = memref.alloc(%n) : memref<?xf32>
  memref.copy %u, %t : memref<?xf32> to memref<?xf32>
  return %t : memref<?xf32>
}

// -----

func.func @loop_from_data(%a: memref<?xindex>, %n: index, %z: f32) {
  %c0 = arith.constant 0 : index
  %m = memref.load %a[%c0] : memref<?xindex>
  scf.forall (%i) in (%m) {
    // expected-error @below {{expected a parallel loop whose extent follows from the arguments}}
    %s = memref.alloc(%n) : memref<?xf32>
    memref.store %z, %s[%c0] : memref<?xf32>
  }
  return
}
