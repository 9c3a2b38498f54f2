// Entries that check what they are given: they have further results, and one more
// kernel for each check. All others, and what the host verifies, stay as they are.

// RUN: vashista-compile %s --checked -o %t.vso --target=cpu:x86-64-v3 2>&1 \
// RUN:   | count 0
// RUN: vashista-run %t.vso --list | FileCheck %s

// CHECK-LABEL: {{^}}step
// CHECK:          lens    i32 [q.0]
// CHECK:          k       f32 [?, 2, 16, 64], written in place
// CHECK-NEXT:     v       f32 [k.0, 2, 16, 64], written in place
// CHECK-NEXT:   results
// CHECK-NEXT:     result0  f32 [q.0, 8, 64]
// CHECK-NEXT:     faults   i32 [q.0, 4]
// CHECK-NEXT:     faults2  i32 [q.0, 4]
// CHECK-NEXT:     faults3  i32 [q.0, 4]
// CHECK-NEXT:   constants
// CHECK:        checks
// CHECK-NEXT:     positions 'at' and page ids 'table', table rows 'rows', pages in dimension 0 of 'k', page size 16
// CHECK-NEXT:     lengths 'lens' and page ids 'table', table rows 'rows', pages in dimension 0 of 'k', page size 16
// CHECK-NEXT:     tokens 'tokens' within lengths 'lens', page size 16

// A table that the entry computes, which the host cannot verify: no warning.
// CHECK-LABEL: {{^}}computed
// CHECK:        results
// CHECK-NEXT:     result0  i32 [4, 2, 8]
// CHECK-NEXT:     faults   i32 [4, 4]
// CHECK-NEXT:   constants
// CHECK-NOT:    checks

// What kernels only read is not written, whoever reads it on a GPU.
// RUN: vashista-compile %s --checked -o %t.cuda.vso --target=cuda:compute_90
// RUN: vashista-run %t.cuda.vso --list | FileCheck %s --check-prefix=DEVICE
// DEVICE-LABEL: {{^}}step
// DEVICE:         at      i32 [q.0]{{$}}
// DEVICE-NEXT:    table   i32 [?, ?]{{$}}
// DEVICE-NEXT:    rows    i32 [q.0]{{$}}
// DEVICE-NEXT:    lens    i32 [q.0]{{$}}
// DEVICE-NEXT:    tokens  i32 [q.0, 2, 40]{{$}}
// DEVICE-NEXT:    k       f32 [?, 2, 16, 64], written in place
// DEVICE-NEXT:    v       f32 [k.0, 2, 16, 64], written in place
// DEVICE-NEXT:  results

// RUN: vashista-compile %source_dir/examples/decode.mlir --emit=ptx \
// RUN:   --target=cuda:sm_90a -o %t.ptx
// RUN: vashista-compile %source_dir/examples/decode.mlir --emit=ptx \
// RUN:   --target=cuda:sm_90a --checked -o %t.checked.ptx
// RUN: grep -o '\.entry \w*' %t.ptx > %t.kernels
// RUN: grep -o '\.entry \w*' %t.checked.ptx | grep -v check_table_0 \
// RUN:   | diff - %t.kernels
// RUN: grep -c '\.entry check_table_0(' %t.checked.ptx
// RUN: vashista-compile %source_dir/examples/certified.mlir --emit=schedule \
// RUN:   --target=cuda:sm_90a --checked -o %t.checked.mlir
// RUN: FileCheck %s --check-prefix=SCHEDULE < %t.checked.mlir
// SCHEDULE: %[[LENS:.*]], %faults = vashista.check_table %table lens(%lens)
// SCHEDULE-NOT: lens(%lens)

// What it printed can be compiled, and is checked already.
// RUN: vashista-compile %t.checked.mlir --emit=ptx --target=cuda:sm_90a --checked -o - \
// RUN:   | grep -c '\.entry check_table' | FileCheck %s --check-prefix=ONE
// ONE: {{^1$}}

func.func @step(
    %q: tensor<?x8x64xf32>, %key: tensor<?x2x64xf32>, %value: tensor<?x2x64xf32>,
    %at: tensor<?xi32>, %table: tensor<?x?xi32>, %rows: tensor<?xi32>,
    %lens: tensor<?xi32>, %tokens: tensor<?x2x40xi32>,
    %k: tensor<?x2x16x64xf32>, %v: tensor<?x2x16x64xf32>)
    -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<?x8x64xf32>) {
  %k1, %v1 = vashista.append key(%key) value(%value) at(%at) table(%table)
      rows(%rows) into(%k, %v)
      : (tensor<?x2x64xf32>, tensor<?x2x64xf32>, tensor<?xi32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x2x16x64xf32>,
         tensor<?x2x16x64xf32>)
      -> (tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>)
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %none = arith.constant 0xFF800000 : f32
  %r = tensor.dim %q, %c0 : tensor<?x8x64xf32>
  %o_any = tensor.empty(%r) : tensor<?x8x64xf32>
  %lse_any = tensor.empty(%r) : tensor<?x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%o_any : tensor<?x8x64xf32>)
      -> tensor<?x8x64xf32>
  %lse0 = linalg.fill ins(%none : f32) outs(%lse_any : tensor<?x8xf32>)
      -> tensor<?x8xf32>
  %o, %lse = vashista.attend %q keys(%k1) values(%v1) table(%table) lens(%lens)
      rows(%rows) tokens(%tokens) outs(%o0, %lse0) scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?x2x40xi32>,
         tensor<?x8x64xf32>, tensor<?x8xf32>)
      -> (tensor<?x8x64xf32>, tensor<?x8xf32>)
  return %k1, %v1, %o
      : tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>, tensor<?x8x64xf32>
}

func.func @computed(%q: tensor<4x8x64xf32>, %mean: tensor<?x2x64xf32>,
                    %t: tensor<4x9xi32>, %lens: tensor<4xi32>)
    -> tensor<4x2x8xi32> {
  %table = arith.addi %t, %t : tensor<4x9xi32>
  %0:3 = vashista.route %q from <mean>(%mean) table(%table) lens(%lens) top 8
      page_size 16 scale 0.125
      : (tensor<4x8x64xf32>, tensor<?x2x64xf32>, tensor<4x9xi32>,
         tensor<4xi32>) -> (tensor<4x2x8xi32>, tensor<4x2xi32>, tensor<4x8xf32>)
  return %0#0 : tensor<4x2x8xi32>
}
