// Checks, from a graph to PTX: coalesced loads of what is only read, minima of
// warps in one instruction, nothing in local memory, no atomics, no library. A
// kernel checks the table and, as that is a thread for each, the positions.

// RUN: vashista-opt %s -vashista-lower-to-nvvm='format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --implicit-check-not=.local \
// RUN:   --implicit-check-not=.extern --implicit-check-not='{{atom|red}}.global'
// RUN: vashista-opt %s \
// RUN:   -vashista-lower-to-nvvm='chip=sm_80 features=+ptx80 format=isa' \
// RUN:   | sed 's/\\0A/\n/g' | FileCheck %s --check-prefix=OLD \
// RUN:   --implicit-check-not=.local

// OLD-COUNT-2: .entry

// CHECK-COUNT-2: gpu.launch_func
// CHECK-NOT: gpu.launch_func
// CHECK: .entry check_table_0(
// CHECK: griddepcontrol.launch_dependents;
// CHECK: griddepcontrol.wait;
// CHECK-COUNT-3: ld.global.nc.b32
// CHECK-NOT: bar.sync
// CHECK-COUNT-3: st.global
// CHECK-COUNT-10: ld.global.nc.b32
// CHECK: redux.sync.min.s32
// CHECK: st.shared.b32
// CHECK: bar.sync
// CHECK: redux.sync.min.s32
// CHECK: st.global.b32
// CHECK: .entry check_list_0(
// CHECK: griddepcontrol.wait;
// CHECK: ld.global.nc.b32
// CHECK: redux.sync.min.s32
// CHECK: bar.sync
// CHECK: redux.sync.min.s32
// CHECK: st.global.b32
func.func @checks(
    %table: tensor<2x?xi32>, %lens: tensor<4xi32>, %rows: tensor<4xi32>,
    %at: tensor<4xi32>, %list: tensor<4x8x100xi32>, %count: tensor<4x8xi32>,
    %pool: tensor<?x8x2xf32>)
    -> (tensor<4xi32>, tensor<4xi32>, tensor<4x4xi32>, tensor<4xi32>,
        tensor<4x4xi32>, tensor<4x8xi32>, tensor<4x4xi32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %pool, %c0 : tensor<?x8x2xf32>
  %0:3 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16 : (tensor<2x?xi32>, tensor<4xi32>, tensor<4xi32>, index)
      -> (tensor<4xi32>, tensor<4xi32>, tensor<4x4xi32>)
  %1:3 = vashista.check_positions %at table(%table) rows(%rows) num_pages %n
      page_size 16 : (tensor<4xi32>, tensor<2x?xi32>, tensor<4xi32>, index)
      -> (tensor<4xi32>, tensor<4xi32>, tensor<4x4xi32>)
  %2:2 = vashista.check_list tokens of(%list, %count) lens(%0#0) page_size 16
      : (tensor<4x8x100xi32>, tensor<4x8xi32>, tensor<4xi32>)
      -> (tensor<4x8xi32>, tensor<4x4xi32>)
  return %0#0, %0#1, %0#2, %1#0, %1#2, %2#0, %2#1
      : tensor<4xi32>, tensor<4xi32>, tensor<4x4xi32>, tensor<4xi32>,
        tensor<4x4xi32>, tensor<4x8xi32>, tensor<4x4xi32>
}
