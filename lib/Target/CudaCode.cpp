//===- CudaCode.cpp - Images of kernels -----------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaCode.h"
#include "KernelCode.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
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

/// As upstream looks for it. Where there is none, that is said at once, and
/// with what helps.
static FailureOr<std::string> findAssembler(ModuleOp module) {
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  const char *root = nullptr; // the first that is set
  for (const char *variable : {"CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"})
    if ((root = std::getenv(variable)))
      break;
  if (root && *root)
    if (auto found =
            llvm::sys::findProgramByName("ptxas", {std::string(root) + "/bin"}))
      return *found;
  return module.emitError(
      "expected the assembler ptxas of a CUDA toolkit on the PATH or in "
      "CUDA_HOME for a cubin, got none; a target such as cuda:compute_90 needs "
      "none: its PTX is assembled by the driver");
}

/// Kernels on all processors, where the assembler knows how: how many there are
/// changes no byte of what it makes.
static std::string getAssemblerOptions(StringRef assembler) {
  constexpr llvm::StringLiteral option = "--split-compile";
  SmallString<128> path;
  if (llvm::sys::fs::createTemporaryFile("ptxas", "txt", path))
    return "";
  llvm::FileRemover remover(path);
  std::optional<StringRef> files[] = {StringRef(), path.str(), StringRef()};
  if (llvm::sys::ExecuteAndWait(assembler, {assembler, "--help"}, std::nullopt,
                                files))
    return "";
  auto help = llvm::MemoryBuffer::getFile(path);
  bool isKnown = help && (*help)->getBuffer().contains(option);
  return isKnown ? (option + "=0").str() : "";
}

void vashista::setOptions(CudaPipelineOptions &options,
                          const CudaTarget &target) {
  options.chip = target.chip;
  options.features = target.features;
}

/// The cubin of a text.
static FailureOr<std::string> assemble(ModuleOp module, StringRef text,
                                       StringRef chip, StringRef assembler) {
  SmallString<128> input, output, log;
  auto fail = [&](const llvm::Twine &why) {
    return module.emitError("expected ptxas to assemble the kernels, got: ")
           << why;
  };
  std::array<std::pair<StringRef, SmallString<128> *>, 3> files = {
      {{"ptx", &input}, {"cubin", &output}, {"txt", &log}}};
  SmallVector<llvm::FileRemover, 3> removers;
  for (auto [suffix, path] : files) {
    if (std::error_code error =
            llvm::sys::fs::createTemporaryFile("kernels", suffix, *path))
      return fail(error.message());
    removers.emplace_back(*path);
  }
  std::error_code error;
  {
    llvm::raw_fd_ostream os(input, error);
    os << text;
    os.close();
    if (!error)
      error = os.error();
    os.clear_error();
  }
  if (error)
    return fail(error.message());
  SmallVector<StringRef> arguments = {assembler, "-arch", chip,          input,
                                      "-o",      output,  "--opt-level", "3"};
  std::string options = getAssemblerOptions(assembler);
  if (!options.empty())
    arguments.push_back(options);
  std::string message;
  std::optional<StringRef> redirects[] = {StringRef(), log.str(), log.str()};
  if (llvm::sys::ExecuteAndWait(assembler, arguments, std::nullopt, redirects,
                                /*SecondsToWait=*/0, /*MemoryLimit=*/0,
                                &message)) {
    if (auto said = llvm::MemoryBuffer::getFile(log))
      message += (*said)->getBuffer();
    return fail(message);
  }
  auto image = llvm::MemoryBuffer::getFile(output);
  if (!image)
    return fail(image.getError().message());
  return (*image)->getBuffer().str();
}

FailureOr<std::string>
vashista::generateImage(ModuleOp module, const CudaTarget &target, bool asPTX) {
  CudaPipelineOptions options;
  setOptions(options, target);
  options.format = "nvvm";
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
  if (kernels.empty())
    return module.emitError("expected a module with work for a device, got one "
                            "without");
  FailureOr<std::string> text = generatePTX(*kernels.begin());
  if (failed(text) || asPTX)
    return text;
  return assemble(module, *text, target.chip, assembler);
}
