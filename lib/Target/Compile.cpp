//===- Compile.cpp - From a module to an artefact -------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vashista/Target/Compile.h"
#include "CpuCode.h"
#include "CudaCode.h"
#include "EntryInterface.h"

#include "vashista/Dialect/Vashista/Transforms/Passes.h"
#include "vashista/Pipelines/Pipelines.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Config/llvm-config.h"

using namespace mlir;
using namespace vashista;

void vashista::registerCompileDialects(DialectRegistry &registry) {
  registry.insert<func::FuncDialect, LLVM::LLVMDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

llvm::Expected<Target> vashista::parseTarget(StringRef text) {
  auto [device, name] = text.split(':');
  bool isAlone = text == device;
  Target target;
  if (device == "cpu" && (isAlone || !name.empty())) {
    llvm::Expected<CpuTarget> cpu = parseCpuTarget(name);
    if (!cpu)
      return cpu.takeError();
    target.cpu = std::move(*cpu);
    return target;
  }
  if (device != "cuda" || isAlone)
    return llvm::createStringError(
        "expected the target 'cpu', 'cpu:x86-64-v3', 'cpu:x86-64-v4' or an "
        "architecture as in 'cuda:sm_90a', got '" +
        text + "'");
  llvm::Expected<CudaTarget> cuda = parseCudaTarget(name);
  if (!cuda)
    return cuda.takeError();
  target.cpu = getLaunchingTarget();
  target.device = std::move(*cuda);
  return target;
}

/// Public functions, with the calls between them inlined.
static FailureOr<SmallVector<func::FuncOp>> getEntries(ModuleOp module,
                                                       bool checked) {
  PassManager pm(module->getName());
  pm.addPass(createInlinerPass());
  pm.addPass(createSymbolDCEPass());
  if (checked)
    pm.addNestedPass<func::FuncOp>(createVashistaInsertChecksPass());
  if (failed(pm.run(module)))
    return failure();
  SmallVector<func::FuncOp> entries;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal())
      return function.emitError("expected functions with bodies, got a "
                                "declaration");
    if (function.isPrivate())
      return function.emitError("expected calls that can be inlined, got a "
                                "function that is called recursively or "
                                "from elsewhere");
    entries.push_back(function);
  }
  if (entries.empty())
    return module.emitError(
        "expected at least one public function, an entry, got none");
  return entries;
}

/// Compiles for one target, which takes the module to pieces. Describes the
/// entries, and keeps the image of their kernels, on the way.
static FailureOr<llvm::SmallString<0>>
generate(ModuleOp module, const Target &target, OutputKind output, bool checked,
         std::vector<ArtefactEntry> &entries, std::string &image) {
  CpuPipelineOptions options;
  options.lanes = target.cpu.lanes;
  options.registers = target.cpu.registers;
  options.dotsBF16 = target.cpu.dotsBF16;
  FailureOr<SmallVector<func::FuncOp>> functions = getEntries(module, checked);
  if (failed(functions))
    return failure();
  entries.clear();
  for (func::FuncOp function : *functions) {
    FailureOr<ArtefactEntry> entry = describeEntry(function);
    if (failed(entry))
      return failure();
    entries.push_back(std::move(*entry));
    protectArguments(function);
    function->setAttr("llvm.emit_c_interface",
                      UnitAttr::get(module.getContext()));
  }

  PassManager buffers(module->getName());
  if (target.device) {
    CudaPipelineOptions device;
    setOptions(device, *target.device);
    buildCudaBufferPipeline(buffers, device);
  } else {
    buildBufferPipeline(buffers, options);
  }
  if (failed(buffers.run(module)))
    return failure();
  // Passes replace functions, but not their order.
  for (auto [function, entry] :
       llvm::zip(module.getOps<func::FuncOp>(), entries))
    returnThroughArguments(function, entry);

  PassManager code(module->getName());
  if (target.device) {
    bool asPTX = output == OutputKind::ptx ||
                 (target.device->isPTX && output != OutputKind::cubin);
    FailureOr<std::string> generated =
        generateImage(module, *target.device, asPTX);
    if (failed(generated))
      return failure();
    image = std::move(*generated);
    if (output == OutputKind::ptx || output == OutputKind::cubin)
      return llvm::SmallString<0>(image);
    buildCudaEntryPipeline(code);
  } else {
    buildCpuEntryPipeline(code, options);
  }
  if (failed(code.run(module)))
    return failure();
  if (output == OutputKind::mlir) {
    llvm::SmallString<0> text;
    llvm::raw_svector_ostream os(text);
    module.print(os);
    os << '\n';
    return text;
  }
  llvm::Expected<llvm::SmallString<0>> bytes =
      generateCode(module, target.cpu, output);
  if (!bytes)
    return module.emitError(llvm::toString(bytes.takeError()));
  return std::move(*bytes);
}

/// What a person or a tuner edits: names of arguments are those of locations.
static LogicalResult printSchedules(ModuleOp module,
                                    const CompileOptions &options,
                                    llvm::raw_ostream &os) {
  const Target &target = options.targets.front();
  if (failed(getEntries(module, options.checked)))
    return failure();
  PassManager pm(module->getName());
  if (target.device) {
    CudaPipelineOptions device;
    setOptions(device, *target.device);
    buildCudaGraphPipeline(pm, device);
  } else {
    buildScheduledGraphPipeline(pm);
  }
  if (failed(pm.run(module)))
    return failure();
  // Each function stands for itself: there are no aliases.
  module.print(os, OpPrintingFlags().useLocalScope().printNameLocAsPrefix());
  os << '\n';
  return success();
}

LogicalResult vashista::compile(ModuleOp module, const CompileOptions &options,
                                llvm::raw_ostream &os) {
  assert(!options.targets.empty() && "expected a target");
  std::vector<ArtefactEntry> entries;
  std::string image;
  if (options.output == OutputKind::schedule)
    return printSchedules(module, options, os);
  if (options.output != OutputKind::vso) {
    const Target &target = options.targets.front();
    if (!target.device && (options.output == OutputKind::ptx ||
                           options.output == OutputKind::cubin))
      return module.emitError("expected a target such as cuda:sm_90a for PTX "
                              "or a cubin, got a CPU");
    FailureOr<llvm::SmallString<0>> bytes = generate(
        module, target, options.output, options.checked, entries, image);
    if (failed(bytes))
      return failure();
    os << *bytes;
    return success();
  }

  Artefact artefact;
  artefact.producer = "vashista " VASHISTA_VERSION;
  artefact.compiler = "LLVM " LLVM_VERSION_STRING;
  for (const Target &target : options.targets) {
    OwningOpRef<ModuleOp> copy = module.clone();
    FailureOr<llvm::SmallString<0>> object = generate(
        *copy, target, OutputKind::object, options.checked, entries, image);
    if (failed(object))
      return failure();
    llvm::Expected<std::string> linked = linkSharedObject(*object);
    if (!linked)
      return module.emitError(llvm::toString(linked.takeError()));
    ArtefactPayload payload = {target.cpu.features, std::move(*linked)};
    if (target.device)
      payload.image = {target.device->architecture, target.device->isPTX,
                       std::move(image)};
    artefact.payloads.push_back(std::move(payload));
  }
  artefact.entries = std::move(entries);
  if (llvm::Error error = writeArtefact(artefact, os))
    return module.emitError(llvm::toString(std::move(error)));
  return success();
}
