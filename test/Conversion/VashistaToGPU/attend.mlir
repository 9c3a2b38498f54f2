// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu | FileCheck %s
// RUN: vashista-opt %s -split-input-file -convert-vashista-to-gpu \
// RUN:   -convert-vashista-to-gpu | FileCheck %s

// A sequence in splits of 1024 tokens, as many as the table has room for, and a
// merge. A tile of 16 tokens: 4 loads of 16 bytes per channel block of 32 of K
// and of 64 of V, 16 products, no memory between them.
// CHECK-LABEL: func.func @dense(
// CHECK-SAME: %{{.*}}: memref<?x8x128xbf16>, %[[K:.*]]: memref<?x2x16x128xbf16>, %{{.*}}, %[[TABLE:.*]]: memref<?x?xi32>
// CHECK: %[[PAGES:.*]] = memref.dim %[[TABLE]], %c1
// CHECK: %[[SLOTS:.*]] = arith.muli %[[PAGES]], %c16
// CHECK: %[[SPLITS:.*]] = arith.ceildivui %[[SLOTS]], %c1024
// CHECK: memref.alloc(%{{.*}}, %{{.*}}, %[[SPLITS]]) {{.*}} : memref<?x?x?x128xf32>
// CHECK: memref.alloc(%{{.*}}, %{{.*}}, %[[SPLITS]]) {{.*}} : memref<?x?x?x2xf32>
// CHECK: gpu.launch_func @kernels::@attend_0 blocks in (%{{.*}}, %{{.*}}, %[[SPLITS]]) threads in (%c128{{.*}}, %c1{{.*}}, %c1{{.*}})
// CHECK: gpu.launch_func @kernels::@merge_0
// CHECK: gpu.func @attend_0(%{{.*}}: memref<bf16> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK-SAME: workgroup(%{{.*}} : memref<4x4x128xf32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}
// CHECK-SAME: known_block_size = array<i32: 128, 1, 1>, nvvm.minctasm = 4 : i32
// CHECK: scf.for
// CHECK-COUNT-16: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x2x16x128xbf16>, vector<8xbf16>
// CHECK-COUNT-8: nvvm.mma.sync
// CHECK-COUNT-6: gpu.shuffle
// CHECK: movmatrix
// CHECK-COUNT-8: nvvm.mma.sync
// CHECK: gpu.barrier
// CHECK: gpu.func @merge_0
func.func @dense(%q: memref<?x8x128xbf16>, %k: memref<?x2x16x128xbf16>,
                 %v: memref<?x2x16x128xbf16>, %table: memref<?x?xi32>,
                 %lens: memref<?xi32>, %o: memref<?x8x128xf32>,
                 %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<?x8x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<?x?xi32>, memref<?xi32>,
         memref<?x8x128xf32>, memref<?x8xf32>) -> ()
  return
}

// -----

// A list of at most a split's tokens needs no merge: the state is joined with
// the one that is there. Products of f16; a soft cap; a split of one's own.
// CHECK-LABEL: func.func @tokens(
// CHECK-NOT: memref.alloc
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK-NOT: merge_0
// CHECK: gpu.func @attend_0
// CHECK: nvvm.mma.sync
// CHECK-SAME: vector<2xf16>
// CHECK: math.tanh
// CHECK: math.log
func.func @tokens(%q: memref<2x4x64xf16>, %k: memref<?x5x4x64xf16>,
                  %v: memref<?x5x4x64xf16>, %table: memref<2x?xi32>,
                  %lens: memref<2xi32>, %ids: memref<2x4x500xi32>,
                  %n: memref<2x4xi32>, %o: memref<2x4x64xf32>,
                  %lse: memref<2x4xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%ids, %n) outs(%o, %lse) scale 0.125 soft_cap 30.0 layout nhd
      schedule <split = 512>
      : (memref<2x4x64xf16>, memref<?x5x4x64xf16>, memref<?x5x4x64xf16>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x500xi32>,
         memref<2x4xi32>, memref<2x4x64xf32>, memref<2x4xf32>) -> ()
  return
}

// -----

// Fills with the empty state go: the kernels write it where there is nothing.
// CHECK-LABEL: func.func @fresh(
// CHECK-NOT: linalg.fill
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK: gpu.func @attend_0
// CHECK: memref.store %{{.*}}, %{{.*}} : memref<2x4x64xf32>
func.func @fresh(%q: memref<2x4x64xf16>, %k: memref<?x4x16x64xf16>,
                 %table: memref<2x?xi32>, %lens: memref<2xi32>,
                 %ids: memref<2x4x8xi32>, %o: memref<2x4x64xf32>)
    -> memref<2x4xf32> {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %lse = memref.alloc() : memref<2x4xf32>
  linalg.fill ins(%zero : f32) outs(%o : memref<2x4x64xf32>)
  linalg.fill ins(%none : f32) outs(%lse : memref<2x4xf32>)
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids) outs(%o, %lse) scale 0.125
      : (memref<2x4x64xf16>, memref<?x4x16x64xf16>, memref<?x4x16x64xf16>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x8xi32>,
         memref<2x4x64xf32>, memref<2x4xf32>) -> ()
  return %lse : memref<2x4xf32>
}

// -----

// One attends first, so that what the other is joined with is no fill.
// CHECK-LABEL: func.func @joined(
// CHECK-NOT: linalg.fill
// CHECK: gpu.launch_func @kernels::@attend_0
// CHECK: gpu.launch_func @kernels::@attend_1
// CHECK: gpu.func @attend_1
// CHECK: math.exp
func.func @joined(%q: memref<2x4x64xf16>, %k: memref<?x4x16x64xf16>,
                  %table: memref<2x?xi32>, %lens: memref<2xi32>,
                  %ids: memref<2x4x8xi32>, %o: memref<2x4x64xf32>,
                  %lse: memref<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  linalg.fill ins(%zero : f32) outs(%o : memref<2x4x64xf32>)
  linalg.fill ins(%none : f32) outs(%lse : memref<2x4xf32>)
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids) outs(%o, %lse) scale 0.125
      : (memref<2x4x64xf16>, memref<?x4x16x64xf16>, memref<?x4x16x64xf16>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x8xi32>,
         memref<2x4x64xf32>, memref<2x4xf32>) -> ()
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids) outs(%o, %lse) scale 0.125
      : (memref<2x4x64xf16>, memref<?x4x16x64xf16>, memref<?x4x16x64xf16>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x8xi32>,
         memref<2x4x64xf32>, memref<2x4xf32>) -> ()
  return
}

// -----

// A fill with anything else is a state like any other.
// CHECK-LABEL: func.func @other_fill(
// CHECK-COUNT-2: linalg.fill
// CHECK: gpu.launch_func
func.func @other_fill(%q: memref<2x4x64xf16>, %k: memref<?x4x16x64xf16>,
                      %table: memref<2x?xi32>, %lens: memref<2xi32>,
                      %ids: memref<2x4x8xi32>, %o: memref<2x4x64xf32>,
                      %lse: memref<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%o : memref<2x4x64xf32>)
  linalg.fill ins(%zero : f32) outs(%lse : memref<2x4xf32>)
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%ids) outs(%o, %lse) scale 0.125
      : (memref<2x4x64xf16>, memref<?x4x16x64xf16>, memref<?x4x16x64xf16>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x8xi32>,
         memref<2x4x64xf32>, memref<2x4xf32>) -> ()
  return
}

// -----

// Of 16 heads a block has two products, of what is loaded once: 16 tokens of 128
// channels are 8 and 8 of each.
// CHECK-LABEL: func.func @many_heads(
// CHECK: gpu.launch_func @kernels::@attend_0 blocks in (%c2{{.*}}, %c2{{.*}}, %c2{{.*}}) threads in (%c128{{.*}}
// CHECK: gpu.func @attend_0({{.*}}nvvm.minctasm = 2 : i32
// CHECK: nvgpu.device_async_wait {{.*}} {numGroups = 2 : i32}
// CHECK-COUNT-16: vector.load %{{.*}} {alignment = 16 : i64} : memref<{{.*}}xbf16, #gpu.address_space<workgroup>>, vector<8xbf16>
// CHECK-NOT: #gpu.address_space<workgroup>>, vector<8xbf16>
// CHECK-COUNT-32: nvvm.mma.sync
// CHECK-NOT: nvvm.mma.sync
// CHECK: return
func.func @many_heads(%q: memref<2x32x128xbf16>, %k: memref<?x2x16x128xbf16>,
                      %table: memref<2x32xi32>, %lens: memref<2xi32>,
                      %o: memref<2x32x128xf32>, %lse: memref<2x32xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<2x32x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<2x32xi32>, memref<2xi32>,
         memref<2x32x128xf32>, memref<2x32xf32>) -> ()
  return
}

// -----

// 20 are 10 in each of two blocks; of 8 where more blocks share registers.
// CHECK-LABEL: func.func @more_heads(
// CHECK: gpu.launch_func @kernels::@attend_0 blocks in (%c2{{.*}}, %c4{{.*}}, %c
// CHECK: gpu.func @attend_0({{.*}}nvvm.minctasm = 2 : i32
// CHECK: gpu.func @attend_1({{.*}}nvvm.minctasm = 3 : i32
func.func @more_heads(%q: memref<2x40x128xbf16>, %k: memref<?x2x16x128xbf16>,
                      %table: memref<2x32xi32>, %lens: memref<2xi32>,
                      %o: memref<2x40x128xf32>, %lse: memref<2x40xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<2x40x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<2x32xi32>, memref<2xi32>,
         memref<2x40x128xf32>, memref<2x40xf32>) -> ()
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 schedule <blocks = 3>
      : (memref<2x40x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<2x32xi32>, memref<2xi32>,
         memref<2x40x128xf32>, memref<2x40xf32>) -> ()
  return
}

// -----

// 112 channels are 64 of values by 16 bytes of a lane, 32 by 8 and 16 by 4; of
// keys 96 and 16, of two products each and one.
// CHECK-LABEL: func.func @rest(
// CHECK: gpu.func @attend_0(
// CHECK: scf.for
// CHECK-COUNT-6: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x4x16x112xbf16>, vector<8xbf16>
// CHECK-COUNT-2: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x4x16x112xbf16>, vector<4xbf16>
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x4x16x112xbf16>, vector<8xbf16>
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x4x16x112xbf16>, vector<4xbf16>
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 4 : i64} : memref<?x4x16x112xbf16>, vector<2xbf16>
// CHECK-COUNT-14: nvvm.mma.sync
// CHECK-NOT: nvvm.mma.sync
func.func @rest(%q: memref<2x4x112xbf16>, %k: memref<?x4x16x112xbf16>,
                %table: memref<2x4xi32>, %lens: memref<2xi32>,
                %o: memref<2x4x112xf32>, %lse: memref<2x4xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<2x4x112xbf16>, memref<?x4x16x112xbf16>,
         memref<?x4x16x112xbf16>, memref<2x4xi32>, memref<2xi32>,
         memref<2x4x112xf32>, memref<2x4xf32>) -> ()
  return
}

// -----

// What tensor cores have no kernel for stays for the next pass.
// CHECK-LABEL: func.func @others(
// CHECK-COUNT-2: vashista.attend
// CHECK-NOT: gpu.
func.func @others(%q: memref<2x4x64xf32>, %k: memref<?x4x16x64xf32>,
                  %p: memref<2x4x40xbf16>, %c: memref<?x4x16x40xbf16>,
                  %table: memref<2x?xi32>, %lens: memref<2xi32>,
                  %o: memref<2x4x64xf32>, %x: memref<2x4x40xf32>,
                  %lse: memref<2x4xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<2x4x64xf32>, memref<?x4x16x64xf32>, memref<?x4x16x64xf32>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x64xf32>,
         memref<2x4xf32>) -> ()
  vashista.attend %p keys(%c) values(%c) table(%table) lens(%lens)
      outs(%x, %lse) scale 0.125
      : (memref<2x4x40xbf16>, memref<?x4x16x40xbf16>, memref<?x4x16x40xbf16>,
         memref<2x?xi32>, memref<2xi32>, memref<2x4x40xf32>,
         memref<2x4xf32>) -> ()
  return
}
