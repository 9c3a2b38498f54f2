//===- CudaCode.cpp - Images of kernels -----------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaCode.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace vashista;

llvm::Expected<CudaTarget> vashista::parseCudaTarget(StringRef architecture) {
  CudaTarget target;
  target.architecture = architecture.str();
  StringRef number = architecture;
  target.isPTX = number.consume_front("compute_");
  bool isKnown = target.isPTX || number.consume_front("sm_");
  target.chip = ("sm_" + number).str();
  unsigned digits = 0;
  // Of an architecture alone, or of its family.
  if (!number.consume_back("a"))
    number.consume_back("f");
  // Pairs of bf16 and asynchronous copies begin with 80.
  if (!isKnown || number.getAsInteger(10, digits) || digits < 80 ||
      digits > 130)
    return llvm::createStringError(
        "expected an architecture of 80 or more in a target, as in "
        "'cuda:sm_90a' (a cubin) or 'cuda:compute_90' (PTX), got 'cuda:" +
        architecture + "'");
  // The oldest PTX that knows it: the most drivers take it.
  target.features = digits <= 90    ? "+ptx80"
                    : digits <= 101 ? "+ptx86"
                                    : "+ptx87";
  return target;
}

/// Said at once, and with what helps.
static LogicalResult requireAssembler(ModuleOp module) {
  for (const char *variable : {"CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"})
    if (const char *root = std::getenv(variable))
      if (llvm::sys::findProgramByName("ptxas", {std::string(root) + "/bin"}))
        return success();
  if (llvm::sys::findProgramByName("ptxas"))
    return success();
  return module.emitError(
      "expected the assembler ptxas of a CUDA toolkit on the PATH or in "
      "CUDA_HOME for a cubin, got none; a target such as cuda:compute_90 needs "
      "none: its PTX is assembled by the driver");
}

void vashista::setOptions(CudaPipelineOptions &options,
                          const CudaTarget &target) {
  options.chip = target.chip;
  options.features = target.features;
}

FailureOr<std::string>
vashista::generateImage(ModuleOp module, const CudaTarget &target, bool asPTX) {
  if (!asPTX && failed(requireAssembler(module)))
    return failure();
  CudaPipelineOptions options;
  setOptions(options, target);
  options.format = asPTX ? "isa" : "bin";
  PassManager code(module->getName());
  buildCudaDevicePipeline(code, options);
  if (failed(code.run(module)))
    return failure();
  // Nothing to launch leaves no kernels.
  std::string image;
  for (auto binary : module.getOps<gpu::BinaryOp>())
    image = cast<gpu::ObjectAttr>(binary.getObjects()[0])
                .getObject()
                .getValue()
                .str();
  if (image.empty())
    return module.emitError("expected a module with work for a device, got one "
                            "without");
  while (!image.empty() && asPTX && image.back() == '\0')
    image.pop_back();
  return image;
}
