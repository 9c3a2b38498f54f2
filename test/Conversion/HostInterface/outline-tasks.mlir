// RUN: vashista-opt %s -vashista-outline-tasks -split-input-file -verify-diagnostics | FileCheck %s

// CHECK: llvm.mlir.global internal @vashista_host() {{.*}} : !llvm.ptr
// CHECK: llvm.func @vashista_bind(%[[TABLE:.*]]: !llvm.ptr)
// CHECK: llvm.store %[[TABLE]], %{{.*}}

// What is captured travels in a context on the caller's stack; constants do not.
// CHECK-LABEL: func.func @scale
// CHECK-SAME: %[[M:[a-z0-9]*]]: memref<?x8xf32>, %[[F:[a-z0-9]*]]: f32
// CHECK: llvm.alloca %{{.*}} x !llvm.struct<(struct<(ptr, ptr, i64, array<2 x i64>, array<2 x i64>)>, f32, i64, i64)>
// CHECK: %[[HOST:.*]] = llvm.load
// CHECK: %[[FIELD:.*]] = llvm.getelementptr %[[HOST]][0, 1]
// CHECK: %[[CALLEE:.*]] = llvm.load %[[FIELD]]
// CHECK: %[[TASK:.*]] = llvm.mlir.addressof @scale_task_0
// CHECK: llvm.call %[[CALLEE]](%{{.*}}, %[[TASK]], %{{.*}}) : !llvm.ptr, (i64, !llvm.ptr, !llvm.ptr) -> ()

// The last dimension varies fastest.
// CHECK: llvm.func internal @scale_task_0(%[[C:.*]]: !llvm.ptr, %[[N:.*]]: i64)
// CHECK: %[[E:.*]] = llvm.load %{{.*}} : !llvm.ptr -> i64
// CHECK: %[[J:.*]] = arith.remui %[[N]], %[[E]]
// CHECK: %[[I:.*]] = arith.divui %[[N]], %[[E]]
// CHECK: memref.store
func.func @scale(%m: memref<?x8xf32>, %f: f32) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %m, %c0 : memref<?x8xf32>
  scf.forall (%i, %j) in (%n, 8) {
    %x = memref.load %m[%i, %j] : memref<?x8xf32>
    %y = arith.mulf %x, %f : f32
    memref.store %y, %m[%i, %j] : memref<?x8xf32>
  }
  return
}

// -----

func.func @results(%t: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @+1 {{expected no results, lower bounds of 0 and steps of 1 to be outlined}}
  %0 = scf.forall (%i) in (8) shared_outs(%o = %t) -> (tensor<8xf32>) {
    %s = tensor.extract_slice %o[%i] [1] [1] : tensor<8xf32> to tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %s into %o[%i] [1] [1]
          : tensor<1xf32> into tensor<8xf32>
    }
  }
  return %0 : tensor<8xf32>
}
