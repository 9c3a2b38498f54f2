//===- Convert.cpp - Element types and their conversion -------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Convert.h"

#include <cstring>
#include <limits>

using namespace vashista::tool;

using Kind = FileType::Kind;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

bool vashista::tool::isFloat8(DLDataType type) {
  return type.code >= kDLFloat8_e3m4 && type.code <= kDLFloat8_e8m0fnu;
}

std::string vashista::tool::nameOf(DLDataType type) {
  static const char *const float8[] = {
      "f8E3M4",     "f8E4M3", "f8E4M3B11FNUZ", "f8E4M3FN",
      "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ",    "f8E8M0FNU"};
  if (isFloat8(type))
    return float8[type.code - kDLFloat8_e3m4];
  switch (type.code) {
  case kDLInt:
    return text("i%d", type.bits);
  case kDLUInt:
    return text("u%d", type.bits);
  case kDLFloat:
    return text("f%d", type.bits);
  case kDLBfloat:
    return text("bf%d", type.bits);
  case kDLBool:
    return "bool";
  case kDLComplex:
    return text("complex%d", type.bits);
  default:
    return text("code %d of %d bits", type.code, type.bits);
  }
}

unsigned vashista::tool::bytesOf(DLDataType type) {
  bool known = type.code == kDLInt || type.code == kDLUInt ||
               type.code == kDLFloat || type.code == kDLBfloat ||
               type.code == kDLBool || isFloat8(type);
  return known ? type.bits / 8 : 0;
}

Error vashista::tool::checkConversion(const FileType &from, DLDataType to) {
  std::string expected;
  bool fits = false;
  if (isFloat8(to)) {
    // ml_dtypes has written V1 as well as f1.
    fits = from.bytes == 1 && from.kind != Kind::boolean &&
           from.kind != Kind::integer;
    expected = "raw bits as u1 or V1";
  } else if (to.code == kDLBfloat) {
    fits = from.kind == Kind::floating ||
           (from.bytes == 2 &&
            (from.kind == Kind::natural || from.kind == Kind::raw));
    expected = "f2, f4 or f8, or raw bits as u2 or V2";
  } else if (to.code == kDLFloat) {
    fits = from.kind == Kind::floating;
    expected = "f2, f4 or f8";
  } else if (to.code == kDLBool) {
    fits = from.kind == Kind::boolean;
    expected = "b1";
  } else if (to.code == kDLInt || to.code == kDLUInt) {
    fits = from.kind == Kind::integer || from.kind == Kind::natural;
    expected = "integers";
  }
  // An f1 is bits and no number that could be converted.
  if (fits && (isFloat8(to) || from.kind != Kind::floating || from.bytes > 1))
    return Error::success();
  return fail("expected %s (%s), got '%s'", nameOf(to).c_str(),
              expected.c_str(), printable(from.name).c_str());
}

//===----------------------------------------------------------------------===//
// Floating point
//===----------------------------------------------------------------------===//

template <typename To, typename From> static To bitCast(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

float vashista::tool::widenBF16(uint16_t bits) {
  return bitCast<float>(static_cast<uint32_t>(bits) << 16);
}

float vashista::tool::widenF16(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent == 0) {
    // A multiple of 2^-24, which f32 holds exactly.
    float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign ? -magnitude : magnitude;
  }
  exponent = exponent == 31 ? 255 : exponent + (127 - 15);
  return bitCast<float>(sign | exponent << 23 | fraction << 13);
}

/// Rounds to a 16-bit format of so many fraction bits in one step.
template <int fractionBits> static uint16_t narrow(double value) {
  constexpr int exponentBits = 15 - fractionBits;
  constexpr int bias = (1 << (exponentBits - 1)) - 1;
  constexpr uint64_t infinity = ((uint64_t(1) << exponentBits) - 1)
                                << fractionBits;
  constexpr uint64_t hidden = uint64_t(1) << 52;

  auto bits = bitCast<uint64_t>(value);
  auto sign = static_cast<uint16_t>(bits >> 48 & 0x8000);
  int biased = static_cast<int>(bits >> 52 & 0x7ff);
  uint64_t fraction = bits & (hidden - 1);
  if (biased == 0x7ff) {
    if (fraction == 0)
      return static_cast<uint16_t>(sign | infinity);
    // Quiet, because what is left of the payload may be 0.
    uint64_t payload = fraction >> (52 - fractionBits);
    payload |= uint64_t(1) << (fractionBits - 1);
    return static_cast<uint16_t>(sign | infinity | payload);
  }

  // Subnormal numbers of the format have the least normal exponent and fewer
  // bits. Those of f64 are less than half of them all.
  int exponent = biased - 1023;
  int shift = 52 - fractionBits;
  uint64_t above = 0;
  if (exponent < 1 - bias)
    shift += 1 - bias - exponent;
  else
    above = static_cast<uint64_t>(exponent - (1 - bias)) << fractionBits;
  if (biased == 0 || shift > 53)
    return sign;

  uint64_t significand = fraction | hidden;
  uint64_t kept = significand >> shift;
  uint64_t rest = significand & ((uint64_t(1) << shift) - 1);
  uint64_t half = uint64_t(1) << (shift - 1);
  if (rest > half || (rest == half && (kept & 1)))
    ++kept;
  // The hidden bit, and a carry, raise the exponent.
  uint64_t magnitude = above + kept;
  return static_cast<uint16_t>(sign |
                               (magnitude < infinity ? magnitude : infinity));
}

uint16_t vashista::tool::narrowToF16(double value) { return narrow<10>(value); }
uint16_t vashista::tool::narrowToBF16(double value) { return narrow<7>(value); }

namespace {
// 16-bit formats as types of their own.
struct F16 {
  uint16_t bits;
  operator float() const { return widenF16(bits); }
};
struct BF16 {
  uint16_t bits;
  operator float() const { return widenBF16(bits); }
};
} // namespace

template <typename To> static To narrowTo(double value) {
  return static_cast<To>(value);
}
template <> F16 narrowTo<F16>(double value) { return {narrowToF16(value)}; }
template <> BF16 narrowTo<BF16>(double value) { return {narrowToBF16(value)}; }

template <typename From, typename To>
static void convertFloats(const void *source, void *destination, size_t count) {
  const auto *from = static_cast<const From *>(source);
  auto *to = static_cast<To *>(destination);
  // Every smaller format is a part of f64, so that only one step rounds.
  for (size_t i = 0; i < count; ++i)
    to[i] = narrowTo<To>(from[i]);
}

template <typename From>
static void convertFloats(const void *source, DLDataType to, void *destination,
                          size_t count) {
  if (to.code == kDLBfloat)
    convertFloats<From, BF16>(source, destination, count);
  else if (to.bits == 16)
    convertFloats<From, F16>(source, destination, count);
  else if (to.bits == 32)
    convertFloats<From, float>(source, destination, count);
  else
    convertFloats<From, double>(source, destination, count);
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

template <typename From, typename To>
static size_t convertIntegers(const void *source, void *destination,
                              size_t count) {
  const auto *from = static_cast<const From *>(source);
  auto *to = static_cast<To *>(destination);
  using Wide = __int128;
  constexpr Wide least = std::numeric_limits<To>::min();
  constexpr Wide most = std::numeric_limits<To>::max();
  for (size_t i = 0; i < count; ++i) {
    if (Wide(from[i]) < least || Wide(from[i]) > most)
      return i;
    to[i] = static_cast<To>(from[i]);
  }
  return count;
}

/// Calls the function with a null pointer to the integer type.
template <typename Function>
static size_t withInteger(bool hasSign, unsigned bytes, Function function) {
  switch (bytes) {
  case 1:
    return hasSign ? function((int8_t *)nullptr) : function((uint8_t *)nullptr);
  case 2:
    return hasSign ? function((int16_t *)nullptr)
                   : function((uint16_t *)nullptr);
  case 4:
    return hasSign ? function((int32_t *)nullptr)
                   : function((uint32_t *)nullptr);
  default:
    return hasSign ? function((int64_t *)nullptr)
                   : function((uint64_t *)nullptr);
  }
}

//===----------------------------------------------------------------------===//
// Both
//===----------------------------------------------------------------------===//

static void swapBytes(void *data, unsigned bytes, size_t count) {
  if (bytes == 2) {
    auto *p = static_cast<uint16_t *>(data);
    for (size_t i = 0; i < count; ++i)
      p[i] = __builtin_bswap16(p[i]);
  } else if (bytes == 4) {
    auto *p = static_cast<uint32_t *>(data);
    for (size_t i = 0; i < count; ++i)
      p[i] = __builtin_bswap32(p[i]);
  } else if (bytes == 8) {
    auto *p = static_cast<uint64_t *>(data);
    for (size_t i = 0; i < count; ++i)
      p[i] = __builtin_bswap64(p[i]);
  }
}

size_t vashista::tool::convert(const FileType &from, void *source,
                               DLDataType to, void *destination, size_t count) {
  if (from.swapped)
    swapBytes(source, from.bytes, count);

  bool raw = from.kind == Kind::raw || isFloat8(to) ||
             (to.code == kDLBfloat && from.kind == Kind::natural);
  bool same = (from.kind == Kind::floating && to.code == kDLFloat) ||
              (from.kind == Kind::integer && to.code == kDLInt) ||
              (from.kind == Kind::natural && to.code == kDLUInt);
  if (raw || (same && from.bytes == bytesOf(to))) {
    if (count > 0)
      memcpy(destination, source, count * from.bytes);
    return count;
  }

  switch (from.kind) {
  case Kind::boolean: {
    const auto *bytes = static_cast<const uint8_t *>(source);
    for (size_t i = 0; i < count; ++i) {
      if (bytes[i] > 1)
        return i;
      static_cast<uint8_t *>(destination)[i] = bytes[i];
    }
    return count;
  }
  case Kind::floating:
    if (from.bytes == 2)
      convertFloats<F16>(source, to, destination, count);
    else if (from.bytes == 4)
      convertFloats<float>(source, to, destination, count);
    else
      convertFloats<double>(source, to, destination, count);
    return count;
  default:
    return withInteger(from.kind == Kind::integer, from.bytes, [&](auto *f) {
      using From = std::remove_pointer_t<decltype(f)>;
      return withInteger(to.code == kDLInt, bytesOf(to), [&](auto *t) {
        using To = std::remove_pointer_t<decltype(t)>;
        return convertIntegers<From, To>(source, destination, count);
      });
    });
  }
}

std::string vashista::tool::elementText(const FileType &type,
                                        const void *element) {
  std::string result;
  withInteger(type.kind == Kind::integer, type.bytes, [&](auto *p) {
    std::remove_pointer_t<decltype(p)> value;
    memcpy(&value, element, sizeof(value));
    result = std::to_string(value);
    return size_t(0);
  });
  return result;
}
