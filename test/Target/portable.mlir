// RUN: vashista-compile %s --target=cpu:x86-64-v3 --emit=asm -o - \
// RUN:   | FileCheck %s --implicit-check-not=truncsfbf2
// RUN: vashista-compile %s --target=cpu:x86-64-v4 --emit=asm -o - \
// RUN:   | FileCheck %s --implicit-check-not=truncsfbf2

// Processors without instructions for it round to bf16 by integers, and by no
// function, whatever else a rounded number is needed for.
// CHECK: ball
func.func @ball(%k: tensor<?x1x16x32xbf16>, %table: tensor<?x?xi32>,
                %lens: tensor<?xi32>, %mean: tensor<?x1x32xbf16>,
                %radius: tensor<?x1xf32>)
    -> (tensor<?x1x32xbf16>, tensor<?x1xf32>) {
  %r:2 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <ball>(%mean, %radius)
      : (tensor<?x1x16x32xbf16>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x1x32xbf16>, tensor<?x1xf32>)
      -> (tensor<?x1x32xbf16>, tensor<?x1xf32>)
  return %r#0, %r#1 : tensor<?x1x32xbf16>, tensor<?x1xf32>
}

// What LLVM's optimiser makes of this one, unrolled, its code generator
// crashes on.
// CHECK: moments
func.func @moments(%k: tensor<?x1x3x48xf16>, %table: tensor<?x?xi32>,
                   %lens: tensor<?xi32>, %codes: tensor<?x1x3x12xi8>,
                   %scales: tensor<?x1x3x3xf16>, %residuals: tensor<?x1x3x3xi8>,
                   %sums: tensor<?x1x48x48xf32>)
    -> (tensor<?x1x3x12xi8>, tensor<?x1x3x3xf16>, tensor<?x1x3x3xi8>,
        tensor<?x1x48x48xf32>) {
  %r:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 2, group = 16, rotation = hadamard, norm = group>
          (%codes, %scales, %residuals) moments(%sums)
      : (tensor<?x1x3x48xf16>, tensor<?x?xi32>, tensor<?xi32>,
         tensor<?x1x3x12xi8>, tensor<?x1x3x3xf16>, tensor<?x1x3x3xi8>,
         tensor<?x1x48x48xf32>)
      -> (tensor<?x1x3x12xi8>, tensor<?x1x3x3xf16>, tensor<?x1x3x3xi8>,
          tensor<?x1x48x48xf32>)
  return %r#0, %r#1, %r#2, %r#3
      : tensor<?x1x3x12xi8>, tensor<?x1x3x3xf16>, tensor<?x1x3x3xi8>,
        tensor<?x1x48x48xf32>
}
