// RUN: vashista-opt %s -convert-vashista-to-linalg -canonicalize -cse \
// RUN:   -split-input-file | FileCheck %s

// A task per row. Nothing of the table is read unless its row and length are
// well, and no entry past the length.
// CHECK-LABEL: func @table(
// CHECK-SAME: %[[TABLE:[a-z0-9]*]]: tensor<?x?xi32>, %[[LENS:[a-z0-9]*]]: tensor<?xi32>, %[[ROWS:[a-z0-9]*]]: tensor<?xi32>
// CHECK: scf.forall (%[[R:.*]]) in (%{{.*}}) {
// CHECK: %[[ROW:.*]] = tensor.extract %[[ROWS]][%[[R]]]
// CHECK: %[[LEN:.*]] = tensor.extract %[[LENS]][%[[R]]]
// CHECK-NOT: tensor.extract %[[TABLE]]
// CHECK: %[[PAGES:.*]] = arith.select %{{.*}}, %c0, %{{.*}} : index
// CHECK: %[[FAULT:.*]]:4 = scf.for %[[P:.*]] = %c0 to %[[PAGES]]
// CHECK: tensor.extract %[[TABLE]][%{{.*}}, %[[P]]]
// CHECK: scf.yield
// CHECK-NOT: tensor.extract %[[TABLE]]
// CHECK: %[[FOUND:.*]] = arith.cmpi ne, %[[FAULT]]#0, %c0_i32
// CHECK: arith.select %[[FOUND]], %c0_i32, %[[LEN]] : i32
// CHECK: arith.select %[[FOUND]], %c0_i32, %[[ROW]] : i32
// CHECK: memref.store %[[FAULT]]#0, %{{.*}}[%[[R]], %c0]
// CHECK: memref.store %[[FAULT]]#1, %{{.*}}[%[[R]], %c1]
// CHECK: memref.store %[[FAULT]]#2, %{{.*}}[%[[R]], %c2]
// CHECK: memref.store %[[FAULT]]#3, %{{.*}}[%[[R]], %c3]
func.func @table(%table: tensor<?x?xi32>, %lens: tensor<?xi32>,
                 %rows: tensor<?xi32>, %n: index)
    -> (tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>) {
  %0:3 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16
      : (tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>, index)
      -> (tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>)
  return %0#0, %0#1, %0#2 : tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>
}

// -----

// A position reads one entry, if it is well so far and not negative.
// CHECK-LABEL: func @positions(
// CHECK: scf.forall
// CHECK: %{{.*}}:4 = scf.if
// CHECK: %[[PAGE:.*]] = arith.divui %{{.*}}, %c16
// CHECK: tensor.extract %{{.*}}[%{{.*}}, %[[PAGE]]]
// CHECK: arith.select %{{.*}}, %c-1_i32, %{{.*}} : i32
func.func @positions(%at: tensor<4xi32>, %table: tensor<4x?xi32>, %n: index)
    -> (tensor<4xi32>, tensor<4x4xi32>) {
  %0:2 = vashista.check_positions %at table(%table) num_pages %n page_size 16
      : (tensor<4xi32>, tensor<4x?xi32>, index)
      -> (tensor<4xi32>, tensor<4x4xi32>)
  return %0#0, %0#1 : tensor<4xi32>, tensor<4x4xi32>
}

// -----

// Of each head its count, then as many entries.
// CHECK-LABEL: func @list(
// CHECK-SAME: %[[LIST:[a-z0-9]*]]: tensor<4x2x10xi32>, %[[COUNT:[a-z0-9]*]]: tensor<4x2xi32>
// CHECK: scf.forall (%[[R:.*]]) in (4)
// CHECK: scf.for %[[H:[a-z0-9]+]] = %c0
// CHECK: tensor.extract %[[COUNT]][%[[R]], %[[H]]]
// CHECK: %[[N:.*]] = arith.select %{{.*}}, %c0, %{{.*}} : index
// CHECK: scf.for %[[I:[a-z0-9]+]] = %c0 to %[[N]]
// CHECK: tensor.extract %[[LIST]][%[[R]], %[[H]], %[[I]]]
// CHECK: scf.for %[[H:[a-z0-9]+]] = %c0 to %c2
// CHECK: %[[KEPT:.*]] = arith.select %{{.*}}, %c0_i32, %{{.*}} : i32
// CHECK: memref.store %[[KEPT]], %{{.*}}[%[[R]], %[[H]]]
func.func @list(%list: tensor<4x2x10xi32>, %count: tensor<4x2xi32>,
                %lens: tensor<4xi32>) -> (tensor<4x2xi32>, tensor<4x4xi32>) {
  %0:2 = vashista.check_list pages of(%list, %count) lens(%lens) page_size 16
      : (tensor<4x2x10xi32>, tensor<4x2xi32>, tensor<4xi32>)
      -> (tensor<4x2xi32>, tensor<4x4xi32>)
  return %0#0, %0#1 : tensor<4x2xi32>, tensor<4x4xi32>
}
