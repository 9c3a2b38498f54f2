//===- Features.cpp - What this CPU can run -------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Features.h"

#include <cstring>

using namespace vashista::runtime;

namespace {
struct Feature {
  const char *name;
  bool present;
};
} // namespace

static bool hasFeature(const char *name, size_t length) {
#ifdef __x86_64__
  // The builtin takes literals only. It asks whether the operating system saves
  // the registers, too. The names are LLVM's.
  __builtin_cpu_init();
#define FEATURE(name)                                                          \
  { name, __builtin_cpu_supports(name) != 0 }
  const Feature features[] = {
      FEATURE("sse"),          FEATURE("sse2"),
      FEATURE("sse3"),         FEATURE("ssse3"),
      FEATURE("sse4.1"),       FEATURE("sse4.2"),
      FEATURE("popcnt"),       FEATURE("avx"),
      FEATURE("avx2"),         FEATURE("fma"),
      FEATURE("bmi"),          FEATURE("bmi2"),
      FEATURE("f16c"),         FEATURE("lzcnt"),
      FEATURE("movbe"),        FEATURE("gfni"),
      FEATURE("vpclmulqdq"),   FEATURE("avx512f"),
      FEATURE("avx512vl"),     FEATURE("avx512bw"),
      FEATURE("avx512dq"),     FEATURE("avx512cd"),
      FEATURE("avx512ifma"),   FEATURE("avx512vbmi"),
      FEATURE("avx512vbmi2"),  FEATURE("avx512vnni"),
      FEATURE("avx512bitalg"), FEATURE("avx512vpopcntdq"),
      FEATURE("avx512bf16"),   FEATURE("avx512fp16"),
      FEATURE("avxvnni"),
  };
#undef FEATURE
  for (const Feature &feature : features)
    if (strlen(feature.name) == length &&
        memcmp(feature.name, name, length) == 0)
      return feature.present;
#endif
  return false;
}

bool vashista::runtime::hasCpuFeatures(const char *list, const char *&missing,
                                       size_t &missingLength) {
#ifndef __x86_64__
  missing = "x86-64";
  missingLength = strlen(missing);
  return false;
#endif
  for (bool more = *list; more;) {
    size_t length = strcspn(list, ",");
    if (!hasFeature(list, length)) {
      missing = list;
      missingLength = length;
      return false;
    }
    more = list[length] == ',';
    list += length + more;
  }
  return true;
}
