//===- vashista-compile.cpp - From a module to an artefact ----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../common/Upstream.h"
#include "Bundle.h"
#include "vashista/Registration.h"
#include "vashista/Target/Compile.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/AsmParser/AsmParserState.h"
#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/PrettyStackTrace.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/WithColor.h"

using namespace vashista;
namespace cl = llvm::cl;

static cl::OptionCategory category("vashista-compile");
static cl::opt<std::string> input(cl::Positional, cl::desc("<module>"),
                                  cl::cat(category));
static cl::opt<std::string>
    output("o", cl::desc("Output file, - for standard output"),
           cl::value_desc("file"), cl::cat(category));
static cl::opt<std::string>
    bundle("bundle",
           cl::desc("Folder for an artefact and all that runs it on a machine "
                    "without a compiler; in place of -o"),
           cl::value_desc("folder"), cl::cat(category));
static cl::opt<std::string>
    target("target",
           cl::desc("cpu (the best level of this machine), cpu:x86-64-v3, "
                    "cpu:x86-64-v4, cuda:sm_90a and the like (cubins, by "
                    "ptxas) or cuda:compute_90 (PTX); for an artefact several, "
                    "the best first"),
           cl::value_desc("target,..."), cl::init("cpu"), cl::cat(category));
static cl::opt<std::string> emit(
    "emit",
    cl::desc(
        "vso (an artefact, the default), schedule (the module that is "
        "compiled, with the schedule of each op), mlir (the LLVM dialect), "
        "llvm, asm or obj; of the kernels of a GPU ptx or cubin"),
    cl::value_desc("kind"), cl::init("vso"), cl::cat(category));

static cl::opt<bool> checked(
    "checked",
    cl::desc("Entries check page tables, lengths, positions and lists "
             "themselves, on the device: rows at fault are empty sequences, "
             "and what was found is a further result"),
    cl::cat(category));

static int fail(const llvm::Twine &message) {
  llvm::WithColor::error(llvm::errs(), "vashista-compile") << message << '\n';
  return 1;
}

static llvm::Expected<OutputKind> parseKind(llvm::StringRef text) {
  struct Kind {
    llvm::StringRef name;
    OutputKind kind;
  };
  static const Kind kinds[] = {
      {"vso", OutputKind::vso},      {"schedule", OutputKind::schedule},
      {"mlir", OutputKind::mlir},    {"llvm", OutputKind::llvm},
      {"asm", OutputKind::assembly}, {"obj", OutputKind::object},
      {"ptx", OutputKind::ptx},      {"cubin", OutputKind::cubin}};
  for (const Kind &kind : kinds)
    if (kind.name == text)
      return kind.kind;
  return llvm::createStringError("expected --emit=vso, schedule, mlir, llvm, "
                                 "asm, obj, ptx or cubin, got '" +
                                 text + "'");
}

/// Gives arguments without a name the one that the text calls them by, so that
/// whoever runs the artefact can be told of 'k_cache' instead of argument 1.
static void nameArguments(mlir::ModuleOp module,
                          const mlir::AsmParserState &text) {
  mlir::MLIRContext *context = module.getContext();
  for (auto function : module.getOps<mlir::func::FuncOp>()) {
    if (function.isExternal())
      continue;
    mlir::Block &body = function.getBody().front();
    const auto *block = text.getBlockDef(&body);
    if (!block || block->arguments.size() != body.getNumArguments())
      continue;
    for (auto [argument, definition] :
         llvm::zip(body.getArguments(), block->arguments)) {
      if (llvm::isa<mlir::NameLoc>(argument.getLoc()))
        continue;
      llvm::StringRef name(definition.loc.Start.getPointer(),
                           definition.loc.End.getPointer() -
                               definition.loc.Start.getPointer());
      if (name.consume_front("%") && !name.empty() && !llvm::isDigit(name[0]))
        argument.setLoc(mlir::NameLoc::get(mlir::StringAttr::get(context, name),
                                           argument.getLoc()));
    }
  }
}

/// Replaces a file as a whole, so that nothing is left of one that failed, but
/// writes to what is no file: a pipe, a device.
static std::error_code writeOutput(llvm::StringRef bytes) {
  llvm::sys::fs::file_status status;
  bool exists = output != "-" && !llvm::sys::fs::status(output, status);
  if (exists && llvm::sys::fs::is_directory(status))
    return std::make_error_code(std::errc::is_a_directory);
  if (output != "-" && (!exists || llvm::sys::fs::is_regular_file(status)))
    return llvm::errorToErrorCode(
        llvm::writeToOutput(output, [&](llvm::raw_ostream &os) {
          os << bytes;
          return llvm::Error::success();
        }));
  std::error_code code;
  llvm::raw_fd_ostream os(output, code);
  if (!code) {
    os << bytes;
    os.flush();
    code = os.error();
    os.clear_error();
  }
  return code;
}

/// The bundle is null where the output is a file.
static int compileFile(const CompileOptions &options, Bundle *bundled) {
  auto file = llvm::MemoryBuffer::getFileOrSTDIN(input);
  if (!file)
    return fail("cannot open '" + input + "': " + file.getError().message());

  if ((*file)->getBuffer().starts_with("\x7fVSO"))
    return fail("expected a module to compile, got the artefact '" + input +
                "'");

  mlir::DialectRegistry registry;
  registerUpstreamDialects(registry);
  registerAllDialects(registry);
  registerCompileDialects(registry);
  mlir::MLIRContext context(registry);
  // The place in the text says it better.
  context.printOpOnDiagnostic(false);
  llvm::SourceMgr sources;
  bool isBytecode = mlir::isBytecode(**file);
  sources.AddNewSourceBuffer(std::move(*file), llvm::SMLoc());
  mlir::SourceMgrDiagnosticHandler handler(sources, &context);

  mlir::Block parsed;
  mlir::ParserConfig config(&context);
  mlir::AsmParserState names;
  if (mlir::failed(isBytecode ? mlir::parseSourceFile(sources, &parsed, config)
                              : mlir::parseAsmSourceFile(sources, &parsed,
                                                         config, &names)))
    return 1;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  if (llvm::hasSingleElement(parsed))
    module = llvm::dyn_cast<mlir::ModuleOp>(parsed.front());
  if (module) {
    (*module)->remove();
  } else {
    module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    module->getBody()->getOperations().splice(module->getBody()->begin(),
                                              parsed.getOperations());
    if (mlir::failed(mlir::verify(*module)))
      return 1;
  }
  nameArguments(*module, names);
  if (bundled)
    bundled->describe(*module);

  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  if (mlir::failed(compile(*module, options, os)))
    return 1;
  if (bundled) {
    if (llvm::Error error = bundled->write(input, bytes, options.targets))
      return fail(llvm::toString(std::move(error)));
    return 0;
  }
  if (std::error_code code = writeOutput(bytes))
    return fail("cannot write '" + output + "': " + code.message());
  return 0;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  llvm::setBugReportMsg(
      "PLEASE report this crash to the vashista project, with the input, the "
      "command line and the stack trace below.\n");
  cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "vashista " VASHISTA_VERSION " (LLVM " LLVM_VERSION_STRING ")\n";
  });
  cl::HideUnrelatedOptions(category);
  std::string message;
  llvm::raw_string_ostream errors(message);
  if (!cl::ParseCommandLineOptions(
          argc, argv, "Compiles attention graphs to artefacts\n", &errors)) {
    llvm::StringRef first = llvm::StringRef(message).split('\n').first;
    first.consume_front(llvm::StringRef(argv[0]));
    first.consume_front(": ");
    return fail(first);
  }
  if (input.empty())
    return fail("expected the module to compile, got no file name");
  bool isBundle = bundle.getNumOccurrences() > 0;
  if (isBundle && bundle.empty())
    return fail("expected --bundle=DIR with the name of a folder, got none");
  if (isBundle && !output.empty())
    return fail("expected -o or --bundle, got both");
  if (!isBundle && output.empty())
    return fail("expected an output file, -o <file>, got none");

  CompileOptions options;
  llvm::Expected<OutputKind> kind = parseKind(emit);
  if (!kind)
    return fail(llvm::toString(kind.takeError()));
  options.output = *kind;
  options.checked = checked;
  llvm::SmallVector<llvm::StringRef> names;
  llvm::StringRef(target).split(names, ',');
  for (llvm::StringRef name : names) {
    llvm::Expected<Target> parsed = parseTarget(name);
    if (!parsed)
      return fail(llvm::toString(parsed.takeError()));
    options.targets.push_back(std::move(*parsed));
  }
  if (options.output != OutputKind::vso && options.targets.size() != 1)
    return fail("expected one target for --emit=" + emit + ", got " +
                llvm::Twine(options.targets.size()));
  if (!isBundle)
    return compileFile(options, nullptr);
  if (options.output != OutputKind::vso)
    return fail("expected --emit=vso with --bundle, got '" + emit + "'");
  Bundle bundled;
  std::string self = llvm::sys::fs::getMainExecutable(
      argv[0], reinterpret_cast<void *>(&compileFile));
  if (llvm::Error error = bundled.prepare(self, bundle))
    return fail(llvm::toString(std::move(error)));
  return compileFile(options, &bundled);
}
