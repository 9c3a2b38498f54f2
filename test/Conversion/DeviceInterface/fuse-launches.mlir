// RUN: vashista-opt %s -split-input-file -vashista-fuse-launches | FileCheck %s

// The first two of four blocks do what the launch after theirs would, before all
// else. Buffers that are made between are made before, and a view of a workspace
// that lies elsewhere in it is another buffer.
// CHECK-LABEL: func.func @count(
// CHECK: %[[ALLOC:.*]] = memref.alloc() : memref<200xi32>
// CHECK: %[[BASE:.*]], %{{.*}}, %{{.*}}, %{{.*}} = memref.extract_strided_metadata %[[ALLOC]]
// CHECK: gpu.launch_func @kernels::@certify blocks in (%c2, %c1, %c2) threads in (%c256, %c1, %c1) args(%{{.*}} : memref<f32>, %[[BASE]] : memref<i32>, %c200 : index)
// CHECK-NOT: gpu.launch_func
// CHECK: gpu.func @certify(%[[TAU:.*]]: memref<f32>, %[[COUNTERS:.*]]: memref<i32> {llvm.align = 16 : i64}, %[[SIZE:.*]]: index) workgroup(%{{.*}} : memref<4xf32, #gpu.address_space<workgroup>>) kernel
// CHECK: %[[Z:.*]] = gpu.block_id z
// CHECK: %[[SIZE_Y:.*]] = gpu.grid_dim y
// CHECK: arith.muli %[[Z]], %[[SIZE_Y]]
// CHECK: %[[SIZE_X:.*]] = gpu.grid_dim x
// CHECK: %[[BLOCK:.*]] = arith.addi
// CHECK: %[[THREAD:.*]] = gpu.thread_id x
// CHECK: arith.cmpi ult, %[[BLOCK]], %c2
// CHECK: arith.cmpi ult, %[[THREAD]], %c128
// CHECK: scf.if
// CHECK:   arith.muli %[[BLOCK]], %c128
// CHECK:   memref.store %{{.*}}, %{{.*}} : memref<200xi32
// CHECK: }
// CHECK: memref.store %{{.*}}, %[[TAU]][]
// CHECK-NOT: gpu.func @fill
module attributes {gpu.container_module} {
  func.func @count(%workspace: memref<1024xi8>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c128 = arith.constant 128 : index
    %c200 = arith.constant 200 : index
    %c256 = arith.constant 256 : index
    %tau = memref.view %workspace[%c0][] : memref<1024xi8> to memref<4xf32>
    %base, %offset, %size, %stride = memref.extract_strided_metadata %tau
        : memref<4xf32> -> memref<f32>, index, index, index
    gpu.launch_func @kernels::@certify blocks in (%c2, %c1, %c2)
        threads in (%c256, %c1, %c1) args(%base : memref<f32>)
    %counters = memref.alloc() : memref<200xi32>
    %base_0, %offset_0, %size_0, %stride_0 = memref.extract_strided_metadata
        %counters : memref<200xi32> -> memref<i32>, index, index, index
    gpu.launch_func @kernels::@fill blocks in (%c2, %c1, %c1)
        threads in (%c128, %c1, %c1) args(%base_0 : memref<i32>, %c200 : index)
    return
  }
  gpu.module @kernels {
    gpu.func @certify(%tau: memref<f32>)
        workgroup(%shared: memref<4xf32, #gpu.address_space<workgroup>>) kernel
        attributes {known_block_size = array<i32: 256, 1, 1>} {
      %x = arith.constant 1.0 : f32
      memref.store %x, %tau[] : memref<f32>
      gpu.barrier
      gpu.return
    }
    gpu.func @fill(%base: memref<i32> {llvm.align = 16 : i64}, %size: index)
        kernel {
      %c128 = arith.constant 128 : index
      %block = gpu.block_id x
      %thread = gpu.thread_id x
      %first = arith.muli %block, %c128 : index
      %at = arith.addi %first, %thread : index
      %isThere = arith.cmpi ult, %at, %size : index
      scf.if %isThere {
        %zero = arith.constant 0 : i32
        %counters = memref.reinterpret_cast %base to offset: [0], sizes: [200],
            strides: [1] : memref<i32> to memref<200xi32, strided<[1]>>
        memref.store %zero, %counters[%at] : memref<200xi32, strided<[1]>>
      }
      gpu.return
    }
  }
}

// -----

// What is left as it is: a launch that uses what the one before it writes, or the
// same bytes of a workspace; of more blocks, or a number of them that is not known;
// whose threads wait for each other; whose kernel is launched twice; of a buffer
// that may be the other one's; or behind what touches memory. What is only read
// may be read by both.
// CHECK-LABEL: func.func @others(
// CHECK-COUNT-22: gpu.launch_func
// CHECK: memref.load
// CHECK: gpu.launch_func @kernels::@last
// CHECK: gpu.launch_func @kernels::@reads blocks in (%c2, %c1, %c1) threads in (%c256, %c1, %c1) args(%{{.*}} : memref<f32>, %{{.*}} : memref<f32>)
// CHECK-NOT: gpu.launch_func
// CHECK: return
module attributes {gpu.container_module} {
  func.func @others(%a: memref<f32>, %b: memref<f32>, %n: index,
                    %workspace: memref<1024xi8>, %which: i1) -> f32 {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c4 = arith.constant 4 : index
    %c8 = arith.constant 8 : index
    %c9 = arith.constant 9 : index
    %c32 = arith.constant 32 : index
    %c256 = arith.constant 256 : index
    // Depends.
    gpu.launch_func @kernels::@k0 blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k1 blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%a : memref<f32>)
    // Bytes that overlap: 0 to 15, 12 to 15.
    %x = memref.view %workspace[%c0][] : memref<1024xi8> to memref<4xf32>
    %y = memref.view %workspace[%c8][] : memref<1024xi8> to memref<2xf32>
    %base_x, %offset_x, %size_x, %stride_x = memref.extract_strided_metadata %x
        : memref<4xf32> -> memref<f32>, index, index, index
    %base_y, %offset_y, %size_y, %stride_y = memref.extract_strided_metadata %y
        : memref<2xf32> -> memref<f32>, index, index, index
    gpu.launch_func @kernels::@k2 blocks in (%n, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%base_x : memref<f32>)
    gpu.launch_func @kernels::@k3 blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%base_x : memref<f32>)
    gpu.launch_func @kernels::@k4 blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%base_y : memref<f32>)
    // More blocks than the other has, and than are few.
    gpu.launch_func @kernels::@k5 blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k6 blocks in (%c9, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    // Blocks that are not known.
    gpu.launch_func @kernels::@k7 blocks in (%n, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k8 blocks in (%n, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    // Fewer threads.
    gpu.launch_func @kernels::@k9 blocks in (%c2, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k10 blocks in (%c1, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%b : memref<f32>)
    // A barrier.
    gpu.launch_func @kernels::@waits blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%a : memref<f32>)
    // One kernel, launched twice.
    gpu.launch_func @kernels::@twice blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    gpu.launch_func @kernels::@k11 blocks in (%n, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@twice blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    // Bits have a byte each: 0 to 15, 8 to 23.
    %bits = memref.view %workspace[%c0][] : memref<1024xi8> to memref<16xi1>
    %others = memref.view %workspace[%c8][] : memref<1024xi8> to memref<16xi1>
    %base_bits, %offset_b, %size_b, %stride_b = memref.extract_strided_metadata
        %bits : memref<16xi1> -> memref<i1>, index, index, index
    %base_o, %offset_o, %size_o, %stride_o = memref.extract_strided_metadata
        %others : memref<16xi1> -> memref<i1>, index, index, index
    gpu.launch_func @kernels::@k17 blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%base_bits : memref<i1>)
    gpu.launch_func @kernels::@k18 blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%base_o : memref<i1>)
    // One of two buffers; and bytes 8 to 15, counted from two places.
    %either = arith.select %which, %a, %b : memref<f32>
    gpu.launch_func @kernels::@k12 blocks in (%n, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k13 blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k14 blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%either : memref<f32>)
    %inner = memref.view %workspace[%c8][] : memref<1024xi8> to memref<64xi8>
    %z = memref.view %inner[%c0][] : memref<64xi8> to memref<2xf32>
    %base_z, %offset_z, %size_z, %stride_z = memref.extract_strided_metadata %z
        : memref<2xf32> -> memref<f32>, index, index, index
    gpu.launch_func @kernels::@k15 blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%base_y : memref<f32>)
    gpu.launch_func @kernels::@k16 blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%base_z : memref<f32>)
    %loaded = memref.load %a[] : memref<f32>
    gpu.launch_func @kernels::@last blocks in (%c1, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    // Both read what neither writes.
    gpu.launch_func @kernels::@reads blocks in (%c2, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%b : memref<f32>)
    gpu.launch_func @kernels::@reads_too blocks in (%c2, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    return %loaded : f32
  }
  gpu.module @kernels {
    gpu.func @k0(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k1(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k2(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k3(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k4(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k5(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k6(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k7(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k8(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k9(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k10(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k11(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k12(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k13(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k14(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k15(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k16(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k17(%a: memref<i1>) kernel { gpu.return }
    gpu.func @k18(%a: memref<i1>) kernel { gpu.return }
    gpu.func @waits(%a: memref<f32>) kernel {
      gpu.barrier
      gpu.return
    }
    gpu.func @twice(%a: memref<f32>) kernel { gpu.return }
    gpu.func @last(%a: memref<f32>) kernel { gpu.return }
    gpu.func @reads(%a: memref<f32> {llvm.readonly}) kernel { gpu.return }
    gpu.func @reads_too(%a: memref<f32> {llvm.readonly}) kernel { gpu.return }
  }
}

// -----

// Of rows that are not known there are as many blocks as rows, or more, where
// each has no more threads than a block. Parts of a workspace that are told to be
// apart may lie anywhere.
// CHECK-LABEL: func.func @rows(
// CHECK-SAME: %[[ROWS:[a-z0-9]+]]: index
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui
// CHECK: gpu.launch_func @kernels::@pick blocks in (%[[ROWS]], %c4, %c2) threads in (%c256, %c1, %c1) args(%{{.*}} : memref<f32>, %{{.*}} : memref<i32>, %[[BLOCKS]] : index)
// CHECK-NOT: gpu.launch_func
// CHECK: return
// CHECK: gpu.func @pick(%{{.*}}: memref<f32>, %[[COUNTERS:.*]]: memref<i32>, %[[NUMBER:.*]]: index) kernel
// CHECK: arith.addi
// CHECK: %[[BLOCK:.*]] = arith.addi
// CHECK: %[[BLOCK_IS:.*]] = arith.cmpi ult, %[[BLOCK]], %[[NUMBER]]
// CHECK: %[[THREAD_IS:.*]] = arith.cmpi ult, %{{.*}}, %c128
// CHECK: %[[IS:.*]] = arith.andi %[[BLOCK_IS]], %[[THREAD_IS]]
// CHECK: scf.if %[[IS]] {
// CHECK:   memref.store %{{.*}}, %[[COUNTERS]][]
module attributes {gpu.container_module} {
  func.func @rows(%rows: index, %shift: index, %workspace: memref<?xi8>) {
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c4 = arith.constant 4 : index
    %c8 = arith.constant 8 : index
    %c128 = arith.constant 128 : index
    %c256 = arith.constant 256 : index
    %tails = memref.view %workspace[%rows][%rows] {vashista.is_apart}
        : memref<?xi8> to memref<?xf32>
    %base, %offset, %size, %stride = memref.extract_strided_metadata %tails
        : memref<?xf32> -> memref<f32>, index, index, index
    gpu.launch_func @kernels::@pick blocks in (%rows, %c4, %c2)
        threads in (%c256, %c1, %c1) args(%base : memref<f32>)
    %counters = memref.view %workspace[%shift][%rows] {vashista.is_apart}
        : memref<?xi8> to memref<?xi32>
    %base_0, %offset_0, %size_0, %stride_0 = memref.extract_strided_metadata
        %counters : memref<?xi32> -> memref<i32>, index, index, index
    %threads = arith.muli %rows, %c8 : index
    %blocks = arith.ceildivui %threads, %c128 : index
    gpu.launch_func @kernels::@fill blocks in (%blocks, %c1, %c1)
        threads in (%c128, %c1, %c1) args(%base_0 : memref<i32>)
    return
  }
  gpu.module @kernels {
    gpu.func @pick(%tails: memref<f32>) kernel { gpu.return }
    gpu.func @fill(%counters: memref<i32>) kernel {
      %zero = arith.constant 0 : i32
      memref.store %zero, %counters[] : memref<i32>
      gpu.return
    }
  }
}

// -----

// Not so: of other rows; of more threads for each than a block has; beside sizes
// that may be 0; of parts that nobody says are apart.
// CHECK-LABEL: func.func @other_rows(
// CHECK-COUNT-8: gpu.launch_func
module attributes {gpu.container_module} {
  func.func @other_rows(%rows: index, %others: index, %a: memref<f32>,
                        %b: memref<f32>, %workspace: memref<?xi8>) {
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %c32 = arith.constant 32 : index
    %c256 = arith.constant 256 : index
    %threads = arith.muli %rows, %c8 : index
    %blocks = arith.ceildivui %threads, %c32 : index
    %many = arith.muli %rows, %c256 : index
    %more = arith.ceildivui %many, %c32 : index
    gpu.launch_func @kernels::@k0 blocks in (%others, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k1 blocks in (%blocks, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    gpu.launch_func @kernels::@k2 blocks in (%rows, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k3 blocks in (%more, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    gpu.launch_func @kernels::@k4 blocks in (%rows, %others, %c1)
        threads in (%c256, %c1, %c1) args(%a : memref<f32>)
    gpu.launch_func @kernels::@k5 blocks in (%blocks, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%b : memref<f32>)
    %x = memref.view %workspace[%rows][%rows] : memref<?xi8> to memref<?xf32>
    %base, %offset, %size, %stride = memref.extract_strided_metadata %x
        : memref<?xf32> -> memref<f32>, index, index, index
    gpu.launch_func @kernels::@k6 blocks in (%rows, %c1, %c1)
        threads in (%c256, %c1, %c1) args(%base : memref<f32>)
    %y = memref.view %workspace[%others][%rows] : memref<?xi8> to memref<?xf32>
    %base_0, %offset_0, %size_0, %stride_0 = memref.extract_strided_metadata %y
        : memref<?xf32> -> memref<f32>, index, index, index
    gpu.launch_func @kernels::@k7 blocks in (%blocks, %c1, %c1)
        threads in (%c32, %c1, %c1) args(%base_0 : memref<f32>)
    return
  }
  gpu.module @kernels {
    gpu.func @k0(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k1(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k2(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k3(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k4(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k5(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k6(%a: memref<f32>) kernel { gpu.return }
    gpu.func @k7(%a: memref<f32>) kernel { gpu.return }
  }
}
