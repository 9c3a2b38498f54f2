// RUN: vashista-opt %s -convert-vashista-to-vector -split-input-file -verify-diagnostics

// Rounded to nearest, a box of another type would be no bound.
func.func @rounded_box(
    %key: memref<2x2x64xf32>, %at: memref<2xi32>, %table: memref<2x?xi32>,
    %k: memref<?x2x16x64xf32>, %v: memref<?x2x16x64xf32>,
    %lo: memref<?x2x64xbf16>, %hi: memref<?x2x64xbf16>) {
  // expected-error @+1 {{has no CPU kernel for a box that does not hold keys exactly}}
  vashista.append key(%key) value(%key) at(%at) table(%table) into(%k, %v)
      summary <box>(%lo, %hi)
      : (memref<2x2x64xf32>, memref<2x2x64xf32>, memref<2xi32>,
         memref<2x?xi32>, memref<?x2x16x64xf32>, memref<?x2x16x64xf32>,
         memref<?x2x64xbf16>, memref<?x2x64xbf16>) -> ()
  return
}

// -----

func.func @dynamic_head_dim(
    %k: memref<?x2x16x?xf32>, %table: memref<2x?xi32>, %lens: memref<2xi32>,
    %mean: memref<?x2x?xf32>) {
  // expected-error @+1 {{has no CPU kernel for dynamic head sizes}}
  vashista.summarize keys(%k) table(%table) lens(%lens) summary <mean>(%mean)
      : (memref<?x2x16x?xf32>, memref<2x?xi32>, memref<2xi32>,
         memref<?x2x?xf32>) -> ()
  return
}
