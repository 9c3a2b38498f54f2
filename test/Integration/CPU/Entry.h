//===- Entry.h - Functions of one op, and calls of them -*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_TEST_INTEGRATION_CPU_ENTRY_H
#define VASHISTA_TEST_INTEGRATION_CPU_ENTRY_H

#include "Jit.h"
#include "Random.h"

#include <functional>
#include <map>
#include <sstream>

namespace vashista::test {

/// The operands that calls read, by name.
class Operands {
public:
  /// Memory that can only be read: a call that writes to it ends the program.
  void set(const std::string &name, Buffer buffer);
  void set(const std::string &name, ElementType type,
           const Array<float> &values) {
    set(name, Buffer(type, values));
  }
  void set(const std::string &name, const Array<int32_t> &values) {
    set(name, Buffer(values));
  }
  void set(const std::string &name, int64_t value) { numbers[name] = value; }
  /// f32 values of a tensor that a call may overwrite; each call gets them as
  /// they were.
  void setConsumed(const std::string &name, const Array<float> &values);

private:
  friend class Entry;
  std::map<std::string, Buffer> buffers;
  std::map<std::string, Array<float>> consumed;
  std::map<std::string, int64_t> numbers;
};

/// The buffers that a call writes, in the order of the op.
using Outputs = std::vector<Buffer>;

/// A function of one op on tensors, whose results it writes to buffers, or of
/// one on buffers. Negative sizes are dynamic. Parameters are named and used in
/// the order of the op's operands.
class Entry {
public:
  enum class Form { tensors, buffers };
  Entry(std::string name, Form form) : name(std::move(name)), form(form) {}

  /// Declares an operand and yields what names it in the op, `%name`.
  std::string use(const std::string &name, ElementType type, Shape shape);
  std::string useIndex(const std::string &name);
  /// Declares a destination of an op on buffers, which comes after its
  /// operands.
  std::string writes(const std::string &name, ElementType type, Shape shape);
  /// Declares a result of an op on tensors.
  void yields(ElementType type, Shape shape);

  std::string getText() const;
  /// False when there is no such entry or a buffer's margin was written.
  bool call(CompiledModule &module, Operands &operands, Outputs &outputs,
            Tasks tasks = Tasks()) const;
  /// Calls four times, on one thread, again, on several and in reverse order of
  /// tasks, and expects bit-equal outputs.
  Outputs callEveryWay(CompiledModule &module, Operands &operands,
                       const std::function<Outputs()> &makeOutputs,
                       Random &random) const;

  /// The op without its dialect and types: `merge outputs(%a) lses(%b)`.
  std::ostringstream op;

private:
  struct Parameter {
    std::string name, type;
    bool isOutput;
  };
  std::string name;
  Form form;
  std::vector<Parameter> parameters;
  std::vector<std::string> results; // their shapes and elements
};

/// Compiles entries as one module; null after an error, which it reports.
std::unique_ptr<CompiledModule>
compileEntries(const std::vector<const Entry *> &entries,
               const CompileOptions &options);

void expectBitEqual(const Outputs &outputs, const Outputs &expected,
                    const char *what);
/// Of the outputs of a whole batch, whose first dimension is that of rows, one
/// row.
Outputs takeRow(const Outputs &outputs, int64_t row);

} // namespace vashista::test

#endif // VASHISTA_TEST_INTEGRATION_CPU_ENTRY_H
