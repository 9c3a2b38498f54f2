// RUN: vashista-opt %s -split-input-file -vashista-outline-kernels | FileCheck %s

// A thread in a block of its own for each iteration of a forall. A buffer is a
// pointer and what its type does not tell; constants stay where they are used.
// CHECK: module attributes {gpu.container_module}
// CHECK-LABEL: func.func @tasks(
// CHECK-SAME: %[[A:.*]]: memref<?x8xf32>, %[[N:.*]]: index
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[BLOCKS:.*]] = arith.muli %[[N]], %{{.*}} : index
// CHECK-DAG: %[[BASE:.*]], %{{.*}}, %[[SIZES:.*]]:2, %{{.*}}:2 = memref.extract_strided_metadata %[[A]]
// CHECK: gpu.launch_func @kernels::@tasks_0 blocks in
// CHECK-SAME: args({{.*}}%[[BASE]] : memref<f32>, %[[SIZES]]#0 : index
// CHECK: gpu.module @kernels
// CHECK: gpu.func @tasks_0({{.*}}memref<f32>, %{{.*}}: index{{.*}}) kernel attributes {known_block_size = array<i32: 1, 1, 1>}
// CHECK:   memref.reinterpret_cast %{{.*}} to offset: [0], sizes: [%{{.*}}, 8], strides: [8, 1]
// CHECK:   gpu.block_id
// CHECK-NOT: gpu.thread_id
// CHECK:   scf.if
// CHECK:     scf.for
// CHECK:       memref.store
func.func @tasks(%a: memref<?x8xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %z = arith.constant 0.0 : f32
  scf.forall (%i, %j) in (%n, 4) {
    scf.for %k = %c0 to %c8 step %c1 {
      memref.store %z, %a[%i, %k] : memref<?x8xf32>
    }
  }
  return
}

// -----

// A thread of a block of 128 for each iteration of a parallel loop.
// CHECK-LABEL: func.func @elements(
// CHECK: arith.ceildivui %{{.*}}, %{{.*}} : index
// CHECK: gpu.launch_func @kernels::@elements_0 blocks in {{.*}} threads in (%[[T:.*]], %{{.*}}, %{{.*}})
// CHECK: gpu.func @elements_0({{.*}}known_block_size = array<i32: 128, 1, 1>
// CHECK: gpu.thread_id
// CHECK: gpu.return
func.func @elements(%a: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %z = arith.constant 0.0 : f32
  scf.parallel (%i) = (%c0) to (%n) step (%c2) {
    memref.store %z, %a[%i] : memref<?xf32>
  }
  return
}

// -----

// Scratch is a thread's own, wherever its scope begins.
// CHECK: gpu.func @scratch_0
// CHECK: memref.alloca() : memref<4xf32>
// CHECK-NOT: memref.alloca_scope
func.func @scratch(%a: memref<4xf32>) {
  scf.forall (%i) in (4) {
    memref.alloca_scope {
      %s = memref.alloca() : memref<4xf32>
      %x = memref.load %s[%i] : memref<4xf32>
      memref.store %x, %a[%i] : memref<4xf32>
    }
  }
  return
}

// -----

// Of constants a kernel has a copy that it can read.
// CHECK-LABEL: func.func @constants(
// CHECK: gpu.launch_func @kernels::@constants_0 {{.*}} args(%{{[^,]*}} : memref<f32>)
// CHECK: gpu.module @kernels
// CHECK: memref.global "private" constant @slopes : memref<4xf32>
// CHECK: gpu.func @constants_0
// CHECK:   memref.get_global @slopes : memref<4xf32>
// CHECK: gpu.func @constants_1
// CHECK:   memref.get_global @slopes : memref<4xf32>
memref.global "private" constant @slopes : memref<4xf32> = dense<[1.0, 0.5, 0.25, 0.125]>
func.func @constants(%a: memref<4xf32>) {
  %slopes = memref.get_global @slopes : memref<4xf32>
  scf.forall (%i) in (4) {
    %slope = memref.load %slopes[%i] : memref<4xf32>
    memref.store %slope, %a[%i] : memref<4xf32>
  }
  scf.forall (%i) in (4) {
    %own = memref.get_global @slopes : memref<4xf32>
    %slope = memref.load %own[%i] : memref<4xf32>
    memref.store %slope, %a[%i] : memref<4xf32>
  }
  return
}

// -----

// What is in no parallel loop is a thread's, with its scratch; what is before
// and after another kernel are two.
// CHECK-LABEL: func.func @folded(
// CHECK-NOT: memref.alloca
// CHECK: scf.if
// CHECK:   gpu.launch_func @kernels::@folded_0
// CHECK:   gpu.launch_func @kernels::@folded_1
// CHECK:   gpu.launch_func @kernels::@folded_2
// CHECK: gpu.func @folded_0
// CHECK:   memref.alloca() : memref<4xf32>
// CHECK:   scf.for
// CHECK:   memref.store
// CHECK: gpu.func @folded_2
// CHECK:   memref.load
// CHECK:   memref.store
func.func @folded(%a: memref<4xf32>, %n: memref<1xi32>, %there: i1) {
  %s = memref.alloca() : memref<4xf32>
  scf.if %there {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %length = memref.load %n[%c0] : memref<1xi32>
    %end = arith.index_cast %length : i32 to index
    %sum = arith.addi %c1, %c1 : index
    scf.for %i = %c0 to %end step %c1 {
      %x = memref.load %a[%i] : memref<4xf32>
      memref.store %x, %s[%i] : memref<4xf32>
      scf.parallel (%j) = (%c0) to (%sum) step (%c1) {
        %y = memref.load %s[%j] : memref<4xf32>
        memref.store %y, %a[%j] : memref<4xf32>
      }
    }
    scf.forall (%i) in (4) {
      %x = memref.load %a[%i] : memref<4xf32>
      %y = arith.addf %x, %x : f32
      memref.store %y, %a[%i] : memref<4xf32>
    }
    %x = memref.load %a[%c0] : memref<4xf32>
    memref.store %x, %a[%c1] : memref<4xf32>
  }
  return
}

// -----

// A vector that the host could make is made by the thread; a view of scratch
// at a place that memory says is the thread's, too.
// CHECK-LABEL: func.func @taken(
// CHECK-NOT: memref.alloca
// CHECK-NOT: vector.maskedstore
// CHECK: gpu.launch_func @kernels::@taken_0
// CHECK-NOT: gpu.launch_func
// CHECK: gpu.func @taken_0
// CHECK:   vector.broadcast
// CHECK:   memref.subview
// CHECK:   vector.maskedstore
func.func @taken(%a: memref<8xf32>, %n: memref<1xi32>, %x: f32, %m: i1) {
  %s = memref.alloca() : memref<8xf32>
  %c0 = arith.constant 0 : index
  %all = vector.broadcast %x : f32 to vector<4xf32>
  %mask = vector.broadcast %m : i1 to vector<4xi1>
  %first = memref.load %n[%c0] : memref<1xi32>
  %i = arith.index_cast %first : i32 to index
  %own = memref.subview %s[%i] [4] [1] : memref<8xf32> to memref<4xf32, strided<[1], offset: ?>>
  vector.store %all, %own[%c0] : memref<4xf32, strided<[1], offset: ?>>, vector<4xf32>
  %read = vector.load %own[%c0] : memref<4xf32, strided<[1], offset: ?>>, vector<4xf32>
  vector.maskedstore %a[%c0], %mask, %read : memref<8xf32>, vector<4xi1>, vector<4xf32>
  return
}
