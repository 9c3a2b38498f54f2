//===- AttendKernel.h - What the kernels of vashista.attend share -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ATTENDKERNEL_H
#define VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ATTENDKERNEL_H

#include "RowVectors.h"
#include "TileWalk.h"

#include <memory>

namespace vashista {

/// A kernel of one solver: a task per row and KV head, which walks its slots in
/// tiles, as often as the solver needs. Invisible slots never become addresses,
/// so nothing of them is ever loaded.
class AttendKernel {
public:
  using Value = mlir::Value;
  AttendKernel(AttendOp op, KernelBuilder &b);
  virtual ~AttendKernel() = default;
  void emit();

protected:
  /// The task of the walk's row and KV head. Its scratch lives as long as it.
  virtual void emitTask() = 0;
  /// The indices of a query head's vector in a destination or the query.
  Value getQueryHead(Value head) { return b.addI(firstHead, head); }

  AttendOp op;
  KernelBuilder &b;
  // All of which kernels need to know statically.
  const int64_t group, keyDim, valueDim;
  TileWalk walk;
  RowVectors keys, values;
  Value firstHead; // of the task's query heads
};

std::unique_ptr<AttendKernel> makeSoftmaxKernel(AttendOp op, KernelBuilder &b);
std::unique_ptr<AttendKernel> makeGradientKernel(AttendOp op, KernelBuilder &b);
std::unique_ptr<AttendKernel> makeFrankWolfeKernel(AttendOp op,
                                                   KernelBuilder &b);

/// Vertices that the heads of a group may hold at most: they are scratch of a
/// task.
inline constexpr int64_t kMostVertices = 1 << 14;

} // namespace vashista

#endif // VASHISTA_LIB_CONVERSION_VASHISTATOVECTOR_ATTENDKERNEL_H
