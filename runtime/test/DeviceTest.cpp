//===- DeviceTest.cpp - Entries on a CUDA device, without one -------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The driver is Inputs/cuda.c, which the runtime finds by its name since it is
// there already.
//
//===----------------------------------------------------------------------===//

#include "Inputs/cuda.h"
#include "Utils.h"
#include "cuda/DeviceCode.h"

#include <cstring>
#include <dlfcn.h>
#include <elf.h>

using namespace vashista;
using namespace vashista::test;
using runtime::cuda::Fit;

namespace {

class DeviceTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
    void *driver = dlopen(VASHISTA_FAKE_CUDA, RTLD_NOW | RTLD_GLOBAL);
    ASSERT_TRUE(driver) << dlerror();
    cuda = static_cast<fake_cuda *>(dlsym(driver, "fake_cuda"));
    ASSERT_TRUE(cuda);
  }
  void SetUp() override {
    *cuda = {};
    cuda->major = 9;
    options.device = {kDLCUDA, 0};
    artefact = makeArtefact({{"sm_90a", false}});
    for (DLTensor *tensor : {&x.dl, &table.dl, &lens.dl})
      tensor->device = {kDLCUDA, 0};
  }
  /// Nothing of a device is kept.
  void TearDown() override {
    module.reset();
    EXPECT_EQ(cuda->contexts, 0);
    EXPECT_EQ(cuda->pushed, 0);
    EXPECT_EQ(cuda->modules, 0);
    EXPECT_EQ(cuda->allocations, 0);
  }

  struct Image {
    std::string architecture;
    bool isPTX;
  };
  static std::string makeImage(const Image &image) {
    std::string text = "// " + image.architecture;
    if (image.isPTX)
      return text;
    Elf64_Ehdr header = {};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_machine = 190;
    return std::string(reinterpret_cast<char *>(&header), sizeof(header)) +
           text;
  }
  static Artefact makeArtefact(const std::vector<Image> &images,
                               const char *payload = VASHISTA_DEVICE_PAYLOAD) {
    Artefact artefact;
    artefact.producer = "vashista test";
    for (const Image &image : images)
      artefact.payloads.push_back(
          {"sse2", readFile(payload),
           ArtefactImage{image.architecture, image.isPTX, makeImage(image)}});
    constexpr DLDataType i32 = {kDLInt, 32, 1};
    ArtefactEntry entry;
    entry.name = entry.symbol = "add";
    entry.arguments = {value("x", i32, {dynamic()}),
                       value("table", i32, {dynamic(), dynamic()}),
                       value("lens", i32, {tied(1, 0)})};
    entry.arguments[0].written = true;
    entry.checks = {
        ArtefactCheck::getTable(1, 2, std::nullopt, 0, 0, /*pageSize=*/4)};
    artefact.entries = {entry};
    return artefact;
  }

  vashista_status load() {
    std::string bytes = write(artefact);
    vashista_module *loaded = nullptr;
    vashista_status status = vashista_module_load_bytes(
        bytes.data(), bytes.size(), &options, &loaded);
    module.reset(loaded);
    return status;
  }
  vashista_status call() {
    DLTensor *arguments[] = {x, table, lens};
    return vashista_call(module.get(), 0, arguments, 3, nullptr, 0,
                         &callOptions);
  }

  static fake_cuda *cuda;
  Artefact artefact;
  vashista_load_options options = VASHISTA_LOAD_OPTIONS_INIT;
  vashista_call_options callOptions = VASHISTA_CALL_OPTIONS_INIT;
  Module module;
  Tensor<int32_t> x{{200}},
      table{{4, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
      lens{{4}, {5, 12, 0, 1}};
};

fake_cuda *DeviceTest::cuda = nullptr;

} // namespace

TEST(FitTest, Architectures) {
  auto cubin = [](const char *name, int major, int minor) {
    return runtime::cuda::getFit(VSO_IMAGE_CUBIN, name, major, minor);
  };
  auto ptx = [](const char *name, int major, int minor) {
    return runtime::cuda::getFit(VSO_IMAGE_PTX, name, major, minor);
  };
  EXPECT_EQ(cubin("sm_90", 9, 0), Fit::exact);
  EXPECT_EQ(cubin("sm_90a", 9, 0), Fit::exact);
  EXPECT_EQ(cubin("sm_80", 8, 6), Fit::family);
  EXPECT_EQ(cubin("sm_86", 8, 0), Fit::none);
  EXPECT_EQ(cubin("sm_80", 9, 0), Fit::none);
  EXPECT_EQ(cubin("sm_90a", 10, 0), Fit::none);
  EXPECT_EQ(cubin("sm_100f", 10, 3), Fit::family);
  EXPECT_EQ(cubin("sm_100a", 10, 3), Fit::none);
  EXPECT_EQ(cubin("sm_120", 12, 1), Fit::family);
  EXPECT_EQ(ptx("compute_80", 9, 0), Fit::compiled);
  EXPECT_EQ(ptx("compute_90", 8, 9), Fit::none);
  EXPECT_EQ(ptx("compute_90a", 10, 0), Fit::none);
  EXPECT_EQ(ptx("compute_90a", 9, 0), Fit::compiled);
  for (const char *name : {"", "sm_", "sm_9x", "sm_90ab", "compute_90", "sm_9",
                           "gfx90a", "sm_-90", "sm_99999999999999999999"})
    EXPECT_EQ(cubin(name, 9, 0), Fit::none) << name;
}

TEST_F(DeviceTest, TheClosestImageIsLoaded) {
  artefact = makeArtefact({{"compute_80", true},
                           {"sm_80", false},
                           {"sm_90", false},
                           {"sm_90a", false},
                           {"sm_100", false}});
  struct Expectation {
    int major, minor;
    const char *architecture;
  };
  for (auto [major, minor, architecture] :
       {Expectation{9, 0, "sm_90"}, Expectation{8, 6, "sm_80"},
        Expectation{10, 3, "sm_100"}, Expectation{12, 0, "compute_80"}}) {
    cuda->major = major;
    cuda->minor = minor;
    ASSERT_OK(load());
    vashista_module_info info;
    ASSERT_OK(vashista_module_describe(module.get(), &info));
    EXPECT_STREQ(info.architecture, architecture);
    EXPECT_EQ(info.device.device_type, kDLCUDA);
    std::string image = makeImage({architecture, major == 12});
    EXPECT_EQ(memcmp(cuda->image, image.data(), image.size()), 0);
  }
  cuda->major = 7;
  EXPECT_FAILS(load(), VASHISTA_UNSUPPORTED,
               "expected a GPU for which the artefact has code (compute_80, "
               "sm_80, sm_90, sm_90a, sm_100), got 'Test GPU' of compute "
               "capability 7.0");
}

TEST_F(DeviceTest, DevicesThatAreNotThere) {
  options.device = {kDLCUDA, 2};
  EXPECT_FAILS(load(), VASHISTA_INVALID_ARGUMENT,
               "expected one of 2 CUDA devices, got number 2");
  options.device = {kDLROCM, 0};
  EXPECT_FAILS(load(), VASHISTA_INVALID_ARGUMENT,
               "expected the CPU (device type 1) or a CUDA device (2), got "
               "device type 10");
  options.device = {kDLCPU, 0};
  EXPECT_FAILS(load(), VASHISTA_UNSUPPORTED,
               "expected an artefact with code for the CPU, got one without");
  // What it is for, by itself; and an artefact of the CPU has no image.
  options.device = {DLDeviceType(0), 0};
  ASSERT_OK(load());
  artefact = tinyArtefact();
  options.device = {kDLCUDA, 0};
  EXPECT_FAILS(load(), VASHISTA_UNSUPPORTED,
               "expected a GPU for which the artefact has code (none), got "
               "'Test GPU' of compute capability 9.0");
}

TEST_F(DeviceTest, OnlyDescribed) {
  options.describe_only = 1;
  // On a machine that could not run it; nor is its code any.
  options.device = {kDLCUDA, 7};
  artefact.payloads[0].bytes = "no code";
  ASSERT_OK(load());
  EXPECT_EQ(cuda->contexts, 0);
  vashista_payload_info payload;
  ASSERT_OK(vashista_payload_describe(module.get(), 0, &payload));
  EXPECT_EQ(payload.device_type, kDLCUDA);
  EXPECT_STREQ(payload.architecture, "sm_90a");
  vashista_entry_info entry;
  ASSERT_OK(vashista_entry_describe(module.get(), 0, &entry));
  EXPECT_EQ(entry.num_arguments, 3U);
  EXPECT_FAILS(call(), VASHISTA_INVALID_ARGUMENT,
               "expected a module that was loaded to be called, got one that "
               "was loaded to be described");
}

TEST_F(DeviceTest, Calls) {
  options.device.device_id = 1;
  ASSERT_OK(load());
  for (DLTensor *tensor : {&x.dl, &table.dl, &lens.dl})
    tensor->device.device_id = 1;
  int stream = 0;
  callOptions.stream = &stream;
  ASSERT_OK(call());
  EXPECT_EQ(x[0], 41);
  EXPECT_EQ(x[199], 41);
  EXPECT_EQ(cuda->launches, 5);
  EXPECT_STREQ(cuda->kernel, "add_10");
  EXPECT_EQ(cuda->grid, 2U);
  EXPECT_EQ(cuda->block, 128U);
  EXPECT_EQ(cuda->stream, &stream);
  // Memory of the stream, given back; nothing is waited for.
  EXPECT_EQ(cuda->ofStream, 1);
  EXPECT_EQ(cuda->waits, 0);
}

TEST_F(DeviceTest, EarlyStarts) {
  // A payload that says nothing of waits: from before there were any.
  ASSERT_OK(load());
  ASSERT_OK(call());
  EXPECT_EQ(cuda->launches, 5);
  EXPECT_EQ(cuda->early, 0);
  // Only the second kernel, which is launched four times, waits.
  artefact = makeArtefact({{"sm_90a", false}}, VASHISTA_WAITING_DEVICE_PAYLOAD);
  ASSERT_OK(load());
  ASSERT_OK(call());
  EXPECT_EQ(cuda->launches, 10);
  EXPECT_EQ(cuda->early, 4);
  EXPECT_EQ(x[0], 82);
  // Not where it is unknown what a graph makes of it.
  cuda->version = 12020;
  ASSERT_OK(load());
  ASSERT_OK(call());
  EXPECT_EQ(cuda->launches, 15);
  EXPECT_EQ(cuda->early, 4);
}

TEST_F(DeviceTest, EarlyStartsAreOfTheImageThatIsLoaded) {
  artefact = makeArtefact({{"sm_80", false}});
  artefact.payloads.push_back(
      makeArtefact({{"sm_90a", false}}, VASHISTA_WAITING_DEVICE_PAYLOAD)
          .payloads[0]);
  ASSERT_OK(load());
  ASSERT_OK(call());
  EXPECT_EQ(cuda->early, 4);
  cuda->major = 8;
  ASSERT_OK(load());
  ASSERT_OK(call());
  EXPECT_EQ(cuda->launches, 10);
  EXPECT_EQ(cuda->early, 4);
}

TEST_F(DeviceTest, MalformedWaits) {
  artefact =
      makeArtefact({{"sm_90a", false}}, VASHISTA_ODDLY_WAITING_DEVICE_PAYLOAD);
  EXPECT_FAILS(load(), VASHISTA_LOAD_FAILED,
               "expected 0 or 1 for whether the kernel number 1 waits, got 2");
  artefact =
      makeArtefact({{"sm_90a", false}}, VASHISTA_PARTLY_WAITING_DEVICE_PAYLOAD);
  EXPECT_FAILS(load(), VASHISTA_LOAD_FAILED,
               "expected of each of 2 kernels whether it waits, got it of 1");
  EXPECT_EQ(cuda->image, nullptr);
}

TEST_F(DeviceTest, SharedMemory) {
  ASSERT_OK(load());
  // All that the kernel does not declare itself.
  EXPECT_EQ(cuda->mostShared, 226 << 10);
  ASSERT_OK(call());
  EXPECT_EQ(cuda->shared, 100U << 10);
  cuda->sharedBytes = 100 << 10;
  ASSERT_OK(load());
  EXPECT_EQ(cuda->mostShared, 99 << 10);
  EXPECT_FAILS(call(), VASHISTA_UNSUPPORTED,
               "kernel 'add_10': expected a device whose blocks have at least "
               "102400 bytes of memory beside what the kernel declares, got "
               "101376");
  // What it declares is more than there is: as the driver says.
  cuda->sharedBytes = 1 << 9;
  ASSERT_OK(load());
  EXPECT_EQ(cuda->mostShared, 0);
  for (const char *failing : {"cuFuncGetAttribute", "cuFuncSetAttribute"}) {
    cuda->failing = failing;
    cuda->error = 1;
    EXPECT_FAILS(load(), VASHISTA_DEVICE_ERROR,
                 "expected memory of a block for the kernel 'add_1', got "
                 "CUDA_ERROR_UNKNOWN (1): as the test wants");
  }
}

TEST_F(DeviceTest, Workspaces) {
  ASSERT_OK(load());
  DLTensor *arguments[] = {x, table, lens};
  size_t bytes = 0;
  ASSERT_OK(vashista_workspace_bytes(module.get(), 0, arguments, 3, nullptr, 0,
                                     &bytes));
  EXPECT_EQ(bytes, 1064U);
  EXPECT_EQ(cuda->launches, 0);
  std::vector<char> workspace(bytes);
  callOptions.workspace = workspace.data();
  callOptions.workspace_bytes = 900;
  EXPECT_FAILS(call(), VASHISTA_INVALID_ARGUMENT,
               "expected a workspace of 1064 bytes, got 900");
  EXPECT_EQ(cuda->launches, 0);
  callOptions.workspace_bytes = bytes;
  ASSERT_OK(call());
  EXPECT_EQ(cuda->launches, 5);
  EXPECT_EQ(cuda->ofStream, 0);
  // On the CPU there is none.
  Module tiny = test::load(tinyArtefact());
  Tensor<int32_t> result({});
  DLTensor *results[] = {result};
  ASSERT_OK(
      vashista_workspace_bytes(tiny.get(), 0, nullptr, 0, results, 1, &bytes));
  EXPECT_EQ(bytes, 0U);
}

TEST_F(DeviceTest, Failures) {
  cuda->failing = "cuModuleLoadData";
  cuda->error = 209;
  EXPECT_FAILS(load(), VASHISTA_DEVICE_ERROR,
               "expected a device that loads the kernels, got "
               "CUDA_ERROR_UNKNOWN (209): as the test wants");
  cuda->modules = 0;
  cuda->failing = nullptr;
  ASSERT_OK(load());
  cuda->failing = "cuLaunchKernelEx";
  cuda->error = 1;
  EXPECT_FAILS(call(), VASHISTA_DEVICE_ERROR,
               "expected to launch the kernel 'add_1', got CUDA_ERROR_UNKNOWN "
               "(1): as the test wants");
  cuda->failing = "cuMemAllocAsync";
  cuda->error = 2;
  EXPECT_FAILS(call(), VASHISTA_OUT_OF_MEMORY,
               "expected memory of the device for temporaries, got "
               "CUDA_ERROR_OUT_OF_MEMORY (2): as the test wants");
  EXPECT_EQ(cuda->launches, 0);
  cuda->failing = nullptr;
  module.reset();
  artefact = makeArtefact({{"sm_90a", false}}, VASHISTA_OTHER_DEVICE_PAYLOAD);
  EXPECT_FAILS(load(), VASHISTA_DEVICE_ERROR,
               "expected the kernel 'sub_1' in the artefact's image, got "
               "CUDA_ERROR_UNKNOWN (500): as the test wants");
}

TEST_F(DeviceTest, WrongTensors) {
  ASSERT_OK(load());
  x.dl.device = {kDLCPU, 0};
  EXPECT_FAILS(call(), VASHISTA_INVALID_ARGUMENT,
               "argument 0 'x': expected a tensor of the CUDA device 0, got "
               "device type 1, number 0");
  x.dl.device = {kDLCUDA, 1};
  EXPECT_FAILS(call(), VASHISTA_INVALID_ARGUMENT,
               "argument 0 'x': expected a tensor of the CUDA device 0, got "
               "device type 2, number 1");
  alignas(16) int32_t numbers[8] = {};
  Tensor<int32_t> odd({4});
  x.dl.device = {kDLCUDA, 0};
  x.shape[0] = 4;
  x.dl.data = numbers + 1;
  EXPECT_FAILS(call(), VASHISTA_INVALID_ARGUMENT,
               "argument 0 'x': expected data aligned to 16 bytes, got an "
               "address 4 past that");
}

TEST_F(DeviceTest, CheckedMode) {
  ASSERT_OK(load());
  callOptions.checked = 1;
  ASSERT_OK(call());
  EXPECT_EQ(cuda->launches, 5);
  EXPECT_EQ(cuda->waits, 1);
  // Nothing is no matter of strides.
  table.shape[1] = 0;
  std::fill(lens.begin(), lens.end(), 0);
  ASSERT_OK(call());
  table.shape[1] = 3;
  lens[1] = 12;
  cuda->launches = 5;
  table[4] = 200;
  EXPECT_FAILS(call(), VASHISTA_CHECK_FAILED,
               "argument 1 'table', row 1, position 1: expected page id 0 to "
               "199, got 200");
  EXPECT_EQ(cuda->launches, 5);
  cuda->failing = "cuStreamSynchronize";
  cuda->error = 700;
  EXPECT_FAILS(call(), VASHISTA_DEVICE_ERROR,
               "expected a stream whose work ends well, got "
               "CUDA_ERROR_UNKNOWN (700): as the test wants");
}

TEST_F(DeviceTest, Memory) {
  DLDevice device = {kDLCUDA, 0};
  void *memory = nullptr;
  ASSERT_OK(vashista_memory_allocate(device, 8, &memory));
  int64_t number = 42, back = 0;
  EXPECT_OK(vashista_memory_copy(device, memory, &number, 8, nullptr));
  EXPECT_OK(vashista_memory_copy(device, &back, memory, 8, nullptr));
  EXPECT_EQ(back, 42);
  // A device that has memory is not given up.
  EXPECT_EQ(cuda->contexts, 1);
  EXPECT_OK(vashista_synchronize(device, nullptr));
  EXPECT_OK(vashista_memory_free(device, memory));
  EXPECT_OK(vashista_memory_free(device, nullptr));
  EXPECT_FAILS(vashista_memory_allocate({kDLCPU, 0}, 8, &memory),
               VASHISTA_INVALID_ARGUMENT,
               "expected a CUDA device (type 2), got type 1");
  EXPECT_FAILS(vashista_memory_allocate(device, 8, nullptr),
               VASHISTA_INVALID_ARGUMENT,
               "expected a place for the memory, got null");
  cuda->failing = "cuMemAlloc_v2";
  cuda->error = 2;
  EXPECT_FAILS(vashista_memory_allocate(device, 8, &memory),
               VASHISTA_OUT_OF_MEMORY,
               "expected memory of the device, got CUDA_ERROR_OUT_OF_MEMORY "
               "(2): as the test wants");
}
