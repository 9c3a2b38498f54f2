// Of pages of a table of any width a scan leaves what blocks of 16 come to, and a
// pick goes by that where the pages of its row are enough and not too many.

// RUN: vashista-opt %s -vashista-assign-schedule -convert-vashista-to-gpu \
// RUN:   | FileCheck %s

// CHECK-LABEL: func.func @wide(
// CHECK: %[[SCORES:.*]] = memref.alloc(%{{.*}}, %[[PAGES:.*]]) {{.*}} : memref<?x8x?xf32>
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c16
// CHECK: memref.alloc(%{{.*}}, %[[BLOCKS]]) {{.*}} : memref<?x8x?x2xf32>
// CHECK: memref.alloc(%{{.*}}, %[[BLOCKS]]) {{.*}} : memref<?x8x?xf32>
// CHECK: gpu.launch_func  @kernels::@vector_scan
// CHECK: gpu.launch_func  @kernels::@pick{{.*}} threads in (%c512
// CHECK: gpu.func @pick
// CHECK: %[[MANY:.*]] = arith.cmpi uge, %[[USED:.*]], %c1024
// CHECK: %[[FIT:.*]] = arith.cmpi ule, %[[USED]], %c16384
// CHECK: %[[IS:.*]] = arith.andi %[[MANY]], %[[FIT]]
// CHECK: scf.if %[[IS]] -> (i1, i32)
func.func @wide(
    %q: tensor<?x8x128xbf16>, %mean: tensor<?x2x128xbf16>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x2x64xi32>, tensor<?x2xi32>) {
  %scores, %bounds = vashista.score %q from #vashista.summary<mean>(%mean)
      table(%table) lens(%lens) page_size 16 scale 0.0883883461
      : (tensor<?x8x128xbf16>, tensor<?x2x128xbf16>, tensor<?x?xi32>,
         tensor<?xi32>) -> (tensor<?x8x?xf32>, tensor<?x8x?xf32>)
  %pages, %count, %tail = vashista.pick top 64 pages of(%scores, %scores)
      lens(%lens) kv_heads 2 page_size 16 sinks 4 window 64
      : (tensor<?x8x?xf32>, tensor<?x8x?xf32>, tensor<?xi32>)
      -> (tensor<?x2x64xi32>, tensor<?x2xi32>, tensor<?x8xf32>)
  return %pages, %count : tensor<?x2x64xi32>, tensor<?x2xi32>
}
