// Checks become launches of kernels that have a row in a block.

// RUN: vashista-opt %s -convert-vashista-to-gpu -split-input-file \
// RUN:   | FileCheck %s

// Pages are looked at in their order, eight to a thread, of which there are as
// many as a block can have where nothing says how many pages there are. The
// earliest place of a block, by minima of warps, is the row's.
// CHECK-LABEL: func.func @table(
// CHECK-DAG: %[[LENS:.*]] = memref.alloc() {alignment = 64 : i64} : memref<6xi32>
// CHECK-DAG: %[[ROWS:.*]] = memref.alloc() {alignment = 64 : i64} : memref<6xi32>
// CHECK-DAG: %[[FAULTS:.*]] = memref.alloc() {alignment = 64 : i64} : memref<6x4xi32>
// CHECK: gpu.launch_func @kernels::@check_table_0 blocks in (%c6{{.*}}, %c1{{.*}}, %c1{{.*}}) threads in (%c1024{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK-NOT: vashista.check
// CHECK: gpu.func @check_table_0({{.*}}llvm.noalias, llvm.readonly
// CHECK-SAME: workgroup(%[[SHARED:.*]] : memref<32xi32, #gpu.address_space<workgroup>>
// CHECK-SAME: vashista.is_short
// CHECK: %[[PAGES:.*]] = arith.select %{{.*}}, %c0{{.*}}, %{{.*}} : index
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[PAGES]] step %c8192
// CHECK-COUNT-8: memref.load
// CHECK: scf.yield
// CHECK-NOT: atomic
// CHECK: gpu.subgroup_reduce minsi %{{.*}} uniform
// CHECK: memref.store %{{.*}}, %[[SHARED]]
// CHECK: gpu.barrier
// CHECK: gpu.subgroup_reduce minsi %{{.*}} uniform
// CHECK: scf.if
// CHECK-COUNT-6: memref.store
// CHECK-NOT: memref.store
// CHECK: gpu.return
func.func @table(%table: tensor<3x?xi32>, %lens: tensor<6xi32>,
                 %rows: tensor<6xi32>, %n: index)
    -> (tensor<6xi32>, tensor<6xi32>, tensor<6x4xi32>) {
  %0:3 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16
      : (tensor<3x?xi32>, tensor<6xi32>, tensor<6xi32>, index)
      -> (tensor<6xi32>, tensor<6xi32>, tensor<6x4xi32>)
  return %0#0, %0#1, %0#2 : tensor<6xi32>, tensor<6xi32>, tensor<6x4xi32>
}

// -----

// A thread has a row.
// CHECK-LABEL: func.func @positions(
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c128
// CHECK: gpu.launch_func @kernels::@check_positions_0 blocks in (%[[BLOCKS]], %c1{{.*}}, %c1{{.*}}) threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK-NOT: vashista.check
// CHECK: gpu.func @check_positions_0(
// CHECK-SAME: vashista.is_short
// CHECK: scf.if
// CHECK: scf.if
// CHECK: gpu.return
func.func @positions(%at: tensor<?xi32>, %table: tensor<?x?xi32>, %n: index)
    -> (tensor<?xi32>, tensor<?x4xi32>) {
  %0:2 = vashista.check_positions %at table(%table) num_pages %n page_size 16
      : (tensor<?xi32>, tensor<?x?xi32>, index)
      -> (tensor<?xi32>, tensor<?x4xi32>)
  return %0#0, %0#1 : tensor<?xi32>, tensor<?x4xi32>
}

// -----

// Counts, if there are any, and then entries of all heads, which follow each
// other.
// CHECK-LABEL: func.func @list(
// CHECK: gpu.launch_func @kernels::@check_list_0 blocks in (%c4{{.*}}, %c1{{.*}}, %c1{{.*}}) threads in (%c256{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.launch_func @kernels::@check_list_1
// CHECK: gpu.func @check_list_0(
// CHECK: scf.for %{{.*}} step %c2048
// CHECK: scf.for %{{.*}} step %c2048
// CHECK: gpu.barrier
// CHECK: scf.for %{{.*}} step %c256
// CHECK: gpu.return
// CHECK: gpu.func @check_list_1(
// CHECK: scf.for %{{.*}} step %c2048
// CHECK-NOT: step %c2048
// CHECK: gpu.return
func.func @list(%list: tensor<4x2x10xi32>, %count: tensor<4x2xi32>,
                %lens: tensor<4xi32>)
    -> (tensor<4x2xi32>, tensor<4x4xi32>, tensor<4x2xi32>, tensor<4x4xi32>) {
  %0:2 = vashista.check_list pages of(%list, %count) lens(%lens) page_size 16
      : (tensor<4x2x10xi32>, tensor<4x2xi32>, tensor<4xi32>)
      -> (tensor<4x2xi32>, tensor<4x4xi32>)
  %1:2 = vashista.check_list tokens of(%list) lens(%lens) page_size 16
      : (tensor<4x2x10xi32>, tensor<4xi32>)
      -> (tensor<4x2xi32>, tensor<4x4xi32>)
  return %0#0, %0#1, %1#0, %1#1
      : tensor<4x2xi32>, tensor<4x4xi32>, tensor<4x2xi32>, tensor<4x4xi32>
}

// -----

// Lists of a size that is not known have no kernel.
// CHECK-LABEL: func.func @list_of_any_size(
// CHECK-NOT: gpu.launch_func
// CHECK: vashista.check_list
func.func @list_of_any_size(%list: tensor<4x2x?xi32>, %lens: tensor<4xi32>)
    -> (tensor<4x2xi32>, tensor<4x4xi32>) {
  %0:2 = vashista.check_list pages of(%list) lens(%lens) page_size 16
      : (tensor<4x2x?xi32>, tensor<4xi32>)
      -> (tensor<4x2xi32>, tensor<4x4xi32>)
  return %0#0, %0#1 : tensor<4x2xi32>, tensor<4x4xi32>
}
