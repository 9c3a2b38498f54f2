// Every kind of output of vashista-compile, for both levels of CPU.

// RUN: vashista-compile %s --emit=mlir --target=cpu:x86-64-v3 -o - | FileCheck %s --check-prefix=MLIR
// RUN: vashista-compile %s --emit=llvm --target=cpu:x86-64-v3 -o - | FileCheck %s --check-prefix=LLVM
// RUN: vashista-compile %s --emit=asm --target=cpu:x86-64-v3 -o - | FileCheck %s --check-prefixes=ASM,V3
// RUN: vashista-compile %s --emit=asm --target=cpu:x86-64-v4 -o - | FileCheck %s --check-prefixes=ASM,V4
// RUN: vashista-compile %s --emit=obj --target=cpu:x86-64-v3 -o %t.o
// RUN: llvm-nm %t.o | FileCheck %s --check-prefix=OBJ --implicit-check-not=' U {{[^m]}}'
// Bytecode gives the same code.
// RUN: vashista-opt %s -emit-bytecode -o %t.mlirbc
// RUN: vashista-compile %t.mlirbc --emit=obj --target=cpu:x86-64-v3 -o %t.bc.o
// RUN: cmp %t.o %t.bc.o
// The same input gives the same artefact.
// RUN: vashista-compile %s --target=cpu:x86-64-v4,cpu:x86-64-v3 -o %t.1.vso
// RUN: vashista-compile %s --target=cpu:x86-64-v4,cpu:x86-64-v3 -o %t.2.vso
// RUN: cmp %t.1.vso %t.2.vso

// MLIR: llvm.func @vashista_bind
// MLIR: llvm.func internal @attend_task_0
// MLIR: llvm.func @vashista_entry_attend(%{{.*}}: !llvm.ptr)
// MLIR-NOT: vashista.

// LLVM: target triple = "x86_64-unknown-linux-gnu"
// LLVM: define internal {{.*}}void @attend_task_0(
// LLVM: define {{.*}}void @vashista_entry_attend(
// LLVM: "tune-cpu"="x86-64-v3"

// ASM: attend_task_0:
// V3-NOT: %zmm
// V4: vfmadd{{.*}}%zmm
// ASM: vashista_entry_attend:

// OBJ-DAG: T vashista_bind
// OBJ-DAG: T vashista_entry_attend

func.func @attend(%q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>,
                  %v: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
                  %lens: tensor<2xi32>) -> tensor<2x8x64xf32> {
  %zero = arith.constant 0.0 : f32
  %minus_inf = arith.constant 0xFF800000 : f32
  %o = tensor.empty() : tensor<2x8x64xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%o : tensor<2x8x64xf32>)
      -> tensor<2x8x64xf32>
  %lse = tensor.empty() : tensor<2x8xf32>
  %lse0 = linalg.fill ins(%minus_inf : f32) outs(%lse : tensor<2x8xf32>)
      -> tensor<2x8xf32>
  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %o1 : tensor<2x8x64xf32>
}
