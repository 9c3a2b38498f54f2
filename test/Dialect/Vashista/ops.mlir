// Round trips of every op, in text, in the generic form and in bytecode, over
// the modes that the worked examples in the ODS files leave out.
//
// RUN: vashista-opt %s -verify-roundtrip | FileCheck %s
// RUN: vashista-opt %s -mlir-print-op-generic | vashista-opt | FileCheck %s
// RUN: vashista-opt %s -emit-bytecode | vashista-opt | FileCheck %s

//===----------------------------------------------------------------------===//
// summarize, append
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @summarize_everything_nhd
func.func @summarize_everything_nhd(
    %k: tensor<?x16x8x80xf16>, %v: tensor<?x16x8x96xf16>,
    %table: tensor<4x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %c: tensor<?x8x80xf16>, %r: tensor<?x8xf32>, %norms: tensor<?x8x2xf32>,
    %codes: tensor<?x8x16x48xi8>, %scales: tensor<?x8x16x3xf16>,
    %res: tensor<?x8x16x3xf8E4M3FN>) -> tensor<?x8x16x48xi8> {
  // CHECK: %{{centre.*}}, %{{radius.*}}, %{{norms.*}}, %{{codes.*}}, %{{scales.*}}, %{{.*}} = vashista.summarize keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) summary <ball>(%{{.*}}, %{{.*}}) norms(%{{.*}}) sketch <bits = 4, group = 32, rotation = hadamard>(%{{.*}}, %{{.*}}, %{{.*}}) layout nhd :
  %0:6 = vashista.summarize keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) summary <ball>(%c, %r) norms(%norms)
      sketch <bits = 4, group = 32, rotation = hadamard>(%codes, %scales, %res)
      layout nhd
      : (tensor<?x16x8x80xf16>, tensor<?x16x8x96xf16>, tensor<4x?xi32>,
         tensor<6xi32>, tensor<6xi32>, tensor<?x8x80xf16>, tensor<?x8xf32>,
         tensor<?x8x2xf32>, tensor<?x8x16x48xi8>, tensor<?x8x16x3xf16>,
         tensor<?x8x16x3xf8E4M3FN>)
      -> (tensor<?x8x80xf16>, tensor<?x8xf32>, tensor<?x8x2xf32>,
          tensor<?x8x16x48xi8>, tensor<?x8x16x3xf16>, tensor<?x8x16x3xf8E4M3FN>)
  return %0#3 : tensor<?x8x16x48xi8>
}

// CHECK-LABEL: func @summarize_buffers
func.func @summarize_buffers(
    %k: memref<?x8x16x128xf32>, %table: memref<4x?xi32>, %lens: memref<4xi32>,
    %mean: memref<?x8x128xf32, strided<[?, ?, 1], offset: ?>>) {
  // CHECK: vashista.summarize keys(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) summary <mean>(%{{.*}}) : ({{.*}}) -> ()
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <mean>(%mean)
      : (memref<?x8x16x128xf32>, memref<4x?xi32>, memref<4xi32>,
         memref<?x8x128xf32, strided<[?, ?, 1], offset: ?>>) -> ()
  return
}

// CHECK-LABEL: func @append_only_the_cache
func.func @append_only_the_cache(
    %key: tensor<4x8x64xf32>, %value: tensor<4x8x64xf32>, %at: tensor<4xi32>,
    %table: tensor<2x?xi32>, %rows: tensor<4xi32>, %k: tensor<?x8x1x64xf32>,
    %v: tensor<?x8x1x64xf32>)
    -> (tensor<?x8x1x64xf32>, tensor<?x8x1x64xf32>) {
  // CHECK: %{{k_cache.*}}, %{{v_cache.*}} = vashista.append key(%{{.*}}) value(%{{.*}}) at(%{{.*}}) table(%{{.*}}) rows(%{{.*}}) into(%{{.*}}, %{{.*}}) :
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      rows(%rows) into(%k, %v)
      : (tensor<4x8x64xf32>, tensor<4x8x64xf32>, tensor<4xi32>,
         tensor<2x?xi32>, tensor<4xi32>, tensor<?x8x1x64xf32>,
         tensor<?x8x1x64xf32>) -> (tensor<?x8x1x64xf32>, tensor<?x8x1x64xf32>)
  return %0#0, %0#1 : tensor<?x8x1x64xf32>, tensor<?x8x1x64xf32>
}

// CHECK-LABEL: func @append_buffers_with_sketch
func.func @append_buffers_with_sketch(
    %key: memref<4x8x128xbf16>, %value: memref<4x8x128xbf16>,
    %at: memref<4xi32>, %table: memref<4x?xi32>, %k: memref<?x8x16x128xbf16>,
    %v: memref<?x8x16x128xbf16>, %lo: memref<?x8x128xbf16>,
    %hi: memref<?x8x128xbf16>, %norms: memref<?x8x2xf32>,
    %codes: memref<?x8x16x64xi8>, %scales: memref<?x8x16x4xf16>,
    %res: memref<?x8x16x4xf16>, %centre: memref<?x8x128xbf16>) {
  // CHECK: vashista.append key(%{{.*}}) value(%{{.*}}) at(%{{.*}}) table(%{{.*}}) into(%{{.*}}, %{{.*}}) summary <box>(%{{.*}}, %{{.*}}) norms(%{{.*}}) sketch <bits = 4, group = 32, centre = page>(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) :
  vashista.append key(%key) value(%value) at(%at) table(%table) into(%k, %v)
      summary <box>(%lo, %hi) norms(%norms)
      sketch <bits = 4, group = 32, centre = page>(%codes, %scales, %res, %centre)
      : (memref<4x8x128xbf16>, memref<4x8x128xbf16>, memref<4xi32>,
         memref<4x?xi32>, memref<?x8x16x128xbf16>, memref<?x8x16x128xbf16>,
         memref<?x8x128xbf16>, memref<?x8x128xbf16>, memref<?x8x2xf32>,
         memref<?x8x16x64xi8>, memref<?x8x16x4xf16>, memref<?x8x16x4xf16>,
         memref<?x8x128xbf16>) -> ()
  return
}

//===----------------------------------------------------------------------===//
// check_table, check_positions, check_list
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @check_table_rows
func.func @check_table_rows(
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %n: index) -> (tensor<6xi32>, tensor<6xi32>, tensor<6x4xi32>) {
  // CHECK: %{{lens.*}}, %{{rows.*}}, %{{faults.*}} = vashista.check_table %{{.*}} lens(%{{.*}}) rows(%{{.*}}) num_pages %{{.*}} page_size 16 :
  %0:3 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16
      : (tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>, index)
      -> (tensor<6xi32>, tensor<6xi32>, tensor<6x4xi32>)
  return %0#0, %0#1, %0#2 : tensor<6xi32>, tensor<6xi32>, tensor<6x4xi32>
}

// CHECK-LABEL: func @check_positions_rows
func.func @check_positions_rows(
    %at: tensor<?xi32>, %table: tensor<?x?xi32>, %rows: tensor<?xi32>,
    %n: index) -> (tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>) {
  // CHECK: %{{positions.*}}, %{{rows.*}}, %{{faults.*}} = vashista.check_positions %{{.*}} table(%{{.*}}) rows(%{{.*}}) num_pages %{{.*}} page_size 1 :
  %0:3 = vashista.check_positions %at table(%table) rows(%rows) num_pages %n
      page_size 1
      : (tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>, index)
      -> (tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>)
  return %0#0, %0#1, %0#2 : tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>
}

// CHECK-LABEL: func @check_list_pages
func.func @check_list_pages(%pages: tensor<?x2x6xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x2xi32>, tensor<?x4xi32>) {
  // CHECK: %{{count.*}}, %{{faults.*}} = vashista.check_list pages of(%{{[^,]*}}) lens(%{{.*}}) page_size 2147483647 :
  %0:2 = vashista.check_list pages of(%pages) lens(%lens) page_size 2147483647
      : (tensor<?x2x6xi32>, tensor<?xi32>)
      -> (tensor<?x2xi32>, tensor<?x4xi32>)
  return %0#0, %0#1 : tensor<?x2xi32>, tensor<?x4xi32>
}

//===----------------------------------------------------------------------===//
// moments
//===----------------------------------------------------------------------===//

// Of 80 channels a sketch has 96.
// CHECK-LABEL: func @summarize_moments
func.func @summarize_moments(
    %k: tensor<?x8x16x80xf16>, %table: tensor<4x?xi32>, %lens: tensor<6xi32>,
    %rows: tensor<6xi32>, %codes: tensor<?x8x16x48xi8>,
    %scales: tensor<?x8x16x3xf16>, %res: tensor<?x8x16xi8>,
    %moments: tensor<4x8x96x96xf32>) -> tensor<4x8x96x96xf32> {
  // CHECK: %{{codes.*}}, %{{scales.*}}, %{{norms.*}}, %[[M:moments[_0-9]*]] = vashista.summarize keys(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) sketch <bits = 4, group = 32, norm = token>(%{{.*}}, %{{.*}}, %{{.*}}) moments(%{{.*}}) :
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens) rows(%rows)
      sketch <bits = 4, group = 32, norm = token>(%codes, %scales, %res)
      moments(%moments)
      : (tensor<?x8x16x80xf16>, tensor<4x?xi32>, tensor<6xi32>, tensor<6xi32>,
         tensor<?x8x16x48xi8>, tensor<?x8x16x3xf16>, tensor<?x8x16xi8>,
         tensor<4x8x96x96xf32>)
      -> (tensor<?x8x16x48xi8>, tensor<?x8x16x3xf16>, tensor<?x8x16xi8>,
          tensor<4x8x96x96xf32>)
  // CHECK: return %[[M]]
  return %0#3 : tensor<4x8x96x96xf32>
}

// CHECK-LABEL: func @append_moments
func.func @append_moments(
    %key: memref<4x2x64xbf16>, %value: memref<4x2x48xbf16>, %at: memref<4xi32>,
    %table: memref<4x?xi32>, %k: memref<?x2x16x64xbf16>,
    %v: memref<?x2x16x48xbf16>, %codes: memref<?x2x16x32xi8>,
    %scales: memref<?x2x16x2xf16>, %res: memref<?x2x16x2xf16>,
    %moments: memref<4x2x64x64xf32>) {
  // CHECK: vashista.append key(%{{.*}}) value(%{{.*}}) at(%{{.*}}) table(%{{.*}}) into(%{{.*}}, %{{.*}}) sketch <bits = 4, group = 32>(%{{.*}}, %{{.*}}, %{{.*}}) moments(%{{.*}}) :
  vashista.append key(%key) value(%value) at(%at) table(%table) into(%k, %v)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) moments(%moments)
      : (memref<4x2x64xbf16>, memref<4x2x48xbf16>, memref<4xi32>,
         memref<4x?xi32>, memref<?x2x16x64xbf16>, memref<?x2x16x48xbf16>,
         memref<?x2x16x32xi8>, memref<?x2x16x2xf16>, memref<?x2x16x2xf16>,
         memref<4x2x64x64xf32>) -> ()
  return
}

// CHECK-LABEL: func @moment_of_rows
func.func @moment_of_rows(
    %w: tensor<?x8x80xf32>, %moments: tensor<?x2x96x96xf32>,
    %lens: tensor<?xi32>, %rows: tensor<?xi32>) -> tensor<?x8xf32> {
  // CHECK: %[[M:moment[_0-9]*]] = vashista.moment %{{.*}} of(%{{.*}}) sketch <bits = 4, group = 32> lens(%{{.*}}) rows(%{{.*}}) scale 1.250000e-01 epsilon 5.000000e-01 :
  %0 = vashista.moment %w of(%moments) sketch <bits = 4, group = 32>
      lens(%lens) rows(%rows) scale 0.125 epsilon 0.5
      : (tensor<?x8x80xf32>, tensor<?x2x96x96xf32>, tensor<?xi32>,
         tensor<?xi32>) -> tensor<?x8xf32>
  // CHECK: return %[[M]]
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: func @pick_with_moment
func.func @pick_with_moment(
    %s: tensor<6x8x512xf32>, %b: tensor<6x8x512xf32>, %lens: tensor<6xi32>,
    %lse: tensor<6x8xf32>, %moment: tensor<6x8xf32>) -> tensor<6x8xf32> {
  // CHECK: vashista.pick proving 64 tokens of(%{{.*}}, %{{.*}}) lens(%{{.*}}) attended(%{{.*}}) moment(%{{.*}}) kv_heads 2 page_size 16 tolerance 5.000000e-01 :
  %0:3 = vashista.pick proving 64 tokens of(%s, %b) lens(%lens) attended(%lse)
      moment(%moment) kv_heads 2 page_size 16 tolerance 0.5
      : (tensor<6x8x512xf32>, tensor<6x8x512xf32>, tensor<6xi32>,
         tensor<6x8xf32>, tensor<6x8xf32>)
      -> (tensor<6x2x64xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#2 : tensor<6x8xf32>
}

// CHECK-LABEL: func @select_with_moments
func.func @select_with_moments(
    %w: tensor<6x8x64xf32>, %codes: tensor<?x2x16x32xi8>,
    %scales: tensor<?x2x16x2xf16>, %res: tensor<?x2x16x2xf16>,
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %moments: tensor<2x2x64x64xf32>) -> tensor<6x8xf32> {
  // CHECK: vashista.select %{{.*}} from #vashista.sketch<bits = 4, group = 32>(%{{.*}}, %{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) moments(%{{.*}}) proving 64 tolerance 5.000000e-01 scale 1.250000e-01 :
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %res)
      table(%table) lens(%lens) rows(%rows) moments(%moments)
      proving 64 tolerance 0.5 scale 0.125
      : (tensor<6x8x64xf32>, tensor<?x2x16x32xi8>, tensor<?x2x16x2xf16>,
         tensor<?x2x16x2xf16>, tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>,
         tensor<2x2x64x64xf32>)
      -> (tensor<6x2x64xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#2 : tensor<6x8xf32>
}

// CHECK-LABEL: func @attention_with_moments
func.func @attention_with_moments(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %codes: tensor<?x2x16x32xi8>,
    %scales: tensor<?x2x16x2xf16>, %res: tensor<?x2x16x2xf16>,
    %norms: tensor<?x2x2xf32>, %moments: tensor<2x2x64x64xf32>)
    -> tensor<2x8x64xf32> {
  // CHECK: vashista.attention %{{.*}} sketch <bits = 4, group = 32>(%{{.*}}, %{{.*}}, %{{.*}}) norms(%{{.*}}) moments(%{{.*}}) policy <pages = 0, candidates = 64, pick = proving, tolerance = 5.000000e-01> scale
  %0:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) norms(%norms)
      moments(%moments)
      policy <pages = 0, candidates = 64, pick = proving, tolerance = 0.5>
      scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x16x32xi8>,
         tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<?x2x2xf32>,
         tensor<2x2x64x64xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0 : tensor<2x8x64xf32>
}

//===----------------------------------------------------------------------===//
// score, pick, route, select
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @score_sketch_everywhere
func.func @score_sketch_everywhere(
    %w: tensor<?x32x128xf32>, %codes: tensor<?x8x16x48xi8>,
    %scales: tensor<?x8x16x2xf16>, %res: tensor<?x8x16x2xf16>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x32x?xf32>, tensor<?x32x?xf32>) {
  // CHECK: %{{token_scores.*}}, %{{token_bounds.*}} = vashista.score %{{.*}} from #vashista.sketch<bits = 3, group = 64>(%{{.*}}, %{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) scale 1.250000e-01 soft_cap 3.000000e+01 schedule <warps = 8> :
  %0:2 = vashista.score %w
      from #vashista.sketch<bits = 3, group = 64>(%codes, %scales, %res)
      table(%table) lens(%lens) scale 0.125 soft_cap 30.0
      schedule <warps = 8>
      : (tensor<?x32x128xf32>, tensor<?x8x16x48xi8>, tensor<?x8x16x2xf16>,
         tensor<?x8x16x2xf16>, tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x32x?xf32>, tensor<?x32x?xf32>)
  return %0#0, %0#1 : tensor<?x32x?xf32>, tensor<?x32x?xf32>
}

// CHECK-LABEL: func @score_keys_within_all_listed
func.func @score_keys_within_all_listed(
    %w: tensor<2x4x64xf16>, %k: tensor<9x5x4x64xf16>, %table: tensor<2x3xi32>,
    %lens: tensor<2xi32>, %pages: tensor<2x4x2xi32>)
    -> (tensor<2x4x10xf32>, tensor<2x4x10xf32>) {
  // CHECK: vashista.score %{{.*}} from #vashista.keys<nhd>(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) within(%{{[a-z0-9]*}}) scale
  %0:2 = vashista.score %w from #vashista.keys<nhd>(%k) table(%table)
      lens(%lens) within(%pages) scale 0.125
      : (tensor<2x4x64xf16>, tensor<9x5x4x64xf16>, tensor<2x3xi32>,
         tensor<2xi32>, tensor<2x4x2xi32>)
      -> (tensor<2x4x10xf32>, tensor<2x4x10xf32>)
  return %0#0, %0#1 : tensor<2x4x10xf32>, tensor<2x4x10xf32>
}

// CHECK-LABEL: func @pick_proving_chained
func.func @pick_proving_chained(
    %scores: tensor<2x8x64xf32>, %bounds: tensor<2x8x64xf32>,
    %lens: tensor<2xi32>, %pages: tensor<2x2x4xi32>, %n: tensor<2x2xi32>,
    %taken: tensor<2x2x7xi32>, %outside: tensor<2x8xf32>,
    %lse: tensor<2x8xf32>)
    -> (tensor<2x2x0xi32>, tensor<2x2xi32>, tensor<2x8xf32>) {
  // CHECK: %{{tokens.*}}, %{{token_count.*}}, %{{tail.*}} = vashista.pick proving 0 tokens of(%{{.*}}, %{{.*}}) lens(%{{.*}}) within(%{{.*}}, %{{.*}}) taken(%{{.*}}) outside(%{{.*}}) attended(%{{.*}}) kv_heads 2 page_size 16 tolerance 5.000000e-01 schedule <warps = 32, blocks = 1, cluster = 8> :
  %0:3 = vashista.pick proving 0 tokens of(%scores, %bounds) lens(%lens)
      within(%pages, %n) taken(%taken) outside(%outside) attended(%lse)
      kv_heads 2 page_size 16 tolerance 0.5
      schedule <blocks = 1, fuse = false, cluster = 8, warps = 32>
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2xi32>,
         tensor<2x2x4xi32>, tensor<2x2xi32>, tensor<2x2x7xi32>,
         tensor<2x8xf32>, tensor<2x8xf32>)
      -> (tensor<2x2x0xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %0#0, %0#1, %0#2 : tensor<2x2x0xi32>, tensor<2x2xi32>, tensor<2x8xf32>
}

// CHECK-LABEL: func @route_proving_shared_rows
func.func @route_proving_shared_rows(
    %w: tensor<6x8x128xf32>, %c: tensor<?x2x128xbf16>, %r: tensor<?x2xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>,
    %taken: tensor<6x2x8xi32>, %outside: tensor<6x8xf32>,
    %lse: tensor<6x8xf32>)
    -> (tensor<6x2x8xi32>, tensor<6x2xi32>, tensor<6x8xf32>) {
  // CHECK: %{{pages.*}}, %{{page_count.*}}, %{{page_tail.*}} = vashista.route %{{.*}} from <ball>(%{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) taken(%{{.*}}) outside(%{{.*}}) attended(%{{.*}}) proving 8 page_size 16 tolerance 1.000000e-01 scale 1.000000e+00 soft_cap 5.000000e+01 schedule <split = 1024> :
  %0:3 = vashista.route %w from <ball>(%c, %r) table(%table) lens(%lens)
      rows(%rows) taken(%taken) outside(%outside) attended(%lse)
      proving 8 page_size 16 tolerance 0.1 scale 1.0 soft_cap 50.0
      schedule <split = 1024>
      : (tensor<6x8x128xf32>, tensor<?x2x128xbf16>, tensor<?x2xf32>,
         tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>, tensor<6x2x8xi32>,
         tensor<6x8xf32>, tensor<6x8xf32>)
      -> (tensor<6x2x8xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#0, %0#1, %0#2 : tensor<6x2x8xi32>, tensor<6x2xi32>, tensor<6x8xf32>
}

// CHECK-LABEL: func @select_by_sketch_everywhere
func.func @select_by_sketch_everywhere(
    %w: tensor<6x8x128xf32>, %codes: tensor<?x2x64x128xi8>,
    %scales: tensor<?x2x64x1xf8E4M3FN>, %res: tensor<?x2x64xi8>,
    %table: tensor<6x?xi32>, %lens: tensor<6xi32>)
    -> (tensor<6x2x512xi32>, tensor<6x2xi32>, tensor<6x8xf32>) {
  // CHECK: %{{tokens.*}}, %{{token_count.*}}, %{{tail.*}} = vashista.select %{{.*}} from #vashista.sketch<bits = 8, group = 128, norm = token>(%{{.*}}, %{{.*}}, %{{.*}}) table(%{{.*}}) lens(%{{.*}}) proving 512 sinks 4 window 128 tolerance 5.000000e-01 scale
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 8, group = 128, norm = token>(%codes, %scales, %res)
      table(%table) lens(%lens) proving 512 sinks 4 window 128 tolerance 0.5
      scale 0.0883883461
      : (tensor<6x8x128xf32>, tensor<?x2x64x128xi8>, tensor<?x2x64x1xf8E4M3FN>,
         tensor<?x2x64xi8>, tensor<6x?xi32>, tensor<6xi32>)
      -> (tensor<6x2x512xi32>, tensor<6x2xi32>, tensor<6x8xf32>)
  return %0#0, %0#1, %0#2
      : tensor<6x2x512xi32>, tensor<6x2xi32>, tensor<6x8xf32>
}

//===----------------------------------------------------------------------===//
// attend, merge, merge_tails
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @attend_dense_range_nhd
func.func @attend_dense_range_nhd(
    %q: tensor<2x8x80xf32>, %k: tensor<?x16x2x80xf32>,
    %v: tensor<?x16x2x96xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %o0: tensor<2x8x96xf32>, %lse0: tensor<2x8xf32>, %b: index, %e: index)
    -> (tensor<2x8x96xf32>, tensor<2x8xf32>) {
  // CHECK: %{{o.*}}, %{{lse.*}} = vashista.attend %{{.*}} keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) range(%{{.*}}, %{{.*}}) outs(%{{.*}}, %{{.*}}) scale 1.250000e-01 soft_cap 3.000000e+01 layout nhd schedule <warps = 8, stages = 2> :
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%b, %e) outs(%o0, %lse0) scale 0.125 soft_cap 30.0 layout nhd
      schedule <warps = 8, stages = 2>
      : (tensor<2x8x80xf32>, tensor<?x16x2x80xf32>, tensor<?x16x2x96xf32>,
         tensor<2x?xi32>, tensor<2xi32>, index, index, tensor<2x8x96xf32>,
         tensor<2x8xf32>) -> (tensor<2x8x96xf32>, tensor<2x8xf32>)
  return %0#0, %0#1 : tensor<2x8x96xf32>, tensor<2x8xf32>
}

// CHECK-LABEL: func @attend_pages_buffers
func.func @attend_pages_buffers(
    %q: memref<6x8x128xbf16>, %k: memref<?x2x16x128xbf16>,
    %v: memref<?x2x16x128xbf16>, %table: memref<2x?xi32>, %lens: memref<6xi32>,
    %rows: memref<6xi32>, %pages: memref<6x2x64xi32>, %o: memref<6x8x128xf32>,
    %lse: memref<6x8xf32>) {
  // CHECK: vashista.attend %{{.*}} keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) pages(%{{[a-z0-9]*}}) outs(%{{.*}}, %{{.*}}) scale 1.250000e-01 : ({{.*}}) -> ()
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens) rows(%rows)
      pages(%pages) outs(%o, %lse) scale 0.125
      : (memref<6x8x128xbf16>, memref<?x2x16x128xbf16>,
         memref<?x2x16x128xbf16>, memref<2x?xi32>, memref<6xi32>,
         memref<6xi32>, memref<6x2x64xi32>, memref<6x8x128xf32>,
         memref<6x8xf32>) -> ()
  return
}

// CHECK-LABEL: func @attend_projection
func.func @attend_projection(
    %q: tensor<2x8x64xbf16>, %k: tensor<?x2x16x64xbf16>,
    %v: tensor<?x2x16x64xbf16>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %tokens: tensor<2x2x32xi32>, %o0: tensor<2x8x64xf32>,
    %lse0: tensor<2x8xf32>, %r0: tensor<2x8x64xf32>, %gap0: tensor<2x8xf32>)
    -> tensor<2x8x64xf32> {
  // CHECK: %{{o.*}}, %{{lse.*}}, %{{direction.*}}, %{{gap.*}} = vashista.attend {{.*}} solver <frank_wolfe, objective = projection, epsilon = 0.000000e+00, iterations = 16, tolerance = 1.000000e-03, step = pairwise> :
  %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%tokens) outs(%o0, %lse0, %r0, %gap0) scale 0.125
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 16, tolerance = 1.0e-3, step = pairwise>
      : (tensor<2x8x64xbf16>, tensor<?x2x16x64xbf16>, tensor<?x2x16x64xbf16>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<2x2x32xi32>,
         tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
         tensor<2x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8x64xf32>,
          tensor<2x8xf32>)
  return %0#2 : tensor<2x8x64xf32>
}

// CHECK-LABEL: func @merge_dynamic_stack
func.func @merge_dynamic_stack(%o: tensor<?x?x32x128xf32>,
                               %lse: tensor<?x?x32xf32>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>) {
  // CHECK: vashista.merge outputs(%{{.*}}) lses(%{{.*}}) : (tensor<?x?x32x128xf32>, tensor<?x?x32xf32>) -> (tensor<?x32x128xf32>, tensor<?x32xf32>)
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (tensor<?x?x32x128xf32>, tensor<?x?x32xf32>)
      -> (tensor<?x32x128xf32>, tensor<?x32xf32>)
  return %0#0, %0#1 : tensor<?x32x128xf32>, tensor<?x32xf32>
}

// CHECK-LABEL: func @merge_tails_and_stack
func.func @merge_tails_and_stack(%tail: tensor<?x32xf32>,
                                 %tails: tensor<?x4x?xf32>) -> tensor<4x32xf32> {
  // CHECK: %{{tail.*}} = vashista.merge_tails %{{.*}}, %{{.*}} : (tensor<?x32xf32>, tensor<?x4x?xf32>) -> tensor<4x32xf32>
  %0 = vashista.merge_tails %tail, %tails
      : (tensor<?x32xf32>, tensor<?x4x?xf32>) -> tensor<4x32xf32>
  return %0 : tensor<4x32xf32>
}

//===----------------------------------------------------------------------===//
// certify, fallback
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @certify_projection
func.func @certify_projection(
    %r: tensor<6x8x64xf32>, %o: tensor<6x8x96xf32>, %lse: tensor<6x8xf32>,
    %tail: tensor<6x8xf32>, %gap: tensor<6x8xf32>, %norms: tensor<?x2x2xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<6xi32>, %rows: tensor<6xi32>)
    -> (tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x8xf32>) {
  // CHECK: %{{tau.*}}, %{{error.*}}, %{{full_gap.*}} = vashista.certify %{{.*}} state(%{{.*}}, %{{.*}}) tail(%{{.*}}) gap(%{{.*}}) norms(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) page_size 64 scale 1.250000e-01 solver <eg, objective = projection, iterations = 8> :
  %0:3 = vashista.certify %r state(%o, %lse) tail(%tail) gap(%gap)
      norms(%norms) table(%table) lens(%lens) rows(%rows) page_size 64
      scale 0.125 solver <eg, objective = projection, iterations = 8>
      : (tensor<6x8x64xf32>, tensor<6x8x96xf32>, tensor<6x8xf32>,
         tensor<6x8xf32>, tensor<6x8xf32>, tensor<?x2x2xf32>,
         tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>)
      -> (tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x8xf32>)
  return %0#0, %0#1, %0#2
      : tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x8xf32>
}

// CHECK-LABEL: func @fallback_every_option
func.func @fallback_every_option(
    %q: tensor<6x8x64xf16>, %k: tensor<?x16x2x64xf16>,
    %v: tensor<?x16x2x96xf16>, %table: tensor<2x?xi32>, %lens: tensor<6xi32>,
    %rows: tensor<6xi32>, %o: tensor<6x8x96xf32>, %lse: tensor<6x8xf32>,
    %error: tensor<6x8xf32>)
    -> (tensor<6x8x96xf32>, tensor<6x8xf32>, tensor<6x2xi1>) {
  // CHECK: %{{o.*}}, %{{lse.*}}, %{{flag.*}} = vashista.fallback %{{.*}} keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) state(%{{.*}}, %{{.*}}) unless(%{{.*}}) at_most 0.000000e+00 scale 1.250000e-01 soft_cap 5.000000e+01 solver <softmax, epsilon = 5.000000e-01> layout nhd schedule <vector = 4> :
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) state(%o, %lse) unless(%error) at_most 0.0 scale 0.125
      soft_cap 50.0 solver <softmax, epsilon = 0.5> layout nhd
      schedule <vector = 4>
      : (tensor<6x8x64xf16>, tensor<?x16x2x64xf16>, tensor<?x16x2x96xf16>,
         tensor<2x?xi32>, tensor<6xi32>, tensor<6xi32>, tensor<6x8x96xf32>,
         tensor<6x8xf32>, tensor<6x8xf32>)
      -> (tensor<6x8x96xf32>, tensor<6x8xf32>, tensor<6x2xi1>)
  return %0#0, %0#1, %0#2
      : tensor<6x8x96xf32>, tensor<6x8xf32>, tensor<6x2xi1>
}

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @attention_dense
func.func @attention_dense(
    %q: tensor<?x8x64xf32>, %k: tensor<?x8x1x64xf32>, %v: tensor<?x8x1x64xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>) -> tensor<?x8x64xf32> {
  // CHECK: %{{o.*}}, %{{lse.*}}, %{{tau.*}}, %{{error.*}}, %{{rounds.*}}, %{{flag.*}} = vashista.attention %{{.*}} keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) policy <pages = 0> scale 1.250000e-01 :
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<?x8x64xf32>, tensor<?x8x1x64xf32>, tensor<?x8x1x64xf32>,
         tensor<?x?xi32>, tensor<?xi32>)
      -> (tensor<?x8x64xf32>, tensor<?x8xf32>, tensor<?x8xf32>,
          tensor<?x8xf32>, tensor<?x8xi32>, tensor<?x8xi1>)
  return %0#0 : tensor<?x8x64xf32>
}

// CHECK-LABEL: func @attention_every_option
func.func @attention_every_option(
    %q: tensor<6x8x128xbf16>, %k: tensor<?x128x2x128xbf16>,
    %v: tensor<?x128x2x128xbf16>, %table: tensor<2x?xi32>,
    %lens: tensor<6xi32>, %rows: tensor<6xi32>, %mean: tensor<?x2x128xbf16>,
    %codes: tensor<?x2x128x64xi8>, %scales: tensor<?x2x128x4xf16>,
    %res: tensor<?x2x128x4xf16>, %norms: tensor<?x2x2xf32>)
    -> tensor<6x8x128xf32> {
  // CHECK: vashista.attention %{{.*}} keys(%{{.*}}) values(%{{.*}}) table(%{{.*}}) lens(%{{.*}}) rows(%{{.*}}) summary <mean>(%{{.*}}) sketch <bits = 4, group = 32>(%{{.*}}, %{{.*}}, %{{.*}}) norms(%{{.*}}) policy <pages = 16, candidates = 1024, sinks = 4, window = 128, pick = proving, tolerance = 1.000000e-01, rounds = 3, fallback = dense> scale 0.0883883461 soft_cap 3.000000e+01 solver <softmax, epsilon = 5.000000e-01> layout nhd schedule <warps = 8> :
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) summary <mean>(%mean) sketch <bits = 4, group = 32>(%codes, %scales, %res)
      norms(%norms)
      policy <pages = 16, candidates = 1024, sinks = 4, window = 128,
              pick = proving, target = tau, tolerance = 0.1, rounds = 3,
              fallback = dense>
      scale 0.0883883461 soft_cap 30.0 solver <softmax, epsilon = 0.5>
      layout nhd schedule <warps = 8>
      : (tensor<6x8x128xbf16>, tensor<?x128x2x128xbf16>,
         tensor<?x128x2x128xbf16>, tensor<2x?xi32>, tensor<6xi32>,
         tensor<6xi32>, tensor<?x2x128xbf16>, tensor<?x2x128x64xi8>,
         tensor<?x2x128x4xf16>, tensor<?x2x128x4xf16>, tensor<?x2x2xf32>)
      -> (tensor<6x8x128xf32>, tensor<6x8xf32>, tensor<6x8xf32>,
          tensor<6x8xf32>, tensor<6x2xi32>, tensor<6x2xi1>)
  return %0#0 : tensor<6x8x128xf32>
}

// CHECK-LABEL: func @attention_projection
func.func @attention_projection(
    %q: tensor<2x8x64xf32>, %k: tensor<?x2x16x64xf32>, %table: tensor<2x?xi32>,
    %lens: tensor<2xi32>, %norms: tensor<?x2x2xf32>) -> tensor<2x8x64xf32> {
  // CHECK: policy <pages = 0, candidates = 64, target = gap, tolerance = 1.000000e-02, rounds = 8, fallback = dense> scale 1.250000e-01 solver <frank_wolfe, objective = projection, epsilon = 0.000000e+00, iterations = 16, step = pairwise> :
  %0:6 = vashista.attention %q keys(%k) values(%k) table(%table) lens(%lens)
      norms(%norms)
      policy <pages = 0, candidates = 64, target = gap, tolerance = 0.01,
              rounds = 8, fallback = dense>
      scale 0.125
      solver <frank_wolfe, objective = projection, epsilon = 0.0,
              iterations = 16, step = pairwise>
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<2x?xi32>, tensor<2xi32>, tensor<?x2x2xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x8xf32>, tensor<2x8xf32>,
          tensor<2x8xf32>, tensor<2x2xi32>, tensor<2x2xi1>)
  return %0#0 : tensor<2x8x64xf32>
}

//===----------------------------------------------------------------------===//
// Budgets that just suffice
//===----------------------------------------------------------------------===//

// 4 sinks touch 1 page of 16, 16 tokens of window up to 2; one token fewer in
// any of these budgets is refused (invalid.mlir).
// CHECK-LABEL: func @just_enough
// CHECK: vashista.route {{.*}} top 3 page_size 16 sinks 4 window 16
// CHECK: vashista.select {{.*}} top 20 sinks 4 window 16
func.func @just_enough(
    %w: tensor<2x8x64xf32>, %mean: tensor<?x2x64xf32>, %k: tensor<?x2x16x64xf32>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>)
    -> (tensor<2x2x3xi32>, tensor<2x2x20xi32>) {
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      top 3 page_size 16 sinks 4 window 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x64xf32>, tensor<2x?xi32>,
         tensor<2xi32>) -> (tensor<2x2x3xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  %1:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 20 sinks 4 window 16 scale 0.125
      : (tensor<2x8x64xf32>, tensor<?x2x16x64xf32>, tensor<2x?xi32>,
         tensor<2xi32>) -> (tensor<2x2x20xi32>, tensor<2x2xi32>, tensor<2x8xf32>)
  return %0#0, %1#0 : tensor<2x2x3xi32>, tensor<2x2x20xi32>
}
