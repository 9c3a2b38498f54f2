// RUN: vashista-opt %s -split-input-file -verify-diagnostics

//===----------------------------------------------------------------------===//
// vashista.summarize
//===----------------------------------------------------------------------===//

func.func @summarize_operand_type(
    %k: tensor<40x2x16x64xf64>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{operand #0 must be 4D tensor of 32-bit float or 16-bit float or bfloat16 type values or 4D memref of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<40x2x16x64xf64>'}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x16x64xf64>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

// The attribute and the head dimension say how many bytes the codes have.
func.func @summarize_c1_code_bytes(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x64xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[summarize_c1] expected dimension 3 of `codes` (code bytes per key) to be 32 as in `sketch`, got 64}}
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x64xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x64xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @summarize_c2_dynamic_page_size(
    %k: tensor<40x2x?x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c2] expected a static page size (S), got a dynamic one}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x?x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

func.func @summarize_c2_zero_page_size(
    %k: tensor<40x2x0x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c2] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x0x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

func.func @summarize_c3_memref_destination(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: memref<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c3] expected all shaped operands to be tensors or all to be memrefs, got both}}
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <mean>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         memref<40x2x64xbf16>) -> ()
  return
}

// -----

func.func @summarize_c3_memref_inputs(
    %k: memref<40x2x16x64xbf16>, %table: memref<3x24xi32>, %lens: memref<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c3] expected all shaped operands to be tensors or all to be memrefs, got both}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (memref<40x2x16x64xbf16>, memref<3x24xi32>, memref<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

// Only the generic form can say this.
func.func @summarize_c4_unlisted_summary(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c4] expected no tensors without an attribute that lists them, got 1}}
  %0 = "vashista.summarize"(%k, %table, %lens, %mean)
        <{operandSegmentSizes = array<i32: 1, 0, 1, 1, 0, 1, 0, 0, 0>}>
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

func.func @summarize_c4_summary_count(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c4] expected 2 tensors (mean, std) for #vashista.summary<mean_std>, got 1}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean_std>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

func.func @summarize_c4_summary_rank(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x1x64xbf16>) {
  // expected-error @+1 {{[summarize_c4] expected `mean` of #vashista.summary<mean> to have rank 3, got 'tensor<40x2x1x64xbf16>'}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x1x64xbf16>) -> tensor<40x2x1x64xbf16>
  return
}

// -----

func.func @summarize_c4_summary_element_type(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xf64>) {
  // expected-error @+1 {{[summarize_c4] expected `mean` of #vashista.summary<mean> to have the element type f32, f16 or bf16, got 'f64'}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xf64>) -> tensor<40x2x64xf64>
  return
}

// -----

// Only the generic form can say this.
func.func @summarize_c4_unlisted_sketch(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>) {
  // expected-error @+1 {{[summarize_c4] expected no tensors without an attribute that lists them, got 1}}
  %0 = "vashista.summarize"(%k, %table, %lens, %codes)
        <{operandSegmentSizes = array<i32: 1, 0, 1, 1, 0, 0, 0, 1, 0>}>
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>) -> tensor<40x2x16x32xi8>
  return
}

// -----

func.func @summarize_c4_sketch_count(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[summarize_c4] expected 4 tensors (codes, scales, norms, centre) for #vashista.sketch<bits = 4, group = 32, centre = page>, got 3}}
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, centre = page>(%codes, %scales, %res)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @summarize_c4_sketch_rank(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16xf16>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[summarize_c4] expected `scales` of #vashista.sketch<bits = 4, group = 32> to have rank 4, got 'tensor<40x2x16xf16>'}}
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16xf16>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @summarize_c4_sketch_element_type(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xbf16>) {
  // expected-error @+1 {{[summarize_c4] expected `norms` of #vashista.sketch<bits = 4, group = 32> to have the element type f16, f8E4M3FN or i8, got 'bf16'}}
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xbf16>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xbf16>)
  return
}

// -----

func.func @summarize_c4_radius_element_type(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %centre: tensor<40x2x64xbf16>, %radius: tensor<40x2xf16>) {
  // expected-error @+1 {{[summarize_c4] expected `radius` of #vashista.summary<ball> to have the element type f32, got 'f16'}}
  %0:2 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <ball>(%centre, %radius)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>, tensor<40x2xf16>)
      -> (tensor<40x2x64xbf16>, tensor<40x2xf16>)
  return
}

// -----

func.func @summarize_c4_codes_element_type(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xui8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[summarize_c4] expected `codes` of #vashista.sketch<bits = 4, group = 32> to have the element type i8, got 'ui8'}}
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xui8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x32xui8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @summarize_c4_scales_element_type(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf32>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[summarize_c4] expected `scales` of #vashista.sketch<bits = 4, group = 32> to have the element type f16 or f8E4M3FN, got 'f32'}}
  %0:3 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf32>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf32>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @summarize_c5_no_destination(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[summarize_c5] expected a summary, norms or a sketch to build, got none}}
  vashista.summarize keys(%k) table(%table) lens(%lens)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>) -> ()
  return
}

// -----

func.func @summarize_c6_norms_without_values(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>) {
  // expected-error @+1 {{[summarize_c6] expected `values` for `norms`, got none}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens) norms(%norms)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x2xf32>) -> tensor<40x2x2xf32>
  return
}

// -----

func.func @summarize_c6_values_without_norms(
    %k: tensor<40x2x16x64xbf16>, %v: tensor<40x2x16x48xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[summarize_c6] expected `norms` for `values`, got none}}
  %0 = vashista.summarize keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

func.func @summarize_result_type(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{expected type of operand #3 ('tensor<40x2x64xbf16>') to match type of corresponding result ('tensor<40x2x?xbf16>')}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> tensor<40x2x?xbf16>
  return
}

// -----

func.func @summarize_result_count(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <mean>(%mean)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>) -> ()
  return
}

// -----

func.func @summarize_memref_result(
    %k: memref<40x2x16x64xbf16>, %table: memref<3x24xi32>, %lens: memref<3xi32>,
    %mean: memref<40x2x64xbf16>) {
  // expected-error @+1 {{expected the number of tensor results (1) to be equal to the number of output tensors (0)}}
  %0 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean)
      : (memref<40x2x16x64xbf16>, memref<3x24xi32>, memref<3xi32>,
         memref<40x2x64xbf16>) -> tensor<40x2x64xbf16>
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.append
//===----------------------------------------------------------------------===//

func.func @append_operand_type(
    %key: tensor<3x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>) {
  // expected-error @+1 {{operand #0 must be 3D tensor of 32-bit float or 16-bit float or bfloat16 type values or 3D memref of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<3x64xbf16>'}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
  return
}

// -----

func.func @append_c1_page_size(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x8x48xbf16>) {
  // expected-error @+1 {{[append_c1] expected dimension 2 of `v_cache` (page size (S)) to be 16 as in `k_cache`, got 8}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x8x48xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x8x48xbf16>)
  return
}

// -----

func.func @append_c2_dynamic_page_size(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x?x64xbf16>,
    %v: tensor<40x2x?x48xbf16>) {
  // expected-error @+1 {{[append_c2] expected a static page size (S), got a dynamic one}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x?x64xbf16>, tensor<40x2x?x48xbf16>)
      -> (tensor<40x2x?x64xbf16>, tensor<40x2x?x48xbf16>)
  return
}

// -----

func.func @append_c2_zero_page_size(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x0x64xbf16>,
    %v: tensor<40x2x0x48xbf16>) {
  // expected-error @+1 {{[append_c2] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x0x64xbf16>, tensor<40x2x0x48xbf16>)
      -> (tensor<40x2x0x64xbf16>, tensor<40x2x0x48xbf16>)
  return
}

// -----

func.func @append_c3_memref_caches(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: memref<40x2x16x64xbf16>,
    %v: memref<40x2x16x48xbf16>) {
  // expected-error @+1 {{[append_c3] expected all shaped operands to be tensors or all to be memrefs, got both}}
  vashista.append key(%key) value(%value) at(%at) table(%table) into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, memref<40x2x16x64xbf16>, memref<40x2x16x48xbf16>)
      -> ()
  return
}

// -----

func.func @append_c3_memref_key(
    %key: memref<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>) {
  // expected-error @+1 {{[append_c3] expected all shaped operands to be tensors or all to be memrefs, got both}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (memref<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
  return
}

// -----

// Only the generic form can say this.
func.func @append_c4_unlisted_summary(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[append_c4] expected no tensors without an attribute that lists them, got 1}}
  %0:3 = "vashista.append"(%key, %value, %at, %table, %k, %v, %mean)
        <{operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0>}>
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x64xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x64xbf16>)
  return
}

// -----

func.func @append_c4_summary_count(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[append_c4] expected 2 tensors (mean, std) for #vashista.summary<mean_std>, got 1}}
  %0:3 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) summary <mean_std>(%mean)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x64xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x64xbf16>)
  return
}

// -----

func.func @append_c4_summary_rank(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %mean: tensor<40x2x1x64xbf16>) {
  // expected-error @+1 {{[append_c4] expected `mean` of #vashista.summary<mean> to have rank 3, got 'tensor<40x2x1x64xbf16>'}}
  %0:3 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) summary <mean>(%mean)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x1x64xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x1x64xbf16>)
  return
}

// -----

func.func @append_c4_summary_element_type(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %mean: tensor<40x2x64xf64>) {
  // expected-error @+1 {{[append_c4] expected `mean` of #vashista.summary<mean> to have the element type f32, f16 or bf16, got 'f64'}}
  %0:3 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) summary <mean>(%mean)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x64xf64>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>, tensor<40x2x64xf64>)
  return
}

// -----

// Only the generic form can say this.
func.func @append_c4_unlisted_sketch(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %codes: tensor<40x2x16x32xi8>) {
  // expected-error @+1 {{[append_c4] expected no tensors without an attribute that lists them, got 1}}
  %0:3 = "vashista.append"(%key, %value, %at, %table, %k, %v, %codes)
        <{operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 0>}>
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x16x32xi8>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x16x32xi8>)
  return
}

// -----

func.func @append_c4_sketch_count(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[append_c4] expected 4 tensors (codes, scales, norms, centre) for #vashista.sketch<bits = 4, group = 32, centre = page>, got 3}}
  %0:5 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      sketch <bits = 4, group = 32, centre = page>(%codes, %scales, %res)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @append_c4_sketch_rank(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16xf16>, %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[append_c4] expected `scales` of #vashista.sketch<bits = 4, group = 32> to have rank 4, got 'tensor<40x2x16xf16>'}}
  %0:5 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x16x32xi8>, tensor<40x2x16xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x16x32xi8>, tensor<40x2x16xf16>, tensor<40x2x16x2xf16>)
  return
}

// -----

func.func @append_c4_sketch_element_type(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xbf16>) {
  // expected-error @+1 {{[append_c4] expected `norms` of #vashista.sketch<bits = 4, group = 32> to have the element type f16, f8E4M3FN or i8, got 'bf16'}}
  %0:5 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) sketch <bits = 4, group = 32>(%codes, %scales, %res)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xbf16>)
  return
}

// -----

func.func @append_c5_key_element_type(
    %key: tensor<3x2x64xf32>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>) {
  // expected-error @+1 {{[append_c5] expected `key` to have the element type 'bf16' of its cache, got 'f32'}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xf32>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
  return
}

// -----

func.func @append_c5_value_element_type(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xf16>) {
  // expected-error @+1 {{[append_c5] expected `value` to have the element type 'f16' of its cache, got 'bf16'}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xf16>)
  return
}

// -----

func.func @append_result_type(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>) {
  // expected-error @+1 {{expected type of operand #5 ('tensor<40x2x16x48xbf16>') to match type of corresponding result ('tensor<?x2x16x48xbf16>')}}
  %0:2 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
      -> (tensor<40x2x16x64xbf16>, tensor<?x2x16x48xbf16>)
  return
}

// -----

func.func @append_result_count(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>) {
  // expected-error @+1 {{expected the number of tensor results (1) to be equal to the number of output tensors (2)}}
  %0 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>)
      -> tensor<40x2x16x64xbf16>
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.score
//===----------------------------------------------------------------------===//

func.func @score_operand_type(
    %w: tensor<3x8x64xf64>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{operand #0 must be 3D tensor of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<3x8x64xf64>'}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xf64>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c1_rows(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<4xi32>) {
  // expected-error @+1 {{[score_c1] expected dimension 0 of `seq_lens` (rows (R)) to be 3 as in `direction`, got 4}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<4xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c2_heads_not_multiple(
    %w: tensor<3x9x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x9x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c2_zero_kv_heads(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x0x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x0x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c3_too_few(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c3] expected 2 tensors (lo, hi) for #vashista.summary<box>, got 1}}
  %0:2 = vashista.score %w from #vashista.summary<box>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c3_too_many(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c3] expected 1 tensor (keys) for #vashista.keys<hnd>, got 2}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k, %k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x64xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @score_c3_rank(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x64xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c3] expected `keys` of #vashista.keys<hnd> to have rank 4, got 'tensor<40x2x64xbf16>'}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @score_c3_element_type(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xf8E4M3FN>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c3] expected `keys` of #vashista.keys<hnd> to have the element type f32, f16 or bf16, got 'f8E4M3FN'}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xf8E4M3FN>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @score_c4_dynamic_page_size(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x?x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c4] expected a static page size (S), got a dynamic one}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x?xf32>, tensor<3x8x?xf32>)
  return
}

// -----

func.func @score_c4_zero_page_size(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x0x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c4] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x0x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x0xf32>, tensor<3x8x0xf32>)
  return
}

// -----

func.func @score_c4_sketch(
    %w: tensor<3x8x64xbf16>, %codes: tensor<40x2x?x32xi8>,
    %scales: tensor<40x2x?x2xf16>, %res: tensor<40x2x?x2xf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c4] expected a static page size (S), got a dynamic one}}
  %0:2 = vashista.score %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %res)
      table(%table) lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x32xi8>, tensor<40x2x?x2xf16>,
         tensor<40x2x?x2xf16>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x?xf32>, tensor<3x8x?xf32>)
  return
}

// -----

func.func @score_c5_within_of_pages(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %pages: tensor<3x2x6xi32>,
    %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[score_c5] expected a source of tokens for `within`, got #vashista.summary<mean>}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) within(%pages, %n) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x2x6xi32>, tensor<3x2xi32>)
      -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_zero_scale(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_negative_scale(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale to be a positive normal f32, got -1.250000e-01}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale -0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_subnormal_scale(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale to be a positive normal f32, got 5.877472e-39}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 5.877472e-39
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_infinite_scale(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale to be a positive normal f32, got INF}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0x7F800000
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_nan_scale(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale to be a positive normal f32, got nan}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0x7FC00000
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_zero_soft_cap(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c6_zero_epsilon(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected epsilon to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125 epsilon 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c7_pages(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x24xf32>', 'tensor<3x8x24xf32>' are incompatible with return type(s) of operation 'tensor<3x8x384xf32>', 'tensor<3x8x384xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @score_c7_tokens(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x384xf32>', 'tensor<3x8x384xf32>' are incompatible with return type(s) of operation 'tensor<3x8x24xf32>', 'tensor<3x8x24xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

func.func @score_c7_tokens_within(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %pages: tensor<3x2x6xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x96xf32>', 'tensor<3x8x96xf32>' are incompatible with return type(s) of operation 'tensor<3x8x384xf32>', 'tensor<3x8x384xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x2x6xi32>)
      -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @score_c7_bounds(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x24xf32>', 'tensor<3x8x24xf32>' are incompatible with return type(s) of operation 'tensor<3x8x24xf32>', 'tensor<3x9x24xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x9x24xf32>)
  return
}

// -----

func.func @score_result_type(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{result #0 must be 3D tensor of 32-bit float values, but got 'tensor<3x8x24xbf16>'}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xbf16>, tensor<3x8x24xf32>)
  return
}

// -----

// What is scored is a key source.
func.func @score_source_kind(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{invalid kind of attribute specified}}
  %0:2 = vashista.score %w from "mean"(%mean) table(%table) lens(%lens)
      scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x24xf32>, tensor<3x8x24xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.pick
//===----------------------------------------------------------------------===//

func.func @pick_operand_type(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf16>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{operand #1 must be 3D tensor of 32-bit float values, but got 'tensor<3x8x384xf16>'}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf16>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c1_kv_heads(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>,
    %tokens: tensor<3x4x10xi32>) {
  // expected-error @+1 {{[pick_c1] expected dimension 1 of `taken` (KV heads (Hkv)) to be 2 as in `kv_heads`, got 4}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) taken(%tokens)
      kv_heads 2 page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>,
         tensor<3x4x10xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c2_heads_not_multiple(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c2] expected the number of query heads to be a multiple of the 3 KV heads, got 8}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 3
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c2_zero_kv_heads(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c2] expected kv_heads to be 1 to 2^31 - 1, got 0}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 0
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c2_negative_kv_heads(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c2] expected kv_heads to be 1 to 2^31 - 1, got -1}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads -1
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c2_large_kv_heads(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c2] expected kv_heads to be 1 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2147483648
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_negative_budget(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected the budget to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.pick top -1 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_large_budget(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected the budget to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.pick top 2147483648 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_tokens(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected a budget of at least 11 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 sinks 4 window 7
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_sinks(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected a budget of at least 11 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 sinks 11
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_window(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected a budget of at least 11 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 window 11
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

// 17 sinks fill 2 pages, and a window of 18 tokens touches up to 3.
func.func @pick_c3_pages(
    %s: tensor<3x8x24xf32>, %b: tensor<3x8x24xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected a budget of at least 5 pages to hold the sinks and the window, got 4}}
  %0:3 = vashista.pick top 4 pages of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 sinks 17 window 18
      : (tensor<3x8x24xf32>, tensor<3x8x24xf32>, tensor<3xi32>)
      -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_window_across_pages(
    %s: tensor<3x8x24xf32>, %b: tensor<3x8x24xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected a budget of at least 2 pages to hold the sinks and the window, got 1}}
  %0:3 = vashista.pick top 1 pages of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 window 2
      : (tensor<3x8x24xf32>, tensor<3x8x24xf32>, tensor<3xi32>)
      -> (tensor<3x2x1xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c3_largest_sinks_and_window(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c3] expected a budget of at least 4294967294 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 sinks 2147483647 window 2147483647
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_zero_page_size(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected page_size to be 1 to 2^31 - 1, got 0}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 0
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_negative_page_size(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected page_size to be 1 to 2^31 - 1, got -1}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size -1
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_large_page_size(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected page_size to be 1 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 2147483648
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_negative_sinks(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected sinks to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 sinks -1
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_large_sinks(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected sinks to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 sinks 2147483648
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_negative_window(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected window to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 window -1
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c4_large_window(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c4] expected window to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 window 2147483648
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_top_with_tolerance(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c5] expected no tolerance for the mode top, got 1.000000e-01}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 tolerance 0.1
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_top_with_attended(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>,
    %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[pick_c5] expected no `attended` for the mode top, got one}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) attended(%lse)
      kv_heads 2 page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>,
         tensor<3x8xf32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_proving_without_tolerance(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c5] expected a tolerance for the mode proving, got none}}
  %0:3 = vashista.pick proving 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_zero_tolerance(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c5] expected the tolerance to be between 0 and 1, got 0.000000e+00}}
  %0:3 = vashista.pick proving 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 tolerance 0.0
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_one_tolerance(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c5] expected the tolerance to be between 0 and 1, got 1.000000e+00}}
  %0:3 = vashista.pick proving 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 tolerance 1.0
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_negative_tolerance(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c5] expected the tolerance to be between 0 and 1, got -1.000000e-01}}
  %0:3 = vashista.pick proving 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 tolerance -0.1
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c5_nan_tolerance(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[pick_c5] expected the tolerance to be between 0 and 1, got nan}}
  %0:3 = vashista.pick proving 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16 tolerance 0x7FC00000
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c6_within_of_pages(
    %s: tensor<3x8x24xf32>, %b: tensor<3x8x24xf32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x6xi32>) {
  // expected-error @+1 {{[pick_c6] expected scores of tokens for `within`, got pages}}
  %0:3 = vashista.pick top 10 pages of(%s, %b) lens(%lens) within(%pages)
      kv_heads 2 page_size 16
      : (tensor<3x8x24xf32>, tensor<3x8x24xf32>, tensor<3xi32>,
         tensor<3x2x6xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c6_slots_within(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x6xi32>, %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[pick_c6] expected P * page_size slots for 6 listed pages of 16 tokens, got 384}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) within(%pages, %n)
      kv_heads 2 page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>,
         tensor<3x2x6xi32>, tensor<3x2xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c7_ids(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x9xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x9xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c7_count(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x10xi32>', 'tensor<3x8xi32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x8xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c7_tail(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x2xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.pick top 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x2xf32>)
  return
}

// -----

func.func @pick_unknown_mode(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{expected ::vashista::PickMode to be one of: top, proving}}
  // expected-error @+1 {{failed to parse Vashista_PickModeAttr parameter 'value'}}
  %0:3 = vashista.pick best 10 tokens of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_unknown_unit(
    %s: tensor<3x8x384xf32>, %b: tensor<3x8x384xf32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{expected ::vashista::SlotUnit to be one of: tokens, pages}}
  // expected-error @+1 {{failed to parse Vashista_SlotUnitAttr parameter 'value'}}
  %0:3 = vashista.pick top 10 heads of(%s, %b) lens(%lens) kv_heads 2
      page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.route
//===----------------------------------------------------------------------===//

func.func @route_operand_type(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi64>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{operand #2 must be 2D tensor of 32-bit signless integer values, but got 'tensor<3x24xi64>'}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi64>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c1_physical_pages(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %std: tensor<41x2x64xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c1] expected dimension 0 of `std` (physical pages (N)) to be 40 as in `mean`, got 41}}
  %0:3 = vashista.route %w from <mean_std>(%mean, %std) table(%table)
      lens(%lens) top 6 page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<41x2x64xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c2_heads_not_multiple(
    %w: tensor<3x9x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x9x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c2_zero_kv_heads(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x0x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x0x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c3_count(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c3] expected 2 tensors (centre, radius) for #vashista.summary<ball>, got 1}}
  %0:3 = vashista.route %w from <ball>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c3_rank(
    %w: tensor<3x8x64xbf16>, %centre: tensor<40x2x64xbf16>,
    %radius: tensor<40x2x1xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c3] expected `radius` of #vashista.summary<ball> to have rank 2, got 'tensor<40x2x1xf32>'}}
  %0:3 = vashista.route %w from <ball>(%centre, %radius) table(%table)
      lens(%lens) top 6 page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<40x2x1xf32>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c3_element_type(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xf64>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c3] expected `mean` of #vashista.summary<mean> to have the element type f32, f16 or bf16, got 'f64'}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xf64>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_zero_page_size(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected page_size to be 1 to 2^31 - 1, got 0}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 0 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_negative_page_size(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected page_size to be 1 to 2^31 - 1, got -1}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_large_page_size(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected page_size to be 1 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_negative_sinks(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected sinks to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 sinks -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_large_sinks(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected sinks to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 sinks 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_negative_window(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected window to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 window -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c4_large_window(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c4] expected window to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 window 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c5_negative_budget(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c5] expected the budget to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top -1
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c5_large_budget(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c5] expected the budget to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      top 2147483648 page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

// 33 sinks fill 3 pages, and a window of 34 tokens touches up to 4.
func.func @route_c5_sinks_and_window(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c5] expected a budget of at least 7 pages to hold the sinks and the window, got 6}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 sinks 33 window 34 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c5_sinks(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c5] expected a budget of at least 7 pages to hold the sinks and the window, got 6}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 sinks 97 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c5_window(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c5] expected a budget of at least 7 pages to hold the sinks and the window, got 6}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 window 82 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_top_with_tolerance(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c6] expected no tolerance for the mode top, got 1.000000e-01}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 tolerance 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_top_with_attended(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[route_c6] expected no `attended` for the mode top, got one}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      attended(%lse) top 6 page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x8xf32>)
      -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_proving_without_tolerance(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c6] expected a tolerance for the mode proving, got none}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      proving 6 page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_zero_tolerance(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c6] expected the tolerance to be between 0 and 1, got 0.000000e+00}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      proving 6 page_size 16 tolerance 0.0 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_one_tolerance(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c6] expected the tolerance to be between 0 and 1, got 1.000000e+00}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      proving 6 page_size 16 tolerance 1.0 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_negative_tolerance(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c6] expected the tolerance to be between 0 and 1, got -1.000000e-01}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      proving 6 page_size 16 tolerance -0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c6_nan_tolerance(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c6] expected the tolerance to be between 0 and 1, got nan}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens)
      proving 6 page_size 16 tolerance 0x7FC00000 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c7_zero_scale(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c7] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c7_zero_soft_cap(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c7] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c7_zero_epsilon(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[route_c7] expected epsilon to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125 epsilon 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c8_ids(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x6xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x5xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x5xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c8_count(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x6xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x6xi32>', 'tensor<3x8xi32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x8xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @route_c8_tail(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x6xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x6xi32>', 'tensor<3x2xi32>', 'tensor<3x2xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.route %w from <mean>(%mean) table(%table) lens(%lens) top 6
      page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x2xf32>)
  return
}

// -----

// Pages are routed by summaries only.
func.func @route_source_kind(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{invalid kind of attribute specified}}
  %0:3 = vashista.route %w from #vashista.keys<hnd>(%mean) table(%table)
      lens(%lens) top 6 page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x6xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.select
//===----------------------------------------------------------------------===//

func.func @select_operand_type(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x6xindex>) {
  // expected-error @+1 {{operand #4 must be 3D tensor of 32-bit signless integer values, but got 'tensor<3x2x6xindex>'}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) within(%pages) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x2x6xindex>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

// A table of sequences needs `rows`.
func.func @select_c1_table_rows(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<5x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c1] expected dimension 0 of `page_table` (rows (R)) to be 3 as in `direction`, got 5}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<5x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c2_heads_not_multiple(
    %w: tensor<3x9x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x9x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c2_zero_kv_heads(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x0x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x0x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c3_count(
    %w: tensor<3x8x64xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16x2xf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c3] expected 3 tensors (codes, scales, norms) for #vashista.sketch<bits = 4, group = 32>, got 2}}
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c3_rank(
    %w: tensor<3x8x64xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x2xf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c3] expected `norms` of #vashista.sketch<bits = 4, group = 32> to have rank 4, got 'tensor<40x2x2xf16>'}}
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %res)
      table(%table) lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
         tensor<40x2x2xf16>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c3_element_type(
    %w: tensor<3x8x64xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16x2xbf16>, %res: tensor<40x2x16x2xf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c3] expected `scales` of #vashista.sketch<bits = 4, group = 32> to have the element type f16 or f8E4M3FN, got 'bf16'}}
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %res)
      table(%table) lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x32xi8>, tensor<40x2x16x2xbf16>,
         tensor<40x2x16x2xf16>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c4_summary(
    %w: tensor<3x8x64xbf16>, %mean: tensor<40x2x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c4] expected a source of tokens (keys or a sketch), got #vashista.summary<mean>}}
  %0:3 = vashista.select %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_dynamic_page_size(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x?x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected a static page size (S), got a dynamic one}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_zero_page_size(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x0x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x0x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_sketch(
    %w: tensor<3x8x64xbf16>, %codes: tensor<40x2x?x32xi8>,
    %scales: tensor<40x2x?x2xf16>, %res: tensor<40x2x?x2xf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected a static page size (S), got a dynamic one}}
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %res)
      table(%table) lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x32xi8>, tensor<40x2x?x2xf16>,
         tensor<40x2x?x2xf16>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_negative_sinks(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected sinks to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 sinks -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_large_sinks(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected sinks to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 sinks 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_negative_window(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected window to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 window -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c5_large_window(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c5] expected window to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 window 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c6_negative_budget(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c6] expected the budget to be 0 to 2^31 - 1, got -1}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c6_large_budget(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c6] expected the budget to be 0 to 2^31 - 1, got 2147483648}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c6_sinks_and_window(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c6] expected a budget of at least 11 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 sinks 4 window 7 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c6_sinks(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c6] expected a budget of at least 11 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 sinks 11 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c6_window(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c6] expected a budget of at least 11 tokens to hold the sinks and the window, got 10}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 window 11 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_top_with_tolerance(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c7] expected no tolerance for the mode top, got 1.000000e-01}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 tolerance 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_top_with_attended(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[select_c7] expected no `attended` for the mode top, got one}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) attended(%lse) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x8xf32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_proving_without_tolerance(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c7] expected a tolerance for the mode proving, got none}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) proving 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_zero_tolerance(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c7] expected the tolerance to be between 0 and 1, got 0.000000e+00}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) proving 10 tolerance 0.0 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_one_tolerance(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c7] expected the tolerance to be between 0 and 1, got 1.000000e+00}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) proving 10 tolerance 1.0 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_negative_tolerance(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c7] expected the tolerance to be between 0 and 1, got -1.000000e-01}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) proving 10 tolerance -0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c7_nan_tolerance(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c7] expected the tolerance to be between 0 and 1, got nan}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) proving 10 tolerance 0x7FC00000 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c8_zero_scale(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c8] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c8_zero_soft_cap(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c8] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c8_zero_epsilon(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c8] expected epsilon to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125 epsilon 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c9_ids(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x9xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x2x9xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c9_count(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x10xi32>', 'tensor<3x8xi32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x8xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c9_tail(
    %w: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2x10xi32>', 'tensor<3x2xi32>', 'tensor<3x2xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) top 10 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<3x24xi32>,
         tensor<3xi32>)
      -> (tensor<3x2x10xi32>, tensor<3x2xi32>, tensor<3x2xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.attend
//===----------------------------------------------------------------------===//

func.func @attend_operand_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3x1xi32>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{operand #4 must be 1D tensor of 32-bit signless integer values or 1D memref of 32-bit signless integer values, but got 'tensor<3x1xi32>'}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3x1xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

// Caches of the other layout.
func.func @attend_c1_kv_heads(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x16x2x64xbf16>,
    %v: tensor<40x16x2x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %tokens: tensor<3x2x10xi32>, %o: tensor<3x8x48xf32>,
    %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c1] expected dimension 1 of `tokens` (KV heads (Hkv)) to be 16 as in `k_cache`, got 2}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      tokens(%tokens) outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x16x2x64xbf16>, tensor<40x16x2x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x2x10xi32>,
         tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c2_heads_not_multiple(
    %q: tensor<3x9x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x9x48xf32>, %lse: tensor<3x9xf32>) {
  // expected-error @+1 {{[attend_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x9x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x9x48xf32>, tensor<3x9xf32>)
      -> (tensor<3x9x48xf32>, tensor<3x9xf32>)
  return
}

// -----

func.func @attend_c2_zero_kv_heads(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x0x16x64xbf16>,
    %v: tensor<40x0x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x0x16x64xbf16>, tensor<40x0x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c3_dynamic_page_size(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x?x64xbf16>,
    %v: tensor<40x2x?x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c3] expected a static page size (S), got a dynamic one}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x64xbf16>, tensor<40x2x?x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c3_zero_page_size(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x0x64xbf16>,
    %v: tensor<40x2x0x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c3] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x0x64xbf16>, tensor<40x2x0x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c4_memref_outs(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: memref<3x8x48xf32>, %lse: memref<3x8xf32>) {
  // expected-error @+1 {{[attend_c4] expected all shaped operands to be tensors or all to be memrefs, got both}}
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, memref<3x8x48xf32>, memref<3x8xf32>)
      -> ()
  return
}

// -----

func.func @attend_c4_memref_caches(
    %q: tensor<3x8x64xbf16>, %k: memref<40x2x16x64xbf16>,
    %v: memref<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c4] expected all shaped operands to be tensors or all to be memrefs, got both}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, memref<40x2x16x64xbf16>, memref<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c5_pages_and_tokens(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x6xi32>, %tokens: tensor<3x2x10xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c5] expected at most one of `pages` and `tokens`, got both}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      pages(%pages) tokens(%tokens) outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x2x6xi32>, tensor<3x2x10xi32>,
         tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c6_no_outs(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attend_c6] expected 2 outs (o, lse), got 0}}
  vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens) outs()
      scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>) -> ()
  return
}

// -----

func.func @attend_c6_outs_of_linear(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %r: tensor<3x8x64xf32>,
    %gap: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c6] expected 2 outs (o, lse), got 4}}
  %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8x64xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xf32>,
          tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c6_outs_of_projection(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c6] expected 4 outs (o, lse, direction, gap), got 2}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c6_output_rank(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x1x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c6] expected the out `o` to have rank 3 and element type f32, got 'tensor<3x8x1x48xf32>'}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x1x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x1x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c6_output_element_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xbf16>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c6] expected the out `o` to have rank 3 and element type f32, got 'tensor<3x8x48xbf16>'}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xbf16>, tensor<3x8xf32>)
      -> (tensor<3x8x48xbf16>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c6_lse_rank(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8x1xf32>) {
  // expected-error @+1 {{[attend_c6] expected the out `lse` to have rank 2 and element type f32, got 'tensor<3x8x1xf32>'}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8x1xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8x1xf32>)
  return
}

// -----

func.func @attend_c6_direction_element_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %r: tensor<3x8x64xbf16>,
    %gap: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c6] expected the out `direction` to have rank 3 and element type f32, got 'tensor<3x8x64xbf16>'}}
  %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8x64xbf16>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xbf16>,
          tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c6_gap_rank(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %r: tensor<3x8x64xf32>,
    %gap: tensor<3xf32>) {
  // expected-error @+1 {{[attend_c6] expected the out `gap` to have rank 2 and element type f32, got 'tensor<3xf32>'}}
  %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8x64xf32>, tensor<3xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xf32>,
          tensor<3xf32>)
  return
}

// -----

func.func @attend_c7_range_of_projection(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %begin: index, %end: index, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %r: tensor<3x8x64xf32>, %gap: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c7] expected no `range` for the projection objective, got one}}
  %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      range(%begin, %end) outs(%o, %lse, %r, %gap) scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, index, index, tensor<3x8x48xf32>,
         tensor<3x8xf32>, tensor<3x8x64xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xf32>,
          tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c8_zero_scale(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c8] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c8_zero_soft_cap(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c8] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c8_soft_cap_of_projection(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %r: tensor<3x8x64xf32>,
    %gap: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c8] expected no soft_cap for the projection objective, got 5.000000e+01}}
  %0:4 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse, %r, %gap) scale 0.125 soft_cap 50.0
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8x64xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8x64xf32>,
          tensor<3x8xf32>)
  return
}

// -----

func.func @attend_result_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{expected type of operand #5 ('tensor<3x8x48xf32>') to match type of corresponding result ('tensor<3x8x?xf32>')}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x?xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_result_count(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{expected the number of tensor results (1) to be equal to the number of output tensors (2)}}
  %0 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> tensor<3x8x48xf32>
  return
}

// -----

func.func @attend_memref_results(
    %q: memref<3x8x64xbf16>, %k: memref<40x2x16x64xbf16>,
    %v: memref<40x2x16x48xbf16>, %table: memref<3x24xi32>, %lens: memref<3xi32>,
    %o: memref<3x8x48xf32>, %lse: memref<3x8xf32>) {
  // expected-error @+1 {{expected the number of tensor results (2) to be equal to the number of output tensors (0)}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (memref<3x8x64xbf16>, memref<40x2x16x64xbf16>, memref<40x2x16x48xbf16>,
         memref<3x24xi32>, memref<3xi32>, memref<3x8x48xf32>, memref<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_unknown_layout(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+3 {{expected ::vashista::Layout to be one of: hnd, nhd}}
  // expected-error @+3 {{failed to parse Vashista_LayoutAttr parameter 'value'}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125 layout shd
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.merge
//===----------------------------------------------------------------------===//

func.func @merge_operand_type(%o: memref<3x8x48xf32>, %lse: memref<3x8xf32>) {
  // expected-error @+1 {{operand #0 must be variadic of 3D/4D tensor of 32-bit float values, but got 'memref<3x8x48xf32>'}}
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (memref<3x8x48xf32>, memref<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c1_heads(%o: tensor<3x8x48xf32>, %lse: tensor<3x9xf32>) {
  // expected-error @+1 {{[merge_c1] expected dimension 1 of `lses #0` (query heads (H)) to be 8 as in `outputs #0`, got 9}}
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (tensor<3x8x48xf32>, tensor<3x9xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c1_states(
    %o: tensor<3x8x48xf32>, %os: tensor<9x3x8x64xf32>, %lse: tensor<3x8xf32>,
    %lses: tensor<9x3x8xf32>) {
  // expected-error @+1 {{[merge_c1] expected dimension 3 of `outputs #1` (value head dimension (Dv)) to be 48 as in `outputs #0`, got 64}}
  %0:2 = vashista.merge outputs(%o, %os) lses(%lse, %lses)
      : (tensor<3x8x48xf32>, tensor<9x3x8x64xf32>, tensor<3x8xf32>,
         tensor<9x3x8xf32>) -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c1_stack(%os: tensor<9x3x8x48xf32>, %lses: tensor<7x3x8xf32>) {
  // expected-error @+1 {{[merge_c1] expected dimension 0 of `lses` (the stack) to be 9 as in `outputs`, got 7}}
  %0:2 = vashista.merge outputs(%os) lses(%lses)
      : (tensor<9x3x8x48xf32>, tensor<7x3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c2_no_states() {
  // expected-error @+1 {{[merge_c2] expected at least one state, got none}}
  %0:2 = vashista.merge outputs() lses()
      : () -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c3_stacked_lse(
    %o: tensor<3x8x48xf32>, %lse: tensor<1x3x8xf32>) {
  // expected-error @+1 {{[merge_c3] expected the lse of 'tensor<3x8x48xf32>' to have rank 2, got 'tensor<1x3x8xf32>'}}
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (tensor<3x8x48xf32>, tensor<1x3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c3_single_lse(
    %os: tensor<9x3x8x48xf32>, %lses: tensor<3x8xf32>) {
  // expected-error @+1 {{[merge_c3] expected the lse of 'tensor<9x3x8x48xf32>' to have rank 3, got 'tensor<3x8xf32>'}}
  %0:2 = vashista.merge outputs(%os) lses(%lses)
      : (tensor<9x3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c4_output(%o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x8x64xf32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.merge outputs(%o) lses(%lse)
      : (tensor<3x8x48xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x64xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @merge_c4_lse(%os: tensor<9x3x8x48xf32>, %lses: tensor<9x3x8xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<9x3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.merge outputs(%os) lses(%lses)
      : (tensor<9x3x8x48xf32>, tensor<9x3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<9x3xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.merge_tails
//===----------------------------------------------------------------------===//

func.func @merge_tails_operand_type(%tail: tensor<3x8xf16>) {
  // expected-error @+1 {{operand #0 must be variadic of 2D/3D tensor of 32-bit float values, but got 'tensor<3x8xf16>'}}
  %0 = vashista.merge_tails %tail : (tensor<3x8xf16>) -> tensor<3x8xf32>
  return
}

// -----

func.func @merge_tails_c1_heads(%tail: tensor<3x8xf32>,
                                %tails: tensor<9x3x7xf32>) {
  // expected-error @+1 {{[merge_tails_c1] expected dimension 2 of `tails #1` (query heads (H)) to be 8 as in `tails #0`, got 7}}
  %0 = vashista.merge_tails %tail, %tails
      : (tensor<3x8xf32>, tensor<9x3x7xf32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @merge_tails_c1_rows(%tails: tensor<9x3x8xf32>,
                               %tail: tensor<9x8xf32>) {
  // expected-error @+1 {{[merge_tails_c1] expected dimension 0 of `tails #1` (rows (R)) to be 3 as in `tails #0`, got 9}}
  %0 = vashista.merge_tails %tails, %tail
      : (tensor<9x3x8xf32>, tensor<9x8xf32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @merge_tails_c2() {
  // expected-error @+1 {{[merge_tails_c2] expected at least one tail, got none}}
  %0 = vashista.merge_tails : () -> tensor<3x8xf32>
  return
}

// -----

func.func @merge_tails_c3(%tails: tensor<9x3x8xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<9x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = vashista.merge_tails %tails
      : (tensor<9x3x8xf32>) -> tensor<9x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.certify
//===----------------------------------------------------------------------===//

func.func @certify_operand_type(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{operand #4 must be 3D tensor of 32-bit float values, but got 'tensor<40x2xf32>'}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c1_norm_kinds(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x3xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c1] expected dimension 2 of `norms` (kinds of norms) to be 2 as in `key norm, value norm`, got 3}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x3xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c2_heads_not_multiple(
    %w: tensor<3x9x64xbf16>, %o: tensor<3x9x48xf32>, %lse: tensor<3x9xf32>,
    %tail: tensor<3x9xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x9x64xbf16>, tensor<3x9x48xf32>, tensor<3x9xf32>,
         tensor<3x9xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x9xf32>, tensor<3x9xf32>)
  return
}

// -----

func.func @certify_c2_zero_kv_heads(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x0x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x0x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c3_zero_page_size(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c3] expected page_size to be 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 0 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c3_negative_page_size(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c3] expected page_size to be 1 to 2^31 - 1, got -1}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size -1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c3_large_page_size(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c3] expected page_size to be 1 to 2^31 - 1, got 2147483648}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 2147483648 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c4_projection_without_gap(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c4] expected `gap` for the projection objective, got none}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c4_linear_with_gap(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %gap: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c4] expected no `gap` for the linear objective, got one}}
  %0:3 = vashista.certify %w state(%o, %lse) tail(%tail) gap(%gap) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c5_zero_scale(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c5] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.0
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c5_zero_soft_cap(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c5] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c5_soft_cap_of_projection(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %gap: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[certify_c5] expected no soft_cap for the projection objective, got 5.000000e+01}}
  %0:3 = vashista.certify %w state(%o, %lse) tail(%tail) gap(%gap) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125 soft_cap 50.0
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c6_tau(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8xf32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x2xf32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @certify_c6_error(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8xf32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x8xf32>', 'tensor<3x2xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8xf32>, tensor<3x2xf32>)
  return
}

// -----

func.func @certify_c6_full_gap(
    %w: tensor<3x8x64xbf16>, %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>,
    %tail: tensor<3x8xf32>, %gap: tensor<3x8xf32>, %norms: tensor<40x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x8xf32>', 'tensor<3x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.certify %w state(%o, %lse) tail(%tail) gap(%gap) norms(%norms)
      table(%table) lens(%lens) page_size 16 scale 0.125
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>, tensor<3x8xf32>, tensor<40x2x2xf32>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8xf32>, tensor<3x8xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.fallback
//===----------------------------------------------------------------------===//

// Only the ops with destinations take memrefs.
func.func @fallback_operand_type(
    %q: tensor<3x8x64xbf16>, %k: memref<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{operand #1 must be 4D tensor of 32-bit float or 16-bit float or bfloat16 type values, but got 'memref<40x2x16x64xbf16>'}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, memref<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c1_value_dimension(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x64xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c1] expected dimension 2 of `o` (value head dimension (Dv)) to be 48 as in `v_cache`, got 64}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x64xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c2_heads_not_multiple(
    %q: tensor<3x9x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x9x48xf32>, %lse: tensor<3x9xf32>, %tau: tensor<3x9xf32>) {
  // expected-error @+1 {{[fallback_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x9x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x9x48xf32>, tensor<3x9xf32>,
         tensor<3x9xf32>)
      -> (tensor<3x9x48xf32>, tensor<3x9xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c2_zero_kv_heads(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x0x16x64xbf16>,
    %v: tensor<40x0x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x0x16x64xbf16>, tensor<40x0x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x0xi1>)
  return
}

// -----

func.func @fallback_c3_dynamic_page_size(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x?x64xbf16>,
    %v: tensor<40x2x?x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c3] expected a static page size (S), got a dynamic one}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x64xbf16>, tensor<40x2x?x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c3_zero_page_size(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x0x64xbf16>,
    %v: tensor<40x2x0x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c3] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x0x64xbf16>, tensor<40x2x0x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c4_negative_limit(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c4] expected a finite limit of at least 0, got -1.000000e-01}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most -0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c4_infinite_limit(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c4] expected a finite limit of at least 0, got INF}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0x7F800000 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c4_nan_limit(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c4] expected a finite limit of at least 0, got nan}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0x7FC00000 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c5_zero_scale(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c5] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c5_zero_soft_cap(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c5] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c5_soft_cap_of_projection(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+1 {{[fallback_c5] expected no soft_cap for the projection objective, got 5.000000e+01}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125 soft_cap 50.0
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c6_output(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x64xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x64xf32>, tensor<3x8xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c6_lse(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x2xf32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x2xf32>, tensor<3x2xi1>)
  return
}

// -----

func.func @fallback_c6_flag(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>, %tau: tensor<3x8xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:3 = vashista.fallback %q keys(%k) values(%v) table(%table) lens(%lens)
      state(%o, %lse) unless(%tau) at_most 0.1 scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x48xf32>, tensor<3x8xf32>,
         tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xi1>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.attention
//===----------------------------------------------------------------------===//

func.func @attention_operand_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{operand #2 must be 4D tensor of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<40x2x16xbf16>'}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

// `rows` has one entry per row, not per sequence.
func.func @attention_c1_row_to_seq(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %rows: tensor<5xi32>) {
  // expected-error @+1 {{[attention_c1] expected dimension 0 of `row_to_seq` (rows (R)) to be 3 as in `query`, got 5}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      rows(%rows) policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<5xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c2_heads_not_multiple(
    %q: tensor<3x9x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c2] expected the number of query heads to be a multiple of the 2 KV heads, got 9}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x9x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x9x48xf32>, tensor<3x9xf32>, tensor<3x9xf32>, tensor<3x9xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c2_zero_kv_heads(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x0x16x64xbf16>,
    %v: tensor<40x0x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x0x16x64xbf16>, tensor<40x0x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x0xi32>, tensor<3x0xi1>)
  return
}

// -----

func.func @attention_c3_dynamic_page_size(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x?x64xbf16>,
    %v: tensor<40x2x?x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c3] expected a static page size (S), got a dynamic one}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x?x64xbf16>, tensor<40x2x?x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c3_zero_page_size(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x0x64xbf16>,
    %v: tensor<40x2x0x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c3] expected a page size (S) of 1 to 2^31 - 1, got 0}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x0x64xbf16>, tensor<40x2x0x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

// Only the generic form can say this.
func.func @attention_c4_unlisted_summary(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[attention_c4] expected no tensors without an attribute that lists them, got 1}}
  %0:6 = "vashista.attention"(%q, %k, %v, %table, %lens, %mean)
        <{operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 1, 0, 0, 0>,
        policy = #vashista.policy<pages = 0>, scale = 0.125 : f32}>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c4_summary_count(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[attention_c4] expected 2 tensors (mean, std) for #vashista.summary<mean_std>, got 1}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean_std>(%mean) policy <pages = 6> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c4_summary_rank(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x1x64xbf16>) {
  // expected-error @+1 {{[attention_c4] expected `mean` of #vashista.summary<mean> to have rank 3, got 'tensor<40x2x1x64xbf16>'}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 6> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x1x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c4_summary_element_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xf64>) {
  // expected-error @+1 {{[attention_c4] expected `mean` of #vashista.summary<mean> to have the element type f32, f16 or bf16, got 'f64'}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 6> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xf64>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

// Only the generic form can say this.
func.func @attention_c4_unlisted_sketch(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>) {
  // expected-error @+1 {{[attention_c4] expected no tensors without an attribute that lists them, got 1}}
  %0:6 = "vashista.attention"(%q, %k, %v, %table, %lens, %codes)
        <{operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 1, 0, 0>,
        policy = #vashista.policy<pages = 0>, scale = 0.125 : f32}>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x16x32xi8>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c4_sketch_count(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[attention_c4] expected 4 tensors (codes, scales, norms, centre) for #vashista.sketch<bits = 4, group = 32, centre = page>, got 3}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32, centre = page>(%codes, %scales, %res)
      policy <pages = 0, candidates = 10> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x16x32xi8>,
         tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c4_sketch_rank(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16xf16>,
    %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[attention_c4] expected `scales` of #vashista.sketch<bits = 4, group = 32> to have rank 4, got 'tensor<40x2x16xf16>'}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      policy <pages = 0, candidates = 10> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x16x32xi8>,
         tensor<40x2x16xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c4_sketch_element_type(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xbf16>) {
  // expected-error @+1 {{[attention_c4] expected `norms` of #vashista.sketch<bits = 4, group = 32> to have the element type f16, f8E4M3FN or i8, got 'bf16'}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      policy <pages = 0, candidates = 10> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x16x32xi8>,
         tensor<40x2x16x2xf16>, tensor<40x2x16x2xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c5_pages_without_summary(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c5] expected a summary for a policy with pages = 6, got none}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 6> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c5_summary_without_pages(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[attention_c5] expected no summary for a policy with pages = 0, got one}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 0, candidates = 10> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c6_sketch_without_candidates(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>, %codes: tensor<40x2x16x32xi8>,
    %scales: tensor<40x2x16x2xf16>, %res: tensor<40x2x16x2xf16>) {
  // expected-error @+1 {{[attention_c6] expected no sketch for a policy with candidates = 0, got one}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) sketch <bits = 4, group = 32>(%codes, %scales, %res)
      policy <pages = 6> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c7_tolerance_without_norms(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c7] expected `norms` for a policy with a tolerance, got none}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0, candidates = 10, tolerance = 0.1> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c7_norms_without_tolerance(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>) {
  // expected-error @+1 {{[attention_c7] expected no `norms` for a policy that leaves nothing to certify (no tolerance, or neither pages nor candidates), got some}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      norms(%norms) policy <pages = 0, candidates = 10> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x2xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c7_norms_of_dense(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>) {
  // expected-error @+1 {{[attention_c7] expected no `norms` for a policy that leaves nothing to certify (no tolerance, or neither pages nor candidates), got some}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      norms(%norms) policy <pages = 0, tolerance = 0.1> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x2xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

// 33 sinks fill 3 pages, and a window of 34 tokens touches up to 4.
func.func @attention_c8_sinks_and_window(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[attention_c8] expected a budget of at least 7 pages to hold the sinks and the window, got 6}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 6, sinks = 33, window = 34>
      scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c8_sinks(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[attention_c8] expected a budget of at least 7 pages to hold the sinks and the window, got 6}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 6, sinks = 97> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c8_window(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>) {
  // expected-error @+1 {{[attention_c8] expected a budget of at least 7 pages to hold the sinks and the window, got 6}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      summary <mean>(%mean) policy <pages = 6, window = 82> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x64xbf16>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c9_zero_scale(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c9] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c9_zero_soft_cap(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c9] expected soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125 soft_cap 0.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c9_soft_cap_of_projection(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c9] expected no soft_cap for the projection objective, got 5.000000e+01}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125 soft_cap 50.0
      solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c10(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>) {
  // expected-error @+1 {{[attention_c10] expected pick = top for the projection objective, got proving}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      norms(%norms)
      policy <pages = 0, candidates = 10, pick = proving, tolerance = 0.1>
      scale 0.125 solver <eg, objective = projection, iterations = 4>
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x2xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c12(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>) {
  // expected-error @+1 {{[attention_c12] expected the projection objective for the target gap, got linear}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      norms(%norms)
      policy <pages = 0, candidates = 10, target = gap, tolerance = 0.1>
      scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<40x2x2xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c11_output(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x64xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x64xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c11_lse(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x2xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x2xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c11_tau(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x2xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x2xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c11_error(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x2xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c11_rounds(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xi32>', 'tensor<3x2xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x8xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c11_flag(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x2xi1>' are incompatible with return type(s) of operation 'tensor<3x8x48xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x8xf32>', 'tensor<3x2xi32>', 'tensor<3x8xi1>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0> scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x8xi1>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// Operands that come in pairs
//===----------------------------------------------------------------------===//

func.func @merge_c2_more_lses(%o: tensor<3x8x48xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[merge_c2] expected an lse for each of 1 outputs, got 2}}
  %0:2 = vashista.merge outputs(%o) lses(%lse, %lse)
      : (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c9_range_without_end(
    %q: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %o: tensor<3x8x64xf32>, %lse: tensor<3x8xf32>,
    %b: index) {
  // expected-error @+1 {{[attend_c9] expected `end` beside `begin`, got none}}
  %0:2 = vashista.attend %q keys(%k) values(%k) table(%table) lens(%lens)
      range(%b, ) outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<40x2x16x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>, index, tensor<3x8x64xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x64xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c9_range_without_begin(
    %q: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %o: tensor<3x8x64xf32>, %lse: tensor<3x8xf32>,
    %e: index) {
  // expected-error @+1 {{[attend_c9] expected `begin` beside `end`, got none}}
  %0:2 = "vashista.attend"(%q, %k, %k, %table, %lens, %e, %o, %lse) <{
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 2>,
      scale = 0.125 : f32}>
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<40x2x16x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>, index, tensor<3x8x64xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x64xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c9_page_count_alone(
    %q: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %o: tensor<3x8x64xf32>, %lse: tensor<3x8xf32>,
    %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[attend_c9] expected `pages` beside `page_count`, got none}}
  %0:2 = "vashista.attend"(%q, %k, %k, %table, %lens, %n, %o, %lse) <{
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 2>,
      scale = 0.125 : f32}>
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<40x2x16x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x2xi32>, tensor<3x8x64xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x64xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c9_token_count_alone(
    %q: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %o: tensor<3x8x64xf32>, %lse: tensor<3x8xf32>,
    %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[attend_c9] expected `tokens` beside `token_count`, got none}}
  %0:2 = "vashista.attend"(%q, %k, %k, %table, %lens, %n, %o, %lse) <{
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 2>,
      scale = 0.125 : f32}>
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<40x2x16x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x2xi32>, tensor<3x8x64xf32>,
         tensor<3x8xf32>) -> (tensor<3x8x64xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @score_c8_page_count_alone(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[score_c8] expected `pages` beside `page_count`, got none}}
  %0:2 = "vashista.score"(%w, %k, %table, %lens, %n) <{
      from = #vashista.keys<hnd>,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 1>,
      scale = 0.125 : f32}>
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x2xi32>)
      -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @pick_c8_page_count_alone(
    %s: tensor<3x8x96xf32>, %lens: tensor<3xi32>, %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[pick_c8] expected `pages` beside `page_count`, got none}}
  %0:3 = "vashista.pick"(%s, %s, %lens, %n) <{
      budget = 4 : i64, kv_heads = 2 : i64, page_size = 16 : i64,
      mode = #vashista<mode top>, unit = #vashista<unit tokens>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 1, 0, 0, 0, 0>}>
      : (tensor<3x8x96xf32>, tensor<3x8x96xf32>, tensor<3xi32>,
         tensor<3x2xi32>) -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c10_page_count_alone(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %n: tensor<3x2xi32>) {
  // expected-error @+1 {{[select_c10] expected `pages` beside `page_count`, got none}}
  %0:3 = "vashista.select"(%w, %k, %table, %lens, %n) <{
      budget = 4 : i64, from = #vashista.keys<hnd>,
      mode = #vashista<mode top>, scale = 0.125 : f32,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0>}>
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x2xi32>)
      -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// Second moments
//===----------------------------------------------------------------------===//

func.func @summarize_c1_moments_channels(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<3x2x96x64xf32>) {
  // expected-error @+1 {{[summarize_c1] expected dimension 2 of `moments` (channels of the sketch (Dp)) to be 64 as in `sketch`, got 96}}
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) moments(%m)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
         tensor<3x2x96x64xf32>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
          tensor<3x2x96x64xf32>)
  return
}

// -----

func.func @summarize_c1_moments_square(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<3x2x64x96xf32>) {
  // expected-error @+1 {{[summarize_c1] expected dimension 3 of `moments` (channels of the sketch (Dp)) to be 64 as in `sketch`, got 96}}
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) moments(%m)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
         tensor<3x2x64x96xf32>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
          tensor<3x2x64x96xf32>)
  return
}

// -----

func.func @summarize_c1_moments_heads(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<3x4x64x64xf32>) {
  // expected-error @+1 {{[summarize_c1] expected dimension 1 of `moments` (KV heads (Hkv)) to be 2 as in `k_cache`, got 4}}
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) moments(%m)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
         tensor<3x4x64x64xf32>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
          tensor<3x4x64x64xf32>)
  return
}

// -----

func.func @summarize_c1_moments_sequences(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<40x2x64x64xf32>) {
  // expected-error @+1 {{[summarize_c1] expected dimension 0 of `moments` (rows (R)) to be 3 as in `seq_lens`, got 40}}
  %0:4 = vashista.summarize keys(%k) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res) moments(%m)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
         tensor<40x2x64x64xf32>)
      -> (tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
          tensor<40x2x64x64xf32>)
  return
}

// -----

func.func @summarize_c7(
    %k: tensor<40x2x16x64xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %mean: tensor<40x2x64xbf16>, %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[summarize_c7] expected a sketch for `moments`, got none}}
  %0:2 = vashista.summarize keys(%k) table(%table) lens(%lens)
      summary <mean>(%mean) moments(%m)
      : (tensor<40x2x16x64xbf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x64xbf16>, tensor<3x2x64x64xf32>)
      -> (tensor<40x2x64xbf16>, tensor<3x2x64x64xf32>)
  return
}

// -----

func.func @append_c6(
    %key: tensor<3x2x64xbf16>, %value: tensor<3x2x48xbf16>, %at: tensor<3xi32>,
    %table: tensor<3x24xi32>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[append_c6] expected a sketch for `moments`, got none}}
  %0:3 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v) moments(%m)
      : (tensor<3x2x64xbf16>, tensor<3x2x48xbf16>, tensor<3xi32>,
         tensor<3x24xi32>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x2x64x64xf32>)
      -> (tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
          tensor<3x2x64x64xf32>)
  return
}

// -----

func.func @moment_c1_lens(
    %w: tensor<3x8x64xf32>, %m: tensor<3x2x64x64xf32>,
    %lens: tensor<4xi32>) {
  // expected-error @+1 {{[moment_c1] expected dimension 0 of `seq_lens` (rows (R)) to be 3 as in `direction`, got 4}}
  %0 = vashista.moment %w of(%m) sketch <bits = 4, group = 32> lens(%lens)
      scale 0.125
      : (tensor<3x8x64xf32>, tensor<3x2x64x64xf32>, tensor<4xi32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @moment_c1_channels(
    %w: tensor<3x8x64xf32>, %m: tensor<3x2x128x128xf32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[moment_c1] expected dimension 2 of `moments` (channels of the sketch (Dp)) to be 64 as in `sketch`, got 128}}
  %0 = vashista.moment %w of(%m) sketch <bits = 4, group = 32> lens(%lens)
      scale 0.125
      : (tensor<3x8x64xf32>, tensor<3x2x128x128xf32>, tensor<3xi32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @moment_c2(
    %w: tensor<3x8x64xf32>, %m: tensor<3x3x64x64xf32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[moment_c2] expected the number of query heads to be a multiple of the 3 KV heads, got 8}}
  %0 = vashista.moment %w of(%m) sketch <bits = 4, group = 32> lens(%lens)
      scale 0.125
      : (tensor<3x8x64xf32>, tensor<3x3x64x64xf32>, tensor<3xi32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @moment_c3_scale(
    %w: tensor<3x8x64xf32>, %m: tensor<3x2x64x64xf32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[moment_c3] expected scale to be a positive normal f32, got 0.000000e+00}}
  %0 = vashista.moment %w of(%m) sketch <bits = 4, group = 32> lens(%lens)
      scale 0.0
      : (tensor<3x8x64xf32>, tensor<3x2x64x64xf32>, tensor<3xi32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @moment_c3_epsilon(
    %w: tensor<3x8x64xf32>, %m: tensor<3x2x64x64xf32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[moment_c3] expected epsilon to be a positive normal f32, got -1.000000e+00}}
  %0 = vashista.moment %w of(%m) sketch <bits = 4, group = 32> lens(%lens)
      scale 0.125 epsilon -1.0
      : (tensor<3x8x64xf32>, tensor<3x2x64x64xf32>, tensor<3xi32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @moment_c4(
    %w: tensor<3x8x64xf32>, %m: tensor<3x2x64x64xf32>,
    %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x8xf32>' are incompatible with return type(s) of operation 'tensor<3x4xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = vashista.moment %w of(%m) sketch <bits = 4, group = 32> lens(%lens)
      scale 0.125
      : (tensor<3x8x64xf32>, tensor<3x2x64x64xf32>, tensor<3xi32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @pick_c9(
    %s: tensor<3x8x24xf32>, %lens: tensor<3xi32>, %m: tensor<3x8xf32>) {
  // expected-error @+1 {{[pick_c9] expected scores of tokens for `moment`, got pages}}
  %0:3 = vashista.pick top 4 pages of(%s, %s) lens(%lens) moment(%m)
      kv_heads 2 page_size 16
      : (tensor<3x8x24xf32>, tensor<3x8x24xf32>, tensor<3xi32>,
         tensor<3x8xf32>) -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @pick_c1_moment(
    %s: tensor<3x8x384xf32>, %lens: tensor<3xi32>, %m: tensor<3x4xf32>) {
  // expected-error @+1 {{[pick_c1] expected dimension 1 of `moment` (query heads (H)) to be 8 as in `scores`, got 4}}
  %0:3 = vashista.pick top 4 tokens of(%s, %s) lens(%lens) moment(%m)
      kv_heads 2 page_size 16
      : (tensor<3x8x384xf32>, tensor<3x8x384xf32>, tensor<3xi32>,
         tensor<3x4xf32>) -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c11_keys(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>, %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[select_c11] expected a sketch for `moments`, got none}}
  %0:3 = vashista.select %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) moments(%m) top 4 scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<3x24xi32>,
         tensor<3xi32>, tensor<3x2x64x64xf32>)
      -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @select_c11_soft_cap(
    %w: tensor<3x8x64xf32>, %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[select_c11] expected no soft_cap with `moments`, got 3.000000e+01}}
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %res)
      table(%table) lens(%lens) moments(%m) top 4 scale 0.125 soft_cap 30.0
      : (tensor<3x8x64xf32>, tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>,
         tensor<40x2x16x2xf16>, tensor<3x24xi32>, tensor<3xi32>,
         tensor<3x2x64x64xf32>)
      -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attention_c13_keys(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>, %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[attention_c13] expected a sketch for `moments`, got none}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      norms(%norms) moments(%m)
      policy <pages = 0, candidates = 10, tolerance = 0.1>
      scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x2xf32>, tensor<3x2x64x64xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c13_soft_cap(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>, %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[attention_c13] expected no soft_cap with `moments`, got 3.000000e+01}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      norms(%norms) moments(%m)
      policy <pages = 0, candidates = 10, tolerance = 0.1>
      scale 0.125 soft_cap 30.0
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
         tensor<40x2x2xf32>, tensor<3x2x64x64xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @attention_c13_tolerance(
    %q: tensor<3x8x64xbf16>, %k: tensor<40x2x16x64xbf16>,
    %v: tensor<40x2x16x48xbf16>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %norms: tensor<40x2x2xf32>, %codes: tensor<40x2x16x32xi8>, %scales: tensor<40x2x16x2xf16>,
    %res: tensor<40x2x16x2xf16>,
    %m: tensor<3x2x64x64xf32>) {
  // expected-error @+1 {{[attention_c13] expected a policy with a tolerance for `moments`, got none}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %res)
      moments(%m)
      policy <pages = 0, candidates = 10>
      scale 0.125
      : (tensor<3x8x64xbf16>, tensor<40x2x16x64xbf16>, tensor<40x2x16x48xbf16>,
         tensor<3x24xi32>, tensor<3xi32>,
         tensor<40x2x16x32xi8>, tensor<40x2x16x2xf16>, tensor<40x2x16x2xf16>,
         tensor<3x2x64x64xf32>)
      -> (tensor<3x8x48xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// Sizes that only some operands know, or that overflow
//===----------------------------------------------------------------------===//

func.func @select_c1_codes_without_key_dim(
    %w: tensor<3x8x?xf32>, %codes: tensor<40x2x16x33xi8>,
    %scales: tensor<40x2x16x2xf16>, %table: tensor<3x24xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[select_c1] expected dimension 3 of `codes` (code bytes per key) to be 32 as in `sketch`, got 33}}
  %0:3 = vashista.select %w
      from #vashista.sketch<bits = 4, group = 32>(%codes, %scales, %scales)
      table(%table) lens(%lens) top 4 scale 0.125
      : (tensor<3x8x?xf32>, tensor<40x2x16x33xi8>, tensor<40x2x16x2xf16>,
         tensor<40x2x16x2xf16>, tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @score_c4_page_size_overflows(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x4611686018427387905x64xf32>,
    %table: tensor<3x4xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c4] expected a page size (S) of 1 to 2^31 - 1, got 4611686018427387905}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x4611686018427387905x64xf32>,
         tensor<3x4xi32>, tensor<3xi32>)
      -> (tensor<3x8x4xf32>, tensor<3x8x4xf32>)
  return
}

// -----

func.func @pick_c6_slots_overflow(
    %s: tensor<3x8x96xf32>, %lens: tensor<3xi32>,
    %pages: tensor<3x2x1152921504606846982xi32>) {
  // expected-error @+1 {{[pick_c6] expected P * page_size slots for 1152921504606846982 listed pages of 16 tokens, got 96}}
  %0:3 = vashista.pick top 4 tokens of(%s, %s) lens(%lens) within(%pages)
      kv_heads 2 page_size 16
      : (tensor<3x8x96xf32>, tensor<3x8x96xf32>, tensor<3xi32>,
         tensor<3x2x1152921504606846982xi32>)
      -> (tensor<3x2x4xi32>, tensor<3x2xi32>, tensor<3x8xf32>)
  return
}

// -----

func.func @score_c2_no_kv_heads(
    %w: tensor<3x?x64xf32>, %k: tensor<40x0x16x64xf32>, %table: tensor<3x4xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c2] expected at least 1 query head and 1 KV head, got 0}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x?x64xf32>, tensor<40x0x16x64xf32>, tensor<3x4xi32>,
         tensor<3xi32>) -> (tensor<3x?x64xf32>, tensor<3x?x64xf32>)
  return
}

// -----

func.func @score_c9_no_page_size(
    %w: tensor<3x8x64xf32>, %mean: tensor<40x2x64xf32>, %table: tensor<3x4xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c9] expected a page_size for #vashista.summary<mean>, got none}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x64xf32>, tensor<3x4xi32>,
         tensor<3xi32>) -> (tensor<3x8x4xf32>, tensor<3x8x4xf32>)
  return
}

// -----

func.func @score_c9_page_size_twice(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>, %table: tensor<3x4xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c9] expected no page_size for #vashista.keys<hnd>, got one}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) page_size 16 scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<3x4xi32>,
         tensor<3xi32>) -> (tensor<3x8x64xf32>, tensor<3x8x64xf32>)
  return
}

// -----

func.func @score_c9_page_size_zero(
    %w: tensor<3x8x64xf32>, %mean: tensor<40x2x64xf32>, %table: tensor<3x4xi32>,
    %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c9] expected page_size to be 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.score %w from #vashista.summary<mean>(%mean) table(%table)
      lens(%lens) page_size 0 scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x64xf32>, tensor<3x4xi32>,
         tensor<3xi32>) -> (tensor<3x8x4xf32>, tensor<3x8x4xf32>)
  return
}

// -----

func.func @attend_c1_no_channels(
    %q: tensor<3x8x0xf32>, %k: tensor<40x2x16x0xf32>,
    %v: tensor<40x2x16x64xf32>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x64xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c1] expected the key head dimension (D) to be 1 to 65536, got 0}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x0xf32>, tensor<40x2x16x0xf32>, tensor<40x2x16x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x64xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x64xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @attend_c1_no_values(
    %q: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>,
    %v: tensor<40x2x16x0xf32>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>,
    %o: tensor<3x8x0xf32>, %lse: tensor<3x8xf32>) {
  // expected-error @+1 {{[attend_c1] expected the value head dimension (Dv) to be 1 to 65536, got 0}}
  %0:2 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o, %lse) scale 0.125
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<40x2x16x0xf32>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<3x8x0xf32>, tensor<3x8xf32>)
      -> (tensor<3x8x0xf32>, tensor<3x8xf32>)
  return
}

// -----

func.func @score_c1_too_many_channels(
    %w: tensor<3x8x65537xf32>, %k: tensor<40x2x16x65537xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c1] expected the key head dimension (D) to be 1 to 65536, got 65537}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 0.125
      : (tensor<3x8x65537xf32>, tensor<40x2x16x65537xf32>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @attention_c3_dynamic_in_the_caches(
    %q: tensor<3x8x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>,
    %codes: tensor<?x2x16x32xi8>, %scales: tensor<?x2x16x2xf16>,
    %residuals: tensor<?x2x16x2xf16>, %norms: tensor<?x2x2xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c3] expected a static page size (S), got a dynamic one}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      sketch <bits = 4, group = 32>(%codes, %scales, %residuals) norms(%norms)
      policy <pages = 0, candidates = 64, tolerance = 0.1> scale 0.125
      : (tensor<3x8x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>, tensor<?x2x16x32xi8>,
         tensor<?x2x16x2xf16>, tensor<?x2x16x2xf16>, tensor<?x2x2xf32>)
      -> (tensor<3x8x64xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x8xf32>, tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

func.func @score_c6_factor_that_overflows(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale / epsilon to be a positive normal f32, got INF}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 10.0 epsilon 2.0e-38
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @score_c6_factor_that_vanishes(
    %w: tensor<3x8x64xf32>, %k: tensor<40x2x16x64xf32>,
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[score_c6] expected scale / soft_cap to be a positive normal f32, got 0.000000e+00}}
  %0:2 = vashista.score %w from #vashista.keys<hnd>(%k) table(%table)
      lens(%lens) scale 1.3e-7 soft_cap 3.0e38
      : (tensor<3x8x64xf32>, tensor<40x2x16x64xf32>, tensor<3x24xi32>,
         tensor<3xi32>) -> (tensor<3x8x384xf32>, tensor<3x8x384xf32>)
  return
}

// -----

func.func @attention_c9_factor_that_overflows(
    %q: tensor<3x8x64xf32>, %k: tensor<?x2x16x64xf32>,
    %v: tensor<?x2x16x64xf32>, %table: tensor<3x24xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[attention_c9] expected soft_cap / epsilon to be a positive normal f32, got INF}}
  %0:6 = vashista.attention %q keys(%k) values(%v) table(%table) lens(%lens)
      policy <pages = 0, candidates = 0> scale 0.125 soft_cap 30.0
      solver <softmax, epsilon = 2.0e-38>
      : (tensor<3x8x64xf32>, tensor<?x2x16x64xf32>, tensor<?x2x16x64xf32>,
         tensor<3x24xi32>, tensor<3xi32>)
      -> (tensor<3x8x64xf32>, tensor<3x8xf32>, tensor<3x8xf32>,
          tensor<3x8xf32>, tensor<3x2xi32>, tensor<3x2xi1>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// vashista.check_table, vashista.check_positions, vashista.check_list
//===----------------------------------------------------------------------===//

func.func @check_table_operand_type(
    %table: tensor<3x24xi64>, %lens: tensor<3xi32>, %n: index) {
  // expected-error @+1 {{operand #0 must be 2D tensor of 32-bit signless integer values, but got 'tensor<3x24xi64>'}}
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 16
      : (tensor<3x24xi64>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

// Without rows there is a row of the table for each length.
func.func @check_table_c1_rows(
    %table: tensor<4x24xi32>, %lens: tensor<3xi32>, %n: index) {
  // expected-error @+1 {{[check_table_c1] expected dimension 0 of `page_table` (rows (R)) to be 3 as in `seq_lens`, got 4}}
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 16
      : (tensor<4x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_table_c2_zero_page_size(
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %n: index) {
  // expected-error @+1 {{[check_table_c2] expected page_size to be 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 0
      : (tensor<3x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_table_c2_large_page_size(
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %n: index) {
  // expected-error @+1 {{[check_table_c2] expected page_size to be 1 to 2^31 - 1, got 2147483648}}
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n
      page_size 2147483648
      : (tensor<3x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_table_c3_faults(
    %table: tensor<3x24xi32>, %lens: tensor<3xi32>, %n: index) {
  // expected-error @+2 {{inferred type(s) 'tensor<3xi32>', 'tensor<3x4xi32>' are incompatible with return type(s) of operation 'tensor<3xi32>', 'tensor<3x3xi32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.check_table %table lens(%lens) num_pages %n page_size 16
      : (tensor<3x24xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x3xi32>)
  return
}

// -----

// Rows are returned where they are given.
func.func @check_table_c3_rows(
    %table: tensor<2x24xi32>, %lens: tensor<3xi32>, %rows: tensor<3xi32>,
    %n: index) {
  // expected-error @+2 {{inferred type(s) 'tensor<3xi32>', 'tensor<3xi32>', 'tensor<3x4xi32>' are incompatible with return type(s) of operation 'tensor<3xi32>', 'tensor<3x4xi32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.check_table %table lens(%lens) rows(%rows) num_pages %n
      page_size 16 : (tensor<2x24xi32>, tensor<3xi32>, tensor<3xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_positions_c1_rows(
    %at: tensor<3xi32>, %table: tensor<2x24xi32>, %rows: tensor<4xi32>,
    %n: index) {
  // expected-error @+1 {{[check_positions_c1] expected dimension 0 of `row_to_seq` (rows (R)) to be 3 as in `positions`, got 4}}
  %0:3 = vashista.check_positions %at table(%table) rows(%rows) num_pages %n
      page_size 16 : (tensor<3xi32>, tensor<2x24xi32>, tensor<4xi32>, index)
      -> (tensor<3xi32>, tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_positions_c2_negative_page_size(
    %at: tensor<3xi32>, %table: tensor<3x24xi32>, %n: index) {
  // expected-error @+1 {{[check_positions_c2] expected page_size to be 1 to 2^31 - 1, got -1}}
  %0:2 = vashista.check_positions %at table(%table) num_pages %n page_size -1
      : (tensor<3xi32>, tensor<3x24xi32>, index)
      -> (tensor<3xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_positions_c3(
    %at: tensor<3xi32>, %table: tensor<3x24xi32>, %n: index) {
  // expected-error @+2 {{inferred type(s) 'tensor<3xi32>', 'tensor<3x4xi32>' are incompatible with return type(s) of operation 'tensor<2xi32>', 'tensor<3x4xi32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.check_positions %at table(%table) num_pages %n page_size 16
      : (tensor<3xi32>, tensor<3x24xi32>, index)
      -> (tensor<2xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_list_c1_heads(
    %tokens: tensor<3x2x10xi32>, %n: tensor<3x4xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[check_list_c1] expected dimension 1 of `list_count` (KV heads (Hkv)) to be 2 as in `list`, got 4}}
  %0:2 = vashista.check_list tokens of(%tokens, %n) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3x4xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_list_c2_zero_page_size(
    %tokens: tensor<3x2x10xi32>, %lens: tensor<3xi32>) {
  // expected-error @+1 {{[check_list_c2] expected page_size to be 1 to 2^31 - 1, got 0}}
  %0:2 = vashista.check_list tokens of(%tokens) lens(%lens) page_size 0
      : (tensor<3x2x10xi32>, tensor<3xi32>)
      -> (tensor<3x2xi32>, tensor<3x4xi32>)
  return
}

// -----

func.func @check_list_c3_count(
    %tokens: tensor<3x2x10xi32>, %lens: tensor<3xi32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<3x2xi32>', 'tensor<3x4xi32>' are incompatible with return type(s) of operation 'tensor<3x4xi32>', 'tensor<3x4xi32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0:2 = vashista.check_list tokens of(%tokens) lens(%lens) page_size 16
      : (tensor<3x2x10xi32>, tensor<3xi32>)
      -> (tensor<3x4xi32>, tensor<3x4xi32>)
  return
}
