//===- BufferizableOpInterfaceImpl.h - Bufferization of vashista ops -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_DIALECT_VASHISTA_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
#define VASHISTA_DIALECT_VASHISTA_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace vashista {

/// Lets one-shot bufferization rewrite `summarize`, `append` and `attend`: the
/// destinations in place, the page table and the inputs read only.
void registerBufferizableOpInterfaceExternalModels(
    mlir::DialectRegistry &registry);

} // namespace vashista

#endif // VASHISTA_DIALECT_VASHISTA_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
