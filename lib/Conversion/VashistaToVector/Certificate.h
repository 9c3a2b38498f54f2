//===- Certificate.h - What a certificate says of a head --------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// With umax and vmax the largest norms of the row's keys and values:
//
//   e = 2 (D + 8) 2^-24 scale norm(w) umax / epsilon + n 2^-26 + 2^-20
//   x = tail - lse + 2 e
//
// n the row's tokens: sums of exponentials, in vectors of 4 lanes or more, of
// splits of 64 tokens or more, are off by at most n 2^-25. An instruction that
// takes subnormal numbers for 0 adds a little.
//
// softmax: tau = sigmoid(x), error = tau (vmax (1 + 2^-8 + 7 e) + norm(o)),
// where o may be off: its weights are rounded to bf16, or by 2 e, and summed.
//
// Projection with an entropy, D = 2 sqrt(scale) umax and m a bound of the mass
// of the full solution that is not attended:
//
//   full_gap = gap + epsilon log(1 + exp(x))
//   m        = min(sigmoid(x + D sqrt(gap) / epsilon), 1 - exp(-full_gap /
//              epsilon))
//   tau      = min(1, sqrt(full_gap / (2 epsilon)),
//                  sqrt(gap / (2 epsilon)) + m (1 + D / (4 sqrt(epsilon))))
//   error    = 2 tau vmax
//
// Without one, full_gap = gap + max(0, x), of undivided logits.
//
// Everything but an exp is in f64 and rounded upwards. Where e > 0.1, or
// anything is not finite, nothing is known: tau = 1, error = +inf.
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_CERTIFICATE_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_CERTIFICATE_H

#include "KernelBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

namespace vashista {

/// The arithmetic of a `vashista.certify`, of numbers that are loaded already.
class Certificate {
public:
  using Value = mlir::Value;

  Certificate(CertifyOp op, KernelBuilder &b) : op(op), b(b) {}

  /// What is known of a query head, in f64.
  struct Head {
    Value lse, tail, gap;                        // gap: of a projection
    Value direction, output, keyNorm, valueNorm; // norms
    Value tokens;                                // visible ones
  };
  /// tau, error and for a projection full_gap, f32.
  llvm::SmallVector<Value> certify(const Head &head);

private:
  /// e.
  Value getRounding(const Head &head);
  llvm::SmallVector<Value> certifySoftmax(const Head &head);
  llvm::SmallVector<Value> certifyProjection(const Head &head);
  /// x = tail - lse + 2 e.
  Value getExcess(const Head &head);
  /// Not less than 1 / (1 + exp(-x)) of an f64 number, and at most 1, in f32.
  Value getShare(Value x);
  /// Not less than log(1 + exp(x)), in f64.
  Value getLogOfSum(Value x);

  double getScale() { return op.getScale().convertToDouble(); }
  /// Logits are divided by it.
  double getTemperature() {
    double epsilon = op.getSolver().getEpsilon().convertToDouble();
    return epsilon == 0.0 ? 1.0 : epsilon;
  }
  Value isBelow(Value value, double limit);

  CertifyOp op;
  KernelBuilder &b;
  Value rounding; // of the head that is certified
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_CERTIFICATE_H
