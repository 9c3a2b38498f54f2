// What checked mode cannot verify is said when compiling: a page table that the
// entry computes. A constant is no caller's to get wrong.

// RUN: vashista-compile %s -o %t.vso 2>&1 \
// RUN:   | FileCheck %s --implicit-check-not=warning

func.func @fixed(%q: tensor<2x8x64xf32>, %o: tensor<2x8x48xf32>,
                 %lse: tensor<2x8xf32>, %norms: tensor<2x2x2xf32>)
    -> tensor<2x8xf32> {
  %table = arith.constant dense<[[0], [1]]> : tensor<2x1xi32>
  %lens = arith.constant dense<1> : tensor<2xi32>
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%lse) norms(%norms)
      table(%table) lens(%lens) page_size 1 scale 0.125
      : (tensor<2x8x64xf32>, tensor<2x8x48xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<2x2x2xf32>, tensor<2x1xi32>, tensor<2xi32>)
      -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %tau : tensor<2x8xf32>
}

func.func @computed(%q: tensor<2x8x64xf32>, %o: tensor<2x8x48xf32>,
                    %lse: tensor<2x8xf32>, %norms: tensor<2x2x2xf32>,
                    %table: tensor<2x1xi32>) -> tensor<2x8xf32> {
  %lens = arith.constant dense<1> : tensor<2xi32>
  %other = arith.addi %table, %table : tensor<2x1xi32>
  // CHECK: unverified.mlir:[[#@LINE+1]]:{{.*}}: warning: checked mode cannot verify the page table, rows, lengths or positions of this op: expected arguments of the entry, got values that it computes
  %tau, %error = vashista.certify %q state(%o, %lse) tail(%lse) norms(%norms)
      table(%other) lens(%lens) page_size 1 scale 0.125
      : (tensor<2x8x64xf32>, tensor<2x8x48xf32>, tensor<2x8xf32>,
         tensor<2x8xf32>, tensor<2x2x2xf32>, tensor<2x1xi32>, tensor<2xi32>)
      -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %tau : tensor<2x8xf32>
}
