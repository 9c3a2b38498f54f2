//===- Device.cpp - Devices and their memory ------------------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

using namespace vashista::tool;

Error vashista::tool::parseDevice(const std::string &value, DLDevice &device) {
  device = {kDLCPU, 0};
  if (value == "cpu")
    return Error::success();
  std::string number = value == "cuda" ? "0" : value;
  if (number.compare(0, 5, "cuda:") == 0)
    number.erase(0, 5);
  bool isNumber = !number.empty() && number.size() <= 4 &&
                  number.find_first_not_of("0123456789") == std::string::npos;
  if (!isNumber || value.compare(0, 4, "cuda") != 0)
    return fail("expected --device=cpu, or cuda:0 or another number, got %s",
                quote(value).c_str());
  device = {kDLCUDA, std::stoi(number)};
  return Error::success();
}
