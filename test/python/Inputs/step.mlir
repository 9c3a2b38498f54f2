// What the tests of the Python package run: attention over a cache in bf16, a
// token written to it, and results of several types.

func.func @dense(
    %q: tensor<?x4x16xbf16>, %k: tensor<?x2x4x16xbf16>,
    %v: tensor<?x2x4x8xbf16>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %minus_inf = arith.constant 0xFF800000 : f32
  %n = tensor.dim %q, %c0 : tensor<?x4x16xbf16>
  %o = tensor.empty(%n) : tensor<?x4x8xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%o : tensor<?x4x8xf32>)
      -> tensor<?x4x8xf32>
  %lse = tensor.empty(%n) : tensor<?x4xf32>
  %lse0 = linalg.fill ins(%minus_inf : f32) outs(%lse : tensor<?x4xf32>)
      -> tensor<?x4xf32>
  %o1, %lse1 = vashista.attend %q keys(%k) values(%v) table(%table) lens(%lens)
      outs(%o0, %lse0) scale 0.25
      : (tensor<?x4x16xbf16>, tensor<?x2x4x16xbf16>, tensor<?x2x4x8xbf16>,
         tensor<?x?xi32>, tensor<?xi32>, tensor<?x4x8xf32>, tensor<?x4xf32>)
      -> (tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %o1, %lse1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

func.func @append(
    %key: tensor<?x2x16xbf16>, %value: tensor<?x2x8xbf16>, %at: tensor<?xi32>,
    %table: tensor<?x?xi32>, %k: tensor<?x2x4x16xbf16>,
    %v: tensor<?x2x4x8xbf16>)
    -> (tensor<?x2x4x16xbf16>, tensor<?x2x4x8xbf16>) {
  %k1, %v1 = vashista.append key(%key) value(%value) at(%at) table(%table)
      into(%k, %v)
      : (tensor<?x2x16xbf16>, tensor<?x2x8xbf16>, tensor<?xi32>,
         tensor<?x?xi32>, tensor<?x2x4x16xbf16>, tensor<?x2x4x8xbf16>)
      -> (tensor<?x2x4x16xbf16>, tensor<?x2x4x8xbf16>)
  return %k1, %v1 : tensor<?x2x4x16xbf16>, tensor<?x2x4x8xbf16>
}

func.func @narrow(%x: tensor<?xf32>) -> tensor<?xbf16> {
  %0 = arith.truncf %x : tensor<?xf32> to tensor<?xbf16>
  return %0 : tensor<?xbf16>
}

func.func @compare(%x: tensor<?x3xf16>, %y: tensor<?x3xf16>)
    -> (tensor<?x3xi1>, tensor<?x3xi8>) {
  %0 = arith.cmpf olt, %x, %y : tensor<?x3xf16>
  %1 = arith.extui %0 : tensor<?x3xi1> to tensor<?x3xi8>
  return %0, %1 : tensor<?x3xi1>, tensor<?x3xi8>
}
