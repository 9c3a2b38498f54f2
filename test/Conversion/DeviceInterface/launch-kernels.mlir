// RUN: vashista-opt %s -vashista-launch-kernels | FileCheck %s

// A launch is a call of the host's fifth function: the kernel's number, grid and
// block, shared memory, and the addresses of the parameters.
// CHECK: llvm.func @vashista_bind(%{{.*}}: !llvm.ptr)
// CHECK-LABEL: func.func @entry(
// CHECK: llvm.alloca %{{.*}} x !llvm.array<3 x ptr>
// CHECK: %[[BYTES:.*]] = arith.constant 102400 : i32
// CHECK: memref.extract_aligned_pointer_as_index
// CHECK: arith.extui %{{.*}} : i1 to i8
// CHECK: llvm.store %{{.*}}, %{{.*}} : i64, !llvm.ptr
// CHECK: %[[HOST:.*]] = llvm.getelementptr %{{.*}}[0, 4]
// CHECK: %[[LAUNCH:.*]] = llvm.load %[[HOST]] : !llvm.ptr -> !llvm.ptr
// CHECK: %[[FIRST:.*]] = arith.constant 0 : i32
// CHECK: llvm.call %[[LAUNCH]](%[[FIRST]], {{.*}}) : !llvm.ptr, (i32, i64, i64, i64, i64, i64, i64, i32, !llvm.ptr) -> ()
// CHECK: %[[SECOND:.*]] = arith.constant 1 : i32
// CHECK: llvm.call %{{.*}}(%[[SECOND]], {{.*}}, %[[BYTES]], %{{[0-9]+}})
// CHECK: %[[AGAIN:.*]] = arith.constant 0 : i32
// CHECK: llvm.call %{{.*}}(%[[AGAIN]], {{.*}})
// CHECK-NOT: gpu.
// CHECK: llvm.mlir.global external constant @vashista_kernels("first\00second\00third\00\00")
// What waits does so each time that it is launched.
// CHECK: llvm.mlir.global external constant @vashista_waits("\00\01\00")
module attributes {gpu.container_module} {
  func.func @entry(%a: memref<f32>, %n: index, %flag: i1) {
    %c1 = arith.constant 1 : index
    %bytes = arith.constant 102400 : i32
    gpu.launch_func @kernels::@first blocks in (%n, %c1, %c1)
        threads in (%c1, %c1, %c1)
        args(%a : memref<f32>, %n : index, %flag : i1)
    gpu.launch_func @kernels::@second blocks in (%n, %c1, %c1)
        threads in (%c1, %c1, %c1) dynamic_shared_memory_size %bytes
        args(%a : memref<f32>) {vashista.waits}
    gpu.launch_func @kernels::@first blocks in (%n, %c1, %c1)
        threads in (%c1, %c1, %c1)
        args(%a : memref<f32>, %n : index, %flag : i1)
    gpu.launch_func @kernels::@third blocks in (%n, %c1, %c1)
        threads in (%c1, %c1, %c1) {vashista.waits}
    gpu.launch_func @kernels::@third blocks in (%n, %c1, %c1)
        threads in (%c1, %c1, %c1)
    return
  }
  gpu.module @kernels {
    gpu.func @first(%a: memref<f32>, %n: index, %flag: i1) kernel {
      gpu.return
    }
    gpu.func @second(%a: memref<f32>) kernel {
      gpu.return
    }
    gpu.func @third() kernel {
      gpu.return
    }
  }
}
