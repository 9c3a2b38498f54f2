//===- ConvertTest.cpp - Conversion of elements ---------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Convert.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

using namespace vashista::tool;

using Kind = FileType::Kind;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

DLDataType dtype(int code, int bits) {
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(bits), 1};
}
const DLDataType f16 = dtype(kDLFloat, 16), bf16 = dtype(kDLBfloat, 16),
                 f32 = dtype(kDLFloat, 32), f64 = dtype(kDLFloat, 64);

FileType fileType(Kind kind, unsigned bytes, bool swapped = false) {
  FileType type;
  type.kind = kind;
  type.bytes = bytes;
  type.swapped = swapped;
  type.name = "x";
  return type;
}

template <typename To, typename From>
std::vector<To> convertAll(const FileType &from, std::vector<From> elements,
                           DLDataType to) {
  std::vector<To> result(elements.size());
  EXPECT_FALSE(checkConversion(from, to));
  EXPECT_EQ(convert(from, elements.data(), to, result.data(), elements.size()),
            elements.size());
  return result;
}

//===----------------------------------------------------------------------===//
// 16-bit floating point, every pattern
//===----------------------------------------------------------------------===//

struct Format {
  int fractionBits;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(double);
  DLDataType type;
};

/// What a pattern means, by the definition of IEEE 754.
double meaning(const Format &format, unsigned bits) {
  int exponentBits = 15 - format.fractionBits;
  int bias = (1 << (exponentBits - 1)) - 1;
  int exponent = static_cast<int>(bits & 0x7fff) >> format.fractionBits;
  int fraction = static_cast<int>(bits) & ((1 << format.fractionBits) - 1);
  double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponentBits) - 1)
    return fraction ? std::nan("") : sign * inf;
  int hidden = exponent ? 1 << format.fractionBits : 0;
  return sign * std::ldexp(hidden + fraction, (exponent ? exponent : 1) - bias -
                                                  format.fractionBits);
}

class FormatTest : public testing::TestWithParam<Format> {};

TEST_P(FormatTest, WidensEveryPattern) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    double expected = meaning(GetParam(), bits);
    double got = GetParam().widen(static_cast<uint16_t>(bits));
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(got)) << bits;
    else
      ASSERT_EQ(got, expected) << bits;
    ASSERT_EQ(std::signbit(got), bits >= 32768) << bits;
  }
}

TEST_P(FormatTest, NarrowsEveryPatternToItself) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    double wide = GetParam().widen(static_cast<uint16_t>(bits));
    uint16_t got = GetParam().narrow(wide);
    if (std::isnan(wide))
      ASSERT_TRUE(std::isnan(GetParam().widen(got)) && got >> 15 == bits >> 15)
          << bits;
    else
      ASSERT_EQ(got, bits);
  }
}

// Between two neighbours the midpoint goes to the even pattern, and the next
// f64 on each side of it to the nearer one. An f32 on the way would round those
// to the midpoint first.
TEST_P(FormatTest, RoundsOnceBetweenAllNeighbours) {
  unsigned infinity = 0x7fff & ~((1U << GetParam().fractionBits) - 1);
  for (unsigned low = 0; low < infinity; ++low) {
    unsigned high = low + 1;
    double below = meaning(GetParam(), low);
    // To rounding, infinity is the power of two past the largest number.
    double above = high < infinity ? meaning(GetParam(), high)
                                   : 2 * below - meaning(GetParam(), low - 1);
    double middle = (below + above) / 2;
    unsigned even = low & 1 ? high : low;
    for (unsigned sign : {0U, 32768U}) {
      double factor = sign ? -1 : 1;
      ASSERT_EQ(GetParam().narrow(factor * middle), sign | even) << low;
      ASSERT_EQ(GetParam().narrow(factor * std::nextafter(middle, 0.0)),
                sign | low);
      ASSERT_EQ(GetParam().narrow(factor * std::nextafter(middle, inf)),
                sign | high);
    }
  }
}

TEST_P(FormatTest, NarrowsWhatIsFarOutside) {
  auto narrow = GetParam().narrow;
  uint16_t infinity = narrow(inf);
  EXPECT_EQ(meaning(GetParam(), infinity), inf);
  for (double large : {1e39, 1e300, std::numeric_limits<double>::max()}) {
    EXPECT_EQ(narrow(large), infinity);
    EXPECT_EQ(narrow(-large), infinity | 32768);
  }
  for (double small :
       {1e-60, 1e-300, std::numeric_limits<double>::denorm_min()}) {
    EXPECT_EQ(narrow(small), 0);
    EXPECT_EQ(narrow(-small), 32768);
  }
}

TEST_P(FormatTest, KeepsNaNsWhosePayloadIsCutOff) {
  for (uint64_t bits : {0x7ff0000000000001, 0x7ff8000000000000,
                        0x7ff4000000000000, 0x7fffffffffffffff}) {
    for (uint64_t pattern : {bits, bits | uint64_t(1) << 63}) {
      auto got = convertAll<uint16_t, uint64_t>(fileType(Kind::floating, 8),
                                                {pattern}, GetParam().type);
      EXPECT_TRUE(std::isnan(GetParam().widen(got[0])));
      EXPECT_EQ(got[0] >> 15, static_cast<int>(pattern >> 63));
    }
  }
  auto got = convertAll<uint16_t, uint32_t>(
      fileType(Kind::floating, 4), {0x7f800001, 0xff800001}, GetParam().type);
  EXPECT_TRUE(std::isnan(GetParam().widen(got[0])));
  EXPECT_TRUE(std::isnan(GetParam().widen(got[1])));
}

TEST_P(FormatTest, ConvertsFromFiles) {
  double tie = (meaning(GetParam(), 0x4000) + meaning(GetParam(), 0x4001)) / 2;
  auto fromF64 = convertAll<uint16_t, double>(fileType(Kind::floating, 8),
                                              {1.0, tie, tie * (1 + 1e-15)},
                                              GetParam().type);
  EXPECT_EQ(meaning(GetParam(), fromF64[0]), 1);
  EXPECT_EQ(fromF64[1], 0x4000);
  EXPECT_EQ(fromF64[2], 0x4001);
  auto fromF32 = convertAll<uint16_t, float>(fileType(Kind::floating, 4),
                                             {-2.0F, static_cast<float>(tie)},
                                             GetParam().type);
  EXPECT_EQ(meaning(GetParam(), fromF32[0]), -2);
  EXPECT_EQ(fromF32[1], 0x4000);
}

INSTANTIATE_TEST_SUITE_P(
    All, FormatTest,
    testing::Values(Format{10, widenF16, narrowToF16, f16},
                    Format{7, widenBF16, narrowToBF16, bf16}),
    [](const auto &info) {
      return std::string(info.param.fractionBits == 7 ? "bf16" : "f16");
    });

//===----------------------------------------------------------------------===//
// Other conversions
//===----------------------------------------------------------------------===//

TEST(Convert, F16ToOthers) {
  std::vector<uint16_t> patterns(65536);
  for (unsigned i = 0; i < 65536; ++i)
    patterns[i] = static_cast<uint16_t>(i);
  FileType file = fileType(Kind::floating, 2);
  EXPECT_EQ((convertAll<uint16_t>(file, patterns, f16)), patterns);
  auto asF32 = convertAll<float>(file, patterns, f32);
  auto asF64 = convertAll<double>(file, patterns, f64);
  auto asBF16 = convertAll<uint16_t>(file, patterns, bf16);
  for (unsigned i = 0; i < 65536; ++i) {
    float expected = widenF16(static_cast<uint16_t>(i));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(asF32[i]) && std::isnan(asF64[i]) &&
                  std::isnan(widenBF16(asBF16[i])));
      continue;
    }
    ASSERT_EQ(asF32[i], expected);
    ASSERT_EQ(asF64[i], expected);
    ASSERT_EQ(asBF16[i], narrowToBF16(expected));
  }
}

TEST(Convert, BetweenF32AndF64) {
  EXPECT_EQ(
      (convertAll<float, double>(fileType(Kind::floating, 8),
                                 {0.1, 1e300, -1e-300, inf}, f32)),
      (std::vector<float>{0.1F, std::numeric_limits<float>::infinity(), -0.0F,
                          std::numeric_limits<float>::infinity()}));
  EXPECT_EQ((convertAll<double, float>(fileType(Kind::floating, 4),
                                       {0.1F, 1e-45F}, f64)),
            (std::vector<double>{0.1F, 1e-45F}));
}

TEST(Convert, RawBits) {
  std::vector<uint16_t> patterns = {0, 1, 0x7f81, 0xffff, 0x3f80};
  EXPECT_EQ((convertAll<uint16_t>(fileType(Kind::natural, 2), patterns, bf16)),
            patterns);
  EXPECT_EQ((convertAll<uint16_t>(fileType(Kind::raw, 2), patterns, bf16)),
            patterns);
  EXPECT_EQ((convertAll<uint16_t>(fileType(Kind::natural, 2, /*swapped=*/true),
                                  patterns, bf16)),
            (std::vector<uint16_t>{0, 0x100, 0x817f, 0xffff, 0x803f}));
  std::vector<uint8_t> bytes = {0, 1, 127, 128, 255};
  DLDataType f8 = dtype(kDLFloat8_e4m3fn, 8);
  for (Kind kind : {Kind::natural, Kind::raw, Kind::floating})
    EXPECT_EQ((convertAll<uint8_t>(fileType(kind, 1), bytes, f8)), bytes);
}

TEST(Convert, OtherByteOrder) {
  EXPECT_EQ((convertAll<double, uint32_t>(fileType(Kind::floating, 4, true),
                                          {0x0000803f, 0x000020c0}, f64)),
            (std::vector<double>{1, -2.5}));
  EXPECT_EQ(
      (convertAll<int32_t, uint64_t>(fileType(Kind::integer, 8, true),
                                     {0xfeffffffffffffff}, dtype(kDLInt, 32))),
      std::vector<int32_t>{-2});
  EXPECT_EQ((convertAll<uint16_t, uint16_t>(fileType(Kind::floating, 2, true),
                                            {0x003c}, f16)),
            std::vector<uint16_t>{0x3c00});
}

/// All integers around the limits of all types, through all pairs of types.
TEST(Convert, IntegersThatFitAndThatDoNot) {
  using Wide = __int128;
  struct Integer {
    Kind kind;
    unsigned bytes;
    Wide least, most;
  };
  std::vector<Integer> types;
  for (unsigned bytes : {1U, 2U, 4U, 8U}) {
    Wide half = Wide(1) << (8 * bytes - 1);
    types.push_back({Kind::integer, bytes, -half, half - 1});
    types.push_back({Kind::natural, bytes, 0, 2 * half - 1});
  }
  std::vector<Wide> values;
  for (const Integer &type : types)
    values.insert(values.end(), {type.least - 1, type.least, type.least + 1,
                                 type.most - 1, type.most, type.most + 1});
  int refused = 0;
  for (const Integer &from : types) {
    for (const Integer &to : types) {
      DLDataType type = dtype(to.kind == Kind::integer ? kDLInt : kDLUInt,
                              static_cast<int>(to.bytes * 8));
      FileType file = fileType(from.kind, from.bytes);
      ASSERT_FALSE(checkConversion(file, type));
      for (Wide value : values) {
        if (value < from.least || value > from.most)
          continue;
        // Little endian: the low bytes come first.
        auto bits = static_cast<uint64_t>(value);
        uint64_t result = 0;
        bool fits = value >= to.least && value <= to.most;
        ASSERT_EQ(convert(file, &bits, type, &result, 1), fits ? 1U : 0U);
        refused += !fits;
        uint64_t mask = ~uint64_t(0) >> (64 - 8 * to.bytes);
        if (fits)
          ASSERT_EQ(result, static_cast<uint64_t>(value) & mask);
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(Convert, SaysWhichElementDoesNotFit) {
  std::vector<int64_t> values = {1, 2, 3000000000, 4};
  std::vector<int32_t> result(4);
  FileType file = fileType(Kind::integer, 8);
  EXPECT_EQ(convert(file, values.data(), dtype(kDLInt, 32), result.data(), 4),
            2U);
  EXPECT_EQ(elementText(file, &values[2]), "3000000000");
  std::vector<uint8_t> bools = {0, 1, 2};
  EXPECT_EQ(convert(fileType(Kind::boolean, 1), bools.data(), dtype(kDLBool, 8),
                    result.data(), 3),
            2U);
  EXPECT_EQ(elementText(fileType(Kind::boolean, 1), &bools[2]), "2");
}

TEST(Convert, RefusesOtherKinds) {
  auto message = [](Kind kind, unsigned bytes, DLDataType to) {
    return checkConversion(fileType(kind, bytes), to).message();
  };
  DLDataType i32 = dtype(kDLInt, 32), boolean = dtype(kDLBool, 8),
             f8 = dtype(kDLFloat8_e5m2, 8);
  EXPECT_EQ(message(Kind::floating, 4, i32),
            "expected i32 (integers), got 'x'");
  EXPECT_EQ(message(Kind::integer, 4, f32),
            "expected f32 (f2, f4 or f8), got 'x'");
  EXPECT_EQ(message(Kind::natural, 1, bf16),
            "expected bf16 (f2, f4 or f8, or raw bits as u2 or V2), got 'x'");
  EXPECT_EQ(message(Kind::floating, 4, f8),
            "expected f8E5M2 (raw bits as u1 or V1), got 'x'");
  EXPECT_EQ(message(Kind::natural, 1, boolean), "expected bool (b1), got 'x'");
  EXPECT_TRUE(checkConversion(fileType(Kind::integer, 2), bf16));
  EXPECT_TRUE(checkConversion(fileType(Kind::natural, 2), f16));
  EXPECT_TRUE(checkConversion(fileType(Kind::raw, 2), f16));
  EXPECT_TRUE(checkConversion(fileType(Kind::raw, 2), i32));
  EXPECT_TRUE(checkConversion(fileType(Kind::raw, 1), bf16));
  EXPECT_TRUE(checkConversion(fileType(Kind::boolean, 1), i32));
  EXPECT_TRUE(checkConversion(fileType(Kind::boolean, 1), f8));
  EXPECT_TRUE(checkConversion(fileType(Kind::integer, 1), f8));
  EXPECT_TRUE(checkConversion(fileType(Kind::integer, 1), boolean));
  EXPECT_TRUE(checkConversion(fileType(Kind::floating, 1), f32));
  EXPECT_TRUE(checkConversion(fileType(Kind::floating, 1), bf16));
}

} // namespace
