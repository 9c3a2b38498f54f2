//===- Descriptor.h - Tensors as kernels see them ---------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_LIB_DESCRIPTOR_H
#define VASHISTA_RUNTIME_LIB_DESCRIPTOR_H

#include "vashista_artefact.h"

namespace vashista::runtime {

/// A memref descriptor of any rank.
struct Descriptor {
  void *allocated;
  void *aligned;
  int64_t offset; // always 0
  /// Sizes, then strides in elements, without a gap.
  int64_t extents[2 * VSO_MAX_RANK];
};

/// One argument or result of a call.
struct Operand {
  Descriptor *descriptor;
  const char *name;
  uint32_t rank;
  uint32_t elementBytes;

  int64_t size(uint32_t dim) const { return descriptor->extents[dim]; }
  int64_t stride(uint32_t dim) const { return descriptor->extents[rank + dim]; }
  /// For operands of i32.
  int32_t at(int64_t i) const { return data()[i * stride(0)]; }
  int32_t at(int64_t i, int64_t j) const {
    return data()[i * stride(0) + j * stride(1)];
  }
  int32_t at(int64_t i, int64_t j, int64_t k) const {
    return data()[i * stride(0) + j * stride(1) + k * stride(2)];
  }

private:
  const int32_t *data() const {
    return static_cast<const int32_t *>(descriptor->aligned);
  }
};

} // namespace vashista::runtime

#endif // VASHISTA_RUNTIME_LIB_DESCRIPTOR_H
