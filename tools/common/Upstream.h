//===- Upstream.h - What the tools register beside vashista -----*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TOOLS_COMMON_UPSTREAM_H
#define VASHISTA_TOOLS_COMMON_UPSTREAM_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace vashista {

/// Adds the upstream dialects that appear beside ours, from tensors down to
/// NVVM, with every interface model and extension that their passes look up.
void registerUpstreamDialects(mlir::DialectRegistry &registry);

/// Adds the passes and pipelines of those dialects.
void registerUpstreamPasses();

} // namespace vashista

#endif // VASHISTA_TOOLS_COMMON_UPSTREAM_H
