//===- KernelCode.cpp - PTX of kernels ------------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// LLVM makes code of a module on one thread. Kernels do not see each other, so
// each is a module here, with what it names, and their texts are joined behind
// one header. Upstream's gpu-module-to-binary takes modules one after the
// other.
//
//===----------------------------------------------------------------------===//

#include "KernelCode.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/Threading.h"

using namespace mlir;
using namespace vashista;

/// What several texts may declare.
static bool isDeclaration(Operation *op) {
  if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op))
    return function.isExternal();
  auto global = dyn_cast<LLVM::GlobalOp>(op);
  return global && global.getLinkage() == LLVM::Linkage::External &&
         !global.getValueOrNull() && global.getInitializerRegion().empty();
}

/// A symbol and all that it names, directly or not, as a module has them.
static SmallVector<Operation *> getNamed(Operation *op,
                                         const SymbolTable &symbols) {
  SetVector<Operation *> named;
  named.insert(op);
  for (size_t i = 0; i < named.size(); ++i) {
    // Not known: of the body of a symbol table, which is none here.
    auto uses = SymbolTable::getSymbolUses(named[i]);
    for (const SymbolTable::SymbolUse &use : *uses)
      if (Operation *other =
              symbols.lookup(use.getSymbolRef().getRootReference()))
        named.insert(other);
  }
  SmallVector<Operation *> inOrder = named.takeVector();
  llvm::sort(inOrder,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return inOrder;
}

/// A module for each kernel; none, and the given one stays as it is, where two
/// of them name what is defined once.
static SmallVector<OwningOpRef<gpu::GPUModuleOp>>
splitKernels(gpu::GPUModuleOp module) {
  SymbolTable symbols(module);
  SmallVector<SmallVector<Operation *>> kernels;
  llvm::DenseSet<Operation *> seen;
  for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
    if (!function->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName()))
      continue;
    kernels.push_back(getNamed(function, symbols));
    for (Operation *op : kernels.back())
      if (!isDeclaration(op) && !seen.insert(op).second)
        return {};
  }
  SmallVector<OwningOpRef<gpu::GPUModuleOp>> parts;
  for (ArrayRef<Operation *> kernel : kernels) {
    auto part = cast<gpu::GPUModuleOp>(module->cloneWithoutRegions());
    parts.push_back(part);
    Block &body = part.getBodyRegion().emplaceBlock();
    for (Operation *op : kernel) {
      if (isDeclaration(op)) {
        body.push_back(op->clone());
        continue;
      }
      op->remove();
      body.push_back(op);
    }
  }
  return parts;
}

static FailureOr<std::string> generatePart(gpu::GPUModuleOp module) {
  gpu::TargetOptions options(/*toolkitPath=*/"", /*librariesToLink=*/{},
                             /*cmdOptions=*/"", /*elfSection=*/"",
                             gpu::CompilationTarget::Assembly);
  auto target = cast<gpu::TargetAttrInterface>((*module.getTargets())[0]);
  std::optional<SmallVector<char, 0>> object =
      target.serializeToObject(module, options);
  if (!object)
    return module.emitError("expected kernels that LLVM makes PTX of");
  StringRef text(object->data(), object->size());
  return text.rtrim('\0').str();
}

FailureOr<std::string> vashista::generatePTX(gpu::GPUModuleOp module) {
  SmallVector<OwningOpRef<gpu::GPUModuleOp>> kernels = splitKernels(module);
  if (kernels.empty())
    return generatePart(module);
  std::vector<std::string> texts(kernels.size());
  LogicalResult made = failableParallelForEachN(
      module.getContext(), 0, kernels.size(), [&](size_t i) {
        FailureOr<std::string> text = generatePart(*kernels[i]);
        if (succeeded(text))
          texts[i] = std::move(*text);
        return success(succeeded(text));
      });
  if (failed(made))
    return failure();
  // All begin alike: version, target, size of addresses.
  constexpr llvm::StringLiteral last = ".address_size 64\n";
  auto takeApart = [&](StringRef text) {
    size_t end = text.find(last);
    assert(end != StringRef::npos && "PTX has a header");
    return std::make_pair(text.take_front(end + last.size()),
                          text.drop_front(end + last.size()));
  };
  std::string all = texts.front();
  for (StringRef text : llvm::drop_begin(texts)) {
    auto [header, kernel] = takeApart(text);
    assert(header == takeApart(texts.front()).first && "of one target");
    // Memory that launches give has one name in all of them, and one
    // declaration.
    size_t entry = kernel.find(".visible .entry");
    assert(entry != StringRef::npos && "kernels are visible");
    for (StringRef line : llvm::split(kernel.take_front(entry), '\n'))
      if (!line.starts_with(".extern .shared") ||
          !StringRef(all).contains(line))
        (all += line) += '\n';
    all.pop_back(); // of the last line, which the entry goes on with
    all += kernel.drop_front(entry);
  }
  return all;
}
