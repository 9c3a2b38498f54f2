// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A stock mlir-opt learns the dialect and its passes from the plugin.

// An instrumented plugin needs an instrumented mlir-opt.
// UNSUPPORTED: asan

// RUN: mlir-opt %s --load-dialect-plugin=%vashista_plugin \
// RUN:   --load-pass-plugin=%vashista_plugin \
// RUN:   --pass-pipeline='builtin.module(vashista-decompose)' | FileCheck %s

// The decode example, as the README shows it.
// RUN: mlir-opt %source_dir/examples/decode.mlir \
// RUN:   --load-dialect-plugin=%vashista_plugin \
// RUN:   --load-pass-plugin=%vashista_plugin \
// RUN:   --pass-pipeline='builtin.module(vashista-decompose)' \
// RUN:   | FileCheck %s --check-prefix=DECODE
// DECODE-LABEL: func.func @decode
// DECODE: vashista.score
// DECODE: vashista.pick top 64 pages
// DECODE: vashista.score
// DECODE: vashista.pick top 128 tokens
// DECODE: vashista.attend
// DECODE-NOT: vashista.attention

// The plugin has no MLIR of its own: a second copy would be a second state.
// RUN: llvm-nm --defined-only --demangle %vashista_plugin \
// RUN:   | FileCheck %s --check-prefix=SYMBOLS \
// RUN:       --implicit-check-not='mlir::MLIRContext::MLIRContext('
// SYMBOLS-DAG: mlirGetDialectPluginInfo
// SYMBOLS-DAG: mlirGetPassPluginInfo

// CHECK-LABEL: @route
// CHECK-NOT: vashista.route
// CHECK: vashista.score
// CHECK: vashista.pick
func.func @route(%q: tensor<4x32x128xbf16>, %mean: tensor<?x8x128xbf16>,
                 %std: tensor<?x8x128xbf16>, %table: tensor<4x?xi32>,
                 %lens: tensor<4xi32>)
    -> (tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>) {
  %pages, %count, %tail = vashista.route %q
      from <mean_std>(%mean, %std) table(%table) lens(%lens)
      top 64 page_size 16 sinks 4 window 64 scale 0.0883883461
      : (tensor<4x32x128xbf16>, tensor<?x8x128xbf16>, tensor<?x8x128xbf16>,
         tensor<4x?xi32>, tensor<4xi32>)
      -> (tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>)
  return %pages, %count, %tail
      : tensor<4x8x64xi32>, tensor<4x8xi32>, tensor<4x32xf32>
}
