//===- Jit.h - Compiling modules and calling them in this process -*- C++
//-*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_JIT_H
#define VASHISTA_TEST_INTEGRATION_CPU_JIT_H

#include "Array.h"

#include <memory>
#include <string>

namespace mlir {
class ExecutionEngine;
} // namespace mlir

namespace vashista::test {

enum class ElementType { f32, f16, bf16, f8, i32, i8, i1 };

/// As in a type: `bf16`.
const char *getName(ElementType type);
int64_t getByteSize(ElementType type);

/// To the nearest number, ties to even; overflow gives an infinity.
uint16_t toF16(float value);
uint16_t toBF16(float value);
float fromF16(uint16_t bits);
float fromBF16(uint16_t bits);
/// Of an f8E4M3FN that is not negative.
float fromF8(uint8_t bits);
/// The nearest number of a storage type.
float roundTo(ElementType type, float value);

/// An operand of an entry: a contiguous memref. It ends where unmapped memory
/// begins, so that a read or write past its end ends the program, and begins
/// after a margin that tells whether it was written.
class Buffer {
public:
  Buffer(ElementType type, Shape shape);
  /// Rounds to the element type.
  Buffer(ElementType type, const Array<float> &values);
  explicit Buffer(const Array<int32_t> &values);
  Buffer(Buffer &&other);
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer();

  Buffer copy() const;

  ElementType getType() const { return type; }
  const Shape &getShape() const { return shape; }
  void *data() const { return bytes; }
  size_t size() const { return numBytes; }

  /// Floating-point numbers, widened.
  Array<float> toFloats() const;
  Array<int32_t> toInts() const;

  /// From now on a write to it ends the program.
  void makeReadOnly();
  /// Whether the margin is as it was made.
  bool isMarginIntact() const;
  /// Base, aligned base, offset, sizes, strides.
  std::vector<int64_t> getDescriptor() const;

private:
  void allocate();

  ElementType type;
  Shape shape;
  char *mapping = nullptr, *bytes = nullptr;
  size_t numMapped = 0, numBytes = 0;
};

bool areBitEqual(const Buffer &a, const Buffer &b);

/// An argument of an entry: a buffer, or an index.
struct Argument {
  Argument(Buffer &buffer) : buffer(&buffer) {}
  Argument(int64_t value) : value(value) {}
  Buffer *buffer = nullptr;
  int64_t value = 0;
};

/// How the tasks of an entry are run.
struct Tasks {
  unsigned numThreads = 1;
  /// From the last task to the first; on one thread.
  bool reversed = false;
};

struct CompileOptions {
  int64_t lanes = 16;
  int64_t registers = 32;
  int64_t split = 4096;
  /// On a CPU that has them.
  bool dotsBF16 = false;
  unsigned optLevel = 2;
};

/// A module compiled by the CPU pipeline for the CPU that runs the tests.
class CompiledModule {
public:
  /// Null after an error, which `error` then tells.
  static std::unique_ptr<CompiledModule> compile(const std::string &text,
                                                 const CompileOptions &options,
                                                 std::string &error);
  ~CompiledModule();

  /// Calls the function `entry`, which has the attribute
  /// `llvm.emit_c_interface` and no results. False when there is none of the
  /// name or a buffer's margin was written.
  bool invoke(const std::string &entry, std::vector<Argument> arguments,
              Tasks tasks = Tasks());

private:
  CompiledModule();
  std::unique_ptr<mlir::ExecutionEngine> engine;
};

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_JIT_H
