// What cannot be an entry: one error, no output.

// RUN: split-file %s %t

// RUN: not vashista-compile %t/scalar.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=SCALAR
// SCALAR: scalar.mlir:1:{{.*}}: error: cannot be an entry: expected argument 1 to be a ranked tensor of at most 8 dimensions, got 'index'
// RUN: not vashista-compile %t/complex.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=COMPLEX
// COMPLEX: error: cannot be an entry: expected result 0 to have elements of f64, f32, f16, bf16, f8E4M3FN, i64, i32, i16, i8 or i1, got 'complex<f32>'
// RUN: not vashista-compile %t/unknown-size.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=SIZE
// SIZE: error: cannot be an entry: expected dimension 0 of result 0 to be fixed or a multiple of a dimension of an argument, got one that only running tells
// RUN: not vashista-compile %t/declaration.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=DECLARATION
// DECLARATION: error: expected functions with bodies, got a declaration
// RUN: not vashista-compile %t/empty.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=EMPTY
// EMPTY: error: expected at least one public function, an entry, got none
// RUN: not vashista-compile %t/syntax.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=SYNTAX
// SYNTAX: syntax.mlir:1:14: error: expected non-function type
// RUN: not vashista-compile %t/dynamic.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=DYNAMIC --implicit-check-not=note:
// DYNAMIC: dynamic.mlir:{{.*}}: error: 'vashista.score' op has no CPU lowering for this solver, source or these sizes
// RUN: not vashista-compile --target=cuda:compute_90a %t/no-work.mlir -o %t/out.vso 2>&1 | FileCheck %s --check-prefix=WORK
// WORK: no-work.mlir:1:1: error: expected a module with work for a device, got one without
// RUN: not ls %t/out.vso

//--- scalar.mlir
func.func @f(%a: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}

//--- complex.mlir
func.func @f(%a: tensor<4xf32>) -> tensor<4xcomplex<f32>> {
  %0 = tensor.empty() : tensor<4xcomplex<f32>>
  return %0 : tensor<4xcomplex<f32>>
}

//--- unknown-size.mlir
func.func @g(%a: tensor<4xi32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %0 = tensor.extract %a[%c0] : tensor<4xi32>
  %1 = arith.index_cast %0 : i32 to index
  %2 = tensor.empty(%1) : tensor<?xf32>
  return %2 : tensor<?xf32>
}

//--- declaration.mlir
func.func private @f(tensor<4xf32>)
func.func @g(%a: tensor<4xf32>) {
  func.call @f(%a) : (tensor<4xf32>) -> ()
  return
}

//--- empty.mlir
module {}

//--- syntax.mlir
func.func @f(q: tensor<4xf32>)

//--- dynamic.mlir
func.func @f(%q: tensor<1x?x32xf32>, %k: tensor<?x2x4x32xf32>,
             %table: tensor<1x?xi32>, %lens: tensor<1xi32>)
    -> (tensor<1x?x?xf32>, tensor<1x?x?xf32>) {
  %s, %b = vashista.score %q from #vashista.keys<hnd>(%k)
      table(%table) lens(%lens) scale 1.0
      : (tensor<1x?x32xf32>, tensor<?x2x4x32xf32>, tensor<1x?xi32>,
         tensor<1xi32>) -> (tensor<1x?x?xf32>, tensor<1x?x?xf32>)
  return %s, %b : tensor<1x?x?xf32>, tensor<1x?x?xf32>
}

//--- no-work.mlir
func.func @f(%q: tensor<0x2x64xbf16>, %k: tensor<?x1x16x64xbf16>, %table: tensor<0x?xi32>, %lens: tensor<0xi32>, %mean: tensor<?x1x64xbf16>)
    -> tensor<0x2x64xf32> {
  %r:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 4, candidates = 32> scale 0.125
      : (tensor<0x2x64xbf16>, tensor<?x1x16x64xbf16>, tensor<?x1x16x64xbf16>,
         tensor<0x?xi32>, tensor<0xi32>, tensor<?x1x64xbf16>)
      -> (tensor<0x2x64xf32>, tensor<0x2xf32>, tensor<0x2xf32>, tensor<0x2xf32>,
          tensor<0x1xi32>, tensor<0x1xi1>)
  return %r#0 : tensor<0x2x64xf32>
}
