//===- Jit.cpp - Compiling modules and calling them in this process -------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Jit.h"

#include "../../../tools/common/Upstream.h"
#include "vashista/Pipelines/Pipelines.h"
#include "vashista/Registration.h"

#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace vashista;
using namespace vashista::test;

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

static uint32_t getBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static float getFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

const char *test::getName(ElementType type) {
  switch (type) {
  case ElementType::f32:
    return "f32";
  case ElementType::f16:
    return "f16";
  case ElementType::bf16:
    return "bf16";
  case ElementType::f8:
    return "f8E4M3FN";
  case ElementType::i32:
    return "i32";
  case ElementType::i8:
    return "i8";
  case ElementType::i1:
    return "i1";
  }
  llvm_unreachable("unknown element type");
}

int64_t test::getByteSize(ElementType type) {
  switch (type) {
  case ElementType::f32:
  case ElementType::i32:
    return 4;
  case ElementType::f16:
  case ElementType::bf16:
    return 2;
  case ElementType::f8:
  case ElementType::i8:
  case ElementType::i1:
    return 1;
  }
  llvm_unreachable("unknown element type");
}

uint16_t test::toBF16(float value) {
  uint32_t bits = getBits(value);
  if (std::isnan(value))
    return (bits >> 16) | 0x40; // Quiet, whatever bits are dropped.
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

float test::fromBF16(uint16_t bits) {
  return getFloat(static_cast<uint32_t>(bits) << 16);
}

uint16_t test::toF16(float value) {
  uint16_t sign = (getBits(value) >> 16) & 0x8000;
  float magnitude = std::fabs(value);
  if (std::isnan(value))
    return sign | 0x7e00;
  // Half way between the largest number and the next power of two.
  if (magnitude >= 65520.0f)
    return sign | 0x7c00;
  // Below the smallest normal number, numbers are multiples of 2^-24. The
  // default rounding mode rounds ties to even.
  if (magnitude < 0x1p-14f)
    return sign | static_cast<uint16_t>(std::nearbyintf(magnitude * 0x1p24f));
  uint32_t bits = getBits(magnitude);
  bits += 0xfff + ((bits >> 13) & 1);
  return sign | static_cast<uint16_t>((bits >> 13) - ((127 - 15) << 10));
}

float test::fromF16(uint16_t bits) {
  uint32_t exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  float magnitude;
  if (exponent == 0x1f)
    magnitude = fraction ? NAN : INFINITY;
  else if (exponent == 0)
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  else
    magnitude = std::ldexp(static_cast<float>(fraction | 0x400),
                           static_cast<int>(exponent) - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

float test::fromF8(uint8_t bits) {
  int exponent = bits >> 3 & 0xf, fraction = bits & 7;
  if ((bits & 0x7f) == 0x7f)
    return NAN;
  return exponent == 0
             ? std::ldexp(static_cast<float>(fraction), -9)
             : std::ldexp(static_cast<float>(fraction | 8), exponent - 10);
}

float test::roundTo(ElementType type, float value) {
  if (type == ElementType::f16)
    return fromF16(toF16(value));
  if (type == ElementType::bf16)
    return fromBF16(toBF16(value));
  return value;
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

static constexpr unsigned char kMargin = 0xa5;

void Buffer::allocate() {
  size_t pageSize = sysconf(_SC_PAGESIZE);
  numBytes = getNumElements(shape) * getByteSize(type);
  // At least one page of margin before, one unmapped page behind.
  size_t mapped = (numBytes / pageSize + 2) * pageSize;
  numMapped = mapped + pageSize;
  void *address = mmap(nullptr, numMapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    llvm::report_fatal_error("out of memory for a buffer of a test");
  mapping = static_cast<char *>(address);
  if (mprotect(mapping + mapped, pageSize, PROT_NONE))
    llvm::report_fatal_error("cannot protect the end of a buffer of a test");
  bytes = mapping + mapped - numBytes;
  std::memset(mapping, kMargin, bytes - mapping);
}

Buffer::Buffer(ElementType type, Shape shape)
    : type(type), shape(std::move(shape)) {
  allocate();
}

Buffer::Buffer(ElementType type, const Array<float> &values)
    : Buffer(type, values.shape) {
  size_t size = values.data.size();
  if (type == ElementType::f32) {
    std::memcpy(bytes, values.data.data(), numBytes);
    return;
  }
  assert((type == ElementType::f16 || type == ElementType::bf16) &&
         "expected a floating-point type");
  auto *out = reinterpret_cast<uint16_t *>(bytes);
  for (size_t i = 0; i < size; ++i)
    out[i] = type == ElementType::f16 ? toF16(values.data[i])
                                      : toBF16(values.data[i]);
}

Buffer::Buffer(const Array<int32_t> &values)
    : Buffer(ElementType::i32, values.shape) {
  std::memcpy(bytes, values.data.data(), numBytes);
}

Buffer::Buffer(Buffer &&other)
    : type(other.type), shape(std::move(other.shape)),
      mapping(std::exchange(other.mapping, nullptr)), bytes(other.bytes),
      numMapped(other.numMapped), numBytes(other.numBytes) {}

Buffer::~Buffer() {
  if (mapping)
    munmap(mapping, numMapped);
}

Buffer Buffer::copy() const {
  Buffer result(type, shape);
  std::memcpy(result.bytes, bytes, numBytes);
  return result;
}

Array<float> Buffer::toFloats() const {
  Array<float> result(shape);
  for (size_t i = 0, e = result.data.size(); i < e; ++i) {
    if (type == ElementType::f32) {
      std::memcpy(&result.data[i], bytes + i * 4, 4);
      continue;
    }
    if (type == ElementType::f8) {
      result.data[i] = fromF8(bytes[i]);
      continue;
    }
    uint16_t half;
    std::memcpy(&half, bytes + i * 2, 2);
    result.data[i] = type == ElementType::f16 ? fromF16(half) : fromBF16(half);
  }
  return result;
}

Array<int32_t> Buffer::toInts() const {
  Array<int32_t> result(shape);
  for (size_t i = 0, e = result.data.size(); i < e; ++i) {
    if (type == ElementType::i32)
      std::memcpy(&result.data[i], bytes + i * 4, 4);
    else
      result.data[i] = static_cast<int8_t>(bytes[i]);
  }
  return result;
}

void Buffer::makeReadOnly() {
  if (mprotect(mapping, bytes + numBytes - mapping, PROT_READ))
    llvm::report_fatal_error("cannot protect a buffer of a test");
}

bool Buffer::isMarginIntact() const {
  for (const char *byte = mapping; byte != bytes; ++byte)
    if (static_cast<unsigned char>(*byte) != kMargin)
      return false;
  return true;
}

std::vector<int64_t> Buffer::getDescriptor() const {
  auto address = static_cast<int64_t>(reinterpret_cast<intptr_t>(bytes));
  std::vector<int64_t> words = {address, address, 0};
  words.insert(words.end(), shape.begin(), shape.end());
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  words.insert(words.end(), strides.begin(), strides.end());
  return words;
}

bool test::areBitEqual(const Buffer &a, const Buffer &b) {
  return a.getType() == b.getType() && a.getShape() == b.getShape() &&
         std::memcmp(a.data(), b.data(), a.size()) == 0;
}

//===----------------------------------------------------------------------===//
// The host
//===----------------------------------------------------------------------===//

/// How the entry that this thread is in runs its tasks.
static thread_local Tasks currentTasks;

static void parallelFor(int64_t n, void (*body)(void *, int64_t), void *ctx) {
  if (currentTasks.reversed) {
    while (n-- > 0)
      body(ctx, n);
    return;
  }
  std::atomic<int64_t> next(0);
  auto work = [&] {
    for (int64_t i; (i = next++) < n;)
      body(ctx, i);
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < currentTasks.numThreads; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
}

static void *allocateTemporary(uint64_t size, uint64_t align) {
  return std::aligned_alloc(align, (size + align - 1) / align * align);
}

namespace {

struct Host {
  uint32_t abiVersion;
  void (*parallelFor)(int64_t, void (*)(void *, int64_t), void *);
  void *(*alloc)(uint64_t, uint64_t);
  void (*free)(void *);
};

} // namespace

static const Host host = {1, parallelFor, allocateTemporary, std::free};

//===----------------------------------------------------------------------===//
// Compiled modules
//===----------------------------------------------------------------------===//

static mlir::MLIRContext &getContext() {
  static mlir::MLIRContext *context = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    mlir::DialectRegistry registry;
    registerUpstreamDialects(registry);
    mlir::registerBuiltinDialectTranslation(registry);
    mlir::registerLLVMDialectTranslation(registry);
    registerAllDialects(registry);
    return new mlir::MLIRContext(registry,
                                 mlir::MLIRContext::Threading::DISABLED);
  }();
  return *context;
}

static bool hasDotsBF16() {
  static const bool has = llvm::sys::getHostCPUFeatures().lookup("avx512bf16");
  return has;
}

CompiledModule::CompiledModule() = default;
CompiledModule::~CompiledModule() = default;

std::unique_ptr<CompiledModule>
CompiledModule::compile(const std::string &text, const CompileOptions &options,
                        std::string &error) {
  mlir::MLIRContext &context = getContext();
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diag) {
    llvm::raw_string_ostream(error)
        << diag.getLocation() << ": " << diag << "\n";
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module)
    return nullptr;
  mlir::PassManager pm(&context);
  CpuPipelineOptions pipeline;
  pipeline.lanes = options.lanes;
  pipeline.registers = options.registers;
  pipeline.split = options.split;
  pipeline.dotsBF16 = options.dotsBF16 && hasDotsBF16();
  buildCpuPipeline(pm, pipeline);
  if (mlir::failed(pm.run(*module)))
    return nullptr;

  auto fail = [&](llvm::Error failure) {
    error += llvm::toString(std::move(failure));
    return nullptr;
  };
  auto builder = llvm::orc::JITTargetMachineBuilder::detectHost();
  if (!builder)
    return fail(builder.takeError());
  auto machine = builder->createTargetMachine();
  if (!machine)
    return fail(machine.takeError());
  auto optimize =
      mlir::makeOptimizingTransformer(options.optLevel,
                                      /*sizeLevel=*/0, machine->get());
  mlir::ExecutionEngineOptions engineOptions;
  engineOptions.transformer = optimize;
  engineOptions.jitCodeGenOptLevel =
      static_cast<llvm::CodeGenOptLevel>(options.optLevel);
  engineOptions.enableGDBNotificationListener = false;
  engineOptions.enablePerfNotificationListener = false;
  auto engine = mlir::ExecutionEngine::create(*module, engineOptions,
                                              std::move(*machine));
  if (!engine)
    return fail(engine.takeError());
  std::unique_ptr<CompiledModule> result(new CompiledModule());
  result->engine = std::move(*engine);

  auto bind = result->engine->lookup("vashista_bind");
  if (!bind)
    return fail(bind.takeError());
  reinterpret_cast<void (*)(const Host *)> (*bind)(&host);
  return result;
}

bool CompiledModule::invoke(const std::string &entry,
                            std::vector<Argument> arguments, Tasks tasks) {
  auto function = engine->lookupPacked("_mlir_ciface_" + entry);
  if (!function) {
    llvm::consumeError(function.takeError());
    return false;
  }
  std::vector<std::vector<int64_t>> descriptors;
  std::vector<void *> values;
  for (Argument &argument : arguments) {
    if (argument.buffer)
      descriptors.push_back(argument.buffer->getDescriptor());
    else
      descriptors.push_back({argument.value});
  }
  // Each value is passed by its address, a buffer's being that of a descriptor.
  std::vector<void *> addresses(arguments.size());
  for (size_t i = 0, e = arguments.size(); i < e; ++i) {
    addresses[i] = descriptors[i].data();
    values.push_back(arguments[i].buffer ? static_cast<void *>(&addresses[i])
                                         : addresses[i]);
  }
  currentTasks = tasks;
  (*function)(values.data());
  bool intact = true;
  for (Argument &argument : arguments)
    intact &= !argument.buffer || argument.buffer->isMarginIntact();
  return intact;
}
