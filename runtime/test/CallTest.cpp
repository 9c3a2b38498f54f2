//===- CallTest.cpp - Tensors that fit and tensors that do not ------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include <cmath>
#include <limits>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

using namespace vashista;
using namespace vashista::test;

namespace {

//===----------------------------------------------------------------------===//
// What fits
//===----------------------------------------------------------------------===//

class CallTest : public testing::Test {
protected:
  Module module = load(kernelsArtefact());
};

TEST_F(CallTest, SizesFromNoneToMany) {
  for (int64_t size : {0, 1, 2, 3, 63, 64, 1000, 100000}) {
    Tensor<float> x({size}), y({size});
    for (int64_t i = 0; i < size; ++i)
      x[i] = static_cast<float>(i) + 0.5F;
    ASSERT_OK(call(module, "halve", {x}, {y}));
    for (int64_t i = 0; i < size; ++i)
      ASSERT_EQ(y[i], x[i] / 2);
  }
}

TEST_F(CallTest, NullDataWithoutElements) {
  Tensor<float> x({0}), y({0});
  x.dl.data = y.dl.data = nullptr;
  EXPECT_OK(call(module, "halve", {x}, {y}));
}

TEST_F(CallTest, StridesOfAnArgument) {
  // Row-major, padded, transposed, backwards, and one element for all.
  const std::vector<std::vector<int64_t>> allStrides = {
      {}, {5, 1}, {8, 1}, {1, 3}, {11, 2}, {0, 0}, {0, 1}};
  for (const std::vector<int64_t> &strides : allStrides) {
    Tensor<float> x({3, 5}, strides), y({5, 3});
    const std::vector<int64_t> s =
        strides.empty() ? std::vector<int64_t>{5, 1} : strides;
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 5; ++j)
        x[i * s[0] + j * s[1]] = static_cast<float>(i * s[0] + j * s[1]);
    ASSERT_OK(call(module, "transpose", {x}, {y}));
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 5; ++j)
        EXPECT_EQ(y[j * 3 + i], static_cast<float>(i * s[0] + j * s[1]));
  }

  Tensor<float> x({2, 2}, {1, 2, 3, 4}), y({2, 2});
  int64_t backwards[] = {-2, -1};
  x.dl.strides = backwards;
  x.dl.byte_offset = 3 * sizeof(float);
  ASSERT_OK(call(module, "transpose", {x}, {y}));
  EXPECT_EQ(std::vector<float>(y.begin(), y.end()),
            (std::vector<float>{4, 2, 3, 1}));
}

TEST_F(CallTest, StridesThatDoNotMatter) {
  // Of one element, and of none.
  int64_t strides[] = {77};
  for (int64_t size : {0, 1}) {
    Tensor<float> x({size}), y({size});
    x.dl.strides = y.dl.strides = strides;
    EXPECT_OK(call(module, "halve", {x}, {y}));
  }
  Tensor<float> x({4}), y({4});
  strides[0] = 1;
  x.dl.strides = y.dl.strides = strides;
  EXPECT_OK(call(module, "halve", {x}, {y}));
}

TEST_F(CallTest, ByteOffset) {
  Tensor<float> x({4}, {1, 2, 3, 4}), y({4});
  x.shape = y.shape = {2};
  x.dl.byte_offset = 8;
  y.dl.byte_offset = 4;
  ASSERT_OK(call(module, "halve", {x}, {y}));
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 4),
            (std::vector<float>{0, 1.5F, 2, 0}));
}

TEST_F(CallTest, WrittenInPlace) {
  Tensor<int32_t> x({3}, {10, 20, 30});
  ASSERT_OK(call(module, "increment", {x}, {}));
  EXPECT_EQ(x[0], 11);
  EXPECT_EQ(x[2], 31);

  Tensor<int32_t> padded({3}, std::vector<int64_t>{2});
  ASSERT_OK(call(module, "increment", {padded}, {}));
  const int32_t expected[] = {1, 0, 1, 0, 1};
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(padded[i], expected[i]);
}

TEST_F(CallTest, ReadsOneTensorTwice) {
  // Overlaps matter only where something is written.
  Artefact artefact = tinyArtefact();
  artefact.entries[0].symbol = "nothing";
  artefact.entries[0].arguments = {value("a", typeOf<float>(), {fixed(4)}),
                                   value("b", typeOf<float>(), {fixed(4)})};
  Tensor<float> x({4});
  Tensor<int32_t> o({});
  EXPECT_OK(call(load(artefact), "answer", {x, x}, {o}));
}

TEST_F(CallTest, Temporaries) {
  Tensor<int64_t> size({}), good({});
  for (int64_t bytes : {0, 1, 7, 4096, 1 << 20}) {
    size[0] = bytes;
    good[0] = 0;
    ASSERT_OK(call(module, "temporary", {size}, {good}));
    EXPECT_EQ(good[0], 1) << bytes;
  }
}

TEST_F(CallTest, TemporariesThatThereIsNoMemoryFor) {
  Tensor<int64_t> size({}, {std::numeric_limits<int64_t>::max()}), good({});
  EXPECT_FAILS(call(module, "temporary", {size}, {good}),
               VASHISTA_OUT_OF_MEMORY,
               "entry 'temporary': expected memory for temporaries, got none");
  EXPECT_FAILS(call(module, "temporaries", {size}, {}), VASHISTA_OUT_OF_MEMORY,
               "entry 'temporaries': expected memory for temporaries, got "
               "none");
  // One call says nothing about the next.
  size[0] = 1;
  EXPECT_OK(call(module, "temporary", {size}, {good}));
}

#ifdef __SSE__
TEST_F(CallTest, FloatingPointEnvironment) {
  constexpr int64_t size = 4096;
  Tensor<float> x({size}), expected({size}), y({size});
  for (int64_t i = 0; i < size; ++i)
    x[i] = std::ldexp(1.0F, -140) * static_cast<float>(2 * i + 1);
  ASSERT_OK(call(module, "halve", {x}, {expected}));
  EXPECT_NE(expected[0], 0);

  // Flush denormals, round up.
  unsigned before = _mm_getcsr();
  unsigned modes = (before & ~0x6000U) | 0x8040U | 0x4000U;
  _mm_setcsr(modes);
  vashista_status status = call(module, "halve", {x}, {y});
  unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_OK(status);
  EXPECT_EQ(after, modes);
  for (int64_t i = 0; i < size; ++i)
    ASSERT_EQ(y[i], expected[i]) << i;
}
#endif

//===----------------------------------------------------------------------===//
// What does not fit
//===----------------------------------------------------------------------===//

/// An entry that does nothing, with one of everything.
class WrongCallTest : public testing::Test {
protected:
  WrongCallTest() {
    Artefact artefact = tinyArtefact();
    ArtefactEntry &entry = artefact.entries[0];
    entry.name = "all";
    entry.symbol = "nothing";
    ArtefactValue cache =
        value("cache", {kDLBfloat, 16, 1}, {dynamic(), fixed(16)});
    cache.written = cache.strided = true;
    entry.arguments = {
        value("q", typeOf<float>(), {dynamic(), fixed(32)}),
        value("table", typeOf<int32_t>(), {tied(0, 0), dynamic()}), cache};
    entry.results = {value("o", typeOf<float>(), {tied(0, 0), fixed(32)}),
                     value("scores", typeOf<float>(), {tied(1, 1, 16)})};
    module = load(artefact);
    cacheTensor.dl.dtype = {kDLBfloat, 16, 1};
  }

  void expectRefused(const char *message) {
    EXPECT_FAILS(call(module, "all", {q, table, cacheTensor}, {o, scores}),
                 VASHISTA_INVALID_ARGUMENT, message);
  }

  Module module;
  Tensor<float> q{{4, 32}};
  Tensor<int32_t> table{{4, 3}};
  Tensor<int16_t> cacheTensor{{7, 16}};
  Tensor<float> o{{4, 32}}, scores{{48}};
};

TEST_F(WrongCallTest, FitsWhenRight) {
  EXPECT_OK(call(module, "all", {q, table, cacheTensor}, {o, scores}));
}

TEST_F(WrongCallTest, Calls) {
  DLTensor *arguments[] = {q, table, cacheTensor}, *results[] = {o, scores};
  EXPECT_FAILS(vashista_call(nullptr, 0, arguments, 3, results, 2, nullptr),
               VASHISTA_INVALID_ARGUMENT, "expected a module, got null");
  EXPECT_FAILS(
      vashista_call(module.get(), 1, arguments, 3, results, 2, nullptr),
      VASHISTA_INVALID_ARGUMENT, "expected one of 1 entries, got number 1");
  EXPECT_FAILS(
      vashista_call(module.get(), 0, arguments, 2, results, 2, nullptr),
      VASHISTA_INVALID_ARGUMENT,
      "entry 'all': expected 3 arguments and 2 results, got 2 and 2");
  EXPECT_FAILS(
      vashista_call(module.get(), 0, arguments, 3, results, 3, nullptr),
      VASHISTA_INVALID_ARGUMENT,
      "entry 'all': expected 3 arguments and 2 results, got 3 and 3");
  EXPECT_FAILS(vashista_call(module.get(), 0, nullptr, 3, results, 2, nullptr),
               VASHISTA_INVALID_ARGUMENT, "expected 3 tensors, got null");
  EXPECT_FAILS(
      vashista_call(module.get(), 0, arguments, 3, nullptr, 2, nullptr),
      VASHISTA_INVALID_ARGUMENT, "expected 2 tensors, got null");
  arguments[1] = nullptr;
  EXPECT_FAILS(
      vashista_call(module.get(), 0, arguments, 3, results, 2, nullptr),
      VASHISTA_INVALID_ARGUMENT,
      "argument 1 'table': expected a tensor, got null");
  vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
  options.struct_size = 1;
  EXPECT_FAILS(
      vashista_call(module.get(), 0, arguments, 3, results, 2, &options),
      VASHISTA_INVALID_ARGUMENT,
      "expected call options of struct_size 40, got 1");
}

TEST_F(WrongCallTest, Devices) {
  o.dl.device.device_type = kDLCUDA;
  expectRefused("result 0 'o': expected a tensor of the CPU, got device type "
                "2");
}

TEST_F(WrongCallTest, Types) {
  auto expectTypeRefused = [&](DLDataType type, const char *message) {
    q.dl.dtype = type;
    expectRefused(message);
  };
  expectTypeRefused({kDLFloat, 16, 1}, "argument 0 'q': expected f32, got f16");
  expectTypeRefused({kDLBfloat, 16, 1},
                    "argument 0 'q': expected f32, got bf16");
  expectTypeRefused({kDLInt, 32, 1}, "argument 0 'q': expected f32, got i32");
  expectTypeRefused({kDLUInt, 32, 1}, "argument 0 'q': expected f32, got u32");
  expectTypeRefused({kDLBool, 8, 1}, "argument 0 'q': expected f32, got bool");
  expectTypeRefused({kDLComplex, 64, 1},
                    "argument 0 'q': expected f32, got complex64");
  expectTypeRefused({kDLFloat8_e4m3fn, 8, 1},
                    "argument 0 'q': expected f32, got f8E4M3FN");
  expectTypeRefused({kDLFloat, 32, 4},
                    "argument 0 'q': expected f32, got f32 x 4");
  expectTypeRefused({kDLFloat, 32, 0},
                    "argument 0 'q': expected f32, got f32 x 0");
  expectTypeRefused({kDLOpaqueHandle, 64, 1},
                    "argument 0 'q': expected f32, got code 3 of 64 bits");
  expectTypeRefused({255, 255, 65535}, "argument 0 'q': expected f32, got code "
                                       "255 of 255 bits x 65535");
  q.dl.dtype = typeOf<float>();
  cacheTensor.dl.dtype = {kDLFloat, 16, 1};
  expectRefused("argument 2 'cache': expected bf16, got f16");
}

TEST_F(WrongCallTest, Ranks) {
  q.dl.ndim = 3;
  expectRefused("argument 0 'q': expected rank 2, got 3");
  q.dl.ndim = -1;
  expectRefused("argument 0 'q': expected rank 2, got -1");
  q.dl.ndim = 2;
  q.dl.shape = nullptr;
  expectRefused("argument 0 'q': expected a shape, got null");
}

TEST_F(WrongCallTest, Sizes) {
  q.shape[1] = 31;
  expectRefused("argument 0 'q', dimension 1: expected 32, got 31");
  q.shape = {-4, 32};
  expectRefused("argument 0 'q', dimension 0: expected 0 or more, got -4");
  q.shape = {std::numeric_limits<int64_t>::max() / 8, 32};
  expectRefused("argument 0 'q': expected fewer than 2^63 bytes, got more");
  q.shape = {std::numeric_limits<int64_t>::max() / 32, 32};
  expectRefused("argument 0 'q': expected fewer than 2^63 bytes, got more");
}

TEST_F(WrongCallTest, TiedSizes) {
  table.shape[0] = 3;
  expectRefused("argument 1 'table', dimension 0: expected the 4 of "
                "dimension 0 of argument 0 'q', got 3");
  table.shape[0] = 4;
  scores.shape[0] = 47;
  expectRefused("result 1 'scores', dimension 0: expected 16 times the 3 of "
                "dimension 1 of argument 1 'table', got 47");
  // The product is not representable.
  table.shape = {0, std::numeric_limits<int64_t>::max()};
  q.shape[0] = o.shape[0] = 0;
  expectRefused("result 1 'scores', dimension 0: expected 16 times the "
                "9223372036854775807 of dimension 1 of argument 1 'table', got "
                "47");
}

TEST_F(WrongCallTest, Strides) {
  int64_t strides[] = {33, 1};
  q.dl.strides = strides;
  expectRefused("argument 0 'q', dimension 0: expected the row-major stride "
                "32, got 33");
  q.dl.strides = nullptr;
  o.dl.strides = strides;
  expectRefused("result 0 'o', dimension 0: expected the row-major stride 32, "
                "got 33");
  o.dl.strides = nullptr;

  int64_t broadcast[] = {0, 1};
  cacheTensor.dl.strides = broadcast;
  expectRefused("argument 2 'cache', dimension 0: expected a stride other than "
                "0 of what is written, got 0");
  for (int64_t far : {std::numeric_limits<int64_t>::max() / 6,
                      std::numeric_limits<int64_t>::max(),
                      std::numeric_limits<int64_t>::min() / 6,
                      std::numeric_limits<int64_t>::min()}) {
    int64_t overflowing[] = {far, 1};
    cacheTensor.dl.strides = overflowing;
    expectRefused("argument 2 'cache': expected strides that stay within 2^63 "
                  "bytes, got others");
  }
}

TEST_F(WrongCallTest, Data) {
  q.dl.data = nullptr;
  expectRefused("argument 0 'q': expected data, got null");
  q.dl.data = q.begin();
  q.dl.byte_offset = 2;
  expectRefused("argument 0 'q': expected data aligned to 4 bytes, got an "
                "address 2 past that");
  q.dl.byte_offset = std::numeric_limits<uint64_t>::max() - 3;
  expectRefused("argument 0 'q': expected data within the address space, got "
                "byte offset 18446744073709551612");
  q.dl.byte_offset = 0 - reinterpret_cast<uint64_t>(q.begin()) - 8;
  EXPECT_EQ(call(module, "all", {q, table, cacheTensor}, {o, scores}),
            VASHISTA_INVALID_ARGUMENT);
}

TEST_F(WrongCallTest, Overlaps) {
  o.dl.data = q.begin();
  expectRefused("result 0 'o': expected memory of its own, got some of "
                "argument 0 'q'");
  // By one element.
  o.dl.data = q.begin() + 127;
  expectRefused("result 0 'o': expected memory of its own, got some of "
                "argument 0 'q'");
  o.dl.data = q.begin() + 128;
  EXPECT_OK(call(module, "all", {q, table, cacheTensor}, {o, scores}));
  // Right behind and right before is not within.
  Tensor<float> both({48 + 128});
  scores.dl.data = both.begin();
  o.dl.data = both.begin() + 48;
  EXPECT_OK(call(module, "all", {q, table, cacheTensor}, {o, scores}));
  o.dl.data = both.begin();
  scores.dl.data = both.begin() + 128;
  EXPECT_OK(call(module, "all", {q, table, cacheTensor}, {o, scores}));
  o.dl.data = o.begin();
  scores.dl.data = o.begin() + 10;
  expectRefused("result 0 'o': expected memory of its own, got some of result "
                "1 'scores'");
  scores.dl.data = scores.begin();
  cacheTensor.dl.data = table.begin();
  expectRefused("argument 2 'cache': expected memory of its own, got some of "
                "argument 1 'table'");
  // A layout that interleaves caches is not known to overlap.
  int64_t interleaved[] = {32, 1};
  cacheTensor.dl.strides = interleaved;
  EXPECT_OK(call(module, "all", {q, table, cacheTensor}, {o, scores}));
}

} // namespace
