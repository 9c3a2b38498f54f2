// RUN: vashista-opt %s -vashista-exact-math | FileCheck %s

// CHECK-LABEL: func.func @exact(
// CHECK: llvm.call_intrinsic "llvm.sqrt.f32"
// CHECK: llvm.call_intrinsic "llvm.sqrt.v4f32"
// CHECK: llvm.call_intrinsic "llvm.roundeven.v8f64"
// CHECK: llvm.call_intrinsic "llvm.fabs.f64"
// CHECK: llvm.call_intrinsic "llvm.fma.f32"
// CHECK: llvm.call_intrinsic "llvm.maxnum.f32"
// CHECK: llvm.call_intrinsic "llvm.ceil.f64"
// CHECK: llvm.call_intrinsic "llvm.maximum.f32"
// CHECK: llvm.call_intrinsic "llvm.minimum.f32"
// There is no instruction of f64 that keeps NaN.
// CHECK: arith.maximumf {{.*}} : f64
// CHECK-NOT: memref.prefetch
// Functions that a library approximates stay, for the pass before this one.
// CHECK: math.exp
func.func @exact(%x: f32, %v: vector<4xf32>, %w: vector<8xf64>, %d: f64,
                 %m: memref<4xf32>, %i: index)
    -> (f32, vector<4xf32>, vector<8xf64>, f64, f32, f32, f64, f32, f64) {
  %0 = math.sqrt %x : f32
  %1 = math.sqrt %v : vector<4xf32>
  %2 = math.roundeven %w : vector<8xf64>
  %3 = math.absf %d : f64
  %4 = math.fma %x, %x, %x : f32
  %6 = arith.maxnumf %4, %x : f32
  %7 = math.ceil %d : f64
  %8 = arith.maximumf %6, %x : f32
  %9 = arith.minimumf %8, %4 : f32
  %10 = arith.maximumf %7, %d : f64
  memref.prefetch %m[%i], read, locality<2>, data : memref<4xf32>
  %5 = math.exp %x : f32
  return %0, %1, %2, %3, %6, %5, %7, %9, %10
      : f32, vector<4xf32>, vector<8xf64>, f64, f32, f32, f64, f32, f64
}
