// Products of queries and keys in bf16 are summed in pairs where a CPU can.

// RUN: vashista-opt %s -split-input-file -convert-vashista-to-vector="dots-bf16=true" | FileCheck %s
// RUN: vashista-opt %s -split-input-file -convert-vashista-to-vector | FileCheck %s --check-prefix=WITHOUT
// RUN: not vashista-opt %s -split-input-file -convert-vashista-to-vector="dots-bf16=true lanes=8" 2>&1 | FileCheck %s --check-prefix=LANES
// RUN: not vashista-opt %s -split-input-file -convert-vashista-to-linalg="dots-bf16=true lanes=4" 2>&1 | FileCheck %s --check-prefix=LINALG

// LANES: error: expected 16 lanes for dots of bf16, got 8
// LINALG: error: expected 16 lanes for dots of bf16, got 4
// WITHOUT-NOT: x86vector

// The query is kept as it is stored; values are weighted in f32.
// CHECK-LABEL: func.func @pairs(
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<4x64xbf16>
// CHECK: %[[Q:.*]] = vector.load %{{.*}} : memref<4x64xbf16>, vector<32xbf16>
// CHECK: x86vector.avx512.dot %{{.*}}, %[[Q]], %{{.*}} : vector<32xbf16> -> vector<16xf32>
// CHECK: vector.fma
func.func @pairs(
    %q: memref<?x8x64xbf16>, %k: memref<?x2x16x64xbf16>,
    %v: memref<?x2x16x64xbf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %o: memref<?x8x64xf32>, %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<?x8x64xbf16>, memref<?x2x16x64xbf16>, memref<?x2x16x64xbf16>,
         memref<?x?xi32>, memref<?xi32>, memref<?x8x64xf32>, memref<?x8xf32>)
      -> ()
  return
}

// -----

// A query that bf16 does not hold, keys of another type, rows that are no
// whole pairs of vectors: f32 as ever.
// CHECK-LABEL: func.func @query_in_f32(
// CHECK-NOT: x86vector
func.func @query_in_f32(
    %q: memref<?x8x64xf32>, %k: memref<?x2x16x64xbf16>, %table: memref<?x?xi32>,
    %lens: memref<?xi32>, %o: memref<?x8x64xf32>, %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<?x8x64xf32>, memref<?x2x16x64xbf16>, memref<?x2x16x64xbf16>,
         memref<?x?xi32>, memref<?xi32>, memref<?x8x64xf32>, memref<?x8xf32>)
      -> ()
  return
}

// -----

// CHECK-LABEL: func.func @f16(
// CHECK-NOT: x86vector
func.func @f16(
    %q: memref<?x8x64xf16>, %k: memref<?x2x16x64xf16>, %table: memref<?x?xi32>,
    %lens: memref<?xi32>, %o: memref<?x8x64xf32>, %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<?x8x64xf16>, memref<?x2x16x64xf16>, memref<?x2x16x64xf16>,
         memref<?x?xi32>, memref<?xi32>, memref<?x8x64xf32>, memref<?x8xf32>)
      -> ()
  return
}

// -----

// CHECK-LABEL: func.func @odd(
// CHECK-NOT: x86vector
func.func @odd(
    %q: memref<?x8x80xbf16>, %k: memref<?x2x16x80xbf16>, %table: memref<?x?xi32>,
    %lens: memref<?xi32>, %o: memref<?x8x80xf32>, %lse: memref<?x8xf32>) {
  vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<?x8x80xbf16>, memref<?x2x16x80xbf16>, memref<?x2x16x80xbf16>,
         memref<?x?xi32>, memref<?xi32>, memref<?x8x80xf32>, memref<?x8xf32>)
      -> ()
  return
}
