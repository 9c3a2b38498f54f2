//===- CudaMachine.cpp - A GPU that runs entries --------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaMachine.h"

#include "CudaDriver.h"
#include "CudaKernels.h"
#include "Device.h"

#include <algorithm>
#include <functional>

using namespace vashista;
using namespace vashista::bench;
using namespace vashista::bench::cuda;
using tool::fail;

namespace {

class CudaMachine : public Machine {
public:
  ~CudaMachine() override;
  Error open(int32_t number);

  DLDevice getDevice() const override { return device; }
  std::string getTarget() const override {
    // Kernels of clusters begin with compute capability 9.0, of which all have
    // the same memory.
    if (computeMajor == 9)
      return "cuda:compute_90a";
    return computeMajor > 9 ? "cuda:compute_90" : "cuda:compute_80";
  }
  std::string getName() const override { return name; }
  std::string getDetails() const override {
    return tool::text("cuda:%d, %d multiprocessors, %.0f MB of cache",
                      static_cast<int>(device.device_id), numMultiprocessors,
                      cacheBytes * 1e-6);
  }
  std::unique_ptr<Call> makeCall() override;

  Error measureRead(Problem &problem, double &rate) override;
  Error measureMultiplyAdds(double &rate) override;

  const Driver &getDriver() const { return *driver; }
  Stream getStream() const { return stream; }
  /// Seconds between what `enqueue` does to the stream.
  Error time(const std::function<Error()> &enqueue, double &seconds);

private:
  Error allocate();
  Error launch(Function function, unsigned blocks, unsigned threads,
               void **parameters);

  const Driver *driver = nullptr;
  DLDevice device = {kDLCUDA, 0};
  std::string name;
  int handle = 0, computeMajor = 0, numMultiprocessors = 0, cacheBytes = 0;
  Context context = nullptr;
  Stream stream = nullptr;
  Event start = nullptr, end = nullptr;
  Module module = nullptr;
  Function read = nullptr, multiply = nullptr, pause = nullptr;
  /// What is read, and in how many rounds.
  tool::DeviceMemory memory;
  uint32_t readRounds = 0;
  uint64_t readBytes = 0;
};

/// An entry, captured when it first runs unchecked.
class CudaCall : public Call {
public:
  explicit CudaCall(CudaMachine &machine) : machine(machine) {}
  ~CudaCall() override {
    if (exec)
      machine.getDriver().graphExecDestroy(exec);
  }

  Error run(bool checked, double &seconds) override;

private:
  Error capture();
  vashista_call_options getOptions() const {
    vashista_call_options options = VASHISTA_CALL_OPTIONS_INIT;
    options.stream = machine.getStream();
    options.workspace = workspace.data();
    options.workspace_bytes = workspaceBytes;
    return options;
  }

  CudaMachine &machine;
  /// Its own: a graph keeps the address.
  tool::DeviceMemory workspace;
  size_t workspaceBytes = 0;
  GraphExec exec = nullptr;
};

} // namespace

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

Error CudaMachine::open(int32_t number) {
  device.device_id = number;
  if (Error error = findDriver(driver))
    return error;
  int count = 0;
  if (Error error =
          check(driver->deviceGetCount(&count), "to count CUDA devices"))
    return error;
  if (number >= count)
    return fail("expected --device=cuda:N to be one of %d CUDA devices, got "
                "number %d",
                count, static_cast<int>(number));
  char text[128] = "";
  if (Error error =
          check(driver->deviceGet(&handle, number), "to open a CUDA device"))
    return error;
  if (Error error = check(driver->deviceGetName(text, sizeof(text), handle),
                          "the name of a CUDA device"))
    return error;
  name = text;
  const std::pair<DeviceAttribute, int *> attributes[] = {
      {kComputeMajor, &computeMajor},
      {kMultiprocessors, &numMultiprocessors},
      {kCacheBytes, &cacheBytes}};
  for (auto [attribute, value] : attributes)
    if (Error error =
            check(driver->deviceGetAttribute(value, attribute, handle),
                  "an attribute of a CUDA device"))
      return error;
  if (computeMajor < 8)
    return fail("expected a GPU of compute capability 8.0 or later, got '%s' "
                "of %d",
                text, computeMajor);
  if (Error error = check(driver->primaryContextRetain(&context, handle),
                          "the context of a CUDA device"))
    return error;
  if (Error error = check(driver->contextSetCurrent(context),
                          "to use the context of a CUDA device"))
    return error;
  if (Error error = check(driver->moduleLoadData(&module, kernels),
                          "a driver that compiles what measures a device"))
    return error;
  const std::pair<const char *, Function *> functions[] = {
      {"read", &read}, {"multiply", &multiply}, {"pause", &pause}};
  for (auto [function, place] : functions)
    if (Error error = check(driver->moduleGetFunction(place, module, function),
                            "a kernel that measures a device"))
      return error;
  constexpr unsigned nonBlocking = 1;
  if (Error error = check(driver->streamCreate(&stream, nonBlocking),
                          "a stream of a CUDA device"))
    return error;
  for (Event *event : {&start, &end})
    if (Error error =
            check(driver->eventCreate(event, 0), "an event of a CUDA device"))
      return error;
  return allocate();
}

/// Enough that a launch is short beside it, and that nothing else stays in the
/// cache.
Error CudaMachine::allocate() {
  uint64_t roundBytes = static_cast<uint64_t>(numMultiprocessors) *
                        (2048 / cuda::numThreads) * cuda::numThreads *
                        threadBytes;
  uint64_t least = uint64_t(16) * cacheBytes;
  readRounds = static_cast<uint32_t>((least + roundBytes - 1) / roundBytes);
  readBytes = readRounds * roundBytes;
  if (!memory.allocate(device, readBytes))
    return Error(vashista_last_error());
  int error = driver->memorySetAsync(reinterpret_cast<Pointer>(memory.data()),
                                     0, readBytes, stream);
  return check(error ? error : driver->streamSynchronize(stream),
               "to fill memory of a CUDA device");
}

CudaMachine::~CudaMachine() {
  if (!context)
    return;
  memory = tool::DeviceMemory();
  for (Event event : {start, end})
    if (event)
      driver->eventDestroy(event);
  if (stream)
    driver->streamDestroy(stream);
  if (module)
    driver->moduleUnload(module);
  driver->contextSetCurrent(nullptr);
  driver->primaryContextRelease(handle);
}

Error CudaMachine::launch(Function function, unsigned blocks, unsigned threads,
                          void **parameters) {
  LaunchConfig config = {blocks, 1, 1, threads, 1, 1, 0, stream, nullptr, 0};
  return check(driver->launchKernel(&config, function, parameters, nullptr),
               "to launch a kernel that measures a device");
}

/// An event on an idle device is long over when a launch arrives, and would
/// count that too. So the device is kept busy until all is enqueued.
Error CudaMachine::time(const std::function<Error()> &enqueue,
                        double &seconds) {
  uint32_t nanoseconds = 100'000;
  void *parameters[] = {&nanoseconds};
  if (Error error = launch(pause, 1, 1, parameters))
    return error;
  if (Error error =
          check(driver->eventRecord(start, stream), "to record an event"))
    return error;
  if (Error error = enqueue())
    return error;
  if (Error error =
          check(driver->eventRecord(end, stream), "to record an event"))
    return error;
  if (Error error = check(driver->streamSynchronize(stream),
                          "a device whose work ends well"))
    return error;
  float milliseconds = 0;
  Error error = check(driver->eventElapsedTime(&milliseconds, start, end),
                      "the time between two events");
  seconds = milliseconds * 1e-3;
  return error;
}

Error CudaMachine::measureRead(Problem &, double &rate) {
  void *data = memory.data();
  void *parameters[] = {&data, &readRounds};
  double seconds;
  Error error = time(
      [&] {
        return launch(read, numMultiprocessors * (2048 / cuda::numThreads),
                      cuda::numThreads, parameters);
      },
      seconds);
  rate = readBytes / seconds;
  return error;
}

Error CudaMachine::measureMultiplyAdds(double &rate) {
  void *data = memory.data();
  uint32_t rounds = 4096;
  void *parameters[] = {&data, &rounds};
  unsigned blocks = numMultiprocessors * 4;
  double seconds;
  Error error = time(
      [&] { return launch(multiply, blocks, cuda::numThreads, parameters); },
      seconds);
  rate = double(blocks) * (cuda::numThreads / 32) * rounds * warpMultiplyAdds /
         seconds;
  return error;
}

std::unique_ptr<Call> CudaMachine::makeCall() {
  return std::make_unique<CudaCall>(*this);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Error CudaCall::capture() {
  const Driver &driver = machine.getDriver();
  if (Error error =
          check(driver.streamBeginCapture(machine.getStream(), kThreadLocal),
                "to capture a graph"))
    return error;
  Error error = call(getOptions());
  // Also where the call fails: a stream must not stay captured.
  Graph graph = nullptr;
  int ended = driver.streamEndCapture(machine.getStream(), &graph);
  if (error)
    return error;
  if (Error error = check(ended, "an entry that a graph can be captured of"))
    return error;
  int made = driver.graphInstantiate(&exec, graph, 0);
  driver.graphDestroy(graph);
  return check(made, "a graph that can be launched");
}

Error CudaCall::run(bool checked, double &seconds) {
  if (!workspace.data()) {
    if (Error error = measureWorkspace(workspaceBytes))
      return error;
    if (!workspace.allocate(machine.getDevice(), workspaceBytes))
      return Error(vashista_last_error());
  }
  if (checked)
    return machine.time(
        [&] {
          vashista_call_options options = getOptions();
          options.checked = 1;
          return call(options);
        },
        seconds);
  if (!exec)
    if (Error error = capture())
      return error;
  return machine.time(
      [&] {
        return check(machine.getDriver().graphLaunch(exec, machine.getStream()),
                     "to launch a graph");
      },
      seconds);
}

Error cuda::makeMachine(int32_t number, std::unique_ptr<Machine> &machine) {
  auto made = std::make_unique<CudaMachine>();
  if (Error error = made->open(number))
    return error;
  machine = std::move(made);
  return Error::success();
}
