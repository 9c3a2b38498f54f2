//===- Entry.cpp - Functions of one op, and calls of them -----------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

#include "gtest/gtest.h"

#include <cstring>

using namespace vashista::test;

void Operands::set(const std::string &name, Buffer buffer) {
  buffer.makeReadOnly();
  buffers.erase(name);
  buffers.emplace(name, std::move(buffer));
}

void Operands::setConsumed(const std::string &name,
                           const Array<float> &values) {
  buffers.erase(name);
  buffers.emplace(name, Buffer(ElementType::f32, values));
  consumed[name] = values;
}

static std::string getShapeText(ElementType type, const Shape &shape) {
  std::string text = "<";
  for (int64_t dim : shape)
    text += (dim < 0 ? "?" : std::to_string(dim)) + "x";
  return text + getName(type) + ">";
}

std::string Entry::use(const std::string &operand, ElementType type,
                       Shape shape) {
  const char *kind = form == Form::tensors ? "tensor" : "memref";
  parameters.push_back({operand, kind + getShapeText(type, shape), false});
  return "%" + operand;
}

std::string Entry::useIndex(const std::string &operand) {
  parameters.push_back({operand, "index", false});
  return "%" + operand;
}

std::string Entry::writes(const std::string &output, ElementType type,
                          Shape shape) {
  assert(form == Form::buffers && "tensors have results");
  parameters.push_back({output, "memref" + getShapeText(type, shape), true});
  return "%" + output;
}

void Entry::yields(ElementType type, Shape shape) {
  assert(form == Form::tensors && "an op on buffers has no results");
  results.push_back(getShapeText(type, shape));
}

std::string Entry::getText() const {
  std::string list, types, resultTypes, copies;
  for (const Parameter &parameter : parameters) {
    const char *comma = list.empty() ? "" : ", ";
    list += comma + ("%" + parameter.name) + ": " + parameter.type;
    types += comma + parameter.type;
  }
  for (size_t i = 0; i < results.size(); ++i) {
    std::string number = std::to_string(i);
    list += ", %result" + number + ": memref" + results[i];
    resultTypes += (i ? ", tensor" : "tensor") + results[i];
    copies += "  bufferization.materialize_in_destination %r#" + number +
              " in restrict writable %result" + number + " : (tensor" +
              results[i] + ", memref" + results[i] + ") -> ()\n";
  }
  std::string binding =
      results.empty() ? "" : "%r:" + std::to_string(results.size()) + " = ";
  return "func.func @" + name + "(" + list +
         ") attributes {llvm.emit_c_interface} {\n  " + binding + "vashista." +
         op.str() + " : (" + types + ") -> (" + resultTypes + ")\n" + copies +
         "  return\n}\n";
}

bool Entry::call(CompiledModule &module, Operands &operands, Outputs &outputs,
                 Tasks tasks) const {
  for (auto &[operand, values] : operands.consumed)
    std::memcpy(operands.buffers.at(operand).data(), values.data.data(),
                values.data.size() * sizeof(float));
  std::vector<Argument> arguments;
  auto output = outputs.begin();
  for (const Parameter &parameter : parameters) {
    if (parameter.isOutput)
      arguments.push_back(*output++);
    else if (parameter.type == "index")
      arguments.push_back(operands.numbers.at(parameter.name));
    else
      arguments.push_back(operands.buffers.at(parameter.name));
  }
  while (output != outputs.end())
    arguments.push_back(*output++);
  return module.invoke(name, arguments, tasks);
}

Outputs Entry::callEveryWay(CompiledModule &module, Operands &operands,
                            const std::function<Outputs()> &makeOutputs,
                            Random &random) const {
  auto callOnce = [&](Tasks tasks) {
    Outputs outputs = makeOutputs();
    EXPECT_TRUE(call(module, operands, outputs, tasks))
        << "no entry " << name << ", or it wrote before a buffer";
    return outputs;
  };
  Tasks threads, reversed;
  threads.numThreads = random.integer(2, 4);
  reversed.reversed = true;
  Outputs result = callOnce(Tasks());
  expectBitEqual(callOnce(Tasks()), result, "a second run");
  expectBitEqual(callOnce(threads), result, "several threads");
  expectBitEqual(callOnce(reversed), result, "tasks in reverse order");
  return result;
}

std::unique_ptr<CompiledModule>
vashista::test::compileEntries(const std::vector<const Entry *> &entries,
                               const CompileOptions &options) {
  std::string text, error;
  for (const Entry *entry : entries)
    text += entry->getText();
  auto module = CompiledModule::compile(text, options, error);
  EXPECT_TRUE(module) << error << text;
  return module;
}

void vashista::test::expectBitEqual(const Outputs &outputs,
                                    const Outputs &expected, const char *what) {
  ASSERT_EQ(outputs.size(), expected.size());
  for (size_t i = 0; i < outputs.size(); ++i)
    EXPECT_TRUE(areBitEqual(outputs[i], expected[i]))
        << "output " << i << " differs: " << what;
}

Outputs vashista::test::takeRow(const Outputs &outputs, int64_t row) {
  Outputs result;
  for (const Buffer &output : outputs) {
    Shape shape = output.getShape();
    size_t size = output.size() / shape[0];
    shape[0] = 1;
    result.emplace_back(output.getType(), shape);
    std::memcpy(result.back().data(),
                static_cast<const char *>(output.data()) + row * size, size);
  }
  return result;
}
