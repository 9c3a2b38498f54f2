// Schedules are chosen from shapes and target, and what is written stays.

// RUN: vashista-opt %s -split-input-file -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule -verify-diagnostics \
// RUN:   | FileCheck %s --check-prefixes=CHECK,WIDE
// What is whole is chosen already: nothing changes.
// RUN: vashista-opt %s -split-input-file -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule=clusters=1 \
// RUN:   -vashista-assign-schedule=multiprocessors=8 2>/dev/null \
// RUN:   | FileCheck %s --check-prefixes=CHECK,ALONE
// Few multiprocessors have enough groups, and blocks of splits.
// RUN: vashista-opt %s -split-input-file -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule=multiprocessors=8 2>/dev/null \
// RUN:   | FileCheck %s --check-prefix=SMALL
// RUN: vashista-opt %s -split-input-file -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule=cpu | FileCheck %s --check-prefix=CPU
// What a kernel may declare has no room for as many warps.
// RUN: vashista-opt %s -split-input-file -vashista-decompose -canonicalize \
// RUN:   -vashista-assign-schedule=shared-bytes=49152 2>/dev/null \
// RUN:   | FileCheck %s --check-prefix=LITTLE
// RUN: not vashista-opt %s -split-input-file \
// RUN:   -vashista-assign-schedule=clusters=3 2>&1 \
// RUN:   | FileCheck %s --check-prefix=THREE
// RUN: not vashista-opt %s -split-input-file \
// RUN:   -vashista-assign-schedule=multiprocessors=0 2>&1 \
// RUN:   | FileCheck %s --check-prefix=NONE

// RUN: not vashista-opt %s -split-input-file \
// RUN:   -vashista-assign-schedule=shared-bytes=0 2>&1 \
// RUN:   | FileCheck %s --check-prefix=LESS

// THREE: error: expected clusters to be 1, 2, 4 or 8, got 3
// LESS: error: expected shared-bytes to be at least 49152, got 0
// NONE: error: expected multiprocessors to be at least 1, got 0

// 512 groups, of one head each: small blocks, and many of them. Each picks its
// pages itself.
// CHECK-LABEL: func.func @heads(
// CHECK: vashista.score {{.*}}#vashista.summary
// CHECK-NOT: schedule
// CHECK: vashista.pick {{.*}} pages
// CHECK-NOT: schedule
// CHECK: vashista.score {{.*}}#vashista.keys
// CHECK-NOT: schedule
// CHECK: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 8, blocks = 4, cluster = 1, fuse = true> :
func.func @heads(
    %q: tensor<16x32x128xbf16>, %k: tensor<?x32x16x128xbf16>,
    %v: tensor<?x32x16x128xbf16>, %table: tensor<16x512xi32>,
    %lens: tensor<16xi32>, %mean: tensor<?x32x128xbf16>)
    -> tensor<16x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<16x32x128xbf16>, tensor<?x32x16x128xbf16>,
         tensor<?x32x16x128xbf16>, tensor<16x512xi32>, tensor<16xi32>,
         tensor<?x32x128xbf16>)
      -> (tensor<16x32x128xf32>, tensor<16x32xf32>, tensor<16x32xf32>,
          tensor<16x32xf32>, tensor<16x32xi32>, tensor<16x32xi1>)
  return %o : tensor<16x32x128xf32>
}

// -----

// 64 groups of four heads: two blocks of a cluster share all pages of each. One
// block would leave half of the multiprocessors without any.
// CHECK-LABEL: func.func @pages(
// WIDE-NOT: schedule
// WIDE: vashista.attend {{.*}} schedule <warps = 16, vector = 8, stages = 8, blocks = 1, cluster = 2, fuse = true> :
// ALONE: vashista.score {{.*}}#vashista.summary{{.*}} schedule
// ALONE: vashista.pick {{.*}} pages {{.*}} schedule
// ALONE: vashista.attend {{.*}} cluster = 1, fuse = true> :
func.func @pages(
    %q: tensor<8x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<8x8192xi32>,
    %lens: tensor<8xi32>, %mean: tensor<?x8x128xbf16>)
    -> tensor<8x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x8192xi32>, tensor<8xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
          tensor<8x32xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
  return %o : tensor<8x32x128xf32>
}

// -----

// Eight heads: sums of values of 16 warps are 64 KiB.
// WIDE-LABEL: func.func @eight(
// WIDE-NOT: schedule
// WIDE: vashista.attend {{.*}} schedule <warps = 16, vector = 8, stages = 8, blocks = 1, cluster = 2, fuse = true> :
// LITTLE-LABEL: func.func @eight(
// LITTLE: vashista.score {{.*}}#vashista.summary{{.*}} schedule
// LITTLE: vashista.attend {{.*}} schedule <warps = 8, vector = 8, stages = 8, blocks = 1, cluster = 2, fuse = true> :
func.func @eight(
    %q: tensor<8x64x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<8x8192xi32>,
    %lens: tensor<8xi32>, %mean: tensor<?x8x128xbf16>)
    -> tensor<8x64x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<8x64x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x8192xi32>, tensor<8xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<8x64x128xf32>, tensor<8x64xf32>, tensor<8x64xf32>,
          tensor<8x64xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
  return %o : tensor<8x64x128xf32>
}

// -----

// More pages are picked than a block can compare by blocks of them: of all then.
// CHECK-LABEL: func.func @many(
// WIDE: vashista.attend {{.*}} schedule <warps = 16, vector = 8, stages = 8, blocks = 1, cluster = 1, fuse = true> :
func.func @many(
    %q: tensor<32x32x128xbf16>, %k: tensor<?x8x4x128xbf16>,
    %v: tensor<?x8x4x128xbf16>, %table: tensor<32x8192xi32>,
    %lens: tensor<32xi32>, %mean: tensor<?x8x128xbf16>)
    -> tensor<32x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 300, candidates = 128> scale 0.0883883461
      : (tensor<32x32x128xbf16>, tensor<?x8x4x128xbf16>,
         tensor<?x8x4x128xbf16>, tensor<32x8192xi32>, tensor<32xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<32x32x128xf32>, tensor<32x32xf32>, tensor<32x32xf32>,
          tensor<32x32xf32>, tensor<32x8xi32>, tensor<32x8xi1>)
  return %o : tensor<32x32x128xf32>
}

// -----

// What fmas score, as of one head, other kernels read faster than clusters.
// CHECK-LABEL: func.func @single(
// CHECK: vashista.score {{.*}}#vashista.summary{{.*}} schedule
// CHECK: vashista.pick {{.*}} pages {{.*}} schedule
// CHECK: vashista.attend {{.*}} fuse = true> :
func.func @single(
    %q: tensor<2x32x128xbf16>, %k: tensor<?x32x16x128xbf16>,
    %v: tensor<?x32x16x128xbf16>, %table: tensor<2x8192xi32>,
    %lens: tensor<2xi32>, %mean: tensor<?x32x128xbf16>)
    -> tensor<2x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<2x32x128xbf16>, tensor<?x32x16x128xbf16>,
         tensor<?x32x16x128xbf16>, tensor<2x8192xi32>, tensor<2xi32>,
         tensor<?x32x128xbf16>)
      -> (tensor<2x32x128xf32>, tensor<2x32xf32>, tensor<2x32xf32>,
          tensor<2x32xf32>, tensor<2x32xi32>, tensor<2x32xi1>)
  return %o : tensor<2x32x128xf32>
}

// -----

// 64 groups of four heads: blocks of a cluster share the long lists.
// Their tokens are copied ahead, where three blocks have room for it.
// CHECK-LABEL: func.func @certified(
// SMALL-LABEL: func.func @certified(
// LITTLE-LABEL: func.func @certified(
// LITTLE-COUNT-2: vashista.attend {{.*}} stages = 1, {{.*}} blocks = 3,
// CHECK: vashista.score {{.*}}#vashista.sketch{{.*}} schedule <warps = 4, vector = 8, stages = 4, split = 4096, blocks = 4, cluster = 1, fuse = true> :
// WIDE: vashista.pick {{.*}} schedule <warps = 16, vector = 4, stages = 8, blocks = 1, cluster = 2> :
// ALONE: vashista.pick {{.*}} schedule <warps = 16, vector = 4, stages = 8, blocks = 1, cluster = 1> :
// SMALL: vashista.pick {{.*}} schedule <warps = 16, vector = 4, stages = 8, blocks = 2, cluster = 1> :
// CHECK: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 2, split = 128, splits = 32, blocks = 3, cluster = 1> :
// SMALL: vashista.attend {{.*}} split = 128, splits = 8,
// WIDE: vashista.pick {{.*}} schedule <warps = 16, vector = 4, stages = 8, blocks = 1, cluster = 4> :
// CHECK: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 2, split = 64, splits = 32, blocks = 3, cluster = 1> :
// Who falls back is read by many blocks, which are few if nobody does.
// CHECK: vashista.fallback {{.*}} schedule <warps = 4, vector = 8, stages = 1, split = 256, splits = 128, blocks = 4, cluster = 1> :
// SMALL: vashista.fallback {{.*}} split = 256, splits = 8,
func.func @certified(
    %q: tensor<8x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<8x8192xi32>,
    %lens: tensor<8xi32>, %codes: tensor<?x8x16x64xi8>,
    %scales: tensor<?x8x16x4xf8E4M3FN>, %residuals: tensor<?x8x16xi8>,
    %norms: tensor<?x8x2xf32>)
    -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x8xi1>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      norms(%norms)
      policy <pages = 0, candidates = 8192, sinks = 4, window = 64,
              pick = proving, tolerance = 0.5, rounds = 2, fallback = dense>
      scale 0.0883883461
      : (tensor<8x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<8x8192xi32>, tensor<8xi32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>,
         tensor<?x8x16xi8>, tensor<?x8x2xf32>)
      -> (tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>,
          tensor<8x32xf32>, tensor<8x8xi32>, tensor<8x8xi1>)
  return %o, %tau, %flag
      : tensor<8x32x128xf32>, tensor<8x32xf32>, tensor<8x8xi1>
}

// -----

// 32 and 16 groups: there is no room for so many clusters of 4 or 8 blocks at
// once, of which each has a multiprocessor.
// WIDE-LABEL: func.func @four(
// WIDE: vashista.attend {{.*}} blocks = 1, cluster = 2, fuse = true> :
func.func @four(
    %q: tensor<4x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<4x8192xi32>,
    %lens: tensor<4xi32>, %mean: tensor<?x8x128xbf16>)
    -> tensor<4x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<4x8192xi32>, tensor<4xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x32xf32>,
          tensor<4x32xf32>, tensor<4x8xi32>, tensor<4x8xi1>)
  return %o : tensor<4x32x128xf32>
}

// -----

// WIDE-LABEL: func.func @two(
// WIDE: vashista.attend {{.*}} blocks = 1, cluster = 4, fuse = true> :
func.func @two(
    %q: tensor<2x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<2x8192xi32>,
    %lens: tensor<2xi32>, %mean: tensor<?x8x128xbf16>)
    -> tensor<2x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens) summary <mean>(%mean)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<2x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<2x8192xi32>, tensor<2xi32>,
         tensor<?x8x128xbf16>)
      -> (tensor<2x32x128xf32>, tensor<2x32xf32>, tensor<2x32xf32>,
          tensor<2x32xf32>, tensor<2x8xi32>, tensor<2x8xi1>)
  return %o : tensor<2x32x128xf32>
}

// -----

// Of a later round most blocks have nothing to do.
// WIDE-LABEL: func.func @certified_four(
// WIDE: vashista.pick {{.*}} blocks = 1, cluster = 2> :
// WIDE: vashista.pick {{.*}} blocks = 1, cluster = 4> :
func.func @certified_four(
    %q: tensor<4x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<4x8192xi32>,
    %lens: tensor<4xi32>, %codes: tensor<?x8x16x64xi8>,
    %scales: tensor<?x8x16x4xf8E4M3FN>, %residuals: tensor<?x8x16xi8>,
    %norms: tensor<?x8x2xf32>)
    -> (tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x8xi1>) {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %residuals)
      norms(%norms)
      policy <pages = 0, candidates = 8192, sinks = 4, window = 64,
              pick = proving, tolerance = 0.5, rounds = 2, fallback = dense>
      scale 0.0883883461
      : (tensor<4x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<4x8192xi32>, tensor<4xi32>,
         tensor<?x8x16x64xi8>, tensor<?x8x16x4xf8E4M3FN>,
         tensor<?x8x16xi8>, tensor<?x8x2xf32>)
      -> (tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x32xf32>,
          tensor<4x32xf32>, tensor<4x8xi32>, tensor<4x8xi1>)
  return %o, %tau, %flag
      : tensor<4x32x128xf32>, tensor<4x32xf32>, tensor<4x8xi1>
}

// -----

// 8 groups: as many blocks as a cluster has, and short ones of the scan.
// CHECK-LABEL: func.func @alone(
// CHECK: vashista.score {{.*}} stages = 8, split = 64, blocks = 4, cluster = 1> :
// CHECK: vashista.pick {{.*}} schedule <warps = 4, vector = 4, stages = 8, blocks = 4, cluster = 1> :
// WIDE: vashista.attend {{.*}} schedule <warps = 8, vector = 8, stages = 8, blocks = 1, cluster = 8, fuse = true> :
// ALONE: vashista.attend {{.*}} schedule <warps = 16, vector = 8, stages = 8, blocks = 1, cluster = 1, fuse = true> :
func.func @alone(
    %q: tensor<1x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %table: tensor<1x512xi32>,
    %lens: tensor<1xi32>, %mean: tensor<?x8x128xbf16>,
    %std: tensor<?x8x128xbf16>) -> tensor<1x32x128xf32> {
  %o, %lse, %tau, %error, %rounds, %flag = vashista.attention %q
      keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean_std>(%mean, %std)
      policy <pages = 64, candidates = 128, sinks = 4, window = 64>
      scale 0.0883883461
      : (tensor<1x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<1x512xi32>, tensor<1xi32>,
         tensor<?x8x128xbf16>, tensor<?x8x128xbf16>)
      -> (tensor<1x32x128xf32>, tensor<1x32xf32>, tensor<1x32xf32>,
          tensor<1x32xf32>, tensor<1x8xi32>, tensor<1x8xi1>)
  return %o : tensor<1x32x128xf32>
}

// -----

// Rows that are not known are taken for one. What is written stays, and what is
// 0 is chosen; heads of 256 channels have a multiprocessor's registers.
// CHECK-LABEL: func.func @dynamic(
// CPU-LABEL: func.func @dynamic(
// CHECK: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 1, split = 1024, blocks = 1, cluster = 1> :
// CPU: vashista.attend {{.*}} schedule <split = 4096> :
// CHECK: vashista.attend {{.*}} schedule <warps = 2, vector = 8, stages = 2, split = 512, blocks = 1, cluster = 1> :
// CPU: vashista.attend {{.*}} schedule <warps = 2, stages = 2, split = 512> :
// CHECK: vashista.attend {{.*}} schedule <warps = 4, vector = 8, stages = 1, split = 256, blocks = 1, cluster = 1> :
// CPU: vashista.attend
// CPU-NOT: schedule
// CPU: return
func.func @dynamic(
    %q: tensor<?x8x256xf16>, %k: tensor<?x2x16x256xf16>, %table: tensor<?x?xi32>,
    %lens: tensor<?xi32>, %pages: tensor<?x2x?xi32>, %o0: tensor<?x8x256xf32>,
    %lse0: tensor<?x8xf32>) -> (tensor<?x8x256xf32>, tensor<?x8xf32>) {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<?x8x256xf16>, tensor<?x2x16x256xf16>, tensor<?x2x16x256xf16>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x8x256xf32>,
         tensor<?x8xf32>) -> (tensor<?x8x256xf32>, tensor<?x8xf32>)
  %1:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%0#0, %0#1) scale 0.125
      schedule <warps = 2, split = 512, stages = 2>
      : (tensor<?x8x256xf16>, tensor<?x2x16x256xf16>, tensor<?x2x16x256xf16>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x8x256xf32>,
         tensor<?x8xf32>) -> (tensor<?x8x256xf32>, tensor<?x8xf32>)
  %2:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      pages(%pages) outs(%1#0, %1#1) scale 0.125
      : (tensor<?x8x256xf16>, tensor<?x2x16x256xf16>, tensor<?x2x16x256xf16>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x?xi32>,
         tensor<?x8x256xf32>, tensor<?x8xf32>)
      -> (tensor<?x8x256xf32>, tensor<?x8xf32>)
  return %2#0, %2#1 : tensor<?x8x256xf32>, tensor<?x8xf32>
}

// -----

// f32 has no tensor cores, and no kernel.
// CHECK-LABEL: func.func @without_kernel(
// CHECK: vashista.attend
// CHECK-NOT: schedule
// CHECK: return
func.func @without_kernel(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %o0: tensor<2x8x64xf32>, %lse0: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  // expected-warning @+1 {{drops the schedule of an op without a kernel of its own: expected queries, keys and values of bf16 or f16}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125 schedule <split = 512>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x8x64xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x64xf32>, tensor<2x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}

// -----

// One short sequence needs many splits to occupy a GPU, several long ones few:
// as many as fill it a whole number of times, which shorter sequences share. Of
// many that are long tiles are copied ahead, in fewer blocks.
// WIDE-LABEL: func.func @short(
// WIDE: vashista.attend {{.*}} stages = 1, split = 256, blocks = 4,
// WIDE: vashista.attend {{.*}} stages = 2, split = 1024, splits = 33, blocks = 3,
// LITTLE-LABEL: func.func @short(
// LITTLE: vashista.attend {{.*}} split = 256, blocks
// LITTLE: vashista.attend {{.*}} stages = 1, split = 1024, splits = 33, blocks = 4,
func.func @short(
    %q: tensor<1x32x128xbf16>, %table: tensor<1x512xi32>, %lens: tensor<1xi32>,
    %qs: tensor<16x32x128xbf16>, %tables: tensor<16x8192xi32>,
    %all: tensor<16xi32>, %k: tensor<?x8x16x128xbf16>,
    %v: tensor<?x8x16x128xbf16>, %o0: tensor<1x32x128xf32>,
    %lse0: tensor<1x32xf32>, %os: tensor<16x32x128xf32>,
    %lses: tensor<16x32xf32>)
    -> (tensor<1x32x128xf32>, tensor<16x32x128xf32>) {
  %o, %lse = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.125
      : (tensor<1x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<1x512xi32>, tensor<1xi32>,
         tensor<1x32x128xf32>, tensor<1x32xf32>)
      -> (tensor<1x32x128xf32>, tensor<1x32xf32>)
  %p, %lse1 = vashista.attend %qs keys(%k) values(%v) table(%tables) lens(%all)
      outs(%os, %lses) scale 0.125
      : (tensor<16x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<16x8192xi32>, tensor<16xi32>,
         tensor<16x32x128xf32>, tensor<16x32xf32>)
      -> (tensor<16x32x128xf32>, tensor<16x32xf32>)
  return %o, %p : tensor<1x32x128xf32>, tensor<16x32x128xf32>
}

// -----

// Lists of few groups: short chains, three blocks for each of 132
// multiprocessors, but of few tokens one.
// WIDE-LABEL: func.func @lists(
// WIDE: vashista.attend {{.*}} split = 64, splits = 49, blocks
// WIDE: vashista.attend {{.*}} split = 128, blocks
func.func @lists(
    %q: tensor<1x32x128xbf16>, %k: tensor<?x8x16x128xbf16>,
    %table: tensor<1x8192xi32>, %lens: tensor<1xi32>,
    %many: tensor<1x8x32768xi32>, %few: tensor<1x8x128xi32>,
    %count: tensor<1x8xi32>, %o0: tensor<1x32x128xf32>, %lse0: tensor<1x32xf32>)
    -> tensor<1x32x128xf32> {
  %o, %lse = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%many, %count) outs(%o0, %lse0) scale 0.125
      : (tensor<1x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<1x8192xi32>, tensor<1xi32>,
         tensor<1x8x32768xi32>, tensor<1x8xi32>, tensor<1x32x128xf32>,
         tensor<1x32xf32>) -> (tensor<1x32x128xf32>, tensor<1x32xf32>)
  %p, %lse1 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      tokens(%few, %count) outs(%o, %lse) scale 0.125
      : (tensor<1x32x128xbf16>, tensor<?x8x16x128xbf16>,
         tensor<?x8x16x128xbf16>, tensor<1x8192xi32>, tensor<1xi32>,
         tensor<1x8x128xi32>, tensor<1x8xi32>, tensor<1x32x128xf32>,
         tensor<1x32xf32>) -> (tensor<1x32x128xf32>, tensor<1x32xf32>)
  return %p : tensor<1x32x128xf32>
}

// -----

// Of no rows as of one.
// WIDE-LABEL: func.func @nobody(
// WIDE: vashista.attend {{.*}} split = 256, blocks
func.func @nobody(
    %q: tensor<0x8x128xbf16>, %k: tensor<?x2x16x128xbf16>,
    %table: tensor<0x64xi32>, %lens: tensor<0xi32>, %o: tensor<0x8x128xf32>,
    %lse: tensor<0x8xf32>) -> tensor<0x8x128xf32> {
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<0x8x128xbf16>, tensor<?x2x16x128xbf16>,
         tensor<?x2x16x128xbf16>, tensor<0x64xi32>, tensor<0xi32>,
         tensor<0x8x128xf32>, tensor<0x8xf32>)
      -> (tensor<0x8x128xf32>, tensor<0x8xf32>)
  return %0#0 : tensor<0x8x128xf32>
}

// -----

// A scan of few groups: two blocks for each multiprocessor, as long as can be. Each
// rounds its directions, where there are no more than 16 for each multiprocessor.
// WIDE-LABEL: func.func @scans(
// WIDE: vashista.score {{.*}} split = 1024, blocks = 4, cluster = 1, fuse = true>
// WIDE: vashista.score {{.*}} split = 4096, blocks = 4, cluster = 1, fuse = true>
// WIDE: vashista.score {{.*}} split = 4096, blocks = 4, cluster = 1> :
// SMALL-LABEL: func.func @scans(
// SMALL: vashista.score {{.*}} split = 4096, blocks = 4, cluster = 1, fuse = true>
// SMALL: vashista.score {{.*}} split = 4096, blocks = 4, cluster = 1> :
func.func @scans(
    %q: tensor<1x32x128xbf16>, %codes: tensor<?x8x16x64xi8>,
    %scales: tensor<?x8x16x4xf8E4M3FN>, %norms: tensor<?x8x16xi8>,
    %short: tensor<1x2048xi32>, %long: tensor<1x12288xi32>, %lens: tensor<1xi32>,
    %many: tensor<9x32x128xbf16>, %tables: tensor<9x8192xi32>,
    %their: tensor<9xi32>)
    -> (tensor<1x32x32768xf32>, tensor<1x32x196608xf32>,
        tensor<9x32x131072xf32>) {
  %s, %u = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%short) lens(%lens) scale 0.125
      : (tensor<1x32x128xbf16>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<1x2048xi32>,
         tensor<1xi32>) -> (tensor<1x32x32768xf32>, tensor<1x32x32768xf32>)
  %t, %v = vashista.score %q
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%long) lens(%lens) scale 0.125
      : (tensor<1x32x128xbf16>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<1x12288xi32>,
         tensor<1xi32>) -> (tensor<1x32x196608xf32>, tensor<1x32x196608xf32>)
  %r, %w = vashista.score %many
      from #vashista.sketch<bits = 4, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%tables) lens(%their) scale 0.125
      : (tensor<9x32x128xbf16>, tensor<?x8x16x64xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<9x8192xi32>,
         tensor<9xi32>) -> (tensor<9x32x131072xf32>, tensor<9x32x131072xf32>)
  return %s, %t, %r : tensor<1x32x32768xf32>, tensor<1x32x196608xf32>,
                      tensor<9x32x131072xf32>
}

// -----

// Where codes take what a block has of its memory, directions are rounded first.
// WIDE-LABEL: func.func @room(
// WIDE: vashista.score {{.*}} cluster = 1, fuse = true>
// LITTLE-LABEL: func.func @room(
// LITTLE: vashista.score {{.*}} cluster = 1> :
func.func @room(
    %q: tensor<1x64x128xbf16>, %codes: tensor<?x8x16x80xi8>,
    %scales: tensor<?x8x16x4xf8E4M3FN>, %norms: tensor<?x8x16xi8>,
    %table: tensor<1x2048xi32>, %lens: tensor<1xi32>)
    -> (tensor<1x64x32768xf32>, tensor<1x64x32768xf32>) {
  %s, %u = vashista.score %q
      from #vashista.sketch<bits = 5, group = 32, rotation = hadamard, norm = token>(%codes, %scales, %norms)
      table(%table) lens(%lens) scale 0.125
      : (tensor<1x64x128xbf16>, tensor<?x8x16x80xi8>,
         tensor<?x8x16x4xf8E4M3FN>, tensor<?x8x16xi8>, tensor<1x2048xi32>,
         tensor<1xi32>) -> (tensor<1x64x32768xf32>, tensor<1x64x32768xf32>)
  return %s, %u : tensor<1x64x32768xf32>, tensor<1x64x32768xf32>
}
