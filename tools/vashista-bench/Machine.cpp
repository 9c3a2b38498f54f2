//===- Machine.cpp - What runs entries, and its roofs ---------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include "CudaMachine.h"
#include "Roofs.h"

#include <cstdlib>
#include <fstream>
#include <sched.h>

using namespace vashista;
using namespace vashista::bench;

namespace {

class CpuCall : public Call {
public:
  explicit CpuCall(unsigned numThreads) : numThreads(numThreads) {}

  Error run(bool checked, double &seconds) override {
    vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
    options.checked = checked;
    options.threads = numThreads;
    double start = now();
    Error error = call(options);
    seconds = now() - start;
    return error;
  }

private:
  unsigned numThreads;
};

class CpuMachine : public Machine {
public:
  explicit CpuMachine(unsigned numThreads) : numThreads(numThreads) {}

  DLDevice getDevice() const override { return {kDLCPU, 0}; }
  std::string getTarget() const override { return "cpu"; }
  std::string getName() const override {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
      if (line.rfind("model name", 0) == 0)
        if (size_t colon = line.find(": "); colon != std::string::npos)
          return line.substr(colon + 2);
    return "unknown processor";
  }
  std::string getDetails() const override {
    return tool::text("%u threads", numThreads);
  }
  std::unique_ptr<Call> makeCall() override {
    return std::make_unique<CpuCall>(numThreads);
  }

  Error measureRead(Problem &problem, double &rate) override {
    std::vector<Span> spans;
    double bytes = 0;
    for (const char *name : {"k", "v"}) {
      spans.push_back({problem[name].data(), problem[name].bytes()});
      bytes += problem[name].bytes() / 64 * 64;
    }
    rate = bytes / bench::measureRead(spans, numThreads);
    return Error::success();
  }
  Error measureMultiplyAdds(double &rate) override {
    rate = bench::measureMultiplyAdds(numThreads);
    return Error::success();
  }

private:
  unsigned numThreads;
};

} // namespace

unsigned bench::getThreads(const Options &options) {
  if (options.threads)
    return options.threads;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus))
    return 1;
  return CPU_COUNT(&cpus);
}

Error bench::makeMachine(const Options &options,
                         std::unique_ptr<Machine> &machine) {
  unsigned numThreads = getThreads(options);
  // The runtime's workers must be as many.
  setenv("VASHISTA_NUM_THREADS", std::to_string(numThreads).c_str(), 1);
  if (options.device.device_type == kDLCUDA)
    return cuda::makeMachine(options.device.device_id, machine);
  machine = std::make_unique<CpuMachine>(numThreads);
  return Error::success();
}
