// Kernels of a GPU, from the compiler's command line. PTX needs no toolkit.

// RUN: vashista-compile %s --emit=ptx --target=cuda:compute_80 -o - | FileCheck %s --check-prefix=PTX
// PTX: .version 8.0
// PTX: .target sm_80
// PTX: .entry copy_0(
// PTX: .entry twice_0(

// As old a PTX as knows the architecture, or its family.
// RUN: vashista-compile %s --emit=ptx --target=cuda:compute_88 -o - | FileCheck %s --check-prefix=LATE
// LATE: .version 9.0
// RUN: vashista-compile %s --emit=ptx --target=cuda:compute_120f -o - | FileCheck %s --check-prefix=FAMILY
// FAMILY: .version 8.8
// RUN: vashista-compile %s --emit=ptx --target=cuda:compute_103a -o - | FileCheck %s --check-prefix=FAMILY

// The host's part knows kernels by their numbers.
// RUN: vashista-compile %s --emit=mlir --target=cuda:compute_90 -o - | FileCheck %s
// CHECK-NOT: gpu.
// CHECK-DAG: llvm.func @vashista_entry_copy(
// CHECK-DAG: llvm.mlir.global external constant @vashista_kernels("copy_0\00twice_0\00\00")
// CHECK-DAG: llvm.mlir.global external constant @vashista_waits("\01\01")
// CHECK-NOT: gpu.
// RUN: vashista-compile %s --emit=mlir --target=cuda:compute_80 -o - | FileCheck %s --check-prefix=OLD
// OLD: llvm.mlir.global external constant @vashista_waits("\00\00")

// RUN: vashista-compile %s --target=cuda:compute_90,cpu:x86-64-v3 -o %t.vso
// RUN: vashista-run %t.vso --list | FileCheck %s --check-prefix=LIST
// LIST: CUDA architecture compute_90
// LIST-NEXT: CPU features avx2
// LIST: copy

// Nothing runs for a list: it takes no GPU.
// RUN: vashista-compile %s --target=cuda:compute_90 -o %t.cuda.vso
// RUN: vashista-run %t.cuda.vso --list --json | FileCheck %s --check-prefix=JSON
// JSON: "code": [{"device": "cuda", "features": "", "architecture": "compute_90"}]

// RUN: not vashista-compile %s --emit=ptx --target=cpu:x86-64-v3 -o - 2>&1 | FileCheck %s --check-prefix=CPU
// CPU: error: expected a target such as cuda:sm_90a for PTX or a cubin, got a CPU
// RUN: not env PATH=/nowhere CUDA_HOME= CUDA_ROOT= CUDA_PATH= %build_dir/bin/vashista-compile %s --target=cuda:sm_90a -o - 2>&1 | FileCheck %s --check-prefix=NOASM
// NOASM: error: expected the assembler ptxas of a CUDA toolkit on the PATH or in CUDA_HOME for a cubin, got none; a target such as cuda:compute_90 needs none: its PTX is assembled by the driver

func.func @copy(%x: tensor<?xf32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?xf32>
  %e = tensor.empty(%n) : tensor<?xf32>
  %y = linalg.copy ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

func.func @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
