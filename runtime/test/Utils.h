//===- Utils.h - What the tests of the runtime share ------------*- C++ -*-===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef VASHISTA_RUNTIME_TEST_UTILS_H
#define VASHISTA_RUNTIME_TEST_UTILS_H

#include "vashista/Target/ArtefactWriter.h"
#include "vashista_artefact.h"
#include "vashista_runtime.h"

#include "gtest/gtest.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace vashista::test {

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

template <typename T> constexpr DLDataType typeOf() {
  constexpr uint8_t bits = sizeof(T) * 8;
  return {static_cast<uint8_t>(std::is_floating_point_v<T> ? kDLFloat : kDLInt),
          bits, 1};
}

/// Zeros, with an unmapped page right behind them and one before them.
class GuardedMemory {
public:
  explicit GuardedMemory(size_t size);
  ~GuardedMemory();
  GuardedMemory(GuardedMemory &&other) noexcept;
  GuardedMemory &operator=(GuardedMemory &&) = delete;

  void *data() const { return start; }

private:
  char *mapping;
  size_t mappingSize;
  char *start;
};

/// A tensor in guarded memory, row-major unless it is given strides. The
/// DLTensor may be changed into a wrong one.
template <typename T> class Tensor {
public:
  explicit Tensor(std::vector<int64_t> shape, std::vector<int64_t> strides = {})
      : shape(std::move(shape)), strides(std::move(strides)),
        memory(reach() * sizeof(T)) {
    dl.data = memory.data();
    dl.device = {kDLCPU, 0};
    dl.ndim = static_cast<int32_t>(this->shape.size());
    dl.dtype = typeOf<T>();
    dl.shape = this->shape.data();
    dl.strides = this->strides.empty() ? nullptr : this->strides.data();
  }
  Tensor(std::vector<int64_t> shape, std::initializer_list<T> elements)
      : Tensor(std::move(shape)) {
    std::copy(elements.begin(), elements.end(), begin());
  }
  Tensor(const Tensor &) = delete;
  Tensor &operator=(const Tensor &) = delete;

  T &operator[](int64_t i) const { return begin()[i]; }
  T *begin() const { return static_cast<T *>(memory.data()); }
  /// Of a row-major tensor.
  T *end() const { return begin() + reach(); }
  operator DLTensor *() { return &dl; }

  std::vector<int64_t> shape, strides;
  DLTensor dl = {};

private:
  /// Elements from the first to the last.
  int64_t reach() const {
    int64_t last = 0, next = 1;
    for (size_t d = shape.size(); d-- > 0; next *= shape[d]) {
      if (shape[d] == 0)
        return 0;
      last += (shape[d] - 1) * (strides.empty() ? next : strides[d]);
    }
    return last + 1;
  }

  GuardedMemory memory;
};

//===----------------------------------------------------------------------===//
// Artefacts
//===----------------------------------------------------------------------===//

std::string readFile(const std::string &path);
void writeFile(const std::string &path, const std::string &bytes);

/// Payloads that the build made: Inputs/tiny.c with the answer 42, and with 7
/// and never unloaded; Inputs/kernels.c.
const std::string &tinyPayload();
const std::string &stickyPayload();
const std::string &kernelsPayload();

ArtefactValue value(std::string name, DLDataType type,
                    std::initializer_list<ArtefactDim> dims);
ArtefactDim fixed(int64_t size);
ArtefactDim dynamic();
ArtefactDim tied(unsigned argument, unsigned dim, int64_t factor = 1);

/// An artefact of one entry 'answer': () -> i32.
Artefact tinyArtefact(const std::string &payload = tinyPayload());

/// All entries of Inputs/kernels.c.
Artefact kernelsArtefact();

/// Its bytes; a failure to write it fails the test.
std::string write(const Artefact &artefact);

/// Makes the digest that of the bytes again.
void redigest(std::string &bytes);

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

struct ModuleDeleter {
  void operator()(vashista_module *module) const {
    vashista_module_free(module);
  }
};
using Module = std::unique_ptr<vashista_module, ModuleDeleter>;

/// Null with a failed test when it does not load.
Module load(const std::string &bytes);
Module load(const Artefact &artefact);

/// Expects not to load, with that status and message.
void expectRefused(const std::string &bytes, vashista_status status,
                   const std::string &message);

/// The number of an entry.
uint32_t find(const Module &module, const char *name);

vashista_status call(const Module &module, const char *entry,
                     std::vector<DLTensor *> arguments,
                     std::vector<DLTensor *> results, bool checked = false,
                     uint32_t threads = 0);

/// What the entry 'answer' says.
int answer(const Module &module);

} // namespace vashista::test

#define EXPECT_OK(expression)                                                  \
  EXPECT_EQ(expression, VASHISTA_OK) << vashista_last_error()
#define ASSERT_OK(expression)                                                  \
  ASSERT_EQ(expression, VASHISTA_OK) << vashista_last_error()
#define EXPECT_FAILS(expression, status, message)                              \
  do {                                                                         \
    EXPECT_EQ(expression, status);                                             \
    EXPECT_STREQ(vashista_last_error(), message);                              \
  } while (false)

#endif // VASHISTA_RUNTIME_TEST_UTILS_H
