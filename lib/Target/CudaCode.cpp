//===- CudaCode.cpp - Images of kernels -----------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaCode.h"
#include "Assembler.h"
#include "KernelCode.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;
using namespace vashista;

/// LLVM ends the program where it is asked for code of another.
static bool isKnownChip(StringRef chip) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTargetMC();
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return false;
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      target->createMCSubtargetInfo(triple, /*CPU=*/"", /*Features=*/""));
  return info && info->isCPUStringValid(chip);
}

llvm::Expected<CudaTarget> vashista::parseCudaTarget(StringRef architecture) {
  CudaTarget target;
  target.architecture = architecture.str();
  StringRef number = architecture;
  target.isPTX = number.consume_front("compute_");
  bool isKnown = target.isPTX || number.consume_front("sm_");
  target.chip = ("sm_" + number).str();
  unsigned digits = 0;
  // Of an architecture alone, or of its family.
  bool isFamily = !number.consume_back("a") && number.consume_back("f");
  // Pairs of bf16 and asynchronous copies begin with 80.
  if (!isKnown || number.getAsInteger(10, digits) || digits < 80 ||
      digits > 130)
    return llvm::createStringError(
        "expected an architecture of 80 or more in a target, as in "
        "'cuda:sm_90a' (a cubin) or 'cuda:compute_90' (PTX), got 'cuda:" +
        architecture + "'");
  if (!isKnownChip(target.chip))
    return llvm::createStringError(
        "expected an architecture that LLVM " LLVM_VERSION_STRING
        " knows in a target, as in 'cuda:sm_90a', got 'cuda:" +
        architecture + "'");
  // The oldest PTX that knows it: the most drivers take it.
  bool isLate = digits == 88 || digits == 110;
  target.features = isLate                                       ? "+ptx90"
                    : isFamily || digits == 103 || digits == 121 ? "+ptx88"
                    : digits <= 90                               ? "+ptx80"
                    : digits <= 101                              ? "+ptx86"
                                                                 : "+ptx87";
  return target;
}

void vashista::setOptions(CudaPipelineOptions &options,
                          const CudaTarget &target) {
  options.chip = target.chip;
  options.features = target.features;
}

FailureOr<std::string>
vashista::generateImage(ModuleOp module, const CudaTarget &target, bool asPTX) {
  CudaPipelineOptions options;
  setOptions(options, target);
  options.format = KernelFormat::nvvm;
  std::string assembler;
  if (!asPTX) {
    FailureOr<std::string> found = findAssembler(module);
    if (failed(found))
      return failure();
    assembler = std::move(*found);
  }
  PassManager code(module->getName());
  buildCudaDevicePipeline(code, options);
  if (failed(code.run(module)))
    return failure();
  auto kernels = module.getOps<gpu::GPUModuleOp>();
  // Nothing to launch leaves no kernels.
  if (kernels.empty()) {
    auto functions = module.getOps<FunctionOpInterface>();
    return emitError((*functions.begin()).getLoc())
           << "expected a module with work for a device, got one without";
  }
  FailureOr<std::string> text = generatePTX(*kernels.begin());
  if (failed(text) || asPTX)
    return text;
  return assemble(module, *text, target.chip, assembler);
}
