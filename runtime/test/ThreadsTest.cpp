//===- ThreadsTest.cpp - Work on several threads --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Utils.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <fstream>
#include <pthread.h>
#include <sched.h>
#include <set>
#include <thread>

using namespace vashista;
using namespace vashista::test;

namespace {

int64_t currentThread() { return static_cast<int64_t>(pthread_self()); }

int countThreads() {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  while (dirent *task = readdir(tasks))
    count += task->d_name[0] != '.';
  closedir(tasks);
  return count;
}

/// Whether there are that many threads, soon: one that has been joined is
/// listed for some time.
testing::AssertionResult areThreads(int expected) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    if (countThreads() == expected)
      return testing::AssertionSuccess();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return testing::AssertionFailure()
         << countThreads() << " threads instead of " << expected;
}

/// With a pool of its own size. No module may be loaded before.
class ThreadsTest : public testing::Test {
protected:
  ThreadsTest() {
    setenv("VASHISTA_NUM_THREADS", "4", 1);
    // With the first thread, a sanitizer starts one of its own.
    std::thread([] {}).join();
  }
  ~ThreadsTest() override { unsetenv("VASHISTA_NUM_THREADS"); }

  std::set<int64_t> identify(uint32_t threads = 0) {
    Tensor<int64_t> result({64});
    EXPECT_OK(call(module, "identify", {}, {result}, false, threads));
    return {result.begin(), result.end()};
  }
  void reload() {
    module.reset();
    module = load(kernelsArtefact());
  }

  Module module = load(kernelsArtefact());
};

TEST_F(ThreadsTest, StartWithTheFirstWorkAndEndWithTheLastModule) {
  int before = countThreads();
  identify(1);
  EXPECT_TRUE(areThreads(before));
  identify();
  EXPECT_TRUE(areThreads(before + 3));
  Module second = load(tinyArtefact());
  module.reset();
  EXPECT_TRUE(areThreads(before + 3));
  EXPECT_EQ(answer(second), 42);
  second.reset();
  EXPECT_TRUE(areThreads(before));
  module = load(kernelsArtefact());
  identify();
  EXPECT_TRUE(areThreads(before + 3));
}

TEST_F(ThreadsTest, AllWorkAtOnceTheCallerAmongThem) {
  for (uint32_t cap : {0, 4, 5}) {
    Tensor<int64_t> result({4});
    ASSERT_OK(call(module, "meet", {}, {result}, false, cap));
    std::set<int64_t> threads{result.begin(), result.end()};
    EXPECT_EQ(threads.size(), 4U);
    EXPECT_TRUE(threads.count(currentThread()));
    EXPECT_FALSE(threads.count(0));
  }
}

TEST_F(ThreadsTest, WorkersTakeNoSignals) {
  identify();
  int workers = 0;
  DIR *tasks = opendir("/proc/self/task");
  while (dirent *task = readdir(tasks)) {
    std::ifstream status(std::string("/proc/self/task/") + task->d_name +
                         "/status");
    std::string word;
    while (status >> word && word != "SigBlk:")
      ;
    status >> word;
    constexpr uint64_t some =
        1ULL << (SIGINT - 1) | 1ULL << (SIGTERM - 1) | 1ULL << (SIGALRM - 1);
    workers += (std::strtoull(word.c_str(), nullptr, 16) & some) == some;
  }
  closedir(tasks);
  EXPECT_EQ(workers, 3);
}

TEST_F(ThreadsTest, ACallMayBeCapped) {
  EXPECT_EQ(identify(1), std::set<int64_t>{currentThread()});
  for (uint32_t cap = 1; cap < 6; ++cap) {
    Tensor<int64_t> most({});
    ASSERT_OK(call(module, "crowd", {}, {most}, false, cap));
    EXPECT_LE(most[0], std::min(cap, 4U));
  }
}

TEST_F(ThreadsTest, NestedLoopsRunInline) {
  for (uint32_t threads : {0, 1}) {
    Tensor<int64_t> result({8, 8});
    ASSERT_OK(call(module, "nested", {}, {result}, false, threads));
    for (int row = 0; row < 8; ++row) {
      EXPECT_NE(result[8 * row], 0);
      for (int i = 1; i < 8; ++i)
        EXPECT_EQ(result[8 * row + i], result[8 * row]);
    }
  }
}

TEST_F(ThreadsTest, NumberFromTheEnvironment) {
  setenv("VASHISTA_NUM_THREADS", "1", 1);
  reload();
  EXPECT_EQ(identify(), std::set<int64_t>{currentThread()});

  // What is not a number of threads is as good as unset.
  unsetenv("VASHISTA_NUM_THREADS");
  module.reset();
  int before = countThreads();
  module = load(kernelsArtefact());
  identify();
  int byDefault = countThreads();
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
    EXPECT_EQ(byDefault - before, CPU_COUNT(&cpus) - 1);
  for (const char *text :
       {"0", "-3", "", "x", "3x", "1e3", "99999999999999999999", "0x4"}) {
    setenv("VASHISTA_NUM_THREADS", text, 1);
    module.reset();
    EXPECT_TRUE(areThreads(before));
    module = load(kernelsArtefact());
    identify();
    EXPECT_TRUE(areThreads(byDefault)) << text;
  }
}

TEST_F(ThreadsTest, CallsAtOnce) {
  std::atomic<int> failures{0};
  std::vector<std::thread> callers;
  callers.reserve(8);
  for (int caller = 0; caller < 8; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 200; ++i) {
        int64_t size = 1 + (caller * 977 + i * 131) % 3000;
        Tensor<float> x({size}), y({size});
        for (int64_t j = 0; j < size; ++j)
          x[j] = static_cast<float>(2 * (j + caller + i));
        failures += call(module, "halve", {x}, {y}, i % 2,
                         static_cast<uint32_t>(i % 5)) != VASHISTA_OK;
        for (int64_t j = 0; j < size; ++j)
          failures += y[j] != static_cast<float>(j + caller + i);
        // Errors are each thread's own.
        x.shape[0] += 1;
        failures +=
            call(module, "halve", {x}, {y}) != VASHISTA_INVALID_ARGUMENT;
        std::string expected = "result 0 'y', dimension 0: expected the " +
                               std::to_string(size + 1) +
                               " of dimension 0 of argument 0 'x', got " +
                               std::to_string(size);
        failures += vashista_last_error() != expected;
      }
    });
  }
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(ThreadsTest, LoadsAtOnce) {
  module.reset();
  std::string tiny = write(tinyArtefact()),
              sticky = write(tinyArtefact(stickyPayload())),
              kernels = write(kernelsArtefact());
  std::atomic<int> failures{0};
  std::vector<std::thread> loaders;
  loaders.reserve(8);
  for (int loader = 0; loader < 8; ++loader) {
    loaders.emplace_back([&, loader] {
      for (int i = 0; i < 40; ++i) {
        if (loader % 2) {
          bool isTiny = (loader + i) % 4 != 0;
          failures += answer(load(isTiny ? tiny : sticky)) != (isTiny ? 42 : 7);
          continue;
        }
        Module mine = load(kernels);
        Tensor<float> x({100}), y({100});
        x[99] = 6;
        failures += call(mine, "halve", {x}, {y}) != VASHISTA_OK;
        failures += y[99] != 3;
      }
    });
  }
  for (std::thread &loader : loaders)
    loader.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(ThreadsTest, ResultsDoNotDependOnTheirNumber) {
  Tensor<float> x({5000}), y({5000}), first({5000});
  for (int64_t i = 0; i < 5000; ++i)
    x[i] = static_cast<float>(i) * 0.1F;
  ASSERT_OK(call(module, "halve", {x}, {first}, false, 1));
  for (uint32_t threads = 0; threads < 6; ++threads) {
    ASSERT_OK(call(module, "halve", {x}, {y}, false, threads));
    EXPECT_TRUE(std::equal(y.begin(), y.end(), first.begin()));
  }
}

} // namespace
