//===- CpuCode.cpp - Machine code of a module -----------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuCode.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace vashista;

static constexpr llvm::StringLiteral kTriple = "x86_64-unknown-linux-gnu";

//===----------------------------------------------------------------------===//
// Targets
//===----------------------------------------------------------------------===//

/// The best first. Without fused multiply-add there is no vector code worth
/// having, so that v2 is not among them.
static ArrayRef<CpuTarget> getLevels() {
  static const CpuTarget levels[] = {
      {"x86-64-v4", "x86-64-v4",
       "avx2,fma,bmi,bmi2,f16c,lzcnt,movbe,popcnt,avx512f,avx512bw,avx512cd,"
       "avx512dq,avx512vl",
       16, 32},
      {"x86-64-v3", "x86-64-v3", "avx2,fma,bmi,bmi2,f16c,lzcnt,movbe,popcnt", 8,
       16}};
  return levels;
}

static bool isHost(StringRef list) {
  const llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  SmallVector<StringRef> features;
  list.split(features, ',');
  return llvm::all_of(features, [&](StringRef feature) {
    auto found = host.find(feature);
    return found != host.end() && found->second;
  });
}

CpuTarget vashista::getLaunchingTarget() {
  return {"x86-64", "x86-64", "", 4, 16};
}

llvm::Expected<CpuTarget> vashista::parseCpuTarget(StringRef name) {
  for (const CpuTarget &level : getLevels()) {
    if (name == level.level)
      return level;
    if (!name.empty() || !isHost(level.features))
      continue;
    CpuTarget native = level;
    native.tune = llvm::sys::getHostCPUName().str();
    if (level.lanes == 16 && isHost("avx512bf16")) {
      native.features += ",avx512bf16";
      native.dotsBF16 = true;
    }
    // Multiplies and adds pairs of 16-bit integers at once.
    if (level.lanes == 16 && isHost("avx512vnni")) {
      native.features += ",avx512vnni";
      native.vnni = true;
    }
    return native;
  }
  if (name.empty())
    return llvm::createStringError(
        "expected a machine of the level x86-64-v3 or v4 for the target 'cpu', "
        "got '" +
        llvm::sys::getHostCPUName() + "'; name a level, as in 'cpu:x86-64-v3'");
  return llvm::createStringError(
      "expected the CPU 'x86-64-v3' or 'x86-64-v4' in a target, got '" + name +
      "'");
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createMachine(const CpuTarget &target) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialized;
  llvm::Triple triple(kTriple);
  std::string error;
  const llvm::Target *known = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!known)
    return llvm::createStringError("expected an LLVM with the target x86, got "
                                   "one without: " +
                                   error);
  return std::unique_ptr<llvm::TargetMachine>(known->createTargetMachine(
      triple, target.level,
      std::string(target.dotsBF16 ? "+avx512bf16," : "") +
          (target.vnni ? "+avx512vnni" : ""),
      llvm::TargetOptions(), llvm::Reloc::PIC_, /*CM=*/std::nullopt,
      llvm::CodeGenOptLevel::Default));
}

/// Has the bits of bf16 numbers that were rounded stored, not the numbers: what
/// is stored as one and used as the other LLVM selects as bf16, for which
/// processors without instructions of it call a function, `__truncsfbf2`.
static void storeIntegers(llvm::Module &code) {
  for (llvm::Function &function : code)
    for (llvm::Instruction &instruction : llvm::instructions(function)) {
      auto *store = llvm::dyn_cast<llvm::StoreInst>(&instruction);
      if (!store ||
          !store->getValueOperand()->getType()->getScalarType()->isBFloatTy())
        continue;
      auto *cast = llvm::dyn_cast<llvm::BitCastInst>(store->getValueOperand());
      if (cast)
        store->setOperand(0, cast->getOperand(0));
    }
}

static llvm::Expected<std::unique_ptr<llvm::Module>>
translate(ModuleOp module, const CpuTarget &target,
          llvm::TargetMachine &machine, llvm::LLVMContext &context) {
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(module, context);
  if (!code)
    return llvm::createStringError("expected a module that translates to LLVM "
                                   "IR");
  code->setTargetTriple(llvm::Triple(kTriple));
  code->setDataLayout(machine.createDataLayout());
  for (llvm::Function &function : *code) {
    function.addFnAttr("tune-cpu", target.tune);
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  storeIntegers(*code);
  return code;
}

static void optimize(llvm::Module &code, llvm::TargetMachine &machine,
                     bool unrolls) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopUnrolling = unrolls;
  tuning.LoopInterleaving = true;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager cycles;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cycles);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cycles, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(code, modules);
}

llvm::Expected<llvm::SmallString<0>>
vashista::generateCode(ModuleOp module, const CpuTarget &target,
                       OutputKind output) {
  auto machine = createMachine(target);
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  llvm::Expected<std::unique_ptr<llvm::Module>> code =
      translate(module, target, **machine, context);
  if (!code)
    return code.takeError();
  // LLVM 22 merges what unrolled loops store to one vector where what they
  // store is not there yet (SROA, of 2-bit codes of three groups of 16), and
  // crashes on that later: once more then, without unrolling.
  optimize(**code, **machine, /*unrolls=*/true);
  if (llvm::verifyModule(**code)) {
    code = translate(module, target, **machine, context);
    if (!code)
      return code.takeError();
    optimize(**code, **machine, /*unrolls=*/false);
    if (llvm::verifyModule(**code))
      return llvm::createStringError("expected code that LLVM can optimise");
  }

  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream os(bytes);
  if (output == OutputKind::llvm) {
    os << **code;
    return bytes;
  }
  llvm::legacy::PassManager passes;
  auto type = output == OutputKind::assembly
                  ? llvm::CodeGenFileType::AssemblyFile
                  : llvm::CodeGenFileType::ObjectFile;
  if ((*machine)->addPassesToEmitFile(passes, os, /*DwoOut=*/nullptr, type))
    return llvm::createStringError("expected a target that writes files");
  passes.run(**code);
  return bytes;
}
