//===- HeadCertificate.h - A warp certifies a head --------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CERTIFY_HEADCERTIFICATE_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CERTIFY_HEADCERTIFICATE_H

#include "Warp/WarpBuilder.h"

#include "vashista/Dialect/Vashista/IR/Vashista.h"

#include <array>

namespace vashista {

/// What a `certify` says of one head, by a warp all of whose lanes are there:
/// of vectors each has every 32nd channel.
class HeadCertificate {
public:
  using Value = mlir::Value;

  HeadCertificate(CertifyOp op, WarpBuilder &b) : op(op), b(b) {}

  /// What it reads in the kernel, as the op has it; no gap but of a
  /// projection.
  struct State {
    Value direction, o, lse, tail, gap;
  };
  /// The largest key and value norm that a scan has left of a row's pages.
  /// `largest`: [R, Hkv, blocks, 2] f32.
  std::array<Value, 2> joinLargest(Value largest, Value row, Value kvHead);
  /// What is there before anything waits for it.
  struct Loaded {
    // Of a lane every 32nd channel, and whether it is there.
    llvm::SmallVector<std::pair<Value, Value>> direction, o;
    Value lse, tail, gap;
  };
  Loaded load(const State &state, Value row, Value head);
  /// The op's results, f32, the same in all lanes. `length`: the row's tokens,
  /// index.
  llvm::SmallVector<Value> certify(const Loaded &loaded, Value length,
                                   const std::array<Value, 2> &norms);
  /// By one lane.
  void store(llvm::ArrayRef<Value> made, llvm::ArrayRef<Value> to, Value row,
             Value head);

private:
  Value getLane() { return b.remU(b.threadId(), b.index(kWarp)); }
  llvm::SmallVector<std::pair<Value, Value>> loadVector(Value vectors,
                                                        Value row, Value head);
  /// In f64.
  Value getNorm(llvm::ArrayRef<std::pair<Value, Value>> vector);

  CertifyOp op;
  WarpBuilder &b;
};

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOGPU_CERTIFY_HEADCERTIFICATE_H
