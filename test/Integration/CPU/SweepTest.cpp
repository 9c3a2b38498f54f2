//===- SweepTest.cpp - Random configurations of all ops against the reference
//===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The environment chooses the sweep:
//   VASHISTA_SWEEP=N     about N configurations (300)
//   VASHISTA_DATA=K      data sets for each compiled module (5)
//   VASHISTA_SEED=S      the seed (1)
//   VASHISTA_CASE=M.D    module M with data set D only
//   VASHISTA_FAILURES=F  a shard stops after F failures (5)
// A failure, and a crash, prints the command that repeats it.
//
//===----------------------------------------------------------------------===//

#include "Sweep.h"

#include "gtest/gtest.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <unistd.h>

using namespace vashista::test;

/// What is running, for the message of a crash.
static char currentCase[1024];

static void reportCrash(int signal) {
  // Only what a signal handler may call.
  size_t length = strnlen(currentCase, sizeof(currentCase));
  if (write(STDERR_FILENO, currentCase, length) < 0)
    _exit(1);
  std::signal(signal, SIG_DFL);
  raise(signal);
}

static int64_t getNumFailures() {
  return testing::UnitTest::GetInstance()
      ->current_test_info()
      ->result()
      ->total_part_count();
}

static std::unique_ptr<SweepCase> makeCase(Random &random) {
  using Maker = std::unique_ptr<SweepCase> (*)(Random &);
  return random.pick<Maker>({makeAttendCase, makeAttendCase, makeAttendCase,
                             makePickCase, makePickCase, makeAppendCase,
                             makeStateCase, makeStepCase, makeStepCase,
                             makeStepCase})(random);
}

namespace {

constexpr int64_t kShards = 6;

class Sweep : public testing::TestWithParam<int64_t> {};

TEST_P(Sweep, AgreesWithReference) {
  int64_t seed = getEnvironment("VASHISTA_SEED", 1);
  int64_t dataPerModule = getEnvironment("VASHISTA_DATA", 5);
  int64_t numModules =
      (getEnvironment("VASHISTA_SWEEP", 300) + dataPerModule - 1) /
      dataPerModule;
  // After a few failures more would tell nothing.
  int64_t mostFailures = getEnvironment("VASHISTA_FAILURES", 5);
  int64_t onlyModule = -1, onlyData = -1;
  if (const char *only = std::getenv("VASHISTA_CASE")) {
    onlyModule = std::atoll(only);
    if (const char *dot = std::strchr(only, '.'))
      onlyData = std::atoll(dot + 1);
    numModules = std::max(numModules, onlyModule + 1);
  }
  for (int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE})
    std::signal(signal, reportCrash);

  Findings findings;
  int64_t &failures = findings.counts["failures"];
  for (int64_t m = GetParam(); m < numModules && failures < mostFailures;
       m += kShards) {
    if (onlyModule >= 0 && m != onlyModule)
      continue;
    Random random({static_cast<uint64_t>(seed), static_cast<uint64_t>(m)});
    std::unique_ptr<SweepCase> test = makeCase(random);
    bool isCompiled = false;
    for (int64_t d = 0;
         d < std::max(dataPerModule, onlyData + 1) && failures < mostFailures;
         ++d) {
      if (onlyData >= 0 && d != onlyData)
        continue;
      std::ostringstream repeat;
      repeat << "VASHISTA_SEED=" << seed << " VASHISTA_CASE=" << m << "." << d
             << " " << program_invocation_name << " --gtest_filter='*Sweep*/"
             << GetParam() << "'  # " << test->describe() << "\n";
      std::snprintf(currentCase, sizeof(currentCase), "%s",
                    repeat.str().c_str());
      SCOPED_TRACE(repeat.str());
      if (!isCompiled && !(isCompiled = test->compile())) {
        ++failures;
        break;
      }
      Random dataRandom({static_cast<uint64_t>(seed), static_cast<uint64_t>(m),
                         static_cast<uint64_t>(d)});
      int64_t before = getNumFailures();
      test->check(dataRandom, findings);
      ++findings.counts["configurations"];
      failures += getNumFailures() > before;
    }
  }
  std::printf("sweep: %s\n", findings.toString().c_str());
}

INSTANTIATE_TEST_SUITE_P(Shards, Sweep, testing::Range<int64_t>(0, kShards));

} // namespace
